//! Keys and values: immutable bytes. Cloning a value copies a pointer, never the bytes. So does cloning a key of more
//! than 15 bytes; shorter keys are their own pointer.

use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use ecow::EcoString;

/// A key: text of 1 to [`Key::CHARS_MAX`] characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(EcoString);

/// Why a text is not a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// The empty text.
    Empty,
    /// More than [`Key::CHARS_MAX`] characters; holds how many there were.
    TooLong(usize),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("key is empty"),
            Self::TooLong(chars) => write!(f, "key has {chars} characters; at most {} are allowed", Key::CHARS_MAX),
        }
    }
}

impl core::error::Error for KeyError {}

impl Key {
    /// The longest key in characters (Unicode scalar values), fixed by the contract.
    pub const CHARS_MAX: usize = 50;

    /// A key from its text.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        // Bytes are an upper bound for characters, so most keys are never counted.
        if text.len() > Self::CHARS_MAX {
            let chars = text.chars().count();
            if chars > Self::CHARS_MAX {
                return Err(KeyError::TooLong(chars));
            }
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value: the bytes that the client sent, never looked into.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// A value that holds a copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many values, this one among them, are these very bytes in memory.
    #[must_use]
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_characters_are_fine_and_fifty_one_are_not() {
        for unit in ["a", "ä", "語", "🦀"] {
            assert!(Key::new(&unit.repeat(50)).is_ok());
            assert_eq!(Key::new(&unit.repeat(51)), Err(KeyError::TooLong(51)));
        }
        assert_eq!(Key::new(""), Err(KeyError::Empty));
    }
}
