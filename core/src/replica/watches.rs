//! The watches of this replica, and whose turn it is (WATCH-4, WATCH-5). `ranges` says what changed for whom.
//!
//! Invariant kept here: a watch stands in one place. It waits for its past, has its turn, is idle, wants keys in order, or its
//! client has a part. An idle watch costs nothing.

use super::awaited::Awaited;
use super::ranges::Ranges;
use crate::causal_context::CausalContext;
use crate::data::Key;
use crate::identity::Incarnation;
use crate::request::{RequestId, WatchRange, WatchRequest, WatchReset};
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of a watch beside those of its texts and vectors.
const WATCH_BYTES: usize = 1_024;

/// It is asked again after this, then after twice that, and so on, what waiting watches wait for.
const ASK_PAUSE_MIN: Micros = Micros::from_seconds(1);
const ASK_PAUSE_MAX: Micros = Micros::from_seconds(8);

#[derive(Debug, Clone)]
pub(super) struct Watches {
    watches: BTreeMap<RequestId, Box<Watch>>,
    ranges: Ranges,
    awaited: Awaited,
    pending: BTreeSet<RequestId>,
    /// Waiting ones from this one on have not been compared with what a round found.
    unjudged: Option<RequestId>,
    /// Waiting ones before this one were asked about last.
    asked_below: RequestId,
    /// When it is asked again what they wait for, and how long after that.
    ask_at: Time,
    ask_pause: Micros,
    due: VecDeque<RequestId>,
    /// They wait until the keys are in order.
    unordered: Vec<RequestId>,
    bytes: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) range: WatchRange,
    pub(super) keys_only: bool,
    pub(super) past: VersionVector,
    pub(super) stage: Stage,
    /// It is to begin with a part that says so.
    pub(super) beginning: Option<Option<WatchReset>>,
    /// A beginning was told, and nothing since.
    pub(super) is_anew: bool,
    /// The client may hold something of the range.
    pub(super) holds: bool,
    /// Changes up to this one were told.
    pub(super) position: u64,
    /// Everything that was covered then was told, or is looked at by the present walk.
    pub(super) base: Option<Arc<VersionVector>>,
    /// It has had a mark that knows something.
    pub(super) is_synced: bool,
    /// Something was told since the last mark.
    pub(super) is_open: bool,
    /// It was asked whether some of its past is lost.
    pub(super) was_asked_about: bool,
    place: Place,
    bytes: usize,
}

/// How far a watch is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Its past is not covered, as far as is known. Then it goes on from there.
    Pending(Option<VersionVector>),
    /// It looks through its range.
    Walking(Walk),
    /// It is told what changes.
    Live,
}

/// A look through a range for what was not told.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// What this covers was told. None: nothing was.
    pub(super) known: Option<Arc<VersionVector>>,
    /// What was covered when it began.
    pub(super) begun_at: Arc<VersionVector>,
    /// Numbers of the deletes that are yet to be looked at, from and below.
    pub(super) deletes: (u64, u64),
    /// The key that was looked at last.
    pub(super) cursor: Option<Key>,
    /// Changes were given up meanwhile: the next walk looks for them.
    pub(super) again: bool,
}

/// Where a watch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It waits for this write.
    Pending(Incarnation, u64),
    /// It has its turn.
    Due,
    /// Nothing is to be told.
    Idle,
    /// It waits until the keys are in order.
    Unordered,
    /// Its client has a part.
    Telling,
}

impl Walk {
    /// Is this key yet to be looked at?
    pub(super) fn is_ahead(&self, key: &Key) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| cursor < key)
    }
}

impl Watches {
    pub(super) fn new(changes_max: usize, change_bytes_max: usize) -> Self {
        Self {
            watches: BTreeMap::new(),
            ranges: Ranges::new(changes_max, change_bytes_max),
            awaited: Awaited::default(),
            pending: BTreeSet::new(),
            unjudged: None,
            asked_below: RequestId(0),
            ask_at: Time::default(),
            ask_pause: ASK_PAUSE_MIN,
            due: VecDeque::new(),
            unordered: Vec::new(),
            bytes: 0,
        }
    }

