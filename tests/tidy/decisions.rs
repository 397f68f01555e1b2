//! Each decision has one form and stands in the index.

use super::{files, report, root};
use std::fs;

const FOLDER: &str = "docs/decisions/";
const PARTS: [&str; 3] = ["\n**Status.** ", "\n**Decision.** ", "\n**Why.** "];

#[test]
fn decisions_have_one_form_and_an_index() {
    let index = fs::read_to_string(root().join(FOLDER).join("README.md")).expect("the index of the decisions");
    let mut complaints = Vec::new();
    for (path, text) in files(&[".md"]) {
        let Some(file) = path.strip_prefix(FOLDER).filter(|file| *file != "README.md") else { continue };
        let number = file.split('-').next().unwrap_or_default();
        let Some(title) = text.lines().next().and_then(|head| head.strip_prefix(&format!("# {number}: "))) else {
            complaints.push(format!("{path} does not begin with \"# {number}: \" and a title"));
            continue;
        };
        if !index.contains(&format!("| [{number}]({file}) | {title} |")) {
            complaints.push(format!("{FOLDER}README.md lacks the line | [{number}]({file}) | {title} |"));
        }
        let places: Vec<_> = PARTS.iter().map(|part| text.find(part)).collect();
        if places.contains(&None) || !places.is_sorted() {
            complaints.push(format!("{path} lacks Status, Decision, Why in this order"));
        }
    }
    report("decisions have one form and stand in the index", &complaints);
}
