//! A small HTTP server on 127.0.0.1 for the one user that started it.
//!
//! It is a package of its own, so that the simulator itself reaches no runtime. Every path begins with a random token, and
//! the `Host` must be its own address. So neither another user's program nor a page of another origin can call it. Requests
//! are answered one after another.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body has so many bytes at most. A longer one is refused with 413.
pub const BODY_MAX: usize = 16 << 10;

/// So many connections at once. A further one waits in the backlog of the system.
const CONNECTIONS_MAX: usize = 32;

/// A request of one that knows the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method, in capital letters.
    pub method: String,
    /// What follows the token and its slash.
    pub path: String,
    /// What follows the question mark; may be empty.
    pub query: String,
    /// The body, of at most [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

struct Service<F> {
    token: String,
    address: SocketAddr,
    answer: RefCell<F>,
}

/// Serves on a port of 127.0.0.1, 0 for any, until Ctrl-C. `begun` gets the address once it listens.
///
/// # Errors
/// If there is no random token, no such port, or no runtime.
pub fn serve(port: u16, begun: impl FnOnce(&str), answer: impl FnMut(&Asked) -> Answer + 'static) -> io::Result<()> {
    let mut drawn = [0; 16];
    getrandom::fill(&mut drawn).map_err(io::Error::other)?;
    let token: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        begun(&format!("http://{address}/{token}/"));
        let service = Rc::new(Service { token, address, answer: RefCell::new(answer) });
        let local = tokio::task::LocalSet::new();
        tokio::select! {
            () = local.run_until(accept(listener, service)) => Ok(()),
            ended = tokio::signal::ctrl_c() => ended,
        }
    })
}

async fn accept<F: FnMut(&Asked) -> Answer + 'static>(listener: TcpListener, service: Rc<Service<F>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = room.clone().acquire_owned().await {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(connection(stream, service.clone(), permit));
        }
    }
}

async fn connection<F: FnMut(&Asked) -> Answer + 'static>(
    stream: TcpStream,
    service: Rc<Service<F>>,
    permit: OwnedSemaphorePermit,
) {
    let handler = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.on_request(request).await) }
    });
    // A client that goes away is no failure of the server.
    _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), handler).await;
    drop(permit);
}

fn refused(status: u16, text: &str) -> Answer {
    Answer { status, kind: "application/json", body: format!("{{\"error\":\"{text}\"}}") }
}

impl<F: FnMut(&Asked) -> Answer> Service<F> {
    async fn on_request(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match self.asked(request).await {
            Ok(asked) => (self.answer.borrow_mut())(&asked),
            Err(answer) => answer,
        };
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn asked(&self, request: Request<Incoming>) -> Result<Asked, Answer> {
        // A page of another origin may have its own name lead to this address. Then it sends that name.
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_ours = host == self.address.to_string() || host == format!("localhost:{}", self.address.port());
        let path = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(self.token.as_str()));
        let Some(path) = path.and_then(|path| path.strip_prefix('/')).filter(|_| is_ours) else {
            return Err(refused(403, "the address has no valid token"));
        };
        let (method, path) = (request.method().as_str().to_owned(), path.to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        match Limited::new(request.into_body(), BODY_MAX).collect().await {
            Ok(body) => Ok(Asked { method, path, query, body: body.to_bytes().to_vec() }),
            Err(_) => Err(refused(413, "the body is longer than 16 KiB, or did not come whole")),
        }
    }
}
