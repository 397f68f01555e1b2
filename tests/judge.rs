//! The judge of histories, judged: against enumeration, against a correct store, and against planted bugs.

mod bad_patterns;
mod batch_formats;
mod batches;
mod edn;
mod few_words;
mod final_reads;
mod foreign;
mod formats;
mod large;
mod litmus;
mod plain_store;
mod planted;
mod transactions;
mod words;

use hence_checker::generate::{Bug, Generator, Shape};
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Level, Options, Report, Verdict, judge, proof, slow};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;

fn judged(operations: &[Operation]) -> Report {
    let history = History::of(operations).expect("a history");
    judge(&history, Options::default()).expect("a history that fits together")
}

/// What one random operation is made of; each number chooses among what is possible at its place.
type Choices = (u8, u8, u8, u8, u8, u8);

/// A random history: every operation sends earlier tokens and gets any answer that makes sense on its own.
fn random_history(choices: &[Choices]) -> Vec<Operation> {
    let mut history: Vec<Operation> = Vec::new();
    let keys: Vec<&str> = choices.iter().map(|&(_, key, ..)| ["x", "x", "y"][key as usize % 3]).collect();
    let action = |kind: u8| [Action::Get, Action::Get, Action::Put, Action::Put, Action::Delete][kind as usize % 5];
    let puts: Vec<usize> = (0..choices.len()).filter(|&at| action(choices[at].0) == Action::Put).collect();
    for (at, &(kind, _, token, answer, set, more)) in choices.iter().enumerate() {
        let mut operation = Operation::new(at as u64, "c", action(kind), keys[at]);
        operation.replica = ["", "", "r0", "r1"][kind as usize / 5 % 4].into();
        let tokens: Vec<String> = history.iter().filter_map(|earlier| earlier.token_out.clone()).collect();
        if !tokens.is_empty() && token % 4 != 0 {
            // The latest token most often, so that sessions form.
            let index = if token % 4 == 1 { token as usize / 4 % tokens.len() } else { tokens.len() - 1 };
            operation.token_in = Some(tokens[index].clone());
            if token % 16 == 5 {
                operation.merged_from = vec![tokens[more as usize % tokens.len()].clone()];
            }
        }
        operation.token_out = Some(match &operation.token_in {
            Some(token) if more % 16 == 1 => token.clone(),
            _ => format!("t{at}"),
        });
        // Earlier puts more often than later ones: those would all be cycles.
        // Versions of puts whose answer was lost are known to no client, so no write names them.
        let nameless = |put: usize| action(kind) != Action::Get && loses_answer(choices[put].3);
        let same = |&put: &usize| put != at && keys[put] == keys[at] && !nameless(put);
        let known: Vec<usize> = puts.iter().copied().filter(same).collect();
        let earlier: Vec<usize> = known.iter().copied().filter(|&put| put < at).collect();
        let choosable = if set % 64 == 0 { &known } else { &earlier };
        let mut chosen: Vec<usize> = choosable.iter().copied().filter(|&put| set >> (put % 8) & 1 == 1).collect();
        if chosen.is_empty() {
            chosen.extend(choosable.last());
        }
        let turn = more as usize % chosen.len().max(1);
        chosen.rotate_left(turn);
        give_answer(&mut operation, at, &chosen, answer);
        history.push(operation);
    }
    history
}

const fn loses_answer(answer: u8) -> bool {
    answer.is_multiple_of(11)
}

fn give_answer(operation: &mut Operation, at: usize, chosen: &[usize], answer: u8) {
    let is_write = operation.action != Action::Get;
    if is_write && loses_answer(answer) {
        (operation.outcome, operation.token_out) = (Outcome::Unknown, None);
    }
    if operation.action == Action::Put {
        operation.value = Some(at.to_string());
        operation.shown = (operation.outcome == Outcome::Ok).then(|| vec![format!("v{at}")]);
    }
    if operation.outcome != Outcome::Ok {
        return;
    }
    let nothing = chosen.is_empty() || answer.is_multiple_of(7);
    operation.status = match operation.action {
        Action::Get | Action::Delete if nothing => 404,
        Action::Put if nothing => 201,
        Action::Get | Action::Put | Action::Delete => 200,
    };
    if operation.status == 200 {
        match operation.action {
            Action::Get => {
                operation.value = Some(chosen[0].to_string());
                operation.siblings =
                    answer.is_multiple_of(2).then(|| chosen.iter().map(|put| put.to_string()).collect());
            }
            Action::Put | Action::Delete => {
                operation.superseded =
                    answer.is_multiple_of(2).then(|| chosen.iter().map(|put| format!("v{put}")).collect());
            }
        }
    }
}

