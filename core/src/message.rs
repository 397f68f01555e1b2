//! What replicas say to each other.
//!
//! Every message carries the numbers of its link. A link joins two incarnations. Each end names a fresh number in its
//! hello and echoes the other's. A message whose numbers are not those of the present link changes nothing (LINK-1).

use crate::causal_context::Retirement;
use crate::data::{Key, Value};
use crate::formats::Formats;
use crate::hlc::Hlc;
use crate::identity::{Address, Incarnation};
use crate::op::{Effect, Op};
use crate::siblings::Sibling;
use crate::time::{Time, Wall};
use crate::vector::{Dot, VersionVector};
use crate::view::MemberRecord;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One message between two replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The incarnation that sends it.
    pub from: Incarnation,
    /// The sender's number for this link. Greater for a later link of the same incarnation; never 0.
    pub number: u64,
    /// The receiver's number for this link as the sender knows it; 0 in a hello that opens a link.
    pub echo: u64,
    /// Its number among all that the sender said on this link, from 0. A gap tells the receiver that messages are lost.
    pub sequence: u64,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Does it open a link? A transport drops what it still holds for that peer and connects anew before sending it. A
    /// new link is a new socket, because a connection that silently died would hold it up.
    #[must_use]
    pub const fn is_opening(&self) -> bool {
        matches!(self.body, Body::Hello(_)) && self.echo == 0
    }

    /// The oldest format in which it can be said.
    #[must_use]
    pub fn format(&self) -> u8 {
        match &self.body {
            Body::Push { op, .. } => op.format(),
            Body::Supply(supply) => match &supply.content {
                Content::Ops(ops) => ops.iter().map(|op| op.format()).max().unwrap_or(Formats::RELEASED.lowest),
                Content::Op(_)
                | Content::Versions(_)
                | Content::Version(..)
                | Content::Retired(_)
                | Content::State(_) => Formats::RELEASED.lowest,
            },
            Body::Hello(_)
            | Body::Status(_)
            | Body::Announce { .. }
            | Body::Want { .. }
            | Body::Piece { .. }
            | Body::View(_)
            | Body::Pull { .. }
            | Body::LostQuery(_)
            | Body::LostReply { .. }
            | Body::Probe { .. }
            | Body::Vouch { .. }
            | Body::Taken { .. } => Formats::RELEASED.lowest,
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Opens a link or answers one that opens.
    Hello(Box<Hello>),
    /// Alive, and what is covered here: ping and acknowledgement in one.
    Status(Box<Status>),
    /// One of the sender's own operations, just made.
    Push {
        /// The operation.
        op: Arc<Op>,
        /// When it was made, on the sender's monotonic clock.
        made: Time,
    },
    /// The same of an operation whose value travels in pieces: a peer that wants it asks for them.
    Announce {
        /// The operation, and what to know of its value.
        op: Outlined,
        /// When it was made, on the sender's monotonic clock.
        made: Time,
    },
    /// Asks for a piece of a value.
    Want {
        /// The write that made it.
        dot: Dot,
        /// Where in the value the piece begins.
        offset: u64,
        /// How many bytes it has.
        bytes: u32,
    },
    /// A piece of a value.
    Piece {
        /// The write that made it.
        dot: Dot,
        /// Where in the value the piece begins.
        offset: u64,
        /// The bytes; none says that the sender cannot give them.
        bytes: Value,
    },
    /// Every record of the sender's view.
    View(Arc<[MemberRecord]>),
    /// Asks for all operations that `vector` does not cover.
    Pull {
        /// Names this pull; greater for a later one of the same incarnation.
        id: u64,
        /// What the sender covers.
        vector: Arc<VersionVector>,
    },
    /// One frame of the answer to a pull.
    Supply(Box<Supply>),
    /// Part of a lost-write round: does the receiver hold this?
    LostQuery(Box<LostQuery>),
    /// What the sender holds of what it was asked about.
    LostReply {
        /// The round.
        round: u64,
        /// What it covers of the incarnations asked about; an incarnation that is missing stands for 0.
        held: Box<VersionVector>,
    },
    /// Is that address alive, as far as the receiver knows?
    Probe {
        /// The address.
        address: Address,
    },
    /// The sender has heard from that address just now.
    Vouch {
        /// The address.
        address: Address,
    },
    /// A frame of a pull arrived and was taken in, so one more may be sent.
    Taken {
        /// The pull.
        id: u64,
        /// The frame's number.
        frame: u32,
    },
}

impl Body {
    /// A short name for metrics and traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Status(_) => "status",
            Self::Push { .. } => "push",
            Self::Announce { .. } => "announce",
            Self::Want { .. } => "want",
            Self::Piece { .. } => "piece",
            Self::View(_) => "view",
            Self::Pull { .. } => "pull",
            Self::Supply(_) => "supply",
            Self::LostQuery(_) => "ask",
            Self::LostReply { .. } => "answer",
            Self::Probe { .. } => "probe",
            Self::Vouch { .. } => "vouch",
            Self::Taken { .. } => "taken",
        }
    }
}

