//! Histories of a small causal store, as correct as it is naive, or with one bug planted in it.
//!
//! The store keeps whole vectors everywhere. Each replica has a log per origin, and applies an operation when its
//! vector includes all that the origin had. Clients carry vectors as tokens; they fork, merge, drop and hand them over.
//! It exists to make histories whose verdict is known, for tests and for measurements, and shares nothing with the
//! replica of the product.

mod disguise;

use crate::history::{Action, Operation, Outcome};
use crate::mix::mix;
pub use disguise::disguised;

const MILLION: u64 = 1_000_000;

/// What the store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Now and then a replica takes an operation for applied and does not apply it.
    LosesWrites,
    /// Replicas apply operations without waiting for their causes.
    AppliesEarly,
    /// Replicas answer whatever the token says.
    IgnoresTokens,
    /// A delete that arrives removes what it did not replace, too.
    DeletesTooMuch,
    /// Replicas choose winners each by its own taste.
    DisagreesOnWinners,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Self; 5] =
        [Self::LosesWrites, Self::AppliesEarly, Self::IgnoresTokens, Self::DeletesTooMuch, Self::DisagreesOnWinners];
}

/// What history to make. Chances are in parts of a million for each operation.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The same seed and shape give the same history.
    pub seed: u64,
    /// How many operations.
    pub operations: usize,
    /// How many sessions go on at the same time.
    pub sessions: usize,
    /// How many replicas.
    pub replicas: usize,
    /// How many keys.
    pub keys: usize,
    /// Reads; of the rest `deletes` are deletes, the others puts.
    pub reads: u64,
    /// Deletes among all operations.
    pub deletes: u64,
    /// Sessions that change their replica, fork, merge, drop their token or take another's.
    pub wandering: u64,
    /// Writes whose answer is lost; half of them happened.
    pub unknown: u64,
    /// Reads of all siblings among the reads.
    pub siblings: u64,
    /// Answers name the versions that they showed or replaced.
    pub exact: bool,
    /// How many operations reach another replica after each request, at most.
    pub spreading: u64,
    /// At the end every key is read at every replica, with all tokens.
    pub final_reads: bool,
    /// So many operations one after another are of one session, of as many keys, and reach another replica together.
    /// More than one only where no session wanders and no answer is lost.
    pub transaction: usize,
    /// What is wrong with the store.
    pub bug: Option<Bug>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 0,
            operations: 48,
            sessions: 4,
            replicas: 3,
            keys: 3,
            reads: 450_000,
            deletes: 150_000,
            wandering: 200_000,
            unknown: 50_000,
            siblings: 200_000,
            exact: true,
            spreading: 3,
            final_reads: true,
            transaction: 1,
            bug: None,
        }
    }
}

/// An operation in a log.
#[derive(Debug, Clone)]
struct Entry {
    key: usize,
    /// Nothing for a delete.
    value: Option<u64>,
    stamp: (u64, usize),
    replaced: Vec<(usize, u32)>,
    causes: Vec<u32>,
    /// It and the one before it are of one transaction.
    is_joined: bool,
}

#[derive(Debug, Clone)]
struct Version {
    dot: (usize, u32),
    value: u64,
    stamp: (u64, usize),
}

#[derive(Debug)]
struct Replica {
    applied: Vec<u32>,
    keys: Vec<Vec<Version>>,
    clock: u64,
}

/// The store, and what its clients carry.
#[derive(Debug)]
pub struct Generator {
    shape: Shape,
    drawn: u64,
    logs: Vec<Vec<Entry>>,
    replicas: Vec<Replica>,
    /// Each session's token and replica.
    sessions: Vec<(Option<Vec<u32>>, usize)>,
    made: usize,
    /// The session of the transaction at hand, the keys that it asked for, and whether it wrote.
    open: (usize, Vec<usize>, bool),
    final_reads_made: usize,
    everything: Vec<u32>,
}

impl Generator {
    /// A store in which nothing happened yet.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let replica = || Replica { applied: vec![0; shape.replicas], keys: vec![Vec::new(); shape.keys], clock: 0 };
        Self {
            drawn: 0,
            logs: vec![Vec::new(); shape.replicas],
            replicas: (0..shape.replicas).map(|_| replica()).collect(),
            sessions: (0..shape.sessions).map(|session| (None, session % shape.replicas)).collect(),
            made: 0,
            open: (0, Vec::new(), false),
            final_reads_made: 0,
            everything: vec![0; shape.replicas],
            shape,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        // Multiplying keeps the whole range alive; the rest of a division would favour nothing either.
        ((u128::from(mix(self.shape.seed, self.drawn)) * u128::from(below)) >> 64) as u64
    }

    fn chance(&mut self, parts: u64) -> bool {
        parts > 0 && self.draw(MILLION) < parts
    }

    fn spread(&mut self) {
        let count = self.draw(self.shape.spreading + 1);
        for _ in 0..count {
            let (to, from) =
                (self.draw(self.shape.replicas as u64) as usize, self.draw(self.shape.replicas as u64) as usize);
            self.apply_next(to, from);
        }
    }

