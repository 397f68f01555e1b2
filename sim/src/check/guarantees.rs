//! The four session guarantees of Terry et al., PDIS 1994, as restrictions of the same rules.
//!
//! Each guarantee names the writes that an event must have in its past; the rules about what an event may show are
//! then asked of those writes only. A session is a lineage, as everywhere, and what a session has seen is what any of
//! its events showed so far: monotonic writes and writes follow reads are asked of all of that, because a session that
//! moves between replicas would otherwise show neither.

use super::history::NONE;
use super::problem::{Node, Problem, View};
use super::search::Level;

/// The largest history, in nodes, for which guarantees are judged one by one.
pub(crate) const NODES_MAX: usize = 1_500;

/// For each event the writes of its key that the guarantee speaks of; nothing when the history is too large.
pub(crate) fn must(problem: &Problem, level: Level) -> Option<Vec<Vec<Node>>> {
    if problem.nodes() > NODES_MAX {
        return None;
    }
    let lineage = Sessions::of(problem);
    let mut readers = vec![Vec::new(); problem.nodes()];
    for node in 0..problem.nodes() as Node {
        for &shown in problem.shown(node) {
            readers[shown as usize].push(node);
        }
    }
    let read_before =
        |write: Node, event: Node| readers[write as usize].iter().any(|&read| lineage.before(read, event));
    let seen_before: Vec<Vec<Node>> = (0..problem.nodes() as Node).map(|event| lineage.all_before(event)).collect();
    let seen = |event: Node| {
        let events = seen_before[event as usize].iter().chain(std::iter::once(&event));
        events.flat_map(|&event| problem.shown(event)).copied().collect::<Vec<_>>().into_iter()
    };
    let speaks_of = |write: Node, event: Node| match level {
        Level::ReadYourWrites => lineage.before(write, event),
        Level::MonotonicReads => read_before(write, event),
        Level::MonotonicWrites => {
            let shown = problem.shown(event);
            seen(event).any(|seen| lineage.before(write, seen))
                || shown.contains(&write) && shown.iter().any(|&other| lineage.before(other, write))
        }
        Level::WritesFollowReads => {
            let shown = problem.shown(event);
            seen(event).any(|seen| read_before(write, seen))
                || shown.contains(&write) && shown.iter().any(|&other| read_before(other, write))
        }
        Level::Causal | Level::Convergent => true,
    };
    let writes_for = |event: Node| {
        let key = problem.key[event as usize];
        if key == NONE || problem.view(event) == View::Open {
            return Vec::new();
        }
        problem.index.writes(key).iter().copied().filter(|&write| write != event && speaks_of(write, event)).collect()
    };
    Some((0..problem.nodes() as Node).map(writes_for).collect())
}

/// Which operations precede which by lineage alone, as a matrix of bits.
struct Sessions {
    words: usize,
    bits: Vec<u64>,
}

impl Sessions {
    fn of(problem: &Problem) -> Self {
        let words = problem.nodes().div_ceil(64);
        let mut sessions = Self { words, bits: vec![0; words * problem.nodes()] };
        for node in problem.in_order() {
            for &before in problem.lineage.before(node) {
                let (from, into) = (before as usize * words, node as usize * words);
                for word in 0..words {
                    sessions.bits[into + word] |= sessions.bits[from + word];
                }
                sessions.bits[into + before as usize / 64] |= 1 << (before % 64);
            }
        }
        sessions
    }

    fn all_before(&self, node: Node) -> Vec<Node> {
        let row = &self.bits[node as usize * self.words..(node as usize + 1) * self.words];
        let ones = row.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
                .take_while(|&bits| bits != 0)
                .map(move |bits| word as Node * 64 + bits.trailing_zeros())
        });
        ones.collect()
    }

    fn before(&self, a: Node, b: Node) -> bool {
        self.bits[b as usize * self.words + a as usize / 64] >> (a % 64) & 1 == 1
    }
}
