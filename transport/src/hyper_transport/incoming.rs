//! Connections from peers: upgraded HTTP connections that bring frames.
//!
//! Invariant kept here: frames of one connection surface in order, whole, and only while all before them on
//! that connection were right.

use super::admission::{Asker, NoRoom, Reserved, SMALL_BYTES};
use super::bearer::Bearer;
use super::greeting::Greeting;
use super::peer::Peer;
use super::refusal::refusal;
use super::returns::WayBack;
use super::{Counted, HyperTransport, Inner, LINK_PATH, PROTOCOL};
use crate::Incoming;
use crate::codec::{CodecError, FrameReader};
use crate::trust::{MaybeTls, Visitor};
use bytes::Bytes;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use hence_core::{Address, Formats};
use http::header::{ALLOW, CONNECTION, HeaderMap, RETRY_AFTER, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, split};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout, timeout_at};

/// Bytes of an unfinished frame are told of at most this often.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// The first frame of a connection is whole within so many times the wait for more of it.
const FIRST_FRAME_WAITS: u32 = 3;

/// What the other end of a connection said of itself. That is the address that it wants answers for on it, its formats, and
/// the addresses that its frames may bear.
type Said = (Option<Address>, Option<Formats>, Bearer);

/// Takes its connection out of the list when it ends, however that comes.
struct Listed {
    inner: Rc<Inner>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.inner.links.borrow_mut().remove(self.id);
    }
}

