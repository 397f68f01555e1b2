//! Requests that belong to a trace of their client: the header `traceparent` (W3C Trace Context, level 1).
//!
//! With `HENCE_LOG=info,hence_server::traces=debug` a line of the log is a span of such a request. With
//! `HENCE_OTLP_ENDPOINT` spans go to a collector. A write then has a further span for each member: from the request until that
//! member said that it has it. So a trace shows where a write went, and nothing of it travels between replicas.
//! With neither, the header is not looked at.

mod collector;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(not(feature = "otlp"))]
mod no_exporter;
#[cfg(feature = "otlp")]
mod span;

#[cfg(feature = "otlp")]
pub(crate) use exporter::{Exporter, Sending};
#[cfg(not(feature = "otlp"))]
pub(crate) use no_exporter::{Exporter, Sending};

use crate::exposition::{Exposition, Kind};
use crate::metrics::Counted;
use crate::settings::{SettingError, Settings};
use hence_core::{Micros, Now, Replica, Rules, Time, Wall};
use http::{HeaderMap, StatusCode};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use tracing::{Level, debug, enabled};

const HEADER: &str = "traceparent";
/// Traced writes that are followed to the other members at a time; further ones have no such spans.
const FOLLOWED_MAX: usize = 256;
/// A write is followed no longer.
const FOLLOW_MAX: Micros = Micros::from_seconds(30);
/// Members that are told apart.
const MEMBERS_MAX: usize = 64;

/// Where a request stands in its client's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    trace_id: String,
    parent_id: String,
}

impl Trace {
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
}

/// A number that no other span has, in its form.
fn fresh_id() -> String {
    format!("{:016x}", RandomState::new().hash_one(0).max(1))
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    trace_id: String,
    parent_id: String,
    span_id: String,
    start: Wall,
    took: Micros,
    what: What,
}

/// What a span is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// A request of a client.
    Request { route: &'static str, method: &'static str, status: u16 },
    /// A write, until this member said that it has it.
    Replicated { member: String },
}

/// What became of spans that were to be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The collector took them.
    exported: u64,
    /// There was no room for them.
    dropped: u64,
    /// The collector did not take them.
    failed: u64,
}

/// Starts what sends spans, where a collector is set.
///
/// # Errors
/// [`SettingError`] for what is no address of one.
pub(crate) fn start(settings: &Settings) -> Result<Option<(Exporter, Sending)>, SettingError> {
    settings.traces_to.as_deref().map(|text| Exporter::start(text, &settings.address)).transpose()
}

/// A traced write on its way to the other members.
#[derive(Debug)]
struct Followed {
    trace_id: String,
    parent_id: String,
    start: Wall,
    since: Time,
    /// Its number among the own writes.
    number: u64,
    /// A bit for each member that has said that it has it.
    arrived: u64,
}

/// Makes spans of requests that a client traces. Lives on the replica's thread.
#[derive(Debug, Default)]
pub(crate) struct Tracer {
    exporter: Option<Exporter>,
    /// The number of the write that the last request did; 0 where it did none.
    wrote: Cell<u64>,
    followed: RefCell<VecDeque<Followed>>,
}

impl Tracer {
    /// One that sends spans there, or nowhere.
    pub(crate) fn new(exporter: Option<Exporter>) -> Self {
        Self { exporter, ..Self::default() }
    }

    /// What the header says, if anybody is told of it and the client wants it recorded.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Option<Trace> {
        if self.exporter.is_none() && !enabled!(Level::DEBUG) {
            return None;
        }
        Trace::parse(headers.get(HEADER)?.to_str().ok()?)
    }

    /// Do spans go to a collector?
    pub(crate) const fn is_sending(&self) -> bool {
        self.exporter.is_some()
    }

    /// The replica was asked. So many writes had been done here before that, and after it.
    pub(crate) fn on_asked(&self, before: u64, after: u64) {
        self.wrote.set(if after > before { after } else { 0 });
    }

    /// The write that the request did which was asked last.
    pub(crate) fn wrote(&self) -> u64 {
        self.wrote.get()
    }

    /// A request that was asked before others is answered now. It did this write.
    pub(crate) fn on_waited(&self, wrote: u64) {
        self.wrote.set(wrote);
    }

    /// The request was answered that was asked last.
    pub(crate) fn end(&self, trace: &Trace, what: Counted, status: StatusCode, took: Micros, now: Now) {
        let ((route, method), status) = (what.labels(), status.as_u16());
        let (Trace { trace_id, parent_id }, span_id) = (trace, fresh_id());
        debug!(trace_id, parent_id, span_id, route, method, status, micros = took.0, "span");
        let Some(exporter) = &self.exporter else { return };
        let (start, trace_id) = (Wall(now.wall.0.saturating_sub(took.0)), trace_id.clone());
        let mut followed = self.followed.borrow_mut();
        let number = if what.may_write() && status < 300 { self.wrote.get() } else { 0 };
        if number > 0 && followed.len() < FOLLOWED_MAX {
            followed.push_back(Followed {
                trace_id: trace_id.clone(),
                parent_id: span_id.clone(),
                start,
                since: now.monotonic,
                number,
                arrived: 0,
            });
        }
        let what = What::Request { route, method, status };
        exporter.offer(Span { trace_id, parent_id: parent_id.clone(), span_id, start, took, what });
    }

    /// The replica took an input at this time: members may have said what they have.
    pub(crate) fn look<R: Rules>(&self, replica: &Replica<R>, now: Now) {
        let Some(exporter) = &self.exporter else { return };
        let mut followed = self.followed.borrow_mut();
        if followed.is_empty() {
            return;
        }
        let mut all = 0;
        for (at, (member, count)) in replica.own_writes_acknowledged().take(MEMBERS_MAX).enumerate() {
            let bit = 1 << at;
            all |= bit;
            for write in followed.iter_mut().filter(|write| write.arrived & bit == 0 && count >= write.number) {
                write.arrived |= bit;
                exporter.offer(Span {
                    trace_id: write.trace_id.clone(),
                    parent_id: write.parent_id.clone(),
                    span_id: fresh_id(),
                    start: write.start,
                    took: Micros(now.wall.0.saturating_sub(write.start.0)),
                    what: What::Replicated { member: member.to_string() },
                });
            }
        }
        // A new incarnation counts its writes anew.
        let is_over = |write: &Followed| {
            write.arrived & all == all
                || now.monotonic.since(write.since) > FOLLOW_MAX
                || replica.own_writes() < write.number
        };
        followed.retain(|write| !is_over(write));
    }

    /// Writes what became of spans.
    pub(crate) fn expose(&self, into: &mut Exposition) {
        const SPANS: &str = "hence_spans_total";
        let Sent { exported, dropped, failed } = self.exporter.as_ref().map(Exporter::sent).unwrap_or_default();
        into.family(SPANS, Kind::Counter, "Spans for the collector, by what became of them.");
        for (event, count) in [("exported", exported), ("dropped", dropped), ("failed", failed)] {
            into.sample(SPANS, &[("event", event)], count);
        }
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
        assert!(fresh_id() != fresh_id() && fresh_id().len() == 16);
    }
}
