//! Campaigns under `cargo test`: thousands of fault schedules over the real core. Planted bugs must be found, and
//! adversity must really happen. Guards hold that a seed means the same for ever.
//!
//! `HENCE_SEED` moves the fresh part of the seeds and `HENCE_SCHEDULES` says how many run. A failure prints one
//! line that replays it.

use hence_sim::campaign::case::{Case, Outcome};
use hence_sim::campaign::run::{Setting, Watch, run, run_watched};
use hence_sim::campaign::shrink::{is_minimal, shrink};
use hence_sim::campaign::{Summary, campaign};
use hence_sim::engine::choice_log::ChoiceLog;
use hence_sim::generate::{self, Profile};
use hence_sim::mutants::Mutant;
use hence_sim::mutants::harness::{HarnessMutant, PAIRS};
use hence_sim::observe::{self, Idle, Recorder};
use hence_sim::oracle::adversity::Kind;
use hence_sim::oracle::verdict::Invariant;
use hence_sim::plan::{FaultKind, Plan};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Seeds that every run of the suite runs, and fresh ones on top.
const FIXED: u64 = 3_000;
const FRESH: u64 = 2_500;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The first of the fresh seeds: given, or from the commit, so that every commit tries others.
fn base() -> u64 {
    let commit = || {
        let output = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        u64::from_str_radix(text.get(..10)?, 16).ok()
    };
    number("HENCE_SEED").or_else(commit).unwrap_or(1 << 32)
}

fn spread(seeds: std::ops::Range<u64>, setting: Setting) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let seeds = seeds.clone().filter(move |seed| seed % threads == part);
                scope.spawn(move || campaign(seeds, Profile::Mixed, setting))
            })
            .collect();
        let mut summary = Summary::default();
        for part in parts {
            summary.join(part.join().expect("a campaign ends"));
        }
        summary
    })
}

fn assert_clean(summary: &Summary) {
    let line = |failure: &hence_sim::campaign::Failure| {
        format!("{}\n  replay: cargo run --release --bin hence-sim -- run --seed {}", failure.violation, failure.seed)
    };
    let failures: Vec<String> = summary.failures.values().map(line).collect();
    assert!(failures.is_empty(), "{} kinds of failure\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn schedules_are_clean_and_hard() {
    let base = base();
    println!("base {base}: HENCE_SEED={base} repeats this run");
    let fresh = number("HENCE_SCHEDULES").unwrap_or(FRESH);
    let mut summary = spread(0..FIXED, Setting::default());
    summary.join(spread(base..base + fresh, Setting::default()));
    println!("{} schedules, {} events", summary.schedules, summary.events);
    assert_clean(&summary);
    let low: Vec<String> = summary
        .below_floor(Profile::Mixed)
        .iter()
        .map(|&kind| format!("{} {}", summary.counts.count(kind), kind.name()))
        .collect();
    assert!(summary.undecided * 100 <= summary.judged, "{} of {}", summary.undecided, summary.judged);
    assert!(low.is_empty(), "too little adversity in {} schedules: {low:?}", summary.schedules);
}

/// Where a memory was copied and neither process has written since, the other replicas are judged like in any run.
#[test]
fn beside_a_copied_memory_the_others_are_judged() {
    let is_copied = |plan: &Plan| plan.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Twin { .. }));
    let plans = (0..6_000).map(|seed| generate::plan(seed, Profile::Mixed)).filter(is_copied);
    let setting = Setting { mutant: Some(Mutant::ServeUncovered), ..Setting::default() };
    let found = plans.map(|plan| run(&plan, setting)).find(|verdict| {
        let by_names = verdict.violation.as_ref().is_some_and(|found| found.invariant == Invariant::Sessions);
        by_names && verdict.counts.count(Kind::Twin) > 0
    });
    assert!(found.is_some(), "no run with a copied memory convicts a replica that serves what it lacks");
}

/// The cases that were failures once. With a mutant they must still fail the same way, without one they must pass.
#[test]
fn committed_cases() {
    replay_all("cases");
}

/// What is wrong with the naive scheme, each anomaly as small as it goes. The page on the simulator shows them.
#[test]
fn the_anomalies_of_the_naive_scheme_replay() {
    let signs = replay_all("../docs/baseline");
    assert_eq!(signs, ["history/diverged", "history/lost", "history/refused_for_ever", "history/stale"]);
}

