//! The second opinion: what clients saw in a run, judged by the history checker, must agree with the oracles.
//!
//! The oracles look inside, the checker sees answers only, so they cannot always say the same. What must hold:
//!
//! 1. If no oracle convicts, the checker finds nothing broken: the true order explains every answer.
//! 2. If the checker says fine, its explanation passes [`proof::verify`], which knows nothing but the definition. So
//!    a failure that an oracle found and the checker did not is *proven* to be invisible to clients.
//! 3. What the black-box oracle of `history` calls stale, lost or invented is visible to clients: the checker says so.
//! 4. What truly happened explains what clients saw, by the same [`proof::verify`], whenever no oracle convicts.
//! 5. The checker makes up its mind. A history without much order can bring the budget to its end. There the
//!    explanation of rule 4 stands in for the one that the checker did not find. Such runs are counted, and so are
//!    failing ones that it leaves undecided.
//!
//! The black-box oracle is no match for the checker, so where it alone watches, rule 1 is no rule. A conviction by the
//! checker is then a failure of the subject, `history/unexplained`.
//!
//! Anything else is a failure of its own, [`Invariant::Agreement`].

use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Finding, Invariant, Violation};
use hence_checker::history::{History, Operation};
use hence_checker::proof::{self, Proof};
use hence_checker::{Level, Options, Report, Verdict, judge};

/// A sign and the particulars.
type Disagreement = (Sign, String);

/// What the checker says of a run in which the oracles found this, or nothing. `truth` is what truly happened, where
/// the simulator could look inside.
///
/// # Errors
/// How they disagree.
pub fn compare(
    violation: Option<&Violation>,
    operations: &[Operation],
    truth: Option<&Proof>,
    options: Options,
) -> Result<Finding, Disagreement> {
    let unreadable = |what: String| match violation {
        // Two writes with one name, say: no history that a store may make.
        Some(_) => Ok(Finding::Convicted),
        None => Err((Sign::CheckerAlone, what)),
    };
    let history = match History::of(operations) {
        Ok(history) => history,
        Err((at, malformed)) => return unreadable(format!("operation {at}: {malformed}")),
    };
    let report = match judge(&history, options) {
        Ok(report) => report,
        Err(error) => return unreadable(error.to_string()),
    };
    match (report.is_broken(), violation) {
        (true, Some(_)) => return Ok(Finding::Convicted),
        (true, None) => return Err((Sign::CheckerAlone, accusation(&report, &history, options))),
        (false, _) => {}
    }
    let true_one = truth.map(|truth| proof::verify(operations, truth));
    if let (Some(Err(what)), None) = (&true_one, violation) {
        return Err((Sign::TruthExplainsNothing, what.clone()));
    }
    if report.verdict(Level::Convergent) == Verdict::Fine {
        let explanation = report.proof.as_ref().ok_or((Sign::NoExplanation, String::from("none is there")))?;
        proof::verify(operations, explanation).map_err(|what| (Sign::NoExplanation, what))?;
    } else {
        return match (true_one, violation) {
            (Some(Ok(())), None) => Ok(Finding::StoodIn),
            (Some(Ok(())), Some(_)) => Ok(Finding::Invisible),
            (Some(Err(_)) | None, Some(_)) => Ok(Finding::Undecided),
            (Some(Err(_)) | None, None) => Err((Sign::Undecided, format!("{} operations", operations.len()))),
        };
    }
    match violation {
        None => Ok(Finding::Fine),
        Some(violation) if is_visible(violation) => Err((Sign::OracleAlone, violation.to_string())),
        Some(_) => Ok(Finding::Invisible),
    }
}

/// The black-box oracle never looked at anything but answers.
fn is_visible(violation: &Violation) -> bool {
    violation.invariant == Invariant::History && matches!(violation.sign, Sign::Stale | Sign::Lost | Sign::Invented)
}

fn accusation(report: &Report, history: &History, options: Options) -> String {
    match (report.weakest_broken(), report.counterexample(history, options)) {
        (None, _) => "final reads differ".into(),
        (Some(level), None) => format!("{} is broken, and no part proves it", level.title()),
        (Some(_), Some(found)) => found.prose(),
    }
}

/// The failure that a disagreement is. Where the judge could not look inside, a conviction by the checker alone is the
/// subject's failure.
#[must_use]
pub(crate) fn violation((sign, detail): Disagreement, oracle: Option<&Violation>, at: u64, white: bool) -> Violation {
    if sign == Sign::CheckerAlone && !white {
        return Violation { invariant: Invariant::History, sign: Sign::Unexplained, at, replica: None, detail };
    }
    let found = oracle.map_or("nothing".into(), ToString::to_string);
    let detail = format!("the oracles found {found}; the checker: {detail}");
    Violation { invariant: Invariant::Agreement, sign, at, replica: None, detail }
}
