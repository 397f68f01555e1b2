//! The bugs of a folder as one page. It needs no network and has no script.

use super::Bug;
use crate::observe::{count, escaped};
use std::fmt::Write as _;

const CSS: &str = include_str!("page.css");

/// What is said beside the bugs.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// What was sorted, in one sentence.
    pub summary: String,
    /// Everything that was looked for was found, and nothing else was.
    pub is_fine: bool,
    /// What a reader must know of the whole, a sentence each.
    pub remarks: Vec<String>,
    /// What this build passes, by name.
    pub passes: Vec<String>,
    /// What there was no time for, by name.
    pub unseen: Vec<String>,
    /// Files that are neither cases nor lines of campaigns, with the reason.
    pub skipped: Vec<(String, String)>,
    /// The version of the program.
    pub program: String,
}

/// A bug on the page.
#[derive(Debug)]
pub struct Drawn<'a> {
    /// The bug.
    pub bug: &'a Bug,
    /// The picture of its smallest case.
    pub svg: String,
    /// The file of its smallest case, where that was written.
    pub written: Option<String>,
    /// The command that runs it again.
    pub replay: String,
}

/// The page.
#[must_use]
pub fn page(bugs: &[Drawn<'_>], left: &Left) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n",
    );
    let (summary, state) = (escaped(&left.summary), if left.is_fine { "green" } else { "red" });
    _ = writeln!(page, "<title>{summary}</title>\n<style>\n{CSS}</style>\n</head>\n<body>");
    _ = writeln!(page, "<h1>Triage</h1>\n<div class=\"state {state}\"><p><strong>{summary}</strong></p>");
    left.remarks.iter().for_each(|remark| _ = writeln!(page, "<p>{}</p>", escaped(remark)));
    page.push_str("</div>\n");
    // The picture of the first is open, so that a reader sees that there is one.
    bugs.iter().enumerate().for_each(|(at, drawn)| article(&mut page, drawn, at == 0));
    let skipped: Vec<String> = left.skipped.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    for (title, names) in [
        ("This build passes", &left.passes),
        ("There was no time for", &left.unseen),
        ("Neither a case nor lines of a campaign", &skipped),
    ] {
        named(&mut page, title, names);
    }
    _ = writeln!(page, "<footer>{}</footer>\n</body>\n</html>", escaped(&left.program));
    page
}

fn article(page: &mut String, Drawn { bug, svg, replay, .. }: &Drawn<'_>, is_open: bool) {
    let Bug { bucket, times, smallest, .. } = bug;
    let (sign, cause) = (escaped(&bucket.fingerprint), escaped(&bucket.cause()));
    _ = writeln!(page, "<article>\n<h2><span class=\"sign\">{sign}</span> {cause}</h2>\n<dl>");
    let mut row = |name: &str, text: &str| _ = writeln!(page, "<dt>{name}</dt><dd>{text}</dd>");
    row("seen", &escaped(&bug.seen()));
    row("first", &escaped(&bug.first_seen()));
    row("smallest", &escaped(&bug.size()));
    row("why", &escaped(&smallest.why.join(" ")));
    row("replay", &format!("<code>{}</code>", escaped(replay)));
    page.push_str("</dl>\n");
    let alt = format!("{} of {}", escaped(&smallest.case.violation.to_string()), count(*times as u64, "failure"));
    _ = writeln!(
        page,
        "<details{}><summary>Picture</summary><div class=\"picture\"><img alt=\"{alt}\" src=\"{}\"></div></details>\n</article>",
        if is_open { " open" } else { "" },
        as_address(svg)
    );
}

fn named(page: &mut String, title: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    _ = writeln!(page, "<details><summary>{title}: {}</summary><ul>", names.len());
    names.iter().for_each(|name| _ = writeln!(page, "<li>{}</li>", escaped(name)));
    page.push_str("</ul></details>\n");
}

/// A picture as an address that needs no other file.
fn as_address(svg: &str) -> String {
    svg.bytes().fold("data:image/svg+xml,".to_owned(), |mut address, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*()/:;=, ".contains(&byte) {
            address.push(byte.into());
        } else {
            _ = write!(address, "%{byte:02X}");
        }
        address
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_addresses() {
        assert_eq!(as_address("<a b=\"é\">"), "data:image/svg+xml,%3Ca b=%22%C3%A9%22%3E");
    }
}
