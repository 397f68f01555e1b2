//! `check-bench`: what reading and judging histories of a correct store costs.
//!
//! Each measurement is a process of its own, so the most memory that it ever had is its own, too. Time is what the
//! process was run, not what it waited: on a busy machine the clock on the wall says little.

use super::files::{Input, Output};
use super::kinds::{self, Kind, Making};
use super::{Done, End, Lines, Problem, clock, codes, output, watch};
use crate::plan::limits;
use hence_checker::format::json;
use hence_checker::format::{self, Format};
use hence_checker::generate::{Generator, Shape};
use hence_checker::history::Action;
use hence_checker::{Budget, Level, Options, Verdict, judge};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Measure the checker: time and memory for reading and judging histories of a correct store
#[derive(clap::Args)]
#[command(after_help = codes::CHECK_BENCH)]
pub(crate) struct Bench {
    /// Operations
    #[arg(long, default_value_t = 1_000_000, requires = "file", value_parser = counted::<100_000_000>)]
    operations: usize,
    /// Sessions
    #[arg(long, default_value_t = 8, requires = "file", value_parser = counted::<1_000_000>)]
    sessions: usize,
    /// Keys
    #[arg(long, default_value_t = 1_000, requires = "file", value_parser = counted::<1_000_000>)]
    keys: usize,
    /// Replicas of the store that makes the history
    #[arg(long, default_value_t = 8, requires = "file", value_parser = counted::<1_000>)]
    replicas: usize,
    /// plume or json
    #[arg(long, default_value = "plume", value_parser = made, requires = "file")]
    format: Format,
    /// Deletes among the operations of a JSON history, in parts of a million
    #[arg(long, default_value_t = 0, requires = "file", value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    deletes: u64,
    /// Operations in each transaction of a Plume history
    #[arg(long, default_value_t = 1, requires = "file", value_parser = counted::<1_000>)]
    transaction: usize,
    /// Only histories of this kind: what clients of a simulated cluster saw, as such a store tells it
    #[arg(long)]
    kind: Option<Kind>,
    /// With a read, in the middle, of what its own session has overwritten
    #[arg(long, requires = "kind")]
    broken: bool,
    /// Measure this history alone; if it is not there it is made, and the next call measures it
    #[arg(long)]
    file: Option<PathBuf>,
    /// Where the histories of the table lie
    #[arg(long, default_value = "target/check-bench")]
    folder: PathBuf,
    /// Measurements of each history; the table has their medians
    #[arg(long, default_value_t = 5, value_parser = counted::<1_000>)]
    rounds: usize,
    /// The largest history of the table
    #[arg(long, default_value_t = 10_000_000)]
    most: usize,
    /// JSON lines instead of text, and nothing else on standard output
    #[arg(long)]
    json: bool,
}

/// A number from 1 to a most.
fn counted<const MOST: usize>(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    let is_within = (1..=MOST).contains(&number);
    if is_within { Ok(number) } else { Err(format!("{number} is not in 1..={MOST}")) }
}

/// A format in which histories are drawn.
fn made(text: &str) -> Result<Format, String> {
    let format = Format::named(text).ok().filter(|format| matches!(format, Format::Plume | Format::Json));
    format.ok_or_else(|| "it is plume or json".into())
}

pub(crate) fn bench(asked: &Bench) -> Done {
    if asked.kind.is_some() && asked.sessions > SEEN_CLIENTS_MAX {
        return Err(format!("{} sessions; of a --kind {SEEN_CLIENTS_MAX} are possible", asked.sessions).into());
    }
    let lines = Lines::asked(asked.json);
    match &asked.file {
        Some(file) if file.exists() => measure(asked, file, lines),
        Some(file) => {
            make(asked, file)?;
            say!("made {}; the same call measures it now", file.display());
            lines.add(|| json!({ "kind": "made", "file": file.display().to_string() }));
            Ok(End::Clean)
        }
        None => table(asked, lines),
    }
}

/// Clients that a simulated cluster may have.
const SEEN_CLIENTS_MAX: usize = limits::CLIENTS_MAX as usize;

/// How long one history may take, in seconds on the wall.
const TIME_MAX: u64 = 60;

/// What a history of the table is.
#[derive(Clone, Copy)]
enum What {
    /// Drawn from a model of a store, in this format.
    Drawn(Format),
    /// The same as Plume text, in transactions of so many operations.
    Transactions(usize),
    /// Seen by clients of a simulated cluster.
    Seen(Kind),
}

impl What {
    fn name(self) -> String {
        match self {
            Self::Drawn(format) => format.name().to_owned(),
            Self::Transactions(size) => format!("plume-by-{size}"),
            Self::Seen(kind) => format!("seen-{}", kind.name()),
        }
    }
}

/// A history of the table: how many operations and sessions, and what it is.
type Row = (usize, usize, What);

