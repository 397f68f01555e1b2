//! What two replicas' states become when they are merged, as a value. So a test can check on real states that partners,
//! order and repetition of merges do not matter (INV-9, STATE-2, REQ-7).

use super::Replica;
use crate::causal_context::CausalContext;
use crate::data::Key;
use crate::identity::Incarnation;
use crate::rules::Rules;
use crate::siblings::Siblings;
use crate::store::merged;
use crate::view::View;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// A replica's data, what it covers, and its view.
#[derive(Debug, Clone)]
pub struct State {
    /// By key.
    keys: Vec<(Key, Siblings)>,
    context: CausalContext,
    /// Shared, because views hardly ever differ and states are merged many times.
    view: Arc<View>,
}

impl State {
    /// Both states together, by the same rules as an installed state and a view that is heard of. Costs O(keys).
    #[must_use]
    pub fn merge<R: Rules>(&self, rules: &R, other: &Self) -> Self {
        let mut keys = Vec::with_capacity(self.keys.len().max(other.keys.len()));
        let absent = Siblings::new();
        let (mut ours, mut others) = (self.keys.iter().peekable(), other.keys.iter().peekable());
        loop {
            let order = match (ours.peek(), others.peek()) {
                (Some((mine, _)), Some((theirs, _))) => mine.cmp(theirs),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let mine = if order.is_le() { ours.next() } else { None };
            let theirs = if order.is_ge() { others.next() } else { None };
            let Some((key, _)) = mine.or(theirs) else { break };
            let [mine, theirs] = [mine, theirs].map(|one| one.map_or(&absent, |(_, siblings)| siblings));
            let offered = theirs.iter().map(|sibling| (sibling.dot, Some(sibling)));
            let both = merged(rules, (mine, &self.context), (offered, &other.context));
            if !both.is_empty() {
                keys.push((key.clone(), both));
            }
        }
        let mut context = self.context.clone();
        context.learn_all(other.context.records());
        context.join(other.context.vector());
        let mut view = self.view.clone();
        let counter = |mine, theirs| rules.merge_counter(mine, theirs);
        if !view.absorbs(&other.view, counter) {
            Arc::make_mut(&mut view).merge_by(other.view.records(), counter);
        }
        Self { keys, context, view }
    }

    /// Every event covered, retired incarnations included: an incarnation may be implied by one dot here and by another
    /// there.
    fn coverage(&self) -> BTreeMap<Incarnation, u64> {
        let records = self.context.records().map(|(incarnation, _)| incarnation);
        let incarnations = self.context.vector().entries().map(|(incarnation, _)| incarnation).chain(records);
        incarnations
            .map(|incarnation| (incarnation, self.context.counter(incarnation)))
            .filter(|&(_, counter)| counter > 0)
            .collect()
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let same_coverage = || self.context == other.context || self.coverage() == other.coverage();
        self.keys == other.keys && self.view == other.view && same_coverage()
    }
}

impl<R: Rules> Replica<R> {
    /// Its present state, copied. Costs O(keys).
    #[must_use]
    pub fn state(&self) -> State {
        let mut keys: Vec<_> = self.shown().map(|(key, siblings)| (key.clone(), siblings.into_owned())).collect();
        keys.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        State { keys, context: self.data.context().clone(), view: Arc::new(self.membership.view().clone()) }
    }

    /// The rules that it goes by.
    #[must_use]
    pub const fn rules(&self) -> &R {
        &self.rules
    }
}
