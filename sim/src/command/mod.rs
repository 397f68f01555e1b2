//! The commands. Threads and the clock are here and nowhere else: they spread whole schedules and show progress,
//! and no result depends on them.

pub(crate) mod bench;
pub(crate) mod campaign;
pub(crate) mod cases;
pub(crate) mod check;
pub(crate) mod check_bench;
pub(crate) mod contract;
pub(crate) mod files;
pub(crate) mod hashes;
pub(crate) mod http;
pub(crate) mod mutants;
pub(crate) mod sizes;
pub(crate) mod soak;
pub(crate) mod torture;

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Clean = 0,
    Violation = 1,
}

/// A command's result; the text is a mistake of its caller.
pub(crate) type Done = Result<End, String>;

pub(crate) fn seed_range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("write it as a..b")?;
    let number = |part: &str| part.replace('_', "").parse::<u64>().map_err(|error| format!("\"{part}\": {error}"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok((from, to)) } else { Err(format!("{from}..{to} holds no seed")) }
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

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let count: u64 = digits.parse().map_err(|error| format!("\"{text}\": {error}"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "m" => Ok(Duration::from_secs(count * 60)),
        "h" => Ok(Duration::from_secs(count * 3_600)),
        other => Err(format!("\"{other}\" is not a unit of time; use ms, s, m or h")),
    }
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

/// The source revision, where git answers.
pub(crate) fn revision() -> String {
    let output = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()).unwrap_or_default()
}
