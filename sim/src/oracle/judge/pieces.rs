//! Pieces that arrived need not come again: a replica that goes on fetching a value goes on where it was (INV-10).

use super::Judge;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use hence_core::Dot;
use std::collections::BTreeMap;

/// What replicas hold of values that are not whole.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// Nothing has to make room: every value that a run can write fits into the limit for pieces.
    roomy: bool,
    /// Per replica, the bytes from the beginning of a value that arrived there in order; none once a piece overtook another.
    held: Vec<BTreeMap<Dot, Option<u64>>>,
}

impl Prefixes {
    pub(super) fn new(replicas: usize) -> Self {
        Self { roomy: false, held: vec![BTreeMap::new(); replicas] }
    }

    /// Another process has none of them.
    pub(super) fn forget(&mut self, replica: usize) {
        self.held[replica].clear();
    }
}

impl Judge {
    /// Values of a run have so many bytes in all, and pieces may have so many.
    pub fn limit_pieces(&mut self, written: u64, most: u64) {
        self.prefixes.roomy = written <= most;
    }

    /// A piece of this write's value arrived, and was taken in unless the replica dropped something in that step.
    pub fn on_piece(&mut self, replica: usize, dot: Dot, offset: u64, bytes: u64, dropped: bool) {
        if !self.prefixes.roomy || self.copied.is_so() {
            return;
        }
        let number = self.truth.number(dot);
        let changes = number.map(|number| &self.truth.writes[number as usize].changes);
        let whole = changes.and_then(|changes| changes.first()?.value.as_ref());
        let whole = whole.map_or(0, |value| value.as_bytes().len() as u64);
        let held = &mut self.prefixes.held[replica];
        let Some(before) = held.get(&dot).copied().unwrap_or(Some(0)) else { return };
        if offset > before {
            held.insert(dot, None);
        } else if offset + bytes >= whole {
            held.remove(&dot); // it is handed on at once, and may be dropped there
        } else if !dropped {
            held.insert(dot, Some(before.max(offset + bytes)));
        }
    }

    /// A replica begins, or goes on, to fetch a value of which it says it holds so much.
    pub fn on_fetching(&mut self, replica: usize, dot: Dot, held: u64) {
        if !self.prefixes.roomy || self.copied.is_so() {
            return;
        }
        let arrived = self.prefixes.held[replica].insert(dot, Some(held)).flatten().unwrap_or(0);
        if held < arrived {
            self.fail(Invariant::Bounds, Sign::PiecesAgain, Some(replica), || {
                format!("fetches the value of {dot} from byte {held} on, though {arrived} had arrived")
            });
        }
    }
}
