//! `hence bench`: reads and writes for a while, and how long they took.
//!
//! Each connection is a session of its own with one request at a time. With a rate, a request has a moment when it is
//! due, and its time counts from there. So a replica that stands still makes every request late that was due meanwhile.

use super::args::BenchArgs;
use super::interrupt::interrupted;
use super::show::print;
use super::{Ended, client, run};
use crate::cli::CommandFailure;
use hdrhistogram::Histogram;
use hence_client::{BATCH_MAX, BATCH_VALUE_BYTES_MAX, Client, Error, Operation, RawValue, Session};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Figures in which a time is exact.
const DIGITS: u8 = 3;

/// Steps between the keys of one connection. It is prime, so all keys have their turn.
const STEP: u64 = 7_919;

/// What all connections do.
#[derive(Debug)]
struct Plan {
    prefix: String,
    keys: u64,
    reads: u64,
    value: Box<RawValue>,
    end: Instant,
    /// Between two requests of one connection.
    interval: Option<Duration>,
}

/// What came of it.
struct Measured {
    reads: Histogram<u64>,
    writes: Histogram<u64>,
    /// No replica served it, or refused it.
    refused: u64,
    /// Writes whose answer is lost.
    unknown: u64,
    /// Times that a session lost what it saw.
    lost: u64,
    /// The last failure, in words.
    last: Option<String>,
}

/// `hence bench`.
pub(in crate::cli) fn bench(args: &BenchArgs) -> Ended {
    let client = client(&args.ask, false)?;
    let letters = usize::try_from(args.value_bytes).map_err(CommandFailure::usage)?;
    let value = serde_json::value::to_raw_value(&"v".repeat(letters)).map_err(CommandFailure::usage)?;
    let (measured, took) = run(async {
        fill(&client, args, &value).await?;
        // Before the load there is nothing to tell. From here on a signal ends the load, and what was measured is told.
        let (code, (stop, stopped)) = (interrupted()?, watch::channel(false));
        let start = Instant::now();
        let each = args.rate.map(|rate| Duration::from_secs(u64::from(args.connections)).div_f64(rate as f64));
        let plan = Arc::new(Plan {
            prefix: args.prefix.clone(),
            keys: args.keys,
            reads: args.reads,
            value,
            end: start + args.duration,
            interval: each,
        });
        let mut connections = JoinSet::new();
        for number in 0..args.connections {
            let first =
                each.map_or(Duration::ZERO, |each| each.mul_f64(f64::from(number) / f64::from(args.connections)));
            connections.spawn(connection(client.session(), plan.clone(), number, start + first, stopped.clone()));
        }
        let mut all = Measured::new();
        let mut join = async || {
            while let Some(one) = connections.join_next().await {
                all.add(one.map_err(CommandFailure::running)?);
            }
            Ok::<_, CommandFailure>(())
        };
        tokio::select! {
            joined = join() => joined?,
            Ok(_) = code => {
                stop.send_replace(true);
                join().await?;
            }
        }
        Ok((all, start.elapsed()))
    })?;
    measured.end(args, took)
}

/// Writes every key once, so that reads find something.
async fn fill(client: &Client, args: &BenchArgs, value: &RawValue) -> Result<(), CommandFailure> {
    let session = client.session();
    // A value that no batch takes is put alone.
    let at_a_time = (BATCH_VALUE_BYTES_MAX / value.get().len()).min(BATCH_MAX);
    let mut number = 0;
    while number < args.keys {
        let end = (number + at_a_time.max(1) as u64).min(args.keys);
        let mut names = (number..end).map(|number| name(&args.prefix, number));
        match at_a_time {
            0 => session.put(&names.next().expect("there is one"), value).await.map(drop)?,
            _ => session.batch(names.map(|name| Operation::put(&name, value))).done().await?,
        }
        number = end;
    }
    Ok(())
}

fn name(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:08}")
}

/// Every hundred requests have as many reads as the share says, spread evenly.
const fn is_read(number: u64, share: u64) -> bool {
    (number + 1) * share / 100 > number * share / 100
}

async fn connection(
    session: Session,
    plan: Arc<Plan>,
    number: u32,
    due: Instant,
    mut stopped: watch::Receiver<bool>,
) -> Measured {
    let mut measured = Measured::new();
    tokio::select! {
        () = load(&session, &plan, number, due, &mut measured) => {}
        // A request that is on its way counts as none.
        _ = stopped.wait_for(|&stopped| stopped) => {}
    }
    measured
}

