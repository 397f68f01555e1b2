//! Batches, lists, watches and write concern: what each costs, beside what a single request costs in the same run.

use crate::client::{Client, http};
use crate::compare::cores_of;
use crate::load::{prebuild, wrk};
use crate::process::Outcome;
use crate::report::median;
use crate::table::{Table, number};
use crate::target::{Context, Kind, Target};
use hence_bench::tell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const CONNECTIONS: usize = 32;
/// Operations of the largest batch.
const BATCH_MAX: usize = 64;

/// Prints one table with a row for each figure.
pub(crate) fn run(context: &Context, quick: bool) -> Outcome<()> {
    let mut store = Store { context, quick, table: Table::new(&["figure", "found", "goal"]) };
    rlimit::increase_nofile_limit(16_384)?;
    store.batches()?;
    store.concern()?;
    store.lists()?;
    store.watches()?;
    store.table.print("Batches, lists, watches and write concern");
    Ok(())
}

struct Store<'a> {
    context: &'a Context,
    quick: bool,
    table: Table,
}

impl<'a> Store<'a> {
    fn cluster(&self, size: usize) -> Outcome<Target<'a>> {
        Target::start_of(Kind::Hence, size, self.context, &cores_of(1))
    }

    fn row(&mut self, figure: &str, found: Option<f64>, goal: &str) {
        tell!("{figure}: {}", number(found));
        self.table.row([figure.into(), number(found), goal.into()]);
    }

    const fn requests(&self) -> usize {
        if self.quick { 3_000 } else { 30_000 }
    }

    fn batches(&mut self) -> Outcome<()> {
        const FIGURE: &str = "the same to Redis's, SET pipelined by 64";
        let cluster = self.cluster(3)?;
        cluster.fill(10_000, VALUE_BYTES)?;
        let requests = self.requests();
        let mut ratios = Vec::new();
        let mut per_key = Vec::new();
        for _ in 0..3 {
            let one = cpu_of(&cluster, requests, |at| put(at, ""))?;
            let ten = cpu_of(&cluster, requests / 10, |at| batch(10 * at, 10))?;
            ratios.push(ten / one);
            per_key.push(
                cpu_of(&cluster, requests / BATCH_MAX, |at| batch(BATCH_MAX * at, BATCH_MAX))? / BATCH_MAX as f64,
            );
        }
        self.row("CPU of a batch of 10 puts, all replicas, to that of one PUT", median(ratios), "2.5");
        let ours = median(per_key);
        self.row("CPU us per key in batches of 64, all replicas", ours, "-");
        if Kind::Redis.missing().is_some() {
            tell!("{FIGURE}: not installed");
            self.table.row([FIGURE.into(), "not installed".into(), "1.0".into()]);
            return Ok(());
        }
        let redis = self.redis()?;
        self.row("CPU us per SET pipelined by 64, Redis with two copies", redis, "-");
        self.row(FIGURE, ours.zip(redis).map(|(ours, redis)| ours / redis), "1.0");
        Ok(())
    }

    /// CPU in microseconds of all three servers for each SET.
    fn redis(&self) -> Outcome<Option<f64>> {
        let redis = Target::start(Kind::Redis, self.context, &cores_of(1))?;
        let requests = 10 * self.requests();
        let mut found = Vec::new();
        for _ in 0..4 {
            let before: Duration = redis.cpu()?.iter().sum();
            let address = redis.address(0);
            let mut command = Command::new("redis-benchmark");
            command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
            command.args(["-c", &CONNECTIONS.to_string(), "-n", &requests.to_string(), "-P", &BATCH_MAX.to_string()]);
            command.args(["-r", "10000", "-q", "SET", "k__rand_int__", &"v".repeat(VALUE_BYTES)]);
            if !command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
                return Err("redis-benchmark failed".into());
            }
            redis.settle()?;
            let after: Duration = redis.cpu()?.iter().sum();
            found.push((after - before).as_secs_f64() * 1e6 / requests as f64);
        }
        // The first one fills the store.
        Ok(median(found.split_off(1)))
    }

    fn concern(&mut self) -> Outcome<()> {
        let cluster = self.cluster(3)?;
        cluster.fill(10_000, VALUE_BYTES)?;
        let mut client = Client::connect(cluster.address(0))?;
        let mut took = Vec::new();
        for at in 0..self.requests() / 10 {
            let start = Instant::now();
            let answer = client.exchange(&put(at, "Write-Concern: majority\r\n"))?;
            if answer.status > 201 {
                return Err(format!("a write with a concern was answered {}", answer.status).into());
            }
            took.push(start.elapsed().as_secs_f64() * 1e3);
        }
        self.row("PUT with a majority, one connection, median ms", median(took), "1");
        let (mut plains, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let plain = self.rate_of(&cluster, |at| put(at, ""))?;
            let asked = self.rate_of(&cluster, |at| put(at, "Write-Concern: majority\r\n"))?;
            plains.push(plain);
            ratios.push(asked / plain);
        }
        self.row("PUTs a second, 32 connections", median(plains), "-");
        self.row("rate of PUTs with a majority, 32 connections, to that without", median(ratios), "0.8");
        Ok(())
    }

    /// Requests a second. No connection waits for another: each sends its next request when its answer is there.
    fn rate_of(&self, cluster: &Target<'_>, request: impl Fn(usize) -> Vec<u8>) -> Outcome<f64> {
        let file = self.context.scratch.path("store.requests");
        prebuild(&file, (0..10_000).map(request))?;
        let seconds = if self.quick { 2 } else { 5 };
        let seen = wrk(cluster.address(0), &cores_of(1), CONNECTIONS, seconds, &file, &self.context.scratch)?;
        Ok(seen.rate())
    }

    fn lists(&mut self) -> Outcome<()> {
        let keys = if self.quick { 100_000 } else { 1_000_000 };
        let cluster = self.cluster(1)?;
        cluster.fill(keys, VALUE_BYTES)?;
        let resident = cluster.processes[0].resident()?;
        let mut client = Client::connect(cluster.address(0))?;
        let start = Instant::now();
        page(&mut client, 0)?;
        self.row("the first list, which puts the keys in order, s", Some(start.elapsed().as_secs_f64()), "-");
        let grown = cluster.processes[0].resident()?.saturating_sub(resident);
        self.row("bytes of memory per key for lists", Some(grown as f64 / keys as f64), "24");
        let pages = self.requests() / 30;
        let before = cluster.cpu()?[0];
        for at in 0..pages {
            page(&mut client, at * 7_919 % keys)?;
        }
        let cpu = (cluster.cpu()?[0] - before).as_secs_f64() * 1e3 / pages as f64;
        self.row("CPU ms of a page of 100 keys", Some(cpu), "1");
        // Reads of one key while pages are listed, and without that.
        let quiet = longest(&cluster, pages)?;
        let stop = std::sync::atomic::AtomicBool::new(false);
        let busy = std::thread::scope(|scope| {
            let listing = scope.spawn(|| {
                let mut at = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    page(&mut client, at * 7_919 % keys).map_err(|error| error.to_string())?;
                    at += 1;
                }
                Ok::<_, String>(())
            });
            let longest = longest(&cluster, pages);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            listing.join().map_err(|_| "the thread that lists panicked")??;
            longest
        })?;
        self.row("p99.9 ms of a read of one key, alone", Some(quiet), "-");
        self.row("the same while pages are listed", Some(busy), "5");
        Ok(())
    }

    fn watches(&mut self) -> Outcome<()> {
        let count = if self.quick { 1_000 } else { 10_000 };
        let cluster = self.cluster(1)?;
        cluster.fill(1_000, VALUE_BYTES)?;
        let process = &cluster.processes[0];
        let connect = || TcpStream::connect(cluster.address(0));
        let empty = process.resident()?;
        let idle: Vec<TcpStream> = (0..count)
            .map(|_| {
                let mut stream = connect()?;
                exchange(&mut stream, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", b"}")?;
                Ok(stream)
            })
            .collect::<Outcome<_>>()?;
        let plain = (process.resident()? - empty) as f64 / count as f64;
        let idle_cpu = idle_percent(&cluster)?;
        drop(idle);
        sleep(Duration::from_millis(500));
        let fresh = self.cluster(1)?;
        fresh.fill(1_000, VALUE_BYTES)?;
        let process = &fresh.processes[0];
        let empty = process.resident()?;
        let mut watchers: Vec<TcpStream> = (0..count)
            .map(|at| {
                let mut stream = TcpStream::connect(fresh.address(0))?;
                let key = if at < 1_000 { "watched".to_owned() } else { format!("other{at}") };
                let request = format!("GET /kvs/{key} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
                exchange(&mut stream, request.as_bytes(), b"synced")?;
                Ok(stream)
            })
            .collect::<Outcome<_>>()?;
        let each = (process.resident()? - empty) as f64 / count as f64;
        self.row("bytes of memory of an idle watcher beyond an idle connection", Some(each - plain), "4096");
        let watched_cpu = idle_percent(&fresh)?;
        self.row("idle CPU with so many idle connections, % of a core", Some(idle_cpu), "-");
        self.row("idle CPU with so many watchers, % of a core", Some(watched_cpu), "as above");
        let start = Instant::now();
        Client::connect(fresh.address(0))?.exchange(&http("PUT", "/kvs/watched", "", "{\"value\":1}"))?;
        for stream in watchers.iter_mut().take(1_000) {
            await_text(stream, b"event: put")?;
        }
        let took = start.elapsed().as_secs_f64() * 1e3;
        self.row("ms until 1,000 watchers of a key have its write", Some(took), "50");
        Ok(())
    }
}

