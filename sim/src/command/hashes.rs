//! `hashes`: does a seed mean the same here as there, and if not, which event is the first that differs?

use super::files::Input;
use super::{Done, End, output};
use crate::campaign::run::{Setting, Watch, run as run_plan, run_watched};
use crate::generate::{self, Profile};
use crate::observe::{self, Idle, Recorder};
use crate::oracle::verdict::Verdict;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;

/// What a seed came to, for programs.
fn line(seed: u64, verdict: &Verdict) -> Value {
    json!({ "kind": "hash", "seed": seed, "hash": format!("{:016x}", verdict.hash), "events": verdict.events })
}

pub(crate) fn hashes(from: u64, count: u64, json: bool) -> Done {
    for seed in from..=from.saturating_add(count - 1) {
        let verdict = run_plan(&generate::plan(seed, Profile::Mixed), Setting::default());
        if json {
            output::text(&format!("{}\n", line(seed, &verdict)));
        } else {
            say!("{seed} {:016x} {}", verdict.hash, verdict.events);
        }
        if output::is_lost() {
            return Ok(End::Nothing);
        }
    }
    Ok(End::Clean)
}

/// Every event of a seed; or the first that another process saw differently.
pub(crate) fn explain(seed: u64, against: Option<&Path>, json: bool) -> Done {
    let (plan, recorder) = (generate::plan(seed, Profile::Mixed), Recorder::default());
    let watch = Watch { choice_log: None, observer: Some(Box::new(recorder.clone())) };
    let (verdict, _) = run_watched(&plan, Setting::default(), watch);
    let story = recorder.story(&plan, verdict.violation.as_ref(), Idle::All);
    let told = |json: bool| match json {
        true => format!("{}{}\n", observe::json_lines(&story), line(seed, &verdict)),
        false => format!("{}{seed} {:016x} {}\n", observe::trace(&story, true), verdict.hash, verdict.events),
    };
    let Some(path) = against else {
        output::text(&told(json));
        return Ok(if output::is_lost() { End::Nothing } else { End::Clean });
    };
    let (Input { name, mut bytes, .. }, mut there) = (Input::open(path)?, String::new());
    bytes.read_to_string(&mut there).map_err(|error| format!("{name}: {error}"))?;
    // The other process was asked for text or for JSON, whatever is asked for here.
    let here = told(there.starts_with('{'));
    let lines = here.lines().count().max(there.lines().count());
    let mut pairs = here
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(there.lines().map(Some).chain(std::iter::repeat(None)));
    let differs = pairs.by_ref().take(lines).position(|(here, there)| here != there);
    let [here, there] = [&here, &there].map(|text| differs.and_then(|at| text.lines().nth(at)));
    match differs {
        _ if json => {
            let value = json!({ "kind": "comparison", "seed": seed, "lines": lines, "same": differs.is_none(),
                "line": differs.map(|at| at + 1), "here": here, "there": there });
            output::text(&format!("{value}\n"));
        }
        None => say!("{lines} lines, all the same"),
        Some(at) => {
            say!("line {} of seed {seed} is the first that differs", at + 1);
            let nothing = "nothing more";
            say!("here   {}\nthere  {}", here.unwrap_or(nothing), there.unwrap_or(nothing));
        }
    }
    Ok(if differs.is_none() { End::Clean } else { End::Violation })
}
