//! Large values that are asked for piece by piece (PIECE-1 to PIECE-3).
//!
//! Invariants kept here:
//! - No value is asked for, and no announced operation waits, whose dot is covered.
//! - A value is asked for from one peer at a time.
//! - Pieces outlive the fetch that brought them, and stay within one limit unless only one value is left.

use super::asked::{Asked, Piece};
use super::peer::PeerId;
use crate::causal_context::CausalContext;
use crate::data::Value;
use crate::message::{Outline, Outlined};
use crate::op::Op;
use crate::pieces::{Added, Pieces};
use crate::time::{Micros, Time};
use crate::vector::Dot;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Announced operations whose values are not whole; beyond it they come by repair.
const ANNOUNCED_MAX: usize = 256;
/// A value of which nothing came for so many times the timeout is given up.
const TRIES: u64 = 4;

/// Values that arrive in pieces.
#[derive(Debug, Clone)]
pub(super) struct Fetches {
    pieces: Pieces,
    pieces_bytes_max: usize,
    /// Whose value is asked for.
    fetches: BTreeMap<Dot, Fetch>,
    /// Pushed operations that wait for their values.
    announced: BTreeMap<Dot, Announced>,
    /// The last own operation that was announced, ready for all peers.
    outlined: Option<Outlined>,
}

#[derive(Debug, Clone)]
struct Fetch {
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
    pub(super) op: Outlined,
    pub(super) from: PeerId,
}

impl Fetches {
    pub(super) fn new(pieces_bytes_max: usize) -> Self {
        Self {
            pieces: Pieces::default(),
            pieces_bytes_max,
            fetches: BTreeMap::new(),
            announced: BTreeMap::new(),
            outlined: None,
        }
    }

    /// Bytes of values that are not whole, or not needed yet.
    #[inline]
    pub(super) const fn bytes(&self) -> usize {
        self.pieces.bytes()
    }

    /// How an own operation is announced. It goes to all peers in a row, and reading all of a value takes a while.
    pub(super) fn outline(&mut self, op: &Op) -> Option<Outlined> {
        if self.outlined.as_ref().is_none_or(|known| known.op.dot != op.dot) {
            self.outlined = Outlined::of(op);
        }
        self.outlined.clone()
    }

    pub(super) fn has_room_for(&self, announced: Dot) -> bool {
        self.announced.len() < ANNOUNCED_MAX || self.is_announced(announced)
    }

    /// An operation waits for its value.
    pub(super) fn announce(&mut self, dot: Dot, announced: Announced) {
        assert!(self.has_room_for(dot), "{ANNOUNCED_MAX} announced operations and another");
        self.announced.insert(dot, announced);
    }

    pub(super) fn is_announced(&self, dot: Dot) -> bool {
        self.announced.contains_key(&dot)
    }

    pub(super) fn take_announced(&mut self, dot: Dot) -> Option<Announced> {
        self.announced.remove(&dot)
    }

    /// The value, if all of it is here.
    pub(super) fn whole(&self, dot: Dot, outline: Outline) -> Option<Value> {
        self.pieces.whole(dot, outline).cloned()
    }

    /// Asks this peer for a value from now on, unless another may be about to bring it. Returns how much of it is here.
    pub(super) fn begin(
        &mut self,
        (dot, outline): (Dot, Outline),
        from: PeerId,
        now: Time,
        timeout: Micros,
    ) -> Option<u64> {
        let moves = |fetch: &Fetch| fetch.outline == outline && now.since(fetch.moved) < timeout;
        if self.fetches.get(&dot).is_some_and(moves) {
            return None;
        }
        let held = self.pieces.held(dot, outline);
        assert!(held <= outline.bytes, "more of {dot} is here than there is");
        self.pieces.drop_ahead(dot);
        self.fetches.insert(dot, Fetch { outline, from, next: held, reached: held, moved: now });
        Some(held)
    }

    /// Asks a peer for what comes next, as far as the window reaches: the value that a pull waits for, then in order.
    /// Returns the value, where in it, and how many bytes.
    pub(super) fn ask(
        &mut self,
        (id, asked): (PeerId, &mut Asked),
        awaited: Option<Dot>,
        piece_bytes: u32,
        now: Time,
    ) -> Option<(Dot, u64, u32)> {
        let lacks =
            |dot: &Dot| self.fetches.get(dot).is_some_and(|fetch| fetch.from == id && fetch.next < fetch.outline.bytes);
        let next = awaited.filter(lacks).or_else(|| self.fetches.keys().copied().find(lacks));
        let (dot, piece) = (next?, u64::from(piece_bytes));
        let fetch = self.fetches.get_mut(&dot)?;
        let ahead = fetch.next.saturating_sub(self.pieces.held(dot, fetch.outline));
        asked.open(2 * piece);
        if !asked.has_room(ahead, piece) {
            return None;
        }
        let (offset, bytes) = (fetch.next, piece.min(fetch.outline.bytes - fetch.next) as u32);
        fetch.next += u64::from(bytes);
        let again = offset < fetch.reached;
        fetch.reached = fetch.reached.max(fetch.next);
        assert!(fetch.reached <= fetch.outline.bytes, "more of {dot:?} is asked for than there is");
        asked.push(Piece { dot, offset, bytes, at: now, again });
        Some((dot, offset, bytes))
    }

