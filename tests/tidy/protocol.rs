//! `docs/protocol.md` and the code name each other: every citation of a rule resolves, every rule names what is there.

use super::{files, report, root};
use std::collections::BTreeSet;
use std::fs;

const PAGE: &str = "docs/protocol.md";
const FAMILIES: [&str; 20] = [
    "ID", "REQ", "BATCH", "LIST", "WATCH", "CONCERN", "LINK", "FORMAT", "PUSH", "PULL", "PIECE", "LOG", "STATE",
    "VIEW", "JOIN", "FAIL", "RET", "LOST", "LIMIT", "INV",
];

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).expect("the protocol is written down")
}

/// The names of rules and invariants in a text: a family, a hyphen, a number.
fn cited(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    text.split(|letter: char| !is_part(letter))
        .filter(|word| {
            word.split_once('-').is_some_and(|(family, number)| {
                FAMILIES.contains(&family) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
        .map(str::to_owned)
        .collect()
}

/// Rules and invariants that have an anchor. The anchor is the name in small letters.
fn stated(page: &str) -> BTreeSet<String> {
    page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_uppercase).collect()
}

#[test]
fn citations_of_the_protocol_resolve() {
    let stated = stated(&page());
    assert!(stated.len() > 50, "rules and invariants have anchors: {stated:?}");
    let mut complaints = Vec::new();
    for (path, text) in files(&[".rs", ".md"]) {
        for name in cited(&text).difference(&stated) {
            complaints.push(format!("{path}: {PAGE} does not state {name}"));
        }
    }
    report("a comment cites a rule that the protocol states", &complaints);
}

/// Each paragraph of a rule, from its anchor to the next one.
fn rules(page: &str) -> Vec<(String, &str)> {
    page.split("<a id=\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .filter(|(anchor, _)| !anchor.starts_with("inv-"))
        .map(|(anchor, rest)| (anchor.to_uppercase(), rest.split("\n#").next().unwrap_or(rest)))
        .collect()
}

fn in_backquotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_rule_names_its_code_and_its_mutants() {
    let page = page();
    let mutants = fs::read_to_string(root().join("sim/src/mutants/mod.rs")).expect("the mutants");
    let mut complaints = Vec::new();
    for (name, text) in rules(&page) {
        let (before, broken) = text.split_once("*Broken by:*").unwrap_or((text, ""));
        let Some((_, code)) = before.split_once("*Code:*") else {
            complaints.push(format!("{name} names no file"));
            continue;
        };
        complaints.extend(
            in_backquotes(code)
                .filter(|path| !root().join(path).exists())
                .map(|path| format!("{name} names {path}, which is not there")),
        );
        complaints.extend(
            in_backquotes(broken)
                .filter(|mutant| !mutants.contains(&format!("\"{mutant}\"")))
                .map(|mutant| format!("{name} is broken by {mutant}, which is no mutant")),
        );
    }
    report("each rule names its code and its mutants", &complaints);
}

#[test]
fn each_mutant_of_the_core_breaks_a_rule() {
    let page = page();
    let named: BTreeSet<&str> = page
        .split("*Broken by:*")
        .skip(1)
        .flat_map(|rest| in_backquotes(rest.split("\n\n").next().unwrap_or(rest)))
        .collect();
    let text = fs::read_to_string(root().join("sim/src/mutants/mod.rs")).expect("the mutants");
    let complaints: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("    ") && line.ends_with(';'))
        .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, name, _] if name.starts_with('"') => Some(name.trim_matches('"')),
            _ => None,
        })
        .filter(|name| !named.contains(name))
        .map(|name| format!("{name} is the planted bug of no rule"))
        .collect();
    report("each mutant of the core breaks a rule of the protocol", &complaints);
}

/// Cited rules, with those inside a range such as "REQ-1 to REQ-6".
fn cited_with_ranges(text: &str) -> BTreeSet<String> {
    let mut found = cited(text);
    for (first, rest) in text.match_indices(" to ").map(|(at, to)| (&text[..at], &text[at + to.len()..])) {
        let first = first.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next();
        let last = rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next();
        let Some(((family, first), (other, last))) =
            first.and_then(|name| name.split_once('-')).zip(last.and_then(|name| name.split_once('-')))
        else {
            continue;
        };
        if let (true, Ok(first), Ok(last)) = (family == other, first.parse::<u32>(), last.parse::<u32>()) {
            found.extend((first..=last).map(|number| format!("{family}-{number}")));
        }
    }
    found
}

#[test]
fn the_code_of_a_rule_cites_it() {
    let page = page();
    let mut complaints = Vec::new();
    for (name, text) in rules(&page) {
        let code = text.split_once("*Code:*").map_or("", |(_, code)| code);
        for path in in_backquotes(code.split("*Broken by:*").next().unwrap_or(code)) {
            let source = fs::read_to_string(root().join(path)).unwrap_or_default();
            if !cited_with_ranges(&source).contains(&name) {
                complaints.push(format!("{path} holds {name} and does not cite it"));
            }
        }
    }
    report("the code of a rule cites it", &complaints);
}
