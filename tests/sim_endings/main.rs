//! How the commands of `hence-sim` end, as processes. The tests hold what their exit codes say, and that what they find
//! is kept whatever ends them. They also hold that no output that fails makes them fail otherwise.

#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

mod folders;
mod habits;
mod halves;
mod outputs;

use hence_sim::campaign::case::{Case, Outcome};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SIM: &str = env!("CARGO_BIN_EXE_hence-sim");

/// Every command.
const COMMANDS: [&str; 13] = [
    "run",
    "replay",
    "shrink",
    "show",
    "mutants",
    "soak",
    "hashes",
    "check",
    "check-bench",
    "contract",
    "torture",
    "explore",
    "why",
];

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim-endings").join(name);
    _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn command(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(SIM);
    command.args(arguments).current_dir(here).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn sim(here: &Path, arguments: &[&str]) -> Output {
    command(here, arguments).output().expect("the binary starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn failures(path: &Path) -> Vec<Value> {
    lines(path).into_iter().filter(|line| line["kind"] == "failure").collect()
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> = entries.collect();
    cases.sort();
    cases
}

fn case(path: &Path) -> Case {
    Case::read(&std::fs::read_to_string(path).expect("a file")).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn await_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, name: &str) {
    // Where these tests run under `nohup`, so does what they start, and it ignores this one, as it should.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let ignores_hangups = ignored.is_some_and(|signals| signals & 1 == 1);
    let name = if name == "HUP" && ignores_hangups { "TERM" } else { name };
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|sent| sent.success()));
}

#[test]
fn every_help_names_the_exit_codes() {
    let here = folder("help");
    for name in COMMANDS.iter().chain(&["bench"]) {
        let help = text(&sim(&here, &[name, "--help"]));
        let codes = help.split("Exit codes:\n").nth(1).unwrap_or_else(|| panic!("{name}: {help}"));
        for code in ["0", "1", "2", "3", "4", "128+"] {
            assert!(codes.lines().any(|line| line.starts_with(&format!("  {code} "))), "{name}, {code}: {codes}");
        }
    }
    let all = text(&sim(&here, &["--help"]));
    assert!(all.contains("Exit codes:\n"), "{all}");
    for name in COMMANDS {
        assert!(all.contains(&format!("\n  {name} ")), "{name}: {all}");
    }
}

/// The commit is that of the build, whatever clone the command is called in.
#[test]
fn the_build_is_told_everywhere() {
    let here = folder("build");
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]).args(arguments);
        git.current_dir(&here).output()
    };
    // Another clone, with a commit of its own.
    let is_clone = git(&["init", "-q"]).is_ok_and(|done| done.status.success());
    let is_clone =
        is_clone && git(&["commit", "-q", "--allow-empty", "-m", "x"]).is_ok_and(|done| done.status.success());
    let build = format!("{} (commit {})", env!("CARGO_PKG_VERSION"), env!("HENCE_BUILT_FROM"));
    let version = text(&sim(&here, &["--version"]));
    assert_eq!(version, format!("hence-sim {build}\n"));
    assert_eq!(text(&sim(&here, &["run", "--version"])), format!("hence-sim-run {build}\n"));
    let arguments =
        ["run", "--seeds", "0..40", "--mutant", "serve-uncovered", "--profile", "general", "--json", "it's.jsonl"];
    let run = sim(&here, &arguments);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let line = "run --seeds 0..40 --mutant serve-uncovered --profile general --json 'it'\\''s.jsonl'";
    assert!(text(&run).starts_with(&format!("hence-sim {build}: hence-sim {line}\n")), "{}", text(&run));
    let lines = lines(&here.join("it's.jsonl"));
    assert!(lines.len() > 1, "{lines:?}");
    for line_of in &lines {
        let run = &line_of["run"];
        assert_eq!(run["commit"], env!("HENCE_BUILT_FROM"), "{line_of}");
        assert_eq!(run["version"], env!("CARGO_PKG_VERSION"), "{line_of}");
        assert_eq!(run["command"], format!("hence-sim {line}"), "{line_of}");
        let rest = (&run["profile"], &run["mutant"], &run["seeds"], &run["baseline"]);
        assert_eq!(rest, (&"general".into(), &"serve-uncovered".into(), &"0..40".into(), &false.into()), "{line_of}");
    }
    let cases = cases(&here.join("hence-cases"));
    assert!(!cases.is_empty());
    for path in &cases {
        let case = case(path);
        let origin = case.origin.expect("it was found by a campaign");
        assert_eq!(
            (case.revision.as_str(), origin.commit.as_str()),
            (env!("HENCE_BUILT_FROM"), env!("HENCE_BUILT_FROM"))
        );
        assert_eq!((origin.profile.as_str(), origin.seeds.as_str()), ("general", "0..40"));
        assert_eq!(origin.command, format!("hence-sim {line}"));
        assert_eq!(case.mutant.as_deref(), Some("serve-uncovered"));
    }
    if is_clone {
        let foreign = git(&["rev-parse", "--short=12", "HEAD"]).expect("git").stdout;
        let foreign = String::from_utf8(foreign).expect("a name").trim().to_owned();
        assert!(!text(&run).contains(&foreign) && !version.contains(&foreign));
    }
    // A smaller case keeps where it comes from.
    let first = cases[0].to_str().expect("a plain path");
    let small = sim(&here, &["shrink", first, "-o", "small.json"]);
    assert_eq!(small.status.code(), Some(1), "{}", text(&small));
    assert_eq!(case(&here.join("small.json")).origin, case(&cases[0]).origin);
}

