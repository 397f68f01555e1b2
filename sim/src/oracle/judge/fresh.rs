//! Push is fresh or not at all: what a cut held up is not news when it arrives (contract, the rows on a cut; INV-16).
//!
//! Lateness is judged against the fastest status that the same two lives exchanged, as the receiver must have seen it.
//! Only time in which nothing arrived on the link counts: what waits behind other bytes is not late. Where a replica
//! was not run, or clocks run apart, the oracle is as lenient as they make it.

use super::Judge;
use crate::oracle::sign::Sign;
use crate::oracle::truth::Number;
use crate::oracle::verdict::Invariant;
use hence_core::Dot;
use std::collections::VecDeque;

/// Contact without a longer pause is steady, in microseconds.
const PAUSE_MAX: u64 = 500_000;

/// Silences remembered per link.
const SILENCES: usize = 16;

/// What a receiver cannot tell apart (PUSH-2): the clock at the other end stood still, or the way became slower. After
/// such a silence all that comes for so long is slower by more than that. In microseconds, clocks that run apart allowed
/// for.
const SLOWER_AFTER: u64 = 950_000;
const SLOWER_FOR: u64 = 950_000;
const SLOWER_BY: u64 = 490_000;

/// What is known of how long messages take.
#[derive(Debug)]
pub(super) struct Ways {
    replicas: usize,
    /// Per link, the shortest time that a status took which was taken in.
    fastest: Vec<u64>,
    /// Per link, when something last arrived, and the last silences that were longer than a running peer keeps.
    moved: Vec<u64>,
    silences: Vec<VecDeque<(u64, u64)>>,
    /// Per link, when a status was last taken in.
    taken: Vec<u64>,
    /// Per link, since when there are statuses again after a silence, and the shortest time that one took since.
    again: Vec<Option<(u64, u64)>>,
    /// Per link, since when contact has been steady.
    steady: Vec<u64>,
    /// Per link, when the first of them was taken in.
    met: Vec<u64>,
    /// When the present life at each replica began.
    since: Vec<u64>,
    /// When each write was accepted.
    made: Vec<u64>,
}

impl Ways {
    pub(super) fn new(replicas: usize) -> Self {
        let links = replicas * replicas;
        Self {
            replicas,
            fastest: vec![u64::MAX; links],
            met: vec![u64::MAX; links],
            moved: vec![0; links],
            silences: vec![VecDeque::new(); links],
            taken: vec![0; links],
            again: vec![None; links],
            steady: vec![0; links],
            since: vec![0; replicas],
            made: Vec::new(),
        }
    }

    /// How many writes were accepted.
    pub(super) const fn count(&self) -> usize {
        self.made.len()
    }

    /// When this write was accepted.
    pub(super) fn made(&self, number: usize) -> u64 {
        self.made[number]
    }

    /// The shortest time that a status took on this link which was taken in.
    pub(super) fn fastest(&self, link: usize) -> u64 {
        self.fastest[link]
    }

    /// Was a status taken in on this link before that time? None ever was where the time is the last of all.
    pub(super) fn met_before(&self, link: usize, at: u64) -> bool {
        self.met[link] < at
    }

    /// Did the present life at this replica begin before that time?
    pub(super) fn began_before(&self, replica: usize, at: u64) -> bool {
        self.since[replica] < at
    }

    /// Another life answers here: it has seen nothing, and others have seen nothing of it.
    pub(super) fn forget(&mut self, replica: usize, now: u64) {
        self.since[replica] = now;
        for other in 0..self.replicas {
            for link in [replica * self.replicas + other, other * self.replicas + replica] {
                (self.fastest[link], self.met[link]) = (u64::MAX, u64::MAX);
                self.taken[link] = 0;
                self.again[link] = None;
            }
        }
    }

    /// A status took so long, and the one before was taken in then. After a silence the way may count as slower.
    fn measure(&mut self, link: usize, (before, now): (u64, u64), took: u64) {
        let fastest = took.min(self.fastest[link]);
        if fastest == took || now - before >= SLOWER_AFTER {
            self.again[link] = (fastest < took).then_some((now, took));
        }
        self.fastest[link] = match &mut self.again[link] {
            Some((since, least)) => {
                *least = took.min(*least);
                let slower = now - *since >= SLOWER_FOR && *least > fastest + SLOWER_BY;
                if slower { *least } else { fastest }
            }
            None => fastest,
        };
    }
}

