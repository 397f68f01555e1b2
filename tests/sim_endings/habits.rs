//! What people do with commands: pipes in and out, archives, numbers that make no sense.

use super::{cases, command, folder, lines, sim, text};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A command that reads these bytes from a pipe.
fn fed(here: &Path, bytes: &[u8], arguments: &[&str]) -> Output {
    let mut child = command(here, arguments).stdin(Stdio::piped()).spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// A folder with a failing case.
fn with_case(name: &str) -> (PathBuf, Vec<u8>) {
    let here = folder(name);
    let run = sim(&here, &["run", "--seeds", "0..20", "--mutant", "serve-uncovered"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let path = cases(&here.join("hence-cases")).swap_remove(0);
    std::fs::rename(path, here.join("case.json")).expect("a case");
    let case = std::fs::read(here.join("case.json")).expect("the case");
    (here, case)
}

/// `-` is standard input for what is read, and gzip and a byte order mark around a case are taken off.
#[test]
fn cases_come_through_pipes_and_from_archives() {
    let (here, case) = with_case("piped-cases");
    let packed = Command::new("gzip").args(["-k", "case.json"]).current_dir(&here).status();
    assert!(packed.is_ok_and(|packed| packed.success()));
    let gzipped = std::fs::read(here.join("case.json.gz")).expect("the archive");
    let marked = [b"\xef\xbb\xbf", &case[..]].concat();
    for arguments in
        [&["replay", "-"][..], &["replay", "-", "--json"], &["show", "-"], &["shrink", "-", "-o", "s.json"]]
    {
        let plain =
            sim(&here, &arguments.iter().map(|&one| if one == "-" { "case.json" } else { one }).collect::<Vec<_>>());
        assert_eq!(plain.status.code(), Some(1), "{arguments:?}: {}", text(&plain));
        for bytes in [&case, &gzipped, &marked] {
            let piped = fed(&here, bytes, arguments);
            assert_eq!(piped.status.code(), Some(1), "{arguments:?}: {}", text(&piped));
            let of_case = |output: &Output| printed(output).replace("shrink case.json", "shrink -");
            assert_eq!(of_case(&piped), of_case(&plain), "{arguments:?}");
        }
    }
    let packed = sim(&here, &["shrink", "case.json.gz"]);
    assert_eq!(packed.status.code(), Some(1), "{}", text(&packed));
    assert!(here.join("case.small.json").exists(), "beside the case, and no archive");
    for (bytes, arguments, says) in [
        (&case[..], &["shrink", "-"][..], "--output"),
        (&gzipped[..40], &["replay", "-"], "cut off"),
        (&b""[..], &["replay", "-"], "standard input"),
    ] {
        let refused = fed(&here, bytes, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert!(text(&refused).contains(says) && text(&refused).lines().count() == 1, "{}", text(&refused));
    }
    let explained = sim(&here, &["hashes", "--explain", "3"]);
    let same = fed(&here, &explained.stdout, &["hashes", "--explain", "3", "--against", "-"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
}

/// An output that is named `-` has standard output for itself: what is for people goes to standard error.
#[test]
fn an_output_may_be_standard_output() {
    let (here, _) = with_case("printed-outputs");
    let seen = sim(&here, &["run", "--seed", "82", "--baseline", "--history", "seen.jsonl", "--cases", "more"]);
    assert!(here.join("seen.jsonl").exists(), "{}", text(&seen));
    let run = ["run", "--seeds", "0..20", "--mutant", "serve-uncovered", "--cases", "again"];
    let (edn, jsonl, svg, html) =
        (&["--to", "edn", "--export"][..], &["--counterexample"][..], &["--svg"][..], &["--html"][..]);
    let check = ["check", "seen.jsonl"];
    for (begins, arguments) in [
        ("[\n{:index 0", [&check[..], edn].concat()),
        ("{\"id\":", [&check[..], jsonl].concat()),
        ("<svg", [&check[..], svg].concat()),
        ("<!doctype html>", [&check[..], html].concat()),
        ("<!doctype html>", ["show", "case.json", "--html"].to_vec()),
        ("(?<event>", ["show", "case.json", "--shiviz"].to_vec()),
        ("{", ["shrink", "case.json", "-o"].to_vec()),
        ("{\"case\":", [&run[..], &["--json"]].concat()),
        ("<?xml", [&run[..], &["--junit"]].concat()),
    ] {
        let (dash, file) = ([&arguments[..], &["-"]].concat(), [&arguments[..], &["out"]].concat());
        let (dashed, filed) = (sim(&here, &dash), sim(&here, &file));
        assert_eq!((dashed.status.code(), filed.status.code()), (Some(1), Some(1)), "{}", text(&dashed));
        assert!(printed(&dashed).starts_with(begins), "{arguments:?}: {}", text(&dashed));
        assert!(!dashed.stderr.is_empty(), "{arguments:?}: what is for people is told all the same");
        let kept = std::fs::read_to_string(here.join("out")).expect("the file");
        let is_same = printed(&dashed).lines().count() == kept.lines().count();
        assert!(is_same, "{arguments:?}:\n{}\n{kept}", text(&dashed));
        std::fs::remove_file(here.join("out")).expect("the file");
    }
    for twice in [
        &["check", "seen.jsonl", "--json", "-", "--svg", "-"][..],
        &["show", "case.json", "--json", "--html", "-"],
        &["shrink", "case.json", "--json", "-o", "-"],
        &["run", "--seeds", "0..9", "--json", "-", "--junit", "-"],
    ] {
        let refused = sim(&here, twice);
        assert_eq!(refused.status.code(), Some(2), "{twice:?}: {}", text(&refused));
        assert!(refused.stdout.is_empty(), "{twice:?}: {}", text(&refused));
    }
    assert!(!here.join("-").exists(), "no file is called so");
}

/// A shard without seeds leaves the outputs that another program waits for.
#[test]
fn an_empty_shard_writes_its_outputs() {
    let here = folder("empty-outputs");
    let run = ["run", "--seeds", "0..2", "--shard", "2/3", "--json", "lines.jsonl", "--junit", "tests.xml"];
    for (code, more) in [(4, &[][..]), (0, &["--allow-empty"])] {
        let ran = sim(&here, &[&run[..], more].concat());
        assert_eq!(ran.status.code(), Some(code), "{}", text(&ran));
        let last = lines(&here.join("lines.jsonl")).pop().expect("a line");
        assert_eq!((&last["kind"], &last["schedules"]), (&"summary".into(), &0.into()), "{last}");
        assert_eq!(last["run"]["shard"], "2/3");
        let xml = std::fs::read_to_string(here.join("tests.xml")).expect("the file");
        assert!(xml.contains("<skipped/>") && xml.ends_with("</testsuite>\n"), "{xml}");
        std::fs::remove_file(here.join("tests.xml")).expect("the file");
    }
    assert_eq!(lines(&here.join("lines.jsonl")).len(), 2);
}

/// Numbers that make no history are usage, and no failure of the simulator.
#[test]
fn check_bench_takes_what_it_can_make() {
    let here = folder("bench-usage");
    for arguments in [
        &["--operations", "0"][..],
        &["--sessions", "0"],
        &["--keys", "0"],
        &["--replicas", "0"],
        &["--transaction", "0"],
        &["--format", "edn"],
        &["--format", "shiviz"],
        &["--deletes", "1000001"],
        &["--kind", "own", "--sessions", "65"],
        &["--kind", "apart", "--sessions", "0"],
        &["--rounds", "0"],
    ] {
        let refused = sim(&here, &[&["check-bench", "--file", "history"], arguments].concat());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert!(!here.join("history").exists(), "{arguments:?}");
    }
    let table = |more: &[&str]| sim(&here, &[&["check-bench", "--most", "1000", "--rounds", "1"], more].concat());
    // What is planted is broken, in a table, too.
    for (code, broken) in [(0, &[][..]), (1, &["--broken"])] {
        let told = table(&[&["--kind", "edn", "--folder", "there"], broken].concat());
        assert_eq!(told.status.code(), Some(code), "{}", text(&told));
    }
    // Where there is no room nothing was measured, and no row says otherwise.
    let mut full = Command::new("sh");
    full.args([
        "-c",
        "ulimit -f 0; exec \"$0\" check-bench --most 1000 --rounds 1 --kind edn --folder full",
        super::SIM,
    ]);
    let full = full.current_dir(&here).output().expect("sh starts");
    assert_eq!(full.status.code(), Some(4), "{}", text(&full));
    assert!(!text(&full).contains("seen-edn  "), "{}", text(&full));
}

#[test]
fn nothing_judged_ends_with_4() {
    let here = folder("nothing");
    let empty = sim(&here, &["run", "--seeds", "0..2", "--shard", "2/3"]);
    assert_eq!(empty.status.code(), Some(4), "{}", text(&empty));
    assert!(text(&empty).contains("no schedule ran: shard 2/3 of 0..2 holds no seed"), "{}", text(&empty));
    let allowed = sim(&here, &["run", "--seeds", "0..2", "--shard", "2/3", "--allow-empty"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", text(&allowed));
    // It excuses nothing else.
    for arguments in [
        &["--seeds", "0..2", "--shard", "1/3", "--allow-empty"][..],
        &["--seed", "3", "--shard", "0/3", "--allow-empty"],
    ] {
        let some = sim(&here, &[&["run"], arguments].concat());
        assert_eq!(some.status.code(), Some(0), "{}", text(&some));
        assert!(text(&some).contains("\n1 schedule, "), "{}", text(&some));
    }
    let last = u64::MAX.to_string();
    let seeds = format!("{}..={last}", u64::MAX - 1);
    for (arguments, says) in [
        (&["run", "--seed", &last][..], "\n1 schedule, "),
        (&["run", "--seeds", &seeds], "\n2 schedules, "),
        (&["hashes", "--from", &last], &last),
    ] {
        let ran = sim(&here, arguments);
        assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {}", text(&ran));
        assert!(text(&ran).contains(says), "{arguments:?}: {}", text(&ran));
    }
    let none = sim(&here, &["check-bench", "--most", "1", "--folder", "none"]);
    assert_eq!(none.status.code(), Some(4), "{}", text(&none));
    for arguments in [
        &["mutants", "--kills", "0"][..],
        &["mutants", "--shrink", "--only", "no-such-mutant"],
        &["soak", "--days", "0"],
        &["hashes", "--count", "0"],
        &["bench", "--rounds", "0"],
        &["bench", "--schedules", "0"],
        &["run", "--seeds", "0..9", "--jobs", "0"],
        &["run", "--seeds", "0..9", "--jobs", "100000"],
    ] {
        let refused = sim(&here, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
    }
}
