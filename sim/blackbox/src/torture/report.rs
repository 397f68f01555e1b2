//! The folder that `--report` names: `verdict.json` is written here, and the pages by the judge.

use super::{Finish, Run};
use crate::console::{End, Problem, files, provenance};
use serde_json::{Value, json};
use std::path::Path;

/// What the judge writes there: the report of `hence-sim check`.
pub const CHECK: &str = "check.json";

/// Makes the folder. What cannot be written is found out before anything is asked of the targets.
pub(crate) fn begin(folder: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(folder).map_err(|error| Problem::of_file(folder, &error))?;
    // What an earlier run left would be taken for this one's.
    _ = std::fs::remove_file(folder.join(CHECK));
    files::Output::create(&folder.join("verdict.json")).map(drop)
}

/// The verdict on the whole run, for programs. `docs/torture.md` describes it.
pub(crate) fn verdict(run: &Run, finish: &Finish, end: End, check: Option<&Value>) -> Value {
    let name = match end {
        End::Clean => "fine",
        End::Violation => "violation",
        End::Nothing => "no_verdict",
    };
    let target = |(at, target): (usize, &crate::http::Target)| json!({ "address": target.address, "requests": run.tally.named(at) });
    let targets: Vec<Value> = run.targets.iter().enumerate().map(target).collect();
    let faults: Vec<Value> = finish.faults.iter().map(super::faults::Fault::json).collect();
    let program = provenance::program();
    json!({ "kind": "torture", "verdict": name, "exit_code": end as u8, "version": program.version,
        "commit": program.commit, "command": provenance::command_line(), "seconds": finish.seconds,
        "requests": finish.requests, "ended_early": run.recorder.why(), "settled": finish.closing.is_settled(),
        "watched": finish.watched.json(), "targets": targets, "faults": faults, "check": check })
}

/// Writes the verdict into the folder.
pub(crate) fn write(folder: &Path, verdict: &Value) -> Result<(), Problem> {
    files::write(&folder.join("verdict.json"), format!("{verdict:#}\n").as_bytes())
}