/// SIGINT and SIGTERM end a campaign with a report; SIGKILL without one. None takes anything away.
#[test]
fn what_is_found_is_kept_whatever_ends_the_run() {
    for name in ["INT", "TERM", "HUP", "KILL"] {
        let here = folder(&format!("kept-{name}"));
        let arguments = [
            "run",
            "--seeds",
            "0..100_000_000",
            "--mutant",
            "apply-without-causes",
            "--json",
            "found.jsonl",
            "--cases",
            "cases",
        ];
        let child = command(&here, &arguments).spawn().expect("the binary starts");
        let json = here.join("found.jsonl");
        let complete = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
        await_until("a failure", || complete(&json) > 100);
        let before = complete(&json);
        signal(&child, name);
        let begun = Instant::now();
        let output = child.wait_with_output().expect("it ends");
        assert!(begun.elapsed() < Duration::from_secs(20), "SIG{name} took {:?}", begun.elapsed());
        // A line that was being written when it was killed may be cut off, and that one alone.
        let whole = std::fs::read_to_string(&json).expect("lines");
        let whole: Vec<Value> = whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let found: Vec<&Value> = whole.iter().filter(|line| line["kind"] == "failure").collect();
        assert!(found.len() >= before.saturating_sub(1), "SIG{name}: {before} lines before, {} after", found.len());
        let kinds: BTreeSet<String> = found.iter().map(|line| line["fingerprint"].to_string()).collect();
        let kept: BTreeSet<String> = cases(&here.join("cases"))
            .iter()
            .filter(|path| path.extension().is_some_and(|it| it == "json"))
            .map(|path| Value::from(case(path).fingerprint).to_string())
            .collect();
        if name == "KILL" {
            assert!(!kept.is_empty());
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "SIG{name}: {}", text(&output));
        assert!(text(&output).contains("the run ended early, by a signal"), "{}", text(&output));
        assert_eq!(kinds, kept, "SIG{name}");
        let summary = whole.last().expect("lines");
        assert_eq!((&summary["kind"], &summary["ended"]), (&"summary".into(), &"signal".into()));
        let times: u64 =
            summary["failures"].as_object().expect("failures").values().filter_map(|it| it["times"].as_u64()).sum();
        assert_eq!(times, found.len() as u64, "each failing seed has its line");
    }
    // Without a failure an interrupted campaign has no verdict.
    let here = folder("kept-clean");
    let child = command(&here, &["run", "--seeds", "0..100_000_000"]).spawn().expect("the binary starts");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "TERM");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(!here.join("hence-cases").exists(), "a folder for nothing");
}

