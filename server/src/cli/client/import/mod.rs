//! `hence import`: lines of JSON, as `hence export` writes them, in batches of the largest size.
//!
//! A value that no batch takes goes alone, and is a batch in what follows. Several batches are on their way at a time.
//! Two that write one key never are: the later line wins. Which lines are written is noted as their answers come, so
//! an import that was cut off goes on where it was.

mod note;
mod source;

use super::args::ImportArgs;
use super::show::print;
use super::{Ended, client, opened, settle, within};
use crate::cli::CommandFailure;
use hence_client::{Error, Session};
use indicatif::{ProgressBar, ProgressStyle};
use note::Note;
use serde_json::json;
use source::{Bulk, Lines, Writes};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

/// What became of the lines.
#[derive(Debug, Default)]
struct Imported {
    written: u64,
    /// Written by an earlier run.
    skipped: u64,
}

/// A batch that was answered.
struct Landed {
    lines: Lines,
    keys: Vec<u64>,
    bytes: u64,
    answer: Result<(), Error>,
}

/// `hence import`.
pub(in crate::cli) fn import(args: ImportArgs) -> Ended {
    let client = client(&args.request.ask, args.write.retry_unknown)?;
    let size = args.file.as_deref().filter(|file| *file != Path::new("-")).and_then(|file| fs::metadata(file).ok());
    let size = size.filter(fs::Metadata::is_file).map(|found| found.len());
    let input = opened(args.file.clone())?;
    let mut note = args.resume.as_deref().map(Note::open).transpose()?;
    let done = note.as_ref().map(Note::lines).unwrap_or_default();
    let bulks = source::read(input, done, usize::from(args.batches));
    let start = Instant::now();
    within(
        &client,
        &args.request,
        async |session: &Arc<Session>| {
            // What the session saw and lost is told before anything is written.
            settle(session, &args.request).await?;
            write(session, usize::from(args.batches), bulks, &mut note, &bar(size)).await
        },
        |imported: Imported, token| imported.end(args.request.ask.json, start, &token),
    )
}

/// Shows how far it is, where standard error is a terminal.
fn bar(size: Option<u64>) -> ProgressBar {
    let style = |template: &str| ProgressStyle::with_template(template).expect("a template of ours");
    match size {
        Some(size) => ProgressBar::new(size).with_style(style("{wide_bar} {bytes}/{total_bytes} {eta}")),
        None => ProgressBar::no_length().with_style(style("{spinner} {bytes} {bytes_per_sec}")),
    }
}

/// Writes all batches, so many at a time. After a failure no other is begun, and those on their way are waited for.
async fn write(
    session: &Arc<Session>,
    at_a_time: usize,
    mut bulks: Receiver<Result<Bulk, CommandFailure>>,
    note: &mut Option<Note>,
    bar: &ProgressBar,
) -> Result<Imported, CommandFailure> {
    let mut imported = Imported::default();
    let mut flying: JoinSet<Landed> = JoinSet::new();
    let mut keys: HashSet<u64> = HashSet::new();
    let mut failure = None;
    while failure.is_none() {
        let bulk = match next(&mut bulks, &mut flying, &mut keys, note, bar, &mut imported).await {
            Ok(Some(bulk)) => bulk,
            Ok(None) => break,
            Err(wrong) => {
                failure = Some(wrong);
                break;
            }
        };
        if let Some(origin) = &bulk.origin
            && let Some(note) = note
            && let Err(wrong) = note.begin(origin)
        {
            failure = Some(wrong);
            break;
        }
        imported.skipped += bulk.skipped;
        if bulk.lines.count == 0 {
            bar.inc(bulk.bytes);
            continue;
        }
        while flying.len() >= at_a_time || (!flying.is_empty() && bulk.keys.iter().any(|key| keys.contains(key))) {
            let landed = flying.join_next().await.expect("there is one").map_err(CommandFailure::running)?;
            failure = land(landed, &mut keys, note, bar, &mut imported).err().or(failure);
        }
        if failure.is_some() {
            break;
        }
        keys.extend(&bulk.keys);
        flying.spawn(send(session.clone(), bulk));
    }
    while let Some(landed) = flying.join_next().await {
        let landed = landed.map_err(CommandFailure::running)?;
        failure = failure.or(land(landed, &mut keys, note, bar, &mut imported).err());
    }
    bar.finish_and_clear();
    match failure {
        None => Ok(imported),
        Some(failure) => {
            let CommandFailure { text, code } = failure;
            let text = format!("{text}; lines written: {}", imported.written);
            Err(CommandFailure { text, code })
        }
    }
}

/// The next batch. What is answered before it is there is noted at once: a source may be slow.
async fn next(
    bulks: &mut Receiver<Result<Bulk, CommandFailure>>,
    flying: &mut JoinSet<Landed>,
    keys: &mut HashSet<u64>,
    note: &mut Option<Note>,
    bar: &ProgressBar,
    imported: &mut Imported,
) -> Result<Option<Bulk>, CommandFailure> {
    loop {
        tokio::select! {
            bulk = bulks.recv() => return bulk.transpose(),
            Some(landed) = flying.join_next() => {
                land(landed.map_err(CommandFailure::running)?, keys, note, bar, imported)?;
            }
        }
    }
}

async fn send(session: Arc<Session>, bulk: Bulk) -> Landed {
    let Bulk { lines, writes, keys, bytes, .. } = bulk;
    let answer = match writes {
        Writes::Batch(operations) => session.batch(operations).done().await,
        Writes::Alone(key, value) => session.put(&key, &value).await.map(drop),
    };
    Landed { lines, keys, bytes, answer }
}

/// Counts a batch that was answered, and notes its lines if they are written.
fn land(
    landed: Landed,
    keys: &mut HashSet<u64>,
    note: &mut Option<Note>,
    bar: &ProgressBar,
    imported: &mut Imported,
) -> Ended {
    let Landed { lines, keys: own, bytes, answer } = landed;
    own.iter().for_each(|key| _ = keys.remove(key));
    if let Err(error) = answer {
        let CommandFailure { text, code } = error.into();
        return Err(CommandFailure { text: format!("lines {} to {}: {text}", lines.first, lines.last()), code });
    }
    imported.written += lines.count;
    bar.inc(bytes);
    note.as_mut().map_or(Ok(()), |note| note.add(lines))
}

impl Imported {
    fn end(&self, as_json: bool, start: Instant, token: &str) -> Ended {
        let Self { written, skipped } = *self;
        let seconds = start.elapsed().as_secs_f64();
        match as_json {
            true => print([json!({ "result": "imported", "written": written, "skipped": skipped,
                "seconds": seconds, "causal-metadata": token })]),
            false if skipped > 0 => print([format!("keys written: {written}, and before: {skipped}")]),
            false => print([format!("keys written: {written}")]),
        }
    }
}
