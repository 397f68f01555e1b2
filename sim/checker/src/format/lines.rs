//! The lines of an input, one at a time and bounded, where they lie in the reader's buffer: nothing is copied.

use crate::format::error::ReadError;
use std::io::{ErrorKind, Read};

/// The longest line, in bytes. A value is at most 8 MiB and may come back several times as siblings.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// What the buffer holds at first; it doubles for longer lines.
const BUFFER_BYTES: usize = 256 << 10;

/// One line at a time, bounded.
pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    filled: usize,
    /// Where the line at hand lies.
    start: usize,
    end: usize,
    /// Where the next line begins.
    next: usize,
    /// The number of the line at hand.
    pub(crate) line: u32,
    /// The line at hand had no end.
    pub(crate) is_open: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        let buffer = vec![0; BUFFER_BYTES];
        Self { input, buffer, filled: 0, start: 0, end: 0, next: 0, line: 0, is_open: false }
    }

    /// The line at hand, without its end and the spaces around it.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Goes on to the next line that is not blank; false at the end of the input.
    pub(crate) fn advance(&mut self) -> Result<bool, ReadError> {
        while self.advance_one()? {
            if !self.text().is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn advance_one(&mut self) -> Result<bool, ReadError> {
        self.line += 1;
        self.start = self.next;
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.start + searched..self.filled];
            if let Some(at) = memchr::memchr(b'\n', rest) {
                self.end = self.start + searched + at;
                (self.next, self.is_open) = (self.end + 1, false);
                break;
            }
            searched += rest.len();
            if searched > LINE_BYTES_MAX {
                return Err(self.error(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            if !self.fill()? {
                (self.end, self.next, self.is_open) = (self.filled, self.filled, true);
                break;
            }
        }
        let is_more = self.next > self.start;
        while self.buffer[self.start..self.end].last().is_some_and(u8::is_ascii_whitespace) {
            self.end -= 1;
        }
        while self.buffer[self.start..self.end].first().is_some_and(u8::is_ascii_whitespace) {
            self.start += 1;
        }
        Ok(is_more)
    }

    /// Reads on behind the line at hand, which moves to the front; false at the end of the input.
    fn fill(&mut self) -> Result<bool, ReadError> {
        self.buffer.copy_within(self.start..self.filled, 0);
        (self.start, self.filled) = (0, self.filled - self.start);
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> ReadError {
        ReadError::Line { line: self.line, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that hands out a few bytes at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(3).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(text: &[u8]) -> Vec<(u32, Vec<u8>, bool)> {
        let (mut lines, mut all) = (Lines::new(Drops(text)), Vec::new());
        while lines.advance().expect("the input does not fail") {
            all.push((lines.line, lines.text().to_vec(), lines.is_open));
        }
        all
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let all = lines(b"one\n\n  two and more \r\n \t\nrest");
        let told: Vec<(u32, &[u8], bool)> =
            all.iter().map(|(line, text, is_open)| (*line, &**text, *is_open)).collect();
        assert_eq!(told, [(1, &b"one"[..], false), (3, b"two and more", false), (5, b"rest", true)]);
        let blank = lines(b"one\n\r\n  \n\n ");
        assert_eq!(blank, [(1, b"one".to_vec(), false)]);
        assert_eq!(lines(b""), []);
    }

    #[test]
    fn a_line_may_be_longer_than_the_buffer() {
        let long = "x".repeat(BUFFER_BYTES * 3);
        let all = lines(format!("a\n{long}\nb\n").as_bytes());
        assert_eq!(all[1], (2, long.into_bytes(), false));
        assert_eq!((all.len(), all[2].1.as_slice()), (3, &b"b"[..]));
    }
}
