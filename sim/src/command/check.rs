//! `check`.

use super::files::{self, Input, Output};
use super::{Done, End};
use hence_sim::check::formats::{self, Format};
use hence_sim::check::history::History;
use hence_sim::check::{Level, Options, Report, Verdict, judge};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Judge a history of what clients saw
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The history, gzipped or not; - for standard input
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
    let input = Input::open(&asked.history)?;
    let outputs: Vec<&Path> =
        [&asked.export, &asked.svg, &asked.counterexample].into_iter().flatten().map(PathBuf::as_path).collect();
    files::apart(input.metadata.as_ref(), &outputs)?;
    let create = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
    let exported = create(&asked.export)?;
    let (picture, alone) = (create(&asked.svg)?, create(&asked.counterexample)?);
    let at = |error: String| format!("{}: {error}", input.name);
    let history = formats::read(input.bytes, asked.format).map_err(|error| at(error.to_string()))?;
    if let (Some(output), Some(path), Some(format)) = (exported, &asked.export, asked.to) {
        export(&history, output, path, format)?;
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
        if let (Some(mut output), Some(path)) = (picture, &asked.svg) {
            output.write_all(found.svg().as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
            output.finish()?;
            println!("picture: {}", path.display());
        }
        if let (Some(output), Some(path)) = (alone, &asked.counterexample) {
            export(found.history(), output, path, Format::Json)?;
            println!("the counterexample alone: {}", path.display());
        }
    }
    Ok(End::Violation)
}

fn export(history: &History, mut output: Output, path: &Path, format: Format) -> Result<(), String> {
    formats::write(history, format, &mut output).map_err(|error| format!("{}: {error}", path.display()))?;
    output.finish()
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
