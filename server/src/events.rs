//! Puts what a replica tells into the log, each event at the level that it deserves.
//!
//! Nothing here is told per request; what happens per message is told at `trace`.

use hence_core::{Address, Event, VersionVector};
use std::fmt;
use tracing::{debug, error, info, trace, warn};

/// Addresses as one text.
pub(crate) fn list(addresses: &[Address]) -> String {
    addresses.iter().map(Address::as_str).collect::<Vec<_>>().join(", ")
}

/// Entries of a vector that a line shows.
const SHOWN_MAX: usize = 4;

/// A vector in a line: clients can make it as long as their tokens are.
struct Few<'a>(&'a VersionVector);

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (incarnation, counter)) in self.0.entries().take(SHOWN_MAX).enumerate() {
            let before = if at == 0 { "" } else { " " };
            write!(f, "{before}{incarnation}-{counter}")?;
        }
        match self.0.len() {
            0 => f.write_str("none"),
            all if all > SHOWN_MAX => write!(f, " and {} more", all - SHOWN_MAX),
            _ => Ok(()),
        }
    }
}

/// Writes one event to the log.
pub(crate) fn tell(replica: &Address, event: &Event) {
    match event {
        Event::Applied(dot) => trace!(%replica, %dot, "applied an operation"),
        Event::Installed { from, pull, vector } => {
            info!(%replica, %from, pull, entries = vector.len(), "installed a whole state");
        }
        Event::Linked { address, incarnation } => info!(%replica, %address, %incarnation, "linked with a peer"),
        Event::Suspected(address) => warn!(%replica, %address, "a member is silent and suspected to be down"),
        Event::Recovered(address) => info!(%replica, %address, "a suspected member answered"),
        Event::Up { alone: true } => {
            info!(%replica, "up, alone: no member that is up answered; it serves, and /ready waits for the members of VIEW");
        }
        Event::Up { alone: false } => info!(%replica, "up: the data is loaded"),
        Event::Ready { unmet } if unmet.is_empty() => info!(%replica, "ready: what the members have is here"),
        Event::Ready { unmet } => {
            warn!(%replica, unmet = list(unmet), "ready after HENCE_READY_ALONE_AFTER, although these members were never met");
        }
        Event::Renewed(incarnation) => {
            warn!(%replica, %incarnation, "another incarnation is newest at our address; a new one began")
        }
        Event::AddressContested { backoff } => {
            error!(%replica, backoff_ms = backoff.0 / 1_000, "another live process uses our address; standing back");
        }
        Event::Retired { incarnation, through, .. } => {
            debug!(%replica, %incarnation, through, "an incarnation that is over was retired");
        }
        Event::RoundEnded { events, held } => {
            let (events, held) = (Few(events), Few(held));
            info!(%replica, %events, %held, "asked every member about missing writes")
        }
        Event::ClustersMerge { ours, theirs } => {
            error!(%replica, ours = list(ours), theirs = list(theirs), "members of another cluster appear that has the same name, at an address that is used again: the two merge; give each a CLUSTER of its own");
        }
        Event::NoCommonFormat { address, theirs, ours } => {
            warn!(%replica, %address, %theirs, %ours, "a member speaks no format of the protocol that this replica speaks: nothing is exchanged with it; upgrade the older one, by way of a version that speaks both");
        }
        Event::ViewChanged => info!(%replica, "the view changed"),
        Event::PullStarted { from, pull } => debug!(%replica, %from, pull, "a fetch began"),
        Event::Fetching { from, dot, held } => {
            debug!(%replica, %from, %dot, held, "a value comes in pieces")
        }
        Event::PullEnded { from, pull, complete } => debug!(%replica, %from, pull, complete, "a fetch ended"),
        Event::Stalled(length) => {
            warn!(%replica, stalled_ms = length.0 / 1_000, "this process was not run for a while")
        }
        Event::ClockTrusted(true) => info!(%replica, "the wall clock agrees with the peers' again and is used"),
        Event::ClockTrusted(false) => warn!(%replica, "the wall clock is ahead of all peers' and is not used"),
        Event::Diverged(address) => {
            error!(%replica, %address, "a peer has other data under the same names: a process was copied, or a bug")
        }
        Event::Impersonated { counter } => {
            error!(%replica, counter, "others know a write of ours that we never made: a copy of this process runs, or ran");
        }
        Event::WritesRefused(true) => {
            warn!(%replica, "memory is short: writes that add get 503; overwrites, deletes and reads go on");
        }
        Event::WritesRefused(false) => info!(%replica, "there is memory again: writes are taken"),
        Event::HeldBack(true) => {
            error!(%replica, "no memory is left for what other replicas have: it is not ready until there is; give it as much as they have");
        }
        Event::HeldBack(false) => info!(%replica, "what other replicas have is here"),
        Event::FellBehind(watch) => debug!(%replica, ?watch, "a watch fell behind and is told anew what it may lack"),
        Event::Dropped { from, reason } => {
            debug!(%replica, %from, reason = reason.name(), fault = reason.fault().name(), "dropped a message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{DropReason, Fault, Incarnation, Refusal};
    use hence_transport::LinkCause;

    #[test]
    fn the_page_on_the_log_says_whose_fault_it_is() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/log.md");
        let page = std::fs::read_to_string(page).expect("the page on the log");
        let cells = |text: &str| text.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let lines: Vec<Vec<String>> = page.lines().map(cells).collect();
        let line = |of: &str, name: &str, fault: Fault| ["", of, name, fault.name(), ""].map(str::to_owned).to_vec();
        let reasons = DropReason::ALL.iter().map(|reason| line("message", reason.name(), reason.fault()));
        let refusals = Refusal::ALL.iter().map(|refusal| line("refusal", refusal.name(), refusal.fault()));
        let links = LinkCause::ALL.iter().map(|cause| line("link", cause.name(), cause.fault()));
        let expected: Vec<_> = reasons.chain(refusals).chain(links).collect();
        let kinds = ["message", "refusal", "link"];
        let found: Vec<_> =
            lines.iter().filter(|line| line.len() == 5 && kinds.contains(&&*line[1])).cloned().collect();
        assert_eq!(found, expected);
        let faults: Vec<&str> = lines.iter().filter_map(|line| Some(line.get(1)?.as_str())).collect();
        let is_first = |fault: &&Fault| faults.contains(&fault.name());
        assert_eq!(Fault::ALL.iter().filter(is_first).count(), Fault::ALL.len(), "each fault has its line");
    }

    #[test]
    fn long_vectors_are_shown_in_part() {
        let shown = |entries: u64| {
            let vector = VersionVector::from_entries((1..=entries).map(|at| (Incarnation(at), at)));
            Few(&vector).to_string()
        };
        assert_eq!(shown(0), "none");
        assert_eq!(shown(2), "0000000000000001-1 0000000000000002-2");
        assert!(shown(4).ends_with("0000000000000004-4"));
        assert!(shown(500).ends_with("0000000000000004-4 and 496 more"));
    }
}
