//! A case: a failure that can be held in the hand. A JSON file with the plan, the choices by name, and what
//! went wrong. It replays without the generator, and later versions say honestly what became of it.

use crate::campaign::run::{NamedSubject, Setting, Watch, run, run_watched};
use crate::campaign::shrink::shrink;
use crate::engine::choice_log::ChoiceLog;
use crate::mutants::Mutant;
use crate::oracle::verdict::{Verdict, Violation};
use crate::plan::network::Fate;
use crate::plan::{FORMAT, Plan, PlanError, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The longest case file that is read, in bytes.
pub const BYTES_MAX: usize = 64 << 20;

/// A case file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// [`FORMAT`].
    pub format: u32,
    /// What was wrong, in one sentence for people; empty at first.
    #[serde(default)]
    pub about: String,
    /// The commit of the build that wrote it, where that is known.
    #[serde(default)]
    pub revision: String,
    /// The campaign that found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The mutant that it convicts; none for the sound rules.
    #[serde(default)]
    pub mutant: Option<String>,
    /// It convicts the naive scheme of `baseline`, not the product's replica.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub baseline: bool,
    /// It convicts the subject of this name, which another package brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The detector doubted at random.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspicious: bool,
    /// What counts as the same failure.
    pub fingerprint: String,
    /// The violation as it was found.
    pub violation: Violation,
    /// The trace hash, in hexadecimal.
    pub hash: String,
    /// What is run.
    pub plan: Plan,
    /// What the network did with each message, by name.
    #[serde(default)]
    pub choices: BTreeMap<String, Fate>,
}

/// The campaign that found a case. A smaller case has the origin of the one that it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from, `unknown` where that was not known.
    pub commit: String,
    /// How it was called.
    pub command: String,
    /// The profile that plans were drawn by.
    pub profile: String,
    /// The seeds that were asked for.
    pub seeds: String,
    /// Which part of them, of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
}

/// Why a text is not a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseError {
    /// Longer than [`BYTES_MAX`].
    TooLong(usize),
    /// Not JSON of this shape; names line and column.
    Shape(String),
    /// A number outside its plan cannot be.
    Place(PlanError),
    /// A number or reference in its plan cannot be.
    Plan(PlanError),
    /// It names a mutant that this version does not have.
    Mutant(String),
    /// It names a subject that this program does not have.
    Subject(String),
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "the file has {bytes} bytes; at most {BYTES_MAX} are read"),
            Self::Shape(problem) => f.write_str(problem),
            Self::Place(error) => write!(f, "{error}"),
            Self::Plan(error) => write!(f, "plan.{error}"),
            Self::Mutant(name) => write!(f, "mutant: there is no mutant \"{name}\""),
            Self::Subject(name) => write!(f, "subject: this program has no subject \"{name}\""),
        }
    }
}

impl std::error::Error for CaseError {}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It fails as it did.
    Same,
    /// It fails in another way.
    Other(Violation),
    /// It passes.
    Passes {
        /// Recorded choices that never came up.
        unmatched: usize,
        /// Choices that came up and were not recorded.
        fresh: usize,
    },
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Other(_) => "other",
            Self::Passes { .. } => "passes",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("same failure"),
            Self::Other(violation) => write!(f, "another failure: {violation}"),
            Self::Passes { unmatched, fresh } => {
                write!(f, "passes with {unmatched} choices that no longer matched and {fresh} new ones")
            }
        }
    }
}

impl Case {
    /// Runs a plan that fails once more, recorded, and keeps it as a case. None if it passes.
    #[must_use]
    pub fn of(plan: &Plan, setting: Setting) -> Option<Self> {
        Self::of_choices(plan, BTreeMap::new(), setting)
    }

    /// Runs a plan with these choices and keeps its failure.
    #[must_use]
    pub fn of_choices(plan: &Plan, choices: BTreeMap<String, Fate>, setting: Setting) -> Option<Self> {
        let watch = Watch { choice_log: Some(ChoiceLog::following(choices)), observer: None };
        let (verdict, choice_log) = run_watched(plan, setting, watch);
        let violation = verdict.violation?;
        Some(Self {
            format: FORMAT,
            about: String::new(),
            revision: String::new(),
            origin: None,
            mutant: setting.mutant.map(|mutant| mutant.name().into()),
            baseline: setting.baseline,
            subject: setting.subject.map(|subject| subject.name().into()),
            suspicious: setting.suspicious,
            fingerprint: violation.fingerprint(),
            violation,
            hash: format!("{:016x}", verdict.hash),
            plan: plan.clone(),
            choices: choice_log.map(|choice_log| choice_log.made().clone()).unwrap_or_default(),
        })
    }

