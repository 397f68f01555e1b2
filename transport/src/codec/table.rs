//! The incarnations that a frame mentions, in the order in which it first does.
//!
//! Invariant kept here: no incarnation twice, so a reference is the only one for its incarnation.

use hence_core::Incarnation;
use std::collections::BTreeMap;

/// Up to so many places a scan is faster than an index.
const SCAN_MAX: usize = 24;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: Vec<Incarnation>,
    /// Where each is, kept only while there are more than [`SCAN_MAX`].
    index: BTreeMap<Incarnation, usize>,
}

impl Table {
    /// The place of this incarnation.
    pub(super) fn find(&self, incarnation: Incarnation) -> Option<usize> {
        if self.index.is_empty() {
            self.places.iter().position(|&place| place == incarnation)
        } else {
            self.index.get(&incarnation).copied()
        }
    }

    /// The incarnation at this place.
    pub(super) fn at(&self, place: usize) -> Option<Incarnation> {
        self.places.get(place).copied()
    }

    /// Appends one that is not there.
    pub(super) fn push(&mut self, incarnation: Incarnation) {
        let place = self.places.len();
        self.places.push(incarnation);
        if !self.index.is_empty() {
            self.index.insert(incarnation, place);
        } else if self.places.len() > SCAN_MAX {
            self.index = self.places.iter().enumerate().map(|(place, &incarnation)| (incarnation, place)).collect();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Keeps the first `len` places.
    pub(super) fn truncate(&mut self, len: usize) {
        self.places.truncate(len);
        if self.places.len() <= SCAN_MAX {
            self.index.clear();
        } else {
            self.index.retain(|_, place| *place < len);
        }
    }
}
