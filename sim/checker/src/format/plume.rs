//! Plume text, read by Plume and AWDIT: `r(key,value,session,transaction)` or `w(...)`, one on a line.
//!
//! Numbers are non-negative; the value 0 is a key's initial one, and a transaction of -1 is an aborted write, which is
//! left out. Sessions are program order, and that is the whole lineage. A transaction is an event, as a batch is.
//!
//! An export starts with a session that writes every key once, and lets each session read a marker from it. The reason
//! is that AWDIT does not order initial values before the sessions. Lineage that is not the next step of a session
//! becomes a key of its own, written once and read once.

use crate::format::error::{ReadError, WriteError};
use crate::format::lines::Lines;
use crate::format::transactions;
use crate::graph::Problem;
use crate::history::intern::Names;
use crate::history::{Action, History, NONE, Outcome};
use crate::terms::{Node, View, WRITE};
use std::io::{Read, Write};

/// Reads a history.
///
/// # Errors
///
/// The first line that does not follow the format.
pub fn read(input: impl Read) -> Result<History, ReadError> {
    let mut lines = Lines::new(input);
    let mut history = History::default();
    let (mut keys, mut values, mut sessions) = (Numbers::default(), Numbers::default(), Numbers::default());
    let mut session_names = Names::default();
    let mut last: Vec<Last> = Vec::new();
    let mut aborted = 0_u64;
    while lines.advance()? {
        let event = match parse(lines.text()) {
            Ok(event) => event,
            Err(_) if lines.is_open => {
                history.truncated = true;
                let line = lines.line;
                history.warnings.push(format!("line {line} is cut off; the verdict is about the lines before it"));
                break;
            }
            Err(problem) => return Err(lines.error(problem)),
        };
        if event.transaction < 0 {
            aborted += 1;
            continue;
        }
        let session = sessions.name(&mut session_names, event.session);
        if session as usize == last.len() {
            last.push(Last { token: NONE, transaction: -1, head: 0 });
        }
        let action = if event.is_write { Action::Put } else { Action::Get };
        let value = if event.value == [b'0'] { NONE } else { values.name(&mut history.values, event.value) };
        if event.is_write && value == NONE {
            return Err(lines.error("writes 0, which is the initial value"));
        }
        let key = keys.name(&mut history.keys, event.key);
        let last = &mut last[session as usize];
        if last.transaction == event.transaction {
            history.push_plain_part(last.head, action, key, value);
        } else {
            let head = history.len() as u32;
            let token = history.push_plain(session, action, key, value, last.token);
            *last = Last { token, transaction: event.transaction, head };
        }
    }
    transactions::finish(&mut history, aborted, "events of aborted transactions");
    Ok(history)
}

/// The last transaction of a session: its token, its number and its first operation.
struct Last {
    token: u32,
    transaction: i64,
    head: u32,
}

/// An event of a line; numbers are their digits, without leading zeros.
struct Event<'a> {
    is_write: bool,
    key: &'a [u8],
    value: &'a [u8],
    session: &'a [u8],
    transaction: i64,
}

