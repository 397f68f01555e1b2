//! A planted bug beside a campaign. A campaign that does not find it would find nothing else.

use super::Seeds;
use crate::campaign::run::{Setting, run};
use crate::generate::{self, Profile};
use crate::mutants::Mutant;
use crate::observe::count;
use crate::random::mix;
use serde_json::{Value, json};

/// In so many schedules it must be found. Of those that are drawn, 95 % of kills take 14 schedules or fewer.
const SCHEDULES: u64 = 300;

/// Bugs that are found soon, each by another oracle.
const SOON: [&str; 12] = [
    "serve-uncovered",
    "apply-out-of-turn",
    "replace-nothing",
    "stamp-by-wall",
    "accept-late",
    "survive-never",
    "hearing-covers",
    "reuse-life",
    "ask-nobody",
    "removal-forgotten",
    "never-alone",
    "format-outlives-link",
];

/// A planted bug, and whether it was found.
#[derive(Debug, Clone)]
pub(crate) struct Canary {
    mutant: Mutant,
    seeds: Seeds,
    /// The schedule that failed, counted from 1, and what it broke.
    found: Option<(u64, String)>,
}

impl Canary {
    /// The bug of this name, or with no name the one that the first seed draws.
    pub(crate) fn named(name: &str, first: u64) -> Result<Mutant, String> {
        let drawn = SOON[(mix(first, SOON.len() as u64) % SOON.len() as u64) as usize];
        let name = if name.is_empty() { drawn } else { name };
        Mutant::named(name).ok_or_else(|| format!("there is no mutant \"{name}\" for a canary"))
    }

    /// Runs it until it is found, from this seed on, in the profile in which it shows best.
    pub(crate) fn released(mutant: Mutant, first: u64) -> Self {
        let seeds = Seeds { first, last: first.saturating_add(SCHEDULES - 1) };
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        let sign = |seed: u64| run(&generate::plan(seed, mutant.profile()), setting).violation;
        let found =
            (seeds.first..=seeds.last).find_map(|seed| Some((seed - seeds.first + 1, sign(seed)?.fingerprint())));
        Self { mutant, seeds, found }
    }

    pub(crate) const fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// In one sentence.
    pub(crate) fn told(&self) -> String {
        let name = self.mutant.name();
        match &self.found {
            Some((schedules, sign)) => {
                format!("the canary {name} was found in {}: {sign}", count(*schedules, "schedule"))
            }
            None => {
                format!("the canary {name} was not found in {SCHEDULES} schedules: this campaign may not find anything")
            }
        }
    }

    /// Its JSON line.
    pub(crate) fn line(&self) -> Value {
        let profile: Profile = self.mutant.profile();
        json!({ "kind": "canary", "mutant": self.mutant.name(), "profile": profile.name(),
            "seeds": self.seeds.to_string(), "found": self.is_found(),
            "schedules": self.found.as_ref().map_or(SCHEDULES, |(schedules, _)| *schedules),
            "fingerprint": self.found.as_ref().map(|(_, sign)| sign) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_canary_is_found_soon() {
        for name in SOON {
            let mutant = Canary::named(name, 0).expect("it is there");
            let canary = Canary::released(mutant, 77_000_000);
            assert!(canary.is_found(), "{}", canary.told());
        }
        let drawn: std::collections::BTreeSet<&str> =
            (0..200).filter_map(|first| Some(Canary::named("", first * 1_000).ok()?.name())).collect();
        assert_eq!(drawn.len(), SOON.len());
    }
}
