//! What may be changed where an operation does not fit, and the change that helps most.

use super::{Cost, Follow, Row};
use crate::history::NONE;
use crate::terms::{DELETE, Node, PUT, View};
use smallvec::SmallVec;

/// How often it is tried to make one operation fit.
pub(super) const TRIES_MAX: u8 = 2;

/// So many operations after what does not fit are followed to see what a change leads to.
const HORIZON: usize = 64;

/// So far back changes are thought of.
const BACK: usize = 600;

/// How many others of its key and site an operation changes places with.
const NEIGHBOURS: usize = 3;

/// How many steps back it is followed how a write came to an operation.
const REACH_MAX: u32 = 8;

/// How many changes are made together.
const DEPTH: u32 = 1;

/// One thing that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The operation at the first place is put at the second.
    Move(u32, u32),
    /// The write does not reach the site before the event.
    Block(Node, u32, Node),
    /// The first has met the second.
    Seen(Node, Node),
}

/// Changes that belong together, and the first place that they touch.
type Way = (usize, SmallVec<[Change; 2]>);

/// Ways that are gone one after another.
type Ways = Vec<Way>;

/// How many steps are taken to make one operation fit by a change or two.
const SEARCHING_MAX: u64 = 120_000;

/// After so many steps for each operation of a history nothing more is mended.
pub(super) const STEPS_PER_NODE: u64 = 400;

/// How many steps are taken to make one operation fit whose change needs others.
const STRIVING_MAX: u64 = 60_000;

/// How many others.
const FURTHER_MAX: usize = 8;

