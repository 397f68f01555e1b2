//! How the endpoints are.

use crate::retry::Shared;
use crate::wire::Answer;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An endpoint that does not answer within this time counts as unreachable.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether clients may be sent to a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// They may.
    Ready,
    /// Not yet; the replica's words.
    NotReady(String),
    /// There is no answer; why, in words.
    Unreachable(String),
}

/// How one endpoint is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The endpoint, as it was given.
    pub endpoint: String,
    /// What `GET /ready` says.
    pub readiness: Readiness,
    /// What `GET /replica/state` says; `None` where it is not answered with 200.
    pub state: Option<Value>,
}

/// Asks all endpoints at a time.
pub(crate) async fn ask(shared: &Arc<Shared>) -> Vec<Status> {
    let one = |at: usize| {
        let shared = shared.clone();
        tokio::spawn(async move { status(&shared, at).await })
    };
    let asked: Vec<_> = (0..shared.targets.len()).map(one).collect();
    let mut all = Vec::with_capacity(asked.len());
    for (at, one) in asked.into_iter().enumerate() {
        let endpoint = shared.targets[at].endpoint.to_string();
        let ended = |error: tokio::task::JoinError| Readiness::Unreachable(error.to_string());
        let status = one.await;
        all.push(status.unwrap_or_else(|error| Status { endpoint, readiness: ended(error), state: None }));
    }
    all
}

async fn status(shared: &Shared, at: usize) -> Status {
    let endpoint = shared.targets[at].endpoint.to_string();
    let readiness = match get(shared, at, "/ready").await {
        Ok(answer) if answer.status == StatusCode::OK => Readiness::Ready,
        Ok(answer) => Readiness::NotReady(error_of(&answer)),
        Err(why) => return Status { endpoint, readiness: Readiness::Unreachable(why), state: None },
    };
    let state = get(shared, at, "/replica/state").await.ok().filter(|answer| answer.status == StatusCode::OK);
    Status { endpoint, readiness, state: state.and_then(|answer| serde_json::from_slice(&answer.body).ok()) }
}

fn error_of(answer: &Answer) -> String {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    body["error"].as_str().map_or_else(|| format!("HTTP {}", answer.status), str::to_owned)
}

async fn get(shared: &Shared, at: usize, path: &'static str) -> Result<Answer, String> {
    let target = &shared.targets[at];
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse().expect("a path of ours");
    let host = HeaderValue::from_str(&target.endpoint.authority).expect("it was read as an authority");
    request.headers_mut().insert(HOST, host);
    if let Some(authorization) = &shared.authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    target.send(&shared.dialling, &request, LIMIT).await.map_err(|failed| failed.why)
}
