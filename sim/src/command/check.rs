//! `check`.

use super::files::{self, Input, Output};
use super::{Done, End, Problem, codes, provenance, report, watch};
use crate::observe::{self, About, count};
use hence_blackbox::torture::Recorded;
use hence_checker::format::edn;
use hence_checker::format::error::{ReadError, WriteError};
use hence_checker::format::{self, Format, Reading};
use hence_checker::history::History;
use hence_checker::{Budget, Counterexample, Level, Options, Report, SHRINKING, Verdict, judge};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const MILLION: u64 = 1_000_000;

/// By then a counterexample is small, or shrinking is given up, in parts of [`Watch::WHOLE`](hence_checker::Watch::WHOLE).
const SHRUNK_UNTIL: u32 = 1_080;

/// Judge a history of what clients saw
#[derive(clap::Args)]
#[command(after_help = codes::CHECK)]
pub(crate) struct Check {
    /// The history, gzipped or not; - for standard input
    history: PathBuf,
    /// What to judge: cc, ccv or all
    #[arg(long, default_value = "all", value_parser = ["cc", "ccv", "all"])]
    level: String,
    /// The history's format: json, plume, edn, hist, dbcop or awdit; guessed from its beginning by default
    #[arg(long, value_parser = Format::named)]
    format: Option<Format>,
    /// What a key of foreign EDN holds before its first write; nil by default, or 0 where that is read and never written
    #[arg(long, value_name = "VALUE", value_parser = edn::initial)]
    initial: Option<String>,
    /// A client's own order counts, not only its tokens
    #[arg(long)]
    program_order: bool,
    /// Give up after this long, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = super::duration)]
    budget: Duration,
    /// Write a page for a browser: what clients asked and got, and what is broken
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Where to draw the counterexample
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Where to write the counterexample as a history
    #[arg(long)]
    counterexample: Option<PathBuf>,
    /// Print and write all of a counterexample, however large it is
    #[arg(long)]
    full: bool,
    /// How much to spend on making a counterexample smaller, in millions of steps; the default takes ten seconds at most
    #[arg(long, value_name = "MILLIONS", default_value_t = SHRINKING / MILLION, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    shrink: u64,
    /// Where to write the report as JSON; - for standard output, and nothing else there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the history in another format, too
    #[arg(long, requires = "to")]
    export: Option<PathBuf>,
    /// Which: json, plume, edn, hist or shiviz
    #[arg(long, value_parser = Format::named, requires = "export")]
    to: Option<Format>,
    /// All replicas were seen to answer alike in the end, so it is no loss if the history does not tell.
    #[arg(skip)]
    is_settled: bool,
    /// The report goes here, too.
    #[arg(skip)]
    told: Option<Arc<OnceLock<Value>>>,
}

impl Check {
    /// Judge this file, in our own format, at every level.
    fn of(recorded: &Recorded) -> Self {
        Self {
            history: recorded.history.clone(),
            level: "all".into(),
            format: Some(Format::Json),
            initial: None,
            program_order: false,
            budget: Duration::from_secs(600),
            html: recorded.report.as_ref().map(|folder| folder.join(report::CLIENTS)),
            svg: recorded.svg.clone(),
            counterexample: None,
            full: false,
            shrink: SHRINKING / MILLION,
            json: recorded.report.as_deref().map(report::check_file),
            export: None,
            to: None,
            is_settled: recorded.is_settled,
            told: Some(recorded.verdict.clone()),
        }
    }

    /// The levels that were asked for.
    fn levels(&self) -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|&one| match self.level.as_str() {
            "cc" => one == Level::Causal,
            "ccv" => one >= Level::Causal,
            _ => true,
        })
    }
}

/// The verdict on what `torture` recorded.
pub(crate) fn check_recorded(recorded: &Recorded) -> Done {
    let done = check(&Check::of(recorded));
    if let Some(folder) = &recorded.report {
        report::write(recorded, folder, &done)?;
    }
    done
}

