//! Signals: the first one asks a command to end in good order, the second ends the process at once.

use super::Problem;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asked to end?
#[derive(Debug, Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on SIGINT, SIGTERM and a terminal that is closed ask for the end; a second one ends the process.
    ///
    /// # Errors
    ///
    /// Where the system does not let signals be watched.
    pub fn watch() -> Result<Self, Problem> {
        let stop = Arc::new(AtomicBool::new(false));
        let hangs_up = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangs_up) {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|error| format!("signals cannot be watched: {error}"))?;
        }
        Ok(Self(stop))
    }

    /// Has a signal come?
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Has a signal come? It is taken as answered, and the next one is a first one again.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A file that may grow no more is an error of the write, as a full disk is, and not the end of the process.
pub fn survive_file_limits() {
    // Without it the process ends at such a limit, as it did before.
    _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// `nohup` has this signal ignored, and so it stays; elsewhere than on Linux nothing says so.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
