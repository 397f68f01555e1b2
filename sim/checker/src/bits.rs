//! Sets of write events as flat words: what the oracles count in.
//!
//! Every event of a run has a small number. So a set is a few words, and "is all of this in that" is a few
//! instructions. Rows of one table have one width, chosen once per run.

/// Rows of equally wide sets in one allocation.
#[derive(Debug, Clone)]
pub struct Table {
    width: usize,
    words: Vec<u64>,
}

impl Table {
    /// No rows yet, each to hold numbers below `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { width: capacity.div_ceil(64).max(1), words: Vec::new() }
    }

    /// Adds an empty row and returns its place.
    pub fn push(&mut self) -> usize {
        self.words.resize(self.words.len() + self.width, 0);
        self.words.len() / self.width - 1
    }

    /// Adds a copy of these words as a row and returns its place.
    pub fn push_copy(&mut self, of: &[u64]) -> usize {
        self.words.extend_from_slice(&of[..self.width]);
        self.words.len() / self.width - 1
    }

    /// A row.
    #[must_use]
    pub fn row(&self, at: usize) -> &[u64] {
        &self.words[at * self.width..][..self.width]
    }

    /// A row, to change.
    pub fn row_mut(&mut self, at: usize) -> &mut [u64] {
        &mut self.words[at * self.width..][..self.width]
    }

    /// Puts all of one row into another.
    pub fn join(&mut self, into: usize, from: usize) {
        let (into, from) = (into * self.width, from * self.width);
        for at in 0..self.width {
            self.words[into + at] |= self.words[from + at];
        }
    }

    /// An empty set as wide as a row.
    #[must_use]
    pub fn empty(&self) -> Vec<u64> {
        vec![0; self.width]
    }
}

/// Is this number in the set?
#[must_use]
pub fn has(set: &[u64], number: usize) -> bool {
    set[number / 64] >> (number % 64) & 1 == 1
}

/// Puts a number into the set.
pub fn put(set: &mut [u64], number: usize) {
    set[number / 64] |= 1 << (number % 64);
}

/// Puts all of `other` into the set.
pub fn join(set: &mut [u64], other: &[u64]) {
    set.iter_mut().zip(other).for_each(|(word, more)| *word |= more);
}

/// Is all of `part` in `whole`?
#[must_use]
pub fn within(part: &[u64], whole: &[u64]) -> bool {
    part.iter().zip(whole).all(|(part, whole)| part & !whole == 0)
}

/// The numbers in the set, in order.
pub fn numbers(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(at, &word)| in_word(at, word))
}

fn in_word(at: usize, mut left: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(at * 64 + bit)
    })
}

/// The numbers in both sets, in order.
pub fn both<'a>(one: &'a [u64], other: &'a [u64]) -> impl Iterator<Item = usize> + 'a {
    one.iter().zip(other).enumerate().flat_map(|(at, (one, other))| in_word(at, one & other))
}

/// The numbers in `whole` that are not in `part`, in order.
pub fn lacking(part: &[u64], whole: &[u64]) -> Vec<usize> {
    let rest: Vec<u64> = whole.iter().zip(part).map(|(whole, part)| whole & !part).collect();
    numbers(&rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sets() {
        let mut table = Table::new(130);
        let (a, b) = (table.push(), table.push());
        for n in [0, 63, 64, 129] {
            put(table.row_mut(a), n);
        }
        put(table.row_mut(b), 64);
        assert_eq!(numbers(table.row(a)).collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert!(within(table.row(b), table.row(a)) && !within(table.row(a), table.row(b)));
        assert_eq!(lacking(table.row(b), table.row(a)), [0, 63, 129]);
        assert_eq!(both(table.row(b), table.row(a)).collect::<Vec<_>>(), [64]);
        let copy = table.row(a).to_vec();
        let c = table.push_copy(&copy);
        table.join(b, a);
        assert!(table.row(b) == table.row(c) && has(table.row(b), 129) && !has(table.row(b), 1));
    }
}
