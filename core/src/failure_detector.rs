//! When a silence is long enough to suspect a peer: adaptive, in integers (FAIL-1, FAIL-2).
//!
//! It follows Hayashibara et al., "The phi accrual failure detector" (SRDS 2004). The threshold follows the mean and
//! the deviation of the gaps between frames. Both are smoothed in integers, as TCP does for its round trips (Jacobson,
//! 1988). The threshold is kept between a floor and a cap. Suspicion is local and never removes a member.

use crate::config::Config;
use crate::time::{Micros, Time};

#[derive(Debug, Clone)]
pub(crate) struct FailureDetector {
    last_arrival: Time,
    /// Mean of gaps, times 8.
    mean_8: u64,
    /// Mean deviation of gaps, times 4.
    deviation_4: u64,
    /// How long a silence may be, as mean and deviation say: kept, because it is asked for far more often than it changes.
    adapted: Micros,
}

impl FailureDetector {
    pub(crate) const fn new(now: Time) -> Self {
        Self { last_arrival: now, mean_8: 0, deviation_4: 0, adapted: Micros::ZERO }
    }

    /// A frame arrived.
    pub(crate) fn on_arrival(&mut self, now: Time) {
        let gap = now.since(self.last_arrival).0.min(60_000_000);
        self.last_arrival = self.last_arrival.max(now);
        let error = gap.abs_diff(self.mean_8 / 8);
        self.mean_8 = self.mean_8 - self.mean_8 / 8 + gap;
        self.deviation_4 = self.deviation_4 - self.deviation_4 / 4 + error;
        self.adapted = Micros((self.mean_8 / 8).saturating_add(self.deviation_4.saturating_mul(4)));
    }

    /// When the last frame arrived.
    pub(crate) const fn last_arrival(&self) -> Time {
        self.last_arrival
    }

    /// The own process did not run for so long: that much silence does not count.
    pub(crate) fn exclude_stall(&mut self, stalled: Micros, now: Time) {
        self.last_arrival = (self.last_arrival + stalled).min(now);
    }

    /// The moment from which the peer is suspected if nothing more is heard.
    #[inline]
    pub(crate) fn suspect_at(&self, config: &Config) -> Time {
        let (min, max) = (config.suspect_after_min, config.suspect_after_max);
        self.last_arrival + self.adapted.max(min).min(max.max(min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapts_between_floor_and_cap() {
        let config = Config::default();
        let silence = |failure_detector: &FailureDetector| {
            failure_detector.suspect_at(&config).since(failure_detector.last_arrival)
        };
        let mut steady = FailureDetector::new(Time(0));
        (1..100).for_each(|n| steady.on_arrival(Time(n * 200_000)));
        assert_eq!(silence(&steady), config.suspect_after_min);
        let mut uneven = FailureDetector::new(Time(0));
        (1..50).for_each(|n| uneven.on_arrival(Time(n * 1_100_000 + n % 2 * 600_000)));
        assert!(silence(&uneven) > config.suspect_after_min && silence(&uneven) <= config.suspect_after_max);
        let mut wild = FailureDetector::new(Time(0));
        (1..50).for_each(|n| wild.on_arrival(Time(n * n * 3_000_000)));
        assert_eq!(silence(&wild), config.suspect_after_max);
    }

    #[test]
    fn an_own_stall_is_not_the_peers_silence() {
        let config = Config::default();
        let mut failure_detector = FailureDetector::new(Time(1_000_000));
        failure_detector.exclude_stall(Micros::from_seconds(8), Time(9_100_000));
        assert_eq!(failure_detector.suspect_at(&config), Time(9_000_000) + config.suspect_after_min);
        failure_detector.exclude_stall(Micros::from_seconds(8), Time(9_100_000));
        assert_eq!(failure_detector.suspect_at(&config), Time(9_100_000) + config.suspect_after_min);
    }
}
