//! What a fault hits, and what it does there. Each kind of target has effects of its own, so no fault does to a target what
//! that cannot suffer.

use super::Hit;

/// A target and an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The process of this replica.
    Process(u8, OnProcess),
    /// These links.
    Links(Links, OnLinks),
    /// The next frame of a kind that is sent.
    Frame {
        /// Which kind of message, as the subject numbers them.
        message: u8,
        /// So many of them pass before.
        skip: u8,
        /// What happens then.
        hit: Hit,
    },
    /// An operator gives an order.
    View {
        /// At this replica.
        via: u8,
        /// Which.
        order: OnView,
    },
}

/// What befalls a process, its clocks or its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnProcess {
    /// It dies, and starts again at the end.
    Crash,
    /// It is told to end, and starts again at the end.
    Leave,
    /// It is not run.
    Pause,
    /// It is not run, and its monotonic clock stands still.
    Suspend,
    /// A copy of its memory runs beside it.
    Copy,
    /// Everything reaches it late.
    Slow {
        /// By how much, in microseconds.
        by: u64,
    },
    /// Its wall clock jumps, and jumps back at the end.
    Jump {
        /// By how much, in microseconds.
        by: i64,
    },
}

impl OnProcess {
    /// Does it stay as it is at replicas that are not healed when the others are?
    #[must_use]
    pub const fn outlives_the_heal(self) -> bool {
        match self {
            Self::Crash | Self::Leave | Self::Pause | Self::Suspend | Self::Slow { .. } => true,
            Self::Copy | Self::Jump { .. } => false,
        }
    }
}

/// What befalls a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLinks {
    /// Nothing passes.
    Cut {
        /// Frames are kept and delivered after the end; otherwise they are lost.
        hold: bool,
    },
    /// Frames are lost.
    Lose {
        /// How many, in parts per million.
        parts: u32,
    },
}

/// What an operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnView {
    /// An address goes, and comes back at the end.
    RemoveForAWhile(u8),
    /// An address goes.
    Remove(u8),
    /// An address comes.
    Add(u8),
    /// One goes, and another comes, whose process starts then. The old one is stopped at the end.
    Replace {
        /// Which goes.
        old: u8,
        /// Which comes.
        new: u8,
    },
}

/// Which links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// All from and to one replica.
    Of(u8),
    /// Both between two replicas.
    Between(u8, u8),
    /// The one from a replica to another.
    FromTo(u8, u8),
    /// All between two groups: bit n says which group replica n is in.
    BetweenGroups(u16),
    /// All between two groups but those of one replica, which reaches both.
    BetweenGroupsBut(u8, u16),
}

impl Links {
    /// Is the link from one replica to another among them?
    #[must_use]
    pub fn have(self, from: usize, to: usize) -> bool {
        let apart = |groups: u16| groups >> from & 1 != groups >> to & 1;
        let (from_it, to_it) = (|replica: u8| from == usize::from(replica), |replica: u8| to == usize::from(replica));
        from != to
            && match self {
                Self::Of(replica) => from_it(replica) || to_it(replica),
                Self::Between(a, b) => from_it(a) && to_it(b) || from_it(b) && to_it(a),
                Self::FromTo(a, b) => from_it(a) && to_it(b),
                Self::BetweenGroups(groups) => apart(groups),
                Self::BetweenGroupsBut(replica, groups) => apart(groups) && !from_it(replica) && !to_it(replica),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(links: Links, replicas: usize) -> Vec<(usize, usize)> {
        let all = (0..replicas * replicas).map(|link| (link / replicas, link % replicas));
        all.filter(|&(from, to)| links.have(from, to)).collect()
    }

    #[test]
    fn links_are_those_that_they_say() {
        assert_eq!(among(Links::Of(1), 3), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(among(Links::Between(0, 2), 3), [(0, 2), (2, 0)]);
        assert_eq!(among(Links::FromTo(2, 0), 3), [(2, 0)]);
        assert_eq!(among(Links::BetweenGroups(0b011), 3), [(0, 2), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(among(Links::BetweenGroupsBut(1, 0b011), 3), [(0, 2), (2, 0)]);
    }

    #[test]
    fn no_replica_is_cut_off_from_itself() {
        for links in [Links::Of(0), Links::Between(0, 0), Links::FromTo(0, 0), Links::BetweenGroups(1)] {
            assert!(!links.have(0, 0), "{links:?}");
        }
    }
}
