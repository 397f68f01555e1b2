//! Jepsen's EDN: operation maps, in a vector or a list or one after another, in and out.
//!
//! Ours are written with `:f :txn` and one micro-operation, and carry everything else in extra keys, so nothing is
//! lost on the way. Foreign histories are read by Jepsen's conventions; `convention` says which. Their lineage is the
//! order of each process. `:ok` happened, `:fail` did not, `:info` may have.
//!
//! What is not understood is refused with its line, unless it certainly did nothing.

mod convention;
mod foreign;
mod number;
mod text;
mod value;
mod write;

pub use write::write;

use crate::format::error::{ReadError, at_line};
use crate::history::{Action, History, Operation, Outcome};
use convention::{Done, Kind, beside};
use foreign::Foreign;
use std::collections::BTreeMap;
use std::io::BufRead;
use text::{Stop, Text};
use value::Edn;

/// The value that a key has before its first write, for [`read`].
///
/// # Errors
///
/// When the text is not one value of EDN.
pub fn initial(text: &str) -> Result<String, String> {
    let mut parser = Text::new(text.as_bytes());
    let one = |parser: &mut Text<&[u8]>| match parser.value() {
        Ok(value) => Ok(value),
        Err(Stop::Cut) => Err(format!("{text:?} is cut off")),
        Err(Stop::Wrong(error)) => Err(error.to_string()),
    };
    match (one(&mut parser)?, one(&mut parser)?) {
        (Some(value), None) => Ok(value.json()),
        _ => Err(format!("{text:?} is not one value of EDN")),
    }
}

/// Reads a history. Keys of a foreign one begin with `initial`, a JSON text, if it says so.
///
/// # Errors
///
/// The first place that does not follow the format, or that is not understood.
pub fn read(input: impl BufRead, initial: Option<&str>) -> Result<History, ReadError> {
    let mut text = Text::new(input);
    let mut reader = Reader::default();
    match operations(&mut text, |line, value| reader.take_form(line, value)) {
        Ok(()) => {}
        Err(Stop::Wrong(error)) => return Err(error),
        Err(Stop::Cut) => {
            let (history, line) = (&mut reader.foreign.history, text.line);
            history.truncated = true;
            history.warnings.push(format!("line {line} is cut off; the verdict is about what stands before it"));
        }
    }
    reader.finish(initial)
}

/// Hands over the values of a text and the elements of its outer sequences, each with its line.
fn operations<R: BufRead>(
    text: &mut Text<R>,
    mut take: impl FnMut(u32, Edn) -> Result<(), ReadError>,
) -> Result<(), Stop> {
    let mut within = None;
    loop {
        text.skip()?;
        let line = text.line;
        match (text.peek()?, within) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(Stop::Cut),
            (Some(open @ (b'[' | b'(')), None) => {
                text.take()?;
                within = Some(if open == b'[' { b']' } else { b')' });
            }
            (Some(close @ (b']' | b')' | b'}')), _) => {
                if within != Some(close) {
                    return Err(text.wrong(format!("'{}' closes nothing", char::from(close))));
                }
                text.take()?;
                within = None;
            }
            (Some(_), _) => {
                if let Some(value) = text.value()? {
                    take(line, value).map_err(Stop::Wrong)?;
                }
            }
        }
    }
}

#[derive(Default)]
struct Reader {
    foreign: Foreign,
    /// What each process asked for and did not get an answer to.
    open: BTreeMap<String, Open>,
    /// The file has invocations, and a completion without one.
    has_invocations: bool,
    stray: Option<(u32, String)>,
    /// The last `:index`, and its line.
    index: Option<(u64, u32)>,
    /// Operations of ours were seen.
    is_ours: bool,
    nemesis: u64,
    next_id: u64,
}

/// An operation that was asked for.
struct Open {
    line: u32,
    f: Edn,
    key: Option<Edn>,
    value: Edn,
    time: Option<u64>,
}

fn wrong(line: u32, problem: impl Into<String>) -> ReadError {
    ReadError::Line { line, problem: problem.into() }
}

impl Reader {
    /// An operation, or a sequence of them.
    fn take_form(&mut self, line: u32, form: Edn) -> Result<(), ReadError> {
        // A record prints as a tagged map.
        let form = if let Edn::Tagged(_, inner) = form { *inner } else { form };
        if let Edn::List(list) = form {
            return list.into_iter().try_for_each(|form| self.take_form(line, form));
        }
        if !matches!(form, Edn::Map(_)) {
            return Err(wrong(line, format!("an operation is a map, and this is {}", form.kind())));
        }
        self.take(line, &form)
    }

