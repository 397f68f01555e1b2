//! `triage`: a folder of failures as a list of bugs.

use super::cli::Triage;
use super::files::{self, Output};
use super::gather::{Gathered, file_of, gather};
use super::signals::Stop;
use super::{Done, End, Problem, ProgressLine, bar, clock, cores, provenance, spread};
use crate::campaign::run::NamedSubject;
use crate::observe::count;
use crate::triage::{Bug, Campaign, Drawn, Failure, Found, Left, Sorted, bugs, page};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) fn triage(asked: &Triage, subjects: &[NamedSubject]) -> Done {
    let stop = Stop::watch()?;
    let outputs: Vec<&Path> = [&asked.html, &asked.json].into_iter().flatten().map(PathBuf::as_path).collect();
    files::apart(None, &outputs)?;
    let Gathered { found, campaigns, skipped, .. } = gather(&asked.folder, subjects)?;
    outputs.iter().try_for_each(|path| Output::create(path).map(drop))?;
    provenance::introduce();
    let began = clock();
    let (failures, mut left) = sorted(found, &|| stop.is_asked() || began.elapsed() >= asked.budget);
    left.skipped = skipped;
    left.program = provenance::FULL.to_owned();
    let campaigns: Vec<Campaign> = campaigns.into_iter().collect();
    let bugs = bugs(failures, &campaigns);
    sum_up(&mut left, &bugs, &campaigns);
    let drawn = write_small(&bugs, asked.small.as_deref())?;
    told(&drawn, &left);
    if let Some(path) = &asked.html {
        files::write(path, page(&drawn, &left).as_bytes())?;
    }
    if let Some(path) = &asked.json {
        files::write(path, format!("{}\n", as_json(&drawn, &left, &campaigns)).as_bytes())?;
    }
    Ok(match () {
        () if !bugs.is_empty() => End::Violation,
        () if !left.is_fine || left.passes.is_empty() && campaigns.is_empty() => End::Nothing,
        () => End::Clean,
    })
}

/// Makes every failure small. Each kind gets its turn, so that none takes all the time there is.
fn sorted(found: Vec<Found>, is_over: &(dyn Fn() -> bool + Sync)) -> (Vec<Failure>, Left) {
    let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
    let mut turns: Vec<(usize, usize)> = Vec::new();
    for (at, found) in found.iter().enumerate() {
        let rank = ranks.entry(&found.fingerprint).or_default();
        turns.push((*rank, at));
        *rank += 1;
    }
    turns.sort_unstable();
    let mut progress = ProgressLine::start();
    let mut done: BTreeMap<usize, Sorted> = BTreeMap::new();
    let job = |turn: usize| found[turns[turn].1].clone().sorted(&|| is_over());
    spread(cores(), turns.len(), job, |turn, sorted| {
        done.insert(turns[turn].1, sorted);
        progress.show(|_| format!("{} {} of {} failures", bar(done.len(), turns.len()), done.len(), turns.len()));
        true
    });
    progress.clear();
    let (mut failures, mut left) = (Vec::new(), Left::default());
    for sorted in done.into_values() {
        match sorted {
            Sorted::Fails(failure) => failures.push(*failure),
            Sorted::Passes(found) => left.passes.push(found.name),
            Sorted::Unseen(found) => left.unseen.push(format!("{} ({})", found.name, found.fingerprint)),
        }
    }
    (failures, left)
}

/// What is said of the whole.
fn sum_up(left: &mut Left, bugs: &[Bug], campaigns: &[Campaign]) {
    let failures: usize = bugs.iter().map(|bug| bug.times).sum();
    left.summary = match bugs.len() {
        0 if left.passes.is_empty() && left.unseen.is_empty() && campaigns.is_empty() => "nothing is here".into(),
        0 => "nothing fails".into(),
        kinds => format!("{} in {}", count(kinds as u64, "bug"), count(failures as u64, "failure")),
    };
    left.is_fine = bugs.is_empty() && left.unseen.is_empty() && campaigns.iter().all(|it| it.canary == Some(true));
    let schedules: u64 = campaigns.iter().map(|campaign| campaign.schedules).sum();
    if schedules > 0 {
        let campaigns = count(campaigns.len() as u64, "campaign");
        left.remarks.push(format!("{} ran in {campaigns}.", count(schedules, "schedule")));
    }
    let with = |canary: Option<bool>| campaigns.iter().filter(|it| it.canary == canary).count() as u64;
    let (blind, untold) = (with(Some(false)), with(None));
    if blind > 0 {
        left.remarks.push(format!("{} did not find the bug that was planted.", count(blind, "campaign")));
    }
    if untold > 0 {
        let campaigns = count(untold, "campaign");
        left.remarks
            .push(format!("No bug was planted in {campaigns}, so nothing shows that one would be found: --canary."));
    }
    let partly = bugs.iter().filter(|bug| bug.smallest.shrunk == crate::triage::Shrunk::Partly).count();
    if !left.unseen.is_empty() || partly > 0 {
        let unseen = count(left.unseen.len() as u64, "failure");
        left.remarks.push(format!("Time was up before {unseen} could be looked at; --budget says how long."));
    }
}

/// Draws each bug, and writes its smallest case where that is asked for.
fn write_small<'a>(bugs: &'a [Bug], folder: Option<&Path>) -> Result<Vec<Drawn<'a>>, Problem> {
    if let Some(folder) = folder {
        std::fs::create_dir_all(folder).map_err(|error| Problem::of_file(folder, &error))?;
    }
    let drawn = |bug: &'a Bug| {
        let mut drawn = Drawn { bug, svg: bug.smallest.svg(), written: None, replay: bug.smallest.found.again.clone() };
        if let Some(folder) = folder {
            let path = file_of(folder, &bug.bucket.to_string());
            let mut case = bug.smallest.case.clone();
            case.revision = provenance::COMMIT.into();
            files::write(&path, case.write().as_bytes())?;
            let name = path.to_string_lossy();
            drawn.replay = format!("hence-sim replay {}", provenance::quoted(&name));
            drawn.written = Some(name.into_owned());
        }
        Ok(drawn)
    };
    bugs.iter().map(drawn).collect()
}

fn told(drawn: &[Drawn<'_>], left: &Left) {
    for Drawn { bug, replay, .. } in drawn {
        bug.lines(replay).iter().for_each(|line| say!("{line}"));
    }
    say!("{}", left.summary);
    left.remarks.iter().for_each(|remark| say!("{remark}"));
    left.passes.iter().for_each(|name| say!("  this build passes {name}"));
    left.unseen.iter().for_each(|name| say!("  no time for {name}"));
    left.skipped.iter().for_each(|(name, why)| say!("  left out {name}: {why}"));
}

fn as_json(drawn: &[Drawn<'_>], left: &Left, campaigns: &[Campaign]) -> Value {
    let bugs: Vec<Value> = drawn.iter().map(|drawn| drawn.bug.json(drawn.written.as_deref(), &drawn.replay)).collect();
    let skipped: Vec<Value> = left.skipped.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
    let campaign = |it: &Campaign| {
        json!({ "profile": it.profile, "subject": it.subject, "commit": it.commit, "seeds": it.seeds,
            "schedules": it.schedules, "canary": it.canary })
    };
    json!({ "kind": "triage", "bugs": bugs, "campaigns": campaigns.iter().map(campaign).collect::<Vec<_>>(),
        "passes": left.passes, "unseen": left.unseen, "skipped": skipped })
}
