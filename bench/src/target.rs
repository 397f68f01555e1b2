//! What is measured: each target as a set of processes, how it is filled, and what a request to it looks like.

use crate::client::{Answer, Client, http, redis_command};
use crate::links::Links;
use crate::load::{Load, Operation, Seen, order, prebuild, redis_benchmark, wrk};
use crate::process::{Outcome, Process, Scratch, free_address, installed, pinned};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use hence_core::{ClusterTag, Incarnation, Token};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
pub(crate) enum Kind {
    /// hyper, a hash map, and nothing else.
    Bare,
    /// The same with a copy to two others: no causality, acknowledgements or retries.
    Naive,
    /// One replica of ours, without peers.
    Alone,
    /// Three replicas of ours.
    Hence,
    /// Redis with two replicas.
    Redis,
    /// etcd with three members.
    Etcd,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Bare, Self::Naive, Self::Alone, Self::Hence, Self::Redis, Self::Etcd];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Naive => "naive 3-way copy",
            Self::Alone => "hence, 1",
            Self::Hence => "hence, 3",
            Self::Redis => "Redis, 3",
            Self::Etcd => "etcd, 3",
        }
    }

    /// The program that must be installed.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let needs: &[&str] = match self {
            Self::Bare | Self::Naive | Self::Alone | Self::Hence => &["wrk"],
            Self::Redis => &["redis-server", "redis-benchmark"],
            Self::Etcd => &["etcd", "wrk"],
        };
        needs.iter().copied().find(|program| installed(program).is_none())
    }

    /// How many processes it is.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Bare | Self::Alone => 1,
            Self::Naive | Self::Hence | Self::Redis | Self::Etcd => 3,
        }
    }

    /// Does its API carry tokens?
    pub(crate) const fn takes_tokens(self) -> bool {
        match self {
            Self::Bare | Self::Naive | Self::Alone | Self::Hence => true,
            Self::Redis | Self::Etcd => false,
        }
    }
}

/// What starting a target takes.
pub(crate) struct Context {
    pub(crate) hence: PathBuf,
    pub(crate) yardstick: PathBuf,
    pub(crate) host: String,
    pub(crate) scratch: Scratch,
}

/// A running target. The first process is the one that is driven.
pub(crate) struct Target<'a> {
    pub(crate) kind: Kind,
    context: &'a Context,
    cores: String,
    addresses: Vec<SocketAddr>,
    pub(crate) processes: Vec<Process>,
    pub(crate) token: Option<String>,
}

const TIMEOUT: Duration = Duration::from_secs(20);

impl<'a> Target<'a> {
    /// Starts it on these cores and waits until it serves.
    pub(crate) fn start(kind: Kind, context: &'a Context, cores: &str) -> Outcome<Self> {
        Self::start_of(kind, kind.size(), context, cores)
    }

    /// The same with so many processes.
    pub(crate) fn start_of(kind: Kind, size: usize, context: &'a Context, cores: &str) -> Outcome<Self> {
        let mut target = Self::unstarted(kind, size, context, cores)?;
        match kind {
            Kind::Bare | Kind::Naive => target.start_yardsticks(1)?,
            Kind::Alone | Kind::Hence => {
                (0..size).try_for_each(|member| target.start_replica(member))?;
                (0..size).try_for_each(|member| target.await_ready(member))?;
            }
            Kind::Redis => target.start_redis()?,
            Kind::Etcd => target.start_etcd()?,
        }
        if kind.takes_tokens() {
            target.token = Some(target.fresh_token()?);
        }
        Ok(target)
    }

    /// A bare server whose runtime has so many worker threads.
    pub(crate) fn start_bare(context: &'a Context, cores: &str, workers: usize) -> Outcome<Self> {
        let mut target = Self::unstarted(Kind::Bare, 1, context, cores)?;
        target.start_yardsticks(workers)?;
        target.token = Some(target.fresh_token()?);
        Ok(target)
    }

    fn unstarted(kind: Kind, size: usize, context: &'a Context, cores: &str) -> Outcome<Self> {
        let addresses = (0..size).map(|_| free_address(&context.host)).collect::<Outcome<Vec<_>>>()?;
        Ok(Self { kind, context, cores: cores.to_owned(), addresses, processes: Vec::new(), token: None })
    }

