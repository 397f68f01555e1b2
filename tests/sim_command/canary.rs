//! `run --canary` and `run --annotations`.

use super::{folder, sim, text};
use serde_json::Value;
use std::process::Command;

/// A campaign with a canary that is found, with one that chance does not find, and with none: only the first is green.
#[test]
fn a_page_is_green_only_with_its_canary() {
    for (name, more, codes, says, state) in [
        ("found", &["--canary"][..], [0, 0], "was found in", "green"),
        ("lost", &["--canary=pull-without-memory"], [4, 4], "was not found in 300 schedules", "red"),
        ("none", &[], [0, 4], "no failure", "red"),
    ] {
        let here = folder().join(format!("canary-{name}"));
        _ = std::fs::remove_dir_all(&here);
        std::fs::create_dir_all(&here).expect("a folder");
        let (lines, page) = (here.join("lines.jsonl").display().to_string(), format!("canary-{name}.html"));
        let run = sim(&[&["run", "--seeds", "500..520", "--json", &lines][..], more].concat());
        assert_eq!(run.status.code(), Some(codes[0]), "{name}: {}", text(&run));
        assert!(text(&run).contains(says), "{name}: {}", text(&run));
        let triage = sim(&["triage", &here.display().to_string(), "--html", &page]);
        assert_eq!(triage.status.code(), Some(codes[1]), "{name}: {}", text(&triage));
        let page = std::fs::read_to_string(folder().join(page)).expect("the page");
        assert!(page.contains(&format!("class=\"state {state}\"")), "{name}: {page}");
    }
    assert_eq!(sim(&["run", "--seeds", "0..2", "--canary=no-such"]).status.code(), Some(2));
}

/// Each kind of failure is an annotation that names its replay, where it is asked for or GitHub's runner listens.
#[test]
fn failures_are_annotations() {
    let run = |more: &[&str], runner: &str| {
        let run = ["run", "--seeds", "0..20", "--mutant", "serve-uncovered", "--cases", "annotated"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
        command.args(run).args(more).current_dir(folder()).env("GITHUB_ACTIONS", runner);
        command.output().expect("the binary starts")
    };
    let annotations = |text: &str| {
        let found = text.lines().filter(|line| line.starts_with("::error title=sessions/past_missing::seed "));
        found.filter(|line| line.contains("%0Ahence-sim replay annotated/")).count()
    };
    assert_eq!(annotations(&text(&run(&[], ""))), 0);
    for output in [run(&["--annotations"], ""), run(&[], "true")] {
        assert_eq!(annotations(&text(&output)), 1, "{}", text(&output));
    }
    // Where standard output holds JSON, nothing else stands there.
    let output = run(&["--annotations", "--json", "-"], "");
    assert_eq!(annotations(&String::from_utf8_lossy(&output.stderr)), 1);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}
