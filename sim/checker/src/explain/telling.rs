//! What of a counterexample goes on a screen, and its report for programs. The whole is for files, or on request.

use crate::format::json;
use crate::history::text::{cut, short};
use crate::history::words::summary;
use crate::history::{History, Operation};
use crate::report::{Counterexample, Report};
use crate::terms::{Level, Verdict};
use serde_json::{Value, json};

/// Operations that are told without being asked for.
const OPERATIONS_MAX: usize = 16;
/// Sessions that a picture has room for beside each other.
const LANES_MAX: usize = 6;
/// Sessions and operations of the largest picture that is made of text.
const LANES_DRAWN: usize = 40;
const ROWS_DRAWN: usize = 1_000;
/// Lines of a counterexample, its picture included: a screen is about sixty, and the verdicts stand above.
const LINES_MAX: usize = 44;

impl Counterexample {
    /// The story and the picture, or as much of them as a screen shows.
    #[must_use]
    pub fn told(&self, full: bool) -> String {
        if full {
            let has_room = self.lanes() <= LANES_DRAWN && self.history.len() <= ROWS_DRAWN;
            let picture = if has_room { self.diagram() } else { "--svg FILE draws it.\n".into() };
            return format!("{}\n{picture}", self.prose());
        }
        let prose = self.prose_of(OPERATIONS_MAX);
        let is_whole = self.history.len() <= OPERATIONS_MAX;
        let picture = (is_whole && self.lanes() <= LANES_MAX).then(|| self.diagram());
        let mut lines: Vec<String> = prose.lines().map(cut).collect();
        let drawn: Vec<String> = picture.iter().flat_map(|picture| picture.lines()).map(cut).collect();
        let has_room = lines.len() + drawn.len() < LINES_MAX;
        if picture.is_some() && has_room {
            lines.push(String::new());
            lines.extend(drawn);
            return lines.join("\n") + "\n";
        }
        lines.truncate(LINES_MAX);
        lines
            .push("More than a screen: --full prints all, --svg FILE draws it, --counterexample FILE keeps it.".into());
        lines.join("\n") + "\n"
    }

    /// For programs: as many operations as a reader takes in, or all.
    #[must_use]
    pub fn value(&self, full: bool) -> Value {
        let most = if full { usize::MAX } else { OPERATIONS_MAX };
        let written = |event: Vec<Operation>| {
            let mut line = Vec::new();
            json::write_event(&event, &mut line).ok()?;
            let mut value: Value = serde_json::from_slice(&line).ok()?;
            if !full {
                shorten(&mut value);
            }
            Some(value)
        };
        let operations: Vec<Value> = self.history().events().take(most).filter_map(written).collect();
        json!({
            "kind": self.kind(), "level": self.level().name(), "size": self.history().len(), "minimal": self.is_minimal(),
            "given_up": self.given_up(), "left_out": self.history().heads().count() - operations.len(),
            "operations": operations,
            "story": if full { self.prose() } else { self.prose_of(OPERATIONS_MAX) },
        })
    }
}

impl Report {
    /// Two final reads that differ, in words.
    #[must_use]
    pub fn disagreement(&self, history: &History) -> Option<String> {
        let told = |node: u32| {
            let (at, what) = (node as usize, summary(history, node as usize));
            format!("{what} at {} [id {}]", short(history.replicas.text(history.replica[at])), history.id(at))
        };
        let (one, other) = self.diverged?;
        let why = "Both have every answered write of their key in their past, and differ:";
        Some(format!("{why}\n  {}\n  {}", told(one), told(other)))
    }

    /// For programs: everything that the command says.
    #[must_use]
    pub fn value(&self, history: &History, found: Option<&Counterexample>, full: bool) -> Value {
        let verdict = |verdict: Verdict| Value::from(verdict.to_string());
        let levels = Level::ALL.into_iter().map(|level| (level.name().to_owned(), verdict(self.verdict(level))));
        let warnings: Vec<&String> = self.warnings.iter().take(if full { usize::MAX } else { 20 }).collect();
        json!({
            "operations": self.operations, "notes": history.notes, "warnings": warnings, "certified": self.certified,
            "levels": levels.collect::<serde_json::Map<_, _>>(),
            "final_reads_agree": self.convergence.map(verdict),
            "weakest_broken": self.weakest_broken().map(Level::name),
            "disagreement": self.disagreement(history),
            "counterexample": found.map(|found| found.value(full)),
        })
    }
}

/// Long texts and long lists within a value give way to their beginnings.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = short(text).into_owned(),
        Value::Array(all) => {
            all.truncate(OPERATIONS_MAX);
            all.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
