//! The text of EDN, read as a stream: one value at a time, bounded, without recursion.
//!
//! It follows the specification at edn-format. It adds what Clojure's own reader takes and prints: `##Inf`,
//! `#:namespace{...}`, metadata before `^`, hexadecimal and octal integers, and characters by their number.

use super::number;
use super::value::Edn;
use crate::format::error::ReadError;
use crate::format::lines::LINE_BYTES_MAX;
use std::io::{BufRead, ErrorKind};

/// Containers, tags and discards within each other; a history needs five.
const DEPTH_MAX: usize = 64;

/// Values in one operation.
const VALUES_MAX: usize = 1 << 20;

/// Why there is no further value.
pub(super) enum Stop {
    /// The text ends inside of one.
    Cut,
    Wrong(ReadError),
}

/// What is open around the value at hand.
enum Frame {
    List(u8, Vec<Edn>),
    Set(Vec<Edn>),
    Map(Option<String>, Vec<Edn>),
    Tag(String),
    /// The next value is left out.
    Discard,
    /// The next value is metadata, which is left out.
    Meta,
    /// The next value has metadata.
    Bearer,
}

/// One step of the text.
enum Token {
    Value(Edn),
    Open(Frame),
    Close(u8),
    End,
}

pub(super) struct Text<R> {
    input: R,
    /// Where the next byte stands.
    pub(super) line: u32,
    /// What the value at hand took so far.
    bytes: usize,
    values: usize,
}

