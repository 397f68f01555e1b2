//! What did not fit, and the pairs that may be to blame for it.

use super::play::{Loser, Play, Wrong};
use super::repair::Repair;
use crate::graph::order::components;
use crate::terms::{Budget, DELETE, Edge, Node, PUT};
use std::collections::BTreeSet;

/// How many ways to mend one fault are thought of.
const WAYS_MAX: usize = 24;

/// So many steps for each operation of a history are taken to mend one fault.
const STEPS_MAX: u64 = 16;

/// Repairs that go together.
pub(super) type Way = Vec<Repair>;

/// Something that did not fit, and what may mend it, the likeliest first.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) event: Node,
    pub(super) other: Node,
    pub(super) ways: Vec<Way>,
}

impl Play<'_> {
    /// Everything that did not fit, as far as the budget reaches; one fault for each put that was overwritten or missing.
    pub(super) fn faults(&self, budget: &mut Budget) -> Vec<Fault> {
        let mut told = BTreeSet::new();
        let mut faults = Vec::new();
        for &wrong in &self.wrong {
            let (event, other) = match wrong {
                Wrong::Overwritten { shown, write, .. } => (write, shown),
                Wrong::Missing { event, put } => (event, put),
                Wrong::NotAlive { event } => (event, event),
            };
            if !told.insert((matches!(wrong, Wrong::Missing { .. }), other)) {
                continue;
            }
            let mut ways = match wrong {
                Wrong::Overwritten { event, shown, write } => {
                    self.part(shown, write).into_iter().chain(self.part(write, event)).collect()
                }
                Wrong::Missing { event, put } => self.removals(put, event),
                Wrong::NotAlive { event } => self.revivals(event),
            };
            ways.truncate(WAYS_MAX);
            faults.push(Fault { event, other, ways });
            if !budget.spend(self.steps.take()) {
                return faults;
            }
        }
        self.add_tangles(&mut faults, budget);
        faults
    }

    /// Winners that no order of all writes can have.
    fn add_tangles(&self, faults: &mut Vec<Fault>, budget: &mut Budget) {
        let component = self.components();
        let of = |node: Node| component[node as usize];
        let rank = |node: Node| self.rank[node as usize];
        let tangled: Vec<&Loser> = self.losers.iter().filter(|loser| of(loser.put) == of(loser.winner)).collect();
        let mut told = BTreeSet::new();
        for loser in tangled.iter().filter(|loser| rank(loser.put) > rank(loser.winner)) {
            if !told.insert((loser.put, loser.winner)) {
                continue;
            }
            let mut ways: Vec<Way> = self.part(loser.put, loser.event).into_iter().collect();
            let between = rank(loser.winner)..=rank(loser.put);
            let opposite = tangled.iter().filter(|other| {
                of(other.put) == of(loser.put)
                    && rank(other.put) < rank(other.winner)
                    && between.contains(&rank(other.put))
            });
            let behind = Repair::Behind(loser.put, loser.winner);
            ways.extend(opposite.take(WAYS_MAX).filter_map(|other| {
                let mut way = self.part(other.put, other.event)?;
                way.push(behind);
                Some(way)
            }));
            faults.push(Fault { event: loser.event, other: loser.put, ways });
            if !budget.spend(self.steps.take()) {
                return;
            }
        }
    }

    fn count(&self, steps: usize) {
        self.steps.set(self.steps.get() + steps as u64);
    }

    /// How to keep a write out of the past of an event; nothing where happens-before puts it there.
    fn part(&self, write: Node, event: Node) -> Option<Way> {
        let mut at = event;
        while at != write {
            self.count(1);
            // Repairs may contradict each other, and then what comes before in one sense comes after in another.
            let mut earlier = self.before(at).filter(|&before| self.rank[before as usize] < self.rank[at as usize]);
            let through = earlier.find(|&before| before == write || self.has(before, write));
            if let Some(before) = through {
                at = before;
                continue;
            }
            // Here it came in.
            let (here, there) = (self.stage.site[at as usize], self.stage.site[write as usize]);
            if !self.stage.is_made[at as usize] {
                self.count(self.joined.len());
                let mut joined = self.joined.iter().filter(|&&(_, to)| to == at).map(|&(delete, _)| delete);
                let found = joined.find(|&delete| delete == write || self.has(delete, write));
                return found.map(|delete| vec![Repair::Refuse(delete, at)]);
            }
            if here == there {
                return self.stage.may_precede(at, write).then(|| vec![Repair::After(at, write)]);
            }
            let block = Repair::Block { write, site: here, until: at };
            if !self.repairs.has(block) {
                return Some(vec![block]);
            }
            // The site had met it by then, because an operation that came before brought it.
            let between = self.rank[write as usize] as usize..self.rank[at as usize] as usize;
            self.count(between.len());
            let mut earlier = self.order[between].iter().copied();
            let brought = earlier.find(|&other| self.stage.site[other as usize] == here && self.has(other, write));
            return brought
                .filter(|&other| self.stage.may_precede(at, other))
                .map(|other| vec![Repair::After(at, other)]);
        }
        None
    }

    /// What may have removed a put that an event no longer showed; or the event had not met it.
    fn removals(&self, put: Node, event: Node) -> Vec<Way> {
        let can = |delete: Node| delete != event && self.stage.may_precede(put, delete) && !self.has(put, delete);
        let met = |delete: Node| vec![Repair::Seen(put, delete)];
        let last = self.last_deletes(event).into_iter().filter(|&delete| can(delete) && !self.has(delete, event));
        let mut ways: Vec<Way> = last.map(met).collect();
        let next = self.next_made(event, DELETE).filter(|&delete| can(delete) && self.stage.may_precede(delete, event));
        ways.extend(next.map(|delete| vec![Repair::After(delete, event), Repair::Seen(put, delete)]));
        ways.extend(self.part(put, event));
        ways
    }

    /// What may have been alive where a write met something.
    fn revivals(&self, event: Node) -> Vec<Way> {
        let hint = |node: Node| self.stage.hint[node as usize];
        let mut pairs: Vec<(u64, Node, Node)> = Vec::new();
        for (put, delete) in self.deleted_in(event) {
            pairs.push((hint(delete).abs_diff(hint(put)), put, delete));
            pairs.push((hint(event).abs_diff(hint(delete)), delete, event));
        }
        pairs.sort_unstable();
        pairs.dedup();
        let most = STEPS_MAX * self.stage.problem.nodes() as u64;
        let near = pairs.into_iter().take_while(|_| self.steps.get() <= most);
        let mut ways: Vec<Way> = near.filter_map(|(_, write, by)| self.part(write, by)).take(WAYS_MAX).collect();
        let next = self.next_made(event, PUT).filter(|&put| self.stage.may_precede(put, event));
        ways.extend(next.map(|put| vec![Repair::Seen(put, event)]));
        ways
    }

    /// The strongly connected component of each write, by the guess and which write lost against which.
    fn components(&self) -> Vec<u32> {
        let nodes = self.stage.problem.nodes();
        let lost = self.losers.iter().map(|loser| (loser.put, loser.winner));
        let mut edges: Vec<Edge> = self.edges(|_| false);
        edges.retain(|&(_, to)| self.stage.is_made[to as usize]);
        edges.extend(lost);
        edges.sort_unstable();
        edges.dedup();
        let mut start = vec![0; nodes + 1];
        edges.iter().for_each(|&(from, _)| start[from as usize + 1] += 1);
        for node in 0..nodes {
            start[node + 1] += start[node];
        }
        components(nodes, self.made(), |node, at| {
            let of_node = &edges[start[node as usize]..start[node as usize + 1]];
            of_node.get(at).map(|&(_, to)| to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::repair::Repairs;
    use super::super::stage::Stage;
    use super::*;
    use crate::graph::Problem;
    use crate::recorder::{Recorder, Response};

    /// Three writes are to have met each other in a circle, and each of them a fourth, as repairs of different faults may
    /// ask. What brought the fourth to an event is looked for backwards, and that ends.
    #[test]
    fn repairs_that_contradict_each_other_are_not_followed_in_a_circle() {
        let mut recorder = Recorder::new();
        for client in ["a", "b", "c", "d"] {
            let write = recorder.on_invoke_put(client, "x", client, None);
            recorder.on_return(write, Response::created().replica(client)).expect("it is open");
            let read = recorder.on_invoke_get(client, "x", None);
            recorder.on_return(read, Response::found([client]).replica(client)).expect("it is open");
        }
        let history = recorder.history().expect("it is sound");
        let problem = Problem::of(&history, true).expect("it is readable");
        let mut places = 0;
        for stage in Place::all(&history, &problem).into_iter().filter_map(|place| Stage::of(&history, &problem, place))
        {
            places += 1;
            let nodes = 0..problem.nodes() as Node;
            let puts: Vec<Node> = nodes.clone().filter(|&node| problem.flags[node as usize] & PUT != 0).collect();
            let mut repairs = Repairs::default();
            for (first, second) in [(0, 1), (1, 2), (2, 0), (3, 0), (3, 1), (3, 2)] {
                repairs.add(Repair::Seen(puts[first], puts[second]));
            }
            let play = Play::of(&stage, &repairs, &Budget::default()).expect("no watch");
            for event in nodes.clone() {
                nodes.clone().for_each(|write| _ = play.part(write, event));
            }
            assert!(play.steps.take() > 0);
        }
        assert!(places > 0, "nothing was played");
    }
}
