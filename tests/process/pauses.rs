//! A process that is stopped and continued (SIGSTOP, SIGCONT): its own stall is not taken for lateness of others.

use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

/// Two seconds: nothing that was pushed to it is lost, and no peer takes it for dead.
pub(crate) fn two_seconds() {
    let mut cluster = Cluster::running("pause_two", 3);
    for run in 0..3 {
        timed(&format!("run {run}"), || pause(&mut cluster, run));
    }
}

fn pause(cluster: &mut Cluster, victim: usize) {
    let others: Vec<usize> = (0..3).filter(|&at| at != victim).collect();
    cluster.await_settled_links(&[0, 1, 2], Duration::from_secs(5));
    let stamp = client::put(&cluster.address(others[0]), "stamp", "1", None).token();
    cluster.signal(victim, "STOP");
    let start = Instant::now();
    let mut token = stamp;
    let mut last = 0;
    while start.elapsed() < Duration::from_secs(2) {
        let key = format!("pushed-{}", last % 7);
        token = client::put(&cluster.address(others[0]), &key, &last.to_string(), Some(&token)).token();
        last += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    cluster.signal(victim, "CONT");
    let key = format!("pushed-{}", (last - 1) % 7);
    // Repair would need 2.5 s; what was pushed must be there within 1.
    let time = cluster.await_value(victim, &key, Some(&token), &(last - 1).to_string(), Duration::from_secs(1));
    println!("note: {last} writes pushed to a stopped process, all there {time:?} after SIGCONT");
    for &at in &others {
        assert_eq!(cluster.view(at), cluster.addresses(&[0, 1, 2]), "a pause of 2 s is not a death");
    }
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
}

/// Eight seconds: it has left the views by then; within 5 s of SIGCONT it is back and has caught up.
pub(crate) fn eight_seconds() {
    let mut cluster = Cluster::running("pause_eight", 3);
    for victim in [2, 0] {
        timed(&format!("victim {victim}"), || {
            let others: Vec<usize> = (0..3).filter(|&at| at != victim).collect();
            cluster.await_settled_links(&[0, 1, 2], Duration::from_secs(5));
            cluster.signal(victim, "STOP");
            let start = Instant::now();
            let mut token = client::put(&cluster.address(others[0]), "first", "1", None).token();
            cluster.await_views(&others, &others, Duration::from_secs(8));
            token = client::put(&cluster.address(others[1]), "second", "2", Some(&token)).token();
            std::thread::sleep(Duration::from_secs(8).saturating_sub(start.elapsed()));
            cluster.signal(victim, "CONT");
            let budget = Duration::from_secs(5);
            let continued = Instant::now();
            cluster.await_value(victim, "second", Some(&token), "2", budget);
            let caught_up = continued.elapsed();
            cluster.await_settled(&[0, 1, 2], budget.saturating_sub(caught_up));
            println!("note: caught up {caught_up:?}, in all views {:?} after SIGCONT", continued.elapsed());
        });
    }
}
