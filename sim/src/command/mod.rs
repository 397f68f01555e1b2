//! The commands. Threads and the clock are here and nowhere else: they spread whole schedules and show progress,
//! and no result depends on them.

#[macro_use]
pub(crate) mod output;

pub(crate) mod bench;
pub(crate) mod campaign;
pub(crate) mod cases;
pub(crate) mod check;
pub(crate) mod check_bench;
pub(crate) mod codes;
pub(crate) mod contract;
pub(crate) mod files;
pub(crate) mod findings;
pub(crate) mod hashes;
pub(crate) mod http;
pub(crate) mod mutants;
pub(crate) mod provenance;
pub(crate) mod signals;
pub(crate) mod sizes;
pub(crate) mod soak;
pub(crate) mod torture;
pub(crate) mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How a command ended: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything that was asked for was judged, and is fine.
    Clean = 0,
    /// Something is wrong, whatever else happened.
    Violation = 1,
    /// Nothing was judged, or no verdict was reached.
    Nothing = 4,
}

/// Why a command ended without saying how what it judged is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The exit code.
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Problem {
    /// No verdict: a mistake of nobody.
    pub(crate) const fn nothing(text: String) -> Self {
        Self { code: End::Nothing as u8, text }
    }

    /// A file that could not be opened or written. Where the disk is full another call helps as little as this one.
    pub(crate) fn of_file(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        let text = format!("{}: {error}", path.display());
        let is_full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero);
        if is_full { Self::nothing(text) } else { text.into() }
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
pub(crate) type Done = Result<End, Problem>;

/// Seeds, the last one included: only so can a range hold the last seed there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl std::fmt::Display for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.last.checked_add(1) {
            Some(end) => write!(f, "{}..{end}", self.first),
            None => write!(f, "{}..={}", self.first, self.last),
        }
    }
}

pub(crate) fn seed_range(text: &str) -> Result<Seeds, String> {
    let (from, to) = text.split_once("..").ok_or("write it as a..b, or as a..=b with b included")?;
    let number = |part: &str| part.replace('_', "").parse::<u64>().map_err(|error| format!("\"{part}\": {error}"));
    let first = number(from)?;
    let last = match to.strip_prefix('=') {
        Some(last) => Some(number(last)?),
        None => number(to)?.checked_sub(1),
    };
    let last = last.filter(|&last| first <= last).ok_or_else(|| format!("{text} holds no seed"))?;
    Ok(Seeds { first, last })
}

pub(crate) fn shard(text: &str) -> Result<(u64, u64), String> {
    let (part, parts) = text.split_once('/').ok_or("write it as i/n")?;
    let number = |part: &str| part.parse::<u64>().map_err(|error| format!("\"{part}\": {error}"));
    let (part, parts) = (number(part)?, number(parts)?);
    if part < parts {
        Ok((part, parts))
    } else {
        Err(format!("part {part} of {parts} does not exist; parts count from 0"))
    }
}

/// No command runs longer: a hundred years.
const TIME_MAX: Duration = Duration::from_secs(876_000 * 3_600);

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[expect(clippy::disallowed_methods, reason = "progress and limits of time are the command's, not a run's")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// Does jobs `0..count` on threads; hands each result to `take` as it comes. Stops handing out when `take` says so.
#[expect(clippy::disallowed_methods, reason = "each job is a whole schedule; results do not depend on who runs it")]
pub(crate) fn spread<T: Send>(
    threads: usize,
    count: usize,
    job: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> bool,
) {
    let next = AtomicUsize::new(0);
    let (results, arrived) = mpsc::sync_channel(threads * 4);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            let (results, next, job) = (results.clone(), &next, &job);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || results.send((at, job(at))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        while let Ok((at, result)) = arrived.recv() {
            if !take(at, result) {
                next.store(count, Ordering::Relaxed);
            }
        }
    });
}

/// A line that is written over on a terminal; nothing elsewhere.
pub(crate) struct ProgressLine {
    started: Instant,
    shown: Duration,
    terminal: bool,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { started: clock(), shown: Duration::ZERO, terminal: std::io::stderr().is_terminal() }
    }

    pub(crate) fn show(&mut self, text: impl FnOnce(Duration) -> String) {
        let passed = self.started.elapsed();
        if self.terminal && passed - self.shown > Duration::from_millis(200) {
            self.shown = passed;
            _ = write!(std::io::stderr(), "\r\x1b[K{}", text(passed));
            _ = std::io::stderr().flush();
        }
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// A bar of twenty characters.
pub(crate) fn bar(done: usize, all: usize) -> String {
    let full = (done * 20).checked_div(all).unwrap_or(20).min(20);
    format!("[{}{}]", "=".repeat(full), " ".repeat(20 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        let seeds = |first, last| Ok(Seeds { first, last });
        assert_eq!(seed_range("0..2"), seeds(0, 1));
        assert_eq!(seed_range("0..=2"), seeds(0, 2));
        assert_eq!(seed_range("1_000..1_001"), seeds(1_000, 1_000));
        let last = u64::MAX;
        assert_eq!(seed_range(&format!("{last}..={last}")), seeds(last, last));
        assert_eq!(seed_range(&format!("0..{last}")), seeds(0, last - 1));
        for text in ["9..3", "3..3", "0..0", "4..=3", "x..2", "2", "0..", "..", "0..-1", "0..18446744073709551616"] {
            assert!(seed_range(text).is_err(), "{text}");
        }
        for (text, seeds) in
            [("0..2", Seeds { first: 0, last: 1 }), ("3..=18446744073709551615", Seeds { first: 3, last })]
        {
            assert_eq!(seeds.to_string(), text);
        }
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("876000h"), Ok(TIME_MAX));
        for text in ["876001h", "18446744073709551615h", "-1s", "1", "s", "1d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_full_disk_is_nobodys_mistake() {
        let of = |kind: std::io::ErrorKind| Problem::of_file(Path::new("x"), &kind.into()).code;
        assert_eq!((of(std::io::ErrorKind::StorageFull), of(std::io::ErrorKind::FileTooLarge)), (4, 4));
        assert_eq!((of(std::io::ErrorKind::NotFound), of(std::io::ErrorKind::PermissionDenied)), (2, 2));
    }
}
