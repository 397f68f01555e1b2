//! Answers to the byte, and what of them is shared instead of copied.

use super::*;
use hence_core::{ClusterTag, Hlc, Incarnation, Sibling};
use hyper::body::Body as _;
use std::pin::Pin;
use std::task::{Context, Poll};

pub(super) const FORM: Form =
    Form { mint: Mint::plain(ClusterTag(7)), siblings: false, waited: false, put: false, list: None };

fn dot(counter: u64) -> Dot {
    Dot { incarnation: Incarnation(0xa), counter }
}

fn past() -> VersionVector {
    VersionVector::from_entries([(Incarnation(0xa), 3)])
}

fn versions(values: &[&[u8]]) -> Siblings {
    let version = |(at, value): (usize, &&[u8])| {
        let at = at as u64;
        Sibling { dot: dot(at + 1), hlc: Hlc(100 - at), value: Value::new(value) }
    };
    values.iter().enumerate().map(version).collect()
}

/// Status, headers in order of name but for those that keep caches away, body.
pub(super) fn show(answer: Answer) -> (u16, Vec<String>, String) {
    let (parts, body) = answer.into_parts();
    let show = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut headers: Vec<String> = parts.headers.iter().map(show).collect();
    headers.sort();
    for common in ["vary: causal-metadata, prefer", "cache-control: no-store"] {
        let at = headers.iter().position(|line| line == common).expect("no cache keeps an answer");
        headers.remove(at);
    }
    (parts.status.as_u16(), headers, body_of(body))
}

/// All of a body of known length.
pub(super) fn body_of(mut body: AnswerBody) -> String {
    let announced = body.size_hint().exact().unwrap();
    let mut bytes = Vec::new();
    let mut context = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
        let piece = frame.into_data().unwrap();
        assert!(!piece.is_empty() && body.is_end_stream() == (body.remaining() == 0));
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(announced, bytes.len() as u64);
    String::from_utf8(bytes).unwrap()
}

pub(super) fn token() -> String {
    FORM.mint.encode(past())
}

fn with(token: &str, others: &[&str]) -> Vec<String> {
    let mut headers = vec![format!("causal-metadata: {token}")];
    headers.extend(others.iter().map(|&other| other.to_owned()));
    headers.sort();
    headers
}

#[test]
fn reads() {
    let t = token();
    let json = "content-type: application/json";
    let reply = Reply::Found { siblings: versions(&[b"1.50"]), token: past() };
    let body = format!("{{\"result\":\"found\",\"value\":1.50,\"causal-metadata\":\"{t}\"}}");
    let one = "etag: \"000000000000000a-1\"";
    assert_eq!(show(data(reply, past, &FORM)), (200, with(&t, &[json, one]), body));

    let two = "etag: \"000000000000000a-1+000000000000000a-2\"";
    let reply = || Reply::Found { siblings: versions(&[b"\"x\"", b"{}"]), token: past() };
    let body = format!("{{\"result\":\"found\",\"value\":\"x\",\"causal-metadata\":\"{t}\"}}");
    let headers = with(&t, &[json, two, "causal-siblings: 2"]);
    assert_eq!(show(data(reply(), past, &FORM)), (200, headers.clone(), body));
    let form = Form { siblings: true, ..FORM };
    let body = format!(
        "{{\"result\":\"found\",\"value\":\"x\",\"causal-metadata\":\"{t}\",\
         \"siblings\":[{{\"value\":\"x\"}},{{\"value\":{{}}}}]}}"
    );
    assert_eq!(show(data(reply(), past, &form)), (200, headers, body));

    let reply = Reply::NotModified { siblings: versions(&[b"1"]), token: past() };
    assert_eq!(show(data(reply, past, &FORM)), (304, with(&t, &[one]), String::new()));
    let absent = show(data(Reply::Absent { token: past() }, past, &FORM));
    assert_eq!(absent, (404, with(&t, &[json]), "{\"error\":\"Key does not exist\"}".into()));
}

#[test]
fn large_values_are_shared() {
    let large = vec![b'7'; COPIED_BYTES_MAX + 1];
    for siblings in [false, true] {
        let reply = Reply::Found { siblings: versions(&[&large, b"1"]), token: past() };
        let answer = data(reply, past, &Form { siblings, ..FORM });
        let (_, _, body) = show(answer);
        let text = String::from_utf8(large.clone()).unwrap();
        let list = format!(",\"siblings\":[{{\"value\":{text}}},{{\"value\":1}}]");
        let list = if siblings { list.as_str() } else { "" };
        let t = token();
        assert_eq!(body, format!("{{\"result\":\"found\",\"value\":{text},\"causal-metadata\":\"{t}\"{list}}}"));
    }
}

