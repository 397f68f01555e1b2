//! Requests that wait for their dependencies, indexed by what they wait for (REQ-2).
//!
//! Invariant kept here: every blocked request hangs at exactly one dot that is not covered. `awaited` says when.

use super::awaited::Awaited;
use super::lists::PAGE_ROOM;
use crate::causal_context::CausalContext;
use crate::formats::Formats;
use crate::identity::Incarnation;
use crate::request::{BatchRequest, DataRequest, ListRequest, RequestId, WriteConcern};
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

#[derive(Debug, Clone, Default)]
pub(super) struct BlockedRequests {
    requests: BTreeMap<RequestId, Waiter>,
    awaited: Awaited,
    by_deadline: BTreeSet<(Time, RequestId)>,
    bytes: usize,
}

/// A request for one key, for several, or for a range.
#[derive(Debug, Clone)]
pub(super) enum ForKeys {
    One(Box<DataRequest>),
    Batch(Box<BatchRequest>),
    List(Box<ListRequest>),
}

impl ForKeys {
    pub(super) fn past(&self) -> &VersionVector {
        match self {
            Self::One(request) => &request.past,
            Self::Batch(batch) => &batch.past,
            Self::List(list) => &list.past,
        }
    }

    pub(super) fn past_mut(&mut self) -> &mut VersionVector {
        match self {
            Self::One(request) => &mut request.past,
            Self::Batch(batch) => &mut batch.past,
            Self::List(list) => &mut list.past,
        }
    }

    pub(super) fn wait(&self) -> Micros {
        match self {
            Self::One(request) => request.wait,
            Self::Batch(batch) => batch.wait,
            Self::List(list) => list.wait,
        }
    }

    pub(super) fn format(&self) -> u8 {
        match self {
            Self::One(request) => request.format,
            Self::Batch(batch) => batch.format(),
            Self::List(_) => Formats::RELEASED.lowest,
        }
    }

    /// Where its write is to be before it is answered. Lists are answered at once.
    pub(super) fn concern(&self) -> Option<WriteConcern> {
        match self {
            Self::One(request) => request.concern,
            Self::Batch(batch) => batch.concern,
            Self::List(_) => None,
        }
    }

    /// Bytes of the values that it holds, or of the texts that bound its range.
    pub(super) fn value_bytes(&self) -> usize {
        match self {
            Self::One(request) => request.action.value_bytes(),
            Self::Batch(batch) => batch.value_bytes(),
            Self::List(list) => list.bytes(),
        }
    }

    /// Units of work that it takes at least. For each key that it names they are so many if it writes.
    pub(super) fn units(&self, of_key: usize) -> usize {
        match self {
            Self::One(_) => of_key,
            Self::Batch(batch) => batch.operations().len() * of_key,
            Self::List(_) => PAGE_ROOM,
        }
    }
}

#[derive(Debug, Clone)]
struct Waiter {
    request: ForKeys,
    deadline: Time,
    dot: (Incarnation, u64),
}

