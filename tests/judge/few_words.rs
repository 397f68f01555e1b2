//! Histories of stores that name no versions, whose clients ask at the same time. Most of what removed a value must be
//! guessed, and the guess must be near.

use hence_checker::generate::{Shape, disguised};
use hence_checker::history::{History, Operation};
use hence_checker::{Budget, Level, Options, Report, Verdict, Watch, judge, proof};

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
    let never = Budget { watch: Some(Watch(|_| false)), ..Budget::default() };
    let report = judged(&operations, never);
    assert_eq!(report.verdict(Level::Convergent), Verdict::Unknown);
    assert!(!report.is_broken());
}
