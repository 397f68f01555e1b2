//! `server/src/http/openapi.json` says what the contract tables say: every route, method and status of theirs, and no other.

use hence_tests::tables::{CUT, TABLES};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../server/src/http/openapi.json");

/// What the document lists and no table asks for, and where it is tested.
const ELSEWHERE: &[(&str, &str)] = &[
    ("401", "access_scope_by_scope"),
    ("403", "access_scope_by_scope"),
    ("408", "slow_clients_are_ended"),
    ("413", "bad_requests_change_nothing"),
    ("415", "odd_http_is_answered"),
    ("501", "odd_http_is_answered"),
    ("400", "bad_requests_change_nothing"),
    ("202", "concern_of_three"),
    ("424", "lost_with_its_only_holder"),
    ("503", "cut_refused_twenty_times"),
    ("412", "bad_batches_change_nothing"),
];

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("it is JSON")
}

/// Route, method and status.
type Triple = (String, String, String);

/// The template of a path.
fn template(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    if path.strip_prefix("/kvs/").is_some_and(|key| !key.is_empty()) { "/kvs/{key}".into() } else { path.into() }
}

/// What the tables send and expect.
fn of_the_tables() -> BTreeSet<Triple> {
    let texts = TABLES.iter().map(|(_, text)| *text).chain([CUT]);
    let mut found = BTreeSet::new();
    for text in texts {
        let cases: Vec<Value> = serde_json::from_str(text).expect("a table is JSON");
        for step in cases.iter().flat_map(|case| case["steps"].as_array().expect("steps")) {
            let Some((method, path)) = step["send"].as_str().and_then(|send| send.split_once(' ')) else { continue };
            if path.starts_with("{{") {
                continue; // the next page of a list, whose path the answer before it named
            }
            found.insert((template(path), method.to_lowercase(), step["status"].to_string()));
        }
    }
    assert!(found.len() > 40, "only {} triples", found.len());
    found
}

/// What the document lists.
fn of_the_document() -> BTreeSet<Triple> {
    let document = document();
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in
            item.as_object().expect("an item").iter().filter(|(method, _)| *method != "parameters")
        {
            let statuses = operation["responses"].as_object().expect("responses").keys();
            found.extend(statuses.map(|status| (path.clone(), method.clone(), status.clone())));
        }
    }
    found
}

#[test]
fn it_lists_what_the_tables_ask_for() {
    let listed = of_the_document();
    let routes: BTreeSet<&String> = listed.iter().map(|(path, ..)| path).collect();
    let methods: BTreeSet<(&String, &String)> = listed.iter().map(|(path, method, _)| (path, method)).collect();
    let mut missing = Vec::new();
    for (path, method, status) in of_the_tables() {
        // A path or a method that does not exist is in no document.
        let exists = methods.contains(&(&path, &method));
        let expected = if routes.contains(&path) { "405" } else { "404" };
        let is_link = path == "/replica/link" || path == "*";
        if exists && !listed.contains(&(path.clone(), method.clone(), status.clone())) {
            missing.push(format!("{method} {path} is answered with {status}"));
        } else if !exists && status != expected && !is_link {
            missing.push(format!("{method} {path} exists: {status}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn it_lists_nothing_that_is_not_tested() {
    let tables = of_the_tables();
    let elsewhere: BTreeMap<&str, &str> = ELSEWHERE.iter().copied().collect();
    let process = include_str!("process/main.rs");
    for (status, test) in ELSEWHERE {
        assert!(process.contains(&format!("\"{test}\"")), "{status}: there is no test {test}");
    }
    let untested = of_the_document().into_iter().filter(|(path, method, status)| {
        // HEAD is as GET.
        let as_get = || method == "head" && tables.contains(&(path.clone(), "get".into(), status.clone()));
        let described = ["/replica/state", "/openapi.json", "/ui"].contains(&path.as_str()) || method == "options";
        let triple = (path.clone(), method.clone(), status.clone());
        !tables.contains(&triple) && !as_get() && !elsewhere.contains_key(status.as_str()) && !described
    });
    let untested: Vec<Triple> = untested.collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

#[test]
fn it_is_of_this_version_and_its_references_lead_somewhere() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut open = vec![&document];
    let mut count = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            count += 1;
        }
        open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    assert!(count > 50, "only {count} references");
    let routes = include_str!("../server/src/http/route.rs");
    for line in routes.lines().filter_map(|line| line.trim().strip_prefix("\"/")?.split_once("\" => Ok(")) {
        assert!(document["paths"].get(format!("/{}", line.0)).is_some(), "/{} is not described", line.0);
    }
}