/// Opens a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's monotonic clock.
    pub sent: Time,
    /// The sender's wall clock.
    pub wall: Wall,
    /// What the sender covers.
    pub vector: Arc<VersionVector>,
    /// Every record of the sender's view, its own first.
    pub view: Arc<[MemberRecord]>,
    /// The formats that the sender speaks. Format 4 has no place for them: there the transport tells what it heard
    /// when the connection was made.
    pub formats: Formats,
}

/// Ping and acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The sender's monotonic clock.
    pub sent: Time,
    /// The sender's wall clock.
    pub wall: Wall,
    /// What the sender covers: applied or installed, never merely heard.
    pub vector: Arc<VersionVector>,
    /// The greatest counter that arrived in a push of this link, applied, parked or refused: so much
    /// credit returns.
    pub received: u64,
    /// The sender is about to end: a receiver that lacks something that it covers fetches it now.
    pub leaving: bool,
    /// Clients may be sent to the sender: what it holds is what the cluster holds.
    pub ready: bool,
    /// A hash of the sender's view records; a receiver with another hash sends its records.
    pub view_hash: u64,
    /// The digest of the sender's store, unless a state is being merged in there. Equal vectors must come with equal
    /// digests.
    pub digest: Option<u64>,
}

/// The question of a lost-write round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostQuery {
    /// Names the round; greater for a later one of the same incarnation.
    pub round: u64,
    /// Exactly the incarnations that are asked. Links to any other end before the answer.
    pub incarnations: Vec<Incarnation>,
    /// The events in question.
    pub events: VersionVector,
}

/// One frame of the answer to a pull. Frames count from 0 and arrive in order or the pull has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// The pull that this answers.
    pub id: u64,
    /// Its running number.
    pub frame: u32,
    /// What it holds.
    pub content: Content,
    /// Nothing comes after it.
    pub last: bool,
}

/// What a [`Supply`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Operations in the supplier's own apply order: every prefix is causally closed.
    Ops(Vec<Arc<Op>>),
    /// One operation whose value travels in pieces. What comes next in order waits until it is taken.
    Op(Outlined),
    /// Versions of the supplier's state, to be staged until the whole is there.
    Versions(Vec<SnapshotEntry>),
    /// One version whose value travels in pieces: whole, but for the value. The rest waits until it is taken.
    Version(Box<SnapshotEntry>, Outline),
    /// Retired incarnations that the supplier knows.
    Retired(Vec<(Incarnation, Retirement)>),
    /// The end of a state: what it covers. Installing it is one step.
    State(Box<Coverage>),
}

/// What to know of a value that travels in pieces (PIECE-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 (IEEE) of all of it.
    pub check: u32,
}

impl Outline {
    /// The outline of this value. Reads all of it.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self { bytes: value.as_bytes().len() as u64, check: crc32fast::hash(value.as_bytes()) }
    }
}

/// An operation that puts a value which is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlined {
    /// The operation, with an empty value.
    pub op: Arc<Op>,
    /// What to know of its value.
    pub outline: Outline,
}

impl Outlined {
    /// This operation without its value, if it has one.
    #[must_use]
    pub fn of(op: &Op) -> Option<Self> {
        let Effect::Put { key, value } = &op.effect else { return None };
        let effect = Effect::Put { key: key.clone(), value: Value::new(&[]) };
        Some(Self { op: Arc::new(Op { effect, ..op.clone() }), outline: Outline::of(value) })
    }

    /// The operation with this value; none where it puts none, or holds one already.
    #[must_use]
    pub fn with(&self, value: &Value) -> Option<Arc<Op>> {
        let Effect::Put { key, value: none } = &self.op.effect else { return None };
        let effect = Effect::Put { key: key.clone(), value: value.clone() };
        none.as_bytes().is_empty().then(|| Arc::new(Op { effect, ..(*self.op).clone() }))
    }
}

/// Part of what the supplier shows for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// The key.
    pub key: Key,
    /// Forget what came for this key before: it has changed since.
    pub fresh: bool,
    /// A version; none says only that the key changed.
    pub version: Option<Version>,
}

/// One version in a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The receiver lacks it, or is not known to have it.
    Whole(Sibling),
    /// The receiver covers it, so it has it or has seen it replaced.
    Known(Dot),
}

impl Version {
    /// The version, if it is here.
    #[must_use]
    pub const fn whole(&self) -> Option<&Sibling> {
        match self {
            Self::Whole(sibling) => Some(sibling),
            Self::Known(_) => None,
        }
    }

    /// The write that made it.
    #[must_use]
    pub const fn dot(&self) -> Dot {
        match self {
            Self::Whole(sibling) => sibling.dot,
            Self::Known(dot) => *dot,
        }
    }
}

/// What a whole state covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Every event in it.
    pub vector: VersionVector,
    /// The highest delete per incarnation among those.
    pub deletes: VersionVector,
    /// Incarnations that were retired while the state was sent.
    pub retired: Vec<(Incarnation, Retirement)>,
    /// The supplier's clock: at least the stamp of every event in it.
    pub clock: Hlc,
}
