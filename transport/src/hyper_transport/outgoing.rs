//! Connections to peers: one per peer, dialled when there is something to say.
//!
//! Invariant kept here: a peer's queue and the task that empties it belong together. A new link ends the task
//! and drops the queue in one step, so nothing said before an opening message is written after it.

use super::pace::Pace;
use super::{Counted, Inner, LINK_PATH, PROTOCOL};
use crate::Incoming;
use crate::codec::{FrameWriter, Pending};
use bytes::Bytes;
use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use hence_core::{Address, Message};
use http::header::{CONNECTION, HOST, UPGRADE};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

/// A buffer that a large batch left behind is given up when it is greater than this.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// So many messages in one turn come from many clients at a time.
const CROWD: u64 = 8;
/// Then what comes next is gathered for so long, or up to twice that, since timers count whole milliseconds. A follower
/// pays as much for a frame and its wake-up as for ten to twenty writes; nobody but a reader elsewhere could wait.
const PAUSE: Duration = Duration::from_millis(1);

/// A peer and what waits for it.
#[derive(Debug)]
pub(super) struct Peer {
    address: Address,
    state: RefCell<State>,
    /// The queue is not empty any more.
    filled: Notify,
}

#[derive(Debug)]
struct State {
    queue: FrameWriter,
    /// What the task took from the queue and the socket has not taken yet.
    writing: Pending,
    writing_bytes: usize,
    /// Dials and writes; there while a connection is wanted.
    task: Option<AbortHandle>,
    /// The task has no connection yet.
    dialling: bool,
    failed_at: Option<Instant>,
}

/// Why a connection ended or never was.
#[derive(Debug)]
enum Ended {
    NoDial(io::Error),
    DialTimeout,
    HandshakeTimeout,
    Handshake(hyper::Error),
    Refused(http::StatusCode),
    Closed,
    Spoke,
    Broken(io::Error),
    Stalled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDial(error) => write!(f, "cannot connect: {error}"),
            Self::DialTimeout => f.write_str("cannot connect in time"),
            Self::HandshakeTimeout => f.write_str("no answer to the upgrade in time"),
            Self::Handshake(error) => write!(f, "upgrade failed: {error}"),
            Self::Refused(status) => write!(f, "upgrade refused with status {status}"),
            Self::Closed => f.write_str("closed by the peer"),
            Self::Spoke => f.write_str("the peer spoke where only we speak"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Stalled => f.write_str("the peer reads no more"),
        }
    }
}

/// Queues a message, or loses and counts it.
pub(super) fn send(inner: &Rc<Inner>, to: &Address, message: &Message) {
    let Some(peer) = peer(inner, to) else {
        return inner.count(|counters| counters.lost_no_connection += 1);
    };
    let mut state = peer.state.borrow_mut();
    if message.is_opening() {
        let dropped = state.begin_anew();
        inner.count(|counters| counters.lost_superseded += dropped);
    } else if state.task.is_none() && state.failed_within(inner.settings.redial_pause) {
        return inner.count(|counters| counters.lost_no_connection += 1);
    }
    if state.queue.bytes() + state.writing_bytes >= inner.settings.queue_bytes_max {
        return inner.count(|counters| counters.lost_queue_full += 1);
    }
    let was_empty = state.queue.is_empty();
    if state.queue.push(message, &mut inner.memo.borrow_mut()).is_err() {
        return inner.count(|counters| counters.lost_oversize += 1);
    }
    if state.task.is_none() {
        state.dialling = true;
        state.task = Some(spawn_local(run(Rc::clone(inner), Rc::clone(&peer))).abort_handle());
    } else if was_empty {
        peer.filled.notify_one();
    }
}

/// The peer at this address; none if there are too many that are busy.
fn peer(inner: &Inner, address: &Address) -> Option<Rc<Peer>> {
    let mut peers = inner.peers.borrow_mut();
    if let Some(peer) = peers.get(address) {
        return Some(Rc::clone(peer));
    }
    if peers.len() >= inner.settings.peers_max {
        peers.retain(|_, peer| peer.state.borrow().task.is_some());
        if peers.len() >= inner.settings.peers_max {
            return None;
        }
    }
    let settings = &inner.settings;
    let queue =
        FrameWriter::new(settings.cluster, settings.address.clone()).with_frame_bytes_max(settings.frame_bytes_max);
    let state =
        State { queue, writing: Pending::default(), writing_bytes: 0, task: None, dialling: false, failed_at: None };
    let peer = Rc::new(Peer { address: address.clone(), state: RefCell::new(state), filled: Notify::new() });
    peers.insert(address.clone(), Rc::clone(&peer));
    Some(peer)
}

impl State {
    /// Drops what is queued. A connection that is up ends with it; one that is being made goes on, or a peer that is
    /// further away than the pause between two hellos could never be reached. Says how many messages were dropped.
    fn begin_anew(&mut self) -> u64 {
        if self.dialling { self.queue.clear().messages } else { self.reset() }
    }

    /// Ends the connection and drops what was queued for it; says how many messages that were.
    fn reset(&mut self) -> u64 {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.dialling = false;
        self.failed_at = None;
        self.writing_bytes = 0;
        self.queue.clear().messages + core::mem::take(&mut self.writing).messages
    }

    fn failed_within(&self, pause: core::time::Duration) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < pause)
    }
}

impl Peer {
    /// It just spoke: the pause after a failed dial is over, or the answer to a replica that has only now begun to
    /// listen would be lost.
    pub(super) fn is_there(&self) {
        self.state.borrow_mut().failed_at = None;
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.state.borrow_mut().reset();
    }

