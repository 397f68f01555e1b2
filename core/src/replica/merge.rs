//! What two replicas' states become when they are merged, as a value: so that it can be checked, on states that really
//! occur, that it does not matter who merges whom, in what order, how often (protocol, invariant 9).

use super::Replica;
use crate::covered::Covered;
use crate::data::Key;
use crate::identity::Incarnation;
use crate::message::Version;
use crate::rules::Rules;
use crate::siblings::Siblings;
use crate::store::merged;
use crate::view::View;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A replica's data, what it covers, and its view.
#[derive(Debug, Clone)]
pub struct State {
    keys: BTreeMap<Key, Siblings>,
    covered: Covered,
    view: View,
}

impl State {
    /// Both states together, by the same rules as an installed state and a view that is heard of. Costs O(keys).
    #[must_use]
    pub fn merge<R: Rules>(&self, rules: &R, other: &Self) -> Self {
        let names: BTreeSet<&Key> = self.keys.keys().chain(other.keys.keys()).collect();
        let absent = Siblings::new();
        let keys = names.into_iter().filter_map(|key| {
            let mine = self.keys.get(key).unwrap_or(&absent);
            let theirs: Vec<_> = other.keys.get(key).into_iter().flatten().cloned().map(Version::Whole).collect();
            let both = merged(rules, (mine, &self.covered), (&theirs, &other.covered));
            (!both.is_empty()).then(|| (key.clone(), both))
        });
        let mut covered = self.covered.clone();
        covered.learn_all(other.covered.rows());
        covered.join(other.covered.vector());
        let mut view = self.view.clone();
        view.merge_by(other.view.rows(), |mine, theirs| rules.merge_counter(mine, theirs));
        Self { keys: keys.collect(), covered, view }
    }

    /// Every event covered, retired lives included: a life may be implied by one dot here and by another there.
    fn coverage(&self) -> BTreeMap<Incarnation, u64> {
        let rows = self.covered.rows().map(|(life, _)| life);
        let lives = self.covered.vector().entries().map(|(life, _)| life).chain(rows);
        lives.map(|life| (life, self.covered.counter(life))).filter(|&(_, counter)| counter > 0).collect()
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys && self.view == other.view && self.coverage() == other.coverage()
    }
}

impl<R: Rules> Replica<R> {
    /// Its present state, copied. Costs O(keys).
    #[must_use]
    pub fn state(&self) -> State {
        let keys = self.shown().map(|(key, siblings)| (key.clone(), siblings.into_owned())).collect();
        State { keys, covered: self.covered.clone(), view: self.view.clone() }
    }

    /// The rules that it goes by.
    #[must_use]
    pub const fn rules(&self) -> &R {
        &self.rules
    }
}
