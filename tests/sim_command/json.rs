//! `--json` of every command that has it: documented, and JSON and nothing else on its stream.

use super::{folder, sim, text};
use serde_json::Value;
use std::collections::BTreeSet;

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
const HISTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-read-that-forgets.jsonl");
const FORMATS: &str = include_str!("../../docs/formats.md");

/// The commands that the help names.
fn commands() -> BTreeSet<String> {
    let help = text(&sim(&["--help"]));
    let (_, rest) = help.split_once("Commands:\n").expect("a list of commands");
    let named = rest.lines().take_while(|line| !line.trim().is_empty());
    let words = named.filter(|line| !line.starts_with("    ")).filter_map(|line| line.split_whitespace().next());
    words.filter(|&word| word != "help").map(str::to_owned).collect()
}

/// Each command with `--json` on standard output, where it needs nothing that runs beside it.
#[test]
fn what_is_json_is_nothing_else() {
    let here = folder().join("json-triage");
    std::fs::create_dir_all(&here).expect("a folder");
    std::fs::copy(CASE, here.join("case.json")).expect("a file");
    let here = here.display().to_string();
    let all: [(&str, &[&str], &[&str]); 8] = [
        (
            "run",
            &["--seeds", "0..20", "--mutant", "serve-uncovered", "--json", "-", "--canary"],
            &["failure", "canary", "summary"],
        ),
        ("replay", &[CASE, "--json"], &["replay"]),
        ("shrink", &[CASE, "-o", "json-small.json", "--json"], &["shrink"]),
        ("show", &[CASE, "--json"], &["run", "asked", "violation"]),
        ("why", &[CASE, "--json", "--budget", "0"], &["why"]),
        ("triage", &[&here, "--json", "-"], &["triage"]),
        ("check", &[HISTORY, "--json", "-"], &[]),
        ("bisect", &[CASE, "--good", "no-such-commit", "--json"], &[]),
    ];
    let mut with_json = BTreeSet::new();
    for (command, arguments, kinds) in all {
        let output = sim(&[&[command], arguments].concat());
        let printed = String::from_utf8(output.stdout).expect("text");
        let values: Vec<Value> = serde_json::Deserializer::from_str(&printed)
            .into_iter()
            .map(|value| value.unwrap_or_else(|error| panic!("{command}: {error}: {printed}")))
            .collect();
        assert_eq!(values.is_empty(), command == "bisect", "{command}: {printed}");
        for kind in kinds {
            assert!(values.iter().any(|value| value["kind"] == *kind), "{command}: no {kind}: {printed}");
        }
        with_json.insert(command.to_owned());
    }
    // Every other command has none, or is named here with where its JSON goes.
    for command in commands() {
        let has_json = text(&sim(&[&command, "--help"])).contains("--json");
        assert_eq!(has_json, with_json.contains(&command), "{command}: --json is tried here");
        let is_documented = FORMATS
            .lines()
            .any(|line| line.starts_with(&format!("| `hence-sim {command} ")) && line.contains("--json"));
        assert_eq!(has_json, is_documented, "{command}: --json stands in docs/formats.md");
    }
}
