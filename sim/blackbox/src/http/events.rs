//! An answer without an end: server-sent events, as they come.

use super::{Connection, NoAnswer, Target};
use crate::console::clock;
use std::time::Duration;

/// How long a look at a silent stream takes.
const LOOK: Duration = Duration::from_millis(100);

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// What it is called; empty where there is only an id.
    pub(crate) name: String,
    /// Its lines of data, joined.
    pub(crate) data: String,
    /// The id that it carries.
    pub(crate) id: Option<String>,
}

/// What a look at a stream found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The next event.
    Event(Event),
    /// Nothing yet.
    Quiet,
    /// The stream is over.
    Over,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    connection: Connection,
    is_chunked: bool,
    /// What came and is no whole event yet.
    text: Vec<u8>,
}

impl Events {
    /// Sends a request. Returns its stream, or the status where the answer is no stream of events.
    pub(crate) fn open(target: &Target, patience: Duration, request: &[u8]) -> Result<Result<Self, u16>, NoAnswer> {
        let mut connection = Connection::new(target.clone(), patience);
        let begun = clock();
        connection.connect()?;
        connection.send(request)?;
        let head = loop {
            match connection.head()? {
                Some(head) => break head,
                None if connection.fill(begun)? => {}
                None => return Err(NoAnswer::Lost("it ended within the head".into())),
            }
        };
        let text = String::from_utf8_lossy(&connection.inbox[..head.bytes]).to_ascii_lowercase();
        if head.status != 200 || !text.contains("\r\ncontent-type: text/event-stream") {
            return Ok(Err(head.status));
        }
        connection.inbox.copy_within(head.bytes..connection.filled, 0);
        connection.filled -= head.bytes;
        if let Some(stream) = &connection.stream {
            stream.set_read_timeout(LOOK).map_err(|error| NoAnswer::Lost(error.to_string()))?;
        }
        Ok(Ok(Self { connection, is_chunked: head.length == super::Length::Chunked, text: Vec::new() }))
    }

    /// The next event, if one comes soon.
    pub(crate) fn look(&mut self) -> Look {
        loop {
            if let Some(event) = self.take_event() {
                return Look::Event(event);
            }
            if !self.decode() {
                return self.take_event().map_or(Look::Over, Look::Event);
            }
            if self.text.windows(2).any(|two| two == b"\n\n") {
                continue;
            }
            match self.connection.fill(clock()) {
                Ok(true) => {}
                Err(NoAnswer::TimedOut(_)) => return Look::Quiet,
                Ok(false) | Err(NoAnswer::NotSent(_) | NoAnswer::Lost(_)) => return Look::Over,
            }
        }
    }

    /// Takes what came of the body; `false` at its end, and where it is no body.
    fn decode(&mut self) -> bool {
        let Connection { inbox, filled, .. } = &mut self.connection;
        let mut at = 0;
        let is_open = loop {
            if !self.is_chunked {
                self.text.extend_from_slice(&inbox[..*filled]);
                at = *filled;
                break true;
            }
            match httparse::parse_chunk_size(&inbox[at..*filled]) {
                Err(_) => break false,
                Ok(httparse::Status::Complete((skip, size))) => {
                    let start = at + skip;
                    let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
                    if *filled < end.saturating_add(2) {
                        break true;
                    }
                    self.text.extend_from_slice(&inbox[start..end]);
                    at = end + 2;
                    if size == 0 {
                        break false;
                    }
                }
                Ok(httparse::Status::Partial) => break true,
            }
        };
        inbox.copy_within(at..*filled, 0);
        *filled -= at;
        is_open
    }

    /// The first whole event of what came. Comments are passed over.
    fn take_event(&mut self) -> Option<Event> {
        loop {
            let end = self.text.windows(2).position(|two| two == b"\n\n")?;
            let block: Vec<u8> = self.text.drain(..end + 2).collect();
            let mut event = Event::default();
            for line in String::from_utf8_lossy(&block).lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => event.name = value.into(),
                    "id" => event.id = Some(value.into()),
                    "data" if event.data.is_empty() => event.data = value.into(),
                    "data" => event.data += &format!("\n{value}"),
                    _ => {}
                }
            }
            if event != Event::default() {
                return Some(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    /// A server that sends these pieces, with a pause between them, and then ends.
    fn stream(head: &str, pieces: &[&str]) -> Result<Result<Events, u16>, NoAnswer> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let target =
            Target::named(&format!("http://{}", listener.local_addr().expect("it listens"))).expect("a target");
        let pieces: Vec<String> = std::iter::once(head).chain(pieces.iter().copied()).map(str::to_owned).collect();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            _ = stream.read(&mut [0; 1_024]);
            for piece in pieces {
                _ = stream.write_all(piece.as_bytes());
                crate::console::nap(Duration::from_millis(5));
            }
        });
        Events::open(&target, Duration::from_secs(5), b"GET / HTTP/1.1\r\n\r\n")
    }

    fn all(mut events: Events) -> Vec<Event> {
        let mut found = Vec::new();
        loop {
            match events.look() {
                Look::Event(event) => found.push(event),
                Look::Quiet => {}
                Look::Over => return found,
            }
        }
    }

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let pieces = [
            "6\r\nid: 1\n",
            "\r\n1\r\n\n\r\n",
            "1c\r\n: quiet\n\nevent: put\ndata: a\n\r\n9\r\ndata: b\n",
            "\n\r\n0\r\n\r\n",
        ];
        let found = all(stream(head, &pieces).expect("an answer").expect("a stream"));
        let id = Event { id: Some("1".into()), ..Event::default() };
        assert_eq!(found, [id, Event { name: "put".into(), data: "a\nb".into(), id: None }]);
        let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        assert_eq!(all(stream(plain, &["event: x\nid: 2\n\n"]).expect("an answer").expect("a stream")).len(), 1);
    }

    #[test]
    fn what_is_no_stream_says_its_status() {
        let status = |head: &str| stream(head, &[]).expect("an answer").err();
        assert_eq!(status("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Some(503));
        assert_eq!(status("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"), Some(200));
        assert!(stream("HTTP/1.1 200", &[]).is_err());
    }
}
