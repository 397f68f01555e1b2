//! Bad and odd batches over real sockets: each gets its documented answer and changes nothing.

use crate::bad_input::{Bad, Expect, send_all};
use crate::cluster::Cluster;
use hence_tests::replicas::Replicas;
use std::time::Duration;

fn batch(name: &str, body: impl Into<String>, expect: Expect) -> Bad {
    Bad::request(name, "POST /kvs", body.into(), expect)
}

/// A batch of these operations.
fn of(name: &str, operations: &str, expect: Expect) -> Bad {
    batch(name, format!("{{\"operations\":[{operations}]}}"), expect)
}

/// The table.
pub(crate) fn batches() {
    let cluster = Cluster::running("bad_batches", 3);
    cluster.put(0, "present", "\"value\"", None, 201);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let mut table = lists();
    table.extend(operations());
    table.extend(conditions());
    send_all(&cluster, &table);
    assert!(table.len() >= 40, "only {} batches", table.len());
    println!("note: {} bad or odd batches", table.len());
}

fn lists() -> Vec<Bad> {
    const NONE: &str = "body has no field \"operations\" with a list";
    let put = "{\"op\":\"put\",\"key\":\"bad\",\"value\":1}";
    let many = |count| vec!["{\"op\":\"put\",\"key\":\"bad\",\"value\":1}"; count].join(",");
    let large = format!("{{\"op\":\"put\",\"key\":\"bad\",\"value\":\"{}\"}}", "x".repeat(64 << 10));
    let huge = format!("{{\"operations\":[{put}],\"x\":\"{}\"}}", "x".repeat(8 << 20));
    let mut table = vec![
        batch("no body", "", Expect::Error(400, NONE)),
        batch("no list", "{}", Expect::Error(400, NONE)),
        batch("null", "{\"operations\":null}", Expect::Error(400, NONE)),
        batch("an object", format!("{{\"operations\":{put}}}"), Expect::Error(400, NONE)),
        batch("a list alone", format!("[{put}]"), Expect::AnyError(400)),
        batch("two lists", format!("{{\"operations\":[{put}],\"operations\":[]}}"), Expect::AnyError(400)),
        batch("a list that breaks off", format!("{{\"operations\":[{put}"), Expect::AnyError(400)),
        batch("a list without commas", format!("{{\"operations\":[{put}{put}]}}"), Expect::AnyError(400)),
        batch("deep", format!("{{\"operations\":[{}]}}", "[".repeat(200)), Expect::AnyError(400)),
        batch("a body over 8 MiB", huge, Expect::AnyError(413)),
        of("an empty list", "", Expect::Error(400, "Batch has no operations")),
        of("65 operations", &many(65), Expect::Error(413, "Batch has too many operations; at most 64 are allowed")),
        of("a million", &vec!["0"; 1_000_000].join(","), Expect::AnyError(413)),
        of(
            "64 KiB and two bytes",
            &large,
            Expect::Error(413, "Values of the batch are too large; at most 65536 bytes are allowed"),
        ),
    ];
    let twice = |first: &str, second: &str| format!("{first},{{\"op\":\"get\",\"key\":\"bad\"}},{second}");
    let delete = "{\"op\":\"delete\",\"key\":\"b\\u0061d\"}";
    for (first, second) in [(put, put), (put, delete), (delete, put), (delete, delete)] {
        table.push(of("a key twice", &twice(first, second), Expect::ErrorAt(400, "Key is written twice", 2)));
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        table.push(Bad::request(method, &format!("{method} /kvs"), "{}", Expect::AnyError(405)));
    }
    table
}

fn operations() -> Vec<Bad> {
    const WORD: &str = "field \"op\" must be \"put\", \"delete\" or \"get\"";
    const KEY: &str = "field \"key\" must be a string of 1 to 50 characters";
    let second = |name: &str, fields: &str, text| {
        let operations = format!("{{\"op\":\"put\",\"key\":\"bad\",\"value\":1}},{fields}");
        of(name, &operations, Expect::ErrorAt(400, text, 1))
    };
    let long = format!("{{\"op\":\"get\",\"key\":\"{}\"}}", "k".repeat(51));
    let mut table: Vec<Bad> =
        ["", "\"op\":null,", "\"op\":1,", "\"op\":\"\",", "\"op\":\"Put\",", "\"op\":\"patch\",", "\"op\":[\"put\"],"]
            .iter()
            .map(|op| second("a word", &format!("{{{op}\"key\":\"x\",\"value\":1}}"), WORD))
            .collect();
    table.extend(
        ["", ",\"key\":null", ",\"key\":1", ",\"key\":\"\"", ",\"key\":[\"x\"]"]
            .iter()
            .map(|key| second("a key", &format!("{{\"op\":\"delete\"{key}}}"), KEY)),
    );
    table.push(second("a key of 51 characters", &long, "Key is too long"));
    for value in ["", ",\"value\":null", ",\"Value\":1"] {
        let put = format!("{{\"op\":\"put\",\"key\":\"x\"{value}}}");
        table.push(second("no value", &put, "PUT request does not specify a value"));
    }
    for other in [
        "1",
        "null",
        "[]",
        "\"get\"",
        "{\"op\":\"get\",\"key\":\"x\",\"key\":\"x\"}",
        "{\"op\":\"get\",\"key\":\"\\ud800\"}",
    ] {
        table.push(of("no operation", other, Expect::AnyErrorAt(400, 0)));
    }
    for value in ["01", "tru", "\"\\x\"", "{\"a\"}"] {
        let put = format!("{{\"op\":\"put\",\"key\":\"x\",\"value\":{value}}}");
        table.push(of("a broken value", &put, Expect::AnyError(400)));
    }
    table
}

fn conditions() -> Vec<Bad> {
    let with = |condition: &str| format!("{{\"op\":\"put\",\"key\":\"bad\",\"value\":1,{condition}}}");
    let mut table = Vec::new();
    for name in ["if-match", "if-none-match"] {
        for tag in ["1", "true", "\"\"", "\"x\"", "\"\\\"x\"", "[]", "{}"] {
            table.push(of("a condition", &with(&format!("\"{name}\":{tag}")), Expect::AnyErrorAt(400, 0)));
        }
    }
    table.push(of("unmet", &with("\"if-match\":\"*\""), Expect::ErrorAt(412, "Precondition failed", 0)));
    let body = format!("{{\"causal-metadata\":\"x\",\"operations\":[{}]}}", with("\"x\":1"));
    table.push(batch("damaged metadata", body, Expect::AnyError(400)));
    table
}