/// What was measured: seconds, seconds of a loop that only parses, and MiB.
struct Cost {
    all: f64,
    parsing: f64,
    memory: f64,
    verdict: String,
}

fn table(asked: &Bench, lines: Lines) -> Done {
    std::fs::create_dir_all(&asked.folder).map_err(|error| format!("{}: {error}", asked.folder.display()))?;
    lines.introduce();
    let (mut verdicts, mut measured) = (Vec::<String>::new(), 0);
    say!(
        "  operations sessions format                CPU s   least to most   us/operation  parsing s  times     MiB  CCv"
    );
    for (operations, sessions, what) in rows(asked) {
        if operations > asked.most || output::is_lost() {
            continue;
        }
        let twin = if asked.broken { "-broken" } else { "" };
        let name = what.name();
        let file = asked.folder.join(format!("{name}-{operations}-{sessions}{twin}"));
        let child = || measured_apart(&file, (operations, sessions, what), asked.broken);
        if !file.exists() {
            child()?;
        }
        let costs: Vec<Cost> = (0..asked.rounds).map(|_| child()).collect::<Result<_, _>>()?;
        let sorted = |field: fn(&Cost) -> f64| {
            let mut all: Vec<f64> = costs.iter().map(field).collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let median = |field: fn(&Cost) -> f64| sorted(field)[costs.len() / 2];
        let ends = sorted(|cost| cost.all);
        let spread = format!("{:.3}-{:.3}", ends[0], ends[ends.len() - 1]);
        let (all, parsing) = (median(|cost| cost.all), median(|cost| cost.parsing));
        let each = all * 1e6 / operations as f64;
        let times = if parsing > 0.0 { format!("{:.1}", all / parsing) } else { "-".into() };
        let memory = median(|cost| cost.memory);
        say!(
            "{operations:>12} {sessions:>8} {name:<17} {all:>9.3} {spread:>15} {each:>14.2} {parsing:>10.3} {times:>6} {memory:>7.0}  {}",
            costs[0].verdict
        );
        lines.add(|| {
            let cpu = json!({ "median": all, "least": ends[0], "most": ends[ends.len() - 1] });
            json!({ "kind": "history", "history": name, "operations": operations, "sessions": sessions,
                "broken": asked.broken, "rounds": costs.len(), "cpu_seconds": cpu, "parsing_seconds": parsing,
                "memory_mib": memory, "ccv": costs[0].verdict })
        });
        measured += 1;
        verdicts.extend(costs.into_iter().map(|cost| cost.verdict));
    }
    if verdicts.is_empty() {
        say!("no history of the table has at most {} operations", asked.most);
    }
    lines.add(|| json!({ "kind": "summary", "histories": measured }));
    let is_there = |verdict: Verdict| verdicts.contains(&verdict.to_string());
    Ok(match () {
        () if is_there(Verdict::Broken) => End::Violation,
        () if verdicts.is_empty() || is_there(Verdict::Unknown) || output::is_lost() => End::Nothing,
        () => End::Clean,
    })
}

/// The rows that were asked for.
fn rows(asked: &Bench) -> Vec<Row> {
    let seen = |kind: Kind| {
        let by_size = [1_000, 10_000, 100_000].map(|operations| (operations, 8, What::Seen(kind)));
        by_size.into_iter().chain([(100_000, 32, What::Seen(kind))])
    };
    if let Some(kind) = asked.kind {
        return seen(kind).collect();
    }
    let (plume, json) = (What::Drawn(Format::Plume), What::Drawn(Format::Json));
    let by_four = What::Transactions(4);
    let rows = [
        (1_000_000, 8, plume),
        (1_000_000, 64, plume),
        (100_000, 10_000, plume),
        (1_000_000, 8, by_four),
        (1_000_000, 64, by_four),
        (1_000_000, 8, json),
    ];
    let sizes = [10_000, 100_000, 1_000_000, 10_000_000];
    let of = |what: What| sizes.map(|operations| (operations, 8, what));
    let drawn = rows.into_iter().chain(of(plume)).chain(of(json)).chain([(10_000_000, 1, plume)]);
    drawn.chain(Kind::ALL.into_iter().flat_map(seen)).collect()
}

/// Runs this command once more, for one history.
fn measured_apart(file: &Path, (operations, sessions, what): Row, broken: bool) -> Result<Cost, Problem> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["check-bench", "--operations", &operations.to_string(), "--sessions", &sessions.to_string()]);
    match what {
        What::Seen(kind) => command.args(["--kind", kind.name()]),
        What::Drawn(format) => command.args(["--format", format.name()]),
        What::Transactions(size) => command.args(["--format", "plume", "--transaction", &size.to_string()]),
    };
    if broken {
        command.arg("--broken");
    }
    let output = command.arg("--file").arg(file).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Whatever the verdict is, the row says so. Where there is none, the disk may be full.
    let is_one = |end: End| output.status.code() == Some(end as i32);
    let is_told = text.contains(", CCv ") || text.starts_with("made ");
    if !(is_told && [End::Clean, End::Violation, End::Nothing].into_iter().any(is_one)) {
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = format!("{text}{}", errors.strip_prefix("hence-sim: ").unwrap_or(&errors)).trim_end().to_owned();
        return Err(if is_one(End::Nothing) { Problem::nothing(said) } else { said.into() });
    }
    let number = |unit: &str| -> f64 {
        let words: Vec<&str> = text.split_whitespace().collect();
        let pair = words.windows(2).find(|pair| pair[0] == unit);
        pair.and_then(|pair| pair[1].parse().ok()).unwrap_or(0.0)
    };
    let verdict = text.trim_end().rsplit(' ').next().unwrap_or_default().to_owned();
    Ok(Cost { verdict, all: number("total"), parsing: number("parsing"), memory: number("peak") })
}

