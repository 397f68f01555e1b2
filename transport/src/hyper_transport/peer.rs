//! One peer: what waits for it, and what is known of the connections to it and from it.

use super::Inner;
use super::causes::{Failure, Flaps, LinkCause, Outage};
use crate::codec::{FrameWriter, Pending};
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;
use hence_core::Address;
use std::io;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A replica says something several times within this, whatever it has to say.
pub(super) const SILENCE: Duration = Duration::from_millis(500);

/// A peer that is silent for so long is given up and greeted anew by the replica itself.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A peer and what waits for it.
#[derive(Debug)]
pub(super) struct Peer {
    address: Address,
    pub(super) state: RefCell<State>,
    /// The queue is not empty any more.
    pub(super) filled: Notify,
    /// Something came into the queue that a client waits for.
    pub(super) awaited: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: FrameWriter,
    /// A client waits for an answer to something in the queue.
    pub(super) is_awaited: bool,
    /// What the task took from the queue and the socket has not taken yet.
    pub(super) writing: Pending,
    pub(super) writing_bytes: usize,
    /// Dials and writes; there while a connection is wanted.
    pub(super) task: Option<AbortHandle>,
    /// The task has no connection yet.
    pub(super) dialling: bool,
    pub(super) failed_at: Option<Instant>,
    /// There has been no connection that works, since that began.
    pub(super) outage: Option<Outage>,
    pub(super) flaps: Flaps,
    /// Connections from it that have brought frames.
    pub(super) inbound: usize,
    /// When one of them last brought a byte.
    pub(super) last_arrival: Option<Instant>,
    /// It was silent since the connection to it was made.
    pub(super) was_silent: bool,
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
            Self::NoWay => f.write_str("no peer can connect to it, and it is not connected"),
            Self::Closed => f.write_str("closed by the peer"),
            Self::Spoke => f.write_str("the peer spoke where only we speak"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Stalled => f.write_str("the peer reads no more"),
        }
    }
}

impl State {
    /// Drops what is queued. A connection that is up ends with it. One that is being made goes on. Otherwise a peer
    /// that is further away than the pause between two hellos could never be reached. Says how many messages were
    /// dropped.
    pub(super) fn begin_anew(&mut self) -> u64 {
        if self.dialling { self.clear() } else { self.reset() }
    }

    /// Drops what is queued; says how many messages that were.
    fn clear(&mut self) -> u64 {
        self.is_awaited = false;
        self.queue.clear().messages
    }

    /// Ends the connection and drops what was queued for it; says how many messages that were.
    pub(super) fn reset(&mut self) -> u64 {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.dialling = false;
        self.failed_at = None;
        self.writing_bytes = 0;
        self.clear() + core::mem::take(&mut self.writing).messages
    }

    /// From now on a connection in this format takes what is queued.
    fn speak(&mut self, inner: &Inner, format: u8) {
        let lost = self.queue.speak(format, inner.settings.formats, &mut inner.memo.borrow_mut());
        inner.count(|counters| counters.lost_format += lost);
    }

    /// The connection stands and the peer speaks: whatever was wrong is over.
    fn end_outage_if_both_ways(&mut self) {
        if self.inbound > 0 && !self.dialling && self.task.is_some() {
            self.outage = None;
        }
    }

    /// Has a peer with a connection to this side been silent for long, but not for too long?
    fn is_silent(&self) -> bool {
        let silent = self.last_arrival.filter(|_| self.inbound > 0).map(|last_arrival| last_arrival.elapsed());
        silent.is_some_and(|silent| (SILENCE..SILENCE_MAX).contains(&silent))
    }

    pub(super) fn failed_within(&self, pause: core::time::Duration) -> bool {
        self.failed_at.is_some_and(|at| at.elapsed() < pause)
    }
}

impl Peer {
    /// A peer without a connection, to which nothing was said.
    pub(super) fn new(inner: &Inner, address: &Address) -> Self {
        let settings = &inner.settings;
        let queue = FrameWriter::new(settings.cluster, inner.address()).with_frame_bytes_max(settings.frame_bytes_max);
        // Until a connection says what it carries, what waits is written in the newest.
        let queue = queue.speaking(settings.formats.highest);
        let state = State {
            queue,
            is_awaited: false,
            writing: Pending::default(),
            writing_bytes: 0,
            task: None,
            dialling: false,
            failed_at: None,
            outage: None,
            flaps: Flaps::default(),
            inbound: 0,
            last_arrival: None,
            was_silent: false,
        };
        Self { address: address.clone(), state: RefCell::new(state), filled: Notify::new(), awaited: Notify::new() }
    }

    /// The peer just spoke, so the pause after a failed dial is over. Otherwise the answer to a replica that has only
    /// now begun to listen would be lost.
    pub(super) fn is_there(&self) {
        let mut state = self.state.borrow_mut();
        state.failed_at = None;
        state.was_silent |= state.is_silent();
        state.inbound += 1;
        state.last_arrival = Some(Instant::now());
        state.end_outage_if_both_ways();
    }

    /// It brought bytes.
    pub(super) fn on_arrival(&self) {
        let mut state = self.state.borrow_mut();
        state.was_silent |= state.is_silent();
        state.last_arrival = Some(Instant::now());
    }

    /// Nothing came from it for a while: perhaps nothing arrives over the connection to it either, though it speaks
    /// again.
    pub(super) fn may_be_stuck(&self) -> bool {
        let state = self.state.borrow();
        state.was_silent || state.is_silent()
    }

    /// So long it is not silent, whatever happens.
    pub(super) fn sure_for(&self) -> Duration {
        SILENCE.saturating_sub(
            self.state.borrow().last_arrival.map_or(Duration::ZERO, |last_arrival| last_arrival.elapsed()),
        )
    }

    /// From now on another connection takes what comes. Not while something waits that the present one has not taken.
    pub(super) fn begin_on_another(&self, inner: &Inner, format: u8) -> bool {
        let mut state = self.state.borrow_mut();
        let nothing_waits = state.queue.is_empty() && state.writing_bytes == 0;
        if nothing_waits {
            // Frames go on from those before them on the same connection.
            state.queue.clear();
            state.speak(inner, format);
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
    pub(super) fn fails(&self, cause: LinkCause, limit: Duration) -> bool {
        let mut state = self.state.borrow_mut();
        state.outage.get_or_insert_with(|| Outage::begin(cause)).fail(cause, limit)
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

    /// A client waits for an answer to something in its queue.
    pub(super) async fn is_awaited(&self) {
        while !self.state.borrow().is_awaited {
            self.awaited.notified().await;
        }
    }

    /// What is queued for it can be written from now on, in this format.
    pub(super) fn has_connection(&self, inner: &Inner, format: u8) {
        let mut state = self.state.borrow_mut();
        state.speak(inner, format);
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
        state.is_awaited = false;
        state.writing = state.queue.take(chunk);
        state.writing_bytes = chunk.len();
        true
    }
}
