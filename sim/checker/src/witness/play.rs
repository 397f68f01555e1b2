//! One time that a run is played: every replica takes in what it can, and what does not fit is noted.

use super::repair::{Repair, Repairs};
use super::stage::Stage;
use crate::graph::certificate::Certificate;
use crate::history::NONE;
use crate::terms::{Budget, DELETE, Edge, Node, PUT, View, WINNER, WRITE, step};
use std::cell::Cell;

/// How many later answers of a replica are looked at before it takes in a write.
const AHEAD: usize = 8;

/// To play one operation costs as much as so many turns of another loop.
const TURNS: u32 = 4;

/// What did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The event showed a put that a write of its past had met.
    Overwritten { event: Node, shown: Node, write: Node },
    /// The event showed nothing, and this put of its past was removed by no write.
    Missing { event: Node, put: Node },
    /// The write met something, and nothing is alive in its past.
    NotAlive { event: Node },
}

/// A put that an event had in its past and did not return: it comes before the winner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loser {
    pub(super) put: Node,
    pub(super) winner: Node,
    pub(super) event: Node,
}

/// What a later answer says about a write that might be there already.
enum Tells {
    Fits,
    Excludes,
    Nothing,
}

/// What is known of a run in the end.
pub(super) struct Course {
    pub(super) order: Vec<Node>,
    pub(super) rank: Vec<u32>,
    pub(super) rows: Vec<u32>,
    pub(super) position: Vec<u32>,
    pub(super) chains: Vec<Vec<Node>>,
    pub(super) joined: Vec<Edge>,
}

/// A run that was played.
pub(super) struct Play<'a> {
    pub(super) stage: &'a Stage<'a>,
    pub(super) repairs: &'a Repairs,
    pub(super) order: Vec<Node>,
    pub(super) rank: Vec<u32>,
    /// For each node how much of each site's chain its past holds, itself included.
    rows: Vec<u32>,
    /// The place of each write in the chain of its site, or [`NONE`].
    position: Vec<u32>,
    chains: Vec<Vec<Node>>,
    /// How much of each chain each site has taken in.
    taken: Vec<u32>,
    /// Writes and deletes of each key by site.
    writes: Vec<Vec<Node>>,
    deletes: Vec<Vec<Node>>,
    /// Events of each key at each site, in order, and how many of them have passed.
    ahead: Vec<Vec<Node>>,
    passed: Vec<u32>,
    /// Deletes that joined the past of events that showed nothing.
    pub(super) joined: Vec<Edge>,
    pub(super) losers: Vec<Loser>,
    pub(super) wrong: Vec<Wrong>,
    /// Steps that were taken to find what is to blame, and are not paid for yet.
    pub(super) steps: Cell<u64>,
}

impl<'a> Play<'a> {
    /// Plays the run; nothing where the time is over.
    pub(super) fn of(stage: &'a Stage<'a>, repairs: &'a Repairs, budget: &Budget) -> Option<Self> {
        let order = stage.order(repairs);
        let (nodes, sites) = (stage.problem.nodes(), stage.sites);
        let lists = || vec![Vec::new(); stage.keys * sites];
        let mut play = Self {
            stage,
            repairs,
            rank: vec![0; nodes],
            rows: vec![0; nodes * sites],
            position: vec![NONE; nodes],
            chains: vec![Vec::new(); sites],
            taken: vec![0; sites * sites],
            writes: lists(),
            deletes: lists(),
            ahead: lists(),
            passed: vec![0; stage.keys * sites],
            joined: Vec::new(),
            losers: Vec::new(),
            wrong: Vec::new(),
            steps: Cell::new(0),
            order: Vec::new(),
        };
        for (rank, &node) in order.iter().enumerate() {
            play.rank[node as usize] = rank as u32;
            if play.is_event(node) {
                let list = play.list(stage.problem.key[node as usize], stage.site[node as usize]);
                play.ahead[list].push(node);
            }
        }
        let mut glance = budget.glance();
        for &node in &order {
            if glance.have_passed(TURNS) {
                return None;
            }
            play.take(node);
        }
        play.order = order;
        Some(play)
    }

    /// A run that was followed operation by operation.
    pub(super) fn followed(stage: &'a Stage<'a>, repairs: &'a Repairs, course: Course) -> Self {
        let Course { order, rank, rows, position, chains, joined } = course;
        let (taken, writes, deletes) = (Vec::new(), Vec::new(), Vec::new());
        let (ahead, passed, losers, wrong) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let steps = Cell::new(0);
        Self {
            stage,
            repairs,
            order,
            rank,
            rows,
            position,
            chains,
            taken,
            writes,
            deletes,
            ahead,
            passed,
            joined,
            losers,
            wrong,
            steps,
        }
    }

