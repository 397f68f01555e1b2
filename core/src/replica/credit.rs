//! Pushes of one link: what left on it, what arrived, and how much more the other end has room for (PUSH-1, PUSH-5).
//!
//! Invariants kept here:
//! - Credit comes back for what was pushed, and for nothing beyond.
//! - What arrived is acknowledged, whatever became of it. Credit that does not come back for a second counts as lost.

use crate::time::{Micros, Time};

/// Without credit for so long, what was sent counts as lost.
const CREDIT_TIMEOUT: Micros = Micros::from_seconds(1);

/// Pushes that arrived on this link.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbound {
    /// The greatest counter of all of them.
    received: u64,
    /// How many since the last status, and their bytes.
    unacknowledged: u64,
    unacknowledged_bytes: usize,
    /// When one of them last was the next of its origin, or bytes of one that may be arrived.
    advanced: Option<Time>,
}

impl Inbound {
    /// A push arrived. Returns whether more than so much has since the last acknowledgement.
    pub(super) fn on_push(&mut self, counter: u64, bytes: usize, most: (u64, usize)) -> bool {
        self.received = self.received.max(counter);
        self.unacknowledged += 1;
        self.unacknowledged_bytes += bytes;
        self.unacknowledged > most.0 || self.unacknowledged_bytes > most.1
    }

    /// Acknowledges all that arrived: up to this counter.
    pub(super) const fn acknowledge(&mut self) -> u64 {
        self.unacknowledged = 0;
        self.unacknowledged_bytes = 0;
        self.received
    }

    /// What arrives fills a gap.
    pub(super) const fn advance(&mut self, now: Time) {
        self.advanced = Some(now);
    }

    /// Did something that fills a gap arrive within so long?
    pub(super) fn is_advancing(&self, now: Time, within: Micros) -> bool {
        self.advanced.is_some_and(|at| now.since(at) <= within)
    }
}

/// Pushes that left on this link.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbound {
    /// The own counter up to which they went out, or were left to repair.
    pushed: u64,
    pushed_bytes: u64,
    /// The own counter up to which credit came back.
    returned: u64,
    returned_bytes: u64,
    /// When credit last moved.
    moved: Time,
}

impl Outbound {
    /// Pushes begin after this counter and so many bytes.
    pub(super) const fn begin(from: u64, bytes: u64, now: Time) -> Self {
        Self { pushed: from, pushed_bytes: bytes, returned: from, returned_bytes: bytes, moved: now }
    }

    /// The counter of the next push, if there is credit for it.
    #[inline]
    pub(super) fn next(&mut self, (ops_max, bytes_max): (u64, u64), now: Time) -> Option<u64> {
        assert!(self.returned <= self.pushed, "credit for more than was pushed: {self:?}");
        let ops = self.pushed - self.returned;
        let bytes = self.pushed_bytes.saturating_sub(self.returned_bytes);
        if ops == 0 {
            self.moved = now;
        } else if ops >= ops_max || bytes >= bytes_max {
            if now.since(self.moved) < CREDIT_TIMEOUT {
                return None;
            }
            self.returned = self.pushed;
            self.returned_bytes = self.pushed_bytes;
            self.moved = now;
        }
        Some(self.pushed + 1)
    }

    /// The own counter up to which the other end said that pushes arrived.
    pub(super) const fn returned(&self) -> u64 {
        self.returned
    }

    /// The next one went out, and all up to it have so many bytes. Or it is left to repair.
    pub(super) fn advance(&mut self, counter: u64, bytes_through: Option<u64>) {
        assert_eq!(counter, self.pushed + 1, "pushes go out in the order of their counters");
        self.pushed = counter;
        self.pushed_bytes = bytes_through.unwrap_or(self.pushed_bytes);
    }

    /// The other end received up to this counter. All up to it have so many bytes, where the log still knows.
    pub(super) fn on_received(&mut self, received: u64, bytes_through: Option<u64>, now: Time) {
        if received > self.returned && received <= self.pushed {
            self.returned = received;
            // Where the log no longer knows, all bytes come back: it left because every member has it.
            self.returned_bytes = bytes_through.unwrap_or(self.pushed_bytes);
            self.moved = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: (u64, u64) = (2, 1_000);

    #[test]
    fn credit_ends_and_comes_back() {
        let mut outbound = Outbound::begin(5, 100, Time(0));
        for counter in [6, 7] {
            assert_eq!(outbound.next(MOST, Time(1)), Some(counter));
            outbound.advance(counter, Some(100 * counter));
        }
        assert_eq!(outbound.next(MOST, Time(2)), None);
        outbound.on_received(9, None, Time(3));
        assert_eq!(outbound.next(MOST, Time(3)), None, "no credit for what was never pushed");
        outbound.on_received(6, Some(600), Time(3));
        assert_eq!(outbound.next(MOST, Time(4)), Some(8));
    }

    #[test]
    fn credit_that_does_not_come_back_counts_as_lost() {
        let mut outbound = Outbound::begin(0, 0, Time(0));
        assert_eq!(outbound.next(MOST, Time(1)), Some(1));
        outbound.advance(1, Some(5_000));
        assert_eq!(outbound.next(MOST, Time(2)), None, "the bytes are used up");
        assert_eq!(outbound.next(MOST, Time(1) + CREDIT_TIMEOUT), Some(2));
    }

    #[test]
    fn an_acknowledgement_is_due_after_so_many() {
        let mut inbound = Inbound::default();
        assert_eq!([3, 2, 5].map(|counter| inbound.on_push(counter, 10, (2, 1_000))), [false, false, true]);
        assert_eq!(inbound.acknowledge(), 5);
        assert!(!inbound.on_push(6, 10, (2, 1_000)) && inbound.on_push(7, 2_000, (2, 1_000)));
        assert!(!inbound.is_advancing(Time(1), Micros(5)));
        inbound.advance(Time(1));
        assert!(inbound.is_advancing(Time(6), Micros(5)) && !inbound.is_advancing(Time(7), Micros(5)));
    }
}
