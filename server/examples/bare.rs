//! The yardstick: hyper on one thread, a hash map, and nothing else.
//!
//! It parses the same requests, answers `GET` and `PUT /kvs/<key>` with the same headers and bytes as a
//! replica, and replicates nothing, limits nothing, counts nothing. What `hence serve` loses against it is
//! the price of the rest. Run both pinned to one core and drive them from another:
//!
//! ```text
//! cargo build --release --example bare -p hence-server
//! taskset -c 0 target/release/examples/bare 127.0.0.1:9999 &
//! taskset -c 1 wrk -t1 -c32 -d5 http://127.0.0.1:9999/kvs/x
//! ```

use bytes::Bytes;
use hence_core::{ClusterTag, Dot, Incarnation, Key, Token, Value, VersionVector};
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::rc::Rc;

const ME: Incarnation = Incarnation(0x0000_01ab_592b_8bd8);

#[derive(Default)]
struct Store {
    keys: HashMap<Key, (Value, Dot)>,
    counter: u64,
}

#[derive(Deserialize, Default)]
struct Fields<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow, rename = "causal-metadata")]
    metadata: Option<Cow<'a, str>>,
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9999".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(address))
}

async fn serve(address: String) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let store = Rc::new(RefCell::new(Store::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let store = store.clone();
        let service = service_fn(move |request| answer(store.clone(), request));
        tokio::task::spawn_local(async move {
            // A client that goes away is no news.
            let _ =
                http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(store: Rc<RefCell<Store>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
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
    let past = match fields.metadata.as_deref() {
        None | Some("") => VersionVector::new(),
        Some(text) => match Token::decode(text, cluster, 8 << 10) {
            Ok(Token(past)) => past,
            Err(_) => return Ok(error(StatusCode::BAD_REQUEST, "{\"error\":\"causal-metadata\"}")),
        },
    };
    let mut store = store.borrow_mut();
    Ok(match (parts.method, fields.value) {
        (Method::PUT, Some(value)) => put(&mut store, key, value.get(), past, cluster),
        _ => get(&store, &key, past, cluster),
    })
}

fn put(store: &mut Store, key: Key, value: &str, past: VersionVector, cluster: ClusterTag) -> Response<Full<Bytes>> {
    store.counter += 1;
    let dot = Dot { incarnation: ME, counter: store.counter };
    let old = store.keys.insert(key, (Value::new(value.as_bytes()), dot));
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
