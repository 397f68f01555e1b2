//! `run`.

use super::canary::Canary;
use super::cli::Run;
use super::files::{self, Output};
use super::findings::{Campaign, Findings, Met};
use super::register::Returned;
use super::signals::Stop;
use super::{Done, End, Problem, ProgressLine, Seeds, annotations, bar, clock, cores, junit, provenance, spread};
use crate::campaign::floors::floor;
use crate::campaign::run::{self, NamedSubject, Setting};
use crate::campaign::{Failure, Summary, campaign_telling};
use crate::generate;
use crate::mutants::Mutant;
use crate::observe::count;
use crate::oracle::adversity::Kind;
use crate::plan::Plan;
use hence_checker::format::json;
use hence_checker::history::{Action, Operation, Outcome, events};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Seeds that a thread takes at a time.
const BATCH: u64 = 64;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing was left to do.
    Complete,
    /// Its time was up, as it was asked.
    TimeUp,
    /// A signal came.
    Signal,
    /// What it found could not be written.
    Output,
}

impl Ending {
    const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::TimeUp => "time",
            Self::Signal => "signal",
            Self::Output => "output",
        }
    }

    const fn is_early(self) -> bool {
        matches!(self, Self::Signal | Self::Output)
    }
}

pub(crate) fn run(asked: &Run, subjects: &[NamedSubject]) -> Done {
    let seeds = match (asked.seed, asked.seeds) {
        (Some(seed), _) => Seeds { first: seed, last: seed },
        (None, Some(seeds)) => seeds,
        (None, None) => return Err("say --seed N or --seeds a..b".into()),
    };
    let setting = Setting {
        subject: asked.subject.as_deref().map(|name| subject(name, subjects)).transpose()?,
        baseline: asked.baseline,
        suspicious: asked.suspicious,
        judged: asked.judged,
        ..setting(asked.mutant.as_deref())?
    };
    let (profile, shard) = (asked.profile, asked.shard.unwrap_or((0, 1)));
    let planted = asked.canary.as_deref().map(|name| Canary::named(name, seeds.first)).transpose()?;
    let campaign = Campaign { profile, setting, seeds, shard };
    let stop = Stop::watch()?;
    let outputs: Vec<&Path> =
        [&asked.history, &asked.json, &asked.junit].into_iter().flatten().map(PathBuf::as_path).collect();
    files::apart(None, &outputs)?;
    asked.history.as_deref().map(Output::create).transpose()?;
    asked.junit.as_deref().map(Output::create).transpose()?;
    let more = (asked.json.as_deref(), asked.findings.as_deref());
    let findings = Findings::open(campaign.clone(), &asked.cases, more)?;
    provenance::introduce();
    if first_of(seeds, shard).is_none() {
        return nothing_to_run(asked, &campaign, &findings);
    }
    let canary = planted.map(|mutant| Canary::released(mutant, seeds.first));
    let (summary, passed, ending) = spread_seeds(asked, &campaign, &findings, &stop);
    report(&campaign, &findings, &summary, passed, asked.counters);
    tell_canary(canary.as_ref(), &findings);
    if annotations::are_asked(asked.annotations) {
        annotations::say(&campaign, &findings, &summary, canary.as_ref());
    }
    if ending.is_early() {
        say!(
            "the run ended early, by {}: what did not run is not judged",
            if ending == Ending::Signal { "a signal" } else { "an output that failed" }
        );
    }
    findings.append(summary_line(&summary, &findings, ending));
    let is_written = write_outputs(asked, &campaign, &findings, &summary);
    let is_unproven = canary.is_some_and(|canary| !canary.is_found());
    // A part of a run has its floors elsewhere.
    let low = if asked.floors && !ending.is_early() { summary.below_floor(profile) } else { Vec::new() };
    for kind in &low {
        let (count, least) = (summary.counts.count(*kind), floor(profile, *kind));
        say!("too little adversity: {count} {} of at least {least} per 1,000", kind.name());
    }
    Ok(match () {
        () if !summary.failures.is_empty() || !low.is_empty() || !findings.returned.is_empty() => End::Violation,
        () if ending.is_early() || findings.is_over() || summary.schedules == 0 || !is_written || is_unproven => {
            End::Nothing
        }
        () => End::Clean,
    })
}

/// Writes what was asked for beside the lines and the cases; says whether all of it could be written.
fn write_outputs(asked: &Run, campaign: &Campaign, findings: &Findings, summary: &Summary) -> bool {
    let history = match &asked.history {
        Some(path) => write_history(&generate::plan(campaign.seeds.first, campaign.profile), campaign.setting, path),
        None => Ok(()),
    };
    let junit = match &asked.junit {
        Some(path) => files::write(path, junit::xml(campaign, findings, summary).as_bytes()),
        None => Ok(()),
    };
    for Problem { text, .. } in [&history, &junit].into_iter().filter_map(|written| written.as_ref().err()) {
        tell!("hence-sim: {text}");
    }
    history.is_ok() && junit.is_ok()
}

