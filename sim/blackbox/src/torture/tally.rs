//! Counts of how requests ended, for each target, shared by all threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Answered as asked: 200, 201, 304, 404.
    Answered,
    /// 412.
    Precondition,
    /// 503.
    Refused,
    /// 424.
    LostDependency,
    /// A status that the contract does not give to this request, or an answer that cannot be used.
    Odd,
    /// Sent, and no answer.
    Unknown,
    /// No process accepted the connection.
    NotSent,
}

const NAMES: [&str; 7] = ["answered", "412", "503", "424", "odd", "no answer", "not sent"];

/// The counts.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: Vec<[AtomicU64; 7]>,
    odd: Mutex<Option<String>>,
}

impl Tally {
    pub(crate) fn new(targets: usize) -> Self {
        let counts = (0..targets).map(|_| Default::default()).collect();
        Self { counts, odd: Mutex::new(None) }
    }

    pub(crate) fn count(&self, target: usize, ending: Ending) {
        self.counts[target][ending as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the first odd answer, for the report.
    pub(crate) fn odd(&self, what: impl FnOnce() -> String) {
        if let Ok(mut odd) = self.odd.lock() {
            odd.get_or_insert_with(what);
        }
    }

    /// The first odd answer.
    pub(crate) fn first_odd(&self) -> Option<String> {
        self.odd.lock().map_or(None, |odd| odd.clone())
    }

    /// Requests that left.
    pub(crate) fn sent(&self) -> u64 {
        (0..self.counts.len()).map(|target| self.of(target).iter().sum::<u64>()).sum::<u64>()
            - self.all(Ending::NotSent)
    }

    pub(crate) fn all(&self, ending: Ending) -> u64 {
        (0..self.counts.len()).map(|target| self.of(target)[ending as usize]).sum()
    }

    fn of(&self, target: usize) -> [u64; 7] {
        std::array::from_fn(|at| self.counts[target][at].load(Ordering::Relaxed))
    }

    /// The counts of one target by name.
    pub(crate) fn named(&self, target: usize) -> serde_json::Map<String, serde_json::Value> {
        let counts = NAMES.iter().zip(self.of(target));
        counts.map(|(name, count)| (name.replace(' ', "_"), count.into())).collect()
    }

    /// What is not zero, for one target or for all.
    pub(crate) fn text(&self, target: Option<usize>) -> String {
        let all = || std::array::from_fn(|at| (0..self.counts.len()).map(|target| self.of(target)[at]).sum());
        let counts: [u64; 7] = target.map_or_else(all, |target| self.of(target));
        let parts = NAMES.iter().zip(counts).enumerate();
        let parts = parts.filter(|(at, (_, count))| *at == 0 || *count > 0);
        parts.map(|(_, (name, count))| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }
}
