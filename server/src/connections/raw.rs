//! What a client's raw bytes say that the HTTP library keeps to itself.
//!
//! Two things. A request target with a `#`: the library cuts the target there and would serve another key than the
//! client named. And the preface of HTTP/2, at which it hangs up without a word.
//!
//! A request line is told from a body by its form alone: `TOKEN TARGET HTTP/1.x` from one line break to the next. No
//! JSON text has such a line, since a line break cannot stand within a string. Only a body cut into chunks at just
//! these places has one; so a line counts only where a request for the same thing follows.
//!
//! Relied on: the library reads only when it has no whole head left. So all heads that came whole in earlier reads have
//! become requests, whatever is read. Of the lines that were found then, the last at most is still to come.

use memchr::{memchr, memrchr};
use std::collections::VecDeque;

/// How a client begins that takes HTTP/2 for granted (RFC 9113, 3.4), as far as HTTP/1 would go on reading.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// The same as a request of HTTP/1.1, so that the library reads it and the service can answer.
const REQUEST: &[u8] = b"PRI * HTTP/1.1\r\n";

/// What looks like a request line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    method: Box<[u8]>,
    /// The target up to its `#`, if it has one.
    target: Box<[u8]>,
    has_fragment: bool,
}

impl Line {
    /// Is it the line of this request, as the library sees it?
    fn is_of(&self, method: &str, path_and_query: &str) -> bool {
        // An absolute target ends in its path.
        *self.method == *method.as_bytes() && self.target.ends_with(path_and_query.as_bytes())
    }
}

/// Request lines of which one has a `#`, until their requests come.
#[derive(Debug, Default)]
pub(super) struct Lines(VecDeque<Line>);

impl Lines {
    /// These were found in what was just read.
    pub(super) fn replace(&mut self, found: Vec<Line>) {
        self.0.drain(..self.0.len().saturating_sub(1));
        self.0.extend(found);
    }

    /// Is any left?
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Had the target of this request a `#`? It is the next request of the connection.
    pub(super) fn take(&mut self, method: &str, path_and_query: &str) -> bool {
        // What comes before its line was none.
        let Some(at) = self.0.iter().position(|line| line.is_of(method, path_and_query)) else { return false };
        self.0.drain(..=at).next_back().is_some_and(|line| line.has_fragment)
    }
}

/// Looks at everything that a client sends, in order.
#[derive(Debug)]
pub(super) struct Raw {
    /// Bytes of the preface that came so far; `None` once something else came.
    preface: Option<usize>,
    /// The beginning of a line that may become a request line.
    line: Vec<u8>,
    line_bytes_max: usize,
    /// The present line is none.
    skips: bool,
}

impl Raw {
    /// For a connection whose request lines have at most so many bytes.
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { preface: Some(0), line: Vec::new(), line_bytes_max, skips: false }
    }

    /// The next bytes. The preface of HTTP/2 becomes a request of HTTP/1.1. Gives the request lines in these bytes where
    /// one of them has a `#`, and as a rule nothing.
    pub(super) fn look(&mut self, bytes: &mut [u8]) -> Vec<Line> {
        if let Some(matched) = self.preface {
            self.preface = rewrite_preface(matched, bytes);
        }
        let mut found = Vec::new();
        self.find_lines(bytes, &mut found);
        if found.iter().any(|line| line.has_fragment) { found } else { Vec::new() }
    }

    fn find_lines(&mut self, bytes: &[u8], found: &mut Vec<Line>) {
        let mut rest = bytes;
        // Where no line can be of interest, all but the last are passed over at once.
        if self.line.is_empty()
            && memchr(b'#', rest).is_none()
            && let Some(end) = memrchr(b'\n', rest)
        {
            rest = &rest[end + 1..];
            self.skips = false;
        }
        while let Some(end) = memchr(b'\n', rest) {
            if !self.skips {
                self.line.extend_from_slice(&rest[..end]);
                found.extend(request_line(&self.line));
            }
            self.line.clear();
            self.skips = false;
            rest = &rest[end + 1..];
        }
        if rest.is_empty() || self.skips {
            return;
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > self.line_bytes_max || !may_be_request_line(&self.line) {
            self.line = Vec::new();
            self.skips = true;
        }
    }
}

