//! Connections to peers: one per peer, dialled when there is something to say.
//!
//! Invariant kept here: a peer's queue and the task that empties it belong together. A new link ends the task
//! and drops the queue in one step, so nothing said before an opening message is written after it.

use super::again;
use super::causes::{Failure, Flaps, LinkCause, Outage};
use super::dial::{self, Dialled, Purpose};
use super::pace::Pace;
use super::{Counted, Inner, incoming, returns};
use crate::Incoming;
use crate::codec::{FrameWriter, Pending};
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;
use hence_core::{Address, Message};
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
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
    /// There has been no connection that works, since that began.
    outage: Option<Outage>,
    flaps: Flaps,
    /// Connections from it that have brought frames.
    inbound: usize,
    /// When one of them last brought a byte.
    heard: Option<Instant>,
    /// It was silent since the connection to it was made.
    was_silent: bool,
}

/// Why a connection ended or never was.
#[derive(Debug)]
pub(super) enum Ended {
    NoConnection(Failure),
    /// It cannot be dialled, and it is not connected.
    NoWay,
    Closed,
    Spoke,
    Broken(io::Error),
    Stalled,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoConnection(failure) => failure.fmt(f),
            Self::NoWay => f.write_str("nobody can connect to it, and it is not connected"),
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
    let queue = FrameWriter::new(settings.cluster, inner.address()).with_frame_bytes_max(settings.frame_bytes_max);
    let state = State {
        queue,
        writing: Pending::default(),
        writing_bytes: 0,
        task: None,
        dialling: false,
        failed_at: None,
        outage: None,
        flaps: Flaps::default(),
        inbound: 0,
        heard: None,
        was_silent: false,
    };
    let peer = Rc::new(Peer { address: address.clone(), state: RefCell::new(state), filled: Notify::new() });
    peers.insert(address.clone(), Rc::clone(&peer));
    Some(peer)
}

impl State {
    /// Drops what is queued. A connection that is up ends with it. One that is being made goes on. Otherwise a peer
    /// that is further away than the pause between two hellos could never be reached. Says how many messages were
    /// dropped.
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

    /// The connection stands and the peer speaks: whatever was wrong is over.
    fn end_outage_if_both_ways(&mut self) {
        if self.inbound > 0 && !self.dialling && self.task.is_some() {
            self.outage = None;
        }
    }

    /// Has a peer with a connection to this side been silent for long, but not for too long?
    fn is_silent(&self) -> bool {
        let silent = self.heard.filter(|_| self.inbound > 0).map(|heard| heard.elapsed());
        silent.is_some_and(|silent| (again::SILENCE..again::SILENCE_MAX).contains(&silent))
    }

    fn failed_within(&self, pause: core::time::Duration) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < pause)
    }
}

impl Peer {
    /// The peer just spoke, so the pause after a failed dial is over. Otherwise the answer to a replica that has only
    /// now begun to listen would be lost.
    pub(super) fn is_there(&self) {
        let mut state = self.state.borrow_mut();
        state.failed_at = None;
        state.was_silent |= state.is_silent();
        state.inbound += 1;
        state.heard = Some(Instant::now());
        state.end_outage_if_both_ways();
    }

    /// It brought bytes.
    pub(super) fn hear(&self) {
        let mut state = self.state.borrow_mut();
        state.was_silent |= state.is_silent();
        state.heard = Some(Instant::now());
    }

    /// Nothing came from it for a while: perhaps nothing arrives over the connection to it either, though it speaks
    /// again.
    pub(super) fn may_be_stuck(&self) -> bool {
        let state = self.state.borrow();
        state.was_silent || state.is_silent()
    }

    /// So long it is not silent, whatever happens.
    pub(super) fn sure_for(&self) -> Duration {
        again::SILENCE.saturating_sub(self.state.borrow().heard.map_or(Duration::ZERO, |heard| heard.elapsed()))
    }

    /// From now on another connection takes what comes. Not while something waits that the present one has not taken.
    pub(super) fn begin_on_another(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let nothing_waits = state.queue.is_empty() && state.writing_bytes == 0;
        if nothing_waits {
            // Frames go on from those before them on the same connection.
            state.queue.clear();
        }
        state.was_silent = false;
        nothing_waits
    }

    /// Its address.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// A connection from it that had brought frames ended.
    pub(super) fn is_gone(&self) {
        let mut state = self.state.borrow_mut();
        state.inbound = state.inbound.saturating_sub(1);
    }

    /// One more attempt to connect to it failed. Is that to be told?
    pub(super) fn fails(&self, cause: LinkCause, patience: Duration) -> bool {
        let mut state = self.state.borrow_mut();
        state.outage.get_or_insert_with(|| Outage::begin(cause)).fail(cause, patience)
    }

