//! The fewest operations that still violate, checked again on their own.
//!
//! Operations are taken away as long as what is left is broken at the same level. Not every operation may go: what is
//! left must convict the whole history. A put goes only with all that showed it; a delete goes only when, by the whole
//! history's order, it can excuse nothing that is left; and a put goes only when it cannot have been what a 200 met.
//! Lineage that led through an operation that is gone is kept, as a token of the one before it. What an answer said
//! is forgotten, too, where the violation stands without it: a write then only happened, a read has its value only.

use super::history::{Action, History, Operation, Outcome, SILENT};
use super::order::{self, Successors};
use super::pass::{Break, Debt};
use super::problem::{DELETE, Edge, Node, PUT, Problem, View, WINNER};
use super::report::{Options, Report, Verdict};
use super::rows::Rows;
use super::search::{Decision, Forced, Level, decide};
use std::collections::BTreeSet;

/// Larger than this, a history is not shrunk as a whole, but from what its violation names.
const WHOLE_MAX: usize = 600;

/// A violation, as small as it gets.
#[derive(Debug)]
pub struct Counterexample {
    /// The operations that are left, as a history of their own.
    pub(crate) history: History,
    pub(crate) problem: Problem,
    pub(crate) level: Level,
    pub(crate) wrong: Break,
    pub(crate) forced: Vec<Forced>,
    /// Taking any one away leaves nothing broken, or loses the proof.
    pub(crate) minimal: bool,
}

impl Counterexample {
    /// The operations that are left, as a history of their own.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The weakest level that they break.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// All levels that these operations break on their own.
    #[must_use]
    pub fn broken(&self) -> Vec<Level> {
        let options = Options::default();
        let report = super::report::judge_problem(&self.history, &self.problem, options);
        Level::ALL.into_iter().filter(|&level| report.verdict(level) == Verdict::Broken).collect()
    }

    /// Whether each operation was shown to be necessary.
    #[must_use]
    pub const fn is_minimal(&self) -> bool {
        self.minimal
    }
}

impl Report {
    /// The smallest part of the history that is broken at the weakest broken level.
    #[must_use]
    pub fn counterexample(&self, history: &History, options: Options) -> Option<Counterexample> {
        let (level, wrong, forced) = self.found.as_ref()?;
        let mut problem = Problem::of(history, options.program_order).ok()?;
        problem.blind = options.blind;
        let mut shrinker = Shrinker::new(history, &problem, *level, options);
        let mut kept = shrinker.start(wrong, forced);
        shrinker.shrink(&mut kept);
        while shrinker.forget(&kept) {
            shrinker.shrink(&mut kept);
        }
        let minimal = shrinker.is_minimal(&kept);
        let small = part(history, &problem, &kept, &shrinker.silent)?;
        let mut small_problem = Problem::of(&small, false).ok()?;
        small_problem.blind = options.blind;
        let Decision::Broken(wrong, forced) = decide(&small_problem, *level, &mut options.budget.clone()) else {
            return None;
        };
        Some(Counterexample { history: small, problem: small_problem, level: *level, wrong, forced, minimal })
    }
}

struct Shrinker<'a> {
    history: &'a History,
    problem: &'a Problem,
    level: Level,
    options: Options,
    /// The whole history's order; nothing when it has none.
    rows: Option<Rows<u32>>,
    /// Operations whose answers are forgotten as far as they can be.
    silent: BTreeSet<Node>,
}

impl<'a> Shrinker<'a> {
    fn new(history: &'a History, problem: &'a Problem, level: Level, options: Options) -> Self {
        let is_ordered = problem.cycle.is_none();
        // A walk that stops early has rows for a part only, so the rows are made without looking at anything.
        let rows = is_ordered.then(|| {
            let mut rows = Rows::new(problem, &[]);
            for node in problem.in_order() {
                rows.open(problem, node, std::iter::empty());
                rows.close(problem, node);
            }
            rows
        });
        Self { history, problem, level, options, rows, silent: BTreeSet::new() }
    }

