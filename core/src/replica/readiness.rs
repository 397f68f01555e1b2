//! When clients may be sent to a replica (JOIN-3).
//!
//! A replica that started alone serves at once, as the contract asks. But what it holds may not be what the cluster
//! holds. An operator may restart one replica after the other and ask each whether it is ready. That would lose all
//! data with the last one. So it is *ready* only when it has caught up with a member that is ready, or with every
//! member that it knows of. A member may refuse this replica, or be heard though no link comes to stand. It is there,
//! and counts neither as met nor as absent. An absent member delays readiness for [`crate::Config::ready_alone_after`].
//! Once ready, it stays so.

use super::Replica;
use super::peer::{Peer, PeerId};
use crate::edge::{Event, Refused};
use crate::identity::Address;
use crate::rules::Rules;
use crate::time::{Micros, Time};
use alloc::vec::Vec;

/// A member that was heard, or refused, and has not been since for so long, and for this many attempts to reach it, is
/// gone.
const SIGN_AGE_MAX: Micros = Micros::from_seconds(10);
const SIGN_ATTEMPTS: u64 = 4;

/// Whether clients may be sent to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// They may.
    Ready,
    /// The data is not loaded yet.
    Joining,
    /// An operator removed this replica.
    Removed,
    /// Another live process has its address, and peers reach that one.
    Displaced,
    /// It serves, but started alone.
    Provisional(Unsettled),
    /// It serves, but has no memory left to take in what other replicas have.
    HeldBack,
}

/// Why a replica that started alone is not ready: members, by how they stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsettled {
    /// Not met yet. The time for that is not over.
    pub absent: Vec<Address>,
    /// Met, and what they had then is still being fetched.
    pub loading: Vec<Address>,
    /// They are there, and no link with them has come to stand.
    pub unlinked: Vec<Address>,
    /// They are there and speak another version of the protocol.
    pub versions: Vec<Address>,
    /// They are there and belong to another cluster, all of them: so it is this replica that is foreign.
    pub foreign: Vec<Address>,
}

impl Unsettled {
    fn is_empty(&self) -> bool {
        [&self.absent, &self.loading, &self.unlinked, &self.versions, &self.foreign].iter().all(|list| list.is_empty())
    }
}

impl<R: Rules> Replica<R> {
    /// Whether clients may be sent here, and if not, why.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match () {
            () if self.membership.is_displaced() => Readiness::Displaced,
            () if self.startup.is_joining() => Readiness::Joining,
            () if !self.membership.is_member() => Readiness::Removed,
            () if self.startup.is_provisional() => Readiness::Provisional(self.unsettled()),
            () if self.budget.is_held_back() => Readiness::HeldBack,
            () => Readiness::Ready,
        }
    }

    /// Is what it holds what the cluster holds, as far as it can know?
    pub(super) const fn is_firm(&self) -> bool {
        !self.startup.is_joining() && !self.startup.is_provisional() && !self.budget.is_held_back()
    }

    /// Until when one that is up from now on waits for absent members before it is ready.
    pub(super) fn provisional_until(&self) -> Option<Time> {
        (!self.peers.members().is_empty()).then(|| self.now.monotonic + self.config.ready_alone_after)
    }

    /// Ends what is provisional as soon as that may be.
    pub(super) fn consider_readiness(&mut self) {
        let Some(until) = self.startup.provisional_until() else { return };
        for id in self.peers.members().to_vec() {
            let caught_up = self.has_caught_up_with(id);
            self.peer(id).met |= caught_up;
        }
        let mut unsettled = self.unsettled();
        let mut unmet = Vec::new();
        if self.now.monotonic >= until {
            unmet = core::mem::take(&mut unsettled.absent);
        }
        if unsettled.is_empty() || self.peers.members().iter().any(|&id| self.follows_a_ready_member(id)) {
            self.startup.end_provisional();
            self.effects.emit(Event::Ready { unmet });
        }
    }

    /// Is a link there, and here all that the member had when the link was made?
    fn has_caught_up_with(&self, id: PeerId) -> bool {
        let peer = &self.peers[id];
        peer.link.is_established() && peer.goal.as_ref().is_some_and(|goal| self.data.context().dominates(goal))
    }

    fn follows_a_ready_member(&self, id: PeerId) -> bool {
        self.peers[id].ready && self.is_up(id) && self.has_caught_up_with(id)
    }

    fn unsettled(&self) -> Unsettled {
        let mut unsettled = Unsettled::default();
        let mut foreign = Vec::new();
        for peer in self.peers.members().iter().map(|id| &self.peers[*id]).filter(|peer| !peer.met) {
            let place = match self.refusal(peer) {
                _ if peer.link.is_established() => &mut unsettled.loading,
                Some(Refused::Version(_)) => &mut unsettled.versions,
                Some(Refused::Foreign) => &mut foreign,
                None if peer.sign.is_some_and(|at| self.is_recent(at)) => &mut unsettled.unlinked,
                None => &mut unsettled.absent,
            };
            place.push(peer.address.clone());
        }
        // One foreign member has an address that another cluster uses now. If several are foreign and no member was
        // ever met, this replica was given another cluster's name.
        if foreign.len() > 1 && !self.peers.members().iter().any(|id| self.peers[*id].met) {
            unsettled.foreign = foreign;
        }
        unsettled
    }

    /// Why this peer refuses this replica, if it is there and does. Another cluster's stays that; one that speaks
    /// another version may go away.
    fn refusal(&self, peer: &Peer) -> Option<Refused> {
        let (why, at) = peer.refused?;
        (why == Refused::Foreign || self.is_recent(at)).then_some(why)
    }

    fn is_recent(&self, at: Time) -> bool {
        let age_max = SIGN_AGE_MAX.max(self.config.probe_interval_max.times(SIGN_ATTEMPTS));
        self.now.monotonic.since(at) <= age_max
    }

    pub(super) fn on_sign(&mut self, from: &Address) {
        let now = self.now.monotonic;
        if let Some(id) = self.find_peer(from) {
            self.peer(id).sign = Some(now);
        }
    }

    pub(super) fn on_refused(&mut self, by: &Address, why: Refused) {
        let now = self.now.monotonic;
        if let Some(id) = self.find_peer(by) {
            let before = self.peer(id).refused.replace((why, now)).map(|(why, _)| why);
            if let Refused::Version(theirs) = why
                && before != Some(why)
            {
                let ours = self.config.formats;
                self.effects.emit(Event::NoCommonFormat { address: by.clone(), theirs, ours });
            }
            self.consider_readiness();
        }
    }
}

impl Peer {
    /// It says whether clients may be sent to it. When they may, it holds what the cluster holds, not before.
    pub(super) fn on_ready(&mut self, ready: bool) {
        if ready && !self.ready {
            self.goal = Some(self.acknowledged.clone());
        }
        self.ready = ready;
    }
}
