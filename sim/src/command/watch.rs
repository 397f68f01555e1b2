//! The clock beside the judge: shows that it still works, and ends it in time.

use super::clock;
use hence_checker::Watch;
use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Asks the clock.
pub(crate) const WATCH: Watch = Watch::new(passed);

static BEGUN: OnceLock<(Instant, Option<Duration>)> = OnceLock::new();

/// When progress was shown last, in milliseconds from the beginning.
static SHOWN: AtomicU64 = AtomicU64::new(0);

/// The judge begins now and may take so long.
pub(crate) fn begin(limit: Option<Duration>) {
    BEGUN.get_or_init(|| (clock(), limit));
}

/// Takes the line of progress away.
pub(crate) fn clear() {
    if SHOWN.load(Ordering::Relaxed) > 0 && std::io::stderr().is_terminal() {
        _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn passed(left: u64) -> u32 {
    let (begun, limit) = BEGUN.get_or_init(|| (clock(), None));
    let passed = begun.elapsed();
    let (now, shown) = (passed.as_millis() as u64, SHOWN.load(Ordering::Relaxed));
    // What ends soon says nothing of its progress.
    let is_terminal = now >= shown + 1_000 && std::io::stderr().is_terminal();
    if now >= shown + 10_000 || is_terminal {
        SHOWN.store(now, Ordering::Relaxed);
        let text = format!("judging for {} s, work left: {left}", passed.as_secs());
        _ = if is_terminal {
            write!(std::io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(std::io::stderr(), "{text}")
        };
        _ = std::io::stderr().flush();
    }
    let Some(limit) = limit else { return 0 };
    let part = passed.as_millis() * u128::from(Watch::WHOLE) / limit.as_millis().max(1);
    u32::try_from(part).unwrap_or(Watch::WHOLE)
}
