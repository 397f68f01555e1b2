//! One number bounds what data holds at a replica (decision 0088). A replica stays within it. It refuses a client's
//! write only where there is truly no room. It lacks what others hold only where that truly does not fit.
//!
//! What a store holds is counted here anew, from the truth. What is on its way is what the replica says of it.

use super::{Asked, Judge};
use crate::oracle::sign::Sign;
use crate::oracle::truth::Numbers;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::{Load, Probe};
use hence_core::{Action, MemoryUse};

/// What a version counts for besides key and value.
const VERSION_BYTES: u64 = 64;

/// What a key counts for besides its versions.
const KEY_BYTES: u64 = 96;

/// Clients' writes that add are taken while the store is below so many sixteenths of the limit.
const WRITES_SIXTEENTHS: u64 = 5;

const fn sixteenths(bytes: u64, parts: u64) -> u64 {
    (bytes as u128 * parts as u128 / 16) as u64
}

/// What an answer takes that waits until its write has spread, besides what its token has.
const ANSWER_BYTES: usize = 256;
/// What each entry of its token takes.
const ENTRY_BYTES: usize = 16;

/// What the answer to a write takes while the write spreads.
pub fn answer_bytes(probe: &dyn Probe) -> usize {
    ANSWER_BYTES + ENTRY_BYTES * (probe.vector().len() + 1)
}

/// What an outcome of a batch takes in such an answer, and each version in it, beside the value.
const OUTCOME_BYTES: usize = 64;
/// What a version takes there that was superseded.
const DOT_BYTES: usize = 16;

/// Writes that this incarnation has made.
pub fn own_writes(probe: &dyn Probe) -> u64 {
    probe.vector().counter(probe.incarnation())
}

/// What a write finds and what it adds, in bytes.
pub(super) struct Room {
    pub(super) held: u64,
    pub(super) more: u64,
}

impl Judge {
    pub(super) const fn limits_memory(&self) -> bool {
        self.limits.memory != u64::MAX
    }

    /// A client's write was refused for want of memory: is there truly none?
    pub(super) fn memory_is_short(&self, replica: usize, asked: &Asked, probe: &dyn Probe) -> bool {
        let Some(Room { held, more }) = self.room_needed(replica, asked, probe, KEY_BYTES) else { return true };
        held + more > sixteenths(self.limits.memory, WRITES_SIXTEENTHS) || self.is_full(replica, probe, more)
    }

    /// Is there no room for so many bytes, even when the log has given way?
    ///
    /// An input may answer several requests. In its middle some still wait that do not at its end. Others spread already
    /// that did not at its beginning, and may not any more at its end.
    #[must_use]
    pub fn is_full(&self, replica: usize, probe: &dyn Probe, bytes: u64) -> bool {
        let (before, after) = (self.load_before(replica).memory, probe.load().memory);
        // One part may have grown already while another has not shrunk yet.
        let part = |of: fn(&MemoryUse) -> u64| of(&before).max(of(&after));
        let parts: [fn(&MemoryUse) -> u64; 5] =
            [|m| m.store, |m| m.causal_buffer, |m| m.pieces, |m| m.transfer, |m| m.watches];
        let most = parts.into_iter().map(part).sum::<u64>() + before.blocked + after.blocked;
        let made = own_writes(probe).saturating_sub(self.own_before[replica]);
        let spread = made.saturating_mul((answer_bytes(probe) + self.shown_most) as u64);
        self.limits_memory() && most.saturating_add(spread).saturating_add(bytes) > self.limits.memory
    }

    /// What the answer to a batch shows, in bytes, where its replica answers now. Of one key nothing is shown.
    #[must_use]
    pub fn shown_bytes(&self, replica: usize, asked: &Asked) -> usize {
        if asked.with.is_empty() {
            return 0;
        }
        let live = &self.truth.holdings[replica].live;
        let value = |key: u8, number: u32| {
            self.truth.writes[number as usize].value_of(key).map_or(0, |value| value.as_bytes().len())
        };
        let shown = |(key, action, _): (u8, &Action, _)| {
            let numbers = &live[usize::from(key)];
            OUTCOME_BYTES
                + match action {
                    Action::Get => numbers.iter().map(|&number| OUTCOME_BYTES + value(key, number)).sum(),
                    Action::Put(_) | Action::Delete => numbers.len() * DOT_BYTES,
                }
        };
        asked.parts().map(shown).sum()
    }

