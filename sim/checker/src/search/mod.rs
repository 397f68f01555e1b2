//! The decision: saturate, then split cases within a budget.
//!
//! A case is a set of edges that join the happens-before order. Where one explanation alone is left for a debt, its
//! edges join; where several are left, each is a case. First a dive takes the likeliest explanations of many debts at
//! once. A correct store's history nearly always survives it. Only when that fails are cases split one by one. "Fine"
//! is said with the edges in hand that explain every event, "broken" only when every case is.

mod arbitration;
pub(crate) mod candidates;
mod dive;
mod guarantees;
mod mend;
pub(crate) mod pass;

use crate::graph::rows::{Cell, Rows};
use crate::graph::{Problem, order};
use crate::proof::Proof;
use crate::search::candidates::{Growth, explanations, removers};
use crate::search::dive::dive;
use crate::search::guarantees::Demands;
use crate::search::mend::{Mended, mend};
use crate::search::pass::{Must, Walk, walk};
use crate::terms::{Break, Budget, DELETE, Debt, Edge, Explanation, Forced, Level, Losing, Node};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// To look for an explanation costs as much as so many turns of a loop.
const EXPLAINING: u32 = 512;

/// In a larger history no guess is worth a dive.
const DIVES_MAX: usize = 10_000;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// This explains every event.
    Fine(Proof),
    /// It cannot be explained: the first reason found, and the edges that had been forced by then.
    Broken(Break, Vec<Forced>),
    /// Neither within the budget; these are contradictions to what was guessed before the search.
    Unknown(Vec<Vec<Node>>),
}

/// How often an order is sought without the pairs that can be undone, before one of them is tried.
const ROUNDS_MAX: usize = 16;

/// The state of one case after saturation.
pub(crate) enum Settled<T> {
    Broken(Break, Vec<Forced>),
    /// Debts with several explanations, the likeliest last.
    Open(Open, Box<Walk<T>>),
    OutOfBudget,
}

/// Debts, each with what may explain it, the likeliest last.
type Open = Vec<(Debt, Vec<Explanation>)>;

/// What came of guessing.
enum Guessed {
    Fine(Proof),
    /// These contradictions stand whatever is guessed, or nothing is known.
    Refuted(Vec<Vec<Node>>),
    /// The debts that are left to be split.
    Open(Open),
}

/// A case in which no debt has a single explanation any more.
enum Saturated<T> {
    Broken(Break, Vec<Forced>),
    Stable(Box<Walk<T>>),
    OutOfBudget,
}

/// Decides one level; the budget is what is left of it then.
pub(crate) fn decide(problem: &Problem, level: Level, budget: &mut Budget) -> Decision {
    let nonsense = problem.nonsense.as_ref().map(|nonsense| Break::Nonsense(nonsense.event));
    if let Some(wrong) = nonsense.or_else(|| problem.cycle.clone().map(Break::Cycle)) {
        // Without any order there is nothing to ask the guarantees about.
        return match level {
            Level::Causal | Level::Convergent => Decision::Broken(wrong, Vec::new()),
            Level::ReadYourWrites | Level::MonotonicReads | Level::MonotonicWrites | Level::WritesFollowReads => {
                Decision::Unknown(Vec::new())
            }
        };
    }
    let longest = problem.chain_start.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let must = match level {
        Level::Causal | Level::Convergent => None,
        Level::ReadYourWrites | Level::MonotonicReads | Level::MonotonicWrites | Level::WritesFollowReads => {
            let mut holds = |weaker: Level| matches!(decide(problem, weaker, budget), Decision::Fine(_));
            let held = match level {
                Level::MonotonicReads => holds(Level::ReadYourWrites),
                Level::WritesFollowReads => holds(Level::ReadYourWrites) && holds(Level::MonotonicReads),
                Level::ReadYourWrites | Level::MonotonicWrites | Level::Causal | Level::Convergent => false,
            };
            match guarantees::demands(problem, level, held) {
                Some(demands) => Some(demands),
                None => return Decision::Unknown(Vec::new()),
            }
        }
    };
    let must = must.as_ref();
    match longest {
        0..=0xff => Search::<u8>::new(problem, level, must, budget).run(),
        0x100..=0xffff => Search::<u16>::new(problem, level, must, budget).run(),
        0x1_0000..=u32::MAX => Search::<u32>::new(problem, level, must, budget).run(),
    }
}

