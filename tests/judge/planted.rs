//! What is planted in the history of a right run is found although the history names no versions.
//!
//! The histories are what clients of the replica's own code saw, stripped of `shown`, `superseded` and `siblings`, and
//! larger ones of the naive store. Each is fine as it was, so it is what was planted that convicts it.

use hence_checker::generate::{Shape, disguised};
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Level, Options, Report, Verdict, judge};
use hence_sim::campaign::run::{Setting, run};
use hence_sim::generate::{self, Profile};

/// What the clients of a clean run saw, without names of versions.
fn stripped(seed: u64) -> Option<Vec<Operation>> {
    let setting = Setting { judged: true, ..Setting::default() };
    let verdict = run(&generate::plan(seed, Profile::Mixed), setting);
    let mut history = verdict.judged.filter(|_| verdict.violation.is_none())?.history;
    for operation in &mut history {
        (operation.shown, operation.superseded, operation.siblings) = (None, None, None);
    }
    Some(history)
}

/// A history to which operations of one more client are added.
struct Planting {
    history: Vec<Operation>,
    client: String,
}

impl Planting {
    fn add(&mut self, action: Action, key: &str, value: Option<&str>, status: u16, token: Option<&str>) -> String {
        let id = self.history.iter().map(|one| one.id + 1).max().unwrap_or(0);
        let mut operation = Operation::new(id, &self.client, action, key);
        let moment = self.history.iter().filter_map(|one| one.return_ns.max(one.call_ns)).max().unwrap_or(0);
        (operation.call_ns, operation.return_ns) = (Some(moment + 1), Some(moment + 2));
        operation.replica = self.history[0].replica.clone();
        (operation.status, operation.value) = (status, value.map(str::to_owned));
        operation.token_in = token.map(str::to_owned);
        operation.token_out = Some(format!("planted-{id}"));
        self.history.push(operation);
        format!("planted-{id}")
    }
}

/// What is planted; where it is left out, the same client sees what a right store shows.
type Plant = fn(&mut Planting, bool);

const PLANTS: [(&str, Plant); 5] = [
    ("a stale read after its own write", |it, is_wrong| {
        let first = it.add(Action::Put, "planted", Some("\"p1\""), 201, None);
        let second = it.add(Action::Put, "planted", Some("\"p2\""), 200, Some(&first));
        let value = if is_wrong { "\"p1\"" } else { "\"p2\"" };
        it.add(Action::Get, "planted", Some(value), 200, Some(&second));
    }),
    ("a read that misses a cause", |it, is_wrong| {
        let cause = it.add(Action::Put, "planted", Some("\"p1\""), 201, None);
        it.add(Action::Put, "planted-too", Some("\"p2\""), 201, Some(&cause));
        let effect = it.add(Action::Get, "planted-too", Some("\"p2\""), 200, None);
        let (value, status) = if is_wrong { (None, 404) } else { (Some("\"p1\""), 200) };
        it.add(Action::Get, "planted", value, status, Some(&effect));
    }),
    ("a lost write", |it, is_wrong| {
        let put = it.add(Action::Put, "planted", Some("\"p1\""), 201, None);
        let status = if is_wrong { 201 } else { 200 };
        it.add(Action::Put, "planted", Some("\"p2\""), status, Some(&put));
    }),
    ("a value from nowhere", |it, is_wrong| {
        it.add(Action::Put, "planted", Some("\"p1\""), 201, None);
        let value = if is_wrong { "\"p3\"" } else { "\"p1\"" };
        it.add(Action::Get, "planted", Some(value), 200, None);
    }),
    ("a reversed order", |it, is_wrong| {
        it.add(Action::Put, "planted", Some("\"p1\""), 201, None);
        it.add(Action::Put, "planted", Some("\"p2\""), 201, None);
        let one = it.add(Action::Get, "planted", Some("\"p1\""), 200, None);
        it.add(Action::Get, "planted", Some("\"p2\""), 200, Some(&one));
        let other = it.add(Action::Get, "planted", Some("\"p2\""), 200, None);
        let value = if is_wrong { "\"p1\"" } else { "\"p2\"" };
        it.add(Action::Get, "planted", Some(value), 200, Some(&other));
    }),
];

fn judged(operations: &[Operation]) -> (History, Report) {
    let history = History::of(operations).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    (history, report)
}

/// Plants each in turn in a history that is fine, and looks at what is said.
fn plant_each(name: &str, history: &[Operation]) {
    assert!(history.iter().any(|one| one.outcome == Outcome::Ok), "{name}");
    for (what, plant) in PLANTS {
        for is_wrong in [false, true] {
            let mut it = Planting { history: history.to_vec(), client: "planter".into() };
            plant(&mut it, is_wrong);
            let (whole, report) = judged(&it.history);
            let expected = if is_wrong { Verdict::Broken } else { Verdict::Fine };
            assert_eq!(report.verdict(Level::Convergent), expected, "{name}: {what}, planted: {is_wrong}");
            if is_wrong {
                let small = report.counterexample(&whole, Options::default()).expect("it is broken");
                let count = small.history().len();
                assert!(small.is_minimal() && count <= 8, "{name}: {what}: {count} operations: {}", small.prose());
                assert!(small.told(false).contains("planted"), "{name}: {what}: {}", small.told(false));
            }
        }
    }
}

#[test]
fn in_runs_of_the_core() {
    let histories: Vec<(u64, Vec<Operation>)> =
        (0..200).filter_map(|seed| Some((seed, stripped(seed).filter(|it| it.len() > 20)?))).take(12).collect();
    assert_eq!(histories.len(), 12);
    for (seed, history) in histories {
        plant_each(&format!("seed {seed}, {} operations", history.len()), &history);
    }
}

/// Among 10,000 operations, in which most of what removed a value must be guessed.
#[test]
fn in_large_histories() {
    let shape = Shape {
        seed: 3,
        operations: 10_000,
        sessions: 8,
        keys: 20,
        deletes: 60_000,
        wandering: 100_000,
        unknown: 1_000,
        spreading: 5,
        ..Shape::default()
    };
    plant_each("10,000 operations", &disguised(shape));
}
