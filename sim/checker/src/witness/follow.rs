//! A run that is followed operation by operation: what does not fit is mended where it is, before it goes on.
//!
//! Where many requests go on at once, their order is the likeliest mistake, and then when a write reached a site. So an
//! operation that does not fit is put before one that it may have come before. Or a write is held back, or let through.
//! A few operations are followed again with one such change. The change stays if less is wrong then.

mod mend;
#[cfg(test)]
mod tests;

use super::play::{Course, Play, join};
use super::repair::Repairs;
use super::stage::Stage;
use crate::history::NONE;
use crate::terms::{Budget, DELETE, Edge, Glance, Node, PUT, View, WINNER, step};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// A row, or what a site has taken in.
type Row = SmallVec<[u32; 8]>;

/// With more sites than this nothing is followed.
const SITES_MAX: usize = 8;

/// It is given up where more than so many, and one of so many, do not fit.
const LEFT_MAX: usize = 16;
const LEFT_PARTS: usize = 64;

/// How many combinations of pending writes are looked at for one event.
const COMBINATIONS_MAX: usize = 128;

/// So many of the first and of the last pending writes of an origin are looked at.
const PENDING_MAX: usize = 3;

/// So many writes of other keys are asked whether they may be there.
const ALONG_MAX: usize = 32;

/// To follow one operation costs as much as so many turns of another loop.
const TURNS: u32 = 8;

/// What does not fit, first, and how unlikely the rest is.
type Cost = (u32, u64);

/// How little an answer fits.
const MISFIT: u32 = 4;
const WRONG_WINNER: u32 = 2;

/// A run that is being followed.
pub(super) struct Follow<'a> {
    stage: &'a Stage<'a>,
    order: Vec<Node>,
    /// The place of each node in the order.
    index: Vec<u32>,
    /// Events of each key at each site, in order; how many of them have passed; and the place of each in its list.
    events: Vec<Vec<Node>>,
    passed: Vec<u32>,
    slot: Vec<u32>,
    /// How many of the order were followed.
    done: usize,
    /// For each node how much of each site's chain its past holds, itself included.
    rows: Vec<u32>,
    position: Vec<u32>,
    chains: Vec<Vec<Node>>,
    taken: Vec<u32>,
    writes: Vec<Vec<Node>>,
    joined: Vec<Edge>,
    /// For each place of the order what the site had taken in before, how many edges had joined, and what it cost.
    had: Vec<u32>,
    joined_before: Vec<u32>,
    cost: Vec<Cost>,
    /// Writes that do not reach a site before an event there.
    blocks: Vec<BTreeSet<(Node, Node)>>,
    /// What writes have met: the later one first.
    seen: BTreeSet<Edge>,
    /// About how long a write takes to another site.
    delay: i64,
    /// How many operations were followed, again and again, and how many may be.
    steps: u64,
    steps_max: u64,
    /// By so many steps the operation at hand fits, or is left.
    mended_by: u64,
    glance: Glance,
    /// The budget is used up: what was followed means nothing.
    is_over: bool,
}

impl<'a> Follow<'a> {
    /// Follows a run to its end. Nothing comes of it where the budget is used up, where too much does not fit, or where
    /// sites are too many.
    pub(super) fn of(stage: &'a Stage<'a>, budget: &mut Budget) -> Option<Self> {
        if stage.sites > SITES_MAX {
            return None;
        }
        let mut follow = Self::begin(stage, *budget);
        let mut tries = vec![0_u8; stage.problem.nodes()];
        let mut left = 0;
        let mended_within = mend::STEPS_PER_NODE * stage.problem.nodes() as u64;
        while follow.done < follow.order.len() && !follow.is_over {
            let at = follow.done;
            follow.step();
            let node = follow.order[at] as usize;
            let may_be_mended = tries[node] < mend::TRIES_MAX && follow.steps < mended_within;
            if follow.cost[at].0 > 0 && may_be_mended {
                tries[node] += 1;
                follow.mend(at);
            } else if follow.cost[at].0 > 0 {
                left += 1;
            }
            if left > LEFT_MAX + follow.done / LEFT_PARTS {
                break;
            }
        }
        let goes_on = budget.spend(follow.steps) && !follow.is_over && follow.done == follow.order.len();
        goes_on.then_some(follow)
    }