    /// Bytes that such a watch would take.
    pub(super) fn bytes_of(request: &WatchRequest) -> usize {
        let entries = request.past.len() + request.since.as_ref().map_or(0, VersionVector::len);
        WATCH_BYTES + 2 * request.range.bytes() + 16 * entries
    }

    /// One more; it has its turn.
    pub(super) fn insert(&mut self, id: RequestId, request: WatchRequest) {
        let bytes = Self::bytes_of(&request);
        let WatchRequest { range, keys_only, past, since } = request;
        self.ranges.add(&range);
        self.bytes += bytes;
        let watch = Watch {
            range,
            keys_only,
            past,
            stage: Stage::Pending(since),
            beginning: None,
            is_anew: false,
            holds: false,
            position: 0,
            base: None,
            is_synced: false,
            is_open: false,
            was_asked_about: false,
            place: Place::Due,
            bytes,
        };
        let replaced = self.watches.insert(id, Box::new(watch));
        assert!(replaced.is_none(), "{id:?} is used twice");
        self.due.push_back(id);
    }

    /// Its client is gone.
    pub(super) fn remove(&mut self, id: RequestId) {
        let Some(watch) = self.watches.remove(&id) else { return };
        self.bytes -= watch.bytes;
        match watch.place {
            Place::Pending(incarnation, counter) => {
                self.awaited.remove(id, (incarnation, counter));
                self.pending.remove(&id);
            }
            // Its turn is passed over when it comes.
            Place::Due | Place::Unordered | Place::Idle | Place::Telling => {}
        }
        self.ranges.remove(&watch.range, watch.has_begun().then_some((watch.position, id)));
    }

    /// A key changed: whoever watches it is to be told.
    #[inline]
    pub(super) fn note(&mut self, key: &Key) {
        if !self.watches.is_empty() {
            self.ranges.note(key);
        }
    }

    /// Whose turn it is. It is taken out until it is put back.
    pub(super) fn take_due(&mut self) -> Option<(RequestId, Box<Watch>)> {
        while let Some(id) = self.due.pop_front() {
            if let Some(watch) = self.watches.remove(&id) {
                return Some((id, watch));
            }
        }
        let id = self.ranges.next_idle()?;
        let watch = self.watches.remove(&id).expect("an idle watch is there");
        Some((id, watch))
    }

    /// One that waits and whose write is covered by now, or that is yet to be judged. Counts what was looked at in vain.
    pub(super) fn take_pending(
        &mut self,
        context: &CausalContext,
        room: usize,
    ) -> (Option<(RequestId, Box<Watch>)>, usize) {
        let (mut found, mut looked) = (None, 0);
        if self.awaited.is_noted() {
            (found, looked) = self.awaited.next_reached(context, room);
        }
        if found.is_none()
            && let Some(from) = self.unjudged
        {
            found = self.pending.range(from..).next().copied();
            self.unjudged = found.map(|id| RequestId(id.0.saturating_add(1)));
        }
        let taken = found.map(|id| {
            let watch = self.watches.remove(&id).expect("a waiting watch is there");
            if let Place::Pending(incarnation, counter) = watch.place {
                self.awaited.remove(id, (incarnation, counter));
            }
            self.pending.remove(&id);
            (id, watch)
        });
        (taken, looked)
    }

    /// Is there one that has its turn, or may have?
    pub(super) fn is_noted(&self) -> bool {
        !self.due.is_empty() || self.ranges.is_due() || self.awaited.is_noted() || self.unjudged.is_some()
    }

    /// It stands here from now on. `before` is its position when it was taken out; none where it had not begun.
    pub(super) fn put_back(&mut self, id: RequestId, mut watch: Box<Watch>, before: Option<u64>, place: Place) {
        watch.place = place;
        match place {
            Place::Pending(incarnation, counter) => {
                self.awaited.insert(id, (incarnation, counter));
                self.pending.insert(id);
            }
            Place::Due => self.due.push_back(id),
            Place::Unordered => self.unordered.push(id),
            Place::Idle => watch.position = self.ranges.last(),
            Place::Telling => {}
        }
        if watch.has_begun() {
            self.ranges.place(&watch.range, id, before, (watch.position, place == Place::Idle));
        }
        self.watches.insert(id, watch);
    }