fn tell_canary(canary: Option<&Canary>, findings: &Findings) {
    if let Some(canary) = canary {
        say!("{}", canary.told());
        findings.append(canary.line());
    }
}

/// A shard without any seed says so, also in the outputs, which another program may wait for.
fn nothing_to_run(asked: &Run, campaign: &Campaign, findings: &Findings) -> Done {
    let ((part, parts), summary) = (campaign.shard, Summary::default());
    say!("no schedule ran: shard {part}/{parts} of {} holds no seed", campaign.seeds);
    report_findings(campaign, findings);
    findings.append(summary_line(&summary, findings, Ending::Complete));
    if let Some(path) = &asked.junit {
        files::write(path, junit::xml(campaign, findings, &summary).as_bytes())?;
    }
    Ok(match () {
        () if !findings.returned.is_empty() => End::Violation,
        () if asked.allow_empty && !findings.is_over() => End::Clean,
        () => End::Nothing,
    })
}

/// The first seed of a shard.
fn first_of(seeds: Seeds, (part, parts): (u64, u64)) -> Option<u64> {
    let at = seeds.first % parts;
    let behind = if part >= at { part - at } else { parts - (at - part) };
    seeds.first.checked_add(behind).filter(|&first| first <= seeds.last)
}

/// Runs a plan once more and writes what its clients saw.
fn write_history(plan: &Plan, setting: Setting, path: &Path) -> Result<(), Problem> {
    let at = |error: std::io::Error| Problem::of_file(path, &error);
    let verdict = run::run(plan, Setting { judged: true, ..setting });
    let none = "this run has no history: a memory image was copied, so one name has two writes; take another seed";
    let mut history = verdict.judged.ok_or_else(|| Problem::nothing(none.into()))?.history;
    if let Some(name) = named_twice(&history) {
        say!("two writes have one name, {name}: the history names no versions, and is judged by values and tokens");
        history.iter_mut().for_each(|operation| (operation.shown, operation.superseded) = (None, None));
    }
    let mut output = Output::create(path)?;
    events(&history).try_for_each(|parts| json::write_event(parts, &mut output)).map_err(at)?;
    output.finish()?;
    say!("{} operations of clients: {}", history.len(), path.display());
    Ok(())
}

/// A name that two writes got, as from a scheme with a number for each key: no names that a history can go by. What one
/// batch puts has one name.
fn named_twice(history: &[Operation]) -> Option<&str> {
    let made = |operation: &'_ &Operation| operation.action == Action::Put && operation.outcome == Outcome::Ok;
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let names = history.iter().filter(made).flat_map(|one| one.shown.iter().flatten().map(|name| (name, one.id)));
    let mut twice = names.filter(|&(name, id)| *seen.entry(name).or_insert(id) != id);
    twice.next().map(|(name, _)| name.as_str())
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

fn subject(name: &str, subjects: &[NamedSubject]) -> Result<NamedSubject, String> {
    subjects.iter().find(|subject| subject.name() == name).copied().ok_or_else(|| {
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name()).collect();
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        format!("there is no subject \"{name}\"; this program brings {known}")
    })
}

fn spread_seeds(asked: &Run, campaign: &Campaign, findings: &Findings, stop: &Stop) -> (Summary, Duration, Ending) {
    let started = clock();
    let mut progress = ProgressLine::start();
    let mut summary = Summary::default();
    let (Seeds { first, last }, (part, parts)) = (campaign.seeds, campaign.shard);
    let batches = ((last - first) / BATCH + 1) as usize;
    let is_over = || stop.is_asked() || findings.is_over();
    let job = |batch: usize| {
        let from = first + batch as u64 * BATCH;
        let seeds = from..=from.saturating_add(BATCH - 1).min(last);
        let seeds = seeds.filter(|seed| seed % parts == part).take_while(|_| !is_over());
        campaign_telling(seeds, campaign.profile, campaign.setting, |seed, found| findings.keep(seed, found))
    };
    let (mut done, mut is_time_up) = (0, false);
    spread(asked.jobs.map_or_else(cores, |jobs| jobs as usize), batches, job, |_, part| {
        summary.join(part);
        done += 1;
        let (schedules, failures) = (summary.schedules, summary.failures.len());
        progress.show(|passed| {
            let rate = schedules as f64 / passed.as_secs_f64().max(1e-6);
            format!("{} {schedules} schedules, {rate:.0}/s, {failures} kinds of failure", bar(done, batches))
        });
        is_time_up |= asked.time.is_some_and(|time| started.elapsed() >= time);
        !is_time_up && !is_over()
    });
    progress.clear();
    let ending = match () {
        () if findings.is_over() => Ending::Output,
        () if stop.is_asked() => Ending::Signal,
        () if is_time_up && done < batches => Ending::TimeUp,
        () => Ending::Complete,
    };
    (summary, started.elapsed(), ending)
}

