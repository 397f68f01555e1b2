//! One client connection: what it is doing, since when, and the stream that tells.
//!
//! Invariant: a phase is entered together with the tick at which it must be over.

use super::TICK;
use crate::settings::Limits;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;

/// So long an ended connection is still read from, so that its last answer is not destroyed by a reset.
const LINGER: Duration = Duration::from_secs(2);

/// An answer must be taken at no less than this many bytes a second, on top of the time for any answer.
pub(super) const READER_BYTES_PER_SECOND: u64 = 64 << 10;

const NEVER: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
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
pub(super) struct Rhythm {
    pub(super) now: AtomicU32,
    head: u32,
    body: u32,
    idle: u32,
    answer: u32,
}

/// The phase of one connection. Written by its own task only; atomic because hyper wants `Send` streams.
#[derive(Debug)]
pub(super) struct Pulse {
    rhythm: Arc<Rhythm>,
    phase: AtomicU8,
    since: AtomicU32,
    deadline: AtomicU32,
}

impl Rhythm {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            now: AtomicU32::new(0),
            head: ticks(limits.head_time_max),
            body: ticks(limits.body_time_max),
            idle: ticks(limits.idle_time_max),
            answer: ticks(limits.answer_time_max),
        }
    }
}

impl Pulse {
    fn enter(&self, phase: Phase, ticks: u32) {
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

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    pub(super) fn on_bytes_read(&self) {
        if self.is(Phase::Idle) {
            self.enter(Phase::Head, self.rhythm.head);
        }
    }

    pub(super) fn on_flushed(&self) {
        if self.is(Phase::Answer) {
            self.enter(Phase::Idle, self.rhythm.idle);
        }
    }
}

pub(super) fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(NEVER)
}

/// One client connection, as its handlers see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) pulse: Arc<Pulse>,
    body_reader: RefCell<Option<Waker>>,
    body_is_late: Cell<bool>,
    surplus: bool,
}

impl Connection {
    /// One that has just been accepted.
    pub(super) fn new(rhythm: Arc<Rhythm>, surplus: bool) -> Self {
        let pulse = Pulse {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU32::new(0),
            deadline: AtomicU32::new(NEVER),
            rhythm,
        };
        pulse.enter(Phase::Idle, pulse.rhythm.idle);
        Self { pulse: Arc::new(pulse), body_reader: RefCell::default(), body_is_late: Cell::default(), surplus }
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

    pub(super) fn tell_body_is_late(&self) {
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