/// Choices bent towards one key, sessions, and exact reads: sets that contradict a session are frequent there.
fn bent((kind, _, token, answer, set, more): Choices) -> Choices {
    let is_read = kind % 2 == 0;
    let token = if token % 3 == 0 { 0 } else { 2 | token & 0xf0 };
    let token = if token != 0 && more % 4 == 0 { 1 + 4 * (more / 4) } else { token };
    let answer = if answer % 8 == 0 {
        7
    } else if is_read {
        4
    } else {
        13
    };
    (if is_read { 0 } else { 2 } + kind / 10 * 5, 0, token, answer, if set == 0 { 1 } else { set }, more)
}

/// Choices bent towards values that are deleted, found missing, and found again.
fn vanishing((kind, key, token, answer, set, more): Choices) -> Choices {
    let kind = [0, 0, 0, 2, 4][kind as usize % 5] + kind / 10 * 5;
    let token = match token % 5 {
        0 => 0,
        1 => 1 + more / 4 * 4,
        _ => 2,
    };
    (kind, u8::from(key % 8 == 0) * 2, token, [7, 7, 13, 4, 1][answer as usize % 5], set, more)
}

/// A story of the litmus suite in which some operations are answered or sent otherwise.
fn retold(story: &[Operation], changes: &[(u8, u8, u8)]) -> Vec<Operation> {
    let mut history = story.to_vec();
    for &(at, what, more) in changes {
        let at = at as usize % history.len();
        let before = history.iter().take_while(|earlier| earlier.id < history[at].id);
        let tokens: Vec<String> = before.filter_map(|earlier| earlier.token_out.clone()).collect();
        let puts = history.iter().filter(|put| put.action == Action::Put && put.key == history[at].key);
        let mut values: Vec<String> = puts.filter_map(|put| put.value.clone()).collect();
        let operation = &mut history[at];
        match (what % 3, operation.action) {
            (0, _) => {
                let (token, id) = (tokens.get(more as usize % (tokens.len() + 1)).cloned(), operation.id);
                for part in history.iter_mut().filter(|part| part.id == id) {
                    part.token_in.clone_from(&token);
                    part.merged_from.clear();
                }
            }
            (1, Action::Get) if !values.is_empty() => {
                let count = values.len();
                values.rotate_left(more as usize % count);
                values.truncate(1 + more as usize / 8 % count);
                (operation.status, operation.value, operation.siblings) = (200, None, Some(values));
            }
            (2, Action::Get) => (operation.status, operation.value, operation.siblings) = (404, None, None),
            (_, Action::Get | Action::Put | Action::Delete) => {}
        }
    }
    history
}

/// A history of seven operations at a store that is correct, or has a bug.
fn stored_history(seed: u64) -> Vec<Operation> {
    let bugs = [
        None,
        Some(Bug::LosesWrites),
        Some(Bug::AppliesEarly),
        Some(Bug::IgnoresTokens),
        Some(Bug::DisagreesOnWinners),
    ];
    let shape = Shape {
        seed,
        operations: 7,
        sessions: 2 + seed as usize % 2,
        replicas: 2,
        keys: 1 + seed as usize / 7 % 2,
        reads: 550_000,
        deletes: 100_000,
        unknown: 0,
        siblings: 400_000,
        exact: (seed / 11).is_multiple_of(2),
        spreading: 1 + seed / 13 % 2,
        final_reads: false,
        bug: bugs[seed as usize % bugs.len()],
        ..Shape::default()
    };
    Generator::new(shape).collect()
}

