//! `soak`: simulated weeks of one cluster, a line for each day.

use super::{Done, End, Lines, clock, output};
use crate::soak::{self, Day};
use serde_json::{Value, json};

pub(crate) fn run(seed: u64, days: u64, dead: bool, lines: Lines) -> Done {
    lines.introduce();
    let started = clock();
    let end = soak::run(seed, days, dead, |day| {
        say!("{day}");
        lines.add(|| line(day));
        !output::is_lost()
    });
    let seconds = started.elapsed().as_secs();
    match end {
        Ok(curve) if (curve.len() as u64) < days => Ok(End::Nothing),
        Ok(curve) => {
            if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
                say!(
                    "flat: vector {} to {} entries, token {} to {} characters, parked {} to {}, log {} to {} B, at rest; \
                     {days} days in {seconds} s",
                    first.vector,
                    last.vector,
                    first.token,
                    last.token,
                    first.parked,
                    last.parked,
                    first.log_bytes,
                    last.log_bytes
                );
            }
            lines.add(|| json!({ "kind": "summary", "seed": seed, "days": days, "dead": dead, "seconds": seconds }));
            Ok(End::Clean)
        }
        Err(error) => {
            say!("VIOLATION seed {seed}: {error}");
            lines.add(|| json!({ "kind": "violation", "seed": seed, "text": error.to_string() }));
            Ok(End::Violation)
        }
    }
}

/// What a day came to, for programs.
fn line(day: &Day) -> Value {
    let [served, refused, lost] = day.answers;
    json!({ "kind": "day", "day": day.day, "starts": day.starts, "faults": day.faults, "served": served,
        "refused": refused, "lost": lost,
        "busy": { "vector_mean": day.vector_mean as f64 / 100.0, "vector": day.vector_max, "token": day.token_max,
            "parked": day.parked_max, "log_bytes": day.log_bytes_max },
        "at_rest": { "vector": day.vector, "token": day.token, "parked": day.parked, "log_bytes": day.log_bytes,
            "retired": day.retired, "view": day.view, "keys": day.keys, "store_bytes": day.store_bytes } })
}
