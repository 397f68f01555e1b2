//! Whether replicas agree in the end.
//!
//! A final read of a key is one that has every answered write of the key in its past: it carried all tokens. Two such
//! reads, at different replicas, must show the same. One state of the key must explain both, whether they say all that
//! there is or one value of it. A key with writes whose outcome is unknown proves nothing when they differ, because
//! such a write may have arrived in between.

use crate::graph::Problem;
use crate::graph::rows::Rows;
use crate::history::{History, Outcome};
use crate::terms::{Node, Verdict, View, WINNER, WRITE};
use std::collections::BTreeMap;

/// The verdict, if there is anything to compare, and two reads that differ.
pub(crate) fn judge(history: &History, problem: &Problem) -> (Option<Verdict>, Option<(u32, u32)>) {
    if history.replicas.len() < 2 {
        return (None, None);
    }
    let mut finals: Vec<BTreeMap<Seen, Node>> = vec![BTreeMap::new(); history.keys.len()];
    for_each_final(history, problem, |key, node| {
        finals[key as usize].entry(Seen::of(history, problem, node)).or_insert(node);
    });
    let (mut verdict, mut differ) = (None, None);
    for (key, reads) in finals.iter().enumerate() {
        let replicas = || reads.keys().map(|read| read.replica);
        if replicas().min() == replicas().max() {
            continue;
        }
        verdict = verdict.or(Some(Verdict::Fine));
        let Some(pair) = apart(reads) else { continue };
        let writes = problem.index.writes(key as u32);
        match verdict {
            _ if writes.iter().all(|&write| has_happened(history, write)) => {
                (verdict, differ) = (Some(Verdict::Broken), differ.or(Some(pair)));
            }
            Some(Verdict::Broken) => {}
            Some(Verdict::Fine | Verdict::Unknown) | None => verdict = Some(Verdict::Unknown),
        }
    }
    (verdict, differ)
}

/// What a final read says of its key, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    replica: u32,
    /// These puts are there, in order.
    puts: Vec<Node>,
    /// Nothing else is.
    is_exact: bool,
    /// Something is.
    is_alive: bool,
    /// This one was returned.
    winner: Option<Node>,
}

impl Seen {
    fn of(history: &History, problem: &Problem, node: Node) -> Self {
        let (view, shown) = (problem.view(node), problem.shown(node));
        let mut puts = shown.to_vec();
        puts.sort_unstable();
        puts.dedup();
        Self {
            replica: history.replica[node as usize],
            is_exact: view == View::Exact,
            is_alive: view == View::Alive || !puts.is_empty(),
            winner: shown.first().copied().filter(|_| problem.is(node, WINNER)),
            puts,
        }
    }

    /// Whether one state of the key can have shown both.
    fn agrees(&self, other: &Self) -> bool {
        let allows = |exact: &Self, other: &Self| {
            let holds_all = other.puts.iter().all(|put| exact.puts.binary_search(put).is_ok());
            !exact.is_exact || holds_all && (exact.is_alive || !other.is_alive)
        };
        let same_winner = self.winner.is_none() || other.winner.is_none() || self.winner == other.winner;
        allows(self, other) && allows(other, self) && same_winner
    }
}

/// Two reads at different replicas that no one state explains.
fn apart(reads: &BTreeMap<Seen, Node>) -> Option<(Node, Node)> {
    let pairs = reads.iter().enumerate().flat_map(|(at, one)| reads.iter().take(at).map(move |other| (other, one)));
    let mut differ = pairs.filter(|((other, _), (one, _))| other.replica != one.replica && !other.agrees(one));
    differ.next().map(|((_, &other), (_, &one))| (other.min(one), other.max(one)))
}

/// A write that was answered and took place. One that failed inside the store may arrive yet.
fn has_happened(history: &History, write: Node) -> bool {
    history.outcome[write as usize] == Outcome::Ok && history.status[write as usize] < 300
}

/// Reads whose past holds every answered write of their key.
fn for_each_final(history: &History, problem: &Problem, mut found: impl FnMut(u32, Node)) {
    let mut rows = Rows::<u32>::new(problem, &[]);
    for node in problem.in_order() {
        rows.open(problem, node, std::iter::empty());
        let is_read = |&part: &Node| {
            (part as usize) < problem.operations && !problem.is(part, WRITE) && problem.view(part) != View::Open
        };
        for part in problem.parts(node).filter(is_read) {
            let key = problem.key[part as usize];
            let mut segments = problem.index.segments(key);
            let all = segments.all(|segment| {
                let answered = |&entry: &usize| has_happened(history, problem.index.node[entry]);
                let last = (segment.start..segment.end).rev().find(answered);
                last.is_none_or(|entry| problem.index.position[entry] < rows.cell(part, segment.chain))
            });
            let unfollowed = || problem.index.loose(key).iter();
            if all && unfollowed().all(|&put| !has_happened(history, put)) {
                found(key, part);
            }
        }
        rows.close(problem, node);
    }
}
