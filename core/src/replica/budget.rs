//! One number for what data holds in memory: store, log, buffered operations, blocked requests and a state on its way
//! (decision 0088).
//!
//! What is only of use to others goes first. The log gives way to everything else, because a peer that it no longer
//! reaches gets the whole state. Then clients' writes that add are refused, far enough below the limit that what other
//! replicas of the same size accepted meanwhile still fits. At the limit itself nothing more is taken in from peers,
//! and the replica says so: it is held back, until there is room again. Nothing that clients were told is written is
//! ever given up.
//!
//! Counted is what allocators were seen to take, not only what was said: small values cost more than their bytes.

use super::Replica;
use super::peer::PeerId;
use crate::data::Key;
use crate::edge::Event;
use crate::message::{Content, Version};
use crate::op::{Effect, Op};
use crate::rules::Rules;
use crate::siblings::Siblings;
use crate::time::{Micros, Time};
use alloc::sync::Arc;

/// What a key costs beside [`crate::Store::bytes`]: its place in the table and the index, and what allocators round up.
const KEY_COSTS: u64 = 96;

/// What an operation in the log costs beside [`Op::bytes`], in the same way.
const OP_COSTS: u64 = 128;

/// Clients' writes that add are accepted while the store is below so many sixteenths of the limit. Then what two
/// replicas accepted apart fits into one, beside a full store that all of it replaces.
const WRITES_SIXTEENTHS: u64 = 5;

/// Operations of other replicas are taken in below so many sixteenths of it. The rest is for a state: a replica that
/// holds more than there is room for needs some to learn what was deleted.
const OPS_SIXTEENTHS: u64 = 14;

/// After a write was refused, writes count as taken again when the store is below so many sixteenths of that.
const CALM_SIXTEENTHS: u64 = 15;

/// A replica that is held back tries to fetch again after this, then after twice that, and so on, so often.
const HELD_PAUSE: Micros = Micros::from_seconds(1);
const HELD_DOUBLINGS: u32 = 5;

/// What data holds in memory, in bytes; see [`super::ReplicaStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Keys and their versions.
    pub store: u64,
    /// Operations kept for peers that lack them.
    pub log: u64,
    /// Operations that wait for causally earlier ones.
    pub causal_buffer: u64,
    /// Values in requests that wait.
    pub blocked: u64,
    /// Values of which some pieces are here.
    pub pieces: u64,
    /// A state that is being fetched or merged in.
    pub transfer: u64,
    /// What all of it may hold: [`crate::Config::memory_bytes_max`].
    pub max: u64,
    /// Clients' writes that add are accepted up to this size of the store.
    pub writes_max: u64,
    /// A write was refused for want of memory, and the store has not shrunk since.
    pub refuses_writes: bool,
    /// What other replicas have does not fit here.
    pub held_back: bool,
}

impl MemoryUse {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.store + self.log + self.causal_buffer + self.blocked + self.pieces + self.transfer
    }
}

/// How a replica stands with its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget {
    refuses_writes: bool,
    /// There was no room for what peers have, so often in a row.
    held_back: Option<u32>,
    /// Bytes and keys of the state that was installed last.
    merging: (u64, usize),
}

impl Budget {
    pub(super) const fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }
}

/// What a version costs, be it whole or only named.
pub(super) fn version_bytes(version: &Version) -> u64 {
    64 + version.whole().map_or(0, |sibling| sibling.value.as_bytes().len() as u64)
}

/// What a key costs before it has a version.
pub(super) fn key_bytes(key: &Key) -> u64 {
    KEY_COSTS + key.as_str().len() as u64
}

const fn sixteenths(bytes: u64, parts: u64) -> u64 {
    (bytes as u128 * parts as u128 / 16) as u64
}

fn put_bytes(key: &Key, value_bytes: usize) -> u64 {
    (64 + key.as_str().len() + value_bytes) as u64
}

/// What goes when these versions are superseded.
fn siblings_bytes<'a>(key: &Key, gone: impl Iterator<Item = &'a crate::siblings::Sibling>) -> u64 {
    gone.map(|sibling| put_bytes(key, sibling.value.as_bytes().len())).sum()
}

/// What a client's write adds, and what goes for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    adds: u64,
    gone: u64,
    /// The key is absent so far.
    new_key: bool,
}

impl Change {
    /// A value of so many bytes replaces all that is shown.
    pub(super) fn of(key: &Key, value_bytes: usize, shown: &Siblings) -> Self {
        let gone = siblings_bytes(key, shown.iter());
        Self { adds: put_bytes(key, value_bytes), gone, new_key: shown.is_empty() }
    }

