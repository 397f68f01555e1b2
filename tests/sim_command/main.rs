//! The command `hence-sim` as a process: exit codes, determinism across processes, jobs and shards, bad input.

mod bisect;
mod canary;
mod docs;
mod explore;
mod json;
mod register;
mod shown;
mod triage;
mod why;

use hence_sim::generate::Profile;
use hence_sim::mutants::Mutant;
use hence_sim::mutants::harness::HarnessMutant;
use std::path::PathBuf;
use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_hence-sim");
    Command::new(binary).args(arguments).current_dir(folder()).output().expect("the binary starts")
}

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim-command");
    std::fs::create_dir_all(&folder).expect("a folder for cases");
    folder
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The lines that speak of results, and neither of speed nor of how the command was called.
fn results(output: &Output) -> Vec<String> {
    let is_result = |line: &&str| !line.contains("/s") && !line.starts_with("hence-sim 0.");
    text(output).lines().filter(is_result).map(str::to_owned).collect()
}

#[test]
fn a_clean_campaign_ends_with_0_whatever_the_jobs() {
    let one = sim(&["run", "--seeds", "0..300", "--jobs", "1"]);
    let many = sim(&["run", "--seeds", "0..300", "--jobs", "7"]);
    assert_eq!(one.status.code(), Some(0), "{}", text(&one));
    assert!(text(&one).contains("hash of all traces"));
    assert_eq!(results(&one), results(&many));
}

#[test]
fn shards_add_up() {
    let path = folder().join("shards.jsonl");
    _ = std::fs::remove_file(&path);
    let json = path.to_str().expect("a plain path");
    for part in ["0/3", "1/3", "2/3"] {
        assert_eq!(sim(&["run", "--seeds", "0..300", "--shard", part, "--json", json]).status.code(), Some(0));
    }
    let lines = std::fs::read_to_string(&path).expect("the lines");
    let parts: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum = |name: &str| parts.iter().filter_map(|part| part[name].as_u64()).sum::<u64>();
    assert_eq!((parts.len(), sum("schedules")), (3, 300));
    let whole = text(&sim(&["run", "--seeds", "0..300"]));
    assert!(whole.contains(&format!("300 schedules, {} events", sum("events"))), "{whole}");
    let hash = |part: &serde_json::Value| u64::from_str_radix(part["hash"].as_str().expect("a hash"), 16).expect("hex");
    let hash = parts.iter().map(hash).fold(0, u64::wrapping_add);
    assert!(whole.contains(&format!("hash of all traces {hash:016x}")), "{whole}");
}

/// What a run's clients saw is a history for `check`: fine with the sound rules, broken with a bug that clients see.
#[test]
fn a_run_writes_its_history() {
    let judged = |seed: u64, more: &[&str], name: &str| {
        let path = folder().join(name);
        let file = path.to_str().expect("a plain path");
        let run = sim(&[&["run", "--seed", &seed.to_string(), "--history", file], more].concat());
        // Where a memory image was copied, two writes may have one name, and there is no history.
        let is_written = text(&run).contains("operations of clients");
        assert!(is_written || text(&run).contains("this run has no history"), "{}", text(&run));
        is_written.then(|| sim(&["check", file]))
    };
    let fine: Vec<Output> = (0..5).filter_map(|seed| judged(seed, &[], "sound.jsonl")).collect();
    assert!(!fine.is_empty());
    for check in fine {
        assert_eq!(check.status.code(), Some(0), "{}", text(&check));
    }
    // Whatever is wrong with a replica, what is written is a history: a name that two writes have is no name in it.
    for (seed, more) in [
        (7, &["--baseline"][..]),
        (1, &["--baseline"]),
        (24, &["--baseline"]),
        (3, &["--suspicious"]),
        (0, &["--mutant", "reuse-life"]),
        (5, &["--mutant", "reuse-life"]),
    ] {
        if let Some(check) = judged(seed, more, "wrong.jsonl") {
            assert!(matches!(check.status.code(), Some(0 | 1)), "seed {seed}, {more:?}: {}", text(&check));
        }
    }
    let mut naive = (0..200).filter_map(|seed| judged(seed, &["--baseline"], "naive.jsonl"));
    let broken = naive.find(|check| check.status.code() == Some(1)).expect("the naive scheme is seen through");
    assert!(text(&broken).contains("the weakest broken level is"), "{}", text(&broken));
    let many = sim(&["run", "--seeds", "0..2", "--history", "never.jsonl"]);
    assert_eq!(many.status.code(), Some(2), "{}", text(&many));
}

