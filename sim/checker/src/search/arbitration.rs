//! Whether one total order of all writes explains every winner: happens-before and forced pairs without a cycle.

use crate::graph::Problem;
use crate::graph::order::{Successors, indegrees, short_cycle};
use crate::history::NONE;
use crate::search::pass::Walk;
use crate::terms::{Edge, Node, WRITE};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How many nodes to start from when looking for a short cycle.
const STARTS_MAX: usize = 64;

/// All writes in an order that respects happens-before, these edges and what must be ahead of each winner; or a cycle
/// of them.
pub(crate) fn order<T>(problem: &Problem, walk: &Walk<T>, extra: &[Edge]) -> Result<Vec<Node>, Vec<Node>> {
    let mut kahn = Kahn::new(problem, walk, extra);
    kahn.run();
    let placed = kahn.placed.iter().zip(0..);
    let leftover: Vec<bool> = placed.map(|(&placed, node)| !placed && problem.is_head(node)).collect();
    if leftover.contains(&true) { Err(kahn.shortest(&leftover)) } else { Ok(kahn.order) }
}

/// Kahn's algorithm, in which a winner also waits until enough of each chain was placed.
struct Kahn<'a, T> {
    problem: &'a Problem,
    walk: &'a Walk<T>,
    extra: Vec<Edge>,
    /// The writes that were placed.
    order: Vec<Node>,
    successors: Successors,
    missing: Vec<u32>,
    placed: Vec<bool>,
    /// How much of each chain was placed.
    done: Vec<u32>,
    /// The nodes that wait until so much of a chain was placed, and from which entry on each must look again.
    waiting: Vec<BinaryHeap<Reverse<(u32, Node, u32)>>>,
    ready: VecDeque<(Node, Option<u32>)>,
}

impl<'a, T> Kahn<'a, T> {
    fn new(problem: &'a Problem, walk: &'a Walk<T>, extra: &[Edge]) -> Self {
        let missing = indegrees(problem, extra);
        let heads = (0..problem.nodes() as Node).filter(|&node| problem.is_head(node));
        let ready = heads.filter(|&node| missing[node as usize] == 0).map(|node| (node, None));
        let chains = problem.chains();
        Self {
            problem,
            walk,
            extra: extra.to_vec(),
            order: Vec::with_capacity(problem.chain_nodes.len()),
            successors: Successors::of(problem, extra),
            ready: ready.collect(),
            missing,
            placed: vec![false; problem.nodes()],
            done: vec![0; chains],
            waiting: (0..chains).map(|_| BinaryHeap::new()).collect(),
        }
    }

    fn run(&mut self) {
        while let Some((node, from)) = self.ready.pop_front() {
            if let Some((entry, chain, count)) = self.not_yet(node, from) {
                self.waiting[chain as usize].push(Reverse((count, node, entry)));
                continue;
            }
            self.placed[node as usize] = true;
            for &next in self.successors.of_node(node) {
                self.missing[next as usize] -= 1;
                if self.missing[next as usize] == 0 {
                    self.ready.push_back((next, None));
                }
            }
            if !self.problem.writes(node) {
                continue;
            }
            self.order.extend(self.problem.parts(node).filter(|&part| self.problem.is(part, WRITE)));
            let chain = self.problem.chain[node as usize];
            if chain == NONE {
                continue;
            }
            self.done[chain as usize] += 1;
            let waiting = &mut self.waiting[chain as usize];
            while waiting.peek().is_some_and(|Reverse((count, ..))| *count <= self.done[chain as usize]) {
                let Reverse((_, node, entry)) = waiting.pop().expect("it was just seen");
                self.ready.push_back((node, Some(entry)));
            }
        }
    }

    /// The first entry with a chain of which too little was placed, and how much it takes.
    fn not_yet(&self, node: Node, from: Option<u32>) -> Option<(u32, u32, u32)> {
        self.walk.ahead_of(node, from).find(|&(_, chain, count)| self.done[chain as usize] < count)
    }

    /// A short cycle among what could not be placed, in forward order.
    fn shortest(&self, leftover: &[bool]) -> Vec<Node> {
        let problem = self.problem;
        let mut into: Vec<Edge> = self.extra.clone();
        into.sort_unstable_by_key(|&(_, to)| to);
        let last = |(_, chain, count): (u32, u32, u32)| {
            problem.chain_nodes[(problem.chain_start[chain as usize] + count - 1) as usize]
        };
        let (mut start, mut before) = (vec![0], Vec::new());
        for node in 0..problem.nodes() as Node {
            if leftover[node as usize] {
                let first = into.partition_point(|&(_, to)| to < node);
                let extra = into[first..].iter().take_while(|&&(_, to)| to == node).map(|&(from, _)| from);
                let all = problem.predecessors(node).chain(extra).chain(self.walk.ahead_of(node, None).map(last));
                before.extend(all.filter(|&other| leftover[other as usize]));
            }
            start.push(before.len());
        }
        let of = |node: Node| &before[start[node as usize]..start[node as usize + 1]];
        let mut cycle = short_cycle(leftover, STARTS_MAX, of);
        cycle.reverse();
        cycle
    }
}
