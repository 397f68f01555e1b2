//! Mending: one guess for every debt at once, of which those that lead to a contradiction are taken back.
//!
//! A dive looks only at whether its guesses fail, so it finds the few wrong ones among thousands by halving. Here each
//! contradiction names the guesses on the way to it. What an event may not have in its past came there along edges, and
//! some of them were guessed. One of these is taken back, the one that was to blame least often, and the debt that it
//! paid is paid in another way. One walk shows many contradictions; each takes back a guess of its own. It is a local
//! search with weights, after Morris, "The breakout method for escaping from local minima", AAAI 1993.
//!
//! It only ever finds explanations. Where it finds none, nothing is known.

use crate::graph::Problem;
use crate::graph::order::{self, Successors, components};
use crate::graph::rows::{Cell, Rows};
use crate::proof::Proof;
use crate::search::candidates::{Growth, explanations, removers};
use crate::search::pass::Walk;
use crate::search::{Arbitrated, Case, EXPLAINING, Search, likelihood, stays};
use crate::terms::{Break, Debt, Edge, Explanation, Losing, Node, PUT};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Walks at most.
const ROUNDS_MAX: u32 = 200;

/// Walks without progress after which it is given up.
const PATIENCE: u32 = 12;

/// How often each way to pay a debt is to blame before the guess at what happened is.
const BLAMED_MAX: u32 = 3;

/// The same where so few things are left: each may have dozens of ways out.
const PATIENCE_AT_FEW: u32 = 60;
const FEW: usize = 8;

/// The same where something of the guess at what happened is refuted already.
const PATIENCE_REFUTED: u32 = 3;

/// It is progress if one in so many of what is wrong or open goes.
const PROGRESS: usize = 20;

/// So many steps for each node of the history are taken after one walk to follow contradictions back.
const STEPS_PER_NODE: u64 = 8;

/// How many nodes are looked at to find the way of one contradiction.
const STEPS_MAX: usize = 20_000;

/// How many others are looked at that may be to blame instead.
const OPPOSITE_MAX: usize = 8;

/// How many contradictions of one walk are looked at.
const WRONGS_MAX: usize = 1_000;

/// What a contradiction asks for.
#[derive(Debug, Clone)]
enum Move {
    /// The guess that paid this debt is taken back.
    Drop(Debt),
    /// A put that lost was removed like this.
    Take(Debt, Explanation),
}

/// The guesses of a history.
pub(crate) struct Mend<'s, 'p, 'b, T> {
    search: &'s mut Search<'p, 'b, T>,
    root: &'s Case,
    chosen: BTreeMap<Debt, Explanation>,
    /// How often a guess was taken back: what it paid, and with which write.
    blamed: BTreeMap<(Debt, Node), u32>,
    /// The place of each node in an order that contains the root's and is close to that of the history.
    natural: Vec<u32>,
    /// How many steps are left after this walk.
    steps: u64,
    /// What no guess could undo so far, by its first operation.
    refuted: BTreeMap<Node, Vec<Node>>,
    /// What was wrong after the last walk.
    wrong: Vec<Vec<Node>>,
}

/// What one walk led to.
enum Round {
    Fine(Proof),
    /// So much is wrong or open yet.
    Left(usize),
    /// Guesses that contradicted each other outright were taken back.
    Untied,
    /// Nothing is left but what no guess can undo.
    Refuted,
    GivenUp,
}

/// What came of mending.
pub(crate) enum Mended {
    Fine(Proof),
    /// These contradictions are left: no guess is seen on the way to them, or none of those that were tried undid them.
    Refuted(Vec<Vec<Node>>),
}

