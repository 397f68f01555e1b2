//! A map from keys to things, for as many keys as there is memory. One lookup costs the same at ten keys and at ten
//! million. No step costs more than a bounded number of keys.
//!
//! Invariants kept here: the things stand close together in slots `0..len`. Their order depends on nothing but the
//! sequence of insertions and removals. So a walk over the slots does the same on every machine. The index finds a
//! key's slot by a hash that is keyed with the replica's own randomness (SipHash-1-3; Aumasson and Bernstein, 2012). So
//! clients cannot choose keys that collide. It is made of many small tables, of which one at a time is split or merged
//! (linear hashing; Litwin, 1980). So growth never rehashes everything at once, and what is deleted gives its memory
//! back.

use crate::data::Key;
use alloc::vec::Vec;
use hashbrown::HashTable;
use hashbrown::hash_table::{AbsentEntry, OccupiedEntry};
use siphasher::sip::SipHasher13;

/// Keys per part of the index, on average, above which one more is made. Merged below a quarter of it.
const PART_KEYS: usize = 128;

/// Slots that are allocated together. More waste memory at the end, fewer cost an allocation more often.
const CHUNK_SLOTS: usize = 256;

/// What the hash is keyed with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HashKey(pub(crate) u64, pub(crate) u64);

/// Where a key is, or its hash where it is not. Holds until something is inserted, removed or swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In this slot.
    Slot(usize),
    /// Nowhere.
    Absent(u64),
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Table<T> {
    hash_key: HashKey,
    parts: Vec<HashTable<u32>>,
    chunks: Vec<Vec<(Key, T)>>,
    len: usize,
}

impl<T> Table<T> {
    /// An empty one; it takes no memory.
    pub(crate) const fn new(hash_key: HashKey) -> Self {
        Self { hash_key, parts: Vec::new(), chunks: Vec::new(), len: 0 }
    }

    /// How many keys are in it.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Where this key is.
    pub(crate) fn find(&self, key: &Key) -> Place {
        let hash = self.hash(key);
        if self.parts.is_empty() {
            return Place::Absent(hash);
        }
        let part = &self.parts[part_of(hash, self.parts.len())];
        match part.find(hash, |&slot| self.at(slot as usize).0 == *key) {
            Some(&slot) => Place::Slot(slot as usize),
            None => Place::Absent(hash),
        }
    }

    /// What stands under this key.
    pub(crate) fn get(&self, key: &Key) -> Option<&T> {
        match self.find(key) {
            Place::Slot(slot) => Some(&self.at(slot).1),
            Place::Absent(_) => None,
        }
    }

