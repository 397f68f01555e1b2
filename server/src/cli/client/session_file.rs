//! A session between two commands: a file of tokens, a line each.
//!
//! Several commands may use it at a time. Each reads it at its start. At its end it takes a lock beside the file, and
//! replaces the tokens that it had read by those that it has then. So what another command added in between stays.
//! What is no regular file, such as `/dev/null`, is read once and written straight into, without a lock.

use super::named_file::{NamedFile, beside};
use crate::cli::CommandFailure;
use hence_client::{Client, Session};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A larger file is no session.
const BYTES_MAX: u64 = 1 << 20;

/// The session of a command, and where it is kept, if anywhere.
pub(super) struct KeptSession {
    pub(super) session: Arc<Session>,
    file: Option<PathBuf>,
    /// The tokens that it began with.
    first: BTreeSet<String>,
    /// Opened before anything is asked: a folder that takes no file is noticed in time.
    lock: Option<File>,
}

impl KeptSession {
    /// Reads the file, if one is named and there is one.
    ///
    /// # Errors
    /// Where the file cannot be read or is none, or nothing can be written beside it.
    pub(super) fn begin(client: &Client, file: Option<PathBuf>) -> Result<Self, CommandFailure> {
        let Some(path) = file else {
            return Ok(Self { session: Arc::new(client.session()), file: None, first: BTreeSet::new(), lock: None });
        };
        let text = read(&path)?;
        let session =
            client.resume(&text).map_err(|_| CommandFailure::usage(format!("{} is no session", path.display())))?;
        let session = Arc::new(session);
        // A file that is no session gets no lock beside it.
        let lock = match found(&path)? {
            NamedFile::Regular { path: file, .. } => {
                let lock = File::options().create(true).append(true).open(beside(&file, "lock"));
                Some(lock.map_err(|error| failed(&path, "cannot be locked", &error))?)
            }
            NamedFile::Other(_) => None,
        };
        Ok(Self { session, file: Some(path), first: tokens(&text), lock })
    }

    /// Writes what the session has seen.
    ///
    /// # Errors
    /// Where the file cannot be written. It is as it was then.
    pub(super) fn save(&self) -> Result<(), CommandFailure> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut all = tokens(&self.session.token());
        if let Some(lock) = &self.lock {
            lock.lock().map_err(|error| failed(path, "cannot be locked", &error))?;
            let others = tokens(&read(path)?);
            all.extend(others.difference(&self.first).cloned());
        }
        let text: String = all.iter().map(|token| format!("{token}\n")).collect();
        let written = found(path)?.write().and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.finish()
        });
        written.map_err(|error| failed(path, "cannot be written", &error))
        // The lock ends with its file.
    }
}

fn found(path: &Path) -> Result<NamedFile, CommandFailure> {
    NamedFile::find(path).map_err(|error| failed(path, "cannot be written", &error))
}

fn read(path: &Path) -> Result<String, CommandFailure> {
    let no_session = || CommandFailure::usage(format!("{} is no session", path.display()));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > BYTES_MAX => Err(no_session()),
        Ok(_) => String::from_utf8(bytes).map_err(|_| no_session()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(path, "cannot be read", &error)),
    }
}

fn tokens(text: &str) -> BTreeSet<String> {
    text.split([',', '\n']).map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

fn failed(path: &Path, what: &str, error: &io::Error) -> CommandFailure {
    CommandFailure::running(format!("the session {} {what}: {error}", path.display()))
}
