//! The command `hence-sim`: runs schedules, replays and shrinks failures, shows them, measures mutants.
//!
//! Exit codes: 0 clean, 1 a violation, 2 usage or a broken file, 3 the simulator itself failed.

mod command;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "hence-sim", version, about = "Seeded simulator of the hence replica")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run schedules drawn from seeds
    Run(Run),
    /// Run a case file again
    Replay {
        /// The case file
        case: PathBuf,
    },
    /// Make a case as small as it goes
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
    Mutants {
        /// Seeds to try for each mutant
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// Independent kills to measure for each
        #[arg(long, default_value_t = 30)]
        kills: usize,
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
    Soak {
        /// Simulated days
        #[arg(long, default_value_t = 30)]
        days: u64,
        /// The seed of everything in it
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// One member dies in the first minute and stays a member.
        #[arg(long)]
        dead: bool,
    },
    /// Print the trace hashes of seeds, as the committed table holds them
    Hashes {
        /// First seed
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many
        #[arg(long, default_value_t = 100)]
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
    Contract(command::contract::Contract),
    Torture(Box<command::torture::Torture>),
    /// Measure speed on one core: medians and spread of several rounds, in time that the core really spent
    Bench {
        /// Schedules in a round
        #[arg(long, default_value_t = 500)]
        schedules: u64,
        /// Rounds
        #[arg(long, default_value_t = 7)]
        rounds: usize,
    },
}

#[derive(Args)]
struct Run {
    /// One seed
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds from a up to but not b, written a..b
    #[arg(long, value_parser = command::seed_range)]
    seeds: Option<(u64, u64)>,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the i-th of n parts of the seeds, written i/n with i from 0
    #[arg(long, value_parser = command::shard)]
    shard: Option<(u64, u64)>,
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
    let cli = Cli::parse();
    let done = std::panic::catch_unwind(|| match cli.command {
        Command::Run(run) => command::campaign::run(&run),
        Command::Replay { case } => command::cases::replay(&case),
        Command::Shrink { case, output } => command::cases::shrink(&case, output.as_deref()),
        Command::Show(show) => command::cases::show(&show),
        Command::Mutants { seeds, only, shrink: true, .. } => command::sizes::run(seeds, only.as_deref()),
        Command::Mutants { seeds, kills, only, profile, .. } => {
            command::mutants::run(seeds, kills, only.as_deref(), profile.as_deref())
        }
        Command::Soak { days, seed, dead } => command::soak::run(seed, days, dead),
        Command::Hashes { explain: Some(seed), against, .. } => command::hashes::explain(seed, against.as_deref()),
        Command::Hashes { from, count, .. } => command::hashes::hashes(from, count),
        Command::Check(asked) => command::check::check(&asked),
        Command::CheckBench(asked) => command::check_bench::bench(&asked),
        Command::Contract(asked) => command::contract::run(&asked),
        Command::Torture(asked) => command::torture::run(&asked),
        Command::Bench { schedules, rounds } => command::bench::bench(schedules, rounds),
    });
    match done {
        Ok(Ok(end)) => ExitCode::from(end as u8),
        Ok(Err(problem)) => {
            eprintln!("hence-sim: {problem}");
            ExitCode::from(2)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            eprintln!("hence-sim: the simulator itself failed: {text}");
            ExitCode::from(3)
        }
    }
}
