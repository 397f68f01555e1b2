//! The replica's edge: everything that goes in and comes out.

use crate::fault::Fault;
use crate::formats::Formats;
use crate::identity::{Address, Incarnation};
use crate::message::Message;
use crate::request::{Reply, Request, RequestId, WatchPart};
use crate::time::Micros;
use crate::vector::{Dot, VersionVector};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What can happen to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Time has passed. Late or needless ones do no harm.
    Timeout,
    /// A message arrived.
    Message {
        /// The address that the sender says it has.
        from: Address,
        /// The message.
        message: Message,
    },
    /// Bytes of a message arrived that is not whole yet: a sign of life, and that the stream from there moves.
    Progress {
        /// The address that the sender says it has.
        from: Address,
    },
    /// An address accepted a connection; whether a replica answers there is another question.
    Connected {
        /// Which.
        to: Address,
    },
    /// A process that says it is the replica at an address was heard outside of any link: it is there.
    Sign {
        /// Which address.
        from: Address,
    },
    /// An address answered and will have nothing to do with this replica.
    Refused {
        /// Which.
        by: Address,
        /// Why.
        why: Refused,
    },
    /// Another live process is reached at the own address. Peers are addressed under this one from now on. `None`: the
    /// own address leads here again.
    Aside {
        /// An address at which nothing is reached, of this process alone.
        address: Option<Address>,
    },
    /// A directory names addresses that are members, unless an operator removed them. It never takes one out.
    Named {
        /// Which.
        addresses: Vec<Address>,
    },
    /// A client asks.
    Request {
        /// The driver's name for it; never used twice.
        id: RequestId,
        /// What it asks.
        request: Request,
    },
    /// The process is about to end: peers that lack something of what is here fetch it at once.
    Leave,
    /// The client of a watch took the last part that it was told. The next one may come.
    Told {
        /// The watch.
        id: RequestId,
    },
    /// A client went away; its request gets no reply. What it did is done.
    Cancel {
        /// The request.
        id: RequestId,
    },
}

/// Why a replica at another address refuses this one. It is there, so it is not absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It belongs to another cluster.
    Foreign,
    /// It speaks these formats, none of which this replica speaks, and may hold all the data.
    Version(Formats),
}

/// What a replica wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this. Losing it is legal.
    Send {
        /// Where to.
        to: Address,
        /// What.
        message: Message,
    },
    /// Answer a request. Each gets exactly one unless it was cancelled. A watch gets one only if it is refused.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer: apart, so that the messages, of which there are far more, stay small to move.
        reply: Box<Reply>,
    },
    /// Tell the client of a watch this. The next part comes after [`Input::Told`].
    Tell {
        /// The watch.
        id: RequestId,
        /// What.
        part: Box<WatchPart>,
    },
    /// Something worth telling.
    Event(Event),
}

