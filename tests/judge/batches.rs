//! Histories with batches: the checker and the definitions agree on them.
//!
//! They are those of a small store that takes batches, which is correct, or has a bug that only batches show. Then some
//! answers and tokens are changed.

use super::{compare, judged, litmus, retold, written};
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Level, Options, Verdict, judge, slow};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::cell::RefCell;

const KEYS: [&str; 3] = ["x", "y", "z"];

/// What the store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// A write of a batch is missing where its others are.
    Torn,
    /// The reads of a batch are made at different replicas.
    Fractured,
    /// The reads of a batch see its writes.
    SeesItself,
    /// A batch forgets what it read.
    ForgetsReads,
    /// Of two batches one wins one key, and the other another.
    WinnersByKey,
    /// Winners differ from read to read.
    Winners,
    /// A replica answers before it has what the token names.
    Ignores,
    /// The same, and replicas take events in without their causes.
    Early,
}

const BUGS: [Bug; 9] = [
    Bug::None,
    Bug::Torn,
    Bug::Fractured,
    Bug::SeesItself,
    Bug::ForgetsReads,
    Bug::WinnersByKey,
    Bug::Winners,
    Bug::Ignores,
    Bug::Early,
];

/// A write of the store.
#[derive(Debug, Clone, Copy)]
struct Write {
    event: usize,
    key: usize,
    /// The part of the history; nothing for deletes.
    put: Option<usize>,
    has_name: bool,
}

/// How much answers tell.
#[derive(Debug, Clone, Copy)]
struct Telling {
    /// Versions have names.
    names: bool,
    /// Reads show all siblings.
    siblings: bool,
    /// Replicas have names.
    replicas: bool,
}

/// What events are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mix {
    /// Anything.
    All,
    /// Batches that put two keys, and batches that read both.
    Pairs,
    /// Single reads and batches in few sessions.
    Sessions,
}

/// Where a part is answered.
struct Place {
    event: usize,
    /// The part's place in the history.
    at: usize,
    /// The events that it looks at.
    looks_at: u64,
    is_lost: bool,
}

/// A store of a few replicas, each with the events that it has taken in, as bits.
struct Store {
    random: ChaCha8Rng,
    bug: Bug,
    telling: Telling,
    mix: Mix,
    replicas: Vec<u64>,
    /// What was there before each event.
    past: Vec<u64>,
    writes: Vec<Write>,
    history: Vec<Operation>,
    /// What each token stands for, and whose it was.
    tokens: Vec<(String, u64)>,
    torn: Option<(usize, usize)>,
}

