//! Buckets with what is in them, and how often they came.

use super::{Bucket, Failure, Shrunk, shape};
use crate::observe::count;
use crate::why::wilson;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A campaign, as its last line sums it up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Campaign {
    /// Its profile.
    pub profile: String,
    /// The name of what was run; empty for the sound replica.
    pub subject: String,
    /// The commit of its build.
    pub commit: String,
    /// Its seeds, and which part of them.
    pub seeds: String,
    /// So many schedules ran.
    pub schedules: u64,
    /// Whether the bug that was planted beside it was found; none where none was planted.
    pub canary: Option<bool>,
}

/// How often a bug came in campaigns of one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// That profile.
    pub profile: String,
    /// In so many schedules.
    pub failed: u64,
    /// Of so many.
    pub of: u64,
}

impl Rate {
    /// In words, with its 95 % interval.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { profile, failed, of } = self;
        let share = |share: f64| {
            let digits = if share < 0.01 { 4 } else { 1 };
            let text = format!("{:.digits$}", share * 100.0);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let (low, high) = self.interval();
        format!("{failed} of {of} schedules of {profile} (95 %: {} to {} %)", share(low), share(high))
    }

    /// The 95 % interval of the share.
    #[must_use]
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.failed, self.of)
    }
}

/// Failures that are taken for one bug.
#[derive(Debug, Clone)]
pub struct Bug {
    /// What they have in common.
    pub bucket: Bucket,
    /// So many were found.
    pub times: usize,
    /// The first of them, in the order in which they were given.
    pub first: Failure,
    /// The smallest of them.
    pub smallest: Failure,
    /// How often it came.
    pub rates: Vec<Rate>,
}

/// Sorts failures into bugs, those that came most often first.
#[must_use]
pub fn bugs(failures: Vec<Failure>, campaigns: &[Campaign]) -> Vec<Bug> {
    let mut buckets: BTreeMap<Bucket, Vec<Failure>> = BTreeMap::new();
    for failure in failures {
        buckets.entry(failure.bucket.clone()).or_default().push(failure);
    }
    let bug = |(bucket, failures): (Bucket, Vec<Failure>)| {
        let rates = rates(&failures, campaigns);
        let smallest =
            failures.iter().min_by_key(|failure| (failure.case.plan.size(), failure.case.plan.replicas.len()))?.clone();
        Some(Bug { bucket, times: failures.len(), first: failures.into_iter().next()?, smallest, rates })
    };
    let mut bugs: Vec<Bug> = buckets.into_iter().filter_map(bug).collect();
    bugs.sort_by_key(|bug| std::cmp::Reverse(bug.times));
    bugs
}

/// Of each profile whose campaigns found it: how often, of how many schedules of the same subject.
fn rates(failures: &[Failure], campaigns: &[Campaign]) -> Vec<Rate> {
    let mut failed: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for found in failures.iter().map(|failure| &failure.found).filter(|found| found.is_counted) {
        *failed.entry((&found.profile, found.subject())).or_default() += 1;
    }
    let rate = |((profile, subject), failed): ((&str, &str), u64)| {
        let same = campaigns.iter().filter(|campaign| campaign.profile == profile && campaign.subject == subject);
        let of: u64 = same.map(|campaign| campaign.schedules).sum();
        (of >= failed).then(|| Rate { profile: profile.to_owned(), failed, of })
    };
    failed.into_iter().filter_map(rate).collect()
}

impl Bug {
    /// What it was first seen with, in words.
    #[must_use]
    pub fn first_seen(&self) -> String {
        let found = &self.first.found;
        let of = if found.profile.is_empty() { String::new() } else { format!(" of {}", found.profile) };
        let by = match found.subject() {
            "" => String::new(),
            subject => format!(", {subject}"),
        };
        let commit = if found.commit.is_empty() { String::new() } else { format!(", commit {}", found.commit) };
        format!("{} (seed {}{of}{by}{commit})", found.name, found.seed)
    }

    /// How often, in words.
    #[must_use]
    pub fn seen(&self) -> String {
        let times = count(self.times as u64, "time");
        let rates: Vec<String> = self.rates.iter().map(Rate::text).collect();
        if rates.is_empty() { times } else { format!("{times}; {}", rates.join(", ")) }
    }

    /// How small it is, in words.
    #[must_use]
    pub fn size(&self) -> String {
        let (smallest, plan) = (&self.smallest, &self.smallest.case.plan);
        let left = match smallest.shrunk {
            Shrunk::Whole => "",
            Shrunk::Partly => "; there was no time to make it smaller",
            Shrunk::Fixed => "; it fails only with the choices of its case, so it was not made smaller",
        };
        format!(
            "{} and {} at {}: {} ({}){left}",
            count(plan.operations.len() as u64, "operation"),
            count(plan.faults.len() as u64, "fault"),
            count(plan.replicas.len() as u64, "replica"),
            shape(plan),
            smallest.found.name
        )
    }

    /// All of it for people, the bucket first.
    #[must_use]
    pub fn lines(&self, replay: &str) -> Vec<String> {
        let why = self.smallest.why.join(" ");
        vec![
            self.bucket.to_string(),
            format!("  seen     {}", self.seen()),
            format!("  first    {}", self.first_seen()),
            format!("  smallest {}", self.size()),
            format!("  why      {why}"),
            format!("  replay   {replay}"),
        ]
    }

    /// All of it for programs. `docs/formats.md` describes it.
    #[must_use]
    pub fn json(&self, written: Option<&str>, replay: &str) -> Value {
        let (Self { bucket, times, first, smallest, rates }, plan) = (self, &self.smallest.case.plan);
        let rate = |rate: &Rate| {
            let (low, high) = rate.interval();
            json!({ "profile": rate.profile, "failed": rate.failed, "of": rate.of,
                "low": low, "high": high })
        };
        json!({ "bucket": bucket.to_string(), "fingerprint": bucket.fingerprint, "cause": bucket.cause(),
            "shape": shape(plan), "times": times,
            "first": { "name": first.found.name, "seed": first.found.seed, "profile": first.found.profile,
                "subject": first.found.subject(), "commit": first.found.commit },
            "rates": rates.iter().map(rate).collect::<Vec<_>>(),
            "smallest": { "name": smallest.found.name, "case": written, "operations": plan.operations.len(),
                "faults": plan.faults.len(), "replicas": plan.replicas.len(), "from": smallest.from,
                "shrunk": smallest.shrunk.name(), "violation": smallest.case.violation },
            "why": smallest.why, "replay": replay })
    }
}
