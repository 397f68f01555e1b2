//! The note of an import: which lines are written.
//!
//! Its first line says what is imported, by the source's first line. Each answer adds a line. So a process that is
//! killed leaves out at most the batches that were on their way then.

use super::source::Lines;
use crate::cli::CommandFailure;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The first line of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Origin {
    /// Of the source's first line.
    first_line_sha256: String,
}

/// A line for lines that are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    first: u64,
    count: u64,
}

/// A note that is added to.
pub(super) struct Note {
    path: PathBuf,
    file: File,
    origin: Option<Origin>,
    lines: Vec<Lines>,
}

impl Note {
    /// Reads a note, or begins one.
    ///
    /// # Errors
    /// Where the file is no note, or cannot be read or written.
    pub(super) fn open(path: &Path) -> Result<Self, CommandFailure> {
        let no_note = || CommandFailure::usage(format!("{} is no note of an import", path.display()));
        // What is no regular file may be read without end, or not at all.
        let text =
            match fs::metadata(path).and_then(|found| found.is_file().then(|| fs::read_to_string(path)).transpose()) {
                Ok(Some(text)) => text,
                Ok(None) => return Err(no_note()),
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(error) => return Err(CommandFailure::usage(format!("{}: {error}", path.display()))),
            };
        // A line that has no end was not written whole.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let no_note = |_| no_note();
        let mut lines = text[..whole].lines();
        let origin = lines.next().map(serde_json::from_str).transpose().map_err(no_note)?;
        let lines = lines.map(|line| serde_json::from_str(line).map(|Written { first, count }| Lines { first, count }));
        let mut lines = lines.collect::<Result<Vec<_>, _>>().map_err(no_note)?;
        lines.retain(|lines| lines.count > 0);
        lines.sort_unstable();
        let file = File::options().create(true).append(true).open(path);
        let file = file.and_then(|file| file.set_len(whole as u64).map(|()| file));
        let file = file.map_err(|error| failed(path, &error))?;
        Ok(Self { path: path.to_owned(), file, origin, lines })
    }

    /// The lines that are written.
    pub(super) fn lines(&self) -> Vec<Lines> {
        self.lines.clone()
    }

    /// Says what is imported.
    ///
    /// # Errors
    /// Where the note is of another source, or cannot be written.
    pub(super) fn begin(&mut self, first_line: &str) -> Result<(), CommandFailure> {
        let digest = Sha256::digest(first_line.as_bytes());
        let origin = Origin { first_line_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect() };
        match &self.origin {
            Some(own) if *own == origin => Ok(()),
            Some(_) => Err(CommandFailure::usage(format!("{} is the note of another import", self.path.display()))),
            None => self.write(&origin),
        }
    }

    /// These lines are written, too.
    ///
    /// # Errors
    /// Where the note cannot be written.
    pub(super) fn add(&mut self, lines: Lines) -> Result<(), CommandFailure> {
        self.write(&Written { first: lines.first, count: lines.count })
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), CommandFailure> {
        let mut text = serde_json::to_vec(line).map_err(CommandFailure::running)?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|error| failed(&self.path, &error))
    }
}

fn failed(path: &Path, error: &std::io::Error) -> CommandFailure {
    CommandFailure::running(format!("the note {} cannot be written: {error}", path.display()))
}
