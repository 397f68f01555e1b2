//! The second opinion: what clients saw in simulated runs, judged by the history checker, against the oracles.

use hence_checker::history::{History, Operation};
use hence_checker::proof::{self, Proof};
use hence_checker::{Blind, Budget, Level, Options, Verdict, judge};
use hence_sim::campaign::case::{Case, Outcome};
use hence_sim::campaign::run::{Setting, run};
use hence_sim::campaign::{campaign, is_judged};
use hence_sim::generate::{self, Profile};
use hence_sim::mutants::Mutant;
use hence_sim::oracle::adversity::Kind;
use hence_sim::oracle::agreement::compare;
use hence_sim::oracle::sign::Sign;
use hence_sim::oracle::verdict::{Finding, Judged};
use hence_sim::oracle::verdict::{Invariant, Violation};
use std::collections::BTreeMap;

/// None where a memory image was copied: from some moment on writes share names, and the truth explains nothing.
fn judged(seed: u64, mutant: Option<Mutant>) -> Option<(Option<Violation>, Judged)> {
    let setting = Setting { mutant, judged: true, ..Setting::default() };
    let verdict = run(&generate::plan(seed, Profile::Mixed), setting);
    let is_copied = verdict.counts.count(Kind::Twin) > 0;
    Some((verdict.violation, verdict.judged.filter(|_| !is_copied)?))
}

/// The same seeds are judged everywhere, and at least one in twenty.
#[test]
fn one_run_in_twenty_is_judged() {
    let judged = (0..20_000).filter(|&seed| is_judged(seed)).count();
    assert!(judged >= 1_000, "{judged} of 20,000");
    let summary = campaign(0..400, Profile::Mixed, Setting::default());
    assert_eq!(summary.judged, (0..400).filter(|&seed| is_judged(seed)).count() as u64);
    assert!(summary.failures.is_empty(), "{:?}", summary.failures);
}

#[test]
fn clean_runs_are_fine_to_the_checker() {
    let (mut operations, mut events) = (0, [0; 4]);
    for seed in 0..60 {
        let Some((violation, Judged { history, finding, .. })) = judged(seed, None) else { continue };
        assert_eq!((violation, finding), (None, Some(Finding::Fine)), "seed {seed}");
        operations += history.len();
        for operation in &history {
            let kind = match operation.status {
                200 | 201 => 0,
                404 => 1,
                0 => 2,
                _ => 3,
            };
            events[kind] += 1;
        }
    }
    println!("{operations} operations: {events:?} found or written, absent, unknown, refused or otherwise");
    assert!(events.iter().all(|&count| count * 200 > operations), "{events:?} of {operations}");
}

/// Every failing run is judged, too. The table says how many of the failures clients could have seen.
#[test]
fn failing_runs_are_judged_and_nothing_disagrees() {
    let mut table: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for &mutant in Mutant::ALL {
        let summary = campaign(0..30, Profile::Mixed, Setting { mutant: Some(mutant), ..Setting::default() });
        let disagreement = summary.failures.values().find(|found| found.violation.invariant == Invariant::Agreement);
        assert!(disagreement.is_none(), "{}: {disagreement:?}", mutant.name());
        for (fingerprint, (convicted, invisible)) in summary.visible {
            let known = table.entry(fingerprint).or_default();
            *known = (known.0 + convicted, known.1 + invisible);
        }
    }
    for (fingerprint, (convicted, invisible)) in &table {
        println!("{fingerprint:<40} {convicted:>6} {invisible:>6}");
    }
    let of = |invariant: Invariant| {
        let prefix = format!("{}/", invariant.name());
        let rows = table.iter().filter(|(name, _)| name.starts_with(&prefix));
        rows.fold((0, 0), |sum, (_, &(convicted, invisible))| (sum.0 + convicted, sum.1 + invisible))
    };
    for invariant in [Invariant::Sessions, Invariant::Answers] {
        let (convicted, invisible) = of(invariant);
        assert!(convicted * 10 >= convicted + invisible, "{invariant:?}: {convicted} of {}", convicted + invisible);
    }
}

/// A disagreement is a failure of its own, with a case that replays.
#[test]
fn a_disagreement_makes_a_case() {
    let setting = Setting { checker: Some(Blind::Eager), ..Setting::default() };
    let summary = campaign(0..200, Profile::Mixed, setting);
    let failure = summary.failures.get("agreement/checker_alone").expect("it convicts the innocent");
    assert!(failure.violation.detail.contains("is broken by"), "{}", failure.violation);
    let plan = generate::plan(failure.seed, Profile::Mixed);
    let case = Case::of(&plan, Setting { judged: true, ..setting }).expect("it just failed");
    let case = Case::read(&case.write()).expect("a case reads back");
    assert!(case.setting().expect("it names no mutant").judged, "its replay asks the checker");
    assert!(matches!(case.replay().0, Outcome::Passes { .. }), "the sound checker agrees");
}

/// A checker that looks away, or that convicts the innocent, is found out by disagreement alone.
#[test]
fn a_blinded_checker_is_found_out() {
    let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
    let sign = |blind: Blind| {
        let sign = if blind == Blind::Eager { Sign::CheckerAlone } else { Sign::NoExplanation };
        sign.to_string()
    };
    // Seeds are tried until each has been found: which ones show it changes with every change of what is drawn.
    for seed in 0..1_000 {
        if Blind::ALL.iter().all(|&blind| found.contains_key(&(format!("{blind:?}"), sign(blind)))) {
            break;
        }
        for mutant in Mutant::ALL.iter().copied().map(Some).chain([None]) {
            let Some((violation, judged)) = judged(seed, mutant) else { continue };
            for blind in Blind::ALL {
                let options = Options { blind: Some(blind), ..Options::default() };
                if let Err((sign, _)) = compare(violation.as_ref(), &judged.history, judged.truth.as_ref(), options) {
                    *found.entry((format!("{blind:?}"), sign.to_string())).or_default() += 1;
                }
            }
        }
    }
    println!("{found:#?}");
    for blind in Blind::ALL {
        assert!(found.contains_key(&(format!("{blind:?}"), sign(blind))), "{blind:?} looks green");
    }
}

