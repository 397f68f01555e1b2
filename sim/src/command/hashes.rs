//! `hashes`: does a seed mean the same here as there, and if not, which event is the first that differs?

use super::files::Input;
use super::{Done, End, output};
use crate::campaign::run::{Setting, Watch, run as run_plan, run_watched};
use crate::generate::{self, Profile};
use crate::observe::{self, Idle, Recorder};
use std::io::Read as _;
use std::path::Path;

pub(crate) fn hashes(from: u64, count: u64) -> Done {
    for seed in from..=from.saturating_add(count - 1) {
        let verdict = run_plan(&generate::plan(seed, Profile::Mixed), Setting::default());
        say!("{seed} {:016x} {}", verdict.hash, verdict.events);
        if output::is_lost() {
            return Ok(End::Nothing);
        }
    }
    Ok(End::Clean)
}

/// Every event of a seed; or the first that another process saw differently.
pub(crate) fn explain(seed: u64, against: Option<&Path>) -> Done {
    let (plan, recorder) = (generate::plan(seed, Profile::Mixed), Recorder::default());
    let watch = Watch { choice_log: None, observer: Some(Box::new(recorder.clone())) };
    let (verdict, _) = run_watched(&plan, Setting::default(), watch);
    let mut here = observe::trace(&recorder.story(&plan, verdict.violation.as_ref(), Idle::All), true);
    here.push_str(&format!("{seed} {:016x} {}\n", verdict.hash, verdict.events));
    let Some(path) = against else {
        output::text(&here);
        return Ok(if output::is_lost() { End::Nothing } else { End::Clean });
    };
    let (Input { name, mut bytes, .. }, mut there) = (Input::open(path)?, String::new());
    bytes.read_to_string(&mut there).map_err(|error| format!("{name}: {error}"))?;
    let lines = here.lines().count().max(there.lines().count());
    let line = |text: &str, at| text.lines().nth(at).unwrap_or("nothing more").to_owned();
    let mut pairs = here
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(there.lines().map(Some).chain(std::iter::repeat(None)));
    match pairs.by_ref().take(lines).position(|(here, there)| here != there) {
        None => {
            say!("{lines} lines, all the same");
            Ok(End::Clean)
        }
        Some(at) => {
            say!("line {} of seed {seed} is the first that differs", at + 1);
            say!("here   {}\nthere  {}", line(&here, at), line(&there, at));
            Ok(End::Violation)
        }
    }
}
