//! Opens and closes links (LINK-1 to LINK-3, PUSH-3, VIEW-4, FAIL-3).
//!
//! A link joins two incarnations. Each end names a fresh number in its hello and echoes the other's; every
//! message carries both. A link ends with either incarnation, on suspicion or with a newer hello, never with a
//! socket. Whatever belongs to another link changes nothing and is answered by a hello.

use super::Replica;
use super::peer::{Peer, PeerId};
use super::view_changes::is_bounded;
use crate::edge::{DropReason, Event};
use crate::identity::{Address, Incarnation};
use crate::message::{Body, Hello, Message};
use crate::rules::{Rule, Rules};
use crate::stream::{Arrival, Limits};
use crate::time::{Micros, Time};
use alloc::boxed::Box;

/// An answer to messages of other links goes out at most this often.
const ANSWER_PAUSE: Micros = Micros::from_millis(50);

/// Where another has given out numbers counting goes on so far above them, or up to twice as far.
const NUMBERS_SKIPPED: u64 = 1 << 20;

impl<R: Rules> Replica<R> {
    /// A hello that opens a link, or opens it once more; a transport connects anew for it.
    pub(super) fn open_link(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let pause = self.peers[id].hello_pause(&self.config, now);
        let peer = self.peer(id);
        peer.next_hello = now + pause.times(peer.link.open());
        self.send_hello(id, 0);
    }

    fn answer_hello(&mut self, id: PeerId) {
        let echo = self.peers[id].link.echo();
        self.send_hello(id, echo);
    }

    fn send_hello(&mut self, id: PeerId, echo: u64) {
        let number = self.peers.number(id);
        let (from, body) = (self.membership.incarnation(), self.hello());
        let sequence = self.peer(id).link.next_sequence();
        let message = Message { from, number, echo, sequence, body };
        let to = self.peers[id].address.clone();
        self.effects.send(to, message);
    }

    fn hello(&mut self) -> Body {
        let vector = self.shared_vector();
        let (sent, wall) = (self.now.monotonic, self.now.wall);
        let (view, formats) = (self.membership.records(), self.config.formats);
        Body::Hello(Box::new(Hello { sent, wall, vector, view, formats }))
    }

    pub(super) fn on_hello(
        &mut self,
        from: &Address,
        incarnation: Incarnation,
        (number, echo, sequence): (u64, u64, u64),
        hello: &Hello,
    ) {
        let stated = hello.view.iter().find(|record| record.address == *from).and_then(|record| record.newest);
        if stated.is_none_or(|stated| stated.incarnation < incarnation)
            || number == 0
            || !is_bounded(&hello.view)
            || !self.is_ours(hello.vector.counter(self.membership.incarnation()))
        {
            return self.drop_message(from, DropReason::Invalid);
        }
        let before = self.membership.incarnation();
        self.report_other_cluster(from, incarnation, hello);
        self.merge_view(hello.view.iter());
        let own = self.membership.view().newest(self.membership.address()).map(|own| own.incarnation);
        if self.membership.incarnation() != before || own.is_some_and(|own| own != self.membership.incarnation()) {
            // It spoke to an incarnation that is over, or about to be. The next one opens links of its own.
            return self.drop_message(from, DropReason::OtherLink);
        }
        let Some(id) = self.find_peer(from) else { return self.drop_message(from, DropReason::Invalid) };
        if self.membership.view().newest(from).is_some_and(|newest| newest.incarnation > incarnation) {
            // It has to learn that another incarnation is the newest at its address; the view tells.
            self.drop_message(from, DropReason::OldIncarnation);
            if echo == 0 {
                self.send_hello(id, number);
            }
            return;
        }
        let same_incarnation = self.peers[id].incarnation == Some(incarnation);
        if same_incarnation && number < self.peers[id].link.echo() {
            self.drop_message(from, DropReason::OtherLink);
            return self.challenge(id); // it came late; or its memory was copied, and the other copy counts ahead of it
        }
        if !same_incarnation || number != self.peers[id].link.echo() {
            self.meet_newer_link(id, incarnation, number);
        }
        self.on_formats(id, hello.formats);
        self.on_arrival(id, sequence, Some(hello.sent));
        self.on_remote_vector(id, hello.sent, hello.wall, hello.vector.clone());
        let link = self.peers[id].link;
        if link.is_established() {
            if echo != 0 && echo != link.number() {
                self.challenge(id); // it holds another number of ours than we do
            }
        } else if link.fits(number, echo) {
            self.establish(id);
        } else {
            self.count_beyond(id, echo);
            self.peer(id).link.cross();
            self.answer_hello(id);
        }
    }

