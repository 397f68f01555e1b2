//! One request and its answer, and what an operation must be like to stand in a history.

use super::text::short;
use std::fmt;

/// The status of a write that happened where it is unknown whether the key had a value before.
pub(crate) const SILENT: u16 = 204;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read a key.
    Get,
    /// Write a key.
    Put,
    /// Delete a key.
    Delete,
}

impl Action {
    /// Its name in a history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// How a request ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered; the status says how.
    Ok,
    /// It certainly did nothing: it was never sent, or refused.
    Fail,
    /// The answer is missing: it may have happened, or may happen yet.
    Unknown,
}

impl Outcome {
    /// Its name in a history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Unique in the history.
    pub id: u64,
    /// The client that asked. Says nothing about order: tokens do.
    pub client: String,
    /// The replica that answered.
    pub replica: String,
    /// What was asked.
    pub action: Action,
    /// Of which key.
    pub key: String,
    /// What a PUT wrote or a GET returned, as JSON text. A key's values are unique among its PUTs.
    pub value: Option<String>,
    /// All values that a GET with siblings returned, the winner first.
    pub siblings: Option<Vec<String>>,
    /// The HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The token that was sent.
    pub token_in: Option<String>,
    /// Further tokens that were joined into the one sent.
    pub merged_from: Vec<String>,
    /// The token that came back.
    pub token_out: Option<String>,
    /// The versions in the answer's `ETag`: all that a GET showed, or the one that a PUT made.
    pub shown: Option<Vec<String>>,
    /// The versions in the answer's `Causal-Superseded`: all that a PUT or DELETE replaced.
    pub superseded: Option<Vec<String>>,
    /// When the request left, in nanoseconds of any clock that all clients share.
    pub call_ns: Option<u64>,
    /// When the answer came, on the same clock.
    pub return_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// It and the operation before it are parts of one batch: they took place at one moment.
    pub same_batch: bool,
    /// It is a read that looks at what its batch wrote before it, in place of what was there before the batch.
    pub own: bool,
}

impl Operation {
    /// An operation of this kind with nothing else known, to be filled in.
    #[must_use]
    pub fn new(id: u64, client: &str, action: Action, key: &str) -> Self {
        Self {
            id,
            client: client.into(),
            replica: String::new(),
            action,
            key: key.into(),
            value: None,
            siblings: None,
            status: 0,
            token_in: None,
            merged_from: Vec::new(),
            token_out: None,
            shown: None,
            superseded: None,
            call_ns: None,
            return_ns: None,
            outcome: Outcome::Ok,
            same_batch: false,
            own: false,
        }
    }

    /// These operations as the parts of one batch. The id, the client, the replica, the tokens, the times and the outcome
    /// of the first are those of all.
    #[must_use]
    pub fn batch(mut parts: Vec<Self>) -> Vec<Self> {
        if let Some((first, rest)) = parts.split_first_mut() {
            for part in rest {
                *part = Self {
                    action: part.action,
                    key: std::mem::take(&mut part.key),
                    value: part.value.take(),
                    siblings: part.siblings.take(),
                    status: part.status,
                    shown: part.shown.take(),
                    superseded: part.superseded.take(),
                    same_batch: true,
                    own: part.own,
                    ..first.clone()
                };
            }
        }
        parts
    }
}

/// Operations, event by event: a batch is one event, and so is each other operation.
pub fn events(operations: &[Operation]) -> impl Iterator<Item = &[Operation]> {
    operations.chunk_by(|_, next| next.same_batch)
}

/// An operation with borrowed texts, as readers hand it in.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    pub(crate) id: u64,
    pub(crate) client: &'a str,
    pub(crate) replica: &'a str,
    pub(crate) action: Action,
    pub(crate) key: &'a str,
    pub(crate) value: Option<&'a str>,
    pub(crate) siblings: Option<&'a [&'a str]>,
    pub(crate) status: u16,
    pub(crate) token_in: Option<&'a str>,
    pub(crate) merged_from: &'a [&'a str],
    pub(crate) token_out: Option<&'a str>,
    pub(crate) shown: Option<&'a [&'a str]>,
    pub(crate) superseded: Option<&'a [&'a str]>,
    pub(crate) call_ns: Option<u64>,
    pub(crate) return_ns: Option<u64>,
    pub(crate) outcome: Outcome,
    pub(crate) same_batch: bool,
    pub(crate) own: bool,
}

