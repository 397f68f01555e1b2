//! `run --findings`: the register of findings, and that of hence itself.

use super::{folder, sim, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
const REGISTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/findings.json");

/// A register with one finding.
fn register(name: &str, finding: &Value) -> String {
    let path = folder().join(name);
    std::fs::write(&path, json!({ "format": 1, "findings": [finding] }).to_string()).expect("a file");
    path.display().to_string()
}

/// A campaign of this bug with this register: its exit code, what it says, and its lines.
fn campaign(mutant: &str, findings: &str) -> (Option<i32>, String, Vec<Value>) {
    let lines = folder().join("register.jsonl");
    _ = std::fs::remove_file(&lines);
    let lines = lines.display().to_string();
    let run = ["run", "--seeds", "0..30", "--profile", "general", "--cases", "register-cases", "--json", &lines];
    let output = sim(&[&run[..], &["--mutant", mutant, "--findings", findings]].concat());
    let lines = std::fs::read_to_string(&lines).expect("the lines");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output.status.code(), text(&output), lines)
}

/// The causes that `triage` names for a bug.
fn causes(mutant: &str) -> Vec<Value> {
    let here = folder().join("register-triage");
    _ = std::fs::remove_dir_all(&here);
    let dir = here.display().to_string();
    let lines = here.join("lines.jsonl").display().to_string();
    std::fs::create_dir_all(&here).expect("a folder");
    let run = ["run", "--seeds", "0..30", "--profile", "general", "--cases", &dir, "--json", &lines];
    sim(&[&run[..], &["--mutant", mutant]].concat());
    let triage = sim(&["triage", &dir, "--json", "-", "--budget", "10m"]);
    let triage: Value = serde_json::from_slice(&triage.stdout).expect("one object");
    triage["bugs"].as_array().expect("bugs").clone()
}

#[test]
fn a_known_finding_fails_nothing_and_hides_nothing() {
    let finding = |bug: &Value, name: &str, status: &str| json!({ "name": name, "status": status, "fingerprint": bug["fingerprint"], "cause": bug["cause"] });
    let bugs = causes("serve-uncovered");
    let all: Vec<Value> = bugs.iter().enumerate().map(|(n, bug)| finding(bug, &format!("one-{n}"), "known")).collect();
    let path = folder().join("all-known.json");
    std::fs::write(&path, json!({ "format": 1, "findings": all }).to_string()).expect("a file");
    let known = path.display().to_string();
    let (code, said, lines) = campaign("serve-uncovered", &known);
    assert_eq!(code, Some(0), "{said}");
    let failures: u64 = bugs.iter().filter_map(|bug| bug["times"].as_u64()).sum();
    let kinds = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count() as u64;
    assert_eq!((kinds("known"), kinds("failure")), (failures, 0), "{said}");
    assert!(said.contains("the known finding one-0") && said.contains("no failure"), "{said}");
    // The same sign from another cause counts.
    let (code, said, _) = campaign("answer-without-past", &known);
    assert!(code == Some(1) && said.contains("sessions/past_missing at"), "{said}");
    // What is open or fixed counts, and is named.
    let open = register("open.json", &finding(&bugs[0], "one", "open"));
    let (code, said, _) = campaign("serve-uncovered", &open);
    assert!(code == Some(1) && said.contains("the open finding one"), "{said}");
    let fixed = register("fixed.json", &finding(&bugs[0], "one", "fixed"));
    let (code, said, lines) = campaign("serve-uncovered", &fixed);
    assert!(code == Some(1) && said.contains("one is back, which was fixed"), "{said}");
    assert!(lines.iter().any(|line| line["kind"] == "failure" && line["finding"] == "one"), "{said}");
}

/// Whatever the seeds show: the case of a fixed finding is replayed.
#[test]
fn a_fixed_finding_that_returns_is_named() {
    let finding = json!({ "name": "left-out", "status": "fixed", "fingerprint": "sessions/past_missing",
        "case": CASE, "about": "An answer leaves out deletes." });
    let findings = register("returned.json", &finding);
    let run = ["run", "--seeds", "0..5", "--json", "-", "--junit", "returned.xml", "--findings", &findings];
    let output = sim(&run);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("left-out is back, which was fixed: sessions/past_missing"), "{said}");
    let lines = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["kind"], &lines[0]["finding"]), (&"returned".into(), &"left-out".into()));
    assert_eq!(lines.last().expect("a summary")["returned"], json!(["left-out"]));
    let xml = std::fs::read_to_string(folder().join("returned.xml")).expect("it is written");
    assert!(xml.contains("failures=\"1\"") && xml.contains("left-out stays fixed"), "{xml}");
}

#[test]
fn registers_that_make_no_sense_are_refused() {
    let with = |field: &str, value: Value| {
        let mut finding = json!({ "name": "one", "status": "open", "fingerprint": "a/b" });
        finding[field] = value;
        finding
    };
    for (finding, says) in [
        (with("status", "known".into()), "names its cause"),
        (with("status", "gone".into()), "gone"),
        (with("surprise", 1.into()), "surprise"),
    ] {
        let output = sim(&["run", "--seeds", "0..2", "--findings", &register("refused.json", &finding)]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
    assert_eq!(sim(&["run", "--seeds", "0..2", "--findings", "no-such-file"]).status.code(), Some(2));
}

/// The register of hence: every case that was kept is a fixed finding, and none is back.
#[test]
fn every_case_is_a_fixed_finding() {
    let register: Value = serde_json::from_str(&std::fs::read_to_string(REGISTER).expect("it is there")).expect("JSON");
    let schema = include_str!("../../docs/findings.schema.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let fields = schema["properties"]["findings"]["items"]["properties"].as_object().expect("fields");
    let folder = PathBuf::from(REGISTER).with_file_name("");
    let mut named = BTreeSet::new();
    for finding in register["findings"].as_array().expect("a list") {
        let case = finding["case"].as_str().expect("it has a case");
        let text = std::fs::read_to_string(folder.join(case)).expect("the case");
        let kept: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(finding["fingerprint"], kept["fingerprint"], "{case}");
        assert!(finding.as_object().expect("an object").keys().all(|field| fields.contains_key(field)), "{finding}");
        named.insert(case.strip_prefix("cases/").expect("it lies there").to_owned());
    }
    let there =
        std::fs::read_dir(folder.join("cases")).expect("cases").map(|entry| entry.expect("an entry").file_name());
    let there: BTreeSet<String> = there.filter_map(|name| name.into_string().ok()).collect();
    let is_case = |name: &&String| name.ends_with(".json") && *name != "schema.json";
    let there: BTreeSet<String> = there.iter().filter(is_case).cloned().collect();
    assert_eq!(there, named, "each case has a line in tests/findings.json, and no other");
    let output = sim(&["run", "--seeds", "0..3", "--findings", REGISTER]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}
