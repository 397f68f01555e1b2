//! The dive: guesses that a correct store's history nearly always survives, before any case is split.
//!
//! The likeliest explanations of all debts are taken at once. When they contradict each other, those of the first half
//! of the debts are taken, and so on. One that cannot even stand alone with those taken before it is refused, and the
//! next likeliest is tried. At first it is not asked whether the winners have an order before every debt is paid, which
//! is cheap and nearly always enough. Then it is asked after each step, because later no check could say which guess
//! was wrong. Where nothing is left to try, the dive goes back a few steps. What it stumbled over, it looks at first
//! when it begins anew. This follows Boussemart, Hemery, Lecoutre and Sais, "Boosting systematic search by weighting
//! constraints", ECAI 2004.

use crate::graph::rows::Cell;
use crate::proof::Proof;
use crate::search::{Arbitrated, Case, Open, Search, Settled};
use crate::terms::{Debt, Edge};
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

/// How many steps of a dive are remembered to return to.
const STEPS_MAX: usize = 8;

/// After how many dead ends it begins anew, at first; each time twice as many.
const DEAD_ENDS: u32 = 16;

/// One step: what was taken so far, and what is still open.
struct Step {
    case: Case,
    open: Open,
    /// Where the winners have no order yet: what may give them one, and is tried before anything else.
    cases: Vec<Case>,
    /// How many debts are tried at once.
    size: usize,
}

/// How often each debt was stumbled over.
type Blamed = BTreeMap<Debt, u32>;

enum Ended {
    Fine(Proof),
    DeadEnd,
    /// Everything was tried: to begin anew leads nowhere.
    Exhausted,
    OutOfBudget,
}

/// Looks for guesses that explain every debt.
pub(crate) fn dive<T: Cell>(search: &mut Search<'_, '_, T>, root: &Case, open: &Open) -> Option<Proof> {
    let mut blamed = Blamed::new();
    let mut dead_ends = 0;
    loop {
        let first = Step { case: root.clone(), open: open.clone(), cases: Vec::new(), size: open.len() };
        match descend(search, first, &mut blamed, dead_ends) {
            Ended::Fine(proof) => return Some(proof),
            Ended::DeadEnd if dead_ends < u32::MAX / 2 => dead_ends = (dead_ends * 2).max(DEAD_ENDS),
            Ended::DeadEnd | Ended::Exhausted | Ended::OutOfBudget => return None,
        }
    }
}

/// One way down, with so many steps back; none means that winners are looked at only in the end.
fn descend<T: Cell>(search: &mut Search<'_, '_, T>, first: Step, blamed: &mut Blamed, dead_ends: u32) -> Ended {
    let mut taken: VecDeque<Step> = VecDeque::new();
    let (mut left, mut is_whole) = (dead_ends, true);
    let mut here = first;
    here.order(blamed);
    loop {
        let mut tried = here.next();
        let next = match search.settle(&mut tried) {
            Settled::OutOfBudget => return Ended::OutOfBudget,
            Settled::Broken(..) => None,
            Settled::Open(open, _) if dead_ends == 0 && !open.is_empty() => Some((open, Vec::new())),
            Settled::Open(open, walk) => match search.arbitrate(&tried, &walk) {
                Arbitrated::Fine(order) if open.is_empty() => return Ended::Fine(Proof { edges: tried.edges, order }),
                Arbitrated::Fine(_) => Some((open, Vec::new())),
                Arbitrated::Cases(_, cases) => Some((open, cases)),
                Arbitrated::Broken(_) => None,
                Arbitrated::OutOfBudget => return Ended::OutOfBudget,
            },
        };
        if let Some((open, cases)) = next {
            let size = (here.size * 2).clamp(1, open.len().max(1));
            let step = std::mem::replace(&mut here, Step { case: tried, open, cases, size });
            here.order(blamed);
            // A step to which the dive will not go back is not kept.
            is_whole &= dead_ends > 0 && taken.len() < STEPS_MAX;
            if taken.len() == STEPS_MAX {
                taken.pop_front();
            }
            if dead_ends > 0 {
                taken.push_back(step);
            }
            continue;
        }
        while !here.refuse(blamed) {
            match taken.pop_back() {
                Some(step) if left > 0 => here = step,
                None if is_whole => return Ended::Exhausted,
                Some(_) | None => return Ended::DeadEnd,
            }
            left -= 1;
        }
    }
}

impl Step {
    /// What was stumbled over comes first, then what has few explanations.
    fn order(&mut self, blamed: &Blamed) {
        let blame = |debt: &Debt| blamed.get(debt).copied().unwrap_or(0);
        self.open.sort_by_key(|(debt, ways)| (Reverse(blame(debt)), ways.len()));
    }

    /// What to try.
    fn next(&self) -> Case {
        if let Some(case) = self.cases.last() {
            return case.clone();
        }
        let likeliest = self.open[..self.size].iter().filter_map(|(_, ways)| ways.last());
        let edges: Vec<Edge> = likeliest.flat_map(|way| way.edges.iter().copied()).collect();
        self.case.with(&edges)
    }

    /// Notes that it failed; says whether there is more to try.
    fn refuse(&mut self, blamed: &mut Blamed) -> bool {
        if self.cases.pop().is_some() {
            return !self.cases.is_empty();
        }
        let Some((debt, ways)) = self.open.first_mut() else { return false };
        if self.size > 1 {
            self.size /= 2;
            return true;
        }
        *blamed.entry(*debt).or_default() += 1;
        ways.pop();
        !ways.is_empty()
    }
}
