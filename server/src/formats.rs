//! Which formats of the protocol this process speaks.
//!
//! A release speaks all released ones. A build for tests also knows the one that stands in for the next
//! ([`Formats::TEST`]), so that a roll to another format can be tried. It speaks what the variable says. A DELETE may ask
//! for what only that format has a word for. A release has neither the variable nor the header.

use hence_core::Formats;
use http::HeaderMap;

/// Is this a build for tests?
const FOR_TESTS: bool = cfg!(any(debug_assertions, feature = "test-formats"));
/// The formats to speak, such as `4-6`.
const VARIABLE: &str = "HENCE_TEST_FORMATS";
/// Of a request: the format that it takes.
const HEADER: &str = "hence-test-format";

/// What this process speaks.
pub(crate) fn spoken() -> Formats {
    let text = std::env::var(VARIABLE).ok().filter(|_| FOR_TESTS);
    let known =
        |formats: &Formats| Formats::WITH_TEST.speaks(formats.lowest) && Formats::WITH_TEST.speaks(formats.highest);
    text.and_then(|text| Formats::parse(&text)).filter(known).unwrap_or(Formats::RELEASED)
}

/// The oldest format in which what the request asks for can be said.
pub(crate) fn asked(headers: &HeaderMap) -> u8 {
    let asks = FOR_TESTS && headers.get(HEADER).is_some_and(|value| value == "erase");
    if asks { Formats::TEST } else { Formats::RELEASED.lowest }
}
