//! What a replica holds beside its data, and what one input makes it do, stay within limits (INV-10).

use super::memory::Room;
use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::Probe;
use hence_core::Config;

/// What is said even where a memory image was copied: that rests on no name of a write.
pub(super) const HOLD_OF_COPIES: [Sign; 5] =
    [Sign::Endless, Sign::Load, Sign::Work, Sign::DamageTaken, Sign::Unanswered];

/// What data may hold at a replica, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Its store, when it takes a write.
    pub store: u64,
    /// All of it.
    pub memory: u64,
}

impl Judge {
    /// A write was refused for want of room: what is truly held leaves none.
    pub(super) fn check_write_limit(&mut self, replica: usize, asked: &Asked, probe: &dyn Probe) {
        self.counts.add(Kind::StoreFull);
        self.counts.add_if(Kind::MemoryShort, self.limits_memory());
        if let Some(Room { held, more }) = self.room_needed(replica, asked, probe, 0)
            && held + more <= self.limits.store
            && !(self.limits_memory() && self.memory_is_short(replica, asked, probe))
        {
            let (store, memory) = (self.limits.store, self.limits.memory);
            self.fail(Invariant::Bounds, Sign::RefusedWithRoom, Some(replica), || {
                format!("refused {more} bytes beside {held}, and a store may have {store}, all data {memory}")
            });
        }
    }

    /// A write was taken: there was room for it.
    pub(super) fn check_room(&mut self, replica: usize, asked: &Asked, probe: &dyn Probe) {
        if self.limits_memory() {
            self.check_memory_for(replica, asked, probe);
        }
        if self.limits.store == u64::MAX {
            return;
        }
        if let Some(Room { held, more }) = self.room_needed(replica, asked, probe, 0)
            && held + more > self.limits.store
            && more > 0
        {
            let most = self.limits.store;
            self.fail(Invariant::Bounds, Sign::NoRoom, Some(replica), || {
                format!("took {more} bytes beside {held}, and only {most} are allowed")
            });
        }
    }

    /// Compares what a replica holds besides its store with its limits.
    pub fn check_load(&mut self, replica: usize, probe: &dyn Probe, config: &Config) {
        let load = probe.load();
        let many = load.parked > config.causal_buffer_max || load.waiting > config.blocked_max;
        let large = load.parked_bytes > config.causal_buffer_bytes_max || load.waiting_bytes > config.blocked_bytes_max;
        // A call that did all that it may leaves what is left of the log to the next one. A batch is cut as a whole.
        let tired = probe.work() as usize + hence_core::BATCH_MAX > hence_core::WORK_MAX as usize;
        if many || large || load.log_bytes > config.log_bytes_max && !tired {
            self.fail(Invariant::Bounds, Sign::Load, Some(replica), || format!("holds {}", words::load(&load)));
        }
        if self.limits_memory() {
            self.check_memory(replica, load.memory);
        }
    }

    /// One input does bounded work.
    pub fn check_work(&mut self, replica: usize, probe: &dyn Probe) {
        let work = probe.work();
        if work > hence_core::WORK_MAX {
            self.fail(Invariant::Bounds, Sign::Work, Some(replica), || {
                format!("{work} units of work in one step; {} are allowed", hence_core::WORK_MAX)
            });
        }
    }
}
