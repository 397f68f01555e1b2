//! What a replica holds: the store, the causal context, the log and the clock (REQ-6, REQ-7, LOG-1, RET-2, STATE-2).
//!
//! Invariants kept here:
//! - Coverage moves in exactly two places: [`Data::apply`] and [`Data::install`]. Both are one step to every reader.
//! - Everything shown is covered, and the clock is not behind it.
//! - What is applied is logged in the same step. An own operation is the next of its incarnation.

use crate::causal_context::{CausalContext, Retirement};
use crate::data::{Key, Value};
use crate::hlc::Hlc;
use crate::identity::Incarnation;
use crate::log::Log;
use crate::op::{Effect, KeyChange, Op};
use crate::rules::{Rule, Rules};
use crate::siblings::{Sibling, Siblings};
use crate::store::{Offered, Store};
use crate::table::{HashKey, Place, Table};
use crate::time::{Time, Wall};
use crate::vector::{Dot, VersionVector};
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

#[derive(Debug, Clone)]
pub(super) struct Data {
    store: Store,
    context: CausalContext,
    /// The most entries that the vector ever had.
    longest: usize,
    /// The vector as messages carry it, until it moves.
    shared: Option<Arc<VersionVector>>,
    clock: Hlc,
    log: Log,
    /// What the own operations so far depend on; a new one says only what goes beyond.
    implied: VersionVector,
    /// A record of a retired incarnation is known whose dot is not covered: a replica that covers that dot covers more
    /// than its own incarnation. Only where a memory was copied.
    loose_records: bool,
}

/// A whole state that a peer sent.
pub(super) struct Snapshot<'a> {
    pub(super) keys: Table<Offered>,
    /// What was covered here when it was asked for.
    pub(super) asked: &'a VersionVector,
    /// What it covers.
    pub(super) context: CausalContext,
    pub(super) deletes: VersionVector,
    pub(super) clock: Hlc,
}

impl Data {
    pub(super) fn new(hash_key: HashKey) -> Self {
        Self {
            store: Store::new(hash_key),
            context: CausalContext::default(),
            longest: 0,
            shared: None,
            clock: Hlc::default(),
            log: Log::default(),
            implied: VersionVector::new(),
            loose_records: false,
        }
    }

    /// The live versions of every key.
    #[inline]
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// What is covered here.
    #[inline]
    pub(super) const fn context(&self) -> &CausalContext {
        &self.context
    }

    /// The operations that peers may still need.
    #[inline]
    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    /// At or above every stamp that was applied here.
    pub(super) const fn clock(&self) -> Hlc {
        self.clock
    }

    pub(super) const fn longest_vector(&self) -> usize {
        self.longest
    }

    pub(super) const fn has_loose_records(&self) -> bool {
        self.loose_records
    }

    /// The vector, shared with the messages that carry it.
    pub(super) fn shared_vector(&mut self) -> Arc<VersionVector> {
        self.shared.get_or_insert_with(|| Arc::new(self.context.vector().clone())).clone()
    }

    /// Where this key is, after its part of an installed state is merged in.
    pub(super) fn touch<R: Rules>(&mut self, rules: &R, key: &Key) -> Place {
        self.store.touch(rules, key)
    }

