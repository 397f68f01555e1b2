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
pub(crate) mod pass;

use crate::graph::rows::{Cell, Rows};
use crate::graph::{Problem, order};
use crate::proof::Proof;
use crate::search::candidates::{Growth, explanations, removers};
use crate::search::dive::dive;
use crate::search::guarantees::Demands;
use crate::search::pass::{Must, Walk, walk};
use crate::terms::{Break, Budget, DELETE, Debt, Edge, Explanation, Forced, Level, Losing, Node};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// This explains every event.
    Fine(Proof),
    /// It cannot be explained: the first reason found, and the edges that had been forced by then.
    Broken(Break, Vec<Forced>),
    /// Neither within the budget.
    Unknown,
}

/// How often an order is sought without the pairs that can be undone, before one of them is tried.
const ROUNDS_MAX: usize = 16;

/// The state of one case after saturation.
pub(crate) enum Settled<T> {
    Broken(Break, Vec<Forced>),
    /// Debts with several explanations, the likeliest last.
    Open(Vec<(Debt, Vec<Explanation>)>, Box<Walk<T>>),
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
                Decision::Unknown
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
                None => return Decision::Unknown,
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

/// Whether one look shows that a history is broken.
pub(crate) fn is_plainly_broken(problem: &Problem, level: Level) -> bool {
    walk::<u32>(problem, &problem.order, &[], level == Level::Convergent, None).wrong.is_some()
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

pub(crate) struct Search<'a, T> {
    problem: &'a Problem,
    level: Level,
    must: Must<'a>,
    pub(crate) budget: &'a mut Budget,
    marker: std::marker::PhantomData<T>,
}

impl<'a, T: Cell> Search<'a, T> {
    const fn new(problem: &'a Problem, level: Level, must: Must<'a>, budget: &'a mut Budget) -> Self {
        Self { problem, level, must, budget, marker: std::marker::PhantomData }
    }

    fn run(&mut self) -> Decision {
        let mut root = Case::default();
        let first = self.settle(&mut root);
        let (first_break, mut cases) = match first {
            Settled::Broken(wrong, forced) => return Decision::Broken(wrong, forced),
            Settled::OutOfBudget => return Decision::Unknown,
            Settled::Open(open, walk) if open.is_empty() => match self.arbitrate(&root, &walk) {
                Arbitrated::Fine(order) => return Decision::Fine(Proof { edges: root.edges, order }),
                Arbitrated::Broken(wrong) => return Decision::Broken(wrong, Vec::new()),
                Arbitrated::Cases(wrong, cases) => (Some(wrong), cases),
            },
            Settled::Open(open, walk) => {
                if let Arbitrated::Broken(wrong) = self.arbitrate(&root, &walk) {
                    return Decision::Broken(wrong, Vec::new());
                }
                drop(walk);
                if let Some(proof) = dive(self, &root, &open) {
                    return Decision::Fine(proof);
                }
                (None, split(&root, &open))
            }
        };
        let mut first_break = first_break.map(|wrong| (wrong, Vec::new()));
        while let Some(mut case) = cases.pop() {
            match self.settle(&mut case) {
                Settled::OutOfBudget => return Decision::Unknown,
                Settled::Broken(wrong, forced) => _ = first_break.get_or_insert((wrong, forced)),
                Settled::Open(open, walk) if open.is_empty() => match self.arbitrate(&case, &walk) {
                    Arbitrated::Fine(order) => return Decision::Fine(Proof { edges: case.edges, order }),
                    Arbitrated::Broken(wrong) => _ = first_break.get_or_insert((wrong, Vec::new())),
                    Arbitrated::Cases(_, more) => cases.extend(more),
                },
                // What no order of all writes can hold now, none can hold with more edges.
                Settled::Open(open, walk) => match self.arbitrate(&case, &walk) {
                    Arbitrated::Broken(wrong) => _ = first_break.get_or_insert((wrong, Vec::new())),
                    Arbitrated::Fine(_) | Arbitrated::Cases(..) => cases.extend(split(&case, &open)),
                },
            }
        }
        let (wrong, forced) = first_break.expect("every case was broken, and there was one");
        Decision::Broken(wrong, forced)
    }

    fn spend(&mut self) -> bool {
        let nodes = self.problem.nodes() as u64;
        if self.budget.walks == 0 || !self.budget.spend(nodes) {
            return false;
        }
        self.budget.walks -= 1;
        true
    }

