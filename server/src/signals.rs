//! SIGTERM and Ctrl-C, as a container's first process gets them: nothing happens unless it is asked for.
//!
//! SIGHUP has files of certificates, secrets and access tokens read again. Where there are none, it does nothing. Nor
//! do SIGUSR1 and SIGUSR2, and the log says so. By default they would end the process and all its data.

use crate::files;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Listens for signals that ask the process to end.
#[derive(Debug)]
pub(crate) struct Signals {
    arrived: mpsc::Receiver<()>,
}

/// Starts listening, on a thread of its own.
///
/// # Errors
/// Where the operating system refuses.
pub(crate) fn listen() -> io::Result<Signals> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut hangup, mut user1, mut user2, _file_size) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::user_defined1())?,
            signal(SignalKind::user_defined2())?,
            // A log that outgrows the limit of file sizes then fails to be written, and does not end the process.
            signal(SignalKind::from_raw(libc::SIGXFSZ))?,
        )
    };
    let (sender, arrived) = mpsc::channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                let ignored = tokio::select! {
                    _ = terminate.recv() => None,
                    _ = interrupt.recv() => None,
                    _ = hangup.recv() => {
                        if files::read_again() {
                            info!(signal = "SIGHUP", "files are read again");
                            continue;
                        }
                        Some("SIGHUP")
                    }
                    _ = user1.recv() => Some("SIGUSR1"),
                    _ = user2.recv() => Some("SIGUSR2"),
                };
                if let Some(signal) = ignored {
                    info!(signal, "nothing is done on this signal; SIGTERM ends the process");
                    continue;
                }
                if sender.send(()).is_err() {
                    // No thread waits any more; the process is on its way out.
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(Signals { arrived })
}

impl Signals {
    /// Waits for a signal.
    pub(crate) fn wait(&self) {
        // The sender lives as long as this does.
        let _ = self.arrived.recv();
    }

    /// Waits for a signal for so long. Says whether there was one.
    pub(crate) fn arrive_within(&self, limit: Duration) -> bool {
        self.arrived.recv_timeout(limit).is_ok()
    }

    /// Passes every signal on to this sender.
    pub(crate) fn forward<T: Send + 'static>(self, to: mpsc::Sender<T>, what: impl Fn() -> T + Send + 'static) {
        thread::spawn(move || {
            while self.arrived.recv().is_ok() {
                if to.send(what()).is_err() {
                    return;
                }
            }
        });
    }

    /// From now on a signal ends the process.
    pub(crate) fn end_at_once_on_the_next(self) {
        drop(self.arrived);
    }
}
