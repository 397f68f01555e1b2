//! dbcop's `.hist`: sessions separated by a line of dashes, and transactions like `[x:=1 y==2]`, several of which may stand
//! on a line.
//!
//! `x==?` is a read of nothing. `!` behind a transaction says that it was not committed, and `//` begins a comment. A
//! transaction is judged as in Plume text. Initial values and lineage are written as in Plume text.

use crate::format::awdit::without_zeros;
use crate::format::error::{ReadError, WriteError};
use crate::format::lines::Lines;
use crate::format::plume::Sessions;
use crate::format::transactions;
use crate::history::{Action, History, NONE};
use std::io::{Read, Write};

/// Reads a history.
///
/// # Errors
///
/// The first line that does not follow the format.
pub fn read(input: impl Read) -> Result<History, ReadError> {
    let mut lines = Lines::new(input);
    let mut history = History::default();
    let (mut session, mut token, mut aborted) = (0, NONE, 0_u64);
    let mut where_read: Vec<u32> = Vec::new();
    while lines.advance()? {
        let text = str::from_utf8(lines.text()).map_err(|_| lines.error("is no text"))?;
        let text = text.split("//").next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        if text.bytes().all(|byte| byte == b'-') {
            (session, token) = (session + 1, NONE);
            continue;
        }
        let transactions: Vec<_> = match transactions_of(text) {
            Ok(transactions) => transactions,
            Err(_) if lines.is_open => {
                history.truncated = true;
                let line = lines.line;
                history.warnings.push(format!("line {line} is cut off; the verdict is about the lines before it"));
                break;
            }
            Err(problem) => return Err(lines.error(problem)),
        };
        for (events, committed) in transactions {
            if !committed {
                aborted += 1;
                continue;
            }
            let mut head = None;
            for (variable, action, version) in events {
                let key = history.keys.number(variable);
                let value = version.map_or(NONE, |version| history.values.number(version));
                where_read.push(lines.line);
                if let Some(head) = head {
                    history.push_plain_part(head, action, key, value);
                } else {
                    head = Some(history.len() as u32);
                    token = history.push_plain(session, action, key, value, token);
                }
            }
        }
    }
    history.put_lines(where_read);
    transactions::finish(&mut history, aborted, "transactions that were not committed");
    Ok(history)
}

const FORM: &str = "not of the form [variable:=version variable==version ...]";

/// What one event is about, what it does, and the version; none for a read of nothing.
type Event<'a> = (&'a str, Action, Option<&'a str>);

/// The events of a transaction, and whether it was committed.
type Transaction<'a> = (Vec<Event<'a>>, bool);

/// The transactions of a line.
fn transactions_of(line: &str) -> Result<Vec<Transaction<'_>>, String> {
    let mut transactions = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (inner, behind) = rest.strip_prefix('[').and_then(|line| line.split_once(']')).ok_or(FORM)?;
        let behind = behind.trim_start();
        let aborted = behind.strip_prefix('!');
        transactions.push((inner.split_whitespace().map(event).collect::<Result<_, _>>()?, aborted.is_none()));
        rest = aborted.unwrap_or(behind).trim_start();
    }
    Ok(transactions)
}

fn event(text: &str) -> Result<Event<'_>, String> {
    let (variable, action, version) = match (text.split_once(":="), text.split_once("==")) {
        (Some((variable, version)), _) => (variable, Action::Put, version),
        (None, Some((variable, version))) => (variable, Action::Get, version),
        (None, None) => return Err(FORM.to_owned()),
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !variable.bytes().all(is_letter) || variable.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
        return Err(format!("{variable:?} is no variable"));
    }
    match version {
        "?" if action == Action::Get => Ok((variable, action, None)),
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((variable, action, Some(without_zeros(digits))))
        }
        other => Err(format!("{other:?} is no version")),
    }
}

/// Writes a history.
///
/// # Errors
///
/// When the history has deletes, does not fit together, or the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    let sessions = Sessions::of(history)?;
    for key in 0..history.keys.len() {
        writeln!(output, "// k{key} is {:?}", history.keys.text(key as u32))?;
    }
    // Versions are unique in the whole history: initial ones first, then the values, then the lineage.
    let keys = history.keys.len();
    let lineage = keys + 1 + history.values.len();
    let initial: Vec<String> = (0..keys).map(|key| format!("k{key}:={}", key + 1)).collect();
    writeln!(output, "[marker:={} {}]", keys + 1, initial.join(" "))?;
    for steps in &sessions.sessions {
        writeln!(output, "---\n[marker=={}]", keys + 1)?;
        for step in steps {
            let parts = step.parts.iter().map(|&part| {
                let at = part as usize;
                let sign = if history.action[at] == Action::Put { ":=" } else { "==" };
                let key = history.key[at] as usize;
                let value = if history.value[at] == NONE { key + 1 } else { keys + 2 + history.value[at] as usize };
                format!("k{key}{sign}{value}")
            });
            let takes = step.takes.iter().map(|edge| format!("lineage{edge}=={}", lineage + 1 + edge));
            let gives = step.gives.iter().map(|edge| format!("lineage{edge}:={}", lineage + 1 + edge));
            let events: Vec<String> = takes.chain(parts).chain(gives).collect();
            writeln!(output, "[{}]", events.join(" "))?;
        }
    }
    Ok(())
}
