//! Joining (JOIN-1, JOIN-2). It never waits for a member that is not up.

use super::Replica;
use super::peer::PeerId;
use crate::edge::Event;
use crate::rules::{Rule, Rules};
use crate::time::Time;
use alloc::sync::Arc;

impl<R: Rules> Replica<R> {
    /// Is the incarnation that this peer's link leads to up?
    pub(super) fn is_up(&self, id: PeerId) -> bool {
        let peer = &self.peers[id];
        let newest = self.membership.view().newest(&peer.address);
        peer.is_member && newest.is_some_and(|newest| newest.up && Some(newest.incarnation) == peer.incarnation)
    }

    pub(super) fn on_linked(&mut self) {
        self.maybe_pull();
        self.try_become_up();
        self.consider_readiness();
    }

    pub(super) fn on_unlinked(&mut self, id: PeerId) {
        if self.rules.follows(Rule::GoalEndsWithItsSource) {
            self.startup.forget_source(id);
        }
        self.maybe_pull();
    }

    /// The peer that a joining replica fetches from: the member it chose, or another that is up.
    pub(super) fn join_source(&self) -> Option<PeerId> {
        self.startup.source().filter(|&id| self.is_up(id)).or_else(|| self.turn(|id| self.is_up(id)))
    }

    /// Chooses a peer to catch up with, and is up when that is done, or when there is none.
    pub(super) fn try_become_up(&mut self) {
        if !self.startup.is_joining() || !self.membership.is_member() {
            return;
        }
        let source = self.join_source();
        let source = source.map(|id| (id, self.peers[id].acknowledged.clone()));
        let alone = self.may_start_alone();
        if self.rules.follows(Rule::GoalEndsWithItsSource) || self.startup.goal().is_none() {
            self.startup.choose(source);
        }
        match self.startup.goal() {
            Some(goal) if self.data.context().dominates(goal) => self.become_up(false),
            None if alone => self.become_up(true),
            Some(_) | None => {}
        }
    }

    /// A member has given all that it has, so there is nothing more to catch up with there, whatever it had said
    /// before. Where a memory was copied, the other copy may have promised what this one never had.
    pub(super) fn caught_up_with(&mut self, id: PeerId) {
        self.peer(id).goal = Some(Arc::default());
        if self.rules.follows(Rule::GoalEndsWithItsSource) {
            self.startup.on_caught_up(id);
        }
    }

    /// No member that is up is in reach: time is over, or every member has answered that it joins as well.
    fn may_start_alone(&self) -> bool {
        let contact = self.peers.members().iter().any(|id| self.peers[*id].connected);
        let alone_at = self.startup.alone_at(contact);
        alone_at.is_some_and(|at| self.starts_alone(self.now.monotonic >= at))
    }

    fn starts_alone(&self, time_over: bool) -> bool {
        let answered = |id: &PeerId| self.peers[*id].link.is_established();
        self.rules.starts_alone(
            self.peers.members().iter().all(answered),
            time_over,
            self.peers.members().iter().any(answered),
        )
    }

    fn become_up(&mut self, alone: bool) {
        self.startup.become_up(alone && !self.peers.members().is_empty(), self.provisional_until());
        self.effects.emit(Event::Up { alone });
        self.introduce();
        self.maybe_pull();
        self.consider_readiness();
    }

    /// When joining needs attention next.
    pub(super) fn join_timeout(&self) -> Time {
        if !self.startup.is_joining() {
            return Time::NEVER;
        }
        let [silent, contact] = [false, true].map(|contact| self.startup.alone_at(contact));
        match silent.zip(contact) {
            Some((silent, contact))
                if self.membership.is_member() && self.startup.goal().is_none() && self.starts_alone(true) =>
            {
                let now = self.now.monotonic;
                if now < silent { silent } else { contact.max(now) }
            }
            Some(_) | None => Time::NEVER,
        }
    }
}
