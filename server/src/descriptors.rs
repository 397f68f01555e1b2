//! File descriptors: each connection takes one.

use rlimit::Resource;
use tracing::{debug, warn};

/// Descriptors that are not for clients' connections: listeners, event queues, peers, the log.
const RESERVED: u64 = 256;

/// Raises the process's limit of descriptors as far as it may. Returns how many connections each of so many replicas
/// can have: those that are wanted, or fewer where the limit is too low.
pub(crate) fn prepare(connections_max: usize, replicas: usize) -> usize {
    let limit = raise().unwrap_or_else(|error| {
        debug!(%error, "cannot read or raise the limit of file descriptors");
        1_024
    });
    let room = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX) / replicas;
    let possible = room.max(16);
    if possible < connections_max {
        warn!(limit, connections_max = possible, "the limit of file descriptors leaves room for fewer connections");
    }
    connections_max.min(possible)
}

fn raise() -> std::io::Result<u64> {
    let (soft, hard) = Resource::NOFILE.get()?;
    if soft < hard {
        Resource::NOFILE.set(hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared() {
        assert_eq!(prepare(1, 1), 1);
        let hard = raise().unwrap();
        assert_eq!(Resource::NOFILE.get().unwrap().0, hard);
        assert!(prepare(usize::MAX, 2) <= prepare(usize::MAX, 1));
    }
}