/// Whether causal consistency or convergence is broken before anything is guessed.
pub(crate) fn is_plainly_broken(problem: &Problem, level: Level, budget: &mut Budget) -> bool {
    let has_order = problem.cycle.is_none() && problem.nonsense.is_none();
    !has_order || Search::<u32>::new(problem, level, None, budget).is_plainly_broken()
}

/// What one look shows to be wrong: the operations of each contradiction, and of each debt that nothing can pay.
pub(crate) fn contradictions(problem: &Problem, level: Level, budget: &Budget) -> Vec<Vec<Node>> {
    let walk = walk::<u32>(problem, &problem.order, &[], level == Level::Convergent, None, true, budget.glance());
    if walk.is_cut {
        return Vec::new();
    }
    let mut glance = budget.glance();
    let mut is_hopeless = |debt: &&Debt| {
        !glance.have_passed(EXPLAINING) && explanations(problem, &walk.rows, **debt, 1, budget).is_empty()
    };
    let hopeless = walk.debts.iter().filter(&mut is_hopeless).map(|&debt| without(debt));
    walk.wrongs.iter().map(Break::nodes).chain(hopeless.map(|wrong| wrong.nodes())).collect()
}

/// A case: edges, and losing puts that are taken to come before the winner.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) edges: Vec<Edge>,
    before: Vec<Edge>,
}

impl Case {
    pub(crate) fn with(&self, edges: &[Edge]) -> Self {
        let mut case = self.clone();
        case.edges.extend_from_slice(edges);
        case.tidy();
        case
    }

    fn tidy(&mut self) {
        self.edges.sort_unstable_by_key(|&(from, to)| (to, from));
        self.edges.dedup();
    }
}

pub(crate) struct Search<'a, 'b, T> {
    pub(crate) problem: &'a Problem,
    level: Level,
    pub(crate) must: Must<'a>,
    pub(crate) budget: &'b mut Budget,
    marker: std::marker::PhantomData<T>,
}

impl<'a, 'b, T: Cell> Search<'a, 'b, T> {
    const fn new(problem: &'a Problem, level: Level, must: Must<'a>, budget: &'b mut Budget) -> Self {
        Self { problem, level, must, budget, marker: std::marker::PhantomData }
    }

    fn run(&mut self) -> Decision {
        let mut root = Case::default();
        let walk = match self.saturate(&mut root) {
            // All that is wrong with a guess is found together.
            Saturated::Broken(..) if self.problem.is_guess => {
                return match mend(self, &Case::default()) {
                    Mended::Fine(proof) => Decision::Fine(proof),
                    Mended::Refuted(contradictions) => Decision::Unknown(contradictions),
                };
            }
            Saturated::Broken(wrong, forced) => return Decision::Broken(wrong, forced),
            Saturated::OutOfBudget => return Decision::Unknown(Vec::new()),
            Saturated::Stable(walk) => walk,
        };
        let (first_break, mut cases) = match self.arbitrate(&root, &walk) {
            Arbitrated::Broken(wrong) => return Decision::Broken(wrong, Vec::new()),
            Arbitrated::OutOfBudget => return Decision::Unknown(Vec::new()),
            Arbitrated::Fine(order) if walk.debts.is_empty() => {
                return Decision::Fine(Proof { edges: root.edges, order });
            }
            Arbitrated::Cases(wrong, cases) if walk.debts.is_empty() => (Some(wrong), cases),
            Arbitrated::Fine(_) | Arbitrated::Cases(..) => {
                drop(walk);
                match self.guess(&mut root) {
                    Guessed::Fine(proof) => return Decision::Fine(proof),
                    Guessed::Refuted(contradictions) => return Decision::Unknown(contradictions),
                    Guessed::Open(open) => (None, split(&root, &open)),
                }
            }
        };
        let mut first_break = first_break.map(|wrong| (wrong, Vec::new()));
        while let Some(mut case) = cases.pop() {
            match self.settle(&mut case) {
                Settled::OutOfBudget => return Decision::Unknown(Vec::new()),
                Settled::Broken(wrong, forced) => _ = first_break.get_or_insert((wrong, forced)),
                Settled::Open(open, walk) if open.is_empty() => match self.arbitrate(&case, &walk) {
                    Arbitrated::Fine(order) => return Decision::Fine(Proof { edges: case.edges, order }),
                    Arbitrated::Broken(wrong) => _ = first_break.get_or_insert((wrong, Vec::new())),
                    Arbitrated::Cases(_, more) => cases.extend(more),
                    Arbitrated::OutOfBudget => return Decision::Unknown(Vec::new()),
                },
                // What no order of all writes can hold now, none can hold with more edges.
                Settled::Open(open, walk) => match self.arbitrate(&case, &walk) {
                    Arbitrated::Broken(wrong) => _ = first_break.get_or_insert((wrong, Vec::new())),
                    Arbitrated::OutOfBudget => return Decision::Unknown(Vec::new()),
                    Arbitrated::Fine(_) | Arbitrated::Cases(..) => cases.extend(split(&case, &open)),
                },
            }
        }
        let (wrong, forced) = first_break.expect("every case was broken, and there was one");
        Decision::Broken(wrong, forced)
    }

