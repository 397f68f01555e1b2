//! Lost writes: a token whose entry no member holds must end, honestly (LOST-1 to LOST-4).
//!
//! One round judges all entries that a token has and this replica lacks. It asks exactly the present incarnations at
//! all members' addresses. Asker and answerers first end every link to an incarnation outside, so that nothing that was
//! asked about can still arrive. What is above all answers is lost. Any change of membership or links begins the round
//! again.

use super::Replica;
use super::peer::PeerId;
use crate::edge::{DropReason, Event};
use crate::identity::{Address, Incarnation};
use crate::message::{Body, LostQuery};
use crate::request::{Reply, RequestId};
use crate::rules::Rules;
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Lives asked about in one round; what a token names beyond that waits for the next round.
const EVENTS_MAX: usize = 1_024;
/// Requests whose pasts a round takes up beside what other requests asked for.
const REQUESTS_QUERIED_MAX: usize = 16;
/// Between two rounds.
const PAUSE: Micros = Micros::from_millis(100);

#[derive(Debug, Clone, Default)]
pub(super) struct Rounds {
    /// Events to ask about.
    to_query: VersionVector,
    current: Option<Round>,
    last: u64,
    not_before: Time,
    outcomes: VecDeque<Outcome>,
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

#[derive(Debug, Clone)]
struct Outcome {
    events: VersionVector,
    held: VersionVector,
    addresses: Vec<Address>,
}

impl<R: Rules> Replica<R> {
    /// A client's or a peer's past is not covered here. If no linked peer covers it either, every member is asked.
    pub(super) fn query_lost(&mut self, past: &VersionVector) {
        let mut to_query = core::mem::take(&mut self.rounds.to_query);
        self.add_missing(past, &mut to_query);
        self.rounds.to_query = to_query;
    }

    /// Adds what is not covered here of this past, if there is anything that no linked peer covers either.
    fn add_missing(&self, past: &VersionVector, to_query: &mut VersionVector) {
        let missing = || self.context.missing(past).filter(|&(incarnation, _)| !self.is_linked(incarnation));
        if missing().all(|(incarnation, counter)| self.somebody_covers(incarnation, counter)) {
            return;
        }
        add_some(to_query, missing());
    }

    /// An incarnation that is linked is not asked about. It holds what it wrote, and what it has yet to write must
    /// never be judged by what it answers now.
    fn is_linked(&self, incarnation: Incarnation) -> bool {
        self.peers.iter().any(|peer| peer.link.established && peer.incarnation == Some(incarnation))
    }

    /// Does a linked peer say that it covers this?
    pub(super) fn somebody_covers(&self, incarnation: Incarnation, counter: u64) -> bool {
        let mut linked = self.peer_ids().filter(|id| self.peers[id.0].link.established);
        linked.any(|id| self.peer_covers(id, incarnation, counter))
    }

    /// Did this peer say that it covers this?
    pub(super) fn peer_covers(&self, id: PeerId, incarnation: Incarnation, counter: u64) -> bool {
        self.context.counter_in(&self.peers[id.0].acknowledged, incarnation) >= counter
    }

    /// What the oldest requests wait for is asked about with the rest. Not at every status: their tokens may be long.
    fn query_for_blocked(&mut self) {
        let mut to_query = core::mem::take(&mut self.rounds.to_query);
        self.blocked
            .since(RequestId(0))
            .take(REQUESTS_QUERIED_MAX)
            .for_each(|(_, past)| self.add_missing(past, &mut to_query));
        self.rounds.to_query = to_query;
    }