impl Store {
    fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut below = |limit: usize| random.next_u32() as usize % limit;
        let bug = if below(4) > 0 { BUGS[below(BUGS.len())] } else { Bug::None };
        let telling = Telling { names: below(2) == 0, siblings: below(2) == 0, replicas: below(3) > 0 };
        let mix = [Mix::All, Mix::All, Mix::Pairs, Mix::Sessions][below(4)];
        let replicas = vec![0; 2 + below(2)];
        let (past, writes, history, tokens) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { random, bug, telling, mix, replicas, past, writes, history, tokens, torn: None }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.next_u32() as usize % limit
    }

    /// The puts of a key that are alive among these events, the winner first.
    fn alive(&mut self, among: u64, key: usize) -> Vec<Write> {
        let has = |events: u64, event: usize| events >> event & 1 == 1;
        let is_there =
            |write: &&Write| write.key == key && has(among, write.event) && self.torn != Some((write.event, write.key));
        let there: Vec<Write> = self.writes.iter().filter(is_there).copied().collect();
        let is_last = |write: &&Write| !there.iter().any(|later| has(self.past[later.event], write.event));
        let mut alive: Vec<Write> = there.iter().filter(is_last).filter(|write| write.put.is_some()).copied().collect();
        let is_turned = self.bug == Bug::WinnersByKey && key == 1 || self.bug == Bug::Winners && self.below(2) == 0;
        alive.sort_by_key(|write| if is_turned { write.event } else { 64 - write.event });
        alive
    }

    /// Takes one event: a batch, or one operation.
    fn take(&mut self) {
        let (event, replica) = (self.past.len(), self.below(self.replicas.len()));
        let writes_all = self.below(2) == 0;
        self.spread(replica, writes_all);
        let (token, known) = self.choose_token(writes_all);
        self.replicas[replica] |= if [Bug::Ignores, Bug::Early].contains(&self.bug) { 0 } else { known };
        let here = self.replicas[replica];
        self.past.push(here);
        let count = match self.mix {
            Mix::Pairs => 2,
            Mix::All => [1, 1, 2, 2, 3][self.below(5)],
            Mix::Sessions => [1, 1, 1, 2][self.below(4)],
        };
        let is_lost = self.mix != Mix::Pairs && self.below(12) == 0;
        let mut parts: Vec<Operation> = Vec::new();
        let mut seen = known;
        for number in 0..count {
            let asked = self.choose_part(number, writes_all, &parts);
            let looks_at = if asked.1 == Action::Get { self.looks_at(event, here, known) } else { here };
            let at = self.history.len() + parts.len();
            let part = self.part(&Place { event, at, looks_at, is_lost }, asked, &mut seen);
            parts.push(part);
        }
        if self.bug == Bug::Torn && self.torn.is_none() && self.below(2) == 0 {
            let own: Vec<usize> =
                self.writes.iter().filter(|write| write.event == event).map(|write| write.key).collect();
            self.torn = own.first().filter(|_| own.len() > 1).map(|&key| (event, key));
        }
        let seen = if self.bug == Bug::ForgetsReads { known } else { seen };
        let name = format!("t{event}");
        for part in &mut parts {
            part.id = event as u64;
            part.replica = if self.telling.replicas { format!("r{replica}") } else { String::new() };
            part.token_in.clone_from(&token);
            part.token_out = (!is_lost).then(|| name.clone());
        }
        self.history.extend(Operation::batch(parts));
        // What was asked for may have been lost on the way, too.
        if is_lost && self.below(2) == 0 {
            self.writes.retain(|write| write.event != event);
        } else {
            self.replicas[replica] |= 1 << event;
        }
        if !is_lost {
            self.tokens.push((name, seen | 1 << event));
        }
    }

    /// A replica takes in what another has, or not.
    fn spread(&mut self, replica: usize, writes_all: bool) {
        let other = self.below(self.replicas.len());
        let is_near = if self.mix == Mix::Pairs { !writes_all } else { self.below(3) > 0 };
        let some = if self.bug == Bug::Early { self.random.next_u64() } else { u64::MAX };
        if is_near {
            self.replicas[replica] |= self.replicas[other] & some;
        }
    }

    /// The token that a client sends, and what it stands for.
    fn choose_token(&mut self, writes_all: bool) -> (Option<String>, u64) {
        let told =
            |token: Option<&(String, u64)>| token.map_or((None, 0), |(token, known)| (Some(token.clone()), *known));
        match self.below(4) {
            _ if self.tokens.is_empty() || self.mix == Mix::Pairs && writes_all => (None, 0),
            0 if self.mix != Mix::Sessions => (None, 0),
            1 => {
                let at = self.below(self.tokens.len());
                told(self.tokens.get(at))
            }
            _ => told(self.tokens.last()),
        }
    }

    /// What the next part of a batch asks for. A key is written once.
    fn choose_part(&mut self, number: usize, writes_all: bool, parts: &[Operation]) -> (usize, Action) {
        let (get, put, delete) = (Action::Get, Action::Put, Action::Delete);
        let (key, action) = match self.mix {
            Mix::Pairs => (number, if writes_all { put } else { get }),
            Mix::All => (self.below(3), [get, get, put, put, delete][self.below(5)]),
            Mix::Sessions => (self.below(2), [get, get, put, delete][self.below(4)]),
        };
        let is_taken = parts.iter().any(|part| part.action != get && part.key == KEYS[key]);
        (key, if is_taken { get } else { action })
    }

    /// The events that a read looks at.
    fn looks_at(&mut self, event: usize, here: u64, known: u64) -> u64 {
        match self.bug {
            Bug::Fractured => {
                let other = self.below(self.replicas.len());
                self.replicas[other] | known
            }
            Bug::SeesItself => here | 1 << event,
            Bug::None
            | Bug::Torn
            | Bug::ForgetsReads
            | Bug::WinnersByKey
            | Bug::Winners
            | Bug::Ignores
            | Bug::Early => here,
        }
    }

    fn part(&mut self, place: &Place, (key, action): (usize, Action), seen: &mut u64) -> Operation {
        let &Place { event, at, looks_at, is_lost } = place;
        let alive = self.alive(looks_at, key);
        // What was deleted was seen, too, where nothing is there.
        for write in self.writes.iter().filter(|write| write.key == key && looks_at >> write.event & 1 == 1) {
            *seen |= (self.past[write.event] | 1 << write.event) & !(1 << event);
        }
        let mut part = Operation::new(0, "c", action, KEYS[key]);
        if action == Action::Put {
            part.value = Some(at.to_string());
            part.shown = (self.telling.names && !is_lost).then(|| vec![version(event)]);
        }
        let writes = action == Action::Put || action == Action::Delete && !alive.is_empty();
        if writes {
            let put = (action == Action::Put).then_some(at);
            self.writes.push(Write { event, key, put, has_name: !is_lost });
        }
        if is_lost {
            part.outcome = Outcome::Unknown;
            return part;
        }
        let is_named = self.telling.names && alive.iter().all(|write| write.has_name);
        part.status = match action {
            Action::Get | Action::Delete if alive.is_empty() => 404,
            Action::Put if alive.is_empty() => 201,
            Action::Get | Action::Put | Action::Delete => 200,
        };
        let names = || alive.iter().map(|write| version(write.event)).collect::<Vec<_>>();
        if part.status == 200 {
            if action == Action::Get {
                let values: Vec<String> = alive.iter().filter_map(|write| Some(write.put?.to_string())).collect();
                part.value = values.first().cloned();
                part.siblings = self.telling.siblings.then_some(values);
                part.shown = (is_named && !self.telling.siblings).then(names);
            } else {
                part.superseded = (is_named && self.below(2) == 0).then(names);
            }
        }
        part
    }

    /// Changes an answer, or what was sent.
    fn change(&mut self) {
        let at = self.below(self.history.len());
        let key = self.history[at].key.clone();
        let puts = self.history.iter().filter(|put| put.action == Action::Put && put.key == key);
        let mut values: Vec<String> = puts.filter_map(|put| put.value.clone()).collect();
        let (turn, most, what) = (self.below(8), self.below(3), self.below(4));
        let known: Vec<String> = self.tokens.iter().map(|(token, _)| token.clone()).collect();
        let id = self.history[at].id;
        if what == 0 {
            let known: Vec<String> =
                known.into_iter().filter(|token| token[1..].parse::<u64>().is_ok_and(|at| at < id)).collect();
            let token = known.get(turn % (known.len() + 1)).cloned();
            self.history.iter_mut().filter(|part| part.id == id).for_each(|part| part.token_in.clone_from(&token));
            return;
        }
        let part = &mut self.history[at];
        if part.outcome != Outcome::Ok {
            return;
        }
        match part.action {
            Action::Get if values.is_empty() || what == 1 => {
                (part.status, part.value, part.siblings, part.shown) = (404, None, None, None);
            }
            Action::Get => {
                let count = values.len();
                values.rotate_left(turn % count);
                values.truncate(1 + most);
                (part.status, part.shown, part.value) = (200, None, values.first().cloned());
                part.siblings = (what == 2).then_some(values);
            }
            Action::Put => {
                part.superseded = None;
                part.status = if part.status == 201 { 200 } else { 201 };
            }
            Action::Delete => {
                part.superseded = None;
                part.status = if part.status == 404 { 200 } else { 404 };
            }
        }
    }
}

