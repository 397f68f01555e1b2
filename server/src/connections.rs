//! Every client connection: what it is doing, since when, and when that has lasted too long.
//!
//! hyper's own header timeout also ends connections that merely idle, and costs a timer per request. So each
//! connection keeps a [`Pulse`], its phase and the tick at which that phase must be over; one sweep per tick
//! looks at all of them. The precision of every limit is one tick, [`TICK`].
//!
//! Invariants: a connection is registered exactly as long as its task lives or until it is told to end; at
//! most `connections_max` are registered; an idle connection gives way to a new one.

use crate::metrics::{Metrics, count};
use crate::settings::Limits;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// How often the sweep looks at all connections.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// So long an ended connection is still read from, so that its last answer is not destroyed by a reset.
const LINGER: Duration = Duration::from_secs(2);

/// A request's head that is still incomplete after this, or has not begun where there was no room, gives way
/// to a new connection when nobody else idles.
const PATIENCE_AT_LIMIT: Duration = Duration::from_secs(1);

/// An answer must be taken at no less than this many bytes a second, on top of the time for any answer.
const READER_BYTES_PER_SECOND: u64 = 64 << 10;

/// Connections beyond the limit that are let in to hear what they want: peers and diagnostics are served, a
/// client is told that there are too many. So clients that fill every place cannot lock peers out.
const SURPLUS_MAX: usize = 64;

/// Candidates for making room that one look at all connections yields.
const CANDIDATES_MAX: usize = 64;

const NEVER: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
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
    /// The last answer is sent; what still comes is thrown away.
    Closing,
}

const PHASES: [Phase; 6] = [Phase::Idle, Phase::Head, Phase::Busy, Phase::Body, Phase::Answer, Phase::Closing];

/// The limits in ticks, and the tick that it is now: shared by all pulses of a server.
#[derive(Debug)]
struct Rhythm {
    now: AtomicU32,
    head: u32,
    body: u32,
    idle: u32,
    answer: u32,
}

/// The phase of one connection. Written by its own task only; atomic because hyper wants `Send` streams.
#[derive(Debug)]
struct Pulse {
    rhythm: Arc<Rhythm>,
    phase: AtomicU8,
    since: AtomicU32,
    deadline: AtomicU32,
}

impl Pulse {
    fn enter(&self, phase: Phase, ticks: u32) {
        let now = self.rhythm.now.load(Relaxed);
        self.phase.store(phase as u8, Relaxed);
        self.since.store(now, Relaxed);
        self.deadline.store(now.saturating_add(ticks), Relaxed);
    }

    fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Relaxed))]
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    fn on_bytes_read(&self) {
        if self.is(Phase::Idle) {
            self.enter(Phase::Head, self.rhythm.head);
        }
    }

    fn on_flushed(&self) {
        if self.is(Phase::Answer) {
            self.enter(Phase::Idle, self.rhythm.idle);
        }
    }
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(NEVER)
}

/// One client connection, as its handlers see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pulse: Arc<Pulse>,
    body_reader: RefCell<Option<Waker>>,
    body_is_late: Cell<bool>,
    surplus: bool,
}

impl Connection {
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

    /// Nothing of the body is here: who waits for it is woken when its time is over. Says whether it is.
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
        let size = ticks(Duration::from_secs(bytes / READER_BYTES_PER_SECOND));
        self.pulse.enter(Phase::Answer, self.pulse.rhythm.answer.saturating_add(size));
    }

    fn tell_body_is_late(&self) {
        self.body_is_late.set(true);
        self.pulse.enter(Phase::Busy, NEVER);
        if let Some(reader) = self.body_reader.borrow_mut().take() {
            reader.wake();
        }
    }
}

/// The stream of one connection: tells the pulse what moves, and ends without a reset.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: TokioIo<TcpStream>,
    pulse: Arc<Pulse>,
}

impl Watched {
    /// A stream whose connection is this one.
    pub(crate) fn new(stream: TcpStream, connection: &Connection) -> Self {
        Self { stream: TokioIo::new(stream), pulse: connection.pulse.clone() }
    }