/// Looks for guesses that explain every debt.
pub(crate) fn mend<T: Cell>(search: &mut Search<'_, '_, T>, root: &Case) -> Mended {
    let (chosen, blamed) = (search.problem.guesses.take(), BTreeMap::new());
    let Some(natural) = order::natural(search.problem, &root.edges) else { return Mended::Refuted(Vec::new()) };
    let (refuted, wrong) = (BTreeMap::new(), Vec::new());
    let mut mend = Mend { search, root, chosen, blamed, natural, steps: 0, refuted, wrong };
    let (mut goal, mut idle) = (usize::MAX, 0);
    for _ in 0..ROUNDS_MAX {
        match mend.round() {
            Round::Fine(proof) => return Mended::Fine(proof),
            Round::Refuted | Round::GivenUp => break,
            Round::Untied => {}
            Round::Left(left) if left + left / PROGRESS < goal => (goal, idle) = (left, 0),
            Round::Left(left) if idle >= mend.patience(left) => break,
            Round::Left(_) => idle += 1,
        }
    }
    mend.search.problem.guesses.replace(mend.chosen);
    // What no guess can undo is left to the search first, because the rest may follow from it.
    let refuted: Vec<Vec<Node>> = mend.refuted.into_values().collect();
    Mended::Refuted(if refuted.is_empty() { mend.wrong } else { refuted })
}

/// The graph as it is guessed to be, in one walk.
struct Guessed<'a> {
    problem: &'a Problem,
    /// Edges by where they lead.
    edges: &'a [Edge],
    by: BTreeMap<Edge, Vec<Debt>>,
    /// The place of each node in an order that contains them all.
    rank: Vec<u32>,
}

