//! The last time budget: after a cut of all its links, a replica still answers from its own causal state.
//!
//! A kernel that retransmits does not slip in a write that the replica missed. Nor is that write fetched before the gap
//! has stood for 2.5 s. So for 1.5 s the replica answers 503 to a client that knows the write, and the old value to one
//! that does not. By 5 s it has caught up. A client that asks to wait gets the write at once.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal, lose};
use hence_tests::client;
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::time::{Duration, Instant};

const CUT: Duration = Duration::from_millis(1_300);
/// How long before the heal the write is made that the replica misses; the last begins with the cut.
const BEFORE_HEAL: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(600),
    Duration::from_secs(60),
];
const BUDGET: Duration = Duration::from_secs(5);

/// Heals even when the test fails in between, so that a repeated run starts whole.
struct Isolated(String);

impl Isolated {
    fn cut(ip: String, how: Cut) -> Self {
        cut(&ip, how);
        Self(ip)
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        heal(&self.0);
    }
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// Connections are reset and refused while the cut lasts.
pub(crate) fn refused() {
    series(Cut::Refused);
}

/// Packets are lost while the cut lasts, on open connections too: what was sent arrives after the heal.
pub(crate) fn silent() {
    series(Cut::Silent);
}

fn series(how: Cut) {
    let cluster = Cluster::running(&format!("cut_{how:?}"), 3);
    let mut times = Vec::new();
    for run in 0..20 {
        timed(&format!("{how:?} {run}"), || {
            let before_heal = BEFORE_HEAL[run % BEFORE_HEAL.len()];
            let time = one_cut(&cluster, how, run % 3, &format!("k{run}"), (CUT, before_heal));
            println!("note: caught up {} ms after the heal, written {before_heal:?} before it", time.as_millis());
            times.push(time);
        });
    }
    times.sort_unstable();
    let (first, last) = (times[0], times[times.len() - 1]);
    let discarded = |reason: &str| -> u64 {
        let name = format!("hence_messages_dropped_total{{reason=\"{reason}\"}}");
        (0..3).map(|at| cluster.metric(at, &name)).sum()
    };
    let (late, other_link) = (discarded("late"), discarded("other_link"));
    println!(
        "note: {} cuts, caught up {first:?} to {last:?} after the heal; discarded {late} late and {other_link} of other links",
        times.len()
    );
    // A silent cut that held nothing back would have proved nothing.
    assert!(how == Cut::Refused || late >= 20, "only {late} late pushes were discarded");
}

/// Cuts of other lengths: just a second, around the moment of suspicion, and well beyond it.
pub(crate) fn long() {
    let cluster = Cluster::running("cut_long", 3);
    for (run, seconds) in [1, 3, 5, 12].into_iter().enumerate() {
        for how in [Cut::Refused, Cut::Silent] {
            let key = format!("{how:?}{seconds}");
            timed(&key, || {
                let length = Duration::from_secs(seconds);
                let time = one_cut(&cluster, how, run % 3, &key, (length, length));
                println!("note: {how:?} for {seconds} s: caught up {time:?} after the heal");
            });
        }
    }
}

/// One cut of all links of `victim` for some length, with a write that it misses so long before the heal. Returns how
/// long after the heal it had caught up.
fn one_cut(
    cluster: &Cluster,
    how: Cut,
    victim: usize,
    key: &str,
    (length, before_heal): (Duration, Duration),
) -> Duration {
    let other = (victim + 1) % 3;
    let old = client::put(&cluster.address(other), key, "\"old\"", None).token();
    cluster.await_value(victim, key, Some(&old), "\"old\"", Duration::from_secs(1));

    let isolated = Isolated::cut(cluster.ip(victim), how);
    let start = Instant::now();
    sleep_until(start + length.saturating_sub(before_heal).max(Duration::from_millis(50)));
    let new = cluster.put(other, key, "\"new\"", Some(&old), 200).token();
    sleep_until(start + length);
    drop(isolated);

    let healed = Instant::now();
    for millis in [100, 500, 1_000, 1_490] {
        sleep_until(healed + Duration::from_millis(millis));
        cluster.expect_stale_but_causal(victim, key, &old, &new, &format!("{millis} ms after the heal"));
    }
    cluster.await_value(victim, key, Some(&new), "\"new\"", BUDGET.saturating_sub(healed.elapsed()));
    let time = healed.elapsed();
    cluster.await_settled(&[0, 1, 2], BUDGET);
    time
}

/// How long something is missing before it is fetched, and a margin.
const REPAIRED: Duration = Duration::from_secs(4);

/// A write dies with all that held it, and one replica has heard of it. What that replica cannot get from any other
/// costs it no patience: after a cut it answers from its own past as before.
pub(crate) fn beside_a_gap() {
    let mut cluster = Cluster::running("cut_beside_a_gap", 3);
    for (run, how) in [Cut::Refused, Cut::Silent].into_iter().enumerate() {
        timed(&format!("{how:?}"), || {
            let gone = format!("gone{run}");
            cluster.await_settled_links(&[0, 1, 2], BUDGET);
            lose(&cluster.ip(2), &format!("ip saddr {}", cluster.ip(1)));
            let token = client::put(&cluster.address(1), &gone, "1", None).token();
            cluster.await_value(0, &gone, Some(&token), "1", Duration::from_secs(1));
            // The first one says so with its next status. The write would be fetched from it 2.5 s after that.
            std::thread::sleep(Duration::from_millis(700));
            (0..2).for_each(|at| cluster.kill(at));
            heal(&cluster.ip(2));
            (0..2).for_each(|at| cluster.start(at));
            cluster.await_settled(&[0, 1, 2], Duration::from_secs(20));
            assert_eq!(cluster.get(2, &gone, None).status, 404, "it was to die with its holders");
            std::thread::sleep(REPAIRED);
            cluster.await_settled_links(&[0, 1, 2], BUDGET);
            let time = one_cut(&cluster, how, 2, &format!("beside{run}"), (CUT, Duration::from_millis(200)));
            println!("note: {how:?}, beside a gap: caught up {} ms after the heal", time.as_millis());
        });
    }
}

/// `Prefer: wait` fetches what is missing at once, however long the gap has stood.
pub(crate) fn prefer_wait() {
    let cluster = Cluster::running("cut_prefer_wait", 3);
    let runs = [(Cut::Refused, 0), (Cut::Refused, 500), (Cut::Silent, 0), (Cut::Silent, 500), (Cut::Silent, 1_000)];
    for (run, (how, after_millis)) in runs.into_iter().enumerate() {
        timed(&format!("{how:?} {after_millis}"), || {
            let took = one_wait(&cluster, how, run % 3, &format!("k{run}"), Duration::from_millis(after_millis));
            println!("note: {how:?}, asked {after_millis} ms after the heal: fetched in {took:?}");
        });
    }
}

fn one_wait(cluster: &Cluster, how: Cut, victim: usize, key: &str, after: Duration) -> Duration {
    let (other, path) = ((victim + 1) % 3, format!("/kvs/{key}"));
    let isolated = Isolated::cut(cluster.ip(victim), how);
    let start = Instant::now();
    let token = client::put(&cluster.address(other), key, "\"new\"", None).token();

    // No peer to fetch from: the wait ends with the refusal, and says when to ask again.
    let asked = Instant::now();
    let headers = [("Causal-Metadata", token.as_str()), ("Prefer", "wait=1")];
    let response = client::request(&cluster.address(victim), "GET", &path, &headers, None);
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    let waited = asked.elapsed();
    assert!((Duration::from_millis(950)..Duration::from_millis(1_300)).contains(&waited), "waited {waited:?}");
    sleep_until(start + CUT);
    drop(isolated);

    std::thread::sleep(after);
    let asked = Instant::now();
    let headers = [("Causal-Metadata", token.as_str()), ("Prefer", "wait=5")];
    let response = client::request(&cluster.address(victim), "GET", &path, &headers, None);
    let took = asked.elapsed();
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["value"], "new");
    assert_eq!(response.header("preference-applied"), Some("wait"), "{response:?}");
    // A silently broken connection shows itself by the kernel's next retransmission or a new link; both come
    // well before patient repair would.
    assert!(took < Duration::from_millis(1_500), "waited {took:?} after the heal");
    cluster.await_settled(&[0, 1, 2], BUDGET);
    took
}
