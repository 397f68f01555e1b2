//! What clients ask and what they get. Tokens are decoded by the caller; conditions are sets of dots.

mod batch;
mod list;
mod watch;

pub use batch::{BatchAnswer, BatchError, BatchOperation, BatchRequest, Outcome};
pub(crate) use list::above_all_with;
pub use list::{LIST_MAX, ListAnswer, ListRequest, ListShape, Listed};
pub use watch::{WATCH_PART_MAX, WatchChange, WatchMark, WatchPart, WatchRange, WatchRequest, WatchReset};

use crate::data::{Key, Value};
use crate::fault::Fault;
use crate::identity::{Address, Incarnation};
use crate::op::Dots;
use crate::siblings::Siblings;
use crate::time::Micros;
use crate::vector::{Dot, VersionVector};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Names one request at one replica until it is answered or cancelled. The driver chooses it, never twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// To read or write a key.
    Data(Box<DataRequest>),
    /// To read and write several keys at once.
    Batch(Box<BatchRequest>),
    /// To read the keys of a range, in order.
    List(Box<ListRequest>),
    /// To be told what is there of a key or a prefix, and what changes.
    Watch(Box<WatchRequest>),
    /// `GET /view`: which members are in.
    View,
    /// `PUT /view`: an operator wants this address.
    ViewAdd(Address),
    /// `DELETE /view`: an operator does not want it any more.
    ViewRemove(Address),
}

/// A request for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRequest {
    /// The key.
    pub key: Key,
    /// What to do with it.
    pub action: Action,
    /// The client's causal past: the join of all tokens it sent.
    pub past: VersionVector,
    /// How long to wait for missing dependencies instead of a refusal; zero is not at all.
    pub wait: Micros,
    /// When to go ahead.
    pub condition: Condition,
    /// The oldest format in which what it asks for can be said to other replicas. Above the lowest released one it is
    /// refused until every member speaks that format. The one for tests makes a delete an erasure.
    pub format: u8,
    /// Where a write is to be before it is answered; none is here alone.
    pub concern: Option<WriteConcern>,
}

/// How far a write is to have spread before it is answered (CONCERN-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteConcern {
    /// How many replicas are to hold it.
    pub holders: Holders,
    /// How long to wait for that, from the arrival of the request. Cut to [`crate::Config::wait_max`].
    pub wait: Micros,
}

/// How many replicas are to hold a write, the one that takes it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holders {
    /// At least so many.
    AtLeast(usize),
    /// More than half of the member addresses.
    Majority,
    /// One at each member address.
    All,
}

impl Holders {
    /// So many they are where so many addresses are members.
    #[must_use]
    pub const fn among(self, members: usize) -> usize {
        match self {
            Self::AtLeast(holders) => holders,
            Self::Majority => members / 2 + 1,
            Self::All => members,
        }
    }
}

/// What to do with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read it.
    Get,
    /// Write this value.
    Put(Value),
    /// Remove it.
    Delete,
}

impl Action {
    /// Is it a put or a delete?
    #[must_use]
    pub const fn writes(&self) -> bool {
        !matches!(self, Self::Get)
    }

    /// Bytes of the value that it puts.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        match self {
            Self::Put(value) => value.as_bytes().len(),
            Self::Get | Self::Delete => 0,
        }
    }
}

/// Preconditions on the versions that this replica shows (RFC 9110, section 13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// Go ahead only if the versions shown are one of these.
    pub if_match: Option<Match>,
    /// Go ahead only if the versions shown are none of these.
    pub if_none_match: Option<Match>,
}

/// What a precondition compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `*`: the key is present.
    Any,
    /// One of these exact sets, each sorted by dot.
    OneOf(Vec<Vec<Dot>>),
}

