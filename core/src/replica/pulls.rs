//! The fetch under way, and what failed ones left behind (PULL-3, PULL-4, STATE-3, PIECE-1).
//!
//! Invariants kept here:
//! - One pull at a time. Its name was never used before, and what came of it is kept apart until it is whole.
//! - Frames count from zero without a gap. While one waits for its value, no other is taken.
//! - What a failed pull had staged is freed in slices, and nothing reads it.

use super::budget::{key_bytes, version_bytes};
use super::peer::PeerId;
use crate::causal_context::Retirement;
use crate::data::Key;
use crate::identity::Incarnation;
use crate::message::{Outline, Outlined, SnapshotEntry, Version};
use crate::store::Offered;
use crate::table::{HashKey, Place, Table};
use crate::time::{Micros, Time};
use crate::vector::{Dot, VersionVector};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// After a failed pull the next one waits for this.
pub(super) const RETRY_PAUSE: Micros = Micros::from_millis(200);

/// Where nothing at all came of a pull, the next ones have names far beyond. A copy of this memory may have used up
/// those that come next, and the peer that served them takes them for duplicates.
const NAMES_SKIPPED: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(super) struct Pulls {
    current: Option<Pull>,
    /// Keys that were set aside and are not needed any more, in the pieces that they were allocated in.
    discarded: Vec<Vec<(Key, Offered)>>,
    /// After a failure no new pull begins before this.
    not_before: Time,
    next: u64,
    hash_key: HashKey,
}

/// A fetch under way.
#[derive(Debug, Clone)]
struct Pull {
    name: u64,
    peer: PeerId,
    /// What was covered here when it was asked for.
    asked: Arc<VersionVector>,
    /// What the peer had said by then that it covers.
    claimed: Arc<VersionVector>,
    /// The number of the frame that comes next.
    frame: u32,
    /// It repairs a gap that had stood for the repair delay: nothing asks for it at once.
    patient: bool,
    /// How long it waits for a frame.
    timeout: Micros,
    deadline: Time,
    /// The frame that came last announced a value, which is yet to come.
    large: Option<Large>,
    staging: Staging,
}

/// What a pull begins with.
pub(super) struct Begin {
    pub(super) peer: PeerId,
    pub(super) asked: Arc<VersionVector>,
    pub(super) claimed: Arc<VersionVector>,
    pub(super) patient: bool,
    pub(super) timeout: Micros,
}

/// A pull that is over.
pub(super) struct Ended {
    pub(super) name: u64,
    pub(super) peer: PeerId,
    pub(super) claimed: Arc<VersionVector>,
    /// It stood at this value.
    pub(super) awaited: Option<Dot>,
}

/// A state that is not whole yet.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    pub(super) keys: Table<Offered>,
    /// What its keys and versions cost.
    pub(super) bytes: u64,
    /// The highest number of each incarnation among their versions.
    pub(super) highest: VersionVector,
    pub(super) retired: BTreeMap<Incarnation, Retirement>,
}

impl Staging {
    const fn new(hash_key: HashKey) -> Self {
        Self { keys: Table::new(hash_key), bytes: 0, highest: VersionVector::new(), retired: BTreeMap::new() }
    }

    fn has(&self, dot: Dot) -> bool {
        self.keys.iter().any(|(_, versions)| versions.iter().any(|version| version.dot() == dot))
    }

    fn add(&mut self, entry: SnapshotEntry) {
        self.bytes += entry.version.as_ref().map_or(0, version_bytes);
        if let Some(version) = &entry.version {
            let dot = version.dot();
            self.highest.raise(dot.incarnation, dot.counter);
        }
        match self.keys.find(&entry.key) {
            Place::Slot(slot) => {
                let (_, versions) = self.keys.at_mut(slot);
                if entry.fresh {
                    self.bytes -= versions.iter().map(version_bytes).sum::<u64>();
                    versions.clear();
                }
                versions.extend(entry.version);
            }
            Place::Absent(hash) => {
                self.bytes += key_bytes(&entry.key);
                self.keys.insert(entry.key, hash, entry.version.into_iter().collect());
            }
        }
    }
}