/// Replays every case of a folder and returns their fingerprints, sorted.
fn replay_all(folder: &str) -> Vec<String> {
    let mut replayed = Vec::new();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    for entry in std::fs::read_dir(&folder).expect("tests/cases is there").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") || path.ends_with("schema.json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a case is text");
        let case = Case::read(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!case.about.is_empty(), "{}: `about` says in one line what was wrong", path.display());
        match (&case.mutant, case.baseline, case.replay().0) {
            (Some(_), _, Outcome::Same) | (None, true, Outcome::Same) | (None, false, Outcome::Passes { .. }) => {
                replayed.push(case.fingerprint);
            }
            (mutant, _, outcome) => panic!("{} with mutant {mutant:?}: {outcome}", path.display()),
        }
    }
    assert!(!replayed.is_empty(), "no case in {}", folder.display());
    replayed.sort_unstable();
    replayed
}

fn first_failure(setting: Setting, seeds: std::ops::Range<u64>) -> Option<u64> {
    seeds.into_iter().find(|&seed| run(&generate::plan(seed, Profile::Mixed), setting).violation.is_some())
}

/// Every planted bug of the core is found.
#[test]
fn planted_bugs_are_found() {
    let hunt = |mutant: Mutant| {
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        let fails = |&seed: &u64| run(&generate::plan(seed, mutant.profile()), setting).violation.is_some();
        let directed = mutant.directed();
        for case in &directed {
            assert_eq!(case.mutant.as_deref(), Some(mutant.name()));
            assert_eq!(case.replay().0, Outcome::Same, "{}", mutant.name());
            let sound = Setting { mutant: None, ..case.setting().expect("a setting") };
            assert_eq!(run(&case.plan, sound).violation, None, "without {}", mutant.name());
        }
        (mutant, if directed.is_empty() { (0..2_000).find(fails) } else { Some(0) })
    };
    let found: Vec<_> = Mutant::ALL.iter().map(|&mutant| hunt(mutant)).collect();
    for (mutant, seed) in &found {
        println!("{:<24} {seed:?}", mutant.name());
    }
    assert!(found.len() >= 50);
    let survivors: Vec<_> = found.iter().filter(|(_, seed)| seed.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(survivors.is_empty(), "survived: {survivors:?}");
}

/// A detector that doubts peers which are well costs time, never a promise.
#[test]
fn doubts_at_random_break_nothing() {
    let setting = Setting { suspicious: true, ..Setting::default() };
    let (calm, doubting) = (spread(0..600, Setting::default()), spread(0..1_200, setting));
    assert_clean(&doubting);
    let suspected = |summary: &Summary| summary.counts.count(Kind::Suspected);
    assert!(suspected(&doubting) > 3 * suspected(&calm), "{} and {}", suspected(&doubting), suspected(&calm));
}

/// A simulator whose faults do nothing is found out by the floors, or by the oracles.
#[test]
fn a_tame_simulator_is_found_out() {
    let expected = [
        (HarnessMutant::CutsDoNothing, Kind::FrameCut),
        (HarnessMutant::NoDuplicates, Kind::FrameTwice),
        (HarnessMutant::NoLoss, Kind::FrameLost),
        (HarnessMutant::NoOvertaking, Kind::FrameOvertook),
        (HarnessMutant::CrashKeepsMemory, Kind::Crash),
        (HarnessMutant::StreamsForget, Kind::SentAgain),
        (HarnessMutant::StallsEndAtOnce, Kind::StreamLate),
        (HarnessMutant::HealsWell, Kind::SlowHeal),
        (HarnessMutant::WideLinks, Kind::Heavy),
    ];
    let convicted = [
        (HarnessMutant::SameStartSeed, "dots/life_twice"),
        (HarnessMutant::DamageUnseen, "frames/damage_taken"),
        (HarnessMutant::CodecSkips, "frames/read_otherwise"),
        (HarnessMutant::LimitsLost, "bounds/no_room"),
        (HarnessMutant::LimitsHalved, "bounds/refused_with_room"),
    ];
    let tampered =
        |harness_mutant| spread(0..400, Setting { harness_mutant: Some(harness_mutant), ..Setting::default() });
    for (harness_mutant, kind) in expected {
        assert!(tampered(harness_mutant).below_floor(Profile::Mixed).contains(&kind), "{harness_mutant:?} looks green");
    }
    for (harness_mutant, sign) in convicted {
        assert!(tampered(harness_mutant).failures.contains_key(sign), "{harness_mutant:?} looks green");
    }
    assert_eq!(expected.len() + convicted.len(), HarnessMutant::ALL.len());
}

/// Signs of oracles that no other test plants a bug for: the first to speak, in schedules that the sound rules pass.
#[test]
fn each_sign_has_a_bug_that_it_convicts() {
    let bugs = [
        (Mutant::WorkWithoutLimit, None, "bounds/work"),
        (Mutant::JoinAgain, None, "refusals/down_again"),
        (Mutant::NeverAlone, None, "liveness/not_serving_alone"),
        (Mutant::SuspicionRemoves, None, "membership/removed_by_nobody"),
        // A change of the view tells before an answer does, if a client looks at views.
        (
            Mutant::SuspicionRemoves,
            Some(HarnessMutant::DisabledOracle(Invariant::Membership)),
            "refusals/removed_by_nobody",
        ),
    ];
    for (mutant, harness_mutant, sign) in bugs {
        let setting = Setting { mutant: Some(mutant), harness_mutant, ..Setting::default() };
        let verdict = |seed, setting| run(&generate::plan(seed, mutant.profile()), setting).violation;
        let convicts = |&seed: &u64| verdict(seed, setting).is_some_and(|found| found.fingerprint() == sign);
        let seed = (0..2_000).find(convicts).unwrap_or_else(|| panic!("{sign} convicts no {mutant:?}"));
        println!("{sign} convicts {mutant:?} in seed {seed}");
        assert_eq!(verdict(seed, Setting::default()), None);
    }
}

/// Does a text show how Rust prints a value?
fn is_debug(text: &str) -> bool {
    ["{", "}", "[", "Some(", "None", "::", "Ok(", "Err("].iter().any(|sign| text.contains(sign))
}

/// What a violation says, and what happens in a run, is read by people who know no Rust.
#[test]
fn what_is_said_is_no_debug_output() {
    let mut signs = BTreeSet::new();
    for &mutant in Mutant::ALL {
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        let found = (0..400).filter_map(|seed| run(&generate::plan(seed, mutant.profile()), setting).violation);
        for violation in found.take(3) {
            assert!(!is_debug(&violation.detail), "{}: {}", violation.fingerprint(), violation.detail);
            signs.insert(violation.fingerprint());
        }
    }
    assert!(signs.len() >= 40, "{} kinds of violations were looked at", signs.len());
    for seed in 0..40 {
        let (plan, recorder) = (generate::plan(seed, Profile::Mixed), Recorder::default());
        let watch = Watch { choice_log: None, observer: Some(Box::new(recorder.clone())) };
        let (verdict, _) = run_watched(&plan, Setting::default(), watch);
        for moment in recorder.story(&plan, verdict.violation.as_ref(), Idle::All).moments {
            let said = moment.changes.iter().map(|(_, value)| value).chain([&moment.text]);
            said.for_each(|text| assert!(!is_debug(text), "{text}"));
        }
    }
}

/// Each oracle of the matrix convicts its bug in schedules that pass when it looks away.
#[test]
fn each_oracle_is_needed() {
    assert!(PAIRS.len() >= 5);
    for &(invariant, mutant) in PAIRS {
        let with = |seed, harness_mutant| {
            let setting = Setting { mutant: Some(mutant), harness_mutant, ..Setting::default() };
            run(&generate::plan(seed, mutant.profile()), setting).violation
        };
        let convicts = |seed: &u64| with(*seed, None).is_some_and(|found| found.invariant == invariant);
        let blind = Some(HarnessMutant::DisabledOracle(invariant));
        let survivor = (0..600).filter(convicts).find(|&seed| with(seed, blind).is_none());
        println!("{invariant:?} alone convicts {mutant:?} in seed {survivor:?}");
        assert!(survivor.is_some(), "{invariant:?} and {mutant:?}");
    }
}

#[test]
fn a_seed_means_the_same_twice() {
    for seed in 0..150 {
        let plan = generate::plan(seed, Profile::Mixed);
        let (first, second) = (run(&plan, Setting::default()), run(&plan, Setting::default()));
        assert!(first == second, "seed {seed}: {}", first_difference(&plan));
    }
}

/// The first line of two traces of one plan that differs.
fn first_difference(plan: &Plan) -> String {
    let trace = || {
        let recorder = Recorder::default();
        let watch = Watch { choice_log: None, observer: Some(Box::new(recorder.clone())) };
        let (verdict, _) = run_watched(plan, Setting::default(), watch);
        observe::trace(&recorder.story(plan, verdict.violation.as_ref(), Idle::All), true)
    };
    let (first, second) = (trace(), trace());
    let pair = first.lines().zip(second.lines()).find(|(first, second)| first != second);
    pair.map_or("the traces are equal".into(), |(first, second)| format!("{first}\n{second}"))
}

/// The committed table: what 100 seeds did when it was recorded. It moves when the core or the simulator changes
/// what happens; then `HENCE_RECORD=1 cargo test -p hence-tests a_seed_means` records it again.
#[test]
fn a_seed_means_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases/hashes.txt");
    let line = |seed: u64| {
        let verdict = run(&generate::plan(seed, Profile::Mixed), Setting::default());
        format!("{seed} {:016x} {}\n", verdict.hash, verdict.events)
    };
    let now: String = (0..100).map(line).collect();
    if std::env::var_os("HENCE_RECORD").is_some() {
        std::fs::write(&path, &now).expect("the table can be written");
    }
    let table = std::fs::read_to_string(&path).expect("the table is committed");
    let moved = now.lines().zip(table.lines()).find(|(now, then)| now != then);
    assert!(now == table, "{moved:?} (now, then); record again if that is meant");
}

