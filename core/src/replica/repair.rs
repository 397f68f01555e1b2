//! The pull lane: fetching what is missing, and supplying it (protocol, section Replication).
//!
//! A supplier streams every operation of its log that the asker does not cover, in its own apply order, so every
//! prefix is causally closed and needs no parking. Where its log does not reach back it streams its whole state,
//! which the asker keeps aside and installs in one step, merged with what it covers itself *at that moment*.

use super::Replica;
use super::peer::{PeerId, Serving, Source};
use crate::data::Key;
use crate::edge::{DropReason, Event};
use crate::message::{Body, Content, Coverage, Supply};
use crate::op::Op;
use crate::rules::Rules;
use crate::siblings::{Sibling, Siblings};
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// After a failed pull the next one waits for this.
const RETRY_PAUSE: Micros = Micros::from_millis(200);

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Pull {
    id: u64,
    peer: PeerId,
    /// What was covered here when it was asked for.
    asked: Arc<VersionVector>,
    /// The number of the frame that comes next.
    frame: u32,
    deadline: Time,
    /// Keys of a state that is not whole yet.
    aside: BTreeMap<Key, Siblings>,
}

impl Pull {
    /// The own process did not run for so long.
    pub(super) fn forgive(&mut self, stalled: Micros) {
        self.deadline = self.deadline + stalled;
    }
}

impl<R: Rules> Replica<R> {
    /// Begins a pull if there is a reason to and somebody to ask.
    pub(super) fn maybe_pull(&mut self) {
        let now = self.now.monotonic;
        if self.pull.is_some() || now < self.pull_not_before || !self.wanted {
            return;
        }
        if let Some(id) = self.pull_source(now) {
            self.begin_pull(id);
        }
    }

    fn pull_source(&self, now: Time) -> Option<PeerId> {
        if self.joining.is_some() {
            return self.join_source();
        }
        if self.hungry
            && let Some(id) = self.turn(|id| self.is_up(id))
        {
            return Some(id);
        }
        let has_missing = |id: PeerId| self.vector.missing(&self.peers[id.0].acknowledged).next().is_some();
        if !self.waiting.is_empty() {
            // What a request waits for may be anywhere: who has news first, then everybody in turn.
            let rested = |id: PeerId| now.since(self.peers[id.0].pulled_at) >= RETRY_PAUSE;
            return self.turn(has_missing).or_else(|| self.turn(rested));
        }
        let due = self.gaps.oldest().is_some_and(|noticed| now >= noticed + self.config.repair_delay);
        if due { self.turn(has_missing) } else { None }
    }

    /// Of the linked peers that fit, the one whose turn is the longest ago.
    pub(super) fn turn(&self, fits: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let linked = self.peer_ids().filter(|id| self.peers[id.0].link.established);
        linked.filter(|&id| fits(id)).min_by_key(|id| self.peers[id.0].pulled_at)
    }

    fn begin_pull(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let (name, asked) = (self.next_pull, self.shared_vector());
        self.next_pull += 1;
        let deadline = now + self.config.pull_timeout;
        self.pull = Some(Pull { id: name, peer: id, asked: asked.clone(), frame: 0, deadline, aside: BTreeMap::new() });
        self.peer(id).pulled_at = now;
        let from = self.peers[id.0].address.clone();
        self.emit(Event::PullStarted { from, pull: name });
        self.send(id, Body::Pull { id: name, vector: asked });
    }

    fn end_pull(&mut self, complete: bool) {
        let Some(pull) = self.pull.take() else { return };
        let from = self.peers[pull.peer.0].address.clone();
        self.emit(Event::PullEnded { from, pull: pull.id, complete });
        if complete {
            self.hungry = false;
        } else {
            self.pull_not_before = self.now.monotonic + RETRY_PAUSE;
        }
    }

    pub(super) fn fail_pull_from(&mut self, id: PeerId) {
        if self.pull.as_ref().is_some_and(|pull| pull.peer == id) {
            self.end_pull(false);
        }
    }

    pub(super) fn fail_late_pull(&mut self) {
        if self.pull.as_ref().is_some_and(|pull| pull.deadline <= self.now.monotonic) {
            self.end_pull(false);
        }
    }

