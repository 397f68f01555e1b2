//! The litmus suite: small histories as data, each with the verdict of every level.

use super::judged;
use hence_checker::history::{Action, Operation, Outcome};
use hence_checker::{Level, Verdict, slow};
use std::path::PathBuf;

/// A story of the litmus suite, or one of its twins.
pub(crate) struct Litmus {
    pub(crate) name: String,
    pub(crate) operations: Vec<Operation>,
    pub(crate) verdicts: [Verdict; 6],
}

fn litmus_files() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("litmus");
    let entries = std::fs::read_dir(folder).expect("the suite is here").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a text"))).collect()
}

/// All stories, each followed by its twins.
pub(crate) fn litmus() -> Vec<Vec<Litmus>> {
    let mut stories = Vec::new();
    for (path, text) in litmus_files() {
        for story in text.split("\n[").skip(1) {
            let (name, _) = story.split_once(']').unwrap_or_else(|| panic!("{}: a name ends in ]", path.display()));
            let mut lines = story.lines().skip(1).filter(|line| !line.trim().is_empty()).peekable();
            let mut base: Vec<&str> = Vec::new();
            while lines.peek().is_some_and(|line| !line.starts_with("broken")) {
                base.push(lines.next().expect("it was just seen"));
            }
            let mut told = vec![told(name, &base, &mut lines)];
            while let Some(line) = lines.next() {
                let changed = line.strip_prefix("twin ").unwrap_or_else(|| panic!("{name}: {line:?}"));
                let label = changed.split(' ').next().expect("a label");
                let twin: Vec<&str> =
                    base.iter().map(|&old| if old.starts_with(&format!("{label} ")) { changed } else { old }).collect();
                assert_ne!(twin, base, "{name}: the twin changes nothing");
                told.push(self::told(&format!("{name}, twin {changed:?}"), &twin, &mut lines));
            }
            stories.push(told);
        }
    }
    stories
}

fn told<'a>(name: &str, lines: &[&str], rest: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Litmus {
    let mut verdicts = [Verdict::Fine; 6];
    for (word, verdict) in [("broken", Verdict::Broken), ("unasked", Verdict::Unknown)] {
        if let Some(line) = rest.next_if(|line| line.starts_with(word)) {
            for level in line.split_whitespace().skip(1) {
                let at = Level::ALL.iter().position(|known| known.name() == level);
                verdicts[at.unwrap_or_else(|| panic!("{name}: {level} is no level"))] = verdict;
            }
        } else {
            assert_ne!(word, "broken", "{name}: no verdict");
        }
    }
    let mut operations: Vec<Operation> = Vec::new();
    for line in lines {
        let event = litmus_event(name, line, operations.last().map_or(0, |last| last.id + 1), &operations);
        operations.extend(event);
    }
    Litmus { name: name.into(), operations, verdicts }
}

/// An operation, or the parts of a batch.
fn litmus_event(name: &str, line: &str, id: u64, earlier: &[Operation]) -> Vec<Operation> {
    let (line, replica) = line.split_once(" @").unwrap_or((line, ""));
    let (line, sent) = line.split_once(" <").map_or((line, None), |(line, sent)| (line, Some(sent)));
    let (label, parts) = line.split_once(' ').unwrap_or_else(|| panic!("{name}: {line:?} is no operation"));
    let part = |part| {
        let operation = litmus_operation(name, label, part, sent, earlier);
        Operation { id, replica: replica.into(), ..operation }
    };
    Operation::batch(parts.split(" & ").map(part).collect())
}

fn litmus_operation(name: &str, label: &str, line: &str, sent: Option<&str>, earlier: &[Operation]) -> Operation {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [verb, what, rest @ ..] = words.as_slice() else { panic!("{name}: {line:?} is no operation") };
    let (key, value) = what.split_once('=').map_or((*what, None), |(key, value)| (key, Some(value)));
    let action = match *verb {
        "get" | "refused" => Action::Get,
        "put" => Action::Put,
        "delete" => Action::Delete,
        other => panic!("{name}: {other:?} is no verb"),
    };
    let session = &label[..1];
    let mut operation = Operation::new(0, session, action, key);
    operation.value = value.map(str::to_owned);
    let last = earlier.iter().rev().find(|earlier| earlier.client == session && earlier.token_out.is_some());
    match sent {
        None => operation.token_in = last.and_then(|last| last.token_out.clone()),
        Some("-") => {}
        Some(labels) => {
            let mut tokens = labels.split('+').map(str::to_owned);
            operation.token_in = tokens.next();
            operation.merged_from = tokens.collect();
        }
    }
    operation.token_out = Some(label.to_owned());
    answer_litmus(name, key, &mut operation, rest);
    operation
}

fn answer_litmus(name: &str, key: &str, operation: &mut Operation, rest: &[&str]) {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match (operation.action, rest) {
        (Action::Get, ["=", "none"]) => operation.status = 404,
        (Action::Get, ["=", shown]) => {
            operation.status = 200;
            match shown.strip_prefix('{').and_then(|shown| shown.strip_suffix('}')) {
                Some(all) => operation.siblings = Some(list(all)),
                None => operation.value = Some((*shown).to_owned()),
            }
        }
        (Action::Put | Action::Delete, ["lost"]) => (operation.outcome, operation.token_out) = (Outcome::Unknown, None),
        (Action::Put | Action::Delete, ["ok"]) => operation.status = 204,
        (Action::Get | Action::Put | Action::Delete, [status, over @ ..]) => {
            operation.status = status.parse().unwrap_or_else(|_| panic!("{name}: {status:?} is no status"));
            if let ["over", values] = over {
                operation.superseded = Some(list(values).iter().map(|value| format!("{key}{value}")).collect());
            }
        }
        (Action::Get | Action::Put | Action::Delete, []) => panic!("{name}: no answer"),
    }
    if operation.action == Action::Put && operation.outcome == Outcome::Ok {
        operation.shown = operation.value.iter().map(|value| Some(format!("{key}{value}"))).collect();
    }
}

#[test]
fn litmus_histories_have_their_verdicts() {
    let (stories, mut wrong, mut histories) = (litmus(), Vec::new(), 0);
    for story in &stories {
        for litmus in story {
            histories += 1;
            let (quick, slow) = (judged(&litmus.operations).verdicts, slow::judge(&litmus.operations));
            if quick != litmus.verdicts || slow != litmus.verdicts {
                let named = |verdicts: [Verdict; 6]| {
                    let broken = Level::ALL.iter().zip(verdicts).filter(|(_, verdict)| *verdict == Verdict::Broken);
                    broken.map(|(level, _)| level.name()).collect::<Vec<_>>().join(" ")
                };
                let (told, quick, slow) = (named(litmus.verdicts), named(quick), named(slow));
                wrong.push(format!("{}: told [{told}], judged [{quick}], by definition [{slow}]", litmus.name));
            }
        }
        let [first, twins @ ..] = story.as_slice() else { unreachable!("a story has itself") };
        assert!(!twins.is_empty(), "{} has no twin", first.name);
        for twin in twins {
            assert_ne!(twin.verdicts, first.verdicts, "{} has the same verdict", twin.name);
        }
    }
    println!("{} stories, {histories} histories", stories.len());
    assert!(stories.len() >= 40, "{} stories", stories.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
