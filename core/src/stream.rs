//! The stream of messages from one peer: whether it was interrupted, and since when it keeps moving
//! (LINK-4, PUSH-2, PUSH-3, PULL-6).
//!
//! A peer that has nothing to say sends a status every heartbeat interval. So a silence longer than that interval plus
//! the longest lateness has one of three reasons, and the message that ends it tells which (PUSH-3):
//!
//! - messages are missing before it: the connection was lost with what it held;
//! - it is next in line and late: the network held the stream back and delivers it now;
//! - it is next in line and fresh: the peer's process did not run.
//!
//! In the first two cases the link was interrupted, and what the peer made before that moment is not news.

use crate::freshness::{Offsets, Spans};
use crate::time::{Micros, Time};

/// What a message says about the moment when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its number on the link.
    pub(crate) sequence: u64,
    /// When it left, on the peer's monotonic clock, where it says so.
    pub(crate) departed: Option<Time>,
    /// It is the first of a link, or comes before the link stands.
    pub(crate) opens: bool,
}

/// How long a silence may be, and how late a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A longer silence needs a reason.
    pub(crate) silence: Micros,
    /// A message that is later than this was held back.
    pub(crate) late: Micros,
}

/// See the module. Belongs to one incarnation at the other end and outlives its links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    /// The number of the message that comes next.
    expected: u64,
    /// A message of this incarnation arrived.
    met: bool,
    /// When bytes last arrived. Stalls of the own process move it forward.
    moved: Option<Time>,
    /// Spans in which bytes kept arriving.
    moving: Spans,
    /// A silence ended, and no message has told its reason yet.
    undecided: bool,
    /// When the last interruption ended, on the own clock.
    interrupted: Option<Time>,
    /// When the peer was last back from a silence in which others were cut off, on the own clock.
    back: Option<Time>,
}

impl Stream {
    /// Takes note of a message. Returns `true` if it shows that the link was interrupted until now.
    pub(crate) fn arrive(
        &mut self,
        now: Time,
        arrival: Arrival,
        offsets: &Offsets,
        stalls: &Spans,
        limits: Limits,
    ) -> bool {
        self.met = true;
        let missing = arrival.opens || arrival.sequence > self.expected;
        if arrival.sequence < self.expected && !arrival.opens {
            return false; // it was overtaken: it says nothing about what came before it in the stream
        }
        self.expected = arrival.sequence.wrapping_add(1);
        self.progress(now, limits);
        if !self.undecided {
            return false;
        }
        let held_back = |departed| self.lateness(now, departed, offsets, stalls, limits.late) > limits.late;
        let interrupted = missing || arrival.departed.is_some_and(held_back);
        self.undecided = !interrupted && arrival.departed.is_none();
        if interrupted {
            self.interrupted = Some(now);
        }
        interrupted
    }

    /// The stream of the next incarnation at the same address: how long that address has been silent is known, and when
    /// it was cut off.
    pub(crate) fn of_next_incarnation(&self) -> Self {
        let Self { moved, undecided, interrupted, .. } = *self;
        Self { moved, undecided, interrupted, ..Self::default() }
    }

    /// Has a message of this incarnation arrived?
    pub(crate) const fn is_met(&self) -> bool {
        self.met
    }

    /// Was this stream cut off just now, or until a moment ago? A silence that just ended counts until its reason is known.
    pub(crate) fn is_cut_since(&self, moment: Time, now: Time, limits: Limits) -> bool {
        self.is_silent(now, limits) || self.interrupted.is_some_and(|at| at >= moment)
    }

    /// Is there a silence that has lasted too long, or has just ended without a reason?
    pub(crate) fn is_silent(&self, now: Time, limits: Limits) -> bool {
        self.undecided || self.moved.is_some_and(|moved| now.since(moved) > limits.silence)
    }

    /// The peer's process stood still while others were cut off. What it pushes is news. What it took in since may have
    /// been made in the cut.
    pub(crate) const fn be_back(&mut self, now: Time) {
        self.back = Some(now);
    }

