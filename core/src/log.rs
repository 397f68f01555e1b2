//! The operations applied here, in the order in which they were applied, as far as memory allows.
//!
//! Invariants kept here: every prefix is causally closed, because an operation is appended in the step that applies it.
//! `floor` covers exactly what may have left. Every delete that left is covered by `deletes_floor`. So a client that
//! met an answer which a delete shaped stays bound to that delete (REQ-3, LOG-1, BATCH-4).

use crate::causal_context::{CausalContext, Retirement};
use crate::data::Key;
use crate::formats::Formats;
use crate::identity::Incarnation;
use crate::op::{Effect, Op};
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::vector::{Dot, VersionVector};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

/// An operation of the present incarnation, for the push lane.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) op: Arc<Op>,
    pub(crate) made: Time,
    /// Bytes of all own operations up to and including this one.
    pub(crate) bytes_through: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    ops: VecDeque<Arc<Op>>,
    /// How many operations left at the front, ever: the number of the first that is still here.
    first: u64,
    bytes: usize,
    floor: VersionVector,
    /// Per key its highest delete of each incarnation: one such dot stands for all deletes of that incarnation.
    deletes: BTreeMap<Key, VersionVector>,
    deletes_floor: VersionVector,
    /// `deletes_floor` joined with every delete in the log.
    deletes_all: VersionVector,
    own: VecDeque<Own>,
    own_bytes: u64,
    /// The number of the newest operation that the lowest released format has no word for, and what it takes.
    special: Option<(u64, u8)>,
}

impl Log {
    pub(crate) fn append<R: Rules>(&mut self, rules: &R, op: Arc<Op>) {
        self.bytes += op.bytes();
        for key in op.deletes() {
            if !op.is_batch() || rules.follows(Rule::IndexesBatchDeletes) {
                self.deletes.entry(key.clone()).or_default().join_dot(op.dot);
            }
            if !op.is_batch() || rules.follows(Rule::SuppliesBatchDeletes) {
                self.deletes_all.join_dot(op.dot);
            }
        }
        if op.format() > Formats::RELEASED.lowest {
            let before = self.format(); // what came before may take more
            self.special = Some((self.first + self.ops.len() as u64, op.format().max(before)));
        }
        self.ops.push_back(op);
    }

    /// The oldest format in which every operation that is here can be said.
    pub(crate) fn format(&self) -> u8 {
        self.special.filter(|&(number, _)| number >= self.first).map_or(Formats::RELEASED.lowest, |(_, format)| format)
    }

    pub(crate) fn append_own<R: Rules>(&mut self, rules: &R, op: Arc<Op>, made: Time) {
        let follows = |last: &Own| last.op.dot == Dot { counter: op.dot.counter.wrapping_sub(1), ..op.dot };
        assert!(self.own.back().is_none_or(follows), "own operations are logged in order: {}", op.dot);
        self.own_bytes += op.bytes() as u64;
        self.own.push_back(Own { op: op.clone(), made, bytes_through: self.own_bytes });
        self.append(rules, op);
    }

    /// A new incarnation has no operations of its own yet.
    pub(crate) fn forget_own(&mut self) {
        self.own.clear();
    }

    /// The own operation with this counter, while it is in the log.
    pub(crate) fn own(&self, counter: u64) -> Option<&Own> {
        let first = self.own.front()?.op.dot.counter;
        self.own.get(usize::try_from(counter.checked_sub(first)?).ok()?)
    }

    /// The first own operation after this counter, of those that are in the log.
    pub(crate) fn own_after(&self, counter: u64) -> Option<&Own> {
        let first = self.own.front()?.op.dot.counter;
        self.own.get(usize::try_from((counter + 1).saturating_sub(first)).ok()?)
    }

    pub(crate) fn front(&self) -> Option<&Arc<Op>> {
        self.ops.front()
    }

