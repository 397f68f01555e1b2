//! One other address: the link to it, what it covers, and what is under way to it.

use super::asked::Asked;
use crate::causal_context::Retirement;
use crate::config::Config;
use crate::data::{Key, Value};
use crate::edge::Refused;
use crate::failure_detector::FailureDetector;
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

/// After so many pulls that ran out of time in a row, the timeout grows no further.
pub(super) const TIMEOUT_DOUBLINGS: u32 = 4;

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
    pub(super) failure_detector: FailureDetector,
    pub(super) suspected: bool,
    /// Should this address be a member?
    pub(super) is_member: bool,
    /// It was removed, and no incarnation was ever heard of there.
    pub(super) unknown: bool,
    /// No incarnation was known there when the address became known: an operator named it, here or elsewhere.
    pub(super) named: bool,
    /// When it was removed.
    pub(super) removed_since: Time,
    /// When the search for it began: a minute later it slows down.
    pub(super) searched_since: Time,
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
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    /// Pieces of large values that were asked for.
    pub(super) asked: Asked,
    pub(super) serving: Option<Serving>,
    /// The greatest pull of its incarnation that was ever served: a duplicate must not begin a second supply under its
    /// name.
    pub(super) served: u64,
    /// When a pull from it was last begun, to take turns.
    pub(super) pulled_at: Time,
    /// How many pulls from it ran out of time one after another. Each doubles the timeout of the next one.
    pub(super) pulls_late: u32,
    /// What the last pull from it that was answered took from the question to the first frame.
    pub(super) round_trip: Micros,
    /// The last pull from it that was given up because it took too long, while its operations are still welcome.
    pub(super) overdue: Option<u64>,
    /// How often interruptions of its link have put off what is missing, since a pull from it last began.
    pub(super) postponed: u8,
    /// When that was last counted.
    pub(super) postponed_at: Time,
    /// What it covered when a link first led to it, or when it became ready. So much has to be here before it counts as
    /// met.
    pub(super) goal: Option<Arc<VersionVector>>,
    /// It was met, and what it had then is here.
    pub(super) met: bool,
    /// It said that clients may be sent to it.
    pub(super) ready: bool,
    /// It refuses this replica, and said so last at that time.
    pub(super) refused: Option<(Refused, Time)>,
    /// What it said it covers and did not bring in a whole pull.
    pub(super) unkept: Unkept,
    /// It was last heard outside of a link at that time.
    pub(super) sign: Option<Time>,
    /// It said that it is about to end.
    pub(super) leaving: bool,
    /// Others were asked whether they hear it, at that time.
    pub(super) probed_at: Option<Time>,
    /// Another member heard it, at that time.
    pub(super) vouched_at: Option<Time>,
    /// It was reported that this incarnation holds something else under the same names.
    pub(super) diverged: bool,
    /// One side was removed and neither has anything left to tell the other.
    pub(super) dormant: bool,
}

/// The numbers of a link (LINK-1). 0 stands for none yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) echo: u64,
    pub(super) established: bool,
    /// The number of the next message to it.
    pub(super) sequence: u64,
    /// No message of this link has arrived yet.
    pub(super) silent: bool,
}

/// Pushes that arrived on this link.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbound {
    /// The greatest counter of all of them.
    pub(super) received: u64,
    /// How many since the last status, and their bytes.
    pub(super) unacknowledged: u64,
    pub(super) unacknowledged_bytes: usize,
    /// When one of them last was the next of its origin, or bytes of one that may be arrived.
    pub(super) advanced: Option<Time>,
}

/// Pushes that left on this link.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbound {
    /// The own counter up to which they went out, or were left to repair.
    pub(super) pushed: u64,
    pub(super) pushed_bytes: u64,
    /// The own counter up to which credit came back.
    pub(super) returned: u64,
    pub(super) returned_bytes: u64,
    /// When credit last moved; without any for a second what was sent counts as lost.
    pub(super) moved: Time,
}

/// What a peer claimed and could not give: no reason to ask it again for a while.
#[derive(Debug, Clone, Default)]
pub(super) struct Unkept {
    /// What it had claimed when the last such pull began.
    pub(super) claimed: Arc<VersionVector>,
    /// How many pulls in a row ended like that.
    pub(super) times: u32,
    /// From then on the claim counts again.
    pub(super) until: Time,
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
            failure_detector: FailureDetector::new(now),
            suspected: false,
            is_member: false,
            unknown: false,
            named: false,
            removed_since: now,
            searched_since: now,
            next_hello: now,
            challenged_at: Time::default(),
            unfinished: None,
            connected: false,
            wall_sample: None,
            view_hash: None,
            next_status: Time::NEVER,
            status_at: Time::default(),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            asked: Asked::default(),
            serving: None,
            served: 0,
            pulled_at: Time::default(),
            pulls_late: 0,
            round_trip: Micros::ZERO,
            overdue: None,
            postponed: 0,
            postponed_at: Time::default(),
            goal: None,
            met: false,
            ready: false,
            refused: None,
            unkept: Unkept::default(),
            sign: None,
            leaving: false,
            probed_at: None,
            vouched_at: None,
            diverged: false,
            dormant: false,
        }
    }

    /// Forgets everything that belongs to the link, not to the peer.
    pub(super) fn close(&mut self) {
        self.link = Link::default();
        self.unfinished = None;
        self.overdue = None;
        self.view_hash = None;
        self.leaving = false;
        self.next_status = Time::NEVER;
        self.inbound = Inbound::default();
        self.outbound = Outbound::default();
        self.serving = None;
    }

    /// How long a frame of a pull is waited for. Each pull that ran out of time doubles it. A peer that is slow for good
    /// would never be heard without that (decision 0025).
    pub(super) fn frame_timeout(&self, pull_timeout: Micros) -> Micros {
        pull_timeout.times(1 << self.pulls_late.min(TIMEOUT_DOUBLINGS))
    }

    /// How long a piece of a value is waited for: at least twice as long as the last pull took to be answered.
    pub(super) fn piece_timeout(&self, pull_timeout: Micros) -> Micros {
        pull_timeout.max(self.round_trip.times(2))
    }

    /// The number of the next message on this link.
    pub(super) const fn next_sequence(&mut self) -> u64 {
        let sequence = self.link.sequence;
        self.link.sequence += 1;
        sequence
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
        self.unkept = Unkept::default();
        self.diverged = false;
        self.wall_sample = None;
    }

    /// Is it a removed address at which no incarnation was ever heard of? Most likely nothing is there. But two sides
    /// that removed each other before they met are there for one another. So all such addresses together are dialled as
    /// often as one.
    pub(super) const fn is_stranger(&self) -> bool {
        self.unknown && !self.dormant && !self.link.established
    }

    /// How long to wait before the next hello.
    pub(super) fn hello_pause(&self, config: &Config, now: Time) -> Micros {
        if !self.is_member {
            config.probe_interval_max
        } else if !self.suspected {
            config.hello_interval
        } else if now.since(self.searched_since) < Micros::from_seconds(60) {
            config.hello_interval.times(2)
        } else {
            config.probe_interval_max
        }
    }
}
