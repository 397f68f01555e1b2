//! The shape of a plan: how many of each, and which classes of operations and faults.

/// Which classes a plan has and how it is shaped.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) replicas: u64,
    pub(crate) clients: u64,
    pub(crate) keys: u64,
    pub(crate) operations: u64,
    pub(crate) heal_at: u64,
    pub(crate) deletes: bool,
    pub(crate) conditions: bool,
    pub(crate) tokens: bool,
    pub(crate) waits: bool,
    pub(crate) sticky: bool,
    pub(crate) hot: bool,
    pub(crate) values: u64,
    /// How likely each class of faults is there besides what scenes bring, in parts per million.
    pub(crate) faults: u32,
    /// Clocks are apart.
    pub(crate) skew: bool,
    /// When the last replica starts at the latest.
    pub(crate) stagger: u64,
}
