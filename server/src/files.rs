//! Files that are read again while the replica runs: certificates, secrets, access tokens.
//!
//! A thread of its own looks at them once a second. It reads what changed and stays as it is from one look to the next, since a
//! file may be written in several pieces. After SIGHUP it reads all at once. What cannot be used changes nothing and is told, on
//! the second attempt only: two files that belong together may change one after the other.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
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

/// Bytes of a file; more are not read.
const BYTES_MAX: u64 = 1 << 20;

/// What tells that a file changed: its time, its length, and what else the system knows of it.
type Stamp = Option<(SystemTime, u64, Place)>;

/// Which file it is, and when anything of it changed last, its permissions included.
type Place = (u64, i64, i64);

/// What a file of settings holds.
///
/// # Errors
/// What the file must be, where it cannot be read or is too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("a file that can be read ({})", error.kind())),
        Ok(_) if bytes.len() as u64 > BYTES_MAX => Err(format!("a file of at most {} KiB", BYTES_MAX >> 10)),
        Ok(_) => Ok(bytes),
    }
}

/// Files that are read together.
pub(crate) struct Reading {
    what: &'static str,
    paths: Vec<PathBuf>,
    stamps: Vec<Stamp>,
    read: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// The files changed since they were read.
    changed: bool,
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
        Self { what, paths, stamps, read: Box::new(read), changed: false, fails: false }
    }

    fn look(&mut self, all: bool) {
        let stamps: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        let moves = stamps != self.stamps;
        self.stamps = stamps;
        self.changed |= moves;
        if !all && (moves || !self.changed && !self.fails) {
            return;
        }
        self.changed = false;
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
    Some((metadata.modified().ok()?, metadata.len(), place(&metadata)))
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> Place {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn place(_: &Metadata) -> Place {
    Place::default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A file of this test, and what a reading of it did: the texts that it took, `bad` refused.
    struct Rig {
        path: PathBuf,
        taken: Arc<Mutex<Vec<String>>>,
        reading: Reading,
    }

    fn rig(name: &str) -> Rig {
        let path = std::env::temp_dir().join(format!("hence-files-{name}-{}", std::process::id()));
        fs::write(&path, "first").unwrap();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (own, into) = (path.clone(), taken.clone());
        let reading = Reading::new("a test", &[&path], move || {
            let text = String::from_utf8(read(&own)?).unwrap();
            if text == "bad" {
                return Err("good".into());
            }
            into.lock().unwrap().push(text);
            Ok(())
        });
        Rig { path, taken, reading }
    }

    impl Rig {
        /// Looks once; says how many texts were taken so far.
        fn look(&mut self, all: bool) -> usize {
            self.reading.look(all);
            self.taken.lock().unwrap().len()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    #[test]
    fn a_file_is_read_when_it_stays_as_it_is() {
        let mut rig = rig("stays");
        assert_eq!((rig.look(false), rig.look(false)), (0, 0), "nothing changed");
        fs::write(&rig.path, "").unwrap();
        assert_eq!(rig.look(false), 0, "it may be written just now");
        fs::write(&rig.path, "second").unwrap();
        assert_eq!(rig.look(false), 0);
        assert_eq!((rig.look(false), rig.look(false)), (1, 1));
        fs::write(&rig.path, "third").unwrap();
        assert_eq!(rig.look(true), 2, "an operator says that it is whole");
        assert_eq!(*rig.taken.lock().unwrap(), ["second", "third"]);
    }

    #[test]
    fn what_is_of_no_use_is_tried_twice() {
        let mut rig = rig("twice");
        fs::write(&rig.path, "bad").unwrap();
        assert_eq!((rig.look(false), rig.look(false)), (0, 0));
        assert!(rig.reading.fails, "it is tried once more");
        rig.look(false);
        assert!(!rig.reading.fails, "it was told");
        fs::remove_file(&rig.path).unwrap();
        assert_eq!((rig.look(false), rig.look(false), rig.look(false)), (0, 0, 0));
        fs::write(&rig.path, "again").unwrap();
        assert_eq!((rig.look(false), rig.look(false)), (0, 1));
    }

    /// A file of the same length that bears the old time, as `cp --preserve` and `touch` make it.
    #[cfg(unix)]
    #[test]
    fn a_file_in_the_place_of_another_is_seen() {
        let mut rig = rig("place");
        let time = fs::metadata(&rig.path).unwrap().modified().unwrap();
        let beside = rig.path.with_extension("new");
        fs::write(&beside, "other").unwrap();
        File::options().write(true).open(&beside).unwrap().set_modified(time).unwrap();
        fs::rename(&beside, &rig.path).unwrap();
        assert_eq!((rig.look(false), rig.look(false)), (0, 1));
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let rig = rig("end");
        fs::write(&rig.path, vec![b'x'; (1 << 20) + 1]).unwrap();
        assert_eq!(read(&rig.path), Err("a file of at most 1024 KiB".into()));
        let endless = Path::new("/dev/zero");
        assert!(!endless.exists() || read(endless).is_err());
        assert!(read(Path::new("/nowhere")).unwrap_err().starts_with("a file that can be read ("));
    }
}