    fn begin(stage: &'a Stage<'a>, budget: Budget) -> Self {
        let (nodes, sites) = (stage.problem.nodes(), stage.sites);
        let lists = || vec![Vec::new(); stage.keys * sites];
        let order = stage.order(&Repairs::default());
        let mut follow = Self {
            stage,
            index: vec![0; nodes],
            events: lists(),
            passed: vec![0; stage.keys * sites],
            slot: vec![NONE; nodes],
            done: 0,
            rows: vec![0; nodes * sites],
            position: vec![NONE; nodes],
            chains: vec![Vec::new(); sites],
            taken: vec![0; sites * sites],
            writes: lists(),
            joined: Vec::new(),
            had: vec![0; nodes * sites],
            joined_before: vec![0; nodes],
            cost: vec![(0, 0); nodes],
            blocks: vec![BTreeSet::new(); sites],
            seen: BTreeSet::new(),
            delay: stage.delay(),
            steps: 0,
            steps_max: budget.nodes,
            mended_by: 0,
            glance: budget.glance(),
            is_over: false,
            order: Vec::new(),
        };
        for (index, &node) in order.iter().enumerate() {
            follow.index[node as usize] = index as u32;
            if follow.is_event(node) {
                let list = follow.list_of(node);
                follow.slot[node as usize] = follow.events[list].len() as u32;
                follow.events[list].push(node);
            }
        }
        follow.order = order;
        follow
    }

    fn is_event(&self, node: Node) -> bool {
        self.stage.site[node as usize] != NONE
            && (self.stage.is_made[node as usize] || self.stage.problem.view(node) != View::Open)
    }

    fn list_of(&self, node: Node) -> usize {
        self.list(self.stage.problem.key[node as usize], self.stage.site[node as usize])
    }

    const fn list(&self, key: u32, site: u32) -> usize {
        key as usize * self.stage.sites + site as usize
    }

    fn row(&self, node: Node) -> &[u32] {
        &self.rows[node as usize * self.stage.sites..(node as usize + 1) * self.stage.sites]
    }

    fn taken_at(&self, site: u32) -> &[u32] {
        &self.taken[site as usize * self.stage.sites..(site as usize + 1) * self.stage.sites]
    }

    fn had(&self, at: usize) -> &[u32] {
        &self.had[at * self.stage.sites..(at + 1) * self.stage.sites]
    }

    fn holds(&self, row: &[u32], write: Node) -> bool {
        step();
        let position = self.position[write as usize];
        position != NONE && row[self.stage.site[write as usize] as usize] > position
    }

    /// Whether a write has met another.
    fn has(&self, node: Node, write: Node) -> bool {
        node != write && self.holds(self.row(node), write)
    }

    /// The last write of a key in each chain, within a past.
    fn last(&self, row: &[u32], key: u32) -> SmallVec<[Node; 8]> {
        let lists = &self.writes[key as usize * self.stage.sites..(key as usize + 1) * self.stage.sites];
        let last = lists.iter().zip(row).filter_map(|(list, &limit)| {
            // What is asked for is nearly always near the end.
            let mut count = list.len();
            while count > 0 && self.position[list[count - 1] as usize] >= limit {
                count -= 1;
            }
            count.checked_sub(1).map(|at| list[at])
        });
        last.collect()
    }

    /// The puts of a key that are alive in a past.
    fn alive(&self, row: &[u32], key: u32) -> SmallVec<[Node; 8]> {
        let last = self.last(row, key);
        let is_alive = |&put: &Node| self.stage.problem.is(put, PUT) && !last.iter().any(|&write| self.has(write, put));
        last.iter().copied().filter(is_alive).collect()
    }

    /// Whether one write was surely made after another. Clocks differ a little.
    fn is_later(&self, write: Node, other: Node) -> bool {
        self.stage.is_long_before(other, write, 2 * self.delay as u64)
    }

    /// How little an answer fits a state.
    fn misfit(&self, event: Node, state: &[u32]) -> u32 {
        let problem = self.stage.problem;
        let (view, shown) = (problem.view(event), problem.shown(event));
        if view == View::Open {
            return 0;
        }
        let alive = self.alive(state, problem.key[event as usize]);
        let fits = match view {
            View::Alive => !alive.is_empty(),
            View::Exact => alive.len() == shown.len() && shown.iter().all(|put| alive.contains(put)),
            View::Found | View::Open => shown.iter().all(|put| alive.contains(put)),
        };
        if !fits {
            return MISFIT;
        }
        let lost = |winner: Node| alive.iter().any(|&put| put != winner && self.is_later(put, winner));
        let is_wrong = problem.is(event, WINNER) && shown.first().is_some_and(|&winner| lost(winner));
        if is_wrong { WRONG_WINNER } else { 0 }
    }

