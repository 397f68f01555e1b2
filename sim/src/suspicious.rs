//! An adversarial failure detector: now and then it doubts a peer that is well. Suspicion may cost time and messages,
//! never a promise, so every campaign must stay as clean with it.

use crate::random::mix;
use hence_core::Rules;
use std::cell::Cell;

/// One question in so many is answered with a doubt.
const ONE_IN: u64 = 48;

/// How often one process doubts without reason. It ends at some time, or no run would settle for sure.
const DOUBTS_MAX: u32 = 24;

/// The sound rules with a detector that doubts at random.
#[derive(Debug, Clone)]
pub struct Suspicious {
    state: Cell<u64>,
    left: Cell<u32>,
}

impl Suspicious {
    /// A detector whose doubts follow from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed), left: Cell::new(DOUBTS_MAX) }
    }
}

impl Rules for Suspicious {
    fn doubts(&self, silent: bool) -> bool {
        self.state.set(mix(self.state.get(), 1));
        let doubts = self.left.get() > 0 && self.state.get().is_multiple_of(ONE_IN);
        self.left.set(self.left.get() - u32::from(doubts));
        silent || doubts
    }
}
