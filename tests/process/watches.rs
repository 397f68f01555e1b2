//! Clients that watch: what they are told, where they go on, and what slow, silent and many of them cost.

use crate::bad_input::{Bad, Expect, send_all};
use crate::client::{Terminal, terminal};
use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal};
use hence_core::{ClusterTag, Incarnation, Token, VersionVector};
use hence_tests::client::{self, Connection, NoResponse, request_bytes};
use hence_tests::replicas::Replicas;
use hence_tests::watcher::Watcher;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

const EVENTS: (&str, &str) = ("Accept", "text/event-stream");

/// What a list says is there.
fn listed(cluster: &Cluster, at: usize, prefix: &str) -> BTreeMap<String, Value> {
    let page = client::request(&cluster.address(at), "GET", &format!("/kvs?prefix={prefix}&limit=1000"), &[], None);
    let items = page.json()["items"].as_array().expect("items").clone();
    items.iter().map(|item| (item["key"].as_str().expect("a key").to_owned(), item["value"].clone())).collect()
}

fn batch(cluster: &Cluster, at: usize, operations: &Value) {
    let body = json!({ "operations": operations }).to_string();
    let answer = client::request(&cluster.address(at), "POST", "/kvs", &[], Some(&body));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Writes at all replicas reach watchers at all replicas; of a batch all or nothing.
pub(crate) fn follow() {
    let cluster = Cluster::running("watch_follows", 3);
    for key in 0..300 {
        cluster.put(key % 3, &format!("a{key:03}"), "[1,\r\n2]", None, 201);
    }
    cluster.await_settled(&[0, 1, 2], LIMIT);
    let mut watchers: Vec<Watcher> =
        (0..3).map(|at| Watcher::open(&cluster.address(at), "/kvs?prefix=a", &[])).collect();
    for watcher in &mut watchers {
        watcher.sync(LIMIT);
        assert_eq!(watcher.held.len(), 300);
        assert!(watcher.held.values().all(|value| *value == json!([1, 2])), "{:?}", watcher.held);
        let ids = watcher.events.iter().filter(|event| event.id.is_some()).count();
        assert_eq!(ids, 2, "the beginning, and the first state as one cut");
    }
    for key in 0..100 {
        let (at, name) = (key % 3, format!("a{key:03}"));
        match key % 5 {
            0 => _ = client::delete(&cluster.address(at), &name, None),
            1 => batch(
                &cluster,
                at,
                &json!([{ "op": "put", "key": name, "value": key },
                { "op": "put", "key": format!("atwin{key}"), "value": key }, { "op": "put", "key": "b", "value": 0 }]),
            ),
            _ => _ = cluster.put(at, &name, &key.to_string(), None, 200),
        }
    }
    cluster.put(0, "b", "1", None, 200);
    cluster.put(0, "a-last", "true", None, 201);
    cluster.await_settled(&[0, 1, 2], LIMIT);
    let expected = listed(&cluster, 0, "a");
    assert_eq!(expected.len(), 300 - 20 + 20 + 1);
    for watcher in &mut watchers {
        watcher.follow(LIMIT, |held| *held == expected);
        assert!(!watcher.names().contains(&"reset") && !watcher.held.contains_key("b"));
        are_whole(watcher);
    }
    let open: u64 = (0..3).map(|at| cluster.metric(at, "hence_watches")).sum();
    assert_eq!(open, 3);
}

/// Both puts of a batch are in one cut.
fn are_whole(watcher: &Watcher) {
    let mut cut = Vec::new();
    for event in &watcher.events {
        cut.extend(event.data.contains("atwin").then(|| event.data.clone()));
        cut.extend(event.data.contains("\"key\":\"a0").then(|| event.data.clone()));
        if event.id.is_none() {
            continue;
        }
        for twin in cut.iter().filter_map(|data| data.split_once("atwin")?.1.split_once('"')) {
            let other = format!("\"key\":\"a{:03}\",\"value\":{0},", twin.0.parse::<u64>().expect("a number"));
            assert!(cut.iter().any(|data| data.contains(&other)), "{other} is not beside its twin in {cut:?}");
        }
        cut.clear();
    }
}

/// A watcher goes on at another replica when its own is killed, again and again, and misses nothing.
pub(crate) fn resume() {
    let mut cluster = Cluster::running("watch_resumes", 3);
    cluster.put(0, "a", "0", None, 201);
    cluster.await_settled(&[0, 1, 2], LIMIT);
    let mut watcher = Watcher::open(&cluster.address(0), "/kvs", &[]);
    watcher.sync(LIMIT);
    for round in 0..6_usize {
        let (victim, next) = (round % 3, (round + 1) % 3);
        cluster.put(next, &format!("gone{round}"), "1", None, 201);
        cluster.await_settled(&[0, 1, 2], LIMIT);
        watcher.follow(LIMIT, |held| held.contains_key(&format!("gone{round}")));
        cluster.kill(victim);
        // What happens while nobody tells it.
        client::delete(&cluster.address(next), &format!("gone{round}"), None);
        cluster.put(next, "a", &round.to_string(), None, 200);
        cluster.put(next, &format!("kept{round}"), "1", None, 201);
        watcher.resume(&cluster.address(next), "/kvs");
        let expected = listed(&cluster, next, "");
        watcher.follow(LIMIT, |held| *held == expected);
        cluster.start(victim);
        cluster.await_settled(&[0, 1, 2], LIMIT);
    }
    assert!(!watcher.names().contains(&"reset"), "{:?}", watcher.names());
    let told: Vec<&str> = watcher.names();
    assert!(told.contains(&"delete"), "{told:?}");
}

/// What was forgotten, what belongs to another watch and what was lost: the client is told that it begins anew.
pub(crate) fn reset() {
    let cluster = Cluster::new("watch_resets", 2).setting("HENCE_WATCH_DELETES_MAX", "2").run();
    for key in ["a", "b", "c", "d"] {
        cluster.put(0, key, "1", None, 201);
    }
    cluster.await_settled(&[0, 1], LIMIT);
    let mut watcher = Watcher::open(&cluster.address(0), "/kvs", &[]);
    watcher.sync(LIMIT);
    for key in ["a", "b", "c"] {
        client::delete(&cluster.address(0), key, None);
    }
    cluster.await_settled(&[0, 1], LIMIT);
    watcher.resume(&cluster.address(1), "/kvs");
    watcher.sync(LIMIT);
    assert_eq!(watcher.held.keys().collect::<Vec<_>>(), ["d"]);
    assert_eq!(watcher.names().iter().filter(|name| **name == "reset").count(), 1, "{:?}", watcher.names());
    // The id of another watch.
    watcher.resume(&cluster.address(1), "/kvs?prefix=d&keys-only=true");
    watcher.sync(LIMIT);
    assert_eq!(watcher.names().iter().filter(|name| **name == "reset").count(), 2, "{:?}", watcher.names());
    assert_eq!(watcher.held.len(), 1);
}

/// A write that dies with its only holder: its watcher is told so, and what is left.
pub(crate) fn lost() {
    let mut cluster = Cluster::running("watch_of_lost_writes", 3);
    cluster.put(0, "kept", "1", None, 201);
    cluster.await_settled(&[0, 1, 2], LIMIT);
    let mut watcher = Watcher::open(&cluster.address(2), "/kvs", &[]);
    watcher.sync(LIMIT);
    cut(&cluster.ip(2), Cut::Refused);
    std::thread::sleep(Duration::from_millis(50));
    cluster.put(2, "lost", "1", None, 201);
    watcher.follow(LIMIT, |held| held.contains_key("lost"));
    // What the kernel still sends of it after the heal is too old to count.
    std::thread::sleep(Duration::from_millis(1_300));
    cluster.kill(2);
    heal(&cluster.ip(2));
    watcher.resume(&cluster.address(0), "/kvs");
    let told = watcher.next(Duration::from_secs(2));
    assert_eq!(told, Err(NoResponse::TimedOut), "nobody knows yet that it is lost");
    cluster.start(2);
    watcher.follow(LIMIT, |held| !held.contains_key("lost") && held.contains_key("kept"));
    assert!(watcher.events.iter().any(|event| event.data == "{\"lost\":true}"), "{:?}", watcher.events);
}

/// A token that names what the replica lacks: the stream is there at once and tells something once it has that.
pub(crate) fn waits() {
    let mut cluster = Cluster::running("watch_waits", 2);
    cluster.signal(1, "STOP");
    let token = cluster.put(0, "a", "1", None, 201).token();
    cluster.signal(1, "CONT");
    let mut watcher = Watcher::open(&cluster.address(1), &format!("/kvs/a?causal-metadata={token}"), &[]);
    watcher.sync(LIMIT);
    assert_eq!(watcher.held.get("a"), Some(&json!(1)));
    let past = watcher.id.clone().expect("an id").split('~').nth(1).expect("a token").to_owned();
    assert_eq!(cluster.get(0, "a", Some(&past)).status, 200, "the middle of an id is a token");
}

/// A replica that ends tells its watchers, and does not wait for them.
pub(crate) fn ends() {
    let mut cluster = Cluster::running("watch_ends", 1);
    let mut watcher = Watcher::open(&cluster.address(0), "/kvs", &[]);
    watcher.sync(LIMIT);
    let start = Instant::now();
    assert!(cluster.terminate(0).success());
    assert!(start.elapsed() < Duration::from_millis(1_800), "{:?}", start.elapsed());
    assert!(matches!(watcher.next(LIMIT), Err(NoResponse::Closed(_))));
}

/// Long polls: at once where something changed, later where it does, and at the end where it did not.
pub(crate) fn polls() {
    let cluster = Cluster::running("watch_polls", 2);
    let etag = cluster.put(0, "a", "1", None, 201).header("etag").expect("a tag").to_owned();
    cluster.await_settled(&[0, 1], LIMIT);
    let poll = |key: &str, seconds: &str, tag: &str| {
        let start = Instant::now();
        let path = format!("/kvs/{key}?poll={seconds}");
        let headers = [("If-None-Match", tag)];
        let answer = client::try_request(&cluster.address(1), "GET", &path, &headers, None, LIMIT).expect("an answer");
        (answer, start.elapsed())
    };
    let soon = Duration::from_millis(900);
    let (answer, took) = poll("a", "5", "\"other\"");
    assert_eq!((answer.status, took < soon), (200, true), "{answer:?} after {took:?}");
    let (answer, took) = poll("a", "1", &etag);
    assert_eq!((answer.status, took >= soon), (304, true), "{answer:?} after {took:?}");
    let (answer, took) = poll("a", "0", &etag);
    assert_eq!((answer.status, took < soon), (304, true), "{answer:?} after {took:?}");
    let (answer, took) = poll("b", "5", &etag);
    assert_eq!((answer.status, took < soon), (404, true), "{answer:?} after {took:?}");
    let (answer, took) = poll("b", "1", "\"absent\"");
    assert_eq!((answer.status, took >= soon), (404, true), "{answer:?} after {took:?}");
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| poll("a", "15", &etag));
        let comes = scope.spawn(|| poll("b", "15", "\"absent\""));
        std::thread::sleep(soon);
        cluster.put(0, "a", "2", None, 200);
        cluster.put(0, "b", "1", None, 201);
        for thread in [changes, comes] {
            let (answer, took) = thread.join().expect("a poll");
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(took >= soon / 2 && took < Duration::from_secs(10), "{took:?}");
        }
    });
    // A key that goes is a change, too.
    let etag = cluster.get(1, "a", None).header("etag").expect("a tag").to_owned();
    std::thread::scope(|scope| {
        let goes = scope.spawn(|| poll("a", "15", &etag));
        std::thread::sleep(soon);
        client::delete(&cluster.address(0), "a", None);
        assert_eq!(goes.join().expect("a poll").0.status, 404);
    });
    // A client that leaves frees its place.
    let mut leaver = Connection::open(&cluster.address(1)).expect("a connection");
    let headers = [("If-None-Match", "\"absent\"")];
    leaver.send(&request_bytes("GET", "/kvs/a?poll=30", &headers, None));
    let watches = |wanted: u64| {
        cluster.poll(Duration::from_secs(8), "watches", || {
            let open = cluster.metric(1, "hence_watches");
            if open == wanted { Ok(()) } else { Err(format!("{open}")) }
        });
    };
    watches(1);
    drop(leaver);
    watches(0);
}

