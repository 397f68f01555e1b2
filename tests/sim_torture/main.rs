//! `hence-sim torture` and `hence-sim contract` as processes, against real sockets. One side is a tiny store that is
//! none of ours, right and with flaws. The other is real `hence` processes under kill -9, pauses and cuts.
//!
//! The store runs in this process; `hence` is built if it is not there, because cargo says where it is only in its own
//! package.

#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

mod endings;
mod processes;
mod store;

use processes::{Cluster, folder, sim, start_sim, text};
use std::process::{Command, Output};
use std::time::Duration;
use store::{Flaw, Store};

fn torture(name: &str, targets: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let history = folder().join(format!("{name}.jsonl"));
    _ = std::fs::remove_file(&history);
    let history = history.to_str().expect("a plain path").to_owned();
    let always = ["torture", "--targets", targets, "-o", &history];
    let output = sim(&[&always[..], more].concat());
    (output.status.code(), text(&output), history)
}

const BRIEF: [&str; 6] = ["--time", "2s", "--rate", "1500", "--keys", "8"];

#[test]
fn a_store_of_somebody_else_passes_both() {
    let store = Store::start(Flaw::None);
    let output = sim(&["contract", &store.targets()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("cases are as the contract says"), "{}", text(&output));
    let (code, says, history) = torture("right", &store.targets(), &BRIEF);
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("no extensions, so nothing is merged"), "{says}");
    assert!(says.contains("us of CPU per request"), "{says}");
    assert!(says.contains("all replicas answer alike"), "{says}");
    // What the recorder noted is no warning.
    assert!(says.contains(" operations, and 1 note of the recorder\n") && !says.contains("warning"), "{says}");
    // What it judged is what the checker reads from the file.
    let again = sim(&["check", &history]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
}

#[test]
fn a_store_that_loses_writes_is_convicted() {
    let store = Store::start(Flaw::LosesWrites);
    let report = folder().join("losing-report");
    let more = ["--report", report.to_str().expect("a plain path")];
    let (code, says, history) = torture("losing", &store.targets(), &[&BRIEF[..], &more].concat());
    assert_eq!(code, Some(1), "{says}");
    assert!(says.contains("causal consistency     broken"), "{says}");
    assert_eq!(sim(&["check", &history]).status.code(), Some(1));
    // The report says so, too: as JSON, over time, and event by event.
    let read = |name: &str| std::fs::read_to_string(report.join(name)).expect("it is written");
    let verdict: serde_json::Value = serde_json::from_str(&read("verdict.json")).expect("JSON");
    assert_eq!((&verdict["verdict"], &verdict["exit_code"]), (&"violation".into(), &1.into()), "{verdict}");
    assert!(verdict["check"]["weakest_broken"].is_string(), "{verdict}");
    let answered: u64 = verdict["targets"]
        .as_array()
        .expect("targets")
        .iter()
        .filter_map(|target| target["requests"]["answered"].as_u64())
        .sum();
    assert!(answered > 100 && verdict["requests"].as_u64().is_some_and(|all| all >= answered), "{verdict}");
    let (index, clients) = (read("index.html"), read("clients.html"));
    assert!(index.contains("class=\"state red\"") && index.contains("path class=\"most\" d=\"M"), "{index}");
    assert!(index.contains("href=\"clients.html\"") && clients.contains("\"blame\":{"), "{index}");
    let contract = sim(&["contract", &store.targets()]);
    assert_eq!(contract.status.code(), Some(1), "{}", text(&contract));
}

#[test]
fn a_version_for_each_key_is_convicted() {
    let store = Store::start(Flaw::VersionPerKey);
    let (code, says, _) = torture(
        "versions",
        &store.targets(),
        &["--time", "2s", "--rate", "2500", "--keys", "4", "--mix", "get=1,put=2", "--settle", "2s"],
    );
    assert_eq!(code, Some(1), "{says}");
    assert!(says.contains("causal consistency     broken"), "{says}");
    let contract = text(&sim(&["contract", &store.targets(), "--only", "causal:"]));
    let failed: Vec<&str> = contract.lines().filter(|line| line.starts_with("FAILED")).collect();
    assert!(failed.iter().any(|line| line.contains("without its question")), "{contract}");
    assert!(failed.iter().any(|line| line.contains("same moment")), "{contract}");
}

/// Writes of a batch that come apart are seen.
#[test]
fn half_batches_are_convicted() {
    let store = Store::start(Flaw::HalfBatches);
    let mix = ["--mix", "get=3,batch=2", "--settle", "2s"];
    let (code, says, _) = torture("halves", &store.targets(), &[&BRIEF[..], &mix].concat());
    assert_eq!(code, Some(1), "{says}");
    assert!(says.contains("extensions used: batches") && says.contains("causal consistency     broken"), "{says}");
}

#[test]
fn contract_complains_in_words() {
    let store = Store::start(Flaw::Careless);
    let output = sim(&["contract", &store.targets()]);
    let says = text(&output);
    assert_eq!(output.status.code(), Some(1), "{says}");
    for part in [
        "FAILED    kvs: created, replaced, found, deleted, gone, created again",
        "  sent      curl -i -X DELETE 'http://127.0.0.1:",
        "the status is 500 instead of 200",
        "FAILED    kvs: values keep their type and their exact digits",
        "\"value\" is 123456789012345680000000000000 instead of 123456789012345678901234567890.10",
        "the body is no JSON",
        "  why       The store keeps data for others.",
        "ok        view: present is not added again",
    ] {
        assert!(says.contains(part), "{part}\n{says}");
    }
    assert!(!says.contains("THE VIEW IS NOT AS IT WAS"), "{says}");
}

/// The lines of JSON on standard output, which has nothing else.
fn told(output: &Output) -> Vec<serde_json::Value> {
    let printed = String::from_utf8(output.stdout.clone()).expect("text");
    printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A line for each case, with the documented fields, and one that sums up.
#[test]
fn contract_tells_programs() {
    let store = Store::start(Flaw::Careless);
    let output = sim(&["contract", &store.targets(), "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let lines = told(&output);
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    let fields = |line: &serde_json::Value| line.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (&first["kind"], fields(first)),
        (&"run".into(), ["command", "commit", "kind", "version"].map(String::from).into())
    );
    assert_eq!(
        (&last["kind"], &last["stopped"], &last["view_restored"]),
        (&"summary".into(), &false.into(), &true.into())
    );
    assert_eq!(fields(last), ["failed", "kind", "left_out", "ok", "requests", "stopped", "view_restored"]);
    let of = |outcome: &str| {
        let cases = lines.iter().filter(|line| line["kind"] == "case" && line["outcome"] == outcome);
        cases.map(fields).collect::<Vec<_>>()
    };
    let (ok, failed, left_out) = (of("ok"), of("failed"), of("left out"));
    assert_eq!(
        (ok.len(), failed.len()),
        (last["ok"].as_u64().expect("a number") as usize, last["failed"].as_u64().expect("a number") as usize)
    );
    assert_eq!(ok.len() + failed.len() + left_out.len() + 2, lines.len(), "{lines:?}");
    for (cases, wanted) in [
        (ok, &["case", "kind", "outcome", "requests"][..]),
        (failed, &["because", "came", "case", "expected", "kind", "outcome", "sent", "why"]),
        (left_out, &["because", "case", "kind", "outcome"]),
    ] {
        assert!(!cases.is_empty() && cases.iter().all(|fields| fields == wanted), "{cases:?}");
    }
    // The same cases are told to people, aside.
    assert!(String::from_utf8_lossy(&output.stderr).contains("FAILED    kvs: "), "{}", text(&output));
}

/// A line for each fault, and the verdict with what the checker says, without a folder for it.
#[test]
fn torture_tells_programs() {
    let store = Store::start(Flaw::LosesWrites);
    let faults = folder().join("told-faults.json");
    let text_of = r#"{"commands": {"pause": "true", "resume": "exit 3"}, "gap": "100ms", "length": "200ms"}"#;
    std::fs::write(&faults, text_of).expect("a file");
    let history = folder().join("told.jsonl");
    _ = std::fs::remove_file(&history);
    let (faults, history) = (faults.to_str().expect("a plain path"), history.to_str().expect("a plain path"));
    let more = ["--json", "--faults", faults, "-o", history, "--targets", &store.targets()];
    let output = sim(&[&["torture"], &BRIEF[..], &more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let lines = told(&output);
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!((&first["kind"], &last["kind"]), (&"run".into(), &"torture".into()), "{lines:?}");
    assert_eq!((&last["verdict"], &last["exit_code"]), (&"violation".into(), &1.into()), "{last}");
    assert!(last["check"]["weakest_broken"].is_string(), "{last}");
    let told = &lines[1..lines.len() - 1];
    assert!(!told.is_empty() && told.len() == last["faults"].as_array().expect("faults").len(), "{lines:?}");
    for line in told {
        assert_eq!((&line["kind"], &line["harm"], &line["cure"]), (&"fault".into(), &"pause".into(), &"exit 3".into()));
        assert!(line["begun_ns"].as_u64() < line["ended_ns"].as_u64() && line["target"].is_string(), "{line}");
    }
    // The same is told to people, aside.
    assert!(String::from_utf8_lossy(&output.stderr).contains("causal consistency     broken"), "{}", text(&output));
}

#[test]
fn contract_leaves_the_view_as_it_was() {
    let store = Store::start(Flaw::None);
    let output = sim(&["contract", &store.targets(), "--only", "view", "--extensions"]);
    // Our 409 for the last address is beyond the contract, and this store has no such thing.
    assert!(text(&output).contains("FAILED    view: the last wanted address stays"), "{}", text(&output));
    assert!(!text(&output).contains("THE VIEW IS NOT AS IT WAS"), "{}", text(&output));
    let others = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3";
    let wrong = sim(&["contract", &store.targets(), "--addresses", others]);
    assert_eq!((wrong.status.code(), text(&wrong).lines().count()), (Some(2), 1), "{}", text(&wrong));
}

/// Real processes: killed and started again empty, and stopped, by commands as a user would write them.
#[test]
fn hence_under_kills_and_pauses_is_fine() {
    let cluster = Cluster::start("kills");
    let contract = sim(&["contract", &cluster.targets(), "--extensions"]);
    assert_eq!(contract.status.code(), Some(0), "{}", text(&contract));
    let faults = cluster.write(
        "faults.json",
        r#"{"commands": {"kill": "kill -9 $(cat DIR/$INDEX.pid)", "restart": "sh DIR/start $INDEX $ADDRESS",
            "pause": "kill -STOP $(cat DIR/$INDEX.pid)", "resume": "kill -CONT $(cat DIR/$INDEX.pid)"},
            "seed": 3, "gap": "300ms..600ms", "length": "600ms..900ms"}"#,
    );
    let more = ["--time", "8s", "--rate", "500", "--faults", &faults];
    let (code, says, history) = torture("kills", &cluster.targets(), &more);
    assert_eq!(code, Some(0), "{says}");
    let all = "extensions used: metadata in a header, exact sets, siblings, batches, lists, watches";
    assert!(says.contains(all), "{says}");
    let told = says.lines().find_map(|line| line.strip_prefix("watchers were told ")).expect("what watchers were told");
    let changes: u64 = told.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    assert!(changes > 100 && !says.contains("WATCHED:"), "{says}");
    for part in ["kill    ", "pause   ", "it stopped answering after"] {
        assert!(says.contains(part), "{part}\n{says}");
    }
    assert!(!says.contains("NO EFFECT SEEN") && !says.contains("NOT BACK"), "{says}");
    // Each fault stands in the history, its beginning and its end. Batches, pages and cuts are one event each.
    let lines = std::fs::read_to_string(history).expect("the history");
    for client in ["\"c", "\"w"] {
        let event = |line: &&str| line.contains(&format!("\"client\":{client}")) && line.contains("\"results\":[");
        assert!(lines.lines().filter(event).count() > 10, "{says}");
    }
    let phase = |phase: &str| lines.lines().filter(|line| line.contains(&format!("\"phase\":\"{phase}\""))).count();
    assert!(phase("start") >= 2 && phase("start") == phase("end"), "{says}");
}

/// Cuts by typing into the terminal of `hence up`; a command that does nothing has no effect, and the report says so.
#[test]
fn cuts_are_seen_and_their_absence_too() {
    let cluster = Cluster::up("cuts");
    let file = |cut: &str, heal: &str, length: &str| {
        let text = format!(
            r#"{{"commands": {{"cut": "{cut}", "heal": "{heal}"}}, "gap": "200ms", "length": "{length}",
                "targets": [{{"NAME": "a"}}, {{"NAME": "b"}}, {{"NAME": "c"}}]}}"#
        );
        cluster.write("faults.json", &text)
    };
    // Long against what a mark may take on a busy machine: how late counts as held up is measured before each cut.
    let real = file("echo cut $NAME > DIR/terminal", "echo heal $NAME > DIR/terminal", "2s");
    let (code, says, _) = torture("cuts", &cluster.targets(), &["--time", "6s", "--rate", "400", "--faults", &real]);
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("was not here after") || says.contains("stopped answering"), "{says}");
    let idle = file("true", "exit 3", "400ms");
    let (code, says, _) = torture("idle", &cluster.targets(), &["--time", "3s", "--rate", "200", "--faults", &idle]);
    assert_eq!(code, Some(0), "{says}");
    assert!(says.contains("NO EFFECT SEEN") && says.contains("NOT HEALED"), "{says}");
    assert!(says.contains("heal exit 3"), "{says}");
}

