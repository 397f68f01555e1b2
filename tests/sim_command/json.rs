//! `--json` of every command that has it: documented, and JSON and nothing else on its stream.

use super::{folder, sim, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
const HISTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-read-that-forgets.jsonl");
const FORMATS: &str = include_str!("../../docs/formats.md");
const EXPLORE: &str = include_str!("../../docs/explore.md");

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
    let all: [(&str, &[&str], &[&str]); 10] = [
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
        // It needs a cluster; `contract_tells_programs` has one.
        ("contract", &["http://127.0.0.1:1", "--json"], &[]),
        // The same; `torture_tells_programs` has one.
        ("torture", &["--targets", "http://127.0.0.1:1", "-o", "json-torture.jsonl", "--json"], &[]),
    ];
    let mut with_json = BTreeSet::new();
    for (command, arguments, kinds) in all {
        let output = sim(&[&[command], arguments].concat());
        let printed = String::from_utf8(output.stdout).expect("text");
        let values: Vec<Value> = serde_json::Deserializer::from_str(&printed)
            .into_iter()
            .map(|value| value.unwrap_or_else(|error| panic!("{command}: {error}: {printed}")))
            .collect();
        assert_eq!(values.is_empty(), matches!(command, "bisect" | "contract" | "torture"), "{command}: {printed}");
        for kind in kinds {
            assert!(values.iter().any(|value| value["kind"] == *kind), "{command}: no {kind}: {printed}");
        }
        with_json.insert(command.to_owned());
    }
    with_json.extend(ROWS.iter().map(|row| row.arguments[0].to_owned()));
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

/// A command that prints rows, with the kinds of its lines in order and the fields of each.
struct Rows {
    arguments: &'static [&'static str],
    /// Its section of docs/formats.md.
    section: &'static str,
    code: i32,
    kinds: &'static [(&'static str, &'static [&'static str])],
}

const RUN: (&str, &[&str]) = ("run", &["version", "commit", "command"]);
const ONLY: [&str; 4] = ["--only", "serve-uncovered", "--seeds", "200"];
const MUTANT: &[&str] = &["mutant", "of", "profile", "kills", "asked", "found", "median", "percentile_95", "by"];
const SIZE: &[&str] = &["mutant", "fingerprint", "seed", "from", "to", "replicas", "minimal", "seconds"];
const HISTORY_ROW: &[&str] =
    &["history", "operations", "sessions", "broken", "rounds", "cpu_seconds", "parsing_seconds", "memory_mib", "ccv"];
const MEASUREMENT: &[&str] =
    &["operations", "parsing_seconds", "reading_seconds", "judging_seconds", "memory_mib", "cc", "ccv"];

const ROWS: &[Rows] = &[
    Rows {
        arguments: &["mutants", "--kills", "3", ONLY[0], ONLY[1], ONLY[2], ONLY[3]],
        section: "The lines of `mutants`",
        code: 0,
        kinds: &[RUN, ("mutant", MUTANT), ("summary", &["mutants", "survivors", "seconds"])],
    },
    Rows {
        arguments: &["mutants", "--shrink", ONLY[0], ONLY[1], ONLY[2], ONLY[3]],
        section: "The lines of `mutants`",
        code: 0,
        kinds: &[RUN, ("size", SIZE), ("summary", &["mutants", "median", "longest", "missing"])],
    },
    Rows {
        arguments: &["mutants", "--shrink", "--only", "apply-without-causes", "--seeds", "1"],
        section: "The lines of `mutants`",
        code: 1,
        kinds: &[RUN, ("size", &["mutant", "fingerprint"]), ("summary", &["mutants", "median", "longest", "missing"])],
    },
    Rows {
        arguments: &["mutants", "--why", ONLY[0], ONLY[1], ONLY[2], ONLY[3]],
        section: "The lines of `mutants`",
        code: 0,
        kinds: &[
            RUN,
            ("named", &["mutant", "fingerprint", "first", "named", "right"]),
            ("summary", &["mutants", "right"]),
        ],
    },
    Rows {
        arguments: &["mutants", "--triage", "--failures", "1", ONLY[0], ONLY[1], ONLY[2], ONLY[3]],
        section: "The lines of `mutants`",
        code: 0,
        kinds: &[
            RUN,
            ("buckets", &["mutant", "failures", "buckets"]),
            ("summary", &["mutants", "failures", "pure", "pure_groups", "median", "alike"]),
        ],
    },
    Rows {
        arguments: &["soak", "--days", "1"],
        section: "The lines of `soak` and `hashes`",
        code: 0,
        kinds: &[
            RUN,
            ("day", &["day", "starts", "faults", "served", "refused", "lost", "busy", "at_rest"]),
            ("summary", &["seed", "days", "dead", "seconds"]),
        ],
    },
    Rows {
        arguments: &["hashes", "--count", "2"],
        section: "The lines of `soak` and `hashes`",
        code: 0,
        kinds: &[("hash", &["seed", "hash", "events"]), ("hash", &["seed", "hash", "events"])],
    },
    Rows {
        arguments: &["bench", "--schedules", "20", "--rounds", "1"],
        section: "The lines of `bench` and `check-bench`",
        code: 0,
        kinds: &[
            RUN,
            ("round", &["round", "figures"]),
            ("figure", &["name", "median", "least", "most"]),
            ("summary", &["memory_mib"]),
        ],
    },
    Rows {
        arguments: &["check-bench", "--most", "1000", "--rounds", "1", "--kind", "own", "--folder", "json-bench"],
        section: "The lines of `bench` and `check-bench`",
        code: 0,
        kinds: &[RUN, ("history", HISTORY_ROW), ("summary", &["histories"])],
    },
    Rows {
        arguments: &["check-bench", "--operations", "1000", "--file", "json-bench.plume"],
        section: "The lines of `bench` and `check-bench`",
        code: 0,
        kinds: &[("made", &["file"])],
    },
    Rows {
        arguments: &["check-bench", "--operations", "1000", "--file", "json-bench.plume"],
        section: "The lines of `bench` and `check-bench`",
        code: 0,
        kinds: &[("measurement", MEASUREMENT)],
    },
    Rows {
        arguments: &["explore", "--diff", CASE, CASE],
        section: "Two runs side by side",
        code: 0,
        kinds: &[("diff", &["same", "sentence", "events", "violations", "rows"])],
    },
];

