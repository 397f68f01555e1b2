//! Serves batches (BATCH-1 to BATCH-4).
//!
//! All writes of a batch are one operation: one dot, one stamp, applied and logged in one step. So all of them or none
//! are visible, at every replica.

use super::Replica;
use super::budget::Change;
use super::requests::unmet;
use crate::op::{Dots, Effect, KeyChange, Op};
use crate::request::{Action, BatchAnswer, BatchOperation, BatchRequest, Condition, Outcome, Refusal, Reply};
use crate::rules::{Rule, Rules};
use crate::table::Place;
use crate::vector::{Dot, VersionVector};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of an outcome in an answer that waits, and of each version in it, beside those of its value.
const OUTCOME_BYTES: usize = 64;

/// The operations of a batch, each with where its key is.
type Looks<'a> = Vec<(&'a BatchOperation, Place)>;

impl<R: Rules> Replica<R> {
    /// Is a batch too large for one message? Its values travel as a whole, as those of its keys do in a state.
    pub(super) fn is_too_large(&self, batch: &BatchRequest) -> Option<Refusal> {
        let bytes_max = self.config.whole_bytes_max;
        (batch.value_bytes() > bytes_max).then_some(Refusal::BatchTooLarge { bytes_max })
    }

    pub(super) fn serve_batch(&mut self, batch: &BatchRequest) -> Reply {
        let operations = batch.operations();
        self.effects.did(operations.len());
        let places = self.data.touch_all(&self.rules, operations.iter().map(|operation| &operation.key));
        let looks: Looks<'_> = operations.iter().zip(places).collect();
        if let Some(index) = self.first_unmet(&looks) {
            return Reply::BatchFailed { index, token: self.compacted(self.shown_past(&looks, &batch.past)) };
        }
        let outcomes = self.outcomes(&looks);
        let (changes, places) = self.changes(batch, &looks, &outcomes);
        let Some((effect, superseded)) = effect_of(changes) else {
            let token = self.compacted(self.shown_past(&looks, &batch.past));
            return Reply::Batch(BatchAnswer { outcomes, dot: None, token });
        };
        let change = self.change_of(&looks);
        if !self.admits_batch(operations, change) {
            return Reply::Refused(Refusal::WriteLimit);
        }
        if self.lacks_room_to_spread(batch.concern, change, || outcomes_bytes(&outcomes)) {
            return Reply::Refused(Refusal::NoRoomToWait);
        }
        let needs = self.compacted(self.needs(&looks, &batch.past));
        let mut token = needs.clone();
        if !self.rules.follows(Rule::BatchDependsOnReads) {
            token.join(&self.shown_past(&looks, &batch.past));
        }
        token.join(&self.carried_beyond(operations));
        let shrinks = operations.iter().any(|operation| operation.action == Action::Delete);
        let op = self.make(effect, &places, superseded, &needs);
        if shrinks {
            self.note_room(self.now.monotonic);
        }
        token.join_dot(op.dot);
        Reply::Batch(BatchAnswer { outcomes, dot: Some(op.dot), token })
    }

    fn first_unmet(&self, looks: &Looks<'_>) -> Option<usize> {
        let store = self.data.store();
        let is_unmet = |(BatchOperation { condition, .. }, place): &(&BatchOperation, Place)| {
            *condition != Condition::default() && unmet(&self.rules, condition, store.siblings(*place)).is_some()
        };
        looks.iter().position(is_unmet)
    }

    /// What each operation is answered.
    fn outcomes(&self, looks: &Looks<'_>) -> Vec<Outcome> {
        let mut is_first = true;
        let mut supersedes = |shown| {
            let all = core::mem::take(&mut is_first) || self.rules.follows(Rule::BatchSupersedesAll);
            if all { self.rules.supersedes(shown) } else { Dots::new() }
        };
        let outcome = |&(operation, place): &(&BatchOperation, Place)| {
            let shown = self.data.store().siblings(place);
            match operation.action {
                Action::Get => Outcome::Read(shown.clone()),
                Action::Put(_) => Outcome::Put(supersedes(shown)),
                Action::Delete if shown.is_empty() => Outcome::Deleted(Dots::new()),
                Action::Delete => Outcome::Deleted(supersedes(shown)),
            }
        };
        looks.iter().map(outcome).collect()
    }