pub(crate) fn check(asked: &Check) -> Done {
    let input = Input::open(&asked.history)?;
    let prints_json = asked.json.as_deref().is_some_and(|path| path.as_os_str() == files::STANDARD);
    let report_file = asked.json.clone().filter(|_| !prints_json);
    let outputs: Vec<&Path> = [&asked.export, &asked.html, &asked.svg, &asked.counterexample, &report_file]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    let printed = prints_json.then_some(Path::new(files::STANDARD));
    files::apart(input.metadata.as_ref(), &outputs.iter().copied().chain(printed).collect::<Vec<_>>())?;
    // Whether it can be written is found out now; a judge that is ended by a signal leaves no part of it.
    outputs.iter().try_for_each(|path| Output::create(path).map(drop))?;
    let at = |error: String| format!("{}: {error}", input.name);
    watch::begin(Some(asked.budget));
    let reading = Reading { format: asked.format, initial: asked.initial.clone() };
    let history = format::read_as(watch::InTime(input.bytes), &reading).map_err(|error| match error {
        ReadError::Io(error) if error.kind() == ErrorKind::TimedOut => {
            Problem::nothing(at("the time was over before all was read: no verdict; --budget gives more".into()))
        }
        other @ (ReadError::Line { .. } | ReadError::Io(_) | ReadError::UnknownFormat { .. } | ReadError::Empty) => {
            at(other.to_string()).into()
        }
    })?;
    let mut is_exported = true;
    if let (Some(path), Some(format)) = (&asked.export, asked.to) {
        is_exported = written(export(&history, path, format))?;
    }
    let causal_only = asked.level == "cc";
    let (budget, shrinking) =
        (Budget { watch: Some(watch::WATCH), ..Budget::default() }, asked.shrink.saturating_mul(MILLION));
    let options = Options { program_order: asked.program_order, causal_only, budget, shrinking, ..Options::default() };
    let report = judge(&history, options).map_err(|error| at(error.to_string()))?;
    watch::clear();
    // The verdict is said before anything is made of it, which may take its time.
    if !prints_json {
        provenance::introduce();
        print(&report, &history, asked);
    }
    // What is broken is made smaller even where the verdict took all of the time.
    let late = Budget { watch: Some(watch::WATCH.until(SHRUNK_UNTIL)), ..budget };
    let found = report.counterexample(&history, Options { budget: late, ..options });
    let value = || report.value(&history, found.as_deref(), asked.full);
    if let Some(told) = &asked.told {
        // It is judged once.
        _ = told.set(value());
    }
    let value = || format!("{:#}\n", value());
    let (are_written, remarks) = keep(found.as_deref(), asked)?;
    is_exported &= are_written;
    if let Some(path) = &asked.html {
        let page = observe::history_page(&history, &report, found.as_deref(), &about(&input.name));
        is_exported &= written(files::write(path, page.as_bytes()))?;
    }
    if let Some(path) = &report_file {
        is_exported &= written(files::write(path, value().as_bytes()))?;
    }
    if prints_json {
        super::output::text(&value());
    } else {
        tell(&report, &history, found.as_deref(), asked.full);
        remarks.iter().for_each(|remark| say!("{remark}"));
    }
    match report.is_broken() {
        true => Ok(End::Violation),
        false => Ok(if is_exported { end(&report, asked) } else { End::Nothing }),
    }
}

/// What a page says of where its history comes from.
fn about(name: &str) -> About {
    About {
        title: name.to_owned(),
        subject: "what clients saw".into(),
        program: provenance::FULL.to_owned(),
        replay: format!("hence-sim check {}", provenance::quoted(name)),
        ..About::default()
    }
}

/// What is broken, if something is.
fn tell(report: &Report, history: &History, found: Option<&Counterexample>, full: bool) {
    if let Some(differ) = report.disagreement(history) {
        say!("\n{differ}");
    }
    match found {
        Some(found) => say!("\n{}", found.told(full)),
        None if report.weakest_broken().is_some() => {
            say!("\nno part of the history proves it alone with so little work; --shrink gives it more");
        }
        None => {}
    }
}

/// Keeps the counterexample where that was asked for; says whether all of it could be written, and what was.
fn keep(found: Option<&Counterexample>, asked: &Check) -> Result<(bool, Vec<String>), Problem> {
    let (mut all_written, mut remarks) = (true, Vec::new());
    let Some(found) = found else { return Ok((true, remarks)) };
    if let Some(path) = &asked.svg {
        match written(files::write(path, found.svg().as_bytes()))? {
            true => remarks.push(format!("picture: {}", path.display())),
            false => all_written = false,
        }
    }
    if let Some(path) = &asked.counterexample {
        match written(export(found.history(), path, Format::Json))? {
            true => remarks.push(format!("the counterexample alone: {}", path.display())),
            false => all_written = false,
        }
    }
    Ok((all_written, remarks))
}

