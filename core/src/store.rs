//! The live versions of every key, in memory, with a digest that is kept up to date (REQ-7, ID-3, BATCH-1,
//! WATCH-2).
//!
//! Invariants kept here: a key is present exactly when it has a version; an absent key takes no memory. The digest is
//! a sum over live versions, so equal stores have equal digests whatever the order of events.
//!
//! Installing a whole state flips one field. What came waits as a pending merge. Code that touches a key merges that
//! key first, and later slices merge the rest in. So no step ever costs more than a bounded number of keys. Until then
//! the keys that are not merged yet stand in the first slots of the table.

use crate::causal_context::CausalContext;
use crate::data::Key;
use crate::message::Version;
use crate::ordered::{ORDERED_COSTS, Ordered};
use crate::rules::{Rule, Rules};
use crate::siblings::{Sibling, Siblings};
use crate::table::{HashKey, Place, Table};
use crate::vector::Dot;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use smallvec::SmallVec;

/// Key to live versions.
#[derive(Debug, Clone)]
pub struct Store {
    keys: Table<Siblings>,
    digest: u64,
    bytes: u64,
    incoming: Option<Incoming>,
    index: Index,
    /// Keys that changed when they were merged in, while somebody asks for them.
    merged: Option<Vec<Key>>,
}

/// The keys in order, for lists (LIST-4).
#[derive(Debug, Clone, Default)]
struct Index {
    keys: Ordered,
    state: Indexed,
}

/// How far the index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Indexed {
    /// There is none. What is left of a former one is given back in slices.
    #[default]
    Not,
    /// The keys in the slots from this one on are in it.
    From(usize),
    /// Every key is in it.
    All,
}

/// The versions of a key in a transfer: nearly always one.
pub(crate) type Offered = SmallVec<[Version; 1]>;

/// A state that was installed and is not merged in yet.
#[derive(Debug, Clone)]
struct Incoming {
    /// What is not merged yet.
    theirs: Table<Offered>,
    /// The keys in the slots below this one are not merged yet.
    unmerged: usize,
    /// What was covered here when it was installed.
    my_past: CausalContext,
    /// What that state covers.
    their_past: CausalContext,
}

/// Units of work to give back a chunk of keys that stand in order.
const FREED_CHUNK_COSTS: usize = 16;

static ABSENT: Siblings = Siblings::new();

impl Store {
    pub(crate) const fn new(hash_key: HashKey) -> Self {
        Self { keys: Table::new(hash_key), digest: 0, bytes: 0, incoming: None, index: Index::new(), merged: None }
    }

