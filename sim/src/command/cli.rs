//! The command line: its commands, their options and what each is for.

use super::{Seeds, codes, provenance};
use crate::generate::Profile;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Takes the name of a profile; the help lists them all.
fn profiles() -> impl TypedValueParser<Value = Profile> {
    let names = PossibleValuesParser::new(Profile::ALL.iter().map(|profile| profile.name()));
    names.try_map(|name| Profile::named(&name).ok_or("there is no such profile"))
}

#[derive(Parser)]
#[command(name = "hence-sim", version = provenance::FULL, about = "Seeded simulator of the hence replica")]
#[command(after_help = codes::ALL, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run schedules drawn from seeds
    Run(Run),
    /// Run a case file again
    #[command(after_help = codes::REPLAY)]
    Replay {
        /// The case file, gzipped or not; - for standard input
        case: PathBuf,
        /// One JSON object instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
    },
    /// Make a case as small as it goes
    #[command(after_help = codes::SHRINK)]
    Shrink {
        /// The case file, gzipped or not; - for standard input
        case: PathBuf,
        /// Where to write the smaller one; beside the case by default
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// One JSON object instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
    },
    /// Show what happens in a case
    Show(Show),
    /// Serve the page of a run on loopback, where it can be forked; the same verbs as a JSON API
    Explore(Explore),
    /// Say why a case fails: what decided it, what it rests on, and what would have made it pass
    #[command(after_help = codes::WHY)]
    Why {
        /// The case file, gzipped or not; - for standard input
        case: PathBuf,
        /// One JSON object instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
        /// Events that all further runs have at most together; 0 names the step and asks no more
        #[arg(long, default_value_t = crate::why::EVENTS_MAX)]
        budget: u64,
    },
    /// Sort what failed into bugs: a line a bug, with its smallest case
    Triage(Triage),
    /// Find the commit with which a case began to fail, by git bisect in a tree of its own
    Bisect(Bisect),
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
        #[arg(long, value_parser = profiles())]
        profile: Option<Profile>,
        /// Instead, make the first failure of each mutant of the core as small as it goes, and print how small
        #[arg(long)]
        shrink: bool,
        /// Instead, ask `why` about the first failure of each mutant of the core, made small. Print whether it names the
        /// step in which the mutant first decides otherwise
        #[arg(long, conflicts_with = "shrink")]
        why: bool,
        /// Instead, sort the first failures of each mutant of the core into bugs, and print whether each has a bucket of its
        /// own. Here --only takes several names, separated by commas
        #[arg(long, conflicts_with_all = ["shrink", "why"])]
        triage: bool,
        /// With --triage, so many failures of each
        #[arg(long, default_value_t = 50, requires = "triage", value_parser = clap::value_parser!(u64).range(1..=100_000))]
        failures: u64,
        /// With --why, take these cases, NAME.json for each mutant, instead of looking for failures
        #[arg(long, value_name = "DIR", requires = "why")]
        cases: Option<PathBuf>,
        /// JSON lines instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
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
        /// JSON lines instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
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
        /// Compare with the events that another process printed, and print the first that differs; - for standard input
        #[arg(long, requires = "explain")]
        against: Option<PathBuf>,
        /// JSON lines instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
    },
    Check(super::check::Check),
    CheckBench(super::check_bench::Bench),
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
        /// JSON lines instead of text, and nothing else on standard output
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[command(after_help = codes::RUN)]
pub(crate) struct Run {
    /// One seed
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Seeds from a up to but not b, written a..b; a..=b includes b
    #[arg(long, value_parser = super::seed_range)]
    pub(crate) seeds: Option<Seeds>,
    /// Threads; all cores by default. The result does not depend on it
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub(crate) jobs: Option<u64>,
    /// Only the i-th of n parts of the seeds, written i/n with i from 0
    #[arg(long, value_parser = super::shard)]
    pub(crate) shard: Option<(u64, u64)>,
    /// A shard without any seed counts as fine, as the last ones of a job array may be
    #[arg(long, requires = "shard")]
    pub(crate) allow_empty: bool,
    /// Stop handing out seeds after this, such as 60s, 10m or 2h
    #[arg(long, value_parser = super::duration)]
    pub(crate) time: Option<std::time::Duration>,
    /// Append one JSON line for each failure and one for the summary; - for standard output, and nothing else there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write what failed as JUnit's XML, for a CI service: one test for each kind of failure
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Say what failed as annotations of GitHub, with the command that replays it. Its runner is answered so in any case
    #[arg(long)]
    pub(crate) annotations: bool,
    /// Plant a bug in schedules of their own, this one or one that the first seed draws. Unless it is found, all is not fine
    #[arg(long, value_name = "MUTANT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) canary: Option<String>,
    /// The register of findings: known ones are counted and fail nothing, and cases of fixed ones are replayed first
    #[arg(long, value_name = "FILE")]
    pub(crate) findings: Option<PathBuf>,
    /// Plant this bug in the core
    #[arg(long)]
    pub(crate) mutant: Option<String>,
    /// Run the naive scheme with a version number per key instead of hence's replica
    #[arg(long, conflicts_with = "mutant")]
    pub(crate) baseline: bool,
    /// Run the subject of this name, which the program brings, instead of hence's replica
    #[arg(long, conflicts_with_all = ["mutant", "baseline", "suspicious"])]
    pub(crate) subject: Option<String>,
    /// A failure detector that doubts peers, and buffers that forget, at random
    #[arg(long, conflicts_with_all = ["mutant", "baseline"])]
    pub(crate) suspicious: bool,
    /// Judge every run by what its clients saw, too, not only one in ten and those that fail
    #[arg(long)]
    pub(crate) judged: bool,
    /// Write what the clients of this one run saw, as a history for `check`
    #[arg(long, requires = "seed", conflicts_with = "seeds")]
    pub(crate) history: Option<PathBuf>,
    /// What plans to draw
    #[arg(long, default_value = Profile::Mixed.name(), value_parser = profiles())]
    pub(crate) profile: Profile,
    /// Where case files of failures go
    #[arg(long, default_value = "hence-cases")]
    pub(crate) cases: PathBuf,
    /// Print how often each kind of adversity struck
    #[arg(long)]
    pub(crate) counters: bool,
    /// Fail when a kind of adversity stays below its floor
    #[arg(long)]
    pub(crate) floors: bool,
}

