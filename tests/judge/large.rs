//! Large broken histories. The checker finds what convicts them, makes it smaller and prints it within a stated amount
//! of work, however many operations there are. What it prints fits a screen.

use hence_checker::generate::{Bug, Generator, Shape};
use hence_checker::history::{Action, History, Operation};
use hence_checker::{Counterexample, Level, Options, Verdict, judge};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::rc::Rc;

const OPERATIONS: u64 = 100_000;
const CLIENTS: usize = 8;
const KEYS: u32 = 200;

/// What is told goes on a screen, and its lines are lines.
fn fits_a_screen(told: &str) {
    assert!(told.lines().count() <= 48 && told.len() <= 16_000, "{} bytes:\n{told}", told.len());
}

/// A store with one copy of everything: each answer is right.
struct Store {
    random: ChaCha8Rng,
    names_versions: bool,
    deletes: bool,
    keys: u32,
    /// Per key, the value that is there.
    values: BTreeMap<String, u64>,
    history: Vec<Operation>,
}

impl Store {
    fn new(names_versions: bool, deletes: bool) -> Self {
        let random = ChaCha8Rng::seed_from_u64(7);
        Self { random, names_versions, deletes, keys: KEYS, values: BTreeMap::new(), history: Vec::new() }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.random.next_u32() % limit
    }

    /// One request of a client at some key.
    fn ask(&mut self) {
        let client = self.below(CLIENTS as u32);
        let last = if self.deletes { 10 } else { 9 };
        let action = match self.below(last) {
            0..5 => Action::Get,
            5..9 => Action::Put,
            _ => Action::Delete,
        };
        let key = format!("k{}", self.below(self.keys));
        self.serve(&format!("c{client}"), action, &key);
    }

    /// What this client asks next, with the token of what it asked last.
    fn serve(&mut self, client: &str, action: Action, key: &str) -> &mut Operation {
        let id = self.history.len() as u64;
        let mut operation = Operation::new(id, client, action, key);
        let mut earlier = self.history.iter().rev().take(4_000);
        operation.token_in = earlier.find(|earlier| earlier.client == client).and_then(|one| one.token_out.clone());
        operation.token_out = Some(format!("t{id}"));
        let found = self.values.get(key).copied();
        operation.status = match (action, found) {
            (Action::Get | Action::Delete, None) => 404,
            (Action::Put, None) => 201,
            (_, Some(_)) => 200,
        };
        let versions = || found.map(|id| vec![format!("v{id}")]);
        match action {
            Action::Get => {
                operation.value = found.map(|id| id.to_string());
                operation.shown = versions().filter(|_| self.names_versions);
            }
            Action::Put => {
                self.values.insert(key.into(), id);
                operation.value = Some(id.to_string());
                operation.superseded = versions().filter(|_| self.names_versions);
                operation.shown = self.names_versions.then(|| vec![format!("v{id}")]);
            }
            Action::Delete => {
                self.values.remove(key);
                operation.superseded = versions().filter(|_| self.names_versions);
            }
        }
        self.history.push(operation);
        self.history.last_mut().expect("it was just pushed")
    }

    /// A large right history with something wrong in its middle.
    fn broken(mut self, operations: u64, wrong: impl FnOnce(&mut Self)) -> Vec<Operation> {
        (0..operations / 2).for_each(|_| self.ask());
        wrong(&mut self);
        (self.history.len() as u64..operations).for_each(|_| self.ask());
        self.history
    }
}

struct Found {
    small: Rc<Counterexample>,
    told: String,
}

/// Judges a large history, and looks at what is said of it.
fn found(name: &str, operations: &[Operation], options: Options) -> Found {
    let history = History::of(operations).expect("a history");
    let report = judge(&history, options).expect("it fits together");
    let small = report.counterexample(&history, options).expect("it is broken");
    let told = small.told(false);
    fits_a_screen(&told);
    let value = report.value(&history, Some(&small), false).to_string();
    assert!(value.len() < 100_000, "{name}: {} bytes of JSON", value.len());
    let given_up = small.given_up();
    println!(
        "{name}: {} operations, {:?}, {given_up:?}, {} bytes of JSON",
        small.history().len(),
        small.kind(),
        value.len()
    );
    assert_eq!(small.is_minimal(), given_up.is_none(), "{name}");
    assert_eq!(told.contains("given up"), given_up.is_some(), "{told}");
    assert_eq!(value.contains("given up"), given_up.is_some(), "{value}");
    Found { small, told }
}

