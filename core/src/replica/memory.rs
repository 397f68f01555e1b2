//! What a replica does about its memory: who gives way, and what is not taken in (LIST-5, PULL-4, WATCH-6).
//! [`super::budget`] holds the limits.

use super::budget::{Change, Growth, Holdings};
use super::peer::PeerId;
use super::{MemoryUse, Replica};
use crate::config::Config;
use crate::message::Content;
use crate::op::{self, Op};
use crate::rules::{Rule, Rules};
use crate::time::Time;

/// Watches take so small a part of the memory at most.
const WATCHES_SHARE: u64 = 16;

/// So do the deletes that are remembered for them, and what changed for them.
const REMEMBERED_SHARE: u64 = 64;

/// Bytes of the deletes that are remembered for watches, or of what changed for them.
pub(super) fn remembered_max(config: &Config) -> usize {
    if config.memory_bytes_max == u64::MAX {
        return usize::MAX;
    }
    usize::try_from(config.memory_bytes_max / REMEMBERED_SHARE).unwrap_or(usize::MAX)
}

impl<R: Rules> Replica<R> {
    /// What data holds, and what it may.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.budget.usage(Holdings {
            store_bytes: self.data.store().bytes(),
            keys: self.data.store().len(),
            log_bytes: self.data.log().bytes(),
            log_ops: self.data.log().len(),
            causal_buffer: self.causal_buffer.bytes(),
            blocked: self.blocked_bytes(),
            pieces: self.fetches.bytes(),
            staging: self.pulls.staging_bytes(),
            keys_to_merge: self.data.store().incoming(),
            watches: self.watches.bytes() + self.deleted.bytes(),
            index_bytes: self.data.store().index_bytes(),
        })
    }

    /// Must the log give way, though peers may still need it?
    pub(super) fn is_log_too_long(&self) -> bool {
        self.data.log().bytes() > self.config.log_bytes_max || self.is_over_memory()
    }

    fn is_over_memory(&self) -> bool {
        self.budget.is_limited() && self.data.log().len() > 0 && self.budget.is_exceeded(&self.memory())
    }

    /// May a client write this?
    pub(super) fn admits(&mut self, change: Change) -> bool {
        let usage = self.memory();
        self.budget.admits(change, self.data.store().bytes(), &usage, &mut self.effects)
    }

    fn growth(&self, op: &Op) -> Growth {
        let of_change = |op::Change { key, value, superseded }| {
            let growth = value.map_or_else(Growth::default, |value| Growth::of_put(key, value.as_bytes().len()));
            if superseded.is_empty() {
                return growth;
            }
            let present = self.data.store().siblings(self.data.store().find(key));
            growth.replacing(key, present.iter().filter(|sibling| superseded.contains(&sibling.dot)))
        };
        op.changes().map(of_change).sum()
    }

    /// Is there room for this operation of another replica?
    pub(super) fn fits(&self, op: &Op) -> bool {
        !self.budget.is_limited() || self.budget.fits(&self.memory(), self.growth(op))
    }

    /// Will there be room for an operation with such a value, when nothing else is on its way any more?
    pub(super) fn fits_at_last(&self, op: &Op, value_bytes: u64) -> bool {
        self.budget.fits_at_last(&self.memory(), self.growth(op), value_bytes)
    }

    pub(super) fn has_memory_for_ops(&self, bytes: u64) -> bool {
        self.budget.has_room_for_ops(&self.memory(), bytes)
    }

    /// Is there room for this frame of a pull, when what is on its way beside it gives way? That comes by repair.
    pub(super) fn makes_room_for(&mut self, content: &Content) -> bool {
        if self.fits_frame(content) {
            return true;
        }
        self.causal_buffer.clear();
        self.drop_announced();
        self.fits_frame(content)
    }

    fn fits_frame(&self, content: &Content) -> bool {
        let growth = || {
            let Content::Ops(ops) = content else { return Growth::default() };
            ops.iter().filter(|op| !self.data.context().covers(op.dot)).map(|op| self.growth(op)).sum()
        };
        let is_covered = matches!(content, Content::Op(op) if self.data.context().covers(op.op.dot));
        !self.budget.is_limited() || is_covered || self.budget.fits_frame(&self.memory(), content, growth)
    }

    /// What a peer has does not fit. It is fetched when there is room; meanwhile no client should be sent here. What
    /// waits for what does not fit makes room.
    pub(super) fn hold_back(&mut self) {
        self.causal_buffer.clear();
        self.drop_announced();
        self.budget.hold_back(&mut self.effects);
    }

    /// A pull brought what does not fit. The next one waits longer.
    pub(super) fn hold_back_pulls(&mut self) {
        self.hold_back();
        let pause = self.budget.lengthen_pause();
        if self.rules.follows(Rule::PausesWithoutMemory) {
            self.pulls.wait_until(self.now.monotonic + pause);
        }
    }

    /// Is the whole state the better answer to a peer that is not ready, though the log reaches it?
    ///
    /// A peer that is held back cannot take in what the log says was written before it was deleted. The state says only
    /// what is left.
    pub(super) fn prefers_state(&self, id: PeerId) -> bool {
        self.budget.is_limited() && !self.peers[id].ready && self.data.log().bytes() as u64 > self.data.store().bytes()
    }

    /// The store may have shrunk: what did not fit is tried again at once.
    pub(super) fn note_room(&mut self, now: Time) {
        if self.budget.note_room() {
            self.pulls.may_begin_at(now);
        }
    }

    /// Is there room for all keys in order, and some more? What is in order is not needed more than the log.
    pub(super) fn has_memory_for_index(&self) -> bool {
        let (whole, present) = (self.data.store().whole_index_bytes(), self.data.store().index_bytes());
        let bytes = (whole + whole / 4).saturating_sub(present);
        !self.budget.is_limited() || self.budget.has_room_beside_log(&self.memory(), bytes)
    }

    /// Memory after a call: keys in order give way, then what is on its way, then the log. What is not held back any
    /// more says so.
    pub(super) fn tend_memory(&mut self) {
        if self.budget.is_limited() && self.data.store().index_bytes() > 0 {
            self.tend_index();
        }
        if self.budget.is_limited() && !self.budget.has_room(&self.memory(), 0) {
            // There was room for each when it was let in. Pieces of a value come later, beside what was let in meanwhile.
            self.causal_buffer.clear();
            self.drop_announced();
            self.forget_for_watches();
        }
        if self.is_over_memory() {
            self.trim_log();
        }
        if self.budget.is_held_back() && !self.pulls.is_under_way() && self.gaps.oldest().is_none() {
            self.budget.end_holding_back(&mut self.effects);
        }
    }

    /// Is there room for one more watch? They never give way, so all of them have a small part only.
    pub(super) fn has_memory_to_watch(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let within = self.watches.own_bytes() + bytes <= self.config.memory_bytes_max / WATCHES_SHARE;
        !self.budget.is_limited() || within && self.budget.has_room(&self.memory(), bytes)
    }

    /// What is remembered for watches gives way. They are told anew what they may lack.
    fn forget_for_watches(&mut self) {
        let room = self.effects.room();
        self.effects.did(self.deleted.forget_some(room));
        self.effects.did(self.watches.give_up_some(self.effects.room()));
        self.effects.defer_if(self.effects.room() == 0);
    }

    /// Keys in order give way at the limit, to whatever it is.
    fn tend_index(&mut self) {
        if !self.budget.has_room_beside_log(&self.memory(), 0) {
            self.data.drop_index();
            self.effects.defer();
        }
    }
}
