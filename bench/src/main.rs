//! What hence costs, side by side with the limit of its stack and with what a user would pick instead.
//!
//! `cargo run --release -p hence-bench` builds what it measures, runs all targets on loopback, prints tables in Markdown and
//! writes every sample to a JSON file. `docs/performance.md` tells what the figures mean.

mod client;
mod compare;
mod gates;
mod links;
mod load;
mod machine;
mod process;
mod report;
mod scaling;
mod show;
mod store;
mod table;
mod target;

use clap::{Parser, Subcommand};
use compare::Extent;
use hence_bench::tell;
use machine::Machine;
use process::{Outcome, Scratch, installed};
use report::Report;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use target::{Context, Kind};

/// Measures hence beside bare hyper, Redis and etcd.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Less than a minute: one round, one regime, bare hyper and hence only. For a glance, not for a document.
    #[arg(long, global = true)]
    quick: bool,
    /// What to measure [default: all that is installed].
    #[arg(long, value_enum, value_delimiter = ',')]
    targets: Vec<Kind>,
    /// Rounds [default: 3].
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds per load.
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    /// Cores for servers and generator together, one regime each [default: 1,2].
    #[arg(long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Where servers listen; must be a loopback address.
    #[arg(long, default_value = "127.0.0.1", global = true)]
    host: String,
    /// Measure this binary and do not build one.
    #[arg(long, global = true)]
    hence: Option<PathBuf>,
    /// Where the samples go [default: beside this program].
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Cost against work: replicas, keys, value sizes, siblings, connections, worker threads.
    Scaling,
    /// Batches, lists, watches and write concern.
    Store,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("hence-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let start = Instant::now();
    for program in ["taskset", "setpriv", "prlimit", "ss", "wrk"] {
        if installed(program).is_none() {
            return Err(format!("{program} is needed and not installed (Debian: util-linux, iproute2, wrk)").into());
        }
    }
    let folder = std::env::current_exe()?.parent().ok_or("this program lies in a folder")?.to_owned();
    build(arguments)?;
    let context = Context {
        hence: arguments.hence.clone().unwrap_or_else(|| folder.join("hence")),
        yardstick: folder.join("yardstick"),
        host: arguments.host.clone(),
        scratch: Scratch::new()?,
    };
    let machine = Machine::look(&context.hence);
    show::machine(&machine);
    let json = arguments.json.clone().unwrap_or_else(|| folder.join("hence-bench.json"));
    match arguments.what {
        Some(What::Scaling) => scaling::run(&context, arguments.quick)?,
        Some(What::Store) => store::run(&context, arguments.quick)?,
        None => {
            let extent = extent(arguments, machine.cores);
            let memory = Some(measure_memory(&folder.join("memory"), arguments.quick)?);
            let (keys, value_bytes) = (extent.keys, extent.value_bytes);
            let (samples, rests, fills) = (Vec::new(), Vec::new(), Vec::new());
            let mut report = Report { machine, keys, value_bytes, samples, rests, fills, memory };
            let outcome = compare::run(&context, &extent, &mut report);
            // What was measured before something went wrong is shown all the same.
            show::report(&report, &extent);
            std::fs::write(&json, serde_json::to_string_pretty(&report)?)?;
            tell!("samples: {}", json.display());
            outcome?;
        }
    }
    tell!("took {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Builds the product and the programs beside it, by the cargo that runs us.
fn build(arguments: &Arguments) -> Outcome<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ours: &[&str] = &["-p", "hence-bench", "--bin", "yardstick", "--bin", "memory"];
    let product: &[&str] = &["-p", "hence-server", "--bin", "hence"];
    for packages in [ours, product] {
        if packages == product && arguments.hence.is_some() {
            continue;
        }
        let status = Command::new(&cargo).args(["build", "--release", "--locked"]).args(packages).status()?;
        if !status.success() {
            return Err(format!("cargo build {} failed", packages.join(" ")).into());
        }
    }
    Ok(())
}

fn extent(arguments: &Arguments, cores: usize) -> Extent {
    let quick = arguments.quick;
    let wanted = match (arguments.targets.is_empty(), quick) {
        (false, _) => arguments.targets.clone(),
        (true, true) => vec![Kind::Bare, Kind::Hence],
        (true, false) => Kind::ALL.to_vec(),
    };
    let mut targets = Vec::new();
    for kind in wanted {
        match kind.missing() {
            Some(program) => tell!("{} is left out: {program} is not installed", kind.name()),
            None => targets.push(kind),
        }
    }
    let regimes = match (arguments.cores.is_empty(), quick) {
        (false, _) => arguments.cores.clone(),
        (true, true) => vec![1],
        (true, false) => vec![1, 2],
    };
    let mut loads = compare::all_loads();
    if quick {
        loads.retain(|load| load.connections == 32 && load.token);
    }
    Extent {
        targets,
        regimes: regimes.into_iter().filter(|&regime| regime > 0 && regime <= cores).collect(),
        loads,
        rounds: arguments.rounds.unwrap_or(if quick { 1 } else { 3 }),
        seconds: arguments.seconds,
        keys: 10_000,
        value_bytes: 100,
        fill_keys: if quick { 100_000 } else { 1_000_000 },
        idle: Duration::from_secs(if quick { 2 } else { 6 }),
    }
}

fn measure_memory(program: &Path, quick: bool) -> Outcome<report::Memory> {
    let keys = if quick { "20000" } else { "100000" };
    let output = Command::new(program).arg(keys).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
