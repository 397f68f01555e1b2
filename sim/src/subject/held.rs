//! What a replica holds, for oracles and for people who look at it.

use hence_core::{Dot, MemoryUse, VersionVector};

/// What a replica holds for later, and what it lacks.
#[derive(Debug)]
pub struct Inside<'a> {
    /// The writes in its causal buffer.
    pub buffered: Vec<Dot>,
    /// What others have and it lacks, by the last write of each life.
    pub gaps: VersionVector,
    /// What has left its log.
    pub trimmed: &'a VersionVector,
    /// The deletes of that.
    pub trimmed_deletes: &'a VersionVector,
}

/// What a replica holds besides its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Operations parked.
    pub parked: usize,
    /// Requests waiting.
    pub waiting: usize,
    /// Those among them that wait until what they wrote is elsewhere, too.
    pub spreading: usize,
    /// Watches.
    pub watches: usize,
    /// Bytes of the operations parked.
    pub parked_bytes: usize,
    /// Bytes of the values in requests waiting, and of answers that do.
    pub waiting_bytes: usize,
    /// Bytes in the log.
    pub log_bytes: usize,
    /// What all data holds.
    pub memory: MemoryUse,
    /// A fetch is under way.
    pub pulling: bool,
}