    /// The key in this slot, and what stands under it.
    pub(crate) fn at(&self, slot: usize) -> &(Key, T) {
        &self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS]
    }

    /// The same, to change what stands under the key.
    pub(crate) fn at_mut(&mut self, slot: usize) -> (&Key, &mut T) {
        let (key, thing) = &mut self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS];
        (key, thing)
    }

    /// Every key with what stands under it, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Key, T)> {
        self.chunks.iter().flatten()
    }

    /// Adds a key that is absent and has this hash, in the last slot. Says which one that is.
    pub(crate) fn insert(&mut self, key: Key, hash: u64, thing: T) -> usize {
        let slot = self.len;
        let number = u32::try_from(slot).expect("four billion keys do not fit the memory of a machine");
        if slot.is_multiple_of(CHUNK_SLOTS) {
            // The first chunk grows as it fills, for the sake of small stores.
            self.chunks.push(if slot == 0 { Vec::new() } else { Vec::with_capacity(CHUNK_SLOTS) });
        }
        self.chunks.last_mut().expect("one was pushed above, or has room").push((key, thing));
        self.len += 1;
        if self.len > self.parts.len() * PART_KEYS {
            self.split();
        }
        let part = part_of(hash, self.parts.len());
        let (hash_key, chunks) = (self.hash_key, &self.chunks);
        self.parts[part].insert_unique(hash, number, |&slot| hash_of(hash_key, chunks, slot));
        slot
    }

    /// Takes out the key in this slot. The last one moves there.
    pub(crate) fn remove(&mut self, slot: usize) -> (Key, T) {
        let last = self.len - 1;
        self.cell(slot).expect("every slot has its cell").remove();
        if slot != last {
            *self.cell(last).expect("every slot has its cell").get_mut() = slot as u32;
        }
        let chunk = self.chunks.last_mut().expect("there is a last slot");
        let mut taken = chunk.pop().expect("it has a last slot");
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.len = last;
        if slot != last {
            core::mem::swap(&mut self.chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS], &mut taken);
        }
        if last == 0 {
            (self.parts, self.chunks) = (Vec::new(), Vec::new());
        } else if last < (self.parts.len() - 1) * (PART_KEYS / 4) {
            self.merge();
        }
        taken
    }

    /// What was in the slots, in the pieces that were allocated together: to give it back piece by piece.
    pub(crate) fn into_chunks(self) -> Vec<Vec<(Key, T)>> {
        self.chunks
    }

    /// Exchanges what is in two slots.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        let [first, second] = [one, other].map(|slot| self.hash(&self.at(slot).0));
        for (hash, from, to) in [(first, one as u32, UNDER_WAY), (second, other as u32, one as u32)] {
            self.renumber(hash, from, to);
        }
        self.renumber(first, UNDER_WAY, other as u32);
        let [(chunk, at), (other_chunk, other_at)] = [one, other].map(|slot| (slot / CHUNK_SLOTS, slot % CHUNK_SLOTS));
        if chunk == other_chunk {
            self.chunks[chunk].swap(at, other_at);
        } else if let Ok([one, other]) = self.chunks.get_disjoint_mut([chunk, other_chunk]) {
            core::mem::swap(&mut one[at], &mut other[other_at]);
        }
    }

    fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        let part = part_of(hash, self.parts.len());
        *self.parts[part].find_mut(hash, |&slot| slot == from).expect("every slot has its cell") = to;
    }

    /// The cell of the index that names this slot.
    fn cell(&mut self, slot: usize) -> Result<OccupiedEntry<'_, u32>, AbsentEntry<'_, u32>> {
        let hash = self.hash(&self.at(slot).0);
        let part = part_of(hash, self.parts.len());
        self.parts[part].find_entry(hash, |&number| number as usize == slot)
    }

    /// One part more: it takes from one other what belongs to it.
    fn split(&mut self) {
        let number = self.parts.len();
        self.parts.push(HashTable::new());
        let Some(from) = parent_of(number) else { return };
        let (hash_key, chunks) = (self.hash_key, &self.chunks);
        let hash = |&slot: &u32| hash_of(hash_key, chunks, slot);
        let both = core::mem::take(&mut self.parts[from]);
        let room = both.len() / 2 + both.len() / 8;
        let mut halves = [HashTable::with_capacity(room), HashTable::with_capacity(room)];
        for slot in both {
            let hashed = hash(&slot);
            let half = usize::from(part_of(hashed, number + 1) == number);
            halves[half].insert_unique(hashed, slot, hash);
        }
        [self.parts[from], self.parts[number]] = halves;
    }

    /// One part less: its cells go back to where they came from.
    fn merge(&mut self) {
        let Some(part) = self.parts.pop() else { return };
        let Some(to) = parent_of(self.parts.len()) else { return };
        let (hash_key, chunks) = (self.hash_key, &self.chunks);
        let hash = |&slot: &u32| hash_of(hash_key, chunks, slot);
        for slot in part {
            self.parts[to].insert_unique(hash(&slot), slot, hash);
        }
        if self.parts.capacity() > 4 * self.parts.len() {
            self.parts.shrink_to(2 * self.parts.len());
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    fn hash(&self, key: &Key) -> u64 {
        hash(self.hash_key, key)
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.len, self.chunks.iter().map(Vec::len).sum::<usize>(), "count of slots");
        assert_eq!(self.len, self.parts.iter().map(HashTable::len).sum::<usize>(), "count of cells");
        for (slot, (key, _)) in self.iter().enumerate() {
            assert_eq!(self.find(key), Place::Slot(slot), "the index finds {key:?}");
        }
    }
}

