//! Tells watches what is there and what changes (WATCH-1 to WATCH-6).
//!
//! A watch looks through its range once, in slices, and is told what changes from then on. Where it goes on from a mark,
//! it looks for versions that the mark did not know, and for keys that were deleted from since. Each part shows the
//! present moment. A mark goes out with the part after which nothing is left to tell.

use super::Replica;
use super::watches::{Place, Stage, Walk, Watch, Watches};
use crate::data::Key;
use crate::edge::Event;
use crate::identity::Incarnation;
use crate::op::{Dots, Op};
use crate::request::{
    Listed, Refusal, Reply, RequestId, WATCH_PART_MAX, WatchChange, WatchMark, WatchPart, WatchRange, WatchRequest,
    WatchReset,
};
use crate::rules::{Rule, Rules};
use crate::siblings::Siblings;
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// So many keys that are looked at are one unit of work.
const KEYS_PER_UNIT: usize = 4;

/// A watch is not given its turn with less room than this, in units of work.
const TURN_ROOM: usize = 4;

/// So many remembered deletes that are looked at are one unit of work.
const DELETES_PER_UNIT: usize = 16;

/// A part ends before the values in it exceed so many bytes, unless one value alone does.
const PART_BYTES_MAX: usize = 256 << 10;

/// Waiting watches whose pasts a round takes up beside what requests ask for.
const WATCHES_QUERIED_MAX: usize = 16;

/// A part being filled.
#[derive(Default)]
struct Filling {
    changes: Vec<WatchChange>,
    value_bytes: usize,
    looked: usize,
    /// What it may look at at most.
    most: usize,
    changes_max: usize,
    /// Units of work that were counted for that.
    charged: usize,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.looked >= self.most || self.changes.len() >= self.changes_max || self.value_bytes >= PART_BYTES_MAX
    }

    /// The present state of a key. Only its name is told if it is asked so, or if it is absent.
    fn tell(&mut self, key: &Key, shown: &Siblings, keys_only: bool) {
        let Some(winner) = shown.winner() else { return self.changes.push(WatchChange::Delete(key.clone())) };
        let mut dots: Dots = shown.iter().map(|sibling| sibling.dot).collect();
        dots.sort_unstable();
        let value = (!keys_only).then(|| winner.value.clone());
        self.value_bytes += value.as_ref().map_or(0, |value| value.as_bytes().len());
        self.changes.push(WatchChange::Put(Listed { key: key.clone(), dots, value }));
    }
}

