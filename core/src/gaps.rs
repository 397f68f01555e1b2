//! What others cover and this replica does not, and since when that is known (PULL-1, PULL-5).
//!
//! "Push is fresh or not at all, repair is patient": a gap is repaired when it has stood for the repair delay.
//! The delay runs from the moment when the gap was noticed, whatever links do meanwhile.
//!
//! A gap that is due and that no linked peer can fill is forgotten until a peer says that it can. Kept, it would be due
//! for ever, and whatever is missing later would be fetched at once because of it.

use crate::causal_context::CausalContext;
use crate::identity::Incarnation;
use crate::time::{Micros, Time};
use crate::vector::{Dot, VersionVector};
use alloc::collections::{BTreeMap, VecDeque};

/// News within this of each other share the time of the first, so that a busy origin takes little room.
const COALESCE: Micros = Micros::from_millis(100);
/// Marks per incarnation; beyond it the last one takes in what is newer.
const MARKS_MAX: usize = 64;

#[derive(Debug, Clone, Default)]
pub(crate) struct Gaps {
    /// Per incarnation: up to this counter, noticed then. Counters and times rise.
    marks: BTreeMap<Incarnation, VecDeque<(u64, Time)>>,
    /// When the first of all marks was noticed: kept, because every input asks for it twice and few change it.
    oldest: Option<Time>,
}

impl Gaps {
    /// A peer covers `remote`.
    pub(crate) fn on_remote_vector(&mut self, remote: &VersionVector, context: &CausalContext, now: Time) {
        for (incarnation, counter) in context.missing(remote) {
            self.on_remote_counter(incarnation, counter, now);
        }
    }

    /// A peer covers this incarnation up to `counter`, and this replica does not.
    pub(crate) fn on_remote_counter(&mut self, incarnation: Incarnation, counter: u64, now: Time) {
        let marks = self.marks.entry(incarnation).or_default();
        let len = marks.len();
        match marks.back_mut() {
            Some((known, _)) if *known >= counter => {}
            Some((known, noticed)) if now.since(*noticed) < COALESCE || len >= MARKS_MAX => *known = counter,
            Some(_) | None => {
                marks.push_back((counter, now));
                assert!(marks.len() <= MARKS_MAX, "{len} marks and another");
                self.oldest = self.oldest.or(Some(now));
            }
        }
    }

    /// What is missing, by the last of each incarnation.
    pub(crate) fn vector(&self) -> VersionVector {
        let mut missing = VersionVector::new();
        for (&incarnation, marks) in &self.marks {
            marks.iter().for_each(|&(counter, _)| _ = missing.join_dot(Dot { incarnation, counter }));
        }
        missing
    }

    /// Forgets what is covered by now.
    pub(crate) fn cover(&mut self, context: &CausalContext) {
        if self.marks.is_empty() {
            return;
        }
        self.marks.retain(|&incarnation, marks| {
            let counter = context.counter(incarnation);
            while marks.front().is_some_and(|&(known, _)| known <= counter) {
                marks.pop_front();
            }
            !marks.is_empty()
        });
        self.find_oldest();
    }

    fn find_oldest(&mut self) {
        self.oldest = self.marks.values().filter_map(|marks| marks.front()).map(|&(_, noticed)| noticed).min();
        assert_eq!(self.oldest.is_none(), self.marks.is_empty(), "a gap was noticed at some time");
    }

    /// The incarnations of which something has been missing since that moment or longer.
    pub(crate) fn since(&self, moment: Time) -> impl Iterator<Item = Incarnation> + '_ {
        let is_old = move |marks: &VecDeque<(u64, Time)>| marks.front().is_some_and(|&(_, noticed)| noticed <= moment);
        self.marks.iter().filter(move |(_, marks)| is_old(marks)).map(|(&incarnation, _)| incarnation)
    }

    /// Forgets the gaps known since that moment or longer, but for those of incarnations of which a peer can give more.
    pub(crate) fn forget(&mut self, moment: Time, can_give: impl Fn(Incarnation) -> bool) {
        let is_old = |marks: &VecDeque<(u64, Time)>| marks.front().is_some_and(|&(_, noticed)| noticed <= moment);
        self.marks.retain(|&incarnation, marks| !is_old(marks) || can_give(incarnation));
        self.find_oldest();
    }

    /// Since when the oldest gap is known.
    pub(crate) const fn oldest(&self) -> Option<Time> {
        self.oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_keeps_its_time_until_it_is_covered() {
        let origin = Incarnation(1);
        let remote = |n| VersionVector::from_entries([(origin, n)]);
        let covers = |n| {
            let mut context = CausalContext::default();
            context.join(&remote(n));
            context
        };
        let mut gaps = Gaps::default();
        gaps.on_remote_vector(&remote(3), &covers(3), Time(5));
        assert_eq!(gaps.oldest(), None);
        gaps.on_remote_vector(&remote(4), &covers(3), Time(1_000_000));
        gaps.on_remote_vector(&remote(9), &covers(3), Time(2_000_000));
        assert_eq!(gaps.oldest(), Some(Time(1_000_000)));
        gaps.cover(&covers(4));
        assert_eq!(gaps.oldest(), Some(Time(2_000_000)));
        gaps.cover(&covers(9));
        assert_eq!(gaps.oldest(), None);
    }

    #[test]
    fn what_no_peer_can_give_is_forgotten_and_noticed_anew() {
        let (dead, alive) = (Incarnation(1), Incarnation(2));
        let mut gaps = Gaps::default();
        gaps.on_remote_counter(dead, 4, Time(1_000_000));
        gaps.on_remote_counter(alive, 7, Time(2_000_000));
        assert_eq!(gaps.since(Time(1_500_000)).collect::<alloc::vec::Vec<_>>(), [dead]);
        gaps.forget(Time(999_999), |_| false);
        assert_eq!(gaps.oldest(), Some(Time(1_000_000)), "what is not due stays, whatever links do");
        gaps.forget(Time(3_000_000), |incarnation| incarnation == alive);
        assert_eq!(gaps.oldest(), Some(Time(2_000_000)));
        gaps.on_remote_counter(dead, 4, Time(5_000_000));
        gaps.forget(Time(3_000_000), |_| false);
        assert_eq!(gaps.oldest(), Some(Time(5_000_000)), "a peer said that it can: the delay begins anew");
    }
}