#[test]
fn writes() {
    let t = token();
    let json = "content-type: application/json";
    let reply = |superseded: hence_core::Dots| Reply::Written(Written { dot: dot(3), superseded, token: past() });
    let put = Form { put: true, ..FORM };
    let new = "etag: \"000000000000000a-3\"";
    let body = |result: &str| format!("{{\"result\":\"{result}\",\"causal-metadata\":\"{t}\"}}");
    let headers = with(&t, &[json, new, "causal-superseded: \"\""]);
    assert_eq!(show(data(reply(vec![].into()), past, &put)), (201, headers, body("created")));
    let both = "causal-superseded: \"000000000000000a-1+000000000000000a-2\"";
    let replaced = show(data(reply(vec![dot(1), dot(2)].into()), past, &put));
    assert_eq!(replaced, (200, with(&t, &[json, new, both]), body("replaced")));
    let deleted = show(data(reply(vec![dot(1), dot(2)].into()), past, &FORM));
    assert_eq!(deleted, (200, with(&t, &[json, both]), body("deleted")));
}

#[test]
fn writes_that_were_to_spread() {
    let t = token();
    let (json, superseded) = ("content-type: application/json", "causal-superseded: \"\"");
    for (reached, status) in [(true, 200), (false, 202)] {
        let written = Written { dot: dot(3), superseded: vec![].into(), token: past() };
        let answer = Box::new(Reply::Written(written));
        let holders = vec![Incarnation(1), Incarnation(2)];
        let reply = Reply::Spread { answer, holders, reached };
        let headers = with(&t, &[json, superseded, "write-concern-applied: 2"]);
        let body = format!("{{\"result\":\"deleted\",\"causal-metadata\":\"{t}\"}}");
        assert_eq!(show(data(reply, past, &FORM)), (status, headers, body));
    }
    let (status, _, body) = show(data(Reply::Refused(Refusal::TooFewMembers), past, &FORM));
    let text = "{\"error\":\"Write-Concern is above the number of members\"}";
    assert_eq!((status, body.as_str()), (400, text));
}

#[test]
fn refusals() {
    let t = token();
    let form = Form { waited: true, ..FORM };
    let json = "content-type: application/json";
    for (refusal, text) in [
        (Refusal::NotReady, "Replica is not ready"),
        (Refusal::NotCovered, "Causal dependencies not satisfied; try again later"),
        (Refusal::WriteLimit, "Write limit reached; try again later"),
        (Refusal::Upgrading, "Cluster is being upgraded"),
        (Refusal::NoRoomToWait, "Too many requests wait; try again later"),
        (Refusal::NoMemoryToList, "No memory is left to list keys; try again later"),
    ] {
        let headers = with(&t, &[json, "preference-applied: wait", "retry-after: 1"]);
        let expected = (503, headers, format!("{{\"error\":\"{text}\"}}"));
        assert_eq!(show(data(Reply::Refused(refusal), past, &form)), expected);
    }
    let (status, headers, body) = show(data(Reply::Refused(Refusal::Impossible), past, &form));
    assert_eq!((status, headers), (400, vec![json.to_owned()]));
    assert_eq!(body, "{\"error\":\"causal-metadata names a write that this replica never made\"}");
    let reply = Reply::PreconditionFailed { siblings: versions(&[b"1"]), token: past() };
    let expected = (412, with(&t, &[json]), "{\"error\":\"Precondition failed\"}".into());
    assert_eq!(show(data(reply, past, &FORM)), expected);
}

#[test]
fn the_view() {
    let members = ["127.0.0.1:1", "alice:2"].map(|text| Address::parse(text).unwrap());
    let body = |reply| {
        let (status, headers, body) = show(view(reply));
        assert_eq!(headers, ["content-type: application/json"]);
        (status, body)
    };
    assert_eq!(body(Reply::View(members.into())), (200, "{\"view\":[\"127.0.0.1:1\",\"alice:2\"]}".into()));
    assert_eq!(body(Reply::View(vec![])), (200, "{\"view\":[]}".into()));
    assert_eq!(body(Reply::ViewAdded { listed: false }), (201, "{\"result\":\"added\"}".into()));
    assert_eq!(body(Reply::ViewAdded { listed: true }), (200, "{\"result\":\"already present\"}".into()));
    assert_eq!(body(Reply::ViewRemoved), (200, "{\"result\":\"deleted\"}".into()));
    assert_eq!(body(Reply::ViewUnknown), (404, "{\"error\":\"View has no such replica\"}".into()));
    assert_eq!(body(Reply::ViewLast), (409, "{\"error\":\"View would be empty\"}".into()));
}