    /// Reads a case file.
    ///
    /// # Errors
    /// See [`CaseError`].
    pub fn read(text: &str) -> Result<Self, CaseError> {
        Self::read_among(text, &[])
    }

    /// Reads a case file that may be of one of these subjects.
    ///
    /// # Errors
    /// See [`CaseError`].
    pub fn read_among(text: &str, subjects: &[NamedSubject]) -> Result<Self, CaseError> {
        if text.len() > BYTES_MAX {
            return Err(CaseError::TooLong(text.len()));
        }
        let case: Self = serde_json::from_str(text).map_err(|error| CaseError::Shape(error.to_string()))?;
        if case.format != FORMAT {
            let problem = format!("{} is not the format {FORMAT} that this version reads", case.format);
            return Err(CaseError::Place(PlanError { place: "format".into(), problem }));
        }
        case.plan.check().map_err(CaseError::Plan)?;
        for (name, fate) in &case.choices {
            if fate.delay.max(fate.copy.unwrap_or(0)) > limits::TIME_MAX {
                let problem = format!("{fate:?} takes longer than {} microseconds", limits::TIME_MAX);
                return Err(CaseError::Place(PlanError { place: format!("choices[\"{name}\"]"), problem }));
            }
        }
        case.setting_among(subjects)?;
        Ok(case)
    }

    /// The case as text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What it is run with.
    ///
    /// # Errors
    /// If it names a mutant that does not exist, or another package's subject.
    pub fn setting(&self) -> Result<Setting, CaseError> {
        self.setting_among(&[])
    }

    /// What it is run with, where it may be of one of these subjects.
    ///
    /// # Errors
    /// If it names a mutant or a subject that does not exist.
    pub fn setting_among(&self, subjects: &[NamedSubject]) -> Result<Setting, CaseError> {
        let subject = match &self.subject {
            None => None,
            Some(name) => {
                let found = subjects.iter().find(|subject| subject.name() == name);
                Some(*found.ok_or_else(|| CaseError::Subject(name.clone()))?)
            }
        };
        let mutant = match &self.mutant {
            None => None,
            Some(name) => Some(Mutant::named(name).ok_or_else(|| CaseError::Mutant(name.clone()))?),
        };
        // Only the checker's judgement shows that it disagrees.
        let judged = self.violation.is_the_checkers();
        let Self { baseline, suspicious, .. } = *self;
        Ok(Setting { mutant, subject, baseline, suspicious, judged, ..Setting::default() })
    }

    /// Runs it again.
    ///
    /// # Panics
    /// If it is of a subject that another package brings: [`Case::replay_with`] takes that.
    #[must_use]
    pub fn replay(&self) -> (Outcome, Verdict) {
        self.replay_with(self.setting().expect("a case that was read names what there is"))
    }

    /// Runs it again with this, as [`Case::setting_among`] says it.
    #[must_use]
    pub fn replay_with(&self, setting: Setting) -> (Outcome, Verdict) {
        let watch = Watch { choice_log: Some(ChoiceLog::following(self.choices.clone())), observer: None };
        let (verdict, choice_log) = run_watched(&self.plan, setting, watch);
        let outcome = match &verdict.violation {
            Some(violation) if violation.fingerprint() == self.fingerprint => Outcome::Same,
            Some(violation) => Outcome::Other(violation.clone()),
            None => {
                let (unmatched, fresh) = choice_log.map(|choice_log| choice_log.unmatched()).unwrap_or_default();
                Outcome::Passes { unmatched, fresh }
            }
        };
        (outcome, verdict)
    }

    /// As small as it goes, on this thread. `None` where the plan passes without the recorded choices.
    #[must_use]
    pub fn shrunk(&self, setting: Setting) -> Option<Self> {
        let fails =
            |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == self.fingerprint);
        if !fails(&self.plan) {
            return None;
        }
        let small = shrink(&self.plan, &mut |plans| plans.iter().position(fails), &mut |_, _| {});
        let case = Self::of(&small, setting)?;
        Some(Self { about: self.about.clone(), origin: self.origin.clone(), revision: self.revision.clone(), ..case })
    }
}