/// Odd and bad requests to watch.
pub(crate) fn bad() {
    let cluster = Cluster::running("bad_watches", 3);
    cluster.put(0, "present", "\"value\"", None, 201);
    cluster.await_settled(&[0, 1, 2], LIMIT);
    let watch = |name: &str, target: &str, expect| {
        Bad::headers(name, &format!("GET {target}"), "Accept: text/event-stream\r\n", expect)
    };
    let of = |cluster: ClusterTag| Token(VersionVector::from_entries([(Incarnation::new(3, 7), 1)])).encode(cluster);
    let (own, foreign) = (of(ClusterTag::of("hence")), of(ClusterTag(1)));
    let mut table = Vec::new();
    for parameter in
        ["limit=1", "start=a", "end=a", "reverse=true", "delimiter=/", "count-only=true", "x", "siblings=true"]
    {
        table.push(watch("a parameter of lists", &format!("/kvs?{parameter}"), Expect::AnyError(400)));
        table.push(watch("a parameter of lists", &format!("/kvs/present?{parameter}"), Expect::AnyError(400)));
    }
    for parameter in
        ["prefix=%ff", "prefix=%", "prefix=a&prefix=a", "keys-only=1", "keys-only", "since=x", "since=~", "since=a~b~c"]
    {
        table.push(watch("a bad value", &format!("/kvs?{parameter}"), Expect::AnyError(400)));
    }
    table.push(watch("a prefix beside a key", "/kvs/present?prefix=a", Expect::AnyError(400)));
    table.push(watch("a long key", &format!("/kvs/{}", "k".repeat(51)), Expect::AnyError(400)));
    for id in [
        String::from("x"),
        "~~".into(),
        "00000000~~".into(),
        "0000000g~-~-".into(),
        format!("0~{own}~-"),
        format!("00000000~{own}"),
        format!("00000000~{own}~-~"),
        format!("00000000~{own}~x"),
        format!("00000000~-~{own}"),
        format!("00000000~{foreign}~-"),
        format!("00000000~{own}~{foreign}"),
        "\u{e9}".into(),
        "a".repeat(9_000),
    ] {
        let head = format!("Accept: text/event-stream\r\nLast-Event-ID: {id}\r\n");
        table.push(Bad::headers("a bad id", "GET /kvs", &head, Expect::AnyError(400)));
    }
    for poll in ["poll=", "poll=x", "poll=-1", "poll=1.5", "poll=1s", "poll=5"] {
        table.push(Bad::headers(
            "a poll without what it has",
            &format!("GET /kvs/present?{poll}"),
            "",
            Expect::AnyError(400),
        ));
    }
    for poll in ["poll=", "poll=x", "poll=-1", "poll=1.5", "poll=1s"] {
        let head = "If-None-Match: \"absent\"\r\n";
        table.push(Bad::headers(
            "a poll of no length",
            &format!("GET /kvs/present?{poll}"),
            head,
            Expect::AnyError(400),
        ));
    }
    send_all(&cluster, &table);
    assert!(table.len() >= 45, "only {} watches", table.len());
    are_asked_by_name(&cluster);
    println!("note: {} bad or odd watches", table.len());
}