    /// By so much the store grows. What replaces as much or more adds nothing.
    const fn growth(self, key_costs: u64) -> u64 {
        let adds = if self.new_key { self.adds + key_costs } else { self.adds };
        adds.saturating_sub(self.gone)
    }
}

impl<R: Rules> Replica<R> {
    fn store_cost(&self) -> u64 {
        self.store.bytes() + KEY_COSTS * self.store.len() as u64
    }

    fn log_cost(&self) -> u64 {
        self.log.bytes() as u64 + OP_COSTS * self.log.len() as u64
    }

    fn transfer_cost(&self) -> u64 {
        let staging = self.pull.as_ref().map_or(0, |pull| pull.staging.bytes);
        let (bytes, keys) = self.budget.merging;
        staging + bytes / keys.max(1) as u64 * self.store.incoming() as u64
    }

    /// Everything but the log, which gives way.
    fn held(&self) -> u64 {
        let apart = self.causal_buffer.bytes() + self.blocked.bytes() + self.pieces.bytes();
        self.store_cost() + apart as u64 + self.transfer_cost()
    }

    const fn writes_max(&self) -> u64 {
        sixteenths(self.config.memory_bytes_max, WRITES_SIXTEENTHS)
    }

    /// Is there room for operations of other replicas, or will there be when they wait no more?
    pub(super) fn has_memory_for_ops(&self, bytes: u64) -> bool {
        self.held().saturating_add(bytes) <= sixteenths(self.config.memory_bytes_max, OPS_SIXTEENTHS)
    }

