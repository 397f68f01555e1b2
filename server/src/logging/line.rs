//! Lines of the log as bytes: those that are too long are shortened, and those that the log writes about itself.

use serde_json::{Map, Value};
use std::time::SystemTime;

/// Bytes of a line, its end included. Up to so many, a pipe takes a line whole or not at all (`PIPE_BUF`).
pub(super) const BYTES_MAX: usize = 4_096;

/// Bytes of a text in a line that is shortened.
const TEXT_BYTES_MAX: usize = 256;

/// A line of at most [`BYTES_MAX`] bytes that says as much of this one as fits, in the same form.
pub(super) fn bounded(line: &[u8], json: bool) -> Vec<u8> {
    if line.len() <= BYTES_MAX {
        return line.to_vec();
    }
    let text = String::from_utf8_lossy(line);
    if json { bounded_json(&text) } else { bounded_text(text.trim_end()) }
}

fn bounded_text(text: &str) -> Vec<u8> {
    let kept = &text[..text.floor_char_boundary(BYTES_MAX - 64)];
    // Colours that were cut off with the rest must not colour what follows.
    let colours = if kept.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
    format!("{kept}{colours} ... ({} bytes left out)\n", text.len() - kept.len()).into_bytes()
}

/// Shortens what is long in it; if that is not enough, only the usual fields stay.
fn bounded_json(text: &str) -> Vec<u8> {
    let mut line: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    line.values_mut().for_each(shorten);
    line.insert("shortened_from_bytes".into(), text.len().into());
    let shortened = printed(&line);
    if shortened.len() <= BYTES_MAX {
        return shortened;
    }
    let usual = ["timestamp", "level", "message", "target", "shortened_from_bytes"];
    line.retain(|name, _| usual.contains(&name.as_str()));
    printed(&line)
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES_MAX => {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text.push_str(" ...");
        }
        Value::Array(_) | Value::Object(_) => *value = Value::String("...".into()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn printed(line: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A line that does not come from an event: about the log itself, or the last one of a process that fails.
pub(super) fn own(level: &str, message: &str, fields: &[(&str, Value)], json: bool) -> Vec<u8> {
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    if json {
        let usual = [("timestamp", time.into()), ("level", level.into()), ("message", message.into())];
        let target = [("target", Value::from("hence_server::logging"))];
        let all = usual.into_iter().chain(fields.iter().cloned()).chain(target);
        return printed(&all.map(|(name, value)| (name.to_owned(), value)).collect());
    }
    let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{time} {level:>5} {message}{fields}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_shortened_in_their_form() {
        let short = b"{\"a\":1}\n";
        assert_eq!(bounded(short, true), short);
        let text = format!("2026 INFO {}\u{1b}[2mä\n", "ä".repeat(5_000));
        let line = String::from_utf8(bounded(text.as_bytes(), false)).unwrap();
        assert!(line.len() <= BYTES_MAX && line.starts_with("2026 INFO ää"), "{line}");
        assert!(line.ends_with(" bytes left out)\n") && line.lines().count() == 1, "{line}");

        let long = "\"ä".repeat(3_000);
        let few = serde_json::json!({"timestamp": "t", "level": "INFO", "message": &long, "n": 7, "list": [1, 2]});
        let mut many = few.clone();
        (0..5_000).for_each(|at| many[format!("field-{at}")] = at.into());
        for (line, n) in [(few, Some(7)), (many, None)] {
            let bytes = bounded(format!("{line}\n").as_bytes(), true);
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(bytes.len() <= BYTES_MAX && bytes.ends_with(b"\n"));
            assert_eq!((read["level"].as_str(), read["n"].as_u64()), (Some("INFO"), n));
            assert!(read["message"].as_str().unwrap().starts_with("\"ä\"ä") && read["shortened_from_bytes"].is_u64());
        }
    }

    #[test]
    fn lines_of_the_log_itself() {
        let fields = [("lines", Value::from(3)), ("like", Value::from("a \"b\""))];
        let text = String::from_utf8(own("WARN", "they are lost", &fields, false)).unwrap();
        assert!(text.ends_with("Z  WARN they are lost lines=3 like=\"a \\\"b\\\"\"\n"), "{text}");
        let json: Value = serde_json::from_slice(&own("WARN", "they are lost", &fields, true)).unwrap();
        assert_eq!((json["lines"].as_u64(), json["level"].as_str()), (Some(3), Some("WARN")));
    }
}