    /// How many keys are present; while a state is merged in, as many as are already.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is no key present?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.len() == 0 && self.incoming.is_none()
    }

    /// The sum over all live versions of a hash of their keys, dots and stamps: key and dot determine the value. None
    /// while a state is merged in.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        self.incoming.is_none().then_some(self.digest)
    }

    /// Bytes of all live versions: key and value of each, and 64 of bookkeeping.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every key with its versions, whatever is merged in: for oracles and tests. In the same order wherever the same
    /// happened.
    pub fn shown<R: Rules>(&self, rules: &R) -> impl Iterator<Item = (&Key, Cow<'_, Siblings>)> {
        let unmerged = self.incoming.iter().flat_map(|incoming| incoming.theirs.iter().map(|(key, _)| key));
        let unmerged = unmerged.filter(|key| self.keys.get(key).is_none()).map(|key| (key, &ABSENT));
        let present = self.keys.iter().map(|(key, mine)| (key, mine)).chain(unmerged);
        let shown = present.map(move |(key, mine)| match &self.incoming {
            Some(_) => (key, self.shown_of(rules, key)),
            None => (key, Cow::Borrowed(mine)),
        });
        shown.filter(|(_, siblings)| !siblings.is_empty())
    }

    /// The versions of this key, whatever is merged in.
    pub fn shown_of<R: Rules>(&self, rules: &R, key: &Key) -> Cow<'_, Siblings> {
        let place = self.keys.find(key);
        let mine = self.siblings(place);
        match &self.incoming {
            Some(incoming) if incoming.holds(key, place) => Cow::Owned(incoming.merged(rules, key, mine)),
            Some(_) | None => Cow::Borrowed(mine),
        }
    }

    /// Where this key is, merged in, so that it can be read and written. Holds until a key is touched or written.
    pub(crate) fn touch<R: Rules>(&mut self, rules: &R, key: &Key) -> Place {
        let place = self.keys.find(key);
        match &self.incoming {
            Some(incoming) if incoming.holds(key, place) => {
                self.merge_key(rules, key, place);
                self.keys.find(key)
            }
            Some(_) | None => place,
        }
    }

    /// The same of several keys.
    pub(crate) fn touch_all<'a, R: Rules>(
        &mut self,
        rules: &R,
        keys: impl Iterator<Item = &'a Key> + Clone,
    ) -> Vec<Place> {
        if self.is_merging() {
            keys.clone().for_each(|key| _ = self.touch(rules, key));
        }
        keys.map(|key| self.keys.find(key)).collect()
    }

    /// The versions at this place, winner first; none where a key is absent.
    pub(crate) fn siblings(&self, place: Place) -> &Siblings {
        match place {
            Place::Slot(slot) => &self.keys.at(slot).1,
            Place::Absent(_) => &ABSENT,
        }
    }

    /// Where this key is.
    pub(crate) fn find(&self, key: &Key) -> Place {
        self.keys.find(key)
    }

    /// The key in this slot and its versions. Nothing may be waiting to be merged in.
    pub(crate) fn at(&self, slot: usize) -> &(Key, Siblings) {
        assert!(self.incoming.is_none(), "a state is supplied only when it is whole");
        self.keys.at(slot)
    }

    /// Removes these versions of a key and adds that one.
    pub(crate) fn write<R: Rules>(
        &mut self,
        rules: &R,
        (key, place): (&Key, Place),
        superseded: &[Dot],
        add: Option<Sibling>,
    ) {
        self.change(rules, key, place, |siblings| {
            if !superseded.is_empty() {
                siblings.retain(|sibling| !superseded.contains(&sibling.dot));
            }
            if let Some(sibling) = add {
                siblings.insert(sibling);
            }
        });
    }

    /// A state that covers `their_past` is in force from now on, merged with what is covered here.
    ///
    /// # Panics
    /// If another one is still being merged in.
    pub(crate) fn install(&mut self, theirs: Table<Offered>, my_past: CausalContext, their_past: CausalContext) {
        assert!(self.incoming.is_none(), "one state is folded in before the next is fetched");
        self.incoming = Some(Incoming { theirs, unmerged: self.keys.len(), my_past, their_past });
        if self.index.state != Indexed::All {
            self.index.restart(); // keys change their slots while they are merged in
        }
    }

    /// Is every key in order, so that lists can be answered?
    pub(crate) fn is_indexed(&self) -> bool {
        self.index.state == Indexed::All
    }

    /// Puts up to so many keys in order; restarted by an install. Says how many. Nothing may be waiting to be merged in.
    pub(crate) fn index_step(&mut self, keys_max: usize) -> usize {
        assert!(self.incoming.is_none(), "keys keep their slots while they are put in order");
        let from = match self.index.state {
            Indexed::All => return 0,
            Indexed::Not => self.keys.len(),
            Indexed::From(slot) => slot.min(self.keys.len()),
        };
        if self.has_dropped_index() {
            return self.free_index(keys_max);
        }
        let to = from.saturating_sub(keys_max);
        for slot in (to..from).rev() {
            self.index.keys.insert(&self.keys.at(slot).0);
        }
        self.index.state = if to == 0 { Indexed::All } else { Indexed::From(to) };
        from - to
    }

    /// Bytes that keys in order take; of those that are given back, none.
    pub(crate) fn index_bytes(&self) -> u64 {
        if self.index.state == Indexed::Not { 0 } else { ORDERED_COSTS * self.index.keys.len() as u64 }
    }

    /// Bytes that it would take now, with every key in it.
    pub(crate) fn whole_index_bytes(&self) -> u64 {
        ORDERED_COSTS * self.keys.len() as u64
    }

    /// No list is answered from it any more.
    pub(crate) const fn drop_index(&mut self) {
        self.index.state = Indexed::Not;
    }

    /// Is something left of an index that is not needed any more?
    pub(crate) fn has_dropped_index(&self) -> bool {
        self.index.state == Indexed::Not && self.index.keys.len() > 0
    }

    /// Gives back a part of it, for up to so many units of work. Says how many.
    pub(crate) fn free_index(&mut self, units_max: usize) -> usize {
        let mut units = 0;
        while units + FREED_CHUNK_COSTS <= units_max && self.has_dropped_index() {
            self.index.keys.free_chunk();
            units += FREED_CHUNK_COSTS;
        }
        units
    }

    /// The keys at or above this text, ascending, each with its versions. Every key must be in order.
    pub(crate) fn ascending(&self, from: &str) -> impl Iterator<Item = (&Key, &Siblings)> {
        self.index.keys.ascending(from).map(|key| (key, self.siblings(self.find(key))))
    }

    /// The keys below this text, or all, descending, each with its versions. Every key must be in order.
    pub(crate) fn descending(&self, below: Option<&str>) -> impl Iterator<Item = (&Key, &Siblings)> {
        self.index.keys.descending(below).map(|key| (key, self.siblings(self.find(key))))
    }

    /// Whether keys that change when they are merged in are to be named.
    pub(crate) fn note_merged(&mut self, noted: bool) {
        match (noted, &self.merged) {
            (true, None) => self.merged = Some(Vec::new()),
            (false, Some(_)) => self.merged = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The keys that changed so since.
    #[inline]
    pub(crate) fn take_merged(&mut self) -> Vec<Key> {
        self.merged.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// Keys of a state that are not merged in yet.
    pub(crate) fn incoming(&self) -> usize {
        self.incoming.as_ref().map_or(0, |incoming| incoming.theirs.len())
    }

    /// Is a state still being merged in?
    pub(crate) const fn is_merging(&self) -> bool {
        self.incoming.is_some()
    }

    /// Folds in up to `keys_max` keys. Says how many.
    pub(crate) fn merge_step<R: Rules>(&mut self, rules: &R, keys_max: usize) -> usize {
        for count in 0..keys_max {
            let Some(incoming) = &self.incoming else { return count };
            let next = match (incoming.unmerged, incoming.theirs.len()) {
                (0, 0) => {
                    self.incoming = None;
                    return count;
                }
                (0, left) => &incoming.theirs.at(left - 1).0,
                (unmerged, _) => &self.keys.at(unmerged - 1).0,
            };
            let key = next.clone();
            self.merge_key(rules, &key, self.keys.find(&key));
        }
        keys_max
    }

    fn merge_key<R: Rules>(&mut self, rules: &R, key: &Key, mut place: Place) {
        let Some(incoming) = &mut self.incoming else { return };
        let mine = match place {
            Place::Slot(slot) => &self.keys.at(slot).1,
            Place::Absent(_) => &ABSENT,
        };
        let merged = incoming.merged(rules, key, mine);
        if let Some(noted) = &mut self.merged
            && merged != *mine
        {
            noted.push(key.clone());
        }
        if let Place::Slot(slot) = incoming.theirs.find(key) {
            incoming.theirs.remove(slot);
        }
        if let Place::Slot(slot) = &mut place
            && *slot < incoming.unmerged
        {
            incoming.unmerged -= 1;
            self.keys.swap(*slot, incoming.unmerged);
            *slot = incoming.unmerged;
            assert!(*slot < self.keys.len(), "slots that are not merged are slots");
        }
        self.change(rules, key, place, |present| *present = merged);
        if !rules.follows(Rule::OrdersInstalledKeys) {
            self.index.remove(key);
        }
    }

    fn change<R: Rules>(&mut self, rules: &R, key: &Key, place: Place, change: impl FnOnce(&mut Siblings)) {
        match place {
            Place::Slot(slot) => {
                let (_, siblings) = self.keys.at_mut(slot);
                let name = name_of(key);
                let (digest, bytes) = weigh(name, key, siblings);
                change(siblings);
                let (digest_now, bytes_now) = weigh(name, key, siblings);
                self.digest = self.digest.wrapping_sub(digest).wrapping_add(digest_now);
                self.bytes = self.bytes - bytes + bytes_now;
                if siblings.is_empty() {
                    if rules.follows(Rule::TakesRemovedOut) {
                        self.index.remove(key);
                    }
                    self.keys.remove(slot);
                }
                assert_eq!(self.keys.len() == 0, self.bytes == 0, "a store without keys holds nothing");
            }
            Place::Absent(hash) => {
                let mut siblings = Siblings::new();
                change(&mut siblings);
                if !siblings.is_empty() {
                    let (digest, bytes) = weigh(name_of(key), key, &siblings);
                    self.digest = self.digest.wrapping_add(digest);
                    self.bytes += bytes;
                    self.keys.insert(key.clone(), hash, siblings);
                    self.index.insert(key);
                }
            }
        }
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants<R: Rules>(&self, rules: &R) {
        let (mut digest, mut bytes) = (0_u64, 0);
        for (key, siblings) in self.keys.iter() {
            assert!(!siblings.is_empty(), "key {key:?} is present without a version");
            let ranks = siblings.as_slice().windows(2).all(|pair| pair[0].rank() > pair[1].rank());
            assert!(ranks, "versions of {key:?} are out of order: {siblings:?}");
            let (a, b) = weigh(name_of(key), key, siblings);
            digest = digest.wrapping_add(a);
            bytes += b;
        }
        assert_eq!((digest, bytes), (self.digest, self.bytes), "digest and bytes follow the versions");
        self.keys.check_invariants();
        self.index.keys.check_invariants();
        let is_indexed = |(key, _): &(Key, _)| self.index.keys.ascending(key.as_str()).next() == Some(key);
        let exact = rules.follows(Rule::OrdersInstalledKeys) && rules.follows(Rule::TakesRemovedOut);
        match self.index.state {
            Indexed::All if exact => {
                assert_eq!(self.index.keys.len(), self.keys.len(), "what is in order is there");
                assert!(self.keys.iter().all(is_indexed), "every key is in order");
            }
            Indexed::From(from) if exact => {
                assert!(self.keys.iter().skip(from).all(is_indexed), "keys from {from} on are in order");
            }
            Indexed::All | Indexed::From(_) | Indexed::Not => {}
        }
        if let Some(incoming) = &self.incoming {
            assert!(incoming.unmerged <= self.keys.len(), "slots that are not merged are slots");
            incoming.theirs.check_invariants();
        }
    }
}

impl Index {
    const fn new() -> Self {
        Self { keys: Ordered::new(), state: Indexed::Not }
    }

    /// A key came.
    #[inline]
    fn insert(&mut self, key: &Key) {
        if self.state != Indexed::Not {
            self.keys.insert(key);
        }
    }

    /// A key went.
    #[inline]
    fn remove(&mut self, key: &Key) {
        if self.state != Indexed::Not {
            self.keys.remove(key);
        }
    }

    /// It is begun anew, with what is in it: keys that are in it are in it.
    const fn restart(&mut self) {
        if matches!(self.state, Indexed::From(_)) {
            self.state = Indexed::From(usize::MAX);
        }
    }
}

impl Incoming {
    /// Is there something of this key that is not merged yet?
    fn holds(&self, key: &Key, mine: Place) -> bool {
        matches!(mine, Place::Slot(slot) if slot < self.unmerged) || self.theirs.get(key).is_some()
    }

    /// A version stays if both sides have it, or if the side that lacks it does not cover it: absent and covered means
    /// deleted.
    fn merged<R: Rules>(&self, rules: &R, key: &Key, mine: &Siblings) -> Siblings {
        let theirs = self.theirs.get(key).map_or(&[][..], |offered| offered.as_slice());
        let theirs = theirs.iter().map(|version| (version.dot(), version.whole()));
        merged(rules, (mine, &self.my_past), (theirs, &self.their_past))
    }
}

/// The versions of one key on both sides, each with what that side covers. Of theirs only some may be whole.
pub(crate) fn merged<'a, R: Rules>(
    rules: &R,
    (mine, my_past): (&Siblings, &CausalContext),
    (theirs, their_past): (impl Iterator<Item = (Dot, Option<&'a Sibling>)> + Clone, &CausalContext),
) -> Siblings {
    let have = |dot| theirs.clone().any(|(their, _)| their == dot);
    let kept = mine.iter().filter(|s| rules.survives(s, have(s.dot), their_past));
    let whole = theirs.clone().filter_map(|(_, sibling)| sibling);
    let taken = whole.filter(|s| rules.survives(s, mine.contains(s.dot), my_past));
    kept.chain(taken).cloned().collect()
}

fn weigh(name: u64, key: &Key, siblings: &Siblings) -> (u64, u64) {
    siblings.iter().fold((0, 0), |(digest, bytes), sibling| {
        let size = 64 + key.as_str().len() + sibling.value.as_bytes().len();
        (digest.wrapping_add(mix(name, sibling)), bytes + size as u64)
    })
}

/// A hash of a key that is the same everywhere, over all its bytes: keys mostly differ in the middle.
#[inline]
fn name_of(key: &Key) -> u64 {
    let bytes = key.as_str().as_bytes();
    let (words, rest) = bytes.as_chunks::<8>();
    let last = rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let add = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0xa24b_aed4_963e_e407);
    words.chain([last]).fold(bytes.len() as u64, add)
}

/// A value's length, its first eight bytes and its last: what all of it would cost, each write would pay twice.
fn ends(value: &[u8]) -> u64 {
    let ends = match (value.first_chunk(), value.last_chunk()) {
        (Some(head), Some(tail)) => u64::from_le_bytes(*head) ^ u64::from_le_bytes(*tail).rotate_left(32),
        _ => value.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    ends ^ (value.len() as u64).rotate_left(48)
}

/// The finalizer of SplitMix64 (Steele et al., 2014) over the key, both halves of a dot, its stamp and the value's ends.
/// The key tells the versions of one batch apart. The ends tell two writes apart that bear one name because a memory
/// image was copied. Where clocks stand, the stamps are equal, too.
fn mix(name: u64, sibling: &Sibling) -> u64 {
    let Dot { incarnation, counter } = sibling.dot;
    let mut x = incarnation.0 ^ counter.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sibling.hlc.0.rotate_left(20);
    x ^= name ^ ends(sibling.value.as_bytes()).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
