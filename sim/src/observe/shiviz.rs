//! A log that ShiViz draws: each event with a vector clock over hosts, which are replicas and clients.

use super::story::{Lane, Story};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A vector clock over hosts.
type HostClock = BTreeMap<String, u64>;

/// The log, header first. Of an answer that never came nothing was sent.
#[must_use]
pub fn shiviz(story: &Story) -> String {
    // The parser's pattern, then the delimiter of executions, of which there is one.
    let mut log = "(?<event>.*)\\n(?<host>\\S*) (?<clock>{.*})\n\n".to_owned();
    let mut clocks: BTreeMap<String, HostClock> = BTreeMap::new();
    let mut sent: BTreeMap<usize, HostClock> = BTreeMap::new();
    for (place, moment) in story.moments.iter().enumerate() {
        if moment.lane == Lane::Outside || moment.idle || moment.kind == "violation" {
            continue;
        }
        let host = moment.lane.to_string();
        let clock = clocks.entry(host.clone()).or_default();
        for (other, &count) in story.sent_in(place).and_then(|from| sent.get(&from)).into_iter().flatten() {
            let known = clock.entry(other.clone()).or_default();
            *known = (*known).max(count);
        }
        *clock.entry(host.clone()).or_default() += 1;
        sent.insert(place, clock.clone());
        let clock = serde_json::to_string(clock).unwrap_or_default();
        let (seconds, micros) = (moment.at / 1_000_000, moment.at % 1_000_000);
        let who = if matches!(moment.lane, Lane::Client(_)) { format!("{host} ") } else { String::new() };
        _ = writeln!(log, "{seconds}.{micros:06} {who}{}\n{host} {clock}", moment.text);
    }
    log
}