/// A frame of a pull that waits for its value.
#[derive(Debug, Clone)]
pub(super) struct Large {
    pub(super) content: Awaited,
    pub(super) outline: Outline,
    pub(super) frame: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Awaited {
    Op(Outlined),
    Version(SnapshotEntry, Dot),
}

impl Awaited {
    pub(super) fn dot(&self) -> Dot {
        match self {
            Self::Op(op) => op.op.dot,
            Self::Version(_, dot) => *dot,
        }
    }
}

/// Which of its frames a pull was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Next,
    /// It was here before.
    Past,
    /// Frames before it are missing.
    Beyond,
}

impl Pulls {
    /// Names count on from this one.
    pub(super) const fn new(hash_key: HashKey, next: u64) -> Self {
        Self { current: None, discarded: Vec::new(), not_before: Time(0), next, hash_key }
    }

    #[cfg(test)]
    pub(super) const fn next_name(&self) -> u64 {
        self.next
    }

    #[inline]
    pub(super) const fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    #[inline]
    pub(super) fn is_from(&self, peer: PeerId) -> bool {
        self.current.as_ref().is_some_and(|pull| pull.peer == peer)
    }

    pub(super) fn is_patient(&self) -> bool {
        self.current.as_ref().is_some_and(|pull| pull.patient)
    }

    /// Is this the pull that is under way?
    pub(super) fn is_present(&self, peer: PeerId, name: u64) -> bool {
        self.current.as_ref().is_some_and(|pull| pull.peer == peer && pull.name == name)
    }

    #[inline]
    pub(super) fn may_begin(&self, now: Time) -> bool {
        self.current.is_none() && now >= self.not_before
    }

    /// No pull begins before this.
    pub(super) fn wait_until(&mut self, at: Time) {
        self.not_before = self.not_before.max(at);
    }

    /// What a pull waited for is over: the next one may begin then at the latest.
    pub(super) fn may_begin_at(&mut self, at: Time) {
        self.not_before = self.not_before.min(at);
    }

    /// The peer could not be used: the next pull begins after this and no later.
    pub(super) const fn retry_at(&mut self, at: Time) {
        self.not_before = at;
    }

    /// Begins a pull and returns its name.
    pub(super) fn begin(&mut self, of: Begin, now: Time) -> u64 {
        assert!(self.current.is_none(), "pull {} begins while another is under way", self.next);
        let Begin { peer, asked, claimed, patient, timeout } = of;
        let (name, deadline, staging) = (self.next, now + timeout, Staging::new(self.hash_key));
        self.next += 1;
        let pull = Pull { name, peer, asked, claimed, frame: 0, patient, timeout, deadline, large: None, staging };
        self.current = Some(pull);
        name
    }

    /// Ends the pull. Where it failed, what it had staged goes and the next one waits for a moment.
    pub(super) fn end(&mut self, complete: bool, now: Time) -> Option<Ended> {
        let Pull { name, peer, claimed, large, staging, .. } = self.current.take()?;
        if !complete {
            self.not_before = now + RETRY_PAUSE;
            self.discard(staging.keys);
        }
        Some(Ended { name, peer, claimed, awaited: large.map(|large| large.content.dot()) })
    }

    /// The pull that has waited too long, by its peer and its name.
    pub(super) fn late(&mut self, now: Time) -> Option<(PeerId, u64)> {
        let late = self.current.as_ref().filter(|pull| pull.deadline <= now)?;
        if late.frame == 0 {
            self.next = self.next.saturating_add(NAMES_SKIPPED);
        }
        Some((late.peer, late.name))
    }

    /// The own process did not run for so long.
    pub(super) fn exclude_stall(&mut self, stalled: Micros) {
        if let Some(pull) = &mut self.current {
            pull.deadline = pull.deadline + stalled;
        }
    }

    /// Bytes of what was asked for still arrive from this peer.
    pub(super) fn on_progress(&mut self, peer: PeerId, now: Time) {
        if let Some(pull) = self.current.as_mut().filter(|pull| pull.peer == peer) {
            pull.deadline = now + pull.timeout;
        }
    }