    /// When the pull lane needs attention next.
    pub(super) fn pull_timeout(&self) -> Time {
        if let Some(pull) = &self.pull {
            return pull.deadline;
        }
        let now = self.now.monotonic;
        let due = self.gaps.oldest().map_or(Time::NEVER, |noticed| noticed + self.config.repair_delay);
        let due = due.max(self.pull_not_before);
        // What is due and found nobody to ask is looked at again with every status of a linked peer.
        if due > now {
            due
        } else if self.pull_not_before > now {
            self.pull_not_before
        } else {
            Time::NEVER
        }
    }

    pub(super) fn on_pull(&mut self, id: PeerId, pull: u64, vector: Arc<VersionVector>) {
        if self.peers[id.0].served >= pull {
            return self.drop_from(id, DropReason::OtherPull);
        }
        self.peer(id).served = pull;
        let source = if self.log.reaches(&vector) {
            let (next, end) = self.log.range();
            Source::Log { next, end }
        } else {
            self.whole_state()
        };
        self.peer(id).serving = Some(Serving { id: pull, vector, frame: 0, taken: 0, source });
        self.supply(id);
    }

    fn whole_state(&self) -> Source {
        let each = |(key, siblings): (&Key, &Siblings)| {
            let key = key.clone();
            siblings.clone().into_iter().map(move |sibling| (key.clone(), sibling))
        };
        let versions = self.store.iter().flat_map(each).collect();
        let deletes = self.log.all_deletes();
        let coverage = Box::new(Coverage { vector: self.vector.clone(), deletes, clock: self.clock });
        Source::State { versions, coverage }
    }

    pub(super) fn on_taken(&mut self, id: PeerId, pull: u64, frame: u32) {
        let Some(serving) = &mut self.peers[id.0].serving else { return };
        if serving.id == pull && frame < serving.frame {
            serving.taken = serving.taken.max(frame + 1);
            self.supply(id);
        }
    }

    /// Sends one frame, if the asker has taken enough of those before; more is left to the next call.
    pub(super) fn supply(&mut self, id: PeerId) {
        let Some(mut serving) = self.peer(id).serving.take() else { return };
        if serving.frame - serving.taken >= self.config.frames_ahead_max.max(1) {
            self.peer(id).serving = Some(serving);
            return;
        }
        if matches!(serving.source, Source::Log { next, .. } if next < self.log.range().0) {
            // The log was cut under the cursor, so the rest comes as a whole state.
            serving.source = self.whole_state();
        }
        let (content, last) = self.next_frame(&mut serving);
        let supply = Supply { id: serving.id, frame: serving.frame, content, last };
        serving.frame += 1;
        if !last {
            self.backlog |= serving.frame - serving.taken < self.config.frames_ahead_max.max(1);
            self.peer(id).serving = Some(serving);
        }
        self.send(id, Body::Supply(Box::new(supply)));
    }

    pub(super) fn supply_all(&mut self) {
        for id in self.peer_ids() {
            self.supply(id);
        }
    }

    fn next_frame(&self, serving: &mut Serving) -> (Content, bool) {
        match &mut serving.source {
            Source::Log { next, end } => {
                let ops = self.frame_of_ops(next, *end, &serving.vector);
                (Content::Ops(ops), next == end)
            }
            Source::State { versions, coverage } if versions.is_empty() => (Content::State(coverage.clone()), true),
            Source::State { versions, .. } => (Content::Keys(self.frame_of_versions(versions)), false),
        }
    }

    /// Versions of one key may fall into several frames: together they could exceed any frame.
    fn frame_of_versions(&self, versions: &mut VecDeque<(Key, Sibling)>) -> Vec<(Key, Siblings)> {
        let mut frame: Vec<(Key, Siblings)> = Vec::new();
        let mut bytes = 0;
        for _ in 0..self.config.frame_ops_max.max(1) {
            if bytes >= self.config.frame_bytes_max.max(1) {
                break;
            }
            let Some((key, sibling)) = versions.pop_front() else { break };
            bytes += 64 + key.as_str().len() + sibling.value.as_bytes().len();
            match frame.last_mut() {
                Some((last, siblings)) if *last == key => siblings.insert(sibling),
                Some(_) | None => frame.push((key, Siblings::from_iter([sibling]))),
            }
        }
        frame
    }

    fn frame_of_ops(&self, next: &mut u64, end: u64, covered: &VersionVector) -> Vec<Arc<Op>> {
        let mut ops: Vec<Arc<Op>> = Vec::new();
        let mut bytes = 0;
        let ops_max = self.config.frame_ops_max.max(1);
        let bytes_max = self.config.frame_bytes_max.max(1);
        while *next < end && ops.len() < ops_max && bytes < bytes_max {
            let Some(op) = self.log.op(*next) else { break };
            *next += 1;
            if !covered.covers(op.dot) {
                bytes += op.bytes();
                ops.push(op.clone());
            }
        }
        if !self.rules.supply_in_apply_order() {
            ops.sort_by_key(|op| op.dot);
        }
        ops
    }

