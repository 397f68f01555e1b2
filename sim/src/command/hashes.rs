//! `hashes`: does a seed mean the same here as there, and if not, which event is the first that differs?

use super::{Done, End, output};
use crate::campaign::run::{Setting, Watch, run as run_plan, run_watched};
use crate::generate::{self, Profile};
use crate::observe::{Sink, TextTrace};
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
    let sink = Sink::default();
    let observer = Some(Box::new(TextTrace::new(sink.clone(), true)) as _);
    let (verdict, _) =
        run_watched(&generate::plan(seed, Profile::Mixed), Setting::default(), Watch { choice_log: None, observer });
    let mut here = sink.borrow().clone();
    here.push_str(&format!("{seed} {:016x} {}\n", verdict.hash, verdict.events));
    let Some(path) = against else {
        output::text(&here);
        return Ok(End::Clean);
    };
    let there = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
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
