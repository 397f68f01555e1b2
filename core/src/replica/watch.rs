//! Tells watches what is there and what changes (WATCH-1 to WATCH-6).
//!
//! A watch looks through its range once, in slices, and is told what changes from then on. Where it goes on from a mark,
//! it looks for versions that the mark did not know, and for keys that were deleted from since. Each part shows the
//! present moment. A mark goes out with the part after which nothing is left to tell.

use super::Replica;
use super::walk::{Filling, Walked};
use super::watches::{Place, Stage, Watch, Watches};
use crate::edge::Event;
use crate::identity::Incarnation;
use crate::op::Op;
use crate::request::{Refusal, Reply, RequestId, WatchMark, WatchPart, WatchRequest, WatchReset};
use crate::rules::{Rule, Rules};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A watch is not given its turn with less room than this, in units of work.
const TURN_ROOM: usize = 4;

/// Waiting watches whose pasts a round takes up beside what requests ask for.
const WATCHES_QUERIED_MAX: usize = 16;

impl<R: Rules> Replica<R> {
    pub(super) fn on_watch(&mut self, id: RequestId, mut watch: Box<WatchRequest>) {
        let has_room =
            self.watches.len() < self.config.watches_max && self.has_memory_to_watch(Watches::bytes_of(&watch));
        if !has_room {
            return self.effects.reply(id, Reply::Refused(Refusal::NoRoomToWatch));
        }
        if !self.rules.follows(Rule::WatchKnownNeverGates)
            && let Some(since) = &watch.since
        {
            watch.past.join(since);
        }
        if let Some(past) = self.data.compacted(&self.rules, &watch.past) {
            watch.past = past;
        }
        self.watches.insert(id, *watch);
        self.data.note_merged(true);
    }

    pub(super) fn on_part_taken(&mut self, id: RequestId) {
        self.watches.on_part_taken(id);
    }

    pub(super) fn end_watch(&mut self, id: RequestId) {
        self.watches.remove(id);
        self.data.note_merged(!self.watches.is_empty());
    }

    /// What an operation did is told to watches. Its deletes are remembered for those that go on.
    #[inline]
    pub(super) fn note_for_watches(&mut self, op: &Op) {
        if !self.watches.is_empty() {
            op.changes().for_each(|change| self.watches.note(change.key));
            self.watches.note_coverage(op.dot.incarnation);
        }
        for key in op.deletes() {
            self.deleted.push(key, op.dot, self.data.context());
        }
    }

    /// Gives watches their turn, as long as this call may do more than that much.
    #[inline]
    pub(super) fn serve_watches(&mut self, left: usize) {
        if self.watches.is_empty() {
            return;
        }
        for key in self.data.take_merged() {
            if self.rules.follows(Rule::MergingChangesKeys) {
                self.watches.note(&key);
            }
        }
        if !self.is_ready() || self.data.store().is_merging() && self.rules.follows(Rule::WatchesWaitForMerging) {
            return;
        }
        if self.watches.has_unordered() {
            self.order_for_watches();
        }
        while self.watches.is_noted() {
            if self.effects.room() < left.saturating_add(TURN_ROOM) {
                return self.effects.defer();
            }
            let Some((id, watch)) = self.watch_in_turn() else { continue };
            self.serve_watch(id, watch);
        }
        let waits = self.watches.has_unordered() && self.may_order_for_watches();
        self.effects.defer_if(waits);
    }

    fn watch_in_turn(&mut self) -> Option<(RequestId, Box<Watch>)> {
        if let Some(due) = self.watches.take_due() {
            return Some(due);
        }
        let (pending, looked) = self.watches.take_pending(self.data.context(), self.effects.room());
        self.effects.did(looked);
        pending
    }

    /// Puts keys in order for watches that wait for that.
    fn order_for_watches(&mut self) {
        if !self.data.store().is_indexed() && self.may_order_for_watches() {
            self.put_in_order();
        }
        if self.data.store().is_indexed() {
            self.watches.order_done();
        }
    }

    /// Is there memory for keys in order? Where there is none, the call that gives some back goes on.
    fn may_order_for_watches(&self) -> bool {
        !self.data.store().is_merging() && (self.data.store().is_indexed() || self.has_memory_for_index())
    }

    fn serve_watch(&mut self, id: RequestId, mut watch: Box<Watch>) {
        let before = watch.has_begun().then_some(watch.position);
        self.effects.did(1);
        let place = if watch.has_begun() { Place::Due } else { self.begin_watch(&mut watch) };
        let place = match place {
            Place::Due => self.tell_watch(id, &mut watch),
            Place::Pending(..) | Place::Idle | Place::Unordered | Place::Telling => place,
        };
        self.watches.put_back(id, watch, before, place);
    }

    /// Begins a watch if its past is covered, or tells it that some of that is lost.
    fn begin_watch(&mut self, watch: &mut Watch) -> Place {
        let Stage::Pending(since) = &mut watch.stage else { return Place::Due };
        if self.rules.may_serve(self.data.context(), &watch.past) {
            let known = since.take().map(Arc::new);
            watch.holds |= known.is_some();
            let known = self.filter(known, &watch.past);
            self.begin_walk(watch, known);
            return Place::Due;
        }
        if !watch.was_asked_about {
            watch.was_asked_about = true;
            self.query_lost(&watch.past);
            self.maybe_query(); // a round that asks nobody else ends at once
        }
        if let Some(left) = self.left_of(&watch.past) {
            (watch.past, *since) = (left, None);
            (watch.beginning, watch.is_anew) = (Some(Some(WatchReset::Lost)), true);
            watch.was_asked_about = false;
            return Place::Due;
        }
        match self.data.context().missing(&watch.past).next() {
            Some((incarnation, counter)) => Place::Pending(incarnation, counter),
            None => Place::Due,
        }
    }

