//! The commands that documents show: each is run, or at least understood, and prints what they say that it prints.

use super::{folder, text};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The chapters whose every command a reader can run as it stands.
const CHAPTERS: [&str; 3] = ["simulator.md", "checker.md", "explorer.md"];

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Our own command's words in a line of a shell, if it is one.
fn words(line: &str) -> Option<Vec<&str>> {
    let command =
        line.strip_prefix("cargo run --release --bin hence-sim --").or_else(|| line.strip_prefix("hence-sim "));
    command.map(|command| command.split_whitespace().collect())
}

fn run(here: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hence-sim")).args(words).current_dir(here).output();
    let output = output.expect("the binary starts");
    (output.status.code(), text(&output))
}

/// Is this line what is shown? `...` stands for anything.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut rest = Some(line);
    for part in shown.split("...") {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

/// A command and the lines below it are printed in that order; speeds are left out. No command ends in a mistake, in a
/// failure of the simulator, or without a verdict.
#[test]
fn the_docs_show_what_is_printed() {
    for (chapter, least) in CHAPTERS.into_iter().zip([7, 2, 7]) {
        let page = std::fs::read_to_string(docs().join(chapter)).expect("the chapter");
        let here = folder().join(format!("docs-as-shown-{chapter}"));
        _ = std::fs::remove_dir_all(&here);
        std::fs::create_dir_all(&here).expect("a folder");
        std::os::unix::fs::symlink(docs(), here.join("docs")).expect("a link");
        let mut commands = 0;
        for block in page.split("\n```").skip(1).step_by(2) {
            for shown in block.split("\n$ ").skip(1) {
                let (command, lines) = shown.split_once('\n').unwrap_or((shown, ""));
                let words = words(command).expect("our own command");
                commands += 1;
                // Its figures are those of a machine.
                if words[0] == "bench" {
                    continue;
                }
                let (code, printed) = run(&here, &words);
                assert!(matches!(code, Some(0 | 1)), "{chapter}: {command} ends with {code:?}\n{printed}");
                let mut left = printed.lines();
                for line in lines.lines() {
                    let parts: Vec<&str> = line.split("; ").filter(|part| !part.contains("schedules/s")).collect();
                    let line = parts.join("; ");
                    assert!(left.any(|found| is_shown(found, &line)), "not printed by {command}: {line}\n{printed}");
                }
            }
        }
        assert!(commands >= least, "{chapter}: {commands} commands");
    }
}

/// Every command that stands in a text is one that this version understands, with its options.
#[test]
fn the_docs_name_commands_that_there_are() {
    let pages = std::fs::read_dir(docs()).expect("the documents").map(|entry| entry.expect("an entry").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|it| it == "md")).chain([docs().join("../README.md")]);
    let mut commands = 0;
    for path in pages {
        let page = std::fs::read_to_string(&path).expect("a page");
        let texts = page.split("\n```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
        let blocks = page.split("\n```").skip(1).step_by(2).flat_map(str::lines);
        let blocks = blocks.map(|line| line.strip_prefix("$ ").unwrap_or(line));
        for span in texts.chain(blocks) {
            // Within a loop, up to its end; a synopsis has brackets, and a line that goes on is no command.
            let Some(at) = span.find("hence-sim ") else { continue };
            let begins_here = at == 0 || span[..at].ends_with("do ") || span[..at].ends_with("& ");
            let command = span[at..].split(';').next().unwrap_or_default();
            if !begins_here || command.contains(['[', '\\', '|']) {
                continue;
            }
            let words = [words(command).expect("it begins so"), vec!["--help"]].concat();
            let (code, printed) = run(&folder(), &words);
            assert_eq!(code, Some(0), "{}: {span}: {printed}", path.display());
            commands += 1;
        }
    }
    assert!(commands >= 25, "{commands} commands");
}
