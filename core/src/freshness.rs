//! How late a message is, without comparing clocks: against the fastest of the last minute (PUSH-2).
//!
//! Two processes' monotonic clocks differ by an unknown constant. The least difference between arrival here and
//! departure there, over the last minute of contact, is that constant plus the shortest way. What exceeds it is
//! lateness.

use crate::time::{Micros, Time};
use alloc::collections::VecDeque;

const BUCKETS: usize = 6;
const BUCKET: Micros = Micros::from_seconds(10);
/// A peer's clock may have stood still during a silence, and then all that it says later seems late. The clock has
/// stood still if everything in so much contact after a silence came later than the fastest by more than [`SHIFT`].
/// What a network held back arrives at once after the silence, and fresh messages follow well before this. The message
/// that ends this time must agree with the earliest.
const RELEARN: Micros = Micros::from_seconds(1);
/// A clock that stood still for less makes nothing seem late.
const SHIFT: i64 = 500_000;
/// The shortest pause in contact that may be such a silence. A process that runs says something more often.
pub(crate) const SILENCE: Micros = Micros::from_seconds(1);
/// Spans remembered; older ones no longer overlap with anything that can still arrive.
const SPANS_MAX: usize = 16;

/// The least arrival minus departure seen of one incarnation, over the last minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offsets {
    /// Least difference per ten seconds, newest last.
    buckets: [Option<i64>; BUCKETS],
    /// The least of them.
    least: Option<i64>,
    newest: Time,
    /// When the last message arrived.
    last_arrival: Time,
    /// Since when there is contact again after a silence, and the least difference since.
    again: Option<(Time, i64)>,
}

impl Offsets {
    /// A message arrived then that had left then. After a pause of at least `silence` the sender's clock may have stood
    /// still and is learnt anew; never without one.
    pub(crate) fn observe(&mut self, arrived: Time, departed: Time, silence: Option<Micros>) {
        if arrived.since(self.newest) >= BUCKET {
            // Contact counts, not time: a silence does not forget what the way was like before it.
            self.buckets.rotate_left(1);
            self.buckets[BUCKETS - 1] = None;
            self.least = self.buckets.iter().flatten().min().copied();
            self.newest = arrived;
        }
        let difference = difference(arrived, departed);
        let is_silence = silence.is_some_and(|silence| arrived.since(self.last_arrival) >= silence);
        if is_silence && self.least.is_some() {
            self.again = Some((arrived, difference));
        } else if let Some((since, least)) = &mut self.again {
            *least = difference.min(*least);
            // What is itself late says only that the way is bad.
            if arrived.since(*since) >= RELEARN && difference.saturating_sub(*least) <= SHIFT {
                let least = *least;
                self.again = None;
                if self.least.is_some_and(|before| least.saturating_sub(before) > SHIFT) {
                    self.buckets = [None; BUCKETS];
                    self.buckets[BUCKETS - 1] = Some(least);
                    self.least = Some(least);
                }
            }
        }
        self.last_arrival = arrived;
        let bucket = &mut self.buckets[BUCKETS - 1];
        let join = |least: Option<i64>| Some(least.map_or(difference, |least| least.min(difference)));
        *bucket = join(*bucket);
        self.least = join(self.least);
    }

    /// How much later than the fastest this arrived. Zero while nothing is known.
    pub(crate) fn lateness(&self, arrived: Time, departed: Time) -> Micros {
        let Some(least) = self.least else { return Micros::ZERO };
        let late = difference(arrived, departed).saturating_sub(least);
        Micros(u64::try_from(late).unwrap_or(0))
    }

    /// Did what left then leave before the fastest message that arrives at that moment? `false` while nothing is known.
    ///
    /// The sender's clock may have begun after that moment. Then there is no such reading of it, and differences tell all
    /// the same.
    pub(crate) fn is_before(&self, departed: Time, arrived: Time) -> bool {
        self.least.is_some_and(|least| difference(arrived, departed) > least)
    }
}

/// The clocks may start anywhere, so the difference may be negative; it wraps rather than overflows.
const fn difference(arrived: Time, departed: Time) -> i64 {
    arrived.0.wrapping_sub(departed.0) as i64
}

/// Spans of the own clock, in order and apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    spans: VecDeque<(Time, Time)>,
}

impl Spans {
    /// One more span, later than all others; the oldest is forgotten where there are too many.
    pub(crate) fn add(&mut self, from: Time, to: Time) {
        let follows = |&(_, end): &(Time, Time)| end <= from;
        assert!(from <= to && self.spans.back().is_none_or(follows), "spans follow each other");
        if self.spans.len() == SPANS_MAX {
            self.spans.pop_front();
        }
        self.spans.push_back((from, to));
    }

