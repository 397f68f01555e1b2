//! What of a history's lineage is left where operations between are gone.

use crate::graph::Problem;
use crate::terms::Node;

/// What of a history's lineage is left between the operations that are kept.
pub(super) struct Lineage<'a> {
    problem: &'a Problem,
    is_kept: Vec<bool>,
    /// The node from which each one was last come by.
    seen_from: Vec<Option<Node>>,
    /// How many nodes were come by: through thousands that are gone that is what a step of shrinking costs.
    pub(super) steps: u64,
}

impl<'a> Lineage<'a> {
    pub(super) fn of(problem: &'a Problem, kept: &[Node]) -> Self {
        let mut is_kept = vec![false; problem.nodes()];
        kept.iter().for_each(|&node| is_kept[node as usize] = true);
        Self { problem, is_kept, seen_from: vec![None; problem.nodes()], steps: 0 }
    }

    /// The kept operations that a node follows by lineage, through others only.
    pub(super) fn nearest(&mut self, node: Node) -> Vec<Node> {
        let mut found = Vec::new();
        let mut open: Vec<Node> = self.problem.lineage.before(node).to_vec();
        while let Some(other) = open.pop() {
            if self.seen_from[other as usize].replace(node) == Some(node) {
                continue;
            }
            self.steps += 1;
            if self.is_kept[other as usize] {
                found.push(other);
            } else {
                open.extend_from_slice(self.problem.lineage.before(other));
            }
        }
        found.sort_unstable();
        found
    }
}
