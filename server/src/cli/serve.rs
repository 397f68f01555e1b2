//! `hence serve`: one replica, until a signal.

use super::CommandFailure;
use super::args::ServeArgs;
use crate::server::{Server, StartError};
use crate::{descriptors, signals};
use tracing::warn;

/// Runs one replica until SIGTERM or Ctrl-C.
///
/// # Errors
/// Where it cannot start.
pub(super) fn run(args: ServeArgs) -> Result<(), CommandFailure> {
    let (mut settings, missing) = args.settings();
    if missing {
        warn!(address = %settings.address, "SOCKET_ADDRESS is not in VIEW; it was added");
    }
    settings.limits.connections_max = descriptors::prepare(settings.limits.connections_max, 1);
    let signals = signals::listen().map_err(CommandFailure::running)?;
    let server = Server::start(settings).map_err(failure)?;
    signals.wait();
    signals.end_at_once_on_the_next();
    server.shutdown();
    Ok(())
}

/// A wrong setting was asked for; everything else happened.
pub(super) fn failure(error: StartError) -> CommandFailure {
    match error {
        StartError::Setting(error) => CommandFailure::usage(error),
        StartError::Listen { .. } | StartError::System(_) => CommandFailure::running(error),
    }
}
