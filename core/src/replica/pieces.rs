//! Large values travel in pieces, and a replica that needs a value asks for them (PIECE-1, PIECE-2).
//!
//! A push and a supply only announce an operation with a large value. The receiver asks for piece after piece, a few at
//! a time, and keeps what came. So a link that breaks costs only what was on its way. Another peer goes on where one
//! left off, and other messages pass between two pieces. The peer that is asked keeps nothing for it.
//!
//! Invariant kept here: pieces make nothing visible. An announced operation is judged like a push when it is announced.
//! A fresh one waits for its value as others wait for their causes, and goes with the link. A late one is dropped, and
//! comes by repair in due time. Pieces that are here then need not come again.

use super::Replica;
use super::asked::Asked;
use super::fetches::Announced;
use super::peer::{Peer, PeerId};
use crate::data::Value;
use crate::edge::{DropReason, Event};
use crate::message::{Body, Outline, Outlined};
use crate::op::{Effect, Op};
use crate::pieces::Added;
use crate::rules::{Rule, Rules};
use crate::time::{Micros, Time};
use crate::vector::Dot;
use alloc::sync::Arc;

/// Bytes of one piece, at most.
const PIECE_BYTES_MAX: u32 = 64 << 10;
/// No value is longer.
const VALUE_BYTES_MAX: u64 = 1 << 30;
/// Pieces asked for in one call; the next call goes on.
const ASKED_MAX: usize = 32;
/// Messages were lost with a connection: pieces that do not come within this were lost with them.
const LOST_AFTER: Micros = Micros::from_millis(100);
impl<R: Rules> Replica<R> {
    /// Does this value travel in pieces?
    pub(super) fn is_large(&self, value: &Value) -> bool {
        value.as_bytes().len() > self.config.whole_bytes_max
    }

    /// How an own operation is pushed.
    pub(super) fn pushed(&mut self, op: Arc<Op>, made: Time) -> Body {
        let large = matches!(&op.effect, Effect::Put { value, .. } if self.is_large(value));
        if !large {
            return Body::Push { op, made };
        }
        match self.fetches.outline(&op) {
            Some(op) => Body::Announce { op, made },
            None => Body::Push { op, made },
        }
    }