impl BlockedRequests {
    pub(super) fn insert(&mut self, id: RequestId, request: ForKeys, dot: (Incarnation, u64), deadline: Time) {
        self.awaited.insert(id, dot);
        self.by_deadline.insert((deadline, id));
        self.bytes += request.value_bytes();
        self.requests.insert(id, Waiter { request, deadline, dot });
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<(ForKeys, Time)> {
        let waiter = self.requests.remove(&id)?;
        self.awaited.remove(id, waiter.dot);
        self.by_deadline.remove(&(waiter.deadline, id));
        self.bytes -= waiter.request.value_bytes();
        Some((waiter.request, waiter.deadline))
    }

    /// The coverage of this incarnation moved.
    #[inline]
    pub(super) fn note(&mut self, incarnation: Incarnation) {
        self.awaited.note(incarnation);
    }

    /// The coverage of any incarnation may have moved.
    pub(super) fn note_all(&mut self) {
        self.awaited.note_all();
    }

    /// Is there anything to look at?
    pub(super) fn is_noted(&self) -> bool {
        self.awaited.is_noted()
    }

    /// A request whose dot is covered by now. Counts the incarnations looked at in vain, up to so many.
    pub(super) fn next_reached(&mut self, context: &CausalContext, room: usize) -> (Option<RequestId>, usize) {
        self.awaited.next_reached(context, room)
    }

    /// Units of work that this request takes at least, so many for each key that it names.
    pub(super) fn units_of(&self, id: RequestId, of_key: usize) -> usize {
        self.requests.get(&id).map_or(0, |waiter| waiter.request.units(of_key))
    }

    /// Requests whose time is over, up to so many.
    pub(super) fn expired(&self, now: Time, most: usize) -> Vec<RequestId> {
        self.by_deadline.range(..=(now, RequestId(u64::MAX))).map(|&(_, id)| id).take(most).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// The blocked requests from this one on, each with the past that it waits for.
    pub(super) fn since(&self, first: RequestId) -> impl Iterator<Item = (RequestId, &VersionVector)> {
        self.requests.range(first..).map(|(&id, waiter)| (id, waiter.request.past()))
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
    pub(super) fn check_invariants(&self, context: &CausalContext) {
        assert_eq!(self.requests.len(), self.awaited.len(), "index by dot");
        assert_eq!(self.requests.len(), self.by_deadline.len(), "index by deadline");
        self.awaited.check_invariants(context);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Key, Value};
    use crate::request::{Action, Condition};

    fn request(bytes: usize) -> ForKeys {
        ForKeys::One(Box::new(DataRequest {
            key: Key::new("k").expect("a key"),
            action: Action::Put(Value::new(&alloc::vec![0; bytes])),
            past: VersionVector::new(),
            wait: Micros::from_seconds(1),
            condition: Condition::default(),
            format: Formats::RELEASED.lowest,
            concern: None,
        }))
    }

    fn covering(entries: &[(u64, u64)]) -> CausalContext {
        let mut context = CausalContext::default();
        context.join(&VersionVector::from_entries(entries.iter().map(|&(i, counter)| (Incarnation(i), counter))));
        context
    }

    fn blocked() -> BlockedRequests {
        let mut blocked = BlockedRequests::default();
        for (id, incarnation, counter) in [(1, 7, 2), (2, 7, 5), (3, 8, 1)] {
            blocked.insert(RequestId(id), request(10), (Incarnation(incarnation), counter), Time(100 + id));
        }
        blocked.check_invariants(&CausalContext::default());
        blocked
    }

    #[test]
    fn a_wake_up_looks_at_what_moved_and_no_more() {
        let mut blocked = blocked();
        blocked.note(Incarnation(9));
        assert!(!blocked.is_noted(), "no request waits for that");
        blocked.note(Incarnation(7));
        let context = covering(&[(7, 4), (8, 1)]);
        assert_eq!(blocked.next_reached(&context, 10), (Some(RequestId(1)), 0));
        assert!(blocked.remove(RequestId(1)).is_some());
        assert_eq!(blocked.next_reached(&context, 10), (None, 0), "8 was not noted");
        blocked.note_all();
        assert_eq!(blocked.next_reached(&context, 10), (Some(RequestId(3)), 1));
    }

    #[test]
    fn a_look_at_all_goes_on_where_it_stopped() {
        let mut blocked = blocked();
        blocked.note_all();
        let context = covering(&[(8, 1)]);
        assert_eq!(blocked.next_reached(&context, 1), (None, 1));
        assert!(blocked.is_noted());
        assert_eq!(blocked.next_reached(&context, 1), (Some(RequestId(3)), 0));
    }

    #[test]
    fn requests_end_in_the_order_of_their_deadlines_and_free_their_bytes() {
        let mut blocked = blocked();
        assert_eq!((blocked.bytes(), blocked.next_deadline()), (30, Some(Time(101))));
        assert_eq!(blocked.expired(Time(102), 9), [RequestId(1), RequestId(2)]);
        for id in blocked.expired(Time(103), 9) {
            blocked.remove(id);
        }
        assert!(blocked.is_empty() && blocked.bytes() == 0 && blocked.next_deadline().is_none());
    }
}
