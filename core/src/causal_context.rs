//! What a replica covers, without the entries of retired incarnations.
//!
//! An incarnation is retired by an ordinary operation whose dependency is `i: through`. So a replica that has applied
//! that operation has applied all of `i` up to there. One dot stands for the whole entry: in coverage, in tokens, in
//! dependencies (RET-1 to RET-3). Vectors and tokens stay as short as the membership.
//!
//! Invariant kept here: a record is an implication that holds everywhere; it raises coverage only where its dot is
//! covered. `vector` holds no entry that a record with a covered dot implies.

use crate::identity::Incarnation;
use crate::vector::{Dot, VersionVector};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// "A replica that covers `dot` covers the incarnation up to `through`."
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Retirement {
    /// The last counter that the record speaks of.
    pub through: u64,
    /// The retire operation.
    pub dot: Dot,
}

/// Everything applied or installed: a vector, and the records of retired incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CausalContext {
    vector: VersionVector,
    /// Shared, because an installed state is merged against what was covered at that moment for a while.
    records: Arc<BTreeMap<Incarnation, Retirement>>,
}

/// A chain of retirements is followed this far; beyond it the answer is the cautious one. Chains are kept flat.
const CHAIN_MAX: usize = 64;

impl CausalContext {
    /// The vector without the entries that records imply: what travels in messages.
    #[must_use]
    pub const fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The records of retired incarnations.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (Incarnation, Retirement)> + '_ {
        self.records.iter().map(|(&incarnation, &record)| (incarnation, record))
    }

    /// The vector as a replica that covers `known` can read it: with the entries of retired incarnations whose
    /// retirement is news there.
    #[must_use]
    pub(crate) fn expanded(&self, known: &VersionVector) -> VersionVector {
        let mut vector = self.vector.clone();
        for (&incarnation, record) in self.records.iter() {
            if self.covers(record.dot) && !self.covers_in(known, record.dot) {
                vector.raise(incarnation, record.through);
            }
        }
        vector
    }

    /// The highest counter covered of this incarnation.
    #[must_use]
    pub fn counter(&self, incarnation: Incarnation) -> u64 {
        self.counter_in(&self.vector, incarnation)
    }

    /// Is that event applied or installed?
    #[must_use]
    pub fn covers(&self, dot: Dot) -> bool {
        self.counter(dot.incarnation) >= dot.counter
    }

    /// Is all of that applied or installed?
    #[must_use]
    pub fn dominates(&self, other: &VersionVector) -> bool {
        self.missing(other).next().is_none()
    }

    /// The entries of `other` that are not covered.
    pub fn missing<'a>(&'a self, other: &'a VersionVector) -> impl Iterator<Item = (Incarnation, u64)> + 'a {
        self.vector.missing(other).filter(|&(incarnation, counter)| self.counter(incarnation) < counter)
    }

    /// The highest counter of this incarnation that a replica covers if it covers `vector`. Cautious: too low where
    /// the other side knows records that are not known here.
    #[must_use]
    pub fn counter_in(&self, vector: &VersionVector, incarnation: Incarnation) -> u64 {
        let explicit = vector.counter(incarnation);
        match self.records.get(&incarnation) {
            Some(record) if explicit < record.through && self.implied_by(vector, record.dot) => record.through,
            Some(_) | None => explicit,
        }
    }

    /// Does a replica that covers `vector` cover this dot?
    #[must_use]
    pub fn covers_in(&self, vector: &VersionVector, dot: Dot) -> bool {
        self.implied_by(vector, dot)
    }

    /// Does a replica that covers `vector` cover all of `other`?
    #[must_use]
    pub fn dominates_in(&self, vector: &VersionVector, other: &VersionVector) -> bool {
        other.entries().all(|(incarnation, counter)| self.counter_in(vector, incarnation) >= counter)
    }

    fn implied_by(&self, vector: &VersionVector, mut dot: Dot) -> bool {
        for _ in 0..CHAIN_MAX {
            if vector.covers(dot) {
                return true;
            }
            match self.records.get(&dot.incarnation) {
                Some(record) if record.through >= dot.counter => dot = record.dot,
                Some(_) | None => return false,
            }
        }
        false
    }

    /// What a replica covers that sent this vector and these records.
    pub(crate) fn of(vector: VersionVector, mut records: BTreeMap<Incarnation, Retirement>) -> Self {
        flatten(&mut records);
        Self { vector, records: Arc::new(records) }
    }

    /// Covers this dot from now on.
    pub(crate) fn join_dot(&mut self, dot: Dot) {
        self.vector.join_dot(dot);
    }

    /// Covers all of that from now on.
    pub(crate) fn join(&mut self, vector: &VersionVector) {
        self.vector.join(vector);
        self.drop_implied();
    }

    /// Learns a record. Of two for one incarnation the greater stays.
    pub(crate) fn learn(&mut self, incarnation: Incarnation, record: Retirement) {
        self.learn_all([(incarnation, record)]);
    }

    /// Learns many records at once.
    pub(crate) fn learn_all(&mut self, records: impl IntoIterator<Item = (Incarnation, Retirement)>) {
        let is_update = |(incarnation, record): &(Incarnation, Retirement)| {
            self.records.get(incarnation).is_none_or(|known| known < record)
        };
        let updates: Vec<_> = records.into_iter().filter(is_update).collect();
        if !updates.is_empty() {
            let known = Arc::make_mut(&mut self.records);
            for (incarnation, record) in updates {
                let known = known.entry(incarnation).or_insert(record);
                *known = (*known).max(record);
            }
            flatten(known);
        }
        self.drop_implied();
    }

    /// Drops the entries that records imply.
    fn drop_implied(&mut self) {
        if !self.is_compact(&self.vector) {
            let vector = &self.vector;
            self.vector =
                VersionVector::from_entries(vector.entries().filter(|&entry| !self.is_implied(vector, entry)));
        }
    }

    /// Does this vector leave out what it implies, as that of every replica does?
    #[must_use]
    pub(crate) fn is_compact(&self, vector: &VersionVector) -> bool {
        self.records.is_empty() || !vector.entries().any(|entry| self.is_implied(vector, entry))
    }

    fn is_implied(&self, vector: &VersionVector, (incarnation, counter): (Incarnation, u64)) -> bool {
        let record = self.records.get(&incarnation);
        record.is_some_and(|record| record.through >= counter && self.implied_by(vector, record.dot))
    }

    /// The same past with every entry of a retired incarnation replaced, never dropped, by the dot that implies it.
    #[must_use]
    pub fn compact<'a>(&self, past: &'a VersionVector) -> Cow<'a, VersionVector> {
        if self.records.is_empty() || !past.entries().any(|(i, n)| self.replacement(i, n).is_some()) {
            return Cow::Borrowed(past);
        }
        let mut compact = VersionVector::new();
        for (incarnation, counter) in past.entries() {
            compact.join_dot(self.resolve(Dot { incarnation, counter }));
        }
        Cow::Owned(compact)
    }

    /// This dot, or the one that implies it where its incarnation is retired.
    #[must_use]
    pub fn resolve(&self, mut dot: Dot) -> Dot {
        for _ in 0..CHAIN_MAX {
            let Some(next) = self.replacement(dot.incarnation, dot.counter) else { break };
            dot = next;
        }
        dot
    }

    fn replacement(&self, incarnation: Incarnation, counter: u64) -> Option<Dot> {
        self.records.get(&incarnation).filter(|record| record.through >= counter).map(|record| record.dot)
    }
}

