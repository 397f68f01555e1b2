//! Standard output without a reader, or that is full, of each command.

use super::{cases, command, folder, sim, text};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

const PUT: &str = r#"{"id":1,"client":"a","op":"put","key":"x","value":1,"status":201,"token_out":"t","outcome":"ok"}"#;
const STALE: &str =
    r#"{"id":2,"client":"a","op":"get","key":"x","status":404,"token_in":"t","token_out":"u","outcome":"ok"}"#;

/// Each command with something to say, as its arguments in a folder that has what they name.
fn talkative(here: &Path) -> Vec<Vec<&'static str>> {
    std::fs::write(here.join("fine.jsonl"), format!("{PUT}\n")).expect("a file");
    std::fs::write(here.join("stale.jsonl"), format!("{PUT}\n{STALE}\n")).expect("a file");
    let run = sim(here, &["run", "--seeds", "0..40", "--mutant", "serve-uncovered"]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    let path = cases(&here.join("hence-cases")).swap_remove(0);
    std::fs::rename(path, here.join("case.json")).expect("a case");
    vec![
        vec!["run", "--seeds", "0..3"],
        vec!["run", "--seeds", "0..40", "--mutant", "serve-uncovered"],
        vec!["replay", "case.json"],
        vec!["shrink", "case.json", "-o", "small.json"],
        vec!["show", "case.json"],
        vec!["show", "case.json", "--json"],
        vec!["mutants", "--only", "serve-uncovered", "--kills", "3", "--seeds", "200"],
        vec!["mutants", "--shrink", "--only", "serve-uncovered", "--seeds", "200"],
        vec!["mutants", "--only", "serve-uncovered", "--kills", "3", "--seeds", "200", "--json"],
        vec!["soak", "--days", "1"],
        vec!["soak", "--days", "1", "--json"],
        vec!["hashes"],
        vec!["hashes", "--json"],
        vec!["explore", "--diff", "case.json", "case.json", "--json"],
        vec!["hashes", "--explain", "3"],
        vec!["check", "fine.jsonl"],
        vec!["check", "stale.jsonl"],
        vec!["check-bench", "--most", "1000", "--rounds", "1", "--folder", "bench"],
        vec!["bench", "--schedules", "20", "--rounds", "1"],
        vec!["contract", "http://127.0.0.1:1"],
        vec!["torture", "--targets", "http://127.0.0.1:1"],
        vec!["--help"],
        vec!["--version"],
        vec!["fly"],
    ]
}

/// No command panics when its reader leaves, and the verdict is the same where one was reached.
#[test]
fn a_reader_may_leave() {
    let here = folder("closed");
    for arguments in talkative(&here) {
        let whole = sim(&here, &arguments);
        let mut child = command(&here, &arguments).spawn().expect("the binary starts");
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("text");
        let code = child.wait().expect("it ends").code();
        assert!(code == whole.status.code() || code == Some(4), "{arguments:?}: {code:?}, {errors}");
        assert!(!errors.contains("failed") && !errors.contains("panic"), "{arguments:?}: {errors}");
    }
    // A reader of one line gets it.
    let mut child = command(&here, &["hashes", "--count", "1000000000"]).spawn().expect("the binary starts");
    let mut first = [0; 2];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a line");
    assert_eq!((&first, child.wait().expect("it ends").code()), (b"0 ", Some(4)));
}

/// Where standard output is full this is told, and no command then says by its exit code that all is fine.
#[test]
fn output_that_cannot_be_written_is_told() {
    let here = folder("no-room");
    for arguments in talkative(&here) {
        let whole = sim(&here, &arguments);
        let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
        let output = command(&here, &arguments).stdout(full()).output().expect("the binary starts");
        let errors = text(&output);
        if whole.stdout.is_empty() {
            assert_eq!(output.status.code(), whole.status.code(), "{arguments:?}: {errors}");
            continue;
        }
        let expected = if whole.status.code() == Some(0) { Some(4) } else { whole.status.code() };
        assert!(
            output.status.code() == expected || output.status.code() == Some(4),
            "{arguments:?}: {:?}, {errors}",
            output.status
        );
        assert!(
            errors.contains("standard output cannot be written: No space left on device"),
            "{arguments:?}: {errors}"
        );
        // Nowhere to complain either.
        let output = command(&here, &arguments).stdout(full()).stderr(full()).output().expect("the binary starts");
        assert!(
            output.status.code() == expected || output.status.code() == Some(4),
            "{arguments:?}: {:?}",
            output.status
        );
    }
}
