//! One walk over the graph: what is certainly wrong, what needs an explanation, and what the arbitration must hold.
//!
//! The walk follows "What is right" of the design. In an event's past it looks, per chain, for the last write of the
//! event's key. Earlier writes of the chain are before it, so they need no look of their own.

use crate::graph::Problem;
use crate::graph::index::Cursors;
use crate::graph::rows::{Cell, Rows};
use crate::history::NONE;
use crate::search::guarantees::Demands;
use crate::terms::{Blind, Break, Debt, Edge, Glance, Losing, Node, PUT, View, WINNER};

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walk<T> {
    pub(crate) rows: Rows<T>,
    /// What is certainly wrong; the first only, unless all was asked for.
    pub(crate) wrongs: Vec<Break>,
    pub(crate) debts: Vec<Debt>,
    /// For each winner the first of its entries in `ahead`, or [`NONE`].
    first_ahead: Vec<u32>,
    ahead: Vec<Ahead>,
    /// Pairs of writes in arbitration order, certain ones.
    pub(crate) certain: Vec<Edge>,
    /// Pairs that a delete may undo.
    pub(crate) losing: Vec<Losing>,
    /// The time was over before the end: all of it means nothing.
    pub(crate) is_cut: bool,
}

/// How far into a chain the writes reach that must come before a winner.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    chain: u32,
    count: u32,
    /// The winner's next entry, or [`NONE`].
    next: u32,
}

/// What one session guarantee demands; nothing where all of the past is asked about.
pub(crate) type Must<'a> = Option<&'a Demands>;

struct Walker<'a, T> {
    problem: &'a Problem,
    walk: Walk<T>,
    arbitrate: bool,
    must: Must<'a>,
    cursors: Cursors,
    /// The last writes, puts and deletes of the key at hand, one per chain.
    writes: Vec<Node>,
    puts: Vec<Node>,
    deletes: Vec<Node>,
}

/// Walks the graph with these extra edges, which must be sorted by where they lead. The order must respect them all. The
/// walk ends where something is certainly wrong, or with `all` goes on. It is cut where the time is over.
pub(crate) fn walk<T: Cell>(
    problem: &Problem,
    order: &[Node],
    extra: &[Edge],
    arbitrate: bool,
    must: Must<'_>,
    all: bool,
    mut glance: Glance,
) -> Walk<T> {
    let arbitrate = arbitrate && problem.blind != Some(Blind::Winners);
    let first_ahead = if arbitrate { vec![NONE; problem.nodes()] } else { Vec::new() };
    let walk = Walk {
        rows: Rows::new(problem, extra),
        wrongs: Vec::new(),
        debts: Vec::new(),
        first_ahead,
        ahead: Vec::new(),
        certain: Vec::new(),
        losing: Vec::new(),
        is_cut: false,
    };
    let (writes, puts, deletes) = (Vec::new(), Vec::new(), Vec::new());
    let cursors = problem.index.cursors();
    let mut walker = Walker { problem, walk, arbitrate, must, cursors, writes, puts, deletes };
    // A node costs as much as it has chains to be compared.
    let cost = 1 + problem.chains() as u32 / 16;
    for node in problem.ordered(order) {
        if glance.have_passed(cost) {
            walker.walk.is_cut = true;
            break;
        }
        let first = extra.partition_point(|&(_, to)| to < node);
        let into = extra[first..].iter().take_while(|&&(_, to)| to == node).map(|&(from, _)| from);
        walker.walk.rows.open(problem, node, into);
        // All parts of a batch look at what was before it.
        for part in problem.parts(node).filter(|&part| problem.view(part) != View::Open) {
            walker.look(part);
        }
        if !all && !walker.walk.wrongs.is_empty() {
            break;
        }
        walker.walk.rows.close(problem, node);
    }
    walker.walk
}

