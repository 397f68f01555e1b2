//! The faults of a plan: what strikes, when, and until when.
//!
//! A kind of fault is one entry of the table below: its name in files, which clusters it strikes, its fields, and its
//! effect. That is what it hits and what it does there. A world strikes by effects. What excuses replicas looks at kinds
//! (`world/patience.rs`).

mod effect;
mod fields;

pub use effect::{Effect, Links, OnLinks, OnProcess, OnView};

use super::{PlanError, at_most, below};
use fields::{Count, Delay, Field, Groups, Hold, MessageKind, OnItsWay, Replica, Share, Step, stored};
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

/// Which clusters a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strikes {
    /// Also one replica alone.
    Any,
    /// Only several replicas.
    Several,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $kind:ident $name:literal $strikes:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ident,)*
    } => $effect:expr;)*) => {
        /// What a fault does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultKind {
            $($(#[$doc])* $kind { $($(#[$field_doc])* $field: stored!($type),)* },)*
        }

        impl FaultKind {
            /// A short name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$kind { .. } => $name,)* }
            }

            /// Does it still strike a cluster of one?
            #[must_use]
            pub fn strikes_one_alone(&self) -> bool {
                Strikes::Any == match self { $(Self::$kind { .. } => Strikes::$strikes,)* }
            }

            /// What it hits, and what it does there.
            #[must_use]
            pub fn effect(self) -> Effect {
                match self { $(Self::$kind { $($field,)* } => $effect,)* }
            }

            /// The same fault with replicas renumbered; none where it names one that is gone. `mask` renumbers groups.
            #[must_use]
            pub fn renumbered(self, one: &dyn Fn(u8) -> Option<u8>, mask: &dyn Fn(u16) -> u16) -> Option<Self> {
                Some(match self {
                    $(Self::$kind { $($field,)* } => Self::$kind {
                        $($field: <$type as Field>::renumbered($field, one, mask)?,)*
                    },)*
                })
            }

            /// Hands over each size with its field and the greatest that it may have.
            fn check_sizes(
                self,
                check: impl Fn(&'static str, u64, u64) -> Result<(), PlanError>,
            ) -> Result<(), PlanError> {
                match self {
                    $(Self::$kind { $($field,)* } => {
                        $(if let Some((value, most)) = <$type as Field>::size($field) {
                            check(stringify!($field), value, most)?;
                        })*
                    })*
                }
                Ok(())
            }
        }
    };
}

