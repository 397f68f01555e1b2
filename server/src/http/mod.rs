//! The HTTP service of one replica: from a request to its answer.
//!
//! Handlers run on the replica's thread and call it directly. The order of checks is the contract's: path,
//! method, size, then what each route checks. Whatever is wrong is answered in JSON.

mod answer;
mod body;
mod etag;
mod failure;
mod json;
mod kvs;
mod prefer;
mod route;
mod state;

pub(crate) use answer::Answer;

use crate::connections::{Connection, Connections};
use crate::exposition::{Exposition, Kind};
use crate::metrics::{Counted, expose_status};
use crate::node::{Asked, Node};
use crate::settings::Limits;
use crate::wire::{self, Wire};
use bytes::Bytes;
use failure::Failure;
use hence_core::{ClusterTag, Refusal, Reply, Request};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use route::Route;
use std::rc::Rc;
use std::time::Instant;

/// What every handler of one replica shares.
pub(crate) struct Service<T> {
    /// The replica.
    pub(crate) node: Rc<Node<T>>,
    /// All connections.
    pub(crate) connections: Rc<Connections>,
    /// What clients may do.
    pub(crate) limits: Limits,
    /// Whose tokens are taken.
    pub(crate) cluster: ClusterTag,
}

impl<T: Wire> Service<T> {
    /// Answers one request of this connection.
    pub(crate) async fn serve(&self, request: http::Request<Incoming>, connection: &Connection) -> Answer {
        let started = Instant::now();
        connection.on_request();
        let (counted, mut answer) = self.dispatch(request, connection).await;
        if self.connections.is_stopping() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        connection.on_answer(answer.body().remaining());
        self.node.metrics().count_request(counted, answer.status(), started.elapsed());
        answer
    }

    async fn dispatch(&self, request: http::Request<Incoming>, connection: &Connection) -> (Counted, Answer) {
        let (parts, mut body) = request.into_parts();
        let route = match Route::parse(parts.uri.path()) {
            Ok(Route::Peer) => {
                let request = http::Request::from_parts(parts, body);
                return (Counted::Peer, self.node.transport().accept(request));
            }
            Ok(Route::Key(_) | Route::View) if connection.is_surplus() => {
                return (Counted::Other, Failure::TooManyConnections.answer());
            }
            Ok(route) => route,
            Err(failure) => return (Counted::Other, failure.answer()),
        };
        if let Err(failure) = route.check_method(&parts.method) {
            return (Counted::Other, failure.answer());
        }
        let counted = counted(&route, &parts.method);
        let answer = match body::read(&mut body, connection, &self.connections, self.limits.body_bytes_max).await {
            Ok(body) => self.answer(&route, &parts, body).await,
            Err(failure) => failure.answer(),
        };
        (counted, answer)
    }

    async fn answer(&self, route: &Route<'_>, parts: &Parts, body: Bytes) -> Answer {
        match route {
            Route::Key(key) => self.key(key, parts, body).await,
            Route::View => self.view(&parts.method, &body),
            Route::Health => answer::json(StatusCode::OK, Bytes::from_static(b"{\"result\":\"healthy\"}")),
            Route::Ready => self.ready(),
            Route::Metrics => self.metrics(),
            Route::State => answer::json(StatusCode::OK, state::show(&self.node.status())),
            Route::Peer => unreachable!("peers were passed on before the body was read"),
        }
    }

    async fn key(&self, key: &str, parts: &Parts, body: Bytes) -> Answer {
        let parsed = match kvs::parse(key, parts, &body, &self.limits, self.cluster) {
            Ok(parsed) => parsed,
            Err(bad) => return Failure::from(bad).answer(),
        };
        drop(body); // a waiting request holds its value, which is counted, and not the body a second time
        let past = parsed.request.past.clone();
        let reply = match self.node.ask(Request::Data(Box::new(parsed.request))) {
            Asked::Answered(reply) => reply,
            Asked::Waiting(waiting) => waiting.await,
        };
        answer::data(reply, || past, parsed.form)
    }

    fn view(&self, method: &Method, body: &[u8]) -> Answer {
        let request = if *method == Method::GET {
            Request::View
        } else {
            match json::parse_view(body, self.limits.nesting_max) {
                Ok(address) if *method == Method::PUT => Request::ViewAdd(address),
                Ok(address) => Request::ViewRemove(address),
                Err(bad) => return Failure::from(bad).answer(),
            }
        };
        match self.node.ask(request) {
            Asked::Answered(reply) => answer::view(reply),
            // The core answers these at once; dropping the wait takes the question back.
            Asked::Waiting(_) => answer::view(Reply::Refused(Refusal::NotReady)),
        }
    }

    fn ready(&self) -> Answer {
        if self.node.is_ready() {
            return answer::json(StatusCode::OK, Bytes::from_static(b"{\"result\":\"ready\"}"));
        }
        let text = Refusal::NotReady.to_string();
        let mut answer = answer::json(StatusCode::SERVICE_UNAVAILABLE, answer::error_body(&text));
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    }

    fn metrics(&self) -> Answer {
        let mut page = Exposition::default();
        expose_status(&self.node.status(), self.cluster, &mut page);
        self.node.metrics().expose(&mut page);
        wire::expose(&self.node.transport().counters(), &mut page);
        page.gauge("hence_connections", "Client connections that are open.", self.connections.len() as u64);
        page.family("hence_uptime_seconds", Kind::Gauge, "Time since this replica started.");
        let uptime = u64::try_from(self.node.clock().elapsed().as_micros()).unwrap_or(u64::MAX);
        page.seconds("hence_uptime_seconds", "", &[], uptime);
        let mut answer = Answer::new(page.finish().into_bytes().into());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Exposition::CONTENT_TYPE));
        answer
    }
}

fn counted(route: &Route<'_>, method: &Method) -> Counted {
    match route {
        Route::Key(_) if *method == Method::GET => Counted::Get,
        Route::Key(_) if *method == Method::PUT => Counted::Put,
        Route::Key(_) => Counted::Delete,
        Route::View => Counted::View,
        Route::Health | Route::Ready | Route::Metrics | Route::State => Counted::Diagnostics,
        Route::Peer => Counted::Peer,
    }
}
