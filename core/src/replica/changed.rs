//! Keys of one watched range that changed, in the order of their last change (WATCH-5).
//!
//! Invariants kept here: a key stands once, under the number of its last change. Each change above `floor` that some
//! watch of the range may lack is there.

use crate::data::Key;
use alloc::collections::BTreeMap;

/// Bytes of a key that stands here beside those of its text.
const ENTRY_BYTES: usize = 96;

#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    by_number: BTreeMap<u64, Key>,
    numbers: BTreeMap<Key, u64>,
    floor: u64,
}

impl Changed {
    /// A key changed. Numbers rise.
    pub(super) fn note(&mut self, key: &Key, number: u64) {
        if let Some(before) = self.numbers.insert(key.clone(), number) {
            self.by_number.remove(&before);
        }
        self.by_number.insert(number, key.clone());
        assert_eq!(self.by_number.len(), self.numbers.len(), "a key stands once");
    }

    /// The keys that changed after this number, each with that of its last change.
    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = (u64, &Key)> {
        self.by_number.range(number.saturating_add(1)..).map(|(&number, key)| (number, key))
    }

    /// What changed up to this number was told to all. Returns the bytes that go.
    pub(super) fn drop_through(&mut self, number: u64) -> usize {
        let mut bytes = 0;
        while let Some(first) = self.by_number.first_entry().filter(|first| *first.key() <= number) {
            let key = first.remove();
            self.numbers.remove(&key);
            bytes += entry_bytes(&key);
        }
        bytes
    }

    /// Gives up the oldest, though some watch may lack it. Returns the bytes that go.
    pub(super) fn drop_oldest(&mut self) -> usize {
        let Some((number, key)) = self.by_number.pop_first() else { return 0 };
        self.numbers.remove(&key);
        self.floor = number;
        entry_bytes(&key)
    }

    /// Changes up to this number may have been given up.
    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of the newest change that is there, or was given up; 0 for none.
    pub(super) fn newest(&self) -> u64 {
        self.by_number.last_key_value().map_or(self.floor, |(&number, _)| number)
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.numbers.keys().map(entry_bytes).sum()
    }
}

/// Bytes that a key takes here.
pub(super) fn entry_bytes(key: &Key) -> usize {
    ENTRY_BYTES + 2 * key.as_str().len()
}
