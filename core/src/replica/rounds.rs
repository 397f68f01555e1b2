//! What is asked about lost writes, and what came of it (LOST-1 to LOST-4).
//!
//! Invariants kept here:
//! - One round at a time, and it asks about something. Its number is its own.
//! - A round, an outcome and what is yet to be asked about name at most [`EVENTS_MAX`] incarnations each.
//! - What is asked about stays asked about until a round ends, however often it is aborted.

use super::peer::PeerId;
use crate::identity::{Address, Incarnation};
use crate::request::RequestId;
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Incarnations asked about in one round; what a token names beyond that waits for the next round.
pub(super) const EVENTS_MAX: usize = 1_024;
/// Between two rounds.
const PAUSE: Micros = Micros::from_millis(100);

#[derive(Debug, Clone)]
pub(super) struct Rounds {
    /// Events to ask about.
    to_query: VersionVector,
    current: Option<Round>,
    /// The number of the last round.
    last: u64,
    not_before: Time,
    outcomes: VecDeque<Outcome>,
    outcomes_max: usize,
    /// Blocked requests from this one on have not been compared with the last outcome yet.
    untold: Option<RequestId>,
}

#[derive(Debug, Clone)]
struct Round {
    events: VersionVector,
    held: VersionVector,
    unanswered: BTreeSet<PeerId>,
    deadline: Time,
}

/// What a round found.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    events: VersionVector,
    held: VersionVector,
    /// The members that were asked.
    addresses: Vec<Address>,
}

impl Outcome {
    /// Of this incarnation the members held so much.
    pub(super) fn held(&self, incarnation: Incarnation) -> u64 {
        self.held.counter(incarnation)
    }

    pub(super) fn is_lost(&self, (incarnation, counter): (Incarnation, u64)) -> bool {
        counter > self.held(incarnation)
    }

    fn asked_about(&self, (incarnation, counter): (Incarnation, u64)) -> bool {
        counter <= self.events.counter(incarnation)
    }
}

impl Rounds {
    pub(super) fn new(outcomes_max: usize) -> Self {
        Self {
            to_query: VersionVector::new(),
            current: None,
            last: 0,
            not_before: Time::default(),
            outcomes: VecDeque::new(),
            outcomes_max: outcomes_max.max(1),
            untold: None,
        }
    }

