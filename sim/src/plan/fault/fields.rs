//! What the fields of a fault hold: how case files have them, what is renumbered with the replicas, and what they may be.

use crate::plan::limits;
use crate::random::MILLION;

/// How case files have a field.
macro_rules! stored {
    (Replica) => {
        u8
    };
    (Groups) => {
        u16
    };
    (Hold) => {
        bool
    };
    (MessageKind) => {
        u8
    };
    (Count) => {
        u8
    };
    (OnItsWay) => {
        $crate::plan::fault::Hit
    };
    (Step) => {
        i64
    };
    (Share) => {
        u32
    };
    (Delay) => {
        u64
    };
}

pub(super) use stored;

/// What a field of a fault holds: how it is stored, what of it is renumbered with the replicas, and what it may be.
pub(super) trait Field {
    /// As case files have it.
    type Stored: Copy;

    /// The same after replicas got other numbers; none where it names one that is gone.
    fn renumbered(
        stored: Self::Stored,
        one: &dyn Fn(u8) -> Option<u8>,
        mask: &dyn Fn(u16) -> u16,
    ) -> Option<Self::Stored> {
        let _ = (one, mask);
        Some(stored)
    }

    /// Its size and the greatest that it may have, where it has one.
    fn size(stored: Self::Stored) -> Option<(u64, u64)> {
        let _ = stored;
        None
    }
}

/// One replica.
pub(super) struct Replica;
/// Bit n says which group replica n is in.
pub(super) struct Groups;
/// Frames are kept and delivered after the end, as TCP does. Otherwise they are lost.
pub(super) struct Hold;
/// Which kind of message, 0 to 7, as the subject numbers them.
pub(super) struct MessageKind;
/// How many come before.
pub(super) struct Count;
/// What happens to a frame.
pub(super) struct OnItsWay;
/// A step of a wall clock, in microseconds.
pub(super) struct Step;
/// A share, in parts per million.
pub(super) struct Share;
/// A time, in microseconds.
pub(super) struct Delay;

impl Field for Replica {
    type Stored = stored!(Replica);

    fn renumbered(replica: u8, one: &dyn Fn(u8) -> Option<u8>, _: &dyn Fn(u16) -> u16) -> Option<u8> {
        one(replica)
    }
}

impl Field for Groups {
    type Stored = stored!(Groups);

    fn renumbered(groups: u16, _: &dyn Fn(u8) -> Option<u8>, mask: &dyn Fn(u16) -> u16) -> Option<u16> {
        Some(mask(groups))
    }
}

impl Field for Hold {
    type Stored = stored!(Hold);
}

impl Field for MessageKind {
    type Stored = stored!(MessageKind);

    fn size(kind: u8) -> Option<(u64, u64)> {
        Some((kind.into(), 7))
    }
}

impl Field for Count {
    type Stored = stored!(Count);
}

impl Field for OnItsWay {
    type Stored = stored!(OnItsWay);
}

impl Field for Step {
    type Stored = stored!(Step);

    fn size(by: i64) -> Option<(u64, u64)> {
        Some((by.unsigned_abs(), limits::WALL_MAX.unsigned_abs()))
    }
}

impl Field for Share {
    type Stored = stored!(Share);

    fn size(parts: u32) -> Option<(u64, u64)> {
        Some((parts.into(), MILLION.into()))
    }
}

impl Field for Delay {
    type Stored = stored!(Delay);

    fn size(by: u64) -> Option<(u64, u64)> {
        Some((by, limits::TIME_MAX / 1_000))
    }
}
