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
use super::asked::{Asked, Piece};
use super::peer::{Peer, PeerId, TIMEOUT_DOUBLINGS};
use crate::data::Value;
use crate::edge::{DropReason, Event};
use crate::message::{Body, Outline, Outlined};
use crate::op::{Effect, Op};
use crate::pieces::Added;
use crate::rules::Rules;
use crate::time::{Micros, Time};
use crate::vector::Dot;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of one piece, at most.
const PIECE_BYTES_MAX: u32 = 64 << 10;
/// No value is longer.
const VALUE_BYTES_MAX: u64 = 1 << 30;
/// Announced operations whose values are not whole; beyond it they come by repair.
const ANNOUNCED_MAX: usize = 256;
/// Pieces asked for in one call; the next call goes on.
const ASKED_MAX: usize = 32;
/// Messages were lost with a connection: pieces that do not come within this were lost with them.
const LOST_AFTER: Micros = Micros::from_millis(100);
/// A value of which nothing came for so many times the pull's timeout is given up.
const TRIES: u64 = 4;

/// Values that arrive in pieces.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetches {
    /// Whose value is asked for.
    pub(super) fetches: BTreeMap<Dot, Fetch>,
    /// Pushed operations that wait for their values.
    pub(super) announced: BTreeMap<Dot, Announced>,
}

#[derive(Debug, Clone)]
pub(super) struct Fetch {
    outline: Outline,
    from: PeerId,
    /// What lies before this was asked for.
    next: u64,
    /// What lies before this was asked for at least once.
    reached: u64,
    /// When a piece last came.
    moved: Time,
}

