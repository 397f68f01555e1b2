//! One other address: the link to it, what it covers, and what is under way to it.

use super::asked::Asked;
use super::credit::{Inbound, Outbound};
use super::link::Link;
use super::supplier::Supplier;
use super::suspect::Suspect;
use crate::causal_context::Retirement;
use crate::config::Config;
use crate::data::{Key, Value};
use crate::edge::Refused;
use crate::formats::Formats;
use crate::freshness::Offsets;
use crate::identity::{Address, Incarnation};
use crate::stream::Stream;
use crate::time::{Micros, Time, Wall};
use crate::vector::{Dot, VersionVector};
use crate::view::MemberRecord;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

/// An index into the table of peers. Places are never removed from it; one whose address the view has forgotten is
/// given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerId(pub(super) usize);

#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: Address,
    pub(super) link: Link,
    /// The incarnation at the other end of the link, or of the last one.
    pub(super) incarnation: Option<Incarnation>,
    /// When that incarnation sent its last status, on its own clock.
    pub(super) status_sent: Time,
    /// The formats that an incarnation there said it speaks: this one as soon as it said hello.
    pub(super) formats: Option<Formats>,
    /// What it covers, as that status says.
    pub(super) acknowledged: Arc<VersionVector>,
    pub(super) offsets: Offsets,
    /// What arrives from that incarnation, over all its links.
    pub(super) stream: Stream,
    pub(super) suspect: Suspect,
    /// Should this address be a member?
    pub(super) is_member: bool,
    /// It was removed, and no incarnation was ever heard of there.
    pub(super) unknown: bool,
    /// No incarnation was known there when the address became known: an operator named it, here or elsewhere.
    pub(super) named: bool,
    /// When it was removed.
    pub(super) removed_since: Time,
    pub(super) next_hello: Time,
    /// When it was last told that it speaks under other numbers than those that hold here.
    pub(super) challenged_at: Time,
    /// When bytes of a message arrived that is not whole yet, if nothing whole has arrived since.
    pub(super) unfinished: Option<Time>,
    /// It accepted a connection since the last hello.
    pub(super) connected: bool,
    /// Its wall clock and ours at the same moment, when its last status came.
    pub(super) wall_sample: Option<(Wall, Time)>,
    pub(super) view_hash: Option<u64>,
    pub(super) next_status: Time,
    /// When the last status went out.
    pub(super) status_at: Time,
    /// It was asked for a status and has sent none since.
    pub(super) is_asked: bool,
    /// The own counter that it was last asked about.
    pub(super) asked_through: u64,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// Pieces of large values that were asked for.
    pub(super) asked: Asked,
    pub(super) serving: Option<Serving>,
    /// The greatest pull of its incarnation that was ever served: a duplicate must not begin a second supply under its
    /// name.
    pub(super) served: u64,
    /// What became of pulls from it.
    pub(super) supplier: Supplier,
    /// What it covered when a link first led to it, or when it became ready. So much has to be here before it counts as
    /// met.
    pub(super) goal: Option<Arc<VersionVector>>,
    /// It was met, and what it had then is here.
    pub(super) met: bool,
    /// It said that clients may be sent to it.
    pub(super) ready: bool,
    /// It refuses this replica, and said so last at that time.
    pub(super) refused: Option<(Refused, Time)>,
    /// It was last heard outside of a link at that time.
    pub(super) sign: Option<Time>,
    /// It said that it is about to end.
    pub(super) leaving: bool,
    /// It was reported that this incarnation holds something else under the same names.
    pub(super) diverged: bool,
    /// One side was removed and neither has anything left to tell the other.
    pub(super) dormant: bool,
}

/// A pull of this peer that is being answered.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) id: u64,
    /// What the peer covered when it asked.
    pub(super) vector: Arc<VersionVector>,
    /// The number of the next frame.
    pub(super) frame: u32,
    /// How many frames the peer has taken.
    pub(super) taken: u32,
    /// When the peer last took something.
    pub(super) moved: Time,
    /// The value that the last frame announced, until the peer has it.
    pub(super) large: Option<(Dot, Value)>,
    pub(super) source: Source,
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The log, from this number to that one.
    Log { next: u64, end: u64 },
    /// The whole state, as it changes under way.
    State(Box<Pass>),
}

