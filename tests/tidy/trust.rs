//! `docs/trust.md` lists hostile peers and clients, each with its test. At least thirty of these tests are there.

use super::{files, report, root};
use std::collections::BTreeSet;
use std::fs;

const HOSTILE_MIN: usize = 30;

#[test]
fn every_hostile_peer_has_its_test() {
    let page = fs::read_to_string(root().join("docs/trust.md")).expect("a page of ours");
    let table = page.split("| a peer or a client that | test |").nth(1).expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|') || line.is_empty());
    let named: Vec<&str> = rows.filter_map(|row| row.rsplit_once("| `")?.1.strip_suffix("` |")).collect();
    let sources = files(&[".rs"]);
    let is_there = |name: &str| {
        let (function, process) = (format!("fn {name}("), format!("Test::new(\"{name}\","));
        sources.iter().any(|(_, text)| text.contains(&function) || text.contains(&process))
    };
    let missing: Vec<String> =
        named.iter().filter(|name| !is_there(name)).map(|name| format!("{name} is no test")).collect();
    report("docs/trust.md names tests that are there", &missing);
    let distinct: BTreeSet<_> = named.iter().collect();
    assert!(distinct.len() >= HOSTILE_MIN && distinct.len() == named.len(), "{} of {}", distinct.len(), named.len());
}
