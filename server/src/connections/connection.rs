//! One client connection: what it is doing, and since when.
//!
//! Invariant: a phase is entered together with the tick at which it must be over.

use super::TICK;
use super::answers::Sending;
use super::raw::{Line, Lines};
use crate::settings::Limits;
use hence_transport::trust::Visitor;
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tracing::debug;

/// So long an ended connection is still read from, so that its last answer is not destroyed by a reset.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// An answer must be taken at no less than this many bytes a second, on top of the time for any answer.
pub(super) const READER_BYTES_PER_SECOND: u64 = 64 << 10;

/// So long a client that ended its sending side, or sent more than is read, is believed to be there. Then it is asked.
const BELIEVED: Duration = Duration::from_secs(2);

/// An interim answer, which every client of HTTP/1.1 passes over. One that is gone answers it with a reset.
const ARE_YOU_THERE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Bytes of an answer that wait unsent in the kernel before it takes no more.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_BYTES_MAX: u32 = 64 << 10;

const NEVER: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// TLS begins.
    Handshake,
    /// Between requests; or nothing came yet.
    Idle,
    /// Some of a request's head came.
    Head,
    /// The request is being worked on.
    Busy,
    /// The request's body is awaited.
    Body,
    /// The answer is being sent.
    Answer,
    /// The client watches: its answer has no end.
    Watch,
    /// The last answer is sent; what still comes is thrown away.
    Closing,
}

const PHASES: [Phase; 8] =
    [Phase::Handshake, Phase::Idle, Phase::Head, Phase::Busy, Phase::Body, Phase::Answer, Phase::Watch, Phase::Closing];

/// The limits in ticks, and the tick that it is now: shared by all pulses of a server.
#[derive(Debug)]
pub(super) struct Rhythm {
    pub(super) now: AtomicU32,
    head: u32,
    body: u32,
    idle: u32,
    answer: u32,
    line_bytes_max: usize,
}

/// The phase of one connection. Written by its own task only; atomic because hyper wants `Send` streams.
#[derive(Debug)]
pub(super) struct Pulse {
    rhythm: Arc<Rhythm>,
    phase: AtomicU8,
    since: AtomicU32,
    deadline: AtomicU32,
    /// Bytes of an answer may still be on their way to the socket.
    writes: AtomicBool,
    /// A peer took the connection over.
    upgraded: AtomicBool,
    lines: Mutex<Lines>,
    has_lines: AtomicBool,
}

impl Rhythm {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            now: AtomicU32::new(0),
            head: ticks(limits.head_time_max),
            body: ticks(limits.body_time_max),
            idle: ticks(limits.idle_time_max),
            answer: ticks(limits.answer_time_max),
            line_bytes_max: limits.head_bytes_max.min(64 << 10),
        }
    }
}

impl Pulse {
    pub(super) fn enter(&self, phase: Phase, ticks: u32) {
        let now = self.rhythm.now.load(Relaxed);
        self.phase.store(phase as u8, Relaxed);
        self.since.store(now, Relaxed);
        self.deadline.store(now.saturating_add(ticks), Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Relaxed))]
    }

    pub(super) fn since(&self) -> u32 {
        self.since.load(Relaxed)
    }

    pub(super) fn is_over(&self, now: u32) -> bool {
        self.deadline.load(Relaxed) <= now
    }

    pub(super) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    pub(super) fn on_bytes_read(&self) {
        if self.is(Phase::Idle) {
            self.enter(Phase::Head, self.rhythm.head);
        }
    }

    pub(super) fn on_write(&self) {
        self.writes.store(true, Relaxed);
    }

    pub(super) fn on_flushed(&self) {
        self.writes.store(false, Relaxed);
        if self.is(Phase::Answer) {
            self.enter(Phase::Idle, self.rhythm.idle);
        } else if self.is(Phase::Watch) {
            self.enter(Phase::Watch, NEVER);
        }
    }
}

