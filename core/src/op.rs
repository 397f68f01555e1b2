//! An operation: one write event as it travels and as the log keeps it.

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
    /// Is it a delete?
    #[must_use]
    pub const fn is_delete(&self) -> bool {
        matches!(self.effect, Effect::Delete { .. } | Effect::Erase { .. })
    }

    /// The key it writes; a retire operation writes none.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        match &self.effect {
            Effect::Put { key, .. } | Effect::Delete { key } | Effect::Erase { key } => Some(key),
            Effect::Retire { .. } => None,
        }
    }

    /// The oldest format in which it can be said.
    #[must_use]
    pub const fn format(&self) -> u8 {
        match self.effect {
            Effect::Put { .. } | Effect::Delete { .. } | Effect::Retire { .. } => Formats::RELEASED.lowest,
            Effect::Erase { .. } => Formats::TEST,
        }
    }

    /// What it counts for against limits that are given in bytes: its data and 64 bytes of bookkeeping.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data = match &self.effect {
            Effect::Put { key, value } => key.as_str().len() + value.as_bytes().len(),
            Effect::Delete { key } | Effect::Erase { key } => key.as_str().len(),
            Effect::Retire { .. } => 16,
        };
        64 + data + 16 * (self.superseded.len() + self.deps.len())
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
