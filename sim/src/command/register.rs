//! The register of findings, `tests/findings.json`: which failures are known, and which may never come back.

use super::Problem;
use super::cases::read;
use super::files::Input;
use crate::campaign::case::Case;
use crate::campaign::run::Setting;
use crate::generate::{self, Profile};
use crate::oracle::verdict::Violation;
use crate::triage::{Bucket, Shrunk, smaller};
use serde::Deserialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The format that this version reads.
const FORMAT: u32 = 1;

/// The longest register that is read, in bytes.
const BYTES_MAX: u64 = 16 << 20;

/// How a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It fails a campaign, which names it.
    Open,
    /// It is counted, and fails nothing.
    Known,
    /// It may not come back.
    Fixed,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Known => "known",
            Self::Fixed => "fixed",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) status: Status,
    /// The oracle and its sign.
    pub(crate) fingerprint: String,
    /// What `triage` names as the cause. Without it every failure of this sign is meant.
    #[serde(default)]
    pub(crate) cause: Option<String>,
    /// A case of it, beside the register.
    #[serde(default)]
    pub(crate) case: Option<PathBuf>,
    /// The commit that fixed it.
    #[serde(default)]
    pub(crate) fixed_in: Option<String>,
    /// What it is, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "it is read by people alone")]
    about: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    findings: Vec<Finding>,
}

/// A fixed finding whose case fails again.
#[derive(Debug, Clone)]
pub(crate) struct Returned {
    pub(crate) finding: Finding,
    pub(crate) case: PathBuf,
    pub(crate) violation: Violation,
}

/// All findings of a file.
#[derive(Debug, Default)]
pub(crate) struct Register {
    folder: PathBuf,
    findings: Vec<Finding>,
}

impl Register {
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let input = Input::open(path)?;
        let at = |error: String| Problem::from(format!("{}: {error}", input.name));
        let mut text = String::new();
        input.bytes.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| at(error.to_string()))?;
        let File { format, findings } = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        if format != FORMAT {
            return Err(at(format!("format: {format} is not the format {FORMAT} that this version reads")));
        }
        for (n, finding) in findings.iter().enumerate() {
            if findings[..n].iter().any(|other| other.name == finding.name) {
                return Err(at(format!("findings[{n}].name: \"{}\" is there twice", finding.name)));
            }
            if finding.status == Status::Known && finding.cause.is_none() {
                let why = "a known finding names its cause, so that it hides no other bug of this sign";
                return Err(at(format!("findings[{n}].cause: {why}")));
            }
        }
        Ok(Self { folder: path.parent().unwrap_or(Path::new("")).to_owned(), findings })
    }

    /// The finding of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.name == name)
    }

    /// Where the case of a finding lies.
    pub(crate) fn case_of(&self, finding: &Finding) -> Option<PathBuf> {
        finding.case.as_ref().map(|case| self.folder.join(case))
    }

    /// The finding that a failure is. One that names a cause goes before one that names none.
    pub(crate) fn of(
        &self,
        (profile, seed): (Profile, u64),
        setting: Setting,
        violation: &Violation,
    ) -> Option<&Finding> {
        let fingerprint = violation.fingerprint();
        let same = || self.findings.iter().filter(|finding| finding.fingerprint == fingerprint);
        if same().any(|finding| finding.cause.is_some()) {
            let setting = Setting { judged: violation.is_the_checkers(), ..setting };
            let case = Case::of(&generate::plan(seed, profile), setting)?;
            // Often the cause is plain before the case is made small.
            let of_cause = |case: &Case| {
                let cause = Bucket::of(case, setting)?.0.cause();
                same().find(|finding| finding.cause.as_ref() == Some(&cause))
            };
            let small = || Some(smaller(case.clone(), setting, &|| false)).filter(|(_, how)| *how == Shrunk::Whole);
            if let Some(found) = of_cause(&case).or_else(|| small().and_then(|(small, _)| of_cause(&small))) {
                return Some(found);
            }
        }
        same().find(|finding| finding.cause.is_none())
    }

    /// Fixed findings whose cases fail again, with what fails.
    pub(crate) fn returned(&self) -> Result<Vec<Returned>, Problem> {
        let mut returned = Vec::new();
        for finding in self.findings.iter().filter(|finding| finding.status == Status::Fixed) {
            let Some(case) = self.case_of(finding) else { continue };
            let (_, verdict) = read(&case, &[])?.replay();
            let finding = finding.clone();
            returned.extend(verdict.violation.map(|violation| Returned { finding, case, violation }));
        }
        Ok(returned)
    }
}

impl Finding {
    /// What a failure of it is called, after its status.
    pub(crate) fn told(&self) -> String {
        match (self.status, &self.fixed_in, &self.cause) {
            (Status::Open, ..) => format!("the open finding {}", self.name),
            (Status::Known, ..) => format!("the known finding {}", self.name),
            (Status::Fixed, Some(commit), Some(_)) => format!("{} is back, which {commit} fixed", self.name),
            (Status::Fixed, None, Some(_)) => format!("{} is back, which was fixed", self.name),
            (Status::Fixed, ..) => format!("of the same sign as {}, which was fixed", self.name),
        }
    }
}