/// Stands for a slot's number while two are exchanged.
const UNDER_WAY: u32 = u32::MAX;

fn hash(HashKey(first, second): HashKey, key: &Key) -> u64 {
    SipHasher13::new_with_keys(first, second).hash(key.as_str().as_bytes())
}

fn hash_of<T>(hash_key: HashKey, chunks: &[Vec<(Key, T)>], slot: u32) -> u64 {
    let slot = slot as usize;
    hash(hash_key, &chunks[slot / CHUNK_SLOTS][slot % CHUNK_SLOTS].0)
}

/// The part of so many that holds this hash. The tables use its lowest and its highest bits, so it uses others.
const fn part_of(hash: u64, parts: usize) -> usize {
    let mask = parts.next_power_of_two() - 1;
    let part = (hash >> 24) as usize & mask;
    if part < parts { part } else { part & (mask >> 1) }
}

/// The part that holds the hashes of this one while there is no such part.
const fn parent_of(part: usize) -> Option<usize> {
    match part.checked_ilog2() {
        Some(bit) => Some(part - (1 << bit)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use proptest::prelude::*;

    fn key(n: u16) -> Key {
        Key::new(&format!("k{n}")).expect("a key")
    }

    proptest! {
        /// Against a map and a vector: the same keys, the same things, the same slots.
        #[test]
        fn agrees_with_a_map(steps in proptest::collection::vec((0..3_u8, 0..1_500_u16, any::<u16>()), 0..4_000)) {
            let mut table = Table::new(HashKey(1, 2));
            let (mut map, mut slots) = (BTreeMap::new(), Vec::new());
            for (n, (step, number, other)) in steps.into_iter().enumerate() {
                let key = key(number);
                match (step, table.find(&key)) {
                    (0 | 1, Place::Absent(hash)) => {
                        prop_assert!(!map.contains_key(&number));
                        prop_assert_eq!(table.insert(key, hash, n), slots.len());
                        map.insert(number, n);
                        slots.push(number);
                    }
                    (0, Place::Slot(slot)) => {
                        prop_assert_eq!((slots[slot], table.at(slot).1), (number, map[&number]));
                        *table.at_mut(slot).1 = n;
                        map.insert(number, n);
                    }
                    (1, Place::Slot(slot)) => {
                        let other = usize::from(other) % slots.len();
                        table.swap(slot, other);
                        slots.swap(slot, other);
                    }
                    (_, Place::Slot(slot)) => {
                        prop_assert_eq!(table.remove(slot), (key, map.remove(&number).expect("present")));
                        slots.swap_remove(slot);
                    }
                    (_, Place::Absent(_)) => prop_assert_eq!(table.get(&key), None),
                }
            }
            table.check_invariants();
            let shown: Vec<_> = table.iter().map(|(key, thing)| (key.clone(), *thing)).collect();
            prop_assert_eq!(shown, slots.iter().map(|number| (self::key(*number), map[number])).collect::<Vec<_>>());
        }
    }

    #[test]
    fn grows_and_shrinks_evenly() {
        let mut table = Table::new(HashKey(1, 2));
        for n in 0..20_000 {
            let Place::Absent(hash) = table.find(&key(n)) else { panic!("{n} is there") };
            table.insert(key(n), hash, n);
            assert_eq!(table.parts.len(), table.len().div_ceil(PART_KEYS));
        }
        let longest = table.parts.iter().map(HashTable::len).max();
        assert!(longest < Some(4 * PART_KEYS), "{longest:?}");
        table.check_invariants();
        for n in 0..20_000 {
            let Place::Slot(slot) = table.find(&key(n)) else { panic!("{n} is not there") };
            table.remove(slot);
        }
        assert_eq!((table.parts.len(), table.chunks.len(), table.chunks.capacity()), (0, 0, 0));
    }
}