impl<T: Cell> Mend<'_, '_, '_, T> {
    fn round(&mut self) -> Round {
        if !self.search.spend() {
            return Round::GivenUp;
        }
        self.wrong.clear();
        let problem = self.search.problem;
        self.steps = STEPS_PER_NODE * problem.nodes() as u64;
        let mut by: BTreeMap<Edge, Vec<Debt>> = BTreeMap::new();
        for (&debt, explanation) in &self.chosen {
            explanation.edges.iter().for_each(|&edge| by.entry(edge).or_default().push(debt));
        }
        let edges: Vec<Edge> = by.keys().copied().collect();
        let case = self.root.with(&edges);
        let mut guessed = Guessed { problem, edges: &case.edges, by, rank: (0..problem.nodes() as u32).collect() };
        let order = match order::sorted(problem, &case.edges) {
            Ok(order) => order,
            Err(leftover) => return self.untie(&guessed, &leftover),
        };
        for (rank, &node) in order.iter().enumerate() {
            guessed.rank[node as usize] = rank as u32;
        }
        let walk = self.search.walk_on(&case, &order);
        if walk.is_cut {
            return Round::GivenUp;
        }
        let (mut gone, mut refuted) = (BTreeSet::new(), 0);
        for wrong in walk.wrongs.iter().take(WRONGS_MAX) {
            if self.steps == 0 {
                break;
            }
            self.wrong.push(wrong.nodes());
            let moves = self.moves(&guessed, &walk.rows, wrong);
            if !self.go(moves, &mut gone) {
                refuted += 1;
                self.refute(wrong.nodes());
            }
        }
        let open = walk.debts.iter().map(|&debt| match debt {
            Debt::Removed { put, event } => vec![event, put],
            Debt::Alive { event } => vec![event],
        });
        self.wrong.extend(open.take(WRONGS_MAX));
        for &debt in &walk.debts {
            if !self.pay(&guessed, &walk.rows, debt, &mut gone) {
                refuted += 1;
                self.refute(match debt {
                    Debt::Removed { put, event } => vec![event, put],
                    Debt::Alive { event } => [event].into_iter().chain(guessed.deletes_before(event)).collect(),
                });
            }
        }
        if self.search.budget.is_spent() {
            return Round::GivenUp;
        }
        let left = walk.wrongs.len() + walk.debts.len();
        if left > 0 {
            // What no guess can undo is found together, so the others are mended beside it.
            return if left == refuted { Round::Refuted } else { Round::Left(left - refuted) };
        }
        match self.search.arbitrate(&case, &walk) {
            Arbitrated::Fine(order) => Round::Fine(Proof { edges: case.edges, order }),
            Arbitrated::OutOfBudget => Round::GivenUp,
            Arbitrated::Broken(_) | Arbitrated::Cases(..) => self.untangle(&guessed, &walk),
        }
    }

    fn patience(&self, left: usize) -> u32 {
        match left {
            _ if self.search.problem.is_guess && !self.refuted.is_empty() => PATIENCE_REFUTED,
            0..=FEW => PATIENCE_AT_FEW,
            _ => PATIENCE,
        }
    }

    fn refute(&mut self, nodes: Vec<Node>) {
        if let Some(&first) = nodes.first() {
            self.refuted.entry(first).or_insert(nodes);
        }
    }

    /// Takes so many steps.
    fn step(&mut self, steps: usize) {
        let goes_on = self.search.budget.spend(steps as u64);
        self.steps = if goes_on { self.steps.saturating_sub(steps as u64) } else { 0 };
    }

    /// Guesses that contradict each other outright. On each circle is one that leads from what is later in the history
    /// to what is earlier: all of these are taken back.
    fn untie(&mut self, guessed: &Guessed<'_>, leftover: &[bool]) -> Round {
        let nodes = guessed.problem.nodes();
        let successors = Successors::of(guessed.problem, guessed.edges);
        let roots = (0..nodes as Node).filter(|&node| leftover[node as usize]);
        let component = components(nodes, roots, |node, at| successors.of_node(node).get(at).copied());
        let is_back = |&(&(from, to), _): &(&Edge, &Vec<Debt>)| {
            let is_on_circle = leftover[from as usize] && component[from as usize] == component[to as usize];
            is_on_circle && self.natural[from as usize] > self.natural[to as usize]
        };
        let back: BTreeSet<Debt> = guessed.by.iter().filter(is_back).flat_map(|(_, debts)| debts).copied().collect();
        let mut gone = BTreeSet::new();
        for &debt in &back {
            self.go(vec![Move::Drop(debt)], &mut gone);
        }
        // Where it does not end, these are in each other's way.
        let back_edges = guessed.by.keys().filter(|&&(from, to)| {
            leftover[from as usize]
                && component[from as usize] == component[to as usize]
                && self.natural[from as usize] > self.natural[to as usize]
        });
        self.wrong = back_edges.map(|&(from, to)| vec![to, from]).collect();
        if back.is_empty() { Round::GivenUp } else { Round::Untied }
    }

    /// Makes one of these moves, unless one of them was made already; says whether there was any.
    fn go(&mut self, moves: Vec<Move>, gone: &mut BTreeSet<Debt>) -> bool {
        if moves.iter().any(|(Move::Drop(debt) | Move::Take(debt, _))| gone.contains(debt)) {
            return true;
        }
        let blame = |way: &Move| match way {
            Move::Drop(debt) => {
                let write = self.chosen.get(debt).map_or(0, |explanation| explanation.write);
                let times = self.blamed.get(&(*debt, write)).copied().unwrap_or(0);
                // What stands behind its event in the history is the likelier mistake.
                (times, write < debt.event(), Reverse(debt.event()))
            }
            Move::Take(debt, way) => {
                (self.blamed.get(&(*debt, way.write)).copied().unwrap_or(0), true, Reverse(debt.event()))
            }
        };
        match moves.into_iter().min_by_key(blame) {
            None => false,
            Some(Move::Take(debt, way)) => {
                self.chosen.insert(debt, way);
                gone.insert(debt);
                true
            }
            Some(Move::Drop(debt)) => {
                if let Some(explanation) = self.chosen.remove(&debt) {
                    *self.blamed.entry((debt, explanation.write)).or_default() += 1;
                }
                gone.insert(debt);
                true
            }
        }
    }

    /// Guesses how a debt is paid; if nothing can, something is taken back. Says whether there was anything to do.
    fn pay(&mut self, guessed: &Guessed<'_>, rows: &Rows<T>, debt: Debt, gone: &mut BTreeSet<Debt>) -> bool {
        let problem = guessed.problem;
        let mut ways = explanations(problem, rows, debt, usize::MAX, self.search.budget);
        if !self.search.budget.spend(1 + ways.len() as u64) {
            return false;
        }
        let must = self.search.must;
        ways.retain(|way| must.is_none_or(|must| stays(problem, rows, must, debt, way)));
        if ways.is_empty() {
            if self.steps == 0 {
                return true; // what is to blame is looked for after the next walk
            }
            let moves = match debt {
                Debt::Removed { put, event } => self.drops(guessed, rows, put, event),
                Debt::Alive { event } => {
                    let near = guessed.deletes_before(event);
                    near.into_iter().flat_map(|delete| self.drops(guessed, rows, delete, event)).collect()
                }
            };
            return self.go(moves, gone);
        }
        let mut growth = Growth::new(problem, rows);
        let mut glance = self.search.budget.glance();
        ways.sort_by_cached_key(|way| {
            if glance.have_passed(EXPLAINING) {
                return None;
            }
            let blamed = self.blamed.get(&(debt, way.write)).copied().unwrap_or(0);
            Some((Reverse(blamed), likelihood(&mut growth, way, debt.event())))
        });
        if let Some(way) = ways.pop() {
            // Where each way was to blame again and again, none may be right.
            let blamed = self.blamed.get(&(debt, way.write)).copied().unwrap_or(0);
            self.chosen.insert(debt, way);
            return blamed < BLAMED_MAX || !problem.is_guess;
        }
        true
    }

    /// What may be taken back to undo a contradiction.
    fn moves(&mut self, guessed: &Guessed<'_>, rows: &Rows<T>, wrong: &Break) -> Vec<Move> {
        match *wrong {
            Break::Overwritten { event, shown, write } => {
                let mut moves = self.drops(guessed, rows, write, event);
                moves.extend(self.drops(guessed, rows, shown, write));
                self.with_reasons(guessed, rows, moves)
            }
            Break::Missing { event, put } => {
                let moves = self.drops(guessed, rows, put, event);
                self.with_reasons(guessed, rows, moves)
            }
            Break::Cycle(_) | Break::Nonsense(_) | Break::NotAlive { .. } | Break::Arbitration(_) => Vec::new(),
        }
    }

    fn drops(&mut self, guessed: &Guessed<'_>, rows: &Rows<T>, write: Node, event: Node) -> Vec<Move> {
        let (debts, steps) = guessed.way(rows, write, event, None);
        self.step(steps);
        debts.into_iter().map(Move::Drop).collect()
    }

    /// Each debt is there because a put is in the past of its event, and that may be because of guesses, too. Where all
    /// ways to pay it were to blame, one of these is.
    fn with_reasons(&mut self, guessed: &Guessed<'_>, rows: &Rows<T>, mut moves: Vec<Move>) -> Vec<Move> {
        for at in 0..moves.len() {
            let Move::Drop(debt @ Debt::Removed { put, event }) = moves[at] else { continue };
            let write = self.chosen.get(&debt).map_or(0, |explanation| explanation.write);
            if self.blamed.contains_key(&(debt, write)) {
                let (debts, steps) = guessed.way(rows, put, event, Some(debt));
                self.step(steps);
                moves.extend(debts.into_iter().map(Move::Drop));
            }
        }
        moves
    }

    /// Winners that no order of all writes can have: for each put that lost against an earlier one something is changed.
    fn untangle(&mut self, guessed: &Guessed<'_>, walk: &Walk<T>) -> Round {
        let problem = guessed.problem;
        let nodes = problem.nodes();
        let mut edges = guessed.edges.to_vec();
        let lost = walk.losing.iter().map(|losing| problem.edge(losing.put, losing.winner));
        edges.extend(walk.certain.iter().copied().chain(lost));
        let successors = Successors::of(guessed.problem, &edges);
        let component = components(nodes, 0..nodes as Node, |node, at| successors.of_node(node).get(at).copied());
        let of = |node: Node| component[problem.head(node) as usize];
        let rank = |node: Node| guessed.rank[problem.head(node) as usize];
        let mut tangled: Vec<&Losing> =
            walk.losing.iter().filter(|losing| of(losing.put) == of(losing.winner)).collect();
        tangled.sort_by_key(|losing| rank(losing.put));
        let mut gone = BTreeSet::new();
        for losing in tangled.iter().filter(|losing| rank(losing.put) > rank(losing.winner)) {
            if self.steps == 0 {
                break;
            }
            self.wrong.push(vec![losing.event, losing.put, losing.winner]);
            let first = tangled.partition_point(|other| rank(other.put) < rank(losing.winner));
            let between = tangled[first..].iter().take_while(|other| rank(other.put) < rank(losing.put));
            let opposite =
                between.filter(|other| of(other.put) == of(losing.put) && rank(other.put) < rank(other.winner));
            let mut moves = self.undo(guessed, walk, losing);
            for other in opposite.take(OPPOSITE_MAX) {
                moves.extend(self.undo(guessed, walk, other));
            }
            self.go(moves, &mut gone);
        }
        if gone.is_empty() { Round::GivenUp } else { Round::Left(tangled.len()) }
    }

    /// What lets a put not have lost.
    fn undo(&mut self, guessed: &Guessed<'_>, walk: &Walk<T>, losing: &Losing) -> Vec<Move> {
        let mut moves = self.drops(guessed, &walk.rows, losing.put, losing.event);
        let debt = Debt::Removed { put: losing.put, event: losing.event };
        let ways = removers(guessed.problem, &walk.rows, losing.put, losing.event, self.search.budget);
        self.step(1 + ways.len());
        moves.extend(ways.into_iter().map(|way| Move::Take(debt, way)));
        moves
    }
}

