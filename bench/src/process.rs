//! Processes that the bench starts, what they cost by `/proc`, and their sure end.
//!
//! Each runs under `taskset` on the cores of its regime, and under `setpriv --pdeathsig`, so that it ends even if the
//! bench itself is killed. Both replace themselves by the program, so the process id is the program's own.

use std::error::Error;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, in words.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const PREFIX: &str = "hence-bench-";

/// Files that a process may have open, where the system allows as many.
const FILES_MAX: u64 = 16_384;

/// Removes what runs left behind that were killed: folders named after processes that are no more.
fn remove_orphans(parent: &Path) -> Outcome<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A folder of the run's own, gone when the run ends.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// In memory where the system offers that: etcd writes its log before it answers, and we compare memory.
    pub(crate) fn new() -> Outcome<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        remove_orphans(&parent)?;
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is small, and named after a process that is gone.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A command that runs on these cores only and ends with the bench.
pub(crate) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    let files = rlimit::Resource::NOFILE.get_hard().unwrap_or(FILES_MAX).min(FILES_MAX);
    command.args(["-c", cores, "setpriv", "--pdeathsig", "KILL", "prlimit", &format!("--nofile={files}:{files}")]);
    command.arg(program);
    command.stdin(Stdio::null());
    command
}

/// Where this program is, if it is installed.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// An address at which no process listens just now.
pub(crate) fn free_address(host: &str) -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((host, 0)).map_err(|error| format!("no free port at {host}: {error}"))?.local_addr()?)
}

/// A server under measurement. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command whose output goes to a file of this name.
    pub(crate) fn start(mut command: Command, scratch: &Scratch, name: &str) -> Outcome<Self> {
        let log = scratch.path(&format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of all its threads so far. Nanoseconds by the scheduler, not ticks; a thread that ended is not in it.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Does one of its threads run or wait for a core? A starved process uses no CPU and is still not at rest.
    pub(crate) fn is_busy(&self) -> Outcome<bool> {
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(task?.path().join("stat"))?;
            if text.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" R")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then both fail, and nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks until the answer is yes.
    ///
    /// # Errors
    /// After `limit`, or when the process ended; with the last lines of its output.
    pub(crate) fn wait_until(&mut self, what: &str, limit: Duration, mut ask: impl FnMut() -> bool) -> Outcome<()> {
        let start = Instant::now();
        while !ask() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{what}: the process ended with {status}\n{}", self.last_words()).into());
            }
            if start.elapsed() > limit {
                return Err(format!("{what}: not within {limit:?}\n{}", self.last_words()).into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// CPU time of all children of the bench that have ended, in ticks of 10 ms: that of load generators.
pub(crate) fn cpu_of_ended_children() -> Outcome<Duration> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The second field is the name in parentheses and may hold anything; cutime and cstime are 16 and 17.
    let rest = text.rsplit_once(')').ok_or("/proc/self/stat has no name")?.1;
    let field = |at: usize| rest.split_whitespace().nth(at - 3).unwrap_or_default().parse::<u64>();
    Ok(Duration::from_millis(10 * (field(16)? + field(17)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes() {
        let parent = std::env::temp_dir().join(format!("orphans-of-{}", std::process::id()));
        let folder = |id: u32| parent.join(format!("{PREFIX}{id}"));
        let (living, dead) = (std::process::id(), u32::MAX);
        for id in [living, dead] {
            fs::create_dir_all(folder(id)).unwrap();
        }
        remove_orphans(&parent).unwrap();
        assert_eq!([living, dead].map(|id| folder(id).exists()), [true, false]);
        fs::remove_dir_all(parent).unwrap();
    }

    /// It dies with its owner, it is where it was put, and its CPU is counted.
    #[test]
    fn a_process_is_pinned_measured_and_killed() {
        let scratch = Scratch(std::env::temp_dir().join(format!("{PREFIX}test-{}", std::process::id())));
        fs::create_dir_all(&scratch.0).unwrap();
        let mut command = pinned("0", Path::new("sh"));
        command.args(["-c", "while :; do :; done"]);
        let process = Process::start(command, &scratch, "loop").unwrap();
        let id = process.id();
        let used = |process: &Process| process.cpu().unwrap() > Duration::from_millis(20);
        let allowed = || fs::read_to_string(format!("/proc/{id}/status")).unwrap().contains("Cpus_allowed_list:\t0\n");
        let start = Instant::now();
        while !used(&process) || !allowed() {
            assert!(start.elapsed() < Duration::from_secs(30), "it neither runs nor is pinned");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(process.is_busy().unwrap());
        assert!(process.resident().unwrap() > 0);
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_process_that_ends_tells_its_last_words() {
        let scratch = Scratch(std::env::temp_dir().join(format!("{PREFIX}words-{}", std::process::id())));
        fs::create_dir_all(&scratch.0).unwrap();
        let mut command = pinned("0", Path::new("sh"));
        command.args(["-c", "echo farewell; exit 3"]);
        let mut process = Process::start(command, &scratch, "short").unwrap();
        let error = process.wait_until("the end", Duration::from_secs(30), || false).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("farewell"), "{error}");
    }
}
