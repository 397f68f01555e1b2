//! The verdict on a history, level by level.

use super::certificate::Certificate;
use super::counterexample::Counterexample;
use super::history::History;
use super::pass::Break;
use super::problem::{Problem, Unreadable};
use super::proof::Proof;
use super::search::{Budget, Decision, Forced, Level, decide, is_plainly_broken};
use super::witness::{self, Tested};
use std::fmt;
use std::rc::Rc;

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

/// A check that is not made, or made wrongly: mutants of the checker, which the second opinion must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blind {
    /// A value may be shown after what came after it.
    Overwritten,
    /// A value may be missing without a reason.
    Missing,
    /// Something may be met where nothing is.
    Alive,
    /// Winners may differ from reader to reader.
    Winners,
    /// A value may be missing only when its delete was seen: the tempting wording that convicts the innocent.
    Eager,
}

impl Blind {
    /// Every mutant of the checker.
    pub const ALL: [Self; 5] = [Self::Overwritten, Self::Missing, Self::Alive, Self::Winners, Self::Eager];
}

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

    /// Two final reads that differ, in words.
    #[must_use]
    pub fn disagreement(&self, history: &History) -> Option<String> {
        let told = |node: u32| {
            let (at, what) = (node as usize, super::prose::summary(history, node as usize));
            format!("{what} at {} [id {}]", history.replicas.text(history.replica[at]), history.id(at))
        };
        let (one, other) = self.diverged?;
        let why = "Both have every answered write of their key in their past, and differ:";
        Some(format!("{why}\n  {}\n  {}", told(one), told(other)))
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
    if let Some(report) = by_certificate(history, options)? {
        return Ok(report);
    }
    let mut problem = Problem::of(history, options.program_order)?;
    problem.blind = options.blind;
    if let Some(report) = by_witness(history, &problem, options) {
        return Ok(report);
    }
    Ok(judge_problem(history, &problem, options))
}

/// Smaller histories are searched at once, in nodes.
const WITNESS_MIN: usize = 1_000;

/// How many walks all guesses at a run get together.
const WITNESS_WALKS: u64 = 1_000;

/// The verdict if what truly happened can be guessed. A history whose first walk shows it broken needs no guess.
fn by_witness(history: &History, problem: &Problem, options: Options) -> Option<Report> {
    let is_small = problem.nodes() < WITNESS_MIN;
    if is_small || !options.certificates || problem.cycle.is_some() || problem.nonsense.is_some() {
        return None;
    }
    let level = if options.causal_only { Level::Causal } else { Level::Convergent };
    if is_plainly_broken(problem, level) {
        return None;
    }
    let mut budget = Budget { walks: WITNESS_WALKS.min(options.budget.walks), ..options.budget };
    let mut report = witness::find(history, problem, &mut budget, |certificate, budget| {
        by_guess(history, certificate, options, budget)
    })?;
    (report.certified, report.witnessed) = (false, true);
    // The guess says that more was known than tokens say, so it cannot say which reads are final.
    if !options.causal_only {
        (report.convergence, report.diverged) = super::convergence::judge(history, problem);
    }
    Some(report)
}

/// How many walks a certificate gets to find the few deletes that no client read.
const CERTIFICATE_WALKS: u64 = 300;

/// The verdict if the names of versions lead to an explanation at once.
fn by_certificate(history: &History, options: Options) -> Result<Option<Report>, Unreadable> {
    match Certificate::of(history).filter(|_| options.certificates) {
        Some(certificate) => match by_guess(history, &certificate, options, &mut options.budget.clone()) {
            Tested::Fine(report) => Ok(Some(report)),
            Tested::Refuted(_) | Tested::Unknown => Ok(None),
        },
        None => Ok(None),
    }
}

/// The verdict if a guess leads to an explanation.
fn by_guess(history: &History, certificate: &Certificate, options: Options, budget: &mut Budget) -> Tested<Report> {
    let Ok(mut problem) = Problem::certified(history, options.program_order, certificate) else {
        return Tested::Unknown;
    };
    if let Some(cycle) = problem.cycle {
        return Tested::Refuted(cycle);
    }
    if problem.nonsense.is_some() {
        return Tested::Unknown;
    }
    problem.blind = options.blind;
    let level = if options.causal_only { Level::Causal } else { Level::Convergent };
    let mut left = Budget { walks: CERTIFICATE_WALKS.min(budget.walks), ..*budget };
    let (walks, nodes) = (left.walks, left.nodes);
    let decision = decide(&problem, level, &mut left);
    let spent = Budget { walks: walks - left.walks, nodes: nodes - left.nodes, watch: None };
    budget.take(spent);
    let mut proof = match decision {
        Decision::Fine(proof) => proof,
        Decision::Broken(wrong, _) => return Tested::Refuted(wrong.nodes()),
        Decision::Unknown => return Tested::Unknown,
    };
    proof.edges.extend_from_slice(&certificate.edges);
    let mut report = Report::new(history, &problem);
    report.verdicts = [Verdict::Fine; 6];
    report.certified = true;
    report.walks = spent.walks;
    report.proof = Some(proof);
    if options.causal_only {
        report.verdicts[Level::Convergent as usize] = Verdict::Unknown;
    } else {
        (report.convergence, report.diverged) = super::convergence::judge(history, &problem);
    }
    Tested::Fine(report)
}

pub(crate) fn judge_problem(history: &History, problem: &Problem, options: Options) -> Report {
    let mut report = Report::new(history, problem);
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
    if causal == Verdict::Broken && problem.nodes() > super::guarantees::NODES_MAX {
        report.classify(history, options);
    }
    let problem_is_whole = problem.cycle.is_none() && problem.nonsense.is_none();
    if problem_is_whole && !options.causal_only {
        (report.convergence, report.diverged) = super::convergence::judge(history, problem);
    }
    report
}

impl Report {
    fn new(history: &History, problem: &Problem) -> Self {
        let mut warnings = history.warnings.clone();
        if problem.unexplained_reads > 0 {
            let count = problem.unexplained_reads;
            warnings.push(format!("{count} reads returned what the cut-off end may have written, and were not judged"));
        }
        Self {
            operations: history.len(),
            verdicts: [Verdict::Unknown; 6],
            walks: 0,
            convergence: None,
            warnings,
            certified: false,
            witnessed: false,
            proof: None,
            found: None,
            smallest: None,
            diverged: None,
        }
    }

    /// A history too large to be asked for each guarantee is asked through its counterexample. What those few
    /// operations break alone, the whole breaks, because nothing that may excuse them was taken away.
    fn classify(&mut self, history: &History, options: Options) {
        self.smallest = self.counterexample(history, options);
        let Some(found) = self.smallest.as_ref().filter(|found| found.history().len() < history.len()) else { return };
        for level in found.broken() {
            self.verdicts[level as usize] = Verdict::Broken;
        }
    }

    fn decide(&mut self, problem: &Problem, level: Level, budget: Budget) -> Verdict {
        let mut left = budget;
        let decision = decide(problem, level, &mut left);
        self.walks += budget.walks - left.walks;
        match decision {
            Decision::Fine(proof) => {
                self.proof.get_or_insert(proof);
                Verdict::Fine
            }
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
