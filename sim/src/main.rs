//! The command `hence-sim`: runs schedules, replays and shrinks failures, shows them, measures mutants.
//!
//! `command/codes.rs` has the exit codes.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output fails; use say! and tell!")]

#[macro_use]
extern crate hence_blackbox;

mod command;

use clap::{Args, Parser, Subcommand};
use command::{Done, End, Problem, Seeds, codes, output, provenance};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "hence-sim", version = provenance::FULL, about = "Seeded simulator of the hence replica")]
#[command(after_help = codes::ALL, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run schedules drawn from seeds
    Run(Run),
    /// Run a case file again
    #[command(after_help = codes::REPLAY)]
    Replay {
        /// The case file
        case: PathBuf,
    },
    /// Make a case as small as it goes
    #[command(after_help = codes::SHRINK)]
    Shrink {
        /// The case file
        case: PathBuf,
        /// Where to write the smaller one; beside the case by default
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Show what happens in a case
    Show(Show),
    /// Measure how soon each planted bug is found
    #[command(after_help = codes::MUTANTS)]
    Mutants {
        /// Seeds to try for each mutant
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// Independent kills to measure for each
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        kills: u64,
        /// Only this one
        #[arg(long)]
        only: Option<String>,
        /// Draw these plans for mutants of the core, not those of the profile that is best for each
        #[arg(long)]
        profile: Option<String>,
        /// Instead, make the first failure of each mutant of the core as small as it goes, and print how small
        #[arg(long)]
        shrink: bool,
    },
    /// Let one cluster live for simulated weeks and see that nothing grows
    #[command(after_help = codes::SOAK)]
    Soak {
        /// Simulated days
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        days: u64,
        /// The seed of everything in it
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// One member dies in the first minute and stays a member.
        #[arg(long)]
        dead: bool,
    },
    /// Print the trace hashes of seeds, as the committed table holds them
    #[command(after_help = codes::HASHES)]
    Hashes {
        /// First seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many; fewer where seeds end
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        count: u64,
        /// Print every event of this seed instead
        #[arg(long)]
        explain: Option<u64>,
        /// Compare with the events that another process printed, and print the first that differs
        #[arg(long, requires = "explain")]
        against: Option<PathBuf>,
    },
    Check(command::check::Check),
    CheckBench(command::check_bench::Bench),
    Contract(hence_blackbox::contract::Contract),
    Torture(Box<hence_blackbox::torture::Torture>),
    /// Measure speed on one core: medians and spread of several rounds, in time that the core really spent
    #[command(after_help = codes::BENCH)]
    Bench {
        /// Schedules in a round
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
        schedules: u64,
        /// Rounds
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        rounds: u64,
    },
}

#[derive(Args)]
#[command(after_help = codes::RUN)]
struct Run {
    /// One seed
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from a up to but not b, written a..b; a..=b includes b
    #[arg(long, value_parser = command::seed_range)]
    seeds: Option<Seeds>,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the i-th of n parts of the seeds, written i/n with i from 0
    #[arg(long, value_parser = command::shard)]
    shard: Option<(u64, u64)>,
    /// A shard without any seed counts as fine, as the last ones of a job array may be
    #[arg(long, requires = "shard")]
    allow_empty: bool,
    /// Stop handing out seeds after this, such as 60s, 10m or 2h
    #[arg(long, value_parser = command::duration)]
    time: Option<std::time::Duration>,
    /// Append one JSON line for each failure and one for the summary
    #[arg(long)]
    json: Option<PathBuf>,
    /// Plant this bug in the core
    #[arg(long)]
    mutant: Option<String>,
    /// Run the naive scheme with a version number per key instead of hence's replica
    #[arg(long, conflicts_with = "mutant")]
    baseline: bool,
    /// A failure detector that doubts peers, and buffers that forget, at random
    #[arg(long, conflicts_with_all = ["mutant", "baseline"])]
    suspicious: bool,
    /// Judge every run by what its clients saw, too, not only one in ten and those that fail
    #[arg(long)]
    judged: bool,
    /// Write what the clients of this one run saw, as a history for `check`
    #[arg(long, requires = "seed", conflicts_with = "seeds")]
    history: Option<PathBuf>,
    /// What plans to draw: mixed, general, retirement, lost-writes, transfer, membership, deletes, clocks, links,
    /// joining or speed
    #[arg(long, default_value = "mixed")]
    profile: String,
    /// Where case files of failures go
    #[arg(long, default_value = "hence-cases")]
    cases: PathBuf,
    /// Fail when a kind of adversity stays below its floor
    #[arg(long)]
    floors: bool,
}

#[derive(Args)]
#[command(after_help = codes::SHOW)]
struct Show {
    /// The case file
    case: PathBuf,
    /// Idle chatter, too
    #[arg(long)]
    idle: bool,
    /// JSON lines instead of text
    #[arg(long, conflicts_with = "shiviz")]
    json: bool,
    /// Write a log for ShiViz
    #[arg(long)]
    shiviz: Option<PathBuf>,
}

fn main() -> ExitCode {
    // A panic of the subject is a violation and is reported as one.
    std::panic::set_hook(Box::new(|_| {}));
    provenance::hand_on();
    command::signals::survive_file_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return no_command(&error),
    };
    let end = match std::panic::catch_unwind(|| run(cli.command)) {
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

fn run(command: Command) -> Done {
    match command {
        Command::Run(run) => command::campaign::run(&run),
        Command::Replay { case } => command::cases::replay(&case),
        Command::Shrink { case, output } => command::cases::shrink(&case, output.as_deref()),
        Command::Show(show) => command::cases::show(&show),
        Command::Mutants { seeds, only, shrink: true, .. } => command::sizes::run(seeds, only.as_deref()),
        Command::Mutants { seeds, kills, only, profile, .. } => {
            command::mutants::run(seeds, kills as usize, only.as_deref(), profile.as_deref())
        }
        Command::Soak { days, seed, dead } => command::soak::run(seed, days, dead),
        Command::Hashes { explain: Some(seed), against, .. } => command::hashes::explain(seed, against.as_deref()),
        Command::Hashes { from, count, .. } => command::hashes::hashes(from, count),
        Command::Check(asked) => command::check::check(&asked),
        Command::CheckBench(asked) => command::check_bench::bench(&asked),
        Command::Contract(asked) => hence_blackbox::contract::run(&asked),
        Command::Torture(asked) => hence_blackbox::torture::run(&asked, command::check::check_recorded),
        Command::Bench { schedules, rounds } => command::bench::bench(schedules, rounds as usize),
    }
}
