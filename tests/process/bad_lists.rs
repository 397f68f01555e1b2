//! Bad and odd lists over real sockets: each gets its documented answer and changes nothing.

use crate::bad_input::{Bad, Expect, NOT_COVERED, send_all};
use crate::cluster::Cluster;
use hence_core::{ClusterTag, Incarnation, Token, VersionVector};
use hence_tests::replicas::Replicas;
use std::time::Duration;

fn list(name: &str, query: &str, expect: Expect) -> Bad {
    Bad::headers(name, &format!("GET /kvs{query}"), "", expect)
}

/// The table.
pub(crate) fn lists() {
    let cluster = Cluster::running("bad_lists", 3);
    cluster.put(0, "present", "\"value\"", None, 201);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let mut table = limits();
    table.extend(parameters());
    table.extend(requests());
    send_all(&cluster, &table);
    assert!(table.len() >= 45, "only {} lists", table.len());
    println!("note: {} bad or odd lists", table.len());
}

fn limits() -> Vec<Bad> {
    let bad = ["0", "1001", "1000000000", "-1", "1.0", "1e3", "0x10", "", "%20", "+1", "99999999999999999999", "all"];
    let mut table: Vec<Bad> =
        bad.iter().map(|limit| list("a limit", &format!("?limit={limit}"), Expect::AnyError(400))).collect();
    let text = "query parameter \"limit\" is \"0\"; it must be a number from 1 to 1000";
    table.push(list("no limit at all", "?limit=0", Expect::Error(400, text)));
    table
}

fn parameters() -> Vec<Bad> {
    const NOT_TEXT: &str = "query parameter \"prefix\" is not percent-encoded text in UTF-8";
    let mut table = Vec::new();
    for prefix in ["%", "%4", "%zz", "%ff", "%C3", "%ED%A0%80", "%F4%90%80%80", "a%", "%e4"] {
        table.push(list("a prefix", &format!("?prefix={prefix}"), Expect::Error(400, NOT_TEXT)));
    }
    for name in ["start", "end", "delimiter"] {
        table.push(list("no text", &format!("?{name}=%ff"), Expect::AnyError(400)));
        table.push(list("twice", &format!("?{name}=a&{name}=a"), Expect::AnyError(400)));
    }
    for name in ["reverse", "keys-only", "count-only"] {
        for value in ["", "1", "True", "yes", "true%20"] {
            table.push(list("a flag", &format!("?{name}={value}"), Expect::AnyError(400)));
        }
    }
    for unknown in ["x", "x=1", "Prefix=a", "siblings=true", "cursor=a", "=", "prefix%20=a", "next=1"] {
        table.push(list("an unknown parameter", &format!("?{unknown}"), Expect::AnyError(400)));
    }
    for token in ["x", "%20", "AVLZ", "null", "%22%22", "x.y"] {
        table.push(list("a bad cursor", &format!("?causal-metadata={token}"), Expect::AnyError(400)));
    }
    table.push(list("a target over the limit", &format!("?prefix={}", "a".repeat(17 << 10)), Expect::Bare(&[431])));
    table
}

fn requests() -> Vec<Bad> {
    let strange = VersionVector::from_entries([(Incarnation::new(3, 7), 1)]);
    let strange = Token(strange).encode(ClusterTag::of("hence"));
    let mut table = vec![
        list("writes that were never made", &format!("?causal-metadata={strange}"), NOT_COVERED),
        list(
            "another cluster's",
            &format!("?causal-metadata={}", Token(VersionVector::new()).encode(ClusterTag(1))),
            Expect::AnyError(400),
        ),
        Bad::request("a damaged token", "GET /kvs", "{\"causal-metadata\":\"x\"}", Expect::AnyError(400)),
        Bad::request("no JSON", "GET /kvs", "{", Expect::AnyError(400)),
        Bad::headers("a damaged header", "GET /kvs", "Causal-Metadata: x\r\n", Expect::AnyError(400)),
        list("a fragment", "?prefix=a#b", Expect::AnyError(400)),
        Bad::headers("a slash more", "GET /kvs/", "", Expect::AnyError(404)),
    ];
    for method in ["PUT", "DELETE", "PATCH", "TRACE"] {
        table.push(Bad::request(method, &format!("{method} /kvs?prefix=a"), "", Expect::AnyError(405)));
    }
    table
}
