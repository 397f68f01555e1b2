//! What the commands print: lines for eyes, or one JSON object.

use crate::cli::CommandFailure;
use hence_client::{Outcome, RawValue, Readiness, Spread, Status};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// The write is done, and fewer replicas have it than was asked for.
const NOT_SPREAD: u8 = 6;

/// An answer as it is shown. Values stay as they were written, to the digit.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answered {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) versions: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) siblings: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) results: Option<Vec<Part>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<u32>,
    #[serde(rename = "causal-metadata")]
    pub(super) token: String,
    /// The same for eyes.
    #[serde(skip)]
    pub(super) lines: Vec<String>,
    /// How the command ends nevertheless.
    #[serde(skip)]
    pub(super) failure: Option<CommandFailure>,
}

/// The result of one operation of a batch.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

impl From<Outcome> for Part {
    fn from(outcome: Outcome) -> Self {
        let etag = outcome.tag.map(|tag| tag.to_string());
        Self { result: outcome.kind.name(), value: outcome.value, etag }
    }
}

impl Part {
    pub(super) fn line(&self) -> String {
        self.value.as_ref().map_or_else(|| self.result.to_owned(), |value| format!("{} {value}", self.result))
    }
}

impl Answered {
    /// An answer that is one word of the API.
    pub(super) fn of(result: &'static str) -> Self {
        Self { result: Some(result), lines: vec![result.to_owned()], ..Self::default() }
    }

    /// How far a write has spread.
    pub(super) fn spread(mut self, spread: Option<Spread>) -> Self {
        let Some(Spread { holders, reached }) = spread else { return self };
        self.replicas = Some(holders);
        match (self.results.is_some(), &mut self.lines[..]) {
            (false, [line]) => *line += &format!(", replicas: {holders}"),
            _ => self.lines.push(format!("replicas: {holders}")),
        }
        if !reached {
            let text = format!("the write is done, and replicas that have it are {holders}, fewer than was asked for");
            self.failure = Some(CommandFailure { text, code: NOT_SPREAD });
        }
        self
    }

    /// Prints it.
    ///
    /// # Errors
    /// Where it cannot be printed, and where the command ends badly.
    pub(super) fn show(mut self, token: String, as_json: bool) -> Result<(), CommandFailure> {
        let failure = self.failure.take();
        self.token = token;
        match (as_json, &failure) {
            (true, _) => print([serde_json::to_string(&self).map_err(CommandFailure::running)?])?,
            // An absent key has no value to print.
            (false, Some(failure)) if failure.code != NOT_SPREAD => {}
            (false, _) => print(&self.lines)?,
        }
        failure.map_or(Ok(()), Err)
    }
}

/// Prints how the replicas are.
///
/// # Errors
/// Where one of them is not ready, or nothing can be printed.
pub(super) fn statuses(all: &[Status], as_json: bool) -> Result<(), CommandFailure> {
    if as_json {
        print([json!(all.iter().map(status).collect::<Vec<_>>()).to_string()])?;
    } else {
        print(all.iter().map(|one| format!("{}  {}", one.endpoint, summary(one))))?;
    }
    let ready = all.iter().filter(|one| one.readiness == Readiness::Ready).count();
    match ready == all.len() {
        true => Ok(()),
        false => Err(CommandFailure::running(format!("{ready} of {} endpoints are ready", all.len()))),
    }
}

fn status(status: &Status) -> Value {
    let (readiness, why) = match &status.readiness {
        Readiness::Ready => ("ready", None),
        Readiness::NotReady(why) => ("not ready", Some(why)),
        Readiness::Unreachable(why) => ("unreachable", Some(why)),
    };
    json!({"endpoint": status.endpoint, "status": readiness, "why": why, "state": status.state})
}

fn summary(status: &Status) -> String {
    let readiness = match &status.readiness {
        Readiness::Ready => "ready".into(),
        Readiness::NotReady(why) => format!("not ready: {why}"),
        Readiness::Unreachable(why) => format!("unreachable: {why}"),
    };
    let Some(state) = &status.state else { return readiness };
    let peers = state["peers"].as_array().map_or(0, Vec::len);
    let linked = state["peers"].as_array().into_iter().flatten().filter(|peer| peer["link"] == "established").count();
    let part = |name: &str| state[name].as_u64().unwrap_or_default();
    let incarnation = state["incarnation"].as_str().unwrap_or("unknown");
    let (keys, bytes) = (part("keys"), part("store-bytes"));
    format!("{readiness}  incarnation {incarnation}  keys {keys}  bytes {bytes}  links {linked}/{peers}")
}

/// Prints a line each. A reader that leaves, as `head` does, has read enough.
///
/// # Errors
/// Where standard output takes nothing.
pub(super) fn print(lines: impl IntoIterator<Item = impl Display>) -> Result<(), CommandFailure> {
    let mut out = Printer::new();
    lines.into_iter().try_for_each(|line| out.print(&format_args!("{line}\n")))?;
    out.finish()
}

/// Standard output for much text.
pub(super) struct Printer {
    out: io::BufWriter<io::Stdout>,
    /// The reader has left.
    left: bool,
}

impl Printer {
    pub(super) fn new() -> Self {
        Self { out: io::BufWriter::with_capacity(64 << 10, io::stdout()), left: false }
    }

    /// The reader has read enough.
    pub(super) const fn is_left(&self) -> bool {
        self.left
    }

    /// Prints a text.
    ///
    /// # Errors
    /// Where standard output takes nothing.
    pub(super) fn print(&mut self, text: &impl Display) -> Result<(), CommandFailure> {
        let written = if self.left { Ok(()) } else { write!(self.out, "{text}") };
        self.done(written)
    }

    /// Prints what is held back.
    ///
    /// # Errors
    /// Where standard output takes nothing.
    pub(super) fn flush(&mut self) -> Result<(), CommandFailure> {
        let flushed = if self.left { Ok(()) } else { self.out.flush() };
        self.done(flushed)
    }

    /// Prints what is held back, for the last time.
    ///
    /// # Errors
    /// Where standard output takes nothing.
    pub(super) fn finish(mut self) -> Result<(), CommandFailure> {
        self.flush()?;
        // What a closed pipe did not take would be tried once more.
        drop(self.out.into_parts());
        Ok(())
    }

    fn done(&mut self, written: io::Result<()>) -> Result<(), CommandFailure> {
        match written {
            Ok(()) => Ok(()),
            Err(failure) if failure.kind() == ErrorKind::BrokenPipe => {
                self.left = true;
                Ok(())
            }
            Err(failure) => Err(CommandFailure::running(format!("cannot write to standard output: {failure}"))),
        }
    }
}
