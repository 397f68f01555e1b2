//! Spans as OTLP has them in JSON. They are written directly: trees of values took most of what a span cost.

use super::{Span, What};
use std::fmt::{self, Write as _};

/// Bytes that one span takes, about.
const SPAN_BYTES: usize = 512;

/// A request for the collector that holds these spans of the replica at this address.
pub(super) fn batch(spans: &[Span], replica: &str) -> Vec<u8> {
    let mut text = String::with_capacity((spans.len() + 1) * SPAN_BYTES);
    write(&mut text, spans, replica).expect("memory always takes text");
    text.into_bytes()
}

fn write(into: &mut String, spans: &[Span], replica: &str) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    into.write_str(r#"{"resourceSpans":[{"resource":{"attributes":["#)?;
    text(into, "service.name", "hence")?;
    into.write_char(',')?;
    text(into, "service.version", version)?;
    into.write_char(',')?;
    text(into, "service.instance.id", replica)?;
    into.write_str(r#"]},"scopeSpans":[{"scope":{"name":"hence"},"spans":["#)?;
    for (at, one) in spans.iter().enumerate() {
        if at > 0 {
            into.write_char(',')?;
        }
        span(into, one)?;
    }
    into.write_str("]}]}]}")
}

/// An attribute.
fn text(into: &mut String, key: &str, value: &str) -> fmt::Result {
    let value = serde_json::to_string(value).map_err(|_| fmt::Error)?;
    write!(into, r#"{{"key":"{key}","value":{{"stringValue":{value}}}}}"#)
}

fn span(into: &mut String, span: &Span) -> fmt::Result {
    let Span { trace_id, parent_id, span_id, start, took, what } = span;
    // Numbers of 64 bits are texts in JSON, as protocol buffers have it.
    let (from, to) = (start.0.saturating_mul(1_000), start.0.saturating_add(took.0).saturating_mul(1_000));
    write!(into, r#"{{"traceId":"{trace_id}","spanId":"{span_id}","parentSpanId":"{parent_id}","#)?;
    write!(into, r#""startTimeUnixNano":"{from}","endTimeUnixNano":"{to}","#)?;
    match what {
        What::Request { route, method, status } => {
            let code = if *status >= 500 { r#""code":2"# } else { "" };
            write!(into, r#""name":"{method} {route}","kind":2,"status":{{{code}}},"attributes":["#)?;
            text(into, "http.request.method", method)?;
            into.write_char(',')?;
            text(into, "http.route", route)?;
            write!(into, r#",{{"key":"http.response.status_code","value":{{"intValue":"{status}"}}}}]}}"#)
        }
        What::Replicated { member } => {
            into.write_str(r#""name":"replicate","kind":1,"status":{},"attributes":["#)?;
            text(into, "hence.member", member)?;
            into.write_str("]}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{Micros, Wall};
    use serde_json::{Value, json};

    #[test]
    fn spans_are_json_as_otlp_has_it() {
        let request = What::Request { route: "/kvs/{key}", method: "PUT", status: 503 };
        let ids = || ("a".repeat(32), "b".repeat(16), "c".repeat(16));
        let spans = [request, What::Replicated { member: "[::1]:8090".into() }].map(|what| {
            let (trace_id, parent_id, span_id) = ids();
            Span { trace_id, parent_id, span_id, start: Wall(7), took: Micros(2), what }
        });
        let found: Value = serde_json::from_slice(&batch(&spans, "alice:8090")).unwrap();
        let of = &found["resourceSpans"][0];
        let attribute = |key: &str, kind: &str, value: &str| json!({ "key": key, "value": { kind: value } });
        assert_eq!(of["resource"]["attributes"][2], attribute("service.instance.id", "stringValue", "alice:8090"));
        let spans = &of["scopeSpans"][0]["spans"];
        let (trace_id, parent_id, span_id) = ids();
        let expected = json!([{
            "traceId": trace_id, "parentSpanId": parent_id, "spanId": span_id, "name": "PUT /kvs/{key}", "kind": 2,
            "startTimeUnixNano": "7000", "endTimeUnixNano": "9000", "status": { "code": 2 },
            "attributes": [
                attribute("http.request.method", "stringValue", "PUT"),
                attribute("http.route", "stringValue", "/kvs/{key}"),
                attribute("http.response.status_code", "intValue", "503"),
            ],
        }, {
            "traceId": trace_id, "parentSpanId": parent_id, "spanId": span_id, "name": "replicate", "kind": 1,
            "startTimeUnixNano": "7000", "endTimeUnixNano": "9000", "status": {},
            "attributes": [attribute("hence.member", "stringValue", "[::1]:8090")],
        }]);
        assert_eq!(*spans, expected);
    }
}