/// What became of a look through a range.
enum Walked {
    /// It goes on.
    On,
    /// Everything was looked at.
    Through,
    /// The keys are not in order.
    Unordered,
    /// It needs deletes that are forgotten.
    Forgotten,
}

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

    pub(super) fn on_told(&mut self, id: RequestId) {
        self.watches.on_told(id);
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
        if self.watches.has_parked() {
            self.order_for_watches();
        }
        while self.watches.is_noted() {
            if self.effects.room() < left.saturating_add(TURN_ROOM) {
                return self.effects.defer();
            }
            let Some((id, watch)) = self.watch_in_turn() else { continue };
            self.serve_watch(id, watch);
        }
        let waits = self.watches.has_parked() && self.may_order_for_watches();
        self.effects.defer_if(waits);
    }

    fn watch_in_turn(&mut self) -> Option<(RequestId, Box<Watch>)> {
        if let Some(due) = self.watches.take_due() {
            return Some(due);
        }
        let (waiting, looked) = self.watches.take_waiting(self.data.context(), self.effects.room());
        self.effects.did(looked);
        waiting
    }

    /// Puts keys in order for watches that wait for that.
    fn order_for_watches(&mut self) {
        if !self.data.store().is_indexed() && self.may_order_for_watches() {
            self.put_in_order();
        }
        if self.data.store().is_indexed() {
            self.watches.unpark();
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
            Place::Waiting(..) | Place::Idle | Place::Parked | Place::Telling => place,
        };
        self.watches.put_back(id, watch, before, place);
    }

    /// Begins a watch if its past is covered, or tells it that some of that is lost.
    fn begin_watch(&mut self, watch: &mut Watch) -> Place {
        let Stage::Waiting(since) = &mut watch.stage else { return Place::Due };
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
            Some((incarnation, counter)) => Place::Waiting(incarnation, counter),
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

    /// Looks through the range from its beginning, for what that does not cover.
    fn begin_walk(&mut self, watch: &mut Watch, known: Option<Arc<VersionVector>>) {
        let is_key = matches!(watch.range, WatchRange::Key(_));
        let known = known.filter(|known| is_key || self.remembers_since(known));
        if known.is_none() {
            if !watch.is_anew {
                // A client that holds nothing has nothing to forget.
                watch.beginning = Some(watch.holds.then_some(WatchReset::Forgotten));
                watch.is_anew = true;
            }
            (watch.is_synced, watch.is_open, watch.base) = (false, false, None);
        }
        let (first, end) = self.deleted.range();
        let looks = !is_key && known.as_deref().is_some_and(|known| !self.knows_deletes(known));
        let deletes = (if looks { first } else { end }, end);
        watch.position = self.watches.ranges().last();
        let begun_at = self.data.shared_vector();
        watch.stage = Stage::Walking(Walk { known, begun_at, deletes, cursor: None, again: false });
    }

    /// Is every delete that this does not know remembered?
    fn remembers_since(&self, known: &VersionVector) -> bool {
        self.data.context().dominates_in(known, self.deleted.floor())
            || !self.rules.follows(Rule::WatchDeletesHaveFloor)
    }

    /// Does this know every delete that was applied here?
    fn knows_deletes(&self, known: &VersionVector) -> bool {
        self.data.context().dominates_in(known, &self.data.log().all_deletes())
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
        let most = self.effects.room().saturating_mul(KEYS_PER_UNIT).min(WATCH_PART_MAX);
        let changes_max = self.config.watch_part_max.clamp(1, WATCH_PART_MAX);
        let mut filling = Filling { most, changes_max, ..Filling::default() };
        self.tell_changed(watch, &mut filling);
        let walked = self.walk_on(watch, &mut filling);
        self.charge(&mut filling);
        match walked {
            Walked::On | Walked::Through => {}
            Walked::Forgotten => {
                self.begin_walk(watch, None);
                return Place::Due;
            }
            Walked::Unordered if filling.changes.is_empty() => return Place::Parked,
            Walked::Unordered => {}
        }
        self.hand_out(id, watch, filling)
    }

    /// Counts as work what was looked at since.
    fn charge(&mut self, filling: &mut Filling) {
        let units = filling.looked.div_ceil(KEYS_PER_UNIT);
        self.effects.did(units - filling.charged);
        filling.charged = units;
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
            Stage::Live | Stage::Waiting(_) => {
                let base = watch.base.clone();
                self.begin_walk(watch, base);
            }
        }
    }

    /// Tells keys that changed. While the watch walks it leaves half of the part for that.
    fn tell_changed(&mut self, watch: &mut Watch, filling: &mut Filling) {
        let walks = matches!(watch.stage, Stage::Walking(_));
        let most = if walks { filling.most.div_ceil(2) } else { filling.most };
        for (number, key) in self.watches.ranges().after(&watch.range, watch.position, most) {
            if filling.is_full() {
                return;
            }
            filling.looked += 1;
            let is_left = match &watch.stage {
                // It is told when the cursor comes to it. A client that holds nothing need not hear that it is absent.
                Stage::Walking(walk) => {
                    walk.known.is_none() && walk.is_ahead(&key) || !self.rules.follows(Rule::WatchesTellChangesBehind)
                }
                Stage::Live | Stage::Waiting(_) => false,
            };
            watch.position = number;
            if !is_left {
                self.tell_key(watch, &key, filling);
            }
        }
    }

    fn tell_key(&mut self, watch: &mut Watch, key: &Key, filling: &mut Filling) {
        let place = self.data.touch(&self.rules, key);
        let shown = self.data.store().siblings(place);
        bind(&self.rules, &mut watch.past, shown);
        filling.tell(key, shown, watch.keys_only);
    }

    /// Looks through more of the range, if the watch does that.
    fn walk_on(&mut self, watch: &mut Watch, filling: &mut Filling) -> Walked {
        if !self.walk_deletes(watch, filling) {
            return Walked::Forgotten;
        }
        let Stage::Walking(walk) = &watch.stage else { return Walked::Through };
        if walk.deletes.0 < walk.deletes.1 {
            return Walked::On;
        }
        let walked = match watch.range.clone() {
            _ if filling.is_full() => Walked::On,
            WatchRange::Key(key) => {
                filling.looked += 1;
                if self.may_have_changed(&key, walk.known.as_deref()) {
                    self.tell_key(watch, &key, filling);
                }
                Walked::Through
            }
            WatchRange::Prefix(_) if !self.data.store().is_indexed() => Walked::Unordered,
            WatchRange::Prefix(prefix) => self.walk_keys(watch, filling, &prefix),
        };
        if matches!(walked, Walked::Through) {
            self.end_walk(watch);
        }
        walked
    }

    /// Has this key a version that is not known, or may it have been deleted from since?
    fn may_have_changed(&self, key: &Key, known: Option<&VersionVector>) -> bool {
        let shown = self.data.store().siblings(self.data.store().find(key));
        match known {
            None => !shown.is_empty(),
            Some(known) => !self.knows_deletes(known) || self.has_unknown(shown, known),
        }
    }

    fn has_unknown(&self, shown: &Siblings, known: &VersionVector) -> bool {
        shown.iter().any(|sibling| !self.data.context().covers_in(known, sibling.dot))
    }

    /// Tells the keys that were deleted from by operations that are not known. False where such were forgotten meanwhile.
    fn walk_deletes(&mut self, watch: &mut Watch, filling: &mut Filling) -> bool {
        let Stage::Walking(Walk { known: Some(known), deletes, .. }) = &watch.stage else { return true };
        let (known, (next, end), first) = (known.clone(), *deletes, self.deleted.range().0);
        if next == end || filling.is_full() {
            return true;
        }
        if next < first && !self.remembers_since(&known) {
            return false;
        }
        let next = next.max(first);
        self.charge(filling);
        let most = end.saturating_sub(next).min((DELETES_PER_UNIT * (self.effects.room() / 2)) as u64);
        self.effects.did(usize::try_from(most).unwrap_or(usize::MAX).div_ceil(DELETES_PER_UNIT));
        filling.most = filling.most.min(filling.looked + KEYS_PER_UNIT * self.effects.room());
        let named: Vec<(usize, Key)> = self
            .deleted
            .from(next)
            .take(usize::try_from(most).unwrap_or(usize::MAX))
            .enumerate()
            .filter(|(_, (key, dot))| watch.range.contains(key) && !self.data.context().covers_in(&known, *dot))
            .map(|(at, (key, _))| (at, key.clone()))
            .collect();
        let mut through = next + most;
        for (at, key) in named {
            if filling.is_full() {
                through = next + at as u64;
                break;
            }
            filling.looked += 1;
            if self.rules.follows(Rule::WatchTellsSurvivors) {
                self.tell_key(watch, &key, filling);
            } else {
                filling.tell(&key, &Siblings::new(), true);
            }
        }
        if let Stage::Walking(walk) = &mut watch.stage {
            walk.deletes.0 = through;
        }
        true
    }

    /// Tells the keys that have a version which is not known, from the cursor on.
    fn walk_keys(&mut self, watch: &mut Watch, filling: &mut Filling, prefix: &str) -> Walked {
        let Stage::Walking(walk) = &mut watch.stage else { return Walked::Through };
        let from = walk.cursor.as_ref().map(|cursor| [cursor.as_str(), "\0"].concat());
        let from = from.unwrap_or_else(|| String::from(prefix));
        for (key, shown) in self.data.store().ascending(&from) {
            if !key.as_str().starts_with(prefix) {
                return Walked::Through;
            }
            if filling.is_full() {
                return Walked::On;
            }
            filling.looked += 1;
            bind(&self.rules, &mut watch.past, shown);
            if walk.known.as_deref().is_none_or(|known| self.has_unknown(shown, known)) {
                filling.tell(key, shown, watch.keys_only);
            }
            walk.cursor = Some(key.clone());
        }
        Walked::Through
    }

    /// Everything was looked at.
    fn end_walk(&mut self, watch: &mut Watch) {
        let Stage::Walking(Walk { begun_at, again, .. }) = &watch.stage else { return };
        let (begun_at, again) = (begun_at.clone(), *again);
        watch.base = Some(begun_at.clone());
        if again {
            self.begin_walk(watch, Some(begun_at));
        } else {
            watch.stage = Stage::Live;
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

/// Who is shown these versions is bound to them.
fn bind<R: Rules>(rules: &R, past: &mut VersionVector, shown: &Siblings) {
    if rules.follows(Rule::WatchesBindToShown) {
        shown.iter().for_each(|sibling| _ = past.join_dot(sibling.dot));
    }
}