    /// Moves the queue to `chunk`, which is empty. Says whether there was anything.
    fn take(&self, chunk: &mut Vec<u8>) -> bool {
        let mut state = self.state.borrow_mut();
        if state.queue.is_empty() {
            return false;
        }
        state.writing = state.queue.take(chunk);
        state.writing_bytes = chunk.len();
        true
    }
}

/// A connection from its dial to its end.
async fn run(inner: Rc<Inner>, peer: Rc<Peer>) {
    let Err(ended) = connect_and_write(&inner, &peer).await;
    tracing::debug!(peer = %peer.address, "connection to peer ended: {ended}");
    // Not reached by a task that was aborted: whoever aborts it has put the state in order.
    let mut state = peer.state.borrow_mut();
    state.task = None;
    let lost = state.reset();
    state.failed_at = Some(Instant::now());
    inner.count(|counters| counters.lost_no_connection += lost);
}

async fn connect_and_write(inner: &Rc<Inner>, peer: &Peer) -> Result<core::convert::Infallible, Ended> {
    let upgraded =
        connect(inner, &peer.address).await.inspect_err(|_| inner.count(|counters| counters.dials_failed += 1));
    let mut stream = upgraded?;
    peer.state.borrow_mut().dialling = false;
    let _open = Counted::new(inner, |counters| &mut counters.connections_out);
    tracing::debug!(peer = %peer.address, "connected to peer");
    let (mut chunk, mut pace) = (Vec::new(), Pace::default());
    Pace::prepare(&stream);
    loop {
        while !peer.take(&mut chunk) {
            wait_for_more(&mut stream, peer).await?;
        }
        let crowded = peer.state.borrow().writing.messages >= CROWD;
        write(inner, peer, (&mut stream, &mut pace), &chunk).await?;
        if chunk.capacity() > KEPT_BYTES_MAX {
            chunk = Vec::new();
        }
        chunk.clear();
        if crowded {
            sleep(PAUSE).await;
        }
    }
}

/// Until the queue is filled or the peer goes away.
async fn wait_for_more(stream: &mut TcpStream, peer: &Peer) -> Result<(), Ended> {
    let mut byte = [0];
    tokio::select! {
        biased;
        () = peer.filled.notified() => Ok(()),
        read = stream.read(&mut byte) => match read {
            Ok(0) => Err(Ended::Closed),
            Ok(_) => Err(Ended::Spoke),
            Err(error) => Err(Ended::Broken(error)),
        },
    }
}

async fn write(
    inner: &Inner,
    peer: &Peer,
    (stream, pace): (&mut TcpStream, &mut Pace),
    chunk: &[u8],
) -> Result<(), Ended> {
    let mut left = chunk;
    while !left.is_empty() {
        let begun = Instant::now();
        let written = timeout(inner.settings.write_timeout, stream.write(pace.slice(left))).await;
        let count = written.map_err(|_| Ended::Stalled)?.map_err(Ended::Broken)?;
        if count == 0 {
            return Err(Ended::Closed);
        }
        pace.wrote(stream, count, begun.elapsed());
        left = &left[count..];
        peer.state.borrow_mut().writing_bytes = left.len();
        inner.count(|counters| counters.bytes_out += count as u64);
    }
    let written = core::mem::take(&mut peer.state.borrow_mut().writing);
    inner.count(|counters| {
        counters.frames_out += written.frames;
        counters.messages_out += written.messages;
    });
    Ok(())
}

async fn connect(inner: &Rc<Inner>, address: &Address) -> Result<TcpStream, Ended> {
    inner.count(|counters| counters.dials += 1);
    let dialled = timeout(inner.settings.dial_timeout, dial(inner.own_ip, address)).await;
    let stream = dialled.map_err(|_| Ended::DialTimeout)?.map_err(Ended::NoDial)?;
    inner.notice(Incoming::Connected { to: address.clone() });
    timeout(inner.settings.handshake_timeout, upgrade(stream, address)).await.map_err(|_| Ended::HandshakeTimeout)?
}

async fn dial(own_ip: Option<IpAddr>, address: &Address) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for target in tokio::net::lookup_host(address.as_str()).await? {
        match dial_one(own_ip, target).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Dials from the own address, so that firewalls see who it is; from any, where that cannot be.
async fn dial_one(own_ip: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let usable = |ip: &IpAddr| ip.is_ipv4() == target.is_ipv4() && !ip.is_unspecified();
    let stream = match own_ip.filter(usable) {
        Some(ip) => match dial_from(Some(ip), target).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput) => {
                dial_from(None, target).await
            }
            dialled => dialled,
        },
        None => dial_from(None, target).await,
    }?;
    // A port from which nobody listens may be the very one that this side got, and TCP joins it to itself.
    if stream.local_addr()? == target {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn dial_from(ip: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = ip {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(target).await
}

/// Makes an HTTP connection one for frames.
async fn upgrade(stream: TcpStream, address: &Address) -> Result<TcpStream, Ended> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Ended::Handshake)?;
    // It drives the exchange and ends with the upgrade; if we are dropped first, it ends with us.
    let _driver = AbortOnDrop(spawn_local(connection.with_upgrades()).abort_handle());
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(LINK_PATH);
    let headers = request.headers_mut();
    if let Ok(host) = http::HeaderValue::from_str(address.as_str()) {
        headers.insert(HOST, host);
    }
    headers.insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, http::HeaderValue::from_static(PROTOCOL));
    let response = sender.send_request(request).await.map_err(Ended::Handshake)?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Ended::Refused(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(Ended::Handshake)?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("it was made of a TcpStream above");
    if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(Ended::Spoke) }
}

/// Ends a task with its owner.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
