//! One number for what data holds in memory: store, log, buffered operations, blocked requests and a state on its way
//! (decision 0088).
//!
//! What is only of use to others goes first. Keys in order go before all (LIST-5). What is remembered for watches gives way, too (WATCH-6). The log gives way to everything else, because a peer that it no longer
//! reaches gets the whole state. Then clients' writes that add are refused, far enough below the limit that what other
//! replicas of the same size accepted meanwhile still fits. At the limit itself nothing more is taken in from peers,
//! and the replica says so: it is held back, until there is room again. Nothing that clients were told is written is
//! ever given up.
//!
//! Counted is what allocators were seen to take, not only what was said: small values cost more than their bytes.
//!
//! Invariants kept here:
//! - Each kind of write has its own limit, and no limit is above the one number.
//! - `HeldBack` and `WritesRefused` are said when the answer changes, and not again.

use super::effects::Effects;
use crate::config::Config;
use crate::data::Key;
use crate::edge::Event;
use crate::message::{Content, SnapshotEntry, Version};
use crate::siblings::{Sibling, Siblings};
use crate::time::Micros;

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
    /// Watches, what changed for them, and the deletes that are remembered for those that go on.
    pub watches: u64,
    /// Keys that stand in order for lists. They give way first.
    pub index: u64,
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
        self.held() + self.log + self.index
    }

    /// Everything but what gives way: the log, and keys in order.
    pub(super) const fn held(&self) -> u64 {
        self.store + self.causal_buffer + self.blocked + self.pieces + self.transfer + self.watches
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
fn siblings_bytes<'a>(key: &Key, gone: impl Iterator<Item = &'a Sibling>) -> u64 {
    gone.map(|sibling| put_bytes(key, sibling.value.as_bytes().len())).sum()
}

/// What a client's write adds, and what goes for it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    adds: u64,
    gone: u64,
    /// Keys that are absent so far.
    new_keys: u64,
}

impl Change {
    /// A value of so many bytes replaces all that is shown.
    pub(super) fn of(key: &Key, value_bytes: usize, shown: &Siblings) -> Self {
        let gone = siblings_bytes(key, shown.iter());
        Self { adds: put_bytes(key, value_bytes), gone, new_keys: shown.is_empty().into() }
    }

    /// All that is shown goes.
    pub(super) fn of_delete(key: &Key, shown: &Siblings) -> Self {
        Self { gone: siblings_bytes(key, shown.iter()), ..Self::default() }
    }

    /// So many bytes of memory it takes up beside what it frees.
    pub(super) const fn growth(self) -> u64 {
        self.net(KEY_COSTS)
    }

    /// By so much the store grows. What replaces as much or more adds nothing.
    const fn net(self, key_costs: u64) -> u64 {
        (self.adds + self.new_keys * key_costs).saturating_sub(self.gone)
    }
}

impl core::iter::Sum for Change {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            adds: sum.adds + one.adds,
            gone: sum.gone + one.gone,
            new_keys: sum.new_keys + one.new_keys,
        })
    }
}

/// Bytes and numbers of what holds memory, as each owner counts it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holdings {
    pub(super) store_bytes: u64,
    pub(super) keys: usize,
    pub(super) log_bytes: usize,
    pub(super) log_ops: usize,
    pub(super) causal_buffer: usize,
    pub(super) blocked: usize,
    pub(super) pieces: usize,
    pub(super) staging: u64,
    /// Keys of an installed state that are yet to be merged in.
    pub(super) keys_to_merge: usize,
    pub(super) watches: usize,
    pub(super) index_bytes: u64,
}

/// Bytes by which an operation makes the store grow and shrink, as far as can be told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Growth {
    adds: u64,
    gone: u64,
}

impl Growth {
    /// A value of so many bytes is added at this key.
    pub(super) fn of_put(key: &Key, value_bytes: usize) -> Self {
        Self { adds: KEY_COSTS + put_bytes(key, value_bytes), gone: 0 }
    }

    /// An operation on this key supersedes these versions.
    pub(super) fn replacing<'a>(self, key: &Key, gone: impl Iterator<Item = &'a Sibling>) -> Self {
        let gone = siblings_bytes(key, gone);
        Self { gone: gone + if gone > 0 { KEY_COSTS } else { 0 }, ..self }
    }

    /// A value of so many bytes comes with it.
    const fn with_value(self, value_bytes: u64) -> Self {
        Self { adds: self.adds.saturating_add(value_bytes), ..self }
    }
}

impl core::iter::Sum for Growth {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { adds: sum.adds + one.adds, gone: sum.gone + one.gone })
    }
}

/// The limits of memory, and how a replica stands with them.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// What all of it may hold. `u64::MAX` stands for no limit.
    max: u64,
    /// Clients' writes that add are accepted while the store is below this.
    writes_max: u64,
    /// Operations of other replicas are taken in below this.
    ops_max: u64,
    /// What the versions of all keys may hold.
    store_bytes_max: u64,
    refuses_writes: bool,
    /// There was no room for what peers have, so often in a row.
    held_back: Option<u32>,
    /// Bytes and keys of the state that was installed last.
    merging: (u64, usize),
}