impl Match {
    /// Do these versions match?
    #[must_use]
    pub fn matches(&self, siblings: &Siblings) -> bool {
        match self {
            Self::Any => !siblings.is_empty(),
            Self::OneOf(sets) => {
                let same =
                    |set: &Vec<Dot>| set.len() == siblings.len() && set.iter().all(|&dot| siblings.contains(dot));
                !siblings.is_empty() && sets.iter().any(same)
            }
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The key is present.
    Found {
        /// Its versions, winner first.
        siblings: Siblings,
        /// The client's causal past from now on.
        token: VersionVector,
    },
    /// A conditional read whose versions the client already has.
    NotModified {
        /// Its versions, winner first.
        siblings: Siblings,
        /// The client's causal past from now on.
        token: VersionVector,
    },
    /// The key is absent; so a read, or a delete that did nothing.
    Absent {
        /// The client's causal past from now on.
        token: VersionVector,
    },
    /// The write is applied here.
    Written(Written),
    /// The write is applied here, and was asked to be elsewhere, too (CONCERN-2).
    Spread {
        /// What is answered without a write concern.
        answer: Box<Reply>,
        /// The incarnations that count as holding it at this moment, at most one for each member address.
        holders: Vec<Incarnation>,
        /// They are as many as were asked for. If not, only the spread of the write is unproved.
        reached: bool,
    },
    /// The precondition does not hold here; nothing changed.
    PreconditionFailed {
        /// The versions it was compared with.
        siblings: Siblings,
        /// The client's causal past from now on.
        token: VersionVector,
    },
    /// Writes that the token names died with their only holders; nothing changed.
    Lost {
        /// The client's causal past, cut to what some member still holds.
        token: VersionVector,
    },
    /// A batch was read, and written as a whole.
    Batch(BatchAnswer),
    /// The precondition of one operation of a batch does not hold here; nothing changed.
    BatchFailed {
        /// Which one, counted from zero: the first of them.
        index: usize,
        /// The client's causal past from now on.
        token: VersionVector,
    },
    /// A page of the keys of a range.
    Listed(ListAnswer),
    /// Refused; nothing changed.
    Refused(Refusal),
    /// The members that are not known to be down, in order of address.
    View(Vec<Address>),
    /// `PUT /view` succeeded.
    ViewAdded {
        /// `GET /view` listed it already.
        listed: bool,
    },
    /// `DELETE /view` succeeded.
    ViewRemoved,
    /// `DELETE /view` of an address that is not a member.
    ViewUnknown,
    /// `DELETE /view` of the last member.
    ViewLast,
}

impl Reply {
    /// The write event that it acknowledges, if it does.
    #[must_use]
    pub fn dot(&self) -> Option<Dot> {
        self.batch().map_or_else(|| self.written().map(|written| written.dot), |answer| answer.dot)
    }

    /// What is answered without a write concern.
    #[must_use]
    pub fn apart_from_spread(&self) -> &Self {
        if let Self::Spread { answer, .. } = self { answer } else { self }
    }

    /// The write of one key that it answers, whatever became of its concern.
    #[must_use]
    pub fn written(&self) -> Option<&Written> {
        if let Self::Written(written) = self.apart_from_spread() { Some(written) } else { None }
    }

    /// The batch that it answers, whatever became of its concern.
    #[must_use]
    pub fn batch(&self) -> Option<&BatchAnswer> {
        if let Self::Batch(answer) = self.apart_from_spread() { Some(answer) } else { None }
    }
}

/// A write that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The write event.
    pub dot: Dot,
    /// The versions it replaced or removed, sorted by dot. A put is a creation when there are none.
    pub superseded: Dots,
    /// The client's causal past from now on.
    pub token: VersionVector,
}

/// Why a replica did not serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is joining, or an operator removed it.
    NotReady,
    /// It has not applied all of the client's causal past, and the wait, if any, is over.
    NotCovered,
    /// The token names a write of this very incarnation that was never made: it is not one of ours.
    Impossible,
    /// Memory limits are reached.
    WriteLimit,
    /// It asks for something that not every member understands yet.
    Upgrading,
    /// More replicas are to hold the write than there are member addresses.
    TooFewMembers,
    /// As many writes as may wait do so for their write concern.
    NoRoomToWait,
    /// There is no memory left to put the keys in order for a list.
    NoMemoryToList,
    /// As many watches as may be are there.
    NoRoomToWatch,
    /// The values of a batch are larger than what travels as a whole.
    BatchTooLarge {
        /// How many bytes they may have together.
        bytes_max: usize,
    },
}

impl Refusal {
    /// Every refusal, for tables. Numbers in them are 0.
    pub const ALL: [Self; 10] = [
        Self::NotReady,
        Self::NotCovered,
        Self::Impossible,
        Self::WriteLimit,
        Self::Upgrading,
        Self::TooFewMembers,
        Self::NoRoomToWait,
        Self::NoMemoryToList,
        Self::NoRoomToWatch,
        Self::BatchTooLarge { bytes_max: 0 },
    ];

    /// A short name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::NotCovered => "not_covered",
            Self::Impossible => "impossible",
            Self::WriteLimit => "write_limit",
            Self::Upgrading => "upgrading",
            Self::TooFewMembers => "too_few_members",
            Self::NoRoomToWait => "no_room_to_wait",
            Self::NoMemoryToList => "no_memory_to_list",
            Self::NoRoomToWatch => "no_room_to_watch",
            Self::BatchTooLarge { .. } => "batch_too_large",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::NotReady | Self::NotCovered => Fault::Race,
            Self::Impossible | Self::TooFewMembers | Self::BatchTooLarge { .. } => Fault::Client,
            Self::WriteLimit | Self::NoRoomToWait | Self::NoMemoryToList | Self::NoRoomToWatch => Fault::Overload,
            Self::Upgrading => Fault::Operator,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "Replica is not ready",
            Self::NotCovered => "Causal dependencies not satisfied; try again later",
            Self::Impossible => "causal-metadata names a write that this replica never made",
            Self::WriteLimit => "Write limit reached; try again later",
            Self::Upgrading => "Cluster is being upgraded",
            Self::TooFewMembers => "Write-Concern is above the number of members",
            Self::NoRoomToWait => "Too many requests wait; try again later",
            Self::NoMemoryToList => "No memory is left to list keys; try again later",
            Self::NoRoomToWatch => "Too many watches; try again later",
            Self::BatchTooLarge { bytes_max } => {
                return write!(f, "Values of the batch are too large; at most {bytes_max} bytes are allowed");
            }
        })
    }
}
