//! `GET /kvs`: the keys of a range, from the query to what the replica is asked.
//!
//! The query is what forms send (`application/x-www-form-urlencoded`). A parameter that is not known is refused: one that
//! is passed over by mistake would show more than was asked for. The token of the query is a header by now.

use super::answer::Form;
use super::bad_request::{BadRequest, LIST_PARAMETERS as PARAMETERS};
use super::json::DataBody;
use super::kvs;
use super::mint::Mint;
use super::prefer;
use super::route;
use crate::settings::Limits;
use hence_core::{LIST_MAX, ListRequest, ListShape, Micros, VersionVector};
use http::request::Parts;
use std::borrow::Cow;

/// Keys of a page where the client names no limit.
const LIMIT_DEFAULT: usize = 100;

/// The parameter of the token.
const TOKEN: &str = "causal-metadata";

/// What a list asks, and in which form it wants its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    /// For the replica.
    pub(crate) request: ListRequest,
    /// For the answer.
    pub(crate) form: Form,
}

/// Reads a list. The method must be GET or HEAD.
///
/// # Errors
/// The first thing that is wrong: in the query, in the body, in the metadata.
pub(crate) fn parse(parts: &Parts, body: &[u8], limits: &Limits, mint: &Mint) -> Result<List, BadRequest> {
    let mut request = query(parts.uri.query().unwrap_or_default())?;
    let body = DataBody::parse(body, limits.nesting_max)?;
    let shown = Box::new(request.clone());
    request.past = kvs::past(&body, &parts.headers, mint, limits.token_bytes_max)?;
    request.wait = prefer::wait(&parts.headers);
    let waited = request.wait > Micros::ZERO;
    let form = Form { mint: mint.clone(), siblings: false, waited, put: false, list: Some(shown) };
    Ok(List { request, form })
}

/// The parameters of these names, each at most once, in this order. That of the token is a header by now.
///
/// # Errors
/// A name that is not among them, one that is there twice, and a value that is no text.
pub(super) fn parameters<'a, const N: usize>(
    query: &'a str,
    names: &[&'static str; N],
    unknown: fn(String) -> BadRequest,
) -> Result<[Option<Cow<'a, str>>; N], BadRequest> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let at = names.iter().position(|known| *known == name).ok_or_else(|| unknown(name.into()))?;
        if names[at] == TOKEN {
            continue;
        }
        let decoded = decode(value).ok_or(BadRequest::ParameterEncoding(names[at]))?;
        if values[at].replace(decoded).is_some() {
            return Err(BadRequest::ParameterTwice(names[at]));
        }
    }
    Ok(values)
}

/// A query without a past.
fn query(query: &str) -> Result<ListRequest, BadRequest> {
    let values = parameters(query, &PARAMETERS, BadRequest::UnknownParameter)?;
    let [prefix, start, end, limit, reverse, delimiter, keys_only, count_only, _] = values;
    let text = |value: Option<Cow<'_, str>>| value.map(Cow::into_owned).unwrap_or_default();
    let shape = match (flag("keys-only", keys_only.as_deref())?, flag("count-only", count_only.as_deref())?) {
        (false, false) => ListShape::Values,
        (true, false) => ListShape::Keys,
        (false, true) => ListShape::Count,
        (true, true) => return Err(BadRequest::KeysOrCount),
    };
    Ok(ListRequest {
        prefix: text(prefix),
        start: text(start),
        end: Some(text(end)).filter(|end| !end.is_empty()),
        limit: limit.map_or(Ok(LIMIT_DEFAULT), |limit| number(&limit))?,
        reverse: flag("reverse", reverse.as_deref())?,
        delimiter: text(delimiter),
        shape,
        past: VersionVector::new(),
        wait: Micros::ZERO,
    })
}

pub(super) fn flag(name: &'static str, value: Option<&str>) -> Result<bool, BadRequest> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(BadRequest::FlagParameter(name, other.into())),
    }
}

fn number(text: &str) -> Result<usize, BadRequest> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && (1..=LIST_MAX).contains(limit));
    limit.ok_or_else(|| BadRequest::LimitParameter(text.into()))
}

