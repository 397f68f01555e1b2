//! `soak`: simulated weeks of one cluster, a line for each day.

use super::{Done, End, clock};
use hence_sim::soak;
use std::io::Write as _;

pub(crate) fn run(seed: u64, days: u64, dead: bool) -> Done {
    if days == 0 {
        return Err("a soak takes at least one day".into());
    }
    let started = clock();
    let end = soak::run(seed, days, dead, |day| {
        println!("{day}");
        _ = std::io::stdout().flush();
    });
    let seconds = started.elapsed().as_secs();
    match end {
        Ok(curve) => {
            if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
                println!(
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
            println!("VIOLATION seed {seed}: {error}");
            Ok(End::Violation)
        }
    }
}
