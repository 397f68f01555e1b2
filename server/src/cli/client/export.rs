//! `hence export`: a line of JSON for each key.
//!
//! A page of a list is one moment, and the next page may be a later one. So the replica's vector is read before the
//! first page and after the last. Where it is the same, nothing changed in between: all pages are of one moment.

use super::args::{ExportArgs, RequestArgs};
use super::ls::{as_json, page};
use super::show::Printer;
use super::{Ended, client, client_of, within};
use crate::cli::CommandFailure;
use crate::output;
use hence_client::{Client, Page, Readiness, Session, Status};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest page.
const PAGE: usize = 1_000;

/// The pages are of several moments.
const SEVERAL_MOMENTS: u8 = 8;

/// Where the lines go.
enum Sink {
    Standard(Printer),
    /// A file beside the one that is to be, which it replaces at the end.
    File {
        file: BufWriter<File>,
        new: PathBuf,
        path: PathBuf,
    },
}

/// What was written.
#[derive(Debug, Default)]
struct Exported {
    keys: u64,
    /// Keys with several versions, of which one was written.
    with_siblings: u64,
    one_moment: bool,
}

/// `hence export`.
pub(in crate::cli) fn export(args: ExportArgs) -> Ended {
    // Another replica shows another moment: all pages come from one.
    let (client, before) = ready(&args.request)?;
    within(
        &client,
        &args.request,
        async |session: &Arc<Session>| {
            let mut sink = Sink::open(args.output.as_deref())?;
            let mut exported = Exported::default();
            let pages = all(session, &args, &mut sink, &mut exported).await;
            let after = client.status().await;
            exported.one_moment = moment(&before).is_some() && moment(&before) == after.first().and_then(moment);
            let is_good = pages.is_ok() && (exported.one_moment || args.several_moments);
            let finished = sink.finish(is_good);
            pages.and(finished).map(|()| exported)
        },
        |exported: Exported, _| exported.end(&args),
    )
}

/// The first endpoint that is ready, and its state.
fn ready(request: &RequestArgs) -> Result<(Client, Status), CommandFailure> {
    let all = super::run(async { Ok(client(&request.ask, false)?.status().await) })?;
    let whys: Vec<String> = all.iter().map(|one| format!("{}: {:?}", one.endpoint, one.readiness)).collect();
    let ready = all.into_iter().find(|one| one.readiness == Readiness::Ready);
    let ready = ready.ok_or_else(|| CommandFailure::running(format!("no endpoint is ready; {}", whys.join("; "))))?;
    Ok((client_of(vec![ready.endpoint.clone()], &request.ask, false)?, ready))
}

/// What tells two moments of a replica apart, where both are known.
fn moment(status: &Status) -> Option<(&Value, &Value)> {
    let state = status.state.as_ref()?;
    Some((state.get("incarnation")?, state.get("vector")?))
}

async fn all(
    session: &Session,
    args: &ExportArgs,
    sink: &mut Sink,
    exported: &mut Exported,
) -> Result<(), CommandFailure> {
    let mut next = None;
    while !sink.is_left() {
        let first = || args.range.of(session.list()).limit(PAGE);
        let Page { items, next: after, .. } = page(session, &args.request, next.as_ref(), first).await?;
        for item in items {
            exported.keys += 1;
            exported.with_siblings += u64::from(item.versions > 1);
            sink.write(&as_json(&item)?)?;
        }
        next = after;
        if next.is_none() {
            break;
        }
    }
    Ok(())
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self, CommandFailure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self::Standard(Printer::new()));
        };
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let file = File::create(&new).map_err(|error| failed(path, &error))?;
        Ok(Self::File { file: BufWriter::with_capacity(64 << 10, file), new, path: path.to_owned() })
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
            Self::File { file, path, .. } => writeln!(file, "{line}").map_err(|error| failed(path, &error)),
        }
    }

    /// Ends the output; the file takes its place only if it is good.
    fn finish(self, is_good: bool) -> Ended {
        match self {
            Self::Standard(out) => out.finish(),
            Self::File { file, new, path } if !is_good => {
                drop(file);
                fs::remove_file(&new).map_err(|error| failed(&path, &error))
            }
            Self::File { mut file, new, path } => {
                let written = file.flush().and_then(|()| fs::rename(&new, &path));
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
    fn end(&self, args: &ExportArgs) -> Ended {
        let Self { keys, with_siblings, one_moment } = *self;
        if args.request.ask.json {
            let report =
                json!({ "result": "exported", "keys": keys, "with-siblings": with_siblings, "one-moment": one_moment });
            output::complain(format!("{report}\n"));
        } else if with_siblings > 0 {
            output::complain(format!(
                "{with_siblings} keys have several versions, and the winner of each was written\n"
            ));
        }
        match one_moment || args.several_moments {
            true => Ok(()),
            false => Err(CommandFailure {
                text: "the store changed meanwhile, so the lines are of several moments; --several-moments takes that"
                    .into(),
                code: SEVERAL_MOMENTS,
            }),
        }
    }
}
