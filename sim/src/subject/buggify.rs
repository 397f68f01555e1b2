//! Buggify, as FoundationDB has it: now and then what is legal and rare happens for no reason. A peer that is well is
//! suspected, what is buffered is dropped, or a transfer ends at some frame. All that may cost time and messages, never a
//! promise. So every campaign must stay as clean with it (INV-13, INV-14). Its flag and stored name is `suspicious`.

use crate::random::mix;
use hence_core::{Rule, Rules};
use std::cell::Cell;

/// One question in so many is answered that way.
const ONE_IN: u64 = 48;

/// How often one process does so. It ends at some time, or no run would settle for sure.
const DOUBTS_MAX: u32 = 24;

/// The sound rules with a detector that doubts, and buffers that forget, at random.
#[derive(Debug, Clone)]
pub struct Buggify {
    state: Cell<u64>,
    left: Cell<u32>,
}

impl Buggify {
    /// A detector whose doubts follow from this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed), left: Cell::new(DOUBTS_MAX) }
    }

    fn fires(&self) -> bool {
        self.state.set(mix(self.state.get(), 1));
        let fires = self.left.get() > 0 && self.state.get().is_multiple_of(ONE_IN);
        self.left.set(self.left.get() - u32::from(fires));
        fires
    }
}

impl Rules for Buggify {
    fn suspects(&self, silent: bool) -> bool {
        silent || self.fires()
    }

    fn follows(&self, rule: Rule) -> bool {
        !matches!(rule, Rule::KeepsCausalBuffer | Rule::GoesOnPulling) || !self.fires()
    }
}
