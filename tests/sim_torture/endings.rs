//! How `torture` and `contract` end when something ends them: a signal, a full disk, a reader that leaves.

use super::processes::{SIM, folder, start_sim, text};
use super::store::{Flaw, Store};
use super::{sim, torture};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn signal(child: &Child, name: &str) {
    // Where these tests run under `nohup`, so does what they start, and it ignores this one, as it should.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let ignores_hangups = ignored.is_some_and(|signals| signals & 1 == 1);
    let name = if name == "HUP" && ignores_hangups { "TERM" } else { name };
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|sent| sent.success()));
}

/// A path at which nothing is.
fn history(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.jsonl"));
    _ = std::fs::remove_file(&path);
    path
}

/// The checker is at it for ever, because the history is taken away and a pipe without a writer lies there instead.
#[test]
fn a_signal_ends_torture_while_it_judges() {
    for name in ["TERM", "INT", "HUP"] {
        let store = Store::start(Flaw::None);
        let history = history(&format!("judging-{name}"));
        let path = history.to_str().expect("a plain path");
        let targets = store.targets();
        let mut child = start_sim(&["torture", "--targets", &targets, "--time", "1s", "--rate", "200", "-o", path]);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.starts_with("history ")), "it begins");
        std::fs::remove_file(&history).expect("the history");
        assert!(Command::new("mkfifo").arg(&history).status().is_ok_and(|made| made.success()));
        // A signal that comes as soon as anything is said of the clients' end is about the judging, too.
        assert!(lines.by_ref().any(|line| line.contains(" requests in ")), "its clients end");
        assert!(child.try_wait().expect("our child").is_none(), "it does not judge");
        let begun = Instant::now();
        signal(&child, name);
        let mut errors = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(4), "SIG{name}: {errors}");
        assert!(begun.elapsed() < Duration::from_secs(5), "SIG{name}");
        assert!(errors.contains(&format!("without a verdict; hence-sim check {path} gives one")), "{errors}");
        assert!(!lines.any(|line| line.contains("causal")), "nothing is said of what was not judged");
    }
}

/// Clients that wait for their turn do not keep the run from its end, whether its time is up or a signal comes.
#[test]
fn waiting_clients_end_with_the_run() {
    for (time, name) in [("1s", None), ("10h", Some("TERM")), ("10h", Some("INT"))] {
        let store = Store::start(Flaw::None);
        let history = history(&format!("waiting-{time}-{}", name.unwrap_or("none")));
        let path = history.to_str().expect("a plain path");
        let targets = store.targets();
        let rate = ["torture", "--targets", &targets, "--clients", "200", "--rate", "1", "--time", time, "-o", path];
        let mut child = start_sim(&rate);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        assert!(lines.by_ref().any(|line| line.starts_with("history ")), "it begins");
        let begun = Instant::now();
        if let Some(name) = name {
            std::thread::sleep(Duration::from_millis(500));
            signal(&child, name);
        }
        let told: Vec<String> = lines.collect();
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{name:?}: {told:?}");
        // Their next turn comes after 200 s.
        assert!(begun.elapsed() < Duration::from_secs(120), "{name:?}");
    }
}

/// Replicas that never agree are given their time, but not after a signal.
#[test]
fn a_signal_ends_the_wait_for_equal_answers() {
    let store = Store::start(Flaw::Apart);
    let history = history("apart");
    let path = history.to_str().expect("a plain path");
    let targets = store.targets();
    let mut child = start_sim(&["torture", "--targets", &targets, "--time", "1s", "--settle", "10h", "-o", path]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(lines.by_ref().any(|line| line.starts_with("history ")), "it begins");
    std::thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().expect("our child").is_none(), "it waits");
    let begun = Instant::now();
    signal(&child, "TERM");
    let told: Vec<String> = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(120), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("DIFFERENT: ")), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("REFUSED: ")), "{told:?}");
}

/// A limit of bytes stands for a full disk. What was recorded is judged; that it is fine is no verdict on what was not.
#[test]
fn a_full_disk_leaves_no_verdict_of_fine() {
    for (blocks, is_something_recorded) in [(200, true), (0, false)] {
        let store = Store::start(Flaw::None);
        let history = history(&format!("full-{blocks}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), SIM, "torture", "--time", "20s"]);
        shell.args(["--targets", &store.targets(), "-o"]).arg(&history).current_dir(folder());
        let output = shell.stdin(Stdio::null()).output().expect("sh starts");
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains("the history cannot be written: File too large"), "{}", text(&output));
        let judged = text(&output).contains("causal consistency     fine");
        assert_eq!(judged, is_something_recorded, "{}", text(&output));
    }
    // What is wrong in what was recorded is wrong.
    let store = Store::start(Flaw::LosesWrites);
    let history = history("full-losing");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 2000; exec \"$0\" \"$@\"", SIM, "torture", "--time", "20s", "--settle", "1s"]);
    shell.args(["--targets", &store.targets(), "-o"]).arg(&history).current_dir(folder());
    let output = shell.stdin(Stdio::null()).output().expect("sh starts");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn what_was_not_tried_is_not_fine() {
    let store = Store::start(Flaw::None);
    let targets = store.targets();
    let none = sim(&["contract", &targets, "--only", "no such case"]);
    assert_eq!(none.status.code(), Some(4), "{}", text(&none));
    assert!(text(&none).contains("no case was tried"), "{}", text(&none));
    // The reader leaves at once: no further case is tried, and the view is as it was.
    let mut child = start_sim(&["contract", &targets]);
    drop(child.stdout.take());
    let left = child.wait_with_output().expect("it ends");
    assert_eq!(left.status.code(), Some(4), "{}", text(&left));
    let view = sim(&["contract", &targets, "--only", "view: who is in"]);
    assert_eq!(view.status.code(), Some(0), "{}", text(&view));
    // Torture goes on: its history is what counts, and its exit code.
    let path = history("unread");
    let path = path.to_str().expect("a plain path");
    let mut child = start_sim(&["torture", "--targets", &targets, "--time", "1s", "--rate", "300", "-o", path]);
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(sim(&["check", path]).status.code(), Some(0));
}

/// What cannot be written is found out before anything is asked of the targets, and leaves nothing behind.
#[test]
fn unwritable_outputs_are_found_before_the_run() {
    let store = Store::start(Flaw::None);
    let targets = store.targets();
    let path = history("never");
    let path = path.to_str().expect("a plain path");
    for (code, arguments) in [
        (2, &["--targets", &targets, "-o", path, "--svg", "no-such-folder/why.svg"][..]),
        (2, &["--targets", &targets, "-o", "no-such-folder/history.jsonl"]),
        (2, &["--targets", "http://127.0.0.1:1", "-o", path]),
        (2, &["--targets", &targets, "-o", "-"]),
    ] {
        let output = sim(&[&["torture"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
        assert!(!PathBuf::from(path).exists(), "{arguments:?}");
    }
    // The notes of a run say how it was made.
    let (code, says, history) = torture("noted", &targets, &["--time", "1s", "--rate", "300"]);
    assert_eq!(code, Some(0), "{says}");
    let first = std::fs::read_to_string(history).expect("the history");
    let first: serde_json::Value = serde_json::from_str(first.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["note"]["commit"], env!("HENCE_BUILT_FROM"), "{first}");
    assert!(
        first["note"]["command"].as_str().is_some_and(|call| call.starts_with("hence-sim torture --targets ")),
        "{first}"
    );
}
