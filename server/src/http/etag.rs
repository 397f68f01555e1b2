//! Entity tags: a quoted list of version ids, and the headers that compare with them (RFC 9110, 8.8.3 and 13.1).
//!
//! A tag of ours is `"<incarnation, 16 hex digits>-<counter>+..."`, sorted by dot, so a set of versions has
//! exactly one tag. A well-formed tag that is not of this shape matches nothing; what is no tag is refused.

use super::bad_request::BadRequest;
use hence_core::{Dot, Incarnation, Match};
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Bytes of a tag of one version, at most; more go to the heap.
const TAG_BYTES: usize = 64;

/// The tag of these versions, quotes included; `""` for none. The dots must be sorted.
pub(crate) fn tag<'a>(dots: impl IntoIterator<Item = &'a Dot>) -> HeaderValue {
    let mut text = SmallVec::<[u8; TAG_BYTES]>::new();
    text.push(b'"');
    for (at, dot) in dots.into_iter().enumerate() {
        if at > 0 {
            text.push(b'+');
        }
        push_dot(&mut text, *dot);
    }
    text.push(b'"');
    HeaderValue::from_bytes(&text).expect("hexadecimal digits, minus, plus and quotes are legal in a header")
}

fn push_dot(text: &mut SmallVec<[u8; TAG_BYTES]>, dot: Dot) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    /// Sixteen digits, a minus, and the longest counter.
    const DOT_BYTES: usize = 16 + 1 + 20;
    let mut bytes = [b'-'; DOT_BYTES];
    let mut rest = dot.incarnation.0;
    for place in bytes[..16].iter_mut().rev() {
        *place = DIGITS[(rest & 0xf) as usize];
        rest >>= 4;
    }
    let (mut at, mut counter) = (DOT_BYTES, dot.counter);
    loop {
        at -= 1;
        bytes[at] = b'0' + (counter % 10) as u8;
        counter /= 10;
        if counter == 0 {
            break;
        }
    }
    text.extend_from_slice(&bytes[..=16]);
    text.extend_from_slice(&bytes[at..]);
}

/// How a header compares (RFC 9110, 8.8.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `If-Match`: a weak tag matches nothing.
    Strong,
    /// `If-None-Match`: weak or not makes no difference.
    Weak,
}

/// Reads a conditional header, all its lines together; `None` where it is absent.
///
/// # Errors
/// [`BadRequest::EntityTags`] for what is neither `*` nor a list of entity tags.
pub(crate) fn condition(
    headers: &HeaderMap,
    name: &HeaderName,
    shown_name: &'static str,
    comparison: Comparison,
) -> Result<Option<Match>, BadRequest> {
    let mut lines = super::lines(headers, name).map(HeaderValue::as_bytes).peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    read(lines, shown_name, comparison).map(Some)
}

/// Reads the lines of a condition.
///
/// # Errors
/// [`BadRequest::EntityTags`] for what is neither `*` nor a list of entity tags.
pub(crate) fn read<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    shown_name: &'static str,
    comparison: Comparison,
) -> Result<Match, BadRequest> {
    let mut sets = Vec::new();
    let mut tags = 0;
    let mut any = false;
    for line in lines {
        let line = line.trim_ascii();
        if line == b"*" {
            any = true;
        } else {
            tags += read_list(line, comparison, &mut sets).ok_or(BadRequest::EntityTags(shown_name))?;
        }
    }
    match (any, tags) {
        (true, 0) => Ok(Match::Any),
        (true, _) | (false, 0) => Err(BadRequest::EntityTags(shown_name)),
        (false, _) => Ok(Match::OneOf(sets)),
    }
}

