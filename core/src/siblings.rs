//! The versions of one key that are alive: usually one, several after concurrent writes (REQ-6).
//!
//! Invariant kept here: sorted by [`Sibling::rank`], greatest first, no dot twice, never empty inside a
//! store. So the winner is a pure function of the set, and equal sets are equal values.

use crate::data::Value;
use crate::hlc::Hlc;
use crate::vector::Dot;
use alloc::vec::Vec;

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The write that made it.
    pub dot: Dot,
    /// When that write was made, as a hybrid logical clock tells it.
    pub hlc: Hlc,
    /// What was written.
    pub value: Value,
}

impl Sibling {
    /// What decides among concurrent versions: the greatest wins, everywhere.
    #[must_use]
    pub const fn rank(&self) -> (Hlc, Dot) {
        (self.hlc, self.dot)
    }
}

/// The live versions of one key, winner first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Siblings(Versions);

/// One version is the rule, and then it takes no allocation of its own. No version is an empty vector: a variant for
/// it would cost eight bytes per key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Versions {
    One(Sibling),
    Many(Vec<Sibling>),
}

impl Default for Versions {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Siblings {
    /// No version: what an absent key has.
    #[must_use]
    pub const fn new() -> Self {
        Self(Versions::Many(Vec::new()))
    }

    /// The versions, winner first.
    #[must_use]
    pub fn as_slice(&self) -> &[Sibling] {
        match &self.0 {
            Versions::One(sibling) => core::slice::from_ref(sibling),
            Versions::Many(siblings) => siblings,
        }
    }

    /// The versions, winner first.
    pub fn iter(&self) -> core::slice::Iter<'_, Sibling> {
        self.as_slice().iter()
    }

    /// The version that a plain read returns.
    #[must_use]
    pub fn winner(&self) -> Option<&Sibling> {
        self.as_slice().first()
    }

    /// How many versions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Is the key absent?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Is the version with this dot among them?
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.iter().any(|sibling| sibling.dot == dot)
    }

    /// Puts a version in its place by rank. A dot that is there already stays as it is.
    pub fn insert(&mut self, sibling: Sibling) {
        if self.contains(sibling.dot) {
            return;
        }
        self.0 = match core::mem::take(&mut self.0) {
            Versions::One(only) => {
                let (first, second) = if only.rank() > sibling.rank() { (only, sibling) } else { (sibling, only) };
                Versions::Many(alloc::vec![first, second])
            }
            Versions::Many(siblings) if siblings.is_empty() => Versions::One(sibling),
            Versions::Many(mut siblings) => {
                let at = siblings.partition_point(|other| other.rank() > sibling.rank());
                siblings.insert(at, sibling);
                let ranked = siblings[at.saturating_sub(1)..].windows(2).take(2);
                assert!(ranked.into_iter().all(|pair| pair[0].rank() > pair[1].rank()), "the winner comes first");
                Versions::Many(siblings)
            }
        };
    }

    /// Keeps the versions for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&Sibling) -> bool) {
        self.0 = match core::mem::take(&mut self.0) {
            Versions::One(only) if keep(&only) => Versions::One(only),
            Versions::One(_) => Versions::default(),
            Versions::Many(mut siblings) => {
                siblings.retain(keep);
                match (siblings.len(), siblings.pop()) {
                    (1, Some(only)) => Versions::One(only),
                    (_, last) => {
                        siblings.extend(last);
                        Versions::Many(siblings)
                    }
                }
            }
        };
    }
}

impl<'a> IntoIterator for &'a Siblings {
    type Item = &'a Sibling;
    type IntoIter = core::slice::Iter<'a, Sibling>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Siblings {
    type Item = Sibling;
    type IntoIter = alloc::vec::IntoIter<Sibling>;
    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Versions::One(only) => alloc::vec![only],
            Versions::Many(siblings) => siblings,
        }
        .into_iter()
    }
}

impl FromIterator<Sibling> for Siblings {
    fn from_iter<I: IntoIterator<Item = Sibling>>(siblings: I) -> Self {
        let mut set = Self::new();
        for sibling in siblings {
            set.insert(sibling);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;

    fn version(n: u64) -> Sibling {
        // Stamps repeat, so that the dot has to decide as well.
        let dot = Dot { incarnation: Incarnation(n % 3), counter: n };
        Sibling { dot, hlc: Hlc(n / 2), value: Value::new(&n.to_be_bytes()) }
    }

    /// Every set of up to four of six versions, inserted in every order, then cut to every subset.
    #[test]
    fn small_world_exhaustively() {
        let mut orders: Vec<Vec<u64>> = alloc::vec![Vec::new()];
        for _ in 0..4 {
            let longer = orders.iter().flat_map(|order| {
                (1..=6).map(move |n| {
                    let mut next = order.clone();
                    next.push(n);
                    next
                })
            });
            orders = longer.chain(orders.iter().cloned()).collect();
        }
        for order in orders {
            let set: Siblings = order.iter().map(|&n| version(n)).collect();
            let mut expected: Vec<Sibling> = order.iter().map(|&n| version(n)).collect();
            expected.sort_by_key(|s| core::cmp::Reverse(s.rank()));
            expected.dedup();
            assert_eq!(set.as_slice(), expected);
            for kept in 0..64_u64 {
                let keep = |s: &Sibling| kept >> (s.dot.counter - 1) & 1 == 1;
                let mut cut = set.clone();
                cut.retain(keep);
                expected.iter().filter(|s| keep(s)).zip(cut.iter()).for_each(|(a, b)| assert_eq!(a, b));
                assert_eq!(cut.len(), expected.iter().filter(|s| keep(s)).count());
                assert_eq!(cut, cut.iter().cloned().collect());
            }
        }
    }
}
