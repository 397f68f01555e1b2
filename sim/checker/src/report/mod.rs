//! What is asked of the judge and what it says: plain data.

pub(crate) mod counterexample;

pub use counterexample::Counterexample;

use crate::proof::Proof;
use crate::terms::{Blind, Break, Budget, Forced, Level, Verdict};
use std::rc::Rc;

/// How to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A client's own order counts, too, not only its tokens.
    pub program_order: bool,
    /// Look no further than causal consistency.
    pub causal_only: bool,
    /// How much to spend on each level.
    pub budget: Budget,
    /// How much to spend on making a counterexample smaller, in steps.
    pub shrinking: u64,
    /// Try what the names of versions suggest first.
    pub certificates: bool,
    /// What is wrong with the checker; none for nothing.
    pub blind: Option<Blind>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program_order: false,
            causal_only: false,
            budget: Budget::default(),
            shrinking: SHRINKING,
            certificates: true,
            blind: None,
        }
    }
}

/// Steps of shrinking; some ten seconds at most.
pub const SHRINKING: u64 = 20_000_000;

/// The verdict on a history.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many operations were judged.
    pub operations: usize,
    /// One verdict for each level of [`Level::ALL`].
    pub verdicts: [Verdict; 6],
    /// How many times the whole history was walked.
    pub walks: u64,
    /// Whether final reads agree; nothing when no two replicas were finally read for one key.
    pub convergence: Option<Verdict>,
    /// What to know about the verdict.
    pub warnings: Vec<String>,
    /// The names of versions led to the explanation.
    pub certified: bool,
    /// The run was played again from hints, and that led to the explanation.
    pub witnessed: bool,
    /// What explains every event, if the strongest level that was asked is fine.
    pub proof: Option<Proof>,
    pub(crate) found: Option<(Level, Break, Vec<Forced>)>,
    /// The counterexample, where the verdict took one.
    pub(crate) smallest: Option<Rc<Counterexample>>,
    /// Two final reads that differ.
    pub(crate) diverged: Option<(u32, u32)>,
}

impl Report {
    /// The verdict at this level.
    #[must_use]
    pub const fn verdict(&self, level: Level) -> Verdict {
        self.verdicts[level as usize]
    }

    /// The weakest level that is broken.
    #[must_use]
    pub fn weakest_broken(&self) -> Option<Level> {
        Level::ALL.into_iter().find(|&level| self.verdict(level) == Verdict::Broken)
    }

    /// How the violation at the weakest broken level shows itself.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        self.found.as_ref().map(|(_, wrong, _)| wrong.name())
    }

    /// Something is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.weakest_broken().is_some() || self.convergence == Some(Verdict::Broken)
    }
}
