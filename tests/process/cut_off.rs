//! The last time budget, however the cut looks to the processes. Replicas run on machines of their own. One is cut off
//! from the others in every way, with the connections that it had and with new ones. `.ci/twenty-times` repeats it.

use crate::cluster::Cluster;
use crate::machines::{Machines, Way};
use hence_tests::client;
use hence_tests::public;
use hence_tests::replicas::Replicas;
use hence_tests::starvation::timed;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CUT: Duration = Duration::from_millis(1_300);
/// How long before the heal the write is made that the replica misses.
const BEFORE_HEAL: [u64; 6] = [0, 20, 100, 200, 400, 600];
/// So many clusters at a time: they wait most of the time.
const TOGETHER: usize = 4;
const VISIBLE: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(5);
/// So long after packets get through, replicas are linked anew.
const LINKED: Duration = Duration::from_millis(500);
/// So long after the heal it answers from its own past at least.
const STALE: Duration = Duration::from_millis(1_500);
/// How long after the heal the moments are at which the replica is asked.
const ASKED: [u64; 5] = [0, 100, 500, 1_000, 1_400];

/// Routes that lead nowhere, in the kernels on both sides.
pub(crate) fn unreachable() {
    series(Way::Unreachable);
}

/// Packet filters that refuse to send, on both sides.
pub(crate) fn denied() {
    series(Way::Denied);
}

/// Packets that arrive nowhere.
pub(crate) fn lost() {
    series(Way::Lost);
}

/// A cable that is pulled.
pub(crate) fn unplugged() {
    series(Way::Unplugged);
}

/// A network card that is switched off and on.
pub(crate) fn down() {
    series(Way::Down);
}

/// A network card that is gone and comes anew.
pub(crate) fn gone() {
    series(Way::Gone);
}

/// The public test program's case, with what `docker network disconnect` does to a container.
pub(crate) fn public_case() {
    timed("public case", || {
        let machines = Arc::new(Machines::new(0, 3));
        let cluster = Cluster::new("public_case", 3).on(machines.clone()).run();
        let way = Way::Gone;
        let time = public::case(&cluster, || machines.cut(public::BOB, way), || machines.heal(public::BOB, way));
        println!("note: caught up {} ms after connect", time.as_millis());
    });
}

/// What one cut is like.
#[derive(Clone, Copy, Debug)]
struct Case {
    way: Way,
    /// The connections from before the cut are gone after it.
    new_connections: bool,
    before_heal: Duration,
    victim: usize,
}

fn series(way: Way) {
    let case = |number: usize| Case {
        way,
        new_connections: number % 2 == 1,
        before_heal: Duration::from_millis(BEFORE_HEAL[number / 2]),
        victim: number % 3,
    };
    std::thread::scope(|scope| {
        for worker in 0..TOGETHER {
            scope.spawn(move || {
                let machines = Arc::new(Machines::new(worker as u8, 3));
                let cluster = Cluster::new(&format!("cut_off_{way:?}_{worker}"), 3).on(machines.clone()).run();
                for case in (worker..BEFORE_HEAL.len() * 2).step_by(TOGETHER).map(case) {
                    let mut attempt = 0;
                    timed(&format!("{case:?}"), || {
                        attempt += 1;
                        let key = format!("{}-{}-{attempt}", case.before_heal.as_millis(), case.new_connections);
                        let time = one_cut(&cluster, &machines, case, &key);
                        println!("note: caught up {} ms after the heal: {case:?}", time.as_millis());
                    });
                }
            });
        }
    });
}

/// Heals even when the test fails in between, so that a repeated run starts whole.
struct CutOff<'a>(&'a Machines, Case);

impl<'a> CutOff<'a> {
    fn cut(machines: &'a Machines, case: Case) -> Self {
        machines.cut(case.victim, case.way);
        Self(machines, case)
    }
}

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        self.0.heal(self.1.victim, self.1.way);
    }
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// One cut with a write that the replica misses; says how long after the heal it had caught up.
fn one_cut(cluster: &Cluster, machines: &Machines, case: Case, key: &str) -> Duration {
    let victim = case.victim;
    let (writer, third) = ((victim + 1) % 3, (victim + 2) % 3);
    let old = client::put(&cluster.address(writer), key, "\"old\"", None).token();
    for at in [victim, third] {
        cluster.await_value(at, key, Some(&old), "\"old\"", VISIBLE);
    }
    let cut_off = CutOff::cut(machines, case);
    let begun = Instant::now();
    if case.new_connections {
        let ended = machines.end_connections(victim);
        assert!(ended >= 4, "only {ended} ends of connections");
    }
    sleep_until(begun + CUT - case.before_heal);
    let new = cluster.put(writer, key, "\"new\"", Some(&old), 200).token();
    sleep_until(begun + CUT);
    // Some links may be healed well before the others: asked is from the first moment, and time is given from the last.
    let healing = Instant::now();
    drop(cut_off);
    let healed = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| writes_after_the_heal(cluster, machines, (victim, third), key));
        for millis in ASKED {
            sleep_until(healing + Duration::from_millis(millis));
            let when = format!("{millis} ms after the heal");
            let ask = || cluster.expect_stale_but_causal(victim, key, &old, &new, &when);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(ask)) {
                // On a machine that is too busy to ask in time it may have caught up already.
                if healing.elapsed() < STALE {
                    resume_unwind(panic);
                }
                println!("note: asked too late, {:?} after the heal", healing.elapsed());
            }
        }
    });
    // What was written after the heal may have replaced it already: its past is what must be served.
    cluster.poll(BUDGET.saturating_sub(healed.elapsed()), "the missed write to be served", || {
        let answer = cluster.get(victim, key, Some(&new));
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    });
    let time = healed.elapsed();
    cluster.await_settled(&[0, 1, 2], BUDGET);
    time
}

/// What is written half a second after the links work again is visible in time. It is visible at the replica that was
/// cut off. What that replica writes is visible at the others, whatever it has not caught up with.
fn writes_after_the_heal(cluster: &Cluster, machines: &Machines, (victim, third): (usize, usize), key: &str) {
    machines.await_reachable(victim);
    std::thread::sleep(LINKED);
    let writer = 3 - victim - third;
    for (from, to) in [(third, [victim, writer]), (victim, [third, writer])] {
        let own = format!("{key}-of-{from}");
        let token = cluster.put(from, &own, "1", None, 201).token();
        to.into_iter().for_each(|at| _ = cluster.await_value(at, &own, Some(&token), "1", VISIBLE));
    }
}
