//! HTTP as clients, proxies and scanners speak it, by the byte: what is sent is odd, not always wrong.
//!
//! Each gets the status that is documented, says how it may be cached, and changes nothing that it should not change.

use crate::bad_input::{Bad, Expect, send_all};
use crate::cluster::Cluster;
use hence_tests::client::{self, Connection, NoResponse, Response, request};
use hence_tests::replicas::Replicas;
use std::time::Duration;

const NO_STORE: (Option<&str>, Option<&str>) = (Some("no-store"), Some("causal-metadata, prefer"));

/// All of it, at a cluster of its own.
pub(crate) fn requests() {
    let cluster = Cluster::running("odd_http", 3);
    cluster.put(0, "present", "\"value\"", None, 201);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(5));
    let mut table = fragments();
    table.extend(codings());
    table.extend(methods_and_targets());
    table.extend(lengths());
    send_all(&cluster, &table);
    println!("note: {} odd requests", table.len());
    let before = cluster.state(0);
    let address = cluster.address(0);
    heads(&address);
    every_answer_forbids_caching(&address);
    preface(&address);
    proxies_headers(&address);
    expectations(&address);
    assert_eq!(cluster.state(0), before);
    written(&address);
}

fn raw(name: &str, lines: &str, expect: Expect) -> Bad {
    Bad::raw(name, lines.replace('\n', "\r\n"), expect)
}

/// A `#` is not part of a request target. Cut off there, `a#b` and `a` would be one key.
fn fragments() -> Vec<Bad> {
    const TEXT: &str = "path has a #, which would cut it off there; in a key it is written %23";
    let told = || Expect::Error(400, TEXT);
    let mut table: Vec<Bad> = [
        "GET /kvs/present#",
        "GET /kvs/present#x",
        "GET /kvs/present?siblings=true#x",
        "GET /kvs/#present",
        "GET /view#",
        "GET /health#/kvs/present",
        "GET http://h/kvs/present#x",
        "DELETE /kvs/present#x",
        "OPTIONS /kvs/present#x",
        "PUT /kvs/present#x#y",
    ]
    .into_iter()
    .map(|line| Bad::request(line, line, "{\"value\":1}", told()))
    .collect();
    let get = "GET /kvs/present HTTP/1.1\nHost: h\n\n";
    let cut = "GET /kvs/present#a HTTP/1.1\nHost: h\n\n";
    table.push(raw("between others", &[get, cut, get, cut].concat(), Expect::Pipelined(&[200, 400, 200, 400])));
    let body = "{\"a\":\"#\",\n\"b\":\"GET /kvs/present#a HTTP/1.1\"}";
    let with_body = format!("GET /kvs/present HTTP/1.1\nHost: h\nX: /#\nContent-Length: {}\n\n", body.len() + 1);
    table.push(raw("only in headers and body", &(with_body + body + get), Expect::Pipelined(&[200, 200])));
    let split = "GET /kvs/present HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n";
    // The text of a value, cut so that it stands there like a request line.
    let chunks = "7\n{\"a\":\"x\n1c\nGET /kvs/other#a HTTP/1.1\\n\"\n1\n}\n0\n\n";
    table.push(raw("in chunks like a request line", &format!("{split}{chunks}{get}"), Expect::Pipelined(&[200, 200])));
    table.push(raw("encoded", "GET /kvs/present%23x HTTP/1.1\nHost: h\n\n", Expect::AnyError(404)));
    table
}