    pub(super) fn on_announce(&mut self, id: PeerId, op: Outlined, made: Time) {
        let (now, dot, outline) = (self.now.monotonic, op.op.dot, op.outline);
        if !is_sound(outline) || op.with(&Value::new(&[])).is_none() {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !self.is_fresh(id, &op.op, made, self.rules.follows(Rule::InterruptionsTaintAnnounced)) {
            return;
        }
        if !self.is_ours(op.op.deps.counter(self.membership.incarnation())) {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !self.rules.follows(Rule::AppliesOnlyWhole) {
            return self.take_push(id, op.op);
        }
        self.gaps.on_remote_counter(dot.incarnation, dot.counter, now);
        self.gaps.on_remote_vector(&op.op.deps, self.data.context(), now);
        if !self.has_memory_for_ops(outline.bytes) {
            if self.fits_at_last(&op.op, outline.bytes) {
                // What is on its way leaves no room. This one comes by repair.
                return self.drop_from(id, DropReason::CausalBufferFull);
            }
            self.hold_back();
            return self.drop_from(id, DropReason::NoMemory);
        }
        if !self.fetches.has_room_for(dot) {
            return self.drop_from(id, DropReason::CausalBufferFull);
        }
        if dot.counter == self.data.context().counter(dot.incarnation) + 1 {
            self.peer(id).inbound.advance(now);
        }
        self.fetches.announce(dot, Announced { op, from: id });
        self.fetch(dot, outline, id);
    }

    /// The value is needed: takes it from what is here, or asks for it.
    pub(super) fn fetch(&mut self, dot: Dot, outline: Outline, from: PeerId) {
        if self.fetches.whole(dot, outline).is_some() {
            return self.have(dot, outline);
        }
        let (now, timeout) = (self.now.monotonic, self.piece_timeout(from));
        if let Some(held) = self.fetches.begin((dot, outline), from, now, timeout) {
            let from = self.peers[from].address.clone();
            self.effects.emit(Event::Fetching { from, dot, held });
        }
        self.ask_for_pieces(from);
    }

    /// Asks for what comes next, as far as the window reaches.
    fn ask_for_pieces(&mut self, id: PeerId) {
        let (now, piece_bytes) = (self.now.monotonic, self.piece_bytes());
        let awaited = self.pulls.awaited().map(|(dot, _)| dot);
        for _ in 0..ASKED_MAX {
            let asked = &mut self.peers[id].asked;
            let Some((dot, offset, bytes)) = self.fetches.ask((id, asked), awaited, piece_bytes, now) else { return };
            self.send(id, Body::Want { dot, offset, bytes });
        }
    }

    fn piece_bytes(&self) -> u32 {
        u32::try_from(self.config.piece_bytes).unwrap_or(PIECE_BYTES_MAX).clamp(1, PIECE_BYTES_MAX)
    }

    pub(super) fn on_want(&mut self, id: PeerId, dot: Dot, offset: u64, bytes: u32) {
        let now = self.now.monotonic;
        if !(1..=PIECE_BYTES_MAX).contains(&bytes) {
            return self.drop_from(id, DropReason::Invalid);
        }
        if let Some(serving) = &mut self.peer(id).serving {
            serving.moved = now;
        }
        let serving = self.peers[id].serving.as_ref().and_then(|serving| serving.large.as_ref());
        let served = serving.filter(|(served, _)| *served == dot).map(|(_, value)| value.clone());
        let own = || match &self.data.log().own(dot.counter).filter(|own| own.op.dot == dot)?.op.effect {
            Effect::Put { value, .. } => Some(value.clone()),
            Effect::Delete { .. } | Effect::Erase { .. } | Effect::Retire { .. } | Effect::Batch(_) => None,
        };
        let value = served.or_else(own).unwrap_or_else(|| Value::new(&[]));
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let piece = value.as_bytes().get(from..from.saturating_add(bytes as usize)).unwrap_or_default();
        self.send(id, Body::Piece { dot, offset, bytes: Value::new(piece) });
    }

    pub(super) fn on_piece(&mut self, id: PeerId, dot: Dot, offset: u64, piece: &Value) {
        let (now, most) = (self.now.monotonic, (self.config.credit_bytes_max / 4) as u64);
        let from_here = &mut self.peer(id).asked;
        let asked = from_here.take(dot, offset);
        let bytes = piece.as_bytes().len() as u64;
        // Also one that is here already: what was asked for after it is on the same link, behind it.
        from_here.moves(now);
        if let Some(asked) = asked {
            from_here.learn(asked, now, most);
        }
        self.pulls.on_progress(id, now);
        let Some(outline) = self.fetches.on_piece((dot, id), offset.saturating_add(bytes), now) else {
            self.drop_from(id, DropReason::OtherPull);
            return self.ask_for_pieces(id);
        };
        if asked.is_some_and(|asked| u64::from(asked.bytes) != bytes) {
            if bytes > 0 {
                self.drop_from(id, DropReason::Invalid);
            }
            // It cannot give the value any more: the log was cut.
            self.give_up(dot);
            return self.ask_for_pieces(id);
        }
        // What was asked for too long ago is welcome all the same where it is the next.
        if asked.is_none() && (bytes == 0 || !self.fetches.is_next(dot, outline, offset)) {
            return self.drop_from(id, DropReason::OtherPull);
        }
        let added = self.fetches.add(dot, outline, offset, piece);
        self.note_piece(id, dot);
        match added {
            Added::Nothing | Added::Ahead | Added::More => self.bound_pieces(),
            Added::Whole => {
                self.have(dot, outline);
                self.bound_pieces();
            }
            Added::Damaged => {
                self.drop_from(id, DropReason::Invalid);
                self.give_up(dot);
            }
        }
        self.ask_for_pieces(id);
    }

    /// A piece of this value came: it is on its way, and repair waits for it.
    fn note_piece(&mut self, id: PeerId, dot: Dot) {
        let now = self.now.monotonic;
        let is_next = dot.counter == self.data.context().counter(dot.incarnation) + 1;
        if is_next && self.fetches.is_announced(dot) {
            self.peer(id).inbound.advance(now);
        }
    }

    /// The value is here: what waits for it goes on.
    fn have(&mut self, dot: Dot, outline: Outline) {
        self.fetches.end(dot);
        let Some(value) = self.fetches.whole(dot, outline) else { return };
        if self.pulls.awaited().is_none_or(|(awaited, _)| awaited != dot) {
            self.fetches.forget_pieces(dot); // it counts once, with the operation
        }
        if let Some(Announced { op, from }) = self.fetches.take_announced(dot) {
            if !self.membership.is_member() {
                self.drop_from(from, DropReason::NotMember);
            } else if let Some(op) = op.with(&value) {
                self.take_push(from, op);
            }
        }
        self.go_on_with_large();
    }

    /// The value cannot be had from there: what was announced comes by repair, and a pull that needs it has failed.
    fn give_up(&mut self, dot: Dot) {
        self.fetches.give_up(dot);
        if self.pulls.awaited().is_some_and(|(awaited, _)| awaited == dot) {
            self.end_pull(false);
        }
    }

    /// What is kept of values stays within its limit.
    fn bound_pieces(&mut self) {
        while let Some(dot) = self.fetches.shed(self.pulls.awaited().map(|(dot, _)| dot)) {
            self.give_up(dot);
        }
    }

    /// There is no room: what was announced comes by repair. What a pull waits for stays.
    pub(super) fn drop_announced(&mut self) {
        self.fetches.drop_announced(self.pulls.awaited().map(|(dot, _)| dot));
    }

    /// Coverage moved: what is covered by now is not waited for.
    pub(super) fn settle_pieces(&mut self) {
        self.fetches.drop_covered(self.data.context());
        if self.pulls.awaited().is_some_and(|(dot, _)| self.data.context().covers(dot)) {
            self.go_on_with_large();
        }
    }

    /// The link ended: what was announced over it is no news, and what was asked for does not come. The pieces stay.
    pub(super) fn forget_asked(&mut self, id: PeerId) {
        self.peer(id).asked = Asked::default();
        self.fetches.on_unlinked(id, self.rules.follows(Rule::DropsCausalBufferWithLink));
        if !self.rules.follows(Rule::KeepsPieces) {
            self.fetches.forget_all_pieces();
        }
    }

    /// Messages of this peer are missing: pieces may be among them.
    pub(super) fn suspect_lost_pieces(&mut self, id: PeerId) {
        let (now, timeout) = (self.now.monotonic, self.piece_timeout(id));
        self.peer(id).asked.suspect_loss(now + LOST_AFTER, timeout);
    }

    /// What was asked for and did not come is asked for again, a few times.
    pub(super) fn ask_again_for_pieces(&mut self, id: PeerId) {
        let (now, timeout) = (self.now.monotonic, self.piece_timeout(id));
        if self.peers[id].asked.timeout(timeout) > now {
            return;
        }
        self.peer(id).asked.give_up();
        for dot in self.fetches.ask_again(id, now, timeout) {
            self.give_up(dot);
        }
        self.ask_for_pieces(id);
    }

    /// When this peer is asked again.
    pub(super) fn pieces_timeout(&self, peer: &Peer) -> Time {
        if peer.asked.is_idle() {
            return Time::NEVER;
        }
        peer.asked.timeout(peer.supplier.piece_timeout(self.config.pull_timeout))
    }

    fn piece_timeout(&self, id: PeerId) -> Micros {
        self.peers[id].supplier.piece_timeout(self.config.pull_timeout)
    }

    /// Bytes of values that are not whole, or not needed yet.
    #[must_use]
    pub const fn pieces_bytes(&self) -> usize {
        self.fetches.bytes()
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_pieces(&self) {
        self.fetches.check_invariants(self.data.context());
        for peer in self.peers.iter() {
            peer.supplier.check_invariants(self.config.pull_timeout);
            peer.asked.check_invariants();
        }
    }
}

/// Could an honest replica hold such a value?
pub(super) const fn is_sound(outline: Outline) -> bool {
    outline.bytes > 0 && outline.bytes <= VALUE_BYTES_MAX
}