    /// Where to begin: everything, or what the violation names and what connects it, if that is broken already.
    fn start(&self, wrong: &Break, forced: &[Forced]) -> Vec<Node> {
        let all: Vec<Node> = (0..self.problem.operations as Node).collect();
        let named = match wrong {
            Break::Nonsense(event) => vec![*event],
            Break::Cycle(nodes) | Break::Arbitration(nodes) => nodes.clone(),
            Break::Overwritten { event, shown, write } => vec![*event, *shown, *write],
            Break::Missing { event, put } => vec![*event, *put],
            Break::NotAlive { event } => vec![*event],
        };
        let small = self.connected(named, forced);
        if matches!(wrong, Break::Nonsense(_)) || all.len() > WHOLE_MAX {
            let deletes = self.deletes_that_matter(&small);
            let mut kept = small;
            kept.extend(deletes);
            kept.sort_unstable();
            kept.dedup();
            if self.is_broken(&kept) {
                return kept;
            }
        }
        all
    }

    /// What is named, what forced it, and the shortest ways between them.
    fn connected(&self, mut nodes: Vec<Node>, forced: &[Forced]) -> Vec<Node> {
        let mut edges: Vec<Edge> = Vec::new();
        for one in forced {
            edges.extend_from_slice(&one.explanation.edges);
            nodes.push(one.explanation.write);
            match one.debt {
                Debt::Removed { put, event } => nodes.extend([put, event]),
                Debt::Alive { event } => nodes.push(event),
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(40);
        let successors = Successors::of(self.problem, &edges);
        let named = nodes.clone();
        for &from in &named {
            for &to in named.iter().filter(|&&to| to != from) {
                nodes.extend(order::path(&successors, from, to, |_| true).into_iter().flatten());
            }
        }
        // What a kept event showed must be there.
        let shown: Vec<Node> = nodes.iter().flat_map(|&node| self.problem.shown(node)).copied().collect();
        nodes.extend(shown);
        nodes.retain(|&node| (node as usize) < self.problem.operations);
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn deletes_that_matter(&self, kept: &[Node]) -> Vec<Node> {
        if self.problem.cycle.is_some() {
            return Vec::new();
        }
        let mut keys: Vec<u32> = kept.iter().map(|&node| self.problem.key[node as usize]).collect();
        keys.sort_unstable();
        keys.dedup();
        let writes = keys.iter().flat_map(|&key| self.problem.index.writes(key)).copied();
        writes.filter(|&write| self.problem.is(write, DELETE) && self.excuses(write, kept)).collect()
    }

    /// Takes away pieces, large ones first, until no single operation can go.
    fn shrink(&mut self, kept: &mut Vec<Node>) {
        let mut piece = (kept.len() / 2).max(1);
        loop {
            let mut at = kept.len();
            let mut changed = false;
            while at > 0 {
                let start = at.saturating_sub(piece);
                changed |= self.try_without(kept, start, at);
                at = start.min(kept.len());
            }
            if piece == 1 && !changed {
                return;
            }
            piece = if piece == 1 { 1 } else { piece / 2 };
        }
    }

    fn try_without(&self, kept: &mut Vec<Node>, start: usize, end: usize) -> bool {
        let (gone, mut left) = (kept[start..end].to_vec(), kept.clone());
        left.drain(start..end);
        if gone.iter().all(|&node| self.may_go(node, &left)) && self.is_broken(&left) {
            *kept = left;
            return true;
        }
        false
    }

    /// Forgets answers that the violation does not need; says whether there were any.
    fn forget(&mut self, kept: &[Node]) -> bool {
        let mut changed = false;
        for &node in kept {
            if self.problem.view(node) != View::Open && self.silent.insert(node) {
                let stands = self.is_broken(kept);
                changed |= stands && !self.problem.shown(node).is_empty();
                if !stands {
                    self.silent.remove(&node);
                }
            }
        }
        changed
    }

    /// What an operation that is left still says that it showed.
    fn shown(&self, node: Node) -> &[Node] {
        let shown = self.problem.shown(node);
        match (self.silent.contains(&node), self.problem.is(node, PUT | DELETE)) {
            (false, _) => shown,
            (true, true) => &[],
            (true, false) => &shown[..shown.len().min(1)],
        }
    }

    fn is_minimal(&self, kept: &[Node]) -> bool {
        (0..kept.len()).all(|at| !self.try_without(&mut kept.to_vec(), at, at + 1))
    }

    /// Whether what is left convicts the whole history without this operation, too.
    fn may_go(&self, node: Node, left: &[Node]) -> bool {
        let shows = |&&other: &&Node| self.shown(other).contains(&node);
        if self.problem.is(node, PUT) {
            return left.iter().find(shows).is_none() && !self.was_perhaps_met(node, left);
        }
        !self.problem.is(node, DELETE) || !self.excuses(node, left)
    }

    /// Whether a 200 that is left may have met this put.
    fn was_perhaps_met(&self, put: Node, left: &[Node]) -> bool {
        let Some(rows) = &self.rows else { return false };
        let key = self.problem.key[put as usize];
        let follows = |event: Node| {
            let mut first = self.problem.first_writes(event).into_iter();
            first.any(|first| first == put || rows.before(self.problem, first, put))
        };
        let may = |&&event: &&Node| {
            self.problem.key[event as usize] == key
                && self.problem.view(event) == View::Alive
                && !self.silent.contains(&event)
                && !follows(event)
        };
        left.iter().find(may).is_some()
    }

    /// Whether a delete may have removed a put that is left before an event that is left and does not show it.
    fn excuses(&self, delete: Node, left: &[Node]) -> bool {
        let Some(rows) = &self.rows else { return false };
        let (problem, key) = (self.problem, self.problem.key[delete as usize]);
        let same = |node: &&Node| problem.key[**node as usize] == key && **node != delete;
        let puts: Vec<Node> = left.iter().filter(same).copied().filter(|&node| problem.is(node, PUT)).collect();
        left.iter().filter(same).any(|&event| {
            let wins = problem.is(event, WINNER) && problem.view(event) != View::Open;
            let asks = wins || problem.view(event) == View::Exact && !self.silent.contains(&event);
            asks && puts.iter().any(|&put| {
                put != event && !problem.shown(event).contains(&put) && self.may_remove(rows, delete, put, event)
            })
        })
    }

    fn may_remove(&self, rows: &Rows<u32>, delete: Node, put: Node, event: Node) -> bool {
        super::candidates::removers(self.problem, rows, put, event).iter().any(|way| way.write == delete)
    }

    fn is_broken(&self, kept: &[Node]) -> bool {
        let Some(small) = part(self.history, self.problem, kept, &self.silent) else { return false };
        let Ok(mut problem) = Problem::of(&small, false) else { return false };
        problem.blind = self.options.blind;
        matches!(decide(&problem, self.level, &mut self.options.budget.clone()), Decision::Broken(..))
    }
}

/// These operations as a history of their own, with the lineage that they had among each other.
fn part(history: &History, problem: &Problem, kept: &[Node], silent: &BTreeSet<Node>) -> Option<History> {
    let mut small = History::default();
    small.truncated = history.truncated;
    for &node in kept {
        let mut operation = history.operation(node as usize);
        let before = nearest(problem, kept, node);
        let mut tokens = before.iter().map(|&other| format!("t{}", history.id(other as usize)));
        operation.token_in = tokens.next();
        operation.merged_from = tokens.collect();
        operation.token_out = (operation.outcome == Outcome::Ok).then(|| format!("t{}", operation.id));
        forget_unknown_versions(problem, node, &mut operation);
        if silent.contains(&node) {
            silence(&mut operation);
        }
        (operation.call_ns, operation.return_ns) = (None, None);
        small.push(&operation).ok()?;
    }
    Some(small)
}

/// A set that names versions of unanswered puts cannot be read without them; what it surely holds is said by the value.
fn forget_unknown_versions(problem: &Problem, node: Node, operation: &mut Operation) {
    if problem.view(node) != View::Exact && problem.nonsense.is_none() {
        operation.superseded = None;
        if operation.action == Action::Get {
            operation.shown = None;
        }
    }
}

/// Leaves of an answer only that the write happened, or which value was read.
fn silence(operation: &mut Operation) {
    let siblings = operation.siblings.take();
    operation.superseded = None;
    match operation.action {
        Action::Get => {
            operation.shown = None;
            operation.value = operation.value.take().or(siblings.and_then(|all| all.into_iter().next()));
            // A read that does not even say that it found nothing says nothing at all.
            operation.status = if operation.status == 404 { SILENT } else { operation.status };
        }
        Action::Delete if operation.status == 404 => operation.action = Action::Get,
        Action::Put | Action::Delete => operation.status = SILENT,
    }
    if operation.action == Action::Get && operation.value.is_none() {
        operation.status = SILENT;
    }
}

/// The kept operations that a node follows by lineage, through others only.
fn nearest(problem: &Problem, kept: &[Node], node: Node) -> Vec<Node> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut open: Vec<Node> = problem.lineage.before(node).to_vec();
    while let Some(other) = open.pop() {
        if !seen.insert(other) {
            continue;
        }
        if kept.binary_search(&other).is_ok() {
            found.push(other);
        } else {
            open.extend_from_slice(problem.lineage.before(other));
        }
    }
    found.sort_unstable();
    found
}
