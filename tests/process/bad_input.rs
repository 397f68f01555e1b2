//! Bad and odd requests over real sockets: each gets its documented answer in bounded time and changes nothing.
//!
//! "Nothing" is checked after each one: vector, digest of the store and rows of the view are what they were.

use crate::cluster::Cluster;
use hence_tests::client::{Connection, NoResponse, Response};
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// No bad request is worth a longer wait.
const BOUND: Duration = Duration::from_secs(2);
const DEPENDENCIES: &str = "Causal dependencies not satisfied; try again later";

/// What must come back.
pub(crate) enum Expect {
    /// This status with `{"error":TEXT}`.
    Error(u16, &'static str),
    /// This status with `{"error":...}` in words of the implementation's own.
    AnyError(u16),
    /// The same of a batch, with the index of the operation that is wrong.
    ErrorAt(u16, &'static str, u64),
    /// The same in words of the implementation's own.
    AnyErrorAt(u16, u64),
    /// One of these statuses, a bare one, and the connection closed; 0 stands for no answer at all.
    Bare(&'static [u16]),
    /// One answer after the other on one connection.
    Pipelined(&'static [u16]),
}

/// One request in raw bytes.
pub(crate) struct Bad {
    /// What is odd about it.
    pub(crate) name: String,
    /// What is sent; `finish` ends the sending side after it.
    pub(crate) bytes: Vec<u8>,
    /// Nothing more will come.
    pub(crate) finish: bool,
    /// What must come back.
    pub(crate) expect: Expect,
}

impl Bad {
    /// Raw bytes.
    pub(crate) fn raw(name: impl Into<String>, bytes: impl Into<Vec<u8>>, expect: Expect) -> Self {
        Self { name: name.into(), bytes: bytes.into(), finish: false, expect }
    }

    /// A request with a body.
    pub(crate) fn request(name: impl Into<String>, line: &str, body: impl AsRef<[u8]>, expect: Expect) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(name, bytes, expect)
    }

    /// A request with header lines and no body.
    pub(crate) fn headers(name: impl Into<String>, line: &str, headers: &str, expect: Expect) -> Self {
        Self::raw(name, format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"), expect)
    }

    /// The same, and then the sender falls silent for good.
    pub(crate) fn finished(mut self) -> Self {
        self.finish = true;
        self
    }
}

/// The table.
pub(crate) fn requests() {
    let cluster = Cluster::running("bad_input", 3);
    cluster.put(0, "present", "\"value\"", None, 201);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let mut table = json();
    table.extend(types_and_depth());
    table.extend(keys());
    table.extend(paths_and_methods());
    table.extend(bodies());
    table.extend(not_http());
    table.extend(headers());
    table.extend(view());
    send_all(&cluster, &table);
    assert!(table.len() >= 120, "only {} requests", table.len());
    println!("note: {} bad or odd requests", table.len());
}

/// Sends each to the first replica and compares its state with that before.
pub(crate) fn send_all(cluster: &Cluster, table: &[Bad]) {
    let before = cluster.state(0);
    let mut complaints = Vec::new();
    for bad in table {
        let start = Instant::now();
        // All complaints at once are worth more than the first alone.
        if std::panic::catch_unwind(AssertUnwindSafe(|| check(&cluster.address(0), bad))).is_err() {
            complaints.push(bad.name.as_str());
        }
        assert!(start.elapsed() < BOUND, "{}: took {:?}", bad.name, start.elapsed());
        assert_eq!(cluster.state(0), before, "{}: the state has changed", bad.name);
    }
    assert!(complaints.is_empty(), "{} of {}: {complaints:#?}", complaints.len(), table.len());
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
}

fn check(address: &str, bad: &Bad) {
    let mut connection = Connection::open(address).expect("the replica accepts connections");
    connection.timeout(BOUND).send(&bad.bytes);
    if bad.finish {
        connection.finish();
    }
    let head = bad.bytes.starts_with(b"HEAD ");
    match bad.expect {
        Expect::Error(status, text) => error(bad, &connection.receive(head), status, (Some(text), None)),
        Expect::AnyError(status) => error(bad, &connection.receive(head), status, (None, None)),
        Expect::ErrorAt(status, text, at) => error(bad, &connection.receive(head), status, (Some(text), Some(at))),
        Expect::AnyErrorAt(status, at) => error(bad, &connection.receive(head), status, (None, Some(at))),
        Expect::Bare(statuses) => {
            match connection.receive(head) {
                Ok(response) => assert!(statuses.contains(&response.status), "{}: {response:?}", bad.name),
                Err(NoResponse::Closed(bytes)) if bytes.is_empty() && statuses.contains(&0) => {}
                Err(other) => panic!("{}: {other:?}", bad.name),
            }
            let end = connection.receive(false);
            assert!(matches!(end, Err(NoResponse::Closed(_))), "{}: not closed: {end:?}", bad.name);
        }
        Expect::Pipelined(statuses) => {
            for &status in statuses {
                let response = connection.receive(head);
                assert_eq!(response.as_ref().map(|r| r.status), Ok(status), "{}: {response:?}", bad.name);
            }
        }
    }
}

/// Compares an answer with this status, these words and this index of an operation, where they are given.
fn error(bad: &Bad, response: &Result<Response, NoResponse>, status: u16, (text, index): (Option<&str>, Option<u64>)) {
    let response = response.as_ref().unwrap_or_else(|error| panic!("{}: {error:?}", bad.name));
    assert_eq!(response.status, status, "{}: {response:?}", bad.name);
    let json = response.json();
    let object = json.as_object().unwrap_or_else(|| panic!("{}: {json}", bad.name));
    let error = object.get("error").and_then(Value::as_str).unwrap_or_default();
    assert!(object.len() == 1 + usize::from(index.is_some()) && !error.is_empty(), "{}: {json}", bad.name);
    assert_eq!(object.get("index").and_then(Value::as_u64), index, "{}: {json}", bad.name);
    assert!(text.is_none_or(|text| text == error), "{}: {error}", bad.name);
    assert_eq!(response.header("content-type"), Some("application/json"), "{}: {response:?}", bad.name);
    assert_eq!(response.header("allow").is_some(), status == 405, "{}: {response:?}", bad.name);
}

fn json() -> Vec<Bad> {
    let broken = [
        "{",
        "}",
        "[",
        "\"",
        "{\"value\":1",
        "{\"value\":1}}",
        "{\"value\":1} {\"value\":2}",
        "{value:1}",
        "{'value':1}",
        "{\"value\":1,}",
        "{\"value\" 1}",
        "{\"value\":}",
        "{,}",
        "{\"value\":01}",
        "{\"value\":+1}",
        "{\"value\":.5}",
        "{\"value\":1.}",
        "{\"value\":1e}",
        "{\"value\":0x10}",
        "{\"value\":NaN}",
        "{\"value\":Infinity}",
        "{\"value\":-}",
        "{\"value\":tru}",
        "{\"value\":True}",
        "{\"value\":\"a}",
        "{\"value\":\"\\x\"}",
        "{\"value\":\"\\u12\"}",
        "{\"value\":\"a\nb\"}",
        "{\"value\":[1,]}",
        "{\"value\":[1 2]}",
        "{\"value\":{\"a\"}}",
        "// comment\n{\"value\":1}",
        "\u{feff}{\"value\":1}",
        "value=1",
        "<value>1</value>",
        "\0",
        " \n\t ",
    ];
    let mut table: Vec<Bad> = broken
        .iter()
        .map(|body| Bad::request(format!("broken {body:?}"), "PUT /kvs/bad", body, Expect::AnyError(400)))
        .collect();
    table.push(Bad::request("not UTF-8", "PUT /kvs/bad", b"{\"value\":\"\xff\xfe\"}", Expect::AnyError(400)));
    table.push(Bad::request("UTF-16", "PUT /kvs/bad", b"{\0\"\0v\0", Expect::AnyError(400)));
    let nothing = Expect::Error(404, "Key does not exist");
    table.push(Bad::request("unknown fields", "GET /kvs/bad", "{\"a\":1e999,\"b\":{\"a\":[]}}", nothing));
    table
}

fn types_and_depth() -> Vec<Bad> {
    let deep = |open: &str, close: &str| format!("{{\"value\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
    let mut table = Vec::new();
    for body in ["1", "\"text\"", "true", "null", "[]", "[{\"value\":1}]", "-0.0"] {
        table.push(Bad::request(format!("no object {body}"), "PUT /kvs/bad", body, Expect::AnyError(400)));
        table.push(Bad::request(format!("no object {body}, GET"), "GET /kvs/present", body, Expect::AnyError(400)));
    }
    for metadata in
        ["1", "true", "[]", "[\"a\"]", "{\"a\":1}", "18446744073709551617", "123456789012345678901234567890"]
    {
        let body = format!("{{\"value\":1,\"causal-metadata\":{metadata}}}");
        table.push(Bad::request(format!("metadata {metadata}"), "PUT /kvs/bad", body, Expect::AnyError(400)));
        let body = format!("{{\"causal-metadata\":{metadata}}}");
        table.push(Bad::request(
            format!("metadata {metadata}, DELETE"),
            "DELETE /kvs/present",
            body,
            Expect::AnyError(400),
        ));
    }
    for (name, body) in [
        ("arrays 10,000 deep", deep("[", "]")),
        ("objects 10,000 deep", deep("{\"a\":", "}")),
        ("arrays 10,000 deep, never closed", format!("{{\"value\":{}", "[".repeat(10_000))),
        ("129 deep", format!("{{\"value\":{}{}}}", "[".repeat(128), "]".repeat(128))),
        ("value twice", "{\"value\":1,\"value\":2}".into()),
        ("value twice, once null", "{\"value\":1,\"value\":null}".into()),
        ("metadata twice", "{\"value\":1,\"causal-metadata\":null,\"causal-metadata\":null}".into()),
        ("a name with escapes, twice", "{\"value\":1,\"\\u0076alue\":2}".into()),
        ("a lone surrogate in the metadata", "{\"value\":1,\"causal-metadata\":\"\\ud800\"}".into()),
    ] {
        table.push(Bad::request(name, "PUT /kvs/bad", body, Expect::AnyError(400)));
    }
    table
}

fn keys() -> Vec<Bad> {
    let put = |name: &str, key: String, expect| Bad::request(name, &format!("PUT /kvs/{key}"), "{\"value\":1}", expect);
    let get = |name: &str, key: String, expect| Bad::request(name, &format!("GET /kvs/{key}"), "", expect);
    let long = || Expect::Error(400, "Key is too long");
    let absent = || Expect::Error(404, "Key does not exist");
    vec![
        get("50 characters", "k".repeat(50), absent()),
        put("51 characters", "k".repeat(51), long()),
        get("51 characters, GET", "k".repeat(51), long()),
        Bad::request("51 characters, DELETE", &format!("DELETE /kvs/{}", "k".repeat(51)), "", long()),
        put("10,000 characters", "k".repeat(10_000), long()),
        get("50 encoded characters", "%6B".repeat(50), absent()),
        put("51 encoded characters", "%6B".repeat(51), long()),
        get("50 characters of two bytes", "%C3%A4".repeat(50), absent()),
        put("51 characters of two bytes", "%C3%A4".repeat(51), long()),
        get("50 characters of four bytes", "%F0%9F%98%80".repeat(50), absent()),
        put("51 characters of four bytes", "%F0%9F%98%80".repeat(51), long()),
        put("51 characters, one an encoded slash", format!("%2F{}", "k".repeat(50)), long()),
        get("an encoded slash", "a%2Fb".into(), absent()),
        get("an encoded null", "a%00b".into(), absent()),
        get("one dot", ".".into(), absent()),
        get("two dots", "..".into(), absent()),
        get("two encoded dots", "%2e%2e".into(), absent()),
        get("dot segments", "../kvs/present".into(), Expect::AnyError(404)),
        get("no key", String::new(), Expect::AnyError(404)),
        put("no key, PUT", String::new(), Expect::AnyError(404)),
        get("two segments", "a/b".into(), Expect::AnyError(404)),
        get("an empty second segment", "a/".into(), Expect::AnyError(404)),
        put("invalid UTF-8", "%FF".into(), Expect::AnyError(400)),
        put("a surrogate in UTF-8", "%ED%A0%80".into(), Expect::AnyError(400)),
        put("an overlong form in UTF-8", "%C0%AF".into(), Expect::AnyError(400)),
        put("half a character", "%C3".into(), Expect::AnyError(400)),
        put("a percent sign alone", "%".into(), Expect::AnyError(400)),
        put("one digit", "a%4".into(), Expect::AnyError(400)),
        put("no digits", "%zz".into(), Expect::AnyError(400)),
        get("a fragment mark, encoded", "a%23b".into(), absent()),
        get("siblings=maybe", "present?siblings=maybe".into(), Expect::AnyError(400)),
        get("an unknown parameter", "bad?color=red".into(), absent()),
    ]
}

fn paths_and_methods() -> Vec<Bad> {
    let mut table = Vec::new();
    for path in [
        "/",
        "/kvs/",
        "/KVS/present",
        "/kv/present",
        "//kvs/present",
        "/view/",
        "/views",
        "/healthz",
        "/metrics/x",
        "/favicon.ico",
    ] {
        table.push(Bad::request(format!("GET {path}"), &format!("GET {path}"), "", Expect::AnyError(404)));
    }
    for method in ["POST", "PATCH", "TRACE", "PROPFIND", "BREW", "get"] {
        let line = format!("{method} /kvs/present");
        table.push(Bad::request(line.clone(), &line, "{\"value\":1}", Expect::AnyError(405)));
    }
    for line in ["POST /view", "PATCH /view", "PUT /health", "DELETE /ready", "POST /metrics", "PUT /replica/state"] {
        table.push(Bad::request(line, line, "{\"socket-address\":\"127.0.0.9:1\"}", Expect::AnyError(405)));
    }
    table
}

fn bodies() -> Vec<Bad> {
    let chunked = |name: &str, line: &str, chunks: &str, expect| {
        let head = format!("{line} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        Bad::raw(name, format!("{head}{chunks}"), expect)
    };
    let lengths = |name: &str, lengths: &str, body: &str, expect| {
        Bad::raw(name, format!("PUT /kvs/bad HTTP/1.1\r\nHost: h\r\n{lengths}\r\n{body}"), expect)
    };
    let large = format!("{{\"value\":\"{}\"}}", "x".repeat(8 << 20));
    let endless_chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", 9 << 20, "x".repeat(9 << 20));
    let mut table = vec![
        Bad::request("a body over 8 MiB", "PUT /kvs/bad", large, Expect::AnyError(413)),
        lengths("a length over 8 MiB, no byte sent", "Content-Length: 8388609\r\n", "", Expect::AnyError(413)),
        lengths("a length of 2^63", "Content-Length: 9223372036854775808\r\n", "", Expect::AnyError(413)),
        lengths("a length of 2^64", "Content-Length: 18446744073709551616\r\n", "", Expect::Bare(&[400])),
        lengths("a length in words", "Content-Length: ten\r\n", "", Expect::Bare(&[400])),
        lengths("a negative length", "Content-Length: -1\r\n", "", Expect::Bare(&[400])),
        lengths("a length with a sign", "Content-Length: +11\r\n", "{\"value\":1}", Expect::Bare(&[400])),
        lengths("two lengths", "Content-Length: 11\r\nContent-Length: 12\r\n", "{\"value\":1}", Expect::Bare(&[400])),
        lengths("a length too short", "Content-Length: 5\r\n", "{\"value\":1}", Expect::AnyError(400)),
        lengths("a length too long, then silence", "Content-Length: 50\r\n", "{\"value\":1}", Expect::AnyError(400))
            .finished(),
        lengths("no body after its length", "Content-Length: 11\r\n", "", Expect::AnyError(400)).finished(),
        chunked("chunks over 8 MiB", "PUT /kvs/bad", &endless_chunks, Expect::AnyError(413)),
        chunked(
            "chunks of broken JSON",
            "PUT /kvs/bad",
            "5\r\n{\"val\r\n3\r\nue\"\r\n0\r\n\r\n",
            Expect::AnyError(400),
        ),
        chunked(
            "chunks of a GET",
            "GET /kvs/bad",
            "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            Expect::Error(404, "Key does not exist"),
        ),
        chunked("a chunk without a size", "PUT /kvs/bad", "zz\r\n{}\r\n0\r\n\r\n", Expect::AnyError(400)),
        chunked("a chunk size of 2^64", "PUT /kvs/bad", "10000000000000000\r\n", Expect::AnyError(400)),
        chunked("chunks that break off", "PUT /kvs/bad", "b\r\n{\"value\":1}\r\n", Expect::AnyError(400)).finished(),
    ];
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"broken\":1\r\n0\r\n\r\n";
    let bytes = format!("PUT /kvs/bad HTTP/1.1\r\nHost: h\r\n{both}");
    table.push(Bad::raw("a length and chunks", bytes, Expect::AnyError(400)));
    let gzip = "Transfer-Encoding: gzip\r\nContent-Length: 0\r\n";
    table.push(lengths("a transfer coding that is not known", gzip, "", Expect::Bare(&[400])));
    table
}

fn not_http() -> Vec<Bad> {
    let tls =
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\r\n\r\n";
    let head = |bytes: usize| format!("GET /kvs/bad HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n", "x".repeat(bytes));
    let many = format!("GET /kvs/bad HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(1_000));
    let get = |key: &str| format!("GET /kvs/{key} HTTP/1.1\r\nHost: h\r\n\r\n");
    let broken = "PUT /kvs/bad HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n{";
    vec![
        Bad::raw("TLS", tls.to_vec(), Expect::Bare(&[400])),
        Bad::raw("random bytes", (0..=255_u8).rev().collect::<Vec<u8>>(), Expect::Bare(&[400])),
        Bad::raw("an empty line, then nothing", b"\r\n".to_vec(), Expect::Bare(&[0])).finished(),
        Bad::raw("nothing at all", Vec::new(), Expect::Bare(&[0])).finished(),
        Bad::raw("half a request line", b"GET /kv".to_vec(), Expect::Bare(&[0])).finished(),
        Bad::raw("a request line in words", b"hello there\r\n\r\n".to_vec(), Expect::Bare(&[400])),
        Bad::raw("HTTP/3.0", b"GET / HTTP/3.0\r\n\r\n".to_vec(), Expect::Bare(&[400, 505])),
        Bad::raw("HTTP/0.9", b"GET /kvs/bad\r\n\r\n".to_vec(), Expect::Bare(&[400])),
        Bad::raw("HTTP/1.0", b"GET /kvs/bad HTTP/1.0\r\n\r\n".to_vec(), Expect::Bare(&[404])),
        Bad::raw(
            "HTTP/1.0, kept",
            b"GET /kvs/bad HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec(),
            Expect::Pipelined(&[404]),
        ),
        Bad::raw("HTTP/1.1 without a host", b"GET /kvs/bad HTTP/1.1\r\n\r\n".to_vec(), Expect::Pipelined(&[404])),
        Bad::raw("a space in a header's name", b"GET / HTTP/1.1\r\nX Y: z\r\n\r\n".to_vec(), Expect::Bare(&[400])),
        Bad::raw("a null in a header", b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n".to_vec(), Expect::Bare(&[400])),
        Bad::raw("a line without a colon", b"GET / HTTP/1.1\r\nnothing\r\n\r\n".to_vec(), Expect::Bare(&[400])),
        Bad::raw(
            "bytes above 127 in the path",
            b"GET /kvs/\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            Expect::Bare(&[400]),
        ),
        Bad::raw("a head under 16 KiB", head(15 << 10), Expect::Pipelined(&[404])),
        Bad::raw("a head over 16 KiB", head(17 << 10), Expect::Bare(&[431])),
        Bad::raw("a head of 1 MiB", head(1 << 20), Expect::Bare(&[431])),
        Bad::raw("a head without an end", "x".repeat(1 << 20), Expect::Bare(&[400, 431])),
        Bad::raw("a path of 20 KiB", get(&"k".repeat(20 << 10)), Expect::Bare(&[414, 431])),
        Bad::raw("a thousand header lines", many, Expect::Bare(&[431])),
        Bad::raw("pipelined", get("bad") + &get("present") + &get("worse"), Expect::Pipelined(&[404, 200, 404])),
        Bad::raw(
            "pipelined, one broken",
            format!("{}{broken}{}", get("bad"), get("present")),
            Expect::Pipelined(&[404, 400, 200]),
        ),
        Bad::raw(
            "pipelined, then garbage",
            format!("{}\x16\x03\x01\r\n\r\n", get("present")),
            Expect::Pipelined(&[200, 400]),
        ),
        Bad::raw(
            "an absolute target",
            b"GET http://h/kvs/bad HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            Expect::Pipelined(&[404]),
        ),
        Bad::raw("CONNECT", b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), Expect::Pipelined(&[404])),
    ]
}

fn headers() -> Vec<Bad> {
    let line = "GET /kvs/present";
    let mut table = Vec::new();
    for tags in ["unquoted", "\"open", "\"a\" \"b\"", "W/unquoted", "*, \"a\""] {
        let header = format!("If-None-Match: {tags}\r\n");
        table.push(Bad::headers(format!("entity tags {tags}"), line, &header, Expect::AnyError(400)));
    }
    for wish in ["wait", "wait=", "wait=-1", "wait=1.5", "wait=99999999999999999999", "=;,=", "wait=\"", "\u{1}"] {
        let header = format!("Prefer: {wish}\r\n");
        let expect = if wish == "\u{1}" { Expect::Bare(&[400]) } else { Expect::Pipelined(&[200]) };
        table.push(Bad::headers(format!("Prefer: {wish:?}"), line, &header, expect));
    }
    let put = "PUT /kvs/present";
    for concern in ["0", "-1", "1.5", "", "two", "majority, all", "1, 1", "2\r\nWrite-Concern: 2", "99", "\u{e4}"] {
        let header = format!("Write-Concern: {concern}\r\nPrefer: wait=x\r\nContent-Length: 11\r\n\r\n{{\"value\":1}}");
        let request = format!("{put} HTTP/1.1\r\nHost: h\r\n{header}");
        table.push(Bad::raw(format!("Write-Concern: {concern:?}"), request, Expect::AnyError(400)));
        let body = "{\"operations\":[{\"op\":\"put\",\"key\":\"present\",\"value\":1}]}";
        let header = format!("Write-Concern: {concern}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let request = format!("POST /kvs HTTP/1.1\r\nHost: h\r\n{header}");
        table.push(Bad::raw(format!("a batch, Write-Concern: {concern:?}"), request, Expect::AnyError(400)));
    }
    let unmet =
        "If-Match: \"0000000000000000-1\"\r\nContent-Length: 40\r\n\r\n{\"value\":123456789012345678901234567890}";
    table.push(Bad::raw(
        "a number of 30 digits, condition unmet",
        format!("{put} HTTP/1.1\r\nHost: h\r\n{unmet}"),
        Expect::Error(412, "Precondition failed"),
    ));
    table.push(Bad::headers("Expect", line, "Expect: 200-ok\r\n", Expect::Pipelined(&[200])));
    table.push(Bad::headers(
        "an upgrade to what is not spoken here",
        line,
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        Expect::Pipelined(&[200]),
    ));
    table
}

fn view() -> Vec<Bad> {
    let addresses = [
        "",
        "nonsense",
        "127.0.0.2",
        "127.0.0.2:",
        ":8090",
        "127.0.0.2:0",
        "127.0.0.2:65536",
        "127.0.0.2:8090 ",
        "127.0.0.2:8090,127.0.0.3:8090",
        "http://127.0.0.2:8090",
        "256.0.0.1:8090",
        "[::1:8090",
        "a b:1",
        "-a:1",
    ];
    let mut table = Vec::new();
    for address in addresses {
        for method in ["PUT", "DELETE"] {
            let body = format!("{{\"socket-address\":\"{address}\"}}");
            table.push(Bad::request(
                format!("{method} {address:?}"),
                &format!("{method} /view"),
                body,
                Expect::AnyError(400),
            ));
        }
    }
    let body = format!("{{\"socket-address\":\"{}:1\"}}", "a.".repeat(200));
    table.push(Bad::request("an address of 400 characters", "PUT /view", body, Expect::AnyError(400)));
    let twice = "{\"socket-address\":\"127.0.0.2:8090\",\"socket-address\":\"127.0.0.3:8090\"}";
    table.push(Bad::request("two addresses", "DELETE /view", twice, Expect::AnyError(400)));
    table
}

/// What a replica answers to metadata that it has not covered.
pub(crate) const NOT_COVERED: Expect = Expect::Error(503, DEPENDENCIES);