impl Budget {
    pub(super) const fn new(config: &Config) -> Self {
        let (max, store_bytes_max) = (config.memory_bytes_max, config.store_bytes_max);
        let (writes_max, ops_max) = (sixteenths(max, WRITES_SIXTEENTHS), sixteenths(max, OPS_SIXTEENTHS));
        assert!(writes_max <= ops_max && ops_max <= max, "no limit is above the one number");
        Self { max, writes_max, ops_max, store_bytes_max, refuses_writes: false, held_back: None, merging: (0, 0) }
    }

    #[inline]
    pub(super) const fn is_limited(&self) -> bool {
        self.max != u64::MAX
    }

    #[inline]
    pub(super) const fn is_held_back(&self) -> bool {
        self.held_back.is_some()
    }

    /// What data holds, and what it may.
    #[inline]
    pub(super) fn usage(&self, of: Holdings) -> MemoryUse {
        let (bytes, keys) = self.merging;
        assert!(of.keys_to_merge <= keys, "{of:?} has more to merge than {keys} keys");
        let merging = if of.keys_to_merge == 0 { 0 } else { bytes / keys as u64 * of.keys_to_merge as u64 };
        MemoryUse {
            store: of.store_bytes + KEY_COSTS * of.keys as u64,
            log: of.log_bytes as u64 + OP_COSTS * of.log_ops as u64,
            causal_buffer: of.causal_buffer as u64,
            blocked: of.blocked as u64,
            pieces: of.pieces as u64,
            transfer: of.staging + merging,
            watches: of.watches as u64,
            index: of.index_bytes,
            max: self.max,
            writes_max: self.writes_max,
            refuses_writes: self.refuses_writes,
            held_back: self.is_held_back(),
        }
    }

    /// Is there more than may be, the log included?
    pub(super) const fn is_exceeded(&self, usage: &MemoryUse) -> bool {
        self.is_limited() && usage.log > self.max.saturating_sub(usage.held())
    }

    /// Is there room for so much beside all that is there, the log included?
    pub(super) const fn has_room_beside_log(&self, usage: &MemoryUse, bytes: u64) -> bool {
        usage.total().saturating_add(bytes) <= self.max
    }

    /// Is there room for so much, when the log has given way?
    pub(super) const fn has_room(&self, usage: &MemoryUse, bytes: u64) -> bool {
        usage.held().saturating_add(bytes) <= self.max
    }

    /// Is there room for operations of other replicas, or will there be when they wait no more?
    pub(super) const fn has_room_for_ops(&self, usage: &MemoryUse, bytes: u64) -> bool {
        usage.held().saturating_add(bytes) <= self.ops_max
    }

    /// Is there room for operations of another replica that grow the store so much?
    pub(super) const fn fits(&self, usage: &MemoryUse, growth: Growth) -> bool {
        growth.adds <= growth.gone || self.has_room_for_ops(usage, growth.adds - growth.gone)
    }

    /// Will there be room for an operation with such a value, when nothing else is on its way any more?
    pub(super) const fn fits_at_last(&self, usage: &MemoryUse, growth: Growth, value_bytes: u64) -> bool {
        let Growth { adds, gone } = growth.with_value(value_bytes);
        let lasting = usage.store + usage.transfer;
        adds <= gone || lasting.saturating_add(adds - gone) <= self.ops_max
    }

    /// Is there room for this frame of a pull, whose operations grow the store so much?
    pub(super) fn fits_frame(&self, usage: &MemoryUse, content: &Content, growth: impl FnOnce() -> Growth) -> bool {
        match content {
            Content::Ops(_) => self.fits(usage, growth()),
            Content::Op(op) => self.has_room_for_ops(usage, KEY_COSTS.saturating_add(op.outline.bytes)),
            Content::Version(entry, outline) => {
                self.has_room(usage, key_bytes(&entry.key).saturating_add(outline.bytes))
            }
            Content::Versions(versions) => {
                let cost = |entry: &SnapshotEntry| {
                    let key = if entry.fresh { key_bytes(&entry.key) } else { 0 };
                    key + entry.version.as_ref().map_or(0, version_bytes)
                };
                self.has_room(usage, versions.iter().map(cost).sum())
            }
            Content::Retired(_) | Content::State(_) => true,
        }
    }

    /// May a client write this? What adds nothing always may be.
    pub(super) fn admits(
        &mut self,
        change: Change,
        store_bytes: u64,
        usage: &MemoryUse,
        effects: &mut Effects,
    ) -> bool {
        let plain = change.net(0);
        if plain > 0 && store_bytes.saturating_add(plain) > self.store_bytes_max {
            return false;
        }
        if !self.is_limited() {
            return true;
        }
        let (growth, max) = (change.growth(), self.writes_max);
        let fits = growth == 0 || usage.store.saturating_add(growth) <= max && self.has_room(usage, growth);
        if !fits {
            self.report_refusing(true, effects);
        } else if usage.store < max / 16 * CALM_SIXTEENTHS {
            self.report_refusing(false, effects);
        }
        fits
    }

