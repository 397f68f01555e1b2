//! Bodies and answers, to the byte.
//!
//! The one place where a [`Reply`] becomes a status, headers and JSON. A value goes out as the bytes that came in. A
//! large one is shared with the store, not copied, so a slow reader holds no copy of it.

mod batch;
mod body;
mod events;
mod list;

pub(crate) use body::AnswerBody;
pub(super) use body::Endless;
pub(super) use events::{COMMENT, part};
#[cfg(test)]
pub(super) use list::next;

use super::concern;
use super::etag;
use super::mint::Mint;
use crate::connections::{PIECE_BYTES_MIN, Piece, piece};
use bytes::Bytes;
use hence_core::{Address, Dot, ListRequest, Refusal, Reply, Siblings, Value, VersionVector, Written};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use std::sync::Weak;

/// Marks an answer that refuses the client's past although it can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PastRefused;

/// An HTTP answer.
pub(crate) type Answer = Response<AnswerBody>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) static CAUSAL_METADATA: HeaderName = HeaderName::from_static("causal-metadata");
const CAUSAL_SIBLINGS: HeaderName = HeaderName::from_static("causal-siblings");
const CAUSAL_SUPERSEDED: HeaderName = HeaderName::from_static("causal-superseded");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What clients see depends on what they saw, on the replica and on the moment. An answer that a cache kept would take
/// a client back in time. HTTP's own validation does not help, since the body of a GET may hold the token.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The request headers that an answer depends on, for caches that keep what they should not.
const VARY_ON: HeaderValue = HeaderValue::from_static("causal-metadata, prefer");

/// Above this many bytes a value is sent from where it lies instead of being copied behind its JSON.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A body under construction.
struct Pieces {
    done: Vec<Bytes>,
    large: Vec<Weak<Piece>>,
    open: Vec<u8>,
}

impl Pieces {
    fn new(bytes: usize) -> Self {
        Self { done: Vec::new(), large: Vec::new(), open: Vec::with_capacity(bytes) }
    }

    fn text(&mut self, text: &str) {
        self.open.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    /// A string of JSON.
    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.open, text).expect("text is always JSON, and memory always takes it");
    }

    fn value(&mut self, value: &Value) {
        if value.as_bytes().len() <= COPIED_BYTES_MAX {
            self.open.extend_from_slice(value.as_bytes());
        } else {
            self.close();
            self.add(Piece::Shared(value.clone()));
        }
    }

    /// What was copied so far is a piece.
    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        if open.len() <= PIECE_BYTES_MIN { self.done.push(open.into()) } else { self.add(Piece::Own(open)) }
    }

    fn add(&mut self, large: Piece) {
        let (bytes, seen) = piece(large);
        self.done.push(bytes);
        self.large.push(seen);
    }

    fn finish(mut self) -> AnswerBody {
        if self.done.is_empty() {
            return self.open.into();
        }
        self.close();
        AnswerBody::of(self.done, self.large)
    }
}

/// `{"error":"..."}`.
pub(crate) fn error_body(text: &str) -> AnswerBody {
    error_body_at(text, None)
}

/// `{"error":"...","index":N}`: of a batch, with the operation that it is about.
pub(crate) fn error_body_at(text: &str, index: Option<usize>) -> AnswerBody {
    let mut body = b"{\"error\":".to_vec();
    serde_json::to_writer(&mut body, text).expect("text is always JSON, and memory always takes it");
    if let Some(index) = index {
        body.extend_from_slice(format!(",\"index\":{index}").as_bytes());
    }
    body.push(b'}');
    body.into()
}

/// An answer with this status and body, which no cache may keep. Every answer begins here.
///
/// What all have comes first: a header costs half as much while there are few. There is room for all that an answer has,
/// instead of growing twice on the way.
pub(crate) fn plain(status: StatusCode, body: impl Into<AnswerBody>) -> Answer {
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(VARY, VARY_ON);
    let mut answer = Answer::new(body.into());
    *answer.headers_mut() = headers;
    *answer.status_mut() = status;
    answer
}

