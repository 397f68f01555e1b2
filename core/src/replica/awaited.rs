//! Who waits for which dot (REQ-2, WATCH-4).
//!
//! Code that moves the coverage of an incarnation notes that incarnation. So a wake-up costs what it wakes and no more,
//! however many incarnations others wait for. Where many moved at once, or it is not known which, every incarnation that
//! is waited for is looked at, some in each call.

use crate::causal_context::CausalContext;
use crate::identity::Incarnation;
use crate::request::RequestId;
use alloc::collections::BTreeSet;

#[derive(Debug, Clone, Default)]
pub(super) struct Awaited {
    by_dot: BTreeSet<(Incarnation, u64, RequestId)>,
    /// Incarnations that are waited for and whose coverage moved.
    moved: BTreeSet<Incarnation>,
    /// The coverage of any incarnation from this one on may have moved.
    unsure_from: Option<Incarnation>,
}

impl Awaited {
    pub(super) fn insert(&mut self, id: RequestId, dot: (Incarnation, u64)) {
        self.by_dot.insert((dot.0, dot.1, id));
    }

    pub(super) fn remove(&mut self, id: RequestId, dot: (Incarnation, u64)) {
        self.by_dot.remove(&(dot.0, dot.1, id));
    }

    /// The coverage of this incarnation moved.
    #[inline]
    pub(super) fn note(&mut self, incarnation: Incarnation) {
        if !self.by_dot.is_empty() && self.first_from(incarnation).is_some_and(|(own, ..)| own == incarnation) {
            self.moved.insert(incarnation);
        }
    }

    /// The coverage of any incarnation may have moved.
    pub(super) fn note_all(&mut self) {
        self.unsure_from = (!self.by_dot.is_empty()).then_some(Incarnation(0));
    }

    /// Is there anything to look at?
    #[inline]
    pub(super) fn is_noted(&self) -> bool {
        !self.moved.is_empty() || self.unsure_from.is_some()
    }

    /// One whose dot is covered by now. Counts the incarnations looked at in vain, up to so many.
    pub(super) fn next_reached(&mut self, context: &CausalContext, room: usize) -> (Option<RequestId>, usize) {
        while let Some(&incarnation) = self.moved.first() {
            if let Some(id) = self.reached(context, incarnation) {
                return (Some(id), 0);
            }
            self.moved.remove(&incarnation);
        }
        for looked in 0..room {
            let Some(from) = self.unsure_from else { return (None, looked) };
            let Some((incarnation, ..)) = self.first_from(from) else {
                self.unsure_from = None;
                return (None, looked);
            };
            if let Some(id) = self.reached(context, incarnation) {
                return (Some(id), looked);
            }
            self.unsure_from = incarnation.0.checked_add(1).map(Incarnation);
        }
        (None, room)
    }

    fn first_from(&self, incarnation: Incarnation) -> Option<(Incarnation, u64, RequestId)> {
        self.by_dot.range((incarnation, 0, RequestId(0))..).next().copied()
    }

    fn reached(&self, context: &CausalContext, incarnation: Incarnation) -> Option<RequestId> {
        let end = (incarnation, context.counter(incarnation), RequestId(u64::MAX));
        self.by_dot.range((incarnation, 0, RequestId(0))..=end).next().map(|&(.., id)| id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_dot.len()
    }

    /// # Panics
    /// If someone waits for what is covered.
    pub(super) fn check_invariants(&self, context: &CausalContext) {
        for &(incarnation, counter, id) in &self.by_dot {
            assert!(context.counter(incarnation) < counter, "{id:?} waits for what is covered");
        }
    }
}
