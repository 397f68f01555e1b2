//! What is said of strangers: seldom, however often they come.

use super::causes::LinkCause;
use super::greeting::Greeting;
use crate::codec::CodecError;
use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;
use hence_core::{Address, Fault, Formats};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The same complaint of the same source is made once in this time.
const PAUSE: Duration = Duration::from_secs(60);
/// Complaints that are remembered. Beyond, further ones are not made until some are old.
const REMEMBERED_MAX: usize = 256;

/// Whose fault a refused link is: the same as on the side that was refused.
const FOREIGN: &str = LinkCause::Foreign.fault().name();
const VERSION: &str = LinkCause::Version.fault().name();
const UNTRUSTED: &str = LinkCause::Untrusted.fault().name();

/// What was complained of, and when.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    made: RefCell<BTreeMap<(&'static str, Option<IpAddr>), Instant>>,
}

impl Complaints {
    /// A replica of another cluster wants a link.
    pub(super) fn of_cluster(&self, replica: &Address, greeting: &Greeting, source: Option<IpAddr>) {
        if self.may_say("cluster", source) {
            let (address, cluster) = (&greeting.address, format_args!("{:08x}", greeting.cluster.0));
            tracing::error!(%replica, %address, source = show(source), cluster, fault = FOREIGN, "a member of another cluster appears: two clusters use one address, or CLUSTER differs among the members of one");
        }
    }

    /// A replica wants a link that speaks none of these formats.
    pub(super) fn of_formats(&self, (replica, ours): (&Address, Formats), greeting: &Greeting, source: Option<IpAddr>) {
        if self.may_say("version", source) {
            let (address, theirs) = (&greeting.address, greeting.formats);
            tracing::warn!(%replica, %address, source = show(source), %theirs, %ours, fault = VERSION, "a replica that speaks another version of the protocol is refused; its data does not come here: no format is common");
        }
    }

    /// A process wants a link and does not show what a member shows.
    pub(super) fn of_trust(
        &self,
        replica: &Address,
        lacks: &'static str,
        greeting: Option<&Greeting>,
        source: Option<IpAddr>,
    ) {
        if self.may_say(lacks, source) {
            let address = greeting.map_or_else(|| "unknown".into(), |greeting| greeting.address.to_string());
            tracing::warn!(%replica, address, source = show(source), lacks, fault = UNTRUSTED, "a process that does not show that it belongs to this cluster wants a link and is refused");
        }
    }

    /// A connection brought a frame that was refused.
    pub(super) fn of_frame(&self, replica: &Address, error: &CodecError, source: Option<IpAddr>) {
        if !self.may_say(error.name(), source) {
            return;
        }
        let source = show(source);
        match error {
            CodecError::Foreign(_) => {
                tracing::error!(%replica, source, fault = FOREIGN, "a member of another cluster appears: two clusters use one address, or CLUSTER differs among the members of one ({error})");
            }
            CodecError::Version { .. } => {
                tracing::warn!(%replica, source, fault = VERSION, "a replica that speaks another version of the protocol is refused; its data does not come here ({error})");
            }
            CodecError::Address(_) => {
                tracing::error!(%replica, source, fault = Fault::Peer.name(), "a member speaks for another one, and its connection ends: {error}");
            }
            CodecError::Magic { .. }
            | CodecError::Oversize { .. }
            | CodecError::Length(_)
            | CodecError::Checksum { .. }
            | CodecError::Body { .. } => {
                tracing::warn!(%replica, source, fault = Fault::Peer.name(), "a connection brought what is no frame: {error}");
            }
        }
    }

    fn may_say(&self, what: &'static str, source: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let mut made = self.made.borrow_mut();
        let is_old = |at: &Instant| now.duration_since(*at) >= PAUSE;
        if made.get(&(what, source)).is_some_and(|at| !is_old(at)) {
            return false;
        }
        if made.len() >= REMEMBERED_MAX {
            made.retain(|_, at| !is_old(at));
        }
        made.len() < REMEMBERED_MAX && made.insert((what, source), now).is_none_or(|at| is_old(&at))
    }
}

fn show(source: Option<IpAddr>) -> String {
    source.map_or_else(|| "unknown".into(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_of_the_same_is_said_once() {
        let complaints = Complaints::default();
        let from = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        assert!(complaints.may_say("cluster", from(1)) && !complaints.may_say("cluster", from(1)));
        assert!(complaints.may_say("version", from(1)) && complaints.may_say("cluster", from(2)));
        let said = (0..=255).filter(|&last| complaints.may_say("magic", from(last))).count();
        assert_eq!(said, REMEMBERED_MAX - 3);
        assert!(!complaints.may_say("body", from(1)), "what is remembered is bounded");
    }
}
