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
    pub(super) pieces: VecDeque<Piece>,
    pub(super) bytes: u64,
    /// When something was last asked for or came.
    pub(super) moved: Time,
    pub(super) window: u64,
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
}
