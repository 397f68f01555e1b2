//! How late a push is, without comparing clocks: against the fastest of the last minute.
//!
//! Two processes' monotonic clocks differ by an unknown constant. The least difference between arrival here and
//! departure there, over the last minute of contact, is that constant plus the shortest way; what exceeds it is
//! lateness. Time in which this process itself was not run is not the sender's fault and is left out.

use crate::time::{Micros, Time};
use alloc::collections::VecDeque;

const BUCKETS: usize = 6;
const BUCKET: Micros = Micros::from_seconds(10);
/// Stalls remembered; older ones no longer overlap with anything that can still arrive.
const STALLS_MAX: usize = 16;

/// The least arrival minus departure seen of one incarnation, over the last minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    /// Least difference per ten seconds, newest last.
    buckets: [Option<i64>; BUCKETS],
    newest: Time,
}

impl Offsets {
    pub(crate) fn observe(&mut self, arrived: Time, departed: Time) {
        if arrived.since(self.newest) >= BUCKET {
            // Contact counts, not time: a silence does not forget what the way was like before it.
            self.buckets.rotate_left(1);
            self.buckets[BUCKETS - 1] = None;
            self.newest = arrived;
        }
        let difference = difference(arrived, departed);
        let bucket = &mut self.buckets[BUCKETS - 1];
        *bucket = Some(bucket.map_or(difference, |least| least.min(difference)));
    }

    /// How much later than the fastest this arrived, `stalls` left out. Zero while nothing is known.
    pub(crate) fn lateness(&self, arrived: Time, departed: Time, stalls: &Stalls) -> Micros {
        let Some(least) = self.buckets.iter().flatten().min() else { return Micros::ZERO };
        let late = difference(arrived, departed).saturating_sub(*least);
        let late = Micros(u64::try_from(late).unwrap_or(0));
        late.saturating_sub(stalls.within(arrived - late, arrived))
    }
}

/// The clocks may start anywhere, so the difference may be negative; it wraps rather than overflows.
const fn difference(arrived: Time, departed: Time) -> i64 {
    arrived.0.wrapping_sub(departed.0) as i64
}

/// The spans in which this process was not run though it should have been.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stalls {
    spans: VecDeque<(Time, Time)>,
}

impl Stalls {
    pub(crate) fn add(&mut self, from: Time, to: Time) {
        if self.spans.len() == STALLS_MAX {
            self.spans.pop_front();
        }
        self.spans.push_back((from, to));
    }

    /// How much of this span was stalled.
    fn within(&self, from: Time, to: Time) -> Micros {
        let overlap = |&(start, end): &(Time, Time)| end.min(to).since(start.max(from));
        self.spans.iter().map(overlap).fold(Micros::ZERO, Micros::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_measured_against_the_fastest_and_without_own_stalls() {
        let (mut offsets, mut stalls) = (Offsets::default(), Stalls::default());
        // The sender's clock is far ahead of ours.
        let departed = |t: u64| Time(t + 7_000_000_000);
        offsets.observe(Time(1_000), departed(0));
        offsets.observe(Time(11_300), departed(10_000));
        let late = |at, from, stalls: &Stalls| offsets.lateness(Time(at), departed(from), stalls);
        assert_eq!(late(20_000, 19_000, &stalls), Micros::ZERO);
        assert_eq!(late(2_021_000, 20_000, &stalls), Micros(2_000_000));
        stalls.add(Time(100_000), Time(1_900_000));
        assert_eq!(late(2_021_000, 20_000, &stalls), Micros(200_000));
        // A stall that was over before the message left excuses nothing.
        assert_eq!(late(4_001_000, 2_000_000, &stalls), Micros(2_000_000));
    }

    #[test]
    fn the_fastest_is_forgotten_after_a_minute_of_contact() {
        let mut offsets = Offsets::default();
        offsets.observe(Time(10), Time(0));
        for second in 1..=70 {
            offsets.observe(Time(second * 1_000_000 + 900), Time(second * 1_000_000));
        }
        assert_eq!(offsets.lateness(Time(900), Time(0), &Stalls::default()), Micros::ZERO);
    }
}
