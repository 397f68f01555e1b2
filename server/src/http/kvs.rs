//! From a request for a key to what the replica is asked.
//!
//! Pure: everything is checked in the contract's order (key length, JSON, value, metadata), and nothing is
//! asked of the replica before all of it holds.

use super::answer::{CAUSAL_METADATA, Form};
use super::bad_request::BadRequest;
use super::concern::{self, WRITE_CONCERN};
use super::etag::{self, Comparison};
use super::json::DataBody;
use super::mint::Mint;
use super::prefer::{self, PREFER};
use super::route;
use crate::formats;
use crate::settings::Limits;
use hence_core::{Action, Condition, DataRequest, Key, Micros, TokenError, Value, VersionVector};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use memchr::memchr;

/// What a request for a key asks, and in which form it wants its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRequest {
    /// For the replica.
    pub(crate) request: DataRequest,
    /// For the answer.
    pub(crate) form: Form,
}

/// Reads a request for a key. The method must be GET, HEAD, PUT or DELETE.
///
/// # Errors
/// The first thing that is wrong, in the contract's order.
pub(crate) fn parse(
    key: &str,
    parts: &Parts,
    body: &[u8],
    limits: &Limits,
    mint: &Mint,
) -> Result<KeyRequest, BadRequest> {
    let key = Key::new(key).map_err(|_| BadRequest::KeyTooLong)?;
    let body = DataBody::parse(body, limits.nesting_max)?;
    let put = parts.method == Method::PUT;
    let action = match put {
        true => Action::Put(Value::new(body.value()?)),
        false if parts.method == Method::DELETE => Action::Delete,
        false => Action::Get,
    };
    let past = past(&body, &parts.headers, mint, limits.token_bytes_max)?;
    let siblings = route::wants_siblings(parts.uri.query())?;
    let (condition, wait, concern) = match is_plain(&parts.headers) {
        true => (Condition::default(), Micros::ZERO, None),
        false => {
            let writes = !matches!(action, Action::Get);
            let concern = if writes { concern::concern(&parts.headers)? } else { None };
            (condition(&parts.headers)?, prefer::wait(&parts.headers), concern)
        }
    };
    let form = Form { mint: mint.clone(), siblings, waited: wait > Micros::ZERO, put, list: None };
    let format = formats::asked(&parts.headers);
    Ok(KeyRequest { request: DataRequest { key, action, past, wait, condition, format, concern }, form })
}

/// Has the request nothing of what few have? One walk over its headers tells, instead of one for each.
fn is_plain(headers: &HeaderMap) -> bool {
    let is_rare =
        |name: &HeaderName| *name == IF_MATCH || *name == IF_NONE_MATCH || *name == PREFER || *name == WRITE_CONCERN;
    !headers.keys().any(is_rare)
}

fn condition(headers: &HeaderMap) -> Result<Condition, BadRequest> {
    Ok(Condition {
        if_match: etag::condition(headers, &IF_MATCH, "If-Match", Comparison::Strong)?,
        if_none_match: etag::condition(headers, &IF_NONE_MATCH, "If-None-Match", Comparison::Weak)?,
    })
}