    /// Begins a round if there is something to ask and every member that could hold it is linked.
    pub(super) fn maybe_query(&mut self) {
        let now = self.now.monotonic;
        if self.rounds.current.is_some() {
            return;
        }
        if self.rounds.to_query.is_empty() {
            self.query_for_blocked();
        }
        if self.rounds.to_query.is_empty() || now < self.rounds.not_before {
            return;
        }
        let mut asked = self.members.clone();
        asked.retain(|id| self.peers[id.0].link.established);
        let everybody = asked.len() == self.members.len() || !self.rules.round_needs_all_members();
        if !everybody || !self.is_ready() {
            return;
        }
        self.query_for_blocked();
        asked.truncate(self.rules.asked(asked.len()));
        let mut incarnations: Vec<_> = asked.iter().filter_map(|id| self.peers[id.0].incarnation).collect();
        incarnations.push(self.incarnation);
        self.close_links_outside(&incarnations);
        let to_query = core::mem::take(&mut self.rounds.to_query);
        let mut events = VersionVector::from_entries(
            to_query.entries().filter(|(incarnation, _)| !incarnations.contains(incarnation)),
        );
        if events.is_empty() {
            return;
        }
        self.query_again(&mut events, &incarnations);
        let held = self.held_of(&events);
        self.rounds.last += 1;
        let (round, deadline) = (self.rounds.last, now + self.config.round_timeout);
        let unanswered = asked.iter().copied().collect();
        self.rounds.current = Some(Round { events: events.clone(), held, unanswered, deadline });
        for id in asked {
            self.send(
                id,
                Body::LostQuery(Box::new(LostQuery {
                    round,
                    incarnations: incarnations.clone(),
                    events: events.clone(),
                })),
            );
        }
        self.end_round_if_answered();
    }

    /// The round takes up what the oldest outcome is about, if that has to make room. Its clients may not have come
    /// back yet. Were they asked about anew each time, clients of different writes could put each other off for ever.
    fn query_again(&self, events: &mut VersionVector, incarnations: &[Incarnation]) {
        let full = self.rules.outcomes_are_asked_again() && self.rounds.outcomes.len() >= self.config.rounds_max.max(1);
        let Some(oldest) = self.rounds.outcomes.front().filter(|_| full) else { return };
        for (incarnation, counter) in
            oldest.events.entries().filter(|(incarnation, _)| !incarnations.contains(incarnation))
        {
            if events.len() < EVENTS_MAX || events.counter(incarnation) > 0 {
                events.raise(incarnation, counter);
            }
        }
    }

    /// What this replica covers of the incarnations asked about.
    fn held_of(&self, events: &VersionVector) -> VersionVector {
        VersionVector::from_entries(
            events.entries().map(|(incarnation, _)| (incarnation, self.context.counter(incarnation))),
        )
    }

    fn close_links_outside(&mut self, incarnations: &[Incarnation]) {
        if !self.rules.closes_links_for_round() {
            return;
        }
        for id in self.peer_ids() {
            let peer = &self.peers[id.0];
            if peer.link.echo != 0 && !peer.incarnation.is_some_and(|incarnation| incarnations.contains(&incarnation)) {
                self.close_link(id);
                self.peer(id).next_hello = self.now.monotonic;
            }
        }
    }