    fn start_yardsticks(&mut self, workers: usize) -> Outcome<()> {
        let copies = (1..self.addresses.len())
            .map(|_| free_address(&self.context.host))
            .collect::<Outcome<Vec<SocketAddr>>>()?;
        let addresses = self.addresses.clone();
        // Followers listen before the first one connects to them; the driven one is then put first.
        for (&address, copy) in addresses[1..].iter().zip(&copies) {
            let mut command = pinned(&self.cores, &self.context.yardstick);
            command.arg(address.to_string()).args(["--copies-at", &copy.to_string()]);
            self.launch_yardstick(address, command)?;
        }
        let mut command = pinned(&self.cores, &self.context.yardstick);
        command.arg(addresses[0].to_string()).args(["--workers", &workers.to_string()]);
        copies.iter().for_each(|copy| _ = command.args(["--copy-to", &copy.to_string()]));
        self.launch_yardstick(addresses[0], command)?;
        self.processes.rotate_right(1);
        Ok(())
    }

    fn launch_yardstick(&mut self, address: SocketAddr, command: std::process::Command) -> Outcome<()> {
        let mut process = Process::start(command, &self.context.scratch, "yardstick")?;
        process.wait_until("the yardstick", TIMEOUT, || {
            Client::connect(address).and_then(|mut client| client.exchange(&http("GET", "/kvs/x", "", ""))).is_ok()
        })?;
        self.processes.push(process);
        Ok(())
    }

    fn replica_command(&self, member: usize) -> std::process::Command {
        let view: Vec<String> = self.addresses.iter().map(SocketAddr::to_string).collect();
        let mut command = pinned(&self.cores, &self.context.hence);
        command.arg("serve").env("SOCKET_ADDRESS", &view[member]).env("VIEW", view.join(",")).env("HENCE_LOG", "error");
        // More than any table connects.
        command.env("HENCE_CONNECTIONS_MAX", "20000").env("HENCE_WATCHES_MAX", "15000");
        command
    }

    fn start_replica(&mut self, member: usize) -> Outcome<()> {
        let process = Process::start(self.replica_command(member), &self.context.scratch, &format!("hence-{member}"))?;
        self.processes.push(process);
        Ok(())
    }

    /// Waits until this replica serves and lists all members.
    fn await_ready(&mut self, member: usize) -> Outcome<()> {
        let (address, size) = (self.addresses[member], self.addresses.len());
        let ask = |client: &mut Client| -> Outcome<bool> {
            let ready = client.exchange(&http("GET", "/ready", "", ""))?.status == 200;
            let view = client.exchange(&http("GET", "/view", "", ""))?.body;
            Ok(ready && view.matches(':').count() == size + 1)
        };
        self.processes[member].wait_until("a replica", TIMEOUT, || {
            Client::connect(address).and_then(|mut client| ask(&mut client)).unwrap_or(false)
        })
    }

    fn start_redis(&mut self) -> Outcome<()> {
        for member in 0..self.addresses.len() {
            self.launch_redis(member)?;
        }
        Ok(())
    }

    fn launch_redis(&mut self, member: usize) -> Outcome<()> {
        let (address, first) = (self.addresses[member], self.addresses[0]);
        let mut command = pinned(&self.cores, Path::new("redis-server"));
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        command.args(["--repl-diskless-load", "swapdb", "--dir"]).arg(self.context.scratch.path(""));
        if member > 0 {
            command.args(["--replicaof", &first.ip().to_string(), &first.port().to_string()]);
        }
        let ready = |client: &mut Client| {
            let up = |text: String| text.contains("role:master") || text.contains("master_link_status:up");
            client.redis(&["INFO", "replication"]).is_ok_and(up)
        };
        let name = format!("redis-{member}");
        let mut process = Process::start(command, &self.context.scratch, &name)?;
        process.wait_until(&name, TIMEOUT, || Client::connect(address).is_ok_and(|mut client| ready(&mut client)))?;
        if member < self.processes.len() {
            self.processes[member] = process;
        } else {
            self.processes.push(process);
        }
        Ok(())
    }

    fn start_etcd(&mut self) -> Outcome<()> {
        let peers = self.addresses.iter().map(|_| free_address(&self.context.host)).collect::<Outcome<Vec<_>>>()?;
        let all: Vec<String> = peers.iter().enumerate().map(|(at, peer)| format!("m{at}=http://{peer}")).collect();
        for (member, (client, peer)) in self.addresses.iter().zip(&peers).enumerate() {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let mut command = pinned(&self.cores, Path::new("etcd"));
            let data = self.context.scratch.path(&format!("etcd-{}-{member}", self.addresses[0].port()));
            command.args(["--name", &format!("m{member}"), "--data-dir"]).arg(data);
            command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            command.args(["--initial-cluster", &all.join(","), "--logger", "zap", "--log-level", "error"]);
            self.processes.push(Process::start(command, &self.context.scratch, &format!("etcd-{member}"))?);
        }
        let mut leader = 0;
        for member in 0..self.addresses.len() {
            let address = self.addresses[member];
            let leads = |client: &mut Client| -> Outcome<Option<bool>> {
                let answer = client.exchange(&http("POST", "/v3/maintenance/status", "", "{}"))?;
                let status: serde_json::Value = serde_json::from_str(&answer.body)?;
                let leader = status["leader"].as_str();
                Ok(leader.map(|leader| Some(leader) == status["header"]["member_id"].as_str()))
            };
            let ask = || Client::connect(address).and_then(|mut client| leads(&mut client)).ok().flatten();
            self.processes[member].wait_until("etcd", TIMEOUT, || ask().is_some())?;
            if ask() == Some(true) {
                leader = member;
            }
        }
        // The leader is driven: a follower would pass every write on to it.
        self.addresses.swap(0, leader);
        self.processes.swap(0, leader);
        Ok(())
    }