    /// Takes this frame, if it is its turn. Only a mutant skips frames.
    pub(super) fn take_turn(&mut self, frame: u32, skips: bool, now: Time) -> Turn {
        let Some(pull) = &mut self.current else { return Turn::Past };
        if frame < pull.frame {
            return Turn::Past;
        }
        if frame > pull.frame && !skips {
            return Turn::Beyond;
        }
        pull.frame = frame + 1;
        pull.deadline = now + pull.timeout;
        Turn::Next
    }

    /// How long the pull waits for a frame.
    pub(super) fn timeout(&self) -> Micros {
        self.current.as_ref().map_or(Micros::ZERO, |pull| pull.timeout)
    }

    /// When the pull has waited too long.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Time> {
        self.current.as_ref().map(|pull| pull.deadline)
    }

    /// When the next pull begins, where one is due then.
    #[inline]
    pub(super) fn begins_at(&self, due: Time, now: Time) -> Time {
        let due = due.max(self.not_before);
        // What is due and found no peer to ask is looked at again with every status of a linked peer.
        if due > now {
            due
        } else if self.not_before > now {
            self.not_before
        } else {
            Time::NEVER
        }
    }

    /// The value that the pull stands at.
    #[inline]
    pub(super) fn awaited(&self) -> Option<(Dot, Outline)> {
        let large = self.current.as_ref()?.large.as_ref()?;
        Some((large.content.dot(), large.outline))
    }

    /// The pull stands at this frame until its value is here.
    pub(super) fn wait_for(&mut self, large: Large) {
        let pull = self.current.as_mut().expect("a frame belongs to a pull");
        assert!(pull.large.is_none(), "pull {} waits for two values", pull.name);
        pull.large = Some(large);
    }

    /// The value is here, or not needed any more: the pull goes on. Returns its peer and its name as well.
    pub(super) fn go_on(&mut self, now: Time) -> Option<(PeerId, u64, Large)> {
        let pull = self.current.as_mut()?;
        let large = pull.large.take()?;
        pull.deadline = now + pull.timeout;
        Some((pull.peer, pull.name, large))
    }

    /// Sets part of a state aside. A dot may stand at several keys: those of a batch. Only a mutant takes it once.
    pub(super) fn stage(&mut self, entry: SnapshotEntry, by_key: bool) {
        if let Some(pull) = &mut self.current {
            let dot = entry.version.as_ref().map(Version::dot);
            if !by_key && dot.is_some_and(|dot| pull.staging.has(dot)) {
                return;
            }
            assert!(pull.large.is_none(), "pull {} goes on before its value is here", pull.name);
            pull.staging.add(entry);
        }
    }

    pub(super) fn stage_retired(&mut self, records: impl IntoIterator<Item = (Incarnation, Retirement)>) {
        if let Some(pull) = &mut self.current {
            records.into_iter().for_each(|(of, record)| keep_greater(&mut pull.staging.retired, of, record));
        }
    }

    #[inline]
    pub(super) fn staging_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |pull| pull.staging.bytes)
    }

    /// The state is whole: what was staged, what was covered here when it was asked for, and the name of the pull.
    pub(super) fn take_staging(&mut self) -> Option<(Staging, Arc<VersionVector>, u64)> {
        let pull = self.current.as_mut()?;
        assert!(pull.large.is_none(), "pull {} ends before its value is here", pull.name);
        let staging = core::mem::replace(&mut pull.staging, Staging::new(self.hash_key));
        Some((staging, pull.asked.clone(), pull.name))
    }

    /// What was staged is not needed: it may be most of a store, and freeing it takes its time.
    pub(super) fn discard(&mut self, keys: Table<Offered>) {
        self.discarded.extend(keys.into_chunks());
    }

    #[inline]
    pub(super) const fn has_discarded(&self) -> bool {
        !self.discarded.is_empty()
    }

    /// Frees so many of the keys that were discarded. Returns how many it freed.
    pub(super) fn free(&mut self, keys_max: usize) -> usize {
        let mut freed = 0;
        while freed < keys_max
            && let Some(chunk) = self.discarded.last_mut()
        {
            let some = chunk.len().min(keys_max - freed);
            chunk.truncate(chunk.len() - some);
            freed += some;
            if chunk.is_empty() {
                self.discarded.pop();
            }
        }
        freed
    }
}

