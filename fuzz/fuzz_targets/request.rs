//! Bodies of requests to a replica in this process, over its socket: nothing panics, and each request is answered.
//!
//! The first byte chooses the request, the second what stands around the rest of the bytes: no fuzzer guesses the names of
//! fields. A replica that is not reached in time, an answer that is no JSON and a status of 500 are failures.

#![no_main]

use hence_core::Address;
use hence_server::{Server, Settings};
use serde::de::IgnoredAny;
use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const REQUESTS: [(&str, &str); 6] = [
    ("PUT /kvs/x", ""),
    ("GET /kvs/x", ""),
    ("DELETE /kvs/x", ""),
    ("POST /kvs", ""),
    ("GET /kvs?limit=10", ""),
    ("GET /kvs", "Accept: text/event-stream\r\n"),
];

const AROUND: [(&str, &str); 6] = [
    ("", ""),
    ("{\"value\":", "}"),
    ("{\"value\":1,\"causal-metadata\":", "}"),
    ("{\"operations\":[", "]}"),
    ("{\"operations\":[{\"op\":\"put\",\"value\":1,\"key\":\"y\",", "}]}"),
    ("{\"operations\":[{\"op\":\"get\",\"key\":", "}]}"),
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Where a replica is that ends with this process.
static REPLICA: LazyLock<SocketAddr> = LazyLock::new(|| {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut settings = Settings::at(Address::parse(&format!("127.0.0.1:{port}")).expect("an address"));
    settings.memory_max = Some(256 << 20);
    let replica = Server::start(settings).expect("it starts");
    let address = replica.local_address();
    std::mem::forget(replica);
    let begun = Instant::now();
    while !matches!(ask(address, "GET /ready", "", b""), Ok(200)) {
        assert!(begun.elapsed() < PATIENCE, "it is not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    address
});

thread_local! {
    static CONNECTION: RefCell<Option<TcpStream>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [which, around, rest @ ..] = bytes else { return };
    let (request, header) = REQUESTS[usize::from(*which) % REQUESTS.len()];
    let (before, after) = AROUND[usize::from(*around) % AROUND.len()];
    let body = [before.as_bytes(), rest, after.as_bytes()].concat();
    let address = *REPLICA;
    // A connection that was idle for long may have ended meanwhile.
    let status = ask(address, request, header, &body).or_else(|_| ask(address, request, header, &body));
    let status = status.unwrap_or_else(|error| panic!("{request}: {error}"));
    // What is full or not here yet has 503.
    assert!((200..500).contains(&status) || status == 503, "{request}: {status}");
});

/// Sends a request on the connection that is there, or on a new one. Gives the status.
fn ask(address: SocketAddr, request: &str, header: &str, body: &[u8]) -> io::Result<u16> {
    CONNECTION.with_borrow_mut(|kept| {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream
            }
        };
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\n{header}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let (status, goes_on) = answer(&mut stream)?;
        *kept = goes_on.then_some(stream);
        Ok(status)
    })
}

/// The status of an answer, and whether its connection takes another request.
fn answer(stream: &mut TcpStream) -> io::Result<(u16, bool)> {
    let mut read = Vec::new();
    let mut more = |read: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes)?;
        read.extend_from_slice(&bytes[..count]);
        if count > 0 { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    };
    let end = loop {
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        more(&mut read)?;
    };
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    if field("content-type") == Some("text/event-stream") {
        return Ok((status, false));
    }
    let length = field("content-length").map_or(0, |length| length.parse().expect("a length"));
    while read.len() < end + length {
        more(&mut read)?;
    }
    assert_eq!(read.len(), end + length, "more than one answer");
    let body = &read[end..];
    assert!(body.is_empty() || serde_json::from_slice::<IgnoredAny>(body).is_ok(), "{}", String::from_utf8_lossy(body));
    Ok((status, field("connection") != Some("close")))
}
