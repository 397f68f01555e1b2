//! Writes that are applied here and wait to be elsewhere, too (CONCERN-2, CONCERN-4).
//!
//! Invariants kept here:
//! - Each spreading write has one place in each index, and its bytes are counted once.
//! - Writes of one incarnation that ask for the same lie in the order in which they were made. So those that have
//!   spread far enough are the first of those, and a look costs what it answers.

use crate::identity::Incarnation;
use crate::request::{Holders, Reply, RequestId};
use crate::time::Time;
use crate::vector::Dot;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

#[derive(Debug, Clone, Default)]
pub(super) struct Concerns {
    spreading: BTreeMap<RequestId, Spreading>,
    by_dot: BTreeSet<(Incarnation, Holders, u64, RequestId)>,
    by_deadline: BTreeSet<(Time, RequestId)>,
    bytes: usize,
    /// The counter of the write that came last.
    newest: u64,
    /// What other replicas hold, or the view, may have changed.
    noted: bool,
}

/// A write that waits.
#[derive(Debug, Clone)]
pub(super) struct Spreading {
    /// What is answered without a write concern.
    pub(super) answer: Reply,
    pub(super) dot: Dot,
    pub(super) holders: Holders,
    pub(super) deadline: Time,
    pub(super) bytes: usize,
}

impl Concerns {
    pub(super) fn insert(&mut self, id: RequestId, spreading: Spreading) {
        let Dot { incarnation, counter } = spreading.dot;
        self.by_dot.insert((incarnation, spreading.holders, counter, id));
        self.by_deadline.insert((spreading.deadline, id));
        self.bytes += spreading.bytes;
        self.newest = counter;
        self.spreading.insert(id, spreading);
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Spreading> {
        let spreading = self.spreading.remove(&id)?;
        let Dot { incarnation, counter } = spreading.dot;
        self.by_dot.remove(&(incarnation, spreading.holders, counter, id));
        self.by_deadline.remove(&(spreading.deadline, id));
        self.bytes -= spreading.bytes;
        Some(spreading)
    }

    /// The counter of the write that came last, waiting or not.
    pub(super) const fn newest(&self) -> u64 {
        self.newest
    }

    /// What other replicas hold, or the view, may have changed.
    #[inline]
    pub(super) const fn note(&mut self) {
        self.noted = true;
    }

    /// May something have changed since the last look?
    #[inline]
    pub(super) fn take_noted(&mut self) -> bool {
        core::mem::take(&mut self.noted) && !self.spreading.is_empty()
    }

    /// A write that another incarnation made, before this process took this one.
    pub(super) fn of_others(&self, own: Incarnation) -> Option<RequestId> {
        let first = self.by_dot.first().filter(|(incarnation, ..)| *incarnation != own);
        let last = self.by_dot.last().filter(|(incarnation, ..)| *incarnation != own);
        first.or(last).map(|&(.., id)| id)
    }

    /// What writes of this incarnation ask for.
    pub(super) fn asked(&self, own: Incarnation) -> Vec<Holders> {
        let mut asked = Vec::new();
        let mut from = (own, Holders::AtLeast(0), 0, RequestId(0));
        while let Some(&(incarnation, holders, ..)) = self.by_dot.range(from..).next() {
            if incarnation != own {
                break;
            }
            asked.push(holders);
            let after = (own, holders, u64::MAX, RequestId(u64::MAX));
            match self.by_dot.range((core::ops::Bound::Excluded(after), core::ops::Bound::Unbounded)).next() {
                Some(&next) => from = next,
                None => break,
            }
        }
        asked
    }

    /// The first write of this incarnation, up to this counter, that asks for so much.
    pub(super) fn next(&self, own: Incarnation, holders: Holders, through: u64) -> Option<RequestId> {
        let those = (own, holders, 0, RequestId(0))..=(own, holders, through, RequestId(u64::MAX));
        self.by_dot.range(those).next().map(|&(.., id)| id)
    }

    /// A write whose time is over.
    pub(super) fn expired(&self, now: Time) -> Option<RequestId> {
        self.by_deadline.first().filter(|&&(deadline, _)| deadline <= now).map(|&(_, id)| id)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// Each spreading write with its answer, in the order of requests.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &Spreading)> {
        self.spreading.iter().map(|(&id, spreading)| (id, spreading))
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.spreading.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spreading.is_empty()
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.spreading.len(), self.by_dot.len(), "index by dot");
        assert_eq!(self.spreading.len(), self.by_deadline.len(), "index by deadline");
        assert_eq!(self.bytes, self.spreading.values().map(|spreading| spreading.bytes).sum::<usize>(), "bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::VersionVector;

    const OWN: Incarnation = Incarnation(7);

    fn spreading(incarnation: Incarnation, counter: u64, holders: Holders) -> Spreading {
        let answer = Reply::Absent { token: VersionVector::new() };
        Spreading { answer, dot: Dot { incarnation, counter }, holders, deadline: Time(100 + counter), bytes: 10 }
    }

    fn concerns() -> Concerns {
        let mut concerns = Concerns::default();
        for (id, counter, holders) in
            [(1, 1, Holders::All), (2, 2, Holders::AtLeast(2)), (3, 3, Holders::All), (4, 4, Holders::Majority)]
        {
            concerns.insert(RequestId(id), spreading(OWN, counter, holders));
        }
        concerns.check_invariants();
        concerns
    }

    #[test]
    fn those_that_ask_for_the_same_are_reached_in_the_order_they_were_made() {
        let mut concerns = concerns();
        assert_eq!(concerns.asked(OWN), [Holders::AtLeast(2), Holders::Majority, Holders::All]);
        assert_eq!(concerns.next(OWN, Holders::AtLeast(2), 1), None);
        assert_eq!(concerns.next(OWN, Holders::All, 3), Some(RequestId(1)));
        assert!(concerns.remove(RequestId(1)).is_some() && concerns.remove(RequestId(1)).is_none());
        assert_eq!(concerns.next(OWN, Holders::All, 2), None);
        assert_eq!(concerns.next(OWN, Holders::All, 3), Some(RequestId(3)));
    }

    #[test]
    fn writes_of_an_incarnation_that_is_over_are_found_on_either_side() {
        let mut concerns = concerns();
        assert_eq!(concerns.of_others(OWN), None);
        assert!(concerns.asked(Incarnation(8)).is_empty());
        concerns.insert(RequestId(5), spreading(Incarnation(9), 1, Holders::All));
        assert_eq!(concerns.of_others(OWN), Some(RequestId(5)));
        assert!(concerns.of_others(Incarnation(9)).is_some());
    }

    #[test]
    fn writes_end_in_the_order_of_their_deadlines_and_free_their_bytes() {
        let mut concerns = concerns();
        assert_eq!((concerns.len(), concerns.bytes(), concerns.next_deadline()), (4, 40, Some(Time(101))));
        assert_eq!(concerns.expired(Time(100)), None);
        while let Some(id) = concerns.expired(Time(104)) {
            concerns.remove(id);
        }
        assert_eq!((concerns.len(), concerns.bytes(), concerns.next_deadline()), (0, 0, None));
        concerns.check_invariants();
    }

    #[test]
    fn a_note_is_taken_once_and_only_where_something_waits() {
        let mut concerns = Concerns::default();
        concerns.note();
        assert!(!concerns.take_noted());
        let mut concerns = self::concerns();
        concerns.note();
        assert!(concerns.take_noted() && !concerns.take_noted());
    }
}