/// A case whose shrinking is ended early is as small as it was by then.
#[test]
fn shrinking_can_be_ended_early() {
    let here = folder("shrink");
    let run = sim(&here, &["run", "--seeds", "0..40", "--mutant", "answer-without-deletes", "--profile", "deletes"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let path = cases(&here.join("hence-cases")).pop().expect("a case");
    for wait in [0, 30, 300] {
        let child = command(&here, &["shrink", path.to_str().expect("a plain path"), "-o", "small.json"])
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(wait));
        signal(&child, "INT");
        let output = child.wait_with_output().expect("it ends");
        // A signal before the command listens ends it as it ends any other.
        if output.status.code().is_none() {
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let small = case(&here.join("small.json"));
        assert!(small.plan.size() <= case(&path).plan.size());
        assert_eq!(small.replay().0, Outcome::Same);
    }
}

/// No command writes over what it reads, or leaves half of what it writes.
#[test]
fn an_output_takes_nothing_away() {
    let here = folder("apart");
    let run = sim(&here, &["run", "--seeds", "0..20", "--mutant", "serve-uncovered", "--cases", "."]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let path = cases(&here).swap_remove(0);
    let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let before = std::fs::read(&path).expect("the case");
    std::os::unix::fs::symlink(name, here.join("link.json")).expect("a link");
    for arguments in [
        &["shrink", name, "-o", name][..],
        &["shrink", name, "-o", "link.json"],
        &["show", name, "--shiviz", name],
        &["show", "link.json", "--shiviz", name],
        &["shrink", name, "-o", "no/such/folder.json"],
    ] {
        let refused = sim(&here, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert_eq!(std::fs::read(&path).expect("the case"), before, "{arguments:?}");
    }
    std::fs::write(here.join("small.json"), "what stood there").expect("a file");
    for arguments in [&["shrink", name, "-o", "small.json"], &["show", name, "--shiviz", "small.json"]] {
        let full = limited(&here, 0, arguments);
        assert_eq!(full.status.code(), Some(4), "{arguments:?}: {}", text(&full));
        assert_eq!(std::fs::read_to_string(here.join("small.json")).expect("a file"), "what stood there");
    }
    assert!(cases(&here).iter().all(|path| !path.to_string_lossy().contains(".part")), "{:?}", cases(&here));
}

#[test]
fn unwritable_outputs_are_found_before_the_run() {
    let here = folder("unwritable");
    std::fs::write(here.join("a-file"), "").expect("a file");
    std::fs::create_dir(here.join("a-folder")).expect("a folder");
    for more in [
        &["--cases", "a-file"][..],
        &["--cases", "a-file/below"],
        &["--cases", "/proc/no-such/cases"],
        &["--json", "a-folder"],
        &["--seed", "7", "--history", "a-folder"],
        &["--seed", "7", "--history", "no-such-folder/seen.jsonl"],
        &["--json", "no-such-folder/found.jsonl"],
    ] {
        let begun = Instant::now();
        let seeds: &[&str] = if more[0] == "--seed" { &[] } else { &["--seeds", "0..1_000_000_000"] };
        let output = sim(&here, &[&["run"], seeds, more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", text(&output));
        assert_eq!(text(&output).lines().count(), 1, "{more:?}: {}", text(&output));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(cases(&here), [here.join("a-file"), here.join("a-folder")], "nothing is left behind");
}

/// A limit of bytes for each file stands for a full disk: `ulimit -f` in blocks of 512 bytes.
fn limited(here: &Path, blocks: u32, arguments: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), SIM]).args(arguments);
    shell.current_dir(here).stdin(Stdio::null()).output().expect("sh starts")
}

#[test]
fn a_full_disk_is_told_and_loses_nothing_of_before() {
    let here = folder("full");
    let always = ["run", "--seeds", "0..100_000_000", "--mutant", "apply-without-causes"];
    // Lines fit for a while, then no more.
    let output = limited(&here, 1_000, &[&always[..], &["--json", "found.jsonl", "--cases", "cases"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("File too large"), "{}", text(&output));
    assert!(text(&output).contains("ended early, by an output that failed"), "{}", text(&output));
    let found = failures(&here.join("found.jsonl"));
    assert!(found.len() > 100, "{found:?}");
    assert!(text(&output).contains("this line is missing there: {\"case\":"), "{}", text(&output));
    for path in cases(&here.join("cases")) {
        case(&path);
    }
    // No case fits.
    let output = limited(&here, 1, &[&always[..], &["--cases", "none"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        text(&output).contains("  case   none: ") && text(&output).contains("  again  hence-sim run --seed "),
        "{}",
        text(&output)
    );
    assert_eq!(cases(&here.join("none")), Vec::<PathBuf>::new(), "half a case");
    // A clean run whose line cannot be written has told no reader: no verdict.
    let output = sim(&here, &["run", "--seeds", "0..3", "--json", "/dev/full"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("/dev/full: No space left on device"), "{}", text(&output));
    let output = sim(&here, &[&always[..], &["--json", "/dev/full", "--cases", "first"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(!cases(&here.join("first")).is_empty());
}

/// A small disk of its own, where the machine lets us have one.
#[test]
fn a_full_tmpfs_ends_a_campaign_in_good_order() {
    let here = folder("tmpfs");
    let script = "mkdir disk && mount -t tmpfs -o size=96k tmpfs disk || exit 99
        \"$0\" run --seeds 0..100_000_000 --mutant apply-without-causes --json disk/found.jsonl --cases disk/cases
        code=$?
        cp -r disk kept
        exit $code";
    let mut shell = Command::new("unshare");
    let output = shell.args(["--map-root-user", "--mount", "sh", "-c", script, SIM]).current_dir(&here).output();
    let output = output.expect("unshare starts");
    if matches!(output.status.code(), Some(99) | None) || text(&output).contains("unshare: ") {
        println!("note: no mounts here: {}", text(&output));
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("No space left on device"), "{}", text(&output));
    let found = failures(&here.join("kept/found.jsonl"));
    assert!(!found.is_empty());
    for path in cases(&here.join("kept/cases")) {
        assert_eq!(path.extension().and_then(|it| it.to_str()), Some("json"), "half a file: {path:?}");
        assert_eq!(case(&path).replay().0, Outcome::Same);
    }
}

/// Campaigns that differ in anything have cases of their own; the same campaign, once more, has the same.
#[test]
fn campaigns_share_a_folder() {
    let here = folder("shared");
    let run = |more: &[&str]| {
        let output =
            sim(&here, &[&["run", "--seeds", "0..30", "--cases", "cases", "--json", "found.jsonl"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{more:?}: {}", text(&output));
        let named = text(&output)
            .lines()
            .filter_map(|line| line.strip_prefix("  case   "))
            .map(|path| here.join(path))
            .collect::<Vec<_>>();
        assert!(!named.is_empty());
        named
    };
    let campaigns: [&[&str]; 5] = [
        &["--mutant", "serve-uncovered"],
        &["--mutant", "serve-uncovered", "--profile", "general"],
        &["--mutant", "apply-without-causes"],
        &["--mutant", "replace-nothing", "--profile", "deletes"],
        &["--baseline"],
    ];
    let named: Vec<Vec<PathBuf>> = campaigns.iter().map(|more| run(more)).collect();
    for (paths, more) in named.iter().zip(campaigns) {
        for path in paths {
            let case = case(path);
            assert_eq!(case.replay().0, Outcome::Same, "{path:?}");
            let origin = case.origin.expect("a campaign");
            let profile = more.iter().position(|it| *it == "--profile").map_or("mixed", |at| more[at + 1]);
            assert_eq!(origin.profile, profile, "{path:?} was written over");
            let mutant = more.iter().position(|it| *it == "--mutant").map(|at| more[at + 1]);
            assert_eq!(
                (case.mutant.as_deref(), case.baseline),
                (mutant, mutant.is_none()),
                "{path:?} was written over"
            );
        }
    }
    let all: BTreeSet<&PathBuf> = named.iter().flatten().collect();
    assert_eq!(all.len(), named.iter().map(Vec::len).sum::<usize>(), "{all:?}");
    let before = cases(&here.join("cases"));
    assert_eq!(run(campaigns[0]), named[0]);
    assert_eq!(cases(&here.join("cases")), before);
    // Another case of the same name: it stays, and the new one lies beside it.
    let (path, theirs) = (&named[0][0], case(&named[2][0]));
    std::fs::write(path, theirs.write()).expect("ours");
    let again = run(campaigns[0]);
    assert!(
        again[0] != *path && case(path) == theirs && case(&again[0]).mutant.as_deref() == Some("serve-uncovered"),
        "{again:?}"
    );
}

/// Shards of one job array write lines into one file at once, and each line is whole.
#[test]
fn processes_share_a_file_of_lines() {
    let here = folder("lines");
    // What a full disk left of the last line of an earlier run.
    std::fs::write(here.join("found.jsonl"), "{\"kind\":\"summary\"}\n{\"kind\":\"fail").expect("a file");
    let start = |shard: &str| {
        let arguments = [
            "run",
            "--seeds",
            "0..600",
            "--mutant",
            "apply-without-causes",
            "--json",
            "found.jsonl",
            "--jobs",
            "2",
            "--shard",
            shard,
        ];
        command(&here, &arguments).spawn().expect("the binary starts")
    };
    let children: Vec<Child> = ["0/3", "1/3", "2/3"].into_iter().map(start).collect();
    for child in children {
        assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(1));
    }
    let text = std::fs::read_to_string(here.join("found.jsonl")).expect("lines");
    let (whole, broken): (Vec<_>, Vec<_>) = text.lines().partition(|line| serde_json::from_str::<Value>(line).is_ok());
    assert_eq!(broken, ["{\"kind\":\"fail"]);
    let shards: BTreeSet<String> = whole
        .iter()
        .skip(1)
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["run"]["shard"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(shards, ["0/3", "1/3", "2/3"].map(str::to_owned).into());
}