#[derive(Args)]
#[command(after_help = codes::EXPLORE)]
pub(crate) struct Explore {
    /// The case file, gzipped or not; - for standard input
    #[arg(conflicts_with_all = ["seed", "mutant", "profile"])]
    pub(crate) case: Option<PathBuf>,
    /// The plan of this seed instead
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Two cases side by side instead, aligned at their first difference
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["case", "seed", "mutant", "profile"])]
    pub(crate) diff: Vec<PathBuf>,
    /// What plan to draw
    #[arg(long, default_value = Profile::Mixed.name(), value_parser = profiles())]
    pub(crate) profile: Profile,
    /// Plant this bug in the core
    #[arg(long)]
    pub(crate) mutant: Option<String>,
    /// Idle chatter, too
    #[arg(long)]
    pub(crate) idle: bool,
    /// The port on 127.0.0.1; 0 for any
    #[arg(long, default_value_t = 7878)]
    pub(crate) port: u16,
    /// The address as one JSON line, and nothing else on standard output. With --diff the two runs as one, and none is served
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = codes::SHOW)]
pub(crate) struct Show {
    /// The case file, gzipped or not; - for standard input
    pub(crate) case: PathBuf,
    /// Idle chatter, too
    #[arg(long)]
    pub(crate) idle: bool,
    /// Do not say which bug is planted, nor what the case is called, so that a reader can find out
    #[arg(long)]
    pub(crate) blind: bool,
    /// JSON lines instead of text, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// With --html, ask `why`, too, and show what it says
    #[arg(long, requires = "html")]
    pub(crate) why: bool,
    /// Write a page for a browser: lanes, states, search; it needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write a picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write a sequence diagram for Mermaid
    #[arg(long, value_name = "FILE")]
    pub(crate) mermaid: Option<PathBuf>,
    /// Write a trace for Perfetto
    #[arg(long, value_name = "FILE")]
    pub(crate) perfetto: Option<PathBuf>,
    /// Write a log for ShiViz
    #[arg(long, value_name = "FILE")]
    pub(crate) shiviz: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = codes::TRIAGE)]
pub(crate) struct Triage {
    /// The folder: cases and the JSON lines of campaigns, gzipped or not
    pub(crate) folder: PathBuf,
    /// Write a page for a browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write one JSON object; - for standard output, and nothing else there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the smallest case of each bug into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) small: Option<PathBuf>,
    /// Stop making failures small after this, such as 60s, 10m or 2h
    #[arg(long, default_value = "2m", value_parser = super::duration)]
    pub(crate) budget: std::time::Duration,
}

#[derive(Args)]
#[command(after_help = codes::BISECT)]
pub(crate) struct Bisect {
    /// The case file, or the name of a finding of the register
    pub(crate) finding: String,
    /// A commit that passes the case
    #[arg(long, value_name = "REV")]
    pub(crate) good: String,
    /// A commit that fails as the case did
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    pub(crate) bad: String,
    /// The register of findings
    #[arg(long, value_name = "FILE", default_value = "tests/findings.json")]
    pub(crate) findings: PathBuf,
    /// A folder of the repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) repository: PathBuf,
    /// The command that builds the program of a commit, as sh takes it
    #[arg(long, value_name = "COMMAND", default_value = "cargo build --release --locked --bin hence-sim")]
    pub(crate) build: String,
    /// The program that it builds, from the folder of the commit's tree
    #[arg(long, value_name = "FILE", default_value = "target/release/hence-sim")]
    pub(crate) program: PathBuf,
    /// One JSON object instead of text, and nothing else on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
