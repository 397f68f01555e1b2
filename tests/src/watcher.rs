//! A client that watches, as a browser's `EventSource` would: it reads events and applies whole cuts.

use crate::client::{Connection, NoResponse, Response, request_bytes};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `put`, `delete`, `reset` or `synced`; empty where only an id came.
    pub name: String,
    /// The joined lines of its data.
    pub data: String,
    /// The id that it ends a cut with.
    pub id: Option<String>,
}

/// A watch and what its client holds.
pub struct Watcher {
    connection: Connection,
    text: Vec<u8>,
    /// What was told since the last id, yet to be applied.
    open: Vec<Event>,
    /// What the client holds at its last id: each key with its value, or with its tag where values are not told.
    pub held: BTreeMap<String, Value>,
    /// Where to go on.
    pub id: Option<String>,
    /// Every event in order.
    pub events: Vec<Event>,
    /// Lines that mean nothing.
    pub comments: usize,
}

impl Watcher {
    /// Begins to watch.
    pub fn open(address: &str, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(address, path, headers).unwrap_or_else(|answer| panic!("{path} at {address}: {answer:?}"))
    }

    /// The same, where the replica may refuse.
    pub fn try_open(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Self, Box<Response>> {
        let mut connection = Connection::open(address).expect("the replica listens");
        let headers = [&[("Accept", "text/event-stream")], headers].concat();
        connection.send(&request_bytes("GET", path, &headers, None));
        let mut head = connection.receive_head().expect("an answer");
        if head.status != 200 {
            let length: usize = head.header("content-length").expect("a length").parse().expect("a number");
            head.body = connection.receive_exactly(length).expect("a body");
            return Err(Box::new(head));
        }
        assert_eq!(head.header("content-type"), Some("text/event-stream"), "{head:?}");
        assert_eq!(head.header("cache-control"), Some("no-store"), "{head:?}");
        let (held, events) = (BTreeMap::new(), Vec::new());
        Ok(Self { connection, text: Vec::new(), open: Vec::new(), held, id: None, events, comments: 0 })
    }

    /// Goes on from here at another replica, with what this client holds.
    pub fn resume(&mut self, address: &str, path: &str) {
        let id = self.id.clone().expect("an id came");
        let next = Self::open(address, path, &[("Last-Event-ID", &id)]);
        (self.connection, self.text, self.open) = (next.connection, Vec::new(), Vec::new());
    }

    /// The socket itself.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The next event.
    ///
    /// # Errors
    /// Where the stream ends or is silent for that long.
    pub fn next(&mut self, limit: Duration) -> Result<Event, NoResponse> {
        let start = Instant::now();
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("events are UTF-8");
                if block.starts_with(':') {
                    self.comments += 1;
                    continue;
                }
                let event = parse(&block);
                self.take(&event);
                return Ok(event);
            }
            // Lines that mean nothing do not make it longer.
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(NoResponse::TimedOut);
            }
            let chunk = self.connection.timeout(left).receive_chunk()?;
            if chunk.is_empty() {
                return Err(NoResponse::Closed(Vec::new()));
            }
            self.text.extend(chunk);
        }
    }

    fn take(&mut self, event: &Event) {
        self.events.push(event.clone());
        self.open.push(event.clone());
        let Some(id) = &event.id else { return };
        for event in std::mem::take(&mut self.open) {
            self.apply(&event);
        }
        self.id = Some(id.clone());
    }

    fn apply(&mut self, event: &Event) {
        if event.name.is_empty() {
            assert_eq!(event.data, "", "{event:?}");
            return;
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error} in {event:?}"));
        let key = || data["key"].as_str().expect("a key").to_owned();
        match event.name.as_str() {
            "put" => _ = self.held.insert(key(), data.get("value").unwrap_or(&data["etag"]).clone()),
            "delete" => _ = self.held.remove(&key()),
            "reset" => self.held.clear(),
            "synced" | "cut" => {}
            other => panic!("an event {other}"),
        }
    }

    /// Reads until the client holds what is wanted.
    pub fn follow(&mut self, limit: Duration, wanted: impl Fn(&BTreeMap<String, Value>) -> bool) {
        let start = Instant::now();
        while self.id.is_none() || !wanted(&self.held) {
            let left = limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            let event = self.next(left);
            assert!(event.is_ok(), "{event:?} after {:?}, holds {:?}", start.elapsed(), self.held);
        }
    }

    /// Reads until the replica says that the client holds what is there.
    pub fn sync(&mut self, limit: Duration) {
        let before = self.events.len();
        let start = Instant::now();
        while !self.events[before..].iter().any(|event| event.name == "synced") {
            let left = limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            let event = self.next(left);
            assert!(event.is_ok(), "{event:?} after {:?}, holds {:?}", start.elapsed(), self.held);
        }
    }

    /// The names of all events so far, without those that are only an id.
    pub fn names(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.name.as_str()).filter(|name| !name.is_empty()).collect()
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event { name: String::new(), data: String::new(), id: None };
    let mut lines = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("event", name)) => event.name = name.into(),
            Some(("data", data)) => lines.push(data),
            Some(("id", id)) => event.id = Some(id.into()),
            Some(_) | None => panic!("a line of no event: {line:?}"),
        }
    }
    event.data = lines.join("\n");
    event
}
