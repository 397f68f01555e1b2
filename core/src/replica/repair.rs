//! The pull lane: fetching what is missing (PULL-2, PULL-4, PULL-6, STATE-3).
//!
//! Operations come in the supplier's own apply order, so every prefix is causally closed and needs no causal buffer.
//! Where the supplier's log does not reach back, its whole state comes. It is staged and installed in one step,
//! merged with what is covered here *at that moment*.

use super::Replica;
use super::data::Snapshot;
use super::peer::PeerId;
use super::pulls::{Begin, Ended, RETRY_PAUSE, Staging, Turn, keep_greater};
use crate::causal_context::{CausalContext, Retirement};
use crate::edge::{DropReason, Event};
use crate::identity::Incarnation;
use crate::message::{Body, Content, Coverage, SnapshotEntry, Supply, Version};
use crate::op::Op;
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::sync::Arc;

impl<R: Rules> Replica<R> {
    /// Begins a pull if there is a reason to and a peer to ask.
    pub(super) fn maybe_pull(&mut self) {
        let now = self.now.monotonic;
        if !self.pulls.may_begin(now) || !self.membership.is_member() || self.data.store().is_merging() {
            return;
        }
        let due = self.gaps_due(now);
        if let Some(due) = due
            && self.rules.follows(Rule::ForgetsGaps)
            && self.gaps.oldest().is_some_and(|noticed| noticed <= due)
        {
            let mut gaps = core::mem::take(&mut self.gaps);
            gaps.forget(due, |incarnation| self.turn(|id| self.gives(id, incarnation)).is_some());
            self.gaps = gaps;
        }
        if let Some(id) = self.urgent_source(now) {
            self.begin_pull(id, false);
        } else if let Some(id) = due.and_then(|due| self.patient_source(now, due)) {
            self.begin_pull(id, true);
        }
    }

    /// Gaps that were noticed until then are due. None are while the process is younger than the delay.
    fn gaps_due(&self, now: Time) -> Option<Time> {
        now.0.checked_sub(self.config.repair_delay.0).map(Time)
    }

    /// The link from this peer was interrupted until now.
    pub(super) fn on_interrupted(&mut self, id: PeerId) {
        let (now, delay, is_member) = (self.now.monotonic, self.config.repair_delay, self.membership.is_member());
        let oldest = self.gaps.oldest();
        self.peer(id).supplier.begin_anew(oldest);
        // A replica that is no member repairs nothing, and is not patient when it becomes one.
        if oldest.is_some() && is_member {
            self.peer(id).supplier.put_off(now, delay);
        }
        self.peer(id).supplier.forget_overdue();
        if self.pulls.is_from(id) && self.pulls.is_patient() && self.rules.follows(Rule::InterruptionsPostponeRepair) {
            self.end_pull(false);
        }
    }

    /// This peer was silent, and nothing has told why. What it answers to a patient pull may have been made during an
    /// interruption. Answers that are slow for good are taken in when repair was put off often enough.
    pub(super) fn on_unexplained(&mut self, id: PeerId) {
        let supplier = &self.peers[id].supplier;
        let answers = self.pulls.is_from(id) && self.pulls.is_patient() || supplier.has_overdue();
        if answers && supplier.may_be_put_off() {
            self.on_interrupted(id);
        }
    }

    pub(super) fn begin_pull(&mut self, id: PeerId, patient: bool) {
        let (now, asked) = (self.now.monotonic, self.shared_vector());
        let peer = &mut self.peers[id];
        peer.supplier.begin(now);
        let (claimed, timeout) = (peer.acknowledged.clone(), peer.supplier.frame_timeout(self.config.pull_timeout));
        let from = peer.address.clone();
        let name = self.pulls.begin(Begin { peer: id, asked: asked.clone(), claimed, patient, timeout }, now);
        self.effects.emit(Event::PullStarted { from, pull: name });
        self.send(id, Body::Pull { id: name, vector: asked });
    }

    pub(super) fn end_pull(&mut self, complete: bool) {
        let Some(Ended { name, peer: id, claimed, awaited }) = self.pulls.end(complete, self.now.monotonic) else {
            return;
        };
        if let Some(dot) = awaited {
            self.stop_fetching(dot);
        }
        let from = self.peers[id].address.clone();
        self.effects.emit(Event::PullEnded { from, pull: name, complete });
        if complete {
            self.startup.on_synced();
            self.budget.end_holding_back(&mut self.effects);
            self.note_unkept(id, claimed);
        } else {
            self.effects.defer_if(self.pulls.has_discarded());
        }
    }

