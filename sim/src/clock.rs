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
}

impl Clock {
    /// A clock that reads `origin` now and runs `drift` parts per million fast.
    #[must_use]
    pub fn new(started: u64, origin: u64, drift: i32, wall_ahead: i64) -> Self {
        Self { origin, started, drift: i64::from(drift), wall_ahead }
    }

    /// Both readings at this simulated time, which is not before the start.
    #[must_use]
    pub fn now(&self, at: u64) -> Now {
        let wall = (WALL_START + at).saturating_add_signed(self.wall_ahead);
        Now { monotonic: Time(self.monotonic(at)), wall: Wall(wall) }
    }

    fn monotonic(&self, at: u64) -> u64 {
        let passed = at - self.started;
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
        if reading == Time::NEVER {
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
