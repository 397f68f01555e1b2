//! The fewest operations that still violate, checked again on their own.
//!
//! Operations are taken away as long as what is left is broken at the same level. Not every operation may go: what is
//! left must convict the whole history. A put goes only with all that showed it, and only when it cannot have been what
//! a 200 met. A delete goes only when, by the whole history's order, it can excuse nothing that is left. Lineage that
//! led through an operation that is gone is kept, as a token of the one before it. What an answer said is forgotten,
//! too, where the violation stands without it: a write then only happened, a read has its value only.
//!
//! A batch goes or stays as a whole. What its parts said is forgotten part by part.
//!
//! All of it has a budget of work, so it ends at any size. What was given up is told with what is left.

mod around;
mod effort;
mod lineage;

use crate::report::Counterexample;
use crate::report::counterexample::GivenUp;
use around::Fate;
use effort::Effort;
use lineage::Lineage;

use crate::graph::Problem;
use crate::graph::rows::Rows;
use crate::history::{Action, History, Operation, Outcome, SILENT};
use crate::report::{Options, Report};
use crate::search::{Decision, decide};
use crate::terms::{Break, Budget, DELETE, Forced, Level, Node, PUT, View, WINNER};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Larger than this, a history is not shrunk as a whole, but from what its violation names.
const WHOLE_MAX: usize = 600;

/// Larger than this, all that was done with a key is not tried: what may excuse what there costs the cube of it.
const WIDE_MAX: usize = 3_000;

/// So much of the time is left to judge the smallest part again, in parts of [`Watch::WHOLE`].
///
/// [`Watch::WHOLE`]: crate::Watch::WHOLE
const JUDGING: u32 = 20;

/// How many walks one step of shrinking gets.
const STEP_WALKS: u64 = 300;

impl Report {
    /// The smallest part of the history that is broken at the weakest broken level.
    #[must_use]
    pub fn counterexample(&self, history: &History, options: Options) -> Option<Rc<Counterexample>> {
        if let Some(known) = &self.smallest {
            return Some(Rc::clone(known));
        }
        let (level, wrong, forced) = self.found.as_ref()?;
        let mut problem = Problem::of(history, options.program_order).ok()?;
        problem.blind = options.blind;
        let mut shrinker = Shrinker::new(history, &problem, *level, wrong, options);
        let mut kept = shrinker.start(wrong, forced);
        shrinker.shrink(&mut kept);
        while shrinker.forget(&kept) {
            shrinker.shrink(&mut kept);
        }
        let minimal = shrinker.is_minimal(&kept);
        let small = shrinker.part(&kept)?;
        let mut small_problem = Problem::of(&small, false).ok()?;
        small_problem.blind = options.blind;
        let Decision::Broken(wrong, forced) = decide(&small_problem, *level, &mut options.budget.clone()) else {
            return None;
        };
        let why = if shrinker.effort.is_late() { GivenUp::Time } else { GivenUp::Steps(options.shrinking) };
        let given_up = shrinker.effort.is_spent().then_some(why);
        let (of, level, places, levels) = (history.len(), *level, OnceCell::new(), OnceCell::new());
        let problem = small_problem;
        Some(Rc::new(Counterexample {
            history: small,
            problem,
            level,
            wrong,
            forced,
            minimal,
            of,
            given_up,
            watch: options.budget.watch,
            places,
            levels,
        }))
    }
}

struct Shrinker<'a> {
    history: &'a History,
    problem: &'a Problem,
    level: Level,
    options: Options,
    /// What the whole history does wrong: what is left must do the same.
    kind: Kind,
    /// The whole history's order; nothing when it has none.
    rows: Option<Rows<u32>>,
    /// Operations whose answers are forgotten as far as they can be.
    silent: BTreeSet<Node>,
    /// Reads of which nothing is left but that they came between others.
    muted: BTreeSet<Node>,
    /// What is known of each event that was asked about.
    fates: RefCell<BTreeMap<Node, Rc<Fate>>>,
    effort: Effort,
}