    /// Is there no room for so many bytes beside what this write adds?
    #[must_use]
    pub fn is_full_beside(&self, replica: usize, asked: &Asked, probe: &dyn Probe, bytes: u64) -> bool {
        let more = self.room_needed(replica, asked, probe, KEY_BYTES).map(|room| room.more);
        self.limits_memory() && more.is_none_or(|more| self.is_full(replica, probe, bytes + more))
    }

    /// What a replica held before the input that is judged now.
    #[must_use]
    pub fn load_before(&self, replica: usize) -> &Load {
        &self.loads[replica]
    }

    /// An input of this replica is judged.
    pub fn note_load(&mut self, replica: usize, load: Load, own_writes: u64) {
        self.loads[replica] = load;
        self.own_before[replica] = own_writes;
    }

    /// A write was taken: there was memory for it.
    pub(super) fn check_memory_for(&mut self, replica: usize, asked: &Asked, probe: &dyn Probe) {
        let most = sixteenths(self.limits.memory, WRITES_SIXTEENTHS);
        if let Some(Room { held, more }) = self.room_needed(replica, asked, probe, KEY_BYTES)
            && more > 0
            && held + more > most
        {
            self.fail(Invariant::Bounds, Sign::NoRoom, Some(replica), || {
                format!("took {more} bytes beside {held}, and its share of memory is {most}")
            });
        }
    }

    /// What is truly held, and what a write adds to it, where a key costs so much besides its versions. None while a
    /// state is merged in: what it replaces still counts.
    pub(super) fn room_needed(&self, replica: usize, asked: &Asked, probe: &dyn Probe, key_bytes: u64) -> Option<Room> {
        probe.digest()?;
        let live = &self.truth.holdings[replica].live;
        let held = self.live_costs(live, key_bytes);
        // A write replaces all versions that its replica shows. Where they are as large, it adds nothing.
        let (mut adds, mut gone) = (0, 0);
        for (key, action, _) in asked.parts() {
            let key = usize::from(key);
            if let Action::Put(value) = action {
                let fresh = if live[key].is_empty() { key_bytes } else { 0 };
                adds += self.bytes(key, value.as_bytes().len()) + fresh;
            }
            if *action != Action::Get {
                gone += live[key].iter().map(|&number| self.version_costs(key, number)).sum::<u64>();
            }
        }
        Some(Room { held, more: adds.saturating_sub(gone) })
    }

    /// A replica is within its limit, its log included.
    pub(super) fn check_memory(&mut self, replica: usize, memory: MemoryUse) {
        if memory.total() > self.limits.memory {
            let most = self.limits.memory;
            self.fail(Invariant::Bounds, Sign::Memory, Some(replica), || {
                format!("{}, and {most} are allowed", words::memory(&memory))
            });
        }
    }

    /// Do all replicas together hold more than fits into each? A state is set aside whole, beside what is there.
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        if !self.limits_memory() {
            return false;
        }
        let holdings: Vec<_> = self.truth.holdings.iter().map(|holding| &holding.live).collect();
        let all = (0..self.keys.len()).map(|key| {
            let mut numbers: Vec<u32> = holdings.iter().flat_map(|live| live[key].iter().copied()).collect();
            numbers.sort_unstable();
            numbers.dedup();
            self.key_costs(key, numbers.into_iter(), KEY_BYTES)
        });
        let own = holdings.iter().map(|live| self.live_costs(live, KEY_BYTES)).max().unwrap_or(0);
        all.sum::<u64>() + own > self.limits.memory
    }

    fn live_costs(&self, live: &[Numbers], key_bytes: u64) -> u64 {
        live.iter().enumerate().map(|(key, numbers)| self.key_costs(key, numbers.iter().copied(), key_bytes)).sum()
    }

    fn key_costs(&self, key: usize, numbers: impl ExactSizeIterator<Item = u32>, key_bytes: u64) -> u64 {
        let fixed = if numbers.len() == 0 { 0 } else { key_bytes };
        fixed + numbers.map(|number| self.version_costs(key, number)).sum::<u64>()
    }

    fn version_costs(&self, key: usize, number: u32) -> u64 {
        let value = self.truth.writes[number as usize].value_of(key as u8);
        self.bytes(key, value.map_or(0, |value| value.as_bytes().len()))
    }

    fn bytes(&self, key: usize, value: usize) -> u64 {
        self.keys[key].as_str().len() as u64 + value as u64 + VERSION_BYTES
    }
}
