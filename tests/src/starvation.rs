//! Notices when the test itself was not run: a verdict on time budgets is worth nothing then.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A test that the machine held up for longer than this is repeated.
const STARVED: Duration = Duration::from_millis(250);
const SLEEP: Duration = Duration::from_millis(10);
const REPEATS_MAX: usize = 3;

/// A thread that sleeps 10 ms at a time and remembers its longest oversleep.
struct Watcher {
    longest_micros: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Watcher {
    fn start() -> Self {
        let watcher = Self { longest_micros: Arc::default(), ended: Arc::default() };
        let (longest, ended) = (watcher.longest_micros.clone(), watcher.ended.clone());
        std::thread::spawn(move || {
            let mut last = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(SLEEP);
                let late = last.elapsed().saturating_sub(SLEEP);
                last = Instant::now();
                longest.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
            }
        });
        watcher
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.load(Ordering::Relaxed))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Runs what measures time. If the test was starved meanwhile, it runs again, at most three times, and says so;
/// the last run counts whatever happened.
pub fn timed(name: &str, mut run: impl FnMut()) {
    for repeat in 1..=REPEATS_MAX {
        let watcher = Watcher::start();
        let result = std::panic::catch_unwind(AssertUnwindSafe(&mut run));
        let longest = watcher.longest();
        if longest <= STARVED {
            return result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        println!("note: {name}: the test was starved for {longest:?}; repeating ({repeat} of {REPEATS_MAX})");
        // A failed run may have left a cut behind.
        std::thread::sleep(Duration::from_millis(100));
    }
    run();
}
