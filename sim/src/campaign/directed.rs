//! Schedules for mutants that chance finds too seldom: each is a case that fails with its mutant, and without it passes.
//!
//! Most are failures of earlier versions of the core, each mended by the sentence that its mutant replaces again. The
//! kill matrix runs them instead of seeds.

use crate::campaign::case::Case;
use crate::mutants::Mutant;

/// The cases as text, by mutant.
const CASES: &[(Mutant, &str)] = &[
    (Mutant::OutcomesPushOut, include_str!("directed/outcomes-push-out.json")),
    (Mutant::AskUnkeptAgain, include_str!("directed/ask-unkept-again.json")),
    (Mutant::PullWithoutMemory, include_str!("directed/pull-without-memory.json")),
    (Mutant::CountJoining, include_str!("directed/count-joining.json")),
    (Mutant::TakeTaintedAnnounced, include_str!("directed/take-tainted-announced.json")),
];

impl Mutant {
    /// The cases that are there for this mutant; none where seeds find it.
    ///
    /// # Panics
    /// If one of them is no case: they are a part of this program.
    #[must_use]
    pub fn directed(self) -> Vec<Case> {
        let own = CASES.iter().filter(|&&(mutant, _)| mutant == self);
        own.map(|&(_, text)| Case::read(text).unwrap_or_else(|error| panic!("{}: {error}", self.name()))).collect()
    }
}
