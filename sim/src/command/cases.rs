//! `replay`, `shrink` and `show`.

use super::cli::Show;
use super::files::{self, Output};
use super::signals::Stop;
use super::{Done, End, Problem, ProgressLine, cores, output, provenance, spread};
use crate::campaign::case::{Case, Outcome};
use crate::campaign::run::{NamedSubject, Setting, Watch, run, run_watched};
use crate::campaign::shrink::{is_minimal, shrink as shrink_plan};
use crate::engine::choice_log::ChoiceLog;
use crate::observe::{JsonLines, Observer, ShiViz, Sink, TextTrace};
use crate::plan::Plan;
use std::path::{Path, PathBuf};

fn read(path: &Path, subjects: &[NamedSubject]) -> Result<Case, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| Problem::of_file(path, &error))?;
    Case::read_among(&text, subjects).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn setting_of(case: &Case, subjects: &[NamedSubject]) -> Result<Setting, String> {
    case.setting_among(subjects).map_err(|error| error.to_string())
}

pub(crate) fn replay(path: &Path, subjects: &[NamedSubject]) -> Done {
    let case = read(path, subjects)?;
    let (outcome, verdict) = case.replay_with(setting_of(&case, subjects)?);
    say!("{outcome}");
    if outcome == Outcome::Same {
        if let Some(violation) = &verdict.violation {
            say!("{violation}");
        }
        let hash = format!("{:016x}", verdict.hash);
        if hash != case.hash {
            say!("the trace hash was {} and is {hash}", case.hash);
        }
    }
    Ok(if verdict.violation.is_some() { End::Violation } else { End::Clean })
}

pub(crate) fn shrink(path: &Path, output: Option<&Path>, subjects: &[NamedSubject]) -> Done {
    let stop = Stop::watch()?;
    let case = read(path, subjects)?;
    let beside = path.with_extension("small.json");
    let output = output.unwrap_or(&beside);
    files::apart(std::fs::metadata(path).ok().as_ref(), &[output])?;
    Output::create(output)?;
    let setting = setting_of(&case, subjects)?;
    let fails = |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == case.fingerprint);
    if !fails(&case.plan) {
        let text =
            format!("{}: does not fail as {} from its seed, so it cannot shrink", path.display(), case.fingerprint);
        return Err(text.into());
    }
    // Once a signal has come nothing is tried any more, and what is smallest by then is written.
    let mut trial = |plans: &[Plan]| first(plans, &|plan: &Plan| !stop.is_asked() && fails(plan));
    let mut progress = ProgressLine::start();
    let mut least = case.plan.size();
    let small = shrink_plan(&case.plan, &mut trial, &mut |size, tried| {
        least = least.min(size);
        progress.show(|_| format!("{least} operations and faults left, {tried} candidates tried"));
    });
    progress.clear();
    let minimal = !stop.is_asked() && is_minimal(&small, &mut trial) && !stop.is_asked();
    let mut shrunk = Case::of(&small, setting).ok_or("the shrunk plan passes: the simulator is not deterministic")?;
    (shrunk.about, shrunk.origin, shrunk.revision) =
        (case.about.clone(), case.origin.clone(), provenance::COMMIT.into());
    files::write(output, shrunk.write().as_bytes())?;
    provenance::introduce();
    if stop.is_asked() {
        say!("ended early by a signal: the case may still get smaller");
    }
    say!(
        "from {} operations and {} faults at {} replicas to {} and {} at {}{}",
        case.plan.operations.len(),
        case.plan.faults.len(),
        case.plan.replicas.len(),
        small.operations.len(),
        small.faults.len(),
        small.replicas.len(),
        if minimal { "; taking any one away makes it pass" } else { "" }
    );
    say!("{}", shrunk.violation);
    say!("  case   {}", output.display());
    say!("  replay hence-sim replay {}", output.display());
    Ok(End::Violation)
}

/// The first plan in order that fails, tried on all cores.
pub(super) fn first(plans: &[Plan], fails: &(impl Fn(&Plan) -> bool + Sync)) -> Option<usize> {
    let mut found: Option<usize> = None;
    spread(
        cores(),
        plans.len(),
        |at| fails(&plans[at]),
        |at, failed| {
            if failed {
                found = Some(found.map_or(at, |known| known.min(at)));
            }
            found.is_none()
        },
    );
    found
}

pub(crate) fn show(asked: &Show, subjects: &[NamedSubject]) -> Done {
    let case = read(&asked.case, subjects)?;
    let outputs: Vec<&Path> = asked.shiviz.iter().map(PathBuf::as_path).collect();
    files::apart(std::fs::metadata(&asked.case).ok().as_ref(), &outputs)?;
    let setting = Setting { thorough: true, ..setting_of(&case, subjects)? };
    let sink = Sink::default();
    let text = TextTrace::new(sink.clone(), asked.idle);
    let names = text.names();
    let observer: Box<dyn Observer> = match (&asked.shiviz, asked.json) {
        (Some(_), _) => Box::new(ShiViz::new(sink.clone())),
        (None, true) => Box::new(JsonLines::new(sink.clone())),
        (None, false) => Box::new(text),
    };
    let choice_log = Some(ChoiceLog::following(case.choices.clone()));
    let (verdict, _) = run_watched(&case.plan, setting, Watch { choice_log, observer: Some(observer) });
    match &asked.shiviz {
        Some(path) => files::write(path, sink.borrow().as_bytes())?,
        None => output::text(&sink.borrow()),
    }
    let Some(violation) = verdict.violation else { return Ok(End::Clean) };
    if asked.json {
        // Standard output is JSON to its end.
        say!("{}", serde_json::json!({ "at": violation.at, "kind": "violation", "violation": violation }));
    } else {
        say!("{}", names.shorten(&violation.to_string()));
    }
    Ok(End::Violation)
}
