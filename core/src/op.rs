//! An operation: one write event as it travels and as the log keeps it (BATCH-1, BATCH-5).

use crate::data::{Key, Value};
use crate::formats::Formats;
use crate::hlc::Hlc;
use crate::identity::Incarnation;
use crate::vector::{Dot, VersionVector};
use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;
use smallvec::SmallVec;

/// Dots of one key. A write mostly supersedes one version, and then they take no allocation of their own.
pub type Dots = SmallVec<[Dot; 1]>;

/// What an operation does, besides removing the versions it supersedes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Adds a version of a key.
    Put {
        /// The key.
        key: Key,
        /// What is written.
        value: Value,
    },
    /// Adds nothing: an observed-remove delete.
    Delete {
        /// The key.
        key: Key,
    },
    /// A delete that the released formats have no word for ([`crate::Formats::TEST`]). It stands in for what the next
    /// format adds. So tests can show that nothing new is used before every member understands it.
    Erase {
        /// The key.
        key: Key,
    },
    /// Touches no key: an incarnation is over, and this operation's dot stands for all of it. See
    /// [`crate::CausalContext`].
    Retire {
        /// The incarnation.
        incarnation: Incarnation,
        /// Its last counter that every member covered; the operation depends on that.
        through: u64,
    },
    /// Changes several keys at once: 2 to [`BATCH_MAX`], sorted by key, none twice. The dots superseded stand with each
    /// change, and [`Op::superseded`] is empty.
    Batch(Box<[KeyChange]>),
}

/// The most operations of one batch. A call can do so many with all that follows from them, so none is ever split.
pub const BATCH_MAX: usize = 64;

/// What a batch does to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The key.
    pub key: Key,
    /// The value that is put; none deletes.
    pub value: Option<Value>,
    /// The versions of this key that it removes.
    pub superseded: Dots,
}

/// What an operation does to one of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: &'a Key,
    /// The value that is put; none deletes.
    pub value: Option<&'a Value>,
    /// The versions of this key that it removes.
    pub superseded: &'a [Dot],
}

/// One write event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Its name.
    pub dot: Dot,
    /// Its stamp, above those of all its causes.
    pub hlc: Hlc,
    /// What it does.
    pub effect: Effect,
    /// The versions it removes: all that its replica showed.
    pub superseded: Dots,
    /// What must be applied before it, as far as the previous operation of the same incarnation does not
    /// imply it. Since an operation is applied only right after that one, the rest needs no saying.
    pub deps: Deps,
}

/// What must be applied before an operation: a vector that takes room only where it says something, which is seldom.
///
/// An operation takes 96 bytes so and not 176. Replicas make, keep and free one for every write. Allocators recycle
/// blocks of the smaller size without merging them with their neighbours in memory.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Deps(Option<Box<VersionVector>>);

static NOTHING: VersionVector = VersionVector::new();

impl From<VersionVector> for Deps {
    fn from(vector: VersionVector) -> Self {
        Self((!vector.is_empty()).then(|| Box::new(vector)))
    }
}

impl Deref for Deps {
    type Target = VersionVector;
    fn deref(&self) -> &VersionVector {
        self.0.as_deref().unwrap_or(&NOTHING)
    }
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Op {
    /// What it does to keys: one change for most operations, several for a batch, none for a retirement.
    #[inline]
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let (single, batch): (_, &[KeyChange]) = match &self.effect {
            Effect::Put { key, value } => (Some((key, Some(value))), &[]),
            Effect::Delete { key } | Effect::Erase { key } => (Some((key, None)), &[]),
            Effect::Retire { .. } => (None, &[]),
            Effect::Batch(changes) => (None, changes),
        };
        let single = single.map(|(key, value)| Change { key, value, superseded: &self.superseded });
        single.into_iter().chain(batch.iter().map(KeyChange::as_change))
    }

    /// The keys that it deletes.
    #[inline]
    pub fn deletes(&self) -> impl Iterator<Item = &Key> {
        let (single, batch): (_, &[KeyChange]) = match &self.effect {
            Effect::Delete { key } | Effect::Erase { key } => (Some(key), &[]),
            Effect::Put { .. } | Effect::Retire { .. } => (None, &[]),
            Effect::Batch(changes) => (None, changes),
        };
        single.into_iter().chain(batch.iter().filter(|change| change.value.is_none()).map(|change| &change.key))
    }

    /// Does it change several keys at once?
    #[must_use]
    #[inline]
    pub const fn is_batch(&self) -> bool {
        matches!(self.effect, Effect::Batch(_))
    }

    /// Units of work to apply, send or drop it: one for each effect.
    #[must_use]
    #[inline]
    pub const fn effects(&self) -> usize {
        match &self.effect {
            Effect::Put { .. } | Effect::Delete { .. } | Effect::Erase { .. } | Effect::Retire { .. } => 1,
            Effect::Batch(changes) => changes.len(),
        }
    }

    /// The oldest format in which it can be said.
    #[must_use]
    #[inline]
    pub const fn format(&self) -> u8 {
        match self.effect {
            Effect::Put { .. } | Effect::Delete { .. } | Effect::Retire { .. } => Formats::RELEASED.lowest,
            Effect::Batch(_) => Formats::BATCH,
            Effect::Erase { .. } => Formats::TEST,
        }
    }

    /// What it counts for against limits that are given in bytes: its data and 64 bytes of bookkeeping for each effect.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data = match &self.effect {
            Effect::Put { key, value } => key.as_str().len() + value.as_bytes().len(),
            Effect::Delete { key } | Effect::Erase { key } => key.as_str().len(),
            Effect::Retire { .. } => 16,
            Effect::Batch(changes) => changes.iter().map(KeyChange::bytes).sum(),
        };
        64 + data + 16 * (self.superseded.len() + self.deps.len())
    }
}

impl KeyChange {
    fn as_change(&self) -> Change<'_> {
        Change { key: &self.key, value: self.value.as_ref(), superseded: &self.superseded }
    }

    fn bytes(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |value| value.as_bytes().len());
        64 + self.key.as_str().len() + value + 16 * self.superseded.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_operation_and_its_counts_fit_a_piece_of_128_bytes() {
        assert_eq!(size_of::<Op>(), 96);
    }
}
