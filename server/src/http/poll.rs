//! Long polls: `GET /kvs/K?poll=SECONDS` with what the client has waits until the key is something else.
//!
//! A poll is a read that is made again whenever a watch of the key is told something. So its answer is that of a read, be
//! it late or at once.

use super::answer::{self, Answer};
use super::bad_request::BadRequest;
use super::failure::Failure;
use super::kvs::KeyRequest;
use crate::access::Pass;
use crate::node::{Asked, Node, Watching};
use crate::wire::Wire;
use hence_core::{DataRequest, Reply, Request, WatchRange, WatchRequest};
use http::header::IF_NONE_MATCH;
use http::request::Parts;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A poll waits no longer; a longer wish is cut to it. It ends before most proxies give up.
pub(crate) const POLL_SECONDS_MAX: u64 = 30;

/// What a client has of a key that is absent: a tag that no version has.
const ABSENT: &[u8] = b"\"absent\"";

/// How a client wants to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poll {
    length: Duration,
    /// That the key is absent is what the client has.
    has_absent: bool,
}

/// Is it a long poll?
///
/// # Errors
/// For a length that is no number, and where the client does not say what it has.
pub(crate) fn parse(parts: &Parts) -> Result<Option<Poll>, BadRequest> {
    let query = parts.uri.query().unwrap_or_default();
    let Some(length) = query.split('&').find_map(|pair| pair.strip_prefix("poll=")) else { return Ok(None) };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(BadRequest::PollParameter(length.into()));
    }
    // Digits that do not fit are a very long wait.
    let seconds = length.parse().unwrap_or(u64::MAX).min(POLL_SECONDS_MAX);
    let mut lines = super::lines(&parts.headers, &IF_NONE_MATCH).peekable();
    if lines.peek().is_none() {
        return Err(BadRequest::PollCondition);
    }
    let mut tags = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let has_absent = tags.any(|tag| tag.trim_ascii() == ABSENT);
    Ok(Some(Poll { length: Duration::from_secs(seconds), has_absent }))
}

/// Reads the key until it is not what the client has, the time is over, or the client may not read any more.
pub(crate) async fn answer<T: Wire + 'static>(
    node: Rc<Node<T>>,
    asked: KeyRequest,
    poll: Poll,
    pass: Option<Pass>,
) -> Answer {
    let answer = read_until_it_differs(node, asked, poll, pass.clone()).await;
    match pass.map_or(Ok(()), |pass| pass.check()) {
        Ok(()) => answer,
        Err(denied) => Failure::Denied(denied).answer(),
    }
}

async fn read_until_it_differs<T: Wire + 'static>(
    node: Rc<Node<T>>,
    asked: KeyRequest,
    poll: Poll,
    pass: Option<Pass>,
) -> Answer {
    let deadline = Instant::now() + poll.length;
    let KeyRequest { mut request, form } = asked;
    let mut watching = None;
    loop {
        let past = request.past.clone();
        let reply = read(&node, request.clone()).await;
        let unchanged = if let Reply::NotModified { token, .. } = &reply {
            Some(token)
        } else if let (true, Reply::Absent { token }) = (poll.has_absent, &reply) {
            Some(token)
        } else {
            None
        };
        let Some(token) = unchanged.filter(|_| Instant::now() < deadline) else {
            return answer::data(reply, || past, &form);
        };
        // What was seen once is never unseen.
        request.past = token.clone();
        let watching = match &mut watching {
            Some(watching) => watching,
            none => {
                let watch = watch_of(&request);
                match Watching::begin(&node, watch, pass.clone()) {
                    Ok(begun) => none.insert(begun),
                    Err(refusal) => return answer::data(Reply::Refused(refusal), || past, &form),
                }
            }
        };
        if timeout_at(deadline, wait(watching)).await != Ok(true) {
            return answer::data(reply, || past, &form);
        }
    }
}

fn watch_of(request: &DataRequest) -> WatchRequest {
    let range = WatchRange::Key(request.key.clone());
    WatchRequest { range, keys_only: true, past: request.past.clone(), since: None }
}

async fn read<T: Wire + 'static>(node: &Rc<Node<T>>, request: DataRequest) -> Reply {
    match node.ask(node.clock().now(), Request::Data(Box::new(request))) {
        Asked::Answered(reply) => *reply,
        Asked::Blocked(reply) => *reply.await,
    }
}

/// Waits until the watch is told of the key, or knows that it is absent. Says so, or that it is told nothing more.
async fn wait<T: Wire + 'static>(watching: &mut Watching<T>) -> bool {
    while let Some(part) = watching.part().await {
        if !part.changes.is_empty() || part.mark.is_some_and(|mark| mark.synced) {
            return true;
        }
    }
    false
}
