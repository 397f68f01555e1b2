//! What may explain a debt: which writes may have removed a put before an event, which puts may have been alive.

use crate::graph::Problem;
use crate::graph::rows::{Cell, Rows};
use crate::terms::{Budget, DELETE, Debt, Edge, Explanation, Node, PUT, View};
use std::collections::BTreeMap;

/// With more chains than this, how likely an explanation is, is judged by its edges alone.
const CHAINS_MAX: usize = 64;

/// Where the writes of a chain are divided is found by halving them so often, more or less.
const HALVINGS: u32 = 4;

/// How much visibility grows by explanations, in one walk.
pub(crate) struct Growth<'a, T> {
    problem: &'a Problem,
    rows: &'a Rows<T>,
    /// For each node that was asked about, how many writes of each chain precede it. To find the last writes before a
    /// read may take a look at most of a history. Hundreds of explanations may be asked about for one read.
    known: BTreeMap<Node, Vec<u32>>,
}

impl<'a, T: Cell> Growth<'a, T> {
    pub(crate) const fn new(problem: &'a Problem, rows: &'a Rows<T>) -> Self {
        Self { problem, rows, known: BTreeMap::new() }
    }

    /// The writes that come by it into the past of the event and of the readers that met the put.
    pub(crate) fn of(&mut self, explanation: &Explanation) -> u64 {
        let (problem, rows) = (self.problem, self.rows);
        // With many chains this costs more than a worse guess.
        if problem.chains() > CHAINS_MAX {
            return explanation.edges.len() as u64;
        }
        let chains = 0..problem.chains() as u32;
        let before = |to: Node| {
            let last = if problem.is_kept(to) { vec![to] } else { problem.last_writes(to) };
            let most = |chain| last.iter().map(|&write| rows.cell(write, chain).count()).max().unwrap_or(0);
            chains.clone().map(most).collect::<Vec<_>>()
        };
        let mut grown = 0;
        for &(from, to) in &explanation.edges {
            let known = self.known.entry(to).or_insert_with(|| before(to));
            let more = |(chain, has): (u32, &u32)| u64::from(rows.cell(from, chain).count().saturating_sub(*has));
            grown += chains.clone().zip(known.iter()).map(more).sum::<u64>();
        }
        grown
    }
}

/// What may explain a debt, so many explanations at most. Where the time is over they are not all.
pub(crate) fn explanations<T: Cell>(
    problem: &Problem,
    rows: &Rows<T>,
    debt: Debt,
    most: usize,
    budget: &Budget,
) -> Vec<Explanation> {
    match debt {
        Debt::Removed { put, event } => removers_at_most(problem, rows, (put, event), most, budget),
        Debt::Alive { event } => living(problem, rows, event, most, budget),
    }
}

/// The deletes and shown puts that may have removed the put before the event, each with the write that met the put
/// itself. That write is the remover, or one that the remover replaced, and so on. Where the time is over they are not
/// all.
pub(crate) fn removers<T: Cell>(
    problem: &Problem,
    rows: &Rows<T>,
    put: Node,
    event: Node,
    budget: &Budget,
) -> Vec<Explanation> {
    removers_at_most(problem, rows, (put, event), usize::MAX, budget)
}

fn removers_at_most<T: Cell>(
    problem: &Problem,
    rows: &Rows<T>,
    (put, event): (Node, Node),
    most: usize,
    budget: &Budget,
) -> Vec<Explanation> {
    let before = |a: Node, b: Node| rows.before(problem, a, b);
    let shown = problem.shown(event);
    let mut found = Vec::new();
    // A put that no write follows is in no past.
    if !problem.is_kept(put) {
        return found;
    }
    let after = problem.first_writes(event);
    let follows = |write: Node| after.iter().any(|&first| problem.is_one(first, write) || before(first, write));
    let excused = |write: Node| shown.iter().any(|&shown| before(shown, write));
    // Along a chain, what the put has met comes first, and what follows the event, or what it showed, comes last.
    let mut glance = budget.glance();
    let cost = 1 + after.len() as u32 * HALVINGS;
    let segments = problem.index.segments(problem.key[event as usize]).take_while(|_| !glance.have_passed(cost));
    let windows = segments.flat_map(|segment| {
        let writes = problem.index.beyond(segment, rows.cell(put, segment.chain).count());
        &writes[..writes.partition_point(|&write| !follows(write) && !excused(write))]
    });
    let deletes = windows.filter(|&&write| problem.is(write, DELETE));
    for &write in deletes.chain(shown) {
        if found.len() >= most {
            break;
        }
        let possible = !problem.is_one(write, event) && write != put && !follows(write) && !before(write, put);
        if !possible || excused(write) {
            continue;
        }
        let mut open = vec![write];
        let mut seen = Vec::new();
        while let Some(first) = open.pop() {
            if seen.contains(&first) || first == put || before(first, put) {
                continue;
            }
            seen.push(first);
            let members = problem.shown(first);
            if problem.view(first) != View::Exact || members.contains(&put) {
                let edges = [(put, first), (write, event)];
                let news = |&(from, to): &Edge| !(problem.shown(to).contains(&from));
                let edges = edges.into_iter().filter(news).map(|(from, to)| problem.edge(from, to)).collect();
                found.push(Explanation { write, edges });
            } else {
                open.extend_from_slice(members);
            }
        }
    }
    found
}

/// The puts that may have been alive at an event that says that it met something: a write, or a read answered 304.
fn living<T: Cell>(problem: &Problem, rows: &Rows<T>, event: Node, most: usize, budget: &Budget) -> Vec<Explanation> {
    let before = |a: Node, b: Node| rows.before(problem, a, b);
    let segments = || problem.index.segments(problem.key[event as usize]);
    debug_assert!(problem.index.loose(problem.key[event as usize]).is_empty(), "what may be met stands in a chain");
    // Rows of reads are gone by now; a write's own knows what joined happens-before, too.
    let last = if problem.is_kept(event) { vec![event] } else { problem.last_writes(event) };
    let is_last = |write: Node| last.iter().any(|&last| problem.is_one(last, write) || before(write, last));
    let precedes = |write: Node| !problem.is_one(write, event) && is_last(write);
    // Along a chain, what precedes the event comes first, and what follows it comes last. What the last write that
    // precedes it has not met, none before that one has.
    let past: Vec<Node> = segments()
        .filter_map(|segment| {
            let writes = problem.index.beyond(segment, 0);
            Some(writes[writes.partition_point(|&write| precedes(write)).checked_sub(1)?])
        })
        .collect();
    let after = problem.first_writes(event);
    let follows = |put: Node| after.iter().any(|&first| problem.is_one(first, put) || before(first, put));
    let replaced = |put: Node| past.iter().any(|&write| before(put, write));
    let mut glance = budget.glance();
    let cost = 1 + (past.len() + after.len()) as u32 * HALVINGS;
    let windows = segments().take_while(|_| !glance.have_passed(cost)).flat_map(|segment| {
        let writes = problem.index.beyond(segment, 0);
        let writes = &writes[writes.partition_point(|&write| replaced(write))..];
        // What precedes the event already was removed before it.
        let writes = &writes[writes.partition_point(|&write| precedes(write))..];
        &writes[..writes.partition_point(|&write| !follows(write))]
    });
    let explain = |put: Node| Explanation { write: put, edges: vec![problem.edge(put, event)] };
    windows.copied().filter(|&put| problem.is(put, PUT)).map(explain).take(most).collect()
}
