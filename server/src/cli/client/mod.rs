//! The commands that ask replicas: `get`, `put`, `del`, `ls`, `watch`, `batch`, `view`, `status`, `export`, `import`
//! and `bench`.

pub(super) mod args;
mod bench;
mod export;
mod import;
mod interrupt;
mod ls;
mod named_file;
mod session_file;
mod show;
mod watch;

pub(super) use bench::bench;
pub(super) use export::export;
pub(super) use import::import;
pub(super) use ls::ls;
pub(super) use watch::watch;

use super::CommandFailure;
use args::{AskArgs, BatchArgs, DelArgs, GetArgs, PutArgs, RequestArgs, StatusArgs, ViewArgs, ViewChange};
use hence_client::{Client, Error, Operation, RawValue, Session};
use serde_json::json;
use session_file::KeptSession;
use show::{Answered, Part, print};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// More than any body may have.
const INPUT_BYTES_MAX: u64 = 16 << 20;

const ABSENT: u8 = 3;
const PRECONDITION: u8 = 4;
const UNKNOWN: u8 = 5;
const LOST: u8 = 7;

type Ended = Result<(), CommandFailure>;

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Usage(_) | Error::Value(_) => 2,
            Error::Refused { .. } | Error::Unavailable { .. } => 1,
            Error::PreconditionFailed { .. } => PRECONDITION,
            Error::OutcomeUnknown { .. } => UNKNOWN,
            Error::Lost(_) => LOST,
        };
        let hint = if code == LOST { "; --accept-loss goes on with what is left" } else { "" };
        Self { text: format!("{error}{hint}"), code }
    }
}

/// `hence get`.
pub(super) fn get(args: GetArgs) -> Ended {
    let GetArgs { key, siblings, request } = args;
    asking(&request, false, async |one: &Session, wait: Option<Duration>| {
        let mut request = one.get(&key);
        if siblings {
            request = request.siblings();
        }
        if let Some(wait) = wait {
            request = request.wait(wait);
        }
        let Some(entry) = request.await? else {
            let failure = CommandFailure { text: "Key does not exist".into(), code: ABSENT };
            return Ok(Answered { failure: Some(failure), ..Answered::of("absent") });
        };
        let values = if siblings { &entry.siblings[..] } else { std::slice::from_ref(&entry.value) };
        Ok(Answered {
            lines: values.iter().map(|value| value.get().to_owned()).collect(),
            siblings: siblings.then_some(entry.siblings),
            etag: Some(entry.tag.to_string()),
            versions: Some(entry.versions).filter(|&versions| versions > 1),
            value: Some(entry.value),
            ..Answered::of("found")
        })
    })
}

/// `hence put`.
pub(super) fn put(args: PutArgs) -> Ended {
    let PutArgs { key, value, text, if_absent, concern, request } = args;
    let value = value_of(value, text)?;
    asking(&request, concern.write.retry_unknown, async |one: &Session, wait: Option<Duration>| {
        let mut request = one.put(&key, &value);
        if let Some(tag) = &concern.if_match {
            request = request.if_match(tag);
        }
        if if_absent {
            request = request.if_absent();
        }
        if let Some(concern) = concern.write_concern {
            request = request.concern(concern);
        }
        if let Some(wait) = wait {
            request = request.wait(wait);
        }
        let written = request.await?;
        let etag = written.tag.map(|tag| tag.to_string());
        let answered = Answered::of(if written.created { "created" } else { "replaced" });
        Ok(Answered { etag, ..answered }.spread(written.spread))
    })
}

/// `hence del`.
pub(super) fn del(args: DelArgs) -> Ended {
    let DelArgs { key, concern, request } = args;
    asking(&request, concern.write.retry_unknown, async |one: &Session, wait: Option<Duration>| {
        let mut request = one.delete(&key);
        if let Some(tag) = &concern.if_match {
            request = request.if_match(tag);
        }
        if let Some(concern) = concern.write_concern {
            request = request.concern(concern);
        }
        if let Some(wait) = wait {
            request = request.wait(wait);
        }
        let deleted = request.await?;
        Ok(Answered::of(if deleted.existed { "deleted" } else { "absent" }).spread(deleted.spread))
    })
}

/// `hence batch`.
pub(super) fn batch(args: BatchArgs) -> Ended {
    let BatchArgs { file, write, write_concern, request } = args;
    let text = input(opened(file)?)?;
    let operations = || {
        let read = serde_json::from_str::<Vec<Operation>>(&text);
        read.map_err(|error| Error::Usage(format!("this is no JSON list of operations: {error}")))
    };
    operations()?;
    asking(&request, write.retry_unknown, async |one: &Session, wait: Option<Duration>| {
        let mut request = one.batch(operations()?);
        if let Some(concern) = write_concern {
            request = request.concern(concern);
        }
        if let Some(wait) = wait {
            request = request.wait(wait);
        }
        let done = request.await?;
        let parts: Vec<Part> = done.outcomes.into_iter().map(Part::from).collect();
        let lines = parts.iter().map(Part::line).collect();
        Ok(Answered { result: None, lines, results: Some(parts), ..Answered::default() }.spread(done.spread))
    })
}