    /// What the operations that write change and where, sorted by key.
    fn changes(&self, batch: &BatchRequest, looks: &Looks<'_>, outcomes: &[Outcome]) -> (Vec<KeyChange>, Vec<Place>) {
        let change = |at: usize| {
            let (BatchOperation { key, action, .. }, place) = looks[at];
            let (Outcome::Put(superseded) | Outcome::Deleted(superseded)) = &outcomes[at] else { return None };
            let value = match action {
                Action::Put(value) => Some(value.clone()),
                Action::Delete if self.data.store().siblings(place).is_empty() => return None,
                Action::Get | Action::Delete => None,
            };
            Some((KeyChange { key: key.clone(), value, superseded: superseded.clone() }, place))
        };
        let room = batch.writes_by_key().len();
        let mut changed = (Vec::with_capacity(room), Vec::with_capacity(room));
        changed.extend(batch.writes_by_key().filter_map(change));
        changed
    }

    /// May a client write this? A batch that only deletes always may.
    fn admits_batch(&mut self, operations: &[BatchOperation], change: Change) -> bool {
        let puts = operations.iter().any(|operation| matches!(operation.action, Action::Put(_)));
        !puts || self.admits(change)
    }

    fn change_of(&self, looks: &Looks<'_>) -> Change {
        let store = self.data.store();
        let change = |(BatchOperation { key, action, .. }, place): &(&BatchOperation, Place)| match action {
            Action::Get => Change::default(),
            Action::Put(value) => Change::of(key, value.as_bytes().len(), store.siblings(*place)),
            Action::Delete => Change::of_delete(key, store.siblings(*place)),
        };
        looks.iter().map(change).sum()
    }

    /// The past of a client that is shown these keys: their versions, and the deletes that hid others.
    fn shown_past(&self, looks: &Looks<'_>, past: &VersionVector) -> VersionVector {
        let mut token = past.clone();
        for (BatchOperation { key, .. }, place) in looks {
            self.rules.answer(&mut token, self.data.store().siblings(*place), &self.data.log().deletes_of(key));
        }
        token
    }

    /// What a batch depends on: the client's past, and all versions and deletes of every key that it names.
    fn needs(&self, looks: &Looks<'_>, past: &VersionVector) -> VersionVector {
        let reads = self.rules.follows(Rule::BatchDependsOnReads);
        let mut needs = past.clone();
        for (BatchOperation { key, .. }, place) in looks.iter().filter(|(one, _)| reads || one.action.writes()) {
            let superseded = self.rules.supersedes(self.data.store().siblings(*place));
            self.rules.depend(&mut needs, &superseded, &self.data.log().deletes_of(key));
        }
        needs
    }

    fn carried_beyond(&self, operations: &[BatchOperation]) -> VersionVector {
        let mut beyond = VersionVector::new();
        for BatchOperation { key, .. } in operations {
            beyond.join(&self.rules.carried_beyond(&self.data.log().deletes_of(key)));
        }
        beyond
    }

    fn compacted(&self, past: VersionVector) -> VersionVector {
        self.data.compacted(&self.rules, &past).unwrap_or(past)
    }

    /// What is sent of an operation: all of it. Only a mutant sends half of a batch under its name.
    #[inline]
    pub(super) fn travelling(&self, op: Arc<Op>, rule: Rule) -> Arc<Op> {
        match &op.effect {
            Effect::Batch(changes) if !self.rules.follows(rule) => {
                let half = changes[..changes.len() / 2].to_vec();
                let Some((effect, superseded)) = effect_of(half) else { return op };
                Arc::new(Op { effect, superseded, ..(*op).clone() })
            }
            Effect::Batch(_)
            | Effect::Put { .. }
            | Effect::Delete { .. }
            | Effect::Erase { .. }
            | Effect::Retire { .. } => op,
        }
    }
}

/// What these count for in an answer that waits: it keeps the values that it shows.
pub(super) fn outcomes_bytes(outcomes: &[Outcome]) -> usize {
    let shown = |outcome: &Outcome| match outcome {
        Outcome::Read(siblings) => {
            siblings.iter().map(|sibling| OUTCOME_BYTES + sibling.value.as_bytes().len()).sum::<usize>()
        }
        Outcome::Put(gone) | Outcome::Deleted(gone) => gone.len() * size_of::<Dot>(),
    };
    outcomes.iter().map(|outcome| OUTCOME_BYTES + shown(outcome)).sum()
}

/// What does these changes, sorted by key, and what it supersedes beside. One change needs no batch.
fn effect_of(mut changes: Vec<KeyChange>) -> Option<(Effect, Dots)> {
    if changes.len() > 1 {
        return Some((Effect::Batch(changes.into()), Dots::new()));
    }
    let KeyChange { key, value, superseded } = changes.pop()?;
    let effect = match value {
        Some(value) => Effect::Put { key, value },
        None => Effect::Delete { key },
    };
    Some((effect, superseded))
}
