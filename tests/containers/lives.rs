//! Containers that are killed, stopped, paused, replaced, added and removed while clients work.
//!
//! What a replica acknowledged and had a second to pass on is never lost with it; what leaves in order loses nothing.

use crate::cluster::Cluster;
use crate::load::Load;
use hence_tests::replicas::Replicas;
use std::time::{Duration, Instant};

const BACK: Duration = Duration::from_secs(5);
const ALL: [usize; 3] = [0, 1, 2];

fn seconds(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// `docker run` until the replica serves and lists all, which must be within the budget.
fn run_again(cluster: &mut Cluster, at: usize) -> Duration {
    let start = Instant::now();
    cluster.start(at);
    cluster.await_ready(at, &ALL, BACK.saturating_sub(start.elapsed()));
    start.elapsed()
}

/// Every one of these pasts is served by every one of these replicas: nothing of it is lost.
fn all_served(cluster: &Cluster, ats: &[usize], tokens: &[String]) {
    assert!(tokens.len() > 3, "too few clients had a past: {}", tokens.len());
    for &at in ats {
        for token in tokens {
            cluster.poll(BACK, &format!("a past to be served at {at}"), || {
                let answer = cluster.get(at, "k0", Some(token));
                assert_ne!(answer.status, 424, "a write is lost that had a second to be passed on: {answer:?}");
                if answer.status == 503 { Err(answer.text().to_owned()) } else { Ok(()) }
            });
        }
    }
}

/// `docker kill` of one after another, each run again under its name and address.
pub(crate) fn kill_and_restart() {
    let mut cluster = Cluster::running("kill");
    let load = Load::start(&cluster, &ALL);
    for (round, victim) in [2, 0, 1].into_iter().enumerate() {
        seconds(2);
        let others: Vec<usize> = ALL.into_iter().filter(|&at| at != victim).collect();
        let known = load.tokens();
        seconds(1);
        cluster.kill(&[victim]);
        // Once so soon that no peer has noticed, otherwise after the views have.
        if round != 1 {
            cluster.await_views(&others, &others, Duration::from_secs(10));
        }
        let time = run_again(&mut cluster, victim);
        note!("replica {victim} run again: ready and listing all after {time:?}");
        all_served(&cluster, &ALL, &known);
    }
    seconds(1);
    // Only what a killed replica had not yet passed on may be lost.
    load.judge(&cluster, &ALL, 0..=50);
}

/// `docker stop` and `docker run` of each in turn, as for a new version: nothing is lost although no memory stays.
pub(crate) fn rolling_restart() {
    let mut cluster = Cluster::running("rolling");
    let load = Load::start(&cluster, &ALL);
    seconds(2);
    for victim in ALL {
        let (time, code) = cluster.stop(victim);
        assert!(time < Duration::from_secs(3) && code == "0", "docker stop under load: {time:?}, code {code}");
        let back = run_again(&mut cluster, victim);
        note!("replica {victim} stopped in {time:?}; run again: ready and listing all after {back:?}");
        seconds(1);
    }
    load.judge(&cluster, &ALL, 0..=0);
}

/// Every memory is lost at once. Old tokens end in 424 with what is left of them, and the clients go on.
pub(crate) fn whole_cluster() {
    let mut cluster = Cluster::running("whole");
    let load = Load::start(&cluster, &ALL);
    seconds(3);
    let before = load.counts();
    assert_eq!(before.lost, 0, "nothing has happened yet: {before:?}");
    cluster.kill(&ALL);
    ALL.into_iter().for_each(|at| cluster.start(at));
    cluster.await_ready(2, &ALL, BACK);
    seconds(5);
    let (after, start) = (load.counts(), Instant::now());
    assert!(after.lost >= 3, "old tokens were not answered with 424: {after:?}");
    seconds(3);
    let last = load.counts();
    // No client is stuck with a token that ends never.
    assert!(last.served - after.served > 300, "served in {:?}: {after:?} to {last:?}", start.elapsed());
    load.judge(&cluster, &ALL, 3..=200);
}

/// A fourth replica joins, then the first is removed by `DELETE /view` and stopped.
pub(crate) fn fourth_and_removed() {
    let mut cluster = Cluster::running("fourth");
    let load = Load::start(&cluster, &ALL);
    seconds(2);
    let start = Instant::now();
    cluster.start(3);
    cluster.await_ready(3, &[0, 1, 2, 3], BACK.saturating_sub(start.elapsed()));
    let joined = start.elapsed();
    load.move_to(&cluster, &[0, 1, 2, 3]);
    seconds(3);
    cluster.change_view(1, "DELETE", 0, 200);
    cluster.await_views(&[1, 2, 3], &[1, 2, 3], BACK);
    // Its clients still ask it for a while and are refused.
    seconds(2);
    load.move_to(&cluster, &[1, 2, 3]);
    cluster.stop(0);
    note!("docker run until the fourth was ready and listed all: {joined:?}");
    seconds(2);
    load.judge(&cluster, &[1, 2, 3], 0..=0);
}

/// `docker pause` until the others take it for dead, and 4 s more: it comes back with its memory.
pub(crate) fn pause() {
    let cluster = Cluster::running("pause");
    let load = Load::start(&cluster, &ALL);
    seconds(2);
    let lives = cluster.state(0)["view"].clone();
    cluster.pause(1);
    cluster.await_views(&[0, 2], &[0, 2], Duration::from_secs(8));
    seconds(4);
    cluster.unpause(1);
    let back = cluster.await_ready(1, &ALL, BACK);
    cluster.await_views(&ALL, &ALL, BACK);
    note!("unpaused: serves and lists all after {back:?}");
    seconds(2);
    assert_eq!(cluster.state(0)["view"], lives, "an incarnation ended");
    load.judge(&cluster, &ALL, 0..=0);
}