fn codings() -> Vec<Bad> {
    let mut table = Vec::new();
    let body = "{\"value\":1}";
    for coding in
        ["gzip", "GZIP", "br", "deflate", "zstd", "compress", "aws-chunked", "identity, gzip", "gzip,gzip", "?"]
    {
        for line in
            ["PUT /kvs/present", "DELETE /kvs/present", "GET /kvs/present", "PUT /view", "POST /kvs", "GET /kvs"]
        {
            let head = format!("{line} HTTP/1.1\nHost: h\nContent-Encoding: {coding}\nContent-Length: 11\n\n{body}");
            table.push(raw(&format!("{line}, {coding}"), &head, Expect::AnyError(415)));
        }
    }
    let twice = format!("Content-Encoding: identity\nContent-Encoding: gzip\nContent-Length: 11\n\n{body}");
    table.push(raw("two lines", &format!("PUT /kvs/present HTTP/1.1\nHost: h\n{twice}"), Expect::AnyError(415)));
    let chunked = format!("Content-Encoding: gzip\nTransfer-Encoding: chunked\n\nb\n{body}\n0\n\n");
    table.push(raw("in chunks", &format!("PUT /kvs/present HTTP/1.1\nHost: h\n{chunked}"), Expect::AnyError(415)));
    for (name, coding) in [("before chunks", "gzip, chunked"), ("chunks twice", "chunked, chunked")] {
        let head = format!("PUT /kvs/present HTTP/1.1\nHost: h\nTransfer-Encoding: {coding}\n\nb\n{body}\n0\n\n");
        table.push(raw(name, &head, Expect::AnyError(501)));
    }
    for (name, bytes) in [("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice()), ("zstd", b"\x28\xb5\x2f\xfd\x20\x02{}")]
    {
        table.push(Bad::request(format!("{name} that is not announced"), "PUT /kvs/bad", bytes, Expect::AnyError(415)));
    }
    const MARK: &str = "body begins with a byte order mark; send JSON in UTF-8 without a byte order mark";
    for (name, bytes) in [
        ("UTF-8 with a mark", b"\xef\xbb\xbf{\"value\":1}".as_slice()),
        ("UTF-16 with a mark", b"\xff\xfe{\0}\0"),
        ("UTF-16 with a mark, high byte first", b"\xfe\xff\0{\0}"),
        ("UTF-32 with a mark", b"\xff\xfe\0\0{\0\0\0}\0\0\0"),
    ] {
        table.push(Bad::request(name, "PUT /kvs/present", bytes, Expect::Error(400, MARK)));
        table.push(Bad::request(format!("{name}, view"), "PUT /view", bytes, Expect::Error(400, MARK)));
        table.push(Bad::request(format!("{name}, batch"), "POST /kvs", bytes, Expect::Error(400, MARK)));
        table.push(Bad::request(format!("{name}, read"), "GET /kvs/present", bytes, Expect::Error(400, MARK)));
        table.push(Bad::request(format!("{name}, list"), "GET /kvs", bytes, Expect::Error(400, MARK)));
    }
    // Nothing there is encoded.
    let none = "GET /kvs/present HTTP/1.1\nHost: h\nContent-Encoding: gzip\n\n";
    table.push(raw("an encoding of nothing", none, Expect::Pipelined(&[200])));
    table
}

fn methods_and_targets() -> Vec<Bad> {
    let line = |line: &str, expect| raw(line, &format!("{line} HTTP/1.1\nHost: h\n\n"), expect);
    let mut table: Vec<Bad> =
        ["/kvs/a", "/kvs", "/view", "/health", "/ready", "/metrics", "/replica/state", "*", "http://h/view", "/ui"]
            .into_iter()
            .chain(["/openapi.json", "/kvs?prefix=a"])
            .map(|target| line(&format!("OPTIONS {target}"), Expect::Pipelined(&[204])))
            .collect();
    table.extend([
        line("OPTIONS /nothing", Expect::AnyError(404)),
        line("OPTIONS /kvs/", Expect::AnyError(404)),
        line("OPTIONS /kvs/%zz", Expect::AnyError(400)),
        line("GET *", Expect::AnyError(404)),
        line("GET /view/", Expect::AnyError(404)),
        line("GET /health/", Expect::AnyError(404)),
        line("GET http://h", Expect::AnyError(404)),
        line("GET http://elsewhere:1/kvs/present", Expect::Pipelined(&[200])),
        line("TRACE /kvs/present", Expect::AnyError(405)),
        line("CONNECT h:1", Expect::AnyError(404)),
        line("HEAD /replica/link", Expect::Pipelined(&[405])),
        line("OPTIONS /replica/link", Expect::AnyError(405)),
        raw(
            "OPTIONS with a body",
            "OPTIONS /kvs/a HTTP/1.1\nHost: h\nContent-Length: 2\n\n{}",
            Expect::Pipelined(&[204]),
        ),
        raw("two hosts", "GET /kvs/present HTTP/1.1\nHost: h\nHost: i\n\n", Expect::Pipelined(&[200])),
        raw("HTTP/1.0", "GET /kvs/present HTTP/1.0\n\n", Expect::Bare(&[200])),
        raw("HTTP/1.0 HEAD", "HEAD /kvs/present HTTP/1.0\n\n", Expect::Bare(&[200])),
        raw("HTTP/1.0 OPTIONS", "OPTIONS /kvs/present HTTP/1.0\n\n", Expect::Bare(&[204])),
        raw(
            "the last of its connection",
            "GET /kvs/present HTTP/1.1\nHost: h\nConnection: close\n\n",
            Expect::Bare(&[200]),
        ),
        raw("a part", "GET /kvs/present HTTP/1.1\nHost: h\nRange: bytes=0-1\n\n", Expect::Pipelined(&[200])),
        raw(
            "an old date",
            "GET /kvs/present HTTP/1.1\nHost: h\nIf-Modified-Since: Sat, 21 Nov 2026 07:39:31 GMT\n\n",
            Expect::Pipelined(&[200]),
        ),
        raw(
            "another method by header",
            "GET /kvs/present HTTP/1.1\nHost: h\nX-HTTP-Method-Override: DELETE\n\n",
            Expect::Pipelined(&[200]),
        ),
    ]);
    table
}

fn lengths() -> Vec<Bad> {
    let head =
        |name: &str, lines: &str, expect| raw(name, &format!("GET /kvs/present HTTP/1.1\nHost: h\n{lines}"), expect);
    vec![
        head("a length twice, the same", "Content-Length: 2\nContent-Length: 2\n\n{}", Expect::Pipelined(&[200])),
        head("a length as a list", "Content-Length: 2, 2\n\n{}", Expect::Bare(&[400])),
        head(
            "chunks and a length",
            "Transfer-Encoding: chunked\nContent-Length: 2\n\n2\n{}\n0\n\n",
            Expect::Pipelined(&[200]),
        ),
        head(
            "trailers",
            "Transfer-Encoding: chunked\nTrailer: X\n\n2\n{}\n0\nX: y\nCausal-Metadata: z\n\n",
            Expect::Pipelined(&[200]),
        ),
        head("an extension of a chunk", "Transfer-Encoding: chunked\n\n2;a=b\n{}\n0\n\n", Expect::Pipelined(&[200])),
        raw(
            "chunks in HTTP/1.0",
            "GET /kvs/present HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n",
            Expect::Bare(&[400]),
        ),
    ]
}

fn caching(response: &Response) -> (Option<&str>, Option<&str>) {
    (response.header("cache-control"), response.header("vary"))
}

/// HEAD is GET without the body, to the header.
fn heads(address: &str) {
    let compared = |response: &Response| {
        let kept = response.headers.iter().filter(|(name, _)| name != "date");
        (response.status, kept.cloned().collect::<Vec<_>>())
    };
    for (path, body) in [
        ("/kvs/present", None),
        ("/kvs/present?siblings=true", Some("{\"causal-metadata\":null}")),
        ("/kvs/absent", None),
        ("/kvs/present", Some("{")),
        ("/kvs/%zz", None),
        ("/view", None),
        ("/health", None),
        ("/ready", None),
        ("/replica/state", None),
        ("/nothing", None),
        ("/kvs", None),
        ("/kvs?prefix=pre&limit=1", Some("{\"causal-metadata\":null}")),
        ("/kvs?limit=0", None),
        ("/openapi.json", None),
        ("/ui", None),
    ] {
        let (get, head) = (request(address, "GET", path, &[], body), request(address, "HEAD", path, &[], body));
        assert_eq!(compared(&head), compared(&get), "{path}");
        assert!(head.header("content-length").is_some(), "{head:?}");
    }
    assert_eq!(request(address, "HEAD", "/metrics", &[], None).status, 200);
    let tag = request(address, "HEAD", "/kvs/present", &[], None).header("etag").expect("it is there").to_owned();
    let weak = [("If-None-Match", &*format!("W/{tag}"))];
    assert_eq!(request(address, "HEAD", "/kvs/present", &weak, None).status, 304);
}

fn every_answer_forbids_caching(address: &str) {
    let long = "k".repeat(51);
    let asked = [
        ("GET", "/kvs/present", None),
        ("GET", "/kvs/absent", None),
        ("GET", &*format!("/kvs/{long}"), None),
        ("PUT", "/kvs/present", Some("{")),
        ("PUT", "/view", Some("{}")),
        ("POST", "/kvs/present", None),
        ("OPTIONS", "/kvs/present", None),
        ("GET", "/view", None),
        ("GET", "/health", None),
        ("GET", "/ready", None),
        ("GET", "/metrics", None),
        ("GET", "/replica/state", None),
        ("GET", "/replica/link", None),
        ("GET", "/replica/other", None),
        ("GET", "/nothing", None),
        ("GET", "/kvs", None),
        ("GET", "/kvs?limit=0", None),
        ("POST", "/kvs", Some("{\"operations\":[{\"op\":\"get\",\"key\":\"present\"}]}")),
        ("POST", "/kvs", Some("[")),
        ("HEAD", "/kvs/present", None),
        ("DELETE", "/kvs/absent", None),
        ("GET", "/openapi.json", None),
        ("GET", "/ui", None),
    ];
    for (method, path, body) in asked {
        let response = request(address, method, path, &[], body);
        assert_eq!(caching(&response), NO_STORE, "{method} {path}: {response:?}");
    }
    let large = format!("{{\"value\":\"{}\"}}", "x".repeat(8 << 20));
    let response = request(address, "PUT", "/kvs/present", &[], Some(&large));
    assert_eq!((response.status, caching(&response)), (413, NO_STORE));
}

/// A client that takes HTTP/2 for granted is told, in the language that is spoken here.
fn preface(address: &str) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\xa0\0\0";
    for pieces in [vec![&preface[..]], preface.chunks(1).collect(), vec![&preface[..12], &preface[12..]]] {
        let mut connection = Connection::open(address).expect("the replica accepts connections");
        for piece in pieces {
            connection.send(piece);
        }
        let response = connection.receive(false).expect("an answer");
        assert_eq!((response.status, caching(&response)), (505, NO_STORE));
        assert_eq!(response.json()["error"], "HTTP/2 is not supported; use HTTP/1.1");
        assert!(matches!(connection.receive(false), Err(NoResponse::Closed(_))), "it is the last answer");
    }
}

/// What proxies add and clients wish for changes neither the answer nor its form.
fn proxies_headers(address: &str) {
    let plain = request(address, "GET", "/kvs/present", &[], None);
    for header in [
        ("Accept-Encoding", "gzip, br, zstd"),
        ("Accept-Encoding", "identity;q=0"),
        ("Accept", "text/html"),
        ("Accept-Charset", "utf-16"),
        ("Via", "1.1 proxy"),
        ("Forwarded", "for=192.0.2.1;host=elsewhere;proto=https"),
        ("X-Forwarded-For", "192.0.2.1, 192.0.2.2"),
        ("X-Forwarded-Prefix", "/prefix"),
        ("Cache-Control", "only-if-cached"),
        ("Upgrade-Insecure-Requests", "1"),
        ("TE", "trailers"),
        ("Connection", "keep-alive, X-Other"),
        ("Expect", "nothing"),
    ] {
        let answer = request(address, "GET", "/kvs/present", &[header], None);
        assert_eq!((answer.status, &answer.body), (200, &plain.body), "{header:?}");
        assert_eq!(answer.header("content-encoding"), None, "{header:?}");
    }
}

/// A client that asks before it sends a body hears what it wants to know, and no more.
fn expectations(address: &str) {
    let ask = |headers: &str| {
        let mut connection = Connection::open(address).expect("the replica accepts connections");
        let head = format!("GET /kvs/present HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n{headers}\r\n");
        connection.send(head.as_bytes());
        connection
    };
    let mut connection = ask("Content-Length: 2\r\n");
    assert_eq!(connection.receive(true).expect("an interim answer").status, 100);
    assert_eq!(connection.send(b"{}").receive(false).expect("an answer").status, 200);
    for (headers, status) in [
        ("Content-Length: 99999999\r\n", 413),
        ("Content-Length: 2\r\nContent-Encoding: gzip\r\n", 415),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
    ] {
        let answer = ask(headers).receive(false).expect("an answer");
        assert_eq!((answer.status, caching(&answer)), (status, NO_STORE), "{headers}");
    }
}

/// What is odd and still right is written as it was sent.
fn written(address: &str) {
    let value = "\"see /docs#part and GET /kvs/a#b HTTP/1.1\"";
    let body = format!("{{\"value\":{value}}}");
    let (first, second) = body.split_at(24);
    let chunks = format!("{:x}\r\n{first}\r\n{:x};x\r\n{second}\r\n0\r\nX: y\r\n\r\n", first.len(), second.len());
    for (headers, body) in [
        (format!("Content-Length: {}\r\nContent-Encoding: identity", body.len()), body.clone()),
        ("Transfer-Encoding: Chunked\r\nContent-Encoding: ".into(), chunks),
    ] {
        let mut connection = Connection::open(address).expect("the replica accepts connections");
        let head = format!("PUT http://h/kvs/odd HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
        connection.send((head + &body).as_bytes());
        let answer = connection.receive(false).expect("an answer");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        assert_eq!(client::get(address, "odd", None).json()["value"].to_string(), value);
        assert_eq!(client::delete(address, "odd", None).status, 200);
    }
}