    #[inline]
    pub(super) const fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// Is there something to ask about in the next round?
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        !self.to_query.is_empty()
    }

    #[inline]
    pub(super) fn may_begin(&self, now: Time) -> bool {
        self.is_due() && now >= self.not_before
    }

    /// Adds events as far as one round can ask about them.
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = (Incarnation, u64)>) {
        raise_some(&mut self.to_query, events);
    }

    /// Takes what the next round asks about. It leaves out what is written by these, which are asked.
    ///
    /// With `again` it takes up what the oldest outcome is about, if that has to make room. Its clients may not have
    /// come back yet. Were they asked about anew each time, clients of different writes could put each other off for
    /// ever.
    pub(super) fn take_events(&mut self, asked: &[Incarnation], again: bool) -> VersionVector {
        let others = |&(incarnation, _): &(Incarnation, u64)| !asked.contains(&incarnation);
        let to_query = core::mem::take(&mut self.to_query);
        let mut events = VersionVector::from_entries(to_query.entries().filter(others));
        let makes_room = again && self.outcomes.len() >= self.outcomes_max;
        if let Some(oldest) = self.outcomes.front().filter(|_| makes_room && !events.is_empty()) {
            raise_some(&mut events, oldest.events.entries().filter(others));
        }
        events
    }

    /// Begins a round and returns its number.
    pub(super) fn begin(
        &mut self,
        events: VersionVector,
        held: VersionVector,
        asked: &[PeerId],
        deadline: Time,
    ) -> u64 {
        assert!(self.current.is_none(), "round {} is under way", self.last);
        assert!((1..=EVENTS_MAX).contains(&events.len()), "a round about {} incarnations", events.len());
        self.last += 1;
        self.current = Some(Round { events, held, unanswered: asked.iter().copied().collect(), deadline });
        self.last
    }

    /// A member answered. Says whether that was asked.
    pub(super) fn on_reply(&mut self, id: PeerId, round: u64, held: &VersionVector) -> bool {
        let last = self.last;
        let current = self.current.as_mut().filter(|_| round == last);
        let Some(current) = current.filter(|current| current.unanswered.contains(&id)) else { return false };
        current.unanswered.remove(&id);
        current.held.join(held);
        true
    }

    /// Ends the round if every member has answered. Returns what it asked about, and what of that is held.
    pub(super) fn take_answered(&mut self) -> Option<(VersionVector, VersionVector)> {
        let Round { events, held, .. } = self.current.take_if(|round| round.unanswered.is_empty())?;
        Some((events, held))
    }

    /// Remembers what a round found, in place of the oldest outcome if there is no room.
    pub(super) fn remember(&mut self, events: VersionVector, held: VersionVector, addresses: Vec<Address>, now: Time) {
        assert!(self.current.is_none(), "round {} is under way", self.last);
        self.not_before = now + PAUSE;
        while self.outcomes.len() >= self.outcomes_max {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(Outcome { events, held, addresses });
        self.untold = Some(RequestId(0));
    }

    /// What is under way begins again.
    pub(super) fn abort(&mut self) {
        if let Some(round) = self.current.take() {
            // What was asked about goes before what came meanwhile, and both together stay within the limit.
            let later = core::mem::replace(&mut self.to_query, round.events);
            raise_some(&mut self.to_query, later.entries());
        }
    }

    /// Aborts a round that has taken too long.
    pub(super) fn end_late(&mut self, now: Time) {
        if self.timeout() <= now {
            self.abort();
            self.not_before = now + PAUSE;
        }
    }

    /// An outcome holds until an address that was not asked becomes a member.
    pub(super) fn keep_only_of(&mut self, members: &[&Address]) {
        self.outcomes.retain(|outcome| members.iter().all(|&address| outcome.addresses.contains(address)));
    }

    /// When the round under way has taken too long.
    #[inline]
    pub(super) fn timeout(&self) -> Time {
        self.current.as_ref().map_or(Time::NEVER, |round| round.deadline)
    }

    /// When the next round may begin, if there is something to ask about: it is not left to the next status, which may
    /// be far. Where a member is not linked it is, because that is what a round waits for then.
    #[inline]
    pub(super) fn begin_timeout(&self, now: Time, can_begin: impl FnOnce() -> bool) -> Time {
        if self.current.is_some() || !self.is_due() {
            return Time::NEVER;
        }
        // An input that comes right after the pause may have moved the timer past it.
        if self.not_before > now || can_begin() { self.not_before.max(now) } else { Time::NEVER }
    }

    /// The newest outcome that is about all of this and found some of it lost.
    pub(super) fn judge<I: Iterator<Item = (Incarnation, u64)>>(&self, missing: impl Fn() -> I) -> Option<&Outcome> {
        let judges = |outcome: &&Outcome| {
            missing().all(|event| outcome.asked_about(event)) && missing().any(|event| outcome.is_lost(event))
        };
        self.outcomes.iter().rev().find(judges)
    }

    /// From which request on the blocked ones are yet to be compared with the last outcome.
    pub(super) const fn take_untold(&mut self) -> Option<RequestId> {
        self.untold.take()
    }

    pub(super) const fn continue_from(&mut self, next: RequestId) {
        self.untold = Some(next);
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        let asked = self.current.iter().map(|round| &round.events);
        let remembered = self.outcomes.iter().map(|outcome| &outcome.events);
        let most = asked.chain(remembered).chain([&self.to_query]).map(VersionVector::len).max();
        assert!(most <= Some(EVENTS_MAX), "a round of {most:?} events");
        assert!(self.outcomes.len() <= self.outcomes_max, "{} outcomes", self.outcomes.len());
    }
}

