//! An adversarial failure detector and forgetful buffers. Now and then a peer that is well is suspected, what is parked
//! is dropped, or a transfer ends at some frame. All that may cost time and messages, never a promise, so every
//! campaign must stay as clean with it (invariants 13 and 14).

use crate::random::mix;
use hence_core::Rules;
use std::cell::Cell;

/// One question in so many is answered that way.
const ONE_IN: u64 = 48;

/// How often one process does so. It ends at some time, or no run would settle for sure.
const DOUBTS_MAX: u32 = 24;

/// The sound rules with a detector that doubts, and buffers that forget, at random.
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

    fn strikes(&self) -> bool {
        self.state.set(mix(self.state.get(), 1));
        let strikes = self.left.get() > 0 && self.state.get().is_multiple_of(ONE_IN);
        self.left.set(self.left.get() - u32::from(strikes));
        strikes
    }
}

impl Rules for Suspicious {
    fn suspects(&self, silent: bool) -> bool {
        silent || self.strikes()
    }

    fn keeps_causal_buffer(&self) -> bool {
        !self.strikes()
    }

    fn goes_on_pulling(&self) -> bool {
        !self.strikes()
    }
}
