//! What stays the same however often a run is played: where each write was made, and about when.

use super::Place;
use super::repair::Repairs;
use crate::graph::Problem;
use crate::graph::order::{Successors, indegrees};
use crate::history::{History, NONE, Outcome};
use crate::terms::{Edge, Node, WRITE};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// More sites than this are no help.
const SITES_MAX: usize = 64;

/// Cells in the rows of all nodes, and lists for pairs of site and key, at most.
/// What waits for a repair lets so many others go first.
const PATIENCE: u32 = 24;

/// Without times, operations so far from each other may have gone on at once.
const SLACK: u64 = 16;

const CELLS_MAX: usize = 1 << 26;
const LISTS_MAX: usize = 1 << 22;

/// A history, set up to be played.
pub(super) struct Stage<'a> {
    pub(super) problem: &'a Problem,
    pub(super) sites: usize,
    pub(super) keys: usize,
    /// The site of each operation; [`NONE`] for joints.
    pub(super) site: Vec<u32>,
    /// Writes that stand in the order of their site: all but those of unknown outcome.
    pub(super) is_made: Vec<bool>,
    /// About when.
    pub(super) hint: Vec<u64>,
    /// When each operation began and ended; where the history has no times, by its place in the history.
    span: Vec<(u64, u64)>,
    /// The order of hints, and the place of each node in it.
    by_hint: Vec<Node>,
    pub(super) place: Vec<u32>,
    pub(super) successors: Successors,
}

impl<'a> Stage<'a> {
    /// Sets it up; nothing where there are no such sites, or too many.
    pub(super) fn of(history: &History, problem: &'a Problem, place: Place) -> Option<Self> {
        let mut site = match place {
            Place::Replica => history.replica.clone(),
            Place::Client => history.client.clone(),
        };
        let sites = match place {
            Place::Replica if history.replicas.find("").is_some() => return None,
            Place::Replica => history.replicas.len(),
            Place::Client => history.clients.len(),
        };
        let keys = history.keys.len();
        let is_small = problem.nodes() * sites <= CELLS_MAX && keys * sites <= LISTS_MAX;
        if sites == 0 || sites > SITES_MAX || !is_small || site.iter().any(|&site| site as usize >= sites) {
            return None;
        }
        site.resize(problem.nodes(), NONE);
        let (is_made, successors) = (vec![false; problem.nodes()], Successors::of(problem, &[]));
        let mut stage = Self {
            problem,
            sites,
            keys,
            site,
            is_made,
            hint: Vec::new(),
            span: Vec::new(),
            by_hint: Vec::new(),
            place: Vec::new(),
            successors,
        };
        stage.note(history);
        stage.by_hint = (0..problem.nodes() as Node).collect();
        stage.by_hint.sort_by_key(|&node| stage.hint[node as usize]);
        stage.place = vec![0; problem.nodes()];
        for (place, &node) in stage.by_hint.iter().enumerate() {
            stage.place[node as usize] = place as u32;
        }
        Some(stage)
    }

    fn note(&mut self, history: &History) {
        let span = |at: usize| match (history.call(at), history.returned(at)) {
            (Some(call), Some(returned)) => (call, returned),
            (Some(call), None) => (call, u64::MAX),
            (None, _) => (at as u64, at as u64 + SLACK),
        };
        self.span = (0..self.problem.operations).map(span).collect();
        self.span.resize(self.problem.nodes(), (0, u64::MAX));
        self.narrow();
        let moment = |&(first, last): &(u64, u64)| if last == u64::MAX { first } else { first / 2 + last / 2 };
        self.hint = self.span.iter().map(moment).collect();
        // A write without an answer may have happened at any time: just before it was seen first.
        let perhaps = |at: usize| history.outcome[at] == Outcome::Unknown || history.status[at] >= 500;
        let mut seen = vec![u64::MAX; self.problem.nodes()];
        for node in 0..self.problem.operations as Node {
            for &put in self.problem.shown(node) {
                let first = &mut seen[put as usize];
                *first = (*first).min(self.hint[node as usize]);
            }
        }
        for (at, &seen) in seen.iter().enumerate().take(self.problem.operations) {
            let (is_write, is_seen) = (self.problem.is(at as Node, WRITE), seen < u64::MAX);
            self.is_made[at] = is_write && (is_seen || !perhaps(at));
            if is_write && is_seen && perhaps(at) {
                self.hint[at] = self.hint[at].max(seen.saturating_sub(1));
            }
        }
    }

