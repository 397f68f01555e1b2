//! Connections to peers: one per peer, dialled when there is something to say.
//!
//! Invariant kept here: a peer's queue and the task that empties it belong together. A new link ends the task
//! and drops the queue in one step, so nothing said before an opening message is written after it.

use super::bearer::Bearer;
use super::causes::Failure;
use super::dial::{self, Dialled, Link, Purpose};
use super::pace::Pace;
use super::peer::{Ended, Peer};
use super::{Counted, Inner, again, incoming, returns};
use crate::Incoming;
use crate::codec::Unsaid;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use hence_core::{Address, Body, Message};
use socket2::{SockRef, Socket};
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf, split};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

/// A buffer that a large batch left behind is given up when it is greater than this.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// So many messages in one turn come from many clients at a time.
const CROWD: u64 = 8;
/// Then what comes next is gathered for so long, or up to twice that, since timers count whole milliseconds. A follower
/// pays as much for a frame and its wake-up as for ten to twenty writes; only a reader elsewhere could wait.
const PAUSE: Duration = Duration::from_millis(1);

/// A replica of an earlier version ends a connection so soon after it was made and written to.
const OLDER_BUILD_WITHIN: Duration = Duration::from_secs(2);

/// Queues a message, or loses and counts it.
pub(super) fn send(inner: &Rc<Inner>, to: &Address, message: &Message) {
    let Some(peer) = peer(inner, to) else {
        return inner.count(|counters| counters.lost_no_connection += 1);
    };
    let mut state = peer.state.borrow_mut();
    if message.is_opening() {
        if state.task.is_some() && !state.dialling && state.inbound > 0 && state.flaps.give_up() {
            spawn_local(consider_size(Rc::clone(inner), Rc::clone(&peer)));
        }
        let dropped = state.begin_anew();
        inner.count(|counters| counters.lost_superseded += dropped);
    } else if state.task.is_none() && state.failed_within(inner.settings.redial_pause) {
        return inner.count(|counters| counters.lost_no_connection += 1);
    }
    if state.queue.bytes() + state.writing_bytes >= inner.settings.queue_bytes_max {
        return inner.count(|counters| counters.lost_queue_full += 1);
    }
    let was_empty = state.queue.is_empty();
    if let Err(unsaid) = state.queue.push(message, &mut inner.memo.borrow_mut()) {
        return inner.count(|counters| match unsaid {
            Unsaid::Oversize { .. } => counters.lost_oversize += 1,
            Unsaid::Format { .. } => counters.lost_format += 1,
        });
    }
    // A client waits for the answer to this one (CONCERN-5), and so does what is gathered with it.
    if matches!(&message.body, Body::Probe { address } if address == to) {
        state.is_awaited = true;
        peer.awaited.notify_one();
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
    let peer = Rc::new(Peer::new(inner, address));
    peers.insert(address.clone(), Rc::clone(&peer));
    Some(peer)
}

/// Connections to a peer that speaks are given up again and again: perhaps its size decides whether a packet arrives.
async fn consider_size(inner: Rc<Inner>, peer: Rc<Peer>) {
    let Some(lost) = dial::loses_large_packets(&inner, peer.address()).await else { return };
    let before = core::mem::replace(&mut peer.state.borrow_mut().flaps.large_packets_lost, lost);
    if lost && !before {
        inner.tell(peer.address(), &Failure::LargePacketsLost);
    }
}

/// A connection from its dial to its end.
async fn run(inner: Rc<Inner>, peer: Rc<Peer>) {
    let Err(ended) = connect_and_write(&inner, &peer).await;
    if let Ended::NoConnection(failure) = &ended {
        inner.fail(peer.address(), failure);
    }
    tracing::debug!(peer = %peer.address(), "connection to peer ended: {ended}");
    // Not reached by a task that was aborted: the code that aborts it has put the state in order.
    let mut state = peer.state.borrow_mut();
    state.task = None;
    let lost = state.reset();
    state.failed_at = Some(Instant::now());
    inner.count(|counters| counters.lost_no_connection += lost);
}

async fn connect_and_write(inner: &Rc<Inner>, peer: &Peer) -> Result<core::convert::Infallible, Ended> {
    if returns::is_needed(inner, peer.address()) {
        return returns::write_back(inner, peer).await;
    }
    let dialled = dial::connect(inner, peer.address(), Purpose::Link).await;
    let dialled = match dialled {
        Err(_) if returns::is_needed(inner, peer.address()) => return returns::write_back(inner, peer).await,
        dialled => dialled.map_err(Ended::NoConnection)?,
    };
    let Dialled { mut stream, format, greeting, early, answers } = dialled;
    peer.has_connection(inner, format);
    if greeting.as_ref().is_some_and(|greeting| greeting.address == *peer.address()) {
        inner.notice(Incoming::Sign { from: peer.address().clone() });
    }
    let (begun, theirs) = (Instant::now(), greeting.as_ref().map(|greeting| greeting.formats));
    let ended = match answers {
        true => {
            let socket = SockRef::from(stream.get_ref()).try_clone().map_err(Ended::Broken)?;
            let (answering, writer) = split(stream);
            let mut half = Half { writer, socket };
            let proved = inner.trust.is_any() && inner.trust.is_strict();
            let bearer = if proved { Bearer::at(peer.address(), greeting.as_ref()) } else { Bearer::default() };
            tokio::select! {
                ended = write_all(inner, peer, &mut half) => ended,
                Err(ended) = incoming::read_answers(inner, (theirs, &bearer), &early, answering) => {
                    tracing::debug!(peer = %peer.address(), "answers of a peer ended: {ended}");
                    Err(Ended::Closed)
                }
            }
        }
        false => loop {
            stream = tokio::select! {
                Err(ended) = write_all(inner, peer, &mut stream) => break Err(ended),
                another = again::connect(inner, peer) => another,
            };
            tracing::debug!(peer = %peer.address(), "connected anew to a peer that fell silent");
        },
    };
    match ended {
        // It takes the upgrade, introduces itself in no way that is known, and closes what is sent to it.
        Err(Ended::Closed | Ended::Broken(_))
            if greeting.is_none() && begun.elapsed() < OLDER_BUILD_WITHIN && peer.state.borrow().inbound == 0 =>
        {
            Err(Ended::NoConnection(Failure::OlderBuild))
        }
        ended => ended,
    }
}

/// Writes what comes, until the connection ends.
async fn write_all(
    inner: &Rc<Inner>,
    peer: &Peer,
    stream: &mut impl Writes,
) -> Result<core::convert::Infallible, Ended> {
    let _open = Counted::new(inner, |counters| &mut counters.connections_out);
    tracing::debug!(peer = %peer.address(), "connected to peer");
    let (mut chunk, mut pace) = (Vec::new(), Pace::default());
    Pace::prepare(&stream.socket());
    loop {
        while !peer.take(&mut chunk) {
            wait_for_more(stream, peer).await?;
        }
        let crowded = peer.state.borrow().writing.messages >= CROWD;
        write(inner, peer, (stream, &mut pace), &chunk).await?;
        if chunk.capacity() > KEPT_BYTES_MAX {
            chunk = Vec::new();
        }
        chunk.clear();
        if crowded {
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = peer.is_awaited() => {}
            }
        }
    }
}

