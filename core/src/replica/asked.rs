//! Pieces of values that were asked for from one peer, and how many may be on their way (PIECE-1).

use crate::time::{Micros, Time};
use crate::vector::Dot;
use alloc::collections::VecDeque;

/// The window opens while pieces take up to so much longer than the fastest. It closes where the delay is more than
/// three times that: then they wait behind each other on a slow link.
const QUEUED: Micros = Micros::from_millis(50);
/// The timeout is doubled so many times at most.
const REPEATS_MAX: u32 = 6;

/// The pieces that were asked for from one peer.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pieces: VecDeque<Piece>,
    /// Their bytes.
    bytes: u64,
    /// When something was last asked for or came.
    moved: Time,
    /// How many bytes may be on their way.
    window: u64,
    /// The shortest time that a piece took.
    least: Option<Micros>,
    /// How many times in a row pieces were asked for again. Each doubles the timeout, as TCP does (RFC 6298, section
    /// 5).
    repeats: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) dot: Dot,
    pub(super) offset: u64,
    pub(super) bytes: u32,
    pub(super) at: Time,
    /// It was asked for before: what comes may be the answer to that (Karn and Partridge 1987).
    pub(super) again: bool,
}

impl Asked {
    /// At least so much may be on its way.
    pub(super) fn open(&mut self, bytes: u64) {
        self.window = self.window.max(bytes);
    }

    /// Is nothing asked for?
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.pieces.is_empty()
    }

    /// May so many bytes be asked for, where so many are asked for ahead of the first that is missing?
    pub(super) fn has_room(&self, ahead: u64, bytes: u64) -> bool {
        self.bytes.max(ahead) + bytes <= self.window
    }

    /// A piece is asked for.
    pub(super) fn push(&mut self, piece: Piece) {
        if self.pieces.is_empty() {
            self.moved = piece.at;
        }
        self.bytes += u64::from(piece.bytes);
        assert!(piece.bytes > 0 && self.bytes <= self.window, "{} bytes in a window of {}", self.bytes, self.window);
        self.pieces.push_back(piece);
    }

    /// A piece came.
    pub(super) fn learn(&mut self, piece: Piece, now: Time, most: u64) {
        if piece.again {
            return;
        }
        self.repeats = 0;
        let (took, bytes) = (now.since(piece.at), piece.bytes);
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        let queued = took.saturating_sub(least);
        if queued <= QUEUED {
            self.window = (self.window + u64::from(bytes)).min(most);
        } else if queued > QUEUED.times(3) {
            self.window = self.window.saturating_sub(u64::from(bytes));
        }
    }

    /// Takes out the piece of this value that begins there.
    pub(super) fn take(&mut self, dot: Dot, offset: u64) -> Option<Piece> {
        let at = self.pieces.iter().position(|piece| piece.dot == dot && piece.offset == offset)?;
        let piece = self.pieces.remove(at)?;
        self.bytes -= u64::from(piece.bytes);
        assert_eq!(self.pieces.is_empty(), self.bytes == 0, "{} pieces of {} bytes", self.pieces.len(), self.bytes);
        Some(piece)
    }

    /// Bytes of a message arrived that may be a piece.
    pub(super) fn moves(&mut self, now: Time) {
        self.moved = now;
    }

    /// What was asked for did not come. It may be lost, or wait on a slow link behind more of its kind: so fewer are
    /// asked for, and later.
    pub(super) fn give_up(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.window = 0;
        self.repeats = (self.repeats + 1).min(REPEATS_MAX);
    }

    /// What was asked for is lost if nothing comes by then.
    pub(super) fn suspect_loss(&mut self, soon: Time, after: Micros) {
        if self.timeout(after) > soon {
            self.moved = Time(soon.0.saturating_sub(self.after(after).0));
        }
    }

    pub(super) fn timeout(&self, after: Micros) -> Time {
        if self.pieces.is_empty() { Time::NEVER } else { self.moved + self.after(after) }
    }

    fn after(&self, after: Micros) -> Micros {
        after.times(1 << self.repeats)
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        let bytes: u64 = self.pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
        assert_eq!(bytes, self.bytes, "bytes asked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;

    fn piece(offset: u64, at: u64, again: bool) -> Piece {
        let dot = Dot { incarnation: Incarnation(1), counter: 1 };
        Piece { dot, offset, bytes: 100, at: Time(at), again }
    }

    #[test]
    fn the_window_follows_the_delay() {
        let mut asked = Asked::default();
        asked.open(200);
        assert!(asked.has_room(0, 200) && !asked.has_room(150, 100));
        asked.learn(piece(0, 0, false), Time(1_000), u64::MAX);
        assert!(asked.has_room(0, 300), "nothing waits: the window opens");
        asked.learn(piece(100, 0, false), Time(0) + QUEUED.times(5), u64::MAX);
        assert!(!asked.has_room(0, 300), "pieces wait behind each other");
        asked.learn(piece(200, 0, true), Time(1_000), u64::MAX);
        assert!(!asked.has_room(0, 300), "an answer to what was asked twice says nothing");
    }

    #[test]
    fn what_is_asked_again_is_waited_for_twice_as_long() {
        let (mut asked, after) = (Asked::default(), Micros(1_000));
        assert_eq!(asked.timeout(after), Time::NEVER);
        asked.open(1_000);
        asked.push(piece(0, 50, false));
        assert_eq!(asked.timeout(after), Time(1_050));
        asked.give_up();
        asked.open(1_000);
        asked.push(piece(0, 5_000, true));
        assert_eq!(asked.timeout(after), Time(7_000));
        asked.suspect_loss(Time(5_100), after);
        assert_eq!(asked.timeout(after), Time(5_100));
        let taken = asked.take(piece(0, 0, true).dot, 0).expect("it was asked for");
        asked.learn(Piece { again: false, ..taken }, Time(5_060), u64::MAX);
        asked.open(1_000);
        asked.push(piece(0, 5_060, false));
        assert_eq!(asked.timeout(after), Time(6_060), "an answer ends the doubling");
        asked.check_invariants();
    }
}
