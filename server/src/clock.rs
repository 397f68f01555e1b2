//! The two clocks of a process, as the core wants them.

use hence_core::{Now, Time, Wall};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// So long a reading of the wall clock is carried on by the monotonic one. Stamps do not tell finer. A reading takes 25
/// ns, which was 2 % of what a replicated write costs a follower.
const WALL_AGE_MICROS_MAX: u64 = 1_000;

/// Reads the machine's clocks. Monotonic time counts from when this was made.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Both clocks when the wall clock was last read.
    read: Cell<Now>,
}

impl Clock {
    /// A clock that starts at 0 now.
    pub(crate) fn start() -> Self {
        let clock = Self { start: Instant::now(), read: Cell::default() };
        clock.read_wall(0);
        clock
    }

    /// Both clocks. Monotonic time never goes back.
    pub(crate) fn now(&self) -> Now {
        let monotonic = micros(self.start.elapsed());
        let read = self.read.get();
        let age = monotonic - read.monotonic.0;
        if age >= WALL_AGE_MICROS_MAX {
            return self.read_wall(monotonic);
        }
        Now { monotonic: Time(monotonic), wall: Wall(read.wall.0.saturating_add(age)) }
    }

    fn read_wall(&self, monotonic: u64) -> Now {
        // A wall clock before 1970 reads as 1970: the core expects it to be wrong at times.
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = Now { monotonic: Time(monotonic), wall: Wall(micros(wall)) };
        self.read.set(now);
        now
    }

    /// The moment on the machine's clock at which this time has come; `None` for one that never comes.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(Duration::from_micros(time.0))
    }

    /// How long ago it started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
