//! The pages of `torture --report DIR`: the run over time, and what clients saw.

use super::{Done, End, Problem, files, provenance};
use crate::observe::{Head, Load, load_page};
use hence_blackbox::torture::{CHECK, Recorded};
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The page of what clients saw.
pub(super) const CLIENTS: &str = "clients.html";

/// Where the judge puts its own report.
pub(super) fn check_file(folder: &Path) -> PathBuf {
    folder.join(CHECK)
}

/// Writes the page of the run over time.
pub(super) fn write(recorded: &Recorded, folder: &Path, done: &Done) -> Result<(), Problem> {
    let history = File::open(&recorded.history).map_err(|error| Problem::of_file(&recorded.history, &error))?;
    let load = Load::read(BufReader::with_capacity(1 << 18, history));
    let load = load.map_err(|error| Problem::of_file(&recorded.history, &error))?;
    let check = std::fs::read(check_file(folder)).ok();
    let check: Value = check.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let is_fine = matches!(done, Ok(End::Clean)) && recorded.is_settled;
    let mut verdict = vec![match (done, check["weakest_broken"].as_str()) {
        (Ok(End::Clean), _) => "Nothing wrong was seen in what clients saw.".to_owned(),
        (Ok(End::Violation), Some(level)) => format!("A promise is broken: the weakest broken level is {level}."),
        (Ok(End::Violation), None) => "A promise is broken.".into(),
        (Ok(End::Nothing), _) => "There is no verdict on what clients saw.".into(),
        (Err(Problem { text, .. }), _) => format!("There is no verdict on what clients saw: {text}."),
    }];
    if !recorded.is_settled {
        verdict.push("In the end the replicas did not all answer alike.".into());
    }
    let (steps, seconds) = (&load.steps, load.end_ns as f64 / 1e9);
    let answered: u64 = steps.iter().map(|step| step.answered).sum();
    let refused: u64 = steps.iter().map(|step| step.refused).sum();
    let unknown: u64 = steps.iter().map(|step| step.unknown).sum();
    verdict.push(format!(
        "{answered} requests answered, {refused} refused, {unknown} without an answer, in {seconds:.1} s."
    ));
    let more = folder.join(CLIENTS).exists().then(|| CLIENTS.to_owned());
    let title = format!("torture: {}", recorded.history.display());
    let head = Head { title, is_fine, verdict, more, program: provenance::FULL.to_owned() };
    files::write(&folder.join("index.html"), load_page(&load, &head).as_bytes())
}
