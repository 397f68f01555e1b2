//! A newcomer is taken in by a cluster that holds many keys and goes on writing, with a log that is far too short.
//!
//! `HENCE_NEWCOMER_KEYS` says how many keys; a million takes minutes, so the suite runs with fewer.

use crate::cluster::Cluster;
use hence_tests::client::{Connection, request_bytes, try_request};
use hence_tests::replicas::Replicas;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Keys without the variable.
const KEYS: u64 = 20_000;
/// Requests under way on one connection while keys are loaded.
const PIPELINED: u64 = 200;
/// Between two writes of a writer while the newcomer is taken in.
const WRITE_EVERY: Duration = Duration::from_millis(2);

/// It is up with everything, no replica is taken for dead meanwhile, and the writers are answered all the time.
pub(crate) fn under_load() {
    let keys = std::env::var("HENCE_NEWCOMER_KEYS").ok().map_or(KEYS, |text| text.parse().expect("a number"));
    let mut cluster = Cluster::new("newcomer", 3).setting("HENCE_LOG_BYTES_MAX", "1MiB");
    (0..2).for_each(|at| cluster.start(at));
    cluster.await_views(&[0, 1], &[0, 1], Duration::from_secs(10));
    let loading = Instant::now();
    let loaders: Vec<_> = (0..2).map(|at| load(cluster.address(at), at as u64, keys)).collect();
    loaders.into_iter().for_each(|loader| loader.join().expect("all keys are accepted"));
    let loaded = loading.elapsed();
    cluster.await_settled(&[0, 1], Duration::from_secs(120));
    let suspicions = |cluster: &Cluster| [0, 1].map(|at| cluster.metric(at, "hence_suspicions_total"));
    let before = suspicions(&cluster);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|at| write(cluster.address(at), at as u64, keys, stop.clone())).collect();
    std::thread::sleep(Duration::from_secs(1));
    let started = Instant::now();
    cluster.start(2);
    let limit = Duration::from_secs(60 + keys / 2_000);
    let taken = cluster.poll(limit, "the newcomer to be up", || {
        for at in 0..2 {
            let view = cluster.view(at);
            assert!((0..2).all(|member| view.contains(&cluster.member(member))), "{at} lists only {view:?}");
        }
        let asked = try_request(&cluster.address(2), "GET", "/kvs/nothing", &[], None, Duration::from_secs(2));
        asked.is_ok_and(|answer| answer.status == 404).then_some(()).ok_or_else(|| "not yet".into())
    });
    assert!(taken <= started.elapsed());
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<Duration> =
        writers.into_iter().flat_map(|writer| writer.join().expect("all answered")).collect();
    latencies.sort_unstable();
    assert_eq!(suspicions(&cluster), before, "a member was taken for dead");
    cluster.await_views(&[0, 1, 2], &[0, 1, 2], Duration::from_secs(10));
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(60));
    assert_eq!(cluster.metric(2, "hence_store_keys"), keys);
    assert!(cluster.metric(2, "hence_states_installed_total") >= 1, "the log reached back");
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 1_000];
    println!(
        "note: {keys} keys loaded in {loaded:?}, newcomer up after {taken:?}; {} writes meanwhile, median {:?}, 99 % {:?}, longest {:?}",
        latencies.len(),
        at(500),
        at(990),
        at(1_000)
    );
}

/// Every other key, many requests at a time on one connection.
fn load(address: String, first: u64, keys: u64) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut connection = Connection::open(&address).expect("it listens");
        connection.timeout(Duration::from_secs(60));
        let mine: Vec<u64> = (first..keys).step_by(2).collect();
        for batch in mine.chunks(PIPELINED as usize) {
            let bytes: Vec<u8> = batch.iter().flat_map(|key| put(*key, "0")).collect();
            connection.send(&bytes);
            for key in batch {
                let answer = connection.receive(false).unwrap_or_else(|error| panic!("key {key}: {error:?}"));
                assert_eq!(answer.status, 201, "{answer:?}");
            }
        }
    })
}

fn put(key: u64, value: &str) -> Vec<u8> {
    request_bytes(
        "PUT",
        &format!("/kvs/key{key}"),
        &[],
        Some(&format!("{{\"value\":{value},\"causal-metadata\":null}}")),
    )
}

/// Writes until it is told to stop. Says how long each took.
fn write(address: String, first: u64, keys: u64, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    std::thread::spawn(move || {
        let mut connection = Connection::open(&address).expect("it listens");
        let mut latencies = Vec::new();
        let mut key = first;
        while !stop.load(Ordering::Relaxed) {
            key = (key + 7_918) % keys;
            let asked = Instant::now();
            connection.send(&put(key, "1"));
            let answer = connection.receive(false).unwrap_or_else(|error| panic!("key {key}: {error:?}"));
            assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
            latencies.push(asked.elapsed());
            std::thread::sleep(WRITE_EVERY);
        }
        latencies
    })
}
