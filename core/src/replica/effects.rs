//! What one call does to the outside, and how much it may do (LIMIT-2).
//!
//! Invariants kept here:
//! - The outputs of a call are taken out before the next one begins, and leave in the order in which they were made.
//! - What a call may still do only shrinks. What is left over when nothing more may be done is deferred, and a call that
//!   defers wakes the replica at once.

use crate::edge::{Event, Output};
use crate::identity::Address;
use crate::message::Message;
use crate::request::{Reply, RequestId, WatchPart};
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// Units of work in one call. One unit is a key touched, merged in or freed, or an operation or version sent or taken
/// in. It is also a request answered or looked at, or a log entry looked at or cut. What is left waits for the next
/// call. Keys and values are shared and never copied, so a frame of 64 KiB costs at most this many pointers.
///
/// Not counted is what is bounded otherwise. That is a message, a vector and a record of the view for each member, and
/// the outcomes that a request is compared with ([`crate::Config::rounds_max`]). It is also the operations dropped with
/// the link of their origin ([`crate::Config::causal_buffer_max`]). When a state is installed or an incarnation retired,
/// each record of a retired incarnation comes to that.
pub const WORK_MAX: u32 = 256;

/// Room for the outputs of most inputs, so that the list of them need not grow step by step.
const OUTPUTS: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Effects {
    outputs: VecDeque<Output>,
    /// Units of work that the present call has done.
    work: u32,
    is_bounded: bool,
    /// Something was left for the next call, because one call does bounded work.
    deferred: bool,
}

impl Effects {
    /// Everything due is done at the first timeout, which is due at once. Only a mutant does unbounded work.
    pub(super) fn new(is_bounded: bool) -> Self {
        Self { outputs: VecDeque::with_capacity(OUTPUTS), work: 0, is_bounded, deferred: true }
    }

    /// Begins a call.
    ///
    /// # Panics
    /// If outputs of the call before were left: a mistake of the driver.
    #[inline]
    pub(super) fn begin(&mut self) {
        assert!(self.outputs.is_empty(), "outputs must be drained before the next input");
        self.work = 0;
    }

    /// Forgets the outputs so far: the caller does not listen yet.
    pub(super) fn forget_outputs(&mut self) {
        self.outputs.clear();
    }

    #[inline]
    pub(super) fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    #[inline]
    pub(super) fn send(&mut self, to: Address, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    #[inline]
    pub(super) fn reply(&mut self, id: RequestId, reply: Reply) {
        self.outputs.push_back(Output::Reply { id, reply: Box::new(reply) });
    }

    pub(super) fn tell(&mut self, id: RequestId, part: WatchPart) {
        self.outputs.push_back(Output::Tell { id, part: Box::new(part) });
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter()
    }

    /// How much more this call may do.
    #[inline]
    pub(super) const fn room(&self) -> usize {
        if self.is_bounded { WORK_MAX.saturating_sub(self.work) as usize } else { usize::MAX }
    }

    /// So much was done.
    #[inline]
    pub(super) fn did(&mut self, units: usize) {
        let units = u32::try_from(units).expect("what one call does is counted by a u32");
        self.work = self.work.checked_add(units).expect("what one call does is counted by a u32");
    }

    pub(super) const fn work(&self) -> u32 {
        self.work
    }

    /// Something is left for the next call.
    pub(super) const fn defer(&mut self) {
        self.deferred = true;
    }

    #[inline]
    pub(super) const fn defer_if(&mut self, something_is_left: bool) {
        self.deferred |= something_is_left;
    }

    #[inline]
    pub(super) const fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Was something left? It is done now.
    #[inline]
    pub(super) const fn take_deferred(&mut self) -> bool {
        core::mem::replace(&mut self.deferred, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_shrinks_with_work_and_never_below_nothing() {
        let mut effects = Effects::new(true);
        effects.did(WORK_MAX as usize - 1);
        assert_eq!(effects.room(), 1);
        effects.did(3);
        assert_eq!(effects.room(), 0);
        effects.begin();
        assert_eq!(effects.room(), WORK_MAX as usize);
    }

    #[test]
    fn what_is_deferred_is_taken_once() {
        let mut effects = Effects::new(true);
        assert!(effects.take_deferred(), "a replica that has just started has everything to do");
        assert!(!effects.take_deferred());
        effects.defer_if(false);
        assert!(!effects.is_deferred());
        effects.defer();
        effects.defer_if(false);
        assert!(effects.take_deferred());
    }

    #[test]
    #[should_panic(expected = "outputs must be drained")]
    fn outputs_left_over_are_a_mistake_of_the_driver() {
        let mut effects = Effects::new(true);
        effects.emit(Event::ViewChanged);
        effects.begin();
    }
}