    /// Looks for guesses that explain every debt, with half of the budget.
    fn guess(&mut self, root: &mut Case) -> Guessed {
        let reserve = self.budget.half();
        self.budget.take(reserve);
        let guessed = self.guess_within(root);
        self.budget.give(reserve);
        guessed
    }

    fn guess_within(&mut self, root: &mut Case) -> Guessed {
        match mend(self, root) {
            Mended::Fine(proof) => return Guessed::Fine(proof),
            // What happened is guessed otherwise then.
            Mended::Refuted(contradictions)
                if self.problem.is_guess && (!contradictions.is_empty() || self.problem.nodes() > DIVES_MAX) =>
            {
                return Guessed::Refuted(contradictions);
            }
            Mended::Refuted(_) => {}
        }
        // Only here it is asked for all that may explain each debt: there may be hundreds for each of thousands.
        let open = match self.settle(root) {
            Settled::Open(open, _) => open,
            Settled::Broken(..) | Settled::OutOfBudget => return Guessed::Refuted(Vec::new()),
        };
        dive(self, root, &open).map_or(Guessed::Open(open), Guessed::Fine)
    }

    pub(crate) fn spend(&mut self) -> bool {
        let nodes = self.problem.nodes() as u64;
        if self.budget.walks == 0 || !self.budget.spend(nodes) {
            return false;
        }
        self.budget.walks -= 1;
        true
    }

    /// Lets single explanations join until none is left, and lists all explanations of what is open then.
    pub(crate) fn settle(&mut self, case: &mut Case) -> Settled<T> {
        let walk = match self.saturate(case) {
            Saturated::Broken(wrong, forced) => return Settled::Broken(wrong, forced),
            Saturated::OutOfBudget => return Settled::OutOfBudget,
            Saturated::Stable(walk) => walk,
        };
        let mut open = Vec::with_capacity(walk.debts.len());
        let mut growth = Growth::new(self.problem, &walk.rows);
        for &debt in &walk.debts {
            let Some(mut ways) = self.ways(&walk.rows, debt, usize::MAX, &case.edges) else {
                return Settled::OutOfBudget;
            };
            let mut glance = self.budget.glance();
            ways.sort_by_cached_key(|way| {
                if glance.have_passed(EXPLAINING) { None } else { Some(likelihood(&mut growth, way, debt.event())) }
            });
            open.push((debt, ways));
        }
        Settled::Open(open, walk)
    }