    /// Follows the next operation.
    fn step(&mut self) {
        let (at, sites) = (self.done, self.stage.sites);
        let node = self.order[at];
        let (problem, site) = (self.stage.problem, self.stage.site[node as usize]);
        self.steps += 1;
        self.is_over |= self.steps > self.steps_max || self.glance.have_passed(TURNS);
        let mut row: Row = SmallVec::from_elem(0, sites);
        for other in problem.predecessors(node) {
            join(&mut row, self.row(other));
        }
        for &(_, write) in self.seen.range((node, 0)..=(node, NONE)) {
            if self.position[write as usize] != NONE {
                join(&mut row, self.row(write));
            }
        }
        self.joined_before[at] = self.joined.len() as u32;
        self.cost[at] = (0, 0);
        if self.is_event(node) {
            let start = site as usize * sites;
            self.had[at * sites..(at + 1) * sites].copy_from_slice(&self.taken[start..start + sites]);
            let mut base: Row = SmallVec::from_slice(&self.taken[start..start + sites]);
            join(&mut base, &row);
            let (state, cost) = self.choose(node, base);
            self.taken[start..start + sites].copy_from_slice(&state);
            self.cost[at] = cost;
            self.answer(node, &mut row);
        }
        let start = node as usize * sites;
        self.rows[start..start + sites].copy_from_slice(&row);
        self.done += 1;
    }

    /// What the event has met, and what it made.
    fn answer(&mut self, node: Node, row: &mut Row) {
        let (problem, site) = (self.stage.problem, self.stage.site[node as usize]);
        let key = problem.key[node as usize];
        let list = self.list(key, site);
        if self.stage.is_made[node as usize] {
            for write in self.last(self.taken_at(site), key).iter().chain(self.chains[site as usize].last()) {
                join(row, self.row(*write));
            }
            let chain = &mut self.chains[site as usize];
            self.position[node as usize] = chain.len() as u32;
            chain.push(node);
            row[site as usize] = chain.len() as u32;
            self.writes[list].push(node);
            let start = site as usize * self.stage.sites;
            join(&mut self.taken[start..start + self.stage.sites], row);
        } else if problem.view(node) == View::Exact && problem.shown(node).is_empty() {
            let last = self.last(self.taken_at(site), key);
            for put in self.alive(row, key) {
                if let Some(&delete) = last.iter().find(|&&write| problem.is(write, DELETE) && self.has(write, put)) {
                    join(row, self.row(delete));
                    self.joined.push((delete, node));
                }
            }
        }
        self.passed[list] += 1;
    }

    fn undo_to(&mut self, at: usize) {
        let sites = self.stage.sites;
        while self.done > at {
            self.done -= 1;
            let node = self.order[self.done];
            self.joined.truncate(self.joined_before[self.done] as usize);
            if !self.is_event(node) {
                continue;
            }
            let (list, site) = (self.list_of(node), self.stage.site[node as usize] as usize);
            self.passed[list] -= 1;
            self.taken[site * sites..(site + 1) * sites]
                .copy_from_slice(&self.had[self.done * sites..(self.done + 1) * sites]);
            if self.stage.is_made[node as usize] {
                self.chains[site].pop();
                self.writes[list].pop();
                self.position[node as usize] = NONE;
            }
        }
    }

    fn go_to(&mut self, at: usize) {
        while self.done < at && !self.is_over {
            self.step();
        }
    }

    /// What a site has most likely taken in when it answers.
    fn choose(&self, event: Node, base: Row) -> (Row, Cost) {
        let (problem, site) = (self.stage.problem, self.stage.site[event as usize]);
        let key = problem.key[event as usize];
        let mut options: SmallVec<[SmallVec<[Node; 8]>; 8]> = SmallVec::new();
        let mut count = 1;
        for origin in (0..self.stage.sites as u32).filter(|&origin| origin != site) {
            let list = &self.writes[self.list(key, origin)];
            let mut first = list.len();
            while first > 0 && self.position[list[first - 1] as usize] >= base[origin as usize] {
                first -= 1;
            }
            let pending = &list[first..];
            let mut some: SmallVec<[Node; 8]> = pending.iter().copied().take(PENDING_MAX).collect();
            some.extend(pending.iter().copied().skip(PENDING_MAX.max(pending.len().saturating_sub(PENDING_MAX))));
            if count * (some.len() + 1) > COMBINATIONS_MAX {
                some = some.last().copied().into_iter().collect();
            }
            count *= some.len() + 1;
            if !some.is_empty() {
                options.push(some);
            }
        }
        let mut best = (self.cost_of(event, &base, &base, &options), base.clone());
        for number in 1..count.min(4 * COMBINATIONS_MAX) {
            let (mut state, mut rest) = (base.clone(), number);
            for some in &options {
                let chosen = rest % (some.len() + 1);
                rest /= some.len() + 1;
                if let Some(&write) = chosen.checked_sub(1).and_then(|at| some.get(at)) {
                    join(&mut state, self.row(write));
                }
            }
            if self.is_blocked(event, &base, &state) {
                continue;
            }
            let cost = self.cost_of(event, &base, &state, &options);
            if cost < best.0 {
                best = (cost, state);
            }
        }
        (best.1, best.0)
    }

