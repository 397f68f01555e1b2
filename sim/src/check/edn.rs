//! Jepsen's EDN: a vector or a sequence of operation maps, in and out.
//!
//! Ours are written with `:f :txn` and one micro-operation, and carry everything else in extra keys, so nothing is
//! lost on the way. Foreign histories are read with `:f` `:read`, `:write` or `:txn`; their lineage is the order of
//! each process. `:ok` happened, `:fail` did not, `:info` may have.

use super::history::{Action, History, Operation, Outcome, SILENT};
use super::json::{ReadError, at_line};
use super::lines::LINE_BYTES_MAX;
use super::plume::WriteError;
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// A value of EDN, as far as histories use it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Edn {
    Nil,
    /// A number, a symbol or a boolean, as it stands.
    Plain(String),
    Text(String),
    Keyword(String),
    List(Vec<Edn>),
    Map(Vec<(Edn, Edn)>),
}

/// Containers within containers; a history needs four.
const DEPTH_MAX: usize = 64;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

enum Open {
    List(char, Vec<Edn>),
    Map(Vec<Edn>),
}

impl Parser<'_> {
    fn error(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Line { line: self.line, problem: problem.into() }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        self.line += u32::from(next == '\n');
        Some(next)
    }

    fn skip(&mut self) {
        while let Some(next) = self.peek() {
            match next {
                ';' => while self.take().is_some_and(|next| next != '\n') {},
                ',' => _ = self.take(),
                next if next.is_whitespace() => _ = self.take(),
                _ => return,
            }
        }
    }

    /// The next value; nothing at the end, or at a bracket that closes what the caller opened.
    fn value(&mut self) -> Result<Option<Edn>, ReadError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.skip();
            let done = match self.peek() {
                None if open.is_empty() => return Ok(None),
                None => return Err(self.error("the end of the file stands inside brackets")),
                Some(']' | ')' | '}') if open.is_empty() => return Ok(None),
                Some(bracket @ (']' | ')' | '}')) => {
                    self.take();
                    match (open.pop().expect("something is open"), bracket) {
                        (Open::List(close, list), bracket) if close == bracket => Edn::List(list),
                        (Open::Map(list), '}') if list.len() % 2 == 0 => Edn::Map(pairs(list)),
                        (Open::Map(_), '}') => return Err(self.error("a map has a key without a value")),
                        (Open::List(..) | Open::Map(_), _) => {
                            return Err(self.error(format!("'{bracket}' closes nothing")));
                        }
                    }
                }
                Some('[' | '(' | '{') if open.len() == DEPTH_MAX => return Err(self.error("brackets nest too deeply")),
                Some('[') => {
                    self.take();
                    open.push(Open::List(']', Vec::new()));
                    continue;
                }
                Some('(') => {
                    self.take();
                    open.push(Open::List(')', Vec::new()));
                    continue;
                }
                Some('{') => {
                    self.take();
                    open.push(Open::Map(Vec::new()));
                    continue;
                }
                Some('#') => {
                    // A tag like #jepsen.history.Op or #{: what it tags is read, the tag is not.
                    self.take();
                    if self.peek() != Some('{') {
                        self.word();
                    }
                    continue;
                }
                Some('"') => Edn::Text(self.string()?),
                Some(':') => {
                    self.take();
                    Edn::Keyword(self.word())
                }
                Some(_) => match self.word() {
                    word if word == "nil" => Edn::Nil,
                    word => Edn::Plain(word),
                },
            };
            match open.last_mut() {
                None => return Ok(Some(done)),
                Some(Open::List(_, list) | Open::Map(list)) => list.push(done),
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|next| !next.is_whitespace() && !"[](){},;\"".contains(next)) {
            self.take();
        }
        self.text[start..self.at].to_owned()
    }

    fn string(&mut self) -> Result<String, ReadError> {
        let start = self.at;
        self.take();
        let mut escaped = false;
        while let Some(next) = self.take() {
            if next == '"' && !escaped {
                // The escapes of EDN strings are those of JSON.
                let text = self.text[start..self.at].replace('\n', "\\n");
                return serde_json::from_str(&text).map_err(|error| self.error(format!("a string: {error}")));
            }
            escaped = next == '\\' && !escaped;
        }
        Err(self.error("the end of the file stands inside a string"))
    }
}

