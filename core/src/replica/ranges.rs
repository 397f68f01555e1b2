//! Watched ranges, and which keys changed in each (WATCH-5).
//!
//! Watches of one range share what changed in it. A change costs a look for each length of a watched prefix, and nothing
//! for each watch.
//!
//! Invariants kept here:
//! - A watch that has begun is idle, or stands under what it was told.
//! - What changed in a range is kept while a watch of it may lack it. In the bounds that hold for all it is given up.

use super::changed::{self, Changed};
use crate::data::Key;
use crate::request::{RequestId, WatchRange};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    of_keys: BTreeMap<Key, Range>,
    of_prefixes: BTreeMap<String, Range>,
    /// How many prefixes of each length in bytes are watched.
    lengths: BTreeMap<usize, usize>,
    /// Ranges whose idle watches have something to tell.
    due: VecDeque<WatchRange>,
    /// The number of the last change.
    last: u64,
    changes: usize,
    changes_max: usize,
    bytes: usize,
    bytes_max: usize,
    /// A range that had more changes than others.
    longest: Option<WatchRange>,
}

/// What is known of one range.
#[derive(Debug, Clone, Default)]
struct Range {
    watches: usize,
    /// So many of them have begun.
    begun: usize,
    /// Those that had nothing to tell, and since which change.
    idle: BTreeSet<(u64, RequestId)>,
    /// What those have been told that are not idle.
    positions: BTreeSet<(u64, RequestId)>,
    changed: Changed,
    is_due: bool,
}

impl Ranges {
    pub(super) fn new(changes_max: usize, bytes_max: usize) -> Self {
        Self { changes_max, bytes_max, ..Self::default() }
    }