fn export(history: &History, path: &Path, format: Format) -> Result<(), Problem> {
    let mut output = Output::create(path)?;
    format::write(history, format, &mut output).map_err(|error| match error {
        WriteError::Io(error) => Problem::of_file(path, &error),
        other @ (WriteError::Inexpressible { .. } | WriteError::OnlyRead(_) | WriteError::Unreadable(_)) => {
            format!("{}: {other}", path.display()).into()
        }
    })?;
    output.finish()
}

/// Whether an output was written. A full disk is told and does not keep the verdict from being given.
fn written(result: Result<(), Problem>) -> Result<bool, Problem> {
    match result {
        Ok(()) => Ok(true),
        Err(Problem { code, text }) if code == End::Nothing as u8 => {
            tell!("hence-sim: {text}");
            Ok(false)
        }
        Err(mistake) => Err(mistake),
    }
}

/// How the command ends where nothing is broken: what is unknown is not fine.
fn end(report: &Report, asked: &Check) -> End {
    let is_unknown = |verdict: Verdict| verdict == Verdict::Unknown;
    let levels = asked.levels().any(|one| is_unknown(report.verdict(one)));
    let finals = report.convergence.is_some_and(is_unknown) && !asked.is_settled;
    if levels || finals { End::Nothing } else { End::Clean }
}

fn print(report: &Report, history: &History, asked: &Check) {
    let notes = history.notes;
    let remarks = if notes > 0 { format!(", and {} of the recorder", count(notes, "note")) } else { String::new() };
    say!("{}{remarks}", count(report.operations as u64, "operation"));
    for warning in &report.warnings {
        say!("warning: {warning}");
    }
    if report.certified {
        say!("explained by the order that the names of versions suggest, which was checked");
    }
    if report.witnessed {
        say!("explained by a run that times, replicas and answers suggest, which was checked");
    }
    for one in asked.levels() {
        say!("  {:<4} {:<22} {}", one.name(), one.title(), report.verdict(one));
    }
    if let Some(verdict) = report.convergence {
        say!("  {:<4} {:<22} {verdict}", "", "final reads agree");
    }
    if let Some(weakest) = report.weakest_broken() {
        say!("the weakest broken level is {}, {}", weakest.name(), weakest.title());
    } else if end(report, asked) == End::Nothing {
        say!("nothing is broken as far as is known, and not all is known: no verdict");
        say!("the history {}; the search ended after {} walks", history.kind().tells(), report.walks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_checker::generate::{Generator, Shape};
    use std::sync::Arc;

    /// A history of a correct store, judged with next to no budget.
    fn undecided(causal_only: bool) -> Report {
        let shape = Shape { seed: 1, operations: 400, exact: false, ..Shape::default() };
        let mut history = History::default();
        Generator::new(shape).for_each(|operation| history.push(&operation).map(drop).expect("it fits together"));
        let budget = Budget { walks: 1, nodes: 1, watch: None };
        judge(&history, Options { budget, causal_only, certificates: false, ..Options::default() }).expect("a history")
    }

    #[test]
    fn what_is_unknown_is_not_fine() {
        let asked = |level: &str, is_settled| {
            let (history, verdict) = (PathBuf::from("x"), Arc::default());
            let recorded = Recorded { history, svg: None, report: None, is_settled, verdict };
            Check { level: level.into(), ..Check::of(&recorded) }
        };
        let report = undecided(false);
        assert!(!report.is_broken() && report.verdicts.contains(&Verdict::Unknown), "{:?}", report.verdicts);
        for level in ["all", "ccv", "cc"] {
            assert_eq!(end(&report, &asked(level, false)), End::Nothing, "{level}");
        }
        let mut fine = report;
        fine.verdicts = [Verdict::Fine; 6];
        assert_eq!(end(&fine, &asked("all", false)), End::Clean);
        // What was not asked for may stay unknown.
        fine.verdicts[Level::Convergent as usize] = Verdict::Unknown;
        assert_eq!((end(&fine, &asked("cc", false)), end(&fine, &asked("ccv", false))), (End::Clean, End::Nothing));
        fine.verdicts = [Verdict::Fine; 6];
        fine.convergence = Some(Verdict::Unknown);
        assert_eq!((end(&fine, &asked("all", false)), end(&fine, &asked("all", true))), (End::Nothing, End::Clean));
    }
}