    /// Why it cannot be connected to, if so.
    pub(super) fn outage(&self) -> Option<LinkCause> {
        let state = self.state.borrow();
        let lost = state.flaps.large_packets_lost.then_some(LinkCause::LargePacketsLost);
        lost.or_else(|| state.outage.as_ref().map(Outage::current))
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.state.borrow_mut().reset();
    }

    /// There is something in its queue, or was a moment ago.
    pub(super) async fn is_filled(&self) {
        self.filled.notified().await;
    }

    /// What is queued for it can be written from now on.
    pub(super) fn has_connection(&self) {
        let mut state = self.state.borrow_mut();
        state.dialling = false;
        state.was_silent = false;
        state.end_outage_if_both_ways();
    }

    /// What was taken has been written.
    pub(super) fn has_written(&self, inner: &Inner) {
        let mut state = self.state.borrow_mut();
        state.writing_bytes = 0;
        let written = core::mem::take(&mut state.writing);
        inner.count(|counters| {
            counters.frames_out += written.frames;
            counters.messages_out += written.messages;
        });
    }

    /// Moves the queue to `chunk`, which is empty. Says whether there was anything.
    pub(super) fn take(&self, chunk: &mut Vec<u8>) -> bool {
        let mut state = self.state.borrow_mut();
        if state.queue.is_empty() {
            return false;
        }
        state.writing = state.queue.take(chunk);
        state.writing_bytes = chunk.len();
        true
    }
}

/// Connections to a peer that speaks are given up again and again: perhaps its size decides whether a packet arrives.
async fn consider_size(inner: Rc<Inner>, peer: Rc<Peer>) {
    let Some(lost) = dial::loses_large_packets(&inner, &peer.address).await else { return };
    let before = core::mem::replace(&mut peer.state.borrow_mut().flaps.large_packets_lost, lost);
    if lost && !before {
        inner.tell(&peer.address, &Failure::LargePacketsLost);
    }
}

/// A connection from its dial to its end.
async fn run(inner: Rc<Inner>, peer: Rc<Peer>) {
    let Err(ended) = connect_and_write(&inner, &peer).await;
    if let Ended::NoConnection(failure) = &ended {
        inner.fail(&peer.address, failure);
    }
    tracing::debug!(peer = %peer.address, "connection to peer ended: {ended}");
    // Not reached by a task that was aborted: the code that aborts it has put the state in order.
    let mut state = peer.state.borrow_mut();
    state.task = None;
    let lost = state.reset();
    state.failed_at = Some(Instant::now());
    inner.count(|counters| counters.lost_no_connection += lost);
}

async fn connect_and_write(inner: &Rc<Inner>, peer: &Peer) -> Result<core::convert::Infallible, Ended> {
    if returns::is_needed(inner, &peer.address) {
        return returns::write_back(inner, peer).await;
    }
    let dialled = dial::connect(inner, &peer.address, Purpose::Link).await;
    let dialled = match dialled {
        Err(_) if returns::is_needed(inner, &peer.address) => return returns::write_back(inner, peer).await,
        dialled => dialled.map_err(Ended::NoConnection)?,
    };
    let Dialled { mut stream, greeting, early, answers } = dialled;
    peer.has_connection();
    if greeting.as_ref().is_some_and(|greeting| greeting.address == peer.address) {
        inner.notice(Incoming::Sign { from: peer.address.clone() });
    }
    let begun = Instant::now();
    let ended = match answers {
        Some(answering) => tokio::select! {
            ended = write_all(inner, peer, &mut stream, true) => ended,
            Err(ended) = incoming::read_answers(inner, &early, answering) => {
                tracing::debug!(peer = %peer.address, "answers of a peer ended: {ended}");
                Err(Ended::Closed)
            }
        },
        None => loop {
            stream = tokio::select! {
                Err(ended) = write_all(inner, peer, &mut stream, false) => break Err(ended),
                another = again::connect(inner, peer) => another,
            };
            tracing::debug!(peer = %peer.address, "connected anew to a peer that fell silent");
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
    stream: &mut TcpStream,
    answered: bool,
) -> Result<core::convert::Infallible, Ended> {
    let _open = Counted::new(inner, |counters| &mut counters.connections_out);
    tracing::debug!(peer = %peer.address, "connected to peer");
    let (mut chunk, mut pace) = (Vec::new(), Pace::default());
    Pace::prepare(stream);
    loop {
        while !peer.take(&mut chunk) {
            if answered {
                peer.is_filled().await; // the reader of the answers sees the peer go away
            } else {
                wait_for_more(stream, peer).await?;
            }
        }
        let crowded = peer.state.borrow().writing.messages >= CROWD;
        write(inner, peer, (stream, &mut pace), &chunk).await?;
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
    peer.has_written(inner);
    Ok(())
}
