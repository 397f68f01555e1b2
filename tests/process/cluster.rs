//! Real `hence serve` processes, each at an address of its own, and what they must agree on.

use crate::machines::Machines;
use hence_tests::replicas::Replicas;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The binary under test.
pub(crate) const HENCE: &str = env!("CARGO_BIN_EXE_hence");
const PORT: u16 = 8090;

/// Replicas 0, 1, 2, ... at 127.0.0.2, .3, .4, ...; started and stopped one by one. Dropping it ends them all.
pub(crate) struct Cluster {
    members: usize,
    port: u16,
    settings: Vec<(Option<usize>, String, String)>,
    children: Vec<Option<Child>>,
    logs: PathBuf,
    machines: Option<Arc<Machines>>,
}

impl Cluster {
    /// A cluster whose `VIEW` names this many members, none of them running yet.
    pub(crate) fn new(name: &str, members: usize) -> Self {
        let folder = if std::env::var_os(crate::driver::AGAIN).is_some() { "process-again" } else { "process" };
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder).join(name);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs).expect("the target directory is ours");
        Self { members, port: PORT, settings: Vec::new(), children: Vec::new(), logs, machines: None }
    }

    /// Every replica gets this environment variable.
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((None, name.to_owned(), value.to_owned()));
        self
    }

    /// One replica gets this environment variable.
    pub(crate) fn setting_of(mut self, at: usize, name: &str, value: &str) -> Self {
        self.settings.push((Some(at), name.to_owned(), value.to_owned()));
        self
    }

    /// From its next start on, one replica gets this environment variable.
    pub(crate) fn set_of(&mut self, at: usize, name: &str, value: &str) {
        self.settings.retain(|(of, known, _)| *of != Some(at) || known != name);
        self.settings.push((Some(at), name.to_owned(), value.to_owned()));
    }

    /// Another port, for several clusters side by side.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Every replica runs on a machine of its own.
    pub(crate) fn on(mut self, machines: Arc<Machines>) -> Self {
        self.machines = Some(machines);
        self
    }

    /// A cluster that runs and has settled.
    pub(crate) fn running(name: &str, members: usize) -> Self {
        Self::new(name, members).run()
    }

    /// Starts every member and waits until they agree and all are linked.
    pub(crate) fn run(mut self) -> Self {
        (0..self.members).for_each(|at| self.start(at));
        let all: Vec<usize> = (0..self.members).collect();
        self.await_settled(&all, Duration::from_secs(10));
        // What is not linked yet is not pushed to.
        self.await_settled_links(&all, Duration::from_secs(5));
        self
    }

    /// The IP address of a replica.
    pub(crate) fn ip(&self, at: usize) -> String {
        self.machines.as_ref().map_or_else(|| format!("127.0.0.{}", at + 2), |machines| machines.ip(at))
    }

    /// Starts a replica with the members and itself in its `VIEW`.
    pub(crate) fn start(&mut self, at: usize) {
        let view: Vec<String> = (0..self.members.max(at + 1)).map(|at| self.address(at)).collect();
        self.start_with_view(at, &view.join(","));
    }

    /// Starts a replica with this `VIEW`.
    pub(crate) fn start_with_view(&mut self, at: usize, view: &str) {
        if self.children.len() <= at {
            self.children.resize_with(at + 1, || None);
        }
        assert!(self.children[at].is_none(), "replica {at} runs already");
        let log = File::options().create(true).append(true).open(self.logs.join(format!("{at}.log")));
        let log = log.expect("the log directory was made");
        let on_a_machine = |machines: &Arc<Machines>| machines.command(at, HENCE);
        let mut command = self.machines.as_ref().map_or_else(|| Command::new(HENCE), on_a_machine);
        command.arg("serve").env_clear();
        command.env("SOCKET_ADDRESS", self.address(at)).env("VIEW", view);
        let settings = self.settings.iter().filter(|(of, ..)| of.is_none_or(|of| of == at));
        command.envs(settings.map(|(_, name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("an open file")).stderr(log);
        self.children[at] = Some(command.spawn().expect("the binary was built"));
    }

    fn child(&mut self, at: usize) -> &mut Child {
        self.children[at].as_mut().expect("the replica runs")
    }

    /// What a replica has logged so far.
    pub(crate) fn log(&self, at: usize) -> String {
        std::fs::read_to_string(self.logs.join(format!("{at}.log"))).expect("the log directory was made")
    }

    /// The process id of a replica.
    pub(crate) fn id(&mut self, at: usize) -> u32 {
        self.child(at).id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.children[at].take().expect("the replica runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self, at: usize) -> ExitStatus {
        self.signal(at, "TERM");
        self.ended(at, Duration::from_secs(5))
    }

    /// Waits until a replica has ended by itself.
    pub(crate) fn ended(&mut self, at: usize, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child(at).try_wait().expect("it is our child") {
                self.children[at] = None;
                return status;
            }
            assert!(start.elapsed() < limit, "replica {at} has not ended after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&mut self, at: usize, name: &str) {
        signal(self.id(at), name);
    }

    /// Is the process still there?
    pub(crate) fn is_running(&mut self, at: usize) -> bool {
        self.child(at).try_wait().expect("it is our child").is_none()
    }
}

impl Replicas for Cluster {
    fn address(&self, at: usize) -> String {
        format!("{}:{}", self.ip(at), self.port)
    }

    fn logs(&self) -> String {
        self.logs.display().to_string()
    }
}

/// Sends a signal by name to a process of ours.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {id}");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