/// A typical failure becomes small, stays the same failure, and nothing in it is superfluous.
#[test]
fn a_failure_shrinks_to_one_minimal() {
    let setting = Setting { mutant: Some(Mutant::DependWithoutDeletes), ..Setting::default() };
    let seed = first_failure(setting, 0..1_000).expect("this one is found soon");
    let case = Case::of(&generate::plan(seed, Profile::Mixed), setting).expect("it just failed");
    let mut trial = |plans: &[Plan]| {
        let same =
            |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == case.fingerprint);
        plans.iter().position(same)
    };
    let small = shrink(&case.plan, &mut trial, &mut |_, _| {});
    println!("from {} to {} operations and faults", case.plan.size(), small.size());
    assert!(small.size() <= 12 && small.size() < case.plan.size());
    assert!(is_minimal(&small, &mut trial));
    let again = Case::of(&small, setting).expect("the shrunk plan still fails");
    assert_eq!(again.fingerprint, case.fingerprint);
    let read = Case::read(&again.write()).expect("a case reads back");
    assert_eq!(read, again);
    assert_eq!(read.replay().0, Outcome::Same);
}

/// Without its seed a case still replays, because its choices have names.
#[test]
fn choices_carry_a_case_without_its_seed() {
    let setting = Setting { mutant: Some(Mutant::ApplyWithoutCauses), ..Setting::default() };
    let seed = first_failure(setting, 0..1_000).expect("this one is found soon");
    let case = Case::of(&generate::plan(seed, Profile::Mixed), setting).expect("it just failed");
    let mut other = case.clone();
    other.mutant = None;
    assert!(matches!(other.replay().0, Outcome::Passes { .. }), "the sound rules pass");
    other.choices.clear();
    let (outcome, _) = other.replay();
    assert!(matches!(outcome, Outcome::Passes { unmatched: 0, fresh } if fresh > 0), "{outcome}");
}