impl Source {
    /// Has everything of a state gone out but its end?
    pub(super) fn is_drained(&self) -> bool {
        match self {
            Self::Log { .. } => false,
            Self::State(pass) => pass.left == 0 && pass.changed.is_empty() && pass.partial.is_none(),
        }
    }
}

/// How far a whole state has been sent. Its keys go from the last slot to the first. So a key which moves because
/// another one went away is sent twice at worst, and never left out.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    /// The last record of a retired incarnation that went out.
    pub(super) record: Option<Incarnation>,
    pub(super) records_done: bool,
    /// The keys in the slots below this one have still to go. More than there are before the first frame.
    pub(super) left: usize,
    /// A key of which some versions went out, and how many.
    pub(super) partial: Option<(Key, usize)>,
    /// Keys that changed after they went out, or went away.
    pub(super) changed: BTreeSet<Key>,
    /// Incarnations that were retired since the pass began.
    pub(super) retired: BTreeMap<Incarnation, Retirement>,
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            record: None,
            records_done: false,
            left: usize::MAX,
            partial: None,
            changed: BTreeSet::new(),
            retired: BTreeMap::new(),
        }
    }
}

impl Peer {
    pub(super) fn of(record: &MemberRecord, now: Time) -> Self {
        Self { named: record.newest.is_none(), ..Self::new(record.address.clone(), now) }
    }

    pub(super) fn new(address: Address, now: Time) -> Self {
        Self {
            address,
            link: Link::default(),
            incarnation: None,
            status_sent: Time::default(),
            formats: None,
            acknowledged: Arc::default(),
            offsets: Offsets::default(),
            stream: Stream::default(),
            suspect: Suspect::new(now),
            is_member: false,
            unknown: false,
            named: false,
            removed_since: now,
            next_hello: now,
            challenged_at: Time::default(),
            unfinished: None,
            connected: false,
            wall_sample: None,
            view_hash: None,
            next_status: Time::NEVER,
            status_at: Time::default(),
            is_asked: false,
            asked_through: 0,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            asked: Asked::default(),
            serving: None,
            served: 0,
            supplier: Supplier::default(),
            goal: None,
            met: false,
            ready: false,
            refused: None,
            sign: None,
            leaving: false,
            diverged: false,
            dormant: false,
        }
    }

    /// Forgets everything that belongs to the link, not to the peer.
    pub(super) fn close(&mut self) {
        self.link = Link::default();
        self.unfinished = None;
        self.supplier.forget_overdue();
        self.view_hash = None;
        self.leaving = false;
        self.next_status = Time::NEVER;
        (self.is_asked, self.asked_through) = (false, 0);
        self.inbound = Inbound::default();
        self.outbound = Outbound::default();
        self.serving = None;
    }

    /// Another incarnation answers here.
    pub(super) fn reset_for(&mut self, incarnation: Incarnation) {
        self.incarnation = Some(incarnation);
        self.status_sent = Time::default();
        self.acknowledged = Arc::default();
        self.offsets = Offsets::default();
        self.stream = self.stream.of_next_incarnation();
        self.served = 0;
        self.goal = None;
        self.ready = false;
        self.supplier.forget_unkept();
        self.diverged = false;
        self.wall_sample = None;
    }

    /// Is it a removed address at which no incarnation was ever heard of? Most likely nothing is there. But two sides
    /// that removed each other before they met are there for one another. So all such addresses together are dialled as
    /// often as one.
    #[inline]
    pub(super) const fn is_stranger(&self) -> bool {
        self.unknown && !self.dormant && !self.link.is_established()
    }

    /// How long to wait before the next hello.
    pub(super) fn hello_pause(&self, config: &Config, now: Time) -> Micros {
        if !self.is_member {
            config.probe_interval_max
        } else {
            match self.suspect.since() {
                None => config.hello_interval,
                Some(since) if now.since(since) < Micros::from_seconds(60) => config.hello_interval.times(2),
                Some(_) => config.probe_interval_max,
            }
        }
    }
}
