//! The page of a history: the same page for what clients saw, without a look into replicas.
//!
//! Each operation is two events of its client. An arrow is a token that went on to another request, or a write that an
//! answer shows.

use super::page::{About, assembled};
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Counterexample, Report};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A page has so many operations. Of a longer history it has the clients and keys of the counterexample first.
const OPERATIONS_MAX: usize = 2_500;

/// The page of what clients saw, and of what is broken in it.
#[must_use]
pub fn history_page(history: &History, report: &Report, found: Option<&Counterexample>, about: &About) -> String {
    let blamed: BTreeSet<u64> =
        found.map(|found| found.history().operations().map(|operation| operation.id).collect()).unwrap_or_default();
    let shown = chosen(history, &blamed);
    let lanes: Vec<String> = {
        let names: BTreeSet<&str> = shown.iter().map(|operation| operation.client.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    };
    let events = events(&shown, &lanes, &names(found));
    let at = |id: u64, is_end: bool| events.iter().position(|event| event.id == id && event.is_end == is_end);
    let lit: Vec<usize> = (0..events.len()).filter(|&place| blamed.contains(&events[place].id)).collect();
    let blame = found.map(|found| {
        let (unseen, wrong) = unseen(found);
        let (missing, broken): (Vec<_>, Vec<_>) = (
            unseen.and_then(|id| at(id, false)).into_iter().collect(),
            wrong.and_then(|id| at(id, true)).into_iter().collect(),
        );
        json!({ "at": lit.last().copied().unwrap_or_default(), "say": sentences(found), "missing": missing, "lacks": true, "past": lit,
            "broken": broken, "bands": [] })
    });
    let carriages = carriages(&shown, &lanes, at);
    let sign = report.weakest_broken().map(|level| format!("{}: {}", level.name(), report.kind().unwrap_or("broken")));
    let lane_values: Vec<Value> = lanes.iter().map(|name| json!({ "name": name, "replica": false })).collect();
    let values: Vec<&Value> = events.iter().map(|event| &event.value).collect();
    let data = json!({ "title": about.title, "about": about.about, "subject": about.subject, "program": about.program,
        "replay": about.replay, "sign": sign, "lanes": lane_values, "events": values, "carriages": carriages,
        "bands": [], "blame": blame, "hidden": history.len() - shown.len() });
    assembled(&data, &about.title)
}

/// The last write of the key of the last read that the read does not show, and that read.
fn unseen(found: &Counterexample) -> (Option<u64>, Option<u64>) {
    let all: Vec<Operation> = found.history().operations().collect();
    let Some(read) = all.iter().rev().find(|operation| operation.action == Action::Get) else { return (None, None) };
    let shows = |write: &Operation| {
        write.value.is_some()
            && (write.value == read.value || read.siblings.iter().flatten().any(|it| Some(it) == write.value.as_ref()))
    };
    let is_unseen = |it: &&Operation| it.action != Action::Get && it.key == read.key && !shows(it);
    (all.iter().rev().find(is_unseen).map(|write| write.id), Some(read.id))
}

/// The operations that are shown, in the order of the history.
fn chosen(history: &History, blamed: &BTreeSet<u64>) -> Vec<Operation> {
    if history.len() <= OPERATIONS_MAX {
        return history.operations().collect();
    }
    let of_blame = history.operations().filter(|operation| blamed.contains(&operation.id));
    let (clients, keys): (BTreeSet<String>, BTreeSet<String>) =
        of_blame.map(|operation| (operation.client, operation.key)).unzip();
    let mut room = OPERATIONS_MAX.saturating_sub(blamed.len());
    let is_shown = |operation: &Operation| {
        let is_near = clients.is_empty() || clients.contains(&operation.client) && keys.contains(&operation.key);
        let takes = is_near && room > 0 && !blamed.contains(&operation.id);
        room -= usize::from(takes);
        takes || blamed.contains(&operation.id)
    };
    history.operations().filter(is_shown).collect()
}

struct Event {
    at: u64,
    id: u64,
    is_end: bool,
    value: Value,
}

/// Two events for each operation, by time; by place in the history where there are no times.
fn events(shown: &[Operation], lanes: &[String], names: &BTreeMap<u64, String>) -> Vec<Event> {
    let is_timed = shown.iter().all(|operation| operation.call_ns.is_some());
    let mut events = Vec::new();
    for (place, operation) in shown.iter().enumerate() {
        let lane = lanes.binary_search(&operation.client).unwrap_or_default();
        let untimed = 2 * place as u64;
        let called = if is_timed { operation.call_ns.unwrap_or_default() / 1_000 } else { untimed };
        let returned = if is_timed { operation.return_ns.map_or(called, |at| at / 1_000) } else { untimed + 1 };
        let tone = match operation.outcome {
            Outcome::Ok if operation.status < 500 => None,
            Outcome::Ok | Outcome::Fail => Some("refused"),
            Outcome::Unknown => Some("lost"),
        };
        for (at, is_end, text) in [(called, false, asked(operation)), (returned, true, answered(operation))] {
            let kind = if is_end { "answered" } else { "asked" };
            let name = names.get(&operation.id).map(|name| format!("{name}, ")).unwrap_or_default();
            let text = format!("{text} [{name}id {}]", operation.id);
            let mut value = json!({ "t": at, "l": lane, "k": kind, "x": text, "y": [operation.key] });
            if let Some(tone) = tone.filter(|_| is_end) {
                value["o"] = tone.into();
            }
            let token = if is_end { operation.token_out.clone() } else { operation.token_in.clone() };
            if let Some(token) = token {
                value["d"] = json!({ if is_end { "token that came back" } else { "token that was sent" }: token });
            }
            events.push(Event { at, id: operation.id, is_end, value });
        }
    }
    events.sort_by_key(|event| event.at);
    events
}

fn asked(operation: &Operation) -> String {
    let (key, place) = (&operation.key, &operation.replica);
    let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
    let what = match (operation.action, &operation.value) {
        (Action::Get, _) => format!("get {key}"),
        (Action::Put, Some(value)) => format!("put {key}={value}"),
        (Action::Put, None) => format!("put {key}"),
        (Action::Delete, _) => format!("delete {key}"),
    };
    format!("asks {what}{place}")
}

fn answered(operation: &Operation) -> String {
    let status = match (operation.outcome, operation.status) {
        (Outcome::Unknown, _) => return "learns nothing".into(),
        (Outcome::Fail, 0) => "nothing, it was not done".to_owned(),
        (Outcome::Ok | Outcome::Fail, status) => status.to_string(),
    };
    let shown = operation.siblings.clone().or_else(|| operation.value.clone().map(|value| vec![value]));
    let shown = shown.filter(|_| operation.action == Action::Get).map(|values| format!(" {}", values.join(" | ")));
    format!("gets {status}{}", shown.unwrap_or_default())
}

/// Tokens that went on to another client, and writes that another client's answer shows.
fn carriages(shown: &[Operation], lanes: &[String], at: impl Fn(u64, bool) -> Option<usize>) -> Vec<Value> {
    let lane = |operation: &Operation| lanes.binary_search(&operation.client).unwrap_or_default();
    let tokens: BTreeMap<&str, &Operation> =
        shown.iter().filter_map(|operation| Some((operation.token_out.as_deref()?, operation))).collect();
    let is_put = |operation: &&Operation| operation.action == Action::Put;
    let writes: BTreeMap<(&str, &str), &Operation> = shown
        .iter()
        .filter(is_put)
        .filter_map(|operation| Some(((operation.key.as_str(), operation.value.as_deref()?), operation)))
        .collect();
    let carriage = |name: &str, from: &Operation, is_end, to: &Operation, arrives_at_end| {
        let (sent, arrived) = (at(from.id, is_end)?, at(to.id, arrives_at_end)?);
        let is_other = from.client != to.client && sent < arrived;
        is_other.then(|| json!({ "i": from.id, "n": name, "f": lane(from), "t": lane(to), "s": sent, "a": [arrived] }))
    };
    let mut all = Vec::new();
    for operation in shown {
        let sent = operation.token_in.iter().chain(&operation.merged_from);
        let from = sent.filter_map(|token| tokens.get(token.as_str()));
        all.extend(from.filter_map(|from| carriage("token", from, true, operation, false)));
        if operation.action == Action::Get {
            let values = operation.siblings.iter().flatten().chain(&operation.value);
            let from = values.filter_map(|value| writes.get(&(operation.key.as_str(), value.as_str())));
            all.extend(from.filter_map(|from| carriage("write", from, false, operation, true)));
        }
    }
    all
}

/// What the checker tells, without the list of operations, which the page shows.
fn sentences(found: &Counterexample) -> Vec<String> {
    let told = found.prose();
    let lines = told.lines().filter(|line| !line.is_empty() && !line.starts_with(' '));
    let mut lines: Vec<String> = lines.map(|line| line.trim_end_matches(':').to_owned()).collect();
    if let Some(first) = lines.first_mut() {
        *first = format!("{}{}.", first[..1].to_uppercase(), &first[1..]);
    }
    lines
}

/// What the checker calls the operations of its counterexample, by their ids.
fn names(found: Option<&Counterexample>) -> BTreeMap<u64, String> {
    let told = found.map(Counterexample::prose).unwrap_or_default();
    let name = |line: &str| {
        let id = line.rsplit_once("[id ")?.1.trim_end_matches(']').parse().ok()?;
        Some((id, line.strip_prefix("  ")?.split_whitespace().next()?.to_owned()))
    };
    told.lines().filter_map(name).collect()
}
