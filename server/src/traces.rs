//! Requests that belong to a trace of their client: the header `traceparent` (W3C Trace Context, level 1).
//!
//! With `HENCE_LOG=info,hence_server::traces=debug` a line of the log is a span of such a request. A collector makes spans of it.
//! Otherwise the header is not looked at.

use crate::metrics::Counted;
use hence_core::Micros;
use http::{HeaderMap, StatusCode};
use std::hash::{BuildHasher as _, RandomState};
use tracing::{Level, debug, enabled};

const HEADER: &str = "traceparent";

/// Where a request stands in its client's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    trace_id: String,
    parent_id: String,
}

impl Trace {
    /// What the header says, if the log shows it and the client wants it recorded.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        if !enabled!(Level::DEBUG) {
            return None;
        }
        Self::parse(headers.get(HEADER)?.to_str().ok()?)
    }

    /// Version, trace, parent and flags. Later versions may say more behind these.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(|part| part.len() == digits).filter(hex)
        };
        let (version, trace_id, parent_id, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let is_more = parts.next().is_some();
        let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
        if version == "ff" || version == "00" && is_more || is_zero(trace_id) || is_zero(parent_id) {
            return None;
        }
        let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        is_sampled.then(|| Self { trace_id: trace_id.to_owned(), parent_id: parent_id.to_owned() })
    }

    /// The request was answered.
    pub(crate) fn end(&self, what: Counted, status: StatusCode, took: Micros) {
        let span_id = format!("{:016x}", RandomState::new().hash_one(&self.parent_id).max(1));
        let (route, method) = what.labels();
        let Self { trace_id, parent_id } = self;
        debug!(trace_id, parent_id, span_id, route, method, status = status.as_u16(), micros = took.0, "span");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn the_header_is_read_strictly() {
        let found = Some(Trace { trace_id: TRACE.into(), parent_id: PARENT.into() });
        for good in ["00-T-P-01", "00-T-P-03", "cc-T-P-01", "cc-T-P-01-what-comes-later"] {
            assert_eq!(Trace::parse(&good.replace('T', TRACE).replace('P', PARENT)), found, "{good}");
        }
        let (zero, zeros) = ("0".repeat(16), "0".repeat(32));
        for bad in ["", "00", "00-T-P-00", "ff-T-P-01", "00-T-P-01-", "00-T-P", "00-T-P-1", "0x-T-P-01", "00-P-T-01"] {
            assert_eq!(Trace::parse(&bad.replace('T', TRACE).replace('P', PARENT)), None, "{bad}");
        }
        for bad in [
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-{zero}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        ] {
            assert_eq!(Trace::parse(&bad), None, "{bad}");
        }
    }
}