    fn take(&mut self, line: u32, map: &Edn) -> Result<(), ReadError> {
        let Some(process) = map.field("process") else {
            return Err(wrong(line, "no :process, so nobody knows whose operation this is"));
        };
        let name = process.name();
        let is_name = matches!(process, Edn::Number(_) | Edn::Keyword(_) | Edn::Text(_) | Edn::Symbol(_));
        // The nemesis is no client.
        if name.trim_start_matches([':', '\'']).starts_with("nemesis") {
            self.nemesis += 1;
            return Ok(());
        }
        if !is_name {
            return Err(wrong(line, format!(":process is {}", process.kind())));
        }
        self.note_index(line, map)?;
        let kind = map.field("type").ok_or_else(|| wrong(line, "no :type"))?;
        let outcome = match kind.keyword() {
            Some("invoke") => return self.invoke(line, name, map),
            Some("ok") => Outcome::Ok,
            Some("fail") => Outcome::Fail,
            Some("info") => Outcome::Unknown,
            _ => return Err(wrong(line, format!("{kind} is no :type; there are :invoke, :ok, :fail and :info"))),
        };
        self.complete(line, &name, outcome, map)
    }

    /// A history stands in the order of its indexes, if it has them.
    fn note_index(&mut self, line: u32, map: &Edn) -> Result<(), ReadError> {
        let Some(index) = map.field("index").and_then(Edn::number::<u64>) else { return Ok(()) };
        if let Some((before, at)) = self.index
            && index <= before
        {
            let problem =
                format!(":index {index} stands after :index {before} of line {at}; sort the history, or part it");
            return Err(wrong(line, problem));
        }
        self.index = Some((index, line));
        Ok(())
    }

    fn invoke(&mut self, line: u32, process: String, map: &Edn) -> Result<(), ReadError> {
        self.has_invocations = true;
        let time = map.field("time").and_then(Edn::number);
        let f = map.field("f").cloned().unwrap_or(Edn::Nil);
        let key = map.field("key").cloned();
        let value = beside(key.as_ref(), map.entry("value").cloned().unwrap_or(Edn::Nil));
        let open = Open { line, f, key, value, time };
        // A process that asks again has given up on what it asked before.
        if let Some(given_up) = self.open.insert(process.clone(), open) {
            self.foreign.given_up += 1;
            self.unanswered(&process, given_up)?;
        }
        Ok(())
    }

    fn unanswered(&mut self, process: &str, open: Open) -> Result<(), ReadError> {
        let done = Done {
            line: open.line,
            process: process.to_owned(),
            outcome: Outcome::Unknown,
            f: open.f,
            invoked: Some(open.value),
            answered: None,
        };
        if self.is_ours {
            return self.take_ours(&done, None, open.time);
        }
        self.foreign.take(done)
    }

    fn complete(&mut self, line: u32, process: &str, outcome: Outcome, map: &Edn) -> Result<(), ReadError> {
        let open = self.open.remove(process);
        let asked = open.as_ref().map(|open| &open.f).filter(|f| **f != Edn::Nil);
        let f = map.field("f").or(asked).cloned().unwrap_or(Edn::Nil);
        if let Some(asked) = asked.filter(|asked| **asked != f) {
            return Err(wrong(line, format!("process {process} asked for {asked}, and this ends {f}")));
        }
        if open.is_none() && outcome != Outcome::Fail && self.stray.is_none() {
            self.stray = Some((line, process.to_owned()));
        }
        let time = open.as_ref().and_then(|open| open.time);
        let (asked, invoked) = open.map_or((None, None), |open| (open.key, Some(open.value)));
        if let (Some(asked), Some(key)) = (&asked, map.field("key"))
            && asked != key
        {
            return Err(wrong(line, format!("asked for the key {asked}, and the answer names {key}")));
        }
        let key = map.field("key").or(asked.as_ref());
        let answered = map.entry("value").map(|value| beside(key, value.clone()));
        let done = Done { line, process: process.to_owned(), outcome, f, invoked, answered };
        let is_ours = ["id", "client", "status"].iter().all(|field| map.field(field).is_some());
        if is_ours && done.f == Edn::Keyword("txn".into()) {
            if !self.is_ours && !self.foreign.history.is_empty() {
                return Err(wrong(line, "an operation of our own form stands behind others"));
            }
            self.is_ours = true;
            return self.take_ours(&done, Some(map), time);
        }
        if self.is_ours {
            return Err(wrong(line, "this operation stands behind those of our own form, and has not their fields"));
        }
        self.foreign.take(done)
    }