    /// One more watch of this range.
    pub(super) fn add(&mut self, at: &WatchRange) {
        match at {
            WatchRange::Key(key) => self.of_keys.entry(key.clone()).or_default().watches += 1,
            WatchRange::Prefix(prefix) => {
                let range = self.of_prefixes.entry(prefix.clone()).or_default();
                range.watches += 1;
                if range.watches == 1 {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
            }
        }
    }

    /// One watch less. If it had begun, it was told so much.
    pub(super) fn remove(&mut self, at: &WatchRange, begun: Option<(u64, RequestId)>) {
        let range = self.range_mut(at);
        range.watches -= 1;
        if let Some((position, id)) = begun {
            range.begun -= 1;
            range.idle.remove(&(position, id));
            range.positions.remove(&(position, id));
        }
        if range.watches > 0 {
            return self.trim(at);
        }
        let gone = match at {
            WatchRange::Key(key) => self.of_keys.remove(key),
            WatchRange::Prefix(prefix) => {
                self.forget_length(prefix.len());
                self.of_prefixes.remove(prefix)
            }
        };
        let gone = gone.expect("a watched range has its place");
        self.changes -= gone.changed.len();
        self.bytes -= gone.changed.bytes();
    }

    fn range(&self, range: &WatchRange) -> Option<&Range> {
        match range {
            WatchRange::Key(key) => self.of_keys.get(key),
            WatchRange::Prefix(prefix) => self.of_prefixes.get(prefix),
        }
    }

    fn find_mut(&mut self, range: &WatchRange) -> Option<&mut Range> {
        match range {
            WatchRange::Key(key) => self.of_keys.get_mut(key),
            WatchRange::Prefix(prefix) => self.of_prefixes.get_mut(prefix),
        }
    }

    fn range_mut(&mut self, range: &WatchRange) -> &mut Range {
        self.find_mut(range).expect("a watched range has its place")
    }

    fn forget_length(&mut self, length: usize) {
        let prefixes = self.lengths.get_mut(&length).expect("lengths are counted");
        *prefixes -= 1;
        if *prefixes == 0 {
            self.lengths.remove(&length);
        }
    }

    /// A key changed: whoever watches it is to be told.
    pub(super) fn note(&mut self, key: &Key) {
        self.last += 1;
        if self.of_keys.contains_key(key) {
            self.note_in(&WatchRange::Key(key.clone()), key);
        }
        let text = key.as_str();
        let lengths: Vec<usize> = self.lengths.range(..=text.len()).map(|(&length, _)| length).collect();
        for prefix in lengths.into_iter().filter_map(|length| text.get(..length)) {
            if self.of_prefixes.contains_key(prefix) {
                self.note_in(&WatchRange::Prefix(prefix.into()), key);
            }
        }
    }

    fn note_in(&mut self, at: &WatchRange, key: &Key) {
        let number = self.last;
        let range = self.range_mut(at);
        if range.begun == 0 {
            return;
        }
        let before = range.changed.len();
        range.changed.note(key, number);
        let (grown, wakes) = (range.changed.len() > before, !range.is_due && !range.idle.is_empty());
        range.is_due |= wakes;
        if wakes {
            self.due.push_back(at.clone());
        }
        if grown {
            self.changes += 1;
            self.bytes += changed::entry_bytes(key);
            while self.changes > self.changes_max || self.bytes > self.bytes_max {
                self.give_up_one(at);
            }
        }
    }

    /// Gives up the oldest change of the longest range: its watches look through it again.
    fn give_up_one(&mut self, noted: &WatchRange) {
        let longest = self.longest.take();
        let len = |at: &WatchRange| self.range(at).map_or(0, |range| range.changed.len());
        let from = match longest.filter(|longest| len(longest) >= len(noted)) {
            Some(longest) => longest,
            None => noted.clone(),
        };
        let freed = self.range_mut(&from).changed.drop_oldest();
        self.bytes -= freed;
        self.changes -= 1;
        self.longest = Some(from);
    }

    /// Gives up some changes, for up to so many units of work. Says how many.
    pub(super) fn give_up_some(&mut self, units_max: usize) -> usize {
        for units in 0..units_max {
            let longest = self.longest.clone().filter(|at| self.range(at).is_some_and(|range| range.changed.len() > 0));
            let Some(at) = longest.or_else(|| self.some_changed()) else { return units };
            self.give_up_one(&at);
        }
        units_max
    }

    /// A range that has changes.
    fn some_changed(&self) -> Option<WatchRange> {
        let of_key = self.of_keys.iter().find(|(_, range)| range.changed.len() > 0);
        let of_prefix = || self.of_prefixes.iter().find(|(_, range)| range.changed.len() > 0);
        of_key
            .map(|(key, _)| WatchRange::Key(key.clone()))
            .or_else(|| of_prefix().map(|(prefix, _)| WatchRange::Prefix(prefix.clone())))
    }

    /// What every watch of this range was told is not needed any more.
    fn trim(&mut self, at: &WatchRange) {
        let last = self.last;
        let range = self.range_mut(at);
        if range.is_due {
            return;
        }
        let through = range.positions.first().map_or(last, |&(position, _)| position);
        let (len, freed) = (range.changed.len(), range.changed.drop_through(through));
        let gone = len - range.changed.len();
        self.changes -= gone;
        self.bytes -= freed;
    }

    /// An idle watch that has something to tell. It is idle no more.
    pub(super) fn next_idle(&mut self) -> Option<RequestId> {
        while let Some(at) = self.due.front().cloned() {
            let Some(range) = self.find_mut(&at) else {
                self.due.pop_front();
                continue;
            };
            if let Some(&(position, id)) = range.idle.first()
                && range.changed.newest() > position
            {
                range.idle.pop_first();
                range.positions.insert((position, id));
                return Some(id);
            }
            range.is_due = false;
            self.due.pop_front();
            self.trim(&at);
        }
        None
    }

    /// Where a watch stands that has begun: what it was told before and by now, and whether it is idle. Nothing before:
    /// it had not begun.
    pub(super) fn place(&mut self, at: &WatchRange, id: RequestId, before: Option<u64>, now: (u64, bool)) {
        let range = self.range_mut(at);
        match before {
            Some(before) => _ = range.positions.remove(&(before, id)),
            None => range.begun += 1,
        }
        let (position, is_idle) = now;
        let among = if is_idle { &mut range.idle } else { &mut range.positions };
        among.insert((position, id));
        self.trim(at);
    }

    /// Has a range idle watches that have something to tell?
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The keys of a range that changed after this number, up to so many.
    pub(super) fn after(&self, at: &WatchRange, number: u64, most: usize) -> Vec<(u64, Key)> {
        let Some(range) = self.range(at) else { return Vec::new() };
        range.changed.after(number).take(most).map(|(number, key)| (number, key.clone())).collect()
    }

    /// Did keys of a range change after this number?
    pub(super) fn has_after(&self, at: &WatchRange, number: u64) -> bool {
        self.range(at).is_some_and(|range| range.changed.after(number).next().is_some())
    }

    /// Up to this number changes of a range may have been given up.
    pub(super) fn given_up(&self, at: &WatchRange) -> u64 {
        self.range(at).map_or(0, |range| range.changed.floor())
    }

    /// The number of the last change.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// How many keys changed that some watch may lack.
    pub(super) const fn changes(&self) -> usize {
        self.changes
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of all ranges.
    pub(super) fn watches(&self) -> usize {
        self.all().map(|range| range.watches).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Range> {
        self.of_keys.values().chain(self.of_prefixes.values())
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        assert_eq!(self.changes, self.all().map(|range| range.changed.len()).sum::<usize>(), "changes");
        assert_eq!(self.bytes, self.all().map(|range| range.changed.bytes()).sum::<usize>(), "bytes of changes");
        let within = self.changes <= self.changes_max && self.bytes <= self.bytes_max;
        assert!(within, "{} changes of {} bytes are kept", self.changes, self.bytes);
        assert_eq!(self.of_prefixes.len(), self.lengths.values().sum::<usize>(), "lengths of prefixes");
        for range in self.all() {
            assert_eq!(range.begun, range.idle.len() + range.positions.len(), "one place for each that has begun");
            let lacks = range.positions.first().is_some_and(|&(position, _)| position < self.last);
            assert!(range.changed.len() == 0 || range.is_due || lacks, "changes are kept that nobody lacks");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn key(text: &str) -> Key {
        Key::new(text).expect("a key")
    }

    fn prefix(text: &str) -> WatchRange {
        WatchRange::Prefix(text.into())
    }

    /// A range with one idle watch.
    fn watched(ranges: &mut Ranges, at: &WatchRange, id: u64) {
        ranges.add(at);
        ranges.place(at, RequestId(id), None, (ranges.last(), true));
    }

    #[test]
    fn a_change_wakes_the_watches_of_its_ranges_and_no_other() {
        let mut ranges = Ranges::new(100, usize::MAX);
        for (id, at) in [(1, prefix("")), (2, prefix("a")), (3, prefix("\u{e4}b")), (4, WatchRange::Key(key("ab")))] {
            watched(&mut ranges, &at, id);
        }
        for (text, woken) in [("ab", &[1, 2, 4][..]), ("\u{e4}b", &[1, 3]), ("\u{e4}", &[1]), ("b", &[1])] {
            ranges.note(&key(text));
            let mut ids: Vec<u64> = core::iter::from_fn(|| ranges.next_idle().map(|id| id.0)).collect();
            ids.sort_unstable();
            assert_eq!(ids, woken, "{text}");
            ranges.check_invariants();
            for (id, at) in [(1, prefix("")), (2, prefix("a")), (3, prefix("\u{e4}b")), (4, WatchRange::Key(key("ab")))]
            {
                if ids.contains(&id) {
                    let before = ranges.range(&at).and_then(|range| range.positions.first().copied());
                    let last = ranges.last();
                    ranges.place(&at, RequestId(id), before.map(|(position, _)| position), (last, true));
                }
            }
            assert_eq!(ranges.changes(), 0, "what all were told is kept no longer");
        }
    }

    #[test]
    fn the_longest_range_gives_way() {
        let mut ranges = Ranges::new(4, usize::MAX);
        watched(&mut ranges, &prefix("a"), 1);
        watched(&mut ranges, &prefix("b"), 2);
        ranges.note(&key("b0"));
        (0..6).for_each(|n| ranges.note(&key(&format!("a{n}"))));
        ranges.check_invariants();
        assert_eq!((ranges.after(&prefix("a"), 0, 9).len(), ranges.after(&prefix("b"), 0, 9).len()), (3, 1));
        assert_eq!((ranges.given_up(&prefix("a")), ranges.given_up(&prefix("b"))), (4, 0));
        assert_eq!(ranges.give_up_some(9), 4);
        assert_eq!(ranges.bytes(), 0);
        assert!(ranges.next_idle().is_some() && ranges.next_idle().is_some(), "they look through their ranges again");
    }

    #[test]
    fn a_range_goes_with_its_last_watch() {
        let mut ranges = Ranges::new(4, usize::MAX);
        watched(&mut ranges, &prefix("a"), 1);
        watched(&mut ranges, &prefix("a"), 2);
        ranges.note(&key("a0"));
        ranges.remove(&prefix("a"), Some((0, RequestId(1))));
        assert_eq!(ranges.changes(), 1);
        ranges.remove(&prefix("a"), Some((0, RequestId(2))));
        ranges.check_invariants();
        assert_eq!((ranges.changes(), ranges.watches(), ranges.next_idle()), (0, 0, None));
    }
}
