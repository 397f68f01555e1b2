//! Orders of the happens-before graph: a topological one, a cover by chains, and shortest cycles.
//!
//! No recursion: a session of ten million operations is one path of ten million nodes.

use crate::graph::Problem;
use crate::history::NONE;
use crate::terms::{Edge, Node, PUT, View, WRITE};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How many nodes to start from when looking for a short cycle.
const STARTS_MAX: usize = 256;

/// After so many steps a cycle is short enough.
const STEPS_MAX: usize = 2_000_000;

/// Successors of each node, in one array.
#[derive(Debug)]
pub(crate) struct Successors {
    start: Vec<u32>,
    nodes: Vec<Node>,
}

impl Successors {
    pub(crate) fn of(problem: &Problem, extra: &[Edge]) -> Self {
        let nodes = problem.nodes();
        // Each start is one place too far to the right until the filling has moved it to where the next one begins.
        let mut start = Vec::with_capacity(nodes + 2);
        start.extend([0, 0]);
        start.extend_from_slice(&problem.followers);
        extra.iter().for_each(|&(from, _)| start[from as usize + 2] += 1);
        for node in 0..nodes {
            start[node + 2] += start[node + 1];
        }
        let mut all = vec![0; start[nodes + 1] as usize];
        for_each_edge(problem, extra, |from, to| {
            let next = &mut start[from as usize + 1];
            all[*next as usize] = to;
            *next += 1;
        });
        Self { start, nodes: all }
    }

    pub(crate) fn of_node(&self, node: Node) -> &[Node] {
        &self.nodes[self.start[node as usize] as usize..self.start[node as usize + 1] as usize]
    }
}

pub(crate) fn for_each_edge(problem: &Problem, extra: &[Edge], mut edge: impl FnMut(Node, Node)) {
    for node in (0..problem.nodes() as Node).filter(|&node| problem.is_head(node)) {
        problem.lineage.before(node).iter().for_each(|&before| edge(before, node));
        problem.shown_by_all(node).iter().for_each(|&before| edge(before, node));
    }
    for &(from, to) in extra {
        edge(from, to);
    }
}

/// A topological order: empty when the nodes' numbers are one, or the nodes on and behind cycles.
pub(crate) fn sorted(problem: &Problem, extra: &[Edge]) -> Result<Vec<Node>, Vec<bool>> {
    if problem.is_ascending && extra.iter().all(|(from, to)| from < to) {
        return Ok(Vec::new());
    }
    let nodes = problem.nodes();
    let successors = Successors::of(problem, extra);
    let mut missing = indegrees(problem, extra);
    let heads = || (0..nodes as Node).filter(|&node| problem.is_head(node));
    let mut order: Vec<Node> = heads().filter(|&node| missing[node as usize] == 0).collect();
    let mut at = 0;
    while let Some(&node) = order.get(at) {
        at += 1;
        for &next in successors.of_node(node) {
            missing[next as usize] -= 1;
            if missing[next as usize] == 0 {
                order.push(next);
            }
        }
    }
    let is_whole = missing.iter().all(|&count| count == 0);
    if is_whole { Ok(order) } else { Err(missing.iter().map(|&count| count > 0).collect()) }
}