    /// The last span goes on until now.
    pub(crate) fn extend(&mut self, now: Time) {
        if let Some((_, end)) = self.spans.back_mut() {
            assert!(*end <= now, "a span goes on, not back");
            *end = now;
        }
    }

    /// How much of the time between these moments lies in spans of either list.
    pub(crate) fn within_either(&self, other: &Self, from: Time, to: Time) -> Micros {
        let both = |&(start, end): &(Time, Time)| other.within(start.max(from), end.min(to));
        let twice = self.spans.iter().map(both).fold(Micros::ZERO, Micros::saturating_add);
        self.within(from, to).saturating_add(other.within(from, to)).saturating_sub(twice)
    }

    /// How much of the time between these moments lies in spans.
    fn within(&self, from: Time, to: Time) -> Micros {
        let overlap = |&(start, end): &(Time, Time)| end.min(to).since(start.max(from));
        self.spans.iter().map(overlap).fold(Micros::ZERO, Micros::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_measured_against_the_fastest() {
        let mut offsets = Offsets::default();
        // The sender's clock is far ahead of ours.
        let departed = |t: u64| Time(t + 7_000_000_000);
        offsets.observe(Time(1_000), departed(0), Some(SILENCE));
        offsets.observe(Time(11_300), departed(10_000), Some(SILENCE));
        let late = |at, from| offsets.lateness(Time(at), departed(from));
        assert_eq!(late(20_000, 19_000), Micros::ZERO);
        assert_eq!(late(2_021_000, 20_000), Micros(2_000_000));
        assert!(offsets.is_before(departed(3_999), Time(5_000)) && !offsets.is_before(departed(4_000), Time(5_000)));
    }

    #[test]
    fn spans_of_two_lists_count_once() {
        let (mut one, mut other) = (Spans::default(), Spans::default());
        one.add(Time(100), Time(200));
        one.add(Time(300), Time(300));
        one.extend(Time(400));
        other.add(Time(150), Time(350));
        assert_eq!(one.within_either(&other, Time(0), Time(1_000)), Micros(300));
        assert_eq!(one.within_either(&other, Time(180), Time(320)), Micros(140));
        assert_eq!(one.within_either(&Spans::default(), Time(120), Time(310)), Micros(90));
    }

    #[test]
    fn the_fastest_is_forgotten_after_a_minute_of_contact() {
        let mut offsets = Offsets::default();
        offsets.observe(Time(10), Time(0), Some(SILENCE));
        for half in 1..=140 {
            offsets.observe(Time(half * 500_000 + 900), Time(half * 500_000), Some(SILENCE));
        }
        assert_eq!(offsets.lateness(Time(900), Time(0)), Micros::ZERO);
    }

    #[test]
    fn what_came_before_a_silence_counts_for_another_second() {
        let mut offsets = Offsets::default();
        offsets.observe(Time(10), Time(0), Some(SILENCE));
        // The peer's clock stood still for 40 s.
        for tenth in 0..=9 {
            let left = 1_000_000 + tenth * 100_000;
            offsets.observe(Time(left + 40_000_020), Time(left), Some(SILENCE));
            assert_eq!(offsets.lateness(Time(left + 40_000_020), Time(left)), Micros(40_000_010));
        }
        offsets.observe(Time(42_000_020), Time(2_000_000), Some(SILENCE));
        assert_eq!(offsets.lateness(Time(42_000_120), Time(2_000_000)), Micros(100));
    }

    #[test]
    fn a_message_that_is_late_itself_does_not_end_the_second() {
        let silence = Some(Micros(1_300_000));
        let mut offsets = Offsets::default();
        offsets.observe(Time(10), Time(0), silence);
        // A cut of two seconds ends. The first message was held back, and the second stalls once more.
        offsets.observe(Time(3_490_000), Time(2_350_000), silence);
        offsets.observe(Time(4_577_000), Time(2_560_000), silence);
        assert_eq!(offsets.lateness(Time(4_577_000), Time(2_560_000)), Micros(2_016_990));
        // The clock stands still indeed where the next one agrees with the first.
        offsets.observe(Time(5_000_000), Time(3_860_000), silence);
        assert_eq!(offsets.lateness(Time(5_000_000), Time(3_860_000)), Micros::ZERO);
    }

    #[test]
    fn a_clock_is_learnt_anew_from_messages_that_are_far_apart() {
        let silence = Some(Micros(1_600_000));
        let mut offsets = Offsets::default();
        offsets.observe(Time(10), Time(0), silence);
        // The peer's clock stood still for 40 s, and it says something every 1.1 s.
        for message in 1..=2 {
            let left = message * 1_100_000;
            offsets.observe(Time(left + 40_000_020), Time(left), silence);
        }
        assert_eq!(offsets.lateness(Time(43_300_020), Time(3_300_000)), Micros::ZERO);
    }
}
