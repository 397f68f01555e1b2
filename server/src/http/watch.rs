//! Watches: from the request to what the replica is asked, and the answer that goes on.
//!
//! An id is `HASH~PAST~KNOWN`. The hash is that of what is watched: an id of another watch is no place to go on from. The
//! past is a token, and the known one too, or `-` where nothing is known yet. They are never joined (WATCH-1).

use super::answer::{self, Answer, AnswerBody, COMMENT, Endless};
use super::bad_request::{BadRequest, WATCH_PARAMETERS};
use super::json::DataBody;
use super::list::{flag, parameters};
use super::mint::Mint;
use super::{kvs, lines};
use crate::connections::{Connection, Connections, Leaving};
use crate::node::Watching;
use crate::settings::Limits;
use bytes::Bytes;
use hence_core::{Key, VersionVector, WatchMark, WatchRange, WatchRequest};
use hence_transport::Transport;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

const EVENT_STREAM: &str = "text/event-stream";
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A client that said its last word is asked again after so long whether it is there.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So many parts go out in a row before other tasks get their turn. A client that takes parts as fast as they come never makes the replica wait.
const STREAK_MAX: u32 = 8;

/// Between the parts of an id. No token has it.
const BETWEEN: char = '~';
/// Instead of what is known where nothing is.
const NOTHING: &str = "-";

/// A watch, and what its client has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watch {
    /// For the replica.
    pub(crate) request: WatchRequest,
    /// Makes the ids.
    pub(crate) ids: Ids,
    /// The client goes on from an id of another watch: what it has is void.
    pub(crate) anew: bool,
}

/// Writes and reads ids of one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    mint: Mint,
    hash: u32,
}

impl Ids {
    fn new(range: &WatchRange, keys_only: bool, mint: &Mint) -> Self {
        let (kind, text) = match range {
            WatchRange::Key(key) => ('=', key.as_str()),
            WatchRange::Prefix(prefix) => ('^', prefix.as_str()),
        };
        let hash = crc32fast::hash(format!("{kind}{keys_only}{text}").as_bytes());
        Self { mint: mint.clone(), hash }
    }

    fn encode(&self, mark: &WatchMark) -> String {
        let past = self.mint.encode(mark.past.clone());
        let known = mark.known.as_ref().map_or_else(|| NOTHING.into(), |known| self.mint.encode((**known).clone()));
        format!("{:08x}{BETWEEN}{past}{BETWEEN}{known}", self.hash)
    }

    /// The past that an id has, and what it knows. Whether it is one of this watch.
    fn decode(&self, id: &str, bytes_max: usize) -> Result<(VersionVector, Option<VersionVector>, bool), BadRequest> {
        let mut parts = id.split(BETWEEN);
        let (Some(hash), Some(past), Some(known), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadRequest::EventId);
        };
        let digits = hash.len() == 8 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = u32::from_str_radix(hash, 16).ok().filter(|_| digits).ok_or(BadRequest::EventId)?;
        let past = self.mint.decode(past, bytes_max)?;
        let known = (known != NOTHING).then(|| self.mint.decode(known, bytes_max)).transpose()?;
        Ok((past, known, hash == self.hash))
    }
}