    /// Lets single explanations join until none is left.
    pub(crate) fn settle(&mut self, case: &mut Case) -> Settled<T> {
        let mut forced = Vec::new();
        loop {
            if !self.spend() {
                return Settled::OutOfBudget;
            }
            // The order of the bare graph was computed once.
            let sorted = if case.edges.is_empty() { None } else { Some(order::sorted(self.problem, &case.edges)) };
            let walk = match &sorted {
                None => self.walk(case, &self.problem.order),
                Some(Ok(order)) => self.walk(case, order),
                Some(Err(leftover)) => {
                    let cycle = order::shortest_cycle(self.problem, &case.edges, leftover);
                    return Settled::Broken(Break::Cycle(cycle), forced);
                }
            };
            if let Some(wrong) = walk.wrong {
                return Settled::Broken(wrong, forced);
            }
            let mut open = Vec::new();
            let known = case.edges.len();
            for &debt in &walk.debts {
                let mut ways = explanations(self.problem, &walk.rows, debt);
                if !self.budget.spend(1 + ways.len() as u64) {
                    return Settled::OutOfBudget;
                }
                ways.retain(|way| self.must.is_none_or(|must| stays(self.problem, &walk.rows, must, debt, way)));
                match ways.len() {
                    0 => return Settled::Broken(without(debt), forced),
                    1 => {
                        let explanation = ways.remove(0);
                        case.edges.extend_from_slice(&explanation.edges);
                        forced.push(Forced { debt, explanation });
                    }
                    _ => open.push((debt, ways)),
                }
            }
            if case.edges.len() == known {
                let mut growth = Growth::new(self.problem, &walk.rows);
                for (debt, ways) in &mut open {
                    ways.sort_by_cached_key(|way| likelihood(&mut growth, way, event_of(*debt)));
                }
                return Settled::Open(open, Box::new(walk));
            }
            case.tidy();
        }
    }

    fn walk(&self, case: &Case, order: &[Node]) -> Walk<T> {
        walk(self.problem, order, &case.edges, self.level == Level::Convergent, self.must)
    }

    /// Looks for an order of all writes, once everything else is explained.
    pub(crate) fn arbitrate(&mut self, case: &Case, walk: &Walk<T>) -> Arbitrated {
        if self.level != Level::Convergent {
            return Arbitrated::Fine(Vec::new());
        }
        let mut certain = case.edges.clone();
        certain.extend(case.before.iter().chain(&walk.certain));
        let pair = |losing: &Losing| (losing.put, losing.winner);
        // Pairs that something can undo, and the first of them that stood in the way.
        let mut gone: BTreeSet<Edge> = BTreeSet::new();
        let mut first: Option<(Vec<Node>, Losing, Vec<Explanation>)> = None;
        for _ in 0..ROUNDS_MAX {
            self.budget.nodes = self.budget.nodes.saturating_sub(self.problem.nodes() as u64);
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
                let losing: Vec<&Losing> = walk.losing.iter().filter(|losing| pair(losing) == edge).collect();
                let undo = |losing: &&Losing| removers(self.problem, &walk.rows, losing.put, losing.event);
                let ways: Vec<Vec<Explanation>> = losing.iter().map(undo).collect();
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
fn stays<T: Cell>(problem: &Problem, rows: &Rows<T>, must: &Demands, debt: Debt, way: &Explanation) -> bool {
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
}

const fn without(debt: Debt) -> Break {
    match debt {
        Debt::Removed { put, event } => Break::Missing { event, put },
        Debt::Alive { event } => Break::NotAlive { event },
    }
}

/// How likely an explanation is: what stands before the event in the history, supposes little, and stands late. The
/// history is written in the order of time, more or less; the verdict does not depend on it.
fn likelihood<T: Cell>(growth: &mut Growth<'_, T>, way: &Explanation, event: Node) -> (bool, Reverse<u64>, Node) {
    (way.write < event, Reverse(growth.of(way)), way.write)
}

const fn event_of(debt: Debt) -> Node {
    match debt {
        Debt::Removed { event, .. } | Debt::Alive { event } => event,
    }
}

/// One case for each explanation of the debt that has the fewest; the likeliest is taken first, from the end.
fn split(case: &Case, open: &[(Debt, Vec<Explanation>)]) -> Vec<Case> {
    let (_, ways) = open.iter().min_by_key(|(_, ways)| ways.len()).expect("something is open");
    ways.iter().map(|way| case.with(&way.edges)).collect()
}