    /// Whether the site may not have taken in so much before the event.
    fn is_blocked(&self, event: Node, base: &[u32], state: &[u32]) -> bool {
        let blocks = &self.blocks[self.stage.site[event as usize] as usize];
        let at = self.index[event as usize];
        blocks.iter().any(|&(write, until)| {
            self.index[until as usize] >= at && self.holds(state, write) && !self.holds(base, write)
        })
    }

    fn cost_of(&self, event: Node, base: &[u32], state: &[u32], options: &[SmallVec<[Node; 8]>]) -> Cost {
        let now = self.stage.hint[event as usize] as i64;
        let mut unlikely = 0;
        for some in options {
            let mut is_late = false;
            for &write in some {
                let age = (now - self.stage.hint[write as usize] as i64).max(0);
                if self.holds(state, write) {
                    unlikely += (10 * self.delay / (4 * age + self.delay / 4 + 1)) as u64;
                } else if !std::mem::replace(&mut is_late, true) {
                    unlikely += (10 * age / self.delay).min(60) as u64;
                }
            }
        }
        let (site, key) = (self.stage.site[event as usize], self.stage.problem.key[event as usize]);
        for origin in 0..self.stage.sites {
            let along = &self.chains[origin][base[origin] as usize..state[origin] as usize];
            let others = along.iter().rev().filter(|&&write| self.stage.problem.key[write as usize] != key);
            unlikely += others.take(ALONG_MAX).map(|&write| self.doubt(write, site, state)).sum::<u64>();
        }
        (self.misfit(event, state), unlikely + self.surprise(event, state))
    }

    /// How much later what lost seems to be than what won.
    fn surprise(&self, event: Node, state: &[u32]) -> u64 {
        let problem = self.stage.problem;
        let Some(&winner) = problem.shown(event).first().filter(|_| problem.is(event, WINNER)) else { return 0 };
        let moment = |put: Node| self.stage.hint[put as usize] as i64;
        let alive = self.alive(state, problem.key[event as usize]);
        let late = alive.iter().map(|&put| moment(put) - moment(winner)).filter(|&late| late > 0);
        late.map(|late| (3 + 20 * late / self.delay) as u64).sum()
    }

    /// How little the next answer of the site lets a write of its key be there by now.
    fn doubt(&self, write: Node, site: u32, state: &[u32]) -> u64 {
        let problem = self.stage.problem;
        let key = problem.key[write as usize];
        let list = self.list(key, site);
        let Some(&event) = self.events[list].get(self.passed[list] as usize) else { return 0 };
        let is_put = problem.is(write, PUT);
        let shown = problem.shown(event);
        for &put in shown.iter().filter(|&&put| self.position[put as usize] != NONE) {
            let is_rival = is_put && put != write && problem.is(event, WINNER) && !self.has(put, write);
            if self.has(write, put) || is_rival && self.is_later(write, put) {
                return 40;
            }
        }
        match problem.view(event) {
            View::Exact if shown.is_empty() && is_put && self.alive(state, key).contains(&write) => 10,
            View::Alive if !is_put && self.alive(state, key).is_empty() => 10,
            View::Open | View::Found | View::Exact | View::Alive => 0,
        }
    }

    /// The events that do not fit.
    pub(super) fn faults(&self) -> Vec<Node> {
        let wrong = self.order.iter().zip(&self.cost).filter(|(_, cost)| cost.0 > 0);
        wrong.map(|(&node, _)| node).collect()
    }

    /// The run as it was followed.
    pub(super) fn into_play(self, repairs: &'a Repairs) -> Play<'a> {
        let Self { stage, order, index: rank, rows, position, chains, joined, .. } = self;
        Play::followed(stage, repairs, Course { order, rank, rows, position, chains, joined })
    }
}
