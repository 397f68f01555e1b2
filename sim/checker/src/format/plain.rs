//! The bytes of a history: without the gzip around them, and without a byte order mark before them.

use crate::format::error::ReadError;
use flate2::bufread::GzDecoder;
use std::io::{BufRead, BufReader, Cursor, Error, ErrorKind, Read};

/// How much of the beginning is looked at.
const START_BYTES: usize = 64 << 10;

const GZIP: &[u8] = &[0x1f, 0x8b];

const UTF_16: &str = "UTF-16, which is not read; write it in UTF-8 first";

/// Archives and encodings that are not read, by how they begin.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "a zip archive, which is not read; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd, which is not read; unpack it first"),
    (b"\xfd7zXZ\0", "compressed by xz, which is not read; unpack it first"),
    (b"BZh", "compressed by bzip2, which is not read; unpack it first"),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];

/// An input whose beginning was looked at.
type Looked<R> = std::io::Chain<Cursor<Vec<u8>>, R>;

/// The text of a file.
pub(super) enum Plain<R> {
    Bare(Looked<R>),
    Gzip(Box<Looked<BufReader<Unpacked<Looked<R>>>>>),
}

/// What comes out of gzip, member by member; what is wrong with it says so. Tapes and blocks are filled up with zeros, which
/// `gzip` does not mind either.
pub(super) struct Unpacked<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Unpacked<R> {
    fn read_on(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let is_last = is_over(member.get_mut())?;
            let rest = self.0.take().map(GzDecoder::into_inner);
            self.0 = rest.filter(|_| !is_last).map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// Skips zeros; says whether nothing is behind them.
fn is_over(input: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let bytes = input.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        if zeros < bytes.len() || bytes.is_empty() {
            let is_over = bytes.is_empty();
            input.consume(zeros);
            return Ok(is_over);
        }
        input.consume(zeros);
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.read_on(buffer).map_err(|error| {
            if error.kind() == ErrorKind::Interrupted {
                return error;
            }
            Error::new(error.kind(), format!("the gzip around it is damaged or cut off: {error}"))
        })
    }
}

impl<R: BufRead> Plain<R> {
    pub(super) fn of(input: R) -> Result<Self, ReadError> {
        let input = looked(input)?;
        let start = input.get_ref().0.get_ref();
        if !start.starts_with(GZIP) {
            return Ok(Self::Bare(without_mark(input)?));
        }
        let inner = looked(BufReader::with_capacity(START_BYTES, Unpacked(Some(GzDecoder::new(input)))))?;
        if inner.get_ref().0.get_ref().starts_with(GZIP) {
            return Err(foreign("gzip within gzip, which is not read; unpack it first"));
        }
        Ok(Self::Gzip(Box::new(without_mark(inner)?)))
    }

    /// The beginning, as much of it as is there.
    pub(super) fn start(&mut self) -> Result<&[u8], ReadError> {
        let (whole, at) = match self {
            Self::Bare(input) => (input.get_ref().0.get_ref(), input.get_ref().0.position()),
            Self::Gzip(input) => (input.get_ref().0.get_ref(), input.get_ref().0.position()),
        };
        Ok(&whole[at as usize..])
    }
}

fn foreign(what: &str) -> ReadError {
    ReadError::Line { line: 1, problem: format!("this file is {what}") }
}

/// Takes in the beginning, however slowly it comes.
fn looked<R: BufRead>(mut input: R) -> Result<Looked<R>, ReadError> {
    let mut start = Vec::new();
    input.by_ref().take(START_BYTES as u64).read_to_end(&mut start)?;
    Ok(Cursor::new(start).chain(input))
}

fn without_mark<R: BufRead>(mut input: Looked<R>) -> Result<Looked<R>, ReadError> {
    let start = input.get_ref().0.get_ref();
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(foreign(what));
    }
    if start.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(input)
}

impl<R: BufRead> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Bare(input) => input.read(buffer),
            Self::Gzip(input) => input.read(buffer),
        }
    }
}

impl<R: BufRead> BufRead for Plain<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self {
            Self::Bare(input) => input.fill_buf(),
            Self::Gzip(input) => input.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Bare(input) => input.consume(count),
            Self::Gzip(input) => input.consume(count),
        }
    }
}
