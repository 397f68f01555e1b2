//! Requests that wait for their dependencies, indexed by what they wait for.
//!
//! Invariant kept here: every waiting request hangs at exactly one dot that is not covered, so a wake-up costs
//! what it wakes and no more.

use crate::covered::Covered;
use crate::identity::Incarnation;
use crate::request::{Action, DataRequest, RequestId};
use crate::time::Time;
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

#[derive(Debug, Clone, Default)]
pub(super) struct Waiting {
    requests: BTreeMap<RequestId, Waiter>,
    by_dot: BTreeSet<(Incarnation, u64, RequestId)>,
    by_deadline: BTreeSet<(Time, RequestId)>,
    bytes: usize,
}

/// Bytes of the value that a request holds.
pub(super) fn value_bytes(request: &DataRequest) -> usize {
    match &request.action {
        Action::Put(value) => value.as_bytes().len(),
        Action::Get | Action::Delete => 0,
    }
}

#[derive(Debug, Clone)]
struct Waiter {
    request: Box<DataRequest>,
    deadline: Time,
    dot: (Incarnation, u64),
}

impl Waiting {
    pub(super) fn insert(&mut self, id: RequestId, request: Box<DataRequest>, dot: (Incarnation, u64), deadline: Time) {
        self.by_dot.insert((dot.0, dot.1, id));
        self.by_deadline.insert((deadline, id));
        self.bytes += value_bytes(&request);
        self.requests.insert(id, Waiter { request, deadline, dot });
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<(Box<DataRequest>, Time)> {
        let waiter = self.requests.remove(&id)?;
        self.by_dot.remove(&(waiter.dot.0, waiter.dot.1, id));
        self.by_deadline.remove(&(waiter.deadline, id));
        self.bytes -= value_bytes(&waiter.request);
        Some((waiter.request, waiter.deadline))
    }

    /// Requests whose dot is covered by now, up to so many.
    pub(super) fn covered(&self, covered: &Covered, most: usize) -> Vec<RequestId> {
        if self.by_dot.is_empty() {
            return Vec::new();
        }
        let (mut reached, mut next) = (Vec::new(), self.by_dot.first());
        while let Some(&(incarnation, ..)) = next {
            let end = (incarnation, covered.counter(incarnation), RequestId(u64::MAX));
            let room = most - reached.len();
            reached.extend(self.by_dot.range((incarnation, 0, RequestId(0))..=end).take(room).map(|&(.., id)| id));
            next = self.by_dot.range((incarnation, u64::MAX, RequestId(u64::MAX))..).next();
        }
        reached
    }

    /// Requests whose time is over, up to so many.
    pub(super) fn expired(&self, now: Time, most: usize) -> Vec<RequestId> {
        self.by_deadline.range(..=(now, RequestId(u64::MAX))).map(|&(_, id)| id).take(most).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// The waiting requests from this one on, each with the past that it waits for.
    pub(super) fn since(&self, first: RequestId) -> impl Iterator<Item = (RequestId, &VersionVector)> {
        self.requests.range(first..).map(|(&id, waiter)| (id, &waiter.request.past))
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self, covered: &Covered) {
        assert_eq!(self.requests.len(), self.by_dot.len(), "index by dot");
        assert_eq!(self.requests.len(), self.by_deadline.len(), "index by deadline");
        for waiter in self.requests.values() {
            assert!(covered.counter(waiter.dot.0) < waiter.dot.1, "a request waits for what is covered");
        }
    }
}