    /// A token as a client has it after it wrote at every replica: an entry for each. The yardstick, which issues
    /// dots of one incarnation only, gets two made-up entries more, so requests and answers are as long as ours.
    fn fresh_token(&self) -> Outcome<String> {
        let mut token = None;
        for _ in 0..2 {
            for &address in &self.addresses {
                let request = self.put("fresh", 10, token.as_deref(), "Prefer: wait=10\r\n");
                let answer = Client::connect(address)?.exchange(&request)?;
                if answer.status > 201 {
                    return Err(format!("a write was answered {}: {}", answer.status, answer.body).into());
                }
                token = Some(answer.header("causal-metadata").ok_or("a write's answer without a token")?.to_owned());
            }
        }
        let token = token.ok_or("no process")?;
        if self.kind != Kind::Bare && self.kind != Kind::Naive {
            return Ok(token);
        }
        let cluster = ClusterTag::of("hence");
        let Token(mut past) = Token::decode(&token, cluster, token.len())?;
        past.raise(Incarnation::new(1, 0x12_3456_7890), 5);
        past.raise(Incarnation::new(1, 0xfe_dcba_9876), 6);
        Ok(Token(past).encode(cluster))
    }

    /// Names the key: 7 bytes, but 13 for Redis, whose generator pads its numbers.
    pub(crate) fn key(&self, at: usize) -> String {
        match self.kind {
            Kind::Bare | Kind::Naive | Kind::Alone | Kind::Hence | Kind::Etcd => format!("k{at:06}"),
            Kind::Redis => format!("k{at:012}"),
        }
    }

    fn put(&self, key: &str, value_bytes: usize, token: Option<&str>, headers: &str) -> Vec<u8> {
        match self.kind {
            Kind::Bare | Kind::Naive | Kind::Alone | Kind::Hence => {
                let text = "v".repeat(value_bytes.saturating_sub(2));
                let token = token.map_or("null".to_owned(), |token| format!("\"{token}\""));
                let body = format!("{{\"value\":\"{text}\",\"causal-metadata\":{token}}}");
                http("PUT", &format!("/kvs/{key}"), headers, &body)
            }
            Kind::Redis => redis_command(&["SET", key, &"v".repeat(value_bytes)]),
            Kind::Etcd => {
                let (key, value) = (STANDARD.encode(key), STANDARD.encode("v".repeat(value_bytes)));
                http("POST", "/v3/kv/put", headers, &format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}"))
            }
        }
    }

    fn get(&self, key: &str, token: Option<&str>) -> Vec<u8> {
        match self.kind {
            Kind::Bare | Kind::Naive | Kind::Alone | Kind::Hence => {
                let header = token.map(|token| format!("Causal-Metadata: {token}\r\n")).unwrap_or_default();
                http("GET", &format!("/kvs/{key}"), &header, "")
            }
            Kind::Redis => redis_command(&["GET", key]),
            Kind::Etcd => {
                let key = STANDARD.encode(key);
                http("POST", "/v3/kv/range", "", &format!("{{\"key\":\"{key}\",\"serializable\":true}}"))
            }
        }
    }

    /// Writes every key once, and waits until the followers have them.
    pub(crate) fn fill(&self, keys: usize, value_bytes: usize) -> Outcome<()> {
        // etcd answers a connection's requests one by one, each after a round of consensus.
        let writers = if self.kind == Kind::Etcd { 32 } else { 1 };
        std::thread::scope(|scope| {
            let write = |writer: usize| {
                move || -> Result<(), String> {
                    let keys = (writer..keys).step_by(writers);
                    let requests = keys.map(|key| self.put(&self.key(key), value_bytes, None, ""));
                    let mut client = Client::connect(self.addresses[0]).map_err(|error| error.to_string())?;
                    client.pipeline(requests, |client| self.check_written(client)).map_err(|error| error.to_string())
                }
            };
            let all: Vec<_> = (0..writers).map(|writer| scope.spawn(write(writer))).collect();
            all.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked".to_owned())?)
        })?;
        self.settle()
    }