    /// From when on the delay of repair runs.
    pub(crate) fn reliable_since(&self) -> Option<Time> {
        self.interrupted.max(self.back)
    }

    /// The first contact counts as the end of an interruption: others are, or were, cut off.
    pub(crate) const fn meet_after_cut(&mut self, now: Time) {
        self.interrupted = Some(now);
    }

    /// Are messages missing before this one?
    pub(crate) const fn is_beyond(&self, sequence: u64) -> bool {
        sequence > self.expected
    }

    /// Bytes arrived, whether they complete a message or not.
    pub(crate) fn progress(&mut self, now: Time, limits: Limits) {
        assert!(self.moved <= Some(now), "bytes arrived at {:?} and at {now:?}", self.moved);
        let silence = self.moved.map(|moved| now.since(moved));
        match silence {
            Some(silence) if silence <= limits.silence => self.moving.extend(now),
            silence => {
                self.undecided |= silence.is_some();
                self.moving.add(now, now);
            }
        }
        self.moved = Some(now);
    }

    /// How much later than the fastest a message arrived that left then. Time in which earlier bytes of the stream kept
    /// arriving is left out, and so is time in which the own process did not run. What is not above the limit anyway is
    /// not looked at so closely: nearly all messages are in time.
    pub(crate) fn lateness(
        &self,
        now: Time,
        departed: Time,
        offsets: &Offsets,
        stalls: &Spans,
        limit: Micros,
    ) -> Micros {
        let late = offsets.lateness(now, departed);
        if late <= limit {
            return late;
        }
        late.saturating_sub(self.moving.within_either(stalls, now - late, now))
    }

    /// Did the peer make this before an interruption ended?
    pub(crate) fn is_stale(&self, made: Time, offsets: &Offsets) -> bool {
        // Asked anew each time: what is known of the peer's clock may change after the interruption.
        self.interrupted.is_some_and(|at| offsets.is_before(made, at))
    }

