//! `replay`, `shrink` and `show`.

use super::cli::Show;
use super::files::{self, Input, Output};
use super::signals::Stop;
use super::{Done, End, Problem, ProgressLine, cores, output, provenance, spread};
use crate::campaign::case::{BYTES_MAX, Case, Outcome};
use crate::campaign::run::{NamedSubject, Setting, Watch, run, run_watched};
use crate::campaign::shrink::{is_minimal, shrink as shrink_plan};
use crate::engine::choice_log::ChoiceLog;
use crate::observe::{self, About, Idle, Recorder};
use crate::oracle::verdict::Violation;
use crate::plan::Plan;
use crate::why;
use hence_checker::format;
use serde_json::json;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Reads a case: a file, gzipped or not, or the standard input, which is named `-`.
pub(super) fn read(path: &Path, subjects: &[NamedSubject]) -> Result<Case, Problem> {
    let input = Input::open(path)?;
    let at = |error: String| Problem::from(format!("{}: {error}", input.name));
    let mut text = Vec::new();
    let plain = format::unwrapped(input.bytes).map_err(|error| at(error.to_string()))?;
    plain.take(BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(|error| at(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| at("it is no text in UTF-8".into()))?;
    Case::read_among(&text, subjects).map_err(|error| at(error.to_string()))
}

pub(super) fn setting_of(case: &Case, subjects: &[NamedSubject]) -> Result<Setting, String> {
    case.setting_among(subjects).map_err(|error| error.to_string())
}

pub(crate) fn replay(path: &Path, json: bool, subjects: &[NamedSubject]) -> Done {
    let case = read(path, subjects)?;
    let (outcome, verdict) = case.replay_with(setting_of(&case, subjects)?);
    let end = if verdict.violation.is_some() { End::Violation } else { End::Clean };
    if json {
        let (unmatched, fresh) = match outcome {
            Outcome::Passes { unmatched, fresh } => (Some(unmatched), Some(fresh)),
            Outcome::Same | Outcome::Other(_) => (None, None),
        };
        let hash = format!("{:016x}", verdict.hash);
        let value = json!({ "kind": "replay", "outcome": outcome.name(), "violation": verdict.violation,
            "fingerprint": verdict.violation.as_ref().map(Violation::fingerprint), "hash": hash,
            "same_hash": hash == case.hash, "unmatched": unmatched, "fresh": fresh });
        output::text(&format!("{value}\n"));
        return Ok(end);
    }
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
    Ok(end)
}

pub(crate) fn shrink(path: &Path, output: Option<&Path>, json: bool, subjects: &[NamedSubject]) -> Done {
    let stop = Stop::watch()?;
    let case = read(path, subjects)?;
    let beside = beside(path);
    let output = match output {
        Some(output) => output,
        None if path.as_os_str() == files::STANDARD => {
            return Err("say with --output where the smaller case goes".into());
        }
        None => &beside,
    };
    let printed = json.then_some(Path::new(files::STANDARD));
    files::apart(source(path).as_ref(), &[output].into_iter().chain(printed).collect::<Vec<_>>())?;
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
    if json {
        let size = |plan: &Plan| {
            json!({ "operations": plan.operations.len(), "faults": plan.faults.len(),
                "replicas": plan.replicas.len() })
        };
        let value = json!({ "kind": "shrink", "case": output.display().to_string(), "from": size(&case.plan),
            "to": size(&small), "minimal": minimal, "violation": shrunk.violation,
            "fingerprint": shrunk.fingerprint });
        super::output::text(&format!("{value}\n"));
        return Ok(End::Violation);
    }
    told(&case, &small, (&shrunk, output), (stop.is_asked(), minimal));
    Ok(End::Violation)
}

/// What the system says of the file that a case is read from.
fn source(path: &Path) -> Option<std::fs::Metadata> {
    if path.as_os_str() == files::STANDARD { Input::open(path).ok()?.metadata } else { std::fs::metadata(path).ok() }
}

/// Where the smaller case lies if nothing else is said.
fn beside(path: &Path) -> PathBuf {
    let unpacked =
        if path.extension().is_some_and(|end| end == "gz") { path.with_extension("") } else { path.to_owned() };
    unpacked.with_extension("small.json")
}

/// What became of a case that was made smaller.
fn told(case: &Case, small: &Plan, (shrunk, output): (&Case, &Path), (is_early, minimal): (bool, bool)) {
    provenance::introduce();
    if is_early {
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
    let files = [&asked.html, &asked.svg, &asked.mermaid, &asked.perfetto, &asked.shiviz];
    let outputs: Vec<&Path> = files.into_iter().flatten().map(PathBuf::as_path).collect();
    let printed = asked.json.then_some(Path::new(files::STANDARD));
    files::apart(source(&asked.case).as_ref(), &outputs.iter().copied().chain(printed).collect::<Vec<_>>())?;
    outputs.iter().try_for_each(|path| Output::create(path).map(drop))?;
    let setting = Setting { thorough: true, ..setting_of(&case, subjects)? };
    let recorder = Recorder::default();
    let choice_log = Some(ChoiceLog::following(case.choices.clone()));
    let watch = Watch { choice_log, observer: Some(Box::new(recorder.clone())) };
    let (verdict, _) = run_watched(&case.plan, setting, watch);
    let idle = if asked.idle { Idle::All } else { Idle::Changing };
    let story = recorder.story(&case.plan, verdict.violation.as_ref(), idle);
    if let Some(path) = &asked.html {
        let why = asked.why.then(|| why::why(&case.plan, &case.choices, setting, (idle, why::EVENTS_MAX))).flatten();
        let about = if asked.blind { About::blind(case.plan.seed) } else { about(&case, &asked.case) };
        let about = About { reasons: why.map(|why| why.reasons()), ..about };
        files::write(path, observe::page(&story, &about).as_bytes())?;
    }
    if let Some(path) = &asked.svg {
        files::write(path, observe::svg(&story).as_bytes())?;
    }
    if let Some(path) = &asked.mermaid {
        files::write(path, observe::mermaid(&story).as_bytes())?;
    }
    if let Some(path) = &asked.perfetto {
        files::write(path, &observe::perfetto(&story))?;
    }
    if let Some(path) = &asked.shiviz {
        files::write(path, observe::shiviz(&story).as_bytes())?;
    }
    let end = if verdict.violation.is_some() { End::Violation } else { End::Clean };
    if asked.json {
        output::text(&observe::json_lines(&story));
        return Ok(end);
    }
    match end {
        End::Violation => output::prose(&observe::verdict(&story)),
        End::Clean | End::Nothing => say!("no promise is broken: the case passes"),
    }
    if outputs.is_empty() {
        output::prose(&format!("\n{}", observe::trace(&story, asked.idle)));
    }
    outputs.iter().for_each(|path| say!("  written {}", path.display()));
    Ok(end)
}

/// What a page says of where its run comes from.
fn about(case: &Case, path: &Path) -> About {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let subject = case.subject.as_deref().or(case.mutant.as_deref()).or(case.baseline.then_some("the naive scheme"));
    About {
        title: name,
        about: case.about.clone(),
        subject: subject.unwrap_or("the sound replica").to_owned(),
        seed: case.plan.seed,
        program: provenance::FULL.to_owned(),
        replay: format!("hence-sim replay {}", provenance::quoted(&path.to_string_lossy())),
        whole: format!("hence-sim show {} --idle --html FILE", provenance::quoted(&path.to_string_lossy())),
        reasons: None,
        live: None,
    }
}
