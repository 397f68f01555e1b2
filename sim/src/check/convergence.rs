//! Whether replicas agree in the end.
//!
//! A final read of a key is one that has every answered write of the key in its past: it carried all tokens. Two such
//! reads, at different replicas, must show the same. A key with writes whose outcome is unknown proves nothing when
//! they differ, because such a write may have arrived in between.

use super::Verdict;
use super::history::{History, Outcome};
use super::problem::{Node, Problem, View, WINNER, WRITE};
use super::rows::Rows;

/// The verdict, if there is anything to compare, and two reads that differ.
pub(crate) fn judge(history: &History, problem: &Problem) -> (Option<Verdict>, Option<(u32, u32)>) {
    if history.replicas.len() < 2 {
        return (None, None);
    }
    let mut finals: Vec<Vec<Node>> = vec![Vec::new(); history.keys.len()];
    for_each_final(history, problem, |key, node| finals[key as usize].push(node));
    let (mut verdict, mut differ) = (None, None);
    for (key, reads) in finals.iter().enumerate() {
        let Some((&first, others)) = reads.split_first() else { continue };
        for &other in others {
            if history.replica[first as usize] == history.replica[other as usize] {
                continue;
            }
            verdict = verdict.or(Some(Verdict::Fine));
            if !same(problem, first, other) {
                let writes = problem.index.writes(key as u32);
                let is_certain = writes.iter().all(|&write| history.outcome[write as usize] == Outcome::Ok);
                match (is_certain, verdict) {
                    (true, _) => (verdict, differ) = (Some(Verdict::Broken), differ.or(Some((first, other)))),
                    (false, Some(Verdict::Broken)) => {}
                    (false, _) => verdict = Some(Verdict::Unknown),
                }
            }
        }
    }
    (verdict, differ)
}

fn same(problem: &Problem, a: Node, b: Node) -> bool {
    let set = |node: Node| problem.shown(node).iter().copied().collect::<std::collections::BTreeSet<_>>();
    let both_win = problem.is(a, WINNER) && problem.is(b, WINNER);
    let both_exact = problem.view(a) == View::Exact && problem.view(b) == View::Exact;
    let (first, second) = (problem.shown(a).first(), problem.shown(b).first());
    (!both_exact || set(a) == set(b)) && (!(both_win || both_exact) || first == second || !both_win && set(a) == set(b))
}

/// Reads whose past holds every answered write of their key.
fn for_each_final(history: &History, problem: &Problem, mut found: impl FnMut(u32, Node)) {
    let mut rows = Rows::<u32>::new(problem, &[]);
    for node in problem.in_order() {
        rows.open(problem, node, std::iter::empty());
        let is_read =
            (node as usize) < problem.operations && !problem.is(node, WRITE) && problem.view(node) != View::Open;
        if is_read {
            let key = problem.key[node as usize];
            let mut segments = problem.index.segments(key);
            let all = segments.all(|segment| {
                let answered = |&entry: &usize| history.outcome[problem.index.node[entry] as usize] == Outcome::Ok;
                let last = (segment.start..segment.end).rev().find(answered);
                last.is_none_or(|entry| problem.index.position[entry] < rows.cell(node, segment.chain))
            });
            let unfollowed = || problem.index.loose(key).iter();
            if all && unfollowed().all(|&put| history.outcome[put as usize] != Outcome::Ok) {
                found(key, node);
            }
        }
        rows.close(problem, node);
    }
}
