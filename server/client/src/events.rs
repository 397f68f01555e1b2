//! Server-sent events (WHATWG HTML, 9.2), as they come in pieces.

use memchr::memchr2;

/// An event, or an id alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RawEvent {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) id: Option<String>,
}

/// Reads events from the bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// What no line break has ended yet.
    line: Vec<u8>,
    /// The last bytes ended with a carriage return: a line feed behind them belongs to it.
    after_return: bool,
    event: RawEvent,
    has_data: bool,
}

impl Reader {
    /// Reads on. Gives the events that these bytes end.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<RawEvent> {
        let (mut events, mut rest) = (Vec::new(), bytes);
        if !rest.is_empty() && std::mem::take(&mut self.after_return) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            let (line, end) = (&rest[..at], rest[at]);
            rest = &rest[at + 1..];
            if end == b'\r' {
                self.after_return = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            if self.line.is_empty() {
                events.extend(self.end_line(line));
            } else {
                self.line.extend_from_slice(line);
                let line = std::mem::take(&mut self.line);
                events.extend(self.end_line(&line));
            }
        }
        self.line.extend_from_slice(rest);
        events
    }

    fn end_line(&mut self, line: &[u8]) -> Option<RawEvent> {
        if line.is_empty() {
            self.has_data = false;
            let event = std::mem::take(&mut self.event);
            return (event != RawEvent::default()).then_some(event);
        }
        let line = String::from_utf8_lossy(line);
        // A line that begins with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.into(),
            "id" => self.event.id = Some(value.into()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }

    /// Bytes that wait for the end of their line or of their event.
    pub(crate) fn waiting(&self) -> usize {
        self.line.len() + self.event.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> RawEvent {
        RawEvent { name: name.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn events_come_in_pieces_with_any_line_breaks() {
        let text = ":\n\nid: 1\n\nevent: put\ndata: {\"a\":\ndata: 1}\nid: 2\n\nevent:x\ndata\nretry: 5\n\ndata: ä\n\nevent: open";
        let expected = [
            event("", "", Some("1")),
            event("put", "{\"a\":\n1}", Some("2")),
            event("x", "", None),
            event("", "ä", None),
        ];
        for breaks in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', breaks);
            let mut reader = Reader::default();
            assert_eq!(reader.read(text.as_bytes()), expected, "{breaks:?}");
            assert_eq!(reader.waiting(), "event: open".len());
            let mut reader = Reader::default();
            let events: Vec<RawEvent> = text.bytes().flat_map(|byte| reader.read(&[byte])).collect();
            assert_eq!(events, expected, "{breaks:?}, byte by byte");
        }
    }
}
