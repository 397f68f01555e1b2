//! The commands. Threads and the clock are here and nowhere else: they spread whole schedules and show progress,
//! and no result depends on them.

pub(crate) mod annotations;
pub(crate) mod bench;
pub(crate) mod bisect;
pub(crate) mod campaign;
pub(crate) mod canary;
pub(crate) mod cases;
pub(crate) mod check;
pub(crate) mod check_bench;
pub(crate) mod cli;
pub(crate) mod codes;
pub(crate) mod explore;
pub(crate) mod findings;
pub(crate) mod gather;
pub(crate) mod hashes;
pub(crate) mod junit;
pub(crate) mod kinds;
pub(crate) mod mutants;
pub(crate) mod provenance;
pub(crate) mod purity;
pub(crate) mod register;
pub(crate) mod report;
pub(crate) mod sizes;
pub(crate) mod soak;
pub(crate) mod triage;
pub(crate) mod watch;
pub(crate) mod why;

use crate::campaign::run::NamedSubject;
use clap::Parser as _;
use cli::{Cli, Command};
pub(crate) use hence_blackbox::console::{
    Done, End, Problem, ProgressLine, bar, clock, duration, files, lines::Lines, output, signals,
};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

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

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

/// What `hence-sim` does, as a function. A program of its own hands in its own subjects. `run --subject NAME` takes one,
/// and `replay`, `show` and `shrink` take its cases.
///
/// # Examples
///
/// ```no_run
/// use hence_sim::campaign::run::NamedSubject;
/// use hence_sim::subject::baseline::Baseline;
///
/// fn main() -> std::process::ExitCode {
///     hence_sim::command::main(&[NamedSubject::of::<Baseline>("mine")])
/// }
/// ```
#[must_use]
pub fn main(subjects: &[NamedSubject]) -> ExitCode {
    // A panic of the subject is a violation and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    provenance::hand_on();
    signals::survive_file_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return no_command(&error),
    };
    let end = match std::panic::catch_unwind(|| run(cli.command, subjects)) {
        Ok(Ok(end)) => end,
        Ok(Err(Problem { code, text })) => {
            _ = output::finish(End::Nothing);
            tell!("hence-sim: {text}");
            return ExitCode::from(code);
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            _ = output::finish(End::Nothing);
            tell!("hence-sim: the simulator itself failed: {text}");
            return ExitCode::from(3);
        }
    };
    ExitCode::from(output::finish(end) as u8)
}

/// Help that was asked for, or what is wrong with the arguments.
fn no_command(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        _ = error.print();
        return ExitCode::from(2);
    }
    output::text(&error.render().to_string());
    ExitCode::from(output::finish(End::Clean) as u8)
}

fn run(command: Command, subjects: &[NamedSubject]) -> Done {
    match command {
        Command::Run(run) => campaign::run(&run, subjects),
        Command::Replay { case, json } => cases::replay(&case, json, subjects),
        Command::Shrink { case, output, json } => cases::shrink(&case, output.as_deref(), json, subjects),
        Command::Show(show) => cases::show(&show, subjects),
        Command::Explore(asked) => explore::explore(&asked, subjects),
        Command::Why { case, json, budget } => why::why(&case, (json, budget), subjects),
        Command::Bisect(asked) => bisect::bisect(&asked),
        Command::Triage(asked) => triage::triage(&asked, subjects),
        Command::Mutants { seeds, only, why: true, cases, json, .. } => {
            why::accuracy(seeds, only.as_deref(), cases.as_deref(), Lines::asked(json))
        }
        Command::Mutants { seeds, only, triage: true, failures, json, .. } => {
            let only: Vec<&str> = only.iter().flat_map(|only| only.split(',')).collect();
            purity::run(seeds, failures as usize, &only, Lines::asked(json))
        }
        Command::Mutants { seeds, only, shrink: true, json, .. } => {
            sizes::run(seeds, only.as_deref(), Lines::asked(json))
        }
        Command::Mutants { seeds, kills, only, profile, json, .. } => {
            mutants::run(seeds, kills as usize, (only.as_deref(), profile), Lines::asked(json))
        }
        Command::Soak { days, seed, dead, json } => soak::run(seed, days, dead, Lines::asked(json)),
        Command::Hashes { explain: Some(seed), against, json, .. } => hashes::explain(seed, against.as_deref(), json),
        Command::Hashes { from, count, json, .. } => hashes::hashes(from, count, json),
        Command::Check(asked) => check::check(&asked),
        Command::CheckBench(asked) => check_bench::bench(&asked),
        Command::Contract(asked) => hence_blackbox::contract::run(&asked),
        Command::Torture(asked) => hence_blackbox::torture::run(&asked, check::check_recorded),
        Command::Bench { schedules, rounds, json } => bench::bench(schedules, rounds as usize, Lines::asked(json)),
    }
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
}
