//! Campaigns: many seeds, one summary. Adding summaries up is commutative, so the result does not depend on
//! how the seeds were spread over threads or machines.

pub mod case;
mod directed;
pub mod floors;
pub mod run;
pub mod shrink;
pub mod transcript;

use crate::campaign::run::{Setting, run};
use crate::generate::{self, Profile};
use crate::oracle::adversity::{Counts, Kind};
use crate::oracle::verdict::{Finding, Verdict, Violation};
use crate::random::mix;
use std::collections::BTreeMap;

/// A failure of a campaign: the lowest seed that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// That seed.
    pub seed: u64,
    /// What it showed.
    pub violation: Violation,
    /// How many seeds showed it.
    pub times: u64,
}

/// What a campaign found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Runs.
    pub schedules: u64,
    /// Inputs handed to replicas and answers handed to clients.
    pub events: u64,
    /// How many of those were idle chatter or its timers.
    pub idle_events: u64,
    /// What really struck.
    pub counts: Counts,
    /// Failures by fingerprint.
    pub failures: BTreeMap<String, Failure>,
    /// A hash over all trace hashes, whatever their order.
    pub hash: u64,
    /// Runs whose clients' history the checker judged as well.
    pub judged: u64,
    /// In how many of them its budget ended. What truly happened explains those in which no oracle convicts.
    pub undecided: u64,
    /// Failures of the oracles by fingerprint: how many the checker convicts, too, and how many are proven to be
    /// invisible to clients.
    pub visible: BTreeMap<String, (u64, u64)>,
}

impl Summary {
    /// Adds one run.
    pub fn add(&mut self, seed: u64, verdict: &Verdict) {
        self.schedules += 1;
        self.events += verdict.events;
        self.idle_events += verdict.idle_events;
        self.counts.join(&verdict.counts);
        self.hash = self.hash.wrapping_add(mix(seed, verdict.hash));
        self.note_judged(verdict);
        if let Some(violation) = &verdict.violation {
            let failure = Failure { seed, violation: violation.clone(), times: 1 };
            self.fail(violation.fingerprint(), failure);
        }
    }

    fn note_judged(&mut self, verdict: &Verdict) {
        let Some(judged) = &verdict.judged else { return };
        self.judged += 1;
        self.undecided += u64::from(matches!(judged.finding, Some(Finding::StoodIn | Finding::Undecided)));
        let (Some(violation), Some(finding)) = (&verdict.violation, judged.finding) else { return };
        let (convicted, invisible) = self.visible.entry(violation.fingerprint()).or_default();
        *convicted += u64::from(finding == Finding::Convicted);
        *invisible += u64::from(finding == Finding::Invisible);
    }

    fn fail(&mut self, fingerprint: String, failure: Failure) {
        match self.failures.get_mut(&fingerprint) {
            None => _ = self.failures.insert(fingerprint, failure),
            Some(known) => {
                let times = known.times + failure.times;
                if failure.seed < known.seed {
                    *known = failure;
                }
                known.times = times;
            }
        }
    }

    /// Adds another part of the same campaign.
    pub fn join(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.idle_events += other.idle_events;
        self.counts.join(&other.counts);
        self.hash = self.hash.wrapping_add(other.hash);
        self.judged += other.judged;
        self.undecided += other.undecided;
        for (fingerprint, (convicted, invisible)) in other.visible {
            let known = self.visible.entry(fingerprint).or_default();
            *known = (known.0 + convicted, known.1 + invisible);
        }
        for (fingerprint, failure) in other.failures {
            self.fail(fingerprint, failure);
        }
    }

    /// The kinds of adversity that happened less often than they must in schedules of this profile.
    #[must_use]
    pub fn below_floor(&self, profile: Profile) -> Vec<Kind> {
        let floor = |kind: Kind| u128::from(floors::floor(profile, kind)) * u128::from(self.schedules);
        let is_low = |kind: &Kind| u128::from(self.counts.count(*kind)) * 1_000 < floor(*kind);
        Kind::ALL.iter().copied().filter(is_low).collect()
    }
}

/// One in so many runs, on average, is judged by the history checker as well as by the oracles; so is every failing one.
pub const JUDGED_EVERY: u64 = 10;

/// Whether the history of this seed's run is judged though no oracle convicts it.
#[must_use]
pub const fn is_judged(seed: u64) -> bool {
    mix(seed, JUDGED_EVERY).is_multiple_of(JUDGED_EVERY)
}

/// Runs these seeds one after another.
#[must_use]
pub fn campaign(seeds: impl IntoIterator<Item = u64>, profile: Profile, setting: Setting) -> Summary {
    campaign_telling(seeds, profile, setting, |_, _| true)
}

/// Runs these seeds one after another, and tells of each failure as soon as it is found. One that does not count, as `tell`
/// says, is left out of the summary, and its schedule is not.
#[must_use]
pub fn campaign_telling(
    seeds: impl IntoIterator<Item = u64>,
    profile: Profile,
    setting: Setting,
    mut tell: impl FnMut(u64, &Violation) -> bool,
) -> Summary {
    let mut summary = Summary::default();
    for seed in seeds {
        let judged = setting.judged || is_judged(seed) && !setting.oracles_off;
        let plan = generate::plan(seed, profile);
        let mut verdict = run(&plan, Setting { judged, ..setting });
        if verdict.violation.as_ref().is_some_and(|violation| !tell(seed, violation)) {
            verdict.violation = None;
        }
        summary.add(seed, &verdict);
        if verdict.violation.is_none() || judged {
            continue;
        }
        // What was added without the checker's judgement gets it now, and may show what only the checker sees.
        let verdict = run(&plan, Setting { judged: true, ..setting });
        summary.note_judged(&verdict);
        let more = verdict.violation.as_ref().filter(|found| found.is_the_checkers());
        if let Some(more) = more.filter(|more| tell(seed, more)) {
            summary.fail(more.fingerprint(), Failure { seed, violation: more.clone(), times: 1 });
        }
    }
    summary
}
