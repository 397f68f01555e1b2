//! `bisect`: in a repository whose commits hold a program that stands for `hence-sim`.

use super::{folder, text};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");
const PASSES: &str = "#!/bin/sh\necho 'passes with 0 choices that no longer matched'\n";
const FAILS: &str = "#!/bin/sh\necho 'same failure'\nexit 1\n";
const OTHER: &str = "#!/bin/sh\necho 'another failure'\nexit 1\n";

fn git(here: &Path, words: &[&str]) -> String {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    let output = Command::new("git").arg("-C").arg(here).args(identity).args(words).output().expect("git is there");
    assert!(output.status.success(), "git {words:?}: {}", text(&output));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A repository with these programs, a commit each. An empty one does not build.
fn repository(name: &str, programs: &[&str]) -> (PathBuf, Vec<String>) {
    let here = folder().join(name);
    _ = std::fs::remove_dir_all(&here);
    std::fs::create_dir_all(&here).expect("a folder");
    git(&here, &["init", "--quiet", "--initial-branch", "main"]);
    let commit = |(number, program): (usize, &&str)| {
        std::fs::write(here.join("source"), program).expect("a file");
        std::fs::write(here.join("number"), number.to_string()).expect("a file");
        git(&here, &["add", "."]);
        git(&here, &["commit", "--quiet", "-m", &format!("change {number}")]);
        git(&here, &["rev-parse", "HEAD"])
    };
    let commits = programs.iter().enumerate().map(commit).collect();
    (here, commits)
}

fn bisect(here: &Path, finding: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hence-sim"))
        .args(["bisect", finding, "--build", "test -s source && cp source program && chmod +x program"])
        .args(["--program", "program"])
        .args(more)
        .current_dir(here)
        .output()
        .expect("the binary starts")
}

#[test]
fn bisect_names_the_first_commit_that_fails() {
    let programs = [PASSES, PASSES, PASSES, "", PASSES, PASSES, FAILS, FAILS, FAILS, FAILS];
    let (here, commits) = repository("bisect", &programs);
    std::fs::write(here.join("edited"), "not committed").expect("a file");
    let output = bisect(&here, CASE, &["--good", &commits[0], "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("standard output is one object");
    assert_eq!(found["first_bad"], commits[6].as_str(), "{found}");
    assert!(found["subject"].as_str().is_some_and(|it| it.ends_with("change 6")), "{found}");
    let said = text(&bisect(&here, CASE, &["--good", &commits[2]]));
    assert!(said.contains("change 6\n  is the first commit that fails"), "{said}");
    // The caller's tree stays as it was, and nothing of the other is left.
    assert_eq!(git(&here, &["status", "--porcelain"]), "?? edited");
    assert_eq!(git(&here, &["rev-parse", "HEAD"]), commits[9]);
    assert_eq!(git(&here, &["worktree", "list"]).lines().count(), 1);
    assert_eq!(git(&here, &["for-each-ref", "refs/bisect"]), "");
}

/// Commits that cannot tell are named where the one that is looked for may be among them.
#[test]
fn bisect_says_what_it_could_not_tell() {
    let (here, commits) = repository("bisect-skips", &[PASSES, PASSES, "", OTHER, FAILS]);
    let output = bisect(&here, CASE, &["--good", &commits[0], "--json"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("standard output is one object");
    let candidates: Vec<&str> =
        found["candidates"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut expected: Vec<&str> = commits[2..].iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(
        (found["first_bad"].is_null(), {
            let mut it = candidates;
            it.sort_unstable();
            it
        }),
        (true, expected)
    );
}

#[test]
fn bisect_looks_at_both_ends_first() {
    let (here, commits) = repository("bisect-ends", &[PASSES, FAILS, PASSES]);
    for (more, says) in [
        (&["--good", &commits[0]][..], "does not fail with this case"),
        (&["--good", &commits[1], "--bad", &commits[1]], "does not pass this case"),
    ] {
        let output = bisect(&here, CASE, more);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
    let register = "{\"format\":1,\"findings\":[{\"name\":\"one\",\"status\":\"open\",\"fingerprint\":\"a/b\",\"case\":\"one.json\"}]}";
    std::fs::write(here.join("register.json"), register).expect("a file");
    std::fs::copy(CASE, here.join("one.json")).expect("a file");
    let found = bisect(&here, "one", &["--good", &commits[0], "--bad", &commits[1], "--findings", "register.json"]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found));
    for (finding, more) in
        [("no-such", &["--good", "HEAD", "--findings", "register.json"][..]), (CASE, &["--good", "no-such-commit"])]
    {
        let output = bisect(&here, finding, more);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    }
    assert_eq!(git(&here, &["worktree", "list"]).lines().count(), 1);
}
