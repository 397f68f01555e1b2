//! Processes with little memory: whatever clients and peers do, none takes more than it was given.

use crate::cluster::Cluster;
use crate::tls::secured;
use hence_tests::client::{self, Connection};
use hence_tests::fill::{LIMIT, MB, expect_full, fill, is_taken, put, slow_readers, storm, value};
use hence_tests::replicas::Replicas;
use std::fs;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(30);
const ALL: [usize; 3] = [0, 1, 2];

/// The most that this process ever had in memory, in KiB.
fn peak(cluster: &mut Cluster, at: usize) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.id(at))).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn expect_within(cluster: &mut Cluster, ats: &[usize], what: &str) {
    for &at in ats {
        assert!(cluster.is_running(at), "{at} ended: {}", cluster.logs());
        let peak = peak(cluster, at);
        println!("note: {what}: replica {at} took at most {} MiB", peak >> 10);
        assert!(peak <= LIMIT >> 10, "{what}: {at} took {peak} KiB");
    }
}

fn small(name: &str) -> Cluster {
    Cluster::new(name, 3).setting("HENCE_MEMORY_MAX", "64MiB").run()
}

/// More than fits, at one and at all; then what adds nothing.
pub(crate) fn filled() {
    let mut cluster = small("memory_filled");
    let keys = fill(&cluster, &ALL, 66, MB);
    println!("note: {} values of 1 MB were taken", keys.len());
    assert!((5..40).contains(&keys.len()), "{} were taken", keys.len());
    cluster.await_settled(&ALL, SETTLE);
    expect_full(&cluster, &ALL, &keys, MB);
    for round in 0..50 {
        let key = &keys[round % (keys.len() / 2)];
        assert!(put(&cluster, round % 3, key, MB), "overwrite {round}");
    }
    cluster.await_settled(&ALL, SETTLE);
    expect_within(&mut cluster, &ALL, "filled and overwritten");
    let page = client::request(&cluster.address(0), "GET", "/metrics", &[], None);
    assert!(page.text().contains(&format!("hence_memory_limit_bytes{{of=\"process\"}} {LIMIT}\n")), "{}", page.text());
}

/// What allocators add to small values counts.
pub(crate) fn filled_with_little() {
    let mut cluster = small("memory_small_values");
    let mut connection = Connection::open(&cluster.address(0)).expect("it listens");
    let mut taken = 0;
    loop {
        let body = format!("{{\"value\":{taken},\"causal-metadata\":null}}");
        let path = format!("/kvs/a-key-of-some-length-{taken}");
        connection.send(&client::request_bytes("PUT", &path, &[], Some(&body)));
        let response = connection.receive(false).expect("an answer");
        if !is_taken(&response, &path) {
            break;
        }
        taken += 1;
        assert!(taken < 1_000_000, "nothing is ever refused");
    }
    println!("note: {taken} small values were taken");
    cluster.await_settled(&ALL, SETTLE);
    expect_within(&mut cluster, &ALL, "filled with small values");
    let resident = cluster.metric(0, "hence_memory_resident_bytes");
    let store = cluster.metric(0, "hence_memory_bytes{part=\"store\"}");
    println!("note: {} bytes counted and {} resident for each", store / taken, resident / taken);
}

/// Batches to keys of their own until one is refused; then those that add nothing.
pub(crate) fn filled_by_batches() {
    let mut cluster = small("memory_batches");
    let mut connection = Connection::open(&cluster.address(0)).expect("it listens");
    let text = "x".repeat(900);
    let mut write = |number: usize, operation: &dyn Fn(String) -> String| {
        let operations: Vec<String> = (0..64).map(|n| operation(format!("\"key\":\"b{number}-{n}\""))).collect();
        let body = format!("{{\"operations\":[{}]}}", operations.join(","));
        connection.send(&client::request_bytes("POST", "/kvs", &[], Some(&body)));
        let response = connection.receive(false).expect("an answer");
        is_taken(&response, &format!("batch {number}"))
    };
    let put = |key: String| format!("{{\"op\":\"put\",{key},\"value\":\"{text}\"}}");
    let delete = |key: String| format!("{{\"op\":\"delete\",{key}}}");
    let taken = (0..2_000).take_while(|&number| write(number, &put)).count();
    println!("note: {taken} batches of 64 values of 900 bytes were taken");
    assert!((50..2_000).contains(&taken), "{taken} were taken");
    cluster.await_settled(&ALL, SETTLE);
    for number in 0..taken {
        assert!(write(number, &put), "batch {number} adds nothing");
    }
    assert!(write(0, &delete), "a batch that removes");
    cluster.await_settled(&ALL, SETTLE);
    expect_within(&mut cluster, &ALL, "filled by batches");
}

