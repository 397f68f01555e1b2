//! The log: structured lines on standard error, as text or JSON.
//!
//! The log never holds a replica up and never ends it. Lines go out through an [`Output`], which drops what is not
//! taken. Each line has a bounded length, and each place in the code may log so often and no more. What is dropped or
//! left out is told in a later line and counted in the metrics.

mod limit;
mod line;

use crate::exposition::{Exposition, Kind};
use crate::output::{self, Lost, Output, Report};
use crate::settings::SettingError;
use limit::{Limiter, Limits};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, OnceLock};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);
static LOG: OnceLock<Log> = OnceLock::new();

/// Where lines go, and in which form.
#[derive(Debug, Clone, Copy)]
struct Log {
    output: &'static Output,
    json: bool,
}

/// Why there is no log.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The level is none.
    Setting(SettingError),
    /// The operating system refused what a log needs.
    System(io::Error),
}

/// Starts logging at this level.
///
/// # Errors
/// [`LogError`], where `level` is no level and no list of levels per module.
pub(crate) fn start(level: &str, json: bool) -> Result<(), LogError> {
    let filter = filter(level).map_err(LogError::Setting)?;
    let output = output::stderr_with(report(json)).map_err(LogError::System)?;
    let log = *LOG.get_or_init(|| Log { output, json });
    let limiter = Limiter { limits: &LIMITS, on_omitted };
    // Its own complaints would go to standard error directly, and panic where that is closed.
    let lines = tracing_subscriber::fmt::layer().with_writer(log).log_internal_errors(false);
    let all = tracing_subscriber::registry().with(filter).with(limiter);
    // A logger that is there already, an embedder's, stays.
    let _ = if json {
        all.with(lines.json().flatten_event(true)).try_init()
    } else {
        all.with(lines.with_ansi(io::stderr().is_terminal()).with_target(false)).try_init()
    };
    Ok(())
}

fn on_omitted() {
    if let Some(log) = LOG.get() {
        log.output.report();
    }
}

/// Says what is missing in the log.
fn report(json: bool) -> Report {
    Box::new(move |Lost { full, failed }| {
        let warn = |message: &str, lines: u64| line::own("WARN", message, &[("lines", lines.into())], json);
        let mut texts = Vec::new();
        if full > 0 {
            texts.push(warn("lines of this log were dropped, because it was not read fast enough", full));
        }
        if failed > 0 {
            texts.push(warn("lines of this log were dropped, because they could not be written", failed));
        }
        for omitted in LIMITS.take_omitted() {
            let fields = [("lines", omitted.lines.into()), ("like", omitted.message.into())];
            texts.push(line::own("WARN", "lines of this log were left out, because there were many", &fields, json));
        }
        texts
    })
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// Takes one line at a time, whole.
impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.push(line::bounded(bytes, self.json));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says why the process ends, in the form of the log, past everything that may have panicked.
pub(crate) fn last_words(panic: &PanicHookInfo<'_>) {
    let Some(log) = LOG.get() else { return };
    let mut fields = vec![("panic", panic.to_string().into())];
    fields.extend(std::thread::current().name().map(|name| ("thread", name.into())));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        fields.push(("backtrace", backtrace.to_string().into()));
    }
    log.output.push(line::own("ERROR", "a mistake of ours; the process ends", &fields, log.json));
}

/// Writes what became of the lines. Where an embedder logs, nothing is known.
pub(crate) fn expose(into: &mut Exposition) {
    let Some(Log { output, .. }) = LOG.get() else { return };
    let Lost { full, failed } = output.lost();
    into.counter("hence_log_lines_total", "Lines of the log that were written.", output.written());
    const LOST: &str = "hence_log_lines_lost_total";
    into.family(LOST, Kind::Counter, "Lines that are not in the log: too many alike, read too slowly, not writable.");
    for (reason, lines) in [("limited", LIMITS.omitted()), ("slow", full), ("failed", failed)] {
        into.sample(LOST, &[("reason", reason)], lines);
    }
}

fn filter(level: &str) -> Result<EnvFilter, SettingError> {
    // A lone word that is no level would be taken for a module's name, and silence everything else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let words_are_levels = level.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    let wrong = || SettingError {
        name: "HENCE_LOG".into(),
        value: level.into(),
        allowed: "off, error, warn, info, debug or trace, or a list such as hence_server=debug,warn".into(),
    };
    if !words_are_levels {
        return Err(wrong());
    }
    EnvFilter::builder().parse(level).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for level in ["off", "error", "info", "TRACE", "hence_server=debug,warn"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        assert!(filter("loud").is_err() && filter("info,loud").is_err() && filter("").is_err());
        let error = filter("info=very=loud").unwrap_err();
        assert!(error.to_string().starts_with("HENCE_LOG is \"info=very=loud\"; it must be off, error"), "{error}");
    }
}
