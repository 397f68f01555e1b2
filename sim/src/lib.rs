//! The seeded simulator of hence and its oracles.
//!
//! `seed -> plan -> run -> verdict`: [`draw::plan`] turns a seed into a [`plan::Plan`], which is data;
//! [`run::run`] drives the real replica through it, over simulated network, clocks and crashes; the oracles of
//! [`judge`] compare every step with ground truth that they keep themselves. A run is a pure function of its
//! plan: the same plan gives the same trace hash on every machine.

pub mod adversity;
pub mod agreement;
pub mod baseline;
pub mod campaign;
pub mod case;
pub mod clock;
pub mod directed;
pub mod draw;
pub mod echo;
pub mod history;
pub mod judge;
pub mod mutants;
pub mod network;
pub mod observe;
pub mod plan;
pub mod profile;
pub mod queue;
pub mod random;
pub mod recording;
pub mod run;
mod scenes;
pub mod seen;
pub mod settings;
pub mod shrink;
pub mod soak;
pub mod stream;
pub mod subject;
pub mod suspicious;
pub mod tampering;
pub mod transcript;
pub mod truth;
pub mod verdict;
pub mod world;
