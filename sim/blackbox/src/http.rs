//! A blocking HTTP/1.1 client on one socket, for `torture` and `contract`: a request costs one write and, as a rule,
//! one read. It keeps connections open and takes bodies with any method. It tells apart what the history must tell
//! apart: a request that never left, and one whose answer is missing.
//!
//! `httparse` reads heads. A whole client library cost 22 to 26 us of CPU for each request (ureq 3, loopback), where
//! this costs 4. All that a request may cost with its record is 25 us.

mod events;

use crate::console::clock;
use crate::credentials::{Shown, Stream};
use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

pub(crate) use events::{Event, Events, Look};

/// The largest answer, head included; a longer one is an answer that is missing.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const HEADERS_MAX: usize = 64;

/// Where a replica is, and what it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `HOST:PORT`, as in the URL.
    pub(crate) address: String,
    /// What stands before every path; mostly nothing.
    pub(crate) prefix: String,
    socket: SocketAddr,
    https: bool,
    shown: Shown,
}

impl Target {
    /// Reads `http://HOST[:PORT][/PREFIX]` and looks the host up, once.
    #[cfg(test)]
    pub(crate) fn named(url: &str) -> Result<Self, String> {
        Self::shown(url, &Shown::default())
    }

    /// Reads `http://HOST[:PORT][/PREFIX]`, or the same with https, and looks the host up, once.
    pub(crate) fn shown(url: &str, shown: &Shown) -> Result<Self, String> {
        let (rest, https) = match url.strip_prefix("https://") {
            Some(rest) => (rest, true),
            None => (url.strip_prefix("http://").unwrap_or(url), false),
        };
        if rest.contains("://") {
            return Err(format!("\"{url}\": only http:// and https:// are spoken here"));
        }
        if https && !shown.has_authorities() {
            return Err(format!("\"{url}\": https needs --ca, the file of the authorities to trust"));
        }
        let (address, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if https { 443 } else { 80 };
        let address = if has_port { address.to_owned() } else { format!("{address}:{port}") };
        let found = address.to_socket_addrs().map_err(|error| format!("\"{url}\": {error}"))?.next();
        let socket = found.ok_or_else(|| format!("\"{url}\": the name has no address"))?;
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Self { address, prefix, socket, https, shown: shown.clone() })
    }

    /// The host alone.
    pub(crate) fn host(&self) -> &str {
        self.address.rsplit_once(':').map_or(&self.address, |(host, _)| host)
    }

    /// The port alone.
    pub(crate) fn port(&self) -> &str {
        self.address.rsplit_once(':').map_or("80", |(_, port)| port)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The request never left: no process accepted the connection.
    NotSent(String),
    /// The connection ended, or what came is no HTTP answer. The request may have been carried out.
    Lost(String),
    /// No whole answer came in time. The request may have been carried out.
    TimedOut(Duration),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "no connection: {why}"),
            Self::Lost(why) => write!(f, "the answer is missing: {why}"),
            Self::TimedOut(limit) => write!(f, "no answer within {} ms", limit.as_millis()),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    headers: Vec<(&'a str, &'a [u8])>,
    pub(crate) body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The first header of this name that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok()).map(str::trim)
    }
}

impl Answer<'_> {
    /// All headers that are text.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let text =
            |&(name, value): &(&str, &[u8])| Some((name.to_owned(), std::str::from_utf8(value).ok()?.trim().into()));
        self.headers.iter().filter_map(text).collect()
    }
}

/// What a head says about the body behind it.
#[derive(Debug, Clone, Copy)]
struct Head {
    bytes: usize,
    status: u16,
    length: Length,
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    ToTheEnd,
}

/// A connection to one target, opened when it is needed and kept.
#[derive(Debug)]
pub(crate) struct Connection {
    target: Target,
    patience: Duration,
    stream: Option<Stream>,
    inbox: Vec<u8>,
    /// How much of the inbox came.
    filled: usize,
    /// The body of a chunked answer, put together.
    joined: Vec<u8>,
}

impl Connection {
    /// Not connected yet; `patience` is the longest time from a request to its whole answer.
    pub(crate) fn new(target: Target, patience: Duration) -> Self {
        Self { target, patience, stream: None, inbox: vec![0; 16 << 10], filled: 0, joined: Vec::new() }
    }