    /// A whole pull brings what the peer had claimed before. Where a memory was copied it may not, because the peer
    /// takes this replica for one that has it. Then the same question would have the same answer, at the pace of the
    /// network.
    fn note_unkept(&mut self, id: PeerId, claimed: Arc<VersionVector>) {
        let now = self.now.monotonic;
        let kept = !self.rules.follows(Rule::PausesUnkeptClaims) || self.data.context().dominates(&claimed);
        self.peer(id).supplier.on_complete(claimed, kept, now);
    }

    /// Gives back what failed pulls had set aside.
    pub(super) fn free_discarded(&mut self) {
        self.effects.did(self.pulls.free(self.effects.room()));
        self.effects.defer_if(self.pulls.has_discarded());
    }

    pub(super) fn fail_pull_from(&mut self, id: PeerId) {
        if self.pulls.is_from(id) {
            self.end_pull(false);
        }
    }

    pub(super) fn fail_late_pull(&mut self) {
        if let Some((id, name)) = self.pulls.late(self.now.monotonic) {
            self.peer(id).supplier.on_late(name);
            self.end_pull(false);
        }
    }

    /// When the pull lane needs attention next.
    pub(super) fn pull_timeout(&self) -> Time {
        let due = || self.gaps.oldest().map_or(Time::NEVER, |noticed| noticed + self.config.repair_delay);
        self.pulls.deadline().unwrap_or_else(|| self.pulls.begins_at(due(), self.now.monotonic))
    }

    pub(super) fn on_supply(&mut self, id: PeerId, supply: Supply) {
        let (now, present) = (self.now.monotonic, self.pulls.is_present(id, supply.id));
        if !present && self.peers[id].supplier.is_overdue(supply.id) {
            return self.take_in_overdue(id, &supply.content);
        }
        if !self.pulls.is_under_way() || !present && self.rules.follows(Rule::TakesOnlyPresentPull) {
            return self.drop_from(id, DropReason::OtherPull);
        }
        match self.pulls.take_turn(supply.frame, !self.rules.follows(Rule::FramesInOrder), now) {
            Turn::Next => {}
            Turn::Past => return self.drop_from(id, DropReason::OtherPull),
            Turn::Beyond => {
                // A frame out of sequence ends the pull: what is missing may be what the rest depends on.
                self.drop_from(id, DropReason::OtherPull);
                return self.end_pull(false);
            }
        }
        if supply.frame == 0 {
            self.peers[id].supplier.on_first_frame(now, self.pulls.timeout());
        }
        if !self.membership.is_member() {
            self.drop_from(id, DropReason::NotMember);
            return self.end_pull(false);
        }
        if !self.rules.follows(Rule::GoesOnPulling) {
            return self.end_pull(false);
        }
        let awaits = self.pulls.awaited().is_some();
        if !self.makes_room_for(&supply.content) {
            self.drop_from(id, DropReason::NoMemory);
            self.end_pull(false);
            return self.hold_back_pulls();
        }
        let (name, frame, last) = (supply.id, supply.frame, supply.last);
        let ends = match supply.content {
            Content::Ops(_) => last,
            Content::Versions(_) | Content::Retired(_) | Content::Op(_) | Content::Version(..) => false,
            Content::State(_) => true,
        };
        if awaits || last != ends || items(&supply.content) > super::effects::WORK_MAX as usize {
            return self.end_unsound_pull(id);
        }
        if matches!(supply.content, Content::Op(_) | Content::Version(..)) {
            if !self.on_large(id, frame, supply.content) {
                self.end_unsound_pull(id);
            }
            return;
        }
        self.take_in_frame(id, (name, frame, last), supply.content);
    }

    /// A frame of the present pull, all of it here.
    pub(super) fn take_in_frame(&mut self, id: PeerId, (name, frame, last): (u64, u32, bool), content: Content) {
        if !self.take_in(id, content) {
            return self.end_unsound_pull(id);
        }
        if last {
            self.end_pull(true);
            self.caught_up_with(id);
        } else {
            self.send(id, Body::Taken { id: name, frame });
        }
        self.progress();
        self.maybe_pull();
    }

    fn end_unsound_pull(&mut self, id: PeerId) {
        self.drop_from(id, DropReason::Invalid);
        self.end_pull(false);
        // Nothing will have changed so soon where a memory was copied.
        self.pulls.retry_at(self.now.monotonic + self.config.pull_timeout.max(RETRY_PAUSE));
        self.progress(); // a part of it may have been sound
    }

