//! The public test program's case of causal consistency, wherever the replicas run.
//!
//! Three replicas at .2, .3 and .4 of their network, port 8090: alice, bob and carol. Bob is cut off as `docker network
//! disconnect` does it, misses a write, and is connected again; a second later he still answers from his own past.

use crate::replicas::Replicas;
use std::time::{Duration, Instant};

const ALICE: usize = 0;
/// The replica that is cut off.
pub const BOB: usize = 1;
const CAROL: usize = 2;
const SECOND: Duration = Duration::from_secs(1);
const CAUGHT_UP: Duration = Duration::from_secs(5);

/// Plays the case; says how long after the connection bob had caught up.
pub fn case(replicas: &impl Replicas, disconnect: impl FnOnce(), connect: impl FnOnce()) -> Duration {
    // A client that has seen something of each of them.
    let mut token = replicas.put(ALICE, "x", "1", None, 201).token();
    for (at, key) in [(BOB, "of-bob"), (CAROL, "of-carol")] {
        replicas.await_value(at, "x", Some(&token), "1", SECOND);
        token = replicas.put(at, key, "1", Some(&token), 201).token();
    }
    replicas.await_value(ALICE, "of-carol", Some(&token), "1", SECOND);
    let old = replicas.put(ALICE, "y", "\"old\"", Some(&token), 201).token();
    [BOB, CAROL].into_iter().for_each(|at| _ = replicas.await_value(at, "y", Some(&old), "\"old\"", SECOND));

    disconnect();
    std::thread::sleep(SECOND);
    let new = replicas.put(ALICE, "y", "2", Some(&old), 200).token();
    connect();
    let connected = Instant::now();
    std::thread::sleep(SECOND);
    replicas.expect_stale_but_causal(BOB, "y", &old, &new, "a second after connect");
    assert_eq!(replicas.get_expecting(CAROL, "y", Some(&new), 200).json()["value"], 2, "carol missed nothing");

    replicas.await_value(BOB, "y", Some(&new), "2", CAUGHT_UP.saturating_sub(connected.elapsed()));
    let time = connected.elapsed();
    // A client that asks with the old metadata now sees what is newer.
    assert_eq!(replicas.get_expecting(BOB, "y", Some(&old), 200).json()["value"], 2);
    let next = replicas.put(BOB, "y", "3", Some(&new), 200).token();
    [ALICE, CAROL].into_iter().for_each(|at| _ = replicas.await_value(at, "y", Some(&next), "3", SECOND));
    replicas.await_settled(&[ALICE, BOB, CAROL], CAUGHT_UP);
    time
}
