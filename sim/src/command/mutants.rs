//! `mutants`: how many schedules until each planted bug is found, in the core, in the simulator, in the oracles.

use super::{Done, End, Lines, ProgressLine, clock, cores, output, spread};
use crate::campaign::Summary;
use crate::campaign::case::{Case, Outcome};
use crate::campaign::run::{Setting, run as run_plan};
use crate::generate::{self, Profile};
use crate::mutants::Mutant;
use crate::mutants::harness::{HarnessMutant, PAIRS};
use crate::oracle::verdict::{Invariant, Verdict};
use serde_json::json;
use std::collections::BTreeMap;

/// Seeds that a thread tries at a time.
const BATCH: u64 = 32;

/// A campaign of so many schedules that a mutant of the simulator passes has not found it.
const CAMPAIGN_MAX: u64 = 4_000;

/// What a mutant of the core is planted in.
const CORE: &str = "core";

/// Schedules until found, for each kill, and how it was found.
struct Row {
    name: String,
    /// What it is planted in.
    of: &'static str,
    /// The profile of its seeds, or what stands for it.
    profile: &'static str,
    kills: Vec<u64>,
    /// Kills that are asked of it.
    asked: usize,
    by: String,
}

impl Row {
    /// Prints it, and says whether it was found as often as was asked.
    fn print(mut self, lines: Lines) -> bool {
        self.kills.sort_unstable();
        let last = self.kills.len().saturating_sub(1);
        let at = |parts: usize| self.kills.get((self.kills.len() * parts / 100).min(last));
        let text = |kill: Option<&u64>| kill.map_or_else(|| "-".into(), ToString::to_string);
        let (name, kills, by) = (self.name, self.kills.len(), self.by);
        say!("| {name} | {} | {kills} | {} | {} | {by} |", self.profile, text(at(50)), text(at(95)));
        let is_found = kills >= self.asked;
        lines.add(|| {
            json!({ "kind": "mutant", "mutant": name, "of": self.of, "profile": self.profile, "kills": kills,
                "asked": self.asked, "found": is_found, "median": at(50), "percentile_95": at(95), "by": by })
        });
        is_found
    }
}

fn header(title: &str) {
    say!("\n{title}\n\n| mutant | profile | kills | median | 95 % | mostly found by |\n|---|---|---|---|---|---|");
}

pub(crate) fn run(seeds: u64, kills: usize, (only, profile): (Option<&str>, Option<Profile>), lines: Lines) -> Done {
    // Rows that no reader gets are not worth their hours.
    let wanted = |name: &str| only.is_none_or(|only| only == name) && !output::is_lost();
    let pairs = || PAIRS.iter().map(|&(oracle, mutant)| pair_name(oracle, mutant));
    let names = Mutant::ALL.iter().map(|it| it.name()).chain(HarnessMutant::ALL.iter().map(|it| it.name()));
    if let Some(name) = only.filter(|only| !names.map(str::to_owned).chain(pairs()).any(|name| name == **only)) {
        return Err(format!("there is no mutant \"{name}\" in the matrix").into());
    }
    lines.introduce();
    let started = clock();
    let mut survivors = Vec::new();
    let mut rows = 0;
    let mut keep = |row: Row| {
        rows += 1;
        let name = row.name.clone();
        if !row.print(lines) {
            survivors.push(name);
        }
    };
    header("Core");
    Mutant::ALL.iter().filter(|it| wanted(it.name())).for_each(|&it| {
        // Where a profile is asked for, seeds are asked about.
        let directed = if profile.is_none() { it.directed() } else { Vec::new() };
        keep(match directed.as_slice() {
            [] => of_core(it, seeds, kills, profile.unwrap_or_else(|| it.profile())),
            cases => of_directed(it, cases),
        });
    });
    header("Simulator");
    HarnessMutant::ALL.iter().filter(|it| wanted(it.name())).for_each(|&it| keep(of_simulator(it, kills)));
    header("Oracles");
    let pairs = PAIRS.iter().filter(|&&(oracle, mutant)| wanted(&pair_name(oracle, mutant)));
    pairs.for_each(|&(oracle, mutant)| keep(of_oracle(oracle, mutant, seeds, kills)));
    let seconds = started.elapsed().as_secs_f64();
    say!("\n{} of {rows} found less than {kills} times in {seconds:.0} s: {}", survivors.len(), survivors.join(", "));
    lines.add(|| json!({ "kind": "summary", "mutants": rows, "survivors": survivors, "seconds": seconds }));
    Ok(match () {
        () if !survivors.is_empty() => End::Violation,
        () if output::is_lost() => End::Nothing,
        () => End::Clean,
    })
}

/// The seeds whose schedules a hunt finds worth a word, in order, until enough of the words count.
fn hunt<T: Send>(
    name: &str,
    seeds: u64,
    enough: usize,
    find: impl Fn(u64) -> Option<T> + Sync,
    counts: impl Fn(&T) -> bool,
) -> BTreeMap<u64, T> {
    let job = |batch: usize| {
        let from = batch as u64 * BATCH;
        (from..(from + BATCH).min(seeds)).filter_map(|seed| Some((seed, find(seed)?))).collect::<Vec<_>>()
    };
    let mut found = BTreeMap::new();
    let mut progress = ProgressLine::start();
    let mut tried = 0;
    spread(cores(), seeds.div_ceil(BATCH) as usize, job, |_, some| {
        found.extend(some);
        let kills = found.values().filter(|word| counts(word)).count();
        tried += BATCH;
        progress.show(|passed| {
            format!("{name}: {kills} kills, {:.0} schedules/s", tried as f64 / passed.as_secs_f64().max(1e-6))
        });
        kills < enough
    });
    progress.clear();
    found
}