    fn check_written(&self, client: &mut Client) -> Outcome<()> {
        if self.kind == Kind::Redis {
            return client.redis_answer().map(|_| ());
        }
        let answer = client.answer()?;
        if answer.status > 201 {
            return Err(format!("a write was answered {}: {}", answer.status, answer.body).into());
        }
        Ok(())
    }

    /// Waits until the processes have nothing left to do: less than 5 % of a core for 50 ms, and none wants one.
    pub(crate) fn settle(&self) -> Outcome<()> {
        const STEP: Duration = Duration::from_millis(50);
        for _ in 0..1_200 {
            let before = self.cpu()?;
            std::thread::sleep(STEP);
            let used: Duration = self.cpu()?.iter().zip(&before).map(|(now, then)| now.saturating_sub(*then)).sum();
            let mut busy = false;
            for process in &self.processes {
                busy |= process.is_busy()?;
            }
            if used < STEP / 20 && !busy {
                return Ok(());
            }
        }
        Err(format!("{} does not come to rest within a minute", self.kind.name()).into())
    }

    /// CPU time so far, per process.
    pub(crate) fn cpu(&self) -> Outcome<Vec<Duration>> {
        self.processes.iter().map(Process::cpu).collect()
    }

    /// Bytes between the processes so far.
    pub(crate) fn links(&self) -> Outcome<Links> {
        Links::of(&self.processes.iter().map(Process::id).collect::<Vec<_>>())
    }

    /// Drives it. Redis's generator counts requests and not time, so it is told how many to expect.
    pub(crate) fn drive(&self, load: Load, keys: usize, value_bytes: usize, seconds: u64) -> Outcome<Option<Seen>> {
        let (to, cores) = (self.addresses[0], self.cores.as_str());
        if self.kind == Kind::Redis {
            let value = "v".repeat(value_bytes);
            let words: &[&str] = match load.operation {
                Operation::Get => &["GET", "k__rand_int__"],
                Operation::Put => &["SET", "k__rand_int__", &value],
                Operation::Mix => return Ok(None),
            };
            let probe = redis_benchmark(to, cores, load.connections, 10_000, keys, words)?;
            let requests = (probe.rate() * seconds as f64) as usize;
            let seen = redis_benchmark(to, cores, load.connections, requests.max(1_000), keys, words)?;
            return Ok(Some(Seen { answered: seen.answered + probe.answered, ..seen }));
        }
        let file = self.context.scratch.path("requests");
        let token = self.token.as_deref().filter(|_| load.token);
        let length = if load.operation == Operation::Mix { keys.max(1_000) } else { keys.min(100_000) };
        let requests = (0..length).map(|at| {
            let key = self.key(order(keys, at));
            if load.operation.writes(at) { self.put(&key, value_bytes, token, "") } else { self.get(&key, token) }
        });
        prebuild(&file, requests)?;
        wrk(to, cores, load.connections, seconds, &file, &self.context.scratch).map(Some)
    }

    /// Kills the last member, starts it again empty, and tells how long it took until it served everything.
    pub(crate) fn catch_up(&mut self) -> Outcome<Duration> {
        let member = self.addresses.len() - 1;
        self.processes[member].kill();
        let start = Instant::now();
        if self.kind == Kind::Redis {
            self.launch_redis(member)?;
            return Ok(start.elapsed());
        }
        let process = Process::start(self.replica_command(member), &self.context.scratch, &format!("hence-{member}"))?;
        self.processes[member] = process;
        let address = self.addresses[member];
        self.processes[member].wait_until("the restarted replica", Duration::from_secs(120), || {
            let ready = |mut client: Client| client.exchange(&http("GET", "/ready", "", ""));
            Client::connect(address).and_then(ready).is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(start.elapsed())
    }

    /// One answer to a write and one to a read, as the load gets them.
    pub(crate) fn samples(&self) -> Outcome<[Answer; 2]> {
        let mut client = Client::connect(self.addresses[0])?;
        let token = self.token.as_deref();
        Ok([client.exchange(&self.put("sample1", 100, token, ""))?, client.exchange(&self.get("sample1", token))?])
    }

    /// Takes the token that a read of this key gives, as a client does that saw all its versions.
    pub(crate) fn renew_token(&mut self, key: usize) -> Outcome<()> {
        let answer = Client::connect(self.addresses[0])?.exchange(&self.get(&self.key(key), None))?;
        self.token = answer.header("causal-metadata").map(str::to_owned);
        Ok(())
    }

    /// The address of a member.
    pub(crate) fn address(&self, member: usize) -> SocketAddr {
        self.addresses[member]
    }
}
