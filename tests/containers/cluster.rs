//! Replicas in containers, as README starts them: a network, an address and a published port each.
//!
//! The tests ask them at the published ports on 127.0.0.1 and never at the containers' own addresses.

use crate::engine::{docker, label, try_docker};
use hence_tests::replicas::Replicas;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Ports that no kernel gives to outgoing connections by itself, so a restarted container finds its own free.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
const PER_CLUSTER: u16 = 8;

/// Replicas 0, 1, 2, ... at the addresses .2, .3, .4, ... of a network of their own. Dropping it removes them.
pub(crate) struct Cluster {
    name: String,
    image: String,
    subnet: String,
    ports: Vec<u16>,
    members: usize,
    containers: Vec<Option<String>>,
    /// What `docker run` is told besides.
    options: &'static [&'static str],
    /// Replicas that run another image, with a setting of it.
    others: Vec<Option<(String, String)>>,
    logs: PathBuf,
}

impl Cluster {
    /// A network for replicas whose `VIEW` names this many members, none of them running yet.
    pub(crate) fn new(name: &str, members: usize) -> Self {
        let image = std::env::var(crate::engine::IMAGE).expect("looked at before any test runs");
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("containers").join(name);
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs).expect("the target directory is ours");
        let name = format!("hence-{}-{name}", std::process::id());
        let (subnet, ports) = (network(&name), free_ports());
        Self { name, image, subnet, ports, members, containers: Vec::new(), options: &[], others: Vec::new(), logs }
    }

    /// Three replicas that run, have settled and are linked with each other.
    pub(crate) fn running(name: &str) -> Self {
        Self::running_with(name, &[])
    }

    /// The same, with these options of `docker run`.
    pub(crate) fn running_with(name: &str, options: &'static [&'static str]) -> Self {
        let mut cluster = Self::new(name, 3);
        cluster.options = options;
        (0..3).for_each(|at| cluster.start(at));
        cluster.await_settled(&[0, 1, 2], Duration::from_secs(10));
        cluster.await_settled_links(&[0, 1, 2], Duration::from_secs(10));
        cluster
    }

    /// The network's addresses begin like this.
    pub(crate) fn subnet(&self) -> &str {
        &self.subnet
    }

    /// The IP address of a replica within the network.
    pub(crate) fn ip(&self, at: usize) -> String {
        format!("{}{}", self.subnet, at + 2)
    }

    /// Where `docker logs` of ended replicas are kept, and histories.
    pub(crate) fn folder(&self) -> &PathBuf {
        &self.logs
    }

    /// `docker run` with the members and itself in its `VIEW`.
    pub(crate) fn start(&mut self, at: usize) {
        let view: Vec<String> = (0..self.members.max(at + 1)).map(|at| self.member(at)).collect();
        let (address, ip) = (self.member(at), self.ip(at));
        self.start_as(at, &ip, &address, &view.join(","));
    }

    /// `docker run` with these settings. Where a container of a replica had ended, another one takes its place.
    pub(crate) fn start_as(&mut self, at: usize, ip: &str, address: &str, view: &str) {
        if self.containers.len() <= at {
            self.containers.resize_with(at + 1, || None);
        }
        assert!(self.containers[at].is_none(), "replica {at} runs already");
        let name = self.container(at);
        let port = format!("127.0.0.1:{}:8090", self.ports[at]);
        let (network, alias) = (format!("--net={}", self.name), format!("--network-alias=replica{at}"));
        let (ip, name, label) = (format!("--ip={ip}"), format!("--name={name}"), format!("--label={}", label()));
        let environment = [format!("SOCKET_ADDRESS={address}"), format!("VIEW={view}")];
        let mut arguments = vec!["run", "--detach", "-p", &port, &network, &ip, &alias, &name, &label];
        environment.iter().for_each(|setting| arguments.extend(["-e", setting]));
        arguments.extend(self.options);
        match self.others.get(at).and_then(Option::as_ref) {
            Some((image, setting)) => arguments.extend(["-e", setting, image]),
            None => arguments.push(&self.image),
        }
        self.containers[at] = Some(docker(&arguments));
    }

    /// From its next start on, a replica runs this image with this setting; none is the image under test.
    pub(crate) fn runs(&mut self, at: usize, other: Option<(String, String)>) {
        if self.others.len() <= at {
            self.others.resize_with(at + 1, || None);
        }
        self.others[at] = other;
    }

    fn container(&self, at: usize) -> String {
        format!("{}-{at}", self.name)
    }

    /// The container's id.
    pub(crate) fn id(&self, at: usize) -> &str {
        self.containers.get(at).and_then(Option::as_deref).expect("the replica runs")
    }

    /// One field of `docker inspect`.
    pub(crate) fn inspect(&self, at: usize, field: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), self.id(at)])
    }

    /// The replica's process as the host sees it.
    pub(crate) fn process(&self, at: usize) -> String {
        self.inspect(at, ".State.Pid")
    }

    /// `docker kill` of these at once, then `docker rm`.
    pub(crate) fn kill(&mut self, ats: &[usize]) {
        let mut arguments = vec!["kill"];
        arguments.extend(ats.iter().map(|&at| self.id(at)));
        docker(&arguments);
        ats.iter().for_each(|&at| self.remove(at));
    }

    /// `docker stop`, which sends SIGTERM, then `docker rm`. How long the stop took, and the exit code.
    pub(crate) fn stop(&mut self, at: usize) -> (Duration, String) {
        let start = Instant::now();
        docker(&["stop", self.id(at)]);
        let time = start.elapsed();
        let code = self.inspect(at, ".State.ExitCode");
        self.remove(at);
        (time, code)
    }

    fn remove(&mut self, at: usize) {
        self.keep_log(at);
        let id = self.containers[at].take().expect("the replica ran");
        docker(&["rm", "--force", &id]);
    }

    fn keep_log(&self, at: usize) {
        let mut text = format!("== replica {at}\n");
        let output = crate::engine::run("docker", &["logs", self.id(at)]);
        let _ = output.map(|output| text.push_str(&String::from_utf8_lossy(&output.stderr)));
        let file = std::fs::File::options().create(true).append(true).open(self.logs.join(format!("{at}.log")));
        let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    }

    /// `docker pause`.
    pub(crate) fn pause(&self, at: usize) {
        docker(&["pause", self.id(at)]);
    }

    /// `docker unpause`.
    pub(crate) fn unpause(&self, at: usize) {
        docker(&["unpause", self.id(at)]);
    }

    /// `docker network disconnect`: its address, its links and its published port are gone.
    pub(crate) fn disconnect(&self, at: usize) {
        docker(&["network", "disconnect", &self.name, self.id(at)]);
    }

    /// `docker network connect` with the same address.
    pub(crate) fn connect(&self, at: usize) {
        docker(&["network", "connect", "--ip", &self.ip(at), &self.name, self.id(at)]);
    }

    /// `DELETE` or `PUT /view` of a member.
    pub(crate) fn change_view(&self, at: usize, method: &str, subject: usize, status: u16) {
        let body = format!("{{\"socket-address\":\"{}\"}}", self.member(subject));
        let answer = hence_tests::client::request(&self.address(at), method, "/view", &[], Some(&body));
        assert_eq!(answer.status, status, "{method} /view of {subject} at {at}: {answer:?}");
    }

    /// Waits until a replica serves data and lists exactly these members.
    pub(crate) fn await_ready(&self, at: usize, members: &[usize], limit: Duration) -> Duration {
        let wanted = self.addresses(members);
        self.poll(limit, &format!("{at} to serve"), || {
            let timeout = Duration::from_secs(1);
            let ask = |path: &str| hence_tests::client::try_request(&self.address(at), "GET", path, &[], None, timeout);
            let ready = ask("/ready").map_err(|error| format!("{error:?}"))?;
            let view = ask("/view").map_err(|error| format!("{error:?}"))?;
            let listed = view.json()["view"] == serde_json::json!(wanted);
            if ready.status == 200 && listed { Ok(()) } else { Err(format!("{} {}", ready.status, view.text())) }
        })
    }
}