#[test]
fn two_processes_print_the_same_hashes() {
    let hashes = || text(&sim(&["hashes", "--count", "40"]));
    let (first, second) = (hashes(), hashes());
    let pair = first.lines().zip(second.lines()).find(|(first, second)| first != second);
    if let Some(seed) = pair.and_then(|(line, _)| line.split(' ').next()) {
        std::fs::write(folder().join("first.trace"), sim(&["hashes", "--explain", seed]).stdout).expect("a file");
        panic!("{pair:?}\n{}", text(&sim(&["hashes", "--explain", seed, "--against", "first.trace"])));
    }
    assert_eq!(first.lines().count(), 40);
}

/// On a mismatch the first different event is printed, from here and from there.
#[test]
fn the_first_different_event_is_explained() {
    let trace = text(&sim(&["hashes", "--explain", "3"]));
    std::fs::write(folder().join("same.trace"), &trace).expect("a file");
    let same = sim(&["hashes", "--explain", "3", "--against", "same.trace"]);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    let mut lines: Vec<&str> = trace.lines().collect();
    let was = std::mem::replace(&mut lines[7], "something else happens");
    std::fs::write(folder().join("other.trace"), lines.join("\n")).expect("a file");
    let other = sim(&["hashes", "--explain", "3", "--against", "other.trace"]);
    assert_eq!(other.status.code(), Some(1));
    let says = text(&other);
    assert!(says.contains("line 8 ") && says.contains(was) && says.contains("something else happens"), "{says}");
}

/// The simulator knows the planted bugs by name. That the product cannot is the other half, in `names.rs`.
#[test]
fn the_binary_names_every_mutant() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_hence-sim")).expect("the binary");
    let occurs = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    let core = Mutant::ALL.iter().map(|mutant| mutant.name());
    let missing: Vec<_> =
        core.chain(HarnessMutant::ALL.iter().map(|it| it.name())).filter(|name| !occurs(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!occurs(&["no", "such", "mutant", "anywhere"].join("-")));
}

