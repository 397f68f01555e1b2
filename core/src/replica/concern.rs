//! Write concern: a client may ask that its write is at other replicas, too, before it is answered (CONCERN-1 to
//! CONCERN-5).
//!
//! The write itself is as any other: it is applied here and stands, whatever becomes of its concern. Counted is at the
//! moment of the answer. A write without a concern costs a comparison.

use super::Replica;
use super::batch::outcomes_bytes;
use super::budget::Change;
use super::concerns::Spreading;
use super::peer::{Peer, PeerId};
use crate::identity::Incarnation;
use crate::message::Body;
use crate::request::{Holders, Reply, RequestId, WriteConcern};
use crate::rules::{Holder, Rule, Rules};
use crate::time::{Micros, Time};
use crate::vector::Dot;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Bytes of an answer that waits, beside those of its token.
const ANSWER_BYTES: usize = 256;

/// Bytes of an entry of a token.
const ENTRY_BYTES: usize = 16;

impl<R: Rules> Replica<R> {
    /// What a concern is measured by: the number of member addresses.
    fn concerned(&self) -> usize {
        let suspected = self.peers.members().iter().filter(|&&id| self.peers[id].suspect.is_suspected()).count();
        self.rules.concerned(self.membership.view().members().count(), suspected)
    }

    /// Does it ask for more replicas than there are member addresses (CONCERN-1)?
    pub(super) fn has_too_few_members(&self, concern: Option<WriteConcern>) -> bool {
        concern.is_some_and(|concern| {
            let members = self.concerned();
            concern.holders.among(members) > members
        })
    }

    /// Would its answer wait beyond what may wait, beside what it writes (CONCERN-4)?
    /// `shown` counts the bytes of what it shows.
    pub(super) fn lacks_room_to_spread(
        &self,
        concern: Option<WriteConcern>,
        change: Change,
        shown: impl FnOnce() -> usize,
    ) -> bool {
        concern.is_some_and(|concern| {
            let waits = concern.wait > Micros::ZERO && concern.holders.among(self.concerned()) > 1;
            let bytes = answer_bytes(self.data.context().vector().len() + 1) + shown();
            waits && !self.has_place_to_wait_beside(bytes, change.growth())
        })
    }

    /// Answers a request: at once, or when what it wrote is where it was asked to be, by this time at the latest.
    pub(super) fn reply_when_spread(&mut self, id: RequestId, answer: Reply, concern: Option<(Holders, Time)>) {
        let Some((holders, deadline)) = concern else { return self.effects.reply(id, answer) };
        let Some(dot) = answer.dot() else { return self.effects.reply(id, answer) };
        let shown = answer.batch().map_or(0, |batch| outcomes_bytes(&batch.outcomes));
        let bytes = answer_bytes(self.data.context().vector().len()) + shown;
        self.concerns.insert(id, Spreading { answer, dot, holders, deadline, bytes });
        if deadline <= self.now.monotonic || self.has_spread(&self.holders_of(dot), holders) {
            self.end_concern(id);
        } else {
            self.ask_for_statuses();
        }
    }

    /// Asks for a status at once, by a probe of the peer's own address (CONCERN-5). As many linked members are asked as
    /// the widest concern needs, those first that have most. One that is silent falls behind, and then another one is
    /// asked. One that has not answered yet is asked again when it has, if it was not asked about the newest write.
    fn ask_for_statuses(&mut self) {
        let (own, newest) = (self.membership.incarnation(), self.concerns.newest());
        let members = self.concerned();
        let widest = self.concerns.asked(own).iter().map(|asked| asked.among(members)).max().unwrap_or(members);
        let has = |id: &PeerId| self.data.context().counter_in(&self.peers[*id].acknowledged, own);
        let linked = |id: &PeerId| self.peers[*id].link.is_established();
        let mut linked: Vec<PeerId> = self.peers.members().iter().copied().filter(linked).collect();
        linked.sort_by_key(|id| Reverse(has(id)));
        for id in linked.into_iter().take(widest.saturating_sub(self.counts_itself().into())) {
            let peer = &mut self.peers[id];
            if !peer.is_asked && peer.asked_through < newest {
                (peer.is_asked, peer.asked_through) = (true, newest);
                let address = peer.address.clone();
                self.send(id, Body::Probe { address });
            }
        }
    }

    /// The peer asks for a status at once.
    pub(super) fn on_status_asked(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        self.peer(id).next_status = now;
    }

