//! A tiny store that speaks the contract, with three front doors on loopback, and with a flaw if asked for one. Nothing
//! of hence is in it: what torture and contract say of it, they would say of any store.

use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing: one copy of the data behind all doors. Metadata is a number.
    None,
    /// It answers 200 and forgets every tenth write. With every fortieth, one run in some hundreds met no evidence.
    LosesWrites,
    /// The naive scheme: a version for each key, data sent on later, metadata that names versions of keys. A replica
    /// refuses a key whose version it has not reached, and knows nothing of what a write depends on.
    VersionPerKey,
    /// The doors have data of their own, and none ever comes from one to another.
    Apart,
    /// One copy of the data, and batches, of which all but the first write are late.
    HalfBatches,
    /// Errors are pages, numbers are read and written again, and deletes answer 500.
    Careless,
}

type Metadata = BTreeMap<String, u64>;

/// What one replica holds: version and value, nothing for a deleted key.
type Data = BTreeMap<String, (u64, Option<String>)>;

struct State {
    flaw: Flaw,
    view: BTreeSet<String>,
    replicas: Vec<Data>,
    /// On their way: when they arrive, where, and what.
    sent: Vec<(Instant, usize, String, u64, Option<String>)>,
    writes: u64,
}

/// A running store; its threads end with the process.
pub(crate) struct Store {
    pub(crate) addresses: Vec<String>,
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

struct Response(u16, String);

impl Store {
    pub(crate) fn start(flaw: Flaw) -> Self {
        let doors: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port of loopback")).collect();
        let address = |door: &TcpListener| door.local_addr().expect("it listens").to_string();
        let addresses: Vec<String> = doors.iter().map(address).collect();
        let view = addresses.iter().cloned().collect();
        let state = State { flaw, view, replicas: vec![Data::new(); 3], sent: Vec::new(), writes: 0 };
        let state = Arc::new(Mutex::new(state));
        for (at, door) in doors.into_iter().enumerate() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in door.incoming().map_while(Result::ok) {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || serve(stream, &state, at));
                }
            });
        }
        Self { addresses }
    }

    pub(crate) fn targets(&self) -> String {
        self.addresses.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(",")
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, at: usize) {
    _ = stream.set_nodelay(true);
    let mut inbox = Vec::new();
    while let Some(request) = receive(&mut stream, &mut inbox) {
        let flaw = state.lock().map_or(Flaw::None, |state| state.flaw);
        let Response(status, body) = state.lock().expect("no handler panics").answer(at, &request);
        let is_page = flaw == Flaw::Careless && status >= 400;
        let body = if is_page { format!("<html><h1>{status}</h1></html>") } else { body };
        let allow = if status == 405 || status == 204 { "allow: GET, HEAD, PUT, DELETE, OPTIONS\r\n" } else { "" };
        let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let head = format!("HTTP/1.1 {status} X\r\n{length}{allow}\r\n");
        let body = if request.method == "HEAD" { "" } else { &body };
        if stream.write_all((head + body).as_bytes()).is_err() {
            return;
        }
    }
}

fn receive(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> Option<Request> {
    loop {
        let end = inbox.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&inbox[..end]).into_owned();
            let field = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
            let length: usize = head.lines().find_map(field).unwrap_or(0);
            if inbox.len() >= end + 4 + length {
                let body = inbox[end + 4..end + 4 + length].to_vec();
                inbox.drain(..end + 4 + length);
                let mut words = head.split(' ').map(str::to_owned);
                return Some(Request { method: words.next()?, path: words.next()?, body });
            }
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).ok().filter(|&count| count > 0)?;
        inbox.extend_from_slice(&bytes[..count]);
    }
}

fn error(status: u16, text: &str) -> Response {
    Response(status, format!("{{\"error\":\"{text}\"}}"))
}