    /// What may explain a debt, so many explanations at most if any of them counts; nothing where the budget is spent.
    /// What was taken before, and has not paid the debt, never will.
    fn ways(&mut self, rows: &Rows<T>, debt: Debt, most: usize, taken: &[Edge]) -> Option<Vec<Explanation>> {
        let (problem, must) = (self.problem, self.must);
        let order = |&(from, to): &Edge| (to, from); // a case's edges are sorted like this
        let has = |edge: &Edge| taken.binary_search_by_key(&order(edge), order).is_ok();
        let event = problem.head(debt.event());
        let next = taken.partition_point(|&(_, to)| to < event);
        let is_any = must.is_none() && taken.get(next).is_none_or(|&(_, to)| to != event);
        let mut ways = explanations(problem, rows, debt, if is_any { most } else { usize::MAX }, self.budget);
        if !self.budget.spend(1 + ways.len() as u64) {
            return None;
        }
        ways.retain(|way| must.is_none_or(|must| stays(problem, rows, must, debt, way)));
        ways.retain(|way| is_any || !way.edges.iter().all(has));
        Some(ways)
    }

    /// Lets single explanations join until none is left.
    fn saturate(&mut self, case: &mut Case) -> Saturated<T> {
        let mut forced = Vec::new();
        loop {
            if !self.spend() {
                return Saturated::OutOfBudget;
            }
            // The order of the bare graph was computed once.
            let sorted = if case.edges.is_empty() { None } else { Some(order::sorted(self.problem, &case.edges)) };
            let mut walk = match &sorted {
                None => self.walk(case, &self.problem.order),
                Some(Ok(order)) => self.walk(case, order),
                Some(Err(leftover)) => {
                    let cycle = order::shortest_cycle(self.problem, &case.edges, leftover);
                    return Saturated::Broken(Break::Cycle(cycle), forced);
                }
            };
            if walk.is_cut {
                return Saturated::OutOfBudget;
            }
            if let Some(wrong) = walk.wrongs.pop() {
                return Saturated::Broken(wrong, forced);
            }
            let known = case.edges.len();
            for &debt in &walk.debts {
                // Whether there is none, one or more is all that matters here.
                let taken = &case.edges[..known];
                let Some(mut ways) = self.ways(&walk.rows, debt, 2, taken) else { return Saturated::OutOfBudget };
                match ways.len() {
                    0 => return Saturated::Broken(without(debt), forced),
                    1 => {
                        let explanation = ways.remove(0);
                        case.edges.extend_from_slice(&explanation.edges);
                        forced.push(Forced { debt, explanation });
                    }
                    _ => {}
                }
            }
            if case.edges.len() == known {
                return Saturated::Stable(Box::new(walk));
            }
            case.tidy();
        }
    }

    /// Whether it is broken whatever is guessed.
    fn is_plainly_broken(&mut self) -> bool {
        let mut root = Case::default();
        match self.saturate(&mut root) {
            Saturated::Broken(..) => true,
            Saturated::Stable(walk) => matches!(self.arbitrate(&root, &walk), Arbitrated::Broken(_)),
            Saturated::OutOfBudget => false,
        }
    }

    fn walk(&self, case: &Case, order: &[Node]) -> Walk<T> {
        walk(self.problem, order, &case.edges, self.level == Level::Convergent, self.must, false, self.budget.glance())
    }

    /// The same, on and on whatever is wrong.
    pub(crate) fn walk_on(&self, case: &Case, order: &[Node]) -> Walk<T> {
        walk(self.problem, order, &case.edges, self.level == Level::Convergent, self.must, true, self.budget.glance())
    }

