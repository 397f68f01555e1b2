//! What still holds in a run in which the memory of a running process was copied.
//!
//! The names of writes stay unique until one of the two processes gives one. Until then replicas elsewhere owe their
//! clients all that they owe in any run. From then on nothing is judged that rests on names.

use super::{Judge, bounds};
use crate::oracle::sign::Sign;
use crate::oracle::truth::Holding;
use crate::oracle::verdict::Invariant;

/// Whether a memory image was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It was not.
    No,
    /// Two processes of this replica have one memory. Neither has given a name since.
    Of(usize),
    /// Two writes may bear one name since then.
    Contested(u64),
}

impl Copied {
    /// Was one copied?
    #[must_use]
    pub fn is_so(self) -> bool {
        self != Self::No
    }

    /// Since when two writes may bear one name.
    #[must_use]
    pub const fn contested_since(self) -> Option<u64> {
        match self {
            Self::Contested(since) => Some(since),
            Self::No | Self::Of(_) => None,
        }
    }

    /// Can this be judged at this replica?
    pub(super) fn leaves(self, invariant: Invariant, sign: &Sign, replica: Option<usize>) -> bool {
        let rests_on_names =
            matches!(invariant, Invariant::Causes | Invariant::Dots | Invariant::Answers | Invariant::Sessions);
        match self {
            Self::No => true,
            Self::Of(copied) if rests_on_names => replica.is_some_and(|replica| replica != copied),
            Self::Of(_) | Self::Contested(_) => bounds::HOLD_OF_COPIES.contains(sign),
        }
    }
}

/// What is truly included in the process that is not looked at, where a replica has two.
pub(super) type Twins = Vec<Option<Holding>>;

impl Judge {
    /// The memory of a replica's process was copied. From now on the two take in what each of them is sent.
    pub fn on_copy(&mut self, replica: usize) {
        self.twins[replica] = Some(self.truth.holdings[replica].clone());
        match self.copied {
            Copied::No => self.copied = Copied::Of(replica),
            Copied::Of(_) | Copied::Contested(_) => self.contest_names(),
        }
    }

    /// The other of two processes is looked at from now on.
    pub fn on_swap(&mut self, replica: usize) {
        if let Some(twin) = &mut self.twins[replica] {
            self.truth.swap(replica, twin);
        }
    }

    /// Of two processes the one that is not looked at is gone.
    pub fn on_twin_gone(&mut self, replica: usize) {
        self.twins[replica] = None;
    }

    /// A replica gives a name, or hands on a state that two processes may have mixed.
    pub(crate) fn contest_names_of(&mut self, replica: usize) {
        if self.copied == Copied::Of(replica) {
            self.contest_names();
        }
    }

    /// From now on nothing is judged that rests on names, if a memory was copied.
    pub(super) const fn contest_names(&mut self) {
        if let Copied::Of(_) = self.copied {
            self.copied = Copied::Contested(self.now);
        }
    }
}
