//! Keys in the order of their bytes, for lists (LIST-4).
//!
//! Invariants kept here: every chunk holds 1 to [`CHUNK_KEYS`] keys, sorted. A chunk stands under a key that is at or below
//! all of its own and above all of the chunk before. So a key has one place, and a step costs one chunk at most.
//!
//! A chunk is given room for a few keys at a time. So a key takes some 20 bytes, and never a key and a half.

use crate::data::Key;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound::{Excluded, Included, Unbounded};

/// Keys that stand together. More cost more to move when one comes or goes, fewer cost more beside the keys.
const CHUNK_KEYS: usize = 128;

/// Room is added and given back for so many keys.
const ROOM_KEYS: usize = 8;

/// A chunk with fewer keys joins the next one, where both fit into three quarters of one.
const FEW_KEYS: usize = CHUNK_KEYS / 8 * 3;

/// Bytes for each key, on average at most.
pub(crate) const ORDERED_COSTS: u64 = 24;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ordered {
    chunks: BTreeMap<Key, Vec<Key>>,
    len: usize,
}

impl Ordered {
    /// No keys; it takes no memory.
    pub(crate) const fn new() -> Self {
        Self { chunks: BTreeMap::new(), len: 0 }
    }

    /// How many keys.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds a key; one that is there already stays.
    pub(crate) fn insert(&mut self, key: &Key) {
        let Some(under) = self.under(key) else {
            self.len += 1;
            // Below all others: it goes into the first chunk, which stands under it from now on.
            let mut chunk = self.chunks.pop_first().map(|(_, chunk)| chunk).unwrap_or_default();
            if chunk.len() == CHUNK_KEYS {
                let first = chunk[0].clone();
                self.chunks.insert(first, chunk);
                chunk = Vec::new();
            }
            insert_at(&mut chunk, 0, key);
            self.chunks.insert(key.clone(), chunk);
            return;
        };
        let chunk = self.chunks.get_mut(&under).expect("it was found just now");
        let Err(at) = chunk.binary_search(key) else { return };
        self.len += 1;
        if chunk.len() < CHUNK_KEYS {
            return insert_at(chunk, at, key);
        }
        if at == CHUNK_KEYS {
            // Keys that come in order leave full chunks behind.
            let mut next = Vec::new();
            insert_at(&mut next, 0, key);
            self.chunks.insert(key.clone(), next);
            return;
        }
        let mut upper = chunk.split_off(CHUNK_KEYS / 2);
        match at.checked_sub(chunk.len()) {
            Some(at) if at > 0 => insert_at(&mut upper, at, key),
            Some(_) | None => insert_at(chunk, at, key),
        }
        give_back(chunk);
        self.chunks.insert(upper[0].clone(), upper);
    }

    /// Takes a key out; one that is absent is no matter.
    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(under) = self.under(key) else { return };
        let chunk = self.chunks.get_mut(&under).expect("it was found just now");
        let Ok(at) = chunk.binary_search(key) else { return };
        self.len -= 1;
        chunk.remove(at);
        match chunk.len() {
            0 => _ = self.chunks.remove(&under),
            FEW_KEYS.. => give_back(chunk),
            few => {
                give_back(chunk);
                self.join_next(&under, few);
            }
        }
    }

    fn join_next(&mut self, under: &Key, few: usize) {
        let Some((next, more)) = self.chunks.range::<Key, _>((Excluded(under), Unbounded)).next() else { return };
        if few + more.len() > CHUNK_KEYS / 4 * 3 {
            return;
        }
        let next = next.clone();
        let more = self.chunks.remove(&next).expect("it was found just now");
        let chunk = self.chunks.get_mut(under).expect("it is joined with the next");
        chunk.reserve_exact(more.len());
        chunk.extend(more);
    }

    /// Gives back one chunk of keys that are not needed any more.
    pub(crate) fn free_chunk(&mut self) {
        self.len -= self.chunks.pop_first().map_or(0, |(_, chunk)| chunk.len());
    }

    /// The key under which the chunk stands that this key belongs to; none below all.
    fn under(&self, key: &Key) -> Option<Key> {
        self.chunks.range::<Key, _>(..=key).next_back().map(|(under, _)| under.clone())
    }

    /// The keys at or above this text, ascending.
    pub(crate) fn ascending(&self, from: &str) -> impl Iterator<Item = &Key> {
        let first = self.chunks.range::<str, _>((Unbounded, Included(from))).next_back();
        let within = first.map_or(&[][..], |(_, chunk)| &chunk[chunk.partition_point(|key| key.as_str() < from)..]);
        let above = (Excluded(from), Unbounded);
        within.iter().chain(self.chunks.range::<str, _>(above).flat_map(|(_, chunk)| chunk))
    }

    /// The keys below this text, or all, descending.
    pub(crate) fn descending(&self, below: Option<&str>) -> impl Iterator<Item = &Key> {
        let end = below.map_or(Unbounded, Excluded);
        let mut chunks = self.chunks.range::<str, _>((Unbounded, end)).rev();
        let last = chunks.next().map_or(&[][..], |(_, chunk)| {
            let end = below.map_or(chunk.len(), |below| chunk.partition_point(|key| key.as_str() < below));
            &chunk[..end]
        });
        last.iter().rev().chain(chunks.flat_map(|(_, chunk)| chunk.iter().rev()))
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.len, self.chunks.values().map(Vec::len).sum::<usize>(), "count of keys");
        assert!(self.ascending("").is_sorted_by(|one, other| one < other), "keys are in order, none twice");
        for (under, chunk) in &self.chunks {
            assert!((1..=CHUNK_KEYS).contains(&chunk.len()), "a chunk has {} keys", chunk.len());
            assert!(*under <= chunk[0], "a chunk stands under {under:?} and begins with {:?}", chunk[0]);
        }
        let ends = self.chunks.values().zip(self.chunks.keys().skip(1));
        assert!(
            ends.into_iter().all(|(chunk, next)| chunk.last() < Some(next)),
            "a key stands in the chunk before its own"
        );
    }
}

