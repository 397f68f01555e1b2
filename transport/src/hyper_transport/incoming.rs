//! Connections from peers: upgraded HTTP connections that bring frames.
//!
//! Invariant kept here: frames of one connection surface in order, whole, and only while all before them on
//! that connection were right.

use super::{Counted, HyperTransport, Inner, PROTOCOL};
use crate::Incoming;
use crate::codec::{CodecError, FrameReader};
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, timeout, timeout_at};

/// Where peers ask for the upgrade.
pub const LINK_PATH: &str = "/replica/link";

/// Bytes of an unfinished frame are told of at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// The connections from peers, each with the moment of its last frame.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<u64, Link>,
    serial: u64,
}

#[derive(Debug)]
struct Link {
    last_frame: Instant,
    task: AbortHandle,
}

impl Links {
    pub(super) fn close_all(&self) {
        self.open.values().for_each(|link| link.task.abort());
    }

    /// Closes the one that has been silent for longest, if there are as many as there may be.
    fn make_room(&mut self, connections_max: usize) {
        if self.open.len() < connections_max {
            return;
        }
        let silent = self.open.iter().min_by_key(|(_, link)| link.last_frame).map(|(&id, _)| id);
        if let Some(link) = silent.and_then(|id| self.open.remove(&id)) {
            link.task.abort();
        }
    }
}

/// Takes its connection out of the list when it ends, however that comes.
struct Listed {
    inner: Rc<Inner>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.inner.links.borrow_mut().open.remove(&self.id);
    }
}

/// Why a connection from a peer ended.
#[derive(Debug)]
enum Ended {
    NotUpgraded,
    Closed,
    Broken(io::Error),
    Idle,
    Refused(CodecError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUpgraded => f.write_str("the upgrade did not complete"),
            Self::Closed => f.write_str("closed by the peer"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Idle => f.write_str("idle"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

impl HyperTransport {
    /// Answers a request below `/replica/`. One that asks for [`PROTOCOL`] at [`LINK_PATH`] gets 101, and its
    /// connection brings messages from then on; any other gets an error with a JSON body.
    ///
    /// The HTTP connection has to be served with upgrades (`with_upgrades`), best on a
    /// `TokioIo<TcpStream>`, which is taken out of its wrapping then. Call it inside the `LocalSet` or
    /// `LocalRuntime` of this transport.
    #[must_use]
    pub fn accept(&self, mut request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        if let Some(refusal) = refused(&request) {
            return refusal;
        }
        let inner = Rc::clone(&self.inner);
        let mut links = self.inner.links.borrow_mut();
        links.make_room(self.inner.settings.connections_in_max);
        links.serial += 1;
        let id = links.serial;
        let upgrade = hyper::upgrade::on(&mut request);
        let listed = Listed { inner: Rc::clone(&inner), id };
        let task = spawn_local(async move {
            let _listed = listed;
            let ended = bring(&inner, id, upgrade).await;
            tracing::debug!("connection from a peer ended: {ended}");
        });
        links.open.insert(id, Link { last_frame: Instant::now(), task: task.abort_handle() });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        response
    }
}

/// The answer to a request that does not ask for a link as it should.
fn refused<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    if request.uri().path() != LINK_PATH {
        return Some(refusal(StatusCode::NOT_FOUND, "Unknown path"));
    }
    if request.method() != Method::GET {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Some(response);
    }
    let headers = request.headers();
    let upgrades = request.version() == Version::HTTP_11 && names(headers, CONNECTION, "upgrade");
    if !upgrades || !names(headers, UPGRADE, PROTOCOL) {
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "Upgrade to hence-replica required");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        return Some(response);
    }
    None
}

/// Does one of these headers list this word?
fn names(headers: &HeaderMap, name: http::HeaderName, word: &str) -> bool {
    let mut listed = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    listed.any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn refusal(status: StatusCode, error: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{{\"error\":\"{error}\"}}")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A connection from its upgrade to its end.
async fn bring(inner: &Rc<Inner>, id: u64, upgrade: hyper::upgrade::OnUpgrade) -> Ended {
    let Ok(Ok(upgraded)) = timeout(inner.settings.handshake_timeout, upgrade).await else { return Ended::NotUpgraded };
    let _open = Counted::new(inner, |counters| &mut counters.connections_in);
    let settings = &inner.settings;
    let mut reader = FrameReader::new(settings.cluster).with_frame_bytes_max(settings.frame_bytes_max);
    let ended = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            reader.feed(&parts.read_buf);
            inner.count(|counters| counters.bytes_in += parts.read_buf.len() as u64);
            read(inner, id, reader, parts.io.into_inner()).await
        }
        Err(upgraded) => read(inner, id, reader, TokioIo::new(upgraded)).await,
    };
    let Err(ended) = ended;
    if let Ended::Refused(error) = &ended {
        inner.count(|counters| counters.refused[error.reason()] += 1);
    }
    ended
}

async fn read(
    inner: &Inner,
    id: u64,
    mut reader: FrameReader,
    mut stream: impl AsyncRead + Unpin,
) -> Result<core::convert::Infallible, Ended> {
    let mut deadline = Instant::now() + inner.settings.idle_timeout;
    let mut first = true;
    let mut told = Instant::now();
    loop {
        if take_in(inner, &mut reader, &mut first).map_err(Ended::Refused)? {
            let now = Instant::now();
            if let Some(link) = inner.links.borrow_mut().open.get_mut(&id) {
                link.last_frame = now;
            }
            inner.room().await;
            deadline = Instant::now() + inner.settings.idle_timeout;
        }
        // Only what is left unfinished is worth telling: a whole message speaks for itself.
        if !reader.is_between_frames()
            && told.elapsed() >= PROGRESS_PAUSE
            && let Some(from) = reader.speaker()
        {
            told = Instant::now();
            inner.notice(Incoming::Progress { from: from.clone() });
        }
        let read = timeout_at(deadline, stream.read_buf(reader.buffer())).await;
        let count = read.map_err(|_| Ended::Idle)?.map_err(Ended::Broken)?;
        if count == 0 {
            return Err(Ended::Closed);
        }
        inner.count(|counters| counters.bytes_in += count as u64);
    }
}

/// Surfaces the whole frames that are there, the connection's `first` among them or not. Says whether there were any.
fn take_in(inner: &Inner, reader: &mut FrameReader, first: &mut bool) -> Result<bool, CodecError> {
    let mut any = false;
    while let Some(frame) = inner.take_frame(reader)? {
        any = true;
        inner.count(|counters| {
            counters.frames_in += 1;
            counters.messages_in += frame.messages as u64;
        });
        if core::mem::take(first)
            && let Some(peer) = inner.peers.borrow().get(&frame.from)
        {
            peer.is_there();
        }
    }
    Ok(any)
}
