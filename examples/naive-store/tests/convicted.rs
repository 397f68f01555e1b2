//! A store that the simulator does not know reaches a shrunk case that replays, from code and on the command line.

use hence_example_naive_store::Naive;
use hence_sim::campaign::campaign;
use hence_sim::campaign::case::{Case, Outcome};
use hence_sim::campaign::run::{NamedSubject, Setting};
use hence_sim::generate::{self, Profile};
use std::path::Path;
use std::process::Command;

#[test]
fn a_foreign_store_reaches_a_shrunk_case() {
    let naive = NamedSubject::of::<Naive>("naive");
    let setting = Setting { subject: Some(naive), ..Setting::default() };
    let summary = campaign(0..40, Profile::Mixed, setting);
    let failure = summary.failures.get("history/diverged").expect("a lost message is missed for ever");
    let case = Case::of(&generate::plan(failure.seed, Profile::Mixed), setting).expect("it just failed");
    let small = case.shrunk(setting).expect("it fails without the recorded choices, too");
    let (before, after) = (case.plan.size(), small.plan.size());
    assert!(after < before && after <= 4, "from {before} operations and faults to {after}");

    let text = small.write();
    let read = Case::read_among(&text, &[naive]).expect("it was just written");
    assert_eq!((&read, read.setting_among(&[naive])), (&small, Ok(setting)));
    assert_eq!(read.replay_with(setting).0, Outcome::Same);
    let unknown = Case::read(&text).expect_err("hence-sim itself has no such store").to_string();
    assert_eq!(unknown, "subject: this program has no subject \"naive\"");
}

#[test]
fn the_command_line_takes_it() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cases");
    _ = std::fs::remove_dir_all(&folder);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hence-example-naive-store")).args(arguments).output();
        let output = output.expect("the binary starts");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let cases = folder.to_str().expect("a path of text");
    let (code, text) = run(&["run", "--seeds", "0..40", "--subject", "naive", "--cases", cases]);
    assert_eq!(code, Some(1), "{text}");
    let path = text.lines().find_map(|line| line.trim().strip_prefix("case ").filter(|path| path.contains("diverged")));
    let path = path.unwrap_or_else(|| panic!("no case is told of: {text}")).trim();
    assert!(path.contains("-naive-mixed-"), "{path}");
    for (command, expected) in [("replay", "same failure"), ("show", "history/diverged"), ("shrink", "makes it pass")] {
        let (code, text) = run(&[command, path]);
        assert!(code == Some(1) && text.contains(expected), "{command} ends with {code:?}: {text}");
    }
    let (code, text) = run(&["run", "--seed", "1", "--subject", "other", "--cases", cases]);
    assert!(code == Some(2) && text.contains("there is no subject \"other\"; this program brings naive"), "{text}");
}
