//! What failed as annotations of GitHub: lines that its runner takes from the output of a step.

use super::canary::Canary;
use super::findings::{Campaign, Findings};
use super::provenance::quoted;
use super::register::Returned;
use crate::campaign::Summary;

/// The variable that GitHub's runner sets.
const RUNNER: &str = "GITHUB_ACTIONS";

/// Are they asked for, or does GitHub's runner read the output?
pub(crate) fn are_asked(asked: bool) -> bool {
    asked || std::env::var_os(RUNNER).is_some_and(|is| is == "true")
}

/// An annotation for each kind of failure, with the command that replays it.
pub(crate) fn say(campaign: &Campaign, findings: &Findings, summary: &Summary, canary: Option<&Canary>) {
    for (fingerprint, failure) in &summary.failures {
        let again = match findings.case(fingerprint) {
            Ok(path) => format!("hence-sim replay {}", quoted(&path.to_string_lossy())),
            Err(_) => campaign.again(failure.seed),
        };
        let text = format!("seed {}, {} in all: {}\n{again}", failure.seed, failure.times, failure.violation);
        say!("{}", line(fingerprint, &text));
    }
    for Returned { finding, case, violation } in &findings.returned {
        let text = format!("{violation}\nhence-sim replay {}", quoted(&case.to_string_lossy()));
        say!("{}", line(&format!("{} is back", finding.name), &text));
    }
    if let Some(canary) = canary.filter(|canary| !canary.is_found()) {
        say!("{}", line("canary", &canary.told()));
    }
}

/// One annotation.
fn line(title: &str, text: &str) -> String {
    let plain = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = plain(title).replace(':', "%3A").replace(',', "%2C");
    format!("::error title={title}::{}", plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the runner reads it: within a property a colon and a comma end it.
    #[test]
    fn texts_are_escaped() {
        assert_eq!(line("a: b, c", "1 % of\nx: y"), "::error title=a%3A b%2C c::1 %25 of%0Ax: y");
    }
}
