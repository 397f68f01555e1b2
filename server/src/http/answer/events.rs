//! What a watch tells, as server-sent events (WHATWG HTML, 9.2).
//!
//! An event is some lines and an empty one. `id:` stands only on the last event of a cut, since a client goes on from the
//! last id that it saw. Data that has line breaks takes several lines, which the client joins again.

use super::{AnswerBody, Pieces, tag};
use hence_core::{Listed, Value, WatchChange, WatchPart, WatchReset};
use memchr::memchr2;

/// A line that means nothing, for proxies that end what is silent.
pub(crate) const COMMENT: &[u8] = b":\n\n";

/// A part of what a watch tells, with the text of the id of its mark. `anew`: the client asked to go on from what does
/// not fit, so the first thing it hears is that everything before is void.
pub(crate) fn part(part: &WatchPart, id: Option<&str>, anew: bool) -> AnswerBody {
    let mut body = Pieces::new(64 + 96 * part.changes.len());
    let mark = part.mark.as_ref();
    let mut is_open = false;
    // The blank line of an event is written when it is known whether the id belongs to it.
    let mut begin = |body: &mut Pieces, name: &str| {
        body.text(if std::mem::replace(&mut is_open, true) { "\n\nevent: " } else { "event: " });
        body.text(name);
        body.text("\ndata: ");
    };
    if let Some(reset) = part.reset {
        begin(&mut body, "reset");
        body.text(if reset == WatchReset::Lost { "{\"lost\":true}" } else { "{\"lost\":false}" });
    } else if anew {
        begin(&mut body, "reset");
        body.text("{\"lost\":false}");
    }
    for change in &part.changes {
        match change {
            WatchChange::Put(listed) => {
                begin(&mut body, "put");
                show(listed, &mut body);
            }
            WatchChange::Delete(key) => {
                begin(&mut body, "delete");
                body.text("{\"key\":");
                body.string(key.as_str());
                body.text("}");
            }
        }
    }
    if mark.is_some_and(|mark| mark.synced) {
        begin(&mut body, "synced");
        body.text("{}");
    }
    let is_bare = part.changes.is_empty() && mark.is_some_and(|mark| mark.known.is_some() && !mark.synced);
    if is_bare {
        // An id alone reaches no page: a browser keeps it and dispatches no event.
        begin(&mut body, "cut");
        body.text("{}");
    }
    if let Some(id) = id {
        body.text(if is_open { "\nid: " } else { "id: " });
        body.text(id);
        is_open = true;
    }
    if is_open {
        body.text("\n\n");
    }
    body.finish()
}

fn show(listed: &Listed, body: &mut Pieces) {
    body.text("{\"key\":");
    body.string(listed.key.as_str());
    if let Some(value) = &listed.value {
        body.text(",\"value\":");
        in_lines(value, body);
    }
    tag(&listed.dots, body);
    if listed.dots.len() > 1 {
        body.text(&format!(",\"siblings\":{}", listed.dots.len()));
    }
    body.text("}");
}

/// A line break between two tokens of JSON ends the line of data, and the next one goes on.
fn in_lines(value: &Value, body: &mut Pieces) {
    let mut rest = value.as_bytes();
    if memchr2(b'\n', b'\r', rest).is_none() {
        return body.value(value);
    }
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        body.bytes(&rest[..at]);
        body.text("\ndata: ");
        let end = if rest[at..].starts_with(b"\r\n") { at + 2 } else { at + 1 };
        rest = &rest[end..];
    }
    body.bytes(rest);
}

#[cfg(test)]
mod tests {
    use super::super::COPIED_BYTES_MAX;
    use super::super::tests::body_of;
    use super::*;
    use hence_core::{Dot, Incarnation, Key, VersionVector, WatchMark};

    fn listed(key: &str, versions: u64, value: Option<&[u8]>) -> WatchChange {
        let dots = (1..=versions).map(|counter| Dot { incarnation: Incarnation(0xa), counter }).collect();
        WatchChange::Put(Listed { key: Key::new(key).unwrap(), dots, value: value.map(Value::new) })
    }

    fn text(reset: Option<WatchReset>, changes: Vec<WatchChange>, synced: Option<bool>, anew: bool) -> String {
        let mark = synced.map(|synced| WatchMark { past: VersionVector::new(), known: None, synced });
        let id = mark.as_ref().map(|_| "ID");
        body_of(part(&WatchPart { reset, changes, mark }, id, anew))
    }

    #[test]
    fn events_to_the_byte() {
        assert_eq!(text(None, vec![], None, false), "");
        assert_eq!(text(None, vec![], Some(false), false), "id: ID\n\n");
        let known = Some(std::sync::Arc::new(VersionVector::new()));
        let mark = Some(WatchMark { past: VersionVector::new(), known, synced: false });
        let cut = part(&WatchPart { reset: None, changes: vec![], mark }, Some("ID"), false);
        assert_eq!(body_of(cut), "event: cut\ndata: {}\nid: ID\n\n");
        assert_eq!(text(None, vec![], Some(false), true), "event: reset\ndata: {\"lost\":false}\nid: ID\n\n");
        assert_eq!(
            text(Some(WatchReset::Lost), vec![], Some(false), false),
            "event: reset\ndata: {\"lost\":true}\nid: ID\n\n"
        );
        let one = "\\\"000000000000000a-1\\\"";
        let put = format!("event: put\ndata: {{\"key\":\"a\\n\",\"value\":1.0,\"etag\":\"{one}\"}}\n");
        let delete = "event: delete\ndata: {\"key\":\"b\"}\n";
        let changes = || vec![listed("a\n", 1, Some(b"1.0")), WatchChange::Delete(Key::new("b").unwrap())];
        assert_eq!(text(None, changes(), None, false), format!("{put}\n{delete}\n"));
        assert_eq!(text(None, changes(), Some(false), false), format!("{put}\n{delete}id: ID\n\n"));
        let synced = format!("{put}\n{delete}\nevent: synced\ndata: {{}}\nid: ID\n\n");
        assert_eq!(text(None, changes(), Some(true), false), synced);
        let two = "\\\"000000000000000a-1+000000000000000a-2\\\"";
        let keys = format!("event: put\ndata: {{\"key\":\"c\",\"etag\":\"{two}\",\"siblings\":2}}\n\n");
        assert_eq!(text(None, vec![listed("c", 2, None)], None, false), keys);
    }

    #[test]
    fn a_value_with_line_breaks_takes_several_lines() {
        let broken = text(None, vec![listed("a", 1, Some(b"[1,\r\n2,\r3,\n4\n]"))], None, false);
        let begins = "event: put\ndata: {\"key\":\"a\",\"value\":[1,\ndata: 2,\ndata: 3,\ndata: 4\ndata: ],\"etag\"";
        assert!(broken.starts_with(begins), "{broken}");
    }

    #[test]
    fn a_large_value_is_shared() {
        let large = vec![b'7'; 2 * COPIED_BYTES_MAX];
        let shown = text(None, vec![listed("a", 1, Some(&large))], None, false);
        assert!(shown.len() > large.len() && shown.ends_with("}\n\n"));
    }
}