impl Follow<'_> {
    /// Makes the change after which the least is wrong, if there is one that helps.
    pub(super) fn mend(&mut self, at: usize) {
        let end = (at + 1 + HORIZON).min(self.order.len());
        let floor = at.saturating_sub(BACK);
        self.go_to(end);
        let goal = self.cost_between(floor, end);
        self.mended_by = self.steps + SEARCHING_MAX;
        let found = self.search(at, (floor, end), (goal.0, 0), DEPTH);
        let found = found.or_else(|| self.strive(at, (floor, end), goal.0));
        match found {
            Some((_, ways)) => {
                let first = ways.iter().map(|&(start, _)| start).min().unwrap_or(at);
                self.undo_to(first);
                ways.iter().flat_map(|(_, changes)| changes).for_each(|&change| self.change(change, true));
            }
            None => {
                self.undo_to(at);
                self.step();
            }
        }
    }

    fn cost_between(&self, first: usize, end: usize) -> Cost {
        let all = self.cost[first..end].iter();
        all.fold((0, 0), |(wrong, unlikely), cost| (wrong + cost.0, unlikely + cost.1))
    }

    /// The best ways to make less wrong than the goal.
    fn search(&mut self, at: usize, (floor, end): (usize, usize), goal: Cost, depth: u32) -> Option<(Cost, Ways)> {
        self.undo_to(at);
        self.go_to(at + 1);
        let ways = self.ways(at);
        let mut best: Option<(Cost, Ways)> = None;
        let mut goal = goal;
        for way in ways.into_iter().filter(|&(start, _)| start >= floor) {
            if self.is_over || self.steps >= self.mended_by {
                break;
            }
            self.undo_to(way.0);
            way.1.iter().for_each(|&change| self.change(change, true));
            self.go_to(end);
            let cost = self.cost_between(floor, end);
            if cost < goal {
                goal = cost;
                best = Some((cost, vec![way.clone()]));
            }
            let next = (way.0..end).find(|&at| self.cost[at].0 > 0);
            if depth > 0
                && cost.0 > 0
                && let Some(next) = next
                && let Some((cost, more)) = self.search(next, (floor, end), goal, depth - 1)
            {
                goal = cost;
                best = Some((cost, std::iter::once(way.clone()).chain(more).collect()));
            }
            self.undo_to(way.0);
            way.1.iter().rev().for_each(|&change| self.change(change, false));
        }
        best
    }

    /// The same where each change needs others, one after another.
    fn strive(&mut self, at: usize, (floor, end): (usize, usize), goal: u32) -> Option<(Cost, Ways)> {
        self.mended_by = self.steps + STRIVING_MAX;
        let mut best: Option<(Cost, Ways)> = None;
        self.undo_to(at);
        self.go_to(at + 1);
        for way in self.ways(at).into_iter().filter(|&(start, _)| start >= floor) {
            let mut first = way.0;
            let mut made = Ways::new();
            self.make(way, end, &mut made);
            let mut left: SmallVec<[Node; 8]> = SmallVec::new();
            let mut cost = self.cost_between(floor, end);
            while made.len() < FURTHER_MAX && left.len() < FURTHER_MAX && self.steps < self.mended_by {
                let is_wrong = |&at: &usize| self.cost[at].0 > 0 && !left.contains(&self.order[at]);
                let Some(next) = (first..end).find(is_wrong) else { break };
                let node = self.order[next];
                if let Some((less, more)) = self.search(next, (floor, end), (cost.0, 0), 0) {
                    cost = less;
                    for way in more {
                        first = first.min(way.0);
                        self.make(way, end, &mut made);
                    }
                } else {
                    self.go_to(end);
                    left.push(node);
                }
            }
            let limit = best.as_ref().map_or(goal, |(cost, _)| cost.0);
            self.undo_to(first);
            made.iter()
                .rev()
                .flat_map(|(_, changes)| changes.iter().rev())
                .for_each(|&change| self.change(change, false));
            if cost.0 < limit {
                best = Some((cost, made));
            }
            if self.steps >= self.mended_by || self.is_over {
                break;
            }
        }
        best
    }

    fn make(&mut self, way: Way, end: usize, made: &mut Ways) {
        self.undo_to(way.0);
        way.1.iter().for_each(|&change| self.change(change, true));
        self.go_to(end);
        made.push(way);
    }

    /// Makes a change, or takes it back.
    fn change(&mut self, change: Change, is_made: bool) {
        match change {
            Change::Move(from, to) => {
                let (from, to) = if is_made { (from, to) } else { (to, from) };
                self.put(from as usize, to as usize);
            }
            Change::Block(write, site, until) => {
                let blocks = &mut self.blocks[site as usize];
                _ = if is_made { blocks.insert((write, until)) } else { blocks.remove(&(write, until)) };
            }
            Change::Seen(by, write) => {
                _ = if is_made { self.seen.insert((by, write)) } else { self.seen.remove(&(by, write)) };
            }
        }
    }

    fn put(&mut self, from: usize, to: usize) {
        let node = self.order[from];
        if from < to {
            self.order[from..=to].rotate_left(1);
        } else {
            self.order[to..=from].rotate_right(1);
        }
        for at in from.min(to)..=from.max(to) {
            self.index[self.order[at] as usize] = at as u32;
        }
        if self.slot[node as usize] == NONE {
            return;
        }
        let list = self.list_of(node);
        loop {
            let slot = self.slot[node as usize] as usize;
            let events = &mut self.events[list];
            let index = |node: Node| self.index[node as usize];
            let other = if slot > 0 && index(events[slot - 1]) > index(node) {
                slot - 1
            } else if slot + 1 < events.len() && index(events[slot + 1]) < index(node) {
                slot + 1
            } else {
                return;
            };
            events.swap(slot, other);
            self.slot[events[slot] as usize] = slot as u32;
            self.slot[node as usize] = other as u32;
        }
    }

    /// To put an operation before another that comes before it now.
    fn moved(&self, node: Node, before: Node) -> Option<Way> {
        let (from, to) = (self.index[node as usize], self.index[before as usize]);
        let is_free = from > to
            && self.stage.may_precede(node, before)
            && self.stage.problem.predecessors(node).all(|other| self.index[other as usize] < to);
        is_free.then(|| (to as usize, SmallVec::from_iter([Change::Move(from, to)])))
    }

    /// To put an operation behind another that comes after it now.
    fn delayed(&self, node: Node, behind: Node) -> Option<Way> {
        let (from, to) = (self.index[node as usize], self.index[behind as usize]);
        let is_free = from < to
            && self.stage.may_precede(behind, node)
            && self.stage.successors.of_node(node).iter().all(|&other| self.index[other as usize] > to);
        is_free.then(|| (from as usize, SmallVec::from_iter([Change::Move(from, to)])))
    }

    /// To change the order of two operations, the second of which comes later now.
    fn swapped(&self, first: Node, second: Node) -> impl Iterator<Item = Way> {
        self.moved(second, first).or_else(|| self.delayed(first, second)).into_iter()
    }

    /// To hold a write back from a site until after an event there.
    fn held_back(&self, write: Node, event: Node, depth: u32, ways: &mut Vec<Way>) {
        let (site, origin) = (self.stage.site[event as usize], self.stage.site[write as usize]);
        let position = self.position[write as usize];
        if site == origin || position == NONE || depth > REACH_MAX {
            return;
        }
        let last = self.index[event as usize] as usize;
        let came = (last.saturating_sub(BACK)..=last).rev().find(|&at| {
            let node = self.order[at];
            self.is_event(node) && self.stage.site[node as usize] == site && self.had(at)[origin as usize] <= position
        });
        let Some(at) = came else { return };
        // What the client knew brought it, or the site had it from the other.
        let node = self.order[at];
        match self.stage.problem.predecessors(node).find(|&before| self.holds(self.row(before), write)) {
            Some(before) => {
                self.kept_out(write, before, depth + 1, ways);
                ways.extend(self.swapped(node, event));
            }
            None => ways.push((at, SmallVec::from_iter([Change::Block(write, site, event)]))),
        }
    }

    /// To keep a write out of the past of an operation that has it there now.
    fn kept_out(&self, write: Node, event: Node, depth: u32, ways: &mut Vec<Way>) {
        let problem = self.stage.problem;
        let mut at = event;
        for _ in 0..4 * REACH_MAX {
            if at == write {
                return;
            }
            let known = |&other: &Node| self.holds(self.row(other), write);
            if let Some(before) = problem.predecessors(at).find(known) {
                at = before;
                continue;
            }
            let met = self.seen.range((at, 0)..=(at, NONE)).map(|&(_, other)| other);
            let place = self.index[at as usize] as usize;
            let first = self.joined_before[place] as usize;
            let joined = self.joined[first.min(self.joined.len())..].iter().take_while(|&&(_, to)| to == at);
            if let Some(before) = met.chain(joined.map(|&(from, _)| from)).find(known) {
                at = before;
                continue;
            }
            if !self.stage.is_made[at as usize] {
                return;
            }
            let (here, there) = (self.stage.site[at as usize], self.stage.site[write as usize]);
            if here == there {
                return ways.extend(self.swapped(write, at));
            }
            // The site had met it with a write of the same key, or its own last write had.
            let chain = &self.chains[here as usize];
            let own = (self.position[at as usize] as usize).checked_sub(1).and_then(|last| chain.get(last).copied());
            if let Some(before) = own.filter(|other| known(other)) {
                at = before;
                continue;
            }
            let key = problem.key[at as usize];
            let mut row = self.row(at).to_vec();
            row[here as usize] = self.position[at as usize];
            let last = self.last(&row, key);
            if last.contains(&write) {
                return self.held_back(write, at, depth + 1, ways);
            }
            let Some(before) = last.into_iter().find(known) else { return };
            at = before;
        }
    }

    /// To let a write have met another.
    fn met(&self, by: Node, write: Node) -> Option<Way> {
        if self.index[write as usize] < self.index[by as usize] {
            return Some((self.index[by as usize] as usize, SmallVec::from_iter([Change::Seen(by, write)])));
        }
        let (start, mut changes) = self.moved(write, by)?;
        changes.push(Change::Seen(by, write));
        Some((start, changes))
    }

    /// To keep a write from having met another.
    fn parted(&self, write: Node, by: Node, ways: &mut Vec<Way>) {
        if self.stage.site[write as usize] == self.stage.site[by as usize] {
            ways.extend(self.swapped(write, by));
        }
        self.held_back(write, by, 0, ways);
    }

    /// What may make an operation fit.
    fn ways(&self, at: usize) -> Vec<Way> {
        let event = self.order[at];
        let (problem, site) = (self.stage.problem, self.stage.site[event as usize]);
        let key = problem.key[event as usize];
        let mut ways = Vec::new();
        self.changed_places(event, &mut ways);
        let mut taken: Row = SmallVec::from_slice(self.taken_at(site));
        if self.stage.is_made[event as usize] {
            taken[site as usize] = self.position[event as usize];
        }
        let last = self.last(&taken, key);
        // What is there and should not be.
        last.iter().for_each(|&write| self.held_back(write, event, 0, &mut ways));
        self.let_through(event, &taken, &mut ways);
        self.not_met(event, &last, &taken, &mut ways);
        self.also_met(event, &taken, &mut ways);
        let mut known: Vec<Way> = Vec::with_capacity(ways.len());
        for way in ways {
            if !known.contains(&way) {
                known.push(way);
            }
        }
        known
    }

    /// To change places with others of the key: at the site, or writes that were made elsewhere at about that time.
    fn changed_places(&self, event: Node, ways: &mut Vec<Way>) {
        let (key, site) = (self.stage.problem.key[event as usize], self.stage.site[event as usize]);
        let (events, slot) = (&self.events[self.list_of(event)], self.slot[event as usize] as usize);
        for &other in events[slot + 1..].iter().take(NEIGHBOURS) {
            ways.extend(self.swapped(event, other));
        }
        for &other in events[..slot].iter().rev().take(NEIGHBOURS) {
            ways.extend(self.swapped(other, event));
        }
        for origin in (0..self.stage.sites as u32).filter(|&origin| origin != site) {
            let list = self.list(key, origin);
            let next = self.events[list].iter().skip(self.passed[list] as usize).take(2 * NEIGHBOURS);
            for &write in next.filter(|&&write| self.stage.is_made[write as usize]).take(NEIGHBOURS) {
                ways.extend(self.moved(write, event));
            }
        }
    }

    /// To let what would fit have come without what is held back.
    fn let_through(&self, event: Node, taken: &[u32], ways: &mut Vec<Way>) {
        let (key, site) = (self.stage.problem.key[event as usize], self.stage.site[event as usize]);
        let at = self.index[event as usize];
        let late = self.blocks[site as usize].iter().filter(|&&(_, until)| self.index[until as usize] >= at);
        for &(held, _) in late {
            for origin in 0..self.stage.sites as u32 {
                let writes = &self.writes[self.list(key, origin)];
                let near = writes.iter().rev().take(NEIGHBOURS).filter(|&&write| !self.holds(taken, write));
                for &write in near.filter(|&&write| self.has(write, held)) {
                    self.kept_out(held, write, 0, ways);
                }
            }
        }
    }

    /// To keep writes from having met what they should not: what is shown, or what may be alive.
    fn not_met(&self, event: Node, last: &[Node], taken: &[u32], ways: &mut Vec<Way>) {
        let problem = self.stage.problem;
        let key = problem.key[event as usize];
        let alive = self.alive(taken, key);
        for &put in problem.shown(event).iter().filter(|put| !alive.contains(put)) {
            for &write in last.iter().filter(|&&write| self.has(write, put)) {
                self.parted(put, write, ways);
                for &between in &self.between(put, write) {
                    self.parted(put, between, ways);
                    self.parted(between, write, ways);
                }
            }
        }
        if problem.view(event) == View::Alive {
            for &delete in last {
                for &put in self.last(self.row(delete), key).iter().filter(|&&put| problem.is(put, PUT)) {
                    self.parted(put, delete, ways);
                }
            }
        }
    }

    /// To let writes have met what is not shown.
    fn also_met(&self, event: Node, taken: &[u32], ways: &mut Vec<Way>) {
        let problem = self.stage.problem;
        let (key, shown) = (problem.key[event as usize], problem.shown(event));
        let is_empty = problem.view(event) == View::Exact && shown.is_empty();
        let kind = if is_empty { DELETE } else { DELETE | PUT };
        for &put in self.alive(taken, key).iter().filter(|&&put| !shown.contains(&put)) {
            for origin in 0..self.stage.sites as u32 {
                let near = self.writes[self.list(key, origin)].iter().rev().take(2 * NEIGHBOURS);
                let others = near.filter(|&&write| problem.is(write, kind) && write != put && write != event);
                for &write in others.filter(|&&write| !self.has(write, put) && !self.has(put, write)) {
                    ways.extend(self.met(write, put));
                }
            }
        }
    }

    /// Writes of a key that have met the first and that the second has met.
    fn between(&self, first: Node, second: Node) -> SmallVec<[Node; 8]> {
        let key = self.stage.problem.key[first as usize];
        let met = self.last(self.row(second), key);
        met.into_iter().filter(|&write| write != second && write != first && self.has(write, first)).collect()
    }
}
