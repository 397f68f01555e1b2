//! dbcop's JSON: sessions of transactions of events, alone or as the `data` of an object that says how they were made.
//!
//! An event is `{"Read":{"variable":0,"version":1}}`, `{"Write":{...}}`, or the same as `["r",0,1]` and `["w",0,1]`. A read
//! of the version null is one of nothing. A transaction is judged as in Plume text.

use crate::format::error::ReadError;
use crate::format::transactions;
use crate::history::{Action, History, NONE};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io::Read;

/// Reads a history.
///
/// # Errors
///
/// The first line that does not follow the format.
pub fn read(input: impl Read) -> Result<History, ReadError> {
    let line = Cell::new(1);
    let mut sink = Sink { line: &line, history: History::default(), lines: Vec::new(), next: (0, NONE), aborted: 0 };
    let mut json = serde_json::Deserializer::from_reader(Counted { input, line: &line });
    File(&mut sink).deserialize(&mut json).and_then(|()| json.end()).map_err(|error| {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        match error.is_io() {
            true => ReadError::Io(error.into()),
            false => ReadError::Line { line, problem: format!("no history of dbcop's: {error}") },
        }
    })?;
    let Sink { mut history, lines, aborted, .. } = sink;
    history.put_lines(lines);
    transactions::finish(&mut history, aborted, "transactions that were not committed");
    Ok(history)
}

/// Counts the lines that were read so far.
struct Counted<'a, R> {
    input: R,
    line: &'a Cell<u32>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        let ends = buffer[..count].iter().filter(|&&byte| byte == b'\n').count();
        self.line.set(self.line.get().saturating_add(ends as u32));
        Ok(count)
    }
}

/// Takes transactions as they are read.
struct Sink<'a> {
    line: &'a Cell<u32>,
    history: History,
    lines: Vec<u32>,
    /// The session at hand, and the token of its last transaction.
    next: (u32, u32),
    aborted: u64,
}

impl Sink<'_> {
    fn take(&mut self, transaction: Transaction) {
        if !transaction.committed {
            self.aborted += 1;
            return;
        }
        let history = &mut self.history;
        let mut head = None;
        for event in transaction.events {
            let (action, Name(variable), version) = event.told();
            let key = history.keys.number(&variable);
            let value = version.map_or(NONE, |version| history.values.number(&version.as_value()));
            self.lines.push(self.line.get());
            if let Some(head) = head {
                history.push_plain_part(head, action, key, value);
            } else {
                head = Some(history.len() as u32);
                self.next.1 = history.push_plain(self.next.0, action, key, value, self.next.1);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transaction {
    events: Vec<Event>,
    committed: bool,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an event is {\"Read\":{...}}, {\"Write\":{...}}, [\"r\",variable,version] or [\"w\",...]"
)]
enum Event {
    Named(Named),
    Brief(Letter, Name, Option<Name>),
}

#[derive(Deserialize)]
enum Named {
    Read { variable: Name, version: Option<Name> },
    Write { variable: Name, version: Name },
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Letter {
    R,
    W,
}

impl Event {
    fn told(self) -> (Action, Name, Option<Name>) {
        match self {
            Self::Named(Named::Read { variable, version }) | Self::Brief(Letter::R, variable, version) => {
                (Action::Get, variable, version)
            }
            Self::Named(Named::Write { variable, version }) => (Action::Put, variable, Some(version)),
            Self::Brief(Letter::W, variable, version) => (Action::Put, variable, version),
        }
    }
}

/// A variable or a version: a number or a text.
struct Name(String);

impl Name {
    /// As a value, which is JSON: a number, or a text in quotes.
    fn as_value(&self) -> Cow<'_, str> {
        let is_number = self.0.parse::<u64>().is_ok_and(|number| number.to_string() == self.0);
        if is_number { Cow::Borrowed(&self.0) } else { Cow::Owned(serde_json::Value::from(&*self.0).to_string()) }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl Visitor<'_> for Names {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// The whole: an object with `data`, or what stands there.
struct File<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for File<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for File<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of sessions, or an object with one as its \"data\"")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sessions: A) -> Result<(), A::Error> {
        Sessions(self.0).visit_seq(sessions)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_read = false;
        while let Some(field) = map.next_key::<String>()? {
            if field != "data" {
                map.next_value::<IgnoredAny>()?;
            } else if std::mem::replace(&mut is_read, true) {
                return Err(A::Error::duplicate_field("data"));
            } else {
                map.next_value_seed(Sessions(&mut *self.0))?;
            }
        }
        if is_read { Ok(()) } else { Err(A::Error::missing_field("data")) }
    }
}

struct Sessions<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Sessions<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Sessions<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of sessions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sessions: A) -> Result<(), A::Error> {
        while sessions.next_element_seed(Session(&mut *self.0))?.is_some() {
            self.0.next = (self.0.next.0 + 1, NONE);
        }
        Ok(())
    }
}

struct Session<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Session<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Session<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session: an array of transactions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut transactions: A) -> Result<(), A::Error> {
        while let Some(transaction) = transactions.next_element::<Transaction>()? {
            let is_nothing = |event: &Event| matches!(event, Event::Brief(Letter::W, _, None));
            if transaction.events.iter().any(is_nothing) {
                return Err(A::Error::custom("a write of null"));
            }
            self.0.take(transaction);
        }
        Ok(())
    }
}