    fn is_event(&self, node: Node) -> bool {
        self.stage.is_made[node as usize] || self.stage.problem.view(node) != View::Open
    }

    const fn list(&self, key: u32, site: u32) -> usize {
        key as usize * self.stage.sites + site as usize
    }

    pub(super) fn row(&self, node: Node) -> &[u32] {
        &self.rows[node as usize * self.stage.sites..(node as usize + 1) * self.stage.sites]
    }

    fn taken_at(&self, site: u32) -> &[u32] {
        &self.taken[site as usize * self.stage.sites..(site as usize + 1) * self.stage.sites]
    }

    /// Whether the past of a node holds a write.
    pub(super) fn has(&self, node: Node, write: Node) -> bool {
        node != write && self.holds(self.row(node), write)
    }

    fn holds(&self, row: &[u32], write: Node) -> bool {
        step();
        let position = self.position[write as usize];
        position != NONE && row[self.stage.site[write as usize] as usize] > position
    }

    pub(super) fn before(&self, node: Node) -> impl Iterator<Item = Node> {
        self.stage.problem.predecessors(node).chain(self.repairs.seen_by(node))
    }

    fn take(&mut self, node: Node) {
        let (problem, site) = (self.stage.problem, self.stage.site[node as usize]);
        let mut row = vec![0; self.stage.sites];
        for other in self.before(node) {
            join(&mut row, self.row(other));
        }
        if site != NONE {
            let key = problem.key[node as usize];
            // A refusal says that what was asked for is not there yet.
            if self.is_event(node) {
                self.join_taken(site, &row);
            }
            if self.stage.is_made[node as usize] {
                self.advance(site, node);
                self.meet(site, key, &mut row);
            }
            self.fit(node, &mut row);
            if self.stage.is_made[node as usize] {
                let chain = &mut self.chains[site as usize];
                self.position[node as usize] = chain.len() as u32;
                chain.push(node);
                row[site as usize] = chain.len() as u32;
                let list = self.list(key, site);
                self.writes[list].push(node);
                if problem.is(node, DELETE) {
                    self.deletes[list].push(node);
                }
            }
            if self.is_event(node) {
                self.join_taken(site, &row);
                let list = self.list(key, site);
                self.passed[list] += 1;
            }
        }
        let start = node as usize * self.stage.sites;
        self.rows[start..start + row.len()].copy_from_slice(&row);
    }

    /// A write has met what its client knew, the last writes of its key that its site holds, and the last write of the
    /// site. What else the site holds it need not have met: others may take it in without that.
    fn meet(&self, site: u32, key: u32, row: &mut [u32]) {
        for write in self.last(self.taken_at(site), key).iter().chain(self.chains[site as usize].last()) {
            join(row, self.row(*write));
        }
    }

    fn join_taken(&mut self, site: u32, row: &[u32]) {
        let start = site as usize * self.stage.sites;
        join(&mut self.taken[start..start + row.len()], row);
    }