fn measure(asked: &Bench, path: &Path, lines: Lines) -> Done {
    let at = |error: String| format!("{}: {error}", path.display());
    let begun = spent();
    let format = asked.kind.map_or(asked.format, Kind::format);
    if format == Format::Json {
        json::scan(Input::open(path)?.bytes).map_err(|error| at(error.to_string()))?;
    }
    let parsed = spent();
    let history = format::read(Input::open(path)?.bytes, Some(format)).map_err(|error| at(error.to_string()))?;
    let read = spent();
    watch::begin(Some(Duration::from_secs(TIME_MAX)));
    let budget = Budget { watch: Some(watch::WATCH), ..Budget::default() };
    // Where no token tells, a client's own order does.
    let program_order = asked.kind == Some(Kind::Base);
    let options = Options { budget, program_order, ..Options::default() };
    let report = judge(&history, options).map_err(|error| at(error.to_string()))?;
    let judged = spent();
    let seconds = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
    say!(
        "{} operations, parsing {:.3} s, reading {:.3} s, judging {:.3} s, total {:.3} s, peak {} MiB, CC {}, CCv {}",
        history.len(),
        seconds(begun, parsed),
        seconds(parsed, read),
        seconds(read, judged),
        seconds(parsed, judged),
        peak_mebibytes(),
        report.verdict(Level::Causal),
        report.verdict(Level::Convergent),
    );
    let levels = [Level::Causal, Level::Convergent].map(|level| report.verdict(level));
    lines.add(|| {
        json!({ "kind": "measurement", "operations": history.len(), "parsing_seconds": seconds(begun, parsed),
            "reading_seconds": seconds(parsed, read), "judging_seconds": seconds(read, judged),
            "memory_mib": peak_mebibytes(), "cc": levels[0].to_string(), "ccv": levels[1].to_string() })
    });
    Ok(match () {
        () if report.is_broken() => End::Violation,
        () if levels.contains(&Verdict::Unknown) => End::Nothing,
        () => End::Clean,
    })
}

fn make(asked: &Bench, path: &Path) -> Result<(), Problem> {
    let at = |error: std::io::Error| Problem::of_file(path, &error);
    if let Some(kind) = asked.kind {
        let making = Making { kind, operations: asked.operations, clients: asked.sessions, broken: asked.broken };
        let mut output = Output::create(path)?;
        kinds::tell(&kinds::simulate(making), kind, &mut output).map_err(at)?;
        return output.finish();
    }
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
        transaction: if plume { asked.transaction.clamp(1, asked.keys) } else { 1 },
        bug: None,
    };
    let transaction = shape.transaction as u64;
    let mut output = Output::create(path)?;
    for operation in Generator::new(shape) {
        if plume {
            let (session, key) = (&operation.client[1..], &operation.key[1..]);
            let kind = if operation.action == Action::Get { 'r' } else { 'w' };
            let value = operation.value.map_or(0, |value| value.parse().unwrap_or(0_u64) + 1);
            writeln!(output, "{kind}({key},{value},{session},{})", operation.id / transaction).map_err(at)?;
        } else {
            json::write(&operation, &mut output).map_err(at)?;
        }
    }
    output.finish()
}

/// How long this process was run so far; where the system does not tell, how long it has been there.
fn spent() -> Duration {
    let nanoseconds = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split_whitespace().next()?.parse().ok());
    static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    nanoseconds.map_or_else(|| BEGUN.get_or_init(clock).elapsed(), Duration::from_nanos)
}

/// The most memory that this process ever had, where the system tells.
fn peak_mebibytes() -> u64 {
    let Ok(file) = File::open("/proc/self/status") else { return 0 };
    let line = BufReader::new(file).lines().map_while(Result::ok).find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