    /// Begins or continues a transaction: its session, and a key that it has not asked for.
    fn choose(&mut self) -> (usize, bool) {
        let is_first = self.made.is_multiple_of(self.shape.transaction.max(1));
        if is_first {
            self.spread();
            self.open = (self.draw(self.shape.sessions as u64) as usize, Vec::new(), false);
        }
        (self.open.0, is_first)
    }

    fn choose_key(&mut self) -> usize {
        let mut key = self.draw(self.shape.keys as u64) as usize;
        while self.open.1.contains(&key) {
            key = (key + 1) % self.shape.keys;
        }
        self.open.1.push(key);
        key
    }

    /// Applies the next operation of an origin if its causes are there; says whether.
    fn apply_next(&mut self, to: usize, origin: usize) -> bool {
        let at = self.replicas[to].applied[origin] as usize;
        let Some(entry) = self.logs[origin].get(at) else { return false };
        let early = self.shape.bug == Some(Bug::AppliesEarly);
        if !early && !within(&entry.causes, &self.replicas[to].applied) {
            return false;
        }
        let entry = entry.clone();
        let lost = self.shape.bug == Some(Bug::LosesWrites) && self.chance(100_000);
        let greedy = self.shape.bug == Some(Bug::DeletesTooMuch) && entry.value.is_none();
        let replica = &mut self.replicas[to];
        replica.applied[origin] += 1;
        replica.clock = replica.clock.max(entry.stamp.0);
        if lost {
            return true;
        }
        let versions = &mut replica.keys[entry.key];
        versions.retain(|version| !greedy && !entry.replaced.contains(&version.dot));
        if let Some(value) = entry.value {
            versions.push(Version { dot: (origin, at as u32 + 1), value, stamp: entry.stamp });
        }
        // What belongs to it comes with it.
        if self.logs[origin].get(at + 1).is_some_and(|next| next.is_joined) {
            self.apply_next(to, origin);
        }
        true
    }

    /// A session goes elsewhere, drops its token, takes another's, or joins another's into its own.
    fn wander(&mut self, session: usize) -> Option<Vec<u32>> {
        let other = self.draw(self.shape.sessions as u64) as usize;
        let token = self.sessions[other].0.clone();
        match self.draw(5) {
            0 => self.sessions[session].0 = None,
            1 => self.sessions[session].0 = token,
            2 => return token,
            _ => self.sessions[session].1 = self.draw(self.shape.replicas as u64) as usize,
        }
        None
    }

    /// What a replica shows for a key, the winner first.
    fn shown(&self, replica: usize, key: usize) -> Vec<Version> {
        let mut versions = self.replicas[replica].keys[key].clone();
        versions.sort_by_key(|version| std::cmp::Reverse(version.stamp));
        if self.shape.bug == Some(Bug::DisagreesOnWinners) && replica % 2 == 1 {
            versions.reverse();
        }
        versions
    }

    fn request(&mut self) -> Operation {
        let (session, is_first) = self.choose();
        let merged = if is_first && self.chance(self.shape.wandering) { self.wander(session) } else { None };
        let (token, replica) = self.sessions[session].clone();
        let key = self.choose_key();
        let kind = self.draw(MILLION);
        let action = match kind {
            kind if kind < self.shape.reads => Action::Get,
            kind if kind < self.shape.reads + self.shape.deletes => Action::Delete,
            _ => Action::Put,
        };
        let mut operation = self.begin(action, key, &token, merged.as_ref());
        operation.client = format!("c{session}");
        let past = [&token, &merged].into_iter().flatten().fold(vec![0; self.shape.replicas], joined);
        self.serve(&mut operation, replica, key, past.clone(), token.is_some() || merged.is_some());
        if let (Outcome::Ok, true) = (operation.outcome, operation.token_out.is_some()) {
            self.sessions[session].0 = operation.token_out.as_deref().map(decoded);
        }
        operation
    }

    fn begin(&mut self, action: Action, key: usize, token: &Option<Vec<u32>>, merged: Option<&Vec<u32>>) -> Operation {
        let id = self.made as u64;
        self.made += 1;
        let mut operation = Operation::new(id, "", action, &format!("k{key}"));
        operation.token_in = token.as_deref().map(encoded);
        operation.merged_from = merged.map(|token| encoded(token)).into_iter().collect();
        (operation.call_ns, operation.return_ns) = (Some(id * 1_000), Some(id * 1_000 + 500));
        if action == Action::Put {
            operation.value = Some(id.to_string());
        }
        operation
    }