/// The name of all versions that one event makes.
fn version(event: usize) -> String {
    format!("o{}-{event}", event % 2)
}

/// A story of the litmus suite, a little changed, or what clients of the store saw.
fn random_history(seed: u64, stories: &[Vec<Operation>]) -> (Bug, Vec<Operation>) {
    if seed.is_multiple_of(4) && !stories.is_empty() {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut byte = || random.next_u32().to_le_bytes()[0];
        let changes: Vec<(u8, u8, u8)> = (0..byte() % 3).map(|_| (byte(), byte(), byte())).collect();
        return (Bug::None, retold(&stories[seed as usize / 4 % stories.len()], &changes));
    }
    let mut store = Store::new(seed);
    let events = 3 + store.below(3);
    for _ in 0..events {
        store.take();
    }
    let changes = if store.mix == Mix::Pairs { 0 } else { store.below(3) };
    for _ in 0..changes {
        store.change();
    }
    (store.bug, store.history)
}

/// What clients of the store see in ten events.
pub(super) fn seen_of_a_store(seed: u64) -> Vec<Operation> {
    let mut store = Store::new(seed);
    (0..10).for_each(|_| store.take());
    store.history
}

/// Stories with batches that are not too long to be enumerated.
fn stories() -> Vec<Vec<Operation>> {
    let all = litmus::litmus().into_iter().flatten().map(|litmus| litmus.operations);
    all.filter(|story| story.iter().any(|part| part.same_batch) && story.len() <= 9).collect()
}

