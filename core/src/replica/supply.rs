//! Answers pulls: from the log in apply order, or with the whole state (PULL-3, STATE-1, BATCH-5).
//!
//! A whole state is sent key by key while the supplier goes on. What changes behind the cursor is noted and sent again.
//! When nothing is left, the last frame says what the whole covers, in the same step. So the asker's copy is exactly
//! the supplier's state of that moment, and neither the log nor its limit plays a part.

use super::Replica;
use super::peer::{Pass, PeerId, Serving, Source};
use super::supplier::TIMEOUT_DOUBLINGS;
use crate::data::Key;
use crate::data::Value;
use crate::edge::DropReason;
use crate::message::{Body, Content, Coverage, Outline, Outlined, SnapshotEntry, Supply, Version};
use crate::op::{Effect, Op};
use crate::rules::{Rule, Rules};
use crate::siblings::{Sibling, Siblings};
use crate::table::Place;
use crate::vector::{Dot, VersionVector};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

/// A supply ends when nothing was taken for so many times the asker's own timeout: twice its longest one.
const SUPPLY_TIMEOUT: u64 = 2 << TIMEOUT_DOUBLINGS;

impl<R: Rules> Replica<R> {
    pub(super) fn on_pull(&mut self, id: PeerId, pull: u64, vector: Arc<VersionVector>) {
        if self.peers[id].served >= pull {
            return self.drop_from(id, DropReason::OtherPull);
        }
        self.peer(id).served = pull;
        let vector = self.known_of(id, &vector);
        let source =
            if self.data.log().reaches(&vector, self.data.context()) && !self.prefers_state(id) && self.can_say_log(id)
            {
                let (next, end) = self.data.log().range();
                Source::Log { next, end }
            } else {
                Source::State(Box::default())
            };
        self.peer(id).serving =
            Some(Serving { id: pull, vector, frame: 0, taken: 0, moved: self.now.monotonic, large: None, source });
        self.supply(id);
    }

    /// What a peer covered when it asked, and what it has said or written since: a pull may be on its way for long.
    fn known_of(&self, id: PeerId, asked: &VersionVector) -> Arc<VersionVector> {
        let mut known = asked.clone();
        let peer = &self.peers[id];
        known.join(&peer.acknowledged);
        if let Some(incarnation) = peer.incarnation {
            known.raise(incarnation, self.data.context().counter(incarnation));
        }
        Arc::new(known)
    }

    pub(super) fn on_taken(&mut self, id: PeerId, pull: u64, frame: u32) {
        let now = self.now.monotonic;
        let Some(serving) = &mut self.peers[id].serving else { return };
        if serving.id == pull && frame < serving.frame {
            serving.moved = now;
            serving.taken = serving.taken.max(frame + 1);
            assert!(serving.taken <= serving.frame, "a frame was taken that was never sent");
            serving.large.take_if(|_| serving.taken == serving.frame);
            self.supply(id);
        }
    }

    pub(super) fn supply_all(&mut self) {
        for id in self.peer_ids() {
            if self.effects.room() == 0 {
                self.effects.defer();
                return;
            }
            self.supply(id);
        }
    }

    /// Sends one frame, if the asker has taken enough of those before; more is left to the next call.
    fn supply(&mut self, id: PeerId) {
        let ahead_max = self.config.frames_ahead_max.max(1);
        // While a value is fetched in pieces, nothing comes after it.
        let has_room = |serving: &mut Serving| serving.frame - serving.taken < ahead_max && serving.large.is_none();
        let Some(mut serving) = self.peer(id).serving.take_if(has_room) else {
            return;
        };
        let first = self.data.log().range().0;
        if let Source::Log { next, end } = &mut serving.source
            && *next < first
        {
            // The log was cut under the cursor. What the asker lacks of that comes as a whole state.
            serving.vector = self.known_of(id, &serving.vector);
            if self.data.log().reaches(&serving.vector, self.data.context()) {
                *next = first.min(*end);
            } else {
                serving.source = Source::State(Box::default());
            }
        }
        let Some((content, last)) = self.next_frame(&mut serving) else {
            self.effects.defer();
            self.peer(id).serving = Some(serving);
            return;
        };
        self.send_supply(id, &mut serving, content, last);
        if !last && serving.source.is_drained() {
            // The end follows in the same step, whatever the asker has taken. A steady stream of writes would otherwise
            // change something before every next frame, and keep the end off for ever.
            let (content, last) = self.next_frame(&mut serving).expect("a state that is drained is whole");
            return self.send_supply(id, &mut serving, content, last);
        }
        if !last {
            self.effects.defer_if(serving.large.is_none() && serving.frame.saturating_sub(serving.taken) < ahead_max);
            self.peer(id).serving = Some(serving);
        }
    }

    fn send_supply(&mut self, id: PeerId, serving: &mut Serving, content: Content, last: bool) {
        let supply = Supply { id: serving.id, frame: serving.frame, content, last };
        serving.frame += 1;
        self.send(id, Body::Supply(Box::new(supply)));
    }