impl<R: BufRead> Text<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, line: 1, bytes: 0, values: 0 }
    }

    pub(super) fn wrong(&self, problem: impl Into<String>) -> Stop {
        Stop::Wrong(ReadError::Line { line: self.line, problem: problem.into() })
    }

    /// The next byte, which stays.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Stop> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Wrong(error.into())),
            }
        }
    }

    pub(super) fn take(&mut self) -> Result<Option<u8>, Stop> {
        let next = self.peek()?;
        if let Some(byte) = next {
            self.input.consume(1);
            self.line += u32::from(byte == b'\n');
            self.bytes += 1;
            if self.bytes > LINE_BYTES_MAX {
                return Err(self.wrong(format!("a value is longer than {LINE_BYTES_MAX} bytes")));
            }
        }
        Ok(next)
    }

    /// Skips what says nothing.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        loop {
            match self.peek()? {
                Some(b';') => {
                    while let Some(next) = self.peek()?
                        && next != b'\n'
                    {
                        self.take()?;
                        self.bytes = 0;
                    }
                }
                Some(next) if is_space(next) => _ = self.take()?,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// The next value; nothing at the end, or at a bracket that closes what the caller opened.
    pub(super) fn value(&mut self) -> Result<Option<Edn>, Stop> {
        let mut open: Vec<Frame> = Vec::new();
        self.values = 0;
        self.skip()?;
        self.bytes = 0;
        loop {
            self.skip()?;
            if open.is_empty() && matches!(self.peek()?, Some(b']' | b')' | b'}') | None) {
                return Ok(None);
            }
            let done = match self.token()? {
                Token::End => return Err(Stop::Cut),
                Token::Open(_) if open.len() == DEPTH_MAX => return Err(self.wrong("brackets nest too deeply")),
                Token::Open(frame) => {
                    open.push(frame);
                    continue;
                }
                Token::Close(bracket) => {
                    let Some(frame) = open.pop() else { return Err(self.wrong("a bracket closes nothing")) };
                    self.close(frame, bracket)?
                }
                Token::Value(value) => value,
            };
            self.values += 1;
            if self.values > VALUES_MAX {
                return Err(self.wrong(format!("more than {VALUES_MAX} values in one")));
            }
            if let Some(whole) = self.put(&mut open, done)? {
                return Ok(Some(whole));
            }
        }
    }

    /// Puts a value into what is open around it; hands it back when nothing is.
    fn put(&self, open: &mut Vec<Frame>, mut done: Edn) -> Result<Option<Edn>, Stop> {
        loop {
            match open.last_mut() {
                None => return Ok(Some(done)),
                Some(Frame::List(_, list) | Frame::Set(list) | Frame::Map(_, list)) => {
                    list.push(done);
                    return Ok(None);
                }
                Some(Frame::Discard) => {
                    open.pop();
                    return Ok(None);
                }
                Some(Frame::Meta) => {
                    if !matches!(done, Edn::Map(_) | Edn::Keyword(_) | Edn::Symbol(_) | Edn::Text(_)) {
                        return Err(self.wrong(format!("metadata is {}", done.kind())));
                    }
                    open.pop();
                    open.push(Frame::Bearer);
                    return Ok(None);
                }
                Some(Frame::Bearer) => {
                    if !(done.is_collection() || matches!(done, Edn::Symbol(_) | Edn::Tagged(..))) {
                        return Err(self.wrong(format!("{} has no metadata", done.kind())));
                    }
                    open.pop();
                }
                Some(Frame::Tag(_)) => {
                    let Some(Frame::Tag(tag)) = open.pop() else { return Err(self.wrong("a tag is lost")) };
                    done = Edn::Tagged(tag, Box::new(done));
                }
            }
        }
    }

    fn close(&self, frame: Frame, bracket: u8) -> Result<Edn, Stop> {
        match frame {
            Frame::List(close, list) if close == bracket => Ok(Edn::List(list)),
            Frame::Set(list) if bracket == b'}' => self.distinct(list).map(Edn::Set),
            Frame::Map(prefix, list) if bracket == b'}' => self.map(prefix.as_deref(), list),
            Frame::Tag(tag) => Err(self.wrong(format!("the tag #{tag} has no value"))),
            Frame::Discard => Err(self.wrong("#_ has nothing to discard")),
            Frame::Meta | Frame::Bearer => Err(self.wrong("metadata belongs to nothing")),
            Frame::List(..) | Frame::Set(_) | Frame::Map(..) => {
                Err(self.wrong(format!("'{}' closes nothing", char::from(bracket))))
            }
        }
    }

    /// In one order, whatever the order in which they stood.
    fn distinct(&self, mut list: Vec<Edn>) -> Result<Vec<Edn>, Stop> {
        list.sort();
        match list.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(self.wrong(format!("a set holds {} twice", pair[0]))),
            None => Ok(list),
        }
    }

    fn map(&self, prefix: Option<&str>, list: Vec<Edn>) -> Result<Edn, Stop> {
        if !list.len().is_multiple_of(2) {
            return Err(self.wrong("a map has a key without a value"));
        }
        let named = |key: Edn| match (prefix, key) {
            (Some(_), Edn::Keyword(name)) if name.starts_with("_/") => Edn::Keyword(name[2..].to_owned()),
            (Some(prefix), Edn::Keyword(name)) if !name.contains('/') => Edn::Keyword(format!("{prefix}/{name}")),
            (_, key) => key,
        };
        let mut list = list.into_iter();
        let mut pairs: Vec<(Edn, Edn)> = std::iter::from_fn(|| Some((named(list.next()?), list.next()?))).collect();
        pairs.sort();
        match pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(self.wrong(format!("a map has the key {} twice", pair[0].0))),
            None => Ok(Edn::Map(pairs)),
        }
    }

    fn token(&mut self) -> Result<Token, Stop> {
        let Some(first) = self.peek()? else { return Ok(Token::End) };
        Ok(match first {
            b'[' | b'(' => {
                self.take()?;
                Token::Open(Frame::List(if first == b'[' { b']' } else { b')' }, Vec::new()))
            }
            b'{' => {
                self.take()?;
                Token::Open(Frame::Map(None, Vec::new()))
            }
            b']' | b')' | b'}' => {
                self.take()?;
                Token::Close(first)
            }
            b'"' => Token::Value(Edn::Text(self.string()?)),
            b'\\' => Token::Value(Edn::Char(self.character()?)),
            b'#' => self.dispatch()?,
            b'^' => {
                self.take()?;
                Token::Open(Frame::Meta)
            }
            b'\'' | b'`' | b'~' | b'@' => {
                return Err(self.wrong(format!("'{}' begins nothing in EDN", char::from(first))));
            }
            _ => Token::Value(self.word()?),
        })
    }

    /// What begins with `#`.
    fn dispatch(&mut self) -> Result<Token, Stop> {
        self.take()?;
        match self.peek()? {
            None => Ok(Token::End),
            Some(b'{') => {
                self.take()?;
                Ok(Token::Open(Frame::Set(Vec::new())))
            }
            Some(b'_') => {
                self.take()?;
                Ok(Token::Open(Frame::Discard))
            }
            Some(b'^') => {
                self.take()?;
                Ok(Token::Open(Frame::Meta))
            }
            Some(b'#') => {
                self.take()?;
                match self.bare()?.as_str() {
                    name @ ("Inf" | "-Inf" | "NaN") => Ok(Token::Value(Edn::Number(format!("##{name}")))),
                    name => Err(self.wrong(format!("##{name} is no number"))),
                }
            }
            Some(b':') => {
                self.take()?;
                let prefix = self.bare()?;
                self.skip()?;
                if prefix.is_empty() || prefix.contains([':', '/']) || self.peek()? != Some(b'{') {
                    return Err(self.wrong(format!("#:{prefix} is no namespace before a map")));
                }
                self.take()?;
                Ok(Token::Open(Frame::Map(Some(prefix), Vec::new())))
            }
            Some(next) if next.is_ascii_alphabetic() => {
                let tag = self.bare()?;
                if self.peek()?.is_none() { Ok(Token::End) } else { Ok(Token::Open(Frame::Tag(tag))) }
            }
            Some(next) => Err(self.wrong(format!("#{} begins nothing in EDN", char::from(next)))),
        }
    }

    /// What stands up to the next space, bracket or quotation mark, as a text.
    fn bare(&mut self) -> Result<String, Stop> {
        self.bare_after(Vec::new())
    }

    /// The same after what was taken already, which may be a part of a character.
    fn bare_after(&mut self, mut bytes: Vec<u8>) -> Result<String, Stop> {
        while let Some(next) = self.peek()?
            && !is_space(next)
            && !b"[](){}\";".contains(&next)
        {
            bytes.push(next);
            self.take()?;
        }
        String::from_utf8(bytes).map_err(|_| self.wrong("not UTF-8"))
    }

    /// A number, a keyword or a symbol.
    fn word(&mut self) -> Result<Edn, Stop> {
        let word = self.bare()?;
        let at_end = self.peek()?.is_none();
        let digits = word.strip_prefix(['+', '-']).unwrap_or(&word);
        let parsed = match word.as_str() {
            "nil" => Some(Edn::Nil),
            "true" => Some(Edn::Bool(true)),
            "false" => Some(Edn::Bool(false)),
            _ if digits.starts_with(|first: char| first.is_ascii_digit()) => number::parse(&word).map(Edn::Number),
            _ => match word.strip_prefix(':') {
                Some(name) if is_name(name) => Some(Edn::Keyword(name.to_owned())),
                Some(_) => None,
                None if is_name(&word) => Some(Edn::Symbol(word.clone())),
                None => None,
            },
        };
        match parsed {
            Some(value) => Ok(value),
            // Half a word at the end of the file is cut off.
            None if at_end => Err(Stop::Cut),
            None => Err(self.wrong(format!("{word:?} is no value of EDN"))),
        }
    }

    fn string(&mut self) -> Result<String, Stop> {
        self.take()?;
        let mut bytes = Vec::new();
        loop {
            match self.take()?.ok_or(Stop::Cut)? {
                b'"' => return String::from_utf8(bytes).map_err(|_| self.wrong("a string is not UTF-8")),
                b'\\' => {
                    let escaped = self.escaped()?;
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => bytes.push(byte),
            }
        }
    }

    /// What stands for a character behind a backslash in a string.
    fn escaped(&mut self) -> Result<char, Stop> {
        Ok(match self.take()?.ok_or(Stop::Cut)? {
            b't' => '\t',
            b'r' => '\r',
            b'n' => '\n',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            byte @ (b'\\' | b'"') => char::from(byte),
            b'u' => {
                let high = self.unit()?;
                let low = if (0xd800..0xdc00).contains(&high) {
                    if (self.take()?, self.take()?) != (Some(b'\\'), Some(b'u')) {
                        return Err(self.wrong("half a character in a string"));
                    }
                    Some(self.unit()?)
                } else {
                    None
                };
                let units = [Some(high), low].into_iter().flatten();
                let decoded = char::decode_utf16(units).next().and_then(Result::ok);
                decoded.ok_or_else(|| self.wrong("half a character in a string"))?
            }
            digit @ b'0'..=b'7' => {
                let mut code = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = self.peek()? else { break };
                    self.take()?;
                    code = code * 8 + u32::from(digit - b'0');
                }
                let decoded = char::from_u32(code).filter(|_| code <= 0o377);
                decoded.ok_or_else(|| self.wrong("a character of a string is too large"))?
            }
            byte => return Err(self.wrong(format!("a string has the escape \\{}", char::from(byte)))),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, Stop> {
        let mut unit = 0_u16;
        for _ in 0..4 {
            let digit = char::from(self.take()?.ok_or(Stop::Cut)?).to_digit(16);
            unit = unit << 4 | digit.ok_or_else(|| self.wrong("\\u needs four hexadecimal digits"))? as u16;
        }
        Ok(unit)
    }

    /// A character, as itself.
    fn character(&mut self) -> Result<String, Stop> {
        self.take()?;
        let Some(first) = self.take()? else { return Err(Stop::Cut) };
        // The first byte may be a bracket or a space; what follows it may not.
        let text = self.bare_after(vec![first])?;
        let coded = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let named = match text.as_str() {
            "newline" => Some('\n'),
            "return" => Some('\r'),
            "space" => Some(' '),
            "tab" => Some('\t'),
            "backspace" => Some('\u{8}'),
            "formfeed" => Some('\u{c}'),
            _ if text.chars().count() == 1 => text.chars().next(),
            _ => match (text.strip_prefix('u'), text.strip_prefix('o')) {
                (Some(digits), _) if digits.len() == 4 => coded(digits, 16),
                (_, Some(digits)) if digits.len() <= 3 => coded(digits, 8),
                _ => None,
            },
        };
        named.map(String::from).ok_or_else(|| self.wrong(format!("\\{text} is no character")))
    }
}

/// A comma is a space.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b',')
}

/// The name of a keyword or a symbol, with at most one slash between a prefix and the rest.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let takes = |next: char| next.is_alphanumeric() || ".*+!-_?$%&=<>:#'|".contains(next);
        !part.is_empty() && part.chars().all(takes) && !part.starts_with([':', '\'']) && !part.ends_with(':')
    };
    match name.split_once('/') {
        None => is_part(name),
        Some(_) if name == "/" => true,
        Some((prefix, rest)) => is_part(prefix) && is_part(rest),
    }
}
