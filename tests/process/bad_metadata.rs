//! Metadata that no honest client sends. It is cut at every length, changed in every character, of another version or
//! cluster, with a million entries, or from the future. It is refused and changes nothing.

use crate::bad_input::{Bad, Expect, NOT_COVERED, send_all};
use crate::cluster::Cluster;
use hence_core::{ClusterTag, Dot, Incarnation, Token, VersionVector};
use hence_tests::replicas::Replicas;
use std::time::Duration;

fn get(name: String, token: &str, expect: Expect) -> Bad {
    Bad::request(name, "GET /kvs/present", format!("{{\"causal-metadata\":\"{token}\"}}"), expect)
}

fn put(name: String, token: &str, expect: Expect) -> Bad {
    Bad::request(name, "PUT /kvs/present", format!("{{\"value\":0,\"causal-metadata\":\"{token}\"}}"), expect)
}

fn in_header(name: String, token: &str, expect: Expect) -> Bad {
    Bad::headers(name, "GET /kvs/present", &format!("Causal-Metadata: {token}\r\n"), expect)
}

/// The table.
pub(crate) fn requests() {
    let cluster = Cluster::running("bad_metadata", 3);
    let mut token = cluster.put(0, "present", "0", None, 201).token();
    for at in 1..3 {
        cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
        token = cluster.put(at, "present", "0", Some(&token), 200).token();
    }
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let known = Token::decode(&token, ClusterTag::of("hence"), 8_192).expect("what the cluster gave us");
    let mut table = damaged(&token);
    table.extend(foreign(&known));
    table.extend(from_the_future(&cluster, &known));
    table.extend(oversized());
    send_all(&cluster, &table);
    println!("note: {} requests with bad metadata; the token had {} characters", table.len(), token.len());
}

fn damaged(token: &str) -> Vec<Bad> {
    let mut table = Vec::new();
    for at in 1..token.len() {
        table.push(get(format!("cut at {at}"), &token[..at], Expect::AnyError(400)));
    }
    for at in 0..token.len() {
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut changed = token.to_owned();
        changed.replace_range(at..=at, other);
        let entry = if at % 2 == 0 { put } else { in_header };
        table.push(entry(format!("changed at {at}"), &changed, Expect::AnyError(400)));
    }
    for (name, text) in [
        ("padded", format!("{token}=")),
        ("doubled", format!("{token}{token}")),
        ("with a space before", format!(" {token}")),
        ("with a line end after", format!("{token}\\n")),
        ("in capitals", token.to_uppercase()),
        ("with a letter that is none", format!("{}ä", &token[1..])),
        ("a word", "null".into()),
    ] {
        table.push(get(name.into(), &text, Expect::AnyError(400)));
    }
    table
}

fn foreign(known: &Token) -> Vec<Bad> {
    let other = known.encode(ClusterTag::of("another"));
    let text = |version: u8| {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let mut bytes = engine.decode(known.encode(ClusterTag::of("hence"))).expect("just encoded");
        bytes.truncate(bytes.len() - 4);
        bytes[0] = version;
        let checksum = crc32fast::hash(&bytes).to_be_bytes();
        bytes.extend_from_slice(&checksum);
        engine.encode(bytes)
    };
    vec![
        get("of another cluster".into(), &other, Expect::Error(400, "causal-metadata comes from another cluster")),
        in_header("of another cluster, in the header".into(), &other, Expect::AnyError(400)),
        get("of version 0".into(), &text(0), Expect::AnyError(400)),
        get(
            "of version 2".into(),
            &text(2),
            Expect::Error(400, "causal-metadata has format version 2, which is not known"),
        ),
        put("of version 255".into(), &text(255), Expect::AnyError(400)),
    ]
}

fn from_the_future(cluster: &Cluster, known: &Token) -> Vec<Bad> {
    let encode = |vector: VersionVector| Token(vector).encode(ClusterTag::of("hence"));
    let own = Token::decode(&cluster.put(0, "own", "1", None, 201).token(), ClusterTag::of("hence"), 8_192);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let own = own.expect("what the replica gave us").0;
    // The entry that grew by the write just now is the replica's own.
    let (own, counter) = own.entries().find(|&(i, c)| known.0.counter(i) < c).expect("a write adds an event");
    let other = known.0.entries().map(|(i, _)| i).find(|&i| i != own).expect("three replicas wrote");
    let with = |incarnation: Incarnation, counter: u64| {
        let mut vector = known.0.clone();
        vector.join_dot(Dot { incarnation, counter });
        encode(vector)
    };
    vec![
        get("a write of its own that it never made".into(), &with(own, counter + 1), Expect::AnyError(400)),
        put("its own last possible write".into(), &with(own, u64::MAX), Expect::AnyError(400)),
        get("a peer's next write".into(), &with(other, known.0.counter(other) + 1_000), NOT_COVERED),
        put("a peer's last possible write".into(), &with(other, u64::MAX), NOT_COVERED),
        in_header("an incarnation nobody has heard of".into(), &with(Incarnation(7), 1), NOT_COVERED),
        get("the last possible life".into(), &with(Incarnation(u64::MAX), u64::MAX), NOT_COVERED),
    ]
}

fn oversized() -> Vec<Bad> {
    let of = |entries: u64| {
        let entries = (1..=entries).map(|n| (Incarnation(n << 40), 1));
        Token(VersionVector::from_entries(entries)).encode(ClusterTag::of("hence"))
    };
    vec![
        get("600 entries, which fit".into(), &of(600), NOT_COVERED),
        get("1,000 entries".into(), &of(1_000), Expect::AnyError(400)),
        put("100,000 entries".into(), &of(100_000), Expect::AnyError(400)),
        get("a million entries".into(), &of(1_000_000), Expect::AnyError(413)),
        in_header("1,000 entries in the header".into(), &of(1_000), Expect::AnyError(400)),
        in_header("10,000 entries in the header".into(), &of(10_000), Expect::Bare(&[431])),
    ]
}
