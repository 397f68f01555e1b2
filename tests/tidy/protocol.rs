//! `docs/protocol.md` and the code name each other: every citation of a rule resolves, every rule names what is there.

use super::{files, read, report, root};
use hence_sim::mutants::Mutant;
use std::collections::BTreeSet;

const PAGE: &str = "docs/protocol.md";
const FAMILIES: [&str; 20] = [
    "ID", "REQ", "BATCH", "LIST", "WATCH", "CONCERN", "LINK", "FORMAT", "PUSH", "PULL", "PIECE", "LOG", "STATE",
    "VIEW", "JOIN", "FAIL", "RET", "LOST", "LIMIT", "INV",
];

fn page() -> String {
    read(PAGE)
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

const CODE: &str = "*Code:*";
const BROKEN_BY: &str = "*Broken by:*";
const TESTED_BY: &str = "*Tested by:*";
const NO_MUTANT: &str = "*No mutant:*";

/// What stands behind one of the labels of a rule, up to the next label or the end of the paragraph.
fn part<'a>(rule: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = rule.split("\n\n").next()?.split_once(label)?;
    let end = [CODE, BROKEN_BY, TESTED_BY, NO_MUTANT].iter().filter_map(|label| rest.find(label)).min();
    Some(&rest[..end.unwrap_or(rest.len())])
}

fn names<'a>(rule: &'a str, label: &str) -> Vec<&'a str> {
    part(rule, label).map_or_else(Vec::new, |part| in_backquotes(part).collect())
}

/// The name of each mutant of the core on the command line, and in the code.
fn mutants() -> Vec<(String, String)> {
    Mutant::ALL.iter().map(|mutant| (mutant.name().to_owned(), format!("{mutant:?}"))).collect()
}

/// Does a file of tests have this one? It is a function, or a row of the table of the tests on processes.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let is_test = |at: usize| {
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with(['#', '/']));
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    (0..lines.len()).any(|at| lines[at].contains(&function) && is_test(at))
        || text.contains(&format!("Test::new(\"{name}\""))
}

#[test]
fn each_rule_names_its_code_and_its_mutants() {
    let (page, mutants) = (page(), mutants());
    let mut complaints = Vec::new();
    for (name, text) in rules(&page) {
        let code = names(text, CODE);
        if code.is_empty() {
            complaints.push(format!("{name} names no file"));
        }
        let absent = code.into_iter().filter(|path| !root().join(path).exists());
        complaints.extend(absent.map(|path| format!("{name} names {path}, which is not there")));
        let broken = names(text, BROKEN_BY);
        match (broken.is_empty(), part(text, NO_MUTANT).is_some_and(|reason| reason.len() > 20)) {
            (true, false) => complaints.push(format!("{name} has no planted bug and says no reason")),
            (false, true) => complaints.push(format!("{name} has a planted bug and says why it has none")),
            (true, true) | (false, false) => {}
        }
        let unknown = broken.into_iter().filter(|mutant| !mutants.iter().any(|(name, _)| name == mutant));
        complaints.extend(unknown.map(|mutant| format!("{name} is broken by {mutant}, which is no mutant")));
    }
    report("each rule names its code and its mutants, or why it has none", &complaints);
}

/// What would fail if the rule were broken: a test as `file::name`, a transcript, a case.
#[test]
fn each_rule_names_its_tests() {
    let page = page();
    let mut complaints = Vec::new();
    for (name, text) in rules(&page) {
        let tests = names(text, TESTED_BY);
        if tests.is_empty() {
            complaints.push(format!("{name} names no test"));
        }
        let is_there = |test: &str| match test.split_once("::") {
            Some((path, function)) => root().join(path).is_file() && has_test(&read(path), function),
            None => root().join(test).is_file(),
        };
        complaints.extend(
            tests
                .into_iter()
                .filter(|test| !is_there(test))
                .map(|test| format!("{name} names {test}, which is not there")),
        );
    }
    report("each rule names tests that there are", &complaints);
}

