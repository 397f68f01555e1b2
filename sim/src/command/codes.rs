//! The exit codes of each command, as its `--help` shows them. 0 is never said of what was not judged.

/// `hence-sim` itself.
pub(crate) const ALL: &str = codes!(
    0: "everything that was asked for was judged, and is fine",
    1: "something is wrong, also where the command was cut short after that",
    4: "nothing was judged, or no verdict was reached, or it could not be told",
    "The help of each command says what that means there."
);

/// `run`.
pub(crate) const RUN: &str = codes!(
    0: "every schedule that was asked for ran, within --time, and none failed",
    1: "a schedule failed, with --floors too little adversity, or with --findings a fixed one came back; also when the
         run was cut short then",
    4: "no schedule ran, or the run was cut short without a failure: by a signal, by a full disk; or the canary was not
         found",
    "Failures are kept as they are found, whatever ends the run. SIGINT, SIGTERM or SIGHUP ends it with a report\n\
     of what ran; a second one ends it at once."
);

/// `replay`.
pub(crate) const REPLAY: &str = codes!(
    0: "the case passes",
    1: "the case fails, as it did or in another way",
    4: "what came of it could not be told"
);

/// `shrink`.
pub(crate) const SHRINK: &str = codes!(
    0: "never: what a smaller case shows is a violation",
    1: "the smaller case is written",
    4: "the disk is full",
    "SIGINT, SIGTERM or SIGHUP ends it early and writes the smallest case so far; a second one ends it at once."
);

/// `show`.
pub(crate) const SHOW: &str = codes!(
    0: "the case passes",
    1: "the case fails",
    4: "what happens could not be told"
);

/// `explore`.
pub(crate) const EXPLORE: &str = codes!(
    0: "it was ended by Ctrl-C; with --diff and --json, the two runs are printed",
    1: "never: it judges nothing",
    4: "it could not say its address, or print the two runs"
);

/// `why`.
pub(crate) const WHY: &str = codes!(
    0: "the case passes, so there is nothing to explain",
    1: "the case fails, and why is said",
    4: "it could not be told"
);

/// `triage`.
pub(crate) const TRIAGE: &str = codes!(
    0: "everything in the folder passes, and each campaign found its canary",
    1: "something in it fails",
    4: "there is nothing in it, nothing failed before time was up, or a campaign did not find a canary"
);

/// `bisect`.
pub(crate) const BISECT: &str = codes!(
    0: "the first commit that fails is named",
    1: "never: it judges commits by what their own programs say",
    4: "it is not: both ends are alike, or it is one of several that cannot tell"
);

/// `mutants`.
pub(crate) const MUTANTS: &str = codes!(
    0: "each mutant was found as often as was asked; with --shrink, at most 12 operations and faults in the median;
         with --why, nine in ten were named; with --triage, the median has one bucket, and 95 of 100 failures lie in those
         of their bug",
    1: "one was found less often, with --shrink more are left, with --why fewer were named, or with --triage they are mixed",
    4: "the reader of the table left before its end"
);

/// `soak`.
pub(crate) const SOAK: &str = codes!(
    0: "nothing grew and nothing broke",
    1: "something did",
    4: "the reader left before the end"
);

/// `hashes`.
pub(crate) const HASHES: &str = codes!(
    0: "the hashes are printed; with --against, nothing differs",
    1: "with --against, something differs",
    4: "not all could be printed"
);

/// `check`.
pub(crate) const CHECK: &str = codes!(
    0: "everything that --level asks for is fine",
    1: "something is broken",
    4: "nothing is broken as far as is known, and something is unknown; or an output could not be written"
);

/// `check-bench`.
pub(crate) const CHECK_BENCH: &str = codes!(
    0: "every history was measured, and is fine; or the history of --file was made",
    1: "a history is broken",
    4: "nothing was measured, or no verdict was reached"
);

/// `bench`.
pub(crate) const BENCH: &str = codes!(
    0: "the figures are printed",
    1: "a schedule failed",
    4: "the figures could not be printed"
);