impl Pulse {
    pub(super) fn line_bytes_max(&self) -> usize {
        self.rhythm.line_bytes_max
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// These request lines came, one of them with a `#`; as a rule none.
    pub(super) fn on_lines(&self, found: Vec<Line>) {
        if found.is_empty() && !self.has_lines.load(Relaxed) {
            return;
        }
        let mut lines = self.lines();
        lines.replace(found);
        self.has_lines.store(!lines.is_empty(), Relaxed);
    }

    fn has_fragment(&self, method: &str, path_and_query: &str) -> bool {
        self.has_lines.load(Relaxed) && self.lines().take(method, path_and_query)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that so many bytes of an answer may take on top of that for any answer.
fn of_bytes(bytes: u64) -> u32 {
    ticks(Duration::from_secs(bytes / READER_BYTES_PER_SECOND))
}

pub(super) fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(NEVER)
}

/// One client connection, as its handlers see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) pulse: Arc<Pulse>,
    pub(super) stream: Arc<TcpStream>,
    visitor: OnceCell<Visitor>,
    body_reader: RefCell<Option<Waker>>,
    body_is_late: Cell<bool>,
    surplus: bool,
    waits: Cell<Option<Wait>>,
    /// The tick since which the client may be gone for all that the socket shows.
    suspected_since: Cell<Option<u32>>,
    asked: Cell<bool>,
    /// The large pieces of its answers that are on their way.
    pub(super) sending: Sending,
    keeps_unsent_small: Cell<bool>,
}

/// A request waits at the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wait {
    /// Its client passes over interim answers.
    interim: bool,
}

/// Is a client that watches about to go?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Not for all that is known.
    No,
    /// It says nothing more. Whether it still reads shows when it is told something.
    Maybe,
    /// Nothing can be told to it any more.
    Gone,
}

/// Is the client of a request that waits still there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// For all that is known.
    There,
    /// Nothing can be sent to it any more.
    Gone,
}

impl Connection {
    /// One that has just been accepted.
    pub(super) fn new(stream: TcpStream, rhythm: Arc<Rhythm>, surplus: bool) -> Self {
        let pulse = Pulse {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(0),
            deadline: AtomicU32::new(NEVER),
            rhythm,
            writes: AtomicBool::default(),
            upgraded: AtomicBool::default(),
            lines: Mutex::default(),
            has_lines: AtomicBool::default(),
        };
        pulse.enter(Phase::Idle, pulse.rhythm.idle);
        Self {
            pulse: Arc::new(pulse),
            stream: Arc::new(stream),
            visitor: OnceCell::new(),
            body_reader: RefCell::default(),
            body_is_late: Cell::default(),
            surplus,
            waits: Cell::default(),
            suspected_since: Cell::default(),
            asked: Cell::default(),
            sending: Sending::default(),
            keeps_unsent_small: Cell::default(),
        }
    }

    /// Had this request's target a `#`? To be asked once of each request, in order.
    pub(crate) fn has_fragment(&self, method: &str, path_and_query: &str) -> bool {
        self.pulse.has_fragment(method, path_and_query)
    }

    /// Where the client is.
    fn source(&self) -> Option<IpAddr> {
        self.stream.peer_addr().ok().map(|address| address.ip())
    }

    /// The client, as far as the transport knows it.
    pub(crate) fn visitor(&self) -> &Visitor {
        self.visitor.get_or_init(|| Visitor::from_source(self.source()))
    }

    /// TLS begins, or its absence shows, within the time that a head may take.
    pub(super) fn begin_handshake(&self) {
        self.pulse.enter(Phase::Handshake, self.pulse.rhythm.head);
    }

    /// Requests may come from now on.
    pub(super) fn end_handshake(&self) {
        self.pulse.enter(Phase::Idle, self.pulse.rhythm.idle);
    }

    /// A peer takes the connection over: what comes is no HTTP any more.
    pub(crate) fn on_upgrade(&self) {
        self.pulse.upgraded.store(true, Relaxed);
    }