/// Of two records for one incarnation the greater stays, as everywhere.
pub(super) fn keep_greater(records: &mut BTreeMap<Incarnation, Retirement>, of: Incarnation, record: Retirement) {
    let known = records.entry(of).or_insert(record);
    *known = (*known).max(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Value;
    use crate::siblings::Sibling;

    const PEER: PeerId = PeerId(3);

    fn begun() -> (Pulls, u64) {
        let mut pulls = Pulls::new(HashKey(1, 2), 5);
        let timeout = Micros::from_seconds(1);
        let of = Begin { peer: PEER, asked: Arc::default(), claimed: Arc::default(), patient: false, timeout };
        let name = pulls.begin(of, Time(10));
        (pulls, name)
    }

    fn entry(key: &str, value: &[u8], fresh: bool) -> SnapshotEntry {
        let dot = Dot { incarnation: Incarnation(7), counter: 4 };
        let sibling = Sibling { dot, hlc: crate::hlc::Hlc(1), value: Value::new(value) };
        SnapshotEntry { key: Key::new(key).expect("a key"), fresh, version: Some(Version::Whole(sibling)) }
    }

    #[test]
    fn frames_come_without_a_gap() {
        let (mut pulls, name) = begun();
        assert!(pulls.is_present(PEER, name) && !pulls.is_present(PEER, name + 1) && !pulls.is_from(PeerId(0)));
        let turns = [0, 1, 1, 3, 2].map(|frame| pulls.take_turn(frame, false, Time(20)));
        assert_eq!(turns, [Turn::Next, Turn::Next, Turn::Past, Turn::Beyond, Turn::Next]);
        assert_eq!(pulls.deadline(), Some(Time(20) + pulls.timeout()));
    }

    #[test]
    fn a_failed_pull_leaves_nothing_staged_and_a_pause() {
        let (mut pulls, name) = begun();
        for key in ["a", "b", "c"] {
            pulls.stage(entry(key, b"value", true), true);
        }
        let ended = pulls.end(false, Time(50)).expect("it was under way");
        assert_eq!((ended.name, ended.peer, pulls.staging_bytes()), (name, PEER, 0));
        assert!(!pulls.may_begin(Time(50)) && pulls.may_begin(Time(50) + RETRY_PAUSE));
        assert_eq!([2, 2, 2].map(|room| pulls.free(room)), [2, 1, 0]);
        assert!(!pulls.has_discarded());
    }

    #[test]
    fn a_key_that_is_sent_again_costs_once() {
        let (mut pulls, _) = begun();
        pulls.stage(entry("a", b"long value", true), true);
        let once = pulls.staging_bytes();
        pulls.stage(entry("a", b"long value", true), true);
        assert_eq!(pulls.staging_bytes(), once);
        pulls.stage(entry("a", b"", false), true);
        assert!(pulls.staging_bytes() > once, "another version of it");
        let (staging, ..) = pulls.take_staging().expect("it is under way");
        assert_eq!((staging.keys.len(), staging.highest.counter(Incarnation(7))), (1, 4));
        assert_eq!(pulls.staging_bytes(), 0);
    }

    #[test]
    fn names_are_never_used_again() {
        let (mut pulls, name) = begun();
        assert_eq!(pulls.late(Time(10)), None);
        assert_eq!(pulls.late(Time(10) + Micros::from_seconds(1)), Some((PEER, name)));
        pulls.end(false, Time(10));
        let of = Begin {
            peer: PEER,
            asked: Arc::default(),
            claimed: Arc::default(),
            patient: true,
            timeout: Micros::from_seconds(1),
        };
        assert!(pulls.begin(of, Time(11)) > name + NAMES_SKIPPED, "a copy may have used those that come next");
        assert!(pulls.is_patient());
    }
}