    /// A piece of this value came from a peer. Returns the outline of the value, if it is fetched from there.
    pub(super) fn on_piece(&mut self, (dot, from): (Dot, PeerId), end: u64, now: Time) -> Option<Outline> {
        let fits = |fetch: &&mut Fetch| fetch.from == from && end <= fetch.outline.bytes;
        let fetch = self.fetches.get_mut(&dot).filter(fits)?;
        fetch.moved = now;
        Some(fetch.outline)
    }

    /// Is all before this place of the value here?
    pub(super) fn is_next(&self, dot: Dot, outline: Outline, offset: u64) -> bool {
        offset <= self.pieces.held(dot, outline)
    }

    /// Keeps a piece.
    pub(super) fn add(&mut self, dot: Dot, outline: Outline, offset: u64, piece: &Value) -> Added {
        let added = self.pieces.add(dot, outline, offset, piece);
        if let Some(fetch) = self.fetches.get_mut(&dot) {
            fetch.next = fetch.next.max(self.pieces.held(dot, outline));
        }
        added
    }

    /// The value is asked for no longer.
    pub(super) fn end(&mut self, dot: Dot) {
        self.fetches.remove(&dot);
    }

    /// The value cannot be had: what was announced with it does not wait for it.
    pub(super) fn give_up(&mut self, dot: Dot) {
        self.fetches.remove(&dot);
        self.announced.remove(&dot);
    }

    /// Forgets the pieces of a value.
    pub(super) fn forget_pieces(&mut self, dot: Dot) {
        self.pieces.remove(dot);
    }

    /// Forgets what is kept of values beyond the limit. What no fetch asks for goes first, and never what a pull waits
    /// for. Returns a value that is asked for and went; the rest is left to the next call.
    pub(super) fn shed(&mut self, awaited: Option<Dot>) -> Option<Dot> {
        while self.pieces.bytes() > self.pieces_bytes_max {
            let rank = |dot: Dot| u8::from(self.fetches.contains_key(&dot)) + 2 * u8::from(awaited == Some(dot));
            let dot = self.pieces.least(rank)?;
            self.pieces.remove(dot);
            if self.fetches.contains_key(&dot) {
                return Some(dot);
            }
        }
        None
    }

    /// There is no room: what was announced comes by repair. What a pull waits for stays.
    pub(super) fn drop_announced(&mut self, awaited: Option<Dot>) {
        self.announced.clear();
        self.fetches.retain(|&dot, _| Some(dot) == awaited);
        self.pieces.keep_only(awaited);
    }

    /// Coverage moved: what is covered by now is not waited for.
    pub(super) fn drop_covered(&mut self, context: &CausalContext) {
        self.pieces.drop_covered(context);
        if !self.fetches.is_empty() || !self.announced.is_empty() {
            self.fetches.retain(|&dot, _| !context.covers(dot));
            self.announced.retain(|&dot, _| !context.covers(dot));
        }
    }

    /// The link to this peer ended: what was asked for does not come, and what was announced comes by repair. The pieces
    /// stay.
    pub(super) fn on_unlinked(&mut self, id: PeerId, drops_announced: bool) {
        self.fetches.retain(|_, fetch| fetch.from != id);
        if drops_announced {
            self.announced.retain(|_, announced| announced.from != id);
        }
    }

    /// Only for the mutant that keeps no pieces when a link ends.
    pub(super) fn forget_all_pieces(&mut self) {
        self.pieces.clear();
    }

