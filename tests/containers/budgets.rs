//! The time budgets of the HTTP API, with default settings, on containers: the engine's own work counts, too.

use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::public;
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

const FIRST_ANSWER: Duration = Duration::from_secs(1);
const FIRST_DATA: Duration = Duration::from_secs(3);
/// Where the engine alone takes longer than a budget, a replica still has this long after `docker run`.
const AFTER_THE_ENGINE: Duration = Duration::from_millis(500);
const VISIBLE: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(10);
const BACK: Duration = Duration::from_secs(5);
/// A write is answered at once, whatever the peers do; through a published port.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Waits until a replica answers `GET` of this path with this status.
fn await_answer(cluster: &Cluster, at: usize, path: &str, token: Option<&str>, status: u16, limit: Duration) {
    let headers: Vec<(&str, &str)> = token.map(|token| ("Causal-Metadata", token)).into_iter().collect();
    cluster.poll(limit, &format!("{status} to {path} at {at}"), || {
        let asked = client::try_request(&cluster.address(at), "GET", path, &headers, None, Duration::from_secs(1));
        match asked {
            Ok(response) if response.status == status => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// Started one after another, killed, run again under the same name and address, stopped, run again.
pub(crate) fn life() {
    timed("first data", first_data);
    let mut cluster = Cluster::running("life");
    let mut token = None;
    for n in 0..300 {
        let answer = client::put(&cluster.address(n % 3), &format!("key{n}"), &format!("\"v{n}\""), None);
        let time =
            cluster.await_value((n + 1) % 3, &format!("key{n}"), Some(&answer.token()), &format!("\"v{n}\""), VISIBLE);
        assert!(time < VISIBLE);
        token = Some(answer.token());
    }
    for (victim, kill) in [(2, true), (0, false), (1, true)] {
        timed(&format!("end of {victim}"), || ended(&mut cluster, victim, kill, &mut token));
    }
}

fn first_data() {
    let mut cluster = Cluster::new("first_data", 3);
    let first = Instant::now();
    (0..3).for_each(|at| cluster.start(at));
    let started = first.elapsed();
    let limit = FIRST_DATA.max(started + AFTER_THE_ENGINE);
    for at in 0..3 {
        await_answer(&cluster, at, "/kvs/nothing", None, 404, limit.saturating_sub(first.elapsed()));
    }
    let data = first.elapsed();
    cluster.await_settled(&[0, 1, 2], BACK);
    note!("three times docker run took {started:?}; data everywhere {data:?} after the first");
}

fn ended(cluster: &mut Cluster, victim: usize, kill: bool, token: &mut Option<String>) {
    let others: Vec<usize> = (0..3).filter(|&at| at != victim).collect();
    match kill {
        true => cluster.kill(&[victim]),
        false => assert!(cluster.stop(victim).0 < Duration::from_secs(3), "docker stop is slow"),
    }
    let end = Instant::now();
    for &at in &others {
        let start = Instant::now();
        let answer = client::put(&cluster.address(at), "during", &victim.to_string(), None);
        assert!(start.elapsed() < AT_ONCE, "a write took {:?} beside a dead peer", start.elapsed());
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    cluster.await_views(&others, &others, GONE.saturating_sub(end.elapsed()));
    let gone = end.elapsed();
    *token = Some(client::put(&cluster.address(others[0]), "newest", &victim.to_string(), token.as_deref()).token());

    let start = Instant::now();
    cluster.start(victim);
    let limit = FIRST_ANSWER.max(start.elapsed() + AFTER_THE_ENGINE);
    await_answer(cluster, victim, "/view", None, 200, limit.saturating_sub(start.elapsed()));
    let listed = start.elapsed();
    await_answer(cluster, victim, "/kvs/newest", token.as_deref(), 200, BACK.saturating_sub(start.elapsed()));
    let served = start.elapsed();
    cluster.await_settled(&[0, 1, 2], BACK.saturating_sub(served));
    note!(
        "replica {victim} {}: left all views {gone:?} later; docker run again: GET /view after {listed:?}, \
         serves everything {served:?}, in all views {:?}",
        if kill { "killed" } else { "stopped" },
        start.elapsed()
    );
    for n in (0..300).step_by(17) {
        cluster.await_value(victim, &format!("key{n}"), token.as_deref(), &format!("\"v{n}\""), VISIBLE);
    }
}

/// After `docker network disconnect` and `connect` a replica answers from its own past for 1.5 s, and has caught up by 5 s.
pub(crate) fn disconnection() {
    let cluster = Cluster::running("disconnection");
    // How long it lasts, and how long before its end the write is made that the replica misses.
    let early = u64::MAX;
    let short = [0, 20, 100, 200, 400, 600].map(|before| (1_300, before));
    let runs = [(1_000, early)].into_iter().chain(short).chain([(6_000, 20), (12_000, early)]);
    for (run, (millis, before)) in runs.enumerate() {
        timed(&format!("{millis} ms"), || disconnected(&cluster, run % 3, &format!("k{run}"), (millis, before)));
    }
}

fn disconnected(cluster: &Cluster, victim: usize, key: &str, (millis, before): (u64, u64)) {
    let other = (victim + 1) % 3;
    let old = client::put(&cluster.address(other), key, "\"old\"", None).token();
    cluster.await_value(victim, key, Some(&old), "\"old\"", VISIBLE);
    cluster.disconnect(victim);
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(millis.saturating_sub(before)).saturating_sub(begun.elapsed()));
    let new = cluster.put(other, key, "\"new\"", Some(&old), 200).token();
    std::thread::sleep(Duration::from_millis(millis).saturating_sub(begun.elapsed()));
    cluster.connect(victim);
    let healed = Instant::now();
    for moment in [0, 700, 1_490] {
        std::thread::sleep(Duration::from_millis(moment).saturating_sub(healed.elapsed()));
        cluster.expect_stale_but_causal(victim, key, &old, &new, &format!("{moment} ms after connect"));
    }
    cluster.await_value(victim, key, Some(&new), "\"new\"", BACK.saturating_sub(healed.elapsed()));
    let caught_up = healed.elapsed();
    cluster.await_settled(&[0, 1, 2], BACK.saturating_sub(caught_up));
    let before = before.min(millis);
    note!(
        "caught up {} ms after connect, in all views {:?}: disconnected for {millis} ms, written {before} ms before its end",
        caught_up.as_millis(),
        healed.elapsed()
    );
}

/// The public test program's case of causal consistency.
pub(crate) fn public_case() {
    timed("public case", || {
        let cluster = Cluster::running("public");
        let time = public::case(&cluster, || cluster.disconnect(public::BOB), || cluster.connect(public::BOB));
        note!("caught up {} ms after connect", time.as_millis());
    });
}

/// `docker pause` for two seconds costs nothing that is written meanwhile, at whichever of the others.
pub(crate) fn pause() {
    let cluster = Cluster::running("pause_of_two");
    for victim in 0..3 {
        timed(&format!("pause of {victim}"), || {
            let others: Vec<usize> = (0..3).filter(|&at| at != victim).collect();
            let stamp = cluster.metric(victim, "hence_ops_applied_total");
            cluster.pause(victim);
            let begun = Instant::now();
            let mut written = Vec::new();
            for round in 0..18 {
                let at = others[round % 2];
                let key = format!("k{stamp}-{round}");
                let token = cluster.put(at, &key, "1", None, 201).token();
                written.push((key, token));
                std::thread::sleep(Duration::from_millis(100));
            }
            std::thread::sleep(Duration::from_secs(2).saturating_sub(begun.elapsed()));
            cluster.unpause(victim);
            let ended = Instant::now();
            for (key, token) in &written {
                cluster.await_value(victim, key, Some(token), "1", VISIBLE);
            }
            let seen = ended.elapsed();
            let own = cluster.put(victim, &format!("own{stamp}"), "1", None, 201).token();
            for &at in &others {
                cluster.await_value(at, &format!("own{stamp}"), Some(&own), "1", VISIBLE);
                assert_eq!(cluster.view(at), cluster.addresses(&[0, 1, 2]), "a pause of 2 s is not a death");
            }
            cluster.await_settled(&[0, 1, 2], BACK);
            note!("replica {victim} paused for 2 s: all that was written is there {seen:?} later");
        });
    }
}

/// Two of three disconnected: the third takes writes at once, and everything is everywhere when they are back.
pub(crate) fn only_one_connected() {
    let cluster = Cluster::running("only_one");
    timed("only one", || {
        let stamp = cluster.metric(2, "hence_log_ops");
        [0, 1].into_iter().for_each(|at| cluster.disconnect(at));
        let begun = Instant::now();
        let (mut token, mut longest): (Option<String>, _) = (None, Duration::ZERO);
        for round in 0..60 {
            let asked = Instant::now();
            let answer = client::put(&cluster.address(2), &format!("k{stamp}-{round}"), "1", token.as_deref());
            longest = longest.max(asked.elapsed());
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            token = Some(answer.token());
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(longest < AT_ONCE, "a write took {longest:?} at the only connected replica");
        cluster.await_views(&[2], &[2], GONE.saturating_sub(begun.elapsed()));
        [0, 1].into_iter().for_each(|at| cluster.connect(at));
        let time = cluster.await_settled(&[0, 1, 2], BACK);
        note!("slowest write {longest:?}; equal {time:?} after the second was connected again");
        (0..2).for_each(|at| _ = cluster.get_expecting(at, &format!("k{stamp}-59"), token.as_deref(), 200));
    });
}