    /// Takes in one frame. Says whether it was what an honest supplier sends.
    fn take_in(&mut self, id: PeerId, content: Content) -> bool {
        match content {
            Content::Ops(ops) => self.take_in_ops(&ops),
            Content::Op(_) | Content::Version(..) => false, // they wait for their values
            Content::Versions(versions) => {
                self.effects.did(versions.len());
                versions.into_iter().for_each(|entry| self.stage(entry));
                true
            }
            Content::Retired(records) => {
                self.effects.did(records.len());
                self.on_remote_retirements(&records);
                self.pulls.stage_retired(records);
                true
            }
            Content::State(coverage) => {
                let Some((staging, asked, name)) = self.pulls.take_staging() else { return false };
                let Staging { keys, bytes, highest, mut retired } = staging;
                let Coverage { vector, deletes, retired: later, clock } = *coverage;
                later.into_iter().for_each(|(incarnation, record)| keep_greater(&mut retired, incarnation, record));
                let theirs = CausalContext::of(vector, retired);
                // A state covers what it shows. Where a memory was copied two may answer one pull, and their frames
                // mix.
                if !theirs.dominates(&highest) || !self.is_ours(theirs.counter(self.membership.incarnation())) {
                    self.pulls.discard(keys);
                    return false;
                }
                let vector = Box::new(theirs.vector().clone());
                self.budget.note_merging(bytes, keys.len());
                if self.rules.follows(Rule::WatchFloorRisesAtInstall) {
                    let unnamed = VersionVector::from_entries(self.data.context().missing(&deletes));
                    self.deleted.raise_floor(&unnamed, &theirs);
                }
                self.data.install(&self.rules, Snapshot { keys, asked: &asked, context: theirs, deletes, clock });
                self.blocked.note_all();
                self.watches.note_all_coverage();
                self.stop_supplying_state();
                self.effects.defer();
                let from = self.peers[id].incarnation.expect("a linked peer has an incarnation");
                self.effects.emit(Event::Installed { from, pull: name, vector });
                true
            }
        }
    }

    fn take_in_ops(&mut self, ops: &[Arc<Op>]) -> bool {
        for op in ops {
            if self.data.context().covers(op.dot) {
                continue;
            }
            let of_own = self.own_counter_in(op);
            if !self.is_ours(of_own) || !self.rules.may_apply(self.data.context(), op) {
                return false;
            }
            self.apply_foreign(op);
        }
        true
    }

    /// Operations of a pull that was given up because it took too long: what came at last need not come again. Each is
    /// applied when its turn has come, whatever was lost between.
    fn take_in_overdue(&mut self, id: PeerId, content: &Content) {
        let usable = self.membership.is_member() && items(content) <= super::effects::WORK_MAX as usize;
        let Content::Ops(ops) = content else { return self.drop_from(id, DropReason::OtherPull) };
        if !usable {
            return self.drop_from(id, DropReason::OtherPull);
        }
        for op in ops {
            let of_own = self.own_counter_in(op);
            let may =
                !self.data.context().covers(op.dot) && self.rules.may_apply(self.data.context(), op) && self.fits(op);
            if self.is_ours(of_own) && may {
                self.apply_foreign(op);
            }
        }
        self.progress();
    }

    fn stage(&mut self, entry: SnapshotEntry) {
        if !self.rules.follows(Rule::InstallsOnlyWhole)
            && let Some(Version::Whole(sibling)) = &entry.version
        {
            self.effects.did(1);
            self.data.change_key(&self.rules, (&entry.key, None), &[], Some(sibling.clone()));
            self.mark_changed(&entry.key);
        }
        self.pulls.stage(entry, self.rules.follows(Rule::StagesDotsByKey));
    }

    /// Only for the mutant that takes a record that it heard of for coverage.
    fn on_remote_retirements(&mut self, records: &[(Incarnation, Retirement)]) {
        if !self.rules.follows(Rule::RemoteRetirementCoversNothing) {
            let remote = VersionVector::from_entries(records.iter().map(|&(i, record)| (i, record.through)));
            self.data.cover_unapplied(&remote);
            self.blocked.note_all();
            self.watches.note_all_coverage();
        }
    }
}

/// How many things a frame holds. No honest supplier sends more in one than a call can take in.
fn items(content: &Content) -> usize {
    match content {
        Content::Ops(ops) => ops.iter().map(|op| op.effects()).sum(),
        Content::Op(_) | Content::Version(..) => 1,
        Content::Versions(versions) => versions.len(),
        Content::Retired(records) => records.len(),
        Content::State(_) => 0,
    }
}
