//! Histories of ours as EDN: transactions of one operation, or of those of a batch, with everything else in extra keys.

use crate::format::error::WriteError;
use crate::history::{Action, History, Operation, Outcome};
use std::io::Write;

/// Writes a history.
///
/// # Errors
///
/// When the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    writeln!(output, "[")?;
    for (at, parts) in history.events().enumerate() {
        event(at, &parts, output)?;
    }
    writeln!(output, "]")?;
    Ok(())
}

fn text(text: &str) -> std::io::Result<String> {
    serde_json::to_string(text).map_err(std::io::Error::from)
}

/// An event and its place among all.
fn event(at: usize, parts: &[Operation], output: &mut impl Write) -> Result<(), WriteError> {
    let [operation, rest @ ..] = parts else { return Ok(()) };
    let micros = |is_asked: bool| -> std::io::Result<String> {
        let all = parts.iter().map(|part| micro(part, is_asked)).collect::<std::io::Result<Vec<_>>>()?;
        Ok(all.join(" "))
    };
    let time = |time: Option<u64>| time.map_or(String::new(), |time| format!(" :time {time},"));
    let (index, call) = (at * 2, time(operation.call_ns));
    writeln!(output, "{{:index {index},{call} :process {at}, :type :invoke, :f :txn, :value [{}]}}", micros(true)?)?;
    let kind = match operation.outcome {
        Outcome::Ok => ":ok",
        Outcome::Fail => ":fail",
        Outcome::Unknown => ":info",
    };
    let (index, returned) = (index + 1, time(operation.return_ns));
    write!(output, "{{:index {index},{returned} :process {at}, :type {kind}, :f :txn, :value [{}]", micros(false)?)?;
    let client = text(&operation.client)?;
    write!(output, ", :id {}, :client {client}, :status {}", operation.id, operation.status)?;
    let single = [
        ("replica", Some(&operation.replica)),
        ("token-in", operation.token_in.as_ref()),
        ("token-out", operation.token_out.as_ref()),
    ];
    for (name, field) in single {
        if let Some(field) = field.filter(|field| !field.is_empty()) {
            write!(output, ", :{name} {}", text(field)?)?;
        }
    }
    let merged = Some(&operation.merged_from).filter(|list| !list.is_empty());
    list("merged-from", merged, output)?;
    if rest.is_empty() {
        lists(operation, output)?;
    } else {
        write!(output, ", :parts [")?;
        for part in parts {
            write!(output, "{{:status {}", part.status)?;
            lists(part, output)?;
            write!(output, "{}}}", if part.own { ", :own true" } else { "" })?;
        }
        write!(output, "]")?;
    }
    writeln!(output, "}}")?;
    Ok(())
}

/// What a part asked for, or with what it ended.
fn micro(part: &Operation, is_asked: bool) -> std::io::Result<String> {
    let (f, value) = match (part.action, &part.value) {
        (Action::Get, Some(value)) if !is_asked => (":r", text(value)?),
        (Action::Get, _) => (":r", "nil".into()),
        (Action::Put, value) => (":w", text(value.as_deref().unwrap_or_default())?),
        (Action::Delete, _) => (":d", "nil".into()),
    };
    Ok(format!("[{f} {} {value}]", text(&part.key)?))
}

/// What an answer named.
fn lists(part: &Operation, output: &mut impl Write) -> Result<(), WriteError> {
    list("shown", part.shown.as_ref(), output)?;
    list("superseded", part.superseded.as_ref(), output)?;
    list("siblings", part.siblings.as_ref(), output)
}

fn list(name: &str, list: Option<&Vec<String>>, output: &mut impl Write) -> Result<(), WriteError> {
    if let Some(list) = list {
        let texts: Vec<String> = list.iter().map(|item| text(item)).collect::<Result<_, _>>()?;
        write!(output, ", :{name} [{}]", texts.join(" "))?;
    }
    Ok(())
}
