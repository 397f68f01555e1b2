//! `triage`: a folder of failures becomes a list of bugs, and what is no failure is named.

use super::{folder, sim, text};
use serde_json::Value;
use std::path::PathBuf;

/// A folder with what two campaigns of planted bugs found, their lines, and what is neither.
fn with_findings(name: &str) -> PathBuf {
    let here = folder().join(name);
    _ = std::fs::remove_dir_all(&here);
    std::fs::create_dir_all(&here).expect("a folder");
    let (cases, lines) = (here.display().to_string(), here.join("lines.jsonl").display().to_string());
    for mutant in ["serve-uncovered", "depend-without-past"] {
        let run = ["run", "--seeds", "0..40", "--profile", "general", "--cases", &cases, "--json", &lines];
        let run = sim(&[&run[..], &["--mutant", mutant]].concat());
        assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    }
    std::fs::write(here.join("notes.txt"), "no case").expect("a file");
    std::fs::write(here.join("bytes.json"), [0xff, 0, 7]).expect("a file");
    std::fs::write(here.join("history.jsonl"), "{\"id\":1,\"op\":\"get\"}\n").expect("a file");
    here
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().expect("a list").iter().filter_map(|it| it[field].as_str()).collect()
}

#[test]
fn failures_are_sorted_into_bugs() {
    let here = with_findings("triage");
    let path = |name: &str| here.join(name).display().to_string();
    let (page, small, dir) = (path("../triage.html"), path("../triage-small"), path(""));
    let run = ["triage", &dir, "--html", &page, "--json", "-", "--small", &small, "--budget", "10m"];
    let output = sim(&run);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let triage: Value = serde_json::from_slice(&output.stdout).expect("standard output is one object");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let bugs = triage["bugs"].as_array().expect("bugs");
    let buckets = names(&triage["bugs"], "bucket");
    assert!(buckets.iter().any(|it| it.starts_with("sessions/past_missing served: ")), "{buckets:?}");
    assert!(buckets.iter().any(|it| it.starts_with("causes/cause_missing dependencies: ")), "{buckets:?}");
    for bug in bugs {
        let bucket = bug["bucket"].as_str().expect("a text");
        assert!(said.contains(bucket), "{said}");
        // Every failure has a line, so the rate counts all of them, and the interval holds the share.
        let rate = &bug["rates"][0];
        assert_eq!((&rate["failed"], &rate["of"]), (&bug["times"], &40.into()), "{bug}");
        let number = |name: &str| rate[name].as_f64().expect("a number");
        assert!(number("low") <= number("failed") / 40.0 && number("failed") / 40.0 <= number("high"), "{bug}");
        assert!(bug["why"][0].as_str().is_some_and(|why| why.starts_with("It was decided at ")), "{bug}");
        let smallest = &bug["smallest"];
        let size = smallest["operations"].as_u64().expect("a size") + smallest["faults"].as_u64().expect("a size");
        assert!(smallest["shrunk"] == "whole" && size < smallest["from"].as_u64().expect("a size"), "{bug}");
        let replay = bug["replay"].as_str().expect("a command").strip_prefix("hence-sim replay ").expect("ours");
        assert!(text(&sim(&["replay", replay])).starts_with("same failure"), "{bug}");
    }
    // A case and its line are one failure.
    let times: u64 = bugs.iter().filter_map(|bug| bug["times"].as_u64()).sum();
    let lines = std::fs::read_to_string(here.join("lines.jsonl")).expect("the lines");
    assert_eq!(times as usize, lines.matches("\"kind\":\"failure\"").count());
    let skipped = names(&triage["skipped"], "name");
    for name in ["notes.txt", "bytes.json", "history.jsonl"] {
        assert!(skipped.iter().any(|it| it.ends_with(name)) && said.contains(name), "{skipped:?}: {said}");
    }
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    let page = std::fs::read_to_string(&page).expect("the page");
    assert_eq!(page.matches("<article>").count(), bugs.len());
    assert_eq!(page.matches("data:image/svg+xml,%3Csvg").count(), bugs.len());
    assert!(page.contains("class=\"state red\"") && page.contains("notes.txt"), "{page}");
}

/// Without time nothing is sorted, and that is said.
#[test]
fn what_there_was_no_time_for_is_named() {
    let here = with_findings("triage-at-once");
    let output = sim(&["triage", &here.display().to_string(), "--budget", "0s"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("Time was up before") && said.matches("no time for").count() > 3, "{said}");
}

#[test]
fn what_passes_is_no_bug() {
    let here = folder().join("triage-sound");
    _ = std::fs::remove_dir_all(&here);
    std::fs::create_dir_all(&here).expect("a folder");
    let dir = here.display().to_string();
    let empty = sim(&["triage", &dir]);
    assert_eq!(empty.status.code(), Some(4), "{}", text(&empty));
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
    let mut case: Value = serde_json::from_str(&std::fs::read_to_string(case).expect("the case")).expect("JSON");
    case["mutant"] = Value::Null;
    std::fs::write(here.join("sound.json"), case.to_string()).expect("a file");
    let sound = sim(&["triage", &dir]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound));
    assert!(text(&sound).contains("nothing fails") && text(&sound).contains("this build passes"), "{}", text(&sound));
    assert_eq!(sim(&["triage", "no-such-folder"]).status.code(), Some(2));
}
