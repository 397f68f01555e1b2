//! What became of pulls from one peer, and so when to pull from it again (PULL-2, PULL-4).
//!
//! Invariants kept here:
//! - Each pull that ran out of time doubles the timeout of the next one, up to a limit. One that is whole ends that.
//! - Repair from it is put off a bounded number of times.
//! - What it claimed and did not bring is asked for again later, each time after a longer pause.

use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::sync::Arc;

/// After so many pulls that ran out of time in a row, the timeout grows no further.
pub(super) const TIMEOUT_DOUBLINGS: u32 = 4;

/// A peer may claim what a whole pull from it did not bring. It is asked for that again after this, then after twice
/// that, and so on, so often.
const UNKEPT_PAUSE: Micros = Micros::from_millis(500);
const UNKEPT_DOUBLINGS: u32 = 5;

/// So many interruptions put off what is missing and could be repaired from a peer. Those within one repair delay count
/// as one: a poor network has many that hide nothing, and a cut may follow.
const POSTPONED_MAX: u8 = 4;

#[derive(Debug, Clone, Default)]
pub(super) struct Supplier {
    /// When a pull from it was last begun, to take turns.
    pulled_at: Time,
    /// How many pulls from it ran out of time one after another.
    late: u32,
    /// What the last pull from it that was answered took from the question to the first frame.
    round_trip: Micros,
    /// The last pull from it that was given up because it took too long, while its operations are still welcome.
    overdue: Option<u64>,
    /// How often interruptions of its link have put off what is missing, since a pull from it last began.
    postponed: u8,
    /// When that was last counted.
    postponed_at: Time,
    /// What it had claimed when the last pull began that did not bring it.
    unkept: Arc<VersionVector>,
    /// How many pulls in a row ended like that.
    unkept_times: u32,
    /// From then on the claim counts again.
    unkept_until: Time,
}

impl Supplier {
    pub(super) const fn pulled_at(&self) -> Time {
        self.pulled_at
    }

    /// A pull from it begins.
    pub(super) fn begin(&mut self, now: Time) {
        assert!(now >= self.pulled_at, "a pull begins at {now:?} and one at {:?}", self.pulled_at);
        self.pulled_at = now;
    }

    /// It sent the first frame of a pull that waits so long for one.
    pub(super) fn on_first_frame(&mut self, now: Time, timeout: Micros) {
        // What it took beyond the timeout, this process did not run.
        self.round_trip = now.since(self.pulled_at).min(timeout);
    }

    /// A pull from it brought all that it had claimed, or not.
    pub(super) fn on_complete(&mut self, claimed: Arc<VersionVector>, is_kept: bool, now: Time) {
        self.late = 0;
        self.postponed = 0;
        if is_kept {
            return self.forget_unkept();
        }
        self.unkept_until = now + UNKEPT_PAUSE.times(1 << self.unkept_times.min(UNKEPT_DOUBLINGS));
        self.unkept_times = self.unkept_times.saturating_add(1);
        self.unkept = claimed;
    }

    /// Its claims count again: another incarnation makes them.
    pub(super) fn forget_unkept(&mut self) {
        (self.unkept, self.unkept_times, self.unkept_until) = (Arc::default(), 0, Time::default());
    }

    /// What a whole pull from it, a moment ago, did not bring though it was claimed.
    pub(super) fn unkept(&self, now: Time) -> Option<&VersionVector> {
        (now < self.unkept_until).then_some(&*self.unkept)
    }

    /// The pull of this name took too long.
    pub(super) fn on_late(&mut self, name: u64) {
        self.late = self.late.saturating_add(1);
        self.overdue = Some(name);
    }

    /// Was this pull given up because it took too long?
    pub(super) fn is_overdue(&self, name: u64) -> bool {
        self.overdue == Some(name)
    }

    /// Was a pull given up because it took too long, and is its answer still welcome?
    pub(super) const fn has_overdue(&self) -> bool {
        self.overdue.is_some()
    }

