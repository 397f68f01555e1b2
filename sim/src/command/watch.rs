//! The clock beside the judge: shows that it still works, and ends it in time.

use super::clock;
use hence_checker::Watch;
use std::io::{BufRead, ErrorKind, IsTerminal as _, Read, Write as _};
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

/// What is read as long as there is time.
pub(crate) struct InTime<R>(pub(crate) R);

impl<R: BufRead> Read for InTime<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for InTime<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if elapsed() >= Watch::WHOLE {
            return Err(ErrorKind::TimedOut.into());
        }
        self.0.fill_buf()
    }

    fn consume(&mut self, read: usize) {
        self.0.consume(read);
    }
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
    part(passed, *limit)
}

/// How much of the time has passed.
fn elapsed() -> u32 {
    let (begun, limit) = BEGUN.get_or_init(|| (clock(), None));
    part(begun.elapsed(), *limit)
}

fn part(passed: Duration, limit: Option<Duration>) -> u32 {
    let Some(limit) = limit else { return 0 };
    let part = passed.as_millis() * u128::from(Watch::WHOLE) / limit.as_millis().max(1);
    u32::try_from(part).unwrap_or(Watch::WHOLE)
}