impl Guessed<'_> {
    /// The last deletes of its key that come before an event in the order.
    fn deletes_before(&self, event: Node) -> Vec<Node> {
        let (index, rank) = (&self.problem.index, |node: Node| self.rank[self.problem.head(node) as usize]);
        let segments = index.segments(self.problem.key[event as usize]);
        let is_early = |&write: &Node| !self.problem.is(write, PUT) && rank(write) < rank(event);
        let writes = segments.flat_map(|segment| index.beyond(segment, 0).iter().copied());
        let mut deletes: Vec<Node> = writes.filter(is_early).collect();
        deletes.sort_unstable_by_key(|&delete| Reverse(rank(delete)));
        deletes.truncate(OPPOSITE_MAX);
        deletes
    }

    /// The guesses on a way from a write to an event that has as few of them as possible. How many nodes were looked at
    /// is told, too. What was guessed only for the one debt is left out.
    fn way<T: Cell>(&self, rows: &Rows<T>, write: Node, event: Node, without: Option<Debt>) -> (BTreeSet<Debt>, usize) {
        let (write, event) = self.problem.edge(write, event);
        let mut queue = VecDeque::from([(event, None)]);
        let mut came: BTreeMap<Node, Option<Edge>> = BTreeMap::new();
        let mut steps = 0;
        while let Some((node, edge)) = queue.pop_front() {
            if came.contains_key(&node) || steps > STEPS_MAX {
                continue;
            }
            came.insert(node, edge);
            steps += 1;
            if node == write {
                break;
            }
            let leads = |&before: &Node| {
                let is_after = self.rank[before as usize] > self.rank[write as usize];
                before == write
                    || is_after && (!self.problem.is_kept(before) || rows.before(self.problem, write, before))
            };
            let first = self.edges.partition_point(|&(_, to)| to < node);
            let joined = self.edges[first..].iter().take_while(|&&(_, to)| to == node).map(|&(from, _)| from);
            for before in joined.filter(leads) {
                let edge = (before, node);
                let guesses = self.by.get(&edge);
                if without.is_some_and(|debt| guesses.is_some_and(|guesses| guesses == &[debt])) {
                    continue;
                }
                if guesses.is_some() {
                    queue.push_back((before, Some(edge)));
                } else {
                    queue.push_front((before, Some(edge)));
                }
            }
            for before in self.problem.predecessors(node).filter(leads) {
                queue.push_front((before, Some((before, node))));
            }
        }
        let mut debts = BTreeSet::new();
        let mut at = write;
        while let Some(&Some(edge)) = came.get(&at) {
            debts.extend(self.by.get(&edge).into_iter().flatten().copied());
            at = edge.1;
        }
        (debts, steps)
    }
}