/// kill -9 of the tool itself: the history stands, and is judged without a false alarm. SIGINT: faults are healed.
#[test]
fn a_killed_tool_leaves_a_history_and_an_interrupted_one_a_verdict() {
    let store = Store::start(Flaw::None);
    let history = folder().join("killed.jsonl");
    _ = std::fs::remove_file(&history);
    let path = history.to_str().expect("a plain path");
    let always = ["torture", "--targets", &store.targets(), "--rate", "3000", "--time", "1m", "-o", path];
    let mut child = start_sim(&always);
    std::thread::sleep(Duration::from_millis(1500));
    child.kill().expect("it is our child");
    _ = child.wait_with_output();
    let check = sim(&["check", path]);
    assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    assert!(std::fs::read_to_string(&history).expect("the history").lines().count() > 1_000, "too little is left");

    let healed = folder().join("healed");
    _ = std::fs::remove_file(&healed);
    let commands = format!(r#"{{"pause": "true", "resume": "touch {}"}}"#, healed.display());
    let faults = folder().join("interrupted.json");
    let text_of = format!(r#"{{"commands": {commands}, "gap": "100ms", "length": "50s"}}"#);
    std::fs::write(&faults, text_of).expect("a file");
    let history = folder().join("interrupted.jsonl");
    _ = std::fs::remove_file(&history);
    let (path, faults) = (history.to_str().expect("a plain path"), faults.to_str().expect("a plain path"));
    let targets = store.targets();
    let child =
        start_sim(&["torture", "--targets", &targets, "--rate", "500", "--time", "1m", "--faults", faults, "-o", path]);
    std::thread::sleep(Duration::from_millis(1500));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("causal convergence     fine"), "{}", text(&output));
    assert!(healed.exists(), "the fault was not ended: {}", text(&output));
}

#[test]
fn bad_input_ends_with_2_and_one_line() {
    let file = folder().join("bad-faults.json");
    std::fs::write(&file, r#"{"commands": {"cut": "x"}}"#).expect("a file");
    let store = Store::start(Flaw::None);
    let (targets, file) = (store.targets(), file.to_str().expect("a plain path"));
    let there = folder().join("there.jsonl");
    std::fs::write(&there, "{}").expect("a file");
    let there = there.to_str().expect("a plain path");
    let bad: [&[&str]; 7] = [
        &["torture", "--targets", "https://localhost:1"],
        &["torture", "--targets", "http://127.0.0.1:1"],
        &["torture", "--targets", &targets, "--faults", "no-such-file.json"],
        &["torture", "--targets", &targets, "--faults", file],
        &["torture", "--targets", &targets, "-o", there],
        &["contract", "http://127.0.0.1:1"],
        &["contract", "http://127.0.0.1:1,http://127.0.0.1:1,http://127.0.0.1:1"],
    ];
    for arguments in bad {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert_eq!(text(&output).lines().count(), 1, "{arguments:?}: {}", text(&output));
    }
    for arguments in [&["torture"][..], &["torture", "--targets", "x", "--mix", "fly=1"], &["contract"]] {
        assert_eq!(sim(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
