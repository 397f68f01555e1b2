//! One vector per event: how far into each chain of writes its past reaches.
//!
//! Rows of writes that a node follows are kept, because every question is about them. Other rows are freed, or handed
//! on, after their last use. A cell is as small as the longest chain allows. Rows are made of pages, which they share
//! until one of them changes. So thousands of sessions that know the same about most of the others stay cheap.

use crate::graph::Problem;
use crate::history::NONE;
use crate::terms::{Edge, Node, step};

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

/// Cells in a page, where there are that many chains.
const PAGE_MAX: usize = 64;

/// The page of rows that know nothing; it is never written.
const BLANK: u32 = 0;

/// All rows of one pass.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    /// Cells in a page, a power of two.
    page: usize,
    /// Which.
    shift: u32,
    /// Pages in a row.
    pages: usize,
    cells: Vec<T>,
    /// How many rows have each page.
    sharers: Vec<u32>,
    free_pages: Vec<u32>,
    /// The pages of each row.
    table: Vec<u32>,
    free_rows: Vec<u32>,
    /// The row of each node.
    slot: Vec<u32>,
    /// How often each node's row is still to be joined into another.
    uses: Vec<u32>,
}

impl<T: Cell> Rows<T> {
    pub(crate) fn new(problem: &Problem, extra: &[Edge]) -> Self {
        let page = problem.chains().next_power_of_two().min(PAGE_MAX);
        let mut uses = problem.followers.clone();
        extra.iter().for_each(|&(from, _)| uses[from as usize] += 1);
        Self {
            page,
            shift: page.trailing_zeros(),
            pages: problem.chains().div_ceil(page),
            cells: vec![T::default(); page],
            sharers: vec![0],
            free_pages: Vec::new(),
            table: Vec::new(),
            free_rows: Vec::new(),
            slot: vec![NONE; problem.nodes()],
            uses,
        }
    }

    /// How far into a chain the past of a node reaches.
    pub(crate) fn cell(&self, node: Node, chain: u32) -> T {
        step();
        let page = self.table[self.slot[node as usize] as usize * self.pages + (chain >> self.shift) as usize];
        self.cells[self.place(page, chain)]
    }

    /// Where the cell of a chain lies in a page.
    const fn place(&self, page: u32, chain: u32) -> usize {
        ((page as usize) << self.shift) + (chain as usize & (self.page - 1))
    }

    /// Whether the write `a` is before the write `b`, which a node follows. Parts of one batch are not before each other.
    pub(crate) fn before(&self, problem: &Problem, a: Node, b: Node) -> bool {
        let chain = problem.chain[a as usize];
        chain != NONE && self.cell(b, chain).count() > problem.position[a as usize] && !problem.is_one(a, b)
    }

    /// Begins the row of an event: the join of the rows before it.
    pub(crate) fn open(&mut self, problem: &Problem, node: Node, extra: impl Iterator<Item = Node> + Clone) {
        let before = problem.predecessors(node).chain(extra);
        // A row that no other node needs is taken over instead of copied.
        let heir = before.clone().find(|&other| self.uses[other as usize] == 1 && !problem.is_kept(other));
        let slot = match heir {
            Some(other) => self.slot[other as usize],
            None => self.fresh(before.clone().next()),
        };
        problem.parts(node).for_each(|part| self.slot[part as usize] = slot);
        before.for_each(|other| {
            let other_slot = self.slot[other as usize];
            if other_slot != slot {
                self.join(slot, other_slot);
            }
            self.uses[other as usize] -= 1;
            if self.uses[other as usize] == 0 && !problem.is_kept(other) && other_slot != slot {
                self.release(other_slot);
            }
        });
    }

    /// A row that shares all its pages with another, or is blank.
    fn fresh(&mut self, copied: Option<Node>) -> u32 {
        let slot = self.free_rows.pop().unwrap_or_else(|| {
            let slot = self.table.len() / self.pages;
            self.table.resize((slot + 1) * self.pages, BLANK);
            slot as u32
        });
        let start = slot as usize * self.pages;
        match copied {
            Some(other) => {
                let from = self.slot[other as usize] as usize * self.pages;
                for at in 0..self.pages {
                    let page = self.table[from + at];
                    self.sharers[page as usize] += 1;
                    self.table[start + at] = page;
                }
            }
            None => self.table[start..start + self.pages].fill(BLANK),
        }
        slot
    }

    fn release(&mut self, slot: u32) {
        let start = slot as usize * self.pages;
        for at in start..start + self.pages {
            self.drop_page(self.table[at]);
        }
        self.free_rows.push(slot);
    }

    fn drop_page(&mut self, page: u32) {
        if page != BLANK {
            self.sharers[page as usize] -= 1;
            if self.sharers[page as usize] == 0 {
                self.free_pages.push(page);
            }
        }
    }

    fn join(&mut self, into: u32, from: u32) {
        let (into, from) = (into as usize * self.pages, from as usize * self.pages);
        for at in 0..self.pages {
            let (mine, theirs) = (self.table[into + at], self.table[from + at]);
            if mine == theirs || theirs == BLANK {
                continue;
            }
            let (own, other) = (self.page_of(mine), self.page_of(theirs));
            let ahead = own.iter().zip(other).any(|(own, other)| own > other);
            let behind = own.iter().zip(other).any(|(own, other)| own < other);
            if !ahead {
                self.sharers[theirs as usize] += 1;
                self.table[into + at] = theirs;
                self.drop_page(mine);
            } else if behind {
                let target = self.owned(into + at) as usize * self.page;
                let source = theirs as usize * self.page;
                for cell in 0..self.page {
                    self.cells[target + cell] = self.cells[target + cell].max(self.cells[source + cell]);
                }
            }
        }
    }

    fn page_of(&self, page: u32) -> &[T] {
        &self.cells[(page as usize) << self.shift..(page as usize + 1) << self.shift]
    }

    /// The page at this place of the table, which no other row has from now on.
    fn owned(&mut self, place: usize) -> u32 {
        let page = self.table[place];
        if page != BLANK && self.sharers[page as usize] == 1 {
            return page;
        }
        let fresh = self.free_pages.pop().unwrap_or_else(|| {
            let fresh = self.sharers.len() as u32;
            self.sharers.push(0);
            self.cells.resize(self.cells.len() + self.page, T::default());
            fresh
        });
        let from = page as usize * self.page;
        self.cells.copy_within(from..from + self.page, fresh as usize * self.page);
        self.sharers[fresh as usize] = 1;
        self.drop_page(page);
        self.table[place] = fresh;
        fresh
    }

    /// Ends the row of an event: a write itself is in it from now on.
    pub(crate) fn close(&mut self, problem: &Problem, node: Node) {
        let slot = self.slot[node as usize];
        if problem.is_kept(node) {
            let (chain, position) = (problem.chain[node as usize], problem.position[node as usize]);
            let page = self.owned(slot as usize * self.pages + (chain >> self.shift) as usize);
            let place = self.place(page, chain);
            self.cells[place] = T::of(position + 1);
        } else if self.uses[node as usize] == 0 {
            self.release(slot);
        }
    }
}