/// The place of each node in a topological order that follows the numbers of nodes wherever it may; nothing where there
/// is a cycle.
pub(crate) fn natural(problem: &Problem, extra: &[Edge]) -> Option<Vec<u32>> {
    let nodes = problem.nodes();
    let successors = Successors::of(problem, extra);
    let mut missing = indegrees(problem, extra);
    let heads = (0..nodes as Node).filter(|&node| problem.is_head(node));
    let mut ready: BinaryHeap<Reverse<Node>> = heads.filter(|&node| missing[node as usize] == 0).map(Reverse).collect();
    let (mut place, mut count) = (vec![0; nodes], 0);
    while let Some(Reverse(node)) = ready.pop() {
        place[node as usize] = count;
        count += 1;
        for &next in successors.of_node(node) {
            missing[next as usize] -= 1;
            if missing[next as usize] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    missing.iter().all(|&count| count == 0).then_some(place)
}

/// How many edges lead to each node.
pub(crate) fn indegrees(problem: &Problem, extra: &[Edge]) -> Vec<u32> {
    let mut missing: Vec<u32> = (0..problem.nodes() as Node).map(|node| problem.indegree(node)).collect();
    extra.iter().for_each(|&(_, to)| missing[to as usize] += 1);
    missing
}

/// A short cycle among the nodes that no order could take.
pub(crate) fn shortest_cycle(problem: &Problem, extra: &[Edge], leftover: &[bool]) -> Vec<Node> {
    let successors = Successors::of(problem, extra);
    short_cycle(leftover, STARTS_MAX, |node| successors.of_node(node))
}

/// A cycle of each part of the graph that has cycles.
pub(crate) fn cycles(problem: &Problem) -> Vec<Vec<Node>> {
    let Err(leftover) = sorted(problem, &[]) else { return Vec::new() };
    let successors = Successors::of(problem, &[]);
    let all = (0..problem.nodes() as Node).filter(|&node| leftover[node as usize]);
    let component = components(problem.nodes(), all.clone(), |node, at| successors.of_node(node).get(at).copied());
    let of = |node: Node| component[node as usize];
    let mut starts: Vec<(Node, Node)> = all.map(|node| (of(node), node)).collect();
    starts.sort_unstable();
    starts.dedup_by_key(|&mut (component, _)| component);
    starts.into_iter().filter_map(|(part, start)| path(&successors, start, start, |next| of(next) == part)).collect()
}

/// A cycle among these nodes, as short as a bounded search finds it; nothing where there is none. Nodes that lie behind
/// cycles and on none are not asked. There may be as many as a history has, and each would look at all of them.
pub(crate) fn short_cycle<'a>(among: &[bool], starts_max: usize, next: impl Fn(Node) -> &'a [Node]) -> Vec<Node> {
    let nodes = among.len();
    let all = (0..nodes as Node).filter(|&node| among[node as usize]);
    let component = components(nodes, all.clone(), |node, at| next(node).get(at).copied());
    let mut members = vec![0_u32; nodes];
    all.clone().for_each(|node| members[component[node as usize] as usize] += 1);
    let is_on_one = |&node: &Node| members[component[node as usize] as usize] > 1 || next(node).contains(&node);
    let (mut best, mut steps): (Vec<Node>, usize) = (Vec::new(), 0);
    let (mut came_from, mut queue) = (vec![NONE; nodes], Vec::new());
    for start in all.filter(is_on_one).take(starts_max) {
        queue.clear();
        queue.push(start);
        let mut at = 0;
        'around: while let Some(&node) = queue.get(at) {
            at += 1;
            steps += next(node).len();
            for &other in next(node) {
                if other == start {
                    let back =
                        std::iter::successors(Some(node), |&node| (node != start).then(|| came_from[node as usize]));
                    let mut cycle: Vec<Node> = back.collect();
                    cycle.reverse();
                    if best.is_empty() || cycle.len() < best.len() {
                        best = cycle;
                    }
                    break 'around;
                }
                let is_near = component[other as usize] == component[start as usize];
                if is_near && came_from[other as usize] == NONE {
                    came_from[other as usize] = node;
                    queue.push(other);
                }
            }
        }
        queue.iter().for_each(|&node| came_from[node as usize] = NONE);
        if (1..=2).contains(&best.len()) || steps > STEPS_MAX {
            break;
        }
    }
    best
}