    /// What a mark knew, as it filters.
    fn filter(&self, known: Option<Arc<VersionVector>>, past: &VersionVector) -> Option<Arc<VersionVector>> {
        if !self.rules.follows(Rule::WatchPastNeverFilters) {
            return Some(Arc::new(past.clone()));
        }
        if self.rules.follows(Rule::WatchFiltersAsReceived) {
            return known;
        }
        known.map(|known| Arc::new(self.data.context().compact(&known).into_owned()))
    }

    /// The past without what is lost, if some of it is.
    fn left_of(&self, past: &VersionVector) -> Option<VersionVector> {
        let own = self.membership.incarnation();
        let made = self.data.context().counter(own);
        if past.counter(own) <= made {
            return self.lost(past);
        }
        // It was never made here: a copied memory made it, and nobody else can bring it.
        let cut = |(incarnation, counter)| (incarnation, if incarnation == own { made } else { counter });
        Some(VersionVector::from_entries(past.entries().map(cut)))
    }

    /// Tells a watch that has begun what it lacks, as much as one part holds.
    fn tell_watch(&mut self, id: RequestId, watch: &mut Watch) -> Place {
        if watch.has_begun() {
            self.catch_up(id, watch);
        }
        if let Some(reset) = watch.beginning.take() {
            let unknown = self.rules.follows(Rule::WatchBeginsUnknown);
            let known = (!unknown).then(|| self.data.shared_vector());
            let mark = WatchMark { past: watch.past.clone(), known, synced: false };
            self.effects.tell(id, WatchPart { reset, changes: Vec::new(), mark: Some(mark) });
            return Place::Telling;
        }
        let mut filling = Filling::new(self.effects.room(), self.config.watch_part_max);
        self.tell_changed(watch, &mut filling);
        let walked = self.walk_on(watch, &mut filling);
        self.charge(&mut filling);
        match walked {
            Walked::On | Walked::Through => {}
            Walked::Forgotten => {
                self.begin_walk(watch, None);
                return Place::Due;
            }
            Walked::Unordered if filling.changes.is_empty() => return Place::Unordered,
            Walked::Unordered => {}
        }
        self.hand_out(id, watch, filling)
    }

    fn hand_out(&mut self, id: RequestId, watch: &mut Watch, filling: Filling) -> Place {
        let is_drained =
            matches!(watch.stage, Stage::Live) && !self.watches.ranges().has_after(&watch.range, watch.position);
        watch.is_open |= !filling.changes.is_empty();
        let marks = is_drained || !filling.changes.is_empty() && !self.rules.follows(Rule::WatchMarksEndCuts);
        let mark = (marks && (watch.is_open || !watch.is_synced)).then(|| self.mark(watch));
        if filling.changes.is_empty() && mark.is_none() {
            return if is_drained { Place::Idle } else { Place::Due };
        }
        (watch.holds, watch.is_anew) = (true, false);
        self.effects.tell(id, WatchPart { reset: None, changes: filling.changes, mark });
        Place::Telling
    }

    /// With this mark the client holds what is here.
    fn mark(&mut self, watch: &mut Watch) -> WatchMark {
        if self.rules.follows(Rule::WatchesBindToDeletes) {
            watch.past.join(&self.data.log().all_deletes());
        }
        if !self.rules.follows(Rule::WatchesBindToNoMore) {
            watch.past.join(self.data.context().vector());
        }
        if let Some(past) = self.data.compacted(&self.rules, &watch.past) {
            watch.past = past;
        }
        let (known, synced) = (self.data.shared_vector(), !watch.is_synced);
        watch.base = Some(known.clone());
        (watch.is_synced, watch.is_open) = (true, false);
        WatchMark { past: watch.past.clone(), known: Some(known), synced }
    }

    /// Changes that the watch lacks were given up: it looks for them, in this walk's successor or in a walk of its own.
    fn catch_up(&mut self, id: RequestId, watch: &mut Watch) {
        let given_up = self.watches.ranges().given_up(&watch.range);
        if watch.position >= given_up {
            return;
        }
        watch.position = given_up;
        if !self.rules.follows(Rule::WatchesCatchUp) {
            return;
        }
        self.effects.emit(Event::FellBehind(id));
        match &mut watch.stage {
            Stage::Walking(walk) => walk.again = true,
            Stage::Live | Stage::Pending(_) => {
                let base = watch.base.clone();
                self.begin_walk(watch, base);
            }
        }
    }

    /// What some of the waiting watches wait for is asked about with the rest, others each time.
    ///
    /// A round closes links, and a watch may wait for long. So this is done ever more seldom.
    pub(super) fn missed_by_watches(&mut self) -> Vec<(Incarnation, u64)> {
        let asked = self.watches.next_to_query(self.now.monotonic, WATCHES_QUERIED_MAX);
        asked.iter().flat_map(|past| self.missing_everywhere(past)).collect()
    }
}
