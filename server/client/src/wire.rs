//! One request to one endpoint, and whether it was sent.
//!
//! Connections are kept for later requests. Whether a request left on one decides whether a write may be sent again. So
//! this module asks hyper for each request, instead of a pool that hides it.

use crate::endpoint::Endpoint;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Connections that are kept for one endpoint; beyond, they are closed.
const IDLE_MAX: usize = 32;

/// A connection that was not used for so long is closed. A replica closes it after 75 s by default.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);

/// Bytes of an answer; beyond, it counts as lost.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The request may have reached the replica.
    pub(crate) sent: bool,
    pub(crate) why: String,
}

impl Failed {
    fn unsent(why: impl Into<String>) -> Self {
        Self { sent: false, why: why.into() }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// An endpoint and the connections to it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

/// How connections are made.
#[derive(Clone)]
pub(crate) struct Dialling {
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) timeout: Duration,
}

impl Target {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, idle: Mutex::default() }
    }

    /// Sends a request and reads its answer, both within this time.
    ///
    /// # Errors
    /// [`Failed`] says whether the replica may have the request.
    pub(crate) async fn send(
        &self,
        dialling: &Dialling,
        request: &Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, Failed> {
        let end = tokio::time::Instant::now() + limit;
        while let Some(mut sender) = self.take_idle() {
            // One that the replica has closed meanwhile says so here, or gives the request back.
            if !matches!(timeout_at(end, sender.ready()).await, Ok(Ok(()))) {
                continue;
            }
            if let Some(done) = self.exchange(sender, request, end).await {
                return done;
            }
        }
        let dialled = timeout(dialling.timeout.min(limit), self.connect(dialling)).await;
        let sender = dialled.unwrap_or_else(|_| Err(Failed::unsent("no connection in time")))?;
        let done = self.exchange(sender, request, end).await;
        done.unwrap_or_else(|| Err(Failed::unsent("the connection ended before the request was sent")))
    }

    /// `None` where the connection gave the request back.
    async fn exchange(
        &self,
        mut sender: Sender,
        request: &Request<Full<Bytes>>,
        end: tokio::time::Instant,
    ) -> Option<Result<Answer, Failed>> {
        let answering = async {
            let response = match sender.try_send_request(request.clone()).await {
                Ok(response) => response,
                Err(error) if error.message().is_some() => return None,
                Err(error) => return Some(Err(Failed { sent: true, why: words(error.error()) })),
            };
            let (parts, body) = response.into_parts();
            let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let read = read.map_err(|error| Failed { sent: true, why: words(&*error) });
            Some(read.map(|body| Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() }))
        };
        let late = || Some(Err(Failed { sent: true, why: "no answer in time".into() }));
        let done = timeout_at(end, answering).await.unwrap_or_else(|_| late());
        if matches!(done, Some(Ok(_))) {
            self.keep(sender);
        }
        done
    }

    /// Sends a request on a connection of its own, and reads the head of its answer within this time.
    ///
    /// # Errors
    /// [`Failed`] where there is none.
    pub(crate) async fn stream(
        &self,
        dialling: &Dialling,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failed> {
        let asking = async {
            let dialled = timeout(dialling.timeout, self.connect(dialling)).await;
            let mut sender = dialled.unwrap_or_else(|_| Err(Failed::unsent("no connection in time")))?;
            let answered = sender.send_request(request).await;
            answered.map_err(|error| Failed { sent: true, why: words(&error) })
        };
        let late = || Err(Failed { sent: true, why: "no answer in time".into() });
        timeout(limit, asking).await.unwrap_or_else(|_| late())
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_TIME_MAX);
        idle.pop().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !sender.is_closed() {
            idle.push((sender, Instant::now()));
        }
    }

    async fn connect(&self, dialling: &Dialling) -> Result<Sender, Failed> {
        let unsent = |error: &(dyn StdError + 'static)| Failed::unsent(words(error));
        let stream = TcpStream::connect(&*self.endpoint.authority).await.map_err(|error| unsent(&error))?;
        stream.set_nodelay(true).map_err(|error| unsent(&error))?;
        if !self.endpoint.tls {
            return begin(stream).await;
        }
        let Some(tls) = &dialling.tls else {
            return Err(Failed::unsent("https needs the file of an authority"));
        };
        let name = ServerName::try_from(self.endpoint.host.clone());
        let name = name.map_err(|_| Failed::unsent("no certificate can name this host"))?;
        begin(tls.connect(name, stream).await.map_err(|error| unsent(&error))?).await
    }
}

async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Sender, Failed> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failed::unsent(words(&error)))?;
    // It ends with its sender, and an error of it reaches the request that it is about.
    tokio::spawn(async move { _ = connection.await });
    Ok(sender)
}

/// An error and its causes, in one line.
pub(crate) fn words(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
