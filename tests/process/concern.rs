//! Writes that are to be at several of three replicas before they are answered.

use crate::cluster::Cluster;
use hence_tests::client::{self, Connection, Response, request_bytes};
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

/// Writes on one connection whose times are compared.
const ROUNDS: usize = 500;

/// Much longer than a write takes to spread, and shorter than a wait that ends by itself.
const AT_ONCE: Duration = Duration::from_millis(500);

const VALUE: &str = "{\"value\":1}";

fn put(cluster: &Cluster, concern: &str, wait: Option<&str>) -> (Response, Duration) {
    let mut headers = vec![("Write-Concern", concern)];
    headers.extend(wait.map(|wait| ("Prefer", wait)));
    let start = Instant::now();
    let limit = Duration::from_secs(20);
    let answer = client::try_request(&cluster.address(0), "PUT", "/kvs/k", &headers, Some(VALUE), limit);
    (answer.expect("an answer"), start.elapsed())
}

const BATCH: &str =
    "{\"operations\":[{\"op\":\"put\",\"key\":\"k\",\"value\":1},{\"op\":\"put\",\"key\":\"l\",\"value\":2}]}";

fn batch(cluster: &Cluster, concern: &str, body: &str) -> (Response, Duration) {
    let headers = [("Write-Concern", concern), ("Prefer", "wait=1")];
    let start = Instant::now();
    let limit = Duration::from_secs(20);
    let answer = client::try_request(&cluster.address(0), "POST", "/kvs", &headers, Some(body), limit);
    (answer.expect("an answer"), start.elapsed())
}

fn applied(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.header("write-concern-applied"))
}

/// All three hold a write, then one of them is killed.
pub(crate) fn of_three() {
    let mut cluster = Cluster::running("concern_of_three", 3);
    let (answer, took) = put(&cluster, "all", None);
    assert_eq!(applied(&answer), (201, Some("3")), "{answer:?}");
    assert!(took < AT_ONCE, "{took:?}");
    timed("medians", || compare(&cluster));
    cluster.kill(2);
    for (concern, wait, least) in [("all", Some("wait=1"), 1), ("3", None, 5)] {
        let (answer, took) = put(&cluster, concern, wait);
        assert_eq!((answer.status, answer.text().contains("replaced")), (202, true), "{answer:?}");
        // The crash may not have been noticed at the first one; that it holds the write it never said.
        assert_eq!(answer.header("write-concern-applied"), Some("2"), "{answer:?}");
        assert!(took >= Duration::from_secs(least) && took < Duration::from_secs(least + 1), "{took:?}");
    }
    let (answer, took) = put(&cluster, "majority", None);
    assert_eq!(applied(&answer), (200, Some("2")), "{answer:?}");
    assert!(took < AT_ONCE, "{took:?}");
    let (answer, took) = batch(&cluster, "2", BATCH);
    assert_eq!(applied(&answer), (200, Some("2")), "{answer:?}");
    assert!(took < AT_ONCE, "{took:?}");
    let (answer, took) = batch(&cluster, "all", BATCH);
    assert_eq!(applied(&answer), (202, Some("2")), "{answer:?}");
    assert!(answer.text().contains("replaced") && took >= Duration::from_secs(1), "{answer:?} {took:?}");
    for nothing in ["{\"op\":\"get\",\"key\":\"k\"}", "{\"op\":\"delete\",\"key\":\"absent\"}"] {
        let (answer, took) = batch(&cluster, "all", &format!("{{\"operations\":[{nothing}]}}"));
        assert_eq!(applied(&answer), (200, None), "nothing is written: {answer:?}");
        assert!(took < AT_ONCE, "{took:?}");
    }
    let (answer, took) = put(&cluster, "all", Some("wait=0"));
    assert_eq!(applied(&answer), (202, Some("1")), "it only counts: {answer:?}");
    assert!(took < AT_ONCE, "{took:?}");
    // A member less, by an operator's word: two are all.
    let body = format!("{{\"socket-address\":\"{}\"}}", cluster.member(2));
    let removed = client::request(&cluster.address(0), "DELETE", "/view", &[], Some(&body));
    assert_eq!(removed.status, 200, "{removed:?}");
    let (answer, _) = put(&cluster, "all", None);
    assert_eq!(applied(&answer), (200, Some("2")), "{answer:?}");
    let (answer, _) = put(&cluster, "3", None);
    assert_eq!(answer.status, 400, "{answer:?}");
}

/// What a majority costs beside a plain write, in one run over one connection.
fn compare(cluster: &Cluster) {
    let medians = [&[][..], &[("Write-Concern", "majority")][..]].map(|headers| {
        let mut connection = Connection::open(&cluster.address(0)).expect("clients reach it");
        let request = request_bytes("PUT", "/kvs/k", headers, Some(VALUE));
        let mut took: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                let answer = connection.send(&request).receive(false).expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
                start.elapsed()
            })
            .collect();
        took.sort_unstable();
        took[ROUNDS / 2]
    });
    println!("note: a plain write takes {:?}, one with a majority {:?} (medians of {ROUNDS})", medians[0], medians[1]);
}

/// A client that goes away while its write spreads frees its place, and the write stands.
pub(crate) fn leavers() {
    let mut cluster = Cluster::running("concern_leavers", 3);
    cluster.kill(2);
    let headers = [("Write-Concern", "all"), ("Prefer", "wait=30")];
    let request = request_bytes("PUT", "/kvs/k", &headers, Some("{\"value\":7}"));
    let open: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(&cluster.address(0)).expect("the replica accepts connections");
            connection.send(&request);
            connection
        })
        .collect();
    let waiting = |count: u64, limit: Duration| {
        cluster.poll(limit, &format!("{count} requests wait"), || match cluster.metric(0, "hence_blocked_requests") {
            found if found == count => Ok(()),
            found => Err(format!("{found} wait")),
        });
    };
    waiting(20, Duration::from_secs(5));
    for mut connection in open {
        let socket = socket2::SockRef::from(&*connection.stream());
        socket.set_linger(Some(Duration::ZERO)).expect("an open socket");
    }
    waiting(0, Duration::from_secs(1));
    assert_eq!(cluster.get_expecting(1, "k", None, 200).json()["value"], 7);
}
