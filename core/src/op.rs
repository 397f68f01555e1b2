//! An operation: one write event as it travels and as the log keeps it.

use crate::data::{Key, Value};
use crate::hlc::Hlc;
use crate::vector::{Dot, VersionVector};
use alloc::vec::Vec;

/// What an operation does to its key, besides removing the versions it supersedes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Adds a version with this value.
    Put(Value),
    /// Adds nothing: an observed-remove delete.
    Delete,
}

/// One write event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Its name.
    pub dot: Dot,
    /// Its stamp, above those of all its causes.
    pub hlc: Hlc,
    /// The key it writes.
    pub key: Key,
    /// What it does there.
    pub effect: Effect,
    /// The versions it removes: all that its replica showed.
    pub superseded: Vec<Dot>,
    /// What must be applied before it, as far as the previous operation of the same incarnation does not
    /// imply it. Since an operation is applied only right after that one, the rest needs no saying.
    pub deps: VersionVector,
}

impl Op {
    /// Is it a delete?
    #[must_use]
    pub const fn is_delete(&self) -> bool {
        matches!(self.effect, Effect::Delete)
    }

    /// What it counts for against limits that are given in bytes: its data and 64 bytes of bookkeeping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let value = match &self.effect {
            Effect::Put(value) => value.as_bytes().len(),
            Effect::Delete => 0,
        };
        64 + self.key.as_str().len() + value + 16 * (self.superseded.len() + self.deps.len())
    }
}