    pub(super) fn on_supply(&mut self, id: PeerId, supply: Supply) {
        let Some(pull) = &mut self.pull else { return self.drop_from(id, DropReason::OtherPull) };
        if pull.peer != id || pull.id != supply.id {
            return self.drop_from(id, DropReason::OtherPull);
        }
        if pull.frame != supply.frame {
            // A frame out of sequence ends the pull: what is missing may be what the rest depends on.
            self.drop_from(id, DropReason::OtherPull);
            if supply.frame > self.pull.as_ref().map_or(0, |pull| pull.frame) {
                self.end_pull(false);
            }
            return;
        }
        pull.frame += 1;
        pull.deadline = self.now.monotonic + self.config.pull_timeout;
        if !self.wanted {
            self.drop_from(id, DropReason::NotWanted);
            return self.end_pull(false);
        }
        let (name, frame, last) = (supply.id, supply.frame, supply.last);
        let sound = self.take_in(id, supply.content);
        if !sound {
            self.drop_from(id, DropReason::Invalid);
            return self.end_pull(false);
        }
        if last {
            self.end_pull(true);
        } else {
            self.send(id, Body::Taken { id: name, frame });
        }
        self.progress();
        self.maybe_pull();
    }

    /// Takes in one frame. Says whether it was what an honest supplier sends.
    fn take_in(&mut self, id: PeerId, content: Content) -> bool {
        match content {
            Content::Ops(ops) => {
                for op in ops {
                    if self.vector.covers(op.dot) {
                        continue;
                    }
                    if !self.rules.may_apply(&self.vector, &op) {
                        return false;
                    }
                    self.apply_foreign(&op);
                }
                true
            }
            Content::Keys(keys) => {
                let Some(pull) = &mut self.pull else { return false };
                for (key, siblings) in keys {
                    let aside = pull.aside.entry(key).or_default();
                    siblings.into_iter().for_each(|sibling| aside.insert(sibling));
                }
                if !self.rules.install_only_whole() {
                    let aside = core::mem::take(&mut pull.aside);
                    aside.into_iter().for_each(|(key, siblings)| self.store.set(&key, siblings));
                }
                true
            }
            Content::State(coverage) => {
                let Some(pull) = &mut self.pull else { return false };
                let (aside, asked) = (core::mem::take(&mut pull.aside), pull.asked.clone());
                let name = pull.id;
                self.install(aside, &asked, &coverage);
                let from = self.peers[id.0].incarnation.expect("a linked peer has a life");
                self.emit(Event::Installed { from, pull: name, vector: Box::new(coverage.vector) });
                true
            }
        }
    }

    /// Merges a whole state in one step: the other of the two places where coverage moves.
    ///
    /// A version stays if both sides have it, or if the side that lacks it does not cover it: absent and covered
    /// means deleted.
    fn install(&mut self, theirs: BTreeMap<Key, Siblings>, asked: &VersionVector, coverage: &Coverage) {
        let mine = self.rules.vector_at_install(&self.vector, asked).clone();
        let keys: Vec<Key> = self.store.iter().map(|(key, _)| key.clone()).collect();
        for key in keys.into_iter().filter(|key| !theirs.contains_key(key)) {
            let merged = self.merged(self.store.siblings(&key), &Siblings::new(), &mine, &coverage.vector);
            self.store.set(&key, merged);
        }
        for (key, siblings) in theirs {
            let merged = self.merged(self.store.siblings(&key), &siblings, &mine, &coverage.vector);
            self.store.set(&key, merged);
        }
        let news = VersionVector::from_entries(self.vector.missing(&coverage.vector));
        self.log.raise_floor(&news, &coverage.deletes);
        self.vector.join(&coverage.vector);
        self.shared = None;
        self.clock = self.rules.follow(self.clock, coverage.clock);
    }

    fn merged(&self, mine: &Siblings, theirs: &Siblings, my: &VersionVector, their: &VersionVector) -> Siblings {
        let kept = mine.iter().filter(|s| self.rules.survives(s, theirs.contains(s.dot), their));
        let taken = theirs.iter().filter(|s| self.rules.survives(s, mine.contains(s.dot), my));
        kept.chain(taken).cloned().collect()
    }
}
