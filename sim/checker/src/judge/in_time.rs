//! The judge ends when the time is over, whatever it does then. Time is counted in steps here, so no clock is asked. A
//! step is what every loop does again and again, whether the loop looks at the time or not.

use crate::generate::{Bug, Generator, Shape, disguised};
use crate::history::{History, Operation};
use crate::terms::{Verdict, Watch, steps};
use crate::{Budget, Options, Report, judge};
use std::cell::Cell;

thread_local! {
    /// How many steps had been taken when the time began, and how many are all of it.
    static TIME: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    /// After so many steps the last look was, and the most steps between two looks.
    static LOOKS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

fn passed(_: u64) -> u32 {
    let ((begun, all), now) = (TIME.get(), steps::taken());
    let (last, most) = LOOKS.get();
    LOOKS.set((now, most.max(now - last)));
    u32::try_from((now - begun) * u64::from(Watch::WHOLE) / all).unwrap_or(u32::MAX)
}

/// The verdict within so many steps, how many it took with all that is made of it, and the most between two looks.
fn judged(history: &History, all: u64, program_order: bool) -> (Report, u64, u64) {
    let begun = steps::taken();
    TIME.set((begun, all));
    LOOKS.set((begun, 0));
    let watch = Watch::new(passed);
    let budget = Budget { watch: Some(watch), ..Budget::default() };
    let options = Options { budget, program_order, ..Options::default() };
    let report = judge(history, options).expect("it fits together");
    let late = Budget { watch: Some(watch.until(1_080)), ..budget };
    if let Some(found) = report.counterexample(history, Options { budget: late, ..options }) {
        _ = found.told(false);
    }
    (report, steps::taken() - begun, LOOKS.get().1)
}

fn shape(seed: u64) -> Shape {
    let (deletes, wandering, siblings) = (150_000, 100_000, 0);
    Shape {
        seed,
        operations: 6_000,
        sessions: 12,
        keys: 4,
        deletes,
        wandering,
        siblings,
        spreading: 2,
        ..Shape::default()
    }
}

/// Histories that keep different parts of the judge busy.
fn histories() -> Vec<(&'static str, History, bool)> {
    let of = |operations: &[Operation]| History::of(operations).expect("a history");
    let stripped = disguised(shape(1));
    let mut base = disguised(shape(2));
    for operation in &mut base {
        (operation.token_in, operation.token_out) = (None, None);
        operation.merged_from.clear();
    }
    let untimed: Vec<Operation> = disguised(shape(3))
        .into_iter()
        .map(|one| Operation { replica: String::new(), call_ns: None, return_ns: None, ..one })
        .collect();
    let own: Vec<Operation> = Generator::new(shape(4)).collect();
    let wrong = |bug| Generator::new(Shape { bug: Some(bug), exact: false, ..shape(5) }).collect::<Vec<_>>();
    vec![
        ("stripped", of(&stripped), false),
        ("base", of(&base), true),
        ("untimed", of(&untimed), false),
        ("own", of(&own), false),
        ("stale", of(&wrong(Bug::IgnoresTokens)), false),
        ("winners", of(&wrong(Bug::DisagreesOnWinners)), false),
    ]
}

#[test]
fn every_loop_looks_at_the_time() {
    for (name, history, program_order) in histories() {
        let mut ended_early = 0;
        for all in [300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000] {
            let (report, taken, most) = judged(&history, all, program_order);
            ended_early += u32::from(report.verdicts.contains(&Verdict::Unknown) && taken >= all);
            assert!(most <= BETWEEN, "{name}: {most} steps between two looks");
            assert!(taken <= all / 10 * 11 + ENDING, "{name}: {taken} of {all} steps, {most} between two looks");
        }
        // What is plainly broken takes less than any of these.
        assert_eq!(ended_early > 0, !["base", "stale"].contains(&name), "{name}: {ended_early} ended by the time");
    }
}

/// However long guesses at what happened take, the search has its share of the time. It alone may say "broken".
#[test]
fn guesses_leave_the_search_its_share() {
    for (name, history, program_order) in histories() {
        for all in [1_000_000, 3_000_000, 10_000_000] {
            let (report, taken, _) = judged(&history, all, program_order);
            assert!(taken < all || report.walks > 0, "{name}: guesses took all of {all} steps");
        }
    }
}

/// To set up a history or a guess takes the most: some twelve steps for each operation.
const BETWEEN: u64 = 200_000;

/// What setting up a history of this size takes, and nothing interrupts.
const ENDING: u64 = 200_000;