/// An answer with this status and JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<AnswerBody>) -> Answer {
    let mut answer = plain(status, body);
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// A page for browsers, which may load nothing and ask only this replica.
pub(crate) fn page(text: Bytes) -> Answer {
    const POLICY: HeaderValue = HeaderValue::from_static(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    let mut answer = plain(StatusCode::OK, text);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    answer
}

/// What the transport answered to a peer. No cache keeps that either.
pub(crate) fn of_peer(answer: Response<Full<Bytes>>) -> Answer {
    let (parts, body) = answer.into_parts();
    let mut answer = plain(parts.status, body);
    answer.headers_mut().extend(parts.headers);
    *answer.extensions_mut() = parts.extensions;
    answer
}

/// What OPTIONS gets: the methods that the route answers.
pub(crate) fn options(allow: &'static str) -> Answer {
    let mut answer = plain(StatusCode::NO_CONTENT, AnswerBody::default());
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

fn error(status: StatusCode, text: &str) -> Answer {
    json(status, error_body(text))
}

fn fixed(status: StatusCode, body: &'static str) -> Answer {
    json(status, Bytes::from_static(body.as_bytes()))
}

/// What a request for a key asks of the form of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// What makes its tokens.
    pub(crate) mint: Mint,
    /// `?siblings=true`.
    pub(crate) siblings: bool,
    /// `Prefer: wait` was taken up.
    pub(crate) waited: bool,
    /// It was a PUT; else GET, HEAD or DELETE.
    pub(crate) put: bool,
    /// It was a list: which, without its client's past.
    pub(crate) list: Option<Box<ListRequest>>,
}

/// The answer to a request for a key whose client had this past.
pub(crate) fn data<P: FnOnce() -> VersionVector>(reply: Reply, past: P, form: &Form) -> Answer {
    let mut answer = match reply {
        Reply::Spread { answer, holders, reached } => {
            let mut answer = data(*answer, past, form);
            concern::say(&mut answer, &holders, reached);
            return answer;
        }
        Reply::Found { siblings, token } => found(&siblings, token, form),
        Reply::NotModified { siblings, token } => not_modified(&siblings, token, form),
        Reply::Absent { token } => {
            let mut answer = fixed(StatusCode::NOT_FOUND, "{\"error\":\"Key does not exist\"}");
            add_token(&mut answer, encode(token, form));
            answer
        }
        Reply::Written(written) => self::written(written, form),
        Reply::PreconditionFailed { siblings: _, token } => {
            let mut answer = fixed(StatusCode::PRECONDITION_FAILED, "{\"error\":\"Precondition failed\"}");
            add_token(&mut answer, encode(token, form));
            answer
        }
        Reply::Lost { token } => {
            let token = encode(token, form);
            let body = format!("{{\"error\":\"Causal dependencies lost\",\"causal-metadata\":\"{token}\"}}");
            let mut answer = json(StatusCode::FAILED_DEPENDENCY, body.into_bytes());
            add_token(&mut answer, token);
            answer
        }
        Reply::Batch(batch) => batch::answered(batch, form),
        Reply::BatchFailed { index, token } => batch::failed(index, token, form),
        Reply::Listed(page) => list::listed(page, form),
        Reply::Refused(refusal) => refused(refusal, past, form),
        Reply::View(_) | Reply::ViewAdded { .. } | Reply::ViewRemoved | Reply::ViewUnknown | Reply::ViewLast => {
            unreachable!("the core answers a request for a key with a reply for a key")
        }
    };
    if form.waited && answer.status() != StatusCode::BAD_REQUEST {
        answer.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
    }
    answer
}

fn encode(token: VersionVector, form: &Form) -> String {
    form.mint.encode(token)
}

/// The text itself becomes the header: a copy of it would cost more than to make it.
fn add_token(answer: &mut Answer, token: String) {
    let value = HeaderValue::from_maybe_shared(Bytes::from(token)).expect("a token is URL-safe text");
    answer.headers_mut().insert(&CAUSAL_METADATA, value);
}

/// The answer to a watch that the replica has no room for.
pub(crate) fn refused_watch(refusal: Refusal) -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string());
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// Every status and text of a refusal, in one place.
fn refused(refusal: Refusal, past: impl FnOnce() -> VersionVector, form: &Form) -> Answer {
    let status = match refusal {
        Refusal::TooFewMembers => return error(StatusCode::BAD_REQUEST, &refusal.to_string()),
        Refusal::Impossible => {
            let mut answer = error(StatusCode::BAD_REQUEST, &refusal.to_string());
            answer.extensions_mut().insert(PastRefused);
            return answer;
        }
        Refusal::BatchTooLarge { .. } => return error(StatusCode::PAYLOAD_TOO_LARGE, &refusal.to_string()),
        Refusal::NotReady
        | Refusal::NotCovered
        | Refusal::WriteLimit
        | Refusal::Upgrading
        | Refusal::NoRoomToWait
        | Refusal::NoMemoryToList
        | Refusal::NoRoomToWatch => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = error(status, &refusal.to_string());
    add_token(&mut answer, encode(past(), form));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn found(siblings: &Siblings, token: VersionVector, form: &Form) -> Answer {
    let winner = siblings.winner().expect("the core says found only where there is a version");
    let token = encode(token, form);
    let copied = |value: &Value| Some(value.as_bytes().len()).filter(|&bytes| bytes <= COPIED_BYTES_MAX).unwrap_or(0);
    let (start, middle, end) = ("{\"result\":\"found\",\"value\":", ",\"causal-metadata\":\"", "\"}");
    let mut body = Pieces::new(start.len() + copied(&winner.value) + middle.len() + token.len() + end.len());
    body.text(start);
    body.value(&winner.value);
    body.text(middle);
    body.text(&token);
    if form.siblings {
        body.text("\",\"siblings\":[");
        for (at, sibling) in siblings.iter().enumerate() {
            body.text(if at == 0 { "{\"value\":" } else { ",{\"value\":" });
            body.value(&sibling.value);
            body.text("}");
        }
        body.text("]}");
    } else {
        body.text(end);
    }
    let mut answer = json(StatusCode::OK, body.finish());
    add_token(&mut answer, token);
    let headers = answer.headers_mut();
    headers.insert(ETAG, tag_of(siblings));
    if siblings.len() > 1 {
        headers.insert(CAUSAL_SIBLINGS, HeaderValue::from(siblings.len()));
    }
    answer
}

fn not_modified(siblings: &Siblings, token: VersionVector, form: &Form) -> Answer {
    let mut answer = plain(StatusCode::NOT_MODIFIED, AnswerBody::default());
    answer.headers_mut().insert(ETAG, tag_of(siblings));
    add_token(&mut answer, encode(token, form));
    answer
}

fn tag_of(siblings: &Siblings) -> HeaderValue {
    if let [only] = siblings.as_slice() {
        return etag::tag([&only.dot]);
    }
    let mut dots: Vec<_> = siblings.iter().map(|sibling| sibling.dot).collect();
    dots.sort_unstable();
    etag::tag(&dots)
}

/// A tag as a field of JSON: its quotes are part of it.
fn tag<'a>(dots: impl IntoIterator<Item = &'a Dot>, body: &mut Pieces) {
    let tag = etag::tag(dots);
    let inner = tag.to_str().expect("a tag is ASCII").trim_matches('"');
    for text in [",\"etag\":\"\\\"", inner, "\\\"\""] {
        body.text(text);
    }
}

fn written(written: Written, form: &Form) -> Answer {
    let Written { dot, superseded, token } = written;
    let (status, result) = match (form.put, superseded.is_empty()) {
        (true, true) => (StatusCode::CREATED, "created"),
        (true, false) => (StatusCode::OK, "replaced"),
        (false, _) => (StatusCode::OK, "deleted"),
    };
    let token = encode(token, form);
    let (start, middle, end) = ("{\"result\":\"", "\",\"causal-metadata\":\"", "\"}");
    let mut body = Vec::with_capacity(start.len() + result.len() + middle.len() + token.len() + end.len());
    for text in [start, result, middle, &token, end] {
        body.extend_from_slice(text.as_bytes());
    }
    let mut answer = json(status, body);
    add_token(&mut answer, token);
    let headers = answer.headers_mut();
    if form.put {
        headers.insert(ETAG, etag::tag([&dot]));
    }
    headers.insert(CAUSAL_SUPERSEDED, etag::tag(&superseded));
    answer
}

/// The answer to a request about the view.
pub(crate) fn view(reply: Reply) -> Answer {
    match reply {
        Reply::View(members) => json(StatusCode::OK, view_body(&members)),
        Reply::ViewAdded { listed: false } => fixed(StatusCode::CREATED, "{\"result\":\"added\"}"),
        Reply::ViewAdded { listed: true } => fixed(StatusCode::OK, "{\"result\":\"already present\"}"),
        Reply::ViewRemoved => fixed(StatusCode::OK, "{\"result\":\"deleted\"}"),
        Reply::ViewUnknown => fixed(StatusCode::NOT_FOUND, "{\"error\":\"View has no such replica\"}"),
        Reply::ViewLast => fixed(StatusCode::CONFLICT, "{\"error\":\"View would be empty\"}"),
        // Only a driver that is going away answers for the core.
        Reply::Refused(refusal) => error(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()),
        Reply::Found { .. }
        | Reply::NotModified { .. }
        | Reply::Absent { .. }
        | Reply::Written(_)
        | Reply::Spread { .. }
        | Reply::Lost { .. }
        | Reply::PreconditionFailed { .. }
        | Reply::Batch(_)
        | Reply::BatchFailed { .. }
        | Reply::Listed(_) => {
            unreachable!("the core answers a request about the view with a reply about the view")
        }
    }
}

/// `{"view":["IP:PORT",...]}`. An address never needs an escape.
fn view_body(members: &[Address]) -> Vec<u8> {
    let members: Vec<String> = members.iter().map(|member| format!("\"{member}\"")).collect();
    format!("{{\"view\":[{}]}}", members.join(",")).into_bytes()
}

#[cfg(test)]
mod tests;