    /// Sends a whole request and waits for its answer. `head_only` for HEAD, whose answer has no body.
    pub(crate) fn exchange(&mut self, request: &[u8], head_only: bool) -> Result<Answer<'_>, NoAnswer> {
        let begun = clock();
        self.connect()?;
        let received = self.send(request).and_then(|()| self.receive(head_only, begun));
        let (head, end) = match received {
            Ok(received) => received,
            Err(error) => {
                self.stream = None;
                return Err(error);
            }
        };
        if head.closes {
            self.stream = None;
        }
        let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut storage);
        _ = parsed.parse(&self.inbox[..head.bytes]);
        let headers = parsed.headers.iter().map(|header| (header.name, header.value)).collect();
        let body = if head.length == Length::Chunked { &self.joined[..] } else { &self.inbox[head.bytes..end] };
        Ok(Answer { status: head.status, headers, body })
    }

    fn connect(&mut self) -> Result<(), NoAnswer> {
        if self.stream.is_some() {
            return Ok(());
        }
        let not_sent = |error: std::io::Error| NoAnswer::NotSent(error.to_string());
        let stream = TcpStream::connect_timeout(&self.target.socket, self.patience).map_err(not_sent)?;
        stream.set_nodelay(true).map_err(not_sent)?;
        stream.set_read_timeout(Some(self.patience)).map_err(not_sent)?;
        stream.set_write_timeout(Some(self.patience)).map_err(not_sent)?;
        let Target { shown, https, .. } = &self.target;
        self.stream = Some(shown.begin(stream, self.target.host(), *https).map_err(not_sent)?);
        Ok(())
    }

    /// A peer that stopped reading may have answered already, so an error here is found out by the read.
    fn send(&mut self, request: &[u8]) -> Result<(), NoAnswer> {
        let Some(stream) = &mut self.stream else { return Err(NoAnswer::NotSent("not connected".into())) };
        match stream.write_all(request) {
            Err(error) if is_timeout(&error) => Err(NoAnswer::TimedOut(self.patience)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads one answer; says where its body ends in the inbox.
    fn receive(&mut self, head_only: bool, begun: Instant) -> Result<(Head, usize), NoAnswer> {
        self.filled = 0;
        let head = loop {
            match self.head()? {
                // Interim answers announce another one.
                Some(head) if (100..200).contains(&head.status) => {
                    self.inbox.copy_within(head.bytes..self.filled, 0);
                    self.filled -= head.bytes;
                }
                Some(head) => break head,
                None if self.fill(begun)? => {}
                None => return Err(NoAnswer::Lost(format!("it ended after {} bytes", self.filled))),
            }
        };
        if head_only || head.status == 304 || head.status == 204 {
            return Ok((Head { length: Length::Bytes(0), ..head }, head.bytes));
        }
        match head.length {
            Length::Bytes(length) => {
                while self.filled < head.bytes + length {
                    if !self.fill(begun)? {
                        return Err(NoAnswer::Lost("it ended within the body".into()));
                    }
                }
                Ok((head, head.bytes + length))
            }
            Length::ToTheEnd => {
                while self.fill(begun)? {}
                Ok((head, self.filled))
            }
            Length::Chunked => self.chunks(head, begun),
        }
    }

    fn head(&self) -> Result<Option<Head>, NoAnswer> {
        let mut storage = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut storage);
        let bytes = match parsed.parse(&self.inbox[..self.filled]) {
            Ok(httparse::Status::Complete(bytes)) => bytes,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(NoAnswer::Lost(format!("it is no HTTP answer: {error}"))),
        };
        let mut closes = parsed.version == Some(0);
        let mut length = Length::ToTheEnd;
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
            if header.name.eq_ignore_ascii_case("content-length") && length != Length::Chunked {
                let bytes = value.parse().map_err(|_| NoAnswer::Lost(format!("its length is {value:?}")))?;
                length = Length::Bytes(bytes);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunked;
            } else if header.name.eq_ignore_ascii_case("connection") {
                closes = value.eq_ignore_ascii_case("close") || closes && !value.eq_ignore_ascii_case("keep-alive");
            }
        }
        closes |= length == Length::ToTheEnd;
        Ok(Some(Head { bytes, status: parsed.code.unwrap_or(0), length, closes }))
    }

    fn chunks(&mut self, head: Head, begun: Instant) -> Result<(Head, usize), NoAnswer> {
        self.joined.clear();
        let mut at = head.bytes;
        loop {
            match httparse::parse_chunk_size(&self.inbox[at..self.filled]) {
                Err(_) => return Err(NoAnswer::Lost("a chunk has no size".into())),
                Ok(httparse::Status::Complete((skip, size))) => {
                    let start = at + skip;
                    let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
                    if self.filled >= end.saturating_add(2) {
                        self.joined.extend_from_slice(&self.inbox[start..end]);
                        at = end + 2;
                        if size == 0 {
                            return Ok((head, at));
                        }
                        continue;
                    }
                }
                Ok(httparse::Status::Partial) => {}
            }
            if !self.fill(begun)? {
                return Err(NoAnswer::Lost("it ended within a chunk".into()));
            }
        }
    }

    /// Reads more; says whether there was any.
    fn fill(&mut self, begun: Instant) -> Result<bool, NoAnswer> {
        if begun.elapsed() > self.patience {
            return Err(NoAnswer::TimedOut(self.patience));
        }
        if self.filled == self.inbox.len() {
            if self.filled >= ANSWER_BYTES_MAX {
                return Err(NoAnswer::Lost(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            self.inbox.resize(self.filled * 2, 0);
        }
        let Some(stream) = &mut self.stream else { return Ok(false) };
        loop {
            match stream.read(&mut self.inbox[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(NoAnswer::TimedOut(self.patience)),
                Err(error) => return Err(NoAnswer::Lost(error.to_string())),
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Puts a request together: method, path below the target's prefix, headers, body.
pub(crate) fn request(
    into: &mut Vec<u8>,
    target: &Target,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) {
    into.clear();
    let mut put = |part: &str| into.extend_from_slice(part.as_bytes());
    for part in [method, " ", &target.prefix, path, " HTTP/1.1\r\nhost: ", &target.address, "\r\n", target.shown.line()]
    {
        put(part);
    }
    for (name, value) in headers {
        for part in [*name, ": ", *value, "\r\n"] {
            put(part);
        }
    }
    if let Some(body) = body {
        put("content-length: ");
        put(&body.len().to_string());
        put("\r\n");
    }
    put("\r\n");
    into.extend_from_slice(body.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that reads one request for each of these answers, sends the parts one by one, and hangs up.
    fn server(answers: &'static [&'static [&'static str]]) -> Connection {
        let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = door.local_addr().expect("it listens").to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = door.accept().expect("a client");
            for parts in answers {
                let mut bytes = [0; 1024];
                _ = stream.read(&mut bytes);
                for part in *parts {
                    _ = stream.write_all(part.as_bytes());
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Connection::new(Target::named(&address).expect("an address"), Duration::from_millis(300))
    }

    fn text(answer: Result<Answer<'_>, NoAnswer>) -> String {
        match answer {
            Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(answer.body)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn answers_of_all_shapes_on_one_connection() {
        let mut connection = server(&[
            &["HTTP/1.1 200 OK\r\ncontent-le", "ngth: 5\r\n\r\nhe", "llo"],
            &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc", "\r\n2\r\nde\r\n0\r", "\n\r\n"],
            &["HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 9\r\n\r\n"],
            &["HTTP/1.1 404 Nowhere\r\n\r\nto the", " end"],
        ]);
        for expected in ["200 hello", "201 ", "200 abcde", "304 ", "404 to the end"] {
            assert_eq!(text(connection.exchange(b"x", false)), expected);
        }
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let cases: [(&'static [&'static [&'static str]], &str); 5] = [
            (&[&[]], "the answer is missing: it ended after 0 bytes"),
            (
                &[&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"]],
                "the answer is missing: it ended within the body",
            ),
            (&[&["SSH-2.0-OpenSSH\r\n\r\n"]], "the answer is missing: it is no HTTP answer"),
            (&[&["HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]], "the answer is missing: its length is"),
            (&[&["HTTP/1.1 200 OK\r\nx: y"; 60]], "no answer within 300 ms"),
        ];
        for (answers, expected) in cases {
            let found = text(server(answers).exchange(b"x", false));
            assert!(found.starts_with(expected), "{found} does not start with {expected}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr()).expect("a port");
        let target = Target::named(&nobody.to_string()).expect("an address");
        let found = text(Connection::new(target, Duration::from_secs(1)).exchange(b"x", false));
        assert!(found.starts_with("no connection"), "{found}");
    }

    #[test]
    fn targets_are_named_by_urls() {
        let target = Target::named("http://127.0.0.1:8082/store/").expect("a URL");
        assert_eq!((target.host(), target.port(), target.prefix.as_str()), ("127.0.0.1", "8082", "/store"));
        assert_eq!(Target::named("127.0.0.1").map(|target| target.address), Ok("127.0.0.1:80".into()));
        for wrong in ["https://127.0.0.1", "http://", "ftp://x:1"] {
            assert!(Target::named(wrong).is_err(), "{wrong}");
        }
        let mut bytes = Vec::new();
        request(&mut bytes, &target, "GET", "/kvs/x", &[("prefer", "wait=1")], Some(b"{}"));
        let expected =
            "GET /store/kvs/x HTTP/1.1\r\nhost: 127.0.0.1:8082\r\nprefer: wait=1\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }
}
