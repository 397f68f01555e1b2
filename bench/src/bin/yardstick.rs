//! The yardstick: hyper on one thread, a hash map, and nothing else.
//!
//! It parses the same requests, answers `GET` and `PUT /kvs/<key>` with the same headers and bytes as a
//! replica, and limits nothing and counts nothing. What `hence serve` loses against it is the price of the rest.
//!
//! With `--copy-to` it also sends every write to others that listen with `--copies-at`: no causality, no
//! acknowledgements, no second try, no way to catch up. That is the least that any replication costs.

use bytes::Bytes;
use clap::Parser;
use hence_core::{ClusterTag, Dot, Incarnation, Key, Token, Value, VersionVector};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, VARY};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const OWN: Incarnation = Incarnation(0x0000_01ab_592b_8bd8);

/// A server that does the least.
#[derive(Parser)]
struct Arguments {
    /// Where clients connect.
    address: SocketAddr,
    /// Worker threads; with one the runtime is tokio's single-threaded one.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Send every write there.
    #[arg(long)]
    copy_to: Vec<SocketAddr>,
    /// Take writes of others there.
    #[arg(long)]
    copies_at: Option<SocketAddr>,
}

#[derive(Default)]
struct Store {
    keys: HashMap<Key, (Value, Dot)>,
    counter: u64,
    followers: Vec<Arc<Follower>>,
}

/// What waits to be sent to a follower.
#[derive(Default)]
struct Follower {
    bytes: Mutex<Vec<u8>>,
    wake: Notify,
}

#[derive(Deserialize, Default)]
struct Fields<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow, rename = "causal-metadata")]
    metadata: Option<Cow<'a, str>>,
}

