//! The live versions of every key, in memory, with a digest that is kept up to date.
//!
//! Invariants kept here: a key is present exactly when it has a version; an absent key takes no memory. The digest is
//! a sum over live versions, so equal stores have equal digests whatever the order of events.
//!
//! Installing a whole state flips one field. What came waits in a layer; whoever touches a key merges that key first,
//! and the rest is folded in by later slices, so no step ever costs more than a bounded number of keys.

use crate::covered::Covered;
use crate::data::Key;
use crate::message::Version;
use crate::rules::Rules;
use crate::siblings::{Sibling, Siblings};
use crate::vector::Dot;
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

/// Key to live versions.
#[derive(Debug, Clone, Default)]
pub struct Store {
    keys: BTreeMap<Key, Siblings>,
    digest: u64,
    bytes: u64,
    incoming: Option<Incoming>,
}

/// A state that was installed and is not folded in yet.
#[derive(Debug, Clone)]
struct Incoming {
    theirs: BTreeMap<Key, Vec<Version>>,
    /// What was covered here when it was installed.
    my_past: Covered,
    /// What that state covers.
    their_past: Covered,
    /// The last key folded in by a slice; keys up to it are done.
    folded: Option<Key>,
    /// Keys beyond `folded` that were touched and are done.
    touched: BTreeSet<Key>,
}

static ABSENT: Siblings = Siblings::new();

impl Store {
    /// The versions of this key, winner first; none when it is absent.
    #[must_use]
    pub fn siblings(&self, key: &Key) -> &Siblings {
        debug_assert!(!self.is_layered(key), "a key is folded in before it is read");
        self.keys.get(key).unwrap_or(&ABSENT)
    }

