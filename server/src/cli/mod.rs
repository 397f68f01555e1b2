//! The command `hence`.
//!
//! Exit codes: 0 it went well; 1 it went wrong while running; 2 it was asked wrongly; 101 a mistake of ours. Commands
//! that ask replicas have more of them.

mod args;
mod browser_args;
mod client;
mod examples;
mod health;
mod health_args;
mod https;
mod own;
mod renamed;
mod serve;
mod trust_args;
mod up;
mod values;

use crate::logging::{self, LogError};
use crate::{advice, output};
use args::{Cli, Command};
use clap::Parser;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use tracing::warn;

/// Runs the command with the process's arguments and environment.
#[must_use]
pub fn main() -> ExitCode {
    let code = match Cli::try_parse_from(renamed::arguments(std::env::args_os(), |name| std::env::var_os(name))) {
        Ok(cli) => run(cli),
        Err(error) => tell(&error),
    };
    output::finish();
    code
}

/// Help and the version on standard output, complaints on standard error.
fn tell(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        _ if error.use_stderr() => ExitCode::from(2),
        // A reader that leaves, as `head` does, has read enough.
        Err(failure) if failure.kind() != ErrorKind::BrokenPipe => {
            output::complain(format!("error: cannot write to standard output: {failure}\n"));
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn run(cli: Cli) -> ExitCode {
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
        Command::Get(args) => client::get(*args),
        Command::Put(args) => client::put(*args),
        Command::Del(args) => client::del(*args),
        Command::Ls(args) => client::ls(*args),
        Command::Watch(args) => client::watch(*args),
        Command::Batch(args) => client::batch(*args),
        Command::View(args) => client::view(&args),
        Command::Status(args) => client::status(&args),
        Command::Export(args) => client::export(*args),
        Command::Import(args) => client::import(*args),
        Command::Bench(args) => client::bench(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(format!("error: {}\n", failure.text));
            ExitCode::from(failure.code)
        }
    }
}

/// A setting that is spelled wrongly would otherwise silently keep its default.
fn name_unknown_variables() {
    let given = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (variable, resembles) in advice::unknown_variables(given, &args::variables()) {
        if let Some(present) = renamed::present_name(&variable) {
            warn!(variable, present, "this setting has another name now; the former one counts until the next version");
            continue;
        }
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
    let level = log.log.as_deref().unwrap_or(default);
    logging::start(level, log.log_format == args::LogFormat::Json).map_err(|error| match error {
        LogError::Setting(error) => CommandFailure::usage(error),
        LogError::System(error) => CommandFailure::running(format!("cannot start the log: {error}")),
    })?;
    end_with_every_panic();
    Ok(())
}

/// A panic is a mistake of ours, and the replica's state may be half changed: nothing may go on from there.
/// Tasks would swallow it otherwise, and `abort` does not end a container's first process.
fn end_with_every_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // Not the hook of the standard library: it writes to standard error itself, and waits for its reader.
        logging::last_words(panic);
        output::finish();
        std::process::exit(101);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeWriter, Read};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    const CHILD: &str = "HENCE_TEST_PANICS";

    /// Runs this very test in a process of its own, where it panics; says with which code that ended.
    fn panicking(stderr: PipeWriter) -> Option<i32> {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new(own);
        command.args(["--exact", "cli::tests::a_panic_ends_the_process_whatever_reads_its_log", "--nocapture"]);
        let mut child = command.env(CHILD, "1").stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        child.wait().unwrap().code()
    }

    #[test]
    fn a_panic_ends_the_process_whatever_reads_its_log() {
        if std::env::var_os(CHILD).is_some() {
            let log = args::LogArgs { log: None, log_format: args::LogFormat::Json };
            start_logging(&log, "info").unwrap();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            unreachable!("the process has ended");
        }
        let (mut reader, writer) = std::io::pipe().unwrap();
        assert_eq!(panicking(writer), Some(101));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert!(line["panic"].as_str().unwrap().contains("on purpose"), "{text}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(panicking(writer), Some(101));

        let (_reader, writer) = std::io::pipe().unwrap();
        let mut filler = writer.try_clone().unwrap();
        std::thread::spawn(move || filler.write_all(&[0; 1 << 20]));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(panicking(writer), Some(101));
    }
}
