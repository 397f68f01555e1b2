//! Which keys were deleted from by which operations, for watches that go on (WATCH-3).
//!
//! Invariants kept here: every delete that was applied here is an entry, or is covered by `floor`. Entries stand in the
//! order in which they were applied. Their number and bytes are bounded.

use crate::causal_context::CausalContext;
use crate::data::Key;
use crate::vector::{Dot, VersionVector};
use alloc::collections::VecDeque;

/// Bytes of an entry beside those of its key.
const ENTRY_BYTES: usize = 48;

/// The floor names retired incarnations up to so many entries. Beyond them stands what implies them.
const FLOOR_MAX: usize = 1_024;

#[derive(Debug, Clone)]
pub(super) struct Deleted {
    entries: VecDeque<(Key, Dot)>,
    /// How many left at the front, ever: the number of the first that is still here.
    first: u64,
    bytes: usize,
    floor: VersionVector,
    entries_max: usize,
    bytes_max: usize,
}

impl Deleted {
    pub(super) const fn new(entries_max: usize, bytes_max: usize) -> Self {
        let floor = VersionVector::new();
        Self { entries: VecDeque::new(), first: 0, bytes: 0, floor, entries_max, bytes_max }
    }

    /// This operation deleted from this key. The oldest entries go where there are too many.
    pub(super) fn push(&mut self, key: &Key, dot: Dot, context: &CausalContext) {
        self.bytes += entry_bytes(key);
        self.entries.push_back((key.clone(), dot));
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            self.forget_some(1);
        }
        assert!(self.entries.is_empty() == (self.bytes == 0), "no entries, no bytes");
        self.shorten_floor(context);
    }

    /// Forgets some of the oldest entries, for up to so many units of work. Says how many.
    pub(super) fn forget_some(&mut self, units_max: usize) -> usize {
        for units in 0..units_max {
            let Some((key, dot)) = self.entries.pop_front() else { return units };
            self.bytes -= entry_bytes(&key);
            self.first += 1;
            self.floor.join_dot(dot);
        }
        units_max
    }

    /// Of these deletes the keys are not known.
    pub(super) fn raise_floor(&mut self, deletes: &VersionVector, context: &CausalContext) {
        self.floor.join(deletes);
        self.shorten_floor(context);
    }

    fn shorten_floor(&mut self, context: &CausalContext) {
        if self.floor.len() > FLOOR_MAX {
            self.floor = context.compact(&self.floor).into_owned();
        }
    }

    /// Every delete that is not an entry any more.
    pub(super) const fn floor(&self) -> &VersionVector {
        &self.floor
    }

    /// The number of the first entry, and of the one that comes next.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.first, self.first + self.entries.len() as u64)
    }

    /// The entries from this number on.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = &(Key, Dot)> {
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.range(at.min(self.entries.len())..)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self, context: &CausalContext) {
        assert!(self.entries.len() <= self.entries_max && self.bytes <= self.bytes_max, "deletes beyond their limit");
        assert_eq!(self.bytes, self.entries.iter().map(|(key, _)| entry_bytes(key)).sum::<usize>(), "bytes of deletes");
        assert!(context.dominates(&self.floor), "deletes that left are not covered");
        assert!(self.entries.iter().all(|&(_, dot)| context.covers(dot)), "a delete is not covered");
    }
}

fn entry_bytes(key: &Key) -> usize {
    ENTRY_BYTES + key.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;
    use alloc::format;

    fn dot(counter: u64) -> Dot {
        Dot { incarnation: Incarnation(7), counter }
    }

    #[test]
    fn the_oldest_deletes_go_and_raise_the_floor() {
        let (mut deleted, context) = (Deleted::new(3, usize::MAX), CausalContext::default());
        for n in 1..=5 {
            deleted.push(&Key::new(&format!("k{n}")).expect("a key"), dot(n), &context);
        }
        assert_eq!((deleted.range(), deleted.floor().counter(Incarnation(7))), ((2, 5), 2));
        let from = |number| deleted.from(number).map(|(_, dot)| dot.counter).collect::<alloc::vec::Vec<_>>();
        assert_eq!(from(0), [3, 4, 5]);
        assert_eq!(from(4), [5]);
        assert!(from(9).is_empty());
        assert_eq!(deleted.bytes(), 3 * (ENTRY_BYTES + 2));
    }

    #[test]
    fn bytes_bound_them_as_well() {
        let (mut deleted, context) = (Deleted::new(100, 2 * (ENTRY_BYTES + 1)), CausalContext::default());
        for n in 1..=5 {
            deleted.push(&Key::new("k").expect("a key"), dot(n), &context);
        }
        assert_eq!(deleted.range(), (3, 5));
        let mut none = Deleted::new(0, usize::MAX);
        none.push(&Key::new("k").expect("a key"), dot(1), &context);
        assert_eq!((none.range(), none.floor().counter(Incarnation(7))), ((1, 1), 1));
    }
}