    /// A site takes in what others made, as far as its later answers allow.
    fn advance(&mut self, site: u32, now: Node) {
        let sites = self.stage.sites;
        let start = site as usize * sites;
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for origin in (0..sites).filter(|&origin| origin != site as usize) {
                while let Some(&write) = self.chains[origin].get(self.taken[start + origin] as usize) {
                    let mut causes = self.row(write).iter().zip(self.taken_at(site)).enumerate();
                    let is_ready = causes.all(|(other, (needs, has))| other == origin || needs <= has);
                    if !is_ready || !self.may_be_there(write, site, now) {
                        break;
                    }
                    self.taken[start + origin] += 1;
                    moved = true;
                }
            }
        }
    }

    fn may_be_there(&self, write: Node, site: u32, now: Node) -> bool {
        let rank = self.rank[now as usize];
        if self.repairs.is_blocked(write, site, |until| self.rank[until as usize] >= rank) {
            return false;
        }
        let list = self.list(self.stage.problem.key[write as usize], site);
        for &event in self.ahead[list].iter().skip(self.passed[list] as usize).take(AHEAD) {
            match self.tells(event, write, site) {
                Tells::Fits => return true,
                Tells::Excludes => return false,
                Tells::Nothing => {}
            }
        }
        true
    }

    /// What a later event at a site says about a write that might be there by then.
    fn tells(&self, event: Node, write: Node, site: u32) -> Tells {
        let problem = self.stage.problem;
        let is_put = problem.is(write, PUT);
        let shown = problem.shown(event);
        if shown.contains(&write) {
            return Tells::Fits;
        }
        for &put in shown.iter().filter(|&&put| self.position[put as usize] != NONE) {
            if self.has(write, put) {
                return Tells::Excludes;
            }
            if self.has(put, write) {
                return Tells::Fits;
            }
            if is_put && (problem.is(event, WINNER) && self.is_later(write, put) || problem.view(event) == View::Exact)
            {
                return Tells::Excludes;
            }
        }
        let excludes = match problem.view(event) {
            View::Exact if shown.is_empty() => is_put && self.remover(write, None).is_none(),
            View::Alive if !is_put => {
                let mut row = self.taken_at(site).to_vec();
                join(&mut row, self.row(write));
                self.alive(&row, problem.key[event as usize]).is_empty()
            }
            View::Open | View::Found | View::Exact | View::Alive => false,
        };
        match () {
            () if excludes => Tells::Excludes,
            () if self.stage.is_made[event as usize] => Tells::Fits,
            () => Tells::Nothing,
        }
    }

    /// Whether one put is taken to win against another.
    fn is_later(&self, put: Node, other: Node) -> bool {
        self.rank[put as usize] > self.rank[other as usize] && !self.repairs.has(Repair::Behind(put, other))
    }

    /// The last write of a key in each chain, within a past.
    fn last(&self, row: &[u32], key: u32) -> Vec<Node> {
        let lists = &self.writes[key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites];
        let last = lists.iter().zip(row).filter_map(|(list, &limit)| {
            let count = list.partition_point(|&write| self.position[write as usize] < limit);
            count.checked_sub(1).map(|at| list[at])
        });
        last.collect()
    }

    /// The puts of a key that are alive in a past.
    fn alive(&self, row: &[u32], key: u32) -> Vec<Node> {
        let last = self.last(row, key);
        let is_alive = |&put: &Node| self.stage.problem.is(put, PUT) && !last.iter().any(|&write| self.has(write, put));
        last.iter().copied().filter(is_alive).collect()
    }

    /// The delete that removed a put, the earliest by hint; those that the site has taken in come first.
    fn remover(&self, put: Node, at: Option<(Node, u32)>) -> Option<Node> {
        let key = self.stage.problem.key[put as usize] as usize;
        let lists = &self.deletes[key * self.stage.sites..(key + 1) * self.stage.sites];
        let first = |list: &Vec<Node>| {
            let count = list.partition_point(|&delete| !self.has(delete, put));
            let allowed = |delete: &Node| at.is_none_or(|(event, _)| !self.repairs.has(Repair::Refuse(*delete, event)));
            list[count..].iter().copied().find(allowed)
        };
        let is_there = |delete: Node| at.is_some_and(|(_, site)| self.holds(self.taken_at(site), delete));
        lists.iter().filter_map(first).min_by_key(|&delete| (!is_there(delete), self.rank[delete as usize]))
    }

    /// Lets what an event showed fit its past, or notes that it does not.
    fn fit(&mut self, node: Node, row: &mut [u32]) {
        let (problem, site) = (self.stage.problem, self.stage.site[node as usize]);
        let key = problem.key[node as usize];
        let (view, shown) = (problem.view(node), problem.shown(node));
        match view {
            View::Open => return,
            View::Exact if shown.is_empty() => {
                for put in self.alive(row, key) {
                    match self.remover(put, Some((node, site))) {
                        Some(delete) => {
                            join(row, self.row(delete));
                            self.joined.push((delete, node));
                        }
                        None => self.wrong.push(Wrong::Missing { event: node, put }),
                    }
                }
                return;
            }
            View::Alive => {
                if self.alive(row, key).is_empty() && !self.find_alive(key, row) {
                    self.wrong.push(Wrong::NotAlive { event: node });
                }
                return;
            }
            View::Found | View::Exact => {}
        }
        let last = self.last(row, key);
        for &put in shown {
            if let Some(&write) = last.iter().find(|&&write| self.has(write, put)) {
                self.wrong.push(Wrong::Overwritten { event: node, shown: put, write });
                return;
            }
        }
        if problem.is(node, WINNER) {
            let winner = shown[0];
            let lost = self.alive(row, key).into_iter().filter(|&put| put != winner && !self.has(winner, put));
            let losers: Vec<Loser> = lost.map(|put| Loser { put, winner, event: node }).collect();
            self.losers.extend(losers);
        }
    }

    /// Takes in the earliest put of a key that is not there yet.
    fn find_alive(&self, key: u32, row: &mut [u32]) -> bool {
        let lists = &self.writes[key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites];
        let next = lists.iter().zip(row.iter()).filter_map(|(list, &limit)| {
            let count = list.partition_point(|&write| self.position[write as usize] < limit);
            list[count..].iter().copied().find(|&write| self.stage.problem.is(write, PUT))
        });
        let Some(put) = next.min_by_key(|&put| self.rank[put as usize]) else { return false };
        join(row, self.row(put));
        true
    }

    /// The next write of a key that a site will make.
    pub(super) fn next_made(&self, event: Node, kind: u8) -> Option<Node> {
        let (key, rank) = (self.stage.problem.key[event as usize], self.rank[event as usize]);
        let lists = &self.writes[key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites];
        let next = lists.iter().filter_map(|list| {
            let count = list.partition_point(|&write| self.rank[write as usize] <= rank);
            list[count..].iter().copied().find(|&write| self.stage.problem.is(write, kind))
        });
        next.min_by_key(|&write| self.rank[write as usize])
    }

    /// The last deletes of a key that sites made before an event, the latest first.
    pub(super) fn last_deletes(&self, event: Node) -> Vec<Node> {
        let (key, rank) = (self.stage.problem.key[event as usize], self.rank[event as usize]);
        let lists = &self.deletes[key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites];
        let last = lists.iter().filter_map(|list| {
            let count = list.partition_point(|&delete| self.rank[delete as usize] < rank);
            count.checked_sub(1).map(|at| list[at])
        });
        let mut last: Vec<Node> = last.collect();
        last.sort_by_key(|&delete| std::cmp::Reverse(self.rank[delete as usize]));
        last
    }

    /// Pairs of a put and a delete that had met it, in the past of an event, the latest first.
    pub(super) fn deleted_in(&self, event: Node) -> Vec<(Node, Node)> {
        let key = self.stage.problem.key[event as usize];
        let lists = key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites;
        let last = |list: &[Node], row: Node| list.partition_point(|&write| write != row && self.has(row, write));
        let mut found = Vec::new();
        for deletes in &self.deletes[lists.clone()] {
            let Some(&delete) = last(deletes, event).checked_sub(1).and_then(|at| deletes.get(at)) else { continue };
            for writes in &self.writes[lists.clone()] {
                let count = last(writes, delete);
                let put = writes[..count].iter().rev().find(|&&write| self.stage.problem.is(write, PUT));
                found.extend(put.map(|&put| (put, delete)));
            }
        }
        found
    }

    /// The edges of the guess: the chain of each site, and what each write was the first of its site to have met. What
    /// is loose keeps what it had met of the others, and the others have met it; among themselves they are free.
    pub(super) fn edges(&self, is_loose: impl Fn(Node) -> bool) -> Vec<Edge> {
        let mut edges = self.joined.clone();
        edges.retain(|&(from, to)| !is_loose(from) && !is_loose(to));
        // All writes of a chain up to here are these, or before them.
        let ends = |origin: usize, count: u32| {
            let chain = &self.chains[origin][..count as usize];
            let fixed = chain.iter().rposition(|&write| !is_loose(write)).unwrap_or(0);
            chain[fixed..].iter().copied()
        };
        for (site, chain) in self.chains.iter().enumerate() {
            let mut known = vec![0; self.stage.sites];
            for (at, &write) in chain.iter().enumerate() {
                let mut row = self.row(write).to_vec();
                row[site] = at as u32;
                let is_free = is_loose(write);
                for (origin, &has) in row.iter().enumerate() {
                    if is_free {
                        let last = ends(origin, has).find(|&end| !is_loose(end));
                        edges.extend(last.map(|last| (last, write)));
                    } else if has > known[origin] {
                        edges.extend(ends(origin, has).map(|end| (end, write)));
                    }
                }
                if !is_free {
                    known = row;
                }
            }
        }
        edges
    }

    /// The guess, without what it says of these.
    pub(super) fn certificate(&self, is_loose: impl Fn(Node) -> bool) -> Certificate {
        let mut edges = self.edges(&is_loose);
        edges.sort_unstable_by_key(|&(from, to)| (to, from));
        edges.dedup();
        let is_fixed = |node: usize| self.stage.is_made[node] && !is_loose(node as Node);
        let origin = |node: usize| if is_fixed(node) { self.stage.site[node] } else { NONE };
        Certificate { origin: (0..self.stage.problem.operations).map(origin).collect(), edges }
    }

    /// Every write that was made.
    pub(super) fn made(&self) -> impl Iterator<Item = Node> {
        debug_assert!(self.chains.iter().flatten().all(|&write| self.stage.problem.is(write, WRITE)));
        self.chains.iter().flatten().copied()
    }
}

pub(super) fn join(row: &mut [u32], other: &[u32]) {
    for (mine, &theirs) in row.iter_mut().zip(other) {
        *mine = (*mine).max(theirs);
    }
}
