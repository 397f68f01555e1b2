//! `run`.

use super::files::{self, Output};
use super::{Done, End, ProgressLine, bar, clock, cores, revision, spread};
use crate::Run;
use hence_sim::adversity::Kind;
use hence_sim::campaign::{Failure, Summary, campaign};
use hence_sim::case::Case;
use hence_sim::check::json;
use hence_sim::draw::{self, Profile};
use hence_sim::mutants::Mutant;
use hence_sim::plan::Plan;
use hence_sim::run::{self, Setting};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Seeds that a thread takes at a time.
const BATCH: u64 = 64;

pub(crate) fn run(asked: &Run) -> Done {
    let (from, to) = match (asked.seed, asked.seeds) {
        (Some(seed), _) => (seed, seed.saturating_add(1)),
        (None, Some(seeds)) => seeds,
        (None, None) => return Err("say --seed N or --seeds a..b".into()),
    };
    let setting = Setting {
        baseline: asked.baseline,
        suspicious: asked.suspicious,
        judged: asked.judged,
        ..setting(asked.mutant.as_deref())?
    };
    let profile = profile(&asked.profile)?;
    let (part, parts) = asked.shard.unwrap_or((0, 1));
    let (summary, passed) = spread_seeds(asked, (from, to), (part, parts), profile, setting);
    let seconds = passed.as_secs_f64().max(1e-6);
    let rate = |count: u64| count as f64 / seconds;
    println!(
        "{} schedules, {} events ({} idle), {} failures of {} kinds; {:.0} schedules/s, {:.2} M events/s",
        summary.schedules,
        summary.events,
        summary.idle_events,
        summary.failures.values().map(|failure| failure.times).sum::<u64>(),
        summary.failures.len(),
        rate(summary.schedules),
        rate(summary.events) / 1e6
    );
    println!("{} runs were judged by what their clients saw, too", summary.judged);
    if summary.undecided > 0 {
        println!("  in {} of them the checker's budget ended", summary.undecided);
    }
    for (fingerprint, (convicted, invisible)) in &summary.visible {
        println!("  {fingerprint}: clients could see {convicted}, and could not see {invisible}");
    }
    for (fingerprint, failure) in &summary.failures {
        report(fingerprint, failure, profile, setting, &asked.cases)?;
    }
    if parts > 1 || summary.schedules > 1 {
        print_counts(&summary);
    }
    if let Some(path) = &asked.json {
        append_json(path, &summary).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &asked.history {
        write_history(&draw::plan(from, profile), setting, path)?;
    }
    let low = if asked.floors { summary.below_floor() } else { Vec::new() };
    for kind in &low {
        println!(
            "too little adversity: {} {} of at least {} per 1,000",
            summary.counts.count(*kind),
            kind.name(),
            kind.floor()
        );
    }
    Ok(if summary.failures.is_empty() && low.is_empty() { End::Clean } else { End::Violation })
}

/// Runs a plan once more and writes what its clients saw.
fn write_history(plan: &Plan, setting: Setting, path: &Path) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let verdict = run::run(plan, Setting { judged: true, ..setting });
    let judged =
        verdict.judged.ok_or("this run has no history: a memory image was copied, so one name has two writes")?;
    let mut output = Output::create(path)?;
    judged.history.iter().try_for_each(|operation| json::write(operation, &mut output)).map_err(at)?;
    output.finish()?;
    println!("{} operations of clients: {}", judged.history.len(), path.display());
    Ok(())
}

fn setting(mutant: Option<&str>) -> Result<Setting, String> {
    let mutant = match mutant {
        None => None,
        Some(name) => Some(Mutant::named(name).ok_or_else(|| {
            let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            format!("there is no mutant \"{name}\"; there are {}", names.join(", "))
        })?),
    };
    Ok(Setting { mutant, ..Setting::default() })
}

pub(super) fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name()).collect();
        format!("there is no profile \"{name}\"; there are {}", names.join(", "))
    })
}

fn spread_seeds(
    asked: &Run,
    (from, to): (u64, u64),
    (part, parts): (u64, u64),
    profile: Profile,
    setting: Setting,
) -> (Summary, Duration) {
    let started = clock();
    let mut progress = ProgressLine::new();
    let mut summary = Summary::default();
    let batches = (to - from).div_ceil(BATCH) as usize;
    let job = |batch: usize| {
        let first = from + batch as u64 * BATCH;
        let seeds = first..first.saturating_add(BATCH).min(to);
        campaign(seeds.filter(|seed| seed % parts == part), profile, setting)
    };
    let mut done = 0;
    spread(asked.jobs.unwrap_or_else(cores).max(1), batches, job, |_, part| {
        summary.join(part);
        done += 1;
        let (schedules, failures) = (summary.schedules, summary.failures.len());
        progress.show(|passed| {
            let rate = schedules as f64 / passed.as_secs_f64().max(1e-6);
            format!("{} {schedules} schedules, {rate:.0}/s, {failures} kinds of failure", bar(done, batches))
        });
        asked.time.is_none_or(|time| started.elapsed() < time)
    });
    progress.clear();
    (summary, started.elapsed())
}

/// One line of verdict, the path of the case, the command that replays it.
fn report(
    fingerprint: &str,
    failure: &Failure,
    profile: Profile,
    setting: Setting,
    cases: &Path,
) -> Result<(), String> {
    println!("seed {} (and {} more): {}", failure.seed, failure.times - 1, failure.violation);
    let judged = failure.violation.is_the_checkers();
    let Some(mut case) = Case::of(&draw::plan(failure.seed, profile), Setting { judged, ..setting }) else {
        return Err(format!("seed {} failed and then passed: the simulator is not deterministic", failure.seed));
    };
    case.revision = revision();
    let name = format!("{}-{}.json", fingerprint.replace('/', "-"), failure.seed);
    let path = cases.join(name);
    std::fs::create_dir_all(cases).map_err(|error| format!("{}: {error}", cases.display()))?;
    files::write(&path, case.write().as_bytes())?;
    println!("  case   {}", path.display());
    println!("  replay hence-sim replay {}", path.display());
    Ok(())
}

fn print_counts(summary: &Summary) {
    println!("adversity");
    for &kind in Kind::ALL {
        println!("  {:<32} {:>12}", kind.name(), summary.counts.count(kind));
    }
    println!("hash of all traces {:016x}", summary.hash);
}

fn append_json(path: &Path, summary: &Summary) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    for (fingerprint, failure) in &summary.failures {
        let line = serde_json::json!({ "kind": "failure", "fingerprint": fingerprint, "seed": failure.seed,
            "times": failure.times, "violation": failure.violation });
        writeln!(file, "{line}")?;
    }
    let counts: serde_json::Map<String, serde_json::Value> =
        Kind::ALL.iter().map(|&kind| (kind.name().to_owned(), summary.counts.count(kind).into())).collect();
    let line = serde_json::json!({ "kind": "summary", "schedules": summary.schedules, "events": summary.events,
        "idle_events": summary.idle_events, "judged": summary.judged, "undecided": summary.undecided, "adversity": counts, "hash": format!("{:016x}", summary.hash) });
    writeln!(file, "{line}")
}