    /// The other end names a number beyond the newest that was given to it: a copy of this memory gave it out. What
    /// bears a lower one is taken for what came late, so counting goes on above it.
    ///
    /// A number of the incarnation before at this address looks alike. That incarnation may have given out a few more,
    /// and what was sent to it must not fit here. So counting goes on at a distance that differs from incarnation to
    /// incarnation.
    pub(super) fn count_beyond(&mut self, id: PeerId, echo: u64) {
        if self.peers[id].link.is_beyond(echo) {
            self.peers.count_from(echo + NUMBERS_SKIPPED + self.membership.incarnation().0 % NUMBERS_SKIPPED);
            self.peer(id).link.forget_number();
        }
    }

    /// Says a hello to an end that speaks under other numbers than those that hold here, but not to each message.
    ///
    /// Two ends may each be established under numbers that the other has left behind. Without an answer they would drop
    /// each other's messages until one of them grows suspicious.
    fn challenge(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        if now.since(self.peers[id].challenged_at) >= ANSWER_PAUSE {
            self.peer(id).challenged_at = now;
            self.answer_hello(id);
        }
    }

    /// The other end began a new link: what belonged to the one before is gone.
    ///
    /// The own number stays while it was never part of an established link. Were it fresh each time, two ends that
    /// open at once would each take the other's answer for a newer link, for ever.
    fn meet_newer_link(&mut self, id: PeerId, incarnation: Incarnation, number: u64) {
        if self.peers[id].link.is_established() {
            self.close_link(id);
        }
        let peer = self.peer(id);
        if peer.incarnation != Some(incarnation) {
            peer.reset_for(incarnation);
        }
        peer.link.meet(number);
        peer.dormant = false;
    }

    /// Lets a message in if it belongs to the present link; the first one that does establishes it.
    pub(super) fn admit(&mut self, from: &Address, incarnation: Incarnation, number: u64, echo: u64) -> Option<PeerId> {
        let Some(id) = self.find_peer(from) else {
            let own = *from == *self.membership.address();
            self.drop_message(from, if own { DropReason::OwnAddress } else { DropReason::OtherLink });
            return None;
        };
        let now = self.now.monotonic;
        let peer = &self.peers[id];
        let link = peer.link;
        let present = peer.incarnation == Some(incarnation) && link.fits(number, echo);
        let accepted = present || !self.rules.follows(Rule::TakesOnlyPresentLink) && peer.incarnation.is_some();
        if !accepted {
            self.drop_message(from, DropReason::OtherLink);
            if link.is_established() {
                self.challenge(id);
            } else if !link.is_established() && self.peers[id].next_hello > now + ANSWER_PAUSE {
                self.peer(id).next_hello = now + ANSWER_PAUSE;
            }
            return None;
        }
        if !link.is_established() && present {
            self.establish(id);
        }
        self.peer(id).suspect.on_arrival(now);
        Some(id)
    }

    /// A peer has news of the membership for a dormant end. There the link still stands, and the news would reach
    /// no replica until the link is given up. A status asks for nothing like that; two that rest would wake each other
    /// for ever.
    pub(super) fn reopen_for_update(&mut self, from: &Address) {
        let now = self.now.monotonic;
        let Some(id) = self.find_peer(from) else { return };
        let peer = self.peer(id);
        if core::mem::take(&mut peer.dormant) {
            peer.next_hello = now;
        }
    }

    fn establish(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let own = self.data.context().counter(self.membership.incarnation());
        let own_incarnation = self.membership.incarnation();
        let peer = self.peer(id);
        peer.link.establish();
        peer.connected = false;
        peer.refused = None;
        peer.goal.get_or_insert_with(|| peer.acknowledged.clone());
        let recovered = peer.suspect.on_linked(now);
        let address = peer.address.clone();
        let incarnation = peer.incarnation.expect("a hello named the incarnation before the link was established");
        let acknowledged = peer.acknowledged.counter(own_incarnation).min(own);
        if recovered {
            self.effects.emit(Event::Recovered(address.clone()));
        }
        self.effects.emit(Event::Linked { address, incarnation });
        self.concerns.note();
        self.begin_pushing(id, acknowledged);
        self.send_status(id);
        self.push(id);
        self.on_linked();
    }

