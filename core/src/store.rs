//! The live versions of every key, in memory, with a digest that is kept up to date.
//!
//! Invariant kept here: a key is present exactly when it has a version; an absent key takes no memory. The
//! digest is a sum over live versions, so equal stores have equal digests whatever the order of events.

use crate::data::Key;
use crate::siblings::{Sibling, Siblings};
use crate::vector::Dot;
use alloc::collections::BTreeMap;

/// Key to live versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    keys: BTreeMap<Key, Siblings>,
    digest: u64,
    bytes: u64,
}

static ABSENT: Siblings = Siblings::new();

impl Store {
    /// The versions of this key, winner first; none when it is absent.
    #[must_use]
    pub fn siblings(&self, key: &Key) -> &Siblings {
        self.keys.get(key).unwrap_or(&ABSENT)
    }

    /// Every present key with its versions, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Siblings)> {
        self.keys.iter()
    }

    /// How many keys are present.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Is no key present?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The sum over all live versions of a hash of their dots. A dot determines key and value.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Bytes of all live versions: key and value of each, and 64 of bookkeeping.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
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