impl<T: Cell> Walker<'_, T> {
    fn before(&self, a: Node, b: Node) -> bool {
        self.walk.rows.before(self.problem, a, b)
    }

    fn look(&mut self, event: Node) {
        let key = self.problem.key[event as usize];
        let view = self.problem.view(event);
        if self.must.is_none() && view == View::Found && !self.problem.index.has_deletes(key) {
            return self.look_at_plain(event, key);
        }
        self.gather(event, key);
        self.look_for_overwritten(event);
        match view {
            View::Open => {}
            View::Found => self.note_losing(event),
            View::Exact => {
                self.note_missing(event);
                self.note_winner(event);
            }
            View::Alive => self.note_alive(event),
        }
    }

    /// A read of a key that no client deletes.
    fn look_at_plain(&mut self, event: Node, key: u32) {
        let (problem, walk) = (self.problem, &mut self.walk);
        let is_winner = self.arbitrate && problem.is(event, WINNER);
        for (at, &put) in problem.shown(event).iter().enumerate() {
            for segment in problem.index.segments(key) {
                let (limit, settled) = (walk.rows.cell(event, segment.chain), walk.rows.cell(put, segment.chain));
                // What the put itself has in its past neither follows it nor competes with it.
                if limit <= settled {
                    continue;
                }
                let Some((entry, position)) = problem.index.last_within(segment, limit.count(), &mut self.cursors)
                else {
                    continue;
                };
                if position < settled.count() {
                    continue;
                }
                let write = problem.index.node[entry];
                if walk.rows.before(problem, put, write) && problem.blind != Some(Blind::Overwritten) {
                    walk.wrongs.push(Break::Overwritten { event, shown: put, write });
                    return;
                }
                if is_winner && at == 0 {
                    walk.put_ahead(problem.head(put), segment.chain, position + 1);
                }
            }
        }
    }

    /// Collects, per chain, the last write, put and delete in the past of the event.
    fn gather(&mut self, event: Node, key: u32) {
        self.writes.clear();
        self.puts.clear();
        self.deletes.clear();
        let (index, rows) = (&self.problem.index, &self.walk.rows);
        let shown = self.problem.shown(event);
        let has_deletes = index.has_deletes(key);
        for segment in index.segments(key) {
            let limit = rows.cell(event, segment.chain).count();
            // What every shown put has in its past follows none of them, and each of them excuses its absence.
            let settled = shown.iter().map(|&put| rows.cell(put, segment.chain).count()).min().unwrap_or(0);
            if self.must.is_none() && limit <= settled {
                continue;
            }
            let Some((entry, position)) = index.last_within(segment, limit, &mut self.cursors) else { continue };
            if self.must.is_none() && position < settled {
                continue;
            }
            match self.must {
                None => {
                    self.writes.push(index.node[entry]);
                    self.puts.extend(index.put_at(entry));
                    self.deletes.extend(index.delete_at(entry).filter(|_| has_deletes));
                }
                // Which delete may excuse is not a matter of its chain here, so all of them count.
                Some(_) => {
                    let nodes = &index.node[segment.start..=entry];
                    self.deletes.extend(nodes.iter().filter(|&&node| !self.problem.is(node, PUT)));
                }
            }
        }
        if self.must.is_none() {
            self.deletes = self.latest(&self.deletes);
        }
        if let Some(must) = self.must {
            self.writes.extend_from_slice(&must.writes[event as usize]);
            self.puts.extend(must.writes[event as usize].iter().filter(|&&node| self.problem.is(node, PUT)));
        }
    }

    fn look_for_overwritten(&mut self, event: Node) {
        if self.problem.blind == Some(Blind::Overwritten) {
            return;
        }
        for &shown in self.problem.shown(event) {
            if let Some(&write) = self.writes.iter().find(|&&write| self.before(shown, write)) {
                self.walk.wrongs.push(Break::Overwritten { event, shown, write });
                return;
            }
        }
    }

    /// Those that are before none of the others. There are few, however many chains there are.
    fn latest(&self, writes: &[Node]) -> Vec<Node> {
        let mut latest: Vec<Node> = Vec::new();
        for &write in writes {
            if !latest.iter().any(|&other| other == write || self.before(write, other)) {
                latest.retain(|&other| !self.before(other, write));
                latest.push(write);
            }
        }
        latest
    }

    fn was_removed(&self, put: Node, event: Node) -> bool {
        let shown = self.problem.shown(event);
        match self.must {
            None => self.deletes.iter().chain(shown).any(|&write| self.before(put, write)),
            Some(must) => {
                let spares = |write: Node| !shown.iter().any(|&shown| self.before(shown, write));
                let removed =
                    |write: Node| self.before(put, write) && reached(self.problem, &self.walk.rows, put, write);
                let later = &must.shown_later[event as usize];
                let stays = |delete: Node| !later.iter().any(|&shown| self.before(shown, delete));
                self.deletes.iter().any(|&delete| spares(delete) && removed(delete) && stays(delete))
                    || shown.iter().any(|&member| spares(member) && removed(member))
            }
        }
    }

    fn note_missing(&mut self, event: Node) {
        if self.problem.blind == Some(Blind::Missing) {
            return;
        }
        for at in 0..self.puts.len() {
            let put = self.puts[at];
            if self.problem.shown(event).contains(&put) {
                continue;
            }
            if !self.was_removed(put, event) {
                self.walk.debts.push(Debt::Removed { put, event });
            } else if self.problem.blind == Some(Blind::Eager) && self.problem.shown(event).is_empty() {
                self.walk.wrongs.push(Break::Missing { event, put });
            }
        }
    }

    fn note_winner(&mut self, event: Node) {
        if let [winner, others @ ..] = self.problem.shown(event)
            && self.arbitrate
            && self.problem.is(event, WINNER)
        {
            self.walk.certain.extend(others.iter().map(|&other| self.problem.edge(other, *winner)));
        }
    }

    fn note_losing(&mut self, event: Node) {
        if !self.arbitrate || !self.problem.is(event, WINNER) {
            return;
        }
        let winner = self.problem.shown(event)[0];
        for at in 0..self.puts.len() {
            let put = self.puts[at];
            if put != winner && !self.before(put, winner) && !self.was_removed(put, event) {
                self.walk.losing.push(Losing { put, winner, event });
            }
        }
    }

    fn note_alive(&mut self, event: Node) {
        let looks = self.must.is_none() && self.problem.blind != Some(Blind::Alive);
        if looks && !self.latest(&self.writes).iter().any(|&write| self.problem.is(write, PUT)) {
            self.walk.debts.push(Debt::Alive { event });
        }
    }
}