    /// What this peer was asked for did not come, and is asked for again. Returns values of which nothing came for too
    /// long.
    pub(super) fn ask_again(&mut self, id: PeerId, now: Time, timeout: Micros) -> Vec<Dot> {
        let mut lost = Vec::new();
        for (&dot, fetch) in self.fetches.iter_mut().filter(|(_, fetch)| fetch.from == id) {
            if now.since(fetch.moved) >= timeout.times(TRIES) {
                lost.push(dot);
            } else {
                self.pieces.drop_ahead(dot);
                fetch.next = self.pieces.held(dot, fetch.outline);
            }
        }
        lost
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self, context: &CausalContext) {
        self.pieces.check_invariants();
        let one = self.pieces.least(|_| 0).is_none();
        assert!(one || self.pieces.bytes() <= self.pieces_bytes_max, "pieces beyond their limit");
        assert!(self.announced.len() <= ANNOUNCED_MAX, "too many announced operations");
        let mut dots = self.announced.keys().chain(self.fetches.keys());
        assert!(dots.all(|&dot| !context.covers(dot)), "a covered value is waited for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;
    use alloc::vec;

    const PIECE: u32 = 100;
    const TIMEOUT: Micros = Micros::from_seconds(1);
    const PEER: PeerId = PeerId(1);

    fn value(bytes: usize) -> (Value, Outline) {
        let value = Value::new(&vec![7; bytes]);
        let outline = Outline::of(&value);
        (value, outline)
    }

    fn dot(counter: u64) -> Dot {
        Dot { incarnation: Incarnation(9), counter }
    }

    #[test]
    fn what_a_pull_waits_for_is_asked_for_first() {
        let (mut fetches, mut asked) = (Fetches::new(usize::MAX), Asked::default());
        let (_, outline) = value(250);
        for counter in [1, 2] {
            assert_eq!(fetches.begin((dot(counter), outline), PEER, Time(0), TIMEOUT), Some(0));
        }
        assert_eq!(fetches.ask((PEER, &mut asked), Some(dot(2)), PIECE, Time(0)), Some((dot(2), 0, PIECE)));
        assert_eq!(fetches.ask((PEER, &mut asked), None, PIECE, Time(0)), Some((dot(1), 0, PIECE)));
        assert_eq!(fetches.ask((PEER, &mut asked), None, PIECE, Time(0)), None, "the window is full");
        assert_eq!(fetches.ask((PeerId(0), &mut Asked::default()), None, PIECE, Time(0)), None, "not from there");
    }

    #[test]
    fn another_peer_goes_on_where_one_stopped() {
        let mut fetches = Fetches::new(usize::MAX);
        let (whole, outline) = value(250);
        fetches.begin((dot(1), outline), PEER, Time(0), TIMEOUT);
        let first = Value::new(&whole.as_bytes()[..100]);
        assert_eq!(fetches.on_piece((dot(1), PeerId(2)), 100, Time(5)), None, "it was not asked");
        assert_eq!(fetches.on_piece((dot(1), PEER), 100, Time(5)), Some(outline));
        assert!(matches!(fetches.add(dot(1), outline, 0, &first), Added::More));
        assert_eq!(
            fetches.begin((dot(1), outline), PeerId(2), Time(6), TIMEOUT),
            None,
            "the first one still brings it"
        );
        fetches.on_unlinked(PEER, true);
        assert_eq!(fetches.begin((dot(1), outline), PeerId(2), Time(6), TIMEOUT), Some(100), "the pieces stay");
        let rest = Value::new(&whole.as_bytes()[100..]);
        assert!(matches!(fetches.add(dot(1), outline, 100, &rest), Added::Whole));
        assert_eq!(fetches.whole(dot(1), outline), Some(whole));
    }

    #[test]
    fn what_does_not_come_is_asked_for_again_and_then_given_up() {
        let (mut fetches, mut asked) = (Fetches::new(usize::MAX), Asked::default());
        let (_, outline) = value(250);
        fetches.begin((dot(1), outline), PEER, Time(0), TIMEOUT);
        fetches.ask((PEER, &mut asked), None, PIECE, Time(0));
        assert_eq!(fetches.ask_again(PEER, Time(0) + TIMEOUT, TIMEOUT), []);
        assert_eq!(fetches.ask((PEER, &mut asked), None, PIECE, Time(0)), Some((dot(1), 0, PIECE)));
        assert_eq!(fetches.ask_again(PEER, Time(0) + TIMEOUT.times(TRIES), TIMEOUT), [dot(1)]);
    }

    #[test]
    fn the_limit_spares_what_a_pull_waits_for() {
        let mut fetches = Fetches::new(300);
        let (whole, outline) = value(250);
        for counter in [1, 2, 3] {
            fetches.begin((dot(counter), outline), PEER, Time(0), TIMEOUT);
            fetches.add(dot(counter), outline, 0, &Value::new(&whole.as_bytes()[..100]));
        }
        fetches.end(dot(3));
        assert_eq!(fetches.shed(Some(dot(1))), Some(dot(2)), "3 went first, 1 stays");
        fetches.give_up(dot(2));
        assert!(fetches.shed(Some(dot(1))).is_none() && (1..=300).contains(&fetches.bytes()));
        fetches.check_invariants(&CausalContext::default());
    }
}