    /// Cuts the oldest operation.
    pub(crate) fn cut_front<R: Rules>(&mut self, rules: &R, context: &CausalContext) {
        let Some(op) = self.ops.pop_front() else { return };
        if self.ops.capacity() > 1_024.max(8 * self.ops.len()) {
            // What a long log left behind goes back.
            self.ops.shrink_to(2 * self.ops.len());
            self.own.shrink_to(2 * self.own.len());
        }
        self.first += 1;
        self.bytes -= op.bytes();
        assert_eq!(self.ops.is_empty(), self.bytes == 0, "{} operations of {} bytes", self.ops.len(), self.bytes);
        self.floor.join_dot(op.dot);
        if let Effect::Retire { incarnation, through } = op.effect
            && self.floor.counter(incarnation) <= through
        {
            self.floor.remove(incarnation); // a replica that covers the retire operation covers what it stands for
        }
        if self.own.front().is_some_and(|own| own.op.dot == op.dot) {
            self.own.pop_front();
        }
        assert!(self.own.len() <= self.ops.len(), "own operations outlive the log");
        let of_batch = !op.is_batch() || rules.follows(Rule::RemembersTrimmedBatchDeletes);
        for key in op.deletes() {
            if rules.follows(Rule::RemembersTrimmedDeletes) && of_batch {
                self.deletes_floor.join_dot(context.resolve(op.dot));
            }
            // An incarnation's operations leave in the order of their numbers: the highest delete is the last to go.
            if let Some(dots) = self.deletes.get_mut(key)
                && dots.counter(op.dot.incarnation) == op.dot.counter
            {
                dots.remove(op.dot.incarnation);
                if dots.is_empty() {
                    self.deletes.remove(key);
                }
            }
        }
    }

    /// What covers all that has left, and what covers every delete of that.
    pub(crate) const fn floors(&self) -> (&VersionVector, &VersionVector) {
        (&self.floor, &self.deletes_floor)
    }

    /// `D(k)`: the deletes of this key that were applied here, and whatever deletes left the log.
    pub(crate) fn deletes_of(&self, key: &Key) -> Cow<'_, VersionVector> {
        match self.deletes.get(key) {
            None => Cow::Borrowed(&self.deletes_floor),
            Some(dots) => {
                let mut vector = self.deletes_floor.clone();
                vector.join(dots);
                Cow::Owned(vector)
            }
        }
    }

    /// The highest delete per incarnation of all that were applied here.
    pub(crate) fn all_deletes(&self) -> VersionVector {
        self.deletes_all.clone()
    }

    /// A state was installed: what it brought is not here, and so are its deletes.
    pub(crate) fn raise_floor(&mut self, floor: &VersionVector, deletes: &VersionVector, context: &CausalContext) {
        self.floor.join(floor);
        self.deletes_floor.join(deletes);
        self.deletes_all.join(deletes);
        self.deletes_all = context.compact(&self.deletes_all).into_owned();
        self.floor = context.compact(&self.floor).into_owned();
        self.deletes_floor = context.compact(&self.deletes_floor).into_owned();
    }

    /// Can it supply everything that a peer with this vector lacks?
    pub(crate) fn reaches(&self, vector: &VersionVector, context: &CausalContext) -> bool {
        context.dominates_in(vector, &self.floor)
    }

    /// An incarnation is over: from now on its entries are said by the dot that implies them.
    pub(crate) fn retire(&mut self, incarnation: Incarnation, record: Retirement) {
        for vector in [&mut self.deletes_floor, &mut self.deletes_all] {
            if (1..=record.through).contains(&vector.counter(incarnation)) {
                vector.remove(incarnation);
                vector.join_dot(record.dot);
            }
        }
    }

    /// The number of the first operation here, and of the one that comes next.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.first, self.first + self.ops.len() as u64)
    }

    /// The operation with this number; none if it left or is yet to come.
    pub(crate) fn op(&self, number: u64) -> Option<&Arc<Op>> {
        self.ops.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants<R: Rules>(&self, rules: &R, context: &CausalContext) {
        assert!(context.dominates(&self.floor), "the floor {:?} is not covered by {context:?}", self.floor);
        assert!(context.dominates(&self.deletes_floor), "deletes that left are not covered");
        assert_eq!(self.bytes, self.ops.iter().map(|op| op.bytes()).sum::<usize>(), "log bytes");
        assert!(self.ops.iter().all(|op| context.covers(op.dot)), "an operation in the log is not covered");
        assert!(self.ops.iter().all(|op| op.format() <= self.format()), "an operation takes more than the log says");
        let mut deletes: BTreeMap<&Key, VersionVector> = BTreeMap::new();
        let indexed = |op: &&Arc<Op>| !op.is_batch() || rules.follows(Rule::IndexesBatchDeletes);
        for op in self.ops.iter().filter(indexed) {
            op.deletes().for_each(|key| _ = deletes.entry(key).or_default().join_dot(op.dot));
        }
        assert!(deletes.into_iter().eq(self.deletes.iter().map(|(key, dots)| (key, dots.clone()))), "index of deletes");
        let own = self.own.iter().map(|own| own.op.dot.counter);
        assert!(own.clone().zip(own.skip(1)).all(|(a, b)| a + 1 == b), "own operations have gaps");
    }
}