/// No two choices of a run have one name, whatever was sent twice and whichever replica ran twice.
#[test]
fn recorded_choices_repeat_a_run() {
    for seed in 0..400 {
        let plan = generate::plan(seed, Profile::Mixed);
        let with = |choice_log| Watch { choice_log: Some(choice_log), observer: None };
        let (first, made) = run_watched(&plan, Setting::default(), with(ChoiceLog::default()));
        let made = made.expect("it was recorded").made().clone();
        let (again, followed) = run_watched(&plan, Setting::default(), with(ChoiceLog::following(made)));
        assert_eq!(again.hash, first.hash, "seed {seed}");
        assert_eq!(followed.expect("it was recorded").unmatched(), (0, 0), "seed {seed}");
    }
}

#[test]
fn broken_cases_name_the_place() {
    let setting = Setting { mutant: Some(Mutant::ServeUncovered), ..Setting::default() };
    let seed = first_failure(setting, 0..1_000).expect("this one is found soon");
    let mut case = Case::of(&generate::plan(seed, Profile::Mixed), setting).expect("it just failed");
    case.choices.clear();
    let good: serde_json::Value = serde_json::from_str(&case.write()).expect("a case is JSON");
    let broken: [(&str, serde_json::Value, &str); 12] = [
        ("/format", 2.into(), "format"),
        ("/plan/format", 9.into(), "plan.format"),
        ("/plan/replicas", serde_json::json!([]), "plan.replicas"),
        ("/plan/clients", 200.into(), "plan.clients"),
        ("/plan/clients", 1_000_000_000.into(), "1000000000"),
        ("/plan/heal_at", u64::MAX.into(), "plan.heal_at"),
        ("/plan/settings/heartbeat_interval", 0.into(), "plan.settings.heartbeat_interval"),
        ("/plan/network/loss", 2_000_000.into(), "plan.network.loss"),
        ("/plan/operations/0/replica", 99.into(), "plan.operations[0].replica"),
        ("/plan/operations/0/act", "explode".into(), "explode"),
        ("/plan/operations/0/at", (-1).into(), "-1"),
        ("/mutant", "no-such".into(), "no-such"),
    ];
    for (place, value, says) in broken {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap_or_else(|| panic!("{place} is in a case")) = value;
        let read = Case::read(&bad.to_string());
        match read {
            Ok(_) => panic!("{place} was taken"),
            Err(error) => assert!(error.to_string().contains(says), "{place}: {error}"),
        }
    }
    let mut unknown = good.clone();
    unknown["plan"]["surprise"] = 1.into();
    assert!(Case::read(&unknown.to_string()).is_err_and(|error| error.to_string().contains("surprise")));
    for text in ["", "{", "[]", "null", "{\"format\":1}", "\u{0}", &"[".repeat(100_000)] {
        assert!(Case::read(text).is_err());
    }
}

