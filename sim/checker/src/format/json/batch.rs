//! A batch on a line: what was asked for, and the results in the same order.

use super::{Line, Text, Written, action, raw, raws, texts};
use crate::format::error::{ReadError, at_line};
use crate::history::intern::Names;
use crate::history::operation::is_result;
use crate::history::{Action, History, Malformed, Operation, Outcome, Record, SILENT};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The `op` of a batch.
pub(super) const NAME: &str = "batch";

/// The status of a batch that took place.
const DONE: u16 = 200;

/// One of the operations that a batch asks for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked<'a> {
    op: &'a str,
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
}

/// The result of one of them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given<'a> {
    result: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    siblings: Option<Vec<&'a RawValue>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    shown: Option<Vec<Text<'a>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    superseded: Option<Vec<Text<'a>>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own: bool,
}

/// Which result means which status of a single operation. What is done is a write that does not say what it met, and a
/// read that does not say what it found.
const RESULTS: [(Action, &str, u16); 9] = [
    (Action::Get, "found", 200),
    (Action::Get, "absent", 404),
    (Action::Get, "done", SILENT),
    (Action::Put, "created", 201),
    (Action::Put, "replaced", 200),
    (Action::Put, "done", SILENT),
    (Action::Delete, "deleted", 200),
    (Action::Delete, "absent", 404),
    (Action::Delete, "done", SILENT),
];

/// Appends the parts of a batch; of all of them the record has what is theirs together.
pub(super) fn push(history: &mut History, number: u32, line: &Line<'_>, record: Record<'_>) -> Result<(), ReadError> {
    let wrong = |problem: &str| ReadError::Line { line: number, problem: problem.into() };
    let alone = [
        ("key", line.key.is_some()),
        ("value", line.value.is_some()),
        ("siblings", line.siblings.is_some()),
        ("shown", line.shown.is_some()),
        ("superseded", line.superseded.is_some()),
    ];
    if let Some((field, _)) = alone.into_iter().find(|(_, is_there)| *is_there) {
        return Err(at_line(number, &Malformed::OutOfPlace(field)));
    }
    let asked = line.operations.as_ref().filter(|all| !all.is_empty());
    let asked = asked.ok_or_else(|| wrong("a batch has no \"operations\""))?;
    let took_place = record.outcome == Outcome::Ok && record.status == DONE;
    match &line.results {
        Some(results) if took_place && results.len() != asked.len() => {
            return Err(wrong("a batch has one of its \"results\" for each of its \"operations\""));
        }
        Some(_) if !took_place => return Err(wrong("a batch that was not answered 200 has \"results\"")),
        None if took_place => return Err(wrong("a batch that was answered 200 has no \"results\"")),
        Some(_) | None => {}
    }
    for (at, part) in asked.iter().enumerate() {
        let action = action(number, part.op)?;
        let given = line.results.as_ref().map(|results| &results[at]);
        let status = match given {
            None => record.status,
            Some(given) => {
                let known = RESULTS.iter().find(|(of, name, _)| (*of, *name) == (action, given.result));
                known.ok_or_else(|| wrong(&format!("\"{}\" is no result of a {}", given.result, action.name())))?.2
            }
        };
        let read = given.and_then(|given| given.value);
        if part.value.is_some() && action != Action::Put || read.is_some() && action != Action::Get {
            return Err(at_line(number, &Malformed::OutOfPlace("value")));
        }
        let siblings = given.and_then(|given| given.siblings.as_ref());
        let siblings: Option<Vec<&str>> = siblings.map(|list| list.iter().map(|value| value.get()).collect());
        let shown = texts(given.and_then(|given| given.shown.as_ref()));
        let superseded = texts(given.and_then(|given| given.superseded.as_ref()));
        let record = Record {
            action,
            key: &part.key.0,
            value: part.value.or(read).map(RawValue::get),
            siblings: siblings.as_deref(),
            status,
            shown: shown.as_deref(),
            superseded: superseded.as_deref(),
            same_batch: at > 0,
            own: given.is_some_and(|given| given.own),
            ..record.clone()
        };
        history.push_record(number, &record).map_err(|malformed| at_line(number, &malformed))?;
    }
    Ok(())
}

/// Gives the texts of a batch their numbers.
pub(super) fn scan(line: &Line<'_>, keys: &mut Names, values: &mut Names, versions: &mut Names) {
    for part in line.operations.iter().flatten() {
        keys.number(&part.key.0);
        part.value.iter().for_each(|value| _ = values.number(value.get()));
    }
    for given in line.results.iter().flatten() {
        let read = given.value.iter().chain(given.siblings.iter().flatten());
        read.for_each(|value| _ = values.number(value.get()));
        let named = given.shown.iter().chain(&given.superseded).flatten();
        named.for_each(|text| _ = versions.number(&text.0));
    }
}

/// A line of these parts, from that of the first one alone.
pub(super) fn written<'a>(parts: &'a [Operation], alone: Written<'a>) -> std::io::Result<Written<'a>> {
    let asked = |part: &'a Operation| {
        let value = part.value.as_deref().filter(|_| part.action == Action::Put).map(raw).transpose()?;
        std::io::Result::Ok(Asked { op: part.action.name(), key: text(&part.key), value })
    };
    let given = |part: &'a Operation| {
        let known = RESULTS.iter().find(|(of, _, status)| (*of, *status) == (part.action, part.status));
        let texts = |list: Option<&'a Vec<String>>| list.map(|list| list.iter().map(|name| text(name)).collect());
        std::io::Result::Ok(Given {
            result: known.map_or("done", |(_, name, _)| name),
            value: part.value.as_deref().filter(|_| part.action == Action::Get).map(raw).transpose()?,
            siblings: raws(part.siblings.as_ref())?,
            shown: texts(part.shown.as_ref()),
            superseded: texts(part.superseded.as_ref()),
            own: part.own,
        })
    };
    let took_place = parts.iter().all(|part| part.outcome == Outcome::Ok && is_result(part.status));
    let operations: Vec<Asked<'a>> = parts.iter().map(asked).collect::<std::io::Result<_>>()?;
    let results: Option<Vec<Given<'a>>> = took_place.then(|| parts.iter().map(given).collect()).transpose()?;
    Ok(Written {
        op: NAME,
        key: None,
        value: None,
        siblings: None,
        shown: None,
        superseded: None,
        status: if took_place { Some(DONE) } else { alone.status },
        operations: Some(operations),
        results,
        ..alone
    })
}

const fn text(text: &str) -> Text<'_> {
    Text(Cow::Borrowed(text))
}