#[test]
fn both_judges_agree() {
    let counts = RefCell::new([[0_u32; 3]; 6]);
    let compared = RefCell::new(0);
    let cases = std::env::var("HENCE_JUDGE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(6_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let random = prop::collection::vec(any::<Choices>(), 1..=7).prop_map(|choices| random_history(&choices));
    let bent =
        prop::collection::vec(any::<Choices>().prop_map(bent), 4..=7).prop_map(|choices| random_history(&choices));
    let stories: Vec<Vec<Operation>> = litmus::litmus().into_iter().flatten().map(|litmus| litmus.operations).collect();
    let stories: Vec<Vec<Operation>> = stories.into_iter().filter(|story| story.len() <= 7).collect();
    let changes = (any::<prop::sample::Index>(), prop::collection::vec(any::<(u8, u8, u8)>(), 0..=2));
    let retold = changes.prop_map(move |(story, changes): (prop::sample::Index, Vec<_>)| {
        retold(story.get(stories.as_slice()).as_slice(), &changes)
    });
    let vanishing =
        prop::collection::vec(any::<Choices>().prop_map(vanishing), 4..=7).prop_map(|choices| random_history(&choices));
    let histories = prop_oneof![random, bent, vanishing, retold, any::<u64>().prop_map(stored_history)];
    runner
        .run(&histories, |history| {
            compare(&history, &counts)?;
            *compared.borrow_mut() += 1;
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    println!("{} random histories of up to 7 operations, judged by both:", compared.borrow());
    let counts = counts.into_inner();
    for (level, [fine, broken, unknown]) in Level::ALL.iter().zip(counts) {
        println!("  {:>4}: {fine} fine, {broken} broken, {unknown} not asked", level.name());
        assert!(fine.min(broken) * 100 >= cases, "{}: too few of one kind to mean anything", level.name());
    }
}

fn compare(history: &[Operation], counts: &RefCell<[[u32; 3]; 6]>) -> Result<(), TestCaseError> {
    let (quick, slow) = (judged(history), slow::judge(history));
    // What is called fine has an explanation that holds, however it was found.
    if let Some(explanation) = quick.proof.as_ref().filter(|_| quick.verdict(Level::Convergent) == Verdict::Fine) {
        let verified = proof::verify(history, explanation);
        prop_assert_eq!(verified, Ok(()), "{}", written(history));
    }
    let whole = History::of(history).expect("a history");
    let searched = judge(&whole, Options { certificates: false, ..Options::default() }).expect("it fits together");
    prop_assert_eq!(quick.verdicts, searched.verdicts, "by certificate and by search: {}", written(history));
    for (at, level) in Level::ALL.into_iter().enumerate() {
        prop_assert_eq!(quick.verdict(level), slow[at], "{} of {}", level.name(), written(history));
        counts.borrow_mut()[at][slow[at] as usize] += 1;
    }
    Ok(())
}

fn written(history: &[Operation]) -> String {
    let mut text = Vec::from(b"\n");
    for event in hence_checker::history::events(history) {
        hence_checker::format::json::write_event(event, &mut text).expect("memory takes it");
    }
    String::from_utf8(text).expect("JSON is text")
}

#[test]
fn a_correct_store_raises_no_alarm() {
    let (mut operations, mut deletes, mut histories, mut certified) = (0, 0, 0, 0);
    for seed in 0..1_500 {
        let shape = Shape {
            seed,
            exact: seed % 3 != 0,
            keys: 1 + seed as usize % 4,
            sessions: 2 + seed as usize % 5,
            spreading: 1 + seed % 4,
            operations: 24 + seed as usize % 60,
            unknown: if seed % 2 == 0 { 0 } else { 80_000 },
            ..Shape::default()
        };
        let history: Vec<Operation> = Generator::new(shape).collect();
        let report = judged(&history);
        for level in Level::ALL {
            assert_eq!(report.verdict(level), Verdict::Fine, "seed {seed}, {}{}", level.name(), written(&history));
        }
        let explanation = report.proof.as_ref().expect("fine is said with a proof in hand");
        assert_eq!(proof::verify(&history, explanation), Ok(()), "seed {seed}{}", written(&history));
        certified += u32::from(report.certified);
        assert_ne!(report.convergence, Some(Verdict::Broken), "seed {seed}{}", written(&history));
        histories += 1;
        operations += history.len();
        deletes += history.iter().filter(|operation| operation.action == Action::Delete).count();
    }
    println!("{histories} histories of a correct store, {operations} operations, {deletes} deletes: no alarm");
    println!("{certified} were explained by certificate");
    assert!(certified * 4 >= histories as u32, "certificates explain {certified} only");
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        let broken = |seed: u64| {
            let shape = Shape { seed, bug: Some(bug), ..Shape::default() };
            judged(&Generator::new(shape).collect::<Vec<_>>()).is_broken()
        };
        let found = (0..200).filter(|&seed| broken(seed)).count();
        println!("{bug:?}: found in {found} of 200 histories of 48 operations");
        assert!(found >= 20, "{bug:?} was found in {found} of 200 histories only");
    }
}

#[test]
fn counterexamples_are_minimal() {
    let (mut count, mut operations) = (0, 0);
    for seed in 0..40 {
        for bug in Bug::ALL {
            let history =
                History::of(&Generator::new(Shape { seed, bug: Some(bug), ..Shape::default() }).collect::<Vec<_>>())
                    .expect("a history");
            let report = judge(&history, Options::default()).expect("it fits together");
            let Some(level) = report.weakest_broken() else { continue };
            let found = report.counterexample(&history, Options::default()).expect("it is broken");
            let alone: Vec<Operation> = found.history().operations().collect();
            assert_eq!(judged(&alone).verdict(level), Verdict::Broken, "{bug:?}, seed {seed}: not broken alone");
            assert!(found.is_minimal(), "{bug:?}, seed {seed}");
            assert!(alone.len() <= 16, "{bug:?}, seed {seed}: {} operations\n{}", alone.len(), found.prose());
            if alone.len() <= 7 {
                assert_eq!(
                    slow::judge(&alone)[level as usize],
                    Verdict::Broken,
                    "{bug:?}, seed {seed}{}",
                    written(&alone)
                );
            }
            let svg = found.svg();
            assert!(svg.ends_with("</svg>\n") && !found.diagram().is_empty());
            // What is drawn has the colours of the reader's scheme.
            let (style, drawn) = svg.split_once("</style>").expect("a style");
            assert!(style.contains("prefers-color-scheme:dark") && !drawn.contains(":#"), "{svg}");
            count += 1;
            operations += alone.len();
        }
    }
    println!("{count} counterexamples, {:.1} operations each", f64::from(operations as u32) / f64::from(count));
}

/// The counterexample of a large history shows what was found there, with what led to it. It is not a PUT that met
/// something where its counterexample has nothing. Nor is it a value without a writer because its PUT was left out.
#[test]
fn counterexamples_of_large_histories_keep_the_violation() {
    let mut kinds = std::collections::BTreeMap::<&str, u32>::new();
    for (seed, bug) in (0..10).flat_map(|seed| Bug::ALL.map(|bug| (seed, bug))) {
        let shape = Shape { seed, operations: 1_200, sessions: 5, keys: 8, bug: Some(bug), ..Shape::default() };
        let operations: Vec<Operation> = Generator::new(shape).collect();
        let history = History::of(&operations).expect("a history");
        let report = judge(&history, Options::default()).expect("it fits together");
        let Some(kind) = report.kind() else { continue };
        let found = report.counterexample(&history, Options::default()).expect("it is broken");
        let alone: Vec<Operation> = found.history().operations().collect();
        assert_eq!(found.kind(), kind, "{bug:?}, seed {seed}\n{}", found.prose());
        assert!(found.is_minimal(), "{bug:?}, seed {seed}: {} operations", alone.len());
        assert!(judged(&alone).verdict(found.level()) == Verdict::Broken, "{bug:?}, seed {seed}\n{}", found.prose());
        let puts = operations.iter().filter(|put| put.action == Action::Put && put.key == alone[0].key).count();
        assert!(alone.len() > 1 || puts < 2, "{bug:?}, seed {seed}\n{}", found.prose());
        assert!(alone.len() <= 16, "{bug:?}, seed {seed}: {} operations\n{}", alone.len(), found.prose());
        *kinds.entry(kind).or_default() += 1;
    }
    println!("{kinds:?}");
    assert!(kinds.len() >= 3, "{kinds:?}");
}

/// Deletes that no client read are guessed at once and not one after another: the walks do not grow with the history.
#[test]
fn deletes_do_not_multiply_the_walks() {
    for operations in [20_000, 120_000] {
        let shape = Shape {
            operations,
            sessions: 8,
            replicas: 8,
            keys: 1_000,
            reads: 500_000,
            deletes: 50_000,
            wandering: 10_000,
            unknown: 1_000,
            siblings: 0,
            spreading: 12,
            final_reads: false,
            ..Shape::default()
        };
        let report = judged(&Generator::new(shape).collect::<Vec<_>>());
        assert_eq!(report.verdict(Level::Convergent), Verdict::Fine);
        println!("{operations} operations: {} walks", report.walks);
        assert!(report.walks <= 32, "{} walks for {operations} operations", report.walks);
    }
}

/// Winners that no order can explain are seen before any case is split.
#[test]
fn divergence_amid_deletes_is_seen_at_once() {
    for seed in 0..4 {
        let shape = Shape {
            seed,
            operations: 3_000,
            sessions: 6,
            keys: 20,
            deletes: 100_000,
            bug: Some(Bug::DisagreesOnWinners),
            ..Shape::default()
        };
        let report = judged(&Generator::new(shape).collect::<Vec<_>>());
        assert_eq!(report.verdict(Level::Convergent), Verdict::Broken, "seed {seed}");
        println!("seed {seed}: {} walks", report.walks);
        assert!(report.walks <= 100, "seed {seed}: {} walks", report.walks);
    }
}

/// A large history names its weakest broken level, too.
#[test]
fn large_histories_are_classified() {
    let shape = Shape {
        operations: 4_000,
        keys: 40,
        sessions: 6,
        deletes: 0,
        unknown: 0,
        bug: Some(Bug::IgnoresTokens),
        ..Shape::default()
    };
    let history = History::of(&Generator::new(shape).collect::<Vec<_>>()).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    let weakest = report.weakest_broken().expect("the store ignores tokens");
    assert!(weakest < Level::Causal, "{weakest:?}");
    let found = report.counterexample(&history, Options::default()).expect("it is broken");
    assert!(found.broken().contains(&weakest), "{}", found.prose());
}

/// A 304 whose version no answer showed says that something was there.
#[test]
fn a_304_is_an_event() {
    let mut put = Operation::new(0, "a", Action::Put, "x");
    (put.value, put.outcome) = (Some("1".into()), Outcome::Unknown);
    let mut read = Operation::new(1, "b", Action::Get, "x");
    (read.status, read.shown, read.token_out) = (304, Some(vec!["v1".into()]), Some("t1".into()));
    assert_eq!(judged(&[put.clone(), read.clone()]).verdict(Level::Convergent), Verdict::Fine);
    // The only put there was came after the read.
    put.token_in = Some("t1".into());
    assert_eq!(judged(&[read, put]).verdict(Level::Causal), Verdict::Broken);
}

#[test]
fn a_counterexample_tells_its_story() {
    let story =
        litmus::litmus().into_iter().flatten().find(|story| story.name == "figure-3e").expect("it is in the suite");
    let history = History::of(&story.operations).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    let found = report.counterexample(&history, Options::default()).expect("it is broken");
    let prose = found.prose();
    println!("{prose}\n{}", found.diagram());
    assert!(prose.contains("c2 (GET x: 1) showed x=1, written by a1."), "{prose}");
    assert!(prose.contains("b1 returned what a2 wrote"), "{prose}");
}

/// A delete that would explain a 404 is named with what speaks against it.
#[test]
fn what_a_404_excludes_is_told() {
    let mut stories = litmus::litmus().into_iter().flatten();
    let story = stories.find(|story| story.name == "nothing-and-then-something").expect("it is in the suite");
    let history = History::of(&story.operations).expect("a history");
    let report = judge(&history, Options::default()).expect("it fits together");
    let prose = report.counterexample(&history, Options::default()).expect("it is broken").prose();
    println!("{prose}");
    assert!(prose.contains("would have removed what c3 showed later, too"), "{prose}");
}
