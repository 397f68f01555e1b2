//! Runs the tables in `tests/contract/*.json` over real HTTP.
//!
//! A table is a list of cases, a case a list of steps. A step sends a request and compares the answer to the byte.
//! `{{name}}` stands for text without quotes. In an expectation it is bound where it is new and compared where it is
//! not. In a request it is filled in. `{{*}}` matches and binds nothing. `{{a0}}`, `{{a1}}` and `{{a2}}` are the
//! replicas' addresses as views list them, and `{{nobody}}` is one where no process listens.
//!
//! `hence-sim contract` runs the same tables against any implementation; `why` and `beyond` are for it.

use crate::client::{self, Response};
use crate::replicas::Replicas;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Every table that needs no cut, by name.
pub const TABLES: [(&str, &str); 7] = [
    ("view", include_str!("../contract/view.json")),
    ("kvs", include_str!("../contract/kvs.json")),
    ("order", include_str!("../contract/order.json")),
    ("extensions", include_str!("../contract/extensions.json")),
    ("batches", include_str!("../contract/batches.json")),
    ("lists", include_str!("../contract/lists.json")),
    ("watches", include_str!("../contract/watches.json")),
];

/// The table of what holds while a replica is cut off.
pub const CUT: &str = include_str!("../contract/cut.json");

/// Three replicas that the tables are run against.
pub trait Stage: Replicas {
    /// Cuts a replica off from the others, which notice at once.
    fn cut(&self, at: usize);

    /// Undoes [`Self::cut`].
    fn heal(&self, at: usize);
}

type Variables = BTreeMap<String, String>;

/// Runs a table; says how many requests that were.
pub fn run(cluster: &impl Stage, table: &str, text: &str) -> usize {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap_or_else(|error| panic!("{table}.json: {error}"));
    let mut requests = 0;
    for case in &cases {
        let name = format!("{table}: {}", case["case"].as_str().expect("a case has a name"));
        let mut variables = addresses(cluster);
        // Deletes that leave the log move into every later token, so tokens can be compared only when it is empty.
        cluster.await_empty_logs(&[0, 1, 2], Duration::from_secs(10));
        for (number, step) in case["steps"].as_array().expect("a case has steps").iter().enumerate() {
            let step = step.as_object().expect("a step is an object");
            requests += usize::from(run_step(cluster, &format!("{name}, step {}", number + 1), step, &mut variables));
        }
    }
    requests
}

/// The names that a table has for the replicas, and for an address where no replica is.
fn addresses(cluster: &impl Stage) -> Variables {
    let replicas = (0..3).map(|at| (format!("a{at}"), cluster.member(at)));
    replicas.chain([("nobody".to_owned(), "127.0.0.9:8090".to_owned())]).collect()
}

/// Runs one step; says whether it was a request.
fn run_step(cluster: &impl Stage, name: &str, step: &Map<String, Value>, variables: &mut Variables) -> bool {
    const KNOWN: [&str; 10] =
        ["at", "beyond", "send", "headers", "body", "pad", "status", "reply", "reply-headers", "do"];
    step.keys().for_each(|key| assert!(KNOWN.contains(&key.as_str()), "{name}: unknown field {key}"));
    if let Some(action) = step.get("do") {
        act(cluster, action.as_str().expect("an action is text"));
        return false;
    }
    let at = step.get("at").and_then(Value::as_u64).unwrap_or(0) as usize;
    let response = send(cluster, at, step, variables);
    let what = format!("{name}: {} at {at} answered {} {:?}", step["send"], response.status, response.text());
    assert_eq!(u64::from(response.status), step["status"].as_u64().expect("a step expects a status"), "{what}");
    if let Some(reply) = step.get("reply") {
        compare(reply.as_str().expect("a reply is text"), response.text(), variables, &what);
        let json = response.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        assert!(json || response.body.is_empty(), "{what}: {:?}", response.headers);
    }
    for (header, expected) in step.get("reply-headers").and_then(Value::as_object).into_iter().flatten() {
        let what = format!("{what}: {header}");
        match (expected.as_str(), response.header(header)) {
            (None, None) => {}
            (Some(expected), Some(found)) => compare(expected, found, variables, &what),
            (expected, found) => panic!("{what}: expected {expected:?}, found {found:?} in {:?}", response.headers),
        }
    }
    true
}

fn send(cluster: &impl Stage, at: usize, step: &Map<String, Value>, variables: &Variables) -> Response {
    let (method, path) = step["send"].as_str().and_then(|text| text.split_once(' ')).expect("METHOD PATH");
    let headers = step.get("headers").and_then(Value::as_object).into_iter().flatten();
    let headers: Vec<(&str, String)> =
        headers.map(|(name, value)| (name.as_str(), fill(value.as_str().expect("text"), variables))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut body = step.get("body").map(|body| fill(body.as_str().expect("a body is text"), variables));
    if let Some(pad) = step.get("pad").and_then(Value::as_u64) {
        body.get_or_insert_default().push_str(&" ".repeat(pad as usize));
    }
    client::request(&cluster.address(at), method, &fill(path, variables), &headers, body.as_deref())
}

/// `cut N`, `heal N`, `settle`, `views N,N,...` (what every replica lists), `sleep MILLIS`.
fn act(cluster: &impl Stage, action: &str) {
    let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
    let numbers: Vec<usize> = rest.split(',').filter_map(|number| number.parse().ok()).collect();
    let limit = Duration::from_secs(10);
    match verb {
        "cut" => cluster.cut(numbers[0]),
        "heal" => cluster.heal(numbers[0]),
        "settle" => _ = cluster.await_settled(&[0, 1, 2], limit),
        "views" => _ = cluster.await_views(&[0, 1, 2], &numbers, limit),
        "sleep" => std::thread::sleep(Duration::from_millis(numbers[0] as u64)),
        _ => panic!("unknown action {action}"),
    }
}

fn fill(template: &str, variables: &Variables) -> String {
    let mut text = template.to_owned();
    for (name, value) in variables {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    assert!(!text.contains("{{"), "unbound name in {text}");
    text
}

fn compare(expected: &str, found: &str, variables: &mut Variables, what: &str) {
    let (mut template, mut rest) = (expected, found);
    let fail = || panic!("{what}\n  expected {expected}\n  found    {found}");
    while let Some((literal, after)) = template.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a name ends");
        rest = rest.strip_prefix(literal).unwrap_or_else(fail);
        let value = &rest[..end_of_text(rest)];
        if value.is_empty() {
            fail();
        }
        if name != "*" && variables.entry(name.to_owned()).or_insert_with(|| value.to_owned()) != value {
            fail();
        }
        (template, rest) = (after, &rest[value.len()..]);
    }
    if template != rest {
        fail();
    }
}

/// Where the text up to the next quote ends that no backslash precedes.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}
