//! Serves batches (BATCH-1 to BATCH-4).
//!
//! All writes of a batch are one operation: one dot, one stamp, applied and logged in one step. So all of them or none
//! are visible, at every replica.

use super::Replica;
use super::budget::Change;
use super::requests::unmet;
use crate::data::Key;
use crate::op::{Dots, Effect, KeyChange, Op};
use crate::request::{Action, BatchAnswer, BatchOperation, BatchRequest, Condition, Outcome, Refusal, Reply};
use crate::rules::{Rule, Rules};
use crate::siblings::Siblings;
use crate::vector::{Dot, VersionVector};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of an outcome in an answer that waits, and of each version in it, beside those of its value.
const OUTCOME_BYTES: usize = 64;

impl<R: Rules> Replica<R> {
    /// Is a batch too large for one message? Its values travel as a whole, as those of its keys do in a state.
    pub(super) fn is_too_large(&self, batch: &BatchRequest) -> Option<Refusal> {
        let bytes_max = self.config.whole_bytes_max;
        (batch.value_bytes() > bytes_max).then_some(Refusal::BatchTooLarge { bytes_max })
    }

    pub(super) fn serve_batch(&mut self, batch: &BatchRequest) -> Reply {
        let (operations, past) = (batch.operations(), &batch.past);
        self.effects.did(operations.len());
        for operation in operations {
            self.data.touch(&self.rules, &operation.key);
        }
        if let Some(index) = self.first_unmet(operations) {
            return Reply::BatchFailed { index, token: self.compacted(self.shown_past(operations, past)) };
        }
        let (outcomes, changes) = self.outcomes(operations);
        let Some((effect, superseded)) = effect_of(changes) else {
            let token = self.compacted(self.shown_past(operations, past));
            return Reply::Batch(BatchAnswer { outcomes, dot: None, token });
        };
        let change = self.change_of(operations);
        if !self.admits_batch(operations, change) {
            return Reply::Refused(Refusal::WriteLimit);
        }
        if self.lacks_room_to_spread(batch.concern, change, || outcomes_bytes(&outcomes)) {
            return Reply::Refused(Refusal::NoRoomToWait);
        }
        let needs = self.compacted(self.needs(operations, past));
        let mut token = needs.clone();
        if !self.rules.follows(Rule::BatchDependsOnReads) {
            token.join(&self.shown_past(operations, past));
        }
        token.join(&self.carried_beyond(operations));
        let shrinks = operations.iter().any(|operation| operation.action == Action::Delete);
        let op = self.make(effect, None, superseded, &needs);
        if shrinks {
            self.note_room(self.now.monotonic);
        }
        token.join_dot(op.dot);
        Reply::Batch(BatchAnswer { outcomes, dot: Some(op.dot), token })
    }

    fn versions_of(&self, key: &Key) -> &Siblings {
        let store = self.data.store();
        store.siblings(store.find(key))
    }

    fn first_unmet(&self, operations: &[BatchOperation]) -> Option<usize> {
        let is_unmet = |BatchOperation { key, condition, .. }: &BatchOperation| {
            *condition != Condition::default() && unmet(&self.rules, condition, self.versions_of(key)).is_some()
        };
        operations.iter().position(is_unmet)
    }

    /// What each operation is answered, and what those that write change, sorted by key.
    fn outcomes(&self, operations: &[BatchOperation]) -> (Vec<Outcome>, Vec<KeyChange>) {
        let mut changes: Vec<KeyChange> = Vec::new();
        let mut outcomes = Vec::with_capacity(operations.len());
        for BatchOperation { key, action, .. } in operations {
            let shown = self.versions_of(key);
            let all = changes.is_empty() || self.rules.follows(Rule::BatchSupersedesAll);
            let superseded = || if all { self.rules.supersedes(shown) } else { Dots::new() };
            let change = |value| KeyChange { key: key.clone(), value, superseded: superseded() };
            outcomes.push(match action {
                Action::Get => Outcome::Read(shown.clone()),
                Action::Put(value) => {
                    changes.push(change(Some(value.clone())));
                    Outcome::Put(superseded())
                }
                Action::Delete if shown.is_empty() => Outcome::Deleted(Dots::new()),
                Action::Delete => {
                    changes.push(change(None));
                    Outcome::Deleted(superseded())
                }
            });
        }
        changes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        (outcomes, changes)
    }

    /// May a client write this? A batch that only deletes always may.
    fn admits_batch(&mut self, operations: &[BatchOperation], change: Change) -> bool {
        let puts = operations.iter().any(|operation| matches!(operation.action, Action::Put(_)));
        !puts || self.admits(change)
    }

    fn change_of(&self, operations: &[BatchOperation]) -> Change {
        let change = |BatchOperation { key, action, .. }: &BatchOperation| match action {
            Action::Get => Change::default(),
            Action::Put(value) => Change::of(key, value.as_bytes().len(), self.versions_of(key)),
            Action::Delete => Change::of_delete(key, self.versions_of(key)),
        };
        operations.iter().map(change).sum()
    }

    /// The past of a client that is shown these keys: their versions, and the deletes that hid others.
    fn shown_past(&self, operations: &[BatchOperation], past: &VersionVector) -> VersionVector {
        operations.iter().fold(past.clone(), |token, one| {
            self.rules.answer(&token, self.versions_of(&one.key), &self.data.log().deletes_of(&one.key))
        })
    }

    /// What a batch depends on: the client's past, and all versions and deletes of every key that it names.
    fn needs(&self, operations: &[BatchOperation], past: &VersionVector) -> VersionVector {
        let reads = self.rules.follows(Rule::BatchDependsOnReads);
        operations.iter().filter(|one| reads || one.action.writes()).fold(past.clone(), |needs, one| {
            let superseded = self.rules.supersedes(self.versions_of(&one.key));
            self.rules.dependencies(&needs, &superseded, &self.data.log().deletes_of(&one.key))
        })
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
