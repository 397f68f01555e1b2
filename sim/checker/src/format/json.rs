//! Our own format: one JSON object on a line for each operation, read as a stream.
//!
//! A line is bounded, and every error names its line. A last line without its end that does not parse is a cut-off
//! tail: the verdict is about what is whole, with a warning. Lines with only a `note` are the recorder's remarks. A line
//! whose outcome is `sent` says that a request leaves, so that a recorder's crash hides no write. A batch is one line: its
//! `operations` as they were asked for, and the `results` in the same order.

mod batch;

use crate::format::error::{ReadError, at_line};
pub use crate::format::lines::LINE_BYTES_MAX;
use crate::format::lines::Lines;
use crate::format::plain::Plain;
use crate::history::intern::Names;
use crate::history::{Action, History, Malformed, Operation, Outcome, Record};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read, Write};

/// The outcome of a line that only says that a request leaves.
const SENT: &str = "sent";

/// A text, or a number that stands for one.
#[derive(Serialize)]
#[serde(transparent)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a non-negative integer")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    client: Option<Text<'a>>,
    #[serde(borrow)]
    replica: Option<Text<'a>>,
    op: Option<&'a str>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    siblings: Option<Vec<&'a RawValue>>,
    status: Option<u16>,
    #[serde(borrow)]
    token_in: Option<Text<'a>>,
    #[serde(borrow)]
    token_out: Option<Text<'a>>,
    #[serde(borrow)]
    merged_from: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    shown: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    superseded: Option<Vec<Text<'a>>>,
    call_ns: Option<u64>,
    return_ns: Option<u64>,
    outcome: Option<&'a str>,
    #[serde(borrow)]
    note: Option<&'a RawValue>,
    #[serde(borrow)]
    operations: Option<Vec<batch::Asked<'a>>>,
    #[serde(borrow)]
    results: Option<Vec<batch::Given<'a>>>,
}

/// Reads a history.
///
/// # Errors
///
/// The first line that does not follow the format, or that cannot stand in a history with those before it.
pub fn read(input: impl Read) -> Result<History, ReadError> {
    let mut lines = Lines::new(input);
    let mut history = History::default();
    let mut open = Open::default();
    while lines.advance()? {
        let parsed = serde_json::from_slice::<Line<'_>>(lines.text());
        match parsed {
            Ok(line) if line.note.is_some() && line.op.is_none() => history.notes += 1,
            Ok(line) if line.outcome == Some(SENT) => open.note(lines.line, &line, lines.text())?,
            Ok(line) => {
                line.id.map(|id| open.sent.remove(&id));
                push(&mut history, lines.line, &line)?;
            }
            Err(_) if lines.is_open => {
                history.truncated = true;
                let line = lines.line;
                history.warnings.push(format!("line {line} is cut off; the verdict is about the lines before it"));
            }
            Err(error) => return Err(lines.error(unlocated(&error))),
        }
    }
    open.close(&mut history)?;
    Ok(history)
}

/// Requests of which only the leaving is known so far, by id, with their lines.
#[derive(Default)]
struct Open {
    sent: BTreeMap<u64, (u32, Vec<u8>)>,
}

impl Open {
    fn note(&mut self, number: u32, line: &Line<'_>, text: &[u8]) -> Result<(), ReadError> {
        let wrong = |problem: &str| ReadError::Line { line: number, problem: problem.into() };
        let id = line.id.ok_or_else(|| wrong("the field \"id\" is missing"))?;
        if line.call_ns.is_none() {
            return Err(wrong("a line with the outcome \"sent\" needs \"call_ns\""));
        }
        if line.status.is_some() || line.token_out.is_some() || line.return_ns.is_some() {
            return Err(wrong("the outcome is \"sent\" and there is an answer"));
        }
        if self.sent.insert(id, (number, text.to_vec())).is_some() {
            return Err(at_line(number, &Malformed::DuplicateId(id)));
        }
        Ok(())
    }

