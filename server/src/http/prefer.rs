//! The one preference that is understood: `Prefer: wait=SECONDS` (RFC 7240, 4.3). What is not understood is
//! ignored, as that document asks.

use hence_core::Micros;
use http::{HeaderMap, HeaderName};

/// The header.
pub(crate) static PREFER: HeaderName = HeaderName::from_static("prefer");

/// The longest wait that is granted, in seconds; a longer wish is cut to it.
pub(crate) const WAIT_SECONDS_MAX: u64 = 30;

/// How long the client is willing to wait; zero where it does not say.
pub(crate) fn wait(headers: &HeaderMap) -> Micros {
    given(headers).unwrap_or(Micros::ZERO)
}

/// How long the client is willing to wait, where it says.
pub(crate) fn given(headers: &HeaderMap) -> Option<Micros> {
    // The first mention counts, so says the RFC.
    let lines = super::lines(headers, &PREFER).filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(','));
    preferences.find_map(wait_of).map(|seconds| Micros::from_seconds(seconds.min(WAIT_SECONDS_MAX)))
}

/// The seconds of `wait=N`, with whatever parameters; `None` for every other preference.
fn wait_of(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // Digits that do not fit are a very long wait.
    digits.then(|| value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn preferences() {
        for (line, seconds) in [
            ("", 0),
            ("wait=5", 5),
            ("Wait = 5", 5),
            ("wait=\"5\"", 5),
            ("respond-async, wait=7; foo=bar", 7),
            ("wait=3, wait=9", 3),
            ("wait=0", 0),
            ("wait=30", 30),
            ("wait=31", 30),
            ("wait=99999999999999999999999", 30),
            ("wait=-1", 0),
            ("wait=1.5", 0),
            ("wait=", 0),
            ("wait", 0),
            ("waits=5", 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(line));
            assert_eq!(wait(&headers), Micros::from_seconds(seconds), "{line}");
        }
        assert_eq!(wait(&HeaderMap::new()), Micros::ZERO);
    }
}