/// `hence view`.
pub(super) fn view(args: &ViewArgs) -> Ended {
    let client = client(&args.ask, false)?;
    let result = |result: &str| match args.ask.json {
        true => print([json!({ "result": result }).to_string()]),
        false => print([result]),
    };
    run(async {
        match &args.change {
            Some(ViewChange::Add { address }) => {
                let added = client.add_member(address).await?;
                result(if added { "added" } else { "already present" })
            }
            Some(ViewChange::Remove { address }) => match client.remove_member(address).await? {
                true => result("deleted"),
                false => Err(CommandFailure { text: "View has no such replica".into(), code: ABSENT }),
            },
            None => {
                let members = client.view().await?;
                if args.ask.json { print([json!({ "view": members }).to_string()]) } else { print(members) }
            }
        }
    })
}

/// `hence status`.
pub(super) fn status(args: &StatusArgs) -> Ended {
    let client = client(&args.ask, false)?;
    let all = run(async { Ok(client.status().await) })?;
    show::statuses(&all, args.ask.json)
}

/// The value of a put.
fn value_of(given: Option<String>, is_text: bool) -> Result<Box<RawValue>, CommandFailure> {
    let text = given.map_or_else(|| input(io::stdin().lock()), Ok)?;
    if is_text {
        return serde_json::value::to_raw_value(&text).map_err(CommandFailure::usage);
    }
    let value = RawValue::from_string(text.trim().to_owned());
    value.map_err(|error| CommandFailure::usage(format!("the value is no JSON: {error}; --text takes any text")))
}

/// A file that is named, or standard input.
fn opened(file: Option<PathBuf>) -> Result<Box<dyn Read + Send>, CommandFailure> {
    let Some(file) = file.filter(|file| file != Path::new("-")) else { return Ok(Box::new(io::stdin())) };
    match File::open(&file) {
        Ok(opened) => Ok(Box::new(opened)),
        Err(error) => Err(CommandFailure::usage(format!("{}: {error}", file.display()))),
    }
}

fn input(from: impl Read) -> Result<String, CommandFailure> {
    let mut text = String::new();
    let read = from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| CommandFailure::usage(format!("the input cannot be read: {error}")))?;
    match text.len() as u64 > INPUT_BYTES_MAX {
        true => Err(CommandFailure::usage(format!("the input has more than {INPUT_BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

fn client(ask: &AskArgs, retries_unknown: bool) -> Result<Client, CommandFailure> {
    let endpoints = ask.endpoints.iter().map(|endpoint| endpoint.trim()).filter(|endpoint| !endpoint.is_empty());
    client_of(endpoints.map(str::to_owned).collect(), ask, retries_unknown)
}

fn client_of(endpoints: Vec<String>, ask: &AskArgs, retries_unknown: bool) -> Result<Client, CommandFailure> {
    let mut builder = Client::builder(endpoints).deadline(ask.timeout).retry_unknown_outcomes(retries_unknown);
    if let Some(ca) = &ask.ca {
        builder = builder.ca(ca);
    }
    if let Some(file) = &ask.token_file {
        let wrong = |why: &dyn std::fmt::Display| CommandFailure::usage(format!("{}: {why}", file.display()));
        let opened = File::open(file).map_err(|error| wrong(&error))?;
        let token = input(opened).map_err(|failure| wrong(&failure.text))?;
        builder = builder.bearer(token.trim());
    }
    Ok(builder.build()?)
}

fn run<T>(asking: impl Future<Output = Result<T, CommandFailure>>) -> Result<T, CommandFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CommandFailure::running(format!("cannot start: {error}")))?.block_on(asking)
}

/// Asks within the session, and shows the answer.
fn asking(
    args: &RequestArgs,
    retries_unknown: bool,
    request: impl AsyncFn(&Session, Option<Duration>) -> Result<Answered, Error>,
) -> Ended {
    let client = client(&args.ask, retries_unknown)?;
    let wait = args.session.wait.map(Duration::from_secs);
    within(
        &client,
        args,
        async |session: &Arc<Session>| {
            accepting(session, args, async || request(session, wait).await).await.map_err(CommandFailure::from)
        },
        |answered, token| answered.show(token, args.ask.json),
    )
}

/// Asks again where writes are lost and the caller accepts that.
async fn accepting<T>(
    session: &Session,
    args: &RequestArgs,
    request: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Error> {
    match request().await {
        Err(Error::Lost(lost)) if args.session.accept_loss => {
            session.go_on_after(&lost);
            request().await
        }
        done => done,
    }
}

/// A replica that serves the session is found, and what it saw and lost is told.
async fn settle(session: &Session, args: &RequestArgs) -> Ended {
    if session.token().is_empty() {
        return Ok(());
    }
    let wait = args.session.wait.map(Duration::from_secs);
    let settled = accepting(session, args, async || match wait {
        Some(wait) => session.get("-").wait(wait).await,
        None => session.get("-").await,
    });
    settled.await.map(drop).map_err(CommandFailure::from)
}

/// Does something within the session, keeps what it saw whatever comes of it, and then shows it with the token.
fn within<T>(
    client: &Client,
    args: &RequestArgs,
    act: impl AsyncFnOnce(&Arc<Session>) -> Result<T, CommandFailure>,
    show: impl FnOnce(T, String) -> Ended,
) -> Ended {
    run(async {
        let kept = KeptSession::begin(client, args.session.session.clone())?;
        let done = act(&kept.session).await;
        let saved = kept.save();
        let shown = done.and_then(|done| show(done, kept.session.token()));
        match (shown, saved) {
            (Ok(()), saved) => saved,
            (Err(failure), Ok(())) => Err(failure),
            (Err(failure), Err(also)) => {
                Err(CommandFailure { text: format!("{}; {}", failure.text, also.text), code: failure.code })
            }
        }
    })
}
