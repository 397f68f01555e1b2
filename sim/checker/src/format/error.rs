//! Why a history cannot be read, and why it cannot be written.

use crate::history::Malformed;
use crate::history::text::cut;
use crate::terms::Unreadable;
use std::fmt;

/// Why a history cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// A line does not follow the format.
    Line {
        /// Which, from 1.
        line: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// The file cannot be read.
    Io(std::io::Error),
    /// The first line belongs to no format that is known.
    UnknownFormat {
        /// How it begins.
        start: String,
    },
    /// Nothing is in it.
    Empty,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, problem } => write!(f, "line {line}: {}", cut(problem)),
            Self::Io(error) => write!(f, "{error}"),
            Self::UnknownFormat { start } => {
                write!(f, "line 1: no known format begins with {start:?}; say which it is with --format")
            }
            Self::Empty => f.write_str("line 1: the history is empty"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) fn at_line(line: u32, malformed: &Malformed) -> ReadError {
    ReadError::Line { line, problem: malformed.to_string() }
}

/// Why a history cannot be written in a format.
#[derive(Debug)]
pub enum WriteError {
    /// The format has no word for this operation.
    Inexpressible {
        /// The operation's id.
        id: u64,
        /// What the format lacks.
        what: &'static str,
    },
    /// The format of this name is only read.
    OnlyRead(&'static str),
    /// The history does not fit together.
    Unreadable(Unreadable),
    /// The output failed.
    Io(std::io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inexpressible { id, what } => write!(f, "operation {id}: the format has no {what}"),
            Self::OnlyRead(name) => write!(f, "{name} is only read, not written"),
            Self::Unreadable(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<std::io::Error> for WriteError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}