    fn stream(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.stream)
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.stream().poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read {
            self.pulse.on_bytes_read();
        }
        read
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream().poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.pulse.on_flushed();
        }
        flushed
    }

    /// Ends the sending side, then reads and forgets what the other side still sends until it ends too: a
    /// close with unread bytes would reset the connection and could destroy the answer on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.pulse.is(Phase::Closing) {
            match self.stream().poll_shutdown(context) {
                Poll::Ready(Ok(())) => self.pulse.enter(Phase::Closing, ticks(LINGER)),
                failed @ Poll::Ready(Err(_)) => return failed,
                Poll::Pending => return Poll::Pending,
            }
        }
        let mut scratch = [0_u8; 4_096];
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match self.stream().poll_read(context, buffer.unfilled()) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }
}

#[derive(Debug)]
struct Entry {
    connection: Rc<Connection>,
    task: Option<AbortHandle>,
}

/// All client connections of one server.
#[derive(Debug)]
pub(crate) struct Connections {
    rhythm: Arc<Rhythm>,
    entries: RefCell<BTreeMap<u64, Entry>>,
    next: Cell<u64>,
    connections_max: usize,
    /// Who may make room next, with the tick since which it may. Made by one look at all, used up one by one.
    candidates: RefCell<VecDeque<(u64, u32)>>,
    body_bytes: Cell<usize>,
    body_bytes_max: usize,
    stopping: Cell<bool>,
}

impl Connections {
    /// None yet.
    pub(crate) fn new(limits: &Limits) -> Rc<Self> {
        let rhythm = Rhythm {
            now: AtomicU32::new(0),
            head: ticks(limits.head_time_max),
            body: ticks(limits.body_time_max),
            idle: ticks(limits.idle_time_max),
            answer: ticks(limits.answer_time_max),
        };
        Rc::new(Self {
            rhythm: Arc::new(rhythm),
            entries: RefCell::default(),
            next: Cell::default(),
            connections_max: limits.connections_max,
            candidates: RefCell::default(),
            body_bytes: Cell::default(),
            body_bytes_max: limits.bodies_bytes_max,
            stopping: Cell::default(),
        })
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Takes a new connection in, if there is room or can be made; otherwise the stream should be dropped.
    pub(crate) fn admit(self: &Rc<Self>, metrics: &Metrics) -> Option<Registered> {
        let surplus = self.len() >= self.connections_max && !self.evict(metrics);
        if surplus && self.len() >= self.connections_max + SURPLUS_MAX {
            count(&metrics.connections_refused);
            return None;
        }
        count(&metrics.connections_accepted);
        let pulse = Pulse {
            rhythm: self.rhythm.clone(),
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(0),
            deadline: AtomicU32::new(NEVER),
        };
        pulse.enter(Phase::Idle, self.rhythm.idle);
        let connection = Rc::new(Connection {
            pulse: Arc::new(pulse),
            body_reader: RefCell::default(),
            body_is_late: Cell::default(),
            surplus,
        });
        let id = self.next.get();
        self.next.set(id + 1);
        self.entries.borrow_mut().insert(id, Entry { connection: connection.clone(), task: None });
        Some(Registered { connections: self.clone(), connection, id })
    }

    /// Ends the connection that has been idle longest; failing that, one whose head has been incomplete
    /// for a while. Says whether there was one.
    pub(crate) fn evict(&self, metrics: &Metrics) -> bool {
        let victim = self.next_candidate().or_else(|| {
            self.find_candidates();
            self.next_candidate()
        });
        if let Some(id) = victim {
            self.end(id);
            count(&metrics.connections_evicted);
        }
        victim.is_some()
    }

    /// The first candidate that has done nothing since it became one.
    fn next_candidate(&self) -> Option<u64> {
        let entries = self.entries.borrow();
        let idles_since = |id: &u64| entries.get(id).and_then(|entry| self.idleness(entry)).map(|(_, since)| since);
        let mut candidates = self.candidates.borrow_mut();
        loop {
            let (id, since) = candidates.pop_front()?;
            if idles_since(&id) == Some(since) {
                return Some(id);
            }
        }
    }

    fn find_candidates(&self) {
        let entries = self.entries.borrow();
        let ranked = entries.iter().filter_map(|(&id, entry)| self.idleness(entry).map(|idleness| (idleness, id)));
        let mut ranked: Vec<((u8, u32), u64)> = ranked.collect();
        if ranked.len() > CANDIDATES_MAX {
            ranked.select_nth_unstable(CANDIDATES_MAX);
            ranked.truncate(CANDIDATES_MAX);
        }
        ranked.sort_unstable();
        *self.candidates.borrow_mut() = ranked.into_iter().map(|((_, since), id)| (id, since)).collect();
    }

    /// How readily this connection makes room for another, least first: its kind and since when. `None` where
    /// it does something.
    fn idleness(&self, entry: &Entry) -> Option<(u8, u32)> {
        let pulse = &entry.connection.pulse;
        let since = pulse.since.load(Relaxed);
        match pulse.phase() {
            Phase::Closing => Some((0, since)),
            Phase::Idle if !entry.connection.surplus => Some((1, since)),
            // It may be about to say what it wants.
            Phase::Idle | Phase::Head => {
                let age = self.rhythm.now.load(Relaxed).saturating_sub(since);
                (age >= ticks(PATIENCE_AT_LIMIT)).then_some((2, since))
            }
            Phase::Busy | Phase::Body | Phase::Answer => None,
        }
    }

    fn end(&self, id: u64) {
        if let Some(Entry { task: Some(task), .. }) = self.entries.borrow_mut().remove(&id) {
            task.abort();
        }
    }

    /// Ends every connection whose phase has lasted too long. To be called once per [`TICK`].
    pub(crate) fn sweep(&self, metrics: &Metrics) {
        let now = self.rhythm.now.load(Relaxed) + 1;
        self.rhythm.now.store(now, Relaxed);
        let is_late = |entry: &Entry| entry.connection.pulse.deadline.load(Relaxed) <= now;
        let late: Vec<(u64, Rc<Connection>)> = {
            let entries = self.entries.borrow();
            let late = entries.iter().filter(|(_, entry)| is_late(entry));
            late.map(|(&id, entry)| (id, entry.connection.clone())).collect()
        };
        for (id, connection) in late {
            match connection.pulse.phase() {
                Phase::Body => {
                    connection.tell_body_is_late();
                    count(&metrics.connections_timed_out);
                }
                Phase::Idle | Phase::Closing => self.end(id),
                Phase::Head | Phase::Answer => {
                    self.end(id);
                    count(&metrics.connections_timed_out);
                }
                Phase::Busy => {}
            }
        }
    }

    /// Every answer from now on is the last of its connection; connections without a request end now.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        let waits =
            |entry: &Entry| matches!(entry.connection.pulse.phase(), Phase::Idle | Phase::Head | Phase::Closing);
        let waiting: Vec<u64> =
            self.entries.borrow().iter().filter(|(_, entry)| waits(entry)).map(|(&id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.end(id));
    }

    /// Was [`Self::stop`] called?
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Room for the bytes of a body that is being read; gives it back when dropped.
    pub(crate) fn reserve(&self) -> Reservation<'_> {
        Reservation { connections: self, bytes: 0 }
    }
}