    /// What an operation follows ended its span before, and what follows it began its span after.
    fn narrow(&mut self) {
        let order: Vec<Node> = self.problem.in_order().collect();
        for &node in &order {
            let first = self.problem.predecessors(node).map(|before| self.span[before as usize].0).max();
            let span = &mut self.span[node as usize];
            span.0 = span.0.max(first.unwrap_or(0));
        }
        for &node in order.iter().rev() {
            let last = self.span[node as usize].1;
            for before in self.problem.predecessors(node) {
                let span = &mut self.span[before as usize];
                span.1 = span.1.min(last).max(span.0);
            }
        }
    }

    /// Whether one operation may have come before another, by the hints: it began before the other ended.
    pub(super) fn may_precede(&self, first: Node, second: Node) -> bool {
        let (first, second) = (self.span.get(first as usize), self.span.get(second as usize));
        first.zip(second).is_some_and(|(first, second)| first.0 <= second.1)
    }

    /// Whether one operation ended so long before another began.
    pub(super) fn is_long_before(&self, first: Node, second: Node, time: u64) -> bool {
        let (first, second) = (self.span.get(first as usize), self.span.get(second as usize));
        first.zip(second).is_some_and(|(first, second)| first.1.saturating_add(time) < second.0)
    }

    /// About how long a write takes to another site: it is rarely read sooner.
    pub(super) fn delay(&self) -> i64 {
        let site = |node: Node| self.site[node as usize];
        let mut ages: Vec<u64> = Vec::new();
        for node in (0..self.problem.operations as Node).filter(|&node| !self.problem.is(node, WRITE)) {
            let remote = self.problem.shown(node).iter().filter(|&&put| site(put) != site(node));
            ages.extend(remote.map(|&put| self.hint[node as usize].saturating_sub(self.hint[put as usize])));
        }
        ages.sort_unstable();
        ages.get(ages.len() / 10).map_or(1, |&age| age.clamp(1, 1 << 40) as i64)
    }

    /// All nodes in an order that contains happens-before and follows the hints otherwise. It does what the repairs ask
    /// for, as far as they do not contradict each other.
    pub(super) fn order(&self, repairs: &Repairs) -> Vec<Node> {
        let nodes = self.problem.nodes();
        let asked_by: BTreeSet<Edge> = repairs.edges().collect();
        let mut missing = indegrees(self.problem, &[]);
        let mut asked = vec![0_u32; nodes];
        asked_by.iter().for_each(|&(_, to)| asked[to as usize] += 1);
        let entry = |node: Node| Reverse((self.hint[node as usize], node));
        let mut last: Vec<u32> = self.place.clone();
        for &(from, to) in &asked_by {
            last[to as usize] = last[to as usize].max(self.place[from as usize]);
        }
        let due = |node: Node| {
            let place = (last[node as usize] + PATIENCE).min(nodes as u32 - 1);
            Reverse((self.hint[self.by_hint[place as usize] as usize], node))
        };
        let (mut ready, mut held) = (BinaryHeap::new(), BinaryHeap::new());
        for node in (0..nodes as Node).filter(|&node| missing[node as usize] == 0) {
            if asked[node as usize] == 0 { ready.push(entry(node)) } else { held.push(due(node)) }
        }
        let mut is_placed = vec![false; nodes];
        let mut order = Vec::with_capacity(nodes);
        // What should have come by now waits for itself: then what waits for repairs alone goes first.
        loop {
            let late = held.peek().is_some_and(|Reverse((due, _))| {
                ready.peek().is_none_or(|Reverse((hint, _)): &Reverse<(u64, Node)>| hint > due)
            });
            let next = if late { held.pop() } else { ready.pop() };
            let Some(Reverse((_, node))) = next else { break };
            if std::mem::replace(&mut is_placed[node as usize], true) {
                continue;
            }
            order.push(node);
            let repairs = asked_by.range((node, 0)..=(node, NONE)).map(|&(_, next)| (next, 0, 1));
            let followers = self.successors.of_node(node).iter().map(|&next| (next, 1, 0));
            for (next, less, fewer) in followers.chain(repairs) {
                missing[next as usize] -= less;
                asked[next as usize] -= fewer;
                match (missing[next as usize], asked[next as usize]) {
                    (0, 0) => ready.push(entry(next)),
                    (0, _) => held.push(due(next)),
                    _ => {}
                }
            }
        }
        debug_assert_eq!(order.len(), nodes, "happens-before has no cycle");
        order
    }
}
