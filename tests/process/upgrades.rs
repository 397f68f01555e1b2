//! Rolling restarts between builds that speak different formats, under load. The format for tests stands in for the next
//! one; a DELETE with the header `hence-test-format: erase` stands in for what that one adds. Batches are what format 5
//! added.

use crate::chaos::{Board, work};
use crate::cluster::Cluster;
use crate::judged;
use crate::tls::{OLD, secured};
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CLIENTS: u64 = 4;
const SETTLE: Duration = Duration::from_secs(15);
const FORMATS: &str = "HENCE_TEST_FORMATS";
/// Clients work so long on each mixture.
const PAUSE: Duration = Duration::from_millis(500);
const ALL: [usize; 3] = [0, 1, 2];
/// Judged clients work for so long while three replicas are rolled.
const SECONDS: u64 = 8;

fn erase(cluster: &Cluster, at: usize, key: &str) -> Response {
    let headers = [("hence-test-format", "erase")];
    client::request(&cluster.address(at), "DELETE", &format!("/kvs/{key}"), &headers, None)
}

fn erases_nowhere(cluster: &Cluster, when: &str) {
    for at in ALL {
        let answer = erase(cluster, at, "kept");
        let refusal = (503, r#"{"error":"Cluster is being upgraded"}"#);
        assert_eq!((answer.status, answer.text()), refusal, "{when}, at {at}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{when}, at {at}");
        assert_eq!(cluster.get(at, "kept", None).status, 200, "{when}, at {at}: nothing was done");
    }
}

const BATCH: &str = r#"{"operations":[{"op":"put","key":"one","value":1},{"op":"put","key":"two","value":1}]}"#;

fn batches_nowhere(cluster: &Cluster, when: &str) {
    for at in ALL {
        let answer = client::request(&cluster.address(at), "POST", "/kvs", &[], Some(BATCH));
        let refusal = (503, r#"{"error":"Cluster is being upgraded"}"#);
        assert_eq!((answer.status, answer.text()), refusal, "{when}, at {at}");
        let reads = r#"{"operations":[{"op":"get","key":"kept"}]}"#;
        let answer = client::request(&cluster.address(at), "POST", "/kvs", &[], Some(reads));
        assert_eq!(answer.status, 200, "{when}, at {at}: a batch of reads tells nobody anything");
    }
}

fn batches_everywhere(cluster: &Cluster) {
    for at in ALL {
        let answer = client::request(&cluster.address(at), "POST", "/kvs", &[], Some(BATCH));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// One replica after the other gets another build; `between` looks at the cluster while it is mixed.
fn roll_to(cluster: &mut Cluster, formats: &str, between: impl Fn(&Cluster, usize)) {
    for at in ALL {
        cluster.await_settled_links(&ALL, SETTLE);
        assert_eq!(cluster.terminate(at).code(), Some(0));
        cluster.set_of(at, FORMATS, formats);
        cluster.start(at);
        cluster.await_views(&ALL, &ALL, SETTLE);
        cluster.poll(SETTLE, "the replica to be ready", || {
            let ready = client::try_request(&cluster.address(at), "GET", "/ready", &[], None, Duration::from_secs(2));
            ready.ok().filter(|answer| answer.status == 200).map(drop).ok_or("not ready".into())
        });
        cluster.await_settled_links(&ALL, SETTLE);
        between(cluster, at);
        std::thread::sleep(PAUSE);
    }
}

fn are_upgraded(cluster: &Cluster) -> [u64; 3] {
    ALL.map(|at| cluster.metric(at, "hence_upgraded"))
}

/// Up to another format, on to a build that has given the first one up, and all the way back.
pub(crate) fn roll() {
    let mut cluster = Cluster::running("upgrade", 3);
    let (board, ended) = (Board::default(), AtomicBool::new(false));
    let addresses = cluster.addresses(&ALL);
    cluster.put(0, "kept", "1", None, 201);
    cluster.poll(SETTLE, "the key everywhere", || {
        ALL.iter().all(|&at| cluster.get(at, "kept", None).status == 200).then_some(()).ok_or("not yet".into())
    });
    std::thread::scope(|scope| {
        for name in 0..CLIENTS {
            let (board, ended, addresses) = (&board, &ended, &addresses);
            scope.spawn(move || work(name, addresses, board, ended));
        }
        erases_nowhere(&cluster, "before the roll");
        roll_to(&mut cluster, "4-6", |cluster, at| {
            if at < 2 {
                erases_nowhere(cluster, "while it is rolled");
            }
        });
        assert_eq!(are_upgraded(&cluster), [1; 3]);
        for at in ALL {
            let token = cluster.put(at, &format!("gone{at}"), "1", None, 201).token();
            let answer = erase(&cluster, at, &format!("gone{at}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let token = client::get(&cluster.address(at), &format!("gone{at}"), Some(&token)).token();
            cluster.poll(SETTLE, "the erasure elsewhere", || {
                let other = cluster.get((at + 1) % 3, &format!("gone{at}"), Some(&token)).status;
                (other == 404).then_some(()).ok_or(format!("{other}"))
            });
        }
        roll_to(&mut cluster, "6", |_, _| {});
        assert_eq!(are_upgraded(&cluster), [1; 3]);
        roll_to(&mut cluster, "4-6", |_, _| {});
        let answer = erase(&cluster, 0, "gone0");
        assert_eq!(answer.status, 404, "{}", answer.text());
        roll_to(&mut cluster, "4-5", |cluster, _| erases_nowhere(cluster, "on the way back"));
        batches_everywhere(&cluster);
        roll_to(&mut cluster, "4", |cluster, _| batches_nowhere(cluster, "while it goes back"));
        roll_to(&mut cluster, "4-5", |cluster, at| {
            if at < 2 {
                batches_nowhere(cluster, "while it is rolled");
            }
        });
        batches_everywhere(&cluster);
        ended.store(true, Ordering::Relaxed);
    });
    cluster.await_settled(&ALL, SETTLE);
    board.check_at(&cluster, 3);
    let [served, refused, unreachable] = board.counts();
    println!("note: eighteen restarts; {served} served, {refused} refused, {unreachable} unreachable");
    assert!(served > 1_000, "too little happened: {served} served");
    for at in ALL {
        assert_eq!(cluster.metric(at, "hence_peer_formats_refused_total"), 0);
        assert_eq!(cluster.metric(at, "hence_peer_frames_refused_total{reason=\"version\"}"), 0);
    }
}

/// Rolls within TLS and with a secret: up, back, down to the format without batches, and up again. Meanwhile clients of
/// every kind work, batches among them, and what they saw is judged.
pub(crate) fn roll_judged() {
    let (authority, cluster) = secured("upgrade_judged", 3);
    let mut cluster = cluster.setting("HENCE_SECRET", OLD).run();
    let (targets, authority) = (judged::targets(&cluster), authority.authority());
    for (step, formats) in ["4-6", "4-5", "4", "4-5"].into_iter().enumerate() {
        let path = judged::history(&format!("upgrade_judged_{step}"));
        let history = std::thread::scope(|scope| {
            let load = scope.spawn(|| judged::torture(&path, &targets, &authority, SECONDS));
            // First they look at what the replicas can do, and all must be there for that.
            cluster.poll(SETTLE, "the clients to begin", || {
                let begun = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
                if begun { Ok(()) } else { Err("nothing is recorded".into()) }
            });
            roll_to(&mut cluster, formats, |_, _| {});
            load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let batches = history.matches("\"op\":\"batch\"").count();
        println!("note: to {formats}: {} operations, {batches} batches", history.lines().count());
        // The third roll ends, and the fourth begins, where no replica speaks of batches.
        assert!(batches > 10 || step > 1, "{batches} batches");
    }
    cluster.await_settled(&ALL, SETTLE);
}

/// A build that shares no format with the others says so, and so do they; and nothing is lost.
pub(crate) fn no_common_format() {
    let mut cluster = Cluster::running("no_common_format", 3);
    let token = cluster.put(0, "x", "1", None, 201).token();
    cluster.await_settled(&ALL, SETTLE);
    assert_eq!(cluster.terminate(2).code(), Some(0));
    cluster.set_of(2, FORMATS, "6");
    cluster.start(2);
    cluster.poll(SETTLE, "both sides to say so", || {
        let log = ALL.map(|at| cluster.log(at)).concat();
        let says = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let refused = "another version of the protocol is refused";
        let member = "a member speaks no format of the protocol that this replica speaks";
        let both = [("theirs=6", "ours=4-5"), ("theirs=4-5", "ours=6")];
        let all = both.iter().all(|(theirs, ours)| says(&[refused, theirs, ours]) && says(&[member, theirs, ours]));
        all.then_some(()).ok_or("not yet".into())
    });
    assert!(cluster.metric(0, "hence_peer_formats_refused_total") > 0);
    assert!(cluster.metric(2, "hence_peer_formats_refused_total") > 0);
    assert_eq!(cluster.metric(0, "hence_peer_outages{cause=\"version\"}"), 1);
    cluster.poll(SETTLE, "/ready to say why not", || {
        let ready = client::request(&cluster.address(2), "GET", "/ready", &[], None);
        assert_eq!(ready.status, 503, "{}", ready.text());
        let says = ready.text().contains("another version of the protocol");
        says.then_some(()).ok_or(ready.text().to_owned())
    });
    assert_eq!(cluster.get(0, "x", Some(&token)).json()["value"], 1);
    cluster.kill(2);
    cluster.set_of(2, FORMATS, "4-6");
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    assert_eq!(cluster.get(2, "x", Some(&token)).json()["value"], 1);
}

/// Writes a batch at this replica. Where the cluster takes none, nothing of it is done.
fn batch(cluster: &Cluster, at: usize, is_taken: bool, when: &str) {
    let answer = client::request(&cluster.address(at), "POST", "/kvs", &[], Some(BATCH));
    let expected = if is_taken { 200 } else { 503 };
    assert_eq!(answer.status, expected, "{when}, at {at}: {}", answer.text());
    assert!(is_taken || answer.text().contains("being upgraded"), "{when}, at {at}: {}", answer.text());
    // What every format has a word for is taken meanwhile.
    assert!(client::put(&cluster.address(at), "always", "1", None).status < 300, "{when}, at {at}");
}

/// A member that is down counts by what its last process said. Where none said anything it counts as old. Links between
/// those that run speak the highest format that they have in common, whatever is down.
pub(crate) fn member_down() {
    let mut cluster = Cluster::new("formats_of_one_down", 3).setting_of(2, FORMATS, "4").run();
    let spoken = |cluster: &Cluster, at: usize, other: usize| {
        let state = client::request(&cluster.address(at), "GET", "/replica/state", &[], None).json();
        let peers = state["peers"].as_array().cloned().unwrap_or_default();
        let peer = peers.into_iter().find(|peer| peer["address"] == cluster.address(other));
        peer.map(|peer| peer["formats"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    let (others, when) = ([0, 1], "an old member runs");
    (0..3).for_each(|at| batch(&cluster, at, false, when));
    let gone = |cluster: &mut Cluster| {
        cluster.kill(2);
        cluster.await_views(&others, &others, SETTLE);
    };
    let again = |cluster: &mut Cluster, at: usize| {
        cluster.kill(at);
        cluster.start(at);
        cluster.await_settled(&others, SETTLE);
        cluster.await_settled_links(&others, SETTLE);
    };
    gone(&mut cluster);
    others.iter().for_each(|&at| batch(&cluster, at, false, "it is down, and spoke the old format"));
    assert_eq!((spoken(&cluster, 0, 1), spoken(&cluster, 1, 0)), ("4-5".into(), "4-5".into()));
    again(&mut cluster, 1);
    batch(&cluster, 1, false, "it is down, and was never met");
    assert_eq!(cluster.metric(0, "hence_upgraded"), 0);

    cluster.set_of(2, FORMATS, "4-5");
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    cluster.await_settled_links(&ALL, SETTLE);
    assert_eq!(are_upgraded(&cluster), [1; 3]);
    ALL.iter().for_each(|&at| batch(&cluster, at, true, "all are new"));
    gone(&mut cluster);
    others.iter().for_each(|&at| batch(&cluster, at, true, "it is down, and spoke the new format"));
    again(&mut cluster, 1);
    batch(&cluster, 0, true, "it is down, and was met here");
    batch(&cluster, 1, false, "it is down, and was not met since the restart");

    let body = format!("{{\"socket-address\":\"{}\"}}", cluster.address(2));
    let view = |method| client::request(&cluster.address(0), method, "/view", &[], Some(&body)).status;
    assert_eq!(view("DELETE"), 200);
    cluster.poll(SETTLE, "a batch at the one that restarted", || {
        let answer = client::request(&cluster.address(1), "POST", "/kvs", &[], Some(BATCH));
        if answer.status == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
    });
    // An older build at that address: what it has no word for comes to it as part of a whole state.
    assert!(matches!(view("PUT"), 200 | 201));
    cluster.set_of(2, FORMATS, "4");
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    cluster.await_settled_links(&ALL, SETTLE);
    assert_eq!(cluster.get(2, "two", None).json()["value"], 1);
    (0..3).for_each(|at| batch(&cluster, at, false, "an old member came back"));
}
