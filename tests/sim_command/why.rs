//! `why`: what it says, and that it names the right step.

use super::{sim, text};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/why.md");
const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");

/// Every tenth row of the table in docs/why.md, measured again: the step that is named, and whether that is right.
#[test]
fn the_table_of_why_is_what_is_measured() {
    let rows: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows.into_iter().step_by(10) {
        let mutant = row.split('`').nth(1).expect("a mutant");
        let table = sim(&["mutants", "--why", "--only", mutant]);
        assert_eq!(table.status.code(), Some(i32::from(row.ends_with("| **no** |"))), "{}", text(&table));
        assert!(text(&table).lines().any(|line| line == row), "{row}\n{}", text(&table));
    }
}

/// The same case gets the same answer, within its budget, and each number in it leads somewhere.
#[test]
fn why_is_one_object_and_says_the_same_again() {
    let [one, other] = [(); 2].map(|()| sim(&["why", CASE, "--json"]));
    assert_eq!((one.status.code(), &one.stdout), (Some(1), &other.stdout));
    let why: serde_json::Value = serde_json::from_slice(&one.stdout).expect("one object");
    let story = sim(&["show", CASE, "--json"]);
    let events: BTreeSet<u64> = String::from_utf8_lossy(&story.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].as_u64())
        .collect();
    let is_event = |value: &serde_json::Value| value.as_u64().is_some_and(|event| events.contains(&event));
    assert!(is_event(&why["event"]) && is_event(&why["no_return"]), "{why}");
    let list = |name: &str| why[name].as_array().expect("a list").clone();
    assert!(list("cuts").len() >= 10 && list("cuts").iter().all(|cut| is_event(&cut["event"])), "{why}");
    let inside = |cut: &serde_json::Value| {
        let share = cut["failed"].as_f64().expect("a count") / cut["of"].as_f64().expect("a count");
        let (low, high) = (cut["low"].as_f64().expect("a share"), cut["high"].as_f64().expect("a share"));
        low <= share + 0.001 && share <= high + 0.001 && high > low
    };
    assert!(list("cuts").iter().all(inside), "{why}");
    // Of a case that cannot get smaller, each fault and each operation is needed in the run itself.
    let needed = |it: &serde_json::Value| it["kind"] == "message" || it["passes_without"] == true;
    assert!(!list("tried").is_empty() && list("tried").iter().all(needed), "{why}");
    assert!(why["sentences"].as_array().is_some_and(|it| (5..=12).contains(&it.len())), "{why}");
    assert!(why["events"].as_u64().is_some_and(|events| events < 6_000_000), "{why}");
    // What passes has nothing to explain.
    let mut case: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(CASE).expect("the case")).expect("JSON");
    case["mutant"] = serde_json::Value::Null;
    std::fs::write(super::folder().join("sound.json"), case.to_string()).expect("a file");
    let passes = sim(&["why", "sound.json"]);
    assert_eq!(passes.status.code(), Some(0), "{}", text(&passes));
    assert!(text(&passes).contains("the case passes"), "{}", text(&passes));
}
