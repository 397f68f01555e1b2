//! Many watchers, and watchers that do not read: what they cost, and what ends.

use crate::cluster::Cluster;
use crate::slow_clients::{open_files_max, resident_kib};
use hence_tests::client::{Connection, NoResponse, request_bytes};
use hence_tests::replicas::Replicas;
use hence_tests::watcher::Watcher;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

/// Watchers beyond the limit, watchers that leave, and watchers that do not read.
pub(crate) fn limits() {
    let cluster = Cluster::new("watch_limits", 1)
        .setting("HENCE_WATCHES_MAX", "8")
        .setting("HENCE_CONNECTIONS_MAX", "20")
        .setting("HENCE_ANSWER_TIME_MAX", "3s")
        .setting("HENCE_WATCH_HEARTBEAT", "300ms")
        .run();
    let address = cluster.address(0);
    cluster.put(0, "a", "0", None, 201);
    let mut watchers: Vec<Watcher> = (0..8).map(|_| Watcher::open(&address, "/kvs", &[])).collect();
    let refused = Watcher::try_open(&address, "/kvs", &[]).err().expect("no place is left");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(refused.json()["error"].is_string());
    for _ in 0..60 {
        cluster.get_expecting(0, "a", None, 200); // connections without a watch go on making room
    }
    let mut quiet = watchers.pop().expect("a watcher");
    while quiet.comments < 3 {
        let event = quiet.next(Duration::from_secs(1));
        assert!(event.is_ok() || event == Err(NoResponse::TimedOut) || quiet.comments >= 3, "{event:?}");
        if quiet.events.len() >= 3 {
            break;
        }
    }
    drop((quiet, watchers));
    let free = |what: &str, left: u64| {
        cluster.poll(Duration::from_secs(5), what, || {
            let open = cluster.metric(0, "hence_watches");
            if open == left { Ok(()) } else { Err(format!("{open} watches")) }
        });
    };
    free("leavers to free their places", 0);
    // One that reads nothing, and one that reads a byte a second, while much is told to them.
    let mut silent = Watcher::open(&address, "/kvs", &[]);
    read_slowly(&address);
    let mut reader = Watcher::open(&address, "/kvs", &[]);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let start = Instant::now();
    let mut round = 0;
    while cluster.metric(0, "hence_watches") > 1 && start.elapsed() < Duration::from_secs(30) {
        cluster.put(0, &format!("large{}", round % 4), &large, None, if round < 4 { 201 } else { 200 });
        round += 1;
        reader.follow(LIMIT, |held| held.contains_key(&format!("large{}", (round - 1) % 4)));
    }
    free("those that do not read to be ended", 1);
    let end = loop {
        if let Err(end) = silent.next(Duration::from_secs(1)) {
            break end;
        }
    };
    assert!(matches!(end, NoResponse::Closed(_)), "{end:?}");
    drop(reader);
    free("the reader to leave", 0);
}

/// Watches, and reads a byte a second for a minute at most.
fn read_slowly(address: &str) {
    let mut stream = TcpStream::connect(address).expect("the replica listens");
    stream.write_all(&request_bytes("GET", "/kvs", &[EVENTS], None)).expect("a request");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    std::thread::spawn(move || {
        for _ in 0..60 {
            let Ok(1) = stream.read(&mut [0]) else { return };
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}

/// More watchers than there are places: the others are told so, clients that do not watch are served, and memory stays
/// bounded.
pub(crate) fn crowd() {
    let mut cluster = Cluster::running("watch_crowd", 1);
    cluster.put(0, "a", "0", None, 201);
    let (address, id) = (cluster.address(0), cluster.id(0));
    let target = 20_000.min(open_files_max().saturating_sub(500));
    let before = resident_kib(id);
    let mut first = Watcher::open(&address, "/kvs/a", &[]);
    let request = request_bytes("GET", "/kvs/a", &[EVENTS], None);
    let (mut watching, mut refused) = (Vec::new(), 0);
    for count in 1..target {
        let mut connection = Connection::open(&address).expect("the replica listens");
        connection.send(&request);
        match connection.receive_head().expect("an answer").status {
            200 => watching.push(connection),
            503 => refused += 1,
            other => panic!("watcher {count} was answered {other}"),
        }
        if count % 500 == 0 {
            cluster.get_expecting(0, "a", None, 200);
        }
    }
    assert_eq!(cluster.metric(0, "hence_watches"), 1 + watching.len() as u64);
    assert!(refused > 0 || target < 4_096, "{target} watchers are more than there are places");
    cluster.put(0, "a", "1", None, 200);
    first.follow(LIMIT, |held| held.get("a") == Some(&json!(1)));
    let grown = resident_kib(id).zip(before).map(|(now, before)| now.saturating_sub(before));
    println!("note: of {target} watchers {} found a place, memory grew by {grown:?} KiB", 1 + watching.len());
    assert!(grown.is_none_or(|grown| grown < 150 << 10), "grown by {grown:?} KiB");
}

/// A write to a key that a thousand watch.
pub(crate) fn thousand() {
    let cluster = Cluster::running("watch_thousand", 1);
    cluster.put(0, "a", "0", None, 201);
    let mut watchers: Vec<Watcher> = (0..1_000).map(|_| Watcher::open(&cluster.address(0), "/kvs/a", &[])).collect();
    watchers.iter_mut().for_each(|watcher| watcher.sync(LIMIT));
    let start = Instant::now();
    cluster.put(0, "a", "1", None, 200);
    let answered = start.elapsed();
    watchers.iter_mut().for_each(|watcher| watcher.follow(LIMIT, |held| held["a"] == json!(1)));
    println!("note: the write was answered after {answered:?}, a thousand watchers had it after {:?}", start.elapsed());
}
