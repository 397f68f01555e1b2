//! `check`.

use super::{Done, End};
use hence_sim::check::formats::{self, Format};
use hence_sim::check::history::History;
use hence_sim::check::{Level, Options, Report, Verdict, judge};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
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

impl Check {
    /// Judge this file, in our own format, at every level.
    pub(crate) fn of(history: &Path, svg: Option<&Path>) -> Self {
        Self {
            history: history.to_owned(),
            level: "all".into(),
            format: Some(Format::Json),
            program_order: false,
            svg: svg.map(Path::to_owned),
            counterexample: None,
            export: None,
            to: None,
        }
    }
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
    if let Some(differ) = report.disagreement(&history) {
        println!("\n{differ}");
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
    if report.certified {
        println!("explained by the order that the names of versions suggest, which was checked");
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
