//! A session between two commands: a file of tokens, a line each.
//!
//! Several commands may use it at a time. Each reads it at its start. At its end it takes a lock beside the file, and
//! replaces the tokens that it had read by those that it has then. So what another command added in between stays.

use crate::cli::CommandFailure;
use hence_client::{Client, Session};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
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
        let lock = File::options().create(true).append(true).open(beside(&path, "lock"));
        let lock = lock.map_err(|error| failed(&path, "cannot be locked", &error))?;
        let text = read(&path)?;
        let session =
            client.resume(&text).map_err(|_| CommandFailure::usage(format!("{} is no session", path.display())))?;
        let session = Arc::new(session);
        Ok(Self { session, file: Some(path), first: tokens(&text), lock: Some(lock) })
    }

    /// Writes what the session has seen.
    ///
    /// # Errors
    /// Where the file cannot be written. It is as it was then.
    pub(super) fn save(&self) -> Result<(), CommandFailure> {
        let (Some(path), Some(lock)) = (&self.file, &self.lock) else { return Ok(()) };
        lock.lock().map_err(|error| failed(path, "cannot be locked", &error))?;
        let others = tokens(&read(path)?);
        let mut all: BTreeSet<String> = others.difference(&self.first).cloned().collect();
        all.extend(tokens(&self.session.token()));
        let text: String = all.iter().map(|token| format!("{token}\n")).collect();
        let new = beside(path, "new");
        let written = File::create(&new).and_then(|mut file| file.write_all(text.as_bytes()));
        let replaced = written.and_then(|()| fs::rename(&new, path));
        replaced.map_err(|error| failed(path, "cannot be written", &error))
        // The lock ends with its file.
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn read(path: &Path) -> Result<String, CommandFailure> {
    match fs::metadata(path) {
        Ok(found) if found.len() > BYTES_MAX => {
            return Err(CommandFailure::usage(format!("{} is no session", path.display())));
        }
        Ok(_) | Err(_) => {}
    }
    match fs::read(path) {
        Ok(bytes) => {
            String::from_utf8(bytes).map_err(|_| CommandFailure::usage(format!("{} is no session", path.display())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed(path, "cannot be read", &error)),
    }
}

fn tokens(text: &str) -> BTreeSet<String> {
    text.split([',', '\n']).map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> CommandFailure {
    CommandFailure::running(format!("the session {} {what}: {error}", path.display()))
}