    fn report_refusing(&mut self, refuses: bool, effects: &mut Effects) {
        if core::mem::replace(&mut self.refuses_writes, refuses) != refuses {
            effects.emit(Event::WritesRefused(refuses));
        }
    }

    /// What a peer has does not fit.
    pub(super) fn hold_back(&mut self, effects: &mut Effects) {
        if self.held_back.is_none() {
            self.held_back = Some(0);
            effects.emit(Event::HeldBack(true));
        }
    }

    /// A pull brought what does not fit. Returns the time before the next one, which grows.
    pub(super) fn lengthen_pause(&mut self) -> Micros {
        let times = self.held_back.expect("a pull that does not fit holds back first") + 1;
        self.held_back = Some(times);
        HELD_PAUSE.times(1 << (times - 1).min(HELD_DOUBLINGS))
    }

    /// What was asked for has come, or nothing is missing any more.
    pub(super) fn end_holding_back(&mut self, effects: &mut Effects) {
        if self.held_back.take().is_some() {
            effects.emit(Event::HeldBack(false));
        }
    }

    /// The store may have shrunk. Returns whether what did not fit is to be tried again at once.
    pub(super) fn note_room(&mut self) -> bool {
        self.held_back.as_mut().map(|times| *times = 0).is_some()
    }

    /// A state is in force and is merged in from now on.
    pub(super) const fn note_merging(&mut self, bytes: u64, keys: usize) {
        self.merging = (bytes, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::Output;
    use alloc::vec::Vec;

    const MAX: u64 = 16_000;

    fn budget() -> Budget {
        Budget::new(&Config { memory_bytes_max: MAX, ..Config::default() })
    }

    fn usage(budget: &Budget, store_bytes: u64, log_bytes: usize) -> MemoryUse {
        budget.usage(Holdings {
            store_bytes,
            keys: 0,
            log_bytes,
            log_ops: 0,
            causal_buffer: 0,
            blocked: 0,
            pieces: 0,
            staging: 0,
            keys_to_merge: 0,
            watches: 0,
            index_bytes: 0,
        })
    }

    fn put(bytes: usize) -> (Key, Change) {
        let key = Key::new("k").expect("a key");
        let change = Change::of(&key, bytes, &Siblings::new());
        (key, change)
    }

    #[test]
    fn each_kind_of_write_ends_at_its_own_limit() {
        let (mut budget, mut effects) = (budget(), Effects::new(true));
        let (key, change) = put(100);
        let growth = Growth::of_put(&key, 100);
        let at = |sixteenths: u64| usage(&budget, MAX / 16 * sixteenths - 100, 0);
        let (full_of_writes, full_of_ops, full) = (at(5), at(14), at(16));
        assert!(budget.fits(&full_of_writes, growth) && !budget.fits(&full_of_ops, growth));
        assert!(budget.has_room(&full_of_ops, 500) && !budget.has_room(&full, 500));
        assert!(!budget.admits(change, 0, &full_of_writes, &mut effects));
    }

    #[test]
    fn only_the_log_gives_way() {
        let budget = budget();
        assert!(budget.is_exceeded(&usage(&budget, MAX / 2, MAX as usize / 2 + 1)));
        assert!(!budget.is_exceeded(&usage(&budget, MAX / 2, MAX as usize / 2)));
        assert!(!budget.is_exceeded(&usage(&budget, 2 * MAX, 0)), "there is no log to cut");
    }

    #[test]
    fn a_refusal_is_reported_when_it_begins_and_when_it_ends() {
        let (mut budget, mut effects) = (budget(), Effects::new(true));
        let (_, change) = put(100);
        let (full, empty) = (usage(&budget, MAX, 0), usage(&budget, 0, 0));
        for (usage, refused) in [(full, true), (full, true), (empty, false), (empty, false)] {
            assert_eq!(budget.admits(change, 0, &usage, &mut effects), !refused);
        }
        let events: Vec<_> = effects.outputs().cloned().collect();
        assert_eq!(events, [true, false].map(|refused| Output::Event(Event::WritesRefused(refused))));
    }

    #[test]
    fn pauses_double_until_there_is_room() {
        let (mut budget, mut effects) = (budget(), Effects::new(true));
        assert!(!budget.note_room());
        budget.hold_back(&mut effects);
        let pauses: Vec<u64> = (0..8).map(|_| budget.lengthen_pause().0 / HELD_PAUSE.0).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
        assert!(budget.note_room());
        assert_eq!(budget.lengthen_pause(), HELD_PAUSE);
        budget.end_holding_back(&mut effects);
        budget.end_holding_back(&mut effects);
        assert_eq!(effects.outputs().count(), 2, "held back, and not any more");
    }
}