impl<T> Walk<T> {
    fn put_ahead(&mut self, winner: Node, chain: u32, count: u32) {
        let mut at = self.first_ahead[winner as usize];
        while at != NONE {
            let ahead = &mut self.ahead[at as usize];
            if ahead.chain == chain {
                ahead.count = ahead.count.max(count);
                return;
            }
            at = ahead.next;
        }
        let next = std::mem::replace(&mut self.first_ahead[winner as usize], self.ahead.len() as u32);
        self.ahead.push(Ahead { chain, count, next });
    }

    /// The chains of which so much must come before this winner: entry, chain and count. From this entry on, or all.
    pub(crate) fn ahead_of(&self, winner: Node, from: Option<u32>) -> impl Iterator<Item = (u32, u32, u32)> {
        let first = from.or_else(|| self.first_ahead.get(winner as usize).copied()).unwrap_or(NONE);
        let entries = std::iter::successors((first != NONE).then_some(first), |&at| {
            Some(self.ahead[at as usize].next).filter(|&next| next != NONE)
        });
        entries.map(|at| (at, self.ahead[at as usize].chain, self.ahead[at as usize].count))
    }
}

/// Whether `write` may have removed the put as far as its own exact set tells. It may have replaced the put itself, or
/// a put that did, and so on.
pub(crate) fn reached<T: Cell>(problem: &Problem, rows: &Rows<T>, put: Node, write: Node) -> bool {
    let mut open = vec![write];
    while let Some(write) = open.pop() {
        let shown = problem.shown(write);
        if problem.view(write) != View::Exact || shown.contains(&put) {
            return true;
        }
        open.extend(shown.iter().filter(|&&member| rows.before(problem, put, member)));
    }
    false
}
