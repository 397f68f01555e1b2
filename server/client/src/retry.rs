//! The rule of retries: what may be asked again, and where.

use crate::answer::{Body, refused};
use crate::call::Call;
use crate::error::{Attempt, Error};
use crate::wire::{Answer, Dialling, Target};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The pause after all endpoints were asked; it doubles up to the longest.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// From the second round on, a replica is asked to fetch what is missing, and may take so long.
const FETCH: Duration = Duration::from_secs(1);

/// The endpoints, and how they are asked.
pub(crate) struct Shared {
    pub(crate) targets: Vec<Target>,
    pub(crate) dialling: Dialling,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) deadline: Duration,
    pub(crate) attempt: Duration,
    pub(crate) retries_unknown: bool,
}

/// The endpoint to begin with: the one that answered last.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicUsize);

impl Turn {
    pub(crate) const fn at(at: usize) -> Self {
        Self(AtomicUsize::new(at))
    }

    /// Which of so many endpoints it is.
    pub(crate) fn first(&self, count: usize) -> usize {
        self.0.load(Relaxed) % count
    }

    /// Another one with the same beginning.
    pub(crate) fn copy(&self) -> Self {
        Self::at(self.0.load(Relaxed))
    }
}

/// What an attempt came to.
enum Step {
    Answered(Answer, Box<Body>),
    /// No replica did it.
    NotDone(String),
    /// A replica may have done it.
    Unknown(String),
}

/// Asks one endpoint after another until one answers, with these headers beside the call's own.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::OutcomeUnknown`] and [`Error::Usage`]; refusals are answers.
pub(crate) async fn ask(
    shared: &Shared,
    turn: &Turn,
    call: &Call,
    headers: &HeaderMap,
) -> Result<(Answer, Body), Error> {
    check(call)?;
    let end = Instant::now() + shared.deadline + call.extra_time();
    let count = shared.targets.len();
    let mut attempts: Vec<Option<Attempt>> = vec![None; count];
    let mut unknown: Option<Attempt> = None;
    let mut pause = PAUSE;
    let first = turn.first(count);
    for round in 0_u32.. {
        for at in (0..count).map(|offset| (first + offset) % count) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let wait = wait(call, round).map(|wait| wait.min(left));
            let endpoint = shared.targets[at].endpoint.to_string();
            match attempt(shared, at, call, headers, wait, left).await {
                // The condition may have failed because an earlier attempt was done.
                Step::Answered(answer, _) if answer.status == StatusCode::PRECONDITION_FAILED && unknown.is_some() => {
                    let why = "a condition failed, perhaps because an earlier attempt was done".into();
                    return Err(Error::OutcomeUnknown { attempt: Attempt { endpoint, why } });
                }
                Step::Answered(answer, body) => {
                    turn.0.store(at, Relaxed);
                    return Ok((answer, *body));
                }
                Step::NotDone(why) => attempts[at] = Some(Attempt { endpoint, why }),
                Step::Unknown(why) => {
                    let attempt = Attempt { endpoint, why };
                    if !call.reads && !shared.retries_unknown {
                        return Err(Error::OutcomeUnknown { attempt });
                    }
                    attempts[at] = Some(attempt.clone());
                    unknown = Some(attempt).filter(|_| !call.reads).or(unknown);
                }
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    match unknown {
        Some(attempt) => Err(Error::OutcomeUnknown { attempt }),
        None => Err(Error::Unavailable { attempts: attempts.into_iter().flatten().collect() }),
    }
}

/// How long the replica is to wait for what is missing.
fn wait(call: &Call, round: u32) -> Option<Duration> {
    match call.wait {
        Some(wait) => Some(wait),
        // It would end the spread of a write before its time.
        None if call.spreads || round == 0 => None,
        None => Some(FETCH),
    }
}

/// A call as this endpoint gets it.
pub(crate) fn request(shared: &Shared, at: usize, call: &Call, headers: &HeaderMap) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.path.parse().expect("it was checked");
    let own = request.headers_mut();
    own.extend(call.headers.clone());
    own.extend(headers.clone());
    let authority = &shared.targets[at].endpoint.authority;
    own.insert(HOST, HeaderValue::from_str(authority).expect("it was read as an authority"));
    if !call.body.is_empty() {
        own.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(authorization) = &shared.authorization {
        own.insert(AUTHORIZATION, authorization.clone());
    }
    request
}

async fn attempt(
    shared: &Shared,
    at: usize,
    call: &Call,
    headers: &HeaderMap,
    wait: Option<Duration>,
    left: Duration,
) -> Step {
    let target = &shared.targets[at];
    let mut request = request(shared, at, call, headers);
    if let Some(wait) = wait {
        let wait = format!("wait={}", wait.as_secs());
        request.headers_mut().insert(PREFER, HeaderValue::from_str(&wait).expect("digits"));
    }
    let limit = (shared.attempt + wait.unwrap_or(call.extra_time())).min(left);
    match target.send(&shared.dialling, &request, limit).await {
        Ok(answer) => classify(answer),
        Err(failed) if failed.sent => Step::Unknown(failed.why),
        Err(failed) => Step::NotDone(failed.why),
    }
}

/// Tells a replica's answer from that of a proxy or of another program.
fn classify(answer: Answer) -> Step {
    let status = answer.status;
    if status == StatusCode::NOT_MODIFIED {
        return Step::Answered(answer, Box::default());
    }
    match serde_json::from_slice::<Body>(&answer.body) {
        Ok(Body { error: Some(text), .. }) if status == StatusCode::SERVICE_UNAVAILABLE => Step::NotDone(text),
        Ok(body) if status.is_success() && body.error.is_none() => Step::Answered(answer, Box::new(body)),
        Ok(body) if status.as_u16() >= 400 && body.error.is_some() && status != StatusCode::INTERNAL_SERVER_ERROR => {
            Step::Answered(answer, Box::new(body))
        }
        // What was not understood was not done.
        _ if status.is_client_error() => {
            let foreign =
                || format!("{}, and not from a replica of hence", status.canonical_reason().unwrap_or("refused"));
            let text = bare(status).map_or_else(foreign, str::to_owned);
            Step::Answered(answer, Box::new(Body::refusing(text)))
        }
        _ => Step::Unknown(format!("HTTP {status}, and not from a replica of hence")),
    }
}

const LARGE_HEAD: &str =
    "the line and headers of the request are too large, as with a long key or prefix, or a token of many parts";

/// The words for what a replica refuses without any, because it read no more of the request.
pub(crate) fn bare(status: StatusCode) -> Option<&'static str> {
    [StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE].contains(&status).then_some(LARGE_HEAD)
}

/// A path of more than 64 KiB is none, and no replica takes one.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn check(call: &Call) -> Result<(), Error> {
    call.path.parse::<Uri>().map(drop).map_err(|_| Error::Usage(LARGE_HEAD.into()))
}

/// A refusal that is neither a success nor a status that the caller knows.
pub(crate) fn refusal(answer: &Answer, body: Body) -> Error {
    refused(answer.status, body.error, body.index)
}