    /// The same of several keys.
    pub(super) fn touch_all<'a, R: Rules>(
        &mut self,
        rules: &R,
        keys: impl Iterator<Item = &'a Key> + Clone,
    ) -> Vec<Place> {
        self.store.touch_all(rules, keys)
    }

    /// Merges in some keys of an installed state. Returns how many were looked at.
    pub(super) fn merge_step<R: Rules>(&mut self, rules: &R, keys_max: usize) -> usize {
        self.store.merge_step(rules, keys_max)
    }

    /// Whether keys that change when a state is merged in are to be named.
    pub(super) fn note_merged(&mut self, noted: bool) {
        self.store.note_merged(noted);
    }

    /// The keys that a state changed since.
    #[inline]
    pub(super) fn take_merged(&mut self) -> Vec<Key> {
        self.store.take_merged()
    }

    /// Puts some keys in order, for lists. Returns how many.
    pub(super) fn index_step(&mut self, keys_max: usize) -> usize {
        self.store.index_step(keys_max)
    }

    /// No list is answered from the keys in order any more.
    pub(super) const fn drop_index(&mut self) {
        self.store.drop_index();
    }

    /// Gives back keys in order that are not needed any more. Returns the units of work.
    pub(super) fn free_index(&mut self, units_max: usize) -> usize {
        self.store.free_index(units_max)
    }

    /// What an own operation that needs this says about its dependencies: what the ones before do not imply.
    pub(super) fn dependencies(&mut self, own: Incarnation, needs: &VersionVector) -> VersionVector {
        let deps = VersionVector::from_entries(self.implied.missing(needs).filter(|&(i, _)| i != own));
        self.implied.join(&deps);
        assert!(deps.counter(own) == 0 && self.implied.dominates(&deps), "what goes beyond is implied from now on");
        deps
    }

    pub(super) fn next_dot(&self, own: Incarnation) -> Dot {
        Dot { incarnation: own, counter: self.context.counter(own) + 1 }
    }

    /// Another incarnation begins, which has no operations of its own yet.
    pub(super) fn begin_incarnation(&mut self) {
        self.implied = VersionVector::new();
        self.log.forget_own();
    }

    /// Applies and logs an own operation that was made at that time.
    pub(super) fn apply_own<R: Rules>(&mut self, rules: &R, op: &Arc<Op>, places: &[Place], now: (Time, Wall)) {
        assert_eq!(op.dot, self.next_dot(op.dot.incarnation), "an own operation is the next of its incarnation");
        self.apply(rules, op, places, now.1);
        self.log.append_own(rules, op.clone(), now.0);
    }

    /// Applies and logs an operation of another replica.
    pub(super) fn apply_foreign<R: Rules>(&mut self, rules: &R, op: &Arc<Op>, wall: Wall) {
        self.apply(rules, op, &[], wall);
        self.log.append(rules, op.clone());
    }

    /// Applies one operation in one step: one of the two places where coverage moves.
    ///
    /// `places` is where its keys are, where that is known.
    fn apply<R: Rules>(&mut self, rules: &R, op: &Arc<Op>, places: &[Place], wall: Wall) {
        let place = places.first().copied();
        match &op.effect {
            Effect::Put { key, value } => {
                let sibling = Sibling { dot: op.dot, hlc: op.hlc, value: value.clone() };
                self.change_key(rules, (key, place), &op.superseded, Some(sibling));
            }
            Effect::Delete { key } | Effect::Erase { key } => {
                self.change_key(rules, (key, place), &op.superseded, None);
            }
            Effect::Batch(changes) if places.is_empty() => {
                let places = self.store.touch_all(rules, changes.iter().map(|change| &change.key));
                self.change_keys(rules, op, changes, &places);
            }
            Effect::Batch(changes) => self.change_keys(rules, op, changes, places),
            Effect::Retire { incarnation, through } => {
                let record = Retirement { through: *through, dot: op.dot };
                self.context.join_dot(op.dot);
                self.context.learn(*incarnation, record);
                self.note_records();
                self.log.retire(*incarnation, record);
                self.forget_implied(*incarnation, record);
            }
        }
        self.context.join_dot(op.dot);
        self.note_coverage();
        self.clock = rules.follow(self.clock, op.hlc, wall);
        assert!(self.context.covers(op.dot), "what is applied is covered");
    }

    fn change_keys<R: Rules>(&mut self, rules: &R, op: &Op, changes: &[KeyChange], places: &[Place]) {
        assert_eq!(changes.len(), places.len(), "every key of a batch has its place");
        let mut places_hold = true;
        for (KeyChange { key, value, superseded }, &place) in changes.iter().zip(places) {
            let put = |value: &Value| Sibling { dot: op.dot, hlc: op.hlc, value: value.clone() };
            self.change_key(rules, (key, places_hold.then_some(place)), superseded, value.as_ref().map(put));
            places_hold &= value.is_some(); // where a key goes, another takes its slot
        }
    }

    /// Changes the versions of a key, and nothing else.
    pub(super) fn change_key<R: Rules>(
        &mut self,
        rules: &R,
        (key, place): (&Key, Option<Place>),
        superseded: &[Dot],
        add: Option<Sibling>,
    ) {
        let place = place.unwrap_or_else(|| self.store.touch(rules, key));
        self.store.write(rules, (key, place), rules.removes(superseded), add);
    }

    /// Merges a whole state in one step: the other of the two places where coverage moves.
    ///
    /// To every reader the state is in force at once; keys are merged when they are touched, or by later slices.
    pub(super) fn install<R: Rules>(&mut self, rules: &R, snapshot: Snapshot<'_>) {
        let Snapshot { keys, asked, context: theirs, deletes, clock } = snapshot;
        let my_past = if rules.follows(Rule::MergesWithPresent) {
            self.context.clone()
        } else {
            CausalContext::of(asked.clone(), self.context.records().collect())
        };
        let raises = rules.follows(Rule::RaisesFloorAtInstall);
        let updates = VersionVector::from_entries(self.context.missing(theirs.vector()).filter(|_| raises));
        let deletes = if rules.follows(Rule::JoinsInstalledDeletes) { deletes } else { VersionVector::new() };
        for (incarnation, record) in theirs.records() {
            self.forget_implied(incarnation, record);
        }
        self.context.learn_all(theirs.records());
        self.context.join(theirs.vector());
        self.note_records();
        self.note_coverage();
        assert!(self.context.dominates(theirs.vector()), "what is installed is covered");
        self.log.raise_floor(&updates, &deletes, &self.context);
        self.store.install(keys, my_past, theirs);
        self.clock = rules.follow_installed(self.clock, clock);
    }

    /// Only for mutants that take for covered what they merely heard of.
    pub(super) fn cover_unapplied(&mut self, vector: &VersionVector) {
        self.context.join(vector);
        self.shared = None;
    }

    /// Cuts the oldest operation from the log.
    pub(super) fn cut_log<R: Rules>(&mut self, rules: &R) {
        self.log.cut_front(rules, &self.context);
    }

    /// The same past without retired incarnations, if it names any.
    pub(super) fn compacted<R: Rules>(&self, rules: &R, past: &VersionVector) -> Option<VersionVector> {
        if !rules.follows(Rule::CompactsTokens) {
            return None;
        }
        match self.context.compact(past) {
            Cow::Borrowed(_) => None,
            Cow::Owned(_) if !rules.follows(Rule::KeepsRetiredEntries) => {
                let retired = |i: &Incarnation| self.context.records().any(|(retired, _)| retired == *i);
                Some(VersionVector::from_entries(past.entries().filter(|(i, _)| !retired(i))))
            }
            Cow::Owned(compact) => Some(compact),
        }
    }

    /// The token that goes with an answer.
    pub(super) fn answer<R: Rules>(
        &self,
        rules: &R,
        past: &VersionVector,
        shown: &Siblings,
        deletes: &VersionVector,
    ) -> VersionVector {
        let mut token = past.clone();
        rules.answer(&mut token, shown, deletes);
        self.compacted(rules, &token).unwrap_or(token)
    }

    fn note_coverage(&mut self) {
        self.longest = self.longest.max(self.context.vector().len());
        self.shared = None;
    }

    fn note_records(&mut self) {
        self.loose_records = self.context.records().any(|(_, record)| !self.context.covers(record.dot));
    }

    /// What own operations imply of a retired incarnation is sent anew where needed. The earlier ones may imply less
    /// than the dot that stands for it from now on.
    fn forget_implied(&mut self, incarnation: Incarnation, record: Retirement) {
        if self.implied.counter(incarnation) <= record.through {
            self.implied.remove(incarnation);
        }
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants<R: Rules>(&self, rules: &R) {
        self.store.check_invariants(rules);
        self.log.check_invariants(rules, &self.context);
        for (key, siblings) in self.store.shown(rules) {
            for sibling in siblings.iter() {
                assert!(self.context.covers(sibling.dot), "a version of {key:?} is not covered");
                assert!(sibling.hlc <= self.clock, "the clock is behind a version of {key:?}");
            }
        }
        let shared = self.shared.as_deref();
        assert!(shared.is_none_or(|shared| shared == self.context.vector()), "messages carry a vector that is over");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Sound;

    const NOW: (Time, Wall) = (Time(1), Wall(1 << 40));

    fn key() -> Key {
        Key::new("k").expect("a key")
    }

    fn put(dot: (u64, u64), hlc: u64, value: &str) -> Arc<Op> {
        let effect = Effect::Put { key: key(), value: Value::new(value.as_bytes()) };
        let dot = Dot { incarnation: Incarnation(dot.0), counter: dot.1 };
        let deps = VersionVector::new().into();
        Arc::new(Op { dot, hlc: Hlc(hlc), effect, superseded: crate::op::Dots::new(), deps })
    }

    fn values(data: &Data) -> Vec<Vec<u8>> {
        data.store.shown_of(&Sound, &key()).iter().map(|sibling| sibling.value.as_bytes().to_vec()).collect()
    }

    fn data() -> Data {
        Data::new(HashKey(1, 2))
    }

    #[test]
    fn what_is_applied_is_covered_and_logged_in_one_step() {
        let mut data = data();
        let before = data.shared_vector();
        data.apply_own(&Sound, &put((7, 1), 5, "one"), &[], NOW);
        data.apply_foreign(&Sound, &put((8, 1), 9, "two"), NOW.1);
        data.check_invariants(&Sound);
        assert_eq!(values(&data), [b"two", b"one"], "the winner has the highest stamp");
        assert_eq!(data.log.len(), 2);
        assert!(data.clock >= Hlc(9));
        assert_ne!(before, data.shared_vector(), "messages carry the vector as it is now");
        assert_eq!(data.longest_vector(), 2);
    }

    #[test]
    #[should_panic(expected = "the next of its incarnation")]
    fn an_own_operation_leaves_no_gap() {
        data().apply_own(&Sound, &put((7, 2), 5, "two"), &[], NOW);
    }

    #[test]
    fn an_operation_says_only_what_earlier_ones_do_not_imply() {
        let mut data = data();
        let own = Incarnation(7);
        let needs = |entries: &[(u64, u64)]| {
            VersionVector::from_entries(
                entries.iter().map(|&(incarnation, counter)| (Incarnation(incarnation), counter)),
            )
        };
        assert_eq!(data.dependencies(own, &needs(&[(7, 4), (8, 1)])), needs(&[(8, 1)]));
        assert_eq!(data.dependencies(own, &needs(&[(8, 1), (9, 2)])), needs(&[(9, 2)]));
        data.begin_incarnation();
        assert_eq!(data.dependencies(own, &needs(&[(8, 1)])), needs(&[(8, 1)]), "another incarnation says it anew");
    }

    #[test]
    fn an_installed_state_is_in_force_at_once() {
        let mut supplier = data();
        supplier.apply_own(&Sound, &put((7, 1), 5, "one"), &[], NOW);
        let mut data = data();
        data.apply_own(&Sound, &put((8, 1), 3, "mine"), &[], NOW);
        let mut keys = Table::new(HashKey(1, 2));
        let Place::Absent(hash) = keys.find(&key()) else { panic!("an empty table") };
        let offered = supplier.store.shown_of(&Sound, &key());
        keys.insert(key(), hash, offered.iter().cloned().map(crate::message::Version::Whole).collect());
        let snapshot = Snapshot {
            keys,
            asked: &VersionVector::new(),
            context: supplier.context.clone(),
            deletes: VersionVector::new(),
            clock: supplier.clock,
        };
        data.install(&Sound, snapshot);
        assert_eq!(values(&data), [b"one".to_vec(), b"mine".to_vec()]);
        assert!(data.clock >= supplier.clock && data.context.dominates(supplier.context.vector()));
        assert!(!data.log.reaches(&VersionVector::new(), &data.context), "the log has not what was installed");
        data.touch(&Sound, &key());
        data.check_invariants(&Sound);
    }
}
