//! The command `hence`.
//!
//! Exit codes: 0 it went well; 1 it went wrong while running; 2 it was asked wrongly.

mod args;
mod health;
mod serve;
mod up;

use crate::{advice, logging};
use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;
use tracing::warn;

/// Runs the command with the process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(serve) => start_logging(&serve.log, "info").and_then(|()| {
            name_unknown_variables();
            serve::run(*serve)
        }),
        Command::Up(up) => start_logging(&up.log, "warn").and_then(|()| {
            name_unknown_variables();
            up::run(*up)
        }),
        Command::Health(args) => health::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// A setting that is spelled wrongly would otherwise silently keep its default.
fn name_unknown_variables() {
    let given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (variable, resembles) in advice::unknown_variables(given, &args::variables()) {
        match resembles {
            Some(setting) => warn!(variable, "there is no such setting, and it is ignored; {setting} is one"),
            None => warn!(variable, "there is no such setting, and it is ignored; hence serve --help lists all"),
        }
    }
}

/// Why the command ends badly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CommandFailure {
    text: String,
    code: u8,
}

impl CommandFailure {
    /// Something went wrong while running.
    fn running(text: impl ToString) -> Self {
        Self { text: text.to_string(), code: 1 }
    }

    /// It was asked wrongly.
    fn usage(text: impl ToString) -> Self {
        Self { text: text.to_string(), code: 2 }
    }
}

fn start_logging(log: &args::LogArgs, default: &str) -> Result<(), CommandFailure> {
    logging::start(log.log.as_deref().unwrap_or(default), log.log_format == args::LogFormat::Json)
        .map_err(CommandFailure::usage)?;
    end_with_every_panic();
    Ok(())
}

/// A panic is a mistake of ours, and the replica's state may be half changed: nothing may go on from there.
/// Tasks would swallow it otherwise, and `abort` does not end a container's first process.
fn end_with_every_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        tracing::error!(%panic, "a mistake of ours; the process ends");
        std::process::exit(101);
    }));
}