    fn as_holder(&self, peer: &Peer, incarnation: Incarnation) -> Holder {
        let newest = self.membership.view().newest(&peer.address);
        Holder {
            applied: self.data.context().counter_in(&peer.acknowledged, incarnation),
            received: peer.outbound.returned(),
            is_member: peer.is_member,
            is_linked: peer.link.is_established(),
            is_newest: newest.is_some_and(|newest| Some(newest.incarnation) == peer.incarnation),
            is_up: newest.is_some_and(|newest| newest.up),
        }
    }

    /// Does this replica count, too? It does where it is a member.
    const fn counts_itself(&self) -> bool {
        self.membership.is_member()
    }

    /// The incarnations that count as holding this write, this one first (CONCERN-2).
    fn holders_of(&self, dot: Dot) -> Vec<Incarnation> {
        let own = self.counts_itself().then(|| self.membership.incarnation());
        let holds = |peer: &&Peer| self.rules.holds_through(self.as_holder(peer, dot.incarnation)) >= dot.counter;
        own.into_iter().chain(self.peers.iter().filter(holds).filter_map(|peer| peer.incarnation)).collect()
    }

    /// Up to which of its writes are so many replicas at least? Sorted, the widest spread first.
    fn spread(&self) -> Vec<u64> {
        let incarnation = self.membership.incarnation();
        let own = self.counts_itself().then(|| self.data.context().counter(incarnation));
        let others = self.peers.iter().map(|peer| self.rules.holds_through(self.as_holder(peer, incarnation)));
        let mut spread: Vec<u64> = own.into_iter().chain(others).collect();
        spread.sort_unstable_by(|one, other| other.cmp(one));
        spread
    }

    /// Looks which writes have spread as far as they were asked to, if that may have changed in this call.
    #[inline]
    pub(super) fn settle_concerns(&mut self) {
        if self.concerns.take_noted() {
            self.look_at_concerns();
            if !self.concerns.is_empty() {
                self.ask_for_statuses();
            }
        }
    }

    fn look_at_concerns(&mut self) {
        let own = self.membership.incarnation();
        while let Some(id) = self.concerns.of_others(own) {
            if !self.answer_concern(id) {
                return;
            }
        }
        let (members, spread) = (self.concerned(), self.spread());
        for asked in self.concerns.asked(own) {
            let holders = asked.among(members);
            let is_over = !self.membership.is_member() || holders > members;
            let through = if is_over { Some(&u64::MAX) } else { spread.get(holders.saturating_sub(1)) };
            let Some(&through) = through else { continue };
            while let Some(id) = self.concerns.next(own, asked, through) {
                if !self.answer_concern(id) {
                    return;
                }
            }
        }
    }

    /// Answers one of several; false where this call may do no more. Then the next one goes on.
    fn answer_concern(&mut self, id: RequestId) -> bool {
        if self.effects.room() == 0 {
            self.concerns.note();
            self.effects.defer();
            return false;
        }
        self.effects.did(1);
        self.end_concern(id);
        true
    }

    /// Are these as many as were asked for? Only a member proves anything.
    fn has_spread(&self, holders: &[Incarnation], asked: Holders) -> bool {
        self.membership.is_member() && holders.len() >= asked.among(self.concerned())
    }

    fn end_concern(&mut self, id: RequestId) {
        let Some(spreading) = self.concerns.remove(id) else { return };
        let holders = self.holders_of(spreading.dot);
        let reached = self.has_spread(&holders, spreading.holders);
        self.effects.reply(id, Reply::Spread { answer: Box::new(spreading.answer), holders, reached });
    }

    /// Answers what has waited for as long as its client asked (CONCERN-3).
    pub(super) fn end_late_concerns(&mut self) {
        if !self.rules.follows(Rule::WaitsEnd) {
            return;
        }
        while let Some(id) = self.concerns.expired(self.now.monotonic) {
            if !self.answer_concern(id) {
                return;
            }
        }
    }

    /// The client is gone. What it wrote stands.
    pub(super) fn cancel(&mut self, id: RequestId) {
        _ = self.blocked.remove(id);
        _ = self.concerns.remove(id);
        self.lists.remove(id);
        self.end_watch(id);
    }
}

/// What an answer counts for while it waits. No token of a write that was made here has more entries than the vector.
const fn answer_bytes(entries: usize) -> usize {
    ANSWER_BYTES + ENTRY_BYTES * entries
}