    /// What comes next and whether it is the last; none when that takes another call.
    fn next_frame(&mut self, serving: &mut Serving) -> Option<(Content, bool)> {
        match &mut serving.source {
            Source::Log { next, end } => {
                let ops = self.frame_of_ops(next, *end, &serving.vector);
                if let Some((outlined, value)) = self.outlined_of(&ops) {
                    serving.large = Some((outlined.op.dot, value));
                    return Some((Content::Op(outlined), false));
                }
                (!ops.is_empty() || next == end).then(|| (Content::Ops(ops), next == end))
            }
            Source::State(_) if self.data.store().is_merging() => None,
            Source::State(pass) => {
                let (content, last, large) = self.frame_of_state(pass, &serving.vector);
                serving.large = large;
                Some((content, last))
            }
        }
    }

    fn frame_of_ops(&mut self, next: &mut u64, end: u64, vector: &VersionVector) -> Vec<Arc<Op>> {
        let mut ops: Vec<Arc<Op>> = Vec::new();
        let (mut items, mut bytes) = (0, 0);
        let (ops_max, bytes_max) = (self.frame_items_max(), self.config.frame_bytes_max.max(1));
        for _ in 0..self.effects.room() {
            if *next >= end || items >= ops_max || bytes >= bytes_max {
                break;
            }
            let Some(op) = self.data.log().op(*next) else { break };
            let lacks = !self.data.context().covers_in(vector, op.dot);
            let large = lacks && matches!(&op.effect, Effect::Put { value, .. } if self.is_large(value));
            if large && !ops.is_empty() {
                break; // it goes alone
            }
            let effects = if lacks { op.effects() } else { 1 };
            let fits = effects <= self.effects.room() && (ops.is_empty() || items + effects <= ops_max);
            if effects > 1 && !fits {
                break; // a batch waits for the next frame, or for the next call
            }
            *next += 1;
            self.effects.did(effects);
            if lacks {
                items += effects;
                bytes += op.bytes();
                ops.push(self.travelling(op.clone(), Rule::SuppliesWholeBatches));
            }
            if large {
                break;
            }
        }
        if !self.rules.follows(Rule::SuppliesInApplyOrder) {
            ops.sort_by_key(|op| op.dot);
        }
        ops
    }

    /// The one operation of a frame, without its value, if that travels in pieces.
    fn outlined_of(&self, ops: &[Arc<Op>]) -> Option<(Outlined, Value)> {
        let [op] = ops else { return None };
        match &op.effect {
            Effect::Put { value, .. } if self.is_large(value) => Some((Outlined::of(op)?, value.clone())),
            Effect::Put { .. }
            | Effect::Delete { .. }
            | Effect::Erase { .. }
            | Effect::Retire { .. }
            | Effect::Batch(_) => None,
        }
    }

    fn frame_of_state(&mut self, pass: &mut Pass, vector: &VersionVector) -> (Content, bool, Announced) {
        if !pass.records_done {
            let after = |&(incarnation, _): &(_, _)| pass.record.is_none_or(|record| record < incarnation);
            let records: Vec<_> = self.data.context().records().filter(after).take(self.frame_items_max()).collect();
            if let Some(&(last, _)) = records.last() {
                self.effects.did(records.len());
                pass.record = Some(last);
                return (Content::Retired(records), false, None);
            }
            pass.records_done = true;
        }
        let mut frame = Frame::new(self.frame_items_max(), self.config.frame_bytes_max, self.config.whole_bytes_max);
        self.add_keys(pass, vector, &mut frame);
        if pass.left == 0 && frame.versions.is_empty() {
            self.add_changed(pass, vector, &mut frame);
        }
        self.effects.did(frame.versions.len());
        if let Some((dot, value)) = frame.large.take()
            && let Some(entry) = frame.versions.pop()
        {
            let outline = Outline::of(&value);
            return (Content::Version(Box::new(entry), outline), false, Some((dot, value)));
        }
        if !frame.versions.is_empty() {
            return (Content::Versions(frame.versions), false, None);
        }
        let coverage = Coverage {
            vector: self.data.context().vector().clone(),
            deletes: self.data.log().all_deletes(),
            retired: core::mem::take(&mut pass.retired).into_iter().collect(),
            clock: self.data.clock(),
        };
        (Content::State(Box::new(coverage)), true, None)
    }

    /// What one frame holds at most, and the rest of this call can do.
    fn frame_items_max(&self) -> usize {
        self.config.frame_ops_max.min(self.effects.room()).max(1)
    }

