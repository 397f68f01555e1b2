//! Files that are read again while the replica runs: certificates, secrets, access tokens.
//!
//! A thread of its own looks at them once a second, and reads those that changed. After SIGHUP it reads all. What cannot
//! be used changes nothing and is told, on the second attempt only: two files that belong together may change one after
//! the other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime};
use tracing::{info, warn};

/// The files are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Times that the process was told to read everything again.
static HANGUPS: AtomicU64 = AtomicU64::new(0);
/// Threads that look at files.
static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// What tells that a file changed.
type Stamp = Option<(SystemTime, u64)>;

/// Files that are read together.
pub(crate) struct Reading {
    what: &'static str,
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    read: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// The last attempt came to nothing, and that was not told.
    fails: bool,
}

impl Reading {
    /// These files, which were read a moment ago. `read` reads them again, and says what they should be if they are of
    /// no use.
    pub(crate) fn new(
        what: &'static str,
        paths: &[&Path],
        read: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> Self {
        let stamps = paths.iter().map(|path| stamp(path)).collect();
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Self { what, paths, stamps, read: Box::new(read), fails: false }
    }

    fn look(&mut self, all: bool) {
        let stamps: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        if stamps == self.stamps && !all && !self.fails {
            return;
        }
        self.stamps = stamps;
        match (self.read)() {
            Ok(()) => {
                self.fails = false;
                info!("the file of {} was read again", self.what);
            }
            Err(_) if !self.fails => self.fails = true,
            Err(allowed) => {
                self.fails = false;
                warn!("the file of {} changed and is not used: it must be {allowed}", self.what);
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Files are looked at for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    _stop: mpsc::Sender<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Relaxed);
    }
}

/// Looks at these files from now on. Where there are none, nothing runs.
///
/// # Errors
/// Where the system gives no thread.
pub(crate) fn watch(mut readings: Vec<Reading>) -> io::Result<Option<Watch>> {
    if readings.is_empty() {
        return Ok(None);
    }
    let (stop, stopped) = mpsc::channel::<()>();
    let mut hangups = HANGUPS.load(Relaxed);
    thread::Builder::new().name("files".into()).spawn(move || {
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let now = HANGUPS.load(Relaxed);
            let all = std::mem::replace(&mut hangups, now) != now;
            readings.iter_mut().for_each(|reading| reading.look(all));
        }
    })?;
    WATCHES.fetch_add(1, Relaxed);
    Ok(Some(Watch { _stop: stop }))
}

/// Has everything read again. Says whether there is anything.
pub(crate) fn read_again() -> bool {
    HANGUPS.fetch_add(1, Relaxed);
    WATCHES.load(Relaxed) > 0
}