/// Something worth telling: for logs, metrics and the simulator. Nothing depends on a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An operation was applied, own ones included. Coverage moved by exactly this.
    Applied(Dot),
    /// A whole state was merged in one step.
    Installed {
        /// The replica that supplied it.
        from: Incarnation,
        /// The pull that fetched it.
        pull: u64,
        /// What that state covered.
        vector: Box<VersionVector>,
    },
    /// A retire operation was applied: this incarnation's entry is from now on implied by the dot of the operation.
    Retired {
        /// The operation.
        dot: Dot,
        /// The incarnation.
        incarnation: Incarnation,
        /// Its last counter that is implied.
        through: u64,
    },
    /// A lost-write round ended with every answer in.
    RoundEnded {
        /// The events in question.
        events: Box<VersionVector>,
        /// The greatest counters that any member holds of them.
        held: Box<VersionVector>,
    },
    /// A link was established.
    Linked {
        /// The peer's address.
        address: Address,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A member has been silent for too long; it is left out of the view until it answers.
    Suspected(Address),
    /// A suspected member answered.
    Recovered(Address),
    /// This replica loaded its state and serves; alone, if no replica that was up answered.
    Up {
        /// There was no replica to fetch from.
        alone: bool,
    },
    /// It started alone, and clients may be sent to it from now on.
    Ready {
        /// Members that were never met; the time for that is over.
        unmet: Vec<Address>,
    },
    /// Another incarnation turned out to be the newest at our address, so a new one began; the state is kept.
    Renewed(Incarnation),
    /// Another live process keeps taking our address; each of us stands back longer and longer.
    AddressContested {
        /// How long this one stands back now.
        backoff: Micros,
    },
    /// A peer that is newly met belongs to a cluster of the same name that this one never had anything to do with. An
    /// address is used again. The two are one from now on.
    ClustersMerge {
        /// Members that were known here.
        ours: Vec<Address>,
        /// Members that the peer adds.
        theirs: Vec<Address>,
    },
    /// A replica refuses this one because no format is spoken by both. Told once until the peer is linked, or speaks others.
    NoCommonFormat {
        /// Its address.
        address: Address,
        /// The formats that it speaks.
        theirs: Formats,
        /// The formats that this replica speaks.
        ours: Formats,
    },
    /// The records of the view changed.
    ViewChanged,
    /// A fetch began.
    PullStarted {
        /// The sender.
        from: Address,
        /// Its name.
        pull: u64,
    },
    /// Pieces of a value are asked for.
    Fetching {
        /// The sender.
        from: Address,
        /// The write that made it.
        dot: Dot,
        /// How many of its bytes are here already.
        held: u64,
    },
    /// A fetch ended.
    PullEnded {
        /// The sender.
        from: Address,
        /// Its name.
        pull: u64,
        /// Everything came.
        complete: bool,
    },
    /// The own process was not run for so long; peers' silence in that time counts for nothing.
    Stalled(Micros),
    /// The own wall clock is ahead of all peers' and not used any more, or is used again.
    ClockTrusted(bool),
    /// A peer covers a write of this incarnation that this replica never made. So a copy of this process's memory runs,
    /// or ran, somewhere else (ID-3). Two different writes may then have one name. Nothing here can tell them apart, so
    /// an operator has to act. Reported once for each counter that is higher than all before.
    Impersonated {
        /// The write's counter.
        counter: u64,
    },
    /// A peer has applied the same writes, by their names, and holds other data (ID-3). Or it covers the dot of a
    /// retire operation, and not what that dot stands for. A copied memory gave one name to two writes, or this code has
    /// a bug. The network cannot cause it. Reported once for each incarnation of a peer.
    Diverged(Address),
    /// Clients' writes that add are refused for want of memory, or are taken again.
    WritesRefused(bool),
    /// There is no memory left for what other replicas have, or there is again.
    HeldBack(bool),
    /// A watch fell behind by more than is kept for it. It is told anew what it may lack.
    FellBehind(RequestId),
    /// A message was not taken in.
    Dropped {
        /// The sender.
        from: Address,
        /// Why.
        reason: DropReason,
    },
}

/// Why a message was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// It belongs to a link that is no more, or is not yet.
    OtherLink,
    /// It came from an incarnation that is not the newest at its address.
    OldIncarnation,
    /// A push that is too late to be news; repair brings it.
    Late,
    /// There is no room to park it.
    CausalBufferFull,
    /// There is no memory left for what it brings; a pull fetches it when there is.
    NoMemory,
    /// It bears this replica's own address, and another process sent it.
    OwnAddress,
    /// This replica was removed and takes nothing in.
    NotMember,
    /// It says something that no honest replica says.
    Invalid,
    /// It belongs to a pull that is no more, or is out of its turn.
    OtherPull,
}

impl DropReason {
    /// Every reason, for tables of counts.
    pub const ALL: [Self; 9] = [
        Self::OtherLink,
        Self::OldIncarnation,
        Self::Late,
        Self::CausalBufferFull,
        Self::NoMemory,
        Self::OwnAddress,
        Self::NotMember,
        Self::Invalid,
        Self::OtherPull,
    ];

    /// A short name for metrics and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherLink => "other_link",
            Self::OldIncarnation => "old_incarnation",
            Self::Late => "late",
            Self::CausalBufferFull => "causal_buffer_full",
            Self::NoMemory => "no_memory",
            Self::OwnAddress => "own_address",
            Self::NotMember => "not_member",
            Self::Invalid => "invalid",
            Self::OtherPull => "other_pull",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::OtherLink | Self::OldIncarnation | Self::NotMember | Self::OtherPull => Fault::Race,
            Self::Late => Fault::Network,
            Self::CausalBufferFull | Self::NoMemory => Fault::Overload,
            Self::OwnAddress => Fault::Operator,
            Self::Invalid => Fault::Peer,
        }
    }
}
