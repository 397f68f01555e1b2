//! `check` and `check-bench`.

use super::{Done, End, clock};
use hence_sim::check::formats::{self, Format};
use hence_sim::check::generate::{Generator, Shape};
use hence_sim::check::history::{Action, History};
use hence_sim::check::{Level, Options, Report, Verdict, judge};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Judge a history of what clients saw
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The history
    history: PathBuf,
    /// What to judge: cc, ccv or all
    #[arg(long, default_value = "all", value_parser = ["cc", "ccv", "all"])]
    level: String,
    /// The history's format: json, plume or edn; guessed from its beginning by default
    #[arg(long, value_parser = Format::named)]
    format: Option<Format>,
    /// A client's own order counts, not only its tokens
    #[arg(long)]
    program_order: bool,
    /// Where to draw the counterexample
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Where to write the counterexample as a history
    #[arg(long)]
    counterexample: Option<PathBuf>,
    /// Write the history in another format, too
    #[arg(long, requires = "to")]
    export: Option<PathBuf>,
    /// Which: json, plume, edn, hist or shiviz
    #[arg(long, value_parser = Format::named)]
    to: Option<Format>,
}

pub(crate) fn check(asked: &Check) -> Done {
    let at = |error: String| format!("{}: {error}", asked.history.display());
    let file = File::open(&asked.history).map_err(|error| at(error.to_string()))?;
    let history =
        formats::read(BufReader::with_capacity(1 << 18, file), asked.format).map_err(|error| at(error.to_string()))?;
    if let (Some(path), Some(format)) = (&asked.export, asked.to) {
        export(&history, path, format)?;
    }
    let causal_only = asked.level == "cc";
    let options = Options { program_order: asked.program_order, causal_only, ..Options::default() };
    let report = judge(&history, options).map_err(|error| at(error.to_string()))?;
    print(&report, &asked.level);
    if !report.is_broken() {
        return Ok(End::Clean);
    }
    if let Some(found) = report.counterexample(&history, options) {
        println!("\n{}\n{}", found.prose(), found.diagram());
        if let Some(path) = &asked.svg {
            std::fs::write(path, found.svg()).map_err(|error| format!("{}: {error}", path.display()))?;
            println!("picture: {}", path.display());
        }
        if let Some(path) = &asked.counterexample {
            export(found.history(), path, Format::Json)?;
            println!("the counterexample alone: {}", path.display());
        }
    }
    Ok(End::Violation)
}

fn export(history: &History, path: &Path, format: Format) -> Result<(), String> {
    let at = |error: String| format!("{}: {error}", path.display());
    let mut output = BufWriter::new(File::create(path).map_err(|error| at(error.to_string()))?);
    formats::write(history, format, &mut output).map_err(|error| at(error.to_string()))?;
    output.flush().map_err(|error| at(error.to_string()))
}

fn print(report: &Report, level: &str) {
    println!("{} operations", report.operations);
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    let asked = |one: Level| match level {
        "cc" => one == Level::Causal,
        "ccv" => one >= Level::Causal,
        _ => true,
    };
    for one in Level::ALL.into_iter().filter(|&one| asked(one)) {
        println!("  {:<4} {:<22} {}", one.name(), one.title(), report.verdict(one));
    }
    if let Some(verdict) = report.convergence {
        println!("  {:<4} {:<22} {verdict}", "", "final reads agree");
    }
    if let Some(weakest) = report.weakest_broken() {
        println!("the weakest broken level is {}, {}", weakest.name(), weakest.title());
    } else if report.verdicts.contains(&Verdict::Unknown) && level == "all" {
        println!("nothing is broken as far as is known");
    }
}

/// Measure the checker: time and memory for reading and judging histories of a correct store
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Operations
    #[arg(long, default_value_t = 1_000_000)]
    operations: usize,
    /// Sessions
    #[arg(long, default_value_t = 8)]
    sessions: usize,
    /// Keys
    #[arg(long, default_value_t = 1_000)]
    keys: usize,
    /// Replicas of the store that makes the history
    #[arg(long, default_value_t = 8)]
    replicas: usize,
    /// plume or json
    #[arg(long, default_value = "plume", value_parser = Format::named)]
    format: Format,
    /// Deletes among the operations of a JSON history, in parts of a million
    #[arg(long, default_value_t = 0)]
    deletes: u64,
    /// Where the history lies, or is made when it is not there
    #[arg(long)]
    file: PathBuf,
}

pub(crate) fn bench(asked: &Bench) -> Done {
    if !asked.file.exists() {
        make(asked)?;
    }
    let at = |error: String| format!("{}: {error}", asked.file.display());
    let begun = clock();
    // Only what parsing and interning cost: the yardstick for our own format.
    let file = File::open(&asked.file).map_err(|error| at(error.to_string()))?;
    let history = formats::read(BufReader::with_capacity(1 << 18, file), Some(asked.format))
        .map_err(|error| at(error.to_string()))?;
    let read = begun.elapsed();
    let report = judge(&history, Options::default()).map_err(|error| at(error.to_string()))?;
    let all = begun.elapsed();
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    println!(
        "{:>9} operations {:>6} sessions {}  read {:.3} s  judged {:.3} s  total {:.3} s  peak {} MiB  CC {} CCv {}",
        history.len(),
        asked.sessions,
        asked.format.name(),
        seconds(read),
        seconds(all - read),
        seconds(all),
        peak_mebibytes(),
        report.verdict(Level::Causal),
        report.verdict(Level::Convergent),
    );
    Ok(if report.is_broken() { End::Violation } else { End::Clean })
}

fn make(asked: &Bench) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", asked.file.display());
    let plume = asked.format == Format::Plume;
    let shape = Shape {
        seed: 1,
        operations: asked.operations,
        sessions: asked.sessions,
        replicas: asked.replicas,
        keys: asked.keys,
        reads: 500_000,
        deletes: if plume { 0 } else { asked.deletes },
        wandering: if plume { 0 } else { 10_000 },
        unknown: if plume { 0 } else { 1_000 },
        siblings: 0,
        exact: !plume,
        spreading: 12,
        final_reads: false,
        bug: None,
    };
    let mut output = BufWriter::new(File::create(&asked.file).map_err(at)?);
    for operation in Generator::new(shape) {
        if plume {
            let (session, key) = (&operation.client[1..], &operation.key[1..]);
            let kind = if operation.action == Action::Get { 'r' } else { 'w' };
            let value = operation.value.map_or(0, |value| value.parse().unwrap_or(0_u64) + 1);
            writeln!(output, "{kind}({key},{value},{session},{})", operation.id).map_err(at)?;
        } else {
            hence_sim::check::json::write(&operation, &mut output).map_err(at)?;
        }
    }
    output.flush().map_err(at)
}

/// The most memory that this process ever had, where the system tells.
fn peak_mebibytes() -> u64 {
    let Ok(file) = File::open("/proc/self/status") else { return 0 };
    let line = BufReader::new(file).lines().map_while(Result::ok).find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
