//! Links that are cut, one-sided, lossy or slow while clients work: no memory is lost, so no answer says so.

use crate::cluster::Cluster;
use crate::faults::{filter, shape, unfilter, unshape};
use crate::load::Load;
use hence_tests::replicas::Replicas;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(10);
const ALL: [usize; 3] = [0, 1, 2];

fn seconds(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

/// `docker network disconnect` of one, then of two, so long that they are given up, and `connect` again.
pub(crate) fn disconnect() {
    let cluster = Cluster::running("disconnect");
    let load = Load::start(&cluster, &ALL);
    seconds(2);
    cluster.disconnect(0);
    cluster.await_views(&[1, 2], &[1, 2], SETTLE);
    cluster.disconnect(1);
    cluster.await_views(&[2], &[2], SETTLE);
    cluster.put(2, "alone", "1", None, 201);
    seconds(1);
    cluster.connect(0);
    cluster.await_views(&[0, 2], &[0, 2], SETTLE);
    cluster.connect(1);
    let time = cluster.await_ready(1, &ALL, Duration::from_secs(5));
    cluster.await_views(&ALL, &ALL, Duration::from_secs(5));
    note!("the second one connected again listed all after {time:?}");
    seconds(2);
    load.judge(&cluster, &ALL, 0..=0);
}

/// What 0 sends no longer reaches 1; then nothing reaches 2, which is still heard.
pub(crate) fn one_way() {
    let cluster = Cluster::running("one_way");
    let load = Load::start(&cluster, &ALL);
    seconds(1);
    filter(&cluster, 1, &[0], "counter drop");
    seconds(6);
    assert_ne!(unfilter(&cluster, 1), 0, "nothing was cut off");
    seconds(2);
    filter(&cluster, 2, &[0, 1], "counter drop");
    seconds(3);
    assert_ne!(unfilter(&cluster, 2), 0, "nothing was cut off");
    seconds(5);
    load.judge(&cluster, &ALL, 0..=0);
}

/// A fifth of all packets between replicas is lost.
pub(crate) fn loss() {
    let cluster = Cluster::running("loss");
    let load = Load::start(&cluster, &ALL);
    seconds(1);
    for at in ALL {
        let others: Vec<usize> = ALL.into_iter().filter(|&other| other != at).collect();
        filter(&cluster, at, &others, "numgen random mod 100 < 20 counter drop");
    }
    seconds(10);
    let lost = ALL.map(|at| unfilter(&cluster, at));
    assert!(lost.iter().all(|&packets| packets > 0), "lost packets: {lost:?}");
    note!("lost packets at each: {lost:?}");
    seconds(1);
    load.judge(&cluster, &ALL, 0..=0);
}

/// One replica sends at 64 kbit/s, to clients as well.
pub(crate) fn bandwidth() {
    let cluster = Cluster::running("bandwidth");
    let load = Load::start(&cluster, &ALL);
    seconds(1);
    shape(&cluster, 1, "tbf rate 64kbit burst 4kb latency 500ms");
    seconds(8);
    assert_ne!(unshape(&cluster, 1), 0, "there was bandwidth enough");
    seconds(4);
    load.judge(&cluster, &ALL, 0..=0);
}

/// Packets of two replicas take 20 to 180 ms and overtake each other.
pub(crate) fn delay() {
    let cluster = Cluster::running("delay");
    let load = Load::start(&cluster, &ALL);
    seconds(1);
    [0, 1].into_iter().for_each(|at| shape(&cluster, at, "netem delay 100ms 80ms reorder 25%"));
    // Clients see it, too, unless what they wait for has overtaken others.
    let slowest = (0..20).map(|_| cluster.poll(SETTLE, "a view", || cluster.try_view(0).map(drop))).max();
    assert!(slowest > Some(Duration::from_millis(20)), "nothing was delayed: {slowest:?}");
    seconds(8);
    [0, 1].into_iter().for_each(|at| _ = unshape(&cluster, at));
    seconds(4);
    load.judge(&cluster, &ALL, 0..=0);
}
