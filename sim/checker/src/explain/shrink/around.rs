//! Where shrinking begins: what a violation names, what connects it, and what may not be left out beside that.

use super::{Shrinker, is_nameless};
use crate::graph::order::{self, Successors};
use crate::history::History;
use crate::search::candidates::removers;
use crate::terms::{Break, DELETE, Debt, Edge, Forced, Node, PUT, View, WINNER};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The puts of an event's key by what the whole history's order says of them when the event came.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Certainly replaced or deleted.
    pub(super) gone: BTreeSet<Node>,
    /// Neither that, nor made only after the event.
    pub(super) perhaps_alive: BTreeSet<Node>,
}

impl Shrinker<'_> {
    /// What a violation is about.
    pub(super) fn named(&self, wrong: &Break) -> Vec<Node> {
        match wrong {
            Break::Nonsense(event) => vec![*event],
            Break::Cycle(nodes) => nodes.clone(),
            Break::Arbitration(nodes) => {
                let pairs = nodes.iter().zip(nodes.iter().cycle().skip(1));
                let readers: Vec<Node> = pairs.filter_map(|(&loser, &winner)| self.chose(loser, winner)).collect();
                nodes.iter().copied().chain(readers).collect()
            }
            Break::Overwritten { event, shown, write } => vec![*event, *shown, *write],
            Break::Missing { event, put } => vec![*event, *put],
            Break::NotAlive { event } => {
                let last = self.whole(self.problem.last_writes(*event));
                let same = |&write: &Node| self.problem.key[write as usize] == self.problem.key[*event as usize];
                let removed = self.removed_before(*event);
                removed.into_iter().chain(last.into_iter().filter(same)).chain([*event]).collect()
            }
        }
    }

    /// A read that had both in its past and returned the winner.
    fn chose(&self, loser: Node, winner: Node) -> Option<Node> {
        let problem = self.problem;
        let mut events = 0..problem.operations as Node;
        events.find(|&event| {
            let won = problem.shown(event).first().filter(|&&put| problem.is_one(put, winner));
            let lost = problem.put_of(loser, problem.key[event as usize]);
            problem.is(event, WINNER)
                && won.is_some()
                && lost.is_some_and(|put| problem.shown(event).contains(&put) || self.precedes(put, event))
        })
    }

    /// Whether a write is in the past of an event.
    fn precedes(&self, write: Node, event: Node) -> bool {
        let Some(rows) = &self.rows else { return false };
        let mut last = self.problem.last_writes(event).into_iter();
        last.any(|last| self.problem.is_one(last, write) || rows.before(self.problem, write, last))
    }

    /// The last put that was surely gone before an event, and what came after it: the story of why nothing was there.
    fn removed_before(&self, event: Node) -> Vec<Node> {
        let (Some(rows), Some(&put)) = (&self.rows, self.fate(event).gone.last()) else { return Vec::new() };
        let writes = self.problem.index.writes(self.problem.key[event as usize]).iter().copied();
        let after = writes.filter(|&write| rows.before(self.problem, put, write) && self.precedes(write, event)).min();
        after.into_iter().chain([put]).collect()
    }

    /// What became of the puts of an event's key until it came.
    pub(super) fn fate(&self, event: Node) -> Rc<Fate> {
        if let Some(known) = self.fates.borrow().get(&event) {
            return known.clone();
        }
        let (mut fate, problem) = (Fate::default(), self.problem);
        if let Some(rows) = &self.rows {
            let before = |a: Node, b: Node| rows.before(problem, a, b);
            let (first, last) = (problem.first_writes(event), problem.last_writes(event));
            let writes = problem.index.writes(problem.key[event as usize]);
            let is_known = self.effort.spend(self.fate_cost(writes.len(), last.len() + first.len()));
            // What cannot be found out any more may have been alive.
            let writes = if is_known { writes } else { &[] };
            if !is_known {
                let all = problem.index.writes(problem.key[event as usize]).iter();
                fate.perhaps_alive.extend(all.filter(|&&put| problem.is(put, PUT)));
            }
            let precedes = |write: &Node| last.iter().any(|&last| problem.is_one(last, *write) || before(*write, last));
            let past: Vec<Node> = writes.iter().copied().filter(precedes).collect();
            for &put in writes.iter().filter(|&&put| problem.is(put, PUT)) {
                if past.iter().any(|&write| before(put, write)) {
                    fate.gone.insert(put);
                } else if !first.iter().any(|&first| problem.is_one(first, put) || before(first, put)) {
                    fate.perhaps_alive.insert(put);
                }
            }
        }
        let fate = Rc::new(fate);
        self.fates.borrow_mut().insert(event, fate.clone());
        fate
    }

    /// Steps to find out what became of so many writes of a key.
    fn fate_cost(&self, writes: usize, ends: usize) -> u64 {
        let (writes, ends) = (writes as u64, ends as u64);
        (self.problem.operations as u64 + writes * (writes + ends)) / 16
    }

    /// Steps to find what may have removed each of so many puts of a key before an event.
    pub(super) fn removers_cost(&self, key: u32, puts: usize) -> u64 {
        let writes = self.problem.index.writes(key).len() as u64;
        (self.problem.operations as u64 + puts as u64 * writes) / 16
    }

    /// With whatever may not be left out beside these: what they showed, what may excuse them, what they may have met.
    pub(super) fn completed(&self, mut kept: Vec<Node>) -> Vec<Node> {
        loop {
            kept = self.whole(kept);
            let known = kept.len();
            let reads = kept.iter().filter(|&&node| !self.problem.is(node, PUT | DELETE));
            let mut more: Vec<Node> = reads.flat_map(|&node| self.problem.shown(node)).copied().collect();
            more.extend(self.excuses_among(&kept));
            more.extend(self.perhaps_met_by(&kept));
            more.extend(self.nameless_beside(&kept));
            kept.extend(more);
            kept = self.whole(kept);
            if kept.len() == known || self.effort.is_spent() {
                return kept;
            }
        }
    }

    /// The deletes that may excuse what these do not show.
    fn excuses_among(&self, kept: &[Node]) -> Vec<Node> {
        let Some(rows) = &self.rows else { return Vec::new() };
        let mut found = Vec::new();
        for &event in kept.iter().filter(|&&event| self.asks(event)) {
            let key = self.problem.key[event as usize];
            if !self.problem.index.has_deletes(key) {
                continue;
            }
            let puts = kept.iter().filter(|&&put| self.problem.is(put, PUT) && self.problem.key[put as usize] == key);
            if !self.effort.spend(self.removers_cost(key, puts.clone().count())) {
                break;
            }
            for &put in puts.filter(|&&put| put != event && !self.problem.shown(event).contains(&put)) {
                let ways = removers(self.problem, rows, put, event, self.effort.time());
                found.extend(ways.iter().map(|way| way.write).filter(|&write| self.problem.is(write, DELETE)));
            }
        }
        found
    }

    /// The puts that may have been alive where one of these says that it met something.
    fn perhaps_met_by(&self, kept: &[Node]) -> Vec<Node> {
        let is_alive = |&event: &Node| self.problem.view(event) == View::Alive && !self.silent.contains(&event);
        let alive = kept.iter().copied().filter(is_alive);
        alive.flat_map(|event| self.fate(event).perhaps_alive.iter().copied().collect::<Vec<_>>()).collect()
    }

    /// For each of these that names versions of unanswered puts, such a put: without one the names mean nothing.
    fn nameless_beside(&self, kept: &[Node]) -> Vec<Node> {
        let is_partial = |&event: &Node| {
            self.problem.view(event) == View::Found
                && !self.silent.contains(&event)
                && names_versions(self.history, event)
        };
        let nameless = |event: Node| {
            let writes = self.problem.index.writes(self.problem.key[event as usize]).iter().copied();
            writes.filter(|&put| is_nameless(self.history, put)).min()
        };
        let partial = kept.iter().copied().filter(is_partial).filter(|_| self.rows.is_some());
        partial.filter_map(nameless).collect()
    }

    /// Takes back what answers say of puts that are left out.
    pub(super) fn hush(&mut self, kept: &[Node]) {
        let is_out = |put: &Node| kept.binary_search(put).is_err();
        for &node in kept {
            let shown = self.problem.shown(node);
            if self.problem.is(node, PUT | DELETE) && shown.iter().any(is_out) {
                self.silent.insert(node);
            } else if shown.first().is_some_and(is_out) {
                self.muted.insert(node);
            } else if shown.iter().any(is_out) {
                self.silent.insert(node);
            }
        }
    }

    /// What is named, what forced it, and the shortest ways between them.
    pub(super) fn connected(&self, mut nodes: Vec<Node>, forced: &[Forced]) -> Vec<Node> {
        let mut edges: Vec<Edge> = Vec::new();
        for one in forced {
            edges.extend_from_slice(&one.explanation.edges);
            nodes.push(one.explanation.write);
            match one.debt {
                Debt::Removed { put, event } => nodes.extend([put, event]),
                Debt::Alive { event } => nodes.push(event),
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(40);
        let successors = Successors::of(self.problem, &edges);
        let named: Vec<Node> = nodes.iter().map(|&node| self.problem.head(node)).collect();
        // Where numbers are an order, no way leads down.
        let is_plain = edges.is_empty() && self.problem.is_ascending;
        for &from in &named {
            for &to in named.iter().filter(|&&to| to != from && (!is_plain || from < to)) {
                let room = if is_plain { to - from } else { self.problem.nodes() as u32 };
                // Some is left for what comes after.
                let cost = u64::from(room) / 4;
                if self.effort.left() >= self.options.shrinking / 4 * 3 && self.effort.spend(cost) {
                    let way = order::path(&successors, from, to, |next| !is_plain || next < to);
                    nodes.extend(way.into_iter().flatten());
                }
            }
        }
        // What is named must be understood.
        nodes.retain(|&node| (node as usize) < self.problem.operations);
        let parts = named.iter().flat_map(|&head| self.problem.parts(head));
        nodes.extend(parts.flat_map(|part| self.problem.shown(part)));
        self.whole(nodes)
    }

    /// These and all that is of one batch with them, in order.
    pub(super) fn whole(&self, mut nodes: Vec<Node>) -> Vec<Node> {
        nodes.sort_unstable();
        nodes.dedup();
        if !self.problem.batches.is_empty() {
            nodes.iter_mut().for_each(|node| *node = self.problem.head(*node));
            nodes.dedup();
            nodes = nodes.into_iter().flat_map(|head| self.problem.parts(head)).collect();
        }
        nodes
    }
}

fn names_versions(history: &History, node: Node) -> bool {
    history.shown(node as usize).is_some() || history.superseded(node as usize).is_some()
}
