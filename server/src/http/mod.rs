//! The HTTP service of one replica: from a request to its answer.
//!
//! Handlers run on the replica's thread and call it directly. The order of checks is the contract's: path,
//! method, size, then what each route checks. Whatever is wrong is answered in JSON.

mod answer;
mod bad_request;
mod batch;
mod body;
mod browsers;
mod concern;
mod etag;
mod failure;
mod json;
mod kvs;
mod list;
mod mint;
mod poll;
mod prefer;
mod ready;
mod route;
mod scrape;
mod state;
mod up;
mod watch;

pub(crate) use answer::Answer;
pub(crate) use browsers::Browsers;
pub(crate) use mint::Mint;

use crate::access::{Access, Pass, Scope};
use crate::advice;
use crate::connections::{Connection, Connections};
use crate::metrics::Counted;
use crate::node::{Asked, BlockedReply, Node, Watching};
use crate::settings::{Console, Limits};
use crate::traces::Trace;
use crate::wire::Wire;
use answer::Form;
use bad_request::BadRequest;
use batch::Batch;
use browsers::Visit;
use bytes::Bytes;
use failure::Failure;
use hence_core::{Now, Refusal, Reply, Request, Time, TokenError, VersionVector};
use hence_transport::trust::Trust;
use http::header::{CONNECTION, CONTENT_ENCODING, RETRY_AFTER, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use hyper::body::{Body, Incoming};
use kvs::KeyRequest;
use list::List;
use poll::Poll;
use route::Route;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Context};
use watch::Events;

/// The description of the API. `tests/openapi.rs` holds it against the contract tables.
const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// The page of a replica, which needs nothing but its own API.
const PAGE: &str = include_str!("ui.html");

/// What every handler of one replica shares.
pub(crate) struct Service<T> {
    /// The replica.
    pub(crate) node: Rc<Node<T>>,
    /// All connections.
    pub(crate) connections: Rc<Connections>,
    /// What clients may do.
    pub(crate) limits: Limits,
    /// The tokens that clients must bear; without one every client may do everything.
    pub(crate) access: Option<Access>,
    /// Bytes of memory that it may take, all in all.
    pub(crate) memory_max: Option<u64>,
    /// What peers and clients have to show.
    pub(crate) trust: Trust,
    /// Makes and reads what clients carry.
    pub(crate) mint: Mint,
    /// What browsers are answered beyond that, where a setting says so.
    pub(crate) browsers: Option<Browsers>,
    /// What pages may order; without one there is no such path.
    pub(crate) console: Option<Console>,
}

/// An answer, or the way to it.
///
/// Most reads are answered before hyper asks this future for the first time. What each level of nested futures copies
/// of a request and its answer on their way costs a read more than all of the replica.
pub(crate) enum Serving {
    /// Taken when it is polled.
    Answered(Option<Answer>),
    /// The body is still to come, or the replica waits for the request's causes.
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Future for Serving {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> task::Poll<Self::Output> {
        match &mut *self {
            Self::Answered(answer) => task::Poll::Ready(Ok(answer.take().expect("hyper polls no answer twice"))),
            Self::Later(later) => later.as_mut().poll(context).map(Ok),
        }
    }
}

/// A request whose answer is not known at once.
enum Waits<T: Wire> {
    /// The replica waits for its causes, or for its write to spread.
    Blocked {
        reply: BlockedReply<T>,
        past: VersionVector,
        form: Form,
        /// The write that it did already, if it did one.
        wrote: u64,
    },
    /// Its client waits until a key is something else.
    Poll { node: Rc<Node<T>>, asked: KeyRequest, poll: Poll, pass: Option<Pass> },
}

impl<T: Wire + 'static> Waits<T> {
    const fn wrote(&self) -> u64 {
        match self {
            Self::Blocked { wrote, .. } => *wrote,
            Self::Poll { .. } => 0,
        }
    }

