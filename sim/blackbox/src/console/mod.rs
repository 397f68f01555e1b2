//! How the commands of the simulator's binary talk and end: lines, files, signals, exit codes, progress.

#[macro_use]
mod codes;
pub mod files;
pub mod lines;
#[macro_use]
pub mod output;
pub mod part;
pub mod provenance;
pub mod signals;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How a command ended: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything that was asked for was judged, and is fine.
    Clean = 0,
    /// Something is wrong, whatever else happened.
    Violation = 1,
    /// Nothing was judged, or no verdict was reached.
    Nothing = 4,
}

/// Why a command ended without saying how what it judged is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The exit code.
    pub code: u8,
    /// What is said of it.
    pub text: String,
}

impl Problem {
    /// No verdict, and neither side is at fault.
    pub const fn nothing(text: String) -> Self {
        Self { code: End::Nothing as u8, text }
    }

    /// A file that could not be opened or written. Where the disk is full another call helps as little as this one. A
    /// reader that has left is no mistake of the caller, either.
    pub fn of_file(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        let text = format!("{}: {error}", path.display());
        let is_full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero);
        if is_full || error.kind() == BrokenPipe { Self::nothing(text) } else { text.into() }
    }
}

/// A mistake of the caller.
impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self { code: 2, text }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A command's result.
pub type Done = Result<End, Problem>;

/// No command runs longer: a hundred years.
const TIME_MAX: Duration = Duration::from_secs(876_000 * 3_600);

/// A length of time, as options take it: `1500ms`, `60s`, `10m` or `2h`.
///
/// # Errors
///
/// What is not such a length, or longer than a hundred years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let count: u64 = digits.parse().map_err(|error| format!("\"{text}\": {error}"))?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("\"{other}\" is not a unit of time; use ms, s, m or h")),
    };
    let time = count.checked_mul(milliseconds).map(Duration::from_millis).filter(|time| *time <= TIME_MAX);
    time.ok_or_else(|| format!("\"{text}\" is longer than {} h", TIME_MAX.as_secs() / 3_600))
}

/// Now, in real time.
#[must_use]
pub fn clock() -> Instant {
    Instant::now()
}

/// Sleeps; not at all for nothing.
pub fn nap(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// A line that is written over on a terminal; nothing elsewhere.
pub struct ProgressLine {
    started: Instant,
    shown: Duration,
    terminal: bool,
}

impl ProgressLine {
    /// A line that is empty until it is shown.
    #[must_use]
    pub fn start() -> Self {
        Self { started: clock(), shown: Duration::ZERO, terminal: std::io::stderr().is_terminal() }
    }

    /// Shows this text, given how long it has been; not more often than five times a second.
    pub fn show(&mut self, text: impl FnOnce(Duration) -> String) {
        let passed = self.started.elapsed();
        if self.terminal && passed - self.shown > Duration::from_millis(200) {
            self.shown = passed;
            _ = write!(std::io::stderr(), "\r\x1b[K{}", text(passed));
            _ = std::io::stderr().flush();
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.terminal {
            _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// A bar of twenty characters.
pub fn bar(done: usize, all: usize) -> String {
    let full = (done * 20).checked_div(all).unwrap_or(20).min(20);
    format!("[{}{}]", "=".repeat(full), " ".repeat(20 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_bounded() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("876000h"), Ok(TIME_MAX));
        for text in ["876001h", "18446744073709551615h", "-1s", "1", "s", "1d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_full_disk_and_a_reader_that_left_are_nobodys_mistake() {
        let of = |kind: std::io::ErrorKind| Problem::of_file(Path::new("x"), &kind.into()).code;
        assert_eq!((of(std::io::ErrorKind::StorageFull), of(std::io::ErrorKind::FileTooLarge)), (4, 4));
        assert_eq!(of(std::io::ErrorKind::BrokenPipe), 4);
        assert_eq!((of(std::io::ErrorKind::NotFound), of(std::io::ErrorKind::PermissionDenied)), (2, 2));
    }
}
