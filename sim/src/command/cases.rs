//! `replay`, `shrink` and `show`.

use super::files;
use super::{Done, End, ProgressLine, cores, revision, spread};
use crate::Show;
use hence_sim::case::{Case, Outcome};
use hence_sim::observe::{JsonLines, Observer, ShiViz, Sink, TextTrace};
use hence_sim::plan::Plan;
use hence_sim::recording::Recording;
use hence_sim::run::{Setting, Watch, run, run_watched};
use hence_sim::shrink::{is_minimal, shrink as shrink_plan};
use std::path::Path;

fn read(path: &Path) -> Result<Case, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Case::read(&text).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn replay(path: &Path) -> Done {
    let case = read(path)?;
    let (outcome, verdict) = case.replay();
    println!("{outcome}");
    if outcome == Outcome::Same {
        if let Some(violation) = &verdict.violation {
            println!("{violation}");
        }
        let hash = format!("{:016x}", verdict.hash);
        if hash != case.hash {
            println!("the trace hash was {} and is {hash}", case.hash);
        }
    }
    Ok(if verdict.violation.is_some() { End::Violation } else { End::Clean })
}

pub(crate) fn shrink(path: &Path, output: Option<&Path>) -> Done {
    let case = read(path)?;
    let setting = case.setting().map_err(|error| error.to_string())?;
    let fails = |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == case.fingerprint);
    if !fails(&case.plan) {
        return Err(format!(
            "{}: does not fail as {} from its seed, so it cannot shrink",
            path.display(),
            case.fingerprint
        ));
    }
    let mut trial = |plans: &[Plan]| first(plans, &fails);
    let mut progress = ProgressLine::new();
    let mut least = case.plan.size();
    let small = shrink_plan(&case.plan, &mut trial, &mut |size, tried| {
        least = least.min(size);
        progress.show(|_| format!("{least} operations and faults left, {tried} candidates tried"));
    });
    progress.clear();
    let minimal = is_minimal(&small, &mut trial);
    let mut shrunk = Case::of(&small, setting).ok_or("the shrunk plan passes: the simulator is not deterministic")?;
    (shrunk.about, shrunk.revision) = (case.about.clone(), revision());
    let beside = path.with_extension("small.json");
    let output = output.unwrap_or(&beside);
    files::write(output, shrunk.write().as_bytes())?;
    println!(
        "from {} operations and {} faults at {} replicas to {} and {} at {}{}",
        case.plan.operations.len(),
        case.plan.faults.len(),
        case.plan.replicas.len(),
        small.operations.len(),
        small.faults.len(),
        small.replicas.len(),
        if minimal { "; taking any one away makes it pass" } else { "" }
    );
    println!("{}", shrunk.violation);
    println!("  case   {}", output.display());
    println!("  replay hence-sim replay {}", output.display());
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

pub(crate) fn show(asked: &Show) -> Done {
    let case = read(&asked.case)?;
    let setting = Setting { thorough: true, ..case.setting().map_err(|error| error.to_string())? };
    let sink = Sink::default();
    let text = TextTrace::new(sink.clone(), asked.idle);
    let names = text.names();
    let observer: Box<dyn Observer> = match (&asked.shiviz, asked.json) {
        (Some(_), _) => Box::new(ShiViz::new(sink.clone())),
        (None, true) => Box::new(JsonLines::new(sink.clone())),
        (None, false) => Box::new(text),
    };
    let recording = Some(Recording::following(case.choices.clone()));
    let (verdict, _) = run_watched(&case.plan, setting, Watch { recording, observer: Some(observer) });
    match &asked.shiviz {
        Some(path) => files::write(path, sink.borrow().as_bytes())?,
        None => print!("{}", sink.borrow()),
    }
    match verdict.violation {
        Some(violation) => {
            println!("{}", names.shorten(&violation.to_string()));
            Ok(End::Violation)
        }
        None => Ok(End::Clean),
    }
}
