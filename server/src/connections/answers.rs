//! What answers hold while clients take them.
//!
//! A large value is not copied into its answer. As long as the replica has it, too, a client that reads slowly costs
//! nothing. Once the value was replaced or deleted, only answers hold it. Answers that were composed for one client are
//! held by nothing else from the start. Both share the room of requests' bodies, which go first. Where there is too
//! little, clients lose their connections: those first that have been taking such answers for longest.

use bytes::Bytes;
use hence_core::Value;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// Pieces of answers up to this size are part of what any connection takes.
pub(crate) const PIECE_BYTES_MIN: usize = 4 << 10;

/// A large piece of an answer. It lives until the kernel has its last byte, or its connection ends.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A value as the replica has or had it.
    Shared(Value),
    /// What was composed for this answer.
    Own(Vec<u8>),
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Shared(value) => value.as_bytes(),
            Self::Own(bytes) => bytes,
        }
    }
}

struct Sent(Arc<Piece>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// A piece as it is sent, and how to see later whether it still is.
pub(crate) fn piece(piece: Piece) -> (Bytes, Weak<Piece>) {
    let piece = Arc::new(piece);
    let seen = Arc::downgrade(&piece);
    (Bytes::from_owner(Sent(piece)), seen)
}

/// The large pieces that one connection sends, each with its place in the order of all.
#[derive(Debug, Default)]
pub(super) struct Sending(RefCell<Vec<(u64, Weak<Piece>)>>);

/// What is known of the answers of all connections.
#[derive(Debug, Default)]
pub(super) struct Answers {
    next: Cell<u64>,
    /// Large pieces hold at most so many bytes.
    bytes_max: Cell<usize>,
    /// So many operations had been applied when the pieces were last looked at; none if pieces were added since.
    applied: Cell<Option<u64>>,
    /// Connections that were ended to make room.
    ended: Cell<u64>,
}

impl Answers {
    /// These pieces are to be sent, by the connection that sends those.
    pub(super) fn add(&self, pieces: Vec<Weak<Piece>>, sending: &Sending) {
        let mut sending = sending.0.borrow_mut();
        sending.retain(|(_, piece)| piece.strong_count() > 0);
        for piece in pieces {
            let order = self.next.get();
            self.next.set(order + 1);
            let bytes = piece.upgrade().map_or(0, |piece| (*piece).as_ref().len());
            self.bytes_max.set(self.bytes_max.get().saturating_add(bytes));
            sending.push((order, piece));
        }
        self.applied.set(None);
    }

    /// Did anything change since this was last asked? So many operations have been applied by now.
    pub(super) fn changed(&self, applied: u64) -> bool {
        self.applied.replace(Some(applied)) != Some(applied)
    }

    /// Is it certain that so much is not held?
    pub(super) const fn fit(&self, room: usize) -> bool {
        self.bytes_max.get() <= room
    }

    /// The connections to be ended, so that what only answers hold fits into the room; and what that frees.
    pub(super) fn to_end<'a>(
        &self,
        all: impl Iterator<Item = (u64, &'a Sending)>,
        room: usize,
    ) -> (HashSet<u64>, usize) {
        let mut look = Look::at(all);
        let before = look.only_here;
        let mut ended = HashSet::new();
        for (_, id, piece) in std::mem::take(&mut look.pieces) {
            if (look.only_here > room || ended.contains(&id)) && look.release(&piece) {
                ended.insert(id);
            }
        }
        let freed = before - look.only_here;
        self.bytes_max.set(look.bytes - freed);
        self.ended.set(self.ended.get() + ended.len() as u64);
        (ended, freed)
    }

    /// Bytes that only answers hold, and connections that were ended to make room so far.
    pub(super) fn figures<'a>(&self, all: impl Iterator<Item = (u64, &'a Sending)>) -> (usize, u64) {
        (Look::at(all).only_here, self.ended.get())
    }
}

/// All large pieces of answers, at one moment.
#[derive(Debug, Default)]
struct Look {
    /// Bytes of all, each value once.
    bytes: usize,
    /// Bytes that nothing but answers holds.
    only_here: usize,
    /// The values that nothing but answers holds, by place in memory: their size, and the answers that hold them.
    orphans: HashMap<usize, (usize, usize)>,
    /// Each with its place in the order of all, and the connection that sends it.
    pieces: Vec<(u64, u64, Arc<Piece>)>,
}

fn place(value: &Value) -> usize {
    value.as_bytes().as_ptr() as usize
}

impl Look {
    fn at<'a>(all: impl Iterator<Item = (u64, &'a Sending)>) -> Self {
        let mut look = Self::default();
        for (id, sending) in all {
            let sending = sending.0.borrow();
            look.pieces.extend(sending.iter().filter_map(|(order, piece)| Some((*order, id, piece.upgrade()?))));
        }
        look.pieces.sort_unstable_by_key(|(order, ..)| *order);
        let mut values: HashMap<usize, (&Value, usize)> = HashMap::new();
        for (.., piece) in &look.pieces {
            match &**piece {
                Piece::Own(bytes) => look.only_here += bytes.capacity(),
                Piece::Shared(value) => values.entry(place(value)).or_insert((value, 0)).1 += 1,
            }
        }
        look.bytes = look.only_here;
        for (place, (value, answers)) in values {
            let bytes = value.as_bytes().len();
            look.bytes += bytes;
            if value.holders() == answers {
                look.only_here += bytes;
                look.orphans.insert(place, (bytes, answers));
            }
        }
        look
    }

    /// The connection that sends this piece ends. Says whether the piece counted.
    fn release(&mut self, piece: &Piece) -> bool {
        match piece {
            Piece::Own(bytes) => {
                self.only_here -= bytes.capacity();
                true
            }
            Piece::Shared(value) => self.orphans.get_mut(&place(value)).is_some_and(|(bytes, answers)| {
                *answers -= 1;
                if *answers == 0 {
                    self.only_here -= *bytes;
                }
                true
            }),
        }
    }
}
