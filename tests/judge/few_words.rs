//! Histories of stores that name no versions, whose clients ask at the same time. Most of what removed a value must be
//! guessed, and the guess must be near.

use hence_checker::generate::{Generator, Shape, disguised};
use hence_checker::history::{Action, History, Operation};
use hence_checker::{Budget, Level, Options, Report, Verdict, Watch, judge, proof};
use std::sync::atomic::{AtomicU64, Ordering};

fn shape(seed: u64, operations: usize) -> Shape {
    Shape {
        seed,
        operations,
        sessions: 8,
        replicas: 3,
        keys: 12,
        deletes: 60_000,
        wandering: 100_000,
        unknown: 1_000,
        spreading: 5,
        ..Shape::default()
    }
}

fn judged(operations: &[Operation], budget: Budget) -> Report {
    let history = History::of(operations).expect("a history");
    judge(&history, Options { budget, ..Options::default() }).expect("it fits together")
}

/// So much work is enough: nodes visited for each operation, and walks.
const WORK: u64 = 1_500;
const WALKS: u64 = 400;

fn bounded(operations: &[Operation]) -> Budget {
    Budget { walks: WALKS, nodes: WORK * operations.len() as u64, watch: None }
}

#[test]
fn they_are_fine_within_bounded_work() {
    let mut witnessed = 0;
    for seed in 0..6 {
        let operations = disguised(shape(seed, 1_500));
        let report = judged(&operations, bounded(&operations));
        println!("seed {seed}: {} walks, witnessed {}", report.walks, report.witnessed);
        assert_eq!(report.verdict(Level::Convergent), Verdict::Fine, "seed {seed}");
        assert_ne!(report.convergence, Some(Verdict::Broken), "seed {seed}");
        let proof = report.proof.as_ref().expect("fine is said with a proof in hand");
        assert_eq!(proof::verify(&operations, proof), Ok(()), "seed {seed}");
        witnessed += u32::from(report.witnessed);
    }
    assert!(witnessed >= 5, "{witnessed} of 6 were witnessed only");
}

/// The caller may end it: then nothing is said that is not known.
#[test]
fn a_watch_ends_it() {
    let operations = disguised(shape(2, 1_500));
    let never = Budget { watch: Some(Watch::new(|_| Watch::WHOLE)), ..Budget::default() };
    let report = judged(&operations, never);
    assert_eq!(report.verdict(Level::Convergent), Verdict::Unknown);
    assert!(!report.is_broken());
}

/// Of many clients that ask for few keys, deletes are what must be guessed, although every answer names its versions.
/// Thousands are guessed at once, and each contradiction says which of them was wrong.
#[test]
fn many_clients_with_names_are_fine_within_bounded_work() {
    for (sessions, keys) in [(32, 20), (32, 5), (16, 40)] {
        let shape = Shape { reads: 450_000, sessions, keys, ..shape(1, 20_000) };
        let operations: Vec<Operation> = Generator::new(shape).collect();
        let bounded = Budget { walks: 60, ..bounded(&operations) };
        let report = judged(&operations, bounded);
        println!("{sessions} sessions, {keys} keys: {} walks", report.walks);
        assert_eq!(report.verdict(Level::Convergent), Verdict::Fine, "{sessions} sessions, {keys} keys");
        assert!(report.certified && report.walks <= 30, "{sessions} sessions, {keys} keys: {} walks", report.walks);
    }
}

/// How often a watch was asked, and how often it may be.
static ASKED: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(u64::MAX);

/// Judges with so many asks as the time; how many it took, and the verdict.
fn asked(operations: &[Operation], most: u64, certificates: bool) -> (u64, Report) {
    ASKED.store(0, Ordering::Relaxed);
    MOST.store(most, Ordering::Relaxed);
    let passed = |_| {
        let asked = u128::from(ASKED.fetch_add(1, Ordering::Relaxed));
        (asked * u128::from(Watch::WHOLE) / u128::from(MOST.load(Ordering::Relaxed))) as u32
    };
    let budget = Budget { watch: Some(Watch::new(passed)), ..Budget::default() };
    let history = History::of(operations).expect("a history");
    let report = judge(&history, Options { budget, certificates, ..Options::default() }).expect("it fits together");
    (ASKED.load(Ordering::Relaxed), report)
}

/// What is broken whatever is guessed is not guessed at.
#[test]
fn what_no_guess_can_mend_is_not_guessed_at() {
    let mut operations = disguised(shape(2, 1_500));
    let last = operations.len() as u64;
    // At the beginning, where the search finds it soon.
    for (at, action) in [Action::Put, Action::Get].into_iter().enumerate() {
        let mut one = Operation::new(last + at as u64, "early", action, "fresh");
        (one.call_ns, one.return_ns) = (Some(10 * at as u64), Some(10 * at as u64 + 5));
        one.replica = "r0".into();
        (one.token_in, one.token_out) = ((at > 0).then(|| "early0".into()), Some(format!("early{at}")));
        (one.status, one.value) = if at > 0 { (404, None) } else { (201, Some("early".into())) };
        operations.insert(at, one);
    }
    let (searched, report) = asked(&operations, u64::MAX, false);
    assert!(report.is_broken(), "{:?}", report.verdicts);
    let (all, _) = asked(&operations, u64::MAX, true);
    println!("the search asks {searched} times, with guesses {all}");
    assert!(all <= searched * 3, "{all} asks with guesses, {searched} without");
    let most = searched * 10;
    let (_, report) = asked(&operations, most, true);
    assert!(report.is_broken(), "{:?}", report.verdicts);
}