    pub(super) fn on_query(&mut self, id: PeerId, query: &LostQuery) {
        let asker = self.peers[id.0].incarnation;
        if query.events.len() > EVENTS_MAX {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !query.incarnations.contains(&self.incarnation) {
            // It was meant for the incarnation before at this address.
            return self.drop_from(id, DropReason::OtherLink);
        }
        if !asker.is_some_and(|incarnation| query.incarnations.contains(&incarnation)) {
            return self.drop_from(id, DropReason::Invalid);
        }
        self.close_links_outside(&query.incarnations);
        let held = Box::new(self.held_of(&query.events));
        self.send(id, Body::LostReply { round: query.round, held });
    }

    pub(super) fn on_answer(&mut self, id: PeerId, number: u64, held: VersionVector) {
        let last = self.rounds.last;
        let Some(round) = &mut self.rounds.current else { return };
        if number == last && round.unanswered.remove(&id) {
            round.held.join(&held);
            self.end_round_if_answered();
        }
    }

    fn end_round_if_answered(&mut self) {
        let Some(round) = self.rounds.current.take_if(|round| round.unanswered.is_empty()) else { return };
        let Round { events, mut held, .. } = round;
        held.join(&self.held_of(&events)); // what came here while the round was under way is not lost
        self.rounds.not_before = self.now.monotonic + PAUSE;
        self.effects.emit(Event::RoundEnded { events: Box::new(events.clone()), held: Box::new(held.clone()) });
        while self.rounds.outcomes.len() >= self.config.rounds_max.max(1) {
            self.rounds.outcomes.pop_front();
        }
        let addresses = self.view.members().cloned().collect();
        self.rounds.outcomes.push_back(Outcome { events, held, addresses });
        self.rounds.untold = Some(RequestId(0));
        self.reply_lost();
    }

    /// Membership or a link changed: what is under way begins again, and outcomes end where a new address becomes a
    /// member.
    pub(super) fn abort_round(&mut self) {
        if let Some(round) = self.rounds.current.take() {
            // What was asked about goes before what came meanwhile, and both together stay within the limit.
            let later = core::mem::replace(&mut self.rounds.to_query, round.events);
            add_some(&mut self.rounds.to_query, later.entries());
        }
    }

    pub(super) fn forget_outcomes(&mut self) {
        if !self.rules.outcomes_end() {
            return;
        }
        let view = &self.view;
        let known = |outcome: &Outcome| view.members().all(|address| outcome.addresses.contains(address));
        self.rounds.outcomes.retain(known);
    }

    pub(super) fn end_late_round(&mut self) {
        if self.round_timeout() <= self.now.monotonic {
            self.abort_round();
            self.rounds.not_before = self.now.monotonic + PAUSE;
        }
    }

    /// When the next round may begin, if there is something to ask about: it is not left to the next status, which may
    /// be far. Where a member is not linked it is, because that is what a round waits for then.
    pub(super) fn query_timeout(&self) -> Time {
        let Rounds { current, to_query, not_before, .. } = &self.rounds;
        let pauses = current.is_none() && !to_query.is_empty() && *not_before > self.now.monotonic;
        if pauses { *not_before } else { Time::NEVER }
    }

    /// When the round under way has taken too long.
    pub(super) fn round_timeout(&self) -> Time {
        self.rounds.current.as_ref().map_or(Time::NEVER, |round| round.deadline)
    }

    /// The past without what is lost, if a round found that some of it is.
    pub(super) fn lost(&self, past: &VersionVector) -> Option<VersionVector> {
        let missing = || self.context.missing(past);
        let judges = |outcome: &&Outcome| {
            missing().all(|(incarnation, counter)| counter <= outcome.events.counter(incarnation))
                && missing().any(|(incarnation, counter)| counter > outcome.held.counter(incarnation))
        };
        let outcome = self.rounds.outcomes.iter().rev().find(judges)?;
        // A removed replica, or a cluster met later, may have brought back what a round found lost.
        let back = |(incarnation, counter)| {
            counter > outcome.held.counter(incarnation) && self.somebody_covers(incarnation, counter)
        };
        if missing().any(back) {
            return None;
        }
        let cut = |(incarnation, counter): (Incarnation, u64)| {
            let is_covered = self.context.counter(incarnation) >= counter;
            let held = outcome.held.counter(incarnation);
            (incarnation, if is_covered || counter <= held { counter } else { self.rules.cut_lost(held) })
        };
        let token = VersionVector::from_entries(past.entries().map(cut));
        Some(self.context.compact(&token).into_owned())
    }

    /// Blocked requests whose past turned out to be lost get their answer.
    pub(super) fn reply_lost(&mut self) {
        let Some(from) = self.rounds.untold.take() else { return };
        let room = self.effects.room();
        let looked: Vec<_> = self.blocked.since(from).take(room).map(|(id, past)| (id, self.lost(past))).collect();
        self.effects.did(looked.len());
        if looked.len() == room {
            self.rounds.untold = Some(looked.last().map_or(from, |&(id, _)| RequestId(id.0.saturating_add(1))));
            self.effects.defer();
        }
        for (id, token) in looked {
            if let Some(token) = token {
                self.blocked.remove(id);
                self.effects.reply(id, Reply::Lost { token });
            }
        }
    }
}

/// Adds events as far as one round can ask about them.
fn add_some(to_query: &mut VersionVector, events: impl Iterator<Item = (Incarnation, u64)>) {
    for (incarnation, counter) in events {
        if to_query.len() < EVENTS_MAX || to_query.counter(incarnation) > 0 {
            to_query.raise(incarnation, counter);
        }
    }
}

impl Rounds {
    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self, rounds_max: usize) {
        let asked = self.current.iter().map(|round| &round.events);
        let remembered = self.outcomes.iter().map(|outcome| &outcome.events);
        let most = asked.chain(remembered).chain([&self.to_query]).map(VersionVector::len).max();
        assert!(most <= Some(EVENTS_MAX), "a round of {most:?} events");
        assert!(self.outcomes.len() <= rounds_max.max(1), "{} outcomes", self.outcomes.len());
    }
}