fn parse(line: &[u8]) -> Result<Event<'_>, &'static str> {
    let [kind @ (b'r' | b'w'), b'(', rest @ .., b')'] = line else { return Err(FORM) };
    let (key, rest) = number(rest)?;
    let (value, rest) = number(rest)?;
    let (session, rest) = number(rest)?;
    let (sign, digits) = match rest {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let integer = "the transaction is an integer";
    let size = if digits.is_empty() { None } else { digits.iter().try_fold(0_i64, decimal) };
    let transaction = sign * size.ok_or_else(|| if rest.contains(&b',') { FORM } else { integer })?;
    Ok(Event { is_write: *kind == b'w', key, value, session, transaction })
}

const FORM: &str = "not of the form r(key,value,session,transaction) or w(...)";

/// Appends a digit, if it is one and there is room.
fn decimal(number: i64, digit: &u8) -> Option<i64> {
    if !digit.is_ascii_digit() {
        return None;
    }
    number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
}

/// The digits before the next comma, and what stands behind it.
fn number(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match &text[count..] {
        [b',', rest @ ..] if count > 0 => {
            let zeros = text[..count - 1].iter().take_while(|&&byte| byte == b'0').count();
            Ok((&text[zeros..count], rest))
        }
        rest if rest.contains(&b',') => Err("key, value and session are non-negative integers"),
        _ => Err(FORM),
    }
}

/// Names of numbers: small ones, which are nearly all, are found in a table without hashing their text. Values are
/// counted up in most histories, so neighbours in time are neighbours in the table.
#[derive(Default)]
struct Numbers {
    small: Vec<u32>,
}

/// Numbers below this are looked up in the table, which takes four bytes for each up to the largest that occurs.
const SMALL: usize = 1 << 24;

impl Numbers {
    /// The name of a number; a new one if it has none.
    fn name(&mut self, names: &mut Names, digits: &[u8]) -> u32 {
        let text = || std::str::from_utf8(digits).expect("digits are text");
        let number = match digits.len() {
            0..=8 => digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')),
            _ => SMALL,
        };
        if number >= SMALL {
            return names.number(text());
        }
        if number >= self.small.len() {
            self.small.resize((number + 1).next_power_of_two(), NONE);
        }
        if self.small[number] == NONE {
            self.small[number] = names.add(text());
        }
        self.small[number]
    }
}

/// An event of a session in formats that know nothing but reads and writes.
pub(crate) struct Step {
    /// One operation, or those of a batch.
    pub(crate) parts: Vec<Node>,
    /// Keys of lineage that are read before and written after it.
    pub(crate) takes: Vec<usize>,
    pub(crate) gives: Vec<usize>,
}

/// A history as sessions of reads and writes.
pub(crate) struct Sessions {
    pub(crate) sessions: Vec<Vec<Step>>,
}

impl Sessions {
    pub(crate) fn of(history: &History) -> Result<Self, WriteError> {
        let problem = Problem::of(history, false).map_err(WriteError::Unreadable)?;
        let mut place: Vec<Option<(usize, usize)>> = vec![None; problem.nodes()];
        let mut sessions: Vec<Vec<Step>> = Vec::new();
        // What stands for a node that is left out: the kept ones before it.
        let mut through: Vec<Vec<Node>> = vec![Vec::new(); problem.nodes()];
        let mut auxiliary = 0;
        for node in problem.in_order() {
            let mut before: Vec<Node> = Vec::new();
            for &other in problem.lineage.before(node) {
                match place[other as usize] {
                    Some(_) => before.push(other),
                    None => before.extend_from_slice(&through[other as usize]),
                }
            }
            before.sort_unstable();
            before.dedup();
            let mut parts: Vec<Node> = Vec::new();
            for part in problem.parts(node) {
                if is_kept(history, &problem, part)? {
                    parts.push(part);
                }
            }
            // The reads of a batch look at what was before its writes, unless they look at these.
            parts.sort_by_key(|&part| (history.is_own(part as usize), problem.is(part, WRITE)));
            if parts.is_empty() {
                through[node as usize] = before;
                continue;
            }
            let ends = |&&other: &&Node| {
                let (session, at) = place[other as usize].expect("only kept nodes are gathered");
                at + 1 == sessions[session].len()
            };
            let session = match before.iter().find(ends) {
                Some(&other) => {
                    before.retain(|&kept| kept != other);
                    place[other as usize].expect("only kept nodes are gathered").0
                }
                None => {
                    sessions.push(Vec::new());
                    sessions.len() - 1
                }
            };
            let mut step = Step { parts, takes: Vec::new(), gives: Vec::new() };
            for other in before {
                let (session, at) = place[other as usize].expect("only kept nodes are gathered");
                sessions[session][at].gives.push(auxiliary);
                step.takes.push(auxiliary);
                auxiliary += 1;
            }
            place[node as usize] = Some((session, sessions[session].len()));
            sessions[session].push(step);
        }
        Ok(Self { sessions })
    }
}

fn is_kept(history: &History, problem: &Problem, node: Node) -> Result<bool, WriteError> {
    let at = node as usize;
    if at >= problem.operations {
        return Ok(false);
    }
    if history.action[at] == Action::Delete && problem.is(node, WRITE) {
        return Err(WriteError::Inexpressible { id: history.id(at), what: "deletes" });
    }
    let is_read = history.action[at] == Action::Get && history.outcome[at] == Outcome::Ok;
    Ok(problem.is(node, WRITE)
        || history.is_own(at)
        || is_read && matches!(history.status[at], 200 | 404) && problem.view(node) != View::Open)
}

/// Writes a history. Exact sets, statuses of writes and times have no place in it.
///
/// # Errors
///
/// When the history has deletes, does not fit together, or the output fails.
pub fn write(history: &History, output: &mut impl Write) -> Result<(), WriteError> {
    let sessions = Sessions::of(history)?;
    let keys = history.keys.len();
    // Keys come first, then the marker, then the keys of lineage; values are 1 for initial ones, then counted up.
    let (marker, auxiliary) = (keys, keys + 1);
    for key in 0..=keys {
        writeln!(output, "w({key},1,0,0)")?;
    }
    let mut transaction = 0_u64;
    for (session, steps) in sessions.sessions.iter().enumerate() {
        let session = session + 1;
        transaction += 1;
        writeln!(output, "r({marker},1,{session},{transaction})")?;
        for step in steps {
            transaction += 1;
            for &taken in &step.takes {
                writeln!(output, "r({},2,{session},{transaction})", auxiliary + taken)?;
            }
            for at in step.parts.iter().map(|&part| part as usize) {
                let kind = if history.action[at] == Action::Put { 'w' } else { 'r' };
                let value = if history.value[at] == NONE { 1 } else { u64::from(history.value[at]) + 2 };
                writeln!(output, "{kind}({},{value},{session},{transaction})", history.key[at])?;
            }
            for &given in &step.gives {
                writeln!(output, "w({},2,{session},{transaction})", auxiliary + given)?;
            }
        }
    }
    Ok(())
}