type Plant = fn(&mut Store);

/// Faults of several kinds, planted among 100,000 operations, come out as a handful of operations each.
#[test]
fn planted_faults_come_out_small() {
    let plants: [(&str, &str, usize, Plant); 5] = [
        ("stale", "an overwritten value", 4, |store| {
            let old = store.serve("c0", Action::Put, "fresh").value.clone();
            store.serve("c0", Action::Put, "fresh");
            (0..500).for_each(|_| store.ask());
            let read = store.serve("c0", Action::Get, "fresh");
            (read.shown, read.value) =
                (read.shown.as_ref().map(|_| vec![format!("v{}", old.as_deref().expect("a value"))]), old);
        }),
        ("missing", "a missing value", 3, |store| {
            store.serve("c1", Action::Put, "fresh");
            (0..500).for_each(|_| store.ask());
            let read = store.serve("c1", Action::Get, "fresh");
            (read.value, read.shown, read.status) = (None, None, 404);
        }),
        ("cycle", "a cycle", 4, |store| {
            let read = store.serve("c2", Action::Get, "fresh");
            let at = read.id as usize;
            (0..2_000).for_each(|_| store.ask());
            let put = store.serve("c2", Action::Put, "fresh").id;
            (store.history[at].status, store.history[at].value) = (200, Some(put.to_string()));
            store.history[at].shown = store.names_versions.then(|| vec![format!("v{put}")]);
        }),
        ("invented", "an impossible answer", 1, |store| {
            let read = store.serve("c3", Action::Get, "fresh");
            (read.status, read.value) = (200, Some("nobody's".into()));
        }),
        ("met nothing", "a value where none can be", 3, |store| {
            let put = store.serve("c4", Action::Put, "fresh");
            (put.status, put.superseded) = (200, None);
        }),
    ];
    let some = OPERATIONS / 10;
    for (names_versions, deletes, size) in
        [(true, false, OPERATIONS), (true, true, some), (false, false, some), (false, true, some)]
    {
        for (name, kind, most, plant) in plants {
            // What may have removed a value without a name, among thousands of deletes, is the search's cost.
            if kind == "a missing value" && (deletes || !names_versions) {
                continue;
            }
            let name = format!("{name}, versions {names_versions}, deletes {deletes}");
            let operations = Store::new(names_versions, deletes).broken(size, plant);
            let Found { small, .. } = found(&name, &operations, Options::default());
            assert_eq!(small.kind(), kind, "{name}");
            assert!(small.is_minimal() && small.history().len() <= most, "{name}: {}", small.prose());
        }
    }
}

/// A request of a client of its own whose answer says no more than it must.
fn quiet(store: &mut Store, action: Action, key: &str) -> (usize, Option<String>) {
    let operation = store.serve("planter", action, key);
    operation.status = if action == Action::Get { 200 } else { 204 };
    (operation.id as usize, operation.value.clone())
}

/// A few busy keys without names of versions, whose values are deleted all the time. Thousands of deletes may excuse what is
/// not there, and none excuses what is wrong here.
#[test]
fn what_no_delete_excuses_comes_out_small_at_any_size() {
    let stale: Plant = |store| {
        let (_, old) = quiet(store, Action::Put, "k0");
        quiet(store, Action::Put, "k0");
        let (read, _) = quiet(store, Action::Get, "k0");
        store.history[read].value = old;
    };
    let cycle: Plant = |store| {
        let (read, _) = quiet(store, Action::Get, "k1");
        (0..100).for_each(|_| store.ask());
        let (_, value) = quiet(store, Action::Put, "k1");
        store.history[read].value = value;
    };
    let deleted: Plant = |store| {
        let (_, old) = quiet(store, Action::Put, "k2");
        quiet(store, Action::Delete, "k2");
        let (read, _) = quiet(store, Action::Get, "k2");
        store.history[read].value = old;
    };
    let plants: [(&str, &str, Plant); 3] = [
        ("stale", "an overwritten value", stale),
        ("deleted", "an overwritten value", deleted),
        ("cycle", "a cycle", cycle),
    ];
    for (name, kind, plant) in plants {
        let mut store = Store::new(false, true);
        store.keys = 8;
        let Found { small, told } = found(name, &store.broken(OPERATIONS, plant), Options::default());
        assert_eq!(small.kind(), kind, "{name}");
        assert!(small.is_minimal() && small.history().len() <= 3, "{name}: {told}");
    }
}

