//! Standard output and standard error as a replica can afford them: no write ever waits for a reader.
//!
//! A pipe that nothing reads from blocks a writer for ever, a closed one fails, a full disk fails for a while. So a
//! thread of its own writes what others hand over. Where it does not keep up, texts are dropped and counted, and once
//! it is heard again it says how many.
//!
//! Invariant: [`Output::push`] takes no lock that is held while something is written, and waits for nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Texts, and bytes of texts, that wait for the writing thread; beyond, they are dropped.
const TEXTS_MAX: usize = 8_192;
const BYTES_MAX: usize = 1 << 20;

/// What was dropped is told no more often than this.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// A descriptor that would block is tried again after this. It is one that another process made so.
const RETRY: Duration = Duration::from_millis(10);

/// So long the end of the process waits for texts to go out, anew after each that does.
const END_TIMEOUT: Duration = Duration::from_millis(500);

/// Texts that were dropped, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    /// The reader did not keep up.
    pub(crate) full: u64,
    /// Writing failed.
    pub(crate) failed: u64,
}

/// Says what was dropped since it was last asked, in texts to be written.
pub(crate) type Report = Box<dyn FnMut(Lost) -> Vec<Vec<u8>> + Send>;

enum Order {
    Write(Vec<u8>),
    /// Something is to be reported, soon.
    Report,
    /// Everything is to be reported, because the process ends.
    End,
}

#[derive(Debug, Default)]
struct Counts {
    /// Texts and bytes that are handed over and not done with.
    texts: AtomicUsize,
    bytes: AtomicUsize,
    written: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    /// The writing thread has something to report.
    reports: AtomicBool,
}

impl Counts {
    fn lost(&self) -> Lost {
        Lost { full: self.full.load(Relaxed), failed: self.failed.load(Relaxed) }
    }
}

/// A descriptor that is written to without waiting.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    orders: SyncSender<Order>,
    counts: Arc<Counts>,
}

impl Output {
    /// Writes to a copy of this descriptor from now on.
    ///
    /// # Errors
    /// Where the operating system refuses a descriptor or a thread.
    pub(crate) fn to(descriptor: BorrowedFd<'_>, report: Report) -> io::Result<Self> {
        // A copy: the handles of the standard library are locked while one writes, and others would wait for that.
        let file = File::from(descriptor.try_clone_to_owned()?);
        let (orders, received) = sync_channel(TEXTS_MAX);
        let counts = Arc::new(Counts::default());
        let mut writer =
            Writer { file, torn: false, counts: counts.clone(), reported: Lost::default(), report, is_read: true };
        thread::Builder::new().name("output".into()).spawn(move || writer.run(&received))?;
        Ok(Self { orders, counts })
    }

    /// Hands a text over, or drops it.
    pub(crate) fn push(&self, text: Vec<u8>) {
        let bytes = text.len();
        let counts = &self.counts;
        let fits = counts.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) <= BYTES_MAX;
        counts.texts.fetch_add(1, Relaxed);
        if !fits || self.orders.try_send(Order::Write(text)).is_err() {
            counts.done(bytes);
            counts.full.fetch_add(1, Relaxed);
            // The thread is not asleep, and sees this when it has written something.
            counts.reports.store(true, Relaxed);
        }
    }

    /// Something is to be reported, together with what else will be in a moment.
    pub(crate) fn report(&self) {
        if !self.counts.reports.swap(true, Relaxed) {
            // Where there is no room for it, the thread is not asleep and sees the mark by itself.
            let _ = self.orders.try_send(Order::Report);
        }
    }

    /// Waits until everything is out, as long as some of it goes out.
    pub(crate) fn flush(&self) {
        self.counts.texts.fetch_add(1, Relaxed);
        if self.orders.try_send(Order::End).is_err() {
            self.counts.done(0);
        }
        let left = || self.counts.texts.load(Relaxed);
        let (mut last, mut since) = (left(), Instant::now());
        while last > 0 && since.elapsed() < END_TIMEOUT {
            thread::sleep(Duration::from_millis(1));
            if left() != last {
                (last, since) = (left(), Instant::now());
            }
        }
    }

    /// Texts that were dropped so far.
    pub(crate) fn lost(&self) -> Lost {
        self.counts.lost()
    }

    /// Texts that were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.counts.written.load(Relaxed)
    }
}

impl Counts {
    /// A text was written or dropped.
    fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.texts.fetch_sub(1, Relaxed);
    }
}

/// The thread that waits in the others' place.
struct Writer {
    file: File,
    /// The last text is there in part.
    torn: bool,
    counts: Arc<Counts>,
    /// What was dropped and reported.
    reported: Lost,
    report: Report,
    /// The last text was written.
    is_read: bool,
}