fn cases() -> u64 {
    std::env::var("HENCE_BATCH_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

#[test]
fn both_judges_agree_on_batches() {
    let (cases, counts) = (cases(), RefCell::new([[0_u32; 3]; 6]));
    let (mut batches, mut deletes, mut named, stories) = (0_u64, 0_u64, 0_u64, stories());
    for seed in 0..cases {
        let (bug, history) = random_history(seed, &stories);
        batches += u64::from(history.iter().any(|operation| operation.same_batch));
        deletes += u64::from(history.iter().any(|operation| operation.action == Action::Delete));
        named += u64::from(history.iter().any(|operation| operation.shown.is_some()));
        compare(&history, &counts).unwrap_or_else(|difference| panic!("seed {seed}, {bug:?}: {difference}"));
    }
    println!(
        "{cases} random histories, {batches} with batches, {deletes} with deletes, {named} with names of versions:"
    );
    for (level, [fine, broken, unknown]) in Level::ALL.iter().zip(counts.into_inner()) {
        println!("  {:>4}: {fine} fine, {broken} broken, {unknown} not asked", level.name());
        assert!(u64::from(fine.min(broken)) * 200 >= cases, "{}: too few of one kind", level.name());
    }
    assert!(batches * 3 >= cases && deletes * 3 >= cases && named * 4 >= cases, "{batches}, {deletes}, {named}");
}

/// A batch matters: taken apart into single operations, many histories have another verdict.
#[test]
fn batches_taken_apart_are_another_history() {
    let (mut differ, mut hidden) = (0, 0);
    for seed in 0..1_000 {
        let (_, history) = random_history(seed, &[]);
        let apart: Vec<Operation> =
            (0..).zip(&history).map(|(id, one)| Operation { id, same_batch: false, ..one.clone() }).collect();
        let Ok(whole) = History::of(&apart) else { continue };
        // Versions are those of batches.
        let Ok(report) = judge(&whole, Options::default()) else { continue };
        let together = judged(&history);
        differ += u32::from(report.verdicts != together.verdicts);
        hidden += u32::from(
            report.verdict(Level::Causal) == Verdict::Fine && together.verdict(Level::Causal) == Verdict::Broken,
        );
    }
    println!(
        "{differ} of 1,000 histories have another verdict when their batches are taken apart, {hidden} are broken and look fine"
    );
    assert!(differ >= 20 && hidden >= 10, "{differ}, {hidden}");
}

/// A correct store raises no alarm; each bug is found.
#[test]
fn bugs_of_batches_are_found() {
    let mut found = BUGS.map(|bug| (bug, 0_u32, 0_u32));
    for seed in 0..3_000 {
        let mut store = Store::new(seed);
        (0..10).for_each(|_| store.take());
        let broken = judged(&store.history).is_broken();
        let entry = found.iter_mut().find(|(bug, ..)| *bug == store.bug).expect("it is one of them");
        (entry.1, entry.2) = (entry.1 + 1, entry.2 + u32::from(broken));
        assert!(!broken || store.bug != Bug::None, "seed {seed}{}", written(&store.history));
    }
    for (bug, of, broken) in found {
        println!("{bug:?}: {broken} of {of} histories of ten events are broken");
        assert!(of > 0 && (bug == Bug::None || broken * 40 >= of), "{bug:?}: {broken} of {of}");
    }
}

/// Counterexamples hold whole batches, and nothing that may go.
#[test]
fn counterexamples_hold_whole_batches() {
    let (mut count, mut batches) = (0, 0);
    for seed in 0..600 {
        let mut store = Store::new(seed);
        (0..14).for_each(|_| store.take());
        let history = History::of(&store.history).expect("a history");
        let report = judge(&history, Options::default()).expect("it fits together");
        let Some(level) = report.weakest_broken() else { continue };
        let found = report.counterexample(&history, Options::default()).expect("it is broken");
        let alone: Vec<Operation> = found.history().operations().collect();
        assert_eq!(judged(&alone).verdict(level), Verdict::Broken, "seed {seed}{}", written(&alone));
        assert!(found.is_minimal(), "seed {seed}");
        for event in hence_checker::history::events(&alone) {
            let whole = store.history.iter().filter(|part| part.id == event[0].id).count();
            assert_eq!(event.len(), whole, "seed {seed}: not all of batch {}", event[0].id);
            batches += u32::from(event.len() > 1);
        }
        if hence_checker::history::events(&alone).count() <= 5 && alone.len() <= slow::OPERATIONS_MAX {
            assert_eq!(slow::judge(&alone)[level as usize], Verdict::Broken, "seed {seed}{}", written(&alone));
        }
        assert!(found.svg().ends_with("</svg>\n") && !found.diagram().is_empty() && !found.told(true).is_empty());
        count += 1;
    }
    println!("{count} counterexamples, {batches} batches in them");
    assert!(count >= 30 && batches >= 30, "{count}, {batches}");
}
