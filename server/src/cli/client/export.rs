//! `hence export`: a line of JSON for each key, all of one moment.
//!
//! A page of a list is one moment, and the next page may be a later one. So the lines come from the first state of a
//! watch, which is one cut. What changes before it is whole is told again, so no line is written before that.

use super::args::{ExportArgs, RangeArgs};
use super::interrupt::interrupted;
use super::ls::as_json;
use super::named_file::{NamedFile, Writing};
use super::show::Printer;
use super::{Ended, client, settle, within};
use crate::cli::CommandFailure;
use crate::output;
use hence_client::{Change, Event, Session, Watching};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufWriter, IntoInnerError, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A watch that has begun and then tells nothing for so long is given up. Its replica may put its keys in order first.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Where the lines go.
enum Sink {
    Standard(Printer),
    File { file: BufWriter<Writing>, path: PathBuf },
}

/// Lines that are written before signals are looked at.
const LINES: usize = 1_000;

/// What a watch has told so far, by keys.
#[derive(Debug, Default)]
struct Moment {
    lines: BTreeMap<String, Line>,
}

/// The line of a key.
#[derive(Debug)]
struct Line {
    text: String,
    has_siblings: bool,
}

/// What was written.
#[derive(Debug, Default)]
struct Exported {
    keys: usize,
    /// Keys with several versions, of which one was written.
    with_siblings: usize,
}

/// `hence export`.
pub(in crate::cli) fn export(args: ExportArgs) -> Ended {
    let client = client(&args.request.ask, false)?;
    within(
        &client,
        &args.request,
        async |session: &Arc<Session>| {
            let sink = Sink::open(args.output.as_deref())?;
            if !sink.leaves_a_file() {
                return written(session, &args, sink).await;
            }
            let code = interrupted()?;
            tokio::select! {
                exported = written(session, &args, sink) => exported,
                // What was written beside the file goes with the sink.
                Ok(code) = code => Err(CommandFailure { text: "interrupted; nothing was written".into(), code }),
            }
        },
        |exported: Exported, _| exported.end(args.request.ask.json),
    )
}

async fn written(session: &Session, args: &ExportArgs, mut sink: Sink) -> Result<Exported, CommandFailure> {
    let exported = Moment::gathered(session, args).await?.write(&mut sink).await?;
    sink.finish().map(|()| exported)
}

impl Moment {
    /// The first state that a watch tells, once it is whole.
    async fn gathered(session: &Session, args: &ExportArgs) -> Result<Self, CommandFailure> {
        settle(session, &args.request).await?;
        let mut watching = session.watch().prefix(&args.range.prefix).begin();
        let mut moment = Self::default();
        loop {
            match event(&mut watching, args.request.ask.timeout).await? {
                Event::Change(change) => moment.apply(change, &args.range)?,
                Event::Reset(true) if !args.request.session.accept_loss => {
                    let text = "a write that this session saw is lost; --accept-loss goes on with what is left";
                    return Err(CommandFailure { text: text.into(), code: super::LOST });
                }
                Event::Reset(_) | Event::Broken => moment.lines.clear(),
                Event::End { synced: true } => return Ok(moment),
                Event::End { synced: false } => {}
            }
        }
    }

    /// Of two changes of one key the later holds.
    fn apply(&mut self, change: Change, range: &RangeArgs) -> Ended {
        match change {
            Change::Delete(key) => _ = self.lines.remove(&key),
            Change::Put(item) if range.holds(&item.key) => {
                let mut text = as_json(&item)?;
                if text.contains(['\n', '\r']) {
                    // They stand between tokens of the value, and would make two lines of it.
                    text = text.replace(['\n', '\r'], " ");
                }
                self.lines.insert(item.key, Line { text, has_siblings: item.versions > 1 });
            }
            Change::Put(_) => {}
        }
        Ok(())
    }

    async fn write(&self, sink: &mut Sink) -> Result<Exported, CommandFailure> {
        let mut exported = Exported::default();
        for line in self.lines.values() {
            if sink.is_left() {
                break;
            }
            sink.write(&line.text)?;
            exported.keys += 1;
            if exported.keys % LINES == 0 {
                tokio::task::yield_now().await;
            }
            exported.with_siblings += usize::from(line.has_siblings);
        }
        Ok(exported)
    }
}

impl RangeArgs {
    /// A watch knows prefixes only.
    fn holds(&self, key: &str) -> bool {
        *key >= *self.start && (self.end.is_empty() || *key < *self.end)
    }
}

/// The next thing that a watch tells. Before it begins, its replica may wait for what the session saw.
async fn event(watching: &mut Watching, limit: Duration) -> Result<Event, CommandFailure> {
    let limit = if watching.id().is_some() { limit.max(SILENCE_MAX) } else { limit };
    match timeout(limit, watching.event()).await {
        Ok(event) => Ok(event?),
        Err(_) => Err(CommandFailure::running("a replica took the watch, and tells nothing")),
    }
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, CommandFailure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Standard(Printer::new()));
        };
        let writing = NamedFile::find(path).and_then(|file| file.write()).map_err(|error| failed(path, &error))?;
        Ok(Self::File { file: BufWriter::with_capacity(64 << 10, writing), path: path.to_owned() })
    }

    /// If the command ends of itself.
    fn leaves_a_file(&self) -> bool {
        match self {
            Self::Standard(_) => false,
            Self::File { file, .. } => file.get_ref().is_beside(),
        }
    }

    const fn is_left(&self) -> bool {
        match self {
            Self::Standard(out) => out.is_left(),
            Self::File { .. } => false,
        }
    }

    fn write(&mut self, line: &str) -> Ended {
        match self {
            Self::Standard(out) => out.print(&format_args!("{line}\n")),
            Self::File { file, path } => writeln!(file, "{line}").map_err(|error| failed(path, &error)),
        }
    }

    /// Ends the output. A file that does not come so far is removed.
    fn finish(self) -> Ended {
        match self {
            Self::Standard(out) => out.finish(),
            Self::File { file, path } => {
                let written = file.into_inner().map_err(IntoInnerError::into_error).and_then(Writing::finish);
                written.map_err(|error| failed(&path, &error))
            }
        }
    }
}

fn failed(path: &Path, error: &std::io::Error) -> CommandFailure {
    CommandFailure::running(format!("{} cannot be written: {error}", path.display()))
}

impl Exported {
    /// Says on standard error what standard output holds.
    fn end(&self, as_json: bool) -> Ended {
        let Self { keys, with_siblings } = *self;
        if as_json {
            let report = json!({ "result": "exported", "keys": keys, "with-siblings": with_siblings });
            output::complain(format!("{report}\n"));
        } else if with_siblings > 0 {
            output::complain(format!(
                "{with_siblings} keys have several versions, and the winner of each was written\n"
            ));
        }
        Ok(())
    }
}
