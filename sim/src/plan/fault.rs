//! The faults of a plan: what strikes, when, and until when.

use super::{PlanError, at_most, below, limits};
use crate::random::MILLION;
use serde::{Deserialize, Serialize};

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its name in traces and choices; unique in a plan.
    pub id: u32,
    /// When it strikes.
    pub at: u64,
    /// When it ends; for a replica that is healed, at the latest when everything is.
    pub until: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The process dies with its memory and starts again under the same address at the end.
    Crash {
        /// Whose.
        replica: u8,
    },
    /// The process is told to end, as by SIGTERM: it hands over what others lack, dies two seconds later, and starts
    /// again at the end.
    Leave {
        /// Whose.
        replica: u8,
    },
    /// The process is not run; what arrives waits for it.
    Pause {
        /// Whose.
        replica: u8,
    },
    /// The machine is suspended: the process is not run, its monotonic clock stands still, and what arrives waits. Its wall
    /// clock shows the right time afterwards.
    Suspend {
        /// Whose.
        replica: u8,
    },
    /// A running memory image is copied, and both run at the same address: whatever is sent there reaches one of the
    /// two. At the end one of them dies.
    Twin {
        /// Whose.
        replica: u8,
    },
    /// All links of one replica are cut.
    Isolate {
        /// Whose.
        replica: u8,
        /// Frames are kept and delivered after the end, as TCP does; otherwise they are lost.
        hold: bool,
    },
    /// Both links between two replicas are cut.
    Pair {
        /// One.
        a: u8,
        /// The other.
        b: u8,
        /// As in [`FaultKind::Isolate`].
        hold: bool,
    },
    /// One link is cut.
    OneWay {
        /// From this one.
        from: u8,
        /// To that one.
        to: u8,
        /// As in [`FaultKind::Isolate`].
        hold: bool,
    },
    /// All links between two groups are cut.
    Split {
        /// Bit n says which group replica n is in.
        mask: u16,
        /// As in [`FaultKind::Isolate`].
        hold: bool,
    },
    /// All links between two groups are cut but those of one replica, which reaches both.
    Bridge {
        /// The one that reaches both.
        replica: u8,
        /// As in [`FaultKind::Split`].
        mask: u16,
        /// As in [`FaultKind::Isolate`].
        hold: bool,
    },
    /// The next frame of a kind is hit while it is on its way.
    InFlight {
        /// Which kind of message, 0 to 7, as the subject numbers them.
        message: u8,
        /// So many of them pass before.
        skip: u8,
        /// What happens then.
        hit: Hit,
    },
    /// A wall clock jumps; at the end it jumps back.
    Jump {
        /// Whose.
        replica: u8,
        /// By how much, in microseconds.
        by: i64,
    },
    /// An operator removes an address from the view and adds it again at the end.
    Unwant {
        /// Which address.
        replica: u8,
        /// At which replica the operator says so.
        via: u8,
    },
    /// An operator removes an address from the view, for good.
    Remove {
        /// Which address.
        replica: u8,
        /// At which replica the operator says so.
        via: u8,
    },
    /// An operator adds an address to the view: two clusters meet by it, or a newcomer is taken in.
    Want {
        /// Which address.
        replica: u8,
        /// At which replica the operator says so.
        via: u8,
    },
    /// An operator removes one address and adds another, whose process starts then; the old one is stopped for good at
    /// the end.
    Replace {
        /// Which goes.
        old: u8,
        /// Which comes.
        new: u8,
        /// At which replica the operator says so.
        via: u8,
    },
    /// One link loses frames, more than the network does otherwise.
    Burst {
        /// From this one.
        from: u8,
        /// To that one.
        to: u8,
        /// How many, in parts per million.
        loss: u32,
    },
    /// Every frame and every timer of a process reaches it late.
    Slow {
        /// Which.
        replica: u8,
        /// By how much, in microseconds.
        by: u64,
    },
}

/// What happens to a frame on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hit {
    /// Its sender dies.
    Sender,
    /// Its receiver dies.
    Receiver,
    /// Its receiver is not run.
    Pause,
    /// Its link is cut in both directions and frames are lost.
    Cut,
    /// Its link is cut in its direction and frames are kept.
    Hold,
}

