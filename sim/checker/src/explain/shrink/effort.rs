//! How much work shrinking may still do. Steps are counted, so the same history ends in the same place, unless the time
//! of the caller is over before.

use crate::terms::Budget;
use std::cell::Cell;

#[derive(Debug)]
pub(super) struct Effort {
    left: Cell<u64>,
    is_spent: Cell<bool>,
    /// Says when the time is over.
    budget: Budget,
}

impl Effort {
    pub(super) const fn new(steps: u64, budget: Budget) -> Self {
        Self { left: Cell::new(steps), is_spent: Cell::new(false), budget }
    }

    /// Whether there was so much left. What is refused once is refused for ever: otherwise cheap steps would go on
    /// alone and look like an end.
    pub(super) fn spend(&self, steps: u64) -> bool {
        match self.left.get().checked_sub(steps) {
            Some(left) if !self.is_spent.get() && !self.budget.is_over() => self.left.set(left),
            Some(_) | None => self.is_spent.set(true),
        }
        !self.is_spent.get()
    }

    /// Was the time over before the work was done?
    pub(super) fn is_late(&self) -> bool {
        self.budget.is_over()
    }

    pub(super) const fn time(&self) -> &Budget {
        &self.budget
    }

    pub(super) const fn left(&self) -> u64 {
        self.left.get()
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.is_spent.get()
    }
}
