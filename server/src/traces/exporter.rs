//! Sends spans to a collector: OTLP over HTTP, as JSON, on a thread of its own.
//!
//! Nothing waits for it. The queue has a bound, and what finds no room is counted and gone. A collector that does not
//! take a batch gets the next one a moment later; that batch is gone, too.

use super::collector::Collector;
use super::{Sent, Span, span};
use crate::settings::SettingError;
use hence_core::Address;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::{info, warn};

/// Spans that wait; one takes some 300 bytes.
const QUEUE_MAX: usize = 2_048;
/// Spans in a request.
const BATCH_MAX: usize = 512;
/// A span waits for further ones so long, so that the thread wakes up once for many.
const BATCH_AFTER: Duration = Duration::from_millis(200);
/// Each step of a request takes no longer.
const STEP_MAX: Duration = Duration::from_secs(2);
/// After a batch that was not taken.
const PAUSE: Duration = Duration::from_secs(1);
/// A process that ends waits so long for what is still to be sent.
const END_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Backlog {
    spans: Vec<Span>,
    /// No more will come.
    is_over: bool,
}

#[derive(Debug, Default)]
struct Queue {
    backlog: Mutex<Backlog>,
    changed: Condvar,
    counters: Counters,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a span, and a moment for further ones. Nothing comes out when no more will come.
    fn take(&self) -> Vec<Span> {
        let is_idle = |backlog: &mut Backlog| backlog.spans.is_empty() && !backlog.is_over;
        let backlog = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let may_grow = |backlog: &mut Backlog| !backlog.is_over;
        let gathered = self.changed.wait_timeout_while(backlog, BATCH_AFTER, may_grow);
        let (mut backlog, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut backlog.spans)
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }
}

/// Takes spans, and lets no request wait.
#[derive(Debug)]
pub(crate) struct Exporter(Arc<Queue>);

impl Drop for Exporter {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_one();
    }
}

/// Spans are sent for as long as an [`Exporter`] lives. Dropping this waits a moment for the last ones.
#[derive(Debug)]
pub(crate) struct Sending {
    ended: Receiver<()>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        // It ends by itself, late or not.
        let _ = self.ended.recv_timeout(END_MAX);
    }
}

impl Exporter {
    /// Starts to send to this collector what happens at this replica.
    ///
    /// # Errors
    /// [`SettingError`] for what is no address of a collector, or where the system gives no thread.
    pub(super) fn start(text: &str, replica: &Address) -> Result<(Self, Sending), SettingError> {
        let collector = Collector::parse(text)?;
        let (end, ended) = mpsc::channel::<()>();
        let queue = Arc::new(Queue::default());
        let (own, replica) = (queue.clone(), replica.to_string());
        let run = move || {
            send_all(&own, &collector, &replica);
            drop(end);
        };
        thread::Builder::new().name("spans".into()).spawn(run).map_err(|error| SettingError {
            name: "HENCE_OTLP_ENDPOINT".into(),
            value: text.into(),
            allowed: format!("left out, since the system gives no thread ({error})"),
        })?;
        Ok((Self(queue), Sending { ended }))
    }

    /// Takes this one, if there is room.
    pub(super) fn offer(&self, span: Span) {
        let mut backlog = self.0.lock();
        if backlog.spans.len() >= QUEUE_MAX {
            self.0.counters.dropped.fetch_add(1, Relaxed);
            return;
        }
        backlog.spans.push(span);
        let is_first = backlog.spans.len() == 1;
        drop(backlog);
        if is_first {
            self.0.changed.notify_one();
        }
    }

    pub(super) fn sent(&self) -> Sent {
        let Counters { exported, dropped, failed } = &self.0.counters;
        Sent { exported: exported.load(Relaxed), dropped: dropped.load(Relaxed), failed: failed.load(Relaxed) }
    }
}

/// Sends batch after batch, until no more spans can come.
fn send_all(queue: &Queue, collector: &Collector, replica: &str) {
    let mut is_failing = false;
    loop {
        let spans = queue.take();
        if spans.is_empty() {
            return;
        }
        for batch in spans.chunks(BATCH_MAX) {
            let (count, done) = (batch.len() as u64, post(collector, &span::batch(batch, replica)));
            let counter = if done.is_ok() { &queue.counters.exported } else { &queue.counters.failed };
            counter.fetch_add(count, Relaxed);
            match &done {
                Err(error) if !is_failing => warn!(%collector, "spans cannot be sent, and are dropped: {error}"),
                Ok(()) if is_failing => info!(%collector, "spans are taken again"),
                Ok(()) | Err(_) => {}
            }
            is_failing = done.is_err();
            if is_failing && !queue.is_over() {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn post(collector: &Collector, body: &[u8]) -> io::Result<()> {
    let mut stream = connect(&collector.authority)?;
    stream.set_write_timeout(Some(STEP_MAX))?;
    stream.set_read_timeout(Some(STEP_MAX))?;
    let Collector { authority, path } = collector;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if status.starts_with(b"HTTP/1.") && status.ends_with(b" 200") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&status).escape_default().to_string();
    Err(io::Error::other(format!("it answers {said}")))
}

fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()?.take(4) {
        match TcpStream::connect_timeout(&address, STEP_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