/// The simulator is not bound to our own replica. A small store runs under the same plans, and each of its flaws shows
/// in its own way.
#[test]
fn the_naive_scheme_is_convicted() {
    let setting = Setting { baseline: true, ..Setting::default() };
    let summary = spread(0..1_000, setting);
    for sign in ["history/diverged", "history/stale", "history/lost", "history/refused_for_ever"] {
        let failure = summary.failures.get(sign).unwrap_or_else(|| panic!("{sign} was not found"));
        println!("{sign}: {} of {}, first at seed {}", failure.times, summary.schedules, failure.seed);
    }
}

/// The schema of case files is committed, and what is written fits it.
#[test]
fn every_case_is_written_in_the_published_schema() {
    let schema = include_str!("cases/schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).expect("the schema is JSON");
    let setting = Setting { mutant: Some(Mutant::ServeUncovered), ..Setting::default() };
    let seed = first_failure(setting, 0..1_000).expect("this one is found soon");
    let case = Case::of(&generate::plan(seed, Profile::Mixed), setting).expect("it just failed");
    let case: serde_json::Value = serde_json::from_str(&case.write()).expect("a case is JSON");
    check_schema(&schema, &schema, &case, "case");
}

/// As much of JSON Schema as ours uses: type, properties, required, additionalProperties, items, `$ref`.
fn check_schema(root: &serde_json::Value, schema: &serde_json::Value, value: &serde_json::Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(&name[1..]).unwrap_or_else(|| panic!("{name} is in the schema"));
        return check_schema(root, target, value, place);
    }
    let fits = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is not a type"),
    };
    let one = std::slice::from_ref(&schema["type"]);
    let kinds = schema["type"].as_array().map_or(one, Vec::as_slice);
    let mut kinds = kinds.iter().filter_map(serde_json::Value::as_str).peekable();
    assert!(kinds.peek().is_none() || kinds.any(fits), "{place} is no {}: {value}", schema["type"]);
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().expect("a name");
        assert!(value.get(name).is_some(), "{place}.{name} is missing");
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        if !known.is_null() {
            check_schema(root, known, part, &format!("{place}.{name}"));
        } else if schema["additionalProperties"].is_object() {
            check_schema(root, &schema["additionalProperties"], part, &format!("{place}.{name}"));
        } else {
            assert!(
                schema["additionalProperties"] != serde_json::Value::Bool(false),
                "{place}.{name} is not in the schema"
            );
        }
    }
    for (at, part) in value.as_array().into_iter().flatten().enumerate() {
        check_schema(root, &schema["items"], part, &format!("{place}[{at}]"));
    }
}
