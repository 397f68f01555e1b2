//! SIGTERM and Ctrl-C, as a container's first process gets them: nothing happens unless it is asked for.

use std::io;
use std::sync::mpsc;
use std::thread;
use tokio::signal::unix::{SignalKind, signal};

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
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let (sender, arrived) = mpsc::channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if sender.send(()).is_err() {
                    // Nobody waits any more; the process is on its way out.
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