fn put(at: usize, headers: &str) -> Vec<u8> {
    let value = "v".repeat(VALUE_BYTES - 2);
    http("PUT", &format!("/kvs/k{:06}", at * 7_919 % 10_000), headers, &format!("{{\"value\":\"{value}\"}}"))
}

/// A batch of so many puts of keys one behind the other.
fn batch(from: usize, puts: usize) -> Vec<u8> {
    let value = "v".repeat(VALUE_BYTES - 2);
    let put = |at: usize| {
        format!("{{\"op\":\"put\",\"key\":\"k{:06}\",\"value\":\"{value}\"}}", (from + at) * 7_919 % 10_000)
    };
    let operations: Vec<String> = (0..puts).map(put).collect();
    http("POST", "/kvs", "", &format!("{{\"operations\":[{}]}}", operations.join(",")))
}

fn page(client: &mut Client, from: usize) -> Outcome<()> {
    let answer = client.exchange(&http("GET", &format!("/kvs?start=k{from:06}&limit=100"), "", ""))?;
    if answer.status == 200 { Ok(()) } else { Err(format!("a list was answered {}", answer.status).into()) }
}

/// Each connection has one request on its way at a time, and all of a round are answered before the next one. CPU for each
/// request is measured so, and no rate.
fn drive(cluster: &Target<'_>, requests: usize, request: impl Fn(usize) -> Vec<u8>) -> Outcome<()> {
    let mut clients: Vec<Client> =
        (0..CONNECTIONS).map(|_| Client::connect(cluster.address(0))).collect::<Outcome<_>>()?;
    for round in 0..requests.div_ceil(CONNECTIONS) {
        for (at, client) in clients.iter_mut().enumerate() {
            client.send(&request(round * CONNECTIONS + at))?;
        }
        for client in &mut clients {
            let answer = client.answer()?;
            if answer.status > 201 {
                return Err(format!("a write was answered {}: {}", answer.status, answer.body).into());
            }
        }
    }
    Ok(())
}

