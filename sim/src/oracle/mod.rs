//! The oracles: the ground truth of a run, what must hold beside it, and what a run ends in.

pub mod adversity;
pub mod agreement;
pub mod client_history;
pub mod history;
pub mod judge;
pub mod sign;
pub mod truth;
pub mod verdict;
pub(crate) mod words;
