//! Writes down what clients saw, as it happens.
//!
//! A write of the store stands twice in the history: when it is sent, and when it is answered. So whatever prefix of
//! the file survives is a history of its own: nothing in it rests on an operation that is not in it. Lines go through
//! one queue, in the order in which they are handed in. A client passes on a token or a value only after it has handed
//! in the line that it came with.
//!
//! Handing in never waits. The queue is bounded in bytes. At the bound, and when the file cannot be written, the run
//! ends. No line is taken any more, clients stop, and the verdict is about what is in the file.

use crate::console::{clock, nap};
use hence_checker::format::json;
use hence_checker::history::{Action, Operation, Outcome};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

/// What may wait to be written: at 300 bytes a line, about 900,000 lines.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// What one write of the file holds at most, but for its last line.
const BATCH_BYTES: usize = 1 << 20;

/// What a crash of this process can lose.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);

/// Takes lines from all threads.
#[derive(Debug)]
pub(crate) struct Recorder {
    begun: Instant,
    ids: AtomicU64,
    queue: Mutex<Option<Sender<Vec<u8>>>>,
    waiting: AtomicUsize,
    over: AtomicBool,
    why: Mutex<Option<String>>,
}

/// The other end, which one thread drives.
#[derive(Debug)]
pub(crate) struct Tape {
    file: File,
    lines: Receiver<Vec<u8>>,
}

impl Recorder {
    /// A history at this path, which must not exist.
    pub(crate) fn new(path: &Path) -> Result<(Self, Tape), String> {
        let file = File::create_new(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (sender, lines) = channel();
        let recorder = Self {
            begun: clock(),
            ids: AtomicU64::new(0),
            queue: Mutex::new(Some(sender)),
            waiting: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            why: Mutex::new(None),
        };
        Ok((recorder, Tape { file, lines }))
    }

    /// A handle for one thread.
    pub(crate) fn pen(&self) -> Pen<'_> {
        let sender = self.queue.lock().map_or(None, |queue| queue.clone());
        Pen { recorder: self, sender, line: Vec::new() }
    }

    /// Nanoseconds since the run began: the clock of the history.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// No more lines are taken: why.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Why it ended early.
    pub(crate) fn why(&self) -> Option<String> {
        self.why.lock().map_or(None, |why| why.clone())
    }

    /// No further pens; [`Tape::run`] ends when the last one is gone.
    pub(crate) fn close(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            *queue = None;
        }
    }

    fn end(&self, why: String) {
        self.over.store(true, Ordering::SeqCst);
        if let Ok(mut known) = self.why.lock() {
            known.get_or_insert(why);
        }
    }
}

/// Hands in lines for one thread.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    recorder: &'a Recorder,
    sender: Option<Sender<Vec<u8>>>,
    line: Vec<u8>,
}

impl Pen<'_> {
    /// The next number of an operation.
    pub(crate) fn next_id(&self) -> u64 {
        self.recorder.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// A write is about to be sent; `false` when that cannot be written down, and then it must not be.
    pub(crate) fn sent(&mut self, operation: &Operation) -> bool {
        self.sent_event(std::slice::from_ref(operation))
    }

    /// The same for all parts of a batch.
    pub(crate) fn sent_event(&mut self, parts: &[Operation]) -> bool {
        self.line.clear();
        json::write_event_sent(parts, &mut self.line).is_ok() && self.hand_in()
    }

    /// An operation has ended; `false` when its answer holds something that no history can hold, and then its outcome
    /// is written down as unknown.
    pub(crate) fn ended(&mut self, operation: &mut Operation) -> bool {
        self.ended_event(std::slice::from_mut(operation))
    }

    /// The same for all parts of a batch.
    pub(crate) fn ended_event(&mut self, parts: &mut [Operation]) -> bool {
        self.line.clear();
        let is_whole = json::write_event(parts, &mut self.line).is_ok();
        if !is_whole {
            self.line.clear();
            parts.iter_mut().for_each(forget);
            _ = json::write_event(parts, &mut self.line);
        }
        self.hand_in();
        is_whole
    }

    /// A remark.
    pub(crate) fn note(&mut self, note: &serde_json::Value) {
        self.line.clear();
        _ = writeln!(self.line, "{}", serde_json::json!({ "note": note }));
        self.hand_in();
    }

    fn hand_in(&mut self) -> bool {
        let recorder = self.recorder;
        if recorder.is_over() {
            return false;
        }
        let waiting = recorder.waiting.fetch_add(self.line.len(), Ordering::SeqCst);
        if waiting > QUEUE_BYTES_MAX {
            recorder.end(format!("{} MiB of history wait for the disk", waiting >> 20));
            return false;
        }
        self.sender.as_ref().is_some_and(|sender| sender.send(self.line.as_slice().to_vec()).is_ok())
    }
}

/// Nothing of its answer can be used: how it ended is not known.
pub(crate) fn forget(operation: &mut Operation) {
    operation.outcome = Outcome::Unknown;
    operation.value = operation.value.take().filter(|_| operation.action == Action::Put);
    (operation.siblings, operation.token_out) = (None, None);
    (operation.shown, operation.superseded) = (None, None);
}

impl Tape {
    /// Writes until the last pen is gone.
    pub(crate) fn run(mut self, recorder: &Recorder) {
        let (mut batch, mut has_failed) = (Vec::with_capacity(BATCH_BYTES), false);
        loop {
            let is_open = self.gather(&mut batch);
            // After an error the file has its last whole line somewhere before; more would leave a hole.
            if !has_failed && let Err(error) = self.file.write_all(&batch) {
                has_failed = true;
                recorder.end(format!("the history cannot be written: {error}"));
            }
            recorder.waiting.fetch_sub(batch.len(), Ordering::SeqCst);
            if !is_open {
                return;
            }
            if batch.len() < BATCH_BYTES {
                nap(FLUSH_INTERVAL);
            }
        }
    }

    /// Takes what waits, up to a batch; says whether more can come.
    fn gather(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        while batch.len() < BATCH_BYTES {
            match self.lines.try_recv() {
                Ok(line) => batch.extend_from_slice(&line),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}
