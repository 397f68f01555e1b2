//! dbcop's `.hist`: sessions separated by a line of dashes, transactions like `[x:=1 y==2]`. Only written.
//!
//! Initial values and lineage are put as in Plume text.

use crate::format::error::WriteError;
use crate::format::plume::Sessions;
use crate::history::{Action, History, NONE};
use std::io::Write;

/// Writes a history.
///
/// # Errors
///
/// When the history has deletes, does not fit together, or the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    let sessions = Sessions::of(history)?;
    for key in 0..history.keys.len() {
        writeln!(output, "// k{key} is {:?}", history.keys.text(key as u32))?;
    }
    // Versions are unique in the whole history: initial ones first, then the values, then the lineage.
    let keys = history.keys.len();
    let lineage = keys + 1 + history.values.len();
    let initial: Vec<String> = (0..keys).map(|key| format!("k{key}:={}", key + 1)).collect();
    writeln!(output, "[marker:={} {}]", keys + 1, initial.join(" "))?;
    for steps in &sessions.sessions {
        writeln!(output, "---\n[marker=={}]", keys + 1)?;
        for step in steps {
            let at = step.node as usize;
            let sign = if history.action[at] == Action::Put { ":=" } else { "==" };
            let key = history.key[at] as usize;
            let value = if history.value[at] == NONE { key + 1 } else { keys + 2 + history.value[at] as usize };
            let takes = step.takes.iter().map(|edge| format!("lineage{edge}=={}", lineage + 1 + edge));
            let gives = step.gives.iter().map(|edge| format!("lineage{edge}:={}", lineage + 1 + edge));
            let events: Vec<String> = takes.chain([format!("k{key}{sign}{value}")]).chain(gives).collect();
            writeln!(output, "[{}]", events.join(" "))?;
        }
    }
    Ok(())
}