/// Does the client name the type of a stream of events? `*/*` never does.
pub(crate) fn is_asked(parts: &Parts) -> bool {
    parts.method == Method::GET && accepts_events(&parts.headers)
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let types = lines(headers, &ACCEPT).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let is_events = |range: &str| {
        let mut fields = range.split(';').map(str::trim);
        let named = fields.next().is_some_and(|name| name.eq_ignore_ascii_case(EVENT_STREAM));
        named && !fields.any(|field| matches!(field, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    };
    types.into_iter().any(is_events)
}

/// Reads a watch of one key, or of what the query says.
///
/// # Errors
/// The first thing that is wrong: key, query, body, metadata, id.
pub(crate) fn parse(
    key: Option<&str>,
    parts: &Parts,
    body: &[u8],
    limits: &Limits,
    mint: &Mint,
) -> Result<Watch, BadRequest> {
    let key = key.map(Key::new).transpose().map_err(|_| BadRequest::KeyTooLong)?;
    let query = parts.uri.query().unwrap_or_default();
    let [prefix, keys_only, since, _] = parameters(query, &WATCH_PARAMETERS, BadRequest::UnknownWatchParameter)?;
    let range = match (key, prefix) {
        (Some(key), None) => WatchRange::Key(key),
        (Some(_), Some(_)) => return Err(BadRequest::UnknownWatchParameter("prefix".into())),
        (None, prefix) => WatchRange::Prefix(prefix.map(Cow::into_owned).unwrap_or_default()),
    };
    let keys_only = flag("keys-only", keys_only.as_deref())?;
    let body = DataBody::parse(body, limits.nesting_max)?;
    let mut past = kvs::past(&body, &parts.headers, mint, limits.token_bytes_max)?;
    let ids = Ids::new(&range, keys_only, mint);
    // A browser connects again to the address that it was given, with the last id beside it: that one is newer.
    let last = lines(&parts.headers, &LAST_EVENT_ID).map(|line| line.to_str().map_err(|_| BadRequest::EventId));
    let last = last.last().transpose()?.filter(|id| !id.is_empty());
    let (mut known, mut anew) = (None, false);
    if let Some(id) = last.or(since.as_deref()).filter(|id| !id.is_empty()) {
        let (passed, knew, fits) = ids.decode(id, limits.token_bytes_max)?;
        past.join(&passed);
        (known, anew) = (knew.filter(|_| fits), !fits);
    }
    let request = WatchRequest { range, keys_only, past, since: known };
    Ok(Watch { request, ids, anew })
}

/// The parts of one watch, as its client reads them.
pub(crate) struct Events<T: Transport> {
    watching: Watching<T>,
    ids: Ids,
    anew: bool,
    connection: Rc<Connection>,
    connections: Rc<Connections>,
    /// When a line that means nothing is due, and how often that is.
    comment: Pin<Box<Sleep>>,
    heartbeat: Duration,
    /// It was told something since it seemed to leave.
    asked: bool,
    /// Parts in a row without a wait between them.
    streak: u32,
}

impl<T: Transport + 'static> Events<T> {
    /// The answer to a watch that the replica took.
    pub(crate) fn answer(
        watching: Watching<T>,
        watch: Watch,
        connection: Rc<Connection>,
        connections: Rc<Connections>,
        heartbeat: Duration,
    ) -> Answer {
        let Watch { ids, anew, .. } = watch;
        let comment = Box::pin(sleep(heartbeat));
        let events = Self { watching, ids, anew, connection, connections, comment, heartbeat, asked: false, streak: 0 };
        let mut answer = answer::plain(StatusCode::OK, AnswerBody::endless(events));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
        answer
    }

    /// Is it time to say something although nothing happened?
    fn is_comment_due(&mut self, leaving: Leaving, context: &mut Context<'_>) -> bool {
        // A client that went away altogether answers a comment with a reset, which the next comment meets.
        let asks = leaving == Leaving::Maybe && !std::mem::replace(&mut self.asked, leaving == Leaving::Maybe);
        let is_due = asks || self.comment.as_mut().poll(context).is_ready();
        if is_due {
            let pause = if asks { self.heartbeat.min(ASKED_AGAIN_AFTER) } else { self.heartbeat };
            self.comment.as_mut().reset(Instant::now() + pause);
            // A timer that was set anew wakes its task only after it was polled.
            let _ = self.comment.as_mut().poll(context);
        }
        is_due
    }
}

impl<T: Transport + 'static> Endless for Events<T> {
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<AnswerBody>> {
        if self.streak >= STREAK_MAX {
            self.streak = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let part = match self.watching.poll_part(context) {
                Poll::Ready(Some(part)) => part,
                Poll::Ready(None) => {
                    self.connections.on_answer(&self.connection, 0, Vec::new(), 0);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    self.streak = 0;
                    return match self.connection.leaves(context) {
                        Leaving::Gone => Poll::Ready(None),
                        leaving if self.is_comment_due(leaving, context) => {
                            Poll::Ready(Some(Bytes::from_static(COMMENT).into()))
                        }
                        Leaving::No | Leaving::Maybe => Poll::Pending,
                    };
                }
            };
            let id = part.mark.as_ref().map(|mark| self.ids.encode(mark));
            let mut text = answer::part(&part, id.as_deref(), std::mem::take(&mut self.anew));
            let large = text.take_large();
            if !large.is_empty() {
                self.connections.on_part(&self.connection, large);
            }
            if text.remaining() > 0 {
                self.streak += 1;
                self.connection.on_part(text.remaining());
                return Poll::Ready(Some(text));
            }
        }
    }
}
