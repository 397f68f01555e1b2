//! The seeded simulator of hence and its oracles.
//!
//! A seed becomes a verdict in three steps: `seed -> plan -> run -> verdict`. [`generate::plan`] turns a seed into a
//! [`plan::Plan`], which is data. [`campaign::run`] drives the real replica through it, over simulated network, clocks
//! and crashes. The oracles of [`oracle`] compare every step with ground truth that they keep themselves. A run is a
//! pure function of its plan: the same plan gives the same trace hash on every machine.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output fails; use say! and tell!")]

#[macro_use]
extern crate hence_blackbox;

pub mod campaign;
pub mod command;
pub mod engine;
pub mod explore;
pub mod generate;
pub mod mutants;
pub mod observe;
pub mod oracle;
pub mod plan;
pub mod random;
pub mod soak;
pub mod subject;
pub mod triage;
pub mod why;
pub mod world;