/// Why an operation cannot stand in a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Another operation has this id.
    DuplicateId(u64),
    /// The answer came before the request left.
    TimesBackwards {
        /// When the request left.
        call_ns: u64,
        /// When the answer came.
        return_ns: u64,
    },
    /// Two PUTs of one key wrote the same value, so a read of it does not say whose it is.
    ValueTwice {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The line of the first.
        first: u32,
    },
    /// Two PUTs have the same version.
    VersionTwice {
        /// The version.
        version: String,
        /// The line of the first.
        first: u32,
    },
    /// No earlier response carried this token.
    TokenFromNowhere(String),
    /// A PUT without a value, or a GET that found something and does not say what.
    NoValue(Action, u16),
    /// A field stands where it means nothing.
    OutOfPlace(&'static str),
    /// Two fields say opposite things.
    Contradiction(&'static str),
    /// A batch writes this key twice.
    WrittenTwice(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateId(id) => write!(f, "another operation has the id {id}"),
            Self::TimesBackwards { call_ns, return_ns } => {
                write!(f, "the times run backwards: it was called at {call_ns} and returned at {return_ns}")
            }
            Self::ValueTwice { key, value, first } => {
                let (key, value) = (short(key), short(value));
                write!(
                    f,
                    "writes {key}={value}, which line {first} wrote already, so a read of it does not say which write it \
                     shows; values must be unique for each key"
                )
            }
            Self::VersionTwice { version, first } => {
                write!(f, "made version {}, which line {first} made already", short(version))
            }
            Self::TokenFromNowhere(token) => {
                write!(f, "sends the token {:?}, which no earlier response carried", short(token))
            }
            Self::NoValue(action, status) => write!(f, "a {} answered {status} must have a value", action.name()),
            Self::OutOfPlace(field) => write!(f, "the field \"{field}\" has no meaning here"),
            Self::Contradiction(what) => f.write_str(what),
            Self::WrittenTwice(key) => write!(f, "the batch writes {} twice", short(key)),
        }
    }
}

impl std::error::Error for Malformed {}

/// Whether the fields of one operation fit together.
pub(crate) fn well_formed(record: &Record<'_>) -> Result<(), Malformed> {
    if let (Some(call_ns), Some(return_ns)) = (record.call_ns, record.return_ns)
        && return_ns < call_ns
    {
        return Err(Malformed::TimesBackwards { call_ns, return_ns });
    }
    let found = record.outcome == Outcome::Ok && record.status == 200;
    match record.action {
        Action::Put if record.value.is_none() => return Err(Malformed::NoValue(record.action, record.status)),
        Action::Get if found && record.value.is_none() && record.siblings.is_none_or(<[_]>::is_empty) => {
            return Err(Malformed::NoValue(record.action, record.status));
        }
        Action::Get if record.status == 404 && (record.value.is_some() || record.siblings.is_some()) => {
            return Err(Malformed::Contradiction("a GET answered 404 has a value"));
        }
        Action::Get | Action::Put | Action::Delete => {}
    }
    if record.own && !(record.action == Action::Get && record.same_batch) {
        return Err(Malformed::OutOfPlace("own"));
    }
    if record.siblings.is_some() && record.action != Action::Get {
        return Err(Malformed::OutOfPlace("siblings"));
    }
    if record.superseded.is_some() && record.action == Action::Get {
        return Err(Malformed::OutOfPlace("superseded"));
    }
    if record.shown.is_some() && record.action == Action::Delete {
        return Err(Malformed::OutOfPlace("shown"));
    }
    if record.outcome == Outcome::Ok && record.status == 0 {
        return Err(Malformed::Contradiction("the outcome is \"ok\" and there is no status"));
    }
    if record.outcome == Outcome::Unknown && record.token_out.is_some() {
        return Err(Malformed::Contradiction("the outcome is \"unknown\" and a token came back"));
    }
    Ok(())
}

/// A write that was answered like this may still have happened.
pub(crate) const fn happened_perhaps(status: u16) -> bool {
    status >= 500 && status != 503
}

/// An answer of a part of a batch that took place.
pub(crate) const fn is_result(status: u16) -> bool {
    matches!(status, 200 | 201 | SILENT | 404)
}