/// A transcript or a directed case that convicts a planted bug is a test of a rule that the bug breaks.
#[test]
fn what_convicts_a_mutant_is_named_by_its_rule() {
    let (page, mutants) = (page(), mutants());
    let (golden, directed) = (read("tests/golden.rs"), read("sim/src/campaign/directed.rs"));
    let rows = golden.lines().chain(directed.lines()).filter(|line| line.trim_start().starts_with('('));
    let mut pairs = 0;
    let mut complaints = Vec::new();
    for row in rows {
        let kind = row.split_once("Mutant::").map(|(_, rest)| rest.split([',', ')']).next().unwrap_or_default());
        let (Some(kind), Some(file)) = (kind, row.split('"').nth(1)) else { continue };
        let file = if file.contains('/') { format!("campaign/{file}") } else { format!("tests/golden/{file}-") };
        pairs += 1;
        let mutant = mutants.iter().find(|(_, code)| code == kind).map_or(kind, |(name, _)| name.as_str());
        let names_both = |(_, rule): &(String, &str)| {
            names(rule, BROKEN_BY).contains(&mutant) && names(rule, TESTED_BY).iter().any(|test| test.contains(&file))
        };
        if !rules(&page).iter().any(names_both) {
            complaints.push(format!("no rule that {mutant} breaks names {file}"));
        }
    }
    assert!(pairs > 30, "only {pairs} pairs are read");
    report("what convicts a mutant is named by a rule that it breaks", &complaints);
}

#[test]
fn each_mutant_of_the_core_breaks_a_rule() {
    let (page, mutants) = (page(), mutants());
    assert!(mutants.len() > 50, "mutants are read: {mutants:?}");
    let named: BTreeSet<&str> = rules(&page).into_iter().flat_map(|(_, rule)| names(rule, BROKEN_BY)).collect();
    let without = mutants.iter().filter(|(name, _)| !named.contains(name.as_str()));
    let complaints: Vec<String> = without.map(|(name, _)| format!("{name} is the planted bug of no rule")).collect();
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
        for path in names(text, CODE) {
            if !root().join(path).is_file() || !cited_with_ranges(&read(path)).contains(&name) {
                complaints.push(format!("{path} holds {name} and does not cite it"));
            }
        }
    }
    report("the code of a rule cites it", &complaints);
}

/// The row of an invariant names the rules whose tests it is, and those whose planted bugs it convicts, and no other.
#[test]
fn an_invariant_names_the_rules_that_it_tests() {
    let page = page();
    let rules = rules(&page);
    let why = read("docs/why.md");
    let convicts = |invariant: &str, mutant: &str| {
        let row = page.lines().find(|line| line.contains(&format!("</a>{invariant} |"))).expect("its row");
        let called = in_backquotes(row).next().unwrap_or_default();
        why.lines().any(|line| line.starts_with(&format!("| `{mutant}` | {called}/")))
    };
    let tests = |invariant: &str| -> Vec<String> {
        let named = |rule: &str| {
            part(rule, TESTED_BY).is_some_and(|tests| cited(tests).contains(invariant))
                || names(rule, BROKEN_BY).into_iter().any(|mutant| convicts(invariant, mutant))
        };
        rules.iter().filter(|(_, rule)| named(rule)).map(|(name, _)| name.clone()).collect()
    };
    let mut complaints = Vec::new();
    for name in stated(&page).into_iter().filter(|name| name.starts_with("INV-")) {
        let row = page.lines().find(|line| line.contains(&format!("</a>{name} |"))).expect("its row");
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let links: Vec<String> =
            tests(&name).iter().map(|rule| format!("[{rule}](#{})", rule.to_lowercase())).collect();
        let wanted = if links.is_empty() { "all".to_owned() } else { links.join(", ") };
        if last != wanted {
            complaints.push(format!("{name} names {last} and tests {wanted}"));
        }
    }
    report("an invariant names the rules that it tests", &complaints);
}
