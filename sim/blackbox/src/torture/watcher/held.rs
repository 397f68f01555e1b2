//! What a watcher was told so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// At most so many versions are remembered with the cut in which they came.
const VERSIONS_MAX: usize = 200_000;

/// What a key shows: its value and its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) value: String,
    pub(super) versions: Vec<String>,
}

/// Keys as they were told, cut by cut.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Everything that is there was told.
    pub(super) is_complete: bool,
    state: BTreeMap<String, Shown>,
    /// What was told since the last cut.
    pending: Vec<(String, Option<Shown>)>,
    /// In which cut a version came first.
    versions: HashMap<String, u64>,
    pub(super) cuts: u64,
    pub(super) changes: u64,
}

impl Held {
    /// All that was told is void.
    pub(super) fn clear(&mut self) {
        let Self { cuts, changes, .. } = *self;
        *self = Self { cuts, changes, ..Self::default() };
    }

    /// What was told since the last cut is void.
    pub(super) fn go_back(&mut self) {
        self.pending.clear();
    }

    /// A key shows this now, or nothing.
    pub(super) fn tell(&mut self, key: String, shown: Option<Shown>) {
        self.pending.push((key, shown));
    }

    /// What a key shows.
    pub(super) fn shown(&self, key: &str) -> Option<&Shown> {
        self.state.get(key)
    }

    /// What was told until here is one moment. Returns the keys that changed, and what came too late. A version that came
    /// at another key in an earlier cut is part of a batch, and belongs into that cut.
    pub(super) fn cut(&mut self) -> (BTreeSet<String>, Vec<String>) {
        self.is_complete = true;
        self.cuts += 1;
        self.changes += self.pending.len() as u64;
        let (mut changed, mut late) = (BTreeSet::new(), Vec::new());
        for (key, shown) in std::mem::take(&mut self.pending) {
            for version in shown.iter().flat_map(|shown| &shown.versions) {
                let known = self.state.get(&key).is_some_and(|shown| shown.versions.contains(version));
                let first = *self.versions.entry(version.clone()).or_insert(self.cuts);
                if !known && first < self.cuts {
                    late.push(format!("{version} of {key} {} cuts late", self.cuts - first));
                }
            }
            changed.insert(key.clone());
            match shown {
                Some(shown) => _ = self.state.insert(key, shown),
                None => _ = self.state.remove(&key),
            }
        }
        if self.versions.len() > VERSIONS_MAX {
            self.versions.clear();
        }
        (changed, late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(held: &mut Held, key: &str, version: &str) {
        let shown = Shown { value: version.into(), versions: vec![version.into()] };
        held.tell(key.into(), Some(shown));
    }

    #[test]
    fn half_of_a_batch_is_late() {
        let mut held = Held::default();
        put(&mut held, "a", "x-1");
        assert_eq!(held.cut(), (["a".to_owned()].into(), vec![]));
        for key in ["a", "b"] {
            put(&mut held, key, "x-2");
        }
        assert!(held.cut().1.is_empty(), "both in one cut");
        put(&mut held, "a", "x-3");
        assert!(held.cut().1.is_empty());
        put(&mut held, "c", "x-3");
        assert_eq!(held.cut().1, ["x-3 of c 1 cuts late"]);
        put(&mut held, "a", "x-3");
        assert!(held.cut().1.is_empty(), "it was told that before");
        held.tell("a".into(), None);
        held.cut();
        put(&mut held, "a", "x-3");
        assert_eq!(held.cut().1.len(), 1, "nothing comes back");
        assert_eq!((held.cuts, held.changes), (7, 8));
    }

    #[test]
    fn what_follows_the_last_cut_is_void_when_a_stream_breaks() {
        let mut held = Held::default();
        put(&mut held, "a", "x-1");
        held.cut();
        put(&mut held, "a", "x-2");
        held.go_back();
        assert_eq!(held.cut().0.len(), 0);
        assert_eq!(held.shown("a").map(|shown| &*shown.value), Some("x-1"));
        held.clear();
        assert!(held.shown("a").is_none() && !held.is_complete && held.cuts == 2);
    }
}
