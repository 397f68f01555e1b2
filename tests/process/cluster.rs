//! Real `hence serve` processes, each at an address of its own, and what they must agree on.

use crate::client::{self, NoResponse, Response};
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
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
}

impl Cluster {
    /// A cluster whose `VIEW` names this many members, none of them running yet.
    pub(crate) fn new(name: &str, members: usize) -> Self {
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs).expect("the target directory is ours");
        Self { members, port: PORT, settings: Vec::new(), children: Vec::new(), logs }
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

    /// Another port, for several clusters side by side.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A cluster that runs and has settled.
    pub(crate) fn running(name: &str, members: usize) -> Self {
        Self::new(name, members).run()
    }

    /// Starts every member and waits until they agree.
    pub(crate) fn run(mut self) -> Self {
        (0..self.members).for_each(|at| self.start(at));
        self.await_settled(&(0..self.members).collect::<Vec<_>>(), Duration::from_secs(10));
        self
    }

    /// The IP address of a replica.
    pub(crate) fn ip(&self, at: usize) -> String {
        format!("127.0.0.{}", at + 2)
    }

    /// The `IP:PORT` of a replica.
    pub(crate) fn address(&self, at: usize) -> String {
        format!("{}:{}", self.ip(at), self.port)
    }

    /// The addresses of these replicas, as views list them.
    pub(crate) fn addresses(&self, ats: &[usize]) -> Vec<String> {
        ats.iter().map(|&at| self.address(at)).collect()
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
        let mut command = Command::new(HENCE);
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

    /// PUT at a replica; must be answered with `status`.
    pub(crate) fn put(&self, at: usize, key: &str, value: &str, token: Option<&str>, status: u16) -> Response {
        expect(client::put(&self.address(at), key, value, token), status, &format!("PUT {key} at {at}"))
    }

    /// GET at a replica.
    pub(crate) fn get(&self, at: usize, key: &str, token: Option<&str>) -> Response {
        client::get(&self.address(at), key, token)
    }

    /// GET at a replica; must be answered with `status`.
    pub(crate) fn get_expecting(&self, at: usize, key: &str, token: Option<&str>, status: u16) -> Response {
        expect(self.get(at, key, token), status, &format!("GET {key} at {at}"))
    }

    /// What `GET /view` lists.
    pub(crate) fn view(&self, at: usize) -> Vec<String> {
        let response = client::request(&self.address(at), "GET", "/view", &[], None);
        let list = response.json()["view"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().expect("an address").to_owned();
        list.iter().map(text).collect()
    }

    /// What replicas must agree on and bad input must not change: vector, digest of the store, rows of the view.
    pub(crate) fn state(&self, at: usize) -> Value {
        self.try_state(at).unwrap_or_else(|error| panic!("state of {at}: {error:?}"))
    }

    fn try_state(&self, at: usize) -> Result<Value, NoResponse> {
        let patience = Duration::from_secs(2);
        let response = client::try_request(&self.address(at), "GET", "/replica/state", &[], None, patience)?;
        let state = response.json();
        let part = |name: &str| {
            let part = state.get(name).unwrap_or_else(|| panic!("no {name} in {state}"));
            (name.to_owned(), part.clone())
        };
        Ok(Value::Object(["vector", "digest", "view"].map(part).into_iter().collect()))
    }

    /// Waits until these replicas serve, list exactly each other, and have equal vectors, stores and views. Says how
    /// long it took.
    pub(crate) fn await_settled(&self, ats: &[usize], limit: Duration) -> Duration {
        let wanted = self.addresses(ats);
        let time = self.poll(limit, &format!("{ats:?} to settle"), || {
            let mut states = Vec::new();
            for &at in ats {
                let ready = client::try_request(&self.address(at), "GET", "/ready", &[], None, Duration::from_secs(2));
                let ready = ready.map_err(|error| format!("{at}: {error:?}"))?;
                if ready.status != 200 {
                    return Err(format!("{at} is not ready: {ready:?}"));
                }
                let view = self.view(at);
                if view != wanted {
                    return Err(format!("{at} lists {view:?}"));
                }
                states.push(self.try_state(at).map_err(|error| format!("{at}: {error:?}"))?);
            }
            if states.windows(2).all(|pair| pair[0] == pair[1]) {
                Ok(())
            } else {
                Err(format!("states differ: {states:#?}"))
            }
        });
        for &at in ats {
            assert_eq!(self.metric(at, "hence_divergences_total"), 0, "equal coverage with other data at {at}");
        }
        time
    }

    /// Waits until each of these replicas lists all of them and has a link to every other.
    pub(crate) fn await_settled_links(&self, ats: &[usize], limit: Duration) {
        self.await_views(ats, ats, limit);
        self.poll(limit, "links", || {
            let established = "hence_links{state=\"established\"}";
            let links: Vec<u64> = ats.iter().map(|&at| self.metric(at, established)).collect();
            if links.iter().all(|&count| count == ats.len() as u64 - 1) { Ok(()) } else { Err(format!("{links:?}")) }
        });
    }

    /// Waits until no replica keeps an operation for a peer.
    pub(crate) fn await_empty_logs(&self, ats: &[usize], limit: Duration) {
        self.poll(limit, "empty logs", || {
            let logs: Vec<u64> = ats.iter().map(|&at| self.metric(at, "hence_log_ops")).collect();
            if logs.iter().all(|&ops| ops == 0) { Ok(()) } else { Err(format!("{logs:?} operations")) }
        });
    }

    /// A number from `GET /metrics`, by the name and labels of its line.
    pub(crate) fn metric(&self, at: usize, name: &str) -> u64 {
        let response = client::request(&self.address(at), "GET", "/metrics", &[], None);
        let value = response.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Asks again and again until the answer is `Ok`; panics at the limit with what it was last. Says how long it took.
    pub(crate) fn poll(&self, limit: Duration, what: &str, mut ask: impl FnMut() -> Result<(), String>) -> Duration {
        let start = Instant::now();
        loop {
            // The moment before the question counts: an answer that was on its way at the limit is in time.
            let asked = start.elapsed();
            match ask() {
                Ok(()) => return start.elapsed(),
                Err(_) if asked < limit => std::thread::sleep(Duration::from_millis(5)),
                Err(last) => panic!("waited {limit:?} for {what}: {last}\nlogs: {}", self.logs.display()),
            }
        }
    }

    /// Waits until a GET with this metadata is answered with this value at a replica. Says how long it took.
    pub(crate) fn await_value(
        &self,
        at: usize,
        key: &str,
        token: Option<&str>,
        value: &str,
        limit: Duration,
    ) -> Duration {
        let wanted: Value = serde_json::from_str(value).expect("tests write JSON");
        self.poll(limit, &format!("{key} to be {value} at {at}"), || {
            let response = self.get(at, key, token);
            let found = response.status == 200 && response.json()["value"] == wanted;
            if found { Ok(()) } else { Err(format!("{} {}", response.status, response.text())) }
        })
    }

    /// Waits until every one of `watchers` lists exactly `members`. Says how long it took.
    pub(crate) fn await_views(&self, watchers: &[usize], members: &[usize], limit: Duration) -> Duration {
        let wanted = self.addresses(members);
        self.poll(limit, &format!("views {members:?}"), || {
            for &at in watchers {
                let view = self.view(at);
                if view != wanted {
                    return Err(format!("{at} lists {view:?}"));
                }
            }
            Ok(())
        })
    }
}

/// Sends a signal by name to a process of ours.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {id}");
}

/// Checks the status of a response.
pub(crate) fn expect(response: Response, status: u16, what: &str) -> Response {
    assert_eq!(response.status, status, "{what}: {}", String::from_utf8_lossy(&response.body));
    response
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