fn decoded(segment: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), segment.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl State {
    fn answer(&mut self, at: usize, request: &Request) -> Response {
        self.deliver();
        let path = request.path.split('?').next().unwrap_or_default();
        if self.flaw == Flaw::HalfBatches && request.method == "POST" && path == "/kvs" {
            return self.answer_batch(&request.body);
        }
        let key = path.strip_prefix("/kvs/").filter(|key| !key.is_empty() && !key.contains('/'));
        if key.is_none() && path != "/view" {
            return error(404, "no such path");
        }
        let method = match request.method.as_str() {
            "OPTIONS" => return Response(204, String::new()),
            "HEAD" => "GET",
            method @ ("GET" | "PUT" | "DELETE") => method,
            _ => return error(405, "no such method"),
        };
        let key = key.map(decoded);
        if key.as_ref().is_some_and(|key| key.chars().count() > 50) {
            return error(400, "Key is too long");
        }
        let body = if request.body.is_empty() { b"{}" } else { &request.body[..] };
        let Ok(members) = serde_json::from_slice::<Members<'_>>(body) else {
            return error(400, "the body is no JSON object");
        };
        match key {
            None => self.answer_view(method, &members),
            Some(key) => self.answer_key(at, method, &key, &members),
        }
    }

    fn answer_view(&mut self, method: &str, members: &Members<'_>) -> Response {
        if method == "GET" {
            return Response(200, serde_json::json!({ "view": self.view }).to_string());
        }
        let address = members.get("socket-address").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let Some(address) = address else { return error(400, "no usable address") };
        match (method, if method == "PUT" { self.view.insert(address) } else { self.view.remove(&address) }) {
            ("PUT", true) => Response(201, r#"{"result":"added"}"#.into()),
            ("PUT", false) => Response(200, r#"{"result":"already present"}"#.into()),
            (_, true) => Response(200, r#"{"result":"deleted"}"#.into()),
            (_, false) => error(404, "View has no such replica"),
        }
    }

    fn answer_key(&mut self, at: usize, method: &str, key: &str, members: &Members<'_>) -> Response {
        let value = members.get("value").map(|raw| raw.get()).filter(|text| *text != "null");
        if method == "PUT" && value.is_none() {
            return error(400, "PUT request does not specify a value");
        }
        let metadata = members.get("causal-metadata").map_or("null", |raw| raw.get());
        let Some(mut past) = self.past(metadata) else { return error(400, "metadata that is not ours") };
        let at = if matches!(self.flaw, Flaw::VersionPerKey | Flaw::Apart) { at } else { 0 };
        let (version, old) = self.replicas[at].get(key).cloned().unwrap_or_default();
        if past.get(key).is_some_and(|&known| known > version) {
            return error(503, "Causal dependencies not satisfied; try again later");
        }
        if method == "GET" {
            let Some(old) = old else { return error(404, "Key does not exist") };
            past.insert(key.to_owned(), version);
            return Response(200, format!(r#"{{"result":"found","value":{old},{}}}"#, self.metadata(&past)));
        }
        if method == "DELETE" && old.is_none() {
            return error(404, "Key does not exist");
        }
        if method == "DELETE" && self.flaw == Flaw::Careless {
            return error(500, "oh");
        }
        self.write(at, key, version + 1, value);
        past.insert(key.to_owned(), version + 1);
        let (status, result) = match (method, old) {
            ("DELETE", _) => (200, "deleted"),
            (_, None) => (201, "created"),
            (_, Some(_)) => (200, "replaced"),
        };
        Response(status, format!(r#"{{"result":"{result}",{}}}"#, self.metadata(&past)))
    }

    fn answer_batch(&mut self, body: &[u8]) -> Response {
        let Ok(asked) = serde_json::from_slice::<serde_json::Value>(body) else { return error(400, "no JSON") };
        let operations = asked["operations"].as_array().cloned().unwrap_or_default();
        let (mut results, mut late) = (Vec::new(), false);
        for one in &operations {
            let key = one["key"].as_str().unwrap_or_default();
            let (version, old) = self.replicas[0].get(key).cloned().unwrap_or_default();
            if one["op"] == "get" {
                let found = old.map(|old| format!(r#"{{"result":"found","value":{old}}}"#));
                results.push(found.unwrap_or_else(|| r#"{"result":"absent"}"#.into()));
                continue;
            }
            let value = (one["op"] == "put").then(|| one["value"].to_string());
            let result = match (&value, old) {
                (Some(_), None) => "created",
                (Some(_), Some(_)) => "replaced",
                (None, None) => "absent",
                (None, Some(_)) => "deleted",
            };
            results.push(format!(r#"{{"result":"{result}"}}"#));
            self.writes += 1;
            let due = Instant::now() + Duration::from_millis(if late { 30 } else { 0 });
            self.sent.push((due, 0, key.to_owned(), version + 1, value));
            late = true;
        }
        self.deliver();
        Response(200, format!(r#"{{"results":[{}],{}}}"#, results.join(","), self.metadata(&Metadata::new())))
    }

    fn write(&mut self, at: usize, key: &str, version: u64, value: Option<&str>) {
        self.writes += 1;
        if self.flaw == Flaw::LosesWrites && self.writes.is_multiple_of(10) {
            return;
        }
        let value = value.map(|text| match self.flaw {
            Flaw::Careless => serde_json::from_str::<f64>(text).map_or(text.to_owned(), |number| number.to_string()),
            Flaw::None | Flaw::LosesWrites | Flaw::VersionPerKey | Flaw::Apart | Flaw::HalfBatches => text.to_owned(),
        });
        self.replicas[at].insert(key.to_owned(), (version, value.clone()));
        if self.flaw == Flaw::VersionPerKey {
            // Each key is slow on its way to one of the others, always the same. So what a write rests on is often
            // still missing where that write is read. With delays by chance one run in some dozens met no effect
            // without its cause.
            let sum: usize = key.bytes().map(usize::from).sum();
            for to in (0..3).filter(|&to| to != at) {
                let delay = Duration::from_millis(if (sum + to).is_multiple_of(3) { 40 } else { 0 });
                self.sent.push((Instant::now() + delay, to, key.to_owned(), version, value.clone()));
            }
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        let (here, later) = std::mem::take(&mut self.sent).into_iter().partition(|sent| sent.0 <= now);
        self.sent = later;
        let here: Vec<_> = here;
        for (_, to, key, version, value) in here {
            let known = self.replicas[to].get(&key).map_or(0, |(known, _)| *known);
            if version > known {
                self.replicas[to].insert(key, (version, value));
            }
        }
    }

    /// What metadata says; nothing if it is none of ours.
    fn past(&self, text: &str) -> Option<Metadata> {
        match text {
            "null" | "\"\"" | "{}" => Some(Metadata::new()),
            text if self.flaw == Flaw::VersionPerKey => serde_json::from_str(text).ok(),
            // One copy of the data: whatever a client has seen is here.
            text => text.parse::<u64>().ok().map(|_| Metadata::new()),
        }
    }

    fn metadata(&self, past: &Metadata) -> String {
        match self.flaw {
            Flaw::VersionPerKey => format!("\"causal-metadata\":{}", serde_json::json!(past)),
            Flaw::None | Flaw::LosesWrites | Flaw::Apart | Flaw::Careless | Flaw::HalfBatches => {
                format!("\"causal-metadata\":{}", self.writes)
            }
        }
    }
}
