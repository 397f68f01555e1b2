//! `mutants`: how many schedules until each planted bug is found.

use super::{Done, End, ProgressLine, cores, spread};
use hence_sim::draw::{self, Profile};
use hence_sim::mutants::Mutant;
use hence_sim::run::{Setting, run as run_plan};
use std::collections::BTreeMap;

/// Seeds that a thread tries at a time.
const BATCH: u64 = 32;

pub(crate) fn run(seeds: u64, kills: usize, only: Option<&str>) -> Done {
    if let Some(name) = only.filter(|name| Mutant::named(name).is_none()) {
        return Err(format!("there is no mutant \"{name}\""));
    }
    println!("| mutant | kills | median | 95 % | mostly convicted by |");
    println!("|---|---|---|---|---|");
    let mut survived = 0;
    for &mutant in Mutant::ALL.iter().filter(|mutant| only.is_none_or(|name| mutant.name() == name)) {
        let (mut gaps, signs) = measure(mutant, seeds, kills);
        survived += usize::from(gaps.is_empty() && !mutant.is_harmless());
        gaps.sort_unstable();
        let at = |parts: usize| gaps.get((gaps.len() * parts / 100).min(gaps.len().saturating_sub(1)));
        let text = |gap: Option<&u64>| gap.map_or_else(|| "-".into(), ToString::to_string);
        if gaps.is_empty() && mutant.is_harmless() {
            println!("| {} | 0 | - | - | nobody: it breaks no promise that a schedule can see |", mutant.name());
            continue;
        }
        let mostly = signs.iter().max_by_key(|(_, times)| **times).map_or("nobody", |(sign, _)| sign);
        println!("| {} | {} | {} | {} | {mostly} |", mutant.name(), gaps.len(), text(at(50)), text(at(95)));
    }
    println!("{survived} survived");
    Ok(if survived == 0 { End::Clean } else { End::Violation })
}

/// Schedules from one kill to the next, and who convicted.
fn measure(mutant: Mutant, seeds: u64, kills: usize) -> (Vec<u64>, BTreeMap<String, u64>) {
    let setting = Setting { mutant: Some(mutant), ..Setting::default() };
    let job = |batch: usize| {
        let from = batch as u64 * BATCH;
        let sign = |seed| run_plan(&draw::plan(seed, Profile::Mixed), setting).violation.map(|v| v.fingerprint());
        (from..(from + BATCH).min(seeds)).filter_map(|seed| Some((seed, sign(seed)?))).collect::<Vec<_>>()
    };
    let mut found = BTreeMap::new();
    let mut progress = ProgressLine::new();
    spread(cores(), seeds.div_ceil(BATCH) as usize, job, |_, some| {
        found.extend(some);
        progress.show(|_| format!("{}: {} kills", mutant.name(), found.len()));
        found.len() < kills
    });
    progress.clear();
    let mut signs = BTreeMap::new();
    let mut last = None;
    let mut gaps = Vec::new();
    for (seed, sign) in found.into_iter().take(kills) {
        gaps.push(last.map_or(seed + 1, |last: u64| seed - last));
        last = Some(seed);
        *signs.entry(sign).or_default() += 1;
    }
    (gaps, signs)
}