    /// Its answers may have been made during an interruption, or the link ended.
    pub(super) const fn forget_overdue(&mut self) {
        self.overdue = None;
    }

    /// What is missing here longest was noticed then. Is all that was put off here by now, be it from this peer or from
    /// another?
    pub(super) fn begin_anew(&mut self, oldest: Option<Time>) {
        if oldest.is_none_or(|noticed| noticed > self.postponed_at) {
            self.postponed = 0;
        }
    }

    /// Its link was interrupted until now, and that puts off what is missing here.
    pub(super) fn put_off(&mut self, now: Time, repair_delay: Micros) {
        if self.postponed == 0 || now.since(self.postponed_at) >= repair_delay {
            (self.postponed, self.postponed_at) = (self.postponed.saturating_add(1), now);
        }
    }

    /// May interruptions still put off repair from it?
    pub(super) const fn may_be_put_off(&self) -> bool {
        self.postponed <= POSTPONED_MAX
    }

    #[cfg(test)]
    pub(super) const fn postponed(&self) -> u8 {
        self.postponed
    }

    /// How long a frame of a pull is waited for. Each pull that ran out of time doubles it. A peer that is slow for good
    /// would never be heard without that (decision 0025).
    pub(super) fn frame_timeout(&self, pull_timeout: Micros) -> Micros {
        pull_timeout.times(1 << self.late.min(TIMEOUT_DOUBLINGS))
    }

    /// How long a piece of a value is waited for: at least twice as long as the last pull took to be answered.
    pub(super) fn piece_timeout(&self, pull_timeout: Micros) -> Micros {
        pull_timeout.max(self.round_trip.times(2))
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self, pull_timeout: Micros) {
        let longest = pull_timeout.times(1 << TIMEOUT_DOUBLINGS);
        assert!(self.round_trip <= longest, "an answer that came after its pull was given up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;

    const TIMEOUT: Micros = Micros::from_seconds(1);

    #[test]
    fn each_pull_that_runs_out_of_time_doubles_the_next() {
        let mut supplier = Supplier::default();
        for times in [1, 2, 4, 8, 16, 16] {
            assert_eq!(supplier.frame_timeout(TIMEOUT), TIMEOUT.times(times));
            supplier.on_late(times);
            assert!(supplier.is_overdue(times));
        }
        supplier.on_complete(Arc::default(), true, Time(5));
        assert_eq!(supplier.frame_timeout(TIMEOUT), TIMEOUT);
    }

    #[test]
    fn interruptions_close_together_count_as_one() {
        let (mut supplier, delay) = (Supplier::default(), Micros(100));
        for at in [1_000, 1_050, 1_100, 1_150] {
            supplier.put_off(Time(at), delay);
        }
        assert_eq!(supplier.postponed(), 2);
        (0..5).for_each(|n| supplier.put_off(Time(3_000 + 100 * n), delay));
        supplier.begin_anew(Some(Time(900)));
        assert!(!supplier.may_be_put_off());
        let mut other = supplier.clone();
        other.begin_anew(Some(Time(8_000)));
        assert_eq!(other.postponed(), 0, "what was put off is here, and something else is missing");
        supplier.begin_anew(None);
        assert!(supplier.may_be_put_off(), "nothing is missing");
    }

    #[test]
    fn a_claim_that_is_not_kept_rests() {
        let mut supplier = Supplier::default();
        let claim = Arc::new(VersionVector::from_entries([(Incarnation(7), 3)]));
        assert!(supplier.unkept(Time(0)).is_none());
        let mut now = Time(0);
        for pause in [1, 2, 4] {
            supplier.on_complete(claim.clone(), false, now);
            let until = now + UNKEPT_PAUSE.times(pause);
            assert_eq!(supplier.unkept(Time(until.0 - 1)), Some(&*claim));
            assert_eq!(supplier.unkept(until), None);
            now = until;
        }
        supplier.on_complete(claim, true, now);
        assert_eq!(supplier.unkept(now), None);
    }
}
