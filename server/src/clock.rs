//! The two clocks of a process, as the core wants them.

use hence_core::{Now, Time, Wall};
use std::time::{Duration, Instant, SystemTime};

/// Reads the machine's clocks. Monotonic time counts from when this was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at 0 now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks. Monotonic time never goes back.
    pub(crate) fn now(&self) -> Now {
        // A wall clock before 1970 reads as 1970: the core expects it to be wrong at times.
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { monotonic: Time(micros(self.start.elapsed())), wall: Wall(micros(wall)) }
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
