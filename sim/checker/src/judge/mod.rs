//! The verdict on a history, level by level.

mod convergence;
#[cfg(test)]
mod in_time;

use crate::graph::certificate::Certificate;
use crate::graph::{Guesses, Problem, order};
use crate::history::History;
use crate::report::{Counterexample, Options, Report};
use crate::search::{Decision, contradictions, decide, is_plainly_broken};
use crate::terms::{Budget, Level, Unreadable, Verdict};
use crate::witness::{self, Tested};

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

/// By then the guess from names of versions has led to something, or is given up, in parts of [`Watch::WHOLE`].
const CERTIFICATE_UNTIL: u32 = 400;

/// By then the guesses at a run have. What is left of the time is the search's, which alone says that something is broken.
const WITNESS_UNTIL: u32 = 850;

/// How many walks all guesses at a run get together.
const WITNESS_WALKS: u64 = 1_000;

/// The verdict if what truly happened can be guessed. A history that is broken whatever is guessed needs no guess.
fn by_witness(history: &History, problem: &Problem, options: Options) -> Option<Report> {
    let is_small = problem.nodes() < WITNESS_MIN;
    // A run with batches is not played yet.
    let has_batches = !problem.batches.is_empty();
    if is_small || has_batches || !options.certificates || problem.cycle.is_some() || problem.nonsense.is_some() {
        return None;
    }
    let level = if options.causal_only { Level::Causal } else { Level::Convergent };
    if is_plainly_broken(problem, level, &mut options.budget.until(WITNESS_UNTIL)) {
        return None;
    }
    let mut budget = Budget { walks: WITNESS_WALKS.min(options.budget.walks), ..options.budget.until(WITNESS_UNTIL) };
    let mut report = witness::find(history, problem, &mut budget, |certificate, budget, guesses| {
        by_guess(history, certificate, options, budget, guesses)
    })?;
    (report.certified, report.witnessed) = (false, true);
    // The guess says that more was known than tokens say, so it cannot say which reads are final.
    if !options.causal_only {
        (report.convergence, report.diverged) = crate::judge::convergence::judge(history, problem);
    }
    Some(report)
}

/// How many walks a guess gets to find the few deletes that no client read; fewer where they take long.
const GUESS_WALKS: (u64, u64) = (60, 300);

/// How many nodes it may visit by that.
const GUESS_NODES: u64 = 30_000_000;

/// The verdict if the names of versions lead to an explanation at once.
fn by_certificate(history: &History, options: Options) -> Result<Option<Report>, Unreadable> {
    match Certificate::of(history).filter(|_| options.certificates) {
        Some(certificate) => {
            let mut budget = options.budget.until(CERTIFICATE_UNTIL);
            match by_guess(history, &certificate, options, &mut budget, &mut Guesses::new()) {
                Tested::Fine(report) => Ok(Some(report)),
                Tested::Refuted(_) | Tested::Unknown => Ok(None),
            }
        }
        None => Ok(None),
    }
}

/// The verdict if a guess leads to an explanation. What it took beside the guess is kept for the next one.
fn by_guess(
    history: &History,
    certificate: &Certificate,
    options: Options,
    budget: &mut Budget,
    guesses: &mut Guesses,
) -> Tested<Report> {
    let Ok(mut problem) = Problem::certified(history, options.program_order, certificate) else {
        return Tested::Unknown;
    };
    if problem.cycle.is_some() {
        return Tested::Refuted(order::cycles(&problem));
    }
    if problem.nonsense.is_some() {
        return Tested::Unknown;
    }
    problem.blind = options.blind;
    problem.guesses.replace(std::mem::take(guesses));
    let level = if options.causal_only { Level::Causal } else { Level::Convergent };
    let (least, most) = GUESS_WALKS;
    let affordable = (GUESS_NODES / problem.nodes().max(1) as u64).clamp(least, most);
    let mut left = Budget { walks: affordable.min(budget.walks), ..*budget };
    let (walks, nodes) = (left.walks, left.nodes);
    let decision = decide(&problem, level, &mut left);
    let spent = Budget { walks: walks - left.walks, nodes: nodes - left.nodes, watch: None };
    budget.take(spent);
    *guesses = problem.guesses.take();
    let mut proof = match decision {
        Decision::Fine(proof) => proof,
        Decision::Broken(wrong, _) => {
            let mut all = contradictions(&problem, level, &left);
            all.push(wrong.nodes());
            return Tested::Refuted(all);
        }
        Decision::Unknown(contradictions) if contradictions.is_empty() => return Tested::Unknown,
        Decision::Unknown(contradictions) => return Tested::Refuted(contradictions),
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
        (report.convergence, report.diverged) = crate::judge::convergence::judge(history, &problem);
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
    if causal == Verdict::Broken && problem.nodes() > crate::terms::NODES_MAX {
        report.classify(history, options);
    }
    let problem_is_whole = problem.cycle.is_none() && problem.nonsense.is_none();
    if problem_is_whole && !options.causal_only {
        (report.convergence, report.diverged) = crate::judge::convergence::judge(history, problem);
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
            Decision::Unknown(_) => Verdict::Unknown,
            Decision::Broken(wrong, forced) => {
                if self.found.as_ref().is_none_or(|(known, ..)| level < *known) {
                    self.found = Some((level, wrong, forced));
                }
                Verdict::Broken
            }
        }
    }
}

/// How many nodes are visited to find out whether a counterexample breaks one level.
const LEVELS_NODES: u64 = 10_000_000;

impl Counterexample {
    /// All levels that these operations break on their own.
    #[must_use]
    pub fn broken(&self) -> Vec<Level> {
        let broken = || {
            // It is as small as it gets. Where that is large, not all of it can be known.
            let budget = Budget { nodes: LEVELS_NODES, watch: self.watch, ..Budget::default() };
            let options = Options { shrinking: 0, budget, ..Options::default() };
            let report = crate::judge::judge_problem(&self.history, &self.problem, options);
            Level::ALL.into_iter().filter(|&level| report.verdict(level) == Verdict::Broken).collect()
        };
        self.levels.get_or_init(broken).clone()
    }
}