impl Writer {
    /// Writes until every handle is gone.
    fn run(&mut self, orders: &Receiver<Order>) {
        let mut next_report = Instant::now();
        loop {
            // To where nothing can be written, nothing is reported until something was written again.
            let reports = self.is_read && self.counts.reports.load(Relaxed);
            let order = if reports {
                orders.recv_timeout(next_report.saturating_duration_since(Instant::now()))
            } else {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match order {
                Ok(Order::Write(text)) => {
                    self.is_read = self.write(&text);
                    self.counts.done(text.len());
                }
                Ok(Order::Report) => next_report = next_report.max(Instant::now() + REPORT_INTERVAL),
                Ok(Order::End) => {
                    self.tell();
                    self.counts.done(0);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let due = self.is_read && self.counts.reports.load(Relaxed) && Instant::now() >= next_report;
            if due {
                next_report = Instant::now() + REPORT_INTERVAL;
                self.tell();
            }
        }
    }

    /// Says what was dropped. What cannot be said now is said later.
    fn tell(&mut self) {
        self.counts.reports.store(false, Relaxed);
        let lost = self.counts.lost();
        let new = Lost { full: lost.full - self.reported.full, failed: lost.failed - self.reported.failed };
        for text in (self.report)(new) {
            self.is_read = self.write(&text);
            if !self.is_read {
                // The line about lost lines is no lost line.
                self.counts.failed.fetch_sub(1, Relaxed);
                return;
            }
        }
        self.reported = lost;
    }

    /// Writes all of a text; says whether that went well.
    fn write(&mut self, text: &[u8]) -> bool {
        if self.torn {
            self.torn = self.try_write(b"\n").is_err();
        }
        let mut left = text;
        while !left.is_empty() && !self.torn {
            match self.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(_) => break,
            }
        }
        if left.is_empty() {
            self.counts.written.fetch_add(1, Relaxed);
            return true;
        }
        self.torn |= left.len() < text.len();
        self.counts.failed.fetch_add(1, Relaxed);
        // Told once it is heard again.
        self.counts.reports.store(true, Relaxed);
        false
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

static STDOUT: OnceLock<Option<Output>> = OnceLock::new();
static STDERR: OnceLock<Option<Output>> = OnceLock::new();

/// Standard error, for the log and complaints; its report is that of the first caller.
///
/// # Errors
/// Where the operating system refuses a descriptor or a thread.
pub(crate) fn stderr_with(report: Report) -> io::Result<&'static Output> {
    let mut refused = io::Error::from(ErrorKind::Other);
    let start = || Output::to(io::stderr().as_fd(), report).inspect_err(|error| refused = copied(error)).ok();
    STDERR.get_or_init(start).as_ref().ok_or(refused)
}

fn copied(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// Says something to the user: on standard output, and if that cannot be, not at all.
pub(crate) fn say(text: impl Into<String>) {
    let start = || Output::to(io::stdout().as_fd(), Box::new(|_| Vec::new())).ok();
    if let Some(output) = STDOUT.get_or_init(start) {
        output.push(text.into().into_bytes());
    }
}

/// Complains to the user, on standard error.
pub(crate) fn complain(text: impl Into<String>) {
    if let Ok(output) = stderr_with(Box::new(|_| Vec::new())) {
        output.push(text.into().into_bytes());
    }
}

/// Waits until everything is out, or nothing goes out any more.
pub(crate) fn finish() {
    for output in [&STDOUT, &STDERR].into_iter().filter_map(|output| output.get()?.as_ref()) {
        output.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn counting() -> Report {
        let mut sum = Lost::default();
        Box::new(move |lost| {
            sum = Lost { full: sum.full + lost.full, failed: sum.failed + lost.failed };
            vec![format!("lost {} {}\n", sum.full, sum.failed).into_bytes()]
        })
    }

    #[test]
    fn a_pipe_that_nothing_reads_from_holds_nothing_up() {
        let (mut reader, writer) = io::pipe().unwrap();
        let output = Output::to(writer.as_fd(), counting()).unwrap();
        drop(writer);
        let line = [b"x".repeat(99).as_slice(), b"\n"].concat();
        let start = Instant::now();
        for _ in 0..100_000 {
            output.push(line.clone());
        }
        output.flush();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(output.counts.bytes.load(Relaxed) <= BYTES_MAX + line.len());
        let full = output.lost().full;
        assert!(full > 80_000 && output.lost().failed == 0, "{:?}", output.lost());
        // Read from again, it tells what is missing.
        thread::spawn(move || {
            for _ in 0..60 {
                thread::sleep(Duration::from_millis(100));
                output.push(line.clone());
            }
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let said = format!("lost {full} 0");
        assert!(text.lines().any(|line| line == said), "{said} is not in {} bytes", text.len());
        let whole = text.lines().filter(|line| line.len() == 99).count();
        assert_eq!(whole as u64, 100_000 - full + 60);
    }

    #[test]
    fn a_closed_pipe_and_a_full_disk_lose_lines_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let full = File::options().write(true).open("/dev/full").unwrap();
        for descriptor in [writer.as_fd(), full.as_fd()] {
            let output = Output::to(descriptor, counting()).unwrap();
            for _ in 0..100 {
                output.push(b"x\n".to_vec());
            }
            output.flush();
            assert_eq!((output.lost(), output.written()), (Lost { full: 0, failed: 100 }, 0));
        }
    }

    #[test]
    fn a_descriptor_that_would_block_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        // Non-blocking for all that share it, as another process may have made it.
        let shared = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = shared.enter();
        let owned = writer.as_fd().try_clone_to_owned().unwrap();
        let _nonblocking = tokio::net::unix::pipe::Sender::from_owned_fd(owned).unwrap();
        let output = Output::to(writer.as_fd(), counting()).unwrap();
        drop(writer);
        let line = [b"x".repeat(999).as_slice(), b"\n"].concat();
        for _ in 0..1_000 {
            output.push(line.clone());
        }
        let mut bytes = vec![0; 1_000_000];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(output.lost(), Lost::default());
    }
}