/// Why a connection from a peer ended.
#[derive(Debug)]
pub(super) enum Ended {
    NotUpgraded,
    Closed,
    Broken(io::Error),
    Idle,
    NoRoom,
    Refused(CodecError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUpgraded => f.write_str("the upgrade did not complete"),
            Self::Closed => f.write_str("closed by the peer"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Idle => f.write_str("idle"),
            Self::NoRoom => f.write_str("there is no room for its first frame"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

impl HyperTransport {
    /// Answers a request below `/replica/`. One that asks for [`PROTOCOL`] at [`LINK_PATH`] gets 101, and its
    /// connection brings messages from then on. Any other gets an error with a JSON body.
    ///
    /// The HTTP connection has to be served with upgrades (`with_upgrades`), best on a
    /// `TokioIo<MaybeTls<TcpStream>>`, which is taken out of its wrapping then. Call it inside the `LocalSet` or
    /// `LocalRuntime` of this transport.
    #[must_use]
    pub fn accept(&self, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        self.accept_from(request, &Visitor::default())
    }

    /// The same for a request of this visitor, which is the same for all requests of a connection. One that asks too often
    /// does not crowd out the others.
    #[must_use]
    pub fn accept_from(&self, mut request: Request<hyper::body::Incoming>, visitor: &Visitor) -> Response<Full<Bytes>> {
        let (inner, source) = (&self.inner, visitor.source());
        let greeting = Greeting::read(request.headers());
        let mut answer = inner.greeting();
        if let Some(mut refusal) = refused(&request) {
            if !inner.trust.is_any() {
                answer.write(refusal.headers_mut());
            }
            return refusal;
        }
        let introduced = match inner.examine(request.headers(), greeting.as_ref(), visitor) {
            Ok(introduced) => introduced,
            Err(refusal) => return *refusal,
        };
        // During a changeover a peer may have proved nothing.
        let proved = inner.trust.is_any() && (inner.trust.is_strict() || introduced.is_some());
        let bearer = greeting.as_ref().filter(|_| proved).map(Bearer::of).unwrap_or_default();
        let prove = |response: &mut Response<Full<Bytes>>| {
            if let Some(introduced) = &introduced {
                introduced.answer(response.headers_mut());
            }
        };
        if let Some(mut refusal) = inner.does_not_understand(greeting.as_ref(), source) {
            answer.write(refusal.headers_mut());
            prove(&mut refusal);
            return refusal;
        }
        if let Some(asker) = &greeting {
            answer = inner.answer_to(asker, inner.knows(asker.home.as_ref().unwrap_or(&asker.address)));
        }
        let back = greeting.as_ref().filter(|asker| asker.answers_here).map(|asker| asker.address.clone());
        let theirs = greeting.as_ref().map(|asker| asker.formats);
        let address = greeting.map(|greeting| greeting.address);
        let known = address.as_ref().is_some_and(|address| inner.knows(address));
        if let Some(from) = address.clone().filter(|_| known) {
            inner.notice(Incoming::Sign { from });
        }
        let asker = Asker { source, known, address };
        if let Err(why) = inner.links.borrow_mut().admit(&asker, inner.settings.connections_in_max) {
            inner.count(|counters| counters.upgrades_refused += 1);
            let mut refusal = no_room(why);
            prove(&mut refusal);
            return refusal;
        }
        let upgrade = hyper::upgrade::on(&mut request);
        self.take(asker, upgrade, (back, theirs, bearer));
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        answer.write(response.headers_mut());
        prove(&mut response);
        response
    }

    /// Serves a connection that was admitted; it may be a way back to an address.
    fn take(&self, asker: Asker, upgrade: hyper::upgrade::OnUpgrade, said: Said) {
        let inner = Rc::clone(&self.inner);
        let mut links = self.inner.links.borrow_mut();
        let id = links.next_id();
        let listed = Listed { inner: Rc::clone(&inner), id };
        let source = asker.source;
        let task = spawn_local(async move {
            let _listed = listed;
            let ended = bring(&inner, id, upgrade, said).await;
            tracing::debug!("connection from a peer ended: {ended}");
            if let Ended::Refused(error) = &ended {
                inner.complain_of_frame(error, source);
            }
        });
        links.insert(id, asker, task.abort_handle());
    }
}

impl Inner {
    /// The refusal of a replica that belongs elsewhere or speaks otherwise.
    fn does_not_understand(
        &self,
        greeting: Option<&Greeting>,
        source: Option<IpAddr>,
    ) -> Option<Response<Full<Bytes>>> {
        let greeting = greeting?;
        let ours = self.settings.formats;
        if ours.common(greeting.formats).is_none() {
            self.count(|counters| counters.formats_refused += 1);
            self.complaints.of_formats((&self.settings.address, ours), greeting, source);
            return Some(refusal(StatusCode::CONFLICT, "This replica speaks another version of the protocol"));
        }
        if greeting.cluster != self.settings.cluster {
            self.complaints.of_cluster(&self.settings.address, greeting, source);
            return Some(refusal(StatusCode::FORBIDDEN, "This replica belongs to another cluster"));
        }
        None
    }

    /// A reader for a connection whose other end said that it speaks these formats.
    fn reader(&self, theirs: Option<Formats>) -> FrameReader {
        let settings = &self.settings;
        let reader = FrameReader::new(settings.cluster).with_frame_bytes_max(settings.frame_bytes_max);
        match theirs {
            Some(theirs) => {
                reader.speaking(settings.formats.common(theirs).map_or(settings.formats, Formats::only)).stated(theirs)
            }
            None => reader.speaking(settings.formats),
        }
    }

    fn complain_of_frame(&self, error: &CodecError, source: Option<IpAddr>) {
        self.complaints.of_frame(&self.settings.address, error, source);
    }
}

fn no_room(why: NoRoom) -> Response<Full<Bytes>> {
    let error = match why {
        NoRoom::TooOften => "Too many upgrades; try again later",
        NoRoom::Full => "Too many links; try again later",
    };
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, error);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
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

/// A connection from its upgrade to its end.
async fn bring(inner: &Rc<Inner>, id: u64, upgrade: hyper::upgrade::OnUpgrade, (back, theirs, bearer): Said) -> Ended {
    let Ok(Ok(upgraded)) = timeout(inner.settings.handshake_timeout, upgrade).await else { return Ended::NotUpgraded };
    let _open = Counted::new(inner, |counters| &mut counters.connections_in);
    let mut reader = inner.reader(theirs);
    let format = theirs.and_then(|theirs| inner.settings.formats.common(theirs));
    let back = back.map(|address| (address, format.unwrap_or(inner.settings.formats.lowest)));
    let ended = match upgraded.downcast::<TokioIo<MaybeTls<TcpStream>>>() {
        Ok(parts) => {
            reader.feed(&parts.read_buf);
            inner.count(|counters| counters.bytes_in += parts.read_buf.len() as u64);
            read_and_answer(inner, id, (&mut reader, &bearer), parts.io.into_inner(), back).await
        }
        Err(upgraded) => read_and_answer(inner, id, (&mut reader, &bearer), TokioIo::new(upgraded), back).await,
    };
    let Err(ended) = ended;
    if let Ended::Refused(error) = &ended {
        inner.count(|counters| counters.refused[error.reason()] += 1);
    }
    ended
}

/// Reads a connection that may be a way back as well.
async fn read_and_answer(
    inner: &Rc<Inner>,
    id: u64,
    reader: (&mut FrameReader, &Bearer),
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    back: Option<(Address, u8)>,
) -> Result<core::convert::Infallible, Ended> {
    let Some((address, format)) = back else { return read(inner, id, reader, stream).await };
    let (stream, answers) = split(stream);
    let _open = WayBack::open(inner, (address, format), id, answers);
    read(inner, id, reader, stream).await
}

/// What a peer answers on a connection that this side opened; `early` came with the upgrade.
pub(super) async fn read_answers(
    inner: &Inner,
    (theirs, bearer): (Option<Formats>, &Bearer),
    early: &[u8],
    stream: impl AsyncRead + Unpin,
) -> Result<core::convert::Infallible, Ended> {
    let mut reader = inner.reader(theirs);
    reader.feed(early);
    // No connection from a peer has this number.
    read(inner, 0, (&mut reader, bearer), stream).await
}

async fn read(
    inner: &Inner,
    id: u64,
    (reader, bearer): (&mut FrameReader, &Bearer),
    mut stream: impl AsyncRead + Unpin,
) -> Result<core::convert::Infallible, Ended> {
    let limit = inner.settings.first_frame_timeout.min(inner.settings.idle_timeout);
    let first_due = Instant::now() + limit * FIRST_FRAME_WAITS;
    let mut deadline = Instant::now() + limit;
    let (mut first, mut speaker): (_, Option<Speaks>) = (true, None);
    let mut reserved: Option<Reserved> = None;
    let mut reported_at = Instant::now();
    loop {
        if take_in(inner, (reader, bearer), &mut speaker).map_err(Ended::Refused)? {
            (first, reserved) = (false, None);
            inner.links.borrow_mut().brought_frame(id);
            inner.room().await;
            deadline = Instant::now() + inner.settings.idle_timeout;
        }
        if reserved.is_none() {
            reserved = reserve(inner, reader, first).await?;
        }
        // Only what is left unfinished is worth telling: a whole message speaks for itself.
        if !reader.is_between_frames()
            && reported_at.elapsed() >= PROGRESS_PAUSE
            && let Some(from) = reader.speaker().filter(|from| bearer.may_bear(from))
        {
            reported_at = Instant::now();
            inner.notice(Incoming::Progress { from: from.clone() });
        }
        let read = timeout_at(deadline, stream.read_buf(reader.buffer())).await;
        let count = read.map_err(|_| Ended::Idle)?.map_err(Ended::Broken)?;
        if count == 0 {
            return Err(Ended::Closed);
        }
        inner.count(|counters| counters.bytes_in += count as u64);
        speaker.iter().for_each(Speaks::on_arrival);
        if first {
            // A stranger has to go on, and to come to an end. A slow link brings something within that time.
            deadline = (Instant::now() + limit).min(first_due);
        }
    }
}

/// Room for the frame that has begun, if it is a large one, before more of it is read. `first` if the connection has
/// brought none yet.
async fn reserve(inner: &Inner, reader: &FrameReader, first: bool) -> Result<Option<Reserved>, Ended> {
    let Some(bytes) = reader.announced().filter(|&bytes| bytes > SMALL_BYTES) else { return Ok(None) };
    if !first {
        return Ok(Some(inner.unfinished.reserve(bytes).await));
    }
    let reserved = inner.unfinished.reserve_for_stranger(bytes);
    if reserved.is_none() {
        inner.count(|counters| counters.unfinished_refused += 1);
    }
    reserved.map(Some).ok_or(Ended::NoRoom)
}

/// Surfaces the whole frames that are there. Says whether there were any, and keeps the speaker once that is known
/// here.
fn take_in(
    inner: &Inner,
    (reader, bearer): (&mut FrameReader, &Bearer),
    speaker: &mut Option<Speaks>,
) -> Result<bool, CodecError> {
    let mut any = false;
    while let Some(frame) = inner.take_frame(reader, bearer)? {
        any = true;
        inner.count(|counters| {
            counters.frames_in += 1;
            counters.messages_in += frame.messages as u64;
        });
        if speaker.is_none() {
            *speaker = inner.peers.borrow().get(&frame.from).map(Speaks::new);
        }
    }
    Ok(any)
}

/// A peer speaks for as long as this lives.
struct Speaks(Rc<Peer>);

impl Speaks {
    fn new(peer: &Rc<Peer>) -> Self {
        peer.is_there();
        Self(Rc::clone(peer))
    }

    fn on_arrival(&self) {
        self.0.on_arrival();
    }
}

impl Drop for Speaks {
    fn drop(&mut self) {
        self.0.is_gone();
    }
}
