//! The endpoints of a cluster, and how they are asked.

use crate::answer::Body;
use crate::call::Call;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::past::Past;
use crate::retry::{self, Shared, Turn};
use crate::session::Session;
use crate::status::{self, Status};
use crate::tls;
use crate::wire::{Dialling, Target};
use http::{HeaderMap, HeaderValue, Method};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// A client of one cluster. A clone shares its connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// The endpoint that the next session begins with.
    turn: Arc<AtomicUsize>,
}

/// Sets what a [`Client`] is to do.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    ca: Option<PathBuf>,
    bearer: Option<String>,
    deadline: Duration,
    attempt: Duration,
    connect: Duration,
    retries_unknown: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// Within TLS: the authorities of this file, in PEM form, signed the replicas' certificates.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Sends this bearer token with each request.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// A request, with all attempts, ends after this time. What it asked to wait for comes on top. Default 10 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// One attempt ends after this time. What the request asked to wait for comes on top. Default 5 s.
    #[must_use]
    pub const fn attempt_timeout(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    /// A connection is given up after this time. Default 2 s.
    #[must_use]
    pub const fn connect_timeout(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sends a write again although a replica may have done it.
    ///
    /// A put that is done twice replaces what other clients wrote in between, and a condition can fail because of the
    /// first time. [`Error::OutcomeUnknown`] still comes where no attempt is answered. Default false.
    #[must_use]
    pub const fn retry_unknown_outcomes(mut self, retries: bool) -> Self {
        self.retries_unknown = retries;
        self
    }

    /// The client. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Usage`] for no endpoint or a wrong one, a file without authorities, and `https` without such a file.
    pub fn build(self) -> Result<Client, Error> {
        let endpoints: Vec<Endpoint> =
            self.endpoints.iter().map(|text| Endpoint::parse(text)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(Error::Usage("a client needs an endpoint".into()));
        }
        let tls = self.ca.as_deref().map(tls::trusting).transpose()?;
        if let Some(https) = endpoints.iter().find(|endpoint| endpoint.tls && tls.is_none()) {
            return Err(Error::Usage(format!("{https} needs the file of the authority that signed its certificate")));
        }
        let authorization = self.bearer.as_deref().map(authorization).transpose()?;
        let shared = Shared {
            targets: endpoints.into_iter().map(Target::new).collect(),
            dialling: Dialling { tls, timeout: self.connect },
            authorization,
            deadline: self.deadline,
            attempt: self.attempt,
            retries_unknown: self.retries_unknown,
        };
        Ok(Client { shared: Arc::new(shared), turn: Arc::default() })
    }
}

fn authorization(token: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value =
        value.map_err(|_| Error::Usage("the bearer token has a character that no header may have".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Client {
    /// A client with every default. An endpoint is `HOST:PORT`, or `https://HOST:PORT` with [`ClientBuilder::ca`].
    ///
    /// # Errors
    /// As [`ClientBuilder::build`].
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Result<Self, Error> {
        Self::builder(endpoints).build()
    }

    /// The same, with something set.
    pub fn builder<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> ClientBuilder {
        ClientBuilder {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca: None,
            bearer: None,
            deadline: Duration::from_secs(10),
            attempt: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            retries_unknown: false,
        }
    }

    /// The endpoints, as they were given.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.shared.targets.iter().map(|target| target.endpoint.to_string()).collect()
    }

    /// A session without a past. Sessions begin at the endpoints in turn, and stay where they are served.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::begin(self.shared.clone(), Past::default(), self.next_turn())
    }

    /// A session with the past that [`Session::token`] gave, perhaps in another process.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no list of tokens.
    pub fn resume(&self, token: &str) -> Result<Session, Error> {
        Ok(Session::begin(self.shared.clone(), Past::parse(token)?, self.next_turn()))
    }

    fn next_turn(&self) -> Turn {
        Turn::at(self.turn.fetch_add(1, Relaxed))
    }

    /// The members that are not known to be down.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`].
    pub async fn view(&self) -> Result<Vec<String>, Error> {
        Ok(self.view_call(Call::read(Method::GET, "/view".into())).await?.view.unwrap_or_default())
    }

    /// Adds a member, `HOST:PORT`; says whether it was not listed before.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`], [`Error::OutcomeUnknown`].
    pub async fn add_member(&self, address: &str) -> Result<bool, Error> {
        let body = self.view_call(Call::write(Method::PUT, "/view".into(), address_body(address))).await?;
        Ok(body.result.as_deref() == Some("added"))
    }

    /// Removes a member; says whether there was one.
    ///
    /// # Errors
    /// As [`Self::add_member`].
    pub async fn remove_member(&self, address: &str) -> Result<bool, Error> {
        match self.view_call(Call::write(Method::DELETE, "/view".into(), address_body(address))).await {
            Ok(_) => Ok(true),
            Err(Error::Refused { status: 404, text, .. }) if text == "View has no such replica" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn view_call(&self, call: Call) -> Result<Body, Error> {
        let (answer, body) = retry::ask(&self.shared, &Turn::at(0), &call, &HeaderMap::new()).await?;
        body.expect_success(answer.status)
    }

    /// Asks each endpoint how it is, all at a time.
    pub async fn status(&self) -> Vec<Status> {
        status::ask(&self.shared).await
    }
}

fn address_body(address: &str) -> Vec<u8> {
    serde_json::json!({ "socket-address": address }).to_string().into_bytes()
}
