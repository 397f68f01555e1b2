//! What a run ends in.

use super::adversity::Counts;
use super::sign::Sign;
use hence_checker::history::Operation;
use hence_checker::proof::Proof;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which promise was broken. `docs/protocol.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// INV-1: no dot is issued twice.
    Dots,
    /// INV-2: every operation applied has its true causal past applied.
    Causes,
    /// INV-3: an answer includes the client's true causal past.
    Sessions,
    /// INV-4: an answer is exactly what the promise says for the operations truly included.
    Answers,
    /// INV-5: a replica's store is the replay of exactly the operations truly included.
    Store,
    /// INV-6: a refusal has its reason.
    Refusals,
    /// INV-7: after heal and quiet, all replicas are equal and up.
    Convergence,
    /// INV-8: stamps grow along true causality.
    Stamps,
    /// INV-9: merging is commutative, associative and idempotent.
    Merge,
    /// INV-10: memory stays within its limits, and no state is sent where a log would do.
    Bounds,
    /// INV-17: a damaged frame is refused and changes nothing.
    Frames,
    /// INV-11: tokens at rest are no longer than the membership.
    Tokens,
    /// INV-12: only operators remove and add, and what a removed replica holds does not stay with it.
    Membership,
    /// INV-16: what a cut held up is not news when it arrives; repair brings it.
    Freshness,
    /// INV-18: what one member does not understand is not used.
    Formats,
    /// INV-19: what a write concern counts holds the write.
    Concern,
    /// INV-20: a watch holds at each mark what its replica shows.
    Watch,
    /// INV-15: every request is answered once, and idle traffic returns.
    Liveness,
    /// The subject's own assertion failed.
    Panic,
    /// What clients saw has no causal explanation.
    History,
    /// The history checker and the oracles disagree.
    Agreement,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 21] = [
        Self::Dots,
        Self::Causes,
        Self::Sessions,
        Self::Answers,
        Self::Store,
        Self::Refusals,
        Self::Convergence,
        Self::Stamps,
        Self::Merge,
        Self::Bounds,
        Self::Frames,
        Self::Tokens,
        Self::Membership,
        Self::Freshness,
        Self::Formats,
        Self::Concern,
        Self::Watch,
        Self::Liveness,
        Self::Panic,
        Self::History,
        Self::Agreement,
    ];

    /// Its number in `docs/protocol.md`, which names the rules that it tests; none for what is no rule of the protocol.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Dots => Some(1),
            Self::Causes => Some(2),
            Self::Sessions => Some(3),
            Self::Answers => Some(4),
            Self::Store => Some(5),
            Self::Refusals => Some(6),
            Self::Convergence => Some(7),
            Self::Stamps => Some(8),
            Self::Merge => Some(9),
            Self::Bounds => Some(10),
            Self::Frames => Some(17),
            Self::Tokens => Some(11),
            Self::Membership => Some(12),
            Self::Freshness => Some(16),
            Self::Formats => Some(18),
            Self::Concern => Some(19),
            Self::Watch => Some(20),
            Self::Liveness => Some(15),
            Self::Panic | Self::History | Self::Agreement => None,
        }
    }

    /// A short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dots => "dots",
            Self::Causes => "causes",
            Self::Sessions => "sessions",
            Self::Answers => "answers",
            Self::Store => "store",
            Self::Refusals => "refusals",
            Self::Convergence => "convergence",
            Self::Stamps => "stamps",
            Self::Merge => "merge",
            Self::Bounds => "bounds",
            Self::Frames => "frames",
            Self::Tokens => "tokens",
            Self::Membership => "membership",
            Self::Freshness => "freshness",
            Self::Formats => "formats",
            Self::Concern => "concern",
            Self::Watch => "watch",
            Self::Liveness => "liveness",
            Self::Panic => "panic",
            Self::History => "history",
            Self::Agreement => "agreement",
        }
    }
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// How it showed: one word that stays the same while a case shrinks.
    pub sign: Sign,
    /// When, in microseconds of simulated time.
    pub at: u64,
    /// At which replica, if at one.
    pub replica: Option<usize>,
    /// The particulars.
    pub detail: String,
}

impl Violation {
    /// Only a run that the history checker judges shows it.
    #[must_use]
    pub fn is_the_checkers(&self) -> bool {
        self.invariant == Invariant::Agreement || self.invariant == Invariant::History && self.sign == Sign::Unexplained
    }

    /// What counts as the same failure.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("{}/{}", self.invariant.name(), self.sign)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}.{:06} s", self.fingerprint(), self.at / 1_000_000, self.at % 1_000_000)?;
        if let Some(replica) = self.replica {
            write!(f, ", replica {}", crate::plan::Plan::name(replica))?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What the checker said, where it may say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// No judge finds anything.
    Fine,
    /// The checker convicts, too.
    Convicted,
    /// There is an explanation of all that clients saw, and it holds.
    Invisible,
    /// No judge finds anything, but the checker's budget ended, and what truly happened stood in.
    StoodIn,
    /// The oracles convict, and the checker's budget ended.
    Undecided,
}

/// A judged run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What clients saw.
    pub history: Vec<Operation>,
    /// What truly happened, where the simulator could look inside.
    pub truth: Option<Proof>,
    /// What the checker said; none when it disagrees with the oracles.
    pub finding: Option<Finding>,
}

/// The end of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The first broken promise, if any.
    pub violation: Option<Violation>,
    /// The running hash over every event.
    pub hash: u64,
    /// Inputs handed to replicas and answers handed to clients.
    pub events: u64,
    /// How many of those were idle chatter or its timers.
    pub idle_events: u64,
    /// When it ended, in microseconds of simulated time.
    pub ended_at: u64,
    /// What really struck.
    pub counts: Counts,
    /// What the checker made of what clients saw, if it was asked.
    pub judged: Option<Judged>,
}