#[test]
fn a_planted_bug_ends_with_1_and_replays_shrinks_and_shows() {
    let run = sim(&["run", "--seeds", "0..200", "--mutant", "apply-without-causes", "--cases", "cases"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let printed = text(&run);
    let case = printed.lines().find_map(|line| line.strip_prefix("  replay hence-sim replay ")).expect("a replay line");
    let replay = sim(&["replay", case]);
    assert_eq!(replay.status.code(), Some(1));
    assert!(text(&replay).starts_with("same failure"), "{}", text(&replay));
    let shrink = sim(&["shrink", case, "-o", "small.json"]);
    assert!(text(&shrink).contains("taking any one away makes it pass"), "{}", text(&shrink));
    assert!(text(&sim(&["replay", "small.json"])).starts_with("same failure"));
    let show = text(&sim(&["show", "small.json"]));
    assert!(show.contains(" asks ") && show.contains(" applies "), "{show}");
    // The verdict comes first, and what is left out is counted.
    assert!(show.starts_with("causes/cause_missing at "), "{show}");
    assert!(show.lines().last().is_some_and(|line| line.ends_with("left out; --idle shows them")), "{show}");
    assert!(!text(&sim(&["show", "small.json", "--idle"])).contains("left out"));
    // Standard output is JSON and nothing else, to the violation.
    for more in [&["--json"][..], &["--json", "--idle"]] {
        let json = sim(&[&["show", "small.json"], more].concat());
        assert_eq!((json.status.code(), json.stderr.as_slice()), (Some(1), &b""[..]));
        let json = String::from_utf8(json.stdout).expect("text");
        let lines: Vec<serde_json::Value> = json
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        let (last, others) = lines.split_last().expect("lines");
        shown::check_story(&lines);
        assert_eq!(last["kind"], "violation");
        assert!(last["violation"]["detail"].is_string() && last["at"].is_u64(), "{last}");
        let kinds: std::collections::BTreeSet<&str> = others.iter().filter_map(|line| line["kind"].as_str()).collect();
        assert!(["asked", "takes", "replies", "answered"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    }
    sim(&["show", "small.json", "--shiviz", "small.shiviz"]);
    shown::check_shiviz(&std::fs::read_to_string(folder().join("small.shiviz")).expect("the log"));
}

#[test]
fn bad_input_ends_with_2_and_one_line() {
    std::fs::write(folder().join("broken.json"), "{\"format\": 1, \"surprise\": 2}").expect("a file");
    std::fs::write(folder().join("binary.json"), [0xff, 0xfe, 0]).expect("a file");
    let bad: [&[&str]; 8] = [
        &["replay", "no-such-file.json"],
        &["replay", "broken.json"],
        &["replay", "binary.json"],
        &["shrink", "broken.json"],
        &["show", "broken.json"],
        &["run", "--seeds", "0..10", "--mutant", "no-such-mutant"],
        &["run"],
        &["mutants", "--only", "no-such-mutant"],
    ];
    for arguments in bad {
        let output = sim(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert_eq!(text(&output).lines().count(), 1, "{arguments:?}: {}", text(&output));
    }
    for arguments in [&["run", "--seeds", "9..3"][..], &["run", "--shard", "3/3"], &["fly"], &["run", "--time", "5x"]] {
        assert_eq!(sim(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = sim(&["run", "--seeds", "0..10", "--profile", "no-such-profile"]);
    assert_eq!(output.status.code(), Some(2));
    let help = text(&sim(&["run", "--help"]));
    for profile in Profile::ALL {
        assert!(text(&output).contains(profile.name()) && help.contains(profile.name()), "{profile:?}");
    }
}

const PUT: &str = r#"{"id":1,"client":"a","op":"put","key":"x","value":1,"status":201,"token_out":"t","outcome":"ok"}"#;

/// What is no history ends with 2 and names the line; a cut-off tail is a warning.
#[test]
fn bad_histories_name_their_line() {
    let check = |name: &str, history: &str| {
        std::fs::write(folder().join(name), history).expect("a file");
        let output = sim(&["check", name]);
        (output.status.code(), text(&output))
    };
    let second = |line: &str| format!("{PUT}\n{line}\n");
    let get = r#"{"id":2,"client":"a","op":"get","key":"x","value":1,"status":200,"outcome":"ok""#;
    let bad = [
        (second(PUT), "line 2: another operation has the id 1"),
        (second(&PUT.replace("\"id\":1", "\"id\":2")), "line 2: writes x=1, which line 1 wrote already"),
        (second(&format!("{get},\"token_in\":\"u\"}}")), "line 2: sends the token \"u\""),
        (second(&format!("{get},\"call_ns\":9,\"return_ns\":3}}")), "line 2: the times run backwards"),
        (second("{\"id\":2"), "line 2: column"),
        ("<xml/>\n".into(), "line 1: no known format begins with"),
        (String::new(), "line 1: the history is empty"),
        (format!("{PUT}\n{}", "x".repeat(100_000_000)), "line 2: longer than"),
    ];
    for (history, says) in bad {
        let (code, printed) = check("bad.history", &history);
        assert_eq!(code, Some(2), "{printed}");
        assert!(printed.contains(says) && printed.lines().count() == 1, "{says}: {printed}");
    }
    let (code, printed) = check("cut.history", &format!("{PUT}\n{{\"id\":2,\"cli"));
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("warning: line 2 is cut off"), "{printed}");
    std::fs::remove_file(folder().join("bad.history")).expect("it was there");
}

/// A broken history ends with 1, names the level, tells the story and draws it; its parts read back in every format.
#[test]
fn a_broken_history_is_shown() {
    let stale =
        r#"{"id":2,"client":"a","op":"get","key":"x","status":404,"token_in":"t","token_out":"u","outcome":"ok"}"#;
    std::fs::write(folder().join("stale.history"), format!("{PUT}\n{stale}\n")).expect("a file");
    let shown = sim(&["check", "stale.history", "--svg", "stale.svg", "--counterexample", "small.history"]);
    assert_eq!(shown.status.code(), Some(1), "{}", text(&shown));
    assert!(text(&shown).contains("the weakest broken level is RYW, read your writes"), "{}", text(&shown));
    assert!(std::fs::read_to_string(folder().join("stale.svg")).expect("a picture").contains("<svg"));
    for format in ["json", "plume", "edn"] {
        let again = sim(&["check", "small.history", "--export", "again.history", "--to", format]);
        assert_eq!(again.status.code(), Some(1), "{}", text(&again));
        let read = sim(&["check", "again.history", "--format", format]);
        assert_eq!(read.status.code(), Some(1), "{format}: {}", text(&read));
        assert!(text(&read).contains("the weakest broken level is RYW"), "{format}: {}", text(&read));
    }
}

/// An output never replaces what is read, by whatever name, and stands there only when it is whole.
#[test]
fn an_export_destroys_nothing() {
    let here = folder().join("exports");
    _ = std::fs::remove_dir_all(&here);
    std::fs::create_dir_all(here.join("deep")).expect("a folder");
    let check = |arguments: &[&str]| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_hence-sim")).arg("check").args(arguments).current_dir(&here).output();
        command.expect("the binary starts")
    };
    let delete = r#"{"id":2,"client":"a","op":"delete","key":"x","status":200,"token_in":"t","outcome":"ok"}"#;
    let history = format!("{PUT}\n{delete}\n");
    std::fs::write(here.join("seen.jsonl"), &history).expect("a file");
    std::fs::hard_link(here.join("seen.jsonl"), here.join("hard.jsonl")).expect("a link");
    std::os::unix::fs::symlink("seen.jsonl", here.join("soft.jsonl")).expect("a link");
    for (option, name) in [
        ("--export", "seen.jsonl"),
        ("--export", "./deep/../seen.jsonl"),
        ("--export", "hard.jsonl"),
        ("--export", "soft.jsonl"),
        ("--svg", "seen.jsonl"),
        ("--counterexample", "soft.jsonl"),
    ] {
        let to: &[&str] = if option == "--export" { &["--to", "edn"] } else { &[] };
        let refused = check(&[&["seen.jsonl", option, name], to].concat());
        assert_eq!(refused.status.code(), Some(2), "{option} {name}: {}", text(&refused));
        assert!(text(&refused).contains("this is what is read"), "{}", text(&refused));
    }
    assert_eq!(std::fs::read_to_string(here.join("seen.jsonl")).expect("the history"), history);
    let both = check(&["seen.jsonl", "--export", "one", "--to", "edn", "--svg", "./one"]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both));
    // Plume text has no word for the delete on the second line.
    for before in [None, Some("what stood there")] {
        if let Some(before) = before {
            std::fs::write(here.join("seen.plume"), before).expect("a file");
        }
        let refused = check(&["seen.jsonl", "--export", "seen.plume", "--to", "plume"]);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert_eq!(std::fs::read_to_string(here.join("seen.plume")).ok().as_deref(), before);
    }
    let nowhere = check(&["seen.jsonl", "--export", "no/such/folder", "--to", "edn"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere));
    assert_eq!(check(&["seen.jsonl", "--export", "seen.edn", "--to", "edn"]).status.code(), Some(0));
    assert_eq!(check(&["seen.edn", "--export", "/dev/null", "--to", "json"]).status.code(), Some(0));
    let entries = std::fs::read_dir(&here).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(entries.filter(|name| name.to_string_lossy().contains(".part")).count(), 0, "nothing is left behind");
}

/// Two outputs are never one, by whatever names, and standard output is an output like others.
#[test]
fn outputs_are_apart() {
    let here = folder().join("apart");
    _ = std::fs::remove_dir_all(&here);
    std::fs::create_dir_all(&here).expect("a folder");
    std::fs::write(here.join("seen.jsonl"), format!("{PUT}\n")).expect("a file");
    let check = |arguments: &[&str]| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_hence-sim")).arg("check").args(arguments).current_dir(&here).output();
        command.expect("the binary starts")
    };
    for (one, other) in [("/dev/stdout", "/dev/stdout"), ("/dev/stdout", "/proc/self/fd/1"), ("new", "./new")] {
        let refused = check(&["seen.jsonl", "--json", one, "--svg", other]);
        assert_eq!(refused.status.code(), Some(2), "{one} {other}: {}", text(&refused));
        assert!(text(&refused).contains("this is another output, too"), "{}", text(&refused));
    }
    assert!(!here.join("new").exists(), "it was refused before anything was written");
    // Where standard output is a file, its name is taken; by its own name it goes on where the lines end.
    let into = |arguments: &[&str]| {
        let file = std::fs::File::create(here.join("said")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
        let output = command.arg("check").args(arguments).current_dir(&here).stdout(file).output();
        (output.expect("the binary starts"), std::fs::read_to_string(here.join("said")).expect("a file"))
    };
    let (refused, said) = into(&["seen.jsonl", "--export", "said", "--to", "edn"]);
    assert_eq!((refused.status.code(), said.as_str()), (Some(2), ""), "{}", text(&refused));
    let (shared, said) = into(&["seen.jsonl", "--json", "/dev/stdout"]);
    assert_eq!(shared.status.code(), Some(0), "{}", text(&shared));
    assert!(said.contains("operations") && said.contains("\"weakest_broken\": null"), "{said}");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
        command.arg("run").args(["--seed", "3"]).args(arguments).current_dir(&here).output().expect("the binary starts")
    };
    for (one, other) in [("both", "./both"), ("/dev/stdout", "/dev/fd/1")] {
        let refused = run(&["--history", one, "--json", other]);
        assert_eq!(refused.status.code(), Some(2), "{one} {other}: {}", text(&refused));
    }
    assert!(!here.join("both").exists(), "it was refused before the run");
}

/// A history comes from a file, from standard input, and through gzip.
#[test]
fn a_history_may_come_through_a_pipe() {
    let history = format!("\u{feff}{PUT}\n\n");
    std::fs::write(folder().join("piped.jsonl"), &history).expect("a file");
    let from = |name: &str, arguments: &[&str]| {
        let file = std::fs::File::open(folder().join(name)).expect("the history");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
        command.arg("check").args(arguments).current_dir(folder()).stdin(file).output().expect("the binary starts")
    };
    assert_eq!(from("piped.jsonl", &["-"]).status.code(), Some(0));
    assert_eq!(from("piped.jsonl", &["piped.jsonl"]).status.code(), Some(0));
    let itself = from("piped.jsonl", &["-", "--export", "piped.jsonl", "--to", "edn"]);
    assert_eq!(itself.status.code(), Some(2), "{}", text(&itself));
    assert!(text(&itself).contains("this is what is read"), "{}", text(&itself));
    assert_eq!(std::fs::read_to_string(folder().join("piped.jsonl")).expect("it is there"), history);
    let file = std::fs::File::create(folder().join("piped.jsonl.gz")).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, history.as_bytes()).expect("room");
    gzip.finish().expect("room");
    for (name, arguments) in [("piped.jsonl.gz", &["-"][..]), ("piped.jsonl", &["piped.jsonl.gz"])] {
        assert_eq!(from(name, arguments).status.code(), Some(0), "{arguments:?}");
    }
    let empty = from("/dev/null", &["-"]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(text(&empty).contains("standard input: line 1: the history is empty"), "{}", text(&empty));
}

/// What clients of a simulated cluster saw is fine however a store tells it, and broken with a stale read in it.
#[test]
fn histories_of_every_kind_are_judged() {
    for kind in ["own", "stripped", "base", "edn", "transactions", "apart", "plume"] {
        for (planted, code) in [(&[][..], 0), (&["--broken"][..], 1)] {
            let file = format!("{kind}-{code}");
            _ = std::fs::remove_file(folder().join(&file));
            let mut arguments = vec!["check-bench", "--kind", kind, "--operations", "2000", "--file", &file];
            arguments.extend(planted);
            assert_eq!(sim(&arguments).status.code(), Some(0), "{kind}");
            let judged = sim(&arguments);
            assert_eq!(judged.status.code(), Some(code), "{kind} {planted:?}: {}", text(&judged));
        }
    }
}