    fn add_keys(&self, pass: &mut Pass, vector: &VersionVector, frame: &mut Frame) {
        pass.left = pass.left.min(self.data.store().len());
        while pass.left > 0 {
            let (key, siblings) = self.data.store().at(pass.left - 1);
            let from = match pass.partial.take() {
                Some((partial, within)) if partial == *key => within,
                Some(_) | None => 0,
            };
            let known = |dot| self.data.context().covers_in(vector, dot);
            if let ControlFlow::Break(within) = frame.add(key, siblings, from, known) {
                pass.partial = Some((key.clone(), within));
                return;
            }
            pass.left -= 1;
        }
    }

    fn add_changed(&self, pass: &mut Pass, vector: &VersionVector, frame: &mut Frame) {
        while let Some(key) = pass.changed.first().cloned() {
            let known = |dot| self.data.context().covers_in(vector, dot);
            let from = match pass.partial.take() {
                Some((partial, within)) if partial == key => within,
                Some(_) | None => 0,
            };
            if let ControlFlow::Break(within) =
                frame.add(&key, self.data.store().siblings(self.data.store().find(&key)), from, known)
            {
                pass.partial = Some((key, within));
                return;
            }
            pass.changed.remove(&key);
        }
    }

    /// A key changed: a peer that has been sent it already is sent it again. Of one that went away it is not known
    /// where it was.
    pub(super) fn mark_changed(&mut self, key: &Key) {
        if !self.rules.follows(Rule::SuppliesChanges) {
            return;
        }
        for peer in self.peers.iter_mut() {
            let Some(Serving { source: Source::State(pass), .. }) = &mut peer.serving else { continue };
            let partly = pass.partial.take_if(|(partial, _)| partial == key).is_some();
            let was_sent = match self.data.store().find(key) {
                Place::Slot(slot) => slot >= pass.left,
                Place::Absent(_) => true,
            };
            if partly || was_sent {
                pass.changed.insert(key.clone());
            }
        }
    }

    /// A peer that has taken nothing for long has given its pull up, without a word; noting changes for it ends.
    pub(super) fn end_abandoned_supply(&mut self, id: PeerId) {
        let (now, timeout) = (self.now.monotonic, self.config.pull_timeout.times(SUPPLY_TIMEOUT));
        let merging = self.data.store().is_merging();
        self.peer(id).serving.take_if(|serving| !merging && now.since(serving.moved) > timeout);
    }

    /// The whole state changed at once: a peer that was being sent it begins again after its timeout.
    pub(super) fn stop_supplying_state(&mut self) {
        for peer in self.peers.iter_mut() {
            peer.serving.take_if(|serving| matches!(serving.source, Source::State(_)));
        }
    }
}

/// A value that a frame announces.
type Announced = Option<(Dot, Value)>;

/// A frame of versions being filled.
struct Frame {
    versions: Vec<SnapshotEntry>,
    /// Its only version has this value, which travels in pieces.
    large: Announced,
    whole_bytes_max: usize,
    bytes: usize,
    versions_max: usize,
    bytes_max: usize,
}

impl Frame {
    fn new(versions_max: usize, bytes_max: usize, whole_bytes_max: usize) -> Self {
        let (versions_max, bytes_max) = (versions_max.max(1), bytes_max.max(1));
        Self { versions: Vec::new(), large: None, whole_bytes_max, bytes: 0, versions_max, bytes_max }
    }

    /// Adds the versions of a key from the `from`-th on; breaks with how many are in when the frame is full.
    ///
    /// The versions of one key may fall into several frames: together they could exceed any frame.
    fn add(&mut self, key: &Key, siblings: &Siblings, from: usize, known: impl Fn(Dot) -> bool) -> ControlFlow<usize> {
        if siblings.is_empty() {
            if self.is_full() {
                return ControlFlow::Break(0);
            }
            self.bytes += key.as_str().len();
            self.versions.push(SnapshotEntry { key: key.clone(), fresh: true, version: None });
        }
        for (at, sibling) in siblings.iter().enumerate().skip(from) {
            if self.is_full() {
                return ControlFlow::Break(at);
            }
            let (fresh, bytes) = (at == 0, sibling.value.as_bytes().len());
            if !known(sibling.dot) && bytes > self.whole_bytes_max {
                if !self.versions.is_empty() {
                    return ControlFlow::Break(at); // it goes alone
                }
                let version = Some(Version::Whole(Sibling { value: Value::new(&[]), ..sibling.clone() }));
                self.versions.push(SnapshotEntry { key: key.clone(), fresh, version });
                self.large = Some((sibling.dot, sibling.value.clone()));
                return ControlFlow::Break(at + 1);
            }
            let version = if known(sibling.dot) {
                Version::Known(sibling.dot)
            } else {
                self.bytes += bytes;
                Version::Whole(sibling.clone())
            };
            assert!(self.versions.len() < self.versions_max, "a frame holds what a call can take in");
            self.bytes += 32 + key.as_str().len();
            self.versions.push(SnapshotEntry { key: key.clone(), fresh, version: Some(version) });
        }
        ControlFlow::Continue(())
    }

    fn is_full(&self) -> bool {
        self.versions.len() >= self.versions_max || self.bytes >= self.bytes_max
    }
}