/// Where no oracle looks inside, clients alone tell of batches that are visible by halves, or before what they read.
#[test]
fn clients_see_halves_of_batches() {
    let is_batch = |operations: &[Operation]| operations.iter().any(|operation| operation.same_batch);
    for name in ["push-half-batches", "supply-half-batches", "depend-without-reads", "supersede-first-only"] {
        let mutant = Mutant::named(name).expect("there is one");
        let setting = Setting { mutant: Some(mutant), oracles_off: true, judged: true, ..Setting::default() };
        let convicts = |seed: &u64| {
            let judged = run(&generate::plan(*seed, Profile::Mixed), setting).judged?;
            let history = History::of(&judged.history).ok().filter(|_| is_batch(&judged.history))?;
            let report = judge(&history, Options::default()).ok().filter(|report| report.is_broken())?;
            let found = report.counterexample(&history, Options::default())?;
            is_batch(&found.history().operations().collect::<Vec<_>>()).then(|| found.prose())
        };
        let found = (0..10_000).find_map(|seed| convicts(&seed).map(|prose| (seed, prose)));
        let (seed, prose) = found.unwrap_or_else(|| panic!("no client sees {name}"));
        println!("{name}, seed {seed}: {prose}");
    }
}

/// What truly happened explains a clean run, so it can stand in for a checker whose budget ends. What did not happen
/// explains hardly any.
#[test]
fn the_truth_explains_what_clients_saw() {
    let (mut runs, mut unexplained) = (0, [0; 2]);
    let none = Options { budget: Budget { walks: 0, nodes: 0, watch: None }, ..Options::default() };
    for seed in 0..60 {
        let Some((violation, Judged { history, truth, .. })) = judged(seed, None) else { continue };
        let truth = truth.expect("the simulator looks inside");
        let said = |truth: Option<&Proof>, options| {
            compare(violation.as_ref(), &history, truth, options).map_err(|(sign, _)| sign)
        };
        assert_eq!(said(Some(&truth), none), Ok(Finding::StoodIn), "seed {seed}");
        assert_eq!(said(None, none), Err(Sign::Undecided), "seed {seed}");
        let unseen = Proof { edges: Vec::new(), ..truth.clone() };
        let reversed = Proof { order: truth.order.iter().rev().copied().collect(), ..truth.clone() };
        for (count, wrong) in unexplained.iter_mut().zip([unseen, reversed]) {
            *count += u32::from(said(Some(&wrong), Options::default()) == Err(Sign::TruthExplainsNothing));
        }
        runs += 1;
    }
    println!("{runs} runs, of which a false truth did not explain {unexplained:?}");
    // Lineage alone explains a history in which no client read what another replica had just learned.
    let [unseen, reversed] = unexplained;
    assert!(unseen * 10 >= runs && reversed * 10 >= runs * 9, "{unexplained:?} of {runs}");
}

/// What the versions' names suggest explains every clean run at once. Where an answer is changed afterwards, it does
/// not help, and the verdict is that of the search alone.
#[test]
fn certificates_say_what_the_search_says() {
    let (mut certified, mut broken, mut runs) = (0, 0, 0);
    let search = Options { certificates: false, ..Options::default() };
    for seed in 0..40 {
        let Some((_, Judged { history, .. })) = judged(seed, None) else { continue };
        let told = |operations: &[Operation], options| {
            let history = History::of(operations).expect("a history");
            judge(&history, options).expect("it fits together")
        };
        let report = told(&history, Options::default());
        certified += u32::from(report.certified);
        assert_eq!(report.verdicts, told(&history, search).verdicts, "seed {seed}");
        // A read is told that it returned what another read of the key returned.
        let reads: Vec<usize> = (0..history.len()).filter(|&at| is_plain_read(&history[at])).collect();
        for (&first, &second) in reads.iter().zip(reads.iter().skip(3)).take(12) {
            if history[first].key != history[second].key || history[first].value == history[second].value {
                continue;
            }
            let mut tampered = history.clone();
            let (value, shown) = (history[first].value.clone(), history[first].shown.clone());
            (tampered[second].value, tampered[second].shown) = (value, shown);
            let (report, alone) = (told(&tampered, Options::default()), told(&tampered, search));
            assert_eq!(report.verdicts, alone.verdicts, "seed {seed}, read {second}");
            assert!(!(report.certified && report.is_broken()));
            let is_fine = report.verdict(Level::Convergent) == Verdict::Fine;
            if let Some(explanation) = report.proof.as_ref().filter(|_| is_fine) {
                assert_eq!(proof::verify(&tampered, explanation), Ok(()), "seed {seed}, read {second}");
            }
            broken += u32::from(report.is_broken());
            runs += 1;
        }
    }
    println!("{certified} of 40 runs by certificate; {broken} of {runs} tampered ones are convicted");
    assert!(certified >= 36 && broken * 4 >= runs && runs >= 20, "{certified} {broken} {runs}");
}

fn is_plain_read(operation: &Operation) -> bool {
    operation.status == 200
        && operation.value.is_some()
        && operation.siblings.is_none()
        && operation.superseded.is_none()
}
