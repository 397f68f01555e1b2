//! `soak`: simulated weeks of one cluster, a line for each day.

use super::{Done, End, clock, output, provenance};
use crate::soak;

pub(crate) fn run(seed: u64, days: u64, dead: bool) -> Done {
    provenance::introduce();
    let started = clock();
    let end = soak::run(seed, days, dead, |day| {
        say!("{day}");
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
            Ok(End::Clean)
        }
        Err(error) => {
            say!("VIOLATION seed {seed}: {error}");
            Ok(End::Violation)
        }
    }
}