#[derive(Debug, Clone)]
pub(super) struct Announced {
    op: Outlined,
    from: PeerId,
}

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
        // It goes to all peers in a row, and reading all of a value takes a while.
        if self.outlined.as_ref().is_none_or(|known| known.op.dot != op.dot) {
            self.outlined = Outlined::of(&op);
        }
        match &self.outlined {
            Some(outlined) => Body::Announce { op: outlined.clone(), made },
            None => Body::Push { op, made },
        }
    }

    pub(super) fn on_announce(&mut self, id: PeerId, op: Outlined, made: Time) {
        let (now, dot, outline) = (self.now.monotonic, op.op.dot, op.outline);
        if !is_sound(outline) || op.with(&Value::new(&[])).is_none() {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !self.is_fresh(id, &op.op, made, self.rules.interruptions_taint_announced()) {
            return;
        }
        if !self.is_ours(op.op.deps.counter(self.membership.incarnation())) {
            return self.drop_from(id, DropReason::Invalid);
        }
        if !self.rules.applies_only_whole() {
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
        let announced = &mut self.fetches.announced;
        if announced.len() >= ANNOUNCED_MAX && !announced.contains_key(&dot) {
            return self.drop_from(id, DropReason::CausalBufferFull);
        }
        if dot.counter == self.data.context().counter(dot.incarnation) + 1 {
            self.peer(id).inbound.advanced = Some(now);
        }
        self.fetches.announced.insert(dot, Announced { op, from: id });
        self.fetch(dot, outline, id);
    }

    /// The value is needed: takes it from what is here, or asks for it.
    pub(super) fn fetch(&mut self, dot: Dot, outline: Outline, from: PeerId) {
        if self.pieces.whole(dot, outline).is_some() {
            return self.have(dot, outline);
        }
        let (now, timeout) = (self.now.monotonic, self.piece_timeout(from));
        let known = self.fetches.fetches.get(&dot);
        // Another peer may be about to bring it.
        let moves = |fetch: &Fetch| fetch.outline == outline && now.since(fetch.moved) < timeout;
        if known.is_none_or(|known| !moves(known)) {
            let held = self.pieces.held(dot, outline);
            self.pieces.drop_ahead(dot);
            self.fetches.fetches.insert(dot, Fetch { outline, from, next: held, reached: held, moved: now });
            let from = self.peers[from.0].address.clone();
            self.effects.emit(Event::Fetching { from, dot, held });
        }
        self.ask_for_pieces(from);
    }

    /// Asks for what comes next, as far as the window reaches.
    fn ask_for_pieces(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let piece = u64::from(self.piece_bytes());
        for _ in 0..ASKED_MAX {
            let Some(dot) = self.next_to_ask(id) else { return };
            let Some(fetch) = self.fetches.fetches.get_mut(&dot) else { return };
            let asked = &mut self.peers[id.0].asked;
            asked.window = asked.window.max(2 * piece);
            let ahead = fetch.next.saturating_sub(self.pieces.held(dot, fetch.outline));
            if asked.bytes.max(ahead) + piece > asked.window {
                return;
            }
            let bytes = piece.min(fetch.outline.bytes - fetch.next) as u32;
            let offset = fetch.next;
            fetch.next += u64::from(bytes);
            let again = offset < fetch.reached;
            fetch.reached = fetch.reached.max(fetch.next);
            if asked.pieces.is_empty() {
                asked.moved = now;
            }
            asked.pieces.push_back(Piece { dot, offset, bytes, at: now, again });
            asked.bytes += u64::from(bytes);
            self.send(id, Body::Want { dot, offset, bytes });
        }
    }

    /// The value of which a piece is asked for next: the one that a pull waits for, then in order.
    fn next_to_ask(&self, id: PeerId) -> Option<Dot> {
        let fetches = &self.fetches.fetches;
        let lacks =
            |dot: &Dot| fetches.get(dot).is_some_and(|fetch| fetch.from == id && fetch.next < fetch.outline.bytes);
        let awaited = self.pulls.awaited().map(|(dot, _)| dot);
        awaited.filter(|dot| lacks(dot)).or_else(|| fetches.keys().copied().find(|dot| lacks(dot)))
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
        let serving = self.peers[id.0].serving.as_ref().and_then(|serving| serving.large.as_ref());
        let served = serving.filter(|(served, _)| *served == dot).map(|(_, value)| value.clone());
        let own = || match &self.data.log().own(dot.counter).filter(|own| own.op.dot == dot)?.op.effect {
            Effect::Put { value, .. } => Some(value.clone()),
            Effect::Delete { .. } | Effect::Erase { .. } | Effect::Retire { .. } => None,
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
        let fits = |fetch: &&mut Fetch| fetch.from == id && offset.saturating_add(bytes) <= fetch.outline.bytes;
        let Some(fetch) = self.fetches.fetches.get_mut(&dot).filter(fits) else {
            self.drop_from(id, DropReason::OtherPull);
            return self.ask_for_pieces(id);
        };
        let outline = fetch.outline;
        fetch.moved = now;
        if asked.is_some_and(|asked| u64::from(asked.bytes) != bytes) {
            if bytes > 0 {
                self.drop_from(id, DropReason::Invalid);
            }
            // It cannot give the value any more: the log was cut.
            self.give_up(dot);
            return self.ask_for_pieces(id);
        }
        // What was asked for too long ago is welcome all the same where it is the next.
        if asked.is_none() && (bytes == 0 || offset > self.pieces.held(dot, outline)) {
            return self.drop_from(id, DropReason::OtherPull);
        }
        let added = self.pieces.add(dot, outline, offset, piece);
        fetch.next = fetch.next.max(self.pieces.held(dot, outline));
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
        if is_next && self.fetches.announced.contains_key(&dot) {
            self.peer(id).inbound.advanced = Some(now);
        }
    }

    /// The value is here: what waits for it goes on.
    fn have(&mut self, dot: Dot, outline: Outline) {
        self.fetches.fetches.remove(&dot);
        let Some(value) = self.pieces.whole(dot, outline).cloned() else { return };
        if self.pulls.awaited().is_none_or(|(awaited, _)| awaited != dot) {
            self.pieces.remove(dot); // it counts once, with the operation
        }
        if let Some(Announced { op, from }) = self.fetches.announced.remove(&dot) {
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
        self.fetches.fetches.remove(&dot);
        self.fetches.announced.remove(&dot);
        if self.pulls.awaited().is_some_and(|(awaited, _)| awaited == dot) {
            self.end_pull(false);
        }
    }

    /// What is kept of values stays within its limit. What no fetch asks for goes first, and never what a pull waits
    /// for.
    fn bound_pieces(&mut self) {
        while self.pieces.bytes() > self.config.pieces_bytes_max {
            let awaited = self.pulls.awaited().map(|(dot, _)| dot);
            let rank =
                |dot: Dot| u8::from(self.fetches.fetches.contains_key(&dot)) + 2 * u8::from(awaited == Some(dot));
            let Some(dot) = self.pieces.least(rank) else { return };
            self.pieces.remove(dot);
            if self.fetches.fetches.contains_key(&dot) {
                self.give_up(dot);
            }
        }
    }

    /// There is no room: what was announced comes by repair. What a pull waits for stays.
    pub(super) fn drop_announced(&mut self) {
        let awaited = self.pulls.awaited().map(|(dot, _)| dot);
        self.fetches.announced.clear();
        self.fetches.fetches.retain(|&dot, _| Some(dot) == awaited);
        self.pieces.keep_only(awaited);
    }

    /// Coverage moved: what is covered by now is not waited for.
    pub(super) fn settle_pieces(&mut self) {
        self.pieces.drop_covered(self.data.context());
        let (context, Fetches { fetches, announced }) = (self.data.context(), &mut self.fetches);
        if !fetches.is_empty() || !announced.is_empty() {
            fetches.retain(|&dot, _| !context.covers(dot));
            announced.retain(|&dot, _| !context.covers(dot));
        }
        if self.pulls.awaited().is_some_and(|(dot, _)| self.data.context().covers(dot)) {
            self.go_on_with_large();
        }
    }

    /// The link ended: what was announced over it is no news, and what was asked for does not come. The pieces stay.
    pub(super) fn forget_asked(&mut self, id: PeerId) {
        self.peer(id).asked = Asked::default();
        self.fetches.fetches.retain(|_, fetch| fetch.from != id);
        if self.rules.drops_causal_buffer_with_link() {
            self.fetches.announced.retain(|_, announced| announced.from != id);
        }
        if !self.rules.keeps_pieces() {
            self.pieces.clear();
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
        if self.peers[id.0].asked.timeout(timeout) > now {
            return;
        }
        self.peer(id).asked.give_up();
        let of_peer = self.fetches.fetches.iter().filter(|(_, fetch)| fetch.from == id);
        let (lost, kept): (Vec<_>, Vec<_>) = of_peer
            .map(|(&dot, fetch)| (dot, fetch.moved))
            .partition(|&(_, moved)| now.since(moved) >= timeout.times(TRIES));
        for (dot, _) in kept {
            self.pieces.drop_ahead(dot);
            if let Some(fetch) = self.fetches.fetches.get_mut(&dot) {
                fetch.next = self.pieces.held(dot, fetch.outline);
            }
        }
        lost.into_iter().for_each(|(dot, _)| self.give_up(dot));
        self.ask_for_pieces(id);
    }

    /// When this peer is asked again.
    pub(super) fn pieces_timeout(&self, peer: &Peer) -> Time {
        peer.asked.timeout(peer.piece_timeout(self.config.pull_timeout))
    }

    fn piece_timeout(&self, id: PeerId) -> Micros {
        self.peers[id.0].piece_timeout(self.config.pull_timeout)
    }

    /// Bytes of values that are not whole, or not needed yet.
    #[must_use]
    pub const fn pieces_bytes(&self) -> usize {
        self.pieces.bytes()
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_pieces(&self) {
        self.pieces.check_invariants();
        let one = self.pieces.least(|_| 0).is_none();
        assert!(one || self.pieces.bytes() <= self.config.pieces_bytes_max, "pieces beyond their limit");
        assert!(self.fetches.announced.len() <= ANNOUNCED_MAX, "too many announced operations");
        let dots = self.fetches.announced.keys().chain(self.fetches.fetches.keys());
        assert!(dots.into_iter().all(|&dot| !self.data.context().covers(dot)), "a covered value is waited for");
        for peer in &self.peers {
            let longest = self.config.pull_timeout.times(1 << TIMEOUT_DOUBLINGS);
            assert!(peer.round_trip <= longest, "an answer that came after its pull was given up");
            let bytes: u64 = peer.asked.pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
            assert_eq!(bytes, peer.asked.bytes, "bytes asked for");
        }
    }
}

/// Could an honest replica hold such a value?
pub(super) const fn is_sound(outline: Outline) -> bool {
    outline.bytes > 0 && outline.bytes <= VALUE_BYTES_MAX
}