    /// An operation that we wrote; without its extra keys if it was never answered.
    fn take_ours(&mut self, done: &Done, map: Option<&Edn>, call_ns: Option<u64>) -> Result<(), ReadError> {
        let malformed = || wrong(done.line, "one of our own operations is [[f key value] ...]");
        let value = done.answered.as_ref().or(done.invoked.as_ref()).and_then(Edn::list).ok_or_else(malformed)?;
        // What is of one part of a batch only stands in a map of its own.
        let parts = map.and_then(|map| map.field("parts")).and_then(Edn::list);
        if value.is_empty() || map.is_some() && parts.map_or(1, <[Edn]>::len) != value.len() {
            return Err(malformed());
        }
        let own = |at: usize| parts.and_then(|parts| parts.get(at)).or(map);
        let read = value.iter().enumerate().map(|(at, micro)| read_part(done, micro, own(at)));
        let read: Vec<Operation> = read.collect::<Result<_, _>>()?;
        let id = map.and_then(|map| map.field("id")).and_then(Edn::number).unwrap_or(self.next_id);
        self.next_id = self.next_id.max(id.saturating_add(1));
        let text = |name: &str| map.and_then(|map| map.field(name)).and_then(Edn::text).map(str::to_owned);
        let texts = |name: &str| map.and_then(|map| map.field(name)).and_then(Edn::texts);
        let time = map.and_then(|map| map.field("time")).and_then(Edn::number);
        for (at, part) in read.into_iter().enumerate() {
            let operation = Operation {
                id,
                client: text("client").unwrap_or_else(|| done.process.clone()),
                replica: text("replica").unwrap_or_default(),
                token_in: text("token-in"),
                token_out: text("token-out"),
                merged_from: texts("merged-from").unwrap_or_default(),
                call_ns,
                return_ns: time.filter(|_| done.outcome == Outcome::Ok),
                outcome: done.outcome,
                same_batch: at > 0,
                ..part
            };
            self.foreign.history.push_at(done.line, &operation).map_err(|malformed| at_line(done.line, &malformed))?;
        }
        Ok(())
    }

    fn finish(mut self, initial: Option<&str>) -> Result<History, ReadError> {
        if let Some((line, process)) = self.stray.take().filter(|_| self.has_invocations) {
            return Err(wrong(line, format!("ends an operation that process {process} never began")));
        }
        for (process, open) in std::mem::take(&mut self.open) {
            self.unanswered(&process, open)?;
        }
        if self.is_ours {
            return match initial {
                None => Ok(self.foreign.history),
                Some(_) => Err(wrong(1, "this history is of our own form, and says what keys begin with")),
            };
        }
        let mut history = self.foreign.finish(initial)?;
        if history.is_empty() && self.nemesis > 0 {
            history.warnings.push(format!("{} operations are the nemesis's", self.nemesis));
        }
        Ok(history)
    }
}

/// What one operation of ours, or one part of a batch, asked for and was answered.
fn read_part(done: &Done, micro: &Edn, own: Option<&Edn>) -> Result<Operation, ReadError> {
    let malformed = || wrong(done.line, "one of our own operations is [[f key value] ...]");
    let Some([f, Edn::Text(key), value]) = micro.list() else { return Err(malformed()) };
    let action = match Kind::of(f) {
        Kind::Read => Action::Get,
        Kind::Write => Action::Put,
        Kind::Delete => Action::Delete,
        Kind::Cas | Kind::Transaction | Kind::Other => return Err(malformed()),
    };
    let texts = |name: &str| own.and_then(|own| own.field(name)).and_then(Edn::texts);
    let is_json = |text: &str| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    let text = value.text().filter(|text| is_json(text)).map(str::to_owned);
    if text.is_none() && *value != Edn::Nil {
        return Err(wrong(done.line, format!("{value} is no text of JSON")));
    }
    let status = own.and_then(|own| own.field("status")).and_then(Edn::number).unwrap_or(0);
    let (shown, superseded, siblings) = (texts("shown"), texts("superseded"), texts("siblings"));
    if let Some(other) = siblings.iter().flatten().find(|text| !is_json(text)) {
        return Err(wrong(done.line, format!("{other:?} is no text of JSON")));
    }
    let is_own = own.and_then(|own| own.field("own")) == Some(&Edn::Bool(true));
    let part = Operation::new(0, "", action, key);
    Ok(Operation { value: text, status, shown, superseded, siblings, own: is_own, ..part })
}
