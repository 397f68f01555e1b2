//! JSON lines of a command that prints rows: with `--json` they have standard output, and the table goes to standard
//! error. Each row is written when it is found, so that whatever ends the command takes none of them away.

use super::{output, provenance};
use serde_json::{Value, json};

/// Whether JSON lines are asked for. `docs/formats.md` describes them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines(bool);

impl Lines {
    /// Leaves standard output to the lines where they are asked for.
    #[must_use]
    pub fn asked(is_asked: bool) -> Self {
        if is_asked {
            output::go_aside();
        }
        Self(is_asked)
    }

    /// Says which program this is and how it was called: for people, and as the first line.
    pub fn introduce(self) {
        provenance::introduce();
        let program = provenance::program();
        self.add(|| {
            json!({ "kind": "run", "version": program.version, "commit": program.commit,
                "command": provenance::command_line() })
        });
    }

    /// A line, where lines are asked for.
    pub fn add(self, line: impl FnOnce() -> Value) {
        if self.0 {
            output::text(&format!("{}\n", line()));
        }
    }
}
