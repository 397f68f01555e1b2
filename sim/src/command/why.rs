//! `why`, and `mutants --why`: how often it names the step that it should.

use super::cases::{first, read, setting_of};
use super::sizes::first_failure;
use super::{Done, End, Lines, Problem, output};
use crate::campaign::case::Case;
use crate::campaign::run::{NamedSubject, Setting, run};
use crate::campaign::shrink::shrink;
use crate::mutants::Mutant;
use crate::observe::{Idle, seconds};
use crate::plan::Plan;
use crate::why::{self, truth};
use serde_json::{Value, json};
use std::path::Path;

/// At least so many of ten mutants are named.
const TENTHS_MIN: usize = 9;

pub(crate) fn why(path: &Path, (json, budget): (bool, u64), subjects: &[NamedSubject]) -> Done {
    let case = read(path, subjects)?;
    let setting = setting_of(&case, subjects)?;
    let why = why::why(&case.plan, &case.choices, setting, (Idle::Changing, budget));
    match why {
        None if json => output::text("{\"kind\":\"why\",\"violation\":null}\n"),
        None => say!("no promise is broken: the case passes"),
        Some(ref why) if json => output::text(&format!("{}\n", why.json())),
        Some(ref why) => why.sentences.iter().for_each(|sentence| say!("{sentence}")),
    }
    Ok(if why.is_some() { End::Violation } else { End::Clean })
}

pub(crate) fn accuracy(seeds: u64, only: Option<&str>, cases: Option<&Path>, lines: Lines) -> Done {
    if let Some(name) = only.filter(|&only| Mutant::named(only).is_none()) {
        return Err(Problem::from(format!("there is no mutant \"{name}\" of the core")));
    }
    lines.introduce();
    // As in docs/why.md, where the table of all mutants stands.
    say!("| mutant | failure | first decides otherwise | why names | right |\n|---|---|---|---|---|");
    let (mut right, mut asked) = (0, 0);
    for &mutant in Mutant::ALL.iter().filter(|mutant| only.is_none_or(|only| only == mutant.name())) {
        asked += 1;
        let case = match cases {
            Some(folder) => Some(read(&folder.join(format!("{}.json", mutant.name())), &[])?),
            None => small_failure(mutant, seeds),
        };
        match case {
            Some(case) => right += usize::from(is_named(mutant, &case, lines)),
            None => {
                say!("| `{}` | none in {seeds} seeds | | | **no** |", mutant.name());
                lines.add(|| row(mutant, None, [Value::Null, Value::Null], false));
            }
        }
        if output::is_lost() {
            return Ok(End::Nothing);
        }
    }
    say!(
        "\n{right} of {asked} mutants: the step that `why` names is the first that decides otherwise, or handles what it put out"
    );
    lines.add(|| json!({ "kind": "summary", "mutants": asked, "right": right }));
    Ok(if right * 10 >= asked * TENTHS_MIN { End::Clean } else { End::Violation })
}

/// The first failure of a mutant, made small.
fn small_failure(mutant: Mutant, seeds: u64) -> Option<Case> {
    let setting = Setting { mutant: Some(mutant), ..Setting::default() };
    let (_, plan, fingerprint) = first_failure(mutant, seeds)?;
    let same = |plan: &Plan| run(plan, setting).violation.is_some_and(|found| found.fingerprint() == fingerprint);
    let small = shrink(&plan, &mut |plans: &[Plan]| first(plans, &same), &mut |_, _| {});
    Case::of(&small, setting)
}

/// The line of a mutant: the step that first decides otherwise, and the one that `why` names.
fn row(mutant: Mutant, fingerprint: Option<&str>, [first, named]: [Value; 2], right: bool) -> Value {
    json!({ "kind": "named", "mutant": mutant.name(), "fingerprint": fingerprint, "first": first, "named": named,
        "right": right })
}

/// Prints one line of the table. Says whether the right step is named.
fn is_named(mutant: Mutant, case: &Case, lines: Lines) -> bool {
    let setting = Setting { mutant: Some(mutant), ..Setting::default() };
    let fingerprint = &case.fingerprint;
    let found = why::decided(&case.plan, &case.choices, setting);
    let (Some((story, named)), Some(truth)) = (found, truth::deviation(&case.plan, &case.choices, setting)) else {
        say!("| `{}` | {fingerprint} | it shows only in some runs | | **no** |", mutant.name());
        lines.add(|| row(mutant, Some(fingerprint), [Value::Null, Value::Null], false));
        return false;
    };
    let moment = &story.moments[named.moment];
    let right = truth.has(&story, moment);
    say!(
        "| `{}` | {fingerprint} | `{} {}: {}` | `{} {}: {}` | {} |",
        mutant.name(),
        seconds(truth.at),
        truth.lane,
        short(&truth.text),
        seconds(moment.at),
        moment.lane,
        short(&moment.text),
        if right { "yes" } else { "**no**" }
    );
    lines.add(|| {
        let first = json!({ "at": truth.at, "lane": truth.lane.to_string(), "text": truth.text });
        let named = json!({ "at": moment.at, "lane": moment.lane.to_string(), "text": moment.text });
        row(mutant, Some(fingerprint), [first, named], right)
    });
    right
}

/// A text for a cell of the table.
fn short(text: &str) -> String {
    let text = text.replace('|', "/");
    let text = text.trim_end();
    if text.chars().count() <= 48 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(47).collect::<String>())
    }
}
