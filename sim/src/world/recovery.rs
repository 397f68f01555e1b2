//! How far a run is with its recovery: whether the core is healed, and what keeps it from being quiet.
//!
//! Invariant kept here: a core that is healed stays healed.

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovery {
    healed: bool,
    /// More was written apart than fits into one replica.
    overfull: bool,
    /// When the last connection in the core goes on that a cut had stopped, before the heal or by it.
    stuck_until: u64,
    /// The last order of an operator after the heal.
    order: Option<usize>,
    /// An operator saw that every view in the core is right, and none has changed since.
    views_right: bool,
}

impl Recovery {
    /// The core is healed from now on.
    pub(super) fn heal(&mut self) {
        assert!(!self.healed, "the core is healed twice");
        self.healed = true;
    }

    pub(super) const fn is_healed(&self) -> bool {
        self.healed
    }

    pub(super) const fn is_overfull(&self) -> bool {
        self.overfull
    }

    /// More was written apart than fits into one replica.
    pub(super) const fn give_up_as_overfull(&mut self) {
        self.overfull = true;
    }

    pub(super) const fn stuck_until(&self) -> u64 {
        self.stuck_until
    }

    /// A connection in the core is stuck until then.
    pub(super) fn is_stuck_until(&mut self, at: u64) {
        self.stuck_until = self.stuck_until.max(at);
    }

    /// The attempt that is the last order of an operator.
    pub(super) const fn order(&self) -> Option<usize> {
        self.order
    }

    /// An operator gives an order.
    pub(super) const fn on_order(&mut self, attempt: usize) {
        self.order = Some(attempt);
    }

    pub(super) const fn are_views_right(&self) -> bool {
        self.views_right
    }

    /// An operator saw that every view in the core is right, or one may have changed.
    pub(super) const fn see_views(&mut self, right: bool) {
        self.views_right = right;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "healed twice")]
    fn a_core_is_healed_once() {
        let mut recovery = Recovery::default();
        recovery.heal();
        recovery.heal();
    }

    #[test]
    fn the_last_connection_that_is_stuck_counts() {
        let mut recovery = Recovery::default();
        [3, 9, 5].into_iter().for_each(|at| recovery.is_stuck_until(at));
        assert_eq!(recovery.stuck_until(), 9);
    }
}
