//! A replica's two clocks as simulated time makes them.
//!
//! Invariant kept here: the monotonic reading never goes back, whatever the drift; the wall may do anything.

use hence_core::{Now, Time, Wall};

/// Where wall clocks stand when a run begins: an arbitrary day.
const WALL_START: u64 = 1_700_000_000_000_000;

const MILLION: u64 = 1_000_000;

/// `value * by / of`, in 64 bits where that fits, which is nearly always and much faster.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    match value.checked_mul(by) {
        Some(product) => product / of,
        None => u64::try_from(u128::from(value) * u128::from(by) / u128::from(of)).unwrap_or(u64::MAX),
    }
}

/// The clocks of one process.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What the monotonic clock read when simulated time was `started`.
    origin: u64,
    started: u64,
    drift: i64,
    /// Microseconds that the wall clock is ahead of simulated time.
    pub wall_ahead: i64,
    /// It stands still, as often as a fault stopped it.
    stops: u16,
}

impl Clock {
    /// A clock that reads `origin` now and runs `drift` parts per million fast.
    #[must_use]
    pub fn new(started: u64, origin: u64, drift: i32, wall_ahead: i64) -> Self {
        Self { origin, started, drift: i64::from(drift), wall_ahead, stops: 0 }
    }

    /// Both readings at this simulated time, which is not before the start.
    #[must_use]
    pub fn now(&self, at: u64) -> Now {
        let wall = (WALL_START + at).saturating_add_signed(self.wall_ahead);
        Now { monotonic: Time(self.monotonic(at)), wall: Wall(wall) }
    }

    /// The monotonic clock stands still from now on.
    pub fn stop(&mut self, now: u64) {
        (self.origin, self.started) =
            if self.stops == 0 { (self.monotonic(now), now) } else { (self.origin, self.started) };
        self.stops += 1;
    }

    /// It runs again, unless something else stopped it as well. Says for how long it stood still.
    pub fn go_on(&mut self, now: u64) -> u64 {
        if self.stops != 1 {
            self.stops = self.stops.saturating_sub(1);
            return 0;
        }
        self.stops = 0;
        now - std::mem::replace(&mut self.started, now)
    }

    /// How often it was stopped and did not go on.
    #[must_use]
    pub const fn stops(&self) -> u16 {
        self.stops
    }

    /// What it read before it last stood still is not known any more: there it reads what it read then.
    fn monotonic(&self, at: u64) -> u64 {
        if self.stops > 0 {
            return self.origin;
        }
        let passed = at.saturating_sub(self.started);
        if self.drift == 0 {
            return self.origin + passed;
        }
        self.origin + scaled(passed, self.rate(), MILLION)
    }

    /// Microseconds that it counts in a second.
    const fn rate(&self) -> u64 {
        MILLION.saturating_add_signed(self.drift)
    }

    /// The first simulated time at which the monotonic clock reads at least this.
    #[must_use]
    pub fn when(&self, reading: Time) -> u64 {
        if reading == Time::NEVER || self.stops > 0 && reading.0 > self.origin {
            return u64::MAX;
        }
        let wanted = reading.0.saturating_sub(self.origin);
        if self.drift == 0 {
            return self.started.saturating_add(wanted);
        }
        let mut at = self.started.saturating_add(scaled(wanted, MILLION, self.rate()));
        while at < u64::MAX && self.monotonic(at) < reading.0 {
            at += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_still_loses_that_time() {
        for drift in [0, 20_000, -20_000] {
            let mut clock = Clock::new(1_000, 50_000, drift, 0);
            let before = clock.now(11_000);
            clock.stop(11_000);
            clock.stop(12_000);
            assert_eq!(clock.go_on(500_000), 0);
            assert_eq!(clock.now(600_000).monotonic, before.monotonic, "something else stopped it, too");
            assert_eq!(clock.when(before.monotonic + hence_core::Micros(1)), u64::MAX);
            assert_eq!(clock.go_on(911_000), 900_000);
            assert_eq!(clock.now(911_000).monotonic, before.monotonic);
            assert_eq!(clock.now(911_000).wall.0 - before.wall.0, 900_000, "the wall clock went on");
            let later = clock.now(921_000).monotonic;
            assert_eq!(later.0 - before.monotonic.0, (10_000 * (1_000_000 + i64::from(drift)) / 1_000_000) as u64);
            assert!(clock.when(later) <= 921_000 && clock.now(clock.when(later)).monotonic >= later);
        }
    }

    #[test]
    fn when_is_the_first_time_that_now_reaches() {
        for drift in [0, 1, -1, 999, -777, 200_000, -200_000] {
            let clock = Clock::new(1_000, 50_000, drift, -5);
            let mut last = 0;
            for at in (1_000..40_000).step_by(37) {
                let reading = clock.now(at).monotonic;
                assert!(reading.0 >= last);
                last = reading.0;
                let first = clock.when(reading);
                assert!(first <= at && clock.now(first).monotonic >= reading, "drift {drift} at {at}");
                assert!(first == 1_000 || clock.now(first - 1).monotonic < reading);
            }
        }
    }
}
