//! Judges stores from outside, by what their HTTP interface answers.
//!
//! [`contract`] asks a cluster of three each case of the contract. [`torture`] runs clients against a cluster, breaks
//! it by commands, and hands the history of what the clients saw to a judge. Neither needs anything of hence in the
//! store. [`console`] is how these commands, and the others of the simulator's binary, talk and end.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output fails; use say! and tell!")]

#[macro_use]
pub mod console;
pub mod contract;
mod credentials;
mod http;
pub mod torture;
