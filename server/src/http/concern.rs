//! `Write-Concern: N | majority | all` on PUT, DELETE and batches: at how many replicas a write is to be before it is answered
//! (docs/protocol.md, CONCERN-1).

use super::bad_request::BadRequest;
use super::prefer;
use hence_core::{Holders, Incarnation, Micros, WriteConcern};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The header.
pub(crate) static WRITE_CONCERN: HeaderName = HeaderName::from_static("write-concern");

const WRITE_CONCERN_APPLIED: HeaderName = HeaderName::from_static("write-concern-applied");

/// How long a write may spread where the client does not say.
const WAIT: Micros = Micros::from_seconds(5);

/// The concern that a request has, if it has one.
///
/// # Errors
/// If it is neither a positive number nor a word that is known, or if there are two.
pub(crate) fn concern(headers: &HeaderMap) -> Result<Option<WriteConcern>, BadRequest> {
    let mut lines = super::lines(headers, &WRITE_CONCERN);
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(BadRequest::WriteConcern);
    }
    let holders = line.to_str().ok().and_then(|text| holders(text.trim())).ok_or(BadRequest::WriteConcern)?;
    Ok(Some(WriteConcern { holders, wait: prefer::given(headers).unwrap_or(WAIT) }))
}

fn holders(text: &str) -> Option<Holders> {
    if text.eq_ignore_ascii_case("majority") {
        return Some(Holders::Majority);
    }
    if text.eq_ignore_ascii_case("all") {
        return Some(Holders::All);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits that do not fit are more than there can be members.
    let number = digits.then(|| text.parse().unwrap_or(usize::MAX))?;
    (number > 0).then_some(Holders::AtLeast(number))
}

/// Says how many replicas held the write when it was answered. Where that is too few, the status is 202.
pub(crate) fn say<B>(answer: &mut Response<B>, holders: &[Incarnation], reached: bool) {
    if !reached {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    answer.headers_mut().insert(WRITE_CONCERN_APPLIED, HeaderValue::from(holders.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str], prefer: Option<&str>) -> Result<Option<WriteConcern>, BadRequest> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&WRITE_CONCERN, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        if let Some(prefer) = prefer {
            headers.insert("prefer", HeaderValue::from_str(prefer).unwrap());
        }
        concern(&headers)
    }

    #[test]
    fn a_number_or_one_of_two_words() {
        for (line, holders) in [
            ("1", Holders::AtLeast(1)),
            (" 03 ", Holders::AtLeast(3)),
            ("99999999999999999999999", Holders::AtLeast(usize::MAX)),
            ("majority", Holders::Majority),
            ("ALL", Holders::All),
        ] {
            let read = read(&[line], None).unwrap().unwrap();
            assert_eq!((read.holders, read.wait), (holders, WAIT), "{line}");
        }
        assert_eq!(read(&[], Some("wait=3")), Ok(None));
    }

    #[test]
    fn nothing_else() {
        for line in ["", "0", "00", "-1", "+1", "1.0", "1, 2", "two", "quorum", "majority, all", "\u{e4}"] {
            assert_eq!(read(&[line], None), Err(BadRequest::WriteConcern), "{line}");
        }
        assert_eq!(read(&["2", "2"], None), Err(BadRequest::WriteConcern));
    }

    #[test]
    fn one_deadline_for_everything() {
        let wait = |prefer| read(&["2"], Some(prefer)).unwrap().unwrap().wait;
        assert_eq!(wait("wait=2"), Micros::from_seconds(2));
        assert_eq!(wait("wait=0"), Micros::ZERO);
        assert_eq!(wait("wait=nonsense"), WAIT);
    }
}