    fn serve(&mut self, operation: &mut Operation, replica: usize, key: usize, mut past: Vec<u32>, has_token: bool) {
        operation.replica = format!("r{replica}");
        let gate = self.shape.bug != Some(Bug::IgnoresTokens);
        if gate && !within(&past, &self.replicas[replica].applied) {
            operation.status = 503;
            operation.token_out = has_token.then(|| encoded(&past));
            return;
        }
        let shown = self.shown(replica, key);
        let lost = operation.action != Action::Get && self.chance(self.shape.unknown);
        if lost && self.chance(MILLION / 2) {
            (operation.outcome, operation.return_ns) = (Outcome::Unknown, None);
            return;
        }
        match operation.action {
            Action::Get => self.read(operation, replica, &shown, &mut past),
            Action::Delete if shown.is_empty() => self.find_nothing(operation, replica, &mut past),
            Action::Put | Action::Delete => self.write(operation, replica, key, &shown, &mut past),
        }
        if lost {
            let lost = Operation { status: 0, shown: None, superseded: None, return_ns: None, ..operation.clone() };
            *operation = Operation { outcome: Outcome::Unknown, token_out: None, ..lost };
        } else {
            operation.token_out = Some(encoded(&past));
        }
    }

    /// Absence is known only with the deletes behind it, so the client's past takes in all of the replica's.
    fn find_nothing(&self, operation: &mut Operation, replica: usize, past: &mut Vec<u32>) {
        operation.status = 404;
        *past = joined(std::mem::take(past), &self.replicas[replica].applied);
    }

    fn read(&mut self, operation: &mut Operation, replica: usize, shown: &[Version], past: &mut Vec<u32>) {
        let Some(winner) = shown.first() else {
            return self.find_nothing(operation, replica, past);
        };
        operation.status = 200;
        operation.value = Some(winner.value.to_string());
        let all = self.chance(self.shape.siblings);
        if all {
            operation.siblings = Some(shown.iter().map(|version| version.value.to_string()).collect());
        }
        if self.shape.exact {
            operation.shown = Some(shown.iter().map(|version| named(version.dot)).collect());
        }
        // An exact set tells of absence, too.
        if all || self.shape.exact {
            *past = joined(std::mem::take(past), &self.replicas[replica].applied);
        } else {
            self.note(past, winner.dot);
        }
    }

    fn write(&mut self, operation: &mut Operation, replica: usize, key: usize, shown: &[Version], past: &mut Vec<u32>) {
        operation.status = if operation.action == Action::Put && shown.is_empty() { 201 } else { 200 };
        // All that one transaction writes has one stamp.
        let is_joined = std::mem::replace(&mut self.open.2, true);
        let state = &mut self.replicas[replica];
        state.clock += u64::from(!is_joined);
        let causes = state.applied.clone();
        state.applied[replica] += 1;
        let (dot, stamp) = ((replica, state.applied[replica]), (state.clock, replica));
        state.keys[key].clear();
        let value = (operation.action == Action::Put).then_some(operation.id);
        if let Some(value) = value {
            state.keys[key].push(Version { dot, value, stamp });
        }
        let replaced: Vec<(usize, u32)> = shown.iter().map(|version| version.dot).collect();
        if self.shape.exact {
            operation.superseded = Some(replaced.iter().map(|&dot| named(dot)).collect());
            operation.shown = value.map(|_| vec![named(dot)]);
        }
        self.logs[replica].push(Entry { key, value, stamp, replaced, causes, is_joined });
        self.note(past, dot);
    }

    /// Puts a write and all its causes into a past.
    fn note(&self, past: &mut Vec<u32>, dot: (usize, u32)) {
        let entry = &self.logs[dot.0][dot.1 as usize - 1];
        *past = joined(std::mem::take(past), &entry.causes);
        past[dot.0] = past[dot.0].max(dot.1);
    }

    fn final_read(&mut self) -> Operation {
        let at = self.final_reads_made;
        self.final_reads_made += 1;
        let (key, replica) = (at / self.shape.replicas, at % self.shape.replicas);
        if at == 0 {
            self.settle();
        }
        let tokens: Vec<Vec<u32>> = self.sessions.iter().filter_map(|(token, _)| token.clone()).collect();
        let mut operation = self.begin(Action::Get, key, &None, None);
        operation.client = "final".into();
        operation.merged_from = tokens.iter().map(|token| encoded(token)).collect();
        operation.merged_from.sort();
        operation.merged_from.dedup();
        let past = tokens.iter().fold(self.everything.clone(), joined);
        self.serve(&mut operation, replica, key, past, true);
        operation
    }

    /// Everything reaches every replica.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for to in 0..self.shape.replicas {
                for from in 0..self.shape.replicas {
                    moved |= self.apply_next(to, from);
                }
            }
        }
    }
}

impl Iterator for Generator {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        if self.made < self.shape.operations {
            return Some(self.request());
        }
        let finals = if self.shape.final_reads { self.shape.keys * self.shape.replicas } else { 0 };
        (self.final_reads_made < finals).then(|| self.final_read())
    }
}

fn within(less: &[u32], more: &[u32]) -> bool {
    less.iter().zip(more).all(|(less, more)| less <= more)
}

fn joined(mut past: Vec<u32>, other: &Vec<u32>) -> Vec<u32> {
    for (count, &more) in past.iter_mut().zip(other) {
        *count = (*count).max(more);
    }
    past
}

fn encoded(past: &[u32]) -> String {
    past.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn decoded(token: &str) -> Vec<u32> {
    token.split('.').map(|part| part.parse().expect("tokens are made here")).collect()
}

fn named((origin, counter): (usize, u32)) -> String {
    format!("r{origin}-{counter}")
}