/// Makes the preface a request of HTTP/1.1, as far as these bytes go on with it. Says how much of it there is now.
fn rewrite_preface(matched: usize, bytes: &mut [u8]) -> Option<usize> {
    let (expected, put) = (&PREFACE[matched..], &REQUEST[matched..]);
    for ((byte, &expected), &put) in bytes.iter_mut().zip(expected).zip(put) {
        if *byte != expected {
            return None;
        }
        *byte = put;
    }
    let matched = matched + bytes.len();
    (matched < PREFACE.len()).then_some(matched)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Does this beginning of a line look like one of a request line?
fn may_be_request_line(line: &[u8]) -> bool {
    let method = memchr(b' ', line).map_or(line, |end| &line[..end]);
    !method.is_empty() && method.iter().all(|&byte| is_token(byte))
}

/// A whole line, without its line feed, if it is a request line.
fn request_line(line: &[u8]) -> Option<Line> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !may_be_request_line(line) {
        return None;
    }
    let (method, rest) = line.split_at(memchr(b' ', line)?);
    let (target, version) = rest[1..].split_at(memchr(b' ', &rest[1..])?);
    let end = memchr(b'#', target);
    let kept = &target[..end.unwrap_or(target.len())];
    let line = || Line { method: method.into(), target: kept.into(), has_fragment: end.is_some() };
    version.starts_with(b" HTTP/1.").then(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines with a `#` in these pieces, and what the pieces are afterwards.
    fn look(pieces: &[&[u8]]) -> (Vec<Line>, Vec<u8>) {
        let (mut raw, mut lines, mut all) = (Raw::new(100), Vec::new(), Vec::new());
        for piece in pieces {
            let mut piece = piece.to_vec();
            lines.extend(raw.look(&mut piece).into_iter().filter(|line| line.has_fragment));
            all.extend(piece);
        }
        (lines, all)
    }

    /// The same bytes at once, one by one and halved everywhere.
    fn look_every_way(bytes: &[u8]) -> (Vec<Line>, Vec<u8>) {
        let whole = look(&[bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(look(&single), whole);
        for at in 0..bytes.len() {
            assert_eq!(look(&[&bytes[..at], &bytes[at..]]), whole, "halved at {at}");
        }
        whole
    }

    #[test]
    fn targets_with_a_fragment() {
        let line = |method: &str, target: &str| Line {
            method: method.as_bytes().into(),
            target: target.as_bytes().into(),
            has_fragment: true,
        };
        for (bytes, expected) in [
            ("GET /kvs/a#b HTTP/1.1\r\nHost: h\r\n\r\n", vec![line("GET", "/kvs/a")]),
            ("GET /kvs/a# HTTP/1.0\n\n", vec![line("GET", "/kvs/a")]),
            ("PUT http://h/kvs/a#b#c HTTP/1.1\r\n\r\n", vec![line("PUT", "http://h/kvs/a")]),
            ("\r\nGET /a?b#c HTTP/1.1\r\n\r\n", vec![line("GET", "/a?b")]),
            ("GET /a HTTP/1.1\r\nX: #\r\n\r\n", vec![]),
            ("GET /a HTTP/1.1\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n", vec![line("GET", "/b")]),
            ("PUT /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a\":\"#\"}GET /b#c HTTP/1.1\r\n\r\n", vec![]),
            ("PUT /a HTTP/1.1\r\n\r\n{\"a\":\r\n\"GET /b#c HTTP/1.1\"\r\n}", vec![]),
            ("GET /b#c\r\n\r\n", vec![]),
            ("GET /b #c HTTP/1.1\r\n\r\n", vec![]),
            ("G\u{1}T /b#c HTTP/1.1\r\n\r\n", vec![]),
            (" /b#c HTTP/1.1\r\n\r\n", vec![]),
        ] {
            assert_eq!(look_every_way(bytes.as_bytes()).0, expected, "{bytes}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_dropped() {
        let (mut raw, long) = (Raw::new(100), [b'a'; 99]);
        for _ in 0..100 {
            assert_eq!(raw.look(&mut long.clone()), []);
            assert!(raw.line.capacity() <= 200);
        }
    }

    #[test]
    fn lines_find_their_requests() {
        let read = |lines: &mut Lines, text: &str| lines.replace(Raw::new(100).look(&mut text.as_bytes().to_vec()));
        let mut lines = Lines::default();
        read(
            &mut lines,
            "GET /a HTTP/1.1\r\n\r\nGET http://h/a#b HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\nPUT /c#d HTTP/1.1\r\n",
        );
        assert_eq!(["/a", "/a", "/a"].map(|target| lines.take("GET", target)), [false, true, false]);
        // The rest of the last head comes with the next read; what stands before it in the queue was no request.
        read(&mut lines, "Host: h\r\n\r\n");
        assert!(!lines.take("PUT", "/other") && lines.take("PUT", "/c") && lines.is_empty());
        read(&mut lines, "DELETE /x#y HTTP/1.1\r\nGET /a#b HTTP/1.1\r\n");
        assert!(lines.take("GET", "/a") && lines.is_empty());
        // Lines of a body linger until the next ones come.
        read(&mut lines, "GET /x#y HTTP/1.1\r\nGET /x#y HTTP/1.1\r\n");
        read(&mut lines, "GET /z HTTP/1.1\r\n\r\n");
        assert!(!lines.take("GET", "/z") && lines.0.len() == 1);
    }

    #[test]
    fn the_preface_becomes_a_request() {
        let rest = b"\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0";
        let (_, bytes) = look_every_way(&[PREFACE, rest].concat());
        assert_eq!(bytes, [REQUEST, rest].concat());
        for other in [b"GET / HTTP/2.0\r\n\r\n".as_slice(), b"PRI * HTTP/3.0\r\n\r\n", b"xPRI * HTTP/2.0\r\n\r\n"] {
            assert_eq!(look_every_way(other).1, other);
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in "[#/ \r\nGET:{\"]{0,60}", more in "( /#? HTTP/1.1\r\n|GET)?") {
            look_every_way(format!("{bytes}{more}GET /#a HTTP/1.1\r\n").as_bytes());
        }
    }
}