    /// Looks for an order of all writes, once everything else is explained.
    pub(crate) fn arbitrate(&mut self, case: &Case, walk: &Walk<T>) -> Arbitrated {
        if self.level != Level::Convergent {
            return Arbitrated::Fine(Vec::new());
        }
        let mut certain = case.edges.clone();
        certain.extend(case.before.iter().chain(&walk.certain));
        let problem = self.problem;
        let pair = |losing: &Losing| problem.edge(losing.put, losing.winner);
        // Pairs that something can undo, and the first of them that stood in the way.
        let mut gone: BTreeSet<Edge> = BTreeSet::new();
        let mut first: Option<(Vec<Node>, Losing, Vec<Explanation>)> = None;
        for _ in 0..ROUNDS_MAX {
            if !self.budget.spend(self.problem.nodes() as u64) {
                return Arbitrated::OutOfBudget;
            }
            let mut all = certain.clone();
            all.extend(walk.losing.iter().map(pair).filter(|pair| !gone.contains(pair)));
            let cycle = match (arbitration::order(self.problem, walk, &all), &first) {
                (Ok(order), None) => return Arbitrated::Fine(order),
                (Ok(_), Some(_)) => break,
                (Err(cycle), _) => cycle,
            };
            let next = cycle.iter().skip(1).chain(&cycle[..1]);
            let on_cycle: Vec<Edge> = cycle.iter().copied().zip(next.copied()).collect();
            let known = gone.len();
            for &edge in on_cycle.iter().filter(|edge| !certain.contains(edge)) {
                if !self.budget.spend(walk.losing.len() as u64 / 64) {
                    return Arbitrated::OutOfBudget;
                }
                let losing: Vec<&Losing> = walk.losing.iter().filter(|losing| pair(losing) == edge).collect();
                let mut ways: Vec<Vec<Explanation>> = Vec::with_capacity(losing.len());
                for losing in &losing {
                    let undo = removers(self.problem, &walk.rows, losing.put, losing.event, self.budget);
                    if !self.budget.spend(1 + undo.len() as u64) {
                        return Arbitrated::OutOfBudget;
                    }
                    ways.push(undo);
                }
                // What one reader cannot have otherwise no reader has.
                if !ways.is_empty() && ways.iter().all(|ways| !ways.is_empty()) {
                    gone.insert(edge);
                    first.get_or_insert_with(|| (cycle.clone(), *losing[0], ways[0].clone()));
                }
            }
            if gone.len() == known {
                return Arbitrated::Broken(Break::Arbitration(cycle));
            }
        }
        let (cycle, losing, mut ways) = first.expect("a cycle was found, and a pair that can be undone");
        // Some pair of the cycle can be undone: it is, or it stands.
        let mut stands = case.clone();
        stands.before.push(pair(&losing));
        let mut cases = vec![stands];
        let mut growth = Growth::new(self.problem, &walk.rows);
        ways.sort_by_cached_key(|way| likelihood(&mut growth, way, losing.event));
        cases.extend(ways.into_iter().map(|way| case.with(&way.edges)));
        Arbitrated::Cases(Break::Arbitration(cycle), cases)
    }
}

/// Whether a put that was removed like this stays removed wherever that must be known.
pub(crate) fn stays<T: Cell>(problem: &Problem, rows: &Rows<T>, must: &Demands, debt: Debt, way: &Explanation) -> bool {
    let Debt::Removed { put, event } = debt else { return true };
    let before = |a: Node, b: Node| rows.before(problem, a, b);
    let removed = |shown: Node| shown == put || before(shown, put) || before(shown, way.write);
    !problem.is(way.write, DELETE) || !must.shown_later[event as usize].iter().any(|&shown| removed(shown))
}

pub(crate) enum Arbitrated {
    /// All writes in order.
    Fine(Vec<Node>),
    Broken(Break),
    Cases(Break, Vec<Case>),
    OutOfBudget,
}

const fn without(debt: Debt) -> Break {
    match debt {
        Debt::Removed { put, event } => Break::Missing { event, put },
        Debt::Alive { event } => Break::NotAlive { event },
    }
}

/// How likely an explanation is: what stands before the event in the history, supposes little, and stands late. The
/// history is written in the order of time, more or less; the verdict does not depend on it.
pub(crate) fn likelihood<T: Cell>(
    growth: &mut Growth<'_, T>,
    way: &Explanation,
    event: Node,
) -> (bool, Reverse<u64>, Node) {
    (way.write < event, Reverse(growth.of(way)), way.write)
}

/// One case for each explanation of the debt that has the fewest; the likeliest is taken first, from the end.
fn split(case: &Case, open: &[(Debt, Vec<Explanation>)]) -> Vec<Case> {
    let (_, ways) = open.iter().min_by_key(|(_, ways)| ways.len()).expect("something is open");
    ways.iter().map(|way| case.with(&way.edges)).collect()
}