/// The text of a section, up to the next heading.
fn section(title: &str) -> &'static str {
    let page = if title == "Two runs side by side" { EXPLORE } else { FORMATS };
    let (_, rest) = page.split_once(&format!("# {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n#").next().unwrap_or_default()
}

/// Each line is JSON, the kinds come in the documented order, and each has the documented fields and no others.
#[test]
fn rows_are_told_to_programs() {
    _ = std::fs::remove_file(folder().join("json-bench.plume"));
    for Rows { arguments, section: title, code, kinds } in ROWS {
        let output = sim(&[arguments, &["--json"][..]].concat());
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", text(&output));
        let printed = String::from_utf8(output.stdout).expect("text");
        let lines = printed.lines().map(serde_json::from_str);
        let lines: Vec<Value> =
            lines.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed}"));
        let names: Vec<&str> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
        let mut expected: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
        // There are several figures, one after the other.
        let is_again = |at: usize| names[at] == "figure" && at > 0 && names[at - 1] == "figure";
        let firsts: Vec<&str> = (0..names.len()).filter(|&at| !is_again(at)).map(|at| names[at]).collect();
        assert_eq!(firsts, expected, "{arguments:?}: {printed}");
        expected.retain(|kind| *kind != "run" && *kind != "diff");
        for line in &lines {
            let (kind, fields) = kinds.iter().find(|(kind, _)| line["kind"] == *kind).expect("a kind of these");
            let found: BTreeSet<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
            let wanted: BTreeSet<&str> = fields.iter().copied().chain(["kind"]).collect();
            assert_eq!(found, wanted, "{arguments:?}: {kind}");
            let text = if *kind == "run" { FORMATS } else { section(title) };
            for name in fields.iter().chain(expected.iter()) {
                assert!(text.contains(&format!("`{name}`")), "{title}: `{name}` of {kind} is documented");
            }
        }
    }
}

/// What `hashes --explain` prints for programs ends with the hash. Another process compares with it, as with the text.
#[test]
fn explained_hashes_are_told_to_programs() {
    for form in [&[][..], &["--json"]] {
        let printed = sim(&[&["hashes", "--explain", "3"], form].concat()).stdout;
        let printed = String::from_utf8(printed).expect("text");
        let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
        if !form.is_empty() {
            let last: Value = lines.last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
            assert_eq!((&last["kind"], &last["seed"]), (&"hash".into(), &3.into()), "{last}");
            for line in &lines {
                assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["kind"].is_string()), "{line}");
            }
        }
        let compared = |lines: &[String]| {
            std::fs::write(folder().join("told.trace"), lines.join("\n")).expect("a file");
            let output = sim(&["hashes", "--explain", "3", "--against", "told.trace", "--json"]);
            let value: Value = serde_json::from_slice(&output.stdout).expect("one object");
            assert_eq!((&value["kind"], &value["lines"]), (&"comparison".into(), &lines.len().into()), "{value}");
            (output.status.code(), value)
        };
        let (code, same) = compared(&lines);
        assert_eq!((code, &same["same"], &same["line"]), (Some(0), &true.into(), &Value::Null), "{same}");
        let was = std::mem::replace(&mut lines[7], "something else happens".into());
        let (code, other) = compared(&lines);
        assert_eq!((code, &other["same"], &other["line"]), (Some(1), &false.into(), &8.into()), "{other}");
        assert_eq!((&other["here"], &other["there"]), (&was.into(), &"something else happens".into()), "{other}");
    }
}

/// A row stands there when it is found: what ends the command afterwards takes none of it away.
#[test]
fn a_row_is_kept_whatever_ends_the_command() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
    command.args(["soak", "--days", "100000", "--json"]).current_dir(folder()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut printed = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut lines: Vec<String> = printed.by_ref().take(2).collect();
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    lines.extend(printed);
    let kinds = lines.iter().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        line["kind"].as_str().map(str::to_owned).expect("a kind")
    });
    let kinds: Vec<String> = kinds.collect();
    assert!(kinds[0] == "run" && kinds[1..].iter().all(|kind| kind == "day") && kinds.len() > 1, "{kinds:?}");
}