fn report(campaign: &Campaign, findings: &Findings, summary: &Summary, passed: Duration, counters: bool) {
    let seconds = passed.as_secs_f64().max(1e-6);
    let rate = |count: u64| count as f64 / seconds;
    for (fingerprint, failure) in &summary.failures {
        report_failure(campaign, findings, fingerprint, failure);
    }
    report_findings(campaign, findings);
    say!(
        "{}, {} events ({} idle), {}; {:.0} schedules/s, {:.2} M events/s",
        count(summary.schedules, "schedule"),
        summary.events,
        summary.idle_events,
        failures(summary),
        rate(summary.schedules),
        rate(summary.events) / 1e6
    );
    match summary.judged {
        1 => say!("1 run was judged by what its clients saw, too"),
        judged => say!("{judged} runs were judged by what their clients saw, too"),
    }
    if summary.undecided > 0 {
        say!("  in {} of them the checker's budget ended", summary.undecided);
    }
    if counters {
        for (fingerprint, (convicted, invisible)) in &summary.visible {
            say!("  {fingerprint}: clients could see {convicted}, and could not see {invisible}");
        }
        print_counts(summary);
    }
    if campaign.shard.1 > 1 || summary.schedules > 1 {
        say!("hash of all traces {:016x}", summary.hash);
    }
}

/// How many failures, of how many kinds.
fn failures(summary: &Summary) -> String {
    let (kinds, times) = (summary.failures.len() as u64, summary.failures.values().map(|failure| failure.times).sum());
    match times {
        0 => "no failure".into(),
        1 => "1 failure".into(),
        times => format!("{} of {}", count(times, "failure"), count(kinds, "kind")),
    }
}

/// One line of verdict, the path of the case, the command that replays it.
fn report_failure(campaign: &Campaign, findings: &Findings, fingerprint: &str, failure: &Failure) {
    let more = if failure.times > 1 { format!(" (and {} more)", failure.times - 1) } else { String::new() };
    say!("seed {}{more}: {}", failure.seed, failure.violation);
    match findings.case(fingerprint) {
        Ok(path) => {
            say!("  case   {}", path.display());
            say!("  replay hence-sim replay {}", provenance::quoted(&path.to_string_lossy()));
            say!("  look   hence-sim show {} --html run.html", provenance::quoted(&path.to_string_lossy()));
        }
        Err(why) => {
            say!("  case   none: {why}");
            say!("  again  {}", campaign.again(failure.seed));
        }
    }
}

/// The findings of the register that failures were of, and those whose cases fail again.
fn report_findings(campaign: &Campaign, findings: &Findings) {
    for Returned { finding, case, violation } in &findings.returned {
        say!("{} is back, which was fixed: {violation}", finding.name);
        say!("  replay hence-sim replay {}", provenance::quoted(&case.to_string_lossy()));
    }
    for Met { finding, seed, times } in findings.met() {
        say!("{}: {}", count(times, "failure"), finding.told());
        say!("  again  {}", campaign.again(seed));
    }
}

fn print_counts(summary: &Summary) {
    say!("adversity");
    for &kind in Kind::ALL {
        say!("  {:<32} {:>12}", kind.name(), summary.counts.count(kind));
    }
}

fn summary_line(summary: &Summary, findings: &Findings, ending: Ending) -> serde_json::Value {
    let counts: serde_json::Map<String, serde_json::Value> =
        Kind::ALL.iter().map(|&kind| (kind.name().to_owned(), summary.counts.count(kind).into())).collect();
    let failure = |(fingerprint, failure): (&String, &Failure)| {
        let case = findings.case(fingerprint).ok().map(|path| path.display().to_string());
        let text = failure.violation.to_string();
        let value =
            serde_json::json!({ "seed": failure.seed, "times": failure.times, "violation": text, "case": case });
        (fingerprint.clone(), value)
    };
    let failures: serde_json::Map<String, serde_json::Value> = summary.failures.iter().map(failure).collect();
    let met = |Met { finding, seed, times }: Met| {
        let value = serde_json::json!({ "status": finding.status.name(), "seed": seed, "times": times });
        (finding.name, value)
    };
    let met: serde_json::Map<String, serde_json::Value> = findings.met().into_iter().map(met).collect();
    let returned: Vec<&str> = findings.returned.iter().map(|it| it.finding.name.as_str()).collect();
    serde_json::json!({ "kind": "summary", "ended": ending.name(), "schedules": summary.schedules,
        "events": summary.events, "idle_events": summary.idle_events, "judged": summary.judged,
        "undecided": summary.undecided, "failures": failures, "findings": met, "returned": returned, "adversity": counts,
        "hash": format!("{:016x}", summary.hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_their_first_seeds() {
        let seeds = |first, last| Seeds { first, last };
        assert_eq!(first_of(seeds(0, 1), (1, 3)), Some(1));
        assert_eq!(first_of(seeds(0, 1), (2, 3)), None);
        assert_eq!(first_of(seeds(7, 9), (0, 3)), Some(9));
        assert_eq!(first_of(seeds(u64::MAX, u64::MAX), (0, 1)), Some(u64::MAX));
        assert_eq!(first_of(seeds(u64::MAX, u64::MAX), (0, 2)), None);
        assert_eq!(first_of(seeds(u64::MAX - 1, u64::MAX), (1, 2)), Some(u64::MAX));
    }
}
