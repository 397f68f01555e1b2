//! A plain blocking HTTP/1.1 client: a socket, a request, a response. It comes from 127.0.0.1, so no cut between
//! replicas touches it, and every wait has an end.

use crate::https;
use rustls::ClientConnection;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer may take, waiting reads excepted.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const HEAD_MAX: usize = 1 << 20;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("every body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The client's causal past after this answer.
    pub fn token(&self) -> String {
        let header = self.header("causal-metadata").map(str::to_owned);
        header.unwrap_or_else(|| self.json()["causal-metadata"].as_str().expect("an answer with metadata").to_owned())
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoResponse {
    /// No process accepts there.
    Refused(String),
    /// The connection ended before a whole response.
    Closed(Vec<u8>),
    /// It was silent for too long.
    TimedOut,
}

/// A connection to a replica.
pub struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `IP:PORT`, within TLS if [`https::speak`] said so.
    pub fn open(address: &str) -> Result<Self, NoResponse> {
        let to: SocketAddr = address.parse().expect("tests name addresses");
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5));
        let stream = stream.map_err(|error| NoResponse::Refused(error.to_string()))?;
        stream.set_nodelay(true).expect("a fresh socket");
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("not zero");
        stream.set_write_timeout(Some(ANSWER_MAX)).expect("not zero");
        Ok(Self { stream, tls: https::begin(address), buffer: Vec::new() })
    }

    /// How long to wait for bytes.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.stream.set_read_timeout(Some(timeout)).expect("not zero");
        self
    }

    /// Sends raw bytes. A peer that closed while we still send is no error here: what it answered counts.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write_all(bytes),
            None => self.stream.write_all(bytes),
        };
        self
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// The certificate that the other side showed.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.tls.as_ref()?.peer_certificates()?.first().map(|certificate| certificate.to_vec())
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads one response; `head_only` for answers to HEAD.
    pub fn receive(&mut self, head_only: bool) -> Result<Response, NoResponse> {
        let mut response = self.receive_head()?;
        let bodiless = head_only || matches!(response.status, 304 | 204 | 101);
        if !bodiless {
            response.body = self.receive_body(&response)?;
        }
        Ok(response)
    }

    /// Reads a response up to its body.
    pub fn receive_head(&mut self) -> Result<Response, NoResponse> {
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(self.buffer.len() < HEAD_MAX, "a head without end");
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        self.buffer.drain(..head_end + 4);
        let (status, headers) = parse_head(&head);
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Reads so many bytes.
    pub fn receive_exactly(&mut self, length: usize) -> Result<Vec<u8>, NoResponse> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn receive_body(&mut self, response: &Response) -> Result<Vec<u8>, NoResponse> {
        if let Some(length) = response.header("content-length") {
            return self.receive_exactly(length.parse().expect("a length"));
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.receive_chunks();
        }
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(NoResponse::Closed(_)) => return Ok(std::mem::take(&mut self.buffer)),
                Err(other) => return Err(other),
            }
        }
    }

    fn receive_chunks(&mut self) -> Result<Vec<u8>, NoResponse> {
        let mut body = Vec::new();
        loop {
            let chunk = self.receive_chunk()?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// Reads the next chunk of a body that comes in chunks; an empty one is the end.
    pub fn receive_chunk(&mut self) -> Result<Vec<u8>, NoResponse> {
        let line_end = loop {
            match find(&self.buffer, b"\r\n") {
                Some(at) => break at,
                None => self.fill()?,
            }
        };
        let line = String::from_utf8_lossy(&self.buffer[..line_end]).into_owned();
        let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
        while self.buffer.len() < line_end + 4 + length {
            self.fill()?;
        }
        let chunk = self.buffer[line_end + 2..line_end + 2 + length].to_vec();
        self.buffer.drain(..line_end + 4 + length);
        Ok(chunk)
    }

    fn fill(&mut self) -> Result<(), NoResponse> {
        let mut bytes = [0; 16 << 10];
        let read = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut bytes),
            None => self.stream.read(&mut bytes),
        };
        match read {
            Ok(0) => Err(NoResponse::Closed(std::mem::take(&mut self.buffer))),
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(NoResponse::TimedOut)
            }
            Err(_) => Err(NoResponse::Closed(std::mem::take(&mut self.buffer))),
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let field =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    (status.unwrap_or_else(|| panic!("no status in {head:?}")), lines.filter_map(field).collect())
}

/// One request as text.
pub fn request_bytes(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: hence\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or(""));
    text.into_bytes()
}

/// One request on a connection of its own.
pub fn try_request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
    timeout: Duration,
) -> Result<Response, NoResponse> {
    let mut connection = Connection::open(address)?;
    connection.timeout(timeout).send(&request_bytes(method, path, headers, body));
    connection.receive(method == "HEAD")
}

/// One request that must be answered.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Response {
    try_request(address, method, path, headers, body, ANSWER_MAX)
        .unwrap_or_else(|error| panic!("{method} {path} at {address}: {error:?}"))
}

fn quoted(token: Option<&str>) -> String {
    token.map_or_else(|| "null".to_owned(), |token| format!("\"{token}\""))
}

/// PUT of a JSON value.
pub fn put(address: &str, key: &str, value: &str, token: Option<&str>) -> Response {
    let body = format!("{{\"value\":{value},\"causal-metadata\":{}}}", quoted(token));
    request(address, "PUT", &format!("/kvs/{key}"), &[], Some(&body))
}

/// GET with metadata in the body, as contract clients do.
pub fn get(address: &str, key: &str, token: Option<&str>) -> Response {
    try_get(address, key, token).unwrap_or_else(|error| panic!("GET /kvs/{key} at {address}: {error:?}"))
}

/// The same, where perhaps no answer comes.
pub fn try_get(address: &str, key: &str, token: Option<&str>) -> Result<Response, NoResponse> {
    let body = format!("{{\"causal-metadata\":{}}}", quoted(token));
    try_request(address, "GET", &format!("/kvs/{key}"), &[], Some(&body), ANSWER_MAX)
}

/// DELETE with metadata in the body.
pub fn delete(address: &str, key: &str, token: Option<&str>) -> Response {
    let body = format!("{{\"causal-metadata\":{}}}", quoted(token));
    request(address, "DELETE", &format!("/kvs/{key}"), &[], Some(&body))
}