    /// The client took its part: it has its turn. Says whether there was one.
    pub(super) fn on_part_taken(&mut self, id: RequestId) -> bool {
        let Some(watch) = self.watches.get_mut(&id).filter(|watch| watch.place == Place::Telling) else { return false };
        watch.place = Place::Due;
        self.due.push_back(id);
        true
    }

    /// Does one wait until the keys are in order?
    pub(super) fn has_unordered(&self) -> bool {
        !self.unordered.is_empty()
    }

    /// The keys are in order: those that wait for that have their turn.
    pub(super) fn order_done(&mut self) {
        for id in core::mem::take(&mut self.unordered) {
            if let Some(watch) = self.watches.get_mut(&id) {
                watch.place = Place::Due;
                self.due.push_back(id);
            }
        }
    }

    /// The coverage of this incarnation moved.
    #[inline]
    pub(super) fn note_coverage(&mut self, incarnation: Incarnation) {
        self.awaited.note(incarnation);
    }

    /// The coverage of any incarnation may have moved.
    pub(super) fn note_all_coverage(&mut self) {
        self.awaited.note_all();
    }

    /// A round found something.
    pub(super) fn note_outcome(&mut self) {
        self.unjudged = (!self.pending.is_empty()).then_some(RequestId(0));
    }

    /// The pasts of some that wait, in turn.
    pub(super) fn next_to_query(&mut self, now: Time, most: usize) -> Vec<VersionVector> {
        if self.pending.is_empty() {
            self.ask_pause = ASK_PAUSE_MIN;
            return Vec::new();
        }
        if now < self.ask_at {
            return Vec::new();
        }
        self.ask_at = now + self.ask_pause;
        self.ask_pause = self.ask_pause.times(2).min(ASK_PAUSE_MAX);
        let mut ids: Vec<RequestId> = self.pending.range(self.asked_below..).take(most).copied().collect();
        if ids.is_empty() {
            ids = self.pending.iter().take(most).copied().collect();
        }
        self.asked_below = ids.last().map_or(RequestId(0), |last| RequestId(last.0.saturating_add(1)));
        ids.iter().filter_map(|id| Some(self.watches.get(id)?.past.clone())).collect()
    }

    /// When it is asked again what they wait for. What is due by now is left to what happens next.
    pub(super) fn ask_timeout(&self, now: Time) -> Time {
        if self.pending.is_empty() || self.ask_at <= now { Time::NEVER } else { self.ask_at }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    /// How many wait for their past.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Gives up some changes, for up to so many units of work. Says how many.
    pub(super) fn give_up_some(&mut self, units_max: usize) -> usize {
        self.ranges.give_up_some(units_max)
    }

    /// What changed in each range.
    pub(super) const fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Bytes of the watches alone.
    pub(super) const fn own_bytes(&self) -> u64 {
        self.bytes as u64
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes + self.ranges.bytes()
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        self.ranges.check_invariants();
        assert_eq!(self.watches.len(), self.ranges.watches(), "watches of ranges");
        assert_eq!(self.bytes, self.watches.values().map(|watch| watch.bytes).sum::<usize>(), "bytes of watches");
        assert_eq!(self.pending.len(), self.awaited.len(), "each waits for one write");
        for (id, watch) in &self.watches {
            assert_eq!(watch.place == Place::Due, self.due.contains(id), "{id:?} has its turn");
            assert_eq!(watch.place == Place::Unordered, self.unordered.contains(id), "{id:?} wants keys in order");
            assert_eq!(matches!(watch.place, Place::Pending(..)), self.pending.contains(id), "{id:?} waits");
        }
    }
}

impl Watch {
    /// Is it told what changes?
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::Pending(_))
    }
}