/// A shortest path of at least one edge, with its first node and without its last.
pub(crate) fn path(successors: &Successors, from: Node, to: Node, within: impl Fn(Node) -> bool) -> Option<Vec<Node>> {
    let mut came_from = std::collections::BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for &next in successors.of_node(node) {
            if next == to {
                let mut path = vec![node];
                let mut back = node;
                while back != from {
                    back = came_from[&back];
                    path.push(back);
                }
                path.reverse();
                return Some(path);
            }
            if within(next) && next != from && !came_from.contains_key(&next) {
                came_from.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    None
}

/// The strongly connected component of each node that is reached from these; after Tarjan, 1972. Asked for are the
/// successors of a node one by one.
pub(crate) fn components(
    nodes: usize,
    roots: impl Iterator<Item = Node>,
    next: impl Fn(Node, usize) -> Option<Node>,
) -> Vec<Node> {
    let (mut index, mut low, mut component) = (vec![NONE; nodes], vec![0_u32; nodes], vec![NONE; nodes]);
    let (mut count, mut open): (u32, Vec<Node>) = (0, Vec::new());
    for root in roots {
        if index[root as usize] != NONE {
            continue;
        }
        let mut calls = vec![(root, 0)];
        (index[root as usize], low[root as usize]) = (count, count);
        count += 1;
        open.push(root);
        while let Some(&mut (node, ref mut at)) = calls.last_mut() {
            if let Some(next) = next(node, *at) {
                *at += 1;
                if index[next as usize] == NONE {
                    (index[next as usize], low[next as usize]) = (count, count);
                    count += 1;
                    open.push(next);
                    calls.push((next, 0));
                } else if component[next as usize] == NONE {
                    low[node as usize] = low[node as usize].min(index[next as usize]);
                }
                continue;
            }
            calls.pop();
            if let Some(&(parent, _)) = calls.last() {
                low[parent as usize] = low[parent as usize].min(low[node as usize]);
            }
            if low[node as usize] == index[node as usize] {
                while let Some(member) = open.pop() {
                    component[member as usize] = node;
                    if member == node {
                        break;
                    }
                }
            }
        }
    }
    component
}

/// How many ends of chains a node remembers.
const CARRIED_MAX: usize = 6;

/// Ends of chains in the past of a node: chain and position of the last write that it knows of.
type Carried = [(u32, u32); CARRIED_MAX];

/// What the nodes carry that a node is still to follow; the others' places are given to new ones.
struct Ends {
    carried: Vec<Carried>,
    place: Vec<u32>,
    uses: Vec<u32>,
    free: Vec<u32>,
}

impl Ends {
    fn new(problem: &Problem) -> Self {
        let place = vec![NONE; problem.nodes()];
        Self { carried: Vec::new(), place, uses: problem.followers.clone(), free: Vec::new() }
    }

    /// What a node that is being followed carries.
    fn use_of(&mut self, node: Node) -> &Carried {
        let place = self.place[node as usize];
        self.uses[node as usize] -= 1;
        if self.uses[node as usize] == 0 {
            self.free.push(place);
        }
        &self.carried[place as usize]
    }

    fn put(&mut self, node: Node, carried: Carried) {
        if self.uses[node as usize] == 0 {
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.carried.push(carried);
            self.carried.len() as u32 - 1
        });
        self.carried[place as usize] = carried;
        self.place[node as usize] = place;
    }
}

/// The puts that no chain needs: no write follows them, and no event can have met one without naming it.
fn loose(problem: &Problem) -> Vec<bool> {
    let mut met: Vec<u32> = Vec::new();
    for node in (0..problem.nodes() as Node).filter(|&node| problem.view(node) == View::Alive) {
        met.push(problem.key[node as usize]);
    }
    met.sort_unstable();
    met.dedup();
    let is_named = |node: Node| met.is_empty() || met.binary_search(&problem.key[node as usize]).is_err();
    let needs_none = |node: Node| !problem.is(node, WRITE) || problem.is(node, PUT) && is_named(node);
    let loose = |node: Node| {
        problem.followers[node as usize] == 0 && problem.writes(node) && problem.parts(node).all(needs_none)
    };
    (0..problem.nodes() as Node).map(loose).collect()
}

/// Covers the writes with chains, greedily: a write continues a chain that ends in its past, its session's first. So
/// sessions are chains, and clients that ask once, or drop their tokens, share them. Reads stand in no chain, because
/// a chain that ended in a read could never be continued by a client that had not been there. Nor do puts that no write
/// follows, and a delete that no write follows begins a chain: either would end the chain of its session. Writes of one
/// origin, which the graph orders, are a chain of their own.
pub(crate) fn cover(problem: &mut Problem, origins: &[u32]) {
    let nodes = problem.nodes();
    problem.chain = vec![NONE; nodes];
    problem.position = vec![0; nodes];
    let named = |node: Node| origins.get(node as usize).copied().filter(|&origin| origin != NONE);
    let count = origins.iter().filter(|&&origin| origin != NONE).max().map_or(0, |&last| last as usize + 1);
    let mut lengths: Vec<u32> = vec![0; count];
    let mut ends = Ends::new(problem);
    let loose = loose(problem);
    let order = std::mem::take(&mut problem.order);
    let plain = if order.is_empty() { nodes as Node } else { 0 };
    for node in (0..plain).chain(order.iter().copied()) {
        if !problem.is_head(node) {
            continue;
        }
        let mut known = [(NONE, 0); CARRIED_MAX];
        let mut count = 0;
        for before in problem.predecessors(node) {
            for &(chain, position) in ends.use_of(before).iter().take_while(|&&(chain, _)| chain != NONE) {
                // An end that was continued elsewhere is no end any more.
                let is_end = lengths[chain as usize] == position + 1;
                if is_end && count < CARRIED_MAX && !known[..count].contains(&(chain, position)) {
                    known[count] = (chain, position);
                    count += 1;
                }
            }
        }
        if let Some(chain) = named(node).filter(|_| !loose[node as usize]) {
            put(problem, node, (chain, lengths[chain as usize]));
            lengths[chain as usize] += 1;
        } else if problem.writes(node) && !loose[node as usize] {
            let chain = match known[0] {
                (chain, _) if chain == NONE || problem.followers[node as usize] == 0 => {
                    lengths.push(0);
                    lengths.len() as u32 - 1
                }
                (chain, _) => chain,
            };
            put(problem, node, (chain, lengths[chain as usize]));
            known[0] = (chain, lengths[chain as usize]);
            lengths[chain as usize] += 1;
        }
        ends.put(node, known);
    }
    problem.order = order;
    let mut start = vec![0_u32; lengths.len() + 1];
    for (chain, &length) in lengths.iter().enumerate() {
        start[chain + 1] = start[chain] + length;
    }
    let mut chain_nodes = vec![0; start[lengths.len()] as usize];
    for node in (0..nodes).filter(|&node| problem.chain[node] != NONE && problem.is_head(node as Node)) {
        chain_nodes[(start[problem.chain[node] as usize] + problem.position[node]) as usize] = node as Node;
    }
    (problem.chain_start, problem.chain_nodes) = (start, chain_nodes);
}

/// Gives an event its place in a chain.
fn put(problem: &mut Problem, head: Node, place: (u32, u32)) {
    for part in problem.parts(head) {
        (problem.chain[part as usize], problem.position[part as usize]) = place;
    }
}

#[cfg(test)]
mod tests {
    use super::short_cycle;

    /// A path of many nodes leads to a circle of four with a short cut; from the path none leads back.
    #[test]
    fn a_cycle_is_found_however_many_nodes_lie_before_it() {
        let path = 200_000;
        let mut next: Vec<Vec<u32>> = (0..path).map(|node| vec![node + 1]).collect();
        next.extend([vec![path + 1], vec![path + 2, path + 3], vec![path + 3], vec![path]]);
        let found = short_cycle(&vec![true; next.len()], 64, |node| &next[node as usize]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|&node| node >= path && node != path + 2), "{found:?}");
        let open: Vec<Vec<u32>> = (1..9).map(|node| if node < 8 { vec![node] } else { vec![] }).collect();
        assert!(short_cycle(&[true; 8], 64, |node| &open[node as usize]).is_empty());
    }
}
