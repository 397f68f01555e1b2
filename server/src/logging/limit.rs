//! How often a place in the code may log.
//!
//! Clients and peers can cause lines: a forged token, an address that leads nowhere, a connection too many. Each place has a
//! bucket of its own, so that none crowds out the others; what exceeds it is counted and told. At `debug` and `trace`
//! nothing is left out, since then an operator asked for all of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one place that may come at once. A cluster of 64 tells of each member in one moment.
const BURST: u32 = 100;

/// After that, one per this time.
const REFILL: Duration = Duration::from_millis(500);

/// Most of a message that is repeated where lines like it are told of.
const MESSAGE_BYTES_MAX: usize = 200;

/// The lines of one place.
#[derive(Debug)]
struct Bucket {
    left: u32,
    refilled: Instant,
    /// What was left out since it was told.
    omitted: u64,
    message: String,
}

/// Lines that were left out, of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Omitted {
    /// What they said.
    pub(super) message: String,
    /// How many.
    pub(super) lines: u64,
}

/// All places that have logged at `info` or above.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: Mutex<HashMap<Identifier, Bucket>>,
    omitted: AtomicU64,
}

impl Limits {
    /// May this place log now? `message` says what.
    fn admits(&self, place: Identifier, now: Instant, message: impl FnOnce() -> String) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Bucket { left: BURST, refilled: now, omitted: 0, message: String::new() };
        let bucket = buckets.entry(place).or_insert_with(new);
        let refills = now.saturating_duration_since(bucket.refilled).as_millis() / REFILL.as_millis();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        bucket.left = bucket.left.saturating_add(refills).min(BURST);
        bucket.refilled = if bucket.left == BURST { now } else { bucket.refilled + REFILL * refills };
        if bucket.left > 0 {
            bucket.left -= 1;
            return true;
        }
        bucket.omitted += 1;
        bucket.message = message();
        self.omitted.fetch_add(1, Relaxed);
        false
    }

    /// What was left out since this was last asked, place by place.
    pub(super) fn take_omitted(&self) -> Vec<Omitted> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let omitting = buckets.values_mut().filter(|bucket| bucket.omitted > 0);
        let take = |bucket: &mut Bucket| Omitted {
            message: std::mem::take(&mut bucket.message),
            lines: std::mem::take(&mut bucket.omitted),
        };
        let mut omitted: Vec<Omitted> = omitting.map(take).collect();
        omitted.sort_unstable_by(|a, b| a.message.cmp(&b.message));
        omitted
    }

    /// Lines that were left out so far.
    pub(super) fn omitted(&self) -> u64 {
        self.omitted.load(Relaxed)
    }
}

/// The part of the subscriber that leaves lines out.
pub(super) struct Limiter {
    pub(super) limits: &'static Limits,
    /// To be called when something was left out.
    pub(super) on_omitted: fn(),
}

impl<S: Subscriber> Layer<S> for Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let admitted = self.limits.admits(metadata.callsite(), Instant::now(), || message(event));
        if !admitted {
            (self.on_omitted)();
        }
        admitted
    }
}

/// What an event says, without its other fields.
fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    let mut text = message.0;
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Metadata;
    use tracing::callsite::Callsite;
    use tracing::subscriber::Interest;

    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("a bucket needs a name and nothing else")
        }
    }

    #[test]
    fn a_place_is_limited_and_comes_back() {
        static ONE: Place = Place;
        let limits = Limits::default();
        let start = Instant::now();
        let admitted = |millis: u64, times: u32| {
            let now = start + Duration::from_millis(millis);
            (0..times).filter(|_| limits.admits(Identifier(&ONE), now, || "it".into())).count()
        };
        assert_eq!(admitted(0, 500), 100);
        assert_eq!((admitted(499, 10), admitted(500, 10), admitted(999, 10), admitted(2_000, 10)), (0, 1, 0, 3));
        assert_eq!(limits.take_omitted(), [Omitted { message: "it".into(), lines: 400 + 10 + 9 + 10 + 7 }]);
        assert_eq!(limits.take_omitted(), []);
        assert_eq!(admitted(200_000, 500), 100);
        assert_eq!(limits.omitted(), 836);
    }
}
