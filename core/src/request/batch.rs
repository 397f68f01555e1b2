//! What a client asks of several keys at once, and what it gets (BATCH-1, BATCH-2).

use super::{Action, Condition, WriteConcern};
use crate::data::Key;
use crate::formats::Formats;
use crate::op::{BATCH_MAX, Dots};
use crate::siblings::Siblings;
use crate::time::Micros;
use crate::vector::{Dot, VersionVector};
use alloc::vec::Vec;
use core::fmt;

/// A request for several keys: all of it happens, or nothing.
///
/// Every read and every precondition looks at the state before the batch's writes, all at one moment.
///
/// ```
/// use hence_core::{Action, BatchOperation, BatchRequest, Condition, Key, Micros, Value, VersionVector};
/// let operation = |key, action| BatchOperation { key: Key::new(key).unwrap(), action, condition: Condition::default() };
/// let operations = vec![operation("a", Action::Get), operation("b", Action::Put(Value::new(b"1")))];
/// let batch = BatchRequest::new(operations, VersionVector::new(), Micros::ZERO).unwrap();
/// assert_eq!(batch.operations().len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRequest {
    operations: Vec<BatchOperation>,
    /// The indices of those that write, sorted by key.
    writes: Vec<u8>,
    /// The client's causal past: the join of all tokens it sent.
    pub past: VersionVector,
    /// How long to wait for missing dependencies instead of a refusal; zero is not at all.
    pub wait: Micros,
    /// Where its write is to be before it is answered; none is here alone. A batch that writes nothing is answered at once.
    pub concern: Option<WriteConcern>,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOperation {
    /// The key.
    pub key: Key,
    /// What to do with it.
    pub action: Action,
    /// When the batch may go ahead, as far as this key decides.
    pub condition: Condition,
}

/// Why operations make no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchError {
    /// There is none.
    Empty,
    /// There are more than [`BATCH_MAX`].
    TooMany,
    /// A key is written that an earlier operation writes.
    KeyTwice {
        /// The later one, counted from zero.
        index: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Batch has no operations"),
            Self::TooMany => write!(f, "Batch has too many operations; at most {BATCH_MAX} are allowed"),
            Self::KeyTwice { .. } => f.write_str("Key is written twice"),
        }
    }
}

impl core::error::Error for BatchError {}

impl BatchRequest {
    /// A batch of these operations, in the order in which they are answered.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn new(operations: Vec<BatchOperation>, past: VersionVector, wait: Micros) -> Result<Self, BatchError> {
        if operations.is_empty() {
            return Err(BatchError::Empty);
        }
        if operations.len() > BATCH_MAX {
            return Err(BatchError::TooMany);
        }
        let mut writes: Vec<u8> =
            (0..).zip(&operations).filter(|(_, one)| one.action.writes()).map(|(at, _)| at).collect();
        let key = |at: &u8| &operations[usize::from(*at)].key;
        // Of one key the earlier comes first.
        writes.sort_by(|one, other| key(one).cmp(key(other)));
        let twice = writes.windows(2).filter(|pair| key(&pair[0]) == key(&pair[1])).map(|pair| pair[1]).min();
        match twice {
            Some(index) => Err(BatchError::KeyTwice { index: index.into() }),
            None => Ok(Self { operations, writes, past, wait, concern: None }),
        }
    }

    /// Its operations: 1 to [`BATCH_MAX`].
    #[must_use]
    pub fn operations(&self) -> &[BatchOperation] {
        &self.operations
    }

    /// The indices of the operations that write, sorted by key.
    pub(crate) fn writes_by_key(&self) -> impl ExactSizeIterator<Item = usize> {
        self.writes.iter().map(|&at| at.into())
    }

    /// The oldest format in which what it asks for can be said to other replicas. A batch that only reads says nothing.
    #[must_use]
    pub fn format(&self) -> u8 {
        if self.writes() { Formats::BATCH } else { Formats::RELEASED.lowest }
    }

    /// Is one of its operations a put or a delete?
    #[must_use]
    pub const fn writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Bytes of the values that it puts.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.operations.iter().map(|operation| operation.action.value_bytes()).sum()
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer {
    /// One for each operation, in the order asked.
    pub outcomes: Vec<Outcome>,
    /// The write event; none if nothing was written.
    pub dot: Option<Dot>,
    /// The client's causal past from now on.
    pub token: VersionVector,
}

/// What became of one operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A read found these versions, winner first; none where the key is absent.
    Read(Siblings),
    /// A put replaced these versions, sorted by dot; none where the key was absent.
    Put(Dots),
    /// A delete removed these versions, sorted by dot; none where the key was absent.
    Deleted(Dots),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Value;
    use alloc::format;
    use std::string::ToString as _;

    fn operation(key: &str, action: Action) -> BatchOperation {
        BatchOperation { key: Key::new(key).expect("a key"), action, condition: Condition::default() }
    }

    fn batch(operations: Vec<BatchOperation>) -> Result<BatchRequest, BatchError> {
        BatchRequest::new(operations, VersionVector::new(), Micros::ZERO)
    }

    #[test]
    fn a_key_is_written_once_and_read_as_often_as_asked() {
        let put = || Action::Put(Value::new(b"1"));
        let twice =
            |second| batch(alloc::vec![operation("a", put()), operation("b", Action::Get), operation("a", second)]);
        assert_eq!(twice(put()), Err(BatchError::KeyTwice { index: 2 }));
        assert_eq!(twice(Action::Delete), Err(BatchError::KeyTwice { index: 2 }));
        assert!(twice(Action::Get).is_ok());
        assert!(batch(alloc::vec![operation("a", Action::Get); 3]).is_ok());
    }

    #[test]
    fn its_length_has_limits() {
        let gets = |count| (0..count).map(|n| operation(&format!("k{n}"), Action::Get)).collect();
        assert_eq!(batch(gets(0)), Err(BatchError::Empty));
        assert!(batch(gets(BATCH_MAX)).is_ok());
        let error = batch(gets(BATCH_MAX + 1)).expect_err("one too many");
        assert_eq!(error.to_string(), "Batch has too many operations; at most 64 are allowed");
    }

    #[test]
    fn only_writes_take_a_format() {
        let format = |action| batch(alloc::vec![operation("a", action)]).expect("a batch").format();
        assert_eq!(format(Action::Get), Formats::RELEASED.lowest);
        assert_eq!([format(Action::Delete), format(Action::Put(Value::new(b"1")))], [Formats::BATCH; 2]);
    }
}