impl FaultKind {
    /// A short name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Leave { .. } => "leave",
            Self::Pause { .. } => "pause",
            Self::Suspend { .. } => "suspend",
            Self::Twin { .. } => "twin",
            Self::Isolate { .. } => "isolate",
            Self::Pair { .. } => "pair",
            Self::OneWay { .. } => "one_way",
            Self::Split { .. } => "split",
            Self::Bridge { .. } => "bridge",
            Self::InFlight { .. } => "in_flight",
            Self::Jump { .. } => "jump",
            Self::Unwant { .. } => "unwant",
            Self::Remove { .. } => "remove",
            Self::Want { .. } => "want",
            Self::Replace { .. } => "replace",
            Self::Burst { .. } => "burst",
            Self::Slow { .. } => "slow",
        }
    }

    /// Does it still strike a cluster of one?
    #[must_use]
    pub const fn strikes_one_alone(&self) -> bool {
        match self {
            Self::Crash { .. }
            | Self::Leave { .. }
            | Self::Pause { .. }
            | Self::Suspend { .. }
            | Self::Twin { .. }
            | Self::Jump { .. }
            | Self::Slow { .. } => true,
            Self::Isolate { .. }
            | Self::Pair { .. }
            | Self::OneWay { .. }
            | Self::Split { .. }
            | Self::Bridge { .. }
            | Self::InFlight { .. }
            | Self::Unwant { .. }
            | Self::Remove { .. }
            | Self::Want { .. }
            | Self::Replace { .. }
            | Self::Burst { .. } => false,
        }
    }

    /// The replica whose process it keeps from running for a while, or makes slow.
    #[must_use]
    pub fn keeps_from_running(&self) -> Option<usize> {
        let (Self::Pause { replica } | Self::Suspend { replica } | Self::Slow { replica, .. }) = self else {
            return None;
        };
        Some(usize::from(*replica))
    }

    /// The same fault with replicas renumbered; none where it names one that is gone. `mask` renumbers groups.
    #[must_use]
    pub fn renumbered(self, one: &dyn Fn(u8) -> Option<u8>, mask: &dyn Fn(u16) -> u16) -> Option<Self> {
        Some(match self {
            Self::Crash { replica } => Self::Crash { replica: one(replica)? },
            Self::Leave { replica } => Self::Leave { replica: one(replica)? },
            Self::Pause { replica } => Self::Pause { replica: one(replica)? },
            Self::Suspend { replica } => Self::Suspend { replica: one(replica)? },
            Self::Twin { replica } => Self::Twin { replica: one(replica)? },
            Self::Isolate { replica, hold } => Self::Isolate { replica: one(replica)?, hold },
            Self::Pair { a, b, hold } => Self::Pair { a: one(a)?, b: one(b)?, hold },
            Self::OneWay { from, to, hold } => Self::OneWay { from: one(from)?, to: one(to)?, hold },
            Self::Split { mask: groups, hold } => Self::Split { mask: mask(groups), hold },
            Self::Bridge { replica, mask: groups, hold } => {
                Self::Bridge { replica: one(replica)?, mask: mask(groups), hold }
            }
            Self::InFlight { message, skip, hit } => Self::InFlight { message, skip, hit },
            Self::Jump { replica, by } => Self::Jump { replica: one(replica)?, by },
            Self::Unwant { replica, via } => Self::Unwant { replica: one(replica)?, via: one(via)? },
            Self::Remove { replica, via } => Self::Remove { replica: one(replica)?, via: one(via)? },
            Self::Want { replica, via } => Self::Want { replica: one(replica)?, via: one(via)? },
            Self::Replace { old, new, via } => Self::Replace { old: one(old)?, new: one(new)?, via: one(via)? },
            Self::Burst { from, to, loss } => Self::Burst { from: one(from)?, to: one(to)?, loss },
            Self::Slow { replica, by } => Self::Slow { replica: one(replica)?, by },
        })
    }

    /// Does it name only replicas that exist, and only sizes within [`limits`]?
    pub(super) fn check(self, replicas: u64, place: impl Fn() -> String) -> Result<(), PlanError> {
        let foreign = std::cell::Cell::new(None);
        let exists = |n: u8| {
            if u64::from(n) >= replicas {
                foreign.set(Some(n));
            }
            Some(n)
        };
        _ = self.renumbered(&exists, &|mask| mask);
        if let Some(n) = foreign.get() {
            below(&place, n.into(), replicas)?;
        }
        let sized = |field: &str, value: u64, max: u64| at_most(|| format!("{}.{field}", place()), value, max);
        match self {
            Self::Jump { by, .. } => sized("by", by.unsigned_abs(), limits::WALL_MAX.unsigned_abs()),
            Self::Burst { loss, .. } => sized("loss", loss.into(), MILLION.into()),
            Self::Slow { by, .. } => sized("by", by, limits::TIME_MAX / 1_000),
            Self::InFlight { message, .. } => sized("message", message.into(), 7),
            Self::Crash { .. }
            | Self::Leave { .. }
            | Self::Pause { .. }
            | Self::Suspend { .. }
            | Self::Twin { .. }
            | Self::Isolate { .. }
            | Self::Pair { .. }
            | Self::OneWay { .. }
            | Self::Split { .. }
            | Self::Bridge { .. }
            | Self::Unwant { .. }
            | Self::Remove { .. }
            | Self::Want { .. }
            | Self::Replace { .. } => Ok(()),
        }
    }
}