/// Until the queue is filled or the peer goes away.
async fn wait_for_more(stream: &mut impl Writes, peer: &Peer) -> Result<(), Ended> {
    tokio::select! {
        biased;
        () = peer.is_filled() => Ok(()),
        ended = stream.end() => Err(ended),
    }
}

/// Where frames are written.
trait Writes: AsyncWrite + Unpin {
    /// The socket below.
    fn socket(&self) -> SockRef<'_>;

    /// Waits until the peer goes away, or speaks where only this side does.
    async fn end(&mut self) -> Ended;
}

impl Writes for Link {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.get_ref())
    }

    async fn end(&mut self) -> Ended {
        match self.read(&mut [0]).await {
            Ok(0) => Ended::Closed,
            Ok(_) => Ended::Spoke,
            Err(error) => Ended::Broken(error),
        }
    }
}

/// The half of a connection that takes frames, where its other half brings answers.
struct Half {
    writer: WriteHalf<Link>,
    socket: Socket,
}

impl AsyncWrite for Half {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

impl Writes for Half {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    /// The reader of the answers sees the peer go away.
    async fn end(&mut self) -> Ended {
        core::future::pending().await
    }
}

async fn write(
    inner: &Inner,
    peer: &Peer,
    (stream, pace): (&mut impl Writes, &mut Pace),
    chunk: &[u8],
) -> Result<(), Ended> {
    let mut left = chunk;
    while !left.is_empty() {
        let begun = Instant::now();
        // TLS takes more than its socket does; what it holds back is flushed.
        let written = timeout(inner.settings.write_timeout, async {
            let count = stream.write(pace.slice(left)).await?;
            stream.flush().await.map(|()| count)
        });
        let written = written.await;
        let count = written.map_err(|_| Ended::Stalled)?.map_err(Ended::Broken)?;
        if count == 0 {
            return Err(Ended::Closed);
        }
        pace.wrote(&stream.socket(), count, begun.elapsed());
        left = &left[count..];
        peer.state.borrow_mut().writing_bytes = left.len();
        inner.count(|counters| counters.bytes_out += count as u64);
    }
    peer.has_written(inner);
    Ok(())
}