    /// What was sent and never ended may have happened.
    fn close(self, history: &mut History) -> Result<(), ReadError> {
        for (number, text) in self.sent.into_values() {
            let line = serde_json::from_slice::<Line<'_>>(&text);
            let mut line = line.map_err(|error| ReadError::Line { line: number, problem: unlocated(&error) })?;
            line.outcome = Some(Outcome::Unknown.name());
            push(history, number, &line)?;
        }
        Ok(())
    }
}

/// Parses every line and gives every text its number, and keeps nothing else: the yardstick for [`read`] and for the
/// judge behind it. Says how many lines there were.
///
/// # Errors
///
/// The first line that does not follow the format.
pub fn scan(input: impl BufRead) -> Result<u64, ReadError> {
    let mut lines = Lines::new(Plain::of(input)?);
    let (mut count, mut names) = (0, [const { Names::new() }; 6]);
    while lines.advance()? {
        let line: Line<'_> = serde_json::from_slice(lines.text()).map_err(|error| lines.error(unlocated(&error)))?;
        let [clients, replicas, keys, values, tokens, versions] = &mut names;
        let intern = |names: &mut Names, text: Option<&Text<'_>>| _ = text.map(|text| names.number(&text.0));
        intern(clients, line.client.as_ref());
        intern(replicas, line.replica.as_ref());
        intern(keys, line.key.as_ref());
        intern(tokens, line.token_in.as_ref());
        intern(tokens, line.token_out.as_ref());
        line.merged_from.iter().flatten().for_each(|text| intern(tokens, Some(text)));
        let named = line.shown.iter().chain(&line.superseded).flatten();
        named.for_each(|text| intern(versions, Some(text)));
        for value in line.value.iter().chain(line.siblings.iter().flatten()) {
            values.number(value.get());
        }
        batch::scan(&line, keys, values, versions);
        count += 1;
    }
    Ok(count)
}

/// What the parser says, with its column; its line is always the first, because it saw one line only.
fn unlocated(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    format!("column {}: {problem}", error.column())
}

fn push(history: &mut History, number: u32, line: &Line<'_>) -> Result<(), ReadError> {
    let missing = |field: &str| ReadError::Line { line: number, problem: format!("the field \"{field}\" is missing") };
    let op = line.op.ok_or_else(|| missing("op"))?;
    let outcome = match line.outcome.ok_or_else(|| missing("outcome"))? {
        "ok" => Outcome::Ok,
        "fail" => Outcome::Fail,
        "unknown" => Outcome::Unknown,
        other => return Err(ReadError::Line { line: number, problem: format!("\"{other}\" is not an outcome") }),
    };
    let merged = texts(line.merged_from.as_ref()).unwrap_or_default();
    fn text<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
        text.as_ref().map(|text| &*text.0)
    }
    let record = Record {
        id: line.id.ok_or_else(|| missing("id"))?,
        client: text(&line.client).ok_or_else(|| missing("client"))?,
        replica: text(&line.replica).unwrap_or_default(),
        action: Action::Get,
        key: "",
        value: None,
        siblings: None,
        status: line.status.unwrap_or(0),
        token_in: text(&line.token_in),
        merged_from: &merged,
        token_out: text(&line.token_out),
        shown: None,
        superseded: None,
        call_ns: line.call_ns,
        return_ns: line.return_ns,
        outcome,
        same_batch: false,
        own: false,
    };
    if op == batch::NAME {
        return batch::push(history, number, line, record);
    }
    if line.operations.is_some() || line.results.is_some() {
        return Err(at_line(number, &Malformed::OutOfPlace("operations")));
    }
    let (shown, superseded) = (texts(line.shown.as_ref()), texts(line.superseded.as_ref()));
    let siblings: Option<Vec<&str>> = line.siblings.as_ref().map(|list| list.iter().map(|value| value.get()).collect());
    let record = Record {
        action: action(number, op)?,
        key: text(&line.key).ok_or_else(|| missing("key"))?,
        value: line.value.map(RawValue::get),
        siblings: siblings.as_deref(),
        shown: shown.as_deref(),
        superseded: superseded.as_deref(),
        ..record
    };
    history.push_record(number, &record).map_err(|malformed| at_line(number, &malformed))
}

