//! Where to pull from, and when (PULL-2).
//!
//! A joining replica, a blocked request and a peer that is about to end fetch at once. A gap is repaired when it has
//! stood for the repair delay, from a peer that can fill it, and not while pushes still do.

use super::Replica;
use super::peer::{Peer, PeerId};
use super::pulls::RETRY_PAUSE;
use crate::identity::Incarnation;
use crate::rules::{Rule, Rules};
use crate::time::Time;

impl<R: Rules> Replica<R> {
    /// The peer to fetch from at once.
    pub(super) fn urgent_source(&self, now: Time) -> Option<PeerId> {
        if self.startup.is_joining() {
            return self.join_source();
        }
        if self.startup.needs_initial_sync()
            && let Some(id) = self.turn(|id| self.is_up(id))
        {
            return Some(id);
        }
        // A peer that was removed, or is about to end, is not there for long: what it has is fetched at once.
        let going = |id: PeerId| self.peers[id].leaving || !self.peers[id].is_member;
        if self.peer_ids().any(going)
            && let Some(id) = self.turn(|id| going(id) && self.has_missing(id))
        {
            return Some(id);
        }
        if self.blocked.is_empty() {
            return None;
        }
        // What a request waits for may be anywhere: peers that have news first, then every peer in turn.
        let rested = |id: PeerId| now.since(self.peers[id].supplier.pulled_at()) >= RETRY_PAUSE;
        self.turn(|id| self.has_missing(id)).or_else(|| self.turn(rested))
    }

    /// The peer to fetch from because a gap that was noticed until `due` has stood for the repair delay.
    pub(super) fn patient_source(&self, now: Time, due: Time) -> Option<PeerId> {
        let nothing = self.gaps.oldest().is_none_or(|noticed| noticed > due);
        if self.startup.is_joining() || !self.blocked.is_empty() || nothing {
            return None;
        }
        let fills = |id: PeerId| {
            self.gaps.since(due).any(|incarnation| !self.is_coming(incarnation, now) && self.gives(id, incarnation))
        };
        let fits = |id: PeerId| fills(id) || !self.rules.follows(Rule::ForgetsGaps) && self.has_missing(id);
        self.turn(|id| fits(id) && now >= self.repairs_from(id))
    }

    fn has_missing(&self, id: PeerId) -> bool {
        self.data.context().missing(&self.peers[id].acknowledged).any(|entry| !self.is_unkept(id, entry))
    }

    /// Do pushes of this incarnation still come in order? They bring what is missing, and a pull would bring it once
    /// more.
    fn is_coming(&self, incarnation: Incarnation, now: Time) -> bool {
        let silence = self.stream_limits().silence;
        let comes = |peer: &Peer| {
            peer.inbound.is_advancing(now, silence)
                && peer.link.is_established()
                && peer.incarnation == Some(incarnation)
        };
        self.rules.follows(Rule::PushesPostponeRepair) && self.peers.iter().any(comes)
    }

    /// From when on patient repair may fetch from this peer. What it made during an interruption of its link must not
    /// come by way of an older gap. It comes no sooner than a gap of its own would be repaired. A link that is
    /// interrupted again and again does not put repair off for ever.
    fn repairs_from(&self, id: PeerId) -> Time {
        let peer = &self.peers[id];
        let counts = self.rules.follows(Rule::InterruptionsPostponeRepair) && peer.supplier.may_be_put_off();
        let reliable = peer.stream.reliable_since().filter(|_| counts);
        reliable.map_or(Time::default(), |at| at + self.config.repair_delay)
    }

    /// Does this peer claim more of an incarnation than is covered here, and has it not just failed to give that?
    pub(super) fn gives(&self, id: PeerId, incarnation: Incarnation) -> bool {
        let peer = &self.peers[id];
        let claimed = self.data.context().counter_in(&peer.acknowledged, incarnation);
        claimed > self.data.context().counter(incarnation) && !self.is_unkept(id, (incarnation, claimed))
    }

    /// Did a whole pull from this peer, a moment ago, not bring that though it was claimed?
    fn is_unkept(&self, id: PeerId, (incarnation, counter): (Incarnation, u64)) -> bool {
        let unkept = self.peers[id].supplier.unkept(self.now.monotonic);
        unkept.is_some_and(|claimed| counter <= self.data.context().counter_in(claimed, incarnation))
    }

    /// Of the linked peers that fit, the one whose turn is the longest ago. A peer in the middle of a large message
    /// comes last: what it supplies would wait behind that.
    pub(super) fn turn(&self, fits: impl Fn(PeerId) -> bool) -> Option<PeerId> {
        let linked = self.peers.linked();
        let silence = self.stream_limits().silence;
        let is_busy = |peer: &Peer| peer.unfinished.is_some_and(|at| self.now.monotonic.since(at) <= silence);
        linked.filter(|&id| fits(id)).min_by_key(|id| (is_busy(&self.peers[*id]), self.peers[*id].supplier.pulled_at()))
    }
}
