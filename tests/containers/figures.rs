//! Figures for the documentation: a replica that restarts beside load with 100,000 keys to fetch. Run on request.
//!
//! Steady clients on kept connections read and write at the other two replicas. The p99 of what they wait, from
//! `docker run` until the new replica is ready, is compared with the p99 of the time before; five times.

use crate::cluster::Cluster;
use hence_tests::client::{Connection, request_bytes};
use hence_tests::replicas::Replicas;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const KEYS: usize = 100_000;
const VALUE_BYTES: usize = 100;
const RUNS: usize = 5;
const CLIENTS: usize = 8;
/// Between two requests of a client: about 2,500 requests a second from all.
const PAUSE: Duration = Duration::from_millis(3);

/// When a request was sent, and how long its answer took.
type Sample = (Instant, Duration);

struct Steady {
    ended: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Steady {
    fn start(addresses: &[String]) -> Self {
        let (ended, samples) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let spawn = |name: usize| {
            let (ended, samples) = (ended.clone(), samples.clone());
            let address = addresses[name % addresses.len()].clone();
            std::thread::spawn(move || steady(name, &address, &ended, &samples))
        };
        Self { clients: (0..CLIENTS).map(spawn).collect(), ended, samples }
    }

    /// The p99 of what was sent between two moments, and how many that were.
    fn p99(&self, from: Instant, to: Instant) -> (Duration, usize) {
        let samples = self.samples.lock().expect("no holder panics");
        let mut times: Vec<Duration> =
            samples.iter().filter(|(sent, _)| *sent >= from && *sent < to).map(|&(_, time)| time).collect();
        times.sort_unstable();
        (times.get(times.len() * 99 / 100).copied().unwrap_or_default(), times.len())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| _ = client.join());
    }
}

fn value(number: usize) -> String {
    format!("{{\"value\":\"{number:0>98}\"}}")
}

fn steady(name: usize, address: &str, ended: &AtomicBool, samples: &Mutex<Vec<Sample>>) {
    let mut connection = Connection::open(address).expect("the replica runs");
    let mut number = name;
    while !ended.load(Ordering::Relaxed) {
        number += CLIENTS;
        let path = format!("/kvs/key{}", number % KEYS);
        let bytes = match number / CLIENTS % 4 {
            0 => request_bytes("PUT", &path, &[], Some(&value(number))),
            _ => request_bytes("GET", &path, &[], None),
        };
        let sent = Instant::now();
        let answer = connection.send(&bytes).receive(false).expect("the replica lives");
        let time = sent.elapsed();
        assert_eq!(answer.status, 200, "{answer:?}");
        samples.lock().expect("no holder panics").push((sent, time));
        std::thread::sleep(PAUSE);
    }
}

fn fill(cluster: &Cluster) {
    std::thread::scope(|scope| {
        for part in 0..CLIENTS {
            let address = cluster.address(part % 3);
            scope.spawn(move || {
                let mut connection = Connection::open(&address).expect("the replica runs");
                for number in (part..KEYS).step_by(CLIENTS) {
                    let bytes = request_bytes("PUT", &format!("/kvs/key{number}"), &[], Some(&value(number)));
                    let answer = connection.send(&bytes).receive(false).expect("the replica lives");
                    assert_eq!(answer.status, 201, "{answer:?}");
                }
            });
        }
    });
}

/// Five restarts with 100,000 keys of 100 bytes to fetch. `HENCE_FIGURES_SECONDS` is the time before each; 60 unless set.
pub(crate) fn restart_beside_load() {
    assert_eq!(value(1).len(), VALUE_BYTES + "{\"value\":}".len());
    let seconds = std::env::var("HENCE_FIGURES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut cluster = Cluster::running("figures");
    fill(&cluster);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(30));
    let steady = Steady::start(&[cluster.address(0), cluster.address(1)]);
    let (mut ratios, mut ready) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let calm = Instant::now();
        std::thread::sleep(Duration::from_secs(seconds));
        let (before, before_count) = steady.p99(calm, Instant::now());
        cluster.kill(&[2]);
        cluster.await_views(&[0, 1], &[0, 1], Duration::from_secs(10));
        let start = Instant::now();
        cluster.start(2);
        let started = start.elapsed();
        let time = start.elapsed() + cluster.await_ready(2, &[0, 1, 2], Duration::from_secs(10));
        let (meanwhile, count) = steady.p99(start, start + time);
        let ratio = meanwhile.as_secs_f64() / before.as_secs_f64();
        note!(
            "run {run}: docker run returned after {started:?}, ready after {time:?}; p99 {meanwhile:?} of {count} \
             requests, before {before:?} of {before_count}: {ratio:.2} times"
        );
        ratios.push(ratio);
        ready.push(time);
    }
    drop(steady);
    ratios.sort_by(f64::total_cmp);
    ready.sort_unstable();
    note!("median: ready {:?} after docker run, p99 {:.2} times that before", ready[RUNS / 2], ratios[RUNS / 2]);
}