impl Judge {
    /// Something arrived; a silence before it counts if it was longer than `silence_max`.
    pub fn on_arrival(&mut self, from: usize, to: usize, silence_max: u64) {
        let link = from * self.ways.replicas + to;
        let moved = std::mem::replace(&mut self.ways.moved[link], self.now);
        if self.now - moved > PAUSE_MAX {
            self.ways.steady[link] = self.now;
        }
        self.note_silence(from, to, self.now - moved);
        if self.now - moved > silence_max {
            let silences = &mut self.ways.silences[link];
            silences.truncate(SILENCES - 1);
            silences.push_front((moved, self.now));
        }
    }

    /// A status was taken in after so long. A status of the incarnation before at that address says nothing of this
    /// one. Lateness is measured per incarnation, because each has a clock of its own.
    pub fn on_status(&mut self, from: usize, to: usize, took: u64) {
        if self.now - took <= self.ways.since[from] {
            return;
        }
        let link = from * self.ways.replicas + to;
        // What arrives and is dropped tells the other end nothing.
        let taken = std::mem::replace(&mut self.ways.taken[link], self.now);
        if self.now - taken > PAUSE_MAX {
            self.ways.steady[link] = self.now;
        }
        let is_met = self.ways.met[link] != u64::MAX;
        self.note_silence(from, to, if is_met { self.now - taken } else { u64::MAX });
        self.ways.measure(link, (taken, self.now), took);
        self.ways.met[link] = self.now.min(self.ways.met[link]);
    }

    /// A push arrived, and its operation was applied in that step: it was made at most so long ago, `allowed` beyond
    /// the fastest way.
    pub fn on_news(&mut self, from: usize, to: usize, dot: Dot, allowed: u64) {
        let Some(number) = self.truth.number(dot) else { return };
        let age = self.now.saturating_sub(self.ways.made[number as usize]);
        let link = from * self.ways.replicas + to;
        let fastest = self.ways.fastest[link];
        let late = age.saturating_sub(fastest);
        let silent = |&(start, end): &(u64, u64)| end.saturating_sub(start.max(self.now - late));
        let silent: u64 = self.ways.silences[link].iter().map(silent).sum();
        if fastest != u64::MAX && late.min(silent) > allowed {
            self.fail(Invariant::Freshness, Sign::LatePush, Some(to), || {
                format!("applied {dot} from a push {age} us after it was made; a status took {fastest} us")
            });
        }
    }

    /// For how long has there been steady contact from one replica to another that it has met?
    #[must_use]
    pub fn steady(&self, from: usize, to: usize) -> u64 {
        let link = from * self.ways.replicas + to;
        let pauses = self.ways.met[link] == u64::MAX || self.now - self.ways.taken[link] > PAUSE_MAX;
        if pauses { 0 } else { self.now - self.ways.steady[link] }
    }

    /// Was this link silent at that moment, and for at least `least` in all?
    #[must_use]
    pub fn was_silent(&self, (from, to): (usize, usize), at: u64, least: u64) -> bool {
        let silences = &self.ways.silences[from * self.ways.replicas + to];
        silences.iter().any(|&(start, end)| start < at && at <= end && end - start >= least)
    }

    /// A push was refused as late, though contact has been steady and it was made only just now.
    pub fn on_refused_news(&mut self, from: usize, to: usize, dot: Dot, young: u64) {
        let Some(number) = self.truth.number(dot) else { return };
        let age = self.now.saturating_sub(self.ways.made[number as usize]);
        if age <= young && !self.includes(to, dot) {
            self.fail(Invariant::Freshness, Sign::RefusedNews, Some(to), || {
                format!("refused {dot} of replica {from} as late {age} us after it was made")
            });
        }
    }

    pub(super) fn note_made(&mut self, number: Number) {
        debug_assert_eq!(self.ways.made.len(), number as usize, "writes are numbered as they are accepted");
        self.ways.made.push(self.now);
    }
}