/// CPU in microseconds of all replicas for each request.
fn cpu_of(cluster: &Target<'_>, requests: usize, request: impl Fn(usize) -> Vec<u8>) -> Outcome<f64> {
    let before: Duration = cluster.cpu()?.iter().sum();
    drive(cluster, requests, request)?;
    cluster.settle()?;
    let after: Duration = cluster.cpu()?.iter().sum();
    let done = requests.div_ceil(CONNECTIONS) * CONNECTIONS;
    Ok((after - before).as_secs_f64() * 1e6 / done as f64)
}

/// The thousandth part of reads took longer than this, in milliseconds.
fn longest(cluster: &Target<'_>, reads: usize) -> Outcome<f64> {
    let mut client = Client::connect(cluster.address(0))?;
    let mut took = Vec::new();
    for at in 0..reads.max(1_000) {
        let start = Instant::now();
        client.exchange(&http("GET", &format!("/kvs/k{:06}", at * 7_919 % 10_000), "", ""))?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() - 1 - took.len() / 1_000].as_secs_f64() * 1e3)
}

fn idle_percent(cluster: &Target<'_>) -> Outcome<f64> {
    const LENGTH: Duration = Duration::from_secs(16);
    cluster.settle()?;
    let before = cluster.cpu()?[0];
    sleep(LENGTH);
    Ok((cluster.cpu()?[0] - before).as_secs_f64() / LENGTH.as_secs_f64() * 100.0)
}

/// Sends a request, and reads until its answer has this text.
fn exchange(stream: &mut TcpStream, request: &[u8], until: &[u8]) -> Outcome<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request)?;
    await_text(stream, until)
}

fn await_text(stream: &mut TcpStream, text: &[u8]) -> Outcome<()> {
    let (mut read, mut bytes) = (Vec::new(), [0; 4 << 10]);
    while !read.windows(text.len()).any(|window| window == text) {
        match stream.read(&mut bytes)? {
            0 => return Err("the server closed the connection".into()),
            count => read.extend_from_slice(&bytes[..count]),
        }
    }
    Ok(())
}