/// A connection that was let in. Leaves the register when dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    connections: Rc<Connections>,
    connection: Rc<Connection>,
    id: u64,
}

impl Registered {
    /// The connection.
    pub(crate) const fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Its name, for [`Connections::bind`].
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

impl Connections {
    /// From now on ending this connection aborts that task.
    pub(crate) fn bind(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&id) {
            entry.task = Some(task);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.entries.borrow_mut().remove(&self.id);
    }
}

/// Bytes of one body that count against the sum of all.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    connections: &'a Connections,
    bytes: usize,
}

impl Reservation<'_> {
    /// So many bytes more. Says whether there is room for them.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let total = self.connections.body_bytes.get().saturating_add(bytes);
        if total > self.connections.body_bytes_max {
            return false;
        }
        self.connections.body_bytes.set(total);
        self.bytes += bytes;
        true
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.connections.body_bytes.set(self.connections.body_bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(connections_max: usize) -> (Rc<Connections>, Metrics) {
        let limits = Limits { connections_max, bodies_bytes_max: 100, ..Limits::default() };
        (Connections::new(&limits), Metrics::new())
    }

    fn sweep(connections: &Connections, metrics: &Metrics, time: Duration) {
        (0..ticks(time)).for_each(|_| connections.sweep(metrics));
    }

    #[test]
    fn the_longest_idle_gives_way() {
        let (all, metrics) = connections(3);
        let busy = all.admit(&metrics).unwrap();
        busy.connection().on_request();
        let first = all.admit(&metrics).unwrap();
        all.sweep(&metrics);
        let second = all.admit(&metrics).unwrap();
        // The first one did something since, so the second is idle longer.
        first.connection().on_request();
        all.sweep(&metrics);
        first.connection().on_answer(10);
        first.connection().pulse.on_flushed();
        let third = all.admit(&metrics).unwrap();
        assert!(!all.entries.borrow().contains_key(&second.id()));
        assert!(all.entries.borrow().contains_key(&first.id()));
        assert_eq!((all.len(), metrics.connections_evicted.get()), (3, 1));
        // Nobody idles: a new one is let in to hear what it wants, and nobody beyond that.
        first.connection().on_request();
        third.connection().on_request();
        let surplus: Vec<Registered> = (0..SURPLUS_MAX).map(|_| all.admit(&metrics).unwrap()).collect();
        assert!(surplus.iter().all(|one| one.connection().is_surplus()) && !third.connection().is_surplus());
        assert!(all.admit(&metrics).is_none());
        assert_eq!(metrics.connections_refused.get(), 1);
        // A head that stays incomplete does not lock others out for long.
        drop(surplus);
        third.connection().on_answer(0);
        third.connection().pulse.on_flushed();
        third.connection().pulse.on_bytes_read();
        assert!(all.admit(&metrics).unwrap().connection().is_surplus());
        sweep(&all, &metrics, PATIENCE_AT_LIMIT);
        assert!(!all.admit(&metrics).unwrap().connection().is_surplus());
        assert!(!all.entries.borrow().contains_key(&third.id()));
    }

    #[test]
    fn each_phase_has_its_limit() {
        let (all, metrics) = connections(10);
        let limits = Limits::default();
        let open = |all: &Rc<Connections>| all.admit(&metrics).unwrap();
        let (idle, head, busy, body, answer) = (open(&all), open(&all), open(&all), open(&all), open(&all));
        head.connection().pulse.on_bytes_read();
        busy.connection().on_request();
        body.connection().on_request();
        body.connection().on_body_awaited();
        answer.connection().on_request();
        answer.connection().on_answer(0);
        let is_open = |one: &Registered| all.entries.borrow().contains_key(&one.id());
        sweep(&all, &metrics, limits.head_time_max - TICK);
        assert!(is_open(&head));
        all.sweep(&metrics);
        assert!(!is_open(&head) && is_open(&idle) && is_open(&answer));
        assert!(!body.connection().is_body_late(Waker::noop()));
        sweep(&all, &metrics, limits.body_time_max);
        assert!(is_open(&body) && body.connection().is_body_late(Waker::noop()));
        assert!(!is_open(&answer) && is_open(&idle));
        sweep(&all, &metrics, limits.idle_time_max);
        assert!(!is_open(&idle) && is_open(&busy));
    }

    #[test]
    fn a_large_answer_may_take_longer() {
        let (all, metrics) = connections(10);
        let slow = all.admit(&metrics).unwrap();
        slow.connection().on_answer(READER_BYTES_PER_SECOND * 60);
        sweep(&all, &metrics, Limits::default().answer_time_max + Duration::from_secs(59));
        assert_eq!(all.len(), 1);
        sweep(&all, &metrics, Duration::from_secs(1));
        assert_eq!(all.len(), 0);
        drop(slow);
    }

    #[test]
    fn bodies_share_a_budget() {
        let (all, _) = connections(10);
        let mut first = all.reserve();
        let mut second = all.reserve();
        assert!(first.grow(60) && second.grow(40) && !second.grow(1));
        drop(first);
        assert!(second.grow(60) && !second.grow(1));
        drop(second);
        assert_eq!(all.body_bytes.get(), 0);
    }

    #[test]
    fn stopping_ends_who_has_no_request() {
        let (all, metrics) = connections(10);
        let (idle, busy) = (all.admit(&metrics).unwrap(), all.admit(&metrics).unwrap());
        busy.connection().on_request();
        all.stop();
        assert!(all.is_stopping() && all.len() == 1);
        drop((idle, busy));
        assert_eq!(all.len(), 0);
    }
}
