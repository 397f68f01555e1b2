//! AWDIT's own text: `r key value` and `w key value`, one on a line. A line of dashes ends a transaction, and one of equals
//! signs a session.
//!
//! No key begins with a value: what a test reads, it also writes. A transaction is judged as in Plume text.

use crate::format::error::ReadError;
use crate::format::lines::Lines;
use crate::format::transactions;
use crate::history::{Action, History, NONE};
use std::io::Read;

/// Reads a history.
///
/// # Errors
///
/// The first line that does not follow the format.
pub fn read(input: impl Read) -> Result<History, ReadError> {
    let mut lines = Lines::new(input);
    let mut history = History::default();
    let (mut session, mut token, mut head) = (0, NONE, None);
    let mut where_read: Vec<u32> = Vec::new();
    while lines.advance()? {
        let text = str::from_utf8(lines.text()).map_err(|_| lines.error("is no text"))?;
        let is_all = |mark: u8| text.bytes().all(|byte| byte == mark);
        if is_all(b'-') {
            head = None;
            continue;
        }
        if is_all(b'=') {
            (session, token, head) = (session + 1, NONE, None);
            continue;
        }
        let (action, key, value) = match parse(text) {
            Ok(event) => event,
            Err(_) if lines.is_open => {
                history.truncated = true;
                let line = lines.line;
                history.warnings.push(format!("line {line} is cut off; the verdict is about the lines before it"));
                break;
            }
            Err(problem) => return Err(lines.error(problem)),
        };
        let (key, value) = (history.keys.number(key), history.values.number(value));
        where_read.push(lines.line);
        if let Some(head) = head {
            history.push_plain_part(head, action, key, value);
        } else {
            head = Some(history.len() as u32);
            token = history.push_plain(session, action, key, value, token);
        }
    }
    history.put_lines(where_read);
    transactions::finish(&mut history, 0, "");
    Ok(history)
}

fn parse(line: &str) -> Result<(Action, &str, &str), String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (action, key, value) = match words[..] {
        ["r", key, value] => (Action::Get, key, value),
        ["w", key, value] => (Action::Put, key, value),
        _ => return Err("not of the form: r key value, w key value, ---, ===".into()),
    };
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    match [key, value].into_iter().find(|word| !is_number(word)) {
        None => Ok((action, without_zeros(key), without_zeros(value))),
        Some(word) => Err(format!("{word:?} is no number")),
    }
}

/// Numbers are equal whatever zeros they begin with.
pub(super) fn without_zeros(digits: &str) -> &str {
    let rest = digits.trim_start_matches('0');
    if rest.is_empty() { "0" } else { rest }
}
