//! Fills replicas until they have no memory for more, and says what must hold then, wherever they run.

use crate::client::{self, Connection, NoResponse, Response, request_bytes};
use crate::replicas::Replicas;
use std::time::Duration;

/// A million bytes, as people count.
pub const MB: usize = 1_000_000;

/// The most memory that each replica of these tests may take.
pub const LIMIT: u64 = 64 << 20;

/// A JSON text of this many bytes that no other has.
pub fn value(bytes: usize, name: &str) -> String {
    let mut text = format!("\"{name}-");
    text.extend(std::iter::repeat_n('x', bytes - text.len() - 1));
    text + "\""
}

/// Was it written? If not, it must be refused as the contract says, with nothing else amiss.
pub fn is_taken(response: &Response, what: &str) -> bool {
    if matches!(response.status, 200 | 201) {
        return true;
    }
    let expected = (503, r#"{"error":"Write limit reached; try again later"}"#);
    assert_eq!((response.status, response.text()), expected, "{what}");
    assert!(response.header("retry-after").is_some(), "{what}: {response:?}");
    false
}

/// Writes a value of this size; says whether it was taken.
pub fn put(cluster: &impl Replicas, at: usize, key: &str, bytes: usize) -> bool {
    let response = client::put(&cluster.address(at), key, &value(bytes, key), None);
    is_taken(&response, &format!("PUT {key} at {at}"))
}

/// Writes so many values to keys of their own, in turn at each of these replicas. The keys that were taken.
pub fn fill(cluster: &impl Replicas, ats: &[usize], count: usize, bytes: usize) -> Vec<String> {
    let keys = (0..count).map(|n| (ats[n % ats.len()], format!("filled{n}")));
    keys.filter(|(at, key)| put(cluster, *at, key, bytes)).map(|(_, key)| key).collect()
}

/// At the limit: what adds is refused everywhere, what replaces as much is taken everywhere, and a delete makes room.
pub fn expect_full(cluster: &impl Replicas, ats: &[usize], keys: &[String], bytes: usize) {
    for (&at, key) in ats.iter().zip(keys) {
        assert!(!put(cluster, at, &format!("more{at}"), 2 * bytes), "a write that adds at {at}");
        assert!(put(cluster, at, key, bytes), "an overwrite of equal size at {at}");
        assert_eq!(cluster.get(at, key, None).status, 200, "a read at {at}");
        assert_eq!(cluster.metric(at, "hence_memory_held_back"), 0, "at {at}");
    }
    // While values were on their way to it, each replica took a few more than one alone would have.
    let makes_room = |key: &String| {
        let deleted = client::delete(&cluster.address(ats[0]), key, None);
        assert_eq!(deleted.status, 200, "{deleted:?}");
        put(cluster, ats[0], "instead", bytes - 100)
    };
    assert!(keys.iter().rev().take(keys.len() / 2).any(makes_room), "what was deleted makes room");
}

/// So many clients at a time write a value of this size each. How many were taken, were refused, and lost their
/// connection, as they may while their body is on its way.
pub fn storm(address: &str, clients: usize, bytes: usize) -> (usize, usize, usize) {
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|n| {
                scope.spawn(move || {
                    let body = format!("{{\"value\":{},\"causal-metadata\":null}}", value(bytes, "storm"));
                    let path = format!("/kvs/storm{n}");
                    client::try_request(address, "PUT", &path, &[], Some(&body), Duration::from_secs(60))
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("a client panicked")).collect()
    });
    let (mut taken, mut refused, mut cut) = (0, 0, 0);
    for outcome in outcomes {
        match outcome {
            Ok(response) if matches!(response.status, 200 | 201) => taken += 1,
            Ok(response) => {
                assert!(matches!(response.status, 413 | 503), "{response:?}");
                refused += 1;
            }
            Err(NoResponse::Closed(_)) => cut += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    (taken, refused, cut)
}

/// So many clients ask for a large value and take nothing of it. It is replaced each time, at the same replica and at
/// another. Some wait for it first, and some ask for a page of diagnosis behind it. Who reads at once is served meanwhile.
/// The connections, to be held for as long as this is to last.
pub fn slow_readers(cluster: &impl Replicas, clients: usize, bytes: usize) -> Vec<Connection> {
    let mut held = Vec::new();
    for n in 0..clients {
        let written = client::put(&cluster.address(0), "read-slowly", &value(bytes, &n.to_string()), None);
        assert!(is_taken(&written, &format!("PUT {n}")));
        let mut reader = Connection::open(&cluster.address(n % 2)).expect("it listens");
        let waits = [("causal-metadata", &*written.token()), ("prefer", "wait=20")];
        let headers: &[(&str, &str)] = if n % 4 == 1 { &waits } else { &[] };
        reader.send(&request_bytes("GET", "/kvs/read-slowly", headers, None));
        if n % 4 == 3 {
            reader.send(&request_bytes("GET", "/replica/state", &[], None));
        }
        held.push(reader);
        if n % 10 == 9 {
            for at in [0, 1] {
                let honest = cluster.get(at, "read-slowly", None);
                assert_eq!(honest.status, 200, "a client that reads, at {at}");
                assert!(honest.body.len() > bytes);
            }
        }
    }
    held
}
