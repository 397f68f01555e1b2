//! One replica with an environment of the test's own, where a [`crate::cluster::Cluster`] would be too regular.

use crate::cluster::HENCE;
use hence_tests::client;
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `hence serve`. Dropping it ends it.
pub(crate) struct Lone {
    child: Child,
    /// Where a client reaches it.
    at: String,
    log: PathBuf,
}

impl Lone {
    /// Starts a replica that clients reach at `at`, with exactly these variables.
    pub(crate) fn start(name: &str, at: &str, environment: &[(&str, &str)]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
        std::fs::create_dir_all(&folder).expect("the target directory is ours");
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("the log directory was made");
        let mut command = Command::new(HENCE);
        command.arg("serve").env_clear().envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("an open file")).stderr(file);
        Self { child: command.spawn().expect("the binary was built"), at: at.to_owned(), log }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where a client reaches it.
    pub(crate) fn at(&self) -> &str {
        &self.at
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is ours")
    }

    /// The lines of the log that contain all these words.
    pub(crate) fn lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
        lines.map(str::to_owned).collect()
    }

    /// Waits for a line of the log with all these words. Says how long it took.
    pub(crate) fn await_line(&self, words: &[&str], limit: Duration) -> Duration {
        self.poll(limit, &format!("a line with {words:?}"), || {
            if self.lines(words).is_empty() { Err("there is none".into()) } else { Ok(()) }
        })
    }

    /// Waits until `GET /ready` is answered with this status. Says how long it took.
    pub(crate) fn await_ready(&self, status: u16, limit: Duration) -> Duration {
        self.poll(limit, &format!("/ready to be {status}"), || {
            let answer = self.ready().ok_or("no answer")?;
            if answer.status == status { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
        })
    }

    /// `GET /ready`, if it is answered.
    pub(crate) fn ready(&self) -> Option<client::Response> {
        client::try_request(&self.at, "GET", "/ready", &[], None, Duration::from_secs(2)).ok()
    }

    /// What `GET /view` lists.
    pub(crate) fn view(&self) -> Vec<String> {
        let answer = client::try_request(&self.at, "GET", "/view", &[], None, Duration::from_secs(2));
        let view = answer.ok().and_then(|answer| answer.json()["view"].as_array().cloned()).unwrap_or_default();
        view.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Waits until `GET /view` lists exactly these.
    pub(crate) fn await_view(&self, wanted: &[&str], limit: Duration) -> Duration {
        self.poll(limit, &format!("a view of {wanted:?}"), || {
            let view = self.view();
            if view == wanted { Ok(()) } else { Err(format!("{view:?}")) }
        })
    }

    /// Waits until it has links with so many peers.
    pub(crate) fn await_links(&self, links: u64, limit: Duration) -> Duration {
        self.poll(limit, &format!("{links} links"), || match self.metric("hence_links{state=\"established\"}") {
            Some(found) if found == links => Ok(()),
            found => Err(format!("{found:?}")),
        })
    }

    /// A number from `GET /metrics`, by the name and labels of its line.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let answer = client::try_request(&self.at, "GET", "/metrics", &[], None, Duration::from_secs(2)).ok()?;
        answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).and_then(|n| n.parse().ok())
    }

    /// How many threads the process has.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs").count()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(start.elapsed() < limit, "it has not ended after {limit:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Is the process still there?
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// Asks again and again until the answer is `Ok`; panics at the limit with what it was last.
    pub(crate) fn poll(&self, limit: Duration, what: &str, mut ask: impl FnMut() -> Result<(), String>) -> Duration {
        let start = Instant::now();
        loop {
            let asked = start.elapsed();
            match ask() {
                Ok(()) => return asked,
                Err(_) if asked < limit => std::thread::sleep(Duration::from_millis(10)),
                Err(last) => panic!("{}: waited {limit:?} for {what}: {last}\n{}", self.at, self.log()),
            }
        }
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
