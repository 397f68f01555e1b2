//! One vector per event: how far into each chain of writes its past reaches.
//!
//! Rows of writes are kept, because every question is about them; rows of other events are freed, or handed on, after
//! their last use. A cell is as small as the longest chain allows.

use super::history::NONE;
use super::problem::{Edge, Node, Problem, WRITE};

/// A cell of a row.
pub(crate) trait Cell: Copy + Ord + Default {
    fn of(count: u32) -> Self;
    fn count(self) -> u32;
}

macro_rules! cell {
    ($kind:ty) => {
        impl Cell for $kind {
            fn of(count: u32) -> Self {
                count as Self
            }
            fn count(self) -> u32 {
                u32::from(self)
            }
        }
    };
}
cell!(u8);
cell!(u16);
cell!(u32);

/// All rows of one pass.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    width: usize,
    cells: Vec<T>,
    slot: Vec<u32>,
    free: Vec<u32>,
    /// How often each node's row is still to be joined into another.
    uses: Vec<u32>,
}

impl<T: Cell> Rows<T> {
    pub(crate) fn new(problem: &Problem, extra: &[Edge]) -> Self {
        let width = problem.chains();
        let mut uses = vec![0; problem.nodes()];
        super::order::for_each_edge(problem, extra, |from, _| uses[from as usize] += 1);
        Self { width, cells: Vec::new(), slot: vec![NONE; problem.nodes()], free: Vec::new(), uses }
    }

    pub(crate) fn row(&self, node: Node) -> &[T] {
        let start = self.slot[node as usize] as usize * self.width;
        &self.cells[start..start + self.width]
    }

    /// Whether the write `a` is before the write `b`.
    pub(crate) fn before(&self, problem: &Problem, a: Node, b: Node) -> bool {
        let (chain, position) = (problem.chain[a as usize] as usize, problem.position[a as usize]);
        a != b && self.cells[self.slot[b as usize] as usize * self.width + chain].count() > position
    }

    /// Begins the row of a node: the join of the rows before it.
    pub(crate) fn open(&mut self, problem: &Problem, node: Node, extra: impl Iterator<Item = Node> + Clone) {
        let before = || problem.predecessors(node).chain(extra.clone());
        // A row that nobody else needs is taken over instead of copied.
        let heir = before().find(|&other| self.uses[other as usize] == 1 && !problem.is(other, WRITE));
        let slot = match heir {
            Some(other) => self.slot[other as usize],
            None => self.fresh(before().next()),
        };
        self.slot[node as usize] = slot;
        for (at, other) in before().enumerate() {
            let other_slot = self.slot[other as usize];
            if other_slot != slot && (at > 0 || heir.is_some()) {
                self.join(slot, other_slot);
            }
        }
        for other in before() {
            self.uses[other as usize] -= 1;
            if self.uses[other as usize] == 0 && !problem.is(other, WRITE) && self.slot[other as usize] != slot {
                self.free.push(self.slot[other as usize]);
            }
        }
    }

    fn fresh(&mut self, copied: Option<Node>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.cells.len() / self.width;
            self.cells.resize((slot + 1) * self.width, T::default());
            slot as u32
        });
        let start = slot as usize * self.width;
        match copied {
            Some(other) => {
                let from = self.slot[other as usize] as usize * self.width;
                self.cells.copy_within(from..from + self.width, start);
            }
            None => self.cells[start..start + self.width].fill(T::default()),
        }
        slot
    }

    fn join(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize * self.width, from as usize * self.width);
        let (low, high) = self.cells.split_at_mut(into.max(from));
        let (target, source) = if into < from {
            (&mut low[into..into + self.width], &high[..self.width])
        } else {
            (&mut high[..self.width], &low[from..from + self.width])
        };
        for (cell, &other) in target.iter_mut().zip(source) {
            *cell = (*cell).max(other);
        }
    }

    /// Ends the row of a node: a write itself is in it from now on.
    pub(crate) fn close(&mut self, problem: &Problem, node: Node) {
        if problem.is(node, WRITE) {
            let (chain, position) = (problem.chain[node as usize] as usize, problem.position[node as usize]);
            let start = self.slot[node as usize] as usize * self.width;
            self.cells[start + chain] = T::of(position + 1);
        } else if self.uses[node as usize] == 0 {
            self.free.push(self.slot[node as usize]);
        }
    }
}
