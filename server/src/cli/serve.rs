//! `hence serve`: one replica, until a signal.

use super::CommandFailure;
use super::args::ServeArgs;
use crate::memory::{Limit, MemoryMax};
use crate::server::{Server, StartError};
use crate::{core_dumps, descriptors, names, notify, signals};
use std::time::Duration;
use tracing::{info, warn};

/// Runs one replica until SIGTERM or Ctrl-C.
///
/// # Errors
/// Where it cannot start.
pub(super) fn run(args: ServeArgs) -> Result<(), CommandFailure> {
    let (mut settings, missing) = args.settings();
    if missing {
        warn!(address = %settings.address, "SOCKET_ADDRESS is not in VIEW; it was added");
    }
    core_dumps::forbid(&settings);
    let memory = memory(args.limits.memory_max);
    settings.memory_max = memory.bytes;
    settings.limits.connections_max = descriptors::prepare(settings.limits.connections_max, 1);
    let signals = signals::listen().map_err(CommandFailure::running)?;
    let limit = Duration::from_micros(settings.config.ready_alone_after.0);
    let Some(named) = names::at_start(&settings.services, limit, |pause| !signals.arrive_within(pause)) else {
        return Ok(());
    };
    settings.view.extend(named);
    let server = Server::start(settings).map_err(failure)?;
    notify::tell(notify::READY);
    signals.wait();
    notify::tell(notify::STOPPING);
    signals.end_at_once_on_the_next();
    server.shutdown();
    Ok(())
}

/// How much memory the process may take. The log says so, and where that comes from.
pub(super) fn memory(setting: Option<MemoryMax>) -> Limit {
    let limit = Limit::find(setting);
    if limit.is_too_little() {
        warn!(memory = %limit, "this is too little memory; 32MiB is enough for a little data");
    } else {
        info!(memory = %limit, "what this process may take of memory");
    }
    limit
}

/// A wrong setting was asked for; everything else happened.
pub(super) fn failure(error: StartError) -> CommandFailure {
    match error {
        StartError::Setting(error) => CommandFailure::usage(error),
        StartError::Listen { .. } | StartError::System(_) => CommandFailure::running(error),
    }
}