/// The client's past: the join of the body's token and those of every `Causal-Metadata` header.
pub(super) fn past<F>(
    body: &DataBody<'_, F>,
    headers: &HeaderMap,
    mint: &Mint,
    bytes_max: usize,
) -> Result<VersionVector, BadRequest> {
    let mut past = VersionVector::new();
    let mut tokens = 0;
    let mut join = |text: &str| -> Result<(), BadRequest> {
        let vector = mint.decode(text, bytes_max)?;
        tokens += 1;
        match past.is_empty() {
            true => past = vector,
            false => _ = past.join(&vector),
        }
        Ok(())
    };
    if let Some(token) = body.token()? {
        join(&token)?;
    }
    for line in super::lines(headers, &CAUSAL_METADATA) {
        let line = line.to_str().map_err(|_| TokenError::Damaged)?;
        match memchr(b',', line.as_bytes()) {
            None if !line.is_empty() => join(line.trim())?,
            _ => line.split(',').map(str::trim).filter(|token| !token.is_empty()).try_for_each(&mut join)?,
        }
    }
    if tokens > 1 {
        // What is answered must be short enough to be sent back.
        let bytes = mint.bytes_of_text(&past);
        if bytes > bytes_max {
            return Err(TokenError::TooLong { bytes, bytes_max }.into());
        }
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{ClusterTag, Dot, Holders, Incarnation, Match, Token, WriteConcern};
    use http::Request;
    use proptest::prelude::*;

    const CLUSTER: ClusterTag = ClusterTag(9);

    fn vector(entries: &[(u64, u64)]) -> VersionVector {
        VersionVector::from_entries(entries.iter().map(|&(incarnation, counter)| (Incarnation(incarnation), counter)))
    }

    fn token(entries: &[(u64, u64)]) -> String {
        Token(vector(entries)).encode(CLUSTER)
    }

    fn read(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Result<KeyRequest, BadRequest> {
        let mut request = Request::builder().method(method).uri(format!("http://a{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        parse("k", &parts, body.as_bytes(), &Limits::default(), &Mint::plain(CLUSTER))
    }

    #[test]
    fn everything_at_once() {
        let (one, two) = (token(&[(1, 5), (2, 1)]), token(&[(2, 7)]));
        let body = format!("{{\"value\":[1.0],\"causal-metadata\":\"{one}\"}}");
        let headers = [
            ("causal-metadata", two.as_str()),
            ("causal-metadata", ""),
            ("if-match", "\"0000000000000001-5\""),
            ("if-none-match", "*"),
            ("prefer", "wait=40"),
            ("write-concern", "majority"),
        ];
        let parsed = read("PUT", "/kvs/k?siblings=true", &headers, &body).unwrap();
        let dot = Dot { incarnation: Incarnation(1), counter: 5 };
        let request = DataRequest {
            key: Key::new("k").unwrap(),
            action: Action::Put(Value::new(b"[1.0]")),
            past: vector(&[(1, 5), (2, 7)]),
            wait: Micros::from_seconds(30),
            condition: Condition { if_match: Some(Match::OneOf(vec![vec![dot]])), if_none_match: Some(Match::Any) },
            format: hence_core::Formats::RELEASED.lowest,
            concern: Some(WriteConcern { holders: Holders::Majority, wait: Micros::from_seconds(30) }),
        };
        let form = Form { mint: Mint::plain(CLUSTER), siblings: true, waited: true, put: true, list: None };
        assert_eq!(parsed, KeyRequest { request, form });
    }

    #[test]
    fn reads_and_deletes_need_nothing() {
        for (method, action) in [("GET", Action::Get), ("DELETE", Action::Delete)] {
            for body in ["", "{}", "{\"value\":1}", "{\"value\":null,\"causal-metadata\":{}}"] {
                let parsed = read(method, "/kvs/k", &[], body).unwrap();
                assert_eq!(parsed.request.action, action);
                assert_eq!(parsed.request.past, VersionVector::new());
                assert_eq!(parsed.request.wait, Micros::ZERO);
                assert_eq!(parsed.request.concern, None);
                assert!(!parsed.form.put && !parsed.form.waited);
            }
        }
    }

    /// What comes first in the contract's order is what is told.
    #[test]
    fn the_order_of_checks() {
        let (parts, ()) = Request::put("/kvs/k?siblings=x").header("if-match", "x").body(()).unwrap().into_parts();
        let limits = Limits::default();
        let check =
            |key: &str, body: &str| parse(key, &parts, body.as_bytes(), &limits, &Mint::plain(CLUSTER)).unwrap_err();
        let long = "k".repeat(51);
        assert_eq!(check(&long, "{"), BadRequest::KeyTooLong);
        assert!(matches!(check("k", "{"), BadRequest::BodyMalformed(_)));
        assert_eq!(check("k", "{\"causal-metadata\":1}"), BadRequest::NoValue);
        assert_eq!(check("k", "{\"causal-metadata\":1,\"value\":1}"), BadRequest::MetadataType);
        let foreign = Token(vector(&[(1, 1)])).encode(ClusterTag(1));
        let body = format!("{{\"causal-metadata\":\"{foreign}\",\"value\":1}}");
        assert_eq!(check("k", &body), BadRequest::Token(TokenError::Foreign));
        assert_eq!(check("k", "{\"value\":1}"), BadRequest::SiblingsParameter("x".into()));
    }

    #[test]
    fn metadata_that_is_none() {
        let good = token(&[(1, 1)]);
        let damaged = Err(BadRequest::Token(TokenError::Damaged));
        for text in [&good[1..], &good[..good.len() - 1], "x", "ä", "null", "{}"] {
            assert_eq!(read("GET", "/kvs/k", &[("causal-metadata", text)], ""), damaged, "{text}");
            let body = format!("{{\"causal-metadata\":\"{text}\"}}");
            assert_eq!(read("GET", "/kvs/k", &[], &body), damaged, "{text}");
        }
        let long = "A".repeat(8_193);
        let error = TokenError::TooLong { bytes: 8_193, bytes_max: 8_192 };
        assert_eq!(read("GET", "/kvs/k", &[("causal-metadata", &long)], ""), Err(BadRequest::Token(error)));
    }

    #[test]
    fn a_join_that_could_not_be_sent_back_is_refused() {
        let half = |from: u64| token(&(from..from + 500).map(|n| (n, 1)).collect::<Vec<_>>());
        let (one, two) = (half(0), half(1_000));
        assert!(one.len() < 8_192 && one.len() + two.len() > 8_192);
        assert!(read("GET", "/kvs/k", &[("causal-metadata", &one)], "").is_ok());
        let both = format!("{one}, {two}");
        let refused = read("GET", "/kvs/k", &[("causal-metadata", &both)], "");
        assert!(matches!(refused, Err(BadRequest::Token(TokenError::TooLong { .. }))), "{refused:?}");
    }

    proptest! {
        #[test]
        fn nothing_panics(
            key in "\\PC{0,60}",
            body in proptest::collection::vec(any::<u8>(), 0..100),
            line in "[ -~\\x{80}-\\x{ff}]{0,40}",
        ) {
            let mut request = Request::put("/kvs/k");
            for name in ["if-match", "if-none-match", "prefer", "causal-metadata", "write-concern"] {
                request = request.header(name, line.as_bytes());
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let _ = parse(&key, &parts, &body, &Limits::default(), &Mint::plain(CLUSTER));
        }
    }
}
