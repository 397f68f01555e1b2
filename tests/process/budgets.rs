//! The time budgets of the HTTP API that involve no cut, with default settings.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal};
use hence_tests::client;
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

/// A write at a replica is answered at once, whatever its peers do.
pub(crate) const AT_ONCE: Duration = Duration::from_millis(250);

/// Data is served 3 s after the first of the processes was started.
pub(crate) fn first_data() {
    for gap_millis in [0, 300, 1_000] {
        timed(&format!("started {gap_millis} ms apart"), || first_data_with(gap_millis));
    }
}

fn first_data_with(gap_millis: u64) {
    let mut cluster = Cluster::new(&format!("first_data_{gap_millis}"), 3);
    let first = Instant::now();
    for at in 0..3 {
        cluster.start(at);
        if at < 2 {
            std::thread::sleep(Duration::from_millis(gap_millis));
        }
    }
    let budget = Duration::from_secs(3);
    for at in 0..3 {
        let left = budget.saturating_sub(first.elapsed());
        cluster.poll(left, "data to be served", || {
            let asked = client::try_request(&cluster.address(at), "GET", "/kvs/nothing", &[], None, budget);
            match asked {
                Ok(response) if response.status == 404 => Ok(()),
                other => Err(format!("{at}: {other:?}")),
            }
        });
    }
    println!("note: started {gap_millis} ms apart: data everywhere after {:?}", first.elapsed());
    let token = cluster.put(0, "k", "1", None, 201).token();
    (0..3).for_each(|at| _ = cluster.await_value(at, "k", Some(&token), "1", Duration::from_secs(1)));
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
}

/// A write is visible everywhere within a second, normally within milliseconds.
pub(crate) fn visible() {
    let cluster = Cluster::running("visible", 3);
    timed("visible", || {
        let mut delays = Vec::new();
        for round in 0..150 {
            let (origin, key) = (round % 3, format!("key{}", round % 10));
            let value = round.to_string();
            let answer = client::put(&cluster.address(origin), &key, &value, None);
            assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
            for at in [(origin + 1) % 3, (origin + 2) % 3] {
                delays.push(cluster.await_value(at, &key, Some(&answer.token()), &value, Duration::from_secs(1)));
            }
        }
        delays.sort_unstable();
        println!("note: visible after {:?} (median), {:?} (longest of {})", delays[150], delays[299], delays.len());
    });
}

/// A killed replica leaves every view; restarted empty under its address it is back with all data.
pub(crate) fn killed_and_restarted() {
    let mut cluster = Cluster::running("killed_and_restarted", 3);
    let mut token = None;
    for n in 0..1_000 {
        let answer = client::put(&cluster.address(n % 3), &format!("key{n}"), &format!("\"v{n}\""), None);
        assert_eq!(answer.status, 201, "{answer:?}");
        token = Some(answer.token());
    }
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    for (round, victim) in [2, 0, 1].into_iter().enumerate() {
        timed(&format!("kill {victim}"), || killed(&mut cluster, victim, &format!("{round}"), &mut token));
        // Once more, so soon that no peer has noticed.
        timed(&format!("restart {victim}"), || {
            cluster.kill(victim);
            restarted(&mut cluster, victim, token.as_deref());
        });
    }
}

fn killed(cluster: &mut Cluster, victim: usize, value: &str, token: &mut Option<String>) {
    let others: Vec<usize> = (0..3).filter(|&at| at != victim).collect();
    cluster.kill(victim);
    for &at in &others {
        let start = Instant::now();
        let answer = client::put(&cluster.address(at), "during", value, token.as_deref());
        assert!(start.elapsed() < AT_ONCE, "a write took {:?} beside a dead peer", start.elapsed());
        assert!(matches!(answer.status, 200 | 201 | 503), "{answer:?}");
        if answer.status != 503 {
            *token = Some(answer.token());
        }
    }
    let gone = cluster.await_views(&others, &others, Duration::from_secs(10));
    println!("note: replica {victim} left all views {gone:?} after kill -9");
    let answer = client::put(&cluster.address(others[0]), "newest", value, token.as_deref());
    *token = Some(answer.token());
    restarted(cluster, victim, token.as_deref());
}

fn restarted(cluster: &mut Cluster, victim: usize, token: Option<&str>) {
    let budget = Duration::from_secs(5);
    let start = Instant::now();
    cluster.start(victim);
    cluster.poll(budget, "the restarted replica to serve the newest metadata", || {
        let body = format!("{{\"causal-metadata\":\"{}\"}}", token.unwrap_or(""));
        let asked = client::try_request(&cluster.address(victim), "GET", "/kvs/key0", &[], Some(&body), budget);
        match asked {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let served = start.elapsed();
    let settled = cluster.await_settled(&[0, 1, 2], budget.saturating_sub(served));
    println!("note: replica {victim} served the newest after {served:?}, equal {settled:?} later");
    for n in (0..1_000).step_by(97) {
        let response = cluster.get_expecting(victim, &format!("key{n}"), token, 200);
        assert_eq!(response.json()["value"], format!("v{n}"));
    }
}

/// The only replica that a client can still reach takes writes at once, before and after it gave up its peers.
pub(crate) fn only_one_connected() {
    for how in [Cut::Refused, Cut::Silent] {
        let cluster = Cluster::running(&format!("only_one_{how:?}"), 3);
        timed(&format!("{how:?}"), || {
            let stamp = Instant::now().elapsed().as_nanos();
            cut(&cluster.ip(1), how);
            let start = Instant::now();
            let mut longest = Duration::ZERO;
            let mut token: Option<String> = None;
            for round in 0..60 {
                let asked = Instant::now();
                let key = format!("k{stamp}-{round}");
                token = Some(client::put(&cluster.address(1), &key, &round.to_string(), token.as_deref()).token());
                longest = longest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(longest < AT_ONCE, "a write took {longest:?} at the only connected replica");
            cluster.await_views(&[1], &[1], Duration::from_secs(10).saturating_sub(start.elapsed()));
            heal(&cluster.ip(1));
            let settled = cluster.await_settled(&[0, 1, 2], Duration::from_secs(10));
            println!("note: {how:?}: slowest write {longest:?}; settled {settled:?} after the heal");
            cluster.get_expecting(0, &format!("k{stamp}-59"), token.as_deref(), 200);
        });
    }
}
