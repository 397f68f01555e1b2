//! Writes that die with their only holder are reported, and writes of a replica that leaves in order do not die.
//!
//! A token whose write is lost gets 503 as long as a member that may hold it does not answer. Then it gets 424 with
//! what is left of the token. It never gets 503 for ever, and never an answer as if the write had not been.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal};
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(10);
/// From the moment that every address answers again until the token ends in 424.
const JUDGED: Duration = Duration::from_secs(5);
const NOT_COVERED: &str = r#"{"error":"Causal dependencies not satisfied; try again later"}"#;
const NOT_READY: &str = r#"{"error":"Replica is not ready"}"#;

/// A write made at a replica that is cut off and killed; its address comes back empty.
pub(crate) fn with_its_only_holder() {
    for how in [Cut::Refused, Cut::Silent] {
        let mut cluster = Cluster::running(&format!("lost_{how:?}"), 3);
        timed(&format!("{how:?}"), || {
            let kept = client::put(&cluster.address(0), "kept", "1", None).token();
            cluster.await_settled(&[0, 1, 2], SETTLE);
            cut(&cluster.ip(2), how);
            std::thread::sleep(Duration::from_millis(50));
            let token = client::put(&cluster.address(2), "lost", "\"v\"", Some(&kept)).token();
            cluster.get_expecting(2, "lost", Some(&token), 200);
            // What the kernel still sends of it after the heal is too old to count.
            std::thread::sleep(Duration::from_millis(1_300));
            cluster.kill(2);
            heal(&cluster.ip(2));
            // No replica answers there, so none can say that it is lost: before the suspicion and after it.
            let dead = Instant::now();
            while dead.elapsed() < Duration::from_secs(6) {
                for at in [0, 1] {
                    let answer = cluster.get_expecting(at, "lost", Some(&token), 503);
                    assert_eq!(answer.text(), NOT_COVERED, "at {at}");
                    assert_eq!(answer.header("causal-metadata"), Some(token.as_str()), "503 echoes the request's");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            cluster.start(2);
            let back = Instant::now();
            cluster.await_settled(&[0, 1, 2], SETTLE);
            for at in [0, 2, 1] {
                let left = await_lost(&cluster, at, "lost", &token);
                println!("note: {how:?}: told by {at} {:?} after the restart", back.elapsed());
                is_served(&cluster, &left, "lost", Some("kept"));
            }
            let written = client::put(&cluster.address(1), "lost", "2", Some(&token));
            assert_eq!(written.status, 424, "a write with that past is not made: {written:?}");
        });
    }
}

/// Every memory is gone at once while a client holds a token.
pub(crate) fn with_the_whole_cluster() {
    let mut cluster = Cluster::running("lost_all", 3);
    let first = client::put(&cluster.address(0), "k", "1", None).token();
    cluster.await_value(1, "k", Some(&first), "1", SETTLE);
    let token = client::put(&cluster.address(1), "other", "2", Some(&first)).token();
    cluster.await_settled(&[0, 1, 2], SETTLE);
    (0..3).for_each(|at| cluster.kill(at));
    (0..3).for_each(|at| cluster.start(at));
    let start = Instant::now();
    cluster.await_settled(&[0, 1, 2], SETTLE);
    for at in 0..3 {
        let left = await_lost(&cluster, at, "k", &token);
        println!("note: told by {at} {:?} after the start", start.elapsed());
        is_served(&cluster, &left, "k", None);
    }
}

/// Asks with a token until it is 424; before that only refusals. Returns the token that is left.
fn await_lost(cluster: &Cluster, at: usize, key: &str, token: &str) -> String {
    let mut last = None;
    cluster.poll(JUDGED, &format!("424 at {at}"), || {
        let answer = cluster.get(at, key, Some(token));
        if answer.status == 424 {
            last = Some(answer);
            return Ok(());
        }
        let refused = answer.status == 503 && [NOT_COVERED, NOT_READY].contains(&answer.text());
        assert!(refused, "the past of the client was passed over: {answer:?}");
        Err(answer.text().to_owned())
    });
    exact(&last.expect("polled until it was there"))
}

/// The documented answer to the byte, header included.
fn exact(answer: &Response) -> String {
    let left = answer.header("causal-metadata").expect("424 carries its token").to_owned();
    let body = format!("{{\"error\":\"Causal dependencies lost\",\"causal-metadata\":\"{left}\"}}");
    assert_eq!(answer.text(), body);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    left
}

/// With what is left of the token the client goes on everywhere: the lost write is absent, the rest is there.
fn is_served(cluster: &Cluster, left: &str, lost: &str, kept: Option<&str>) {
    for at in 0..3 {
        let absent = cluster.get_expecting(at, lost, Some(left), 404);
        assert_eq!(absent.text(), r#"{"error":"Key does not exist"}"#);
        if let Some(kept) = kept {
            cluster.get_expecting(at, kept, Some(left), 200);
        }
    }
    let path = format!("/kvs/{lost}");
    let again = client::request(&cluster.address(0), "GET", &path, &[("Causal-Metadata", left)], None);
    assert_eq!(again.status, 404, "the header does as well as the body: {again:?}");
}

/// SIGTERM right after a healed cut, long before patient repair would have brought what the cut kept back.
pub(crate) fn not_with_one_that_leaves() {
    let mut cluster = Cluster::running("leaves", 3);
    let cuts = [(Cut::Refused, 1_300), (Cut::Silent, 1_300), (Cut::Refused, 5_000), (Cut::Silent, 5_000)];
    for (run, (how, millis)) in cuts.into_iter().enumerate() {
        let (victim, key) = (run % 3, format!("k{run}"));
        timed(&key, || {
            cut(&cluster.ip(victim), how);
            std::thread::sleep(Duration::from_millis(50));
            let token = client::put(&cluster.address(victim), &key, "\"v\"", None).token();
            std::thread::sleep(Duration::from_millis(millis));
            heal(&cluster.ip(victim));
            let healed = Instant::now();
            cluster.await_settled_links(&[0, 1, 2], SETTLE);
            for other in (0..3).filter(|&other| other != victim) {
                cluster.get_expecting(other, &key, Some(&token), 503);
            }
            assert_eq!(cluster.terminate(victim).code(), Some(0));
            println!("note: {how:?} for {millis} ms: had left {:?} after the heal", healed.elapsed());
            for other in (0..3).filter(|&other| other != victim) {
                cluster.get_expecting(other, &key, Some(&token), 200);
            }
            cluster.start(victim);
            cluster.await_settled(&[0, 1, 2], SETTLE);
            cluster.get_expecting(victim, &key, Some(&token), 200);
        });
    }
}