/// The type must be named, and not refused.
fn are_asked_by_name(cluster: &Cluster) {
    for accept in ["*/*", "text/*", "text/event-stream;q=0", "application/json"] {
        let answer = client::request(&cluster.address(0), "GET", "/kvs/present", &[("Accept", accept)], None);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{accept}");
    }
    for accept in ["application/json, text/event-stream", "TEXT/Event-Stream; q=0.1"] {
        let mut connection = Connection::open(&cluster.address(0)).expect("a connection");
        connection.send(&request_bytes("GET", "/kvs/present", &[("Accept", accept)], None));
        let head = connection.receive_head().expect("an answer");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{accept}");
    }
    let head = client::request(&cluster.address(0), "HEAD", "/kvs/present", &[EVENTS], None);
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
}

/// `hence watch`: what it prints, where it goes on, and what the session learns of it.
pub(crate) fn command() {
    let mut cluster = Cluster::running("client_watches", 3);
    let mut at = terminal(&cluster, "client_watches_files");
    at.prints(&["put", "a/1", "[1,\n 2]", "--session", "me"]);
    at.prints(&["put", "a/2", "2", "--session", "me"]);
    at.prints(&["put", "b\n", "3", "--session", "me"]);
    assert_eq!(
        at.prints(&["watch", "--once", "--session", "me"]),
        "put\ta/1\t[1,  2]\nput\ta/2\t2\nput\t\"b\\n\"\t3\nsynced\n"
    );
    assert_eq!(at.prints(&["watch", "a/2", "--once", "--keys-only", "--session", "me"]), "put\ta/2\nsynced\n");
    let shown = at.prints(&["watch", "--prefix", "a/", "--once", "--json", "--session", "me"]);
    let cut: Value = serde_json::from_str(&shown).expect("one line of JSON");
    assert_eq!((cut["changes"][0]["value"].clone(), cut["synced"].clone()), (json!([1, 2]), json!(true)), "{cut}");
    let id = cut["id"].as_str().expect("an id").to_owned();
    at.prints(&["del", "a/1", "--session", "me"]);
    let since = ["watch", "--prefix", "a/", "--since", &id, "--once", "--session", "me"];
    assert_eq!(at.prints(&since), "delete\ta/1\nsynced\n");
    at.fails(&["watch", "--since", "x", "--once"], 1, "is not an id that a watch gave");
    at.fails(&["watch", "a", "--prefix", "b"], 2, "cannot be used with");
    at.endpoints = "127.0.0.1:9".into();
    at.fails(&["watch", "--timeout", "1s"], 1, "no replica served the request in time");
    at.endpoints = (0..3).map(|at| cluster.address(at)).collect::<Vec<_>>().join(",");
    survives(&mut cluster, &at);
}

