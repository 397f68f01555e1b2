//! Ctrl-C and SIGTERM, where a command has something to do before it ends.

use crate::cli::CommandFailure;
use std::io;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A command has so long to end.
const GRACE: Duration = Duration::from_secs(5);

/// Tells of the first signal, with the exit code of a command that it ends. A second one ends the process, and so does
/// the end of the grace: an output that nothing reads holds up whatever writes to it.
///
/// # Errors
/// Where the operating system refuses.
pub(super) fn interrupted() -> Result<oneshot::Receiver<u8>, CommandFailure> {
    let (sender, code) = oneshot::channel();
    listen(sender).map_err(|error| CommandFailure::running(format!("cannot start: {error}")))?;
    Ok(code)
}

fn listen(sender: oneshot::Sender<u8>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let listening = async move {
        let code = next(&mut interrupt, &mut terminate).await;
        // A command that has ended meanwhile hears nothing.
        let _ = sender.send(code);
        let _ = timeout(GRACE, next(&mut interrupt, &mut terminate)).await;
        std::process::exit(i32::from(code));
    };
    thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listening)).map(drop)
}

/// The exit code that a shell gives a command which this signal ended.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}
