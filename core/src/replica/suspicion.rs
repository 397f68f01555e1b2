//! Doubt about a silent member (FAIL-1, FAIL-2).
//!
//! A silence beyond the threshold ends the link, and two others are asked whether they hear the member. If neither
//! does, it is suspected and left out of the view until it answers. Suspicion is local and removes no member.

use super::Replica;
use super::peer::PeerId;
use super::suspect::Silence;
use crate::edge::Event;
use crate::identity::Address;
use crate::message::Body;
use crate::rules::{Rule, Rules};

/// How many others are asked.
const ASKED_MAX: usize = 2;

impl<R: Rules> Replica<R> {
    /// Looks whether this peer has been silent for too long.
    pub(super) fn check_silence(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        match self.peers[id].suspect.check(now, &self.config, |silent| self.rules.suspects(silent)) {
            Silence::Nothing => {}
            Silence::AskOthers => self.query_others(id),
            Silence::Suspect => self.suspect(id),
        }
    }

    /// Ends the silent link and asks others whether they hear the peer.
    fn query_others(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        if self.peers[id].link.is_established() {
            self.peer(id).next_hello = now;
            self.close_link(id);
        }
        let address = self.peers[id].address.clone();
        let asked: alloc::vec::Vec<_> = self.peers.linked().take(ASKED_MAX).collect();
        if asked.is_empty() {
            return self.suspect(id);
        }
        self.peer(id).suspect.probe(now);
        for other in asked {
            self.send(other, Body::Probe { address: address.clone() });
        }
    }

    fn suspect(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let peer = self.peer(id);
        peer.suspect.suspect(now);
        peer.next_hello = now;
        let address = peer.address.clone();
        self.effects.emit(Event::Suspected(address.clone()));
        self.close_link(id);
        if !self.rules.follows(Rule::SuspicionIsLocal) {
            self.remove_member(&address);
        }
    }

    pub(super) fn on_probe(&mut self, id: PeerId, address: &Address) {
        if address == self.membership.address() {
            // The peer made a write that is to be answered when it is here (CONCERN-5).
            return self.on_status_asked(id);
        }
        let now = self.now.monotonic;
        let is_heard_here = self.find_peer(address).is_some_and(|about| {
            let peer = &self.peers[about];
            peer.link.is_established() && peer.suspect.has_arrivals(now, self.config.vouch_max)
        });
        if is_heard_here {
            self.send(id, Body::Vouch { address: address.clone() });
        }
    }

    pub(super) fn on_vouch(&mut self, address: &Address) {
        if let Some(id) = self.find_peer(address) {
            let now = self.now.monotonic;
            self.peer(id).suspect.vouch(now);
        }
    }
}
