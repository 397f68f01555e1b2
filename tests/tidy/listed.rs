//! What is listed twice agrees: planted bugs and their table, kinds of events and where they are described and drawn.

use super::read;
use hence_sim::mutants::Mutant;
use hence_sim::oracle::verdict::Invariant;

/// How often `why` is right is measured over all planted bugs of the core.
#[test]
fn the_table_of_why_has_every_mutant_of_the_core() {
    let page = read("docs/why.md");
    let row = |mutant: &Mutant| format!("\n| `{}` |", mutant.name());
    let missing: Vec<&str> = Mutant::ALL.iter().filter(|it| !page.contains(&row(it))).map(|it| it.name()).collect();
    assert!(missing.is_empty(), "docs/why.md lacks: {missing:?}");
    let right = page.lines().filter(|line| line.starts_with("| `") && line.ends_with("| yes |")).count();
    let said = format!("named for {right} of {} bugs", Mutant::ALL.len());
    assert!(page.contains(&said), "docs/why.md does not say: {said}");
}

/// The kinds of events that a story can have: those of notes, but for the two that are facts of a message.
fn kinds() -> Vec<String> {
    let notes = read("sim/src/observe/notes.rs");
    let (_, list) = notes.split_once("pub const fn kind(").expect("the kinds of notes");
    let (list, _) = list.split_once("\n    }\n").expect("its end");
    let of = |line: &str| Some(line.trim().strip_prefix("Self::")?.split('"').nth(1)?.to_owned());
    let kinds = list.lines().filter_map(of).filter(|kind| kind != "held" && kind != "gone");
    kinds.chain(["refused".to_owned(), "violation".to_owned()]).collect()
}

#[test]
fn every_kind_of_event_is_described_and_drawn() {
    let (formats, data) = (read("docs/formats.md"), read("sim/src/observe/page/data.js"));
    let described = formats.lines().find(|line| line.starts_with("| `kind` | `started`")).expect("the row of kinds");
    let (_, drawn) = data.split_once("const GROUPS = {").expect("the groups of kinds");
    let (drawn, _) = drawn.split_once("};").expect("their end");
    let kinds = kinds();
    assert!(kinds.len() >= 17, "{kinds:?}");
    for kind in kinds {
        assert!(described.contains(&format!("`{kind}`")), "docs/formats.md does not describe {kind}");
        assert!(kind == "violation" || drawn.contains(&format!("\"{kind}\"")), "no group of the page has {kind}");
    }
}

/// A violation leads to an invariant of the protocol, and from there to the rules that it tests.
#[test]
fn a_violation_leads_to_the_rules_that_it_may_break() {
    let page = read("docs/protocol.md");
    for invariant in Invariant::ALL {
        let Some(number) = invariant.number() else { continue };
        let begins = format!("| <a id=\"inv-{number}\"></a>INV-{number} |");
        let row = page.lines().find(|line| line.starts_with(&begins)).unwrap_or_else(|| panic!("no row {begins}"));
        assert!(row.contains(&format!("| `{}` |", invariant.name())), "{invariant:?} is not called so in {row}");
        assert!(row.contains("](#"), "{invariant:?} leads to no rule");
    }
}
