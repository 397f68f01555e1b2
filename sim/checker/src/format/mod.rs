//! Which format a history is in, and reading and writing any of them.

pub mod awdit;
pub mod dbcop;
pub mod edn;
pub mod error;
pub mod hist;
pub mod json;
mod lines;
mod plain;
pub mod plume;
pub mod shiviz;
mod transactions;

use crate::format::error::{ReadError, WriteError};
use crate::format::plain::Plain;
use crate::history::History;
use std::io::{BufRead, Write};

/// A format of histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own: JSON lines.
    Json,
    /// Plume text.
    Plume,
    /// Jepsen's EDN.
    Edn,
    /// dbcop's `.hist`.
    Hist,
    /// dbcop's JSON; only read.
    Dbcop,
    /// AWDIT's own text; only read.
    Awdit,
    /// A log for ShiViz; only written.
    ShiViz,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 7] = [Self::Json, Self::Plume, Self::Edn, Self::Hist, Self::Dbcop, Self::Awdit, Self::ShiViz];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Plume => "plume",
            Self::Edn => "edn",
            Self::Hist => "hist",
            Self::Dbcop => "dbcop",
            Self::Awdit => "awdit",
            Self::ShiViz => "shiviz",
        }
    }

    /// The format of this name.
    ///
    /// # Errors
    ///
    /// Lists the names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(format!("\"{name}\" is none of {names}"))
    }

    /// What the beginning of a file looks like.
    #[must_use]
    pub fn guess(start: &[u8]) -> Option<Self> {
        let mut text = start.trim_ascii_start();
        while text.first() == Some(&b';') {
            let Some(end) = text.iter().position(|&byte| byte == b'\n') else { return Some(Self::Edn) };
            text = text[end..].trim_ascii_start();
        }
        let then = |skip: usize| text.get(skip..).map(<[u8]>::trim_ascii_start).and_then(|rest| rest.first());
        if is_dbcop(text) {
            return Some(Self::Dbcop);
        }
        match (text.first()?, then(1)) {
            (b'{', None | Some(b'"' | b'}')) => Some(Self::Json),
            (b'[', Some(letter)) if letter.is_ascii_alphabetic() || *letter == b'_' => Some(Self::Hist),
            (b'/', Some(b'/')) | (b'-', Some(b'-')) => Some(Self::Hist),
            (b'{', Some(b':' | b',' | b';' | b'#')) | (b'[' | b'(' | b'#' | b'^', _) => Some(Self::Edn),
            (b'r' | b'w', Some(b'(')) => Some(Self::Plume),
            (b'r' | b'w', Some(digit)) if digit.is_ascii_digit() => Some(Self::Awdit),
            (b'=', Some(b'=')) => Some(Self::Awdit),
            _ => None,
        }
    }
}

/// How to read a history.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The format; without one, that which the beginning looks like.
    pub format: Option<Format>,
    /// What keys of a foreign EDN history begin with, as [`edn::initial`] reads it.
    pub initial: Option<String>,
}

/// Reads a history; without a format, in the one that its beginning looks like.
///
/// # Errors
///
/// What is wrong, and on which line.
pub fn read(input: impl BufRead, format: Option<Format>) -> Result<History, ReadError> {
    read_as(input, &Reading { format, initial: None })
}

/// Reads a history like this.
///
/// # Errors
///
/// What is wrong, and on which line.
pub fn read_as(input: impl BufRead, reading: &Reading) -> Result<History, ReadError> {
    let mut input = Plain::of(input)?;
    let start = input.start()?;
    if start.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    let unknown = || {
        let line = start.trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default();
        ReadError::UnknownFormat { start: String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned() }
    };
    let at_first = |problem: String| ReadError::Line { line: 1, problem };
    if is_json_array(start) {
        let problem =
            "this is an array of JSON; our own JSON has one operation on a line, and Jepsen's histories are EDN";
        return Err(at_first(problem.into()));
    }
    let format = reading.format.or_else(|| Format::guess(start)).ok_or_else(unknown)?;
    if reading.initial.is_some() && format != Format::Edn {
        return Err(at_first("only foreign EDN can be said to begin with a value".into()));
    }
    let history = match format {
        Format::Json => json::read(input),
        Format::Plume => plume::read(input),
        Format::Edn => edn::read(input, reading.initial.as_deref()),
        Format::Hist => hist::read(input),
        Format::Dbcop => dbcop::read(input),
        Format::Awdit => awdit::read(input),
        Format::ShiViz => Err(at_first(format!("{} is only written, not read", format.name()))),
    }?;
    // A verdict on nothing would sound like one on what was meant.
    if history.is_empty() {
        let notes = (history.notes > 0).then(|| format!("{} lines are notes", history.notes));
        let why: Vec<String> = notes.into_iter().chain(history.warnings).collect();
        return Err(at_first(format!("no operation is in this file; {}", why.join("; "))));
    }
    Ok(history)
}

/// The text within a file, which may be gzipped or begin with a byte order mark.
///
/// # Errors
///
/// An input that fails, and what is packed or encoded in another way.
pub fn unwrapped(input: impl BufRead) -> Result<impl BufRead, ReadError> {
    Plain::of(input)
}

/// What follows, if a text begins so.
fn behind<'a>(text: &'a [u8], begins: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(begins).map(<[u8]>::trim_ascii_start)
}

/// Whether a text begins like dbcop's JSON: sessions of objects, or an object that begins with one of its own fields.
fn is_dbcop(text: &[u8]) -> bool {
    let begins = |text: &[u8], names: &[&str]| names.iter().any(|name| behind(text, name.as_bytes()).is_some());
    if let Some(object) = behind(text, b"{") {
        return begins(object, &["\"params\"", "\"info\"", "\"start\"", "\"end\"", "\"data\""]);
    }
    let Some(mut rest) = behind(text, b"[") else { return false };
    while let Some(next) = [&b"["[..], b"]", b","].into_iter().find_map(|mark| behind(rest, mark)) {
        rest = next;
    }
    behind(rest, b"{").is_some_and(|object| begins(object, &["\"events\"", "\"committed\""]))
}

fn is_json_array(start: &[u8]) -> bool {
    let mut rest = start.trim_ascii_start();
    for expected in [b"[", b"{", b"\""] {
        let Some(after) = rest.strip_prefix(expected) else { return false };
        rest = after.trim_ascii_start();
    }
    let name = rest.iter().position(|&byte| byte == b'"').map_or(rest, |end| &rest[end + 1..]);
    name.trim_ascii_start().starts_with(b":")
}

/// Writes a history.
///
/// # Errors
///
/// When the format has no word for something in it, or the output fails.
pub fn write(history: &History, format: Format, output: &mut impl Write) -> Result<(), WriteError> {
    match format {
        Format::Json => {
            for event in history.events() {
                json::write_event(&event, output)?;
            }
            Ok(())
        }
        Format::Plume => plume::write(history, output),
        Format::Edn => edn::write(history, output),
        Format::Hist => hist::write(history, output),
        Format::Dbcop | Format::Awdit => Err(WriteError::OnlyRead(format.name())),
        Format::ShiViz => shiviz::write(history, output),
    }
}
