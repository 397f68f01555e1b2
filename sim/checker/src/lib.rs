//! The history checker: judges what clients saw, and nothing else.
//!
//! It never trusts a token's content, a vector or a log of the system under test. A history is fine if a strict order
//! of visibility explains what each event showed, and contains happens-before. For convergence there must also be a
//! total order of writes that contains visibility. Levels and bad patterns follow Bouajjani, Enea, Guerraoui and Hamza,
//! "On verifying causal consistency", POPL 2017. They are extended by deletes, exact sets of siblings, and lineage by
//! tokens.

pub mod bits;
mod explain;
pub mod format;
pub mod generate;
mod graph;
pub mod history;
mod judge;
pub mod mix;
pub mod proof;
pub mod random;
pub mod recorder;
mod report;
mod search;
pub mod slow;
mod terms;
mod witness;

pub use history::kind::Kind;
pub use judge::judge;
pub use report::{Counterexample, Options, Report, SHRINKING};
pub use terms::{Blind, Budget, Level, Unreadable, Verdict, Watch};