/// The log keeps what a dead member lacks, as long as there is room; the member comes back.
pub(crate) fn dead_member() {
    let mut cluster = small("memory_dead_member");
    cluster.kill(2);
    for n in 0..55 {
        let response = client::put(&cluster.address(n % 2), "one", &value(MB, &n.to_string()), None);
        assert!(matches!(response.status, 200 | 201), "{n}: {response:?}");
    }
    expect_within(&mut cluster, &[0, 1], "a member is dead");
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    expect_within(&mut cluster, &ALL, "it came back");
}

/// A paused member takes nothing from its connections while the others overwrite all that there is.
pub(crate) fn paused_member() {
    let mut cluster = small("memory_paused_member");
    let keys = fill(&cluster, &[0], 66, MB);
    cluster.signal(2, "STOP");
    for n in 0..60 {
        assert!(put(&cluster, n % 2, &keys[n % keys.len()], MB), "overwrite {n}");
    }
    cluster.signal(2, "CONT");
    cluster.await_settled(&ALL, SETTLE);
    expect_within(&mut cluster, &ALL, "a member was paused");
}

/// A hundred clients upload at once: as much as a body may be, and as much as it could be elsewhere.
pub(crate) fn uploads() {
    let mut cluster = small("memory_uploads");
    for bytes in [2 * MB, 8 * MB, 100_000] {
        let (taken, refused, cut) = storm(&cluster.address(0), 100, bytes);
        println!("note: 100 clients, {bytes} bytes each: {taken} were taken, {refused} refused, {cut} cut off");
        expect_within(&mut cluster, &ALL, "uploads");
    }
    cluster.await_settled(&ALL, SETTLE);
    assert_eq!(cluster.metric(0, "hence_memory_bytes{part=\"bodies\"}"), 0, "what bodies held was given back");
}

/// Clients that take nothing of large answers, whose values are replaced meanwhile.
pub(crate) fn readers() {
    let mut cluster = small("memory_slow_readers");
    let held = slow_readers(&cluster, 120, 2 * MB);
    let answers = |at: usize| cluster.metric(at, "hence_memory_bytes{part=\"answers\"}");
    for at in [0, 1] {
        assert!(answers(at) <= LIMIT / 8, "at {at} answers alone hold {} bytes", answers(at));
    }
    // Where the values are written each is read before the next one. The other replica may take several at once, and
    // then its readers share the last one.
    let ended = cluster.metric(0, "hence_memory_readers_ended_total");
    assert!(ended > 0, "answers alone hold {} bytes", answers(0));
    expect_within(&mut cluster, &ALL, "slow readers");
    drop(held);
    cluster.await_settled(&ALL, SETTLE);
    cluster.poll(SETTLE, "what answers held to be given back", || {
        let answers = cluster.metric(0, "hence_memory_bytes{part=\"answers\"}");
        if answers == 0 { Ok(()) } else { Err(format!("{answers} bytes")) }
    });
}

/// Slow readers and uploads within TLS, which holds records of its own.
pub(crate) fn within_tls() {
    let (_authority, cluster) = secured("memory_within_tls", 3);
    let mut cluster = cluster.setting("HENCE_MEMORY_MAX", "64MiB").run();
    let held = slow_readers(&cluster, 120, 2 * MB);
    expect_within(&mut cluster, &ALL, "slow readers within TLS");
    drop(held);
    for bytes in [2 * MB, 100_000] {
        let (taken, refused, cut) = storm(&cluster.address(0), 100, bytes);
        println!("note: 100 clients, {bytes} bytes each: {taken} were taken, {refused} refused, {cut} cut off");
        expect_within(&mut cluster, &ALL, "uploads within TLS");
    }
    cluster.await_settled(&ALL, SETTLE);
}

/// One of less memory than the others cannot follow: it says so, lives on, and follows when there is less.
pub(crate) fn smaller_member() {
    let mut cluster = Cluster::new("memory_smaller_member", 3)
        .setting("HENCE_MEMORY_MAX", "64MiB")
        .setting_of(2, "HENCE_MEMORY_MAX", "24MiB")
        .run();
    let keys = fill(&cluster, &[0, 1], 66, 200_000);
    cluster.poll(SETTLE, "the smaller one to say so", || {
        let ready = client::request(&cluster.address(2), "GET", "/ready", &[], None);
        let why = "Replica is not ready: it has no memory left for what other replicas have";
        let told = ready.status == 503 && ready.json()["error"] == why;
        if told { Ok(()) } else { Err(format!("{ready:?}")) }
    });
    assert_eq!(cluster.metric(2, "hence_memory_held_back"), 1);
    assert_eq!(cluster.get(2, "filled0", None).status, 200, "it serves what it has");
    assert!(put(&cluster, 0, "filled0", 200_000), "the others go on");
    cluster.await_settled_links(&ALL, SETTLE);
    for key in &keys[1..] {
        assert_eq!(client::delete(&cluster.address(0), key, None).status, 200);
    }
    cluster.await_settled(&ALL, 3 * SETTLE);
    expect_within(&mut cluster, &ALL, "one is smaller");
}