impl Replicas for Cluster {
    fn address(&self, at: usize) -> String {
        format!("127.0.0.1:{}", self.ports[at])
    }

    fn logs(&self) -> String {
        self.logs.display().to_string()
    }

    fn member(&self, at: usize) -> String {
        format!("{}:8090", self.ip(at))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let running: Vec<usize> = (0..self.containers.len()).filter(|&at| self.containers[at].is_some()).collect();
        running.iter().for_each(|&at| self.keep_log(at));
        let mut arguments = vec!["rm", "--force"];
        arguments.extend(running.iter().map(|&at| self.id(at)));
        let mut complaints = String::new();
        let removed = if running.is_empty() { Ok(String::new()) } else { try_docker(&arguments) };
        for result in [removed, try_docker(&["network", "rm", &self.name])] {
            let _ = result.map_err(|error| writeln!(complaints, "{error}"));
        }
        // The janitor tries once more, at the end of all tests.
        print!("{complaints}");
    }
}

/// Makes a network of this name in an unused subnet; how its addresses begin.
fn network(name: &str) -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = std::process::id() % 50 * 5;
    let mut last = String::new();
    for _ in 0..100 {
        let number = (u32::from(NEXT.fetch_add(1, Ordering::Relaxed)) + own) % 250;
        let subnet = format!("10.213.{number}.");
        let (option, label) = (format!("--subnet={subnet}0/24"), format!("--label={}", label()));
        match try_docker(&["network", "create", &option, &label, name]) {
            Ok(_) => return subnet,
            Err(error) => last = error,
        }
    }
    panic!("no subnet of a hundred could be had: {last}");
}

/// Ports on which no process listens.
fn free_ports() -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 100) as u16 * 100;
    let mut ports = Vec::new();
    for _ in 0..PORTS.len() {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(own) % (PORTS.len() as u16);
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
        if ports.len() == usize::from(PER_CLUSTER) {
            return ports;
        }
    }
    panic!("no {PER_CLUSTER} ports of {PORTS:?} are free");
}