    /// What data holds, and what it may.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            store: self.store_cost(),
            log: self.log_cost(),
            causal_buffer: self.causal_buffer.bytes() as u64,
            blocked: self.blocked.bytes() as u64,
            pieces: self.pieces.bytes() as u64,
            transfer: self.transfer_cost(),
            max: self.config.memory_bytes_max,
            writes_max: self.writes_max(),
            refuses_writes: self.budget.refuses_writes,
            held_back: self.budget.is_held_back(),
        }
    }

    /// Must the log give way, though peers may still need it?
    pub(super) fn is_log_too_long(&self) -> bool {
        self.log.bytes() > self.config.log_bytes_max || self.is_over_memory()
    }

    /// Is there more than may be, the log included?
    pub(super) fn is_over_memory(&self) -> bool {
        let max = self.config.memory_bytes_max;
        max != u64::MAX && self.log.len() > 0 && self.log_cost() > max.saturating_sub(self.held())
    }

    /// Is there room for so much, when the log has given way?
    pub(super) fn has_memory(&self, bytes: u64) -> bool {
        self.held().saturating_add(bytes) <= self.config.memory_bytes_max
    }

    /// May a client write this? What adds nothing always may be.
    pub(super) fn admits(&mut self, change: Change) -> bool {
        let plain = change.growth(0);
        if plain > 0 && self.store.bytes().saturating_add(plain) > self.config.store_bytes_max {
            return false;
        }
        if self.config.memory_bytes_max == u64::MAX {
            return true;
        }
        let (growth, store, max) = (change.growth(KEY_COSTS), self.store_cost(), self.writes_max());
        let fits = growth == 0 || store.saturating_add(growth) <= max && self.has_memory(growth);
        if !fits {
            self.report_refusing(true);
        } else if store < max / 16 * CALM_SIXTEENTHS {
            self.report_refusing(false);
        }
        fits
    }

    fn report_refusing(&mut self, refuses: bool) {
        if core::mem::replace(&mut self.budget.refuses_writes, refuses) != refuses {
            self.emit(Event::WritesRefused(refuses));
        }
    }

    /// Bytes by which the store grows and shrinks with this operation, as far as can be told before.
    fn growth(&self, op: &Op) -> (u64, u64) {
        let (key, adds) = match &op.effect {
            Effect::Put { key, value } => (key, KEY_COSTS + put_bytes(key, value.as_bytes().len())),
            Effect::Delete { key } | Effect::Erase { key } => (key, 0),
            Effect::Retire { .. } => return (0, 0),
        };
        if op.superseded.is_empty() {
            return (adds, 0);
        }
        let present = self.store.siblings(self.store.find(key));
        let gone = siblings_bytes(key, present.iter().filter(|sibling| op.superseded.contains(&sibling.dot)));
        (adds, gone + if gone > 0 { KEY_COSTS } else { 0 })
    }

    /// The same of all that are not here yet.
    fn growth_of(&self, ops: &[Arc<Op>]) -> (u64, u64) {
        let new_ops = ops.iter().filter(|op| !self.context.covers(op.dot));
        new_ops.map(|op| self.growth(op)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Is there room for this operation of another replica?
    pub(super) fn fits(&self, op: &Op) -> bool {
        if self.config.memory_bytes_max == u64::MAX {
            return true;
        }
        let (adds, gone) = self.growth(op);
        adds <= gone || self.has_memory_for_ops(adds - gone)
    }

    /// Will there be room for an operation that grows the store so much, when nothing else is on its way any more?
    pub(super) fn fits_at_last(&self, op: &Op, value_bytes: u64) -> bool {
        let (adds, gone) = self.growth(op);
        let adds = adds.saturating_add(value_bytes);
        let lasting = self.store_cost() + self.transfer_cost();
        let most = sixteenths(self.config.memory_bytes_max, OPS_SIXTEENTHS);
        adds <= gone || lasting.saturating_add(adds - gone) <= most
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

    /// Is there room for this frame of a pull?
    fn fits_frame(&self, content: &Content) -> bool {
        if self.config.memory_bytes_max == u64::MAX {
            return true;
        }
        match content {
            Content::Ops(ops) => {
                let (adds, gone) = self.growth_of(ops);
                adds <= gone || self.has_memory_for_ops(adds - gone)
            }
            Content::Op(op) => {
                self.context.covers(op.op.dot) || self.has_memory_for_ops(KEY_COSTS.saturating_add(op.outline.bytes))
            }
            Content::Version(entry, outline) => self.has_memory(key_bytes(&entry.key).saturating_add(outline.bytes)),
            Content::Versions(versions) => {
                let cost = |entry: &crate::message::SnapshotEntry| {
                    let key = if entry.fresh { key_bytes(&entry.key) } else { 0 };
                    key + entry.version.as_ref().map_or(0, version_bytes)
                };
                self.has_memory(versions.iter().map(cost).sum())
            }
            Content::Retired(_) | Content::State(_) => true,
        }
    }

    /// What a peer has does not fit. It is fetched when there is room; meanwhile no client should be sent here. What
    /// waits for what does not fit makes room.
    pub(super) fn hold_back(&mut self) {
        self.causal_buffer.clear();
        self.drop_announced();
        if self.budget.held_back.is_none() {
            self.budget.held_back = Some(0);
            self.emit(Event::HeldBack(true));
        }
    }

    /// A pull brought what does not fit. The next one waits longer.
    pub(super) fn hold_back_pulls(&mut self) {
        self.hold_back();
        let times = self.budget.held_back.map_or(0, |times| times + 1);
        self.budget.held_back = Some(times);
        let pause = HELD_PAUSE.times(1 << times.saturating_sub(1).min(HELD_DOUBLINGS));
        self.pull_not_before = self.pull_not_before.max(self.now.monotonic + pause);
    }

    /// What was asked for has come, or nothing is missing any more.
    pub(super) fn end_holding_back(&mut self) {
        if self.budget.held_back.take().is_some() {
            self.emit(Event::HeldBack(false));
        }
    }

    /// Is the whole state the better answer to a peer that is not ready, though the log reaches it?
    ///
    /// A peer that is held back cannot take in what the log says was written before it was deleted. The state says only
    /// what is left.
    pub(super) fn prefers_state(&self, id: PeerId) -> bool {
        let limited = self.config.memory_bytes_max != u64::MAX;
        limited && !self.peers[id.0].ready && self.log.bytes() as u64 > self.store.bytes()
    }

    /// The store may have shrunk: what did not fit is tried again at once.
    pub(super) fn note_room(&mut self, now: Time) {
        if self.budget.is_held_back() {
            self.budget.held_back = Some(0);
            self.pull_not_before = self.pull_not_before.min(now);
        }
    }

    /// Memory after a call: the log gives way, and what is not held back any more says so.
    pub(super) fn tend_memory(&mut self) {
        if self.is_over_memory() {
            self.trim_log();
        }
        if self.budget.is_held_back() && self.pull.is_none() && self.gaps.oldest().is_none() {
            self.end_holding_back();
        }
    }

    /// A state is in force and is merged in from now on.
    pub(super) const fn note_merging(&mut self, bytes: u64, keys: usize) {
        self.budget.merging = (bytes, keys);
    }
}