fn insert_at(chunk: &mut Vec<Key>, at: usize, key: &Key) {
    if chunk.len() == chunk.capacity() {
        chunk.reserve_exact(ROOM_KEYS);
    }
    chunk.insert(at, key.clone());
}

fn give_back(chunk: &mut Vec<Key>) {
    if chunk.capacity() > chunk.len() + 2 * ROOM_KEYS {
        chunk.shrink_to(chunk.len() + ROOM_KEYS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::format;
    use proptest::prelude::*;

    fn key(n: u32) -> Key {
        Key::new(&format!("k{n:07}")).expect("a key")
    }

    fn agrees(ordered: &Ordered, keys: &BTreeSet<Key>, from: &str) {
        ordered.check_invariants();
        assert!(ordered.ascending(from).eq(keys.iter().filter(|key| key.as_str() >= from)));
        assert!(ordered.descending(Some(from)).eq(keys.iter().rev().filter(|key| key.as_str() < from)));
        assert!(ordered.descending(None).eq(keys.iter().rev()));
        assert_eq!(ordered.len(), keys.len());
    }

    proptest! {
        /// Against a set: the same keys in the same order, from wherever one begins.
        #[test]
        fn agrees_with_a_set(
            steps in proptest::collection::vec((0..5_u8, 0..2_000_u32, 1..200_u32), 0..60),
            from in 0..2_000_u32,
        ) {
            let (mut ordered, mut keys) = (Ordered::default(), BTreeSet::new());
            for (step, number, count) in steps {
                for n in number..number + count {
                    let n = if step == 3 { 4_000 - n } else { n };
                    match step {
                        0 | 4 => { ordered.remove(&key(n)); keys.remove(&key(n)); }
                        _ => { ordered.insert(&key(n)); keys.insert(key(n)); }
                    }
                }
                agrees(&ordered, &keys, key(from).as_str());
            }
            agrees(&ordered, &keys, "");
            agrees(&ordered, &keys, "l");
            (0..=keys.len()).for_each(|_| ordered.free_chunk());
            agrees(&ordered, &BTreeSet::new(), "");
        }
    }

    /// Room beside the keys: what each chunk has, and the tree above them.
    fn bytes(ordered: &Ordered) -> f64 {
        let chunks: usize = ordered.chunks.values().map(|chunk| chunk.capacity() * size_of::<Key>() + 16).sum();
        let tree = ordered.chunks.len() * (size_of::<Key>() + size_of::<Vec<Key>>()) * 3 / 2;
        (chunks + tree) as f64 / ordered.len() as f64
    }

    #[test]
    fn a_key_takes_at_most_24_bytes() {
        let (mut random, mut rising, mut falling) = (Ordered::default(), Ordered::default(), Ordered::default());
        for n in 0..100_000_u32 {
            random.insert(&key(n.wrapping_mul(2_654_435_761) >> 8));
            rising.insert(&key(n));
            falling.insert(&key(100_000 - n));
        }
        let all = [&random, &rising, &falling].map(bytes);
        assert!(all.iter().all(|&bytes| bytes <= ORDERED_COSTS as f64), "{all:?}");
        for n in 0..100_000_u32 {
            if n % 4 > 0 {
                rising.remove(&key(n));
            }
        }
        rising.check_invariants();
        assert!(bytes(&rising) <= 1.2 * ORDERED_COSTS as f64, "{}", bytes(&rising));
    }
}