/// From one kill to the next.
fn gaps(seeds: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut next = 0;
    let gap = |seed: u64| seed + 1 - std::mem::replace(&mut next, seed + 1);
    seeds.map(gap).collect()
}

fn of_core(mutant: Mutant, seeds: u64, kills: usize, profile: Profile) -> Row {
    let setting = Setting { mutant: Some(mutant), ..Setting::default() };
    let sign = |seed| run_plan(&generate::plan(seed, profile), setting).violation.map(|found| found.fingerprint());
    let found = hunt(mutant.name(), seeds, kills, sign, |_| true);
    let mut signs = BTreeMap::<&str, u64>::new();
    found.values().take(kills).for_each(|sign| *signs.entry(sign).or_default() += 1);
    let by = signs.iter().max_by_key(|(_, times)| **times).map_or("nobody", |(sign, _)| sign).to_owned();
    let kills_found = gaps(found.keys().copied().take(kills));
    Row { name: mutant.name().into(), of: CORE, profile: profile.name(), kills: kills_found, asked: kills, by }
}

/// A mutant that chance finds too seldom: every schedule that is there for it convicts it, and passes without it.
fn of_directed(mutant: Mutant, cases: &[Case]) -> Row {
    let convicts = |case: &&Case| {
        let sound = Setting { mutant: None, ..case.setting().unwrap_or_default() };
        case.replay().0 == Outcome::Same && run_plan(&case.plan, sound).violation.is_none()
    };
    let signs: Vec<&str> = cases.iter().filter(convicts).map(|case| case.fingerprint.as_str()).collect();
    let (by, kills) = (signs.first().copied().unwrap_or("nobody").to_owned(), vec![1; signs.len()]);
    Row { name: mutant.name().into(), of: CORE, profile: "directed", kills, asked: cases.len(), by }
}

/// A mutant of the simulator is found by the smallest campaign that an oracle or a floor fails. The sound simulator
/// must pass the same seeds, floors included. Each kill has seeds of its own.
fn of_simulator(harness_mutant: HarnessMutant, kills: usize) -> Row {
    let mut found = Vec::new();
    let mut signs = BTreeMap::<String, u64>::new();
    let job = |block: usize| smallest_campaign(harness_mutant, block as u64 * CAMPAIGN_MAX);
    spread(cores(), kills, job, |_, kill| {
        if let Some((schedules, sign)) = kill {
            found.push(schedules);
            *signs.entry(sign).or_default() += 1;
        }
        true
    });
    let by = signs.into_iter().max_by_key(|&(_, times)| times).map_or("nobody".into(), |(sign, _)| sign);
    let (name, profile) = (harness_mutant.name().into(), Profile::Mixed.name());
    Row { name, of: "simulator", profile, kills: found, asked: kills, by }
}

fn smallest_campaign(harness_mutant: HarnessMutant, from: u64) -> Option<(u64, String)> {
    let planted = Setting { harness_mutant: Some(harness_mutant), ..Setting::default() };
    let (mut sound, mut tame) = (Summary::default(), Summary::default());
    for seed in from..from + CAMPAIGN_MAX {
        let plan = generate::plan(seed, Profile::Mixed);
        let verdict = |setting| -> Verdict { run_plan(&plan, setting) };
        tame.add(seed, &verdict(planted));
        if let Some(sign) = tame.failures.keys().next() {
            return Some((tame.schedules, sign.clone()));
        }
        sound.add(seed, &verdict(Setting::default()));
        if let (Some(kind), true) =
            (tame.below_floor(Profile::Mixed).first(), sound.below_floor(Profile::Mixed).is_empty())
        {
            return Some((tame.schedules, format!("the floor of {}", kind.name())));
        }
    }
    None
}

fn pair_name(oracle: Invariant, mutant: Mutant) -> String {
    format!("blind-{}+{}", oracle.name(), mutant.name())
}

/// A mutant of an oracle is found by a schedule that the oracle convicts and that passes when the oracle is blind. Then
/// the pair survives, so only this oracle stood in its way.
fn of_oracle(oracle: Invariant, mutant: Mutant, seeds: u64, kills: usize) -> Row {
    let name = pair_name(oracle, mutant);
    let found = hunt(&name, seeds, kills, |seed| survives_without(oracle, mutant, seed), |&survives| survives);
    let survived = found.iter().filter(|&(_, &survives)| survives).map(|(&seed, _)| seed);
    let passes = survived.clone().count();
    let by = format!("survives {passes} of {} schedules that {} convicts", found.len(), oracle.name());
    let profile = mutant.profile().name();
    Row { name, of: "oracles", profile, kills: gaps(survived.take(kills)), asked: kills, by }
}

/// None where this oracle does not convict; else whether the schedule passes without it.
fn survives_without(oracle: Invariant, mutant: Mutant, seed: u64) -> Option<bool> {
    let plan = generate::plan(seed, mutant.profile());
    let with = |harness_mutant| {
        run_plan(&plan, Setting { mutant: Some(mutant), harness_mutant, ..Setting::default() }).violation
    };
    with(None).filter(|found| found.invariant == oracle)?;
    Some(with(Some(HarnessMutant::DisabledOracle(oracle))).is_none())
}