/// Raises as many entries as one round can ask about.
fn raise_some(to_query: &mut VersionVector, events: impl IntoIterator<Item = (Incarnation, u64)>) {
    for (incarnation, counter) in events {
        if to_query.len() < EVENTS_MAX || to_query.counter(incarnation) > 0 {
            to_query.raise(incarnation, counter);
        }
    }
    assert!(to_query.len() <= EVENTS_MAX, "a round would ask about {} incarnations", to_query.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: &[(u64, u64)]) -> VersionVector {
        VersionVector::from_entries(entries.iter().map(|&(incarnation, counter)| (Incarnation(incarnation), counter)))
    }

    fn entries(vector: &VersionVector) -> Vec<(u64, u64)> {
        vector.entries().map(|(incarnation, counter)| (incarnation.0, counter)).collect()
    }

    /// A round that asked two members about this, and what it found.
    fn ask(rounds: &mut Rounds, events: &[(u64, u64)], held: &[(u64, u64)]) {
        rounds.add(vector(events).entries());
        let events = rounds.take_events(&[], true);
        let number = rounds.begin(events, VersionVector::new(), &[PeerId(0), PeerId(1)], Time(9));
        assert!(rounds.on_reply(PeerId(0), number, &vector(held)));
        assert!(rounds.take_answered().is_none(), "one member has not answered");
        assert!(rounds.on_reply(PeerId(1), number, &VersionVector::new()));
        let (events, held) = rounds.take_answered().expect("all have answered");
        rounds.remember(events, held, Vec::new(), Time(5));
        rounds.check_invariants();
    }

    #[test]
    fn an_answer_counts_once_and_for_its_round() {
        let mut rounds = Rounds::new(4);
        let number = rounds.begin(vector(&[(7, 3)]), VersionVector::new(), &[PeerId(0), PeerId(1)], Time(9));
        assert!(!rounds.on_reply(PeerId(0), number + 1, &vector(&[(7, 3)])), "of another round");
        assert!(!rounds.on_reply(PeerId(2), number, &vector(&[(7, 3)])), "not asked");
        assert!(rounds.on_reply(PeerId(0), number, &vector(&[(7, 1)])));
        assert!(!rounds.on_reply(PeerId(0), number, &vector(&[(7, 3)])), "has answered");
    }

    #[test]
    fn what_is_above_all_answers_is_lost() {
        let mut rounds = Rounds::new(4);
        ask(&mut rounds, &[(7, 3), (8, 2)], &[(7, 1), (8, 2)]);
        let judge = |events: &[(u64, u64)]| rounds.judge(|| vector(events).entries().collect::<Vec<_>>().into_iter());
        assert_eq!(judge(&[(7, 3)]).map(|outcome| outcome.held(Incarnation(7))), Some(1));
        assert!(judge(&[(8, 2)]).is_none(), "it is held");
        assert!(judge(&[(7, 4)]).is_none() && judge(&[(7, 3), (9, 1)]).is_none(), "more than was asked about");
    }

    #[test]
    fn an_aborted_round_asks_again_and_waits_a_moment() {
        let mut rounds = Rounds::new(4);
        rounds.begin(vector(&[(7, 3)]), VersionVector::new(), &[PeerId(0)], Time(9));
        rounds.end_late(Time(8));
        assert!(rounds.is_under_way());
        rounds.add(vector(&[(8, 1)]).entries());
        rounds.end_late(Time(9));
        assert!(!rounds.is_under_way() && !rounds.may_begin(Time(9)));
        assert_eq!(rounds.begin_timeout(Time(9), || false), Time(9) + PAUSE);
        let later = Time(9) + PAUSE + PAUSE;
        assert_eq!(rounds.begin_timeout(later, || true), later, "an input came right after the pause");
        assert_eq!(rounds.begin_timeout(later, || false), Time::NEVER);
        assert!(rounds.may_begin(Time(9) + PAUSE));
        assert_eq!(entries(&rounds.take_events(&[], false)), [(7, 3), (8, 1)]);
    }

    #[test]
    fn the_oldest_outcome_makes_room_by_being_asked_about_again() {
        let mut rounds = Rounds::new(1);
        ask(&mut rounds, &[(7, 3)], &[]);
        rounds.add(vector(&[(8, 1), (9, 1)]).entries());
        assert_eq!(entries(&rounds.clone().take_events(&[], false)), [(8, 1), (9, 1)]);
        assert_eq!(entries(&rounds.take_events(&[Incarnation(9)], true)), [(7, 3), (8, 1)]);
    }

    #[test]
    fn one_round_asks_about_a_bounded_number() {
        let mut rounds = Rounds::new(1);
        rounds.add((1..=EVENTS_MAX as u64 + 5).map(|incarnation| (Incarnation(incarnation), 1)));
        rounds.add([(Incarnation(3), 2)]);
        let events = rounds.take_events(&[], true);
        assert_eq!((events.len(), events.counter(Incarnation(3))), (EVENTS_MAX, 2));
    }
}
