//! The verdict on a history, level by level.

use super::history::History;
use super::pass::Break;
use super::problem::{Problem, Unreadable};
use super::search::{Budget, Decision, Forced, Level, decide};
use std::fmt;

/// What is said of a history at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An explanation of every event is at hand.
    Fine,
    /// There is none.
    Broken,
    /// Not found out: the search ran out of its budget, or the level has nothing to say.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
        })
    }
}

/// How to judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// A client's own order counts, too, not only its tokens.
    pub program_order: bool,
    /// Look no further than causal consistency.
    pub causal_only: bool,
    /// How much to spend on each level.
    pub budget: Budget,
}

/// The verdict on a history.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many operations were judged.
    pub operations: usize,
    /// One verdict for each level of [`Level::ALL`].
    pub verdicts: [Verdict; 6],
    /// Whether final reads agree; nothing when no two replicas were finally read for one key.
    pub convergence: Option<Verdict>,
    /// What to know about the verdict.
    pub warnings: Vec<String>,
    pub(crate) found: Option<(Level, Break, Vec<Forced>)>,
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

    /// Something is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.weakest_broken().is_some() || self.convergence == Some(Verdict::Broken)
    }
}

/// Judges a history at every level.
///
/// # Errors
///
/// The line of an operation that cannot stand in a history with the others: a token from nowhere, a value written
/// twice.
pub fn judge(history: &History, options: Options) -> Result<Report, Unreadable> {
    let problem = Problem::of(history, options.program_order)?;
    Ok(judge_problem(history, &problem, options))
}

pub(crate) fn judge_problem(history: &History, problem: &Problem, options: Options) -> Report {
    let mut warnings = history.warnings.clone();
    if problem.unexplained_reads > 0 {
        let count = problem.unexplained_reads;
        warnings.push(format!("{count} reads returned what the cut-off end may have written, and were not judged"));
    }
    let mut report = Report {
        operations: history.len(),
        verdicts: [Verdict::Unknown; 6],
        convergence: None,
        warnings,
        found: None,
        diverged: None,
    };
    // Whatever explains the strongest level explains all; the others are asked only when it does not.
    let convergent = match options.causal_only {
        true => Verdict::Unknown,
        false => report.decide(problem, Level::Convergent, options.budget),
    };
    let causal = match convergent {
        Verdict::Fine => Verdict::Fine,
        Verdict::Broken | Verdict::Unknown => report.decide(problem, Level::Causal, options.budget),
    };
    for level in Level::ALL {
        let verdict = match level {
            Level::Causal => causal,
            Level::Convergent if causal == Verdict::Broken => causal,
            Level::Convergent => convergent,
            // An explanation of everything explains every part.
            _ if causal == Verdict::Fine => Verdict::Fine,
            Level::ReadYourWrites | Level::MonotonicReads | Level::MonotonicWrites | Level::WritesFollowReads => {
                report.decide(problem, level, options.budget)
            }
        };
        report.verdicts[level as usize] = verdict;
    }
    let problem_is_whole = problem.cycle.is_none() && problem.nonsense.is_none();
    if problem_is_whole && !options.causal_only {
        (report.convergence, report.diverged) = super::convergence::judge(history, problem);
    }
    report
}

impl Report {
    fn decide(&mut self, problem: &Problem, level: Level, budget: Budget) -> Verdict {
        match decide(problem, level, budget) {
            Decision::Fine(_) => Verdict::Fine,
            Decision::Unknown => Verdict::Unknown,
            Decision::Broken(wrong, forced) => {
                if self.found.as_ref().is_none_or(|(known, ..)| level < *known) {
                    self.found = Some((level, wrong, forced));
                }
                Verdict::Broken
            }
        }
    }
}