/// Reads one line of tags and says how many there were; `None` where it is not a list of tags.
fn read_list(line: &[u8], comparison: Comparison, sets: &mut Vec<Vec<Dot>>) -> Option<usize> {
    let mut rest = line;
    let mut tags = 0;
    loop {
        // A list may have empty elements (RFC 9110, 5.6.1).
        rest = rest.trim_ascii_start();
        if let Some(tail) = rest.strip_prefix(b",") {
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return Some(tags);
        }
        let (weak, opaque, tail) = read_tag(rest)?;
        tags += 1;
        if !(weak && comparison == Comparison::Strong) {
            sets.extend(dots(opaque));
        }
        rest = tail.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
}

/// `[W/]"opaque"` at the start of `text`: weak, what is in the quotes, what comes after.
fn read_tag(text: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (weak, text) = match text.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    let (opaque, tail) = inner.split_at(end);
    let legal = |&byte: &u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
    opaque.iter().all(legal).then_some((weak, opaque, &tail[1..]))
}

/// The dots of a tag of ours; `None` for any other.
fn dots(opaque: &[u8]) -> Option<Vec<Dot>> {
    let text = std::str::from_utf8(opaque).ok()?;
    let dots: Vec<Dot> = text.split('+').map(dot).collect::<Option<_>>()?;
    dots.is_sorted_by(|a, b| a < b).then_some(dots)
}

fn dot(text: &str) -> Option<Dot> {
    let (incarnation, counter) = text.split_once('-')?;
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let canonical = incarnation.len() == 16 && incarnation.bytes().all(hex);
    if !canonical || counter.starts_with('0') || !counter.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Dot { incarnation: Incarnation(u64::from_str_radix(incarnation, 16).ok()?), counter: counter.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::IF_MATCH;
    use proptest::prelude::*;

    fn dot_of(incarnation: u64, counter: u64) -> Dot {
        Dot { incarnation: Incarnation(incarnation), counter }
    }

    fn read_header(lines: &[&[u8]], comparison: Comparison) -> Result<Option<Match>, BadRequest> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_bytes(line).unwrap());
        }
        condition(&headers, &IF_MATCH, "If-Match", comparison)
    }

    #[test]
    fn tags_as_they_are_written() {
        assert_eq!(tag(&[]), "\"\"");
        assert_eq!(tag(&[dot_of(0xab, 1)]), "\"00000000000000ab-1\"");
        let two = [dot_of(1, u64::MAX), dot_of(u64::MAX, 10)];
        assert_eq!(tag(&two), "\"0000000000000001-18446744073709551615+ffffffffffffffff-10\"");
    }

    #[test]
    fn lists() {
        const ONE: &[u8] = b"\"00000000000000ab-1\"";
        let one = || vec![dot_of(0xab, 1)];
        let weak = [b"W/".as_slice(), ONE].concat();
        let both = [ONE, b" ,, \t", ONE, b","].concat();
        let bad = Err(BadRequest::EntityTags("If-Match"));
        let cases: Vec<(Vec<&[u8]>, _)> = vec![
            (vec![], Ok(None)),
            (vec![b"*"], Ok(Some(Match::Any))),
            (vec![b" * "], Ok(Some(Match::Any))),
            (vec![ONE], Ok(Some(Match::OneOf(vec![one()])))),
            (vec![&both], Ok(Some(Match::OneOf(vec![one(), one()])))),
            (vec![ONE, ONE], Ok(Some(Match::OneOf(vec![one(), one()])))),
            (vec![&weak], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"a,b\", \"c\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"\xc3\xa4\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000AB-1\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-01\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-0\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-99999999999999999999\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-2+00000000000000ab-1\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b"\"00000000000000ab-1+00000000000000ab-1\""], Ok(Some(Match::OneOf(vec![])))),
            (vec![b""], bad.clone()),
            (vec![b","], bad.clone()),
            (vec![b"*", ONE], bad.clone()),
            (vec![b"*, *"], bad.clone()),
            (vec![b"abc"], bad.clone()),
            (vec![b"\"abc"], bad.clone()),
            (vec![b"\"a\"\"b\""], bad.clone()),
            (vec![b"\"a b\""], bad.clone()),
            (vec![b"w/\"a\""], bad.clone()),
            (vec![b"W/"], bad),
        ];
        for (lines, expected) in cases {
            assert_eq!(read_header(&lines, Comparison::Strong), expected, "{lines:?}");
        }
        assert_eq!(read_header(&[&weak], Comparison::Weak), Ok(Some(Match::OneOf(vec![one()]))));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(dots in proptest::collection::btree_set((any::<u64>(), 1..=u64::MAX), 1..6)) {
            let dots: Vec<Dot> = dots.into_iter().map(|(incarnation, counter)| dot_of(incarnation, counter)).collect();
            let text = tag(&dots);
            prop_assert_eq!(read_header(&[text.as_bytes()], Comparison::Strong), Ok(Some(Match::OneOf(vec![dots]))));
        }

        #[test]
        fn nothing_panics(line in "[\"W/*, +0-9a-f\\-]{0,60}|\\PC{0,30}") {
            let _ = read_header(&[line.as_bytes()], Comparison::Weak);
        }
    }
}