fn pairs(list: Vec<Edn>) -> Vec<(Edn, Edn)> {
    let mut list = list.into_iter();
    std::iter::from_fn(|| Some((list.next()?, list.next()?))).collect()
}

impl Edn {
    fn field(&self, name: &str) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        let is_name = |key: &Self| matches!(key, Self::Keyword(keyword) if keyword == name);
        pairs.iter().find(|(key, _)| is_name(key)).map(|(_, value)| value).filter(|value| **value != Self::Nil)
    }

    fn keyword(&self) -> Option<&str> {
        match self {
            Self::Keyword(name) => Some(name),
            Self::Nil | Self::Plain(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// As a text: of a key or a name.
    fn text(&self) -> Option<String> {
        match self {
            Self::Plain(text) | Self::Text(text) | Self::Keyword(text) => Some(text.clone()),
            Self::Nil | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::List(list) => list.iter().map(Self::text).collect(),
            Self::Nil | Self::Plain(_) | Self::Text(_) | Self::Keyword(_) | Self::Map(_) => None,
        }
    }

    fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match self {
            Self::Plain(text) => text.parse().ok(),
            Self::Nil | Self::Text(_) | Self::Keyword(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// As the JSON text of a value: numbers stand for themselves, texts of ours are JSON already.
    fn json(&self, ours: bool) -> Option<String> {
        match self {
            Self::Plain(text) => Some(text.clone()),
            Self::Text(text) if ours => Some(text.clone()),
            Self::Text(text) | Self::Keyword(text) => serde_json::to_string(text).ok(),
            Self::Nil | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// Reads a history.
///
/// # Errors
///
/// The first place that does not follow the format.
pub fn read(mut input: impl Read) -> Result<History, ReadError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    if let Some(at) = bytes.split(|&byte| byte == b'\n').position(|line| line.len() > LINE_BYTES_MAX) {
        return Err(ReadError::Line { line: at as u32 + 1, problem: format!("longer than {LINE_BYTES_MAX} bytes") });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() as u32 + 1;
        ReadError::Line { line, problem: "not UTF-8".into() }
    })?;
    let mut parser = Parser { text: &text, at: 0, line: 1 };
    parser.skip();
    if parser.text[parser.at..].starts_with(['[', '(']) {
        parser.take();
    }
    let mut reader = Reader { history: History::default(), last: BTreeMap::new(), invoked: BTreeMap::new(), next: 0 };
    loop {
        parser.skip();
        let line = parser.line;
        match parser.value() {
            Ok(Some(map)) => reader.take(line, &map)?,
            Ok(None) => break,
            Err(ReadError::Line { problem, .. }) if problem.starts_with("the end of the file") => {
                reader.history.truncated = true;
                let warning = format!("line {line} is cut off; the verdict is about what stands before it");
                reader.history.warnings.push(warning);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    reader.finish()
}

struct Reader {
    history: History,
    /// The last token of each process of a foreign history.
    last: BTreeMap<String, String>,
    /// What each process asked for and did not get an answer to: where, when, what.
    invoked: BTreeMap<String, (u32, Edn)>,
    next: u64,
}

impl Reader {
    fn take(&mut self, line: u32, map: &Edn) -> Result<(), ReadError> {
        let error = |problem: &str| ReadError::Line { line, problem: problem.into() };
        let process = map.field("process").and_then(Edn::text).ok_or_else(|| error("no :process"))?;
        let kind = map.field("type").and_then(Edn::keyword).ok_or_else(|| error("no :type"))?;
        match kind {
            // The nemesis is no client.
            _ if process == "nemesis" => Ok(()),
            "invoke" => {
                self.invoked.insert(process, (line, map.clone()));
                Ok(())
            }
            "ok" | "info" | "fail" => {
                let invoked = self.invoked.remove(&process).map(|(_, map)| map);
                self.complete(line, &process, kind, map, invoked.as_ref())
            }
            other => Err(error(&format!(":{other} is not a type of operation"))),
        }
    }

    fn complete(
        &mut self,
        line: u32,
        process: &str,
        kind: &str,
        map: &Edn,
        invoked: Option<&Edn>,
    ) -> Result<(), ReadError> {
        let error = |problem: &str| ReadError::Line { line, problem: problem.into() };
        let value =
            map.field("value").or(invoked.and_then(|map| map.field("value"))).ok_or_else(|| error("no :value"))?;
        let micro = match value {
            Edn::List(list) => match list.as_slice() {
                [Edn::List(micro)] => micro.clone(),
                [Edn::List(_), ..] => return Err(error("a transaction of several operations is not judged here")),
                [key, value] => {
                    let f = map.field("f").cloned().unwrap_or(Edn::Nil);
                    vec![f, key.clone(), value.clone()]
                }
                _ => return Err(error(":value is neither [key value] nor [[f key value]]")),
            },
            Edn::Nil | Edn::Plain(_) | Edn::Text(_) | Edn::Keyword(_) | Edn::Map(_) => {
                return Err(error(":value is neither [key value] nor [[f key value]]"));
            }
        };
        let [f, key, value] = micro.as_slice() else { return Err(error("an operation is [f key value]")) };
        let action = match f.keyword() {
            Some("r" | "read") => Action::Get,
            Some("w" | "write") => Action::Put,
            Some("d" | "delete") => Action::Delete,
            _ => return Err(error("an operation is :r, :w or :d, or :read or :write")),
        };
        let ours = map.field("id").is_some();
        let id = map.field("id").and_then(Edn::number).unwrap_or(self.next);
        self.next = self.next.max(id) + 1;
        let key = key.text().ok_or_else(|| error("a key is a text or a number"))?;
        let client = map.field("client").and_then(Edn::text).unwrap_or_else(|| process.to_owned());
        let mut operation = Operation::new(id, &client, action, &key);
        operation.value = value.json(ours);
        operation.outcome = match kind {
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail,
            _ => Outcome::Unknown,
        };
        if ours {
            extras(&mut operation, map);
        } else {
            self.plain(&mut operation, process);
        }
        operation.call_ns = invoked.and_then(|map| map.field("time")).and_then(Edn::number);
        operation.return_ns = map.field("time").and_then(Edn::number).filter(|_| operation.outcome == Outcome::Ok);
        push(&mut self.history, line, &operation)
    }

    /// A foreign operation: its process's order is its lineage.
    fn plain(&mut self, operation: &mut Operation, process: &str) {
        operation.token_in = self.last.get(process).cloned();
        if operation.outcome == Outcome::Ok {
            let nothing = operation.action == Action::Get && operation.value.is_none();
            operation.status = if nothing { 404 } else { 200 };
            // A foreign 200 of a write says nothing about what was there before.
            if operation.action == Action::Put {
                operation.status = SILENT;
            }
            let token = format!("{process}.{}", operation.id);
            operation.token_out = Some(token.clone());
            self.last.insert(process.to_owned(), token);
        }
    }

    fn finish(mut self) -> Result<History, ReadError> {
        for (process, (line, map)) in std::mem::take(&mut self.invoked) {
            let unanswered = map.clone();
            self.complete(line, &process, "info", &map, Some(&unanswered))?;
        }
        Ok(self.history)
    }
}

fn push(history: &mut History, line: u32, operation: &Operation) -> Result<(), ReadError> {
    history.push(operation).map_err(|malformed| at_line(line, &malformed))
}

fn extras(operation: &mut Operation, map: &Edn) {
    operation.replica = map.field("replica").and_then(Edn::text).unwrap_or_default();
    operation.status = map.field("status").and_then(Edn::number).unwrap_or(0);
    operation.token_in = map.field("token-in").and_then(Edn::text);
    operation.token_out = map.field("token-out").and_then(Edn::text);
    operation.merged_from = map.field("merged-from").and_then(Edn::texts).unwrap_or_default();
    operation.shown = map.field("shown").and_then(Edn::texts);
    operation.superseded = map.field("superseded").and_then(Edn::texts);
    operation.siblings = map.field("siblings").and_then(Edn::texts);
}

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
