//! Runs the contract's tables, the same that hence's own tests run to the byte, as far as they need nothing beyond the
//! contract.

use super::compare::{self, Names, fill};
use super::{Complaint, Rig};
use crate::console::{clock, nap};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The tables, and whether a table is beyond the contract as a whole.
const TABLES: [(&str, &str, bool); 7] = [
    ("view", include_str!("../../../../tests/contract/view.json"), false),
    ("kvs", include_str!("../../../../tests/contract/kvs.json"), false),
    ("order", include_str!("../../../../tests/contract/order.json"), false),
    ("extensions", include_str!("../../../../tests/contract/extensions.json"), true),
    ("batches", include_str!("../../../../tests/contract/batches.json"), true),
    ("lists", include_str!("../../../../tests/contract/lists.json"), true),
    ("watches", include_str!("../../../../tests/contract/watches.json"), true),
];

/// A case of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    case: String,
    #[serde(default)]
    beyond: bool,
    why: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Step {
    #[serde(default)]
    at: usize,
    #[serde(default)]
    beyond: bool,
    send: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    pad: Option<usize>,
    status: Option<u16>,
    reply: Option<String>,
    #[serde(default)]
    reply_headers: BTreeMap<String, Option<String>>,
    r#do: Option<String>,
}

/// A case that can be run.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Why a user of the store cares.
    pub(crate) why: String,
    beyond: bool,
    steps: Vec<Step>,
}

/// All cases of all tables.
pub(crate) fn cases() -> Vec<Case> {
    let table = |(table, text, beyond): (&str, &str, bool)| {
        let rows: Vec<Row> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{table}.json: {error}"));
        let case = |row: Row| Case {
            name: format!("{table}: {}", row.case),
            why: row.why.unwrap_or_else(|| "Who uses this extension relies on it.".into()),
            beyond: beyond || row.beyond,
            steps: row.steps,
        };
        rows.into_iter().map(case).collect::<Vec<_>>()
    };
    TABLES.into_iter().flat_map(table).collect()
}

impl Case {
    /// Why it is not run, if it is not.
    pub(crate) fn skipped(&self, rig: &Rig) -> Option<&'static str> {
        if self.beyond && !rig.extensions {
            return Some("beyond the contract; --extensions runs it");
        }
        let has_address = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains("{{a"));
        let needs_view = |step: &Step| has_address(&step.send) || has_address(&step.body) || has_address(&step.reply);
        let is_unknown = rig.addresses.is_none() && self.steps.iter().any(needs_view);
        is_unknown.then_some("the view lists addresses other than the URLs'; name them in order with --addresses")
    }

    /// The keys that it writes, as they stand in paths.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        let path = |step: &Step| step.send.as_ref().and_then(|send| send.strip_prefix("PUT ").map(str::to_owned));
        let key = |path: String| path.strip_prefix("/kvs/").map(|key| key.split('?').next().unwrap_or_default().into());
        self.steps.iter().filter_map(path).filter_map(key).collect()
    }

    /// Runs it up to the first step that goes wrong.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub(crate) fn run(&self, rig: &mut Rig) -> Result<usize, Complaint> {
        let mut names = rig.names();
        let mut requests = 0;
        let all = rig.extensions;
        for step in self.steps.iter().filter(|step| !step.beyond || all) {
            match &step.r#do {
                Some(action) => act(rig, action)?,
                None => {
                    requests += 1;
                    request(rig, step, &mut names)?;
                }
            }
        }
        Ok(requests)
    }
}

fn request(rig: &mut Rig, step: &Step, names: &mut Names) -> Result<(), Complaint> {
    let send = step.send.clone().unwrap_or_default();
    let (method, path) = send.split_once(' ').unwrap_or((&send, "/"));
    let headers: Vec<(&str, String)> =
        step.headers.iter().map(|(name, value)| (name.as_str(), fill(value, names))).collect();
    let mut body = step.body.as_ref().map(|body| fill(body, names));
    if let Some(pad) = step.pad {
        body.get_or_insert_default().push_str(&" ".repeat(pad));
    }
    let came = rig.ask(step.at, method, &fill(path, names), &headers, body.as_deref());
    let status = step.status.unwrap_or(0);
    let expected = format!("{status} {}", fill(step.reply.as_deref().unwrap_or_default(), names));
    let complain =
        |because: String| Complaint { sent: came.curl.clone(), expected: expected.clone(), came: came.text(), because };
    let answer = came.answer.as_ref().map_err(|error| complain(error.to_string()))?;
    if answer.status != status {
        return Err(complain(format!("the status is {} instead of {status}", answer.status)));
    }
    if let Some(reply) = &step.reply {
        compare::body(reply, &answer.body, names).map_err(complain)?;
    }
    // Every header but Allow is an extension.
    let checked = step.reply_headers.iter().filter(|(name, _)| rig.extensions || *name == "allow");
    for (name, expected) in checked {
        match (expected, answer.header(name)) {
            (None, None) => {}
            (None, Some(found)) => {
                return Err(complain(format!("the header {name} is {found:?} and must not be there")));
            }
            (Some(_), None) => return Err(complain(format!("the header {name} is missing"))),
            (Some(expected), Some(found)) => compare::header(name, expected, found, names).map_err(complain)?,
        }
    }
    Ok(())
}

/// `settle`, `views N,N,...` (what every replica lists), `sleep MILLIS`.
fn act(rig: &mut Rig, action: &str) -> Result<(), Complaint> {
    let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
    let numbers: Vec<usize> = rest.split(',').filter_map(|number| number.parse().ok()).collect();
    match verb {
        "views" => rig.await_views(&numbers),
        "sleep" => {
            nap(Duration::from_millis(numbers.first().copied().unwrap_or(0) as u64));
            Ok(())
        }
        _ => rig.settle(),
    }
}

/// Asks again and again until it is so, or time is up.
pub(crate) fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    let begun: Instant = clock();
    loop {
        if is_so() {
            return Some(begun.elapsed());
        }
        if begun.elapsed() > patience {
            return None;
        }
        nap(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_whole() {
        let cases = cases();
        assert!(cases.len() >= 25, "{}", cases.len());
        for step in cases.iter().flat_map(|case| &case.steps) {
            assert!(step.send.is_some() != step.r#do.is_some(), "{step:?}");
            assert!(step.send.is_none() || step.status.is_some(), "{step:?}");
            if let Some(reply) = step.reply.as_ref().filter(|reply| !reply.is_empty()) {
                serde_json::from_str::<serde_json::Value>(&reply.replace("-1.50E+400", "0")).expect(reply);
            }
        }
        let plain = cases.iter().filter(|case| !case.beyond);
        assert!(plain.clone().count() >= 18);
        plain.for_each(|case| assert!(case.why.len() > 20 && !case.why.contains("extension"), "{}", case.name));
    }
}