    async fn answer(self) -> Answer {
        match self {
            Self::Blocked { reply, past, form, .. } => answer::data(*reply.await, || past, &form),
            Self::Poll { node, asked, poll, pass } => poll::answer(node, asked, poll, pass).await,
        }
    }
}

/// A request whose answer is on its way: the task to wake when it is there.
struct Exchange<T> {
    service: Rc<Service<T>>,
    connection: Rc<Connection>,
    started: Time,
    /// The client passes over interim answers.
    interim: bool,
    /// The client's trace, where the log shows traces.
    trace: Option<Trace>,
    /// What a browser's answer depends on, where a setting says so.
    visit: Option<Box<Visit>>,
}

impl<T: Wire + 'static> Exchange<T> {
    /// The answer is ready to be sent.
    fn finish(&self, counted: Counted, answer: &mut Answer) {
        let service = &self.service;
        let counted = if answer.body().is_endless() { Counted::Watch } else { counted };
        if service.connections.is_stopping() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let (Some(browsers), Some(visit), false) = (&service.browsers, &self.visit, counted == Counted::Peer) {
            let bytes_max = service.limits_given().token_bytes_max;
            browsers.dress(visit, answer, |text| service.mint.decode(text, bytes_max).is_ok());
        }
        if answer.body().is_endless() {
            service.connections.on_watch(&self.connection);
        } else {
            let (bytes, large) = (answer.body().remaining(), answer.body_mut().take_large());
            service.connections.on_answer(&self.connection, bytes, large, service.node.metrics().applied());
        }
        let took = service.node.clock().now().monotonic.since(self.started);
        service.node.metrics().count_request(counted, answer.status(), took);
        if let Some(trace) = &self.trace {
            service.node.traces().end(trace, counted, answer.status(), took, service.node.clock().now());
        }
    }

    /// The replica answers first.
    async fn finish_later(self, counted: Counted, waits: Box<Waits<T>>) -> Answer {
        let mut answer = self.wait(waits).await;
        self.finish(counted, &mut answer);
        answer
    }

    async fn wait(&self, waits: Box<Waits<T>>) -> Answer {
        let (_blocked, wrote) = (self.connection.on_blocked(self.interim), waits.wrote());
        let answer = waits.answer().await;
        let node = &self.service.node;
        node.traces().on_waited(if wrote > 0 { wrote } else { node.own_writes() });
        answer
    }

    /// Reads the body first.
    async fn read(&self, parts: &Parts, body: &mut Incoming) -> Answer {
        let (service, connection) = (&self.service, &self.connection);
        let route = Route::parse(parts.uri.path()).expect("it was read before");
        let bytes_max = service.limits.body_bytes_max;
        let mut answer = match body::read(body, connection, &service.connections, bytes_max).await {
            Ok(body) => match service.answer(&route, parts, body, (service.node.clock().now(), connection)) {
                Ok(answer) => answer,
                Err(waits) => Box::pin(self.wait(waits)).await,
            },
            Err(failure) => failure.answer(),
        };
        self.finish(counted(&route, &parts.method), &mut answer);
        answer
    }
}

