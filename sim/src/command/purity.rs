//! `mutants --triage`: how well `triage` tells planted bugs apart.

use super::{Done, End, Lines, ProgressLine, cores, output, spread};
use crate::campaign::run::Setting;
use crate::generate;
use crate::mutants::Mutant;
use crate::observe::{count, list};
use crate::triage::{Found, Sorted, Source};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Of a hundred failures so many lie in buckets that are mostly of their own bug.
const PURITY_MIN: usize = 95;

/// Failures of a mutant by bucket.
type Buckets = BTreeMap<String, usize>;

pub(crate) fn run(seeds: u64, failures: usize, only: &[&str], lines: Lines) -> Done {
    if let Some(name) = only.iter().find(|&&name| Mutant::named(name).is_none()) {
        return Err(format!("there is no mutant \"{name}\" of the core").into());
    }
    lines.introduce();
    say!("| mutant | failures | buckets | most often | of them |\n|---|---|---|---|---|");
    let mut all: BTreeMap<&str, Buckets> = BTreeMap::new();
    for &mutant in Mutant::ALL.iter().filter(|mutant| only.is_empty() || only.contains(&mutant.name())) {
        let buckets = of_mutant(mutant, seeds, failures);
        let most = buckets.iter().max_by_key(|(_, times)| **times);
        let (bucket, times) = most.map_or(("none", 0), |(bucket, times)| (bucket.as_str(), *times));
        let found: usize = buckets.values().sum();
        say!("| {} | {found} | {} | {bucket} | {times} |", mutant.name(), buckets.len());
        lines.add(|| json!({ "kind": "buckets", "mutant": mutant.name(), "failures": found, "buckets": buckets }));
        all.insert(mutant.name(), buckets);
        if output::is_lost() {
            return Ok(End::Nothing);
        }
    }
    let alike = alike(&all);
    let (pure, found, median) = measured(&all);
    let (pure_groups, ..) = measured(&grouped(&all, &alike));
    let share = |pure: usize| (pure * 1_000).checked_div(found).unwrap_or_default();
    let said = |share: usize| format!("{}.{} %", share / 10, share % 10);
    say!("\n{} of {found} failures lie in buckets that are mostly of their bug", said(share(pure)));
    say!("{} where bugs with the same symptom count as one", said(share(pure_groups)));
    say!("the median bug has {}; the same symptom have:", count(median as u64, "bucket"));
    alike.iter().for_each(|(bucket, names)| say!("  {bucket}: {}", list(names)));
    lines.add(|| {
        let alike: Value = alike.into_iter().map(|(bucket, names)| (bucket, json!(names))).collect();
        json!({ "kind": "summary", "mutants": all.len(), "failures": found, "pure": pure, "pure_groups": pure_groups,
            "median": median, "alike": alike })
    });
    Ok(if found > 0 && share(pure) >= PURITY_MIN * 10 && median <= 1 { End::Clean } else { End::Violation })
}

/// The first failures of a mutant, sorted.
fn of_mutant(mutant: Mutant, seeds: u64, failures: usize) -> Buckets {
    let (setting, profile) = (Setting { mutant: Some(mutant), ..Setting::default() }, mutant.profile());
    let found = |seed: u64, source: Source| Found {
        name: format!("seed {seed}"),
        fingerprint: String::new(),
        seed,
        profile: profile.name().into(),
        commit: String::new(),
        setting,
        source,
        again: String::new(),
        is_counted: false,
    };
    let fails = |seed: u64| crate::campaign::run::run(&generate::plan(seed, profile), setting).violation.is_some();
    // Where chance finds it too seldom, the schedules that are there for it stand for the first failures.
    let directed: Vec<Found> =
        mutant.directed().into_iter().map(|case| found(case.plan.seed, Source::Case(Box::new(case)))).collect();
    let first =
        || (0..seeds).filter(|&seed| fails(seed)).take(failures).map(|seed| found(seed, Source::Seed(profile, seed)));
    let all: Vec<Found> = if directed.is_empty() { first().collect() } else { directed };
    let mut buckets = Buckets::new();
    let (mut progress, mut done) = (ProgressLine::start(), 0);
    spread(
        cores(),
        all.len(),
        |at| all[at].clone().sorted(&|| false),
        |_, sorted| {
            if let Sorted::Fails(failure) = sorted {
                *buckets.entry(failure.bucket.to_string()).or_default() += 1;
            }
            done += 1;
            progress.show(|_| format!("{}: {done} of {} failures", mutant.name(), all.len()));
            !output::is_lost()
        },
    );
    progress.clear();
    buckets
}

/// How many failures lie in buckets that are mostly of their bug, of how many, and how many buckets the median bug has.
fn measured(all: &BTreeMap<&str, Buckets>) -> (usize, usize, usize) {
    let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for buckets in all.values() {
        buckets.iter().for_each(|(bucket, times)| owners.entry(bucket).or_default().push(*times));
    }
    let pure = owners.values().filter_map(|times| times.iter().max()).sum();
    let found = owners.values().flatten().sum();
    let mut counts: Vec<usize> = all.values().filter(|buckets| !buckets.is_empty()).map(BTreeMap::len).collect();
    counts.sort_unstable();
    (pure, found, counts.get(counts.len() / 2).copied().unwrap_or_default())
}

/// The same with one entry for each group of bugs that show the same symptom.
fn grouped<'a>(all: &BTreeMap<&'a str, Buckets>, alike: &[(String, Vec<&'a str>)]) -> BTreeMap<&'a str, Buckets> {
    let mut grouped: BTreeMap<&str, Buckets> = BTreeMap::new();
    for (&name, buckets) in all {
        let group = alike.iter().find(|(_, names)| names.contains(&name)).map_or(name, |(_, names)| names[0]);
        let into = grouped.entry(group).or_default();
        buckets.iter().for_each(|(bucket, times)| *into.entry(bucket.clone()).or_default() += times);
    }
    grouped
}

/// Bugs whose most frequent bucket is the same: they show the same symptom.
fn alike<'a>(all: &BTreeMap<&'a str, Buckets>) -> Vec<(String, Vec<&'a str>)> {
    let mut groups: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, buckets) in all {
        if let Some((bucket, _)) = buckets.iter().max_by_key(|(_, times)| **times) {
            groups.entry(bucket.clone()).or_default().insert(*name);
        }
    }
    let several = groups.into_iter().filter(|(_, names)| names.len() > 1);
    several.map(|(bucket, names)| (bucket, names.into_iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purity_is_the_share_of_the_most_frequent() {
        let of =
            |pairs: &[(&str, usize)]| pairs.iter().map(|&(name, times)| (name.to_owned(), times)).collect::<Buckets>();
        let all = BTreeMap::from([("a", of(&[("x", 8), ("y", 2)])), ("b", of(&[("x", 3)])), ("c", of(&[("z", 1)]))]);
        assert_eq!(measured(&all), (8 + 2 + 1, 14, 1));
        let alike = alike(&all);
        assert_eq!(alike, [("x".to_owned(), vec!["a", "b"])]);
        assert_eq!(measured(&grouped(&all, &alike)), (14, 14, 2));
    }
}
