//! A hence replica as a process: HTTP API, driver, configuration, command line.
//!
//! One replica is one thread with one single-threaded runtime. Its driver, its peers' connections and its clients'
//! connections are tasks of that thread. They touch the replica without a lock. [`Server`] starts one, [`Cluster`]
//! several in one process, [`cli`] is the command `hence`.

// They wait for a reader, and panic without one; `output` does neither.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod access;
mod advice;
pub mod cli;
mod clock;
mod cluster;
mod connections;
mod core_dumps;
mod descriptors;
mod driver;
mod events;
mod exposition;
mod files;
mod formats;
mod http;
mod lag;
mod listener;
mod logging;
mod memory;
mod metrics;
mod names;
mod node;
mod notify;
mod output;
mod server;
mod settings;
mod signals;
#[cfg(test)]
mod tests;
mod throwaway;
mod traces;
mod trust;
mod watches;
mod wire;

pub use cluster::{Cluster, ClusterError, Member, REPLICAS_MAX};
pub use server::{Server, StartError};
pub use settings::{
    BrowserSettings, Console, Limits, Order, Origins, SecretText, SettingError, Settings, TrustSettings, Verb,
};
pub use throwaway::{Issued, Throwaway};