/// How a violation shows itself, and what exactly is said where one answer alone cannot be.
type Kind = (&'static str, Option<String>);

fn kind(problem: &Problem, wrong: &Break) -> Kind {
    let said = problem.nonsense.as_ref().filter(|_| matches!(wrong, Break::Nonsense(_)));
    (wrong.name(), said.map(|nonsense| nonsense.text.clone()))
}

impl<'a> Shrinker<'a> {
    fn new(history: &'a History, problem: &'a Problem, level: Level, wrong: &Break, options: Options) -> Self {
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
        // Some of the time is left to judge what is left of the history.
        let budget = options.budget.less(JUDGING);
        let (kind, effort) = (kind(problem, wrong), Effort::new(options.shrinking, budget));
        Self {
            history,
            problem,
            level,
            options,
            kind,
            rows,
            silent: BTreeSet::new(),
            muted: BTreeSet::new(),
            fates: RefCell::default(),
            effort,
        }
    }

    /// Where to begin: everything, or what the violation names and what connects it, if that violates already.
    fn start(&mut self, wrong: &Break, forced: &[Forced]) -> Vec<Node> {
        let all: Vec<Node> = (0..self.problem.operations as Node).collect();
        if all.len() <= WHOLE_MAX && !matches!(wrong, Break::Nonsense(_)) {
            return all;
        }
        if let Some(bare) = self.bare(wrong) {
            return bare;
        }
        let named = self.named(wrong);
        // What was forced by then may be of other operations, and there may be thousands.
        for forced in [&[], forced] {
            let near = match wrong {
                // Its operations follow each other already.
                Break::Cycle(nodes) => nodes.iter().copied().filter(|&node| (node as usize) < all.len()).collect(),
                Break::Nonsense(_)
                | Break::Overwritten { .. }
                | Break::Missing { .. }
                | Break::NotAlive { .. }
                | Break::Arbitration(_) => self.connected(named.clone(), forced),
            };
            // What lies on the way only has to have happened.
            let on_the_way = |node: &Node| self.problem.is(*node, PUT | DELETE) && !named.contains(node);
            self.silent = near.iter().copied().filter(on_the_way).collect();
            let near = self.completed(near);
            if self.begins_with(&near) {
                return near;
            }
        }
        let keys: BTreeSet<u32> = named.iter().map(|&node| self.problem.key[node as usize]).collect();
        let of_keys = all.iter().copied().filter(|&node| keys.contains(&self.problem.key[node as usize]));
        let wide: Vec<Node> = of_keys.chain(self.connected(named, forced)).collect();
        if wide.len() <= WIDE_MAX {
            let wide = self.completed(wide);
            if self.begins_with(&wide) {
                return wide;
            }
        }
        all
    }

    /// The few operations that are wrong whatever else the history says. A cycle is one, and so is an overwritten value:
    /// no delete excuses it. Of these only what happened counts, and which values were read.
    fn bare(&mut self, wrong: &Break) -> Option<Vec<Node>> {
        let mut kept = match wrong {
            Break::Cycle(nodes) => nodes.clone(),
            Break::Overwritten { .. } => self.connected(self.named(wrong), &[]),
            Break::Nonsense(_) | Break::Missing { .. } | Break::NotAlive { .. } | Break::Arbitration(_) => return None,
        };
        kept.retain(|&node| (node as usize) < self.problem.operations);
        let mut kept = self.whole(kept);
        let reads = kept.iter().filter(|&&node| !self.problem.is(node, PUT | DELETE));
        let read: Vec<Node> = reads.filter_map(|&node| self.problem.shown(node).first()).copied().collect();
        kept.extend(read);
        let kept = self.whole(kept);
        self.silent = kept.iter().copied().collect();
        match self.judged(&kept) {
            Some((wrong, problem, forced)) if forced.is_empty() && kind(&problem, &wrong) == self.kind => Some(kept),
            Some(_) | None => {
                self.silent.clear();
                None
            }
        }
    }

    /// Whether these violate already, without what only came between them.
    fn begins_with(&mut self, kept: &[Node]) -> bool {
        self.hush(kept);
        let begins = self.violates(kept);
        if !begins {
            self.silent.clear();
            self.muted.clear();
        }
        begins
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
            if piece == 1 && !changed || self.effort.is_spent() {
                return;
            }
            piece = if piece == 1 { 1 } else { piece / 2 };
        }
    }

    /// Tries to do without these, and without what else is of their batches.
    fn try_without(&self, kept: &mut Vec<Node>, mut start: usize, mut end: usize) -> bool {
        let is_one = |at: usize| at > 0 && at < kept.len() && self.problem.is_one(kept[at - 1], kept[at]);
        while is_one(start) {
            start -= 1;
        }
        while is_one(end) {
            end += 1;
        }
        // To copy and to look through what is left is work, too.
        if !self.effort.spend(kept.len() as u64 / 8) {
            return false;
        }
        let (gone, mut left) = (kept[start..end].to_vec(), kept.clone());
        left.drain(start..end);
        let shown: BTreeSet<Node> = left.iter().flat_map(|&node| self.shown(node)).copied().collect();
        if gone.iter().all(|&node| self.may_go(node, &left, &shown)) && self.violates(&left) {
            *kept = left;
            return true;
        }
        false
    }

    /// Forgets answers that the violation does not need, many at once first; says whether there were any.
    fn forget(&mut self, kept: &[Node]) -> bool {
        let says = |node: &Node| self.problem.view(*node) != View::Open && !self.silent.contains(node);
        let mut saying: Vec<Node> = kept.iter().copied().filter(says).collect();
        let all = saying.len();
        let mut piece = all.max(1);
        loop {
            let mut needed = Vec::new();
            for some in saying.chunks(piece) {
                self.silent.extend(some);
                if !self.violates(kept) {
                    some.iter().for_each(|node| _ = self.silent.remove(node));
                    needed.extend_from_slice(some);
                }
            }
            saying = needed;
            if piece == 1 {
                return saying.len() < all;
            }
            piece = piece.div_ceil(2);
        }
    }

    /// What an operation that is left still says that it showed.
    fn shown(&self, node: Node) -> &[Node] {
        let shown = self.problem.shown(node);
        match (self.silent.contains(&node), self.problem.is(node, PUT | DELETE)) {
            _ if self.muted.contains(&node) => &[],
            (false, _) => shown,
            (true, true) => &[],
            (true, false) => &shown[..shown.len().min(1)],
        }
    }

    fn is_minimal(&self, kept: &[Node]) -> bool {
        (0..kept.len()).all(|at| !self.try_without(&mut kept.to_vec(), at, at + 1)) && !self.effort.is_spent()
    }

    /// Whether what is left convicts the whole history without this operation, too. `shown` is all that is left shows.
    fn may_go(&self, node: Node, left: &[Node], shown: &BTreeSet<Node>) -> bool {
        if !self.problem.is(node, PUT | DELETE) {
            return true;
        }
        if shown.contains(&node) || !self.effort.spend(left.len() as u64 / 16) {
            return false;
        }
        if self.problem.is(node, PUT) { !self.was_perhaps_met(node, left) } else { !self.excuses(node, left) }
    }

    /// Whether a 200 that is left may have met this put. Of those that it cannot have met one stays: that there was a
    /// value, and what became of it, is a part of the violation.
    fn was_perhaps_met(&self, put: Node, left: &[Node]) -> bool {
        let key = self.problem.key[put as usize];
        let same = |node: Node| self.problem.key[node as usize] == key;
        let is_alive = |event: Node| self.problem.view(event) == View::Alive && !self.silent.contains(&event);
        let mut events = left.iter().copied().filter(|&event| same(event) && is_alive(event));
        events.any(|event| {
            let fate = self.fate(event);
            let is_last = || fate.gone.contains(&put) && left.iter().all(|other| !fate.gone.contains(other));
            fate.perhaps_alive.contains(&put) || is_last()
        })
    }

    /// Whether an event says enough to miss a put.
    fn asks(&self, event: Node) -> bool {
        let problem = self.problem;
        let wins = problem.is(event, WINNER) && problem.view(event) != View::Open;
        let exact = problem.view(event) == View::Exact && !self.silent.contains(&event);
        (wins || exact) && !self.muted.contains(&event)
    }

    /// Whether a delete may have removed a put that is left before an event that is left and does not show it.
    fn excuses(&self, delete: Node, left: &[Node]) -> bool {
        let Some(rows) = &self.rows else { return false };
        let (problem, key) = (self.problem, self.problem.key[delete as usize]);
        let same = |node: &&Node| problem.key[**node as usize] == key && **node != delete;
        let puts: Vec<Node> = left.iter().filter(same).copied().filter(|&node| problem.is(node, PUT)).collect();
        let may_remove = |put: Node, event: Node| {
            crate::search::candidates::removers(problem, rows, put, event, self.effort.time())
                .iter()
                .any(|way| way.write == delete)
        };
        left.iter().filter(same).filter(|&&event| self.asks(event)).any(|&event| {
            // What cannot be found out any more may be an excuse.
            let known = self.effort.spend(self.removers_cost(key, puts.len()));
            !known
                || puts
                    .iter()
                    .any(|&put| put != event && !problem.shown(event).contains(&put) && may_remove(put, event))
        })
    }

    /// Whether what is left does wrong what the whole does wrong.
    fn violates(&self, kept: &[Node]) -> bool {
        self.judged(kept).is_some_and(|(wrong, problem, _)| kind(&problem, &wrong) == self.kind)
    }

    /// What is wrong with what is left, if something is.
    fn judged(&self, kept: &[Node]) -> Option<(Break, Problem, Vec<Forced>)> {
        if !self.effort.spend(kept.len() as u64) {
            return None;
        }
        let small = self.part(kept)?;
        let mut problem = Problem::of(&small, false).ok()?;
        problem.blind = self.options.blind;
        let Budget { walks, nodes, watch } = self.options.budget;
        let nodes = nodes.min(self.effort.left());
        let mut budget = Budget { walks: walks.min(STEP_WALKS), nodes, watch };
        let decision = decide(&problem, self.level, &mut budget);
        _ = self.effort.spend(nodes - budget.nodes);
        match decision {
            Decision::Broken(wrong, forced) => Some((wrong, problem, forced)),
            Decision::Fine(_) | Decision::Unknown(_) => None,
        }
    }

    /// These operations as a history of their own, with the lineage that they had among each other.
    fn part(&self, kept: &[Node]) -> Option<History> {
        let mut small = History::default();
        small.truncated = self.history.truncated;
        let mut lineage = Lineage::of(self.problem, kept);
        let nameless = kept.iter().filter(|&&node| is_nameless(self.history, node));
        let nameless: BTreeSet<u32> = nameless.map(|&node| self.problem.key[node as usize]).collect();
        let mut sent: Vec<String> = Vec::new();
        for &node in kept {
            let mut operation = self.history.operation(node as usize);
            if self.problem.is_head(node) {
                let before = lineage.nearest(node);
                sent = before.iter().map(|&other| format!("t{}", self.history.id(other as usize))).collect();
            }
            operation.token_in = sent.first().cloned();
            operation.merged_from = sent.iter().skip(1).cloned().collect();
            operation.token_out = (operation.outcome == Outcome::Ok).then(|| format!("t{}", operation.id));
            if !nameless.contains(&self.problem.key[node as usize]) {
                forget_unknown_versions(self.problem, node, &mut operation);
            }
            if self.muted.contains(&node) {
                (operation.value, operation.siblings, operation.shown) = (None, None, None);
                operation.status = SILENT;
            } else if self.silent.contains(&node) {
                silence(&mut operation);
            }
            (operation.call_ns, operation.return_ns) = (None, None);
            small.push(&operation).ok()?;
        }
        _ = self.effort.spend(lineage.steps);
        Some(small)
    }
}

/// A put of unknown version.
fn is_nameless(history: &History, node: Node) -> bool {
    let at = node as usize;
    history.action[at] == Action::Put && (history.outcome[at] != Outcome::Ok || history.shown(at).is_none())
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
