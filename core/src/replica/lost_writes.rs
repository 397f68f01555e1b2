//! Lost writes: a token whose entry no member holds must end, honestly (LOST-1 to LOST-4).
//!
//! One round judges all entries that a token has and this replica lacks. It asks exactly the present incarnations at
//! all members' addresses. Asker and answerers first end every link to an incarnation outside, so that nothing that was
//! asked about can still arrive. What is above all answers is lost. Any change of membership or links begins the round
//! again. `rounds` holds the state.

use super::Replica;
use super::peer::PeerId;
use super::rounds::EVENTS_MAX;
use crate::edge::{DropReason, Event};
use crate::identity::Incarnation;
use crate::message::{Body, LostQuery};
use crate::request::{Reply, RequestId};
use crate::rules::{Rule, Rules};
use crate::vector::VersionVector;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Requests whose pasts a round takes up beside what other requests asked for.
const REQUESTS_QUERIED_MAX: usize = 16;

impl<R: Rules> Replica<R> {
    /// A client's or a peer's past is not covered here. If no linked peer covers it either, every member is asked.
    pub(super) fn query_lost(&mut self, past: &VersionVector) {
        let missing: Vec<_> = self.missing_everywhere(past).collect();
        self.rounds.add(missing);
    }

    /// What is not covered here of this past, if there is anything that no linked peer covers either.
    ///
    /// An incarnation that is linked is left out. It holds what it wrote, and what it has yet to write must never be
    /// judged by what it answers now.
    pub(super) fn missing_everywhere<'a>(
        &'a self,
        past: &'a VersionVector,
    ) -> impl Iterator<Item = (Incarnation, u64)> + 'a {
        let unlinked =
            move || self.data.context().missing(past).filter(|&(incarnation, _)| !self.is_linked(incarnation));
        let is_missing = unlinked().any(|(incarnation, counter)| !self.somebody_covers(incarnation, counter));
        unlinked().filter(move |_| is_missing)
    }

    fn is_linked(&self, incarnation: Incarnation) -> bool {
        self.peers.iter().any(|peer| peer.link.is_established() && peer.incarnation == Some(incarnation))
    }

    /// Does a linked peer say that it covers this?
    pub(super) fn somebody_covers(&self, incarnation: Incarnation, counter: u64) -> bool {
        self.peers.linked().any(|id| self.peer_covers(id, incarnation, counter))
    }

    /// Did this peer say that it covers this?
    pub(super) fn peer_covers(&self, id: PeerId, incarnation: Incarnation, counter: u64) -> bool {
        self.data.context().counter_in(&self.peers[id].acknowledged, incarnation) >= counter
    }

    /// What the oldest requests and some watches wait for is asked about with the rest. Not at every status: their tokens
    /// may be long.
    fn query_for_blocked(&mut self) {
        if !self.blocked.is_empty() {
            let oldest = self.blocked.since(RequestId(0)).take(REQUESTS_QUERIED_MAX);
            let missing: Vec<_> = oldest.flat_map(|(_, past)| self.missing_everywhere(past)).collect();
            self.rounds.add(missing);
        }
        if self.watches.pending() > 0 {
            let missing = self.missed_by_watches();
            self.rounds.add(missing);
        }
    }

    /// Is every member that could hold a write linked, and does this replica serve?
    pub(super) fn can_ask_members(&self) -> bool {
        self.is_ready() && self.peers.members().iter().all(|id| self.peers[*id].link.is_established())
    }

    /// Begins a round if there is something to ask and every member that could hold it is linked.
    pub(super) fn maybe_query(&mut self) {
        let now = self.now.monotonic;
        if self.rounds.is_under_way() {
            return;
        }
        if !self.rounds.is_due() {
            self.query_for_blocked();
        }
        if !self.rounds.may_begin(now) {
            return;
        }
        let mut asked = self.peers.members().to_vec();
        asked.retain(|id| self.peers[*id].link.is_established());
        let everybody = asked.len() == self.peers.members().len() || !self.rules.follows(Rule::RoundNeedsAllMembers);
        if !everybody || !self.is_ready() {
            return;
        }
        self.query_for_blocked();
        asked.truncate(self.rules.asked(asked.len()));
        let mut incarnations: Vec<_> = asked.iter().filter_map(|id| self.peers[*id].incarnation).collect();
        incarnations.push(self.membership.incarnation());
        self.close_links_outside(&incarnations);
        let events = self.rounds.take_events(&incarnations, self.rules.follows(Rule::OutcomesAreAskedAgain));
        if events.is_empty() {
            return;
        }
        let held = self.held_of(&events);
        let round = self.rounds.begin(events.clone(), held, &asked, now + self.config.round_timeout);
        for id in asked {
            assert!(self.peers[id].link.number() != 0, "a member is asked over a link");
            let (incarnations, events) = (incarnations.clone(), events.clone());
            self.send(id, Body::LostQuery(Box::new(LostQuery { round, incarnations, events })));
        }
        self.end_round_if_answered();
    }

    /// What this replica covers of the incarnations asked about.
    fn held_of(&self, events: &VersionVector) -> VersionVector {
        VersionVector::from_entries(
            events.entries().map(|(incarnation, _)| (incarnation, self.data.context().counter(incarnation))),
        )
    }

    fn close_links_outside(&mut self, incarnations: &[Incarnation]) {
        if !self.rules.follows(Rule::ClosesLinksForRound) {
            return;
        }
        for id in self.peer_ids() {
            let peer = &self.peers[id];
            if peer.link.echo() != 0 && !peer.incarnation.is_some_and(|incarnation| incarnations.contains(&incarnation))
            {
                self.close_link(id);
                self.peer(id).next_hello = self.now.monotonic;
            }
        }
    }

    pub(super) fn on_query(&mut self, id: PeerId, query: &LostQuery) {
        let asker = self.peers[id].incarnation;
        if query.events.len() > EVENTS_MAX {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !query.incarnations.contains(&self.membership.incarnation()) {
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

    pub(super) fn on_answer(&mut self, id: PeerId, round: u64, held: &VersionVector) {
        if self.rounds.on_reply(id, round, held) {
            self.end_round_if_answered();
        }
    }

    fn end_round_if_answered(&mut self) {
        let Some((events, mut held)) = self.rounds.take_answered() else { return };
        held.join(&self.held_of(&events)); // what came here while the round was under way is not lost
        self.effects.emit(Event::RoundEnded { events: Box::new(events.clone()), held: Box::new(held.clone()) });
        let addresses = self.membership.view().members().cloned().collect();
        self.rounds.remember(events, held, addresses, self.now.monotonic);
        self.watches.note_outcome();
        self.reply_lost();
    }

    /// Outcomes end where a new address becomes a member.
    pub(super) fn forget_outcomes(&mut self) {
        if self.rules.follows(Rule::OutcomesEnd) {
            self.rounds.keep_only_of(&self.membership.view().members().collect::<Vec<_>>());
        }
    }

    /// The past without what is lost, if a round found that some of it is.
    pub(super) fn lost(&self, past: &VersionVector) -> Option<VersionVector> {
        let missing = || self.data.context().missing(past);
        let outcome = self.rounds.judge(missing)?;
        // A removed replica, or a cluster met later, may have brought back what a round found lost.
        let is_back = |event: (Incarnation, u64)| outcome.is_lost(event) && self.somebody_covers(event.0, event.1);
        if missing().any(is_back) {
            return None;
        }
        let cut = |(incarnation, counter): (Incarnation, u64)| {
            let is_lost = self.data.context().counter(incarnation) < counter && outcome.is_lost((incarnation, counter));
            (incarnation, if is_lost { self.rules.cut_lost(outcome.held(incarnation)) } else { counter })
        };
        let token = VersionVector::from_entries(past.entries().map(cut));
        Some(self.data.context().compact(&token).into_owned())
    }

    /// Blocked requests whose past turned out to be lost get their answer.
    pub(super) fn reply_lost(&mut self) {
        let Some(from) = self.rounds.take_untold() else { return };
        let room = self.effects.room();
        let looked: Vec<_> = self.blocked.since(from).take(room).map(|(id, past)| (id, self.lost(past))).collect();
        self.effects.did(looked.len());
        if looked.len() == room {
            let next = looked.last().map_or(from, |&(id, _)| RequestId(id.0.saturating_add(1)));
            self.rounds.continue_from(next);
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
