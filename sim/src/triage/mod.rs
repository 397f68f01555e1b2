//! Many failures sorted into few bugs: a line a bug, not a line a failure.
//!
//! Each failure is made small. Those of one oracle and sign that one kind of step decided are taken for one bug. No file is read
//! here, and no clock: the caller says when time is up.

mod bucket;
mod bugs;
mod page;

pub use bucket::{Bucket, shape};
pub use bugs::{Bug, Campaign, Rate, bugs};
pub use page::{Drawn, Left, page};

use crate::campaign::case::Case;
use crate::campaign::run::{Setting, run};
use crate::campaign::shrink::shrink;
use crate::generate::{self, Profile};
use crate::observe;
use crate::plan::Plan;
use crate::why;

/// What fails, as it was found.
#[derive(Debug, Clone)]
pub enum Source {
    /// A case.
    Case(Box<Case>),
    /// A line of a campaign, whose plan is drawn again.
    Seed(Profile, u64),
}

/// A failure as it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The file, and the line in it where it has lines.
    pub name: String,
    /// What it was found as.
    pub fingerprint: String,
    /// Its seed.
    pub seed: u64,
    /// The profile of its campaign; empty where that is not known.
    pub profile: String,
    /// The commit that failed; empty where that is not known.
    pub commit: String,
    /// What is run.
    pub setting: Setting,
    /// The plan.
    pub source: Source,
    /// The command that runs it again.
    pub again: String,
    /// It is a line of a campaign, so it counts for the rate.
    pub is_counted: bool,
}

/// How far a failure was made small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shrunk {
    /// As far as it goes.
    Whole,
    /// Until time was up.
    Partly,
    /// Not at all: it fails only with the choices that its case holds.
    Fixed,
}

impl Shrunk {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partly => "partly",
            Self::Fixed => "fixed",
        }
    }
}

/// A failure of this build, made small.
#[derive(Debug, Clone)]
pub struct Failure {
    /// As it was found.
    pub found: Found,
    /// The small case.
    pub case: Case,
    /// Operations and faults before.
    pub from: usize,
    /// How far it was made small.
    pub shrunk: Shrunk,
    /// What it has in common with others of its bug.
    pub bucket: Bucket,
    /// What decided it and why, two sentences.
    pub why: [String; 2],
}

impl Failure {
    /// The picture of the small case.
    #[must_use]
    pub fn svg(&self) -> String {
        let told = why::decided(&self.case.plan, &self.case.choices, self.found.setting);
        told.map(|(story, _)| observe::svg(&story)).unwrap_or_default()
    }
}

/// What became of a failure.
#[derive(Debug, Clone)]
pub enum Sorted {
    /// This build passes it.
    Passes(Found),
    /// Time was up before.
    Unseen(Found),
    /// It fails.
    Fails(Box<Failure>),
}

impl Found {
    /// The name of what is run; empty for the sound replica.
    #[must_use]
    pub fn subject(&self) -> &'static str {
        self.setting.subject_name().unwrap_or_default()
    }

    /// Runs it, makes it small and says which bug it is. `is_over` is asked before each run.
    #[must_use]
    pub fn sorted(self, is_over: &dyn Fn() -> bool) -> Sorted {
        if is_over() {
            return Sorted::Unseen(self);
        }
        let failing = match &self.source {
            Source::Case(case) => Case::of_choices(&case.plan, case.choices.clone(), self.setting),
            Source::Seed(profile, seed) => Case::of(&generate::plan(*seed, *profile), self.setting),
        };
        let Some(case) = failing else { return Sorted::Passes(self) };
        let from = case.plan.size();
        let (case, shrunk) = smaller(case, self.setting, is_over);
        let Some((bucket, why)) = Bucket::of(&case, self.setting) else { return Sorted::Passes(self) };
        Sorted::Fails(Box::new(Failure { found: self, case, from, shrunk, bucket, why }))
    }
}

/// The case as small as it goes in the time that there is, on this thread.
pub(crate) fn smaller(case: Case, setting: Setting, is_over: &dyn Fn() -> bool) -> (Case, Shrunk) {
    let fails = |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == case.fingerprint);
    if !fails(&case.plan) {
        return (case, Shrunk::Fixed);
    }
    let mut trial = |plans: &[Plan]| plans.iter().position(|plan| !is_over() && fails(plan));
    let small = shrink(&case.plan, &mut trial, &mut |_, _| {});
    let shrunk = if is_over() { Shrunk::Partly } else { Shrunk::Whole };
    let smaller = Case::of(&small, setting);
    (smaller.unwrap_or(case), shrunk)
}

impl Bucket {
    /// The bucket of a case as it is, and what decided it; none where it passes.
    #[must_use]
    pub fn of(case: &Case, setting: Setting) -> Option<(Self, [String; 2])> {
        let (story, named) = why::decided(&case.plan, &case.choices, setting)?;
        let why = why::of_step(&story, &named);
        Some((Self::named(&case.fingerprint, &case.plan, (&story, &named)), why))
    }
}
