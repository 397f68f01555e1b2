//! README's five minutes, word for word: what it types into the terminal of `hence up`, what it asks, and what it is told.

use crate::client::folder;
use crate::up::Up;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What takes a few seconds in README's words is waited for so long.
const LIMIT: Duration = Duration::from_secs(15);

/// Blocks of a section, in their order.
fn blocks(section: &str) -> impl Iterator<Item = &str> {
    section.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// Lines that one prompt brings: what was typed, and what came.
fn turns<'a>(block: &'a str, prompt: &str) -> Vec<(&'a str, &'a str)> {
    let turns = block.split(prompt).skip(1);
    turns.map(|turn| turn.split_once('\n').expect("a line was typed")).collect()
}

/// What another run calls otherwise: tokens, and the entity tags of versions.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn are_opaque(word: &str) -> bool {
        word.starts_with("AVLZ") || word.len() == 18 && word.ends_with("-2") && word.starts_with("0000")
    }

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_')
    }

    /// README's text, with the names that are known so far.
    fn translated(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Is this what README shows? Names that come for the first time are learnt.
    fn agree(&mut self, shown: &str, came: &str) -> bool {
        let is_date = |line: &str| line.starts_with("date: ");
        let mut lines = (shown.lines(), came.lines());
        loop {
            match (lines.0.next(), lines.1.next()) {
                (None, None) => return true,
                (Some(shown), Some(came)) if is_date(shown) && is_date(came) => {}
                (Some(shown), Some(came)) => {
                    for (word, own) in Self::words(shown).zip(Self::words(came)) {
                        if Self::are_opaque(word) && Self::are_opaque(own) {
                            self.0.entry(word.to_owned()).or_insert_with(|| own.to_owned());
                        }
                    }
                    if self.translated(shown) != came {
                        return false;
                    }
                }
                (Some(_), None) | (None, Some(_)) => return false,
            }
        }
    }
}

fn ask(line: &str, within: &Path) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", &line.replacen("curl ", "curl -s ", 1)]).env_clear().env("PATH", "/usr/bin:/bin");
    let output = shell.current_dir(within).output().expect("a shell");
    assert!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n").trim_end().to_owned()
}

/// Every block of the section, in its order.
pub(crate) fn five_minutes() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    let section =
        text.split("## Five minutes\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let folder = folder("readme_five_minutes");
    let (mut up, mut names, mut count) = (Up::start(&[]), Names::default(), 0);
    let mut parts = blocks(section);
    let first = parts.next().expect("it begins with the cluster");
    let (started, printed) = turns(first, "$ ")[0];
    assert_eq!(started, "cargo run --release --bin hence -- up");
    printed.lines().filter(|line| !line.is_empty()).for_each(|line| _ = up.hear(line));
    for block in parts {
        for (typed, printed) in turns(block, "> ") {
            up.say(typed);
            printed.lines().for_each(|line| _ = up.hear(line));
            count += 1;
        }
        for (typed, shown) in turns(block, "$ ") {
            let (begun, typed) = (Instant::now(), names.translated(typed));
            let mut came = ask(&typed, &folder);
            // Only what changes nothing is asked again.
            while !names.agree(shown.trim_end(), &came) {
                assert!(!typed.contains("-X PUT") && begun.elapsed() < LIMIT, "{typed}\n{came}\ninstead of\n{shown}");
                std::thread::sleep(Duration::from_millis(50));
                came = ask(&typed, &folder);
            }
            count += 1;
        }
    }
    assert!(count > 10, "only {count} lines were typed");
    up.say("quit");
    assert_eq!(up.end(), Some(0));
    // The pictures at the top are of the same run.
    let looks = text.split("What it looks like").nth(1).and_then(|rest| blocks(rest).next()).expect("a block");
    for (typed, shown) in turns(looks, "$ ") {
        let typed = typed.replacen("curl ", "", 1);
        assert!(section.contains(&typed) && section.contains(shown.trim_end()), "{typed}");
    }
}

/// The lines of README are those of the example that `cargo test` runs.
pub(crate) fn embedding() {
    let file = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there");
    let (text, example) = (file("../README.md"), file("examples/embed.rs"));
    let block = text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let indented: String = block.lines().map(|line| format!("    {line}\n")).collect();
    assert!(block.lines().count() > 5 && example.contains(&indented), "{block}");
}