/// Final reads that differ are told as two reads, however many tokens they carry and however long their values are.
#[test]
fn disagreement_of_final_reads_is_told_in_three_lines() {
    let mut store = Store::new(true, false);
    (0..OPERATIONS / 10).for_each(|_| store.ask());
    let long = "x".repeat(1 << 20);
    let ends: Vec<String> = store.history.iter().filter_map(|one| one.token_out.clone()).collect();
    let values = ["one", "other"].map(|client| {
        let put = store.serve(client, Action::Put, "last");
        (put.status, put.superseded) = (201, None);
        let value = format!("{long}{}", put.id);
        put.value = Some(value.clone());
        (value, put.shown.clone(), put.token_out.clone())
    });
    for (replica, (value, shown, _)) in ["r0", "r1"].into_iter().zip(&values) {
        let read = store.serve(replica, Action::Get, "last");
        (read.replica, read.value, read.shown) = (replica.into(), Some(value.clone()), shown.clone());
        read.merged_from = ends.iter().cloned().chain(values.iter().filter_map(|(.., token)| token.clone())).collect();
    }
    let history = History::of(&store.history).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    assert_eq!(report.convergence, Some(Verdict::Broken));
    let differ = report.disagreement(&history).expect("they differ");
    assert!(differ.lines().count() == 3 && differ.len() < 1_000, "{differ}");
    let found = report.counterexample(&history, Options::default());
    let value = report.value(&history, found.as_deref(), false).to_string();
    assert!(value.len() < 20_000, "{} bytes of JSON", value.len());
    found.iter().for_each(|found| fits_a_screen(&found.told(false)));
}

/// A circle of many sessions, each of which reads what the one before wrote: every operation is needed.
#[test]
fn what_cannot_get_smaller_is_told_in_a_screen() {
    let sessions = OPERATIONS / 20;
    let mut operations = Vec::new();
    for session in 0..sessions {
        let mut read = Operation::new(2 * session, &format!("c{session}"), Action::Get, &format!("k{session}"));
        let before = (session + sessions - 1) % sessions;
        (read.status, read.value, read.token_out) = (200, Some(before.to_string()), Some(format!("t{session}")));
        let mut put =
            Operation::new(2 * session + 1, &read.client, Action::Put, &format!("k{}", (session + 1) % sessions));
        (put.status, put.value, put.token_in) = (201, Some(session.to_string()), read.token_out.clone());
        operations.extend([read, put]);
    }
    let begun = found("circle", &operations, Options { shrinking: 500_000, ..Options::default() });
    assert!(begun.small.given_up().is_some() && begun.small.level() == Level::Causal);
    assert!(begun.told.contains("... and 9984 more") && begun.told.contains("--full"), "{}", begun.told);
    let full = begun.small.told(true);
    assert!(full.lines().count() > operations.len() && full.contains("--svg FILE"));
}

/// With no work at all something is said, too; with more of it less is left.
#[test]
fn more_work_leaves_less() {
    let bug = Some(Bug::DisagreesOnWinners);
    let shape = Shape { operations: 1_200, sessions: 5, keys: 8, bug, ..Shape::default() };
    let operations: Vec<Operation> = Generator::new(shape).collect();
    let sizes = [0, 20_000, 20_000_000].map(|shrinking| {
        let found = found("winners", &operations, Options { shrinking, ..Options::default() });
        found.small.history().len()
    });
    assert!(sizes.is_sorted_by(|more, less| more >= less) && sizes[0] > sizes[2], "{sizes:?}");
}

/// Many responses with one token are gathered in a joint, which is no operation of its own.
#[test]
fn responses_with_one_token_are_shrunk_too() {
    let mut operations = Vec::new();
    for id in 0..60 {
        let mut put = Operation::new(id, &format!("c{id}"), Action::Put, &format!("k{id}"));
        (put.status, put.value, put.token_out) = (201, Some(id.to_string()), Some("t".into()));
        operations.push(put);
    }
    for id in 60..120 {
        let mut read = Operation::new(id, "c", Action::Get, &format!("k{}", id - 60));
        (read.status, read.token_in, read.token_out) = (404, Some("t".into()), Some(format!("u{id}")));
        operations.push(read);
    }
    let found = found("one token", &operations, Options::default());
    assert!(found.small.is_minimal() && found.small.history().len() == 2, "{}", found.told);
}