faults! {
    /// The process dies with its memory and starts again under the same address at the end.
    Crash "crash" Any {
        /// Whose.
        replica: Replica,
    } => Effect::Process(replica, OnProcess::Crash);
    /// The process is told to end, as by SIGTERM: it hands over what others lack, dies two seconds later, and starts
    /// again at the end.
    Leave "leave" Any {
        /// Whose.
        replica: Replica,
    } => Effect::Process(replica, OnProcess::Leave);
    /// The process is not run; what arrives waits for it.
    Pause "pause" Any {
        /// Whose.
        replica: Replica,
    } => Effect::Process(replica, OnProcess::Pause);
    /// The machine is suspended: the process is not run, its monotonic clock stands still, and what arrives waits. Its wall
    /// clock shows the right time afterwards.
    Suspend "suspend" Any {
        /// Whose.
        replica: Replica,
    } => Effect::Process(replica, OnProcess::Suspend);
    /// A running memory image is copied, and both run at the same address: whatever is sent there reaches one of the
    /// two. At the end one of them dies.
    Twin "twin" Any {
        /// Whose.
        replica: Replica,
    } => Effect::Process(replica, OnProcess::Copy);
    /// All links of one replica are cut.
    Isolate "isolate" Several {
        /// Whose.
        replica: Replica,
        /// Frames are kept and delivered after the end, as TCP does; otherwise they are lost.
        hold: Hold,
    } => Effect::Links(Links::Of(replica), OnLinks::Cut { hold });
    /// Both links between two replicas are cut.
    Pair "pair" Several {
        /// One.
        a: Replica,
        /// The other.
        b: Replica,
        /// As in [`FaultKind::Isolate`].
        hold: Hold,
    } => Effect::Links(Links::Between(a, b), OnLinks::Cut { hold });
    /// One link is cut.
    OneWay "one_way" Several {
        /// From this one.
        from: Replica,
        /// To that one.
        to: Replica,
        /// As in [`FaultKind::Isolate`].
        hold: Hold,
    } => Effect::Links(Links::FromTo(from, to), OnLinks::Cut { hold });
    /// All links between two groups are cut.
    Split "split" Several {
        /// Bit n says which group replica n is in.
        mask: Groups,
        /// As in [`FaultKind::Isolate`].
        hold: Hold,
    } => Effect::Links(Links::BetweenGroups(mask), OnLinks::Cut { hold });
    /// All links between two groups are cut but those of one replica, which reaches both.
    Bridge "bridge" Several {
        /// The one that reaches both.
        replica: Replica,
        /// As in [`FaultKind::Split`].
        mask: Groups,
        /// As in [`FaultKind::Isolate`].
        hold: Hold,
    } => Effect::Links(Links::BetweenGroupsBut(replica, mask), OnLinks::Cut { hold });
    /// The next frame of a kind is hit while it is on its way.
    InFlight "in_flight" Several {
        /// Which kind of message, 0 to 7, as the subject numbers them.
        message: MessageKind,
        /// So many of them pass before.
        skip: Count,
        /// What happens then.
        hit: OnItsWay,
    } => Effect::Frame { message, skip, hit };
    /// A wall clock jumps; at the end it jumps back.
    Jump "jump" Any {
        /// Whose.
        replica: Replica,
        /// By how much, in microseconds.
        by: Step,
    } => Effect::Process(replica, OnProcess::Jump { by });
    /// An operator removes an address from the view and adds it again at the end.
    Unwant "unwant" Several {
        /// Which address.
        replica: Replica,
        /// At which replica the operator says so.
        via: Replica,
    } => Effect::View { via, order: OnView::RemoveForAWhile(replica) };
    /// An operator removes an address from the view, for good.
    Remove "remove" Several {
        /// Which address.
        replica: Replica,
        /// At which replica the operator says so.
        via: Replica,
    } => Effect::View { via, order: OnView::Remove(replica) };
    /// An operator adds an address to the view: two clusters meet by it, or a newcomer is taken in.
    Want "want" Several {
        /// Which address.
        replica: Replica,
        /// At which replica the operator says so.
        via: Replica,
    } => Effect::View { via, order: OnView::Add(replica) };
    /// An operator removes one address and adds another, whose process starts then; the old one is stopped for good at
    /// the end.
    Replace "replace" Several {
        /// Which goes.
        old: Replica,
        /// Which comes.
        new: Replica,
        /// At which replica the operator says so.
        via: Replica,
    } => Effect::View { via, order: OnView::Replace { old, new } };
    /// One link loses frames, more than the network does otherwise.
    Burst "burst" Several {
        /// From this one.
        from: Replica,
        /// To that one.
        to: Replica,
        /// How many, in parts per million.
        loss: Share,
    } => Effect::Links(Links::FromTo(from, to), OnLinks::Lose { parts: loss });
    /// Every frame and every timer of a process reaches it late.
    Slow "slow" Any {
        /// Which.
        replica: Replica,
        /// By how much, in microseconds.
        by: Delay,
    } => Effect::Process(replica, OnProcess::Slow { by });
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
    /// The replica whose process it keeps from running for a while, or makes slow.
    #[must_use]
    pub fn keeps_from_running(&self) -> Option<usize> {
        match self.effect() {
            Effect::Process(replica, OnProcess::Pause | OnProcess::Suspend | OnProcess::Slow { .. }) => {
                Some(usize::from(replica))
            }
            Effect::Process(..) | Effect::Links(..) | Effect::Frame { .. } | Effect::View { .. } => None,
        }
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
        self.check_sizes(|field, value, most| at_most(|| format!("{}.{field}", place()), value, most))
    }
}