fn texts<'a>(list: Option<&'a Vec<Text<'_>>>) -> Option<Vec<&'a str>> {
    list.map(|list| list.iter().map(|text| &*text.0).collect())
}

fn action(number: u32, op: &str) -> Result<Action, ReadError> {
    match op {
        "get" => Ok(Action::Get),
        "put" => Ok(Action::Put),
        "delete" => Ok(Action::Delete),
        other => Err(ReadError::Line { line: number, problem: format!("\"{other}\" is not an op") }),
    }
}

#[derive(Serialize)]
struct Written<'a> {
    id: u64,
    client: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    replica: &'a str,
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_in: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    merged_from: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    token_out: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_ns: Option<u64>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<Vec<batch::Asked<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<batch::Given<'a>>>,
}

/// Writes one operation on a line. A part of a batch is written as if it were alone; [`write_event`] writes batches.
///
/// # Errors
///
/// What the output says; a value that is no JSON text is invalid data.
pub fn write(operation: &Operation, output: &mut impl Write) -> std::io::Result<()> {
    write_event(std::slice::from_ref(operation), output)
}

/// Writes one event on a line: an operation, or all parts of a batch.
///
/// # Errors
///
/// What the output says; a value that is no JSON text is invalid data.
pub fn write_event(parts: &[Operation], output: &mut impl Write) -> std::io::Result<()> {
    parts.first().map_or(Ok(()), |first| write_as(parts, first.outcome.name(), output))
}

/// Writes that this request is about to be sent. A later line with the same id says how it ended; without one the
/// outcome is unknown.
///
/// # Errors
///
/// What the output says; a value that is no JSON text is invalid data.
pub fn write_sent(operation: &Operation, output: &mut impl Write) -> std::io::Result<()> {
    write_as(std::slice::from_ref(operation), SENT, output)
}

/// The same for all parts of a batch.
///
/// # Errors
///
/// What the output says; a value that is no JSON text is invalid data.
pub fn write_event_sent(parts: &[Operation], output: &mut impl Write) -> std::io::Result<()> {
    write_as(parts, SENT, output)
}

fn raw(text: &str) -> std::io::Result<&RawValue> {
    serde_json::from_str(text).map_err(std::io::Error::from)
}

fn raws(list: Option<&Vec<String>>) -> std::io::Result<Option<Vec<&RawValue>>> {
    list.map(|list| list.iter().map(|value| raw(value)).collect()).transpose()
}

fn write_as(parts: &[Operation], outcome: &str, output: &mut impl Write) -> std::io::Result<()> {
    let [operation, rest @ ..] = parts else { return Ok(()) };
    let written = Written {
        id: operation.id,
        client: &operation.client,
        replica: &operation.replica,
        op: operation.action.name(),
        key: Some(&operation.key),
        value: operation.value.as_deref().map(raw).transpose()?,
        siblings: raws(operation.siblings.as_ref())?,
        status: (operation.status != 0).then_some(operation.status),
        token_in: operation.token_in.as_deref(),
        merged_from: &operation.merged_from,
        token_out: operation.token_out.as_deref(),
        shown: operation.shown.as_deref(),
        superseded: operation.superseded.as_deref(),
        call_ns: operation.call_ns,
        return_ns: operation.return_ns,
        outcome,
        operations: None,
        results: None,
    };
    let written = if rest.is_empty() { written } else { batch::written(parts, written)? };
    serde_json::to_writer(&mut *output, &written)?;
    output.write_all(b"\n")
}
