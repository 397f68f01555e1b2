//! What a campaign found as JUnit's XML, which services for continuous integration read.

use super::findings::{Campaign, Findings};
use super::provenance;
use super::register::Returned;
use crate::campaign::Summary;
use std::fmt::Write as _;

/// One test that passes where nothing fails, otherwise one failing test for each kind of failure. Each says how it is run again.
pub(crate) fn xml(campaign: &Campaign, findings: &Findings, summary: &Summary) -> String {
    let (profile, failures) = (campaign.profile.name(), summary.failures.len() + findings.returned.len());
    let (tests, schedules) = (failures.max(1), summary.schedules);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    _ = writeln!(
        xml,
        "<testsuite name=\"hence-sim {profile}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">"
    );
    _ = writeln!(xml, "  <properties><property name=\"schedules\" value=\"{schedules}\"/></properties>");
    if schedules == 0 && failures == 0 {
        _ = writeln!(xml, "  <testcase classname=\"{profile}\" name=\"no promise is broken\"><skipped/></testcase>");
    } else if failures == 0 {
        _ = writeln!(xml, "  <testcase classname=\"{profile}\" name=\"no promise is broken\"/>");
    }
    for (fingerprint, failure) in &summary.failures {
        let again = match findings.case(fingerprint) {
            Ok(path) => format!("hence-sim replay {}", provenance::quoted(&path.to_string_lossy())),
            Err(_) => campaign.again(failure.seed),
        };
        let (name, said) = (escaped(fingerprint), escaped(&failure.violation.to_string()));
        let again = escaped(&again);
        _ = writeln!(xml, "  <testcase classname=\"{profile}\" name=\"{name}\">");
        _ = writeln!(
            xml,
            "    <failure type=\"{name}\" message=\"{said}\">seed {}, {} in all",
            failure.seed, failure.times
        );
        _ = writeln!(xml, "{again}</failure>\n  </testcase>");
    }
    for Returned { finding, case, violation } in &findings.returned {
        let (name, said) = (escaped(&finding.name), escaped(&violation.to_string()));
        let again = escaped(&format!("hence-sim replay {}", provenance::quoted(&case.to_string_lossy())));
        _ = writeln!(xml, "  <testcase classname=\"{profile}\" name=\"{name} stays fixed\">");
        _ = writeln!(xml, "    <failure type=\"returned\" message=\"{said}\">{again}</failure>\n  </testcase>");
    }
    xml.push_str("</testsuite>\n");
    xml
}

/// A text within XML. What XML has no word for becomes a question mark.
fn escaped(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { '?' } else { letter });
    plain.fold(String::new(), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a<b> & \"c\"\u{7}"), "a&lt;b&gt; &amp; &quot;c&quot;?");
    }
}