    /// A message of the present link arrived: what does that say about the stream from there?
    pub(super) fn on_arrival(&mut self, id: PeerId, sequence: u64, departed: Option<Time>) {
        let (now, limits) = (self.now.monotonic, self.stream_limits());
        let peer = &mut self.peers[id];
        peer.unfinished = None;
        // No end is heard of regularly before the link stands. So a silence until then does not tell of a process that
        // stood still. The network may as well have held back what would have opened the link.
        let opens = peer.link.take_first() || !peer.link.is_established();
        let arrival = Arrival { sequence, departed, opens };
        let (gap, met) = (peer.stream.is_beyond(sequence), peer.stream.is_met());
        let silent = peer.stream.is_silent(now, limits);
        if peer.stream.arrive(now, arrival, &peer.offsets, &self.stalls, limits) {
            self.on_interrupted(id);
        } else if !met && self.is_cut_off(id) {
            self.peer(id).stream.meet_after_cut(now);
            self.on_interrupted(id);
        } else if self.peers[id].stream.is_silent(now, limits) {
            self.on_unexplained(id);
        } else if silent && self.is_cut_off(id) {
            self.peer(id).stream.be_back(now);
            self.on_interrupted(id);
        }
        if gap {
            self.suspect_lost_pieces(id);
        }
    }

    /// Is another peer cut off from here, or was one until a moment ago? What a peer has that is met just now may have
    /// been made meanwhile. A removed peer shows a cut as well as a member does. One that is gone for good costs
    /// nothing. A newcomer's gap is noticed when the two meet, and is repaired no sooner than `repair_delay` later.
    fn is_cut_off(&self, id: PeerId) -> bool {
        let (now, limits) = (self.now.monotonic, self.stream_limits());
        let lately = Time(now.0.saturating_sub(self.config.repair_delay.0));
        let mut others = self.peer_ids().filter(|&other| other != id);
        self.rules.follows(Rule::InterruptionsTaint)
            && others.any(|other| self.peers[other].stream.is_cut_since(lately, now, limits))
    }

    /// Bytes of a message arrived that is not whole yet.
    pub(super) fn on_progress(&mut self, from: &Address) {
        let (now, limits) = (self.now.monotonic, self.stream_limits());
        let Some(id) = self.find_peer(from) else { return };
        let peer = self.peer(id);
        if peer.link.is_established() {
            peer.suspect.on_arrival(now);
            peer.stream.progress(now, limits);
            // Until it is whole it may be a push, and then it fills a gap.
            peer.inbound.advance(now);
            peer.unfinished = Some(now);
            peer.asked.moves(now);
            self.pulls.on_progress(id, now);
        } else {
            peer.connected = true;
        }
    }

    /// A peer that runs says something every heartbeat interval, and what is later than `late_max` was held back.
    pub(super) fn stream_limits(&self) -> Limits {
        let late = self.config.late_max;
        Limits { silence: self.config.heartbeat_interval.saturating_add(late), late }
    }

    /// Ends the link: what came over it and is not applied is dropped.
    pub(super) fn close_link(&mut self, id: PeerId) {
        if let Some(incarnation) =
            self.peers[id].incarnation.filter(|_| self.rules.follows(Rule::DropsCausalBufferWithLink))
        {
            self.causal_buffer.drop_origin(incarnation);
        }
        self.peer(id).close();
        self.forget_asked(id);
        self.fail_pull_from(id);
        self.on_unlinked(id);
        if self.peers[id].is_member && self.rules.follows(Rule::RoundRestarts) {
            self.rounds.abort();
        }
    }

    /// An address accepted a connection.
    pub(super) fn on_connected(&mut self, to: &Address) {
        if let Some(id) = self.find_peer(to) {
            let peer = self.peer(id);
            peer.connected = !peer.link.is_established();
        }
    }

    /// When this peer needs attention next.
    pub(super) fn link_timeout(&self, peer: &Peer) -> Time {
        if peer.link.is_established() {
            peer.suspect.timeout(&self.config).min(peer.next_status).min(self.pieces_timeout(peer))
        } else if peer.dormant {
            Time::NEVER // one side was removed and all is said
        } else if peer.is_stranger() {
            peer.next_hello
        } else {
            peer.suspect.timeout(&self.config).min(peer.next_hello)
        }
    }
}
