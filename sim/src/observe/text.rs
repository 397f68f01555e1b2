//! A story as text: the verdict first, then one line for each thing that happened, in columns.

use super::story::{Lane, Story};
use super::words;
use std::fmt::Write as _;

/// What was broken and why, in a few lines; nothing where nothing was.
#[must_use]
pub fn verdict(story: &Story) -> String {
    let mut text = String::new();
    let (Some(violation), Some(blame)) = (&story.violation, &story.blame) else { return text };
    let place = violation.replica.map(|replica| format!(", replica {}", Lane::Replica(replica))).unwrap_or_default();
    _ = writeln!(text, "{} at {}{place}", violation.fingerprint(), words::seconds(violation.at));
    for sentence in &blame.sentences {
        _ = writeln!(text, "  {sentence}");
    }
    text
}

/// One line for each thing that happened, idle chatter only if asked for. Clients' lines tell of their requests.
#[must_use]
pub fn trace(story: &Story, idle: bool) -> String {
    let mut text = String::new();
    let is_told = |kind| matches!(kind, "takes" | "replies" | "acted" | "violation");
    let mut hidden = story.hidden;
    for moment in &story.moments {
        if is_told(moment.kind) {
            continue;
        }
        if moment.idle && !idle {
            hidden += 1;
            continue;
        }
        let (seconds, micros) = (moment.at / 1_000_000, moment.at % 1_000_000);
        let who = moment.lane.to_string();
        _ = writeln!(text, "{seconds:>4}.{micros:06}  {who:<3} {}", moment.text);
    }
    if hidden > 0 {
        _ = writeln!(text, "{} of idle chatter left out; --idle shows them", words::count(hidden as u64, "line"));
    }
    text
}