/// A watch that runs while one replica after the other is killed prints every key that was put, and ends by Ctrl-C.
fn survives(cluster: &mut Cluster, at: &Terminal) {
    let mut child =
        at.command(&["watch", "--prefix", "k", "--session", "watch"]).spawn().expect("the binary was built");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let (said, heard) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || lines.for_each(|line| said.send(line).unwrap_or_default()));
    assert_eq!(heard.recv_timeout(LIMIT).as_deref(), Ok("synced"));
    let mut held = BTreeMap::new();
    for round in 0..3 {
        cluster.kill(round);
        for key in 0..20 {
            cluster.put((round + 1) % 3, &format!("k{round}-{key}"), "1", None, 201);
        }
        while held.len() < 20 * (round + 1) {
            let line = heard.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{error}: {held:?}"));
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["put", key, "1"] => _ = held.insert(key.to_owned(), ()),
                ["synced"] => {}
                _ => panic!("{line}"),
            }
        }
        cluster.start(round);
        cluster.await_settled(&[0, 1, 2], LIMIT);
    }
    crate::cluster::signal(child.id(), "INT");
    assert!(child.wait().expect("our child").success());
    reading.join().expect("it reads to the end");
    let session = std::fs::read_to_string(at.folder.join("watch")).expect("the session was kept");
    assert_eq!(cluster.get(0, "k0-0", Some(session.trim())).status, 200);
}
