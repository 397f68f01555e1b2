//! The history checker: judges what clients saw, and nothing else.
//!
//! It never trusts a token's content, a vector or a log of the system under test. A history is fine if a strict order
//! of visibility explains what each event showed, and contains happens-before. For convergence there must also be a
//! total order of writes that contains visibility. Levels and bad patterns follow Bouajjani, Enea, Guerraoui and Hamza,
//! "On verifying causal consistency", POPL 2017. They are extended by deletes, exact sets of siblings, and lineage by
//! tokens.

mod arbitration;
pub mod bits;
mod candidates;
mod certificate;
mod convergence;
mod counterexample;
mod dive;
pub mod edn;
pub mod formats;
pub mod generate;
mod guarantees;
pub mod hist;
pub mod history;
mod index;
pub mod intern;
pub mod json;
mod kind;
mod lineage;
mod lines;
pub mod mix;
mod operation;
mod order;
mod pass;
mod picture;
mod plain;
pub mod plume;
mod problem;
pub mod proof;
mod prose;
pub mod random;
pub mod recorder;
mod report;
mod rows;
mod search;
pub mod shiviz;
pub mod slow;
mod telling;
mod witness;
mod writers;

pub use counterexample::Counterexample;
pub use kind::Kind;
pub use problem::Unreadable;
pub use report::{Blind, Options, Report, SHRINKING, Verdict, judge};
pub use search::{Budget, Level, Watch};