impl<T: Wire + 'static> Service<T> {
    /// Answers one request of this connection.
    pub(crate) fn serve(self: &Rc<Self>, request: http::Request<Incoming>, connection: &Rc<Connection>) -> Serving {
        let now = self.node.clock().now();
        let (connection, started) = (connection.clone(), now.monotonic);
        let interim = request.version() == Version::HTTP_11;
        let trace = self.node.traces().read(request.headers());
        let (mut parts, body) = request.into_parts();
        browsers::join_query(&mut parts);
        let visit = self.browsers.as_ref().map(|browsers| Box::new(browsers.visit(&mut parts)));
        let exchange = Exchange { service: self.clone(), connection, started, interim, trace, visit };
        let connection = &exchange.connection;
        connection.on_request();
        let (counted, mut answer) = match self.route(&parts, !body.is_end_stream(), connection) {
            Err(failure) => (Counted::Other, failure.answer()),
            Ok(route) if parts.method == Method::OPTIONS && route.allow().is_some() => {
                (Counted::Other, answer::options(route.allow().unwrap_or_default()))
            }
            Ok(Route::Peer) => {
                let request = http::Request::from_parts(parts, body);
                let answer = answer::of_peer(self.node.transport().accept(request, connection.visitor()));
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    connection.on_upgrade();
                }
                (Counted::Peer, answer)
            }
            Ok(_) if !body.is_end_stream() => {
                let mut body = body;
                return Serving::Later(Box::pin(async move { exchange.read(&parts, &mut body).await }));
            }
            Ok(route) => {
                let counted = counted(&route, &parts.method);
                match self.answer(&route, &parts, Bytes::new(), (now, connection)) {
                    Ok(answer) => (counted, answer),
                    Err(waits) => return Serving::Later(Box::pin(exchange.finish_later(counted, waits))),
                }
            }
        };
        exchange.finish(counted, &mut answer);
        Serving::Answered(Some(answer))
    }

    /// What the head of a request asks for, if that may be asked.
    fn route<'a>(&self, parts: &'a Parts, has_body: bool, connection: &Connection) -> Result<Route<'a>, Failure> {
        let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        if connection.has_fragment(parts.method.as_str(), target) {
            return Err(BadRequest::Fragment.into());
        }
        if parts.method.as_str() == "PRI" {
            return Err(Failure::Http2);
        }
        let route = Route::parse(parts.uri.path())?;
        if route == Route::Up && self.console.is_none() {
            return Err(Failure::UnknownPath);
        }
        if matches!(route, Route::Key(_) | Route::Keys | Route::View) && connection.is_surplus() {
            return Err(Failure::TooManyConnections);
        }
        route.check_method(&parts.method)?;
        if let Some(access) = &self.access {
            let scopes = route.scopes(&parts.method);
            scopes.iter().try_for_each(|&scope| access.check(&parts.headers, scope)).map_err(Failure::Denied)?;
        }
        if has_body {
            check_codings(&parts.headers)?;
        }
        Ok(route)
    }

    fn answer(
        &self,
        route: &Route<'_>,
        parts: &Parts,
        body: Bytes,
        (now, connection): (Now, &Rc<Connection>),
    ) -> Result<Answer, Box<Waits<T>>> {
        Ok(match route {
            Route::Key(key) if watch::is_asked(parts) => self.watch(Some(key), parts, &body, connection),
            Route::Keys if watch::is_asked(parts) => self.watch(None, parts, &body, connection),
            Route::Key(key) => return self.key(key, parts, body, now),
            Route::Keys if parts.method == Method::POST => return self.batch(parts, body, now),
            Route::Keys => return self.list(parts, &body, now),
            Route::View => self.view(&parts.method, &body, now),
            Route::Health => answer::json(StatusCode::OK, Bytes::from_static(b"{\"result\":\"healthy\"}")),
            Route::Ready => self.ready(),
            Route::Metrics => self.metrics(),
            Route::OpenApi => answer::json(StatusCode::OK, Bytes::from_static(OPENAPI)),
            Route::Ui => answer::page(up::page(PAGE, self.console.is_some())),
            Route::Up => up::answer(self.console.as_ref().expect("it was looked for"), parts, &body),
            Route::State => {
                let (status, transport) = (self.node.status(), self.node.transport());
                answer::json(StatusCode::OK, state::show(&status, &transport.outages(), transport.standing()))
            }
            Route::Peer | Route::Server => unreachable!("they were answered before the body was read"),
        })
    }

    fn key(&self, key: &str, parts: &Parts, body: Bytes, now: Now) -> Result<Answer, Box<Waits<T>>> {
        let parsed = match kvs::parse(key, parts, &body, &self.limits, &self.mint) {
            Err(BadRequest::Token(TokenError::TooLong { .. })) => {
                kvs::parse(key, parts, &body, &self.limits_given(), &self.mint)
            }
            parsed => parsed,
        };
        let KeyRequest { request, form } = match parsed {
            Ok(parsed) => parsed,
            Err(bad) => return Ok(Failure::from(bad).answer()),
        };
        drop(body); // a blocked request holds its value, which is counted, and not the body a second time
        if parts.method == Method::GET && parts.uri.query().is_some() {
            match poll::parse(parts) {
                Ok(None) => {}
                Ok(Some(poll)) => match self.pass(&parts.headers) {
                    Ok(pass) => {
                        let (node, asked) = (self.node.clone(), KeyRequest { request, form });
                        return Err(Box::new(Waits::Poll { node, asked, poll, pass }));
                    }
                    Err(denied) => return Ok(denied.answer()),
                },
                Err(bad) => return Ok(Failure::from(bad).answer()),
            }
        }
        let past = request.past.clone();
        self.ask(now, Request::Data(Box::new(request)), past, form)
    }

    fn watch(&self, key: Option<&str>, parts: &Parts, body: &[u8], connection: &Rc<Connection>) -> Answer {
        let parsed = match watch::parse(key, parts, body, &self.limits, &self.mint) {
            Err(BadRequest::Token(TokenError::TooLong { .. })) => {
                watch::parse(key, parts, body, &self.limits_given(), &self.mint)
            }
            parsed => parsed,
        };
        let parsed = parsed.map_err(Failure::from);
        let (watch, pass) = match parsed.and_then(|watch| Ok((watch, self.pass(&parts.headers)?))) {
            Ok(may) => may,
            Err(failure) => return failure.answer(),
        };
        match Watching::begin(&self.node, watch.request.clone(), pass) {
            Ok(watching) => {
                let (connection, heartbeat) = (connection.clone(), self.limits.watch_heartbeat);
                Events::answer(watching, watch, connection, self.connections.clone(), heartbeat)
            }
            Err(refusal) => answer::refused_watch(refusal),
        }
    }

    /// What a client that reads for long has to show all the time, where it has to show something.
    fn pass(&self, headers: &HeaderMap) -> Result<Option<Pass>, Failure> {
        let pass = self.access.as_ref().map(|access| access.pass(headers, Scope::Read));
        pass.transpose().map_err(Failure::Denied)
    }

    fn batch(&self, parts: &Parts, body: Bytes, now: Now) -> Result<Answer, Box<Waits<T>>> {
        let parsed = match batch::parse(parts, &body, &self.limits, &self.mint) {
            Err(Failure::Bad(BadRequest::Token(TokenError::TooLong { .. }))) => {
                batch::parse(parts, &body, &self.limits_given(), &self.mint)
            }
            parsed => parsed,
        };
        let Batch { request, form } = match parsed {
            Ok(parsed) => parsed,
            Err(failure) => return Ok(failure.answer()),
        };
        drop(body);
        let past = request.past.clone();
        self.ask(now, Request::Batch(Box::new(request)), past, form)
    }

    fn list(&self, parts: &Parts, body: &[u8], now: Now) -> Result<Answer, Box<Waits<T>>> {
        let parsed = match list::parse(parts, body, &self.limits, &self.mint) {
            Err(BadRequest::Token(TokenError::TooLong { .. })) => {
                list::parse(parts, body, &self.limits_given(), &self.mint)
            }
            parsed => parsed,
        };
        let List { request, form } = match parsed {
            Ok(parsed) => parsed,
            Err(bad) => return Ok(Failure::from(bad).answer()),
        };
        let past = request.past.clone();
        self.ask(now, Request::List(Box::new(request)), past, form)
    }

    /// The limits, with room for what this replica handed out. It takes that back, be the cluster larger than the limit
    /// was made for.
    fn limits_given(&self) -> Limits {
        let token_bytes_max = self.mint.bytes_of(self.node.token_entries_given()).max(self.limits.token_bytes_max);
        Limits { token_bytes_max, ..self.limits.clone() }
    }

    fn ask(&self, now: Now, request: Request, past: VersionVector, form: Form) -> Result<Answer, Box<Waits<T>>> {
        match self.node.ask(now, request) {
            Asked::Answered(reply) => Ok(answer::data(*reply, || past, &form)),
            Asked::Blocked(reply) => {
                let wrote = self.node.traces().wrote();
                Err(Box::new(Waits::Blocked { reply, past, form, wrote }))
            }
        }
    }

    fn view(&self, method: &Method, body: &[u8], now: Now) -> Answer {
        let (request, unusable) = if *method == Method::GET || *method == Method::HEAD {
            (Request::View, None)
        } else {
            match json::parse_view(body, self.limits.nesting_max) {
                Ok(address) if *method == Method::PUT => {
                    if let Some(why) = address.unusable() {
                        return Failure::from(BadRequest::Unusable(address, why)).answer();
                    }
                    advice::on_added(self.node.address(), &address);
                    (Request::ViewAdd(address), None)
                }
                Ok(address) => {
                    let unusable = address.unusable().map(|why| BadRequest::Unusable(address.clone(), why));
                    (Request::ViewRemove(address), unusable)
                }
                Err(bad) => return Failure::from(bad).answer(),
            }
        };
        match self.node.ask(now, request) {
            // A row that a replica of an earlier version brought can still be removed.
            Asked::Answered(reply) => match unusable.filter(|_| matches!(*reply, Reply::ViewUnknown)) {
                Some(bad) => Failure::from(bad).answer(),
                None => answer::view(*reply),
            },
            // The core answers these at once; dropping the wait takes the question back.
            Asked::Blocked(_) => answer::view(Reply::Refused(Refusal::NotReady)),
        }
    }

    fn ready(&self) -> Answer {
        let standing = self.node.transport().standing();
        let Some(text) = ready::why_not(&self.node.readiness(), standing) else {
            return answer::json(StatusCode::OK, Bytes::from_static(ready::body(standing)));
        };
        let mut answer = answer::json(StatusCode::SERVICE_UNAVAILABLE, answer::error_body(&text));
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    }
}

