//! Doubt about a silent member (FAIL-1, FAIL-2).
//!
//! A silence beyond the threshold ends the link, and two others are asked whether they hear the member. If neither
//! does, it is suspected and left out of the view until it answers. Suspicion is local and removes no member.

use super::Replica;
use super::peer::{Peer, PeerId};
use crate::edge::Event;
use crate::identity::Address;
use crate::message::Body;
use crate::rules::Rules;
use crate::time::{Micros, Time};

/// How long others have to vouch for a silent member.
const VOUCH_WAIT: Micros = Micros::from_millis(500);
/// How many others are asked.
const ASKED_MAX: usize = 2;

impl<R: Rules> Replica<R> {
    /// Looks whether this peer has been silent for too long.
    pub(super) fn check_silence(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let peer = &self.peers[id.0];
        if peer.suspected {
            return;
        }
        match peer.probed_at {
            None if self.rules.suspects(peer.failure_detector.suspect_at(&self.config) <= now) => self.query_others(id),
            Some(at) if now >= at + VOUCH_WAIT => {
                if self.peers[id.0].vouched_at.is_some_and(|vouched| vouched >= at) {
                    self.query_others(id);
                } else {
                    self.suspect(id);
                }
            }
            None | Some(_) => {}
        }
    }

    /// Ends the silent link and asks others whether they hear the peer.
    fn query_others(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        if self.peers[id.0].link.established {
            self.peer(id).next_hello = now;
            self.close_link(id);
        }
        let address = self.peers[id.0].address.clone();
        let linked = self.peer_ids().filter(|other| self.peers[other.0].link.established);
        let asked: alloc::vec::Vec<_> = linked.take(ASKED_MAX).collect();
        if asked.is_empty() {
            return self.suspect(id);
        }
        self.peer(id).probed_at = Some(now);
        for other in asked {
            self.send(other, Body::Probe { address: address.clone() });
        }
    }

    fn suspect(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let peer = self.peer(id);
        peer.suspected = true;
        peer.probed_at = None;
        peer.searched_since = now;
        peer.next_hello = now;
        let address = peer.address.clone();
        self.effects.emit(Event::Suspected(address.clone()));
        self.close_link(id);
        if self.rules.suspicion_removes() {
            self.remove_member(&address);
        }
    }

    pub(super) fn on_probe(&mut self, id: PeerId, address: &Address) {
        let now = self.now.monotonic;
        let is_heard_here = self.find_peer(address).is_some_and(|about| {
            let peer = &self.peers[about.0];
            peer.link.established && now.since(peer.failure_detector.last_arrival()) <= self.config.vouch_max
        });
        if is_heard_here {
            self.send(id, Body::Vouch { address: address.clone() });
        }
    }

    pub(super) fn on_vouch(&mut self, address: &Address) {
        if let Some(id) = self.find_peer(address) {
            self.peer(id).vouched_at = Some(self.now.monotonic);
        }
    }

    /// When a suspicion needs attention next.
    pub(super) fn suspicion_timeout(&self, peer: &Peer) -> Time {
        match peer.probed_at {
            _ if peer.suspected => Time::NEVER,
            Some(at) => at + VOUCH_WAIT,
            None => peer.failure_detector.suspect_at(&self.config),
        }
    }
}