    /// The own process did not run for so long: that is not the peer's silence.
    pub(crate) fn exclude_stall(&mut self, stalled: Micros, now: Time) {
        self.moved = self.moved.map(|moved| (moved + stalled).min(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { silence: Micros(700_000), late: Micros(500_000) };

    /// A peer whose clock is 7 s ahead, and whose messages take 1 ms.
    struct World {
        stream: Stream,
        offsets: Offsets,
        stalls: Spans,
        next: u64,
    }

    const AHEAD: u64 = 7_000_000;

    impl World {
        /// Ten seconds of statuses, the last at 10 s.
        fn new() -> Self {
            let (stream, offsets, stalls) = (Stream::default(), Offsets::default(), Spans::default());
            let mut world = Self { stream, offsets, stalls, next: 5 };
            world.arrive(1_000, 0, true);
            for n in 1..=50 {
                assert!(!world.arrive(n * 200_000 + 1_000, n * 200_000, false));
            }
            world
        }

        fn arrive(&mut self, at: u64, left: u64, opens: bool) -> bool {
            let departed = Time(left + AHEAD);
            let arrival = Arrival { sequence: self.next, departed: Some(departed), opens };
            self.next += 1;
            let interrupted = self.stream.arrive(Time(at), arrival, &self.offsets, &self.stalls, LIMITS);
            self.offsets.observe(Time(at), departed, Some(crate::freshness::SILENCE));
            interrupted
        }

        fn is_fresh(&self, at: u64, made: u64) -> bool {
            let made = Time(made + AHEAD);
            let late = self.stream.lateness(Time(at), made, &self.offsets, &self.stalls, Micros::ZERO);
            late <= LIMITS.late && !self.stream.is_stale(made, &self.offsets)
        }
    }

    #[test]
    fn a_stalled_stream_taints_what_was_made_meanwhile_however_young() {
        let mut world = World::new();
        assert!(world.arrive(11_400_000, 10_200_000, false), "the first status is 1.2 s late");
        for made in [10_300_000, 11_300_000, 11_398_000] {
            assert!(!world.is_fresh(11_400_000, made), "made at {made}");
        }
        assert!(world.is_fresh(11_402_000, 11_400_500), "made after it");
    }

    #[test]
    fn a_lost_connection_taints_by_what_is_missing() {
        let mut world = World::new();
        world.next += 3;
        assert!(world.arrive(11_400_000, 11_399_000, false));
        assert!(!world.is_fresh(11_400_000, 11_300_000));
        let mut world = World::new();
        assert!(world.arrive(11_400_000, 11_399_000, true), "a new link");
    }

    #[test]
    fn the_next_incarnation_at_an_address_is_as_cut_off_as_the_incarnation_before() {
        let mut world = World::new();
        world.next += 3;
        assert!(world.arrive(11_400_000, 11_399_000, false), "the last message of the incarnation before ends the cut");
        assert!(!world.stream.of_next_incarnation().is_cut_since(Time(11_400_001), Time(11_400_001), LIMITS));
        assert!(world.stream.of_next_incarnation().is_cut_since(Time(11_300_000), Time(11_400_001), LIMITS));
        assert!(world.stream.is_met() && !world.stream.of_next_incarnation().is_met(), "each is met by itself");
        // The last message says no time, so the first of the next incarnation decides.
        let mut world = World::new();
        let arrival = Arrival { sequence: world.next, departed: None, opens: false };
        assert!(!world.stream.arrive(Time(11_400_000), arrival, &world.offsets, &world.stalls, LIMITS));
        let mut next = world.stream.of_next_incarnation();
        let hello = Arrival { sequence: 0, departed: Some(Time(1)), opens: true };
        assert!(next.arrive(Time(11_500_000), hello, &Offsets::default(), &world.stalls, LIMITS));
    }

    /// The clock of a process that starts after the interruption begins at zero: it never showed that moment.
    #[test]
    fn an_interruption_before_an_incarnation_taints_nothing_of_it() {
        let mut world = World::new();
        world.next += 3;
        assert!(world.arrive(11_400_000, 11_399_000, false), "the last message of the incarnation before ends the cut");
        let (mut next, mut offsets) = (world.stream.of_next_incarnation(), Offsets::default());
        for n in 0..25 {
            let (now, departed) = (Time(11_500_000 + n * 200_000), Time(n * 200_000));
            let arrival = Arrival { sequence: n, departed: Some(departed), opens: n == 0 };
            assert!(!next.arrive(now, arrival, &offsets, &world.stalls, LIMITS), "it follows at once");
            offsets.observe(now, departed, Some(crate::freshness::SILENCE));
        }
        assert!(!next.is_stale(Time(1), &offsets), "it was made after the interruption");
    }

    #[test]
    fn what_says_no_time_leaves_the_question_open() {
        let mut world = World::new();
        let arrival = Arrival { sequence: world.next, departed: None, opens: false };
        world.next += 1;
        assert!(!world.stream.arrive(Time(11_400_000), arrival, &world.offsets, &world.stalls, LIMITS));
        assert!(world.arrive(11_400_000, 10_200_000, false));
    }

    #[test]
    fn stalls_of_either_process_are_no_interruptions() {
        let mut world = World::new();
        assert!(!world.arrive(12_001_000, 12_000_000, false), "the peer did not run");
        assert!(world.is_fresh(12_001_000, 12_000_000));
        let mut world = World::new();
        world.stalls.add(Time(10_100_000), Time(12_000_000));
        world.stream.exclude_stall(Micros(1_900_000), Time(12_000_000));
        assert!(!world.arrive(12_000_000, 10_200_000, false), "this process did not run");
        assert!(world.is_fresh(12_000_000, 10_300_000));
    }

    #[test]
    fn what_waits_behind_earlier_bytes_is_not_late() {
        let mut world = World::new();
        for n in 1..=80 {
            world.stream.progress(Time(10_001_000 + n * 100_000), LIMITS);
        }
        assert!(!world.arrive(18_001_000, 10_200_000, false), "a status behind 8 s of other bytes");
        assert!(world.is_fresh(18_001_000, 10_300_000));
        // The same with a hole of a second in it.
        let mut world = World::new();
        for n in (1..=30).chain(41..=80) {
            world.stream.progress(Time(10_001_000 + n * 100_000), LIMITS);
        }
        assert!(world.arrive(18_001_000, 10_200_000, false));
        assert!(!world.is_fresh(18_001_000, 17_900_000));
    }

    #[test]
    fn a_clock_that_stood_still_is_learnt_within_a_second_of_contact() {
        let mut world = World::new();
        // The peer's machine was suspended for 47 s: its clock says 10.2 s when ours says 57.2 s.
        let suspended = 47_000_000;
        for n in 51..=60 {
            world.arrive(n * 200_000 + suspended + 1_000, n * 200_000, false);
        }
        assert!(world.is_fresh(12_201_000 + suspended, 12_200_000));
    }

    /// Statuses every `every` from `first` to `last` on the peer's clock, whose machine was suspended for so long in all.
    fn statuses(world: &mut World, suspended: u64, every: u64, first: u64, last: u64) {
        for left in (first..=last).step_by(every as usize) {
            world.arrive(left + suspended + 1_000, left, false);
        }
    }

    #[test]
    fn a_clock_that_stood_still_twice_is_learnt_twice() {
        let mut world = World::new();
        statuses(&mut world, 47_000_000, 200_000, 10_200_000, 12_000_000);
        assert!(world.is_fresh(12_101_000 + 47_000_000, 12_100_000));
        // Less than a minute later, so what was learnt first is still remembered; and for less time.
        let suspended = 47_000_000 + 5_000_000;
        statuses(&mut world, suspended, 200_000, 12_200_000, 12_800_000);
        assert!(!world.is_fresh(12_901_000 + suspended, 12_900_000), "not a second of contact yet");
        statuses(&mut world, suspended, 200_000, 13_000_000, 14_000_000);
        assert!(world.is_fresh(14_101_000 + suspended, 14_100_000));
        // What the network holds back from then on is told from that.
        assert!(world.arrive(16_000_000 + suspended, 14_200_000, false), "a cut after both");
        assert!(!world.is_fresh(16_000_000 + suspended, 15_900_000));
    }

    #[test]
    fn a_clock_that_stood_still_is_learnt_behind_the_bytes_of_a_slow_link() {
        let mut world = World::new();
        let suspended = 47_000_000;
        // Every status comes behind a piece that the link takes 0.6 s for.
        for n in 1..=8 {
            let left = 10_000_000 + n * 600_000;
            for piece in 0..6 {
                world.stream.progress(Time(left + suspended + piece * 100_000), LIMITS);
            }
            world.arrive(left + suspended + 600_000, left, false);
        }
        let now = 15_400_000 + suspended;
        assert!(world.is_fresh(now, 15_390_000), "made a moment ago");
        assert!(world.is_fresh(now, 14_700_000), "made before the piece that it came behind");
    }

    #[test]
    fn a_clock_that_stood_still_in_a_cut_makes_nothing_of_the_cut_news() {
        let mut world = World::new();
        // Suspended for 47 s, and cut off for two more by the peer's own clock, whose messages are lost with the connection.
        let suspended = 47_000_000;
        world.next += 10;
        assert!(world.arrive(12_201_000 + suspended, 12_200_000, false), "messages are missing");
        statuses(&mut world, suspended, 200_000, 12_400_000, 14_000_000);
        let now = 14_101_000 + suspended;
        assert!(world.is_fresh(now, 14_100_000), "made after both");
        for made in [10_100_000, 11_500_000, 12_190_000] {
            assert!(!world.is_fresh(now, made), "made at {made}, in the cut");
        }
    }
}
