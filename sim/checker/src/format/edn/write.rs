//! Histories of ours as EDN: transactions of one operation, with everything else in extra keys.

use crate::format::error::WriteError;
use crate::history::{Action, History, Outcome};
use std::io::Write;

/// Writes a history.
///
/// # Errors
///
/// When the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    let text = |text: &str| serde_json::to_string(text).map_err(std::io::Error::from);
    writeln!(output, "[")?;
    for (at, operation) in history.operations().enumerate() {
        let (f, value) = match (operation.action, &operation.value) {
            (Action::Get, Some(value)) => (":r", text(value)?),
            (Action::Get, None) => (":r", "nil".into()),
            (Action::Put, value) => (":w", text(value.as_deref().unwrap_or_default())?),
            (Action::Delete, _) => (":d", "nil".into()),
        };
        let asked = if operation.action == Action::Get { "nil" } else { &value };
        let time = |time: Option<u64>| time.map_or(String::new(), |time| format!(" :time {time},"));
        let (key, client) = (text(&operation.key)?, text(&operation.client)?);
        let index = at * 2;
        let call = time(operation.call_ns);
        writeln!(
            output,
            "{{:index {index},{call} :process {at}, :type :invoke, :f :txn, :value [[{f} {key} {asked}]]}}"
        )?;
        let kind = match operation.outcome {
            Outcome::Ok => ":ok",
            Outcome::Fail => ":fail",
            Outcome::Unknown => ":info",
        };
        let (index, returned) = (index + 1, time(operation.return_ns));
        write!(
            output,
            "{{:index {index},{returned} :process {at}, :type {kind}, :f :txn, :value [[{f} {key} {value}]]"
        )?;
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
        let lists = [
            ("merged-from", merged),
            ("shown", operation.shown.as_ref()),
            ("superseded", operation.superseded.as_ref()),
            ("siblings", operation.siblings.as_ref()),
        ];
        for (name, list) in lists {
            if let Some(list) = list {
                let texts: Vec<String> = list.iter().map(|item| text(item)).collect::<Result<_, _>>()?;
                write!(output, ", :{name} [{}]", texts.join(" "))?;
            }
        }
        writeln!(output, "}}")?;
    }
    writeln!(output, "]")?;
    Ok(())
}
