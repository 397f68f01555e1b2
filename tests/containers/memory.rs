//! Containers with 64 MB of memory, which the engine kills when they take more.

use crate::cluster::Cluster;
use hence_tests::fill::{LIMIT, MB, expect_full, fill, put, slow_readers, storm, value};
use hence_tests::replicas::Replicas;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(60);
const ALL: [usize; 3] = [0, 1, 2];

/// Three replicas without a setting for their memory: the engine told them.
fn small(name: &str) -> Cluster {
    let cluster = Cluster::running_with(name, &["--memory=64m", "--memory-swap=64m"]);
    for at in ALL {
        let told = cluster.metric(at, "hence_memory_limit_bytes{of=\"process\"}");
        assert_eq!(told, LIMIT, "replica {at} does not know its container's limit");
    }
    cluster
}

/// No replica was killed, and how much each ever had.
fn expect_alive(cluster: &Cluster, ats: &[usize], what: &str) {
    for &at in ats {
        assert_eq!(cluster.inspect(at, ".State.OOMKilled"), "false", "{what}: {at} was killed");
        assert_eq!(cluster.inspect(at, ".State.Running"), "true", "{what}: {at} ended");
        let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.process(at))).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
        note!("{what}: replica {at} took at most {peak}");
    }
}

/// 66 MB are written to three containers of 64 MB.
pub(crate) fn filled() {
    let cluster = small("memory-filled");
    let keys = fill(&cluster, &ALL, 66, MB);
    note!("{} values of 1 MB were taken", keys.len());
    assert!((5..40).contains(&keys.len()), "{} were taken", keys.len());
    cluster.await_settled(&ALL, SETTLE);
    expect_full(&cluster, &ALL, &keys, MB);
    for round in 0..66 {
        assert!(put(&cluster, round % 3, &keys[round % (keys.len() / 2)], MB), "overwrite {round}");
    }
    cluster.await_settled(&ALL, SETTLE);
    expect_alive(&cluster, &ALL, "filled and overwritten");
}

/// One member is dead, one key of 1 MB is written 55 times; the member comes back.
pub(crate) fn dead_member() {
    let mut cluster = small("memory-dead");
    cluster.kill(&[2]);
    for n in 0..55 {
        let response = hence_tests::client::put(&cluster.address(n % 2), "one", &value(MB, &n.to_string()), None);
        assert!(matches!(response.status, 200 | 201), "{n}: {response:?}");
    }
    expect_alive(&cluster, &[0, 1], "a member is dead");
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    expect_alive(&cluster, &ALL, "it came back");
}

/// Clients that take nothing of large answers, whose values are replaced meanwhile.
pub(crate) fn read_slowly() {
    let cluster = small("memory-slow-readers");
    let held = slow_readers(&cluster, 120, 2 * MB);
    expect_alive(&cluster, &ALL, "slow readers");
    drop(held);
    cluster.await_settled(&ALL, SETTLE);
}

/// A hundred clients upload at once, a member is paused meanwhile, and a full state goes to a newcomer.
pub(crate) fn stormed() {
    let mut cluster = small("memory-stormed");
    for bytes in [8 * MB, 2 * MB, 200_000] {
        let (taken, refused, cut) = storm(&cluster.address(0), 100, bytes);
        note!("100 clients, {bytes} bytes each: {taken} were taken, {refused} refused, {cut} cut off");
        expect_alive(&cluster, &ALL, "uploads");
    }
    // The storms may have filled all that there is.
    for n in 0..100 {
        let deleted = hence_tests::client::delete(&cluster.address(0), &format!("storm{n}"), None);
        assert!(matches!(deleted.status, 200 | 404), "{deleted:?}");
    }
    cluster.await_settled(&ALL, SETTLE);
    let keys = fill(&cluster, &ALL, 66, MB / 2);
    assert!(keys.len() >= 5, "{} were taken", keys.len());
    cluster.pause(2);
    storm(&cluster.address(1), 100, MB);
    for round in 0..60 {
        assert!(put(&cluster, 0, &keys[round % keys.len()], MB / 2), "overwrite {round}");
    }
    cluster.unpause(2);
    cluster.await_settled(&ALL, SETTLE);
    expect_alive(&cluster, &ALL, "a member was paused");
    cluster.kill(&[1]);
    cluster.start(1);
    for round in 0..60 {
        assert!(put(&cluster, 0, &keys[round % keys.len()], MB / 2), "overwrite {round}");
    }
    cluster.await_settled(&ALL, SETTLE);
    expect_alive(&cluster, &ALL, "a newcomer took a full state");
}
