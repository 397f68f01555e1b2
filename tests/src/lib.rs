//! What the tests of several packages share: an HTTP client, a cluster as a trait, the contract's tables, load.
//!
//! It needs no package of ours, so that the tests of the server need not build the simulator.

pub mod browser;
pub mod choices;
pub mod client;
pub mod deploy;
pub mod fill;
pub mod https;
pub mod proxy;
pub mod public;
pub mod replicas;
pub mod starvation;
pub mod tables;
pub mod watcher;