async fn load(session: &Session, plan: &Plan, number: u32, mut due: Instant, measured: &mut Measured) {
    let offset = u64::from(number) * (plan.keys / 16 + 1);
    for request in 0_u64.. {
        let now = Instant::now();
        if now >= plan.end || due >= plan.end {
            break;
        }
        if plan.interval.is_some() && due > now {
            tokio::time::sleep_until(due.into()).await;
        }
        let since = if plan.interval.is_some() { due } else { Instant::now() };
        let key = name(&plan.prefix, (offset + request * STEP) % plan.keys);
        let reads = is_read(request, plan.reads);
        let done = match reads {
            true => session.get(&key).await.map(|_| ()),
            false => session.put(&key, &plan.value).await.map(|_| ()),
        };
        match done {
            Ok(()) => measured.took(reads, since.elapsed()),
            Err(error) => measured.failed(session, &error),
        }
        due += plan.interval.unwrap_or_default();
    }
}

impl Measured {
    fn new() -> Self {
        let times = || Histogram::new(DIGITS).expect("so many figures are allowed");
        Self { reads: times(), writes: times(), refused: 0, unknown: 0, lost: 0, last: None }
    }

    fn took(&mut self, reads: bool, time: Duration) {
        let times = if reads { &mut self.reads } else { &mut self.writes };
        times.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).expect("it grows as it must");
    }

    fn failed(&mut self, session: &Session, error: &Error) {
        match error {
            Error::Lost(lost) => {
                session.go_on_after(lost);
                self.lost += 1;
            }
            Error::OutcomeUnknown { .. } => self.unknown += 1,
            Error::Usage(_)
            | Error::Value(_)
            | Error::Refused { .. }
            | Error::PreconditionFailed { .. }
            | Error::Unavailable { .. } => self.refused += 1,
        }
        self.last = Some(error.to_string());
    }

    fn add(&mut self, other: Self) {
        for (own, others) in [(&mut self.reads, &other.reads), (&mut self.writes, &other.writes)] {
            own.add(others).expect("it grows as it must");
        }
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.last = other.last.or(self.last.take());
    }

    fn end(&self, args: &BenchArgs, took: Duration) -> Ended {
        let seconds = took.as_secs_f64();
        if args.ask.json {
            let report = json!({
                "result": "measured", "seconds": seconds, "connections": args.connections,
                "value-bytes": args.value_bytes, "keys": args.keys,
                "reads": shown(&self.reads, seconds), "writes": shown(&self.writes, seconds),
                "refused": self.refused, "unknown": self.unknown, "lost": self.lost,
            });
            print([report.to_string()])?;
        } else {
            let lines =
                [("reads", &self.reads), ("writes", &self.writes)].into_iter().filter(|(_, times)| !times.is_empty());
            print(lines.map(|(what, times)| line(what, times, seconds)))?;
        }
        let failed = self.refused + self.unknown + self.lost;
        match &self.last {
            Some(last) => Err(CommandFailure::running(format!("{failed} requests failed, one of them so: {last}"))),
            None => Ok(()),
        }
    }
}

/// The percentiles that are shown.
const PERCENTILES: [(&str, f64); 5] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

fn milliseconds(times: &Histogram<u64>, percentile: f64) -> f64 {
    Duration::from_nanos(times.value_at_percentile(percentile)).as_secs_f64() * 1e3
}

fn shown(times: &Histogram<u64>, seconds: f64) -> Value {
    let mut report = json!({ "count": times.len(), "per-second": times.len() as f64 / seconds });
    for (name, percentile) in PERCENTILES {
        report[format!("{name}-ms")] = json!(milliseconds(times, percentile));
    }
    report
}

fn line(what: &str, times: &Histogram<u64>, seconds: f64) -> String {
    let times_of = PERCENTILES.map(|(name, percentile)| format!("{name} {:.3} ms", milliseconds(times, percentile)));
    format!("{what:<6} {:>9}  {:>9.0}/s  {}", times.len(), times.len() as f64 / seconds, times_of.join("  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_have_their_share() {
        for share in [0, 1, 33, 50, 99, 100] {
            for first in [0, 17, 1_000] {
                assert_eq!((first..first + 100).filter(|&number| is_read(number, share)).count() as u64, share);
            }
        }
    }

    #[test]
    fn times_are_added_and_shown() {
        let mut all = Measured::new();
        (1..=100).for_each(|ms| all.took(true, Duration::from_millis(ms)));
        let mut other = Measured::new();
        other.took(false, Duration::from_millis(7));
        all.add(other);
        let reads = shown(&all.reads, 2.0);
        assert_eq!((&reads["count"], &reads["per-second"]), (&json!(100), &json!(50.0)));
        assert!((reads["p50-ms"].as_f64().unwrap() - 50.0).abs() < 0.1, "{reads}");
        assert!((reads["max-ms"].as_f64().unwrap() - 100.0).abs() < 0.2, "{reads}");
        assert!(line("writes", &all.writes, 1.0).starts_with("writes         1          1/s  p50 7.00"));
    }
}
