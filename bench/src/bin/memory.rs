//! Live bytes per key in a replica, by a counting allocator: `memory KEYS`, values of 100 bytes, keys of 7.
//!
//! Three replicas in one thread, which talk through the codec, so none shares a value with another. What is counted is
//! what was asked of the allocator. What the allocator and the kernel add shows in resident bytes, which the
//! comparison measures on real processes. A program of its own, because counting would slow the others down.

use hence_bench::pump::Cluster;
use hence_core::{Action, Key, Micros, Reply, VersionVector};
use serde_json::json;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

const SIZE: usize = 3;
const VALUE_BYTES: usize = 100;

/// Bytes that are allocated now.
fn live() -> f64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated - stats.bytes_deallocated) as f64
}

fn key(at: usize) -> Key {
    Key::new(&format!("k{at:06}")).expect("seven characters make a key")
}

/// Acknowledged by all, trimmed, and without the buffers of the way.
fn rest(cluster: &mut Cluster) -> f64 {
    cluster.pass(Micros::from_seconds(2));
    cluster.drop_buffers();
    live()
}

/// A tenth of a million requests per second, as a busy replica gets them: acknowledgements and trimming keep up.
fn breathe(cluster: &mut Cluster, at: usize) {
    if at.is_multiple_of(100) {
        cluster.pass(Micros::from_millis(1));
    }
}

fn main() -> ExitCode {
    let Some(keys) = std::env::args().nth(1).and_then(|keys| keys.parse().ok()).filter(|keys| *keys > 0) else {
        hence_bench::tell!("usage: memory KEYS");
        return ExitCode::FAILURE;
    };
    let mut cluster = Cluster::new(SIZE);
    let empty = rest(&mut cluster);
    let past = VersionVector::new();
    for at in 0..keys {
        // Keys come in no order: sorted ones would leave every node of a tree half full.
        cluster.put(0, &key(at * 7_919 % keys), &[b'v'; VALUE_BYTES], &past);
        breathe(&mut cluster, at);
    }
    let full = rest(&mut cluster);
    let per_key = (full - empty) / SIZE as f64 / keys as f64 - VALUE_BYTES as f64;
    for at in 0..keys {
        let reply = cluster.ask(0, &key(at), Action::Delete, &past);
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
        breathe(&mut cluster, at);
    }
    let left = (rest(&mut cluster) - empty) / (full - empty) * 100.0;
    hence_bench::say!("{}", json!({"keys": keys, "bytes_per_key": per_key, "left_percent": left}));
    ExitCode::SUCCESS
}