fn counted(route: &Route<'_>, method: &Method) -> Counted {
    match route {
        Route::Key(_) if *method == Method::GET => Counted::Get,
        Route::Key(_) if *method == Method::PUT => Counted::Put,
        Route::Key(_) if *method == Method::HEAD => Counted::Head,
        Route::Key(_) => Counted::Delete,
        Route::Keys if *method == Method::POST => Counted::Batch,
        Route::Keys => Counted::List,
        Route::View => Counted::View,
        Route::Health | Route::Ready | Route::Metrics | Route::State | Route::OpenApi | Route::Ui | Route::Up => {
            Counted::Diagnostics
        }
        Route::Peer => Counted::Peer,
        Route::Server => Counted::Other,
    }
}

/// Is the body sent as it is, in chunks at most? Nothing here decodes, and to take an encoded body for JSON would name
/// the wrong mistake.
fn check_codings(headers: &HeaderMap) -> Result<(), Failure> {
    if !headers.keys().any(|name| *name == TRANSFER_ENCODING || *name == CONTENT_ENCODING) {
        return Ok(());
    }
    let codings = |name| {
        let codings = lines(headers, name).flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty())
    };
    let mut transfer = codings(&TRANSFER_ENCODING);
    let chunked = transfer.next().is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if !chunked || transfer.next().is_some() {
        return Err(Failure::TransferCoding);
    }
    let identity = codings(&CONTENT_ENCODING).all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    if identity { Ok(()) } else { Err(Failure::ContentCoding) }
}

/// The lines of one header. A walk over the few headers that a request has costs less than to hash a name. Hashing took
/// 4 % of a read for the four headers that it may have.
fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a HeaderValue> {
    headers.iter().filter(move |(own, _)| *own == name).map(|(_, line)| line)
}