/// The text that this stands for. A plus is a space, as forms have it.
fn decode(value: &str) -> Option<Cow<'_, str>> {
    match value.contains('+') {
        true => route::percent_decode(&value.replace('+', " ")).ok().map(|text| Cow::Owned(text.into_owned())),
        false => route::percent_decode(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::next;
    use super::super::browsers::join_query;
    use super::*;
    use hence_core::{ClusterTag, Incarnation, Token, TokenError};
    use http::Request;
    use proptest::prelude::*;

    const CLUSTER: ClusterTag = ClusterTag(9);

    fn read(target: &str, headers: &[(&str, &str)], body: &str) -> Result<List, BadRequest> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        join_query(&mut parts);
        parse(&parts, body.as_bytes(), &Limits::default(), &Mint::plain(CLUSTER))
    }

    fn vector(entries: &[(u64, u64)]) -> VersionVector {
        VersionVector::from_entries(entries.iter().map(|&(incarnation, counter)| (Incarnation(incarnation), counter)))
    }

    #[test]
    fn everything_at_once() {
        let [one, two, three] =
            [&[(1, 5), (2, 1)][..], &[(2, 7)], &[(3, 1)]].map(|past| Token(vector(past)).encode(CLUSTER));
        let target = format!(
            "/kvs?prefix=a%2Fb&start=a+b%C3%A4&end=c%26&limit=7&reverse=true&delimiter=%2B&keys-only=true&count-only=false&causal-metadata={one}"
        );
        let headers = [("prefer", "wait=2"), ("causal-metadata", two.as_str())];
        let parsed = read(&target, &headers, &format!("{{\"causal-metadata\":\"{three}\"}}")).unwrap();
        let bounds = ListRequest {
            prefix: "a/b".into(),
            start: "a bä".into(),
            end: Some("c&".into()),
            limit: 7,
            reverse: true,
            delimiter: "+".into(),
            shape: ListShape::Keys,
            past: VersionVector::new(),
            wait: Micros::ZERO,
        };
        let form = Form {
            mint: Mint::plain(CLUSTER),
            siblings: false,
            waited: true,
            put: false,
            list: Some(Box::new(bounds.clone())),
        };
        let past = vector(&[(1, 5), (2, 7), (3, 1)]);
        assert_eq!(parsed, List { request: ListRequest { past, wait: Micros::from_seconds(2), ..bounds }, form });
    }

    #[test]
    fn nothing_at_all_is_everything_and_what_is_empty_is_nothing() {
        let all = ListRequest { limit: LIMIT_DEFAULT, ..ListRequest::all(VersionVector::new()) };
        for target in
            ["/kvs", "/kvs?", "/kvs?&", "/kvs?prefix=&start=&end=&delimiter=&causal-metadata=", "/kvs?reverse=false"]
        {
            assert_eq!(read(target, &[], "").map(|list| list.request), Ok(all.clone()), "{target}");
        }
        let count = read("/kvs?count-only=true&limit=1000", &[], "").unwrap().request;
        assert_eq!((count.shape, count.limit), (ListShape::Count, 1_000));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (query, bad) in [
            ("limit=0", BadRequest::LimitParameter("0".into())),
            ("limit=1001", BadRequest::LimitParameter("1001".into())),
            ("limit=1000000000", BadRequest::LimitParameter("1000000000".into())),
            ("limit=99999999999999999999999", BadRequest::LimitParameter("99999999999999999999999".into())),
            ("limit=-1", BadRequest::LimitParameter("-1".into())),
            ("limit=%2B1", BadRequest::LimitParameter("+1".into())),
            ("limit=", BadRequest::LimitParameter(String::new())),
            ("limit", BadRequest::LimitParameter(String::new())),
            ("prefix=%ff", BadRequest::ParameterEncoding("prefix")),
            ("start=%", BadRequest::ParameterEncoding("start")),
            ("end=%ED%A0%80", BadRequest::ParameterEncoding("end")),
            ("prefix=a&prefix=a", BadRequest::ParameterTwice("prefix")),
            ("Prefix=a", BadRequest::UnknownParameter("Prefix".into())),
            ("siblings=true", BadRequest::UnknownParameter("siblings".into())),
            ("=", BadRequest::UnknownParameter(String::new())),
            ("reverse=1", BadRequest::FlagParameter("reverse", "1".into())),
            ("keys-only", BadRequest::FlagParameter("keys-only", String::new())),
            ("keys-only=true&count-only=true", BadRequest::KeysOrCount),
            ("causal-metadata=x", TokenError::Damaged.into()),
        ] {
            assert_eq!(read(&format!("/kvs?{query}"), &[], ""), Err(bad), "{query}");
        }
        assert_eq!(read("/kvs", &[], "{\"causal-metadata\":1}"), Err(BadRequest::MetadataType));
    }

    proptest! {
        /// A client that follows `next` asks for the rest and loses nothing.
        #[test]
        fn the_next_page_is_the_same_list_from_there(
            texts in proptest::collection::vec("\\PC{0,6}|[ +&=%#/?\u{0}a]{0,6}", 4),
            begins in "\\PC{1,6}|a\u{0}",
            (limit, reverse, shape) in (1..=LIST_MAX, any::<bool>(), 0..3_usize),
        ) {
            let [prefix, start, end, delimiter] = <[String; 4]>::try_from(texts).unwrap();
            let shape = [ListShape::Values, ListShape::Keys, ListShape::Count][shape];
            let end = Some(end).filter(|end| !end.is_empty());
            let all = ListRequest::all(VersionVector::new());
            let list = ListRequest { prefix, start, end, limit, reverse, delimiter, shape, ..all };
            let past = vector(&[(1, 5)]);
            let target = next(&list, begins.clone(), &Token(past.clone()).encode(CLUSTER));
            let read = read(&target, &[], "").unwrap().request;
            prop_assert_eq!(read, ListRequest { past, ..list.after(begins) }, "{}", target);
        }

        #[test]
        fn nothing_panics(query in "[a-e=&%+0-9\\-]{0,40}|\\PC{0,20}") {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
            for query in [query.as_str(), &format!("prefix={encoded}"), &encoded] {
                let _ = super::query(query);
            }
        }
    }
}