/// No thread panics while holding a lock here, so a poisoned one is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut builder = match arguments.workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(arguments.workers).enable_all().build()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let store = Arc::new(Mutex::new(Store::default()));
    if let Some(address) = arguments.copies_at {
        tokio::spawn(take_copies(TcpListener::bind(address).await?, store.clone()));
    }
    for address in arguments.copy_to {
        let follower = Arc::new(Follower::default());
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        tokio::spawn(send_copies(stream, follower.clone()));
        lock(&store).followers.push(follower);
    }
    let listener = TcpListener::bind(arguments.address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let store = store.clone();
        let service = service_fn(move |request| answer(store.clone(), request));
        tokio::spawn(async move {
            // A client that goes away is no news.
            let _ =
                http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn send_copies(mut stream: TcpStream, follower: Arc<Follower>) {
    loop {
        follower.wake.notified().await;
        let bytes = std::mem::take(&mut *lock(&follower.bytes));
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// A copy: lengths of key and value (4 bytes each), counter (8), key, value.
fn copy(key: &Key, value: &Value, counter: u64, into: &mut Vec<u8>) {
    let (key, value) = (key.as_str().as_bytes(), value.as_bytes());
    into.extend_from_slice(&(key.len() as u32).to_be_bytes());
    into.extend_from_slice(&(value.len() as u32).to_be_bytes());
    into.extend_from_slice(&counter.to_be_bytes());
    into.extend_from_slice(key);
    into.extend_from_slice(value);
}

async fn take_copies(listener: TcpListener, store: Arc<Mutex<Store>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let store = store.clone();
        tokio::spawn(async move {
            let mut bytes = Vec::with_capacity(64 << 10);
            while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                let taken = take(&bytes, &mut lock(&store));
                bytes.drain(..taken);
            }
        });
    }
}

/// Takes all whole copies in and says how many bytes they were.
fn take(bytes: &[u8], store: &mut Store) -> usize {
    let mut rest = bytes;
    while let Some((head, data)) = rest.split_first_chunk::<16>() {
        let number = |range: std::ops::Range<usize>| head[range].iter().fold(0_u64, |n, &b| n << 8 | u64::from(b));
        let (key, value) = (number(0..4) as usize, number(4..8) as usize);
        let Some((data, after)) = data.split_at_checked(key + value) else { break };
        let (key, value) = data.split_at(key);
        if let Ok(key) = Key::new(&String::from_utf8_lossy(key)) {
            let dot = Dot { incarnation: OWN, counter: number(8..16) };
            store.keys.insert(key, (Value::new(value), dot));
        }
        rest = after;
    }
    bytes.len() - rest.len()
}

async fn answer(store: Arc<Mutex<Store>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        body.collect().await.map(|body| body.to_bytes()).unwrap_or_default()
    };
    let Some(Ok(key)) = parts.uri.path().strip_prefix("/kvs/").map(Key::new) else {
        return Ok(error(StatusCode::NOT_FOUND, "{\"error\":\"No such path\"}"));
    };
    let fields = if body.is_empty() { Ok(Fields::default()) } else { serde_json::from_slice::<Fields<'_>>(&body) };
    let Ok(fields) = fields else { return Ok(error(StatusCode::BAD_REQUEST, "{\"error\":\"body\"}")) };
    let cluster = ClusterTag::of("hence");
    let header = parts.headers.get("causal-metadata").and_then(|value| value.to_str().ok());
    let past = match fields.metadata.as_deref().or(header) {
        None | Some("") => VersionVector::new(),
        Some(text) => match Token::decode(text, cluster, 8 << 10) {
            Ok(Token(past)) => past,
            Err(_) => return Ok(error(StatusCode::BAD_REQUEST, "{\"error\":\"causal-metadata\"}")),
        },
    };
    let mut store = lock(&store);
    Ok(match (parts.method, fields.value) {
        (Method::PUT, Some(value)) => put(&mut store, key, value.get(), past, cluster),
        _ => get(&store, &key, past, cluster),
    })
}

fn put(store: &mut Store, key: Key, value: &str, past: VersionVector, cluster: ClusterTag) -> Response<Full<Bytes>> {
    store.counter += 1;
    let dot = Dot { incarnation: OWN, counter: store.counter };
    let value = Value::new(value.as_bytes());
    for follower in &store.followers {
        copy(&key, &value, dot.counter, &mut lock(&follower.bytes));
        follower.wake.notify_one();
    }
    let old = store.keys.insert(key, (value, dot));
    let token = token(past, dot, cluster);
    let (status, result) = if old.is_some() { (StatusCode::OK, "replaced") } else { (StatusCode::CREATED, "created") };
    let body = format!("{{\"result\":\"{result}\",\"causal-metadata\":\"{token}\"}}");
    let mut response = json(status, body.into(), &token, dot);
    let superseded = old.map_or_else(|| "\"\"".to_owned(), |(_, dot)| format!("\"{dot}\""));
    response.headers_mut().insert("causal-superseded", text(superseded));
    response
}

fn get(store: &Store, key: &Key, past: VersionVector, cluster: ClusterTag) -> Response<Full<Bytes>> {
    let Some((value, dot)) = store.keys.get(key) else {
        return error(StatusCode::NOT_FOUND, "{\"error\":\"Key does not exist\"}");
    };
    let token = token(past, *dot, cluster);
    let mut body = Vec::with_capacity(64 + value.as_bytes().len() + token.len());
    body.extend_from_slice(b"{\"result\":\"found\",\"value\":");
    body.extend_from_slice(value.as_bytes());
    body.extend_from_slice(b",\"causal-metadata\":\"");
    body.extend_from_slice(token.as_bytes());
    body.extend_from_slice(b"\"}");
    json(StatusCode::OK, body.into(), &token, *dot)
}

fn token(mut past: VersionVector, dot: Dot, cluster: ClusterTag) -> String {
    past.join_dot(dot);
    Token(past).encode(cluster)
}

fn json(status: StatusCode, body: Bytes, token: &str, dot: Dot) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("causal-metadata", text(token.to_owned()));
    headers.insert(ETAG, text(format!("\"{dot}\"")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("causal-metadata, prefer"));
    response
}

fn error(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("hexadecimal digits and URL-safe text are legal in a header")
}
