//! What a plan may ask for at most, and what is said where it asks for more.

use std::fmt;

/// Replicas in one plan.
pub const REPLICAS_MAX: usize = 16;
/// Clients in one plan.
pub const CLIENTS_MAX: u8 = 64;
/// Keys in one plan.
pub const KEYS_MAX: u8 = 250;
/// Client operations in one plan.
pub const OPERATIONS_MAX: usize = 20_000;
/// Faults in one plan.
pub const FAULTS_MAX: usize = 10_000;
/// Watches in one plan.
pub const WATCHES_MAX: usize = 64;
/// How often one of them breaks off.
pub const BREAKS_MAX: u64 = 64;
/// A fault's name; the simulator names what follows from a fault above that.
pub const FAULT_ID_MAX: u32 = u32::MAX >> 1;
/// Any time in a plan, in microseconds: an hour.
pub const TIME_MAX: u64 = 3_600_000_000;
/// Bytes of one value.
pub const VALUE_BYTES_MAX: u32 = 1 << 20;
/// Times that a refused operation is tried again.
pub const RETRIES_MAX: u8 = 20;
/// How far a wall clock may be off, in microseconds: ten years.
pub const WALL_MAX: i64 = 315_360_000_000_000;
/// How fast or slow a monotonic clock may run, in parts per million.
pub const DRIFT_MAX: i32 = 200_000;

/// What is wrong with a plan, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The place in the file, such as `operations[3].replica`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for PlanError {}

pub(super) fn at_most(place: impl FnOnce() -> String, value: u64, max: u64) -> Result<(), PlanError> {
    if value <= max {
        return Ok(());
    }
    Err(PlanError { place: place(), problem: format!("{value} is beyond {max}") })
}

pub(super) fn below(place: impl FnOnce() -> String, value: u64, count: u64) -> Result<(), PlanError> {
    if value < count {
        return Ok(());
    }
    Err(PlanError { place: place(), problem: format!("{value} does not exist; there are {count}") })
}

/// The place of the first of these numbers that was there before. Drawn ones stand in order, which is soon seen.
pub(super) fn repeated(mut ids: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    if ids.clone().is_sorted_by(|one, next| one < next) {
        return None;
    }
    let mut known = std::collections::BTreeSet::new();
    ids.position(|id| !known.insert(id))
}