/// Lets every record name the last dot of its chain. The incarnation that retired another is itself retired one day.
/// Without this, a token of an old incarnation would cost a step per restart since.
fn flatten(records: &mut BTreeMap<Incarnation, Retirement>) {
    for _ in 0..CHAIN_MAX {
        let next = |record: &Retirement| {
            let next = records.get(&record.dot.incarnation).filter(|next| next.through >= record.dot.counter);
            next.map(|next| next.dot).filter(|&dot| dot != record.dot)
        };
        let longer: Vec<_> =
            records.iter().filter_map(|(&incarnation, record)| Some((incarnation, next(record)?))).collect();
        if longer.is_empty() {
            return;
        }
        for (incarnation, dot) in longer {
            if let Some(record) = records.get_mut(&incarnation) {
                record.dot = dot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(incarnation: u64, counter: u64) -> Dot {
        Dot { incarnation: Incarnation(incarnation), counter }
    }

    #[test]
    fn a_chain_of_ten_thousand_retirements_is_one_step_long() {
        let mut context = CausalContext::default();
        let records = (1..10_000_u64).map(|n| (Incarnation(n), Retirement { through: 3, dot: dot(n + 1, 2) }));
        context.learn_all(records);
        assert_eq!(context.counter(Incarnation(1)), 0, "a row alone covers nothing");
        context.join_dot(dot(10_000, 2));
        assert_eq!(context.counter(Incarnation(1)), 3);
        assert!(context.records().all(|(_, record)| record.dot == dot(10_000, 2)));
        let past = VersionVector::from_entries([(Incarnation(5), 3), (Incarnation(7), 4)]);
        let compact = context.compact(&past).into_owned();
        let expected = VersionVector::from_entries([(Incarnation(7), 4), (Incarnation(10_000), 2)]);
        assert_eq!(compact, expected, "replaced, never dropped; what is above the row stays");
    }
}