    /// How many keys are present; while a state is folded in, as many as are already.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is no key present?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.incoming.is_none()
    }

    /// The sum over all live versions of a hash of their dots: a dot determines key and value. None while a state is
    /// folded in.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        self.incoming.is_none().then_some(self.digest)
    }

    /// Bytes of all live versions: key and value of each, and 64 of bookkeeping.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Every key with its versions, by key, whatever is folded in: for oracles and tests.
    pub fn shown<R: Rules>(&self, rules: &R) -> impl Iterator<Item = (&Key, Cow<'_, Siblings>)> {
        let layered = self.incoming.iter().flat_map(|incoming| incoming.theirs.keys());
        let layered = layered.filter(|key| !self.keys.contains_key(*key));
        let present = self.keys.keys().chain(layered);
        present.map(|key| (key, self.shown_of(rules, key))).filter(|(_, siblings)| !siblings.is_empty())
    }

    /// The versions of this key, whatever is folded in.
    pub fn shown_of<R: Rules>(&self, rules: &R, key: &Key) -> Cow<'_, Siblings> {
        let mine = self.keys.get(key).unwrap_or(&ABSENT);
        match &self.incoming {
            Some(incoming) if self.is_layered(key) => Cow::Owned(incoming.merged(rules, key, mine)),
            Some(_) | None => Cow::Borrowed(mine),
        }
    }

    /// Keys after `after`, in order, with their versions. Nothing may be waiting to be folded in.
    pub(crate) fn after(&self, after: Option<&Key>) -> impl Iterator<Item = (&Key, &Siblings)> {
        debug_assert!(self.incoming.is_none(), "a state is supplied only when it is whole");
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range::<Key, _>((from, Bound::Unbounded))
    }

    /// Removes these versions of a key and adds that one.
    pub(crate) fn write(&mut self, key: &Key, superseded: &[Dot], add: Option<Sibling>) {
        self.change(key, |siblings| {
            if !superseded.is_empty() {
                siblings.retain(|sibling| !superseded.contains(&sibling.dot));
            }
            if let Some(sibling) = add {
                siblings.insert(sibling);
            }
        });
    }

    /// Replaces the versions of a key by these.
    pub(crate) fn set(&mut self, key: &Key, siblings: Siblings) {
        self.change(key, |present| *present = siblings);
    }

    /// A state that covers `their_past` is in force from now on, merged with what is covered here.
    ///
    /// # Panics
    /// If another one is still being folded in.
    pub(crate) fn install(&mut self, theirs: BTreeMap<Key, Vec<Version>>, my_past: Covered, their_past: Covered) {
        assert!(self.incoming.is_none(), "one state is folded in before the next is fetched");
        self.incoming = Some(Incoming { theirs, my_past, their_past, folded: None, touched: BTreeSet::new() });
    }

    /// Is a state still being folded in?
    pub(crate) const fn is_folding(&self) -> bool {
        self.incoming.is_some()
    }

    /// Folds in this key, so that it can be read and written.
    pub(crate) fn touch<R: Rules>(&mut self, rules: &R, key: &Key) {
        if self.is_layered(key) {
            self.fold_key(rules, key);
            if let Some(incoming) = &mut self.incoming {
                incoming.touched.insert(key.clone());
            }
        }
    }

    /// Folds in up to `keys_max` keys. Says how many.
    pub(crate) fn fold<R: Rules>(&mut self, rules: &R, keys_max: usize) -> usize {
        for count in 0..keys_max {
            let Some(incoming) = &self.incoming else { return count };
            let from = incoming.folded.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let mine = self.keys.range::<Key, _>((from, Bound::Unbounded)).next().map(|(key, _)| key);
            let theirs = incoming.theirs.first_key_value().map(|(key, _)| key);
            let next = match (mine, theirs) {
                (Some(mine), Some(theirs)) => mine.min(theirs).clone(),
                (Some(key), None) | (None, Some(key)) => key.clone(),
                (None, None) => {
                    self.incoming = None;
                    return count;
                }
            };
            if self.is_layered(&next) {
                self.fold_key(rules, &next);
            }
            if let Some(incoming) = &mut self.incoming {
                incoming.touched.remove(&next);
                incoming.theirs.remove(&next);
                incoming.folded = Some(next);
            }
        }
        keys_max
    }

    fn is_layered(&self, key: &Key) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| {
            incoming.folded.as_ref().is_none_or(|folded| folded < key) && !incoming.touched.contains(key)
        })
    }

    fn fold_key<R: Rules>(&mut self, rules: &R, key: &Key) {
        let Some(incoming) = &mut self.incoming else { return };
        let mine = self.keys.get(key).unwrap_or(&ABSENT);
        let merged = incoming.merged(rules, key, mine);
        incoming.theirs.remove(key);
        self.set(key, merged);
    }

    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Siblings)) {
        if let Some(siblings) = self.keys.get_mut(key) {
            let (digest, bytes) = weigh(key, siblings);
            change(siblings);
            let (digest_now, bytes_now) = weigh(key, siblings);
            self.digest = self.digest.wrapping_sub(digest).wrapping_add(digest_now);
            self.bytes = self.bytes - bytes + bytes_now;
            if siblings.is_empty() {
                self.keys.remove(key);
            }
        } else {
            let mut siblings = Siblings::new();
            change(&mut siblings);
            if !siblings.is_empty() {
                let (digest, bytes) = weigh(key, &siblings);
                self.digest = self.digest.wrapping_add(digest);
                self.bytes += bytes;
                self.keys.insert(key.clone(), siblings);
            }
        }
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants(&self) {
        let (mut digest, mut bytes) = (0_u64, 0);
        for (key, siblings) in &self.keys {
            assert!(!siblings.is_empty(), "key {key:?} is present without a version");
            let ranks = siblings.as_slice().windows(2).all(|pair| pair[0].rank() > pair[1].rank());
            assert!(ranks, "versions of {key:?} are out of order: {siblings:?}");
            let (a, b) = weigh(key, siblings);
            digest = digest.wrapping_add(a);
            bytes += b;
        }
        assert_eq!((digest, bytes), (self.digest, self.bytes), "digest and bytes follow the versions");
    }
}

impl Incoming {
    /// A version stays if both sides have it, or if the side that lacks it does not cover it: absent and covered means
    /// deleted.
    fn merged<R: Rules>(&self, rules: &R, key: &Key, mine: &Siblings) -> Siblings {
        let theirs = self.theirs.get(key).map_or(&[][..], Vec::as_slice);
        let have = |dot| theirs.iter().any(|version| version.dot() == dot);
        let kept = mine.iter().filter(|s| rules.survives(s, have(s.dot), &self.their_past));
        let whole = theirs.iter().filter_map(|version| match version {
            Version::Whole(sibling) => Some(sibling),
            Version::Known(_) => None,
        });
        let taken = whole.filter(|s| rules.survives(s, mine.contains(s.dot), &self.my_past));
        kept.chain(taken).cloned().collect()
    }
}

fn weigh(key: &Key, siblings: &Siblings) -> (u64, u64) {
    siblings.iter().fold((0, 0), |(digest, bytes), sibling| {
        let size = 64 + key.as_str().len() + sibling.value.as_bytes().len();
        (digest.wrapping_add(mix(sibling.dot)), bytes + size as u64)
    })
}

/// The finalizer of SplitMix64 (Steele et al., 2014) over both halves of a dot.
const fn mix(dot: Dot) -> u64 {
    let mut x = dot.incarnation.0 ^ dot.counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
