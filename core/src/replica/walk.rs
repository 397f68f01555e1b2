//! What a watch looks at to fill a part: what changed, which deletes are remembered, and the keys of its range (WATCH-3,
//! WATCH-5).

use super::Replica;
use super::watches::{Stage, Walk, Watch};
use crate::data::Key;
use crate::op::Dots;
use crate::request::{Listed, WATCH_PART_MAX, WatchChange, WatchRange, WatchReset};
use crate::rules::{Rule, Rules};
use crate::siblings::Siblings;
use crate::vector::VersionVector;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// So many keys that are looked at are one unit of work.
const KEYS_PER_UNIT: usize = 4;

/// So many remembered deletes that are looked at are one unit of work.
const DELETES_PER_UNIT: usize = 16;

/// A part is full when its values have so many bytes.
const PART_BYTES_MAX: usize = 256 << 10;

/// A part being filled.
pub(super) struct Filling {
    pub(super) changes: Vec<WatchChange>,
    value_bytes: usize,
    looked: usize,
    /// What it may look at at most.
    most: usize,
    changes_max: usize,
    /// Units of work that were counted for that.
    charged: usize,
}

impl Filling {
    /// An empty part. This call may do so much more work.
    pub(super) fn new(room: usize, changes_max: usize) -> Self {
        let most = room.saturating_mul(KEYS_PER_UNIT).min(WATCH_PART_MAX);
        let changes_max = changes_max.clamp(1, WATCH_PART_MAX);
        Self { changes: Vec::new(), value_bytes: 0, looked: 0, most, changes_max, charged: 0 }
    }

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
pub(super) enum Walked {
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
    /// Looks through the range from its beginning, for what that does not cover.
    pub(super) fn begin_walk(&mut self, watch: &mut Watch, known: Option<Arc<VersionVector>>) {
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

    /// Counts as work what was looked at since.
    pub(super) fn charge(&mut self, filling: &mut Filling) {
        let units = filling.looked.div_ceil(KEYS_PER_UNIT);
        self.effects.did(units - filling.charged);
        filling.charged = units;
    }

    /// Tells keys that changed. While the watch walks it leaves half of the part for that.
    pub(super) fn tell_changed(&mut self, watch: &mut Watch, filling: &mut Filling) {
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
                Stage::Live | Stage::Pending(_) => false,
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
    pub(super) fn walk_on(&mut self, watch: &mut Watch, filling: &mut Filling) -> Walked {
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
        if !filling.changes.is_empty() {
            // Before the next walk begins: what this part tells is what the client would have to forget.
            (watch.holds, watch.is_anew) = (true, false);
        }
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
}

/// Who is shown these versions is bound to them.
fn bind<R: Rules>(rules: &R, past: &mut VersionVector, shown: &Siblings) {
    if rules.follows(Rule::WatchesBindToShown) {
        shown.iter().for_each(|sibling| _ = past.join_dot(sibling.dot));
    }
}