    /// The request waits at the replica until what this gives is dropped. `interim`: its client passes over interim
    /// answers.
    pub(crate) fn on_blocked(&self, interim: bool) -> impl Drop + '_ {
        self.waits.set(Some(Wait { interim }));
        self.suspected_since.set(None);
        self.asked.set(false);
        BlockedRequest(self)
    }

    /// Is the client still there, if a request of it waits? To be asked once per tick.
    ///
    /// The HTTP library does not look at the socket while a request is worked on. The end of what a client sends is not
    /// the end of the client. A client that ended its sending side may have gone away altogether. That shows only when
    /// something is sent to it. The same holds for a client that sent more than the buffers take, whose end stands
    /// behind that.
    pub(super) fn presence(&self) -> Presence {
        let Some(wait) = self.waits.get() else { return Presence::There };
        let now = self.pulse.rhythm.now.load(Relaxed);
        let both = pin!(self.stream.ready(Interest::READABLE | Interest::WRITABLE));
        match both.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) if ready.is_write_closed() => return Presence::Gone,
            Poll::Ready(Ok(ready)) if ready.is_read_closed() || ready.is_readable() => {}
            Poll::Ready(Err(_)) => return Presence::Gone,
            Poll::Ready(Ok(_)) | Poll::Pending => return Presence::There,
        }
        let since = self.suspected_since.get().unwrap_or(now);
        self.suspected_since.set(Some(since));
        // Within TLS nothing can be said from here; a wait has an end of its own.
        let is_secured = self.visitor.get().is_some_and(Visitor::is_secured);
        let may_ask = wait.interim && !is_secured && !self.asked.get() && !self.pulse.writes.load(Relaxed);
        if !may_ask || now.saturating_sub(since) < ticks(BELIEVED) {
            return Presence::There;
        }
        self.asked.set(true);
        match self.stream.try_write(ARE_YOU_THERE) {
            Ok(written) if written == ARE_YOU_THERE.len() => Presence::There,
            // What follows half of an answer would be read as its other half.
            Ok(_) | Err(_) => Presence::Gone,
        }
    }

    /// Was it let in beyond the limit?
    pub(crate) const fn is_surplus(&self) -> bool {
        self.surplus
    }

    /// A request's head is complete.
    pub(crate) fn on_request(&self) {
        self.pulse.enter(Phase::Busy, NEVER);
    }

    /// The request's body is awaited; the clock for all of it starts.
    pub(crate) fn on_body_awaited(&self) {
        self.body_is_late.set(false);
        self.pulse.enter(Phase::Body, self.pulse.rhythm.body);
    }

    /// Nothing of the body is here: its reader is woken when its time is over. Says whether it is.
    pub(crate) fn is_body_late(&self, reader: &Waker) -> bool {
        *self.body_reader.borrow_mut() = Some(reader.clone());
        self.body_is_late.get()
    }

    /// The request's body is complete.
    pub(crate) fn on_body_complete(&self) {
        self.pulse.enter(Phase::Busy, NEVER);
    }

    /// An answer of so many bytes is ready to be sent.
    pub(crate) fn on_answer(&self, bytes: u64) {
        self.pulse.enter(Phase::Answer, self.pulse.rhythm.answer.saturating_add(of_bytes(bytes)));
    }

    /// The client is told what changes, from now on and without an end.
    pub(super) fn on_watch(&self) {
        self.pulse.enter(Phase::Watch, NEVER);
    }

    /// A part of so many bytes is ready for a client that watches. It must be taken within the time for such an answer.
    pub(crate) fn on_part(&self, bytes: u64) {
        self.pulse.enter(Phase::Watch, self.pulse.rhythm.answer.saturating_add(of_bytes(bytes)));
    }

    /// Has a client that watches ended its sending side, or gone away altogether? The task is woken when that changes.
    ///
    /// The HTTP library does not look, so the answer's own task does.
    pub(crate) fn leaves(&self, context: &mut Context<'_>) -> Leaving {
        let Poll::Ready(Ok(())) = self.stream.poll_read_ready(context) else { return Leaving::No };
        let both = pin!(self.stream.ready(Interest::READABLE | Interest::WRITABLE));
        match both.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) if ready.is_write_closed() => Leaving::Gone,
            Poll::Ready(Ok(ready)) if ready.is_read_closed() => Leaving::Maybe,
            Poll::Ready(Err(_)) => Leaving::Gone,
            Poll::Ready(Ok(_)) | Poll::Pending => Leaving::No,
        }
    }

    /// From now on the kernel takes little more of an answer than it can send at once. By itself it takes megabytes, a copy
    /// for each client. What waits here is the value itself, once for all clients.
    pub(super) fn keep_unsent_small(&self) {
        if self.keeps_unsent_small.replace(true) {
            return;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = SockRef::from(&*self.stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX) {
            debug!(%error, "cannot limit what waits unsent");
        }
    }

    pub(super) fn tell_body_is_late(&self) {
        self.body_is_late.set(true);
        self.pulse.enter(Phase::Busy, NEVER);
        if let Some(reader) = self.body_reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

/// The wait of [`Connection::on_blocked`].
struct BlockedRequest<'a>(&'a Connection);

impl Drop for BlockedRequest<'_> {
    fn drop(&mut self) {
        self.0.waits.set(None);
    }
}
