//! Spans of traced requests go to a collector of the test's own, which may fail, hang or be away. No request waits for it.

use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const AT: &str = "127.0.0.99:4318";
const SETTLE: Duration = Duration::from_secs(15);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What the collector does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Fails,
    Hangs,
}

/// A collector that keeps all spans that it took.
struct Collector {
    spans: Arc<Mutex<Vec<Value>>>,
    mood: Arc<Mutex<Mood>>,
    /// Requests that it left hanging.
    hung: Arc<AtomicU64>,
}

impl Collector {
    fn start() -> Self {
        let mood = Arc::new(Mutex::new(Mood::Takes));
        let collector = Self { spans: Arc::default(), mood, hung: Arc::default() };
        let (spans, mood, count) = (collector.spans.clone(), collector.mood.clone(), collector.hung.clone());
        let listener = TcpListener::bind(AT).expect("nobody else is in this namespace");
        std::thread::spawn(move || {
            let mut hung = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                match *mood.lock().expect("no holder panics") {
                    Mood::Takes => take(stream, &spans),
                    Mood::Fails => _ = (&stream).write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
                    Mood::Hangs => {
                        hung.push(stream);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        collector
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no holder panics") = mood;
    }

    /// The spans with this parent.
    fn children(&self, parent: &str) -> Vec<Value> {
        let spans = self.spans.lock().expect("no holder panics");
        spans.iter().filter(|span| span["parentSpanId"] == parent).cloned().collect()
    }
}

/// Reads a request and keeps its spans.
fn take(stream: TcpStream, spans: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).expect("the replica writes") > 2 {
        head += &std::mem::take(&mut line).to_lowercase();
    }
    assert!(head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("application/json"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body).expect("the replica writes");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let of = &body["resourceSpans"][0];
    assert_eq!(of["resource"]["attributes"][0]["value"]["stringValue"], "hence", "{body}");
    let found = of["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    spans.lock().expect("no holder panics").extend(found);
    let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    let found = attributes.iter().find(|one| one["key"] == name).unwrap_or_else(|| panic!("{name} in {span}"));
    &found["value"]
}

fn nanos(span: &Value, what: &str) -> u64 {
    span[what].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{what} in {span}"))
}

/// Asks with this parent of the one trace. Says how long it took.
fn ask(cluster: &Cluster, method: &str, path: &str, parent: u64, flags: &str, body: Option<&str>) -> (u16, Duration) {
    let (begun, header) = (Instant::now(), format!("00-{TRACE}-{parent:016x}-{flags}"));
    let answer = client::request(&cluster.address(0), method, path, &[("Traceparent", &header)], body);
    (answer.status, begun.elapsed())
}

fn spans_of(cluster: &Cluster, event: &str) -> u64 {
    cluster.metric(0, &format!("hence_spans_total{{event=\"{event}\"}}"))
}

/// A write is a span of its request, and one for each member that has it. Reads have the first alone.
pub(crate) fn spans() {
    let collector = Collector::start();
    let cluster = Cluster::new("collected", 3).setting("HENCE_OTLP_ENDPOINT", &format!("http://{AT}")).run();
    let value = Some(r#"{"value":1}"#);
    assert_eq!(ask(&cluster, "PUT", "/kvs/x", 1, "01", value).0, 201);
    assert_eq!(ask(&cluster, "GET", "/kvs/x", 2, "01", None).0, 200);
    assert_eq!(ask(&cluster, "PUT", "/kvs/x", 3, "00", value).0, 200);
    let waits = [("Traceparent", &*format!("00-{TRACE}-{:016x}-01", 4)), ("Write-Concern", "all")];
    assert_eq!(client::request(&cluster.address(0), "PUT", "/kvs/x", &waits, value).status, 200);
    cluster.poll(SETTLE, "seven spans", || match spans_of(&cluster, "exported") {
        7 => Ok(()),
        other => Err(format!("{other}")),
    });
    for (parent, method, status, members) in [(1, "PUT", "201", 2), (2, "GET", "200", 0), (4, "PUT", "200", 2)] {
        let [span] = &collector.children(&format!("{parent:016x}"))[..] else { panic!("{parent} is not one span") };
        assert_eq!((&span["traceId"], &span["kind"]), (&TRACE.into(), &2.into()), "{span}");
        assert_eq!(span["name"], format!("{method} /kvs/{{key}}"));
        assert_eq!(attribute(span, "http.response.status_code")["intValue"], status);
        let replicated = collector.children(span["spanId"].as_str().expect("an id"));
        assert_eq!(replicated.len(), members, "{replicated:?}");
        let mut found: Vec<_> = replicated.iter().map(|span| &attribute(span, "hence.member")["stringValue"]).collect();
        found.sort_by_key(|member| member.to_string());
        assert_eq!(found, [1, 2].map(|at| cluster.address(at)).iter().take(members).collect::<Vec<_>>());
        for one in &replicated {
            assert_eq!((&one["name"], &one["traceId"]), (&"replicate".into(), &TRACE.into()), "{one}");
            let (from, to) = (nanos(one, "startTimeUnixNano"), nanos(one, "endTimeUnixNano"));
            assert_eq!(from, nanos(span, "startTimeUnixNano"), "{one}");
            assert!(to >= from && to - from < 5_000_000_000, "{one}");
        }
    }
    assert!(collector.children(&format!("{:016x}", 3)).is_empty(), "its client did not want it recorded");
}

/// Whatever becomes of the collector, requests are answered as fast as before, and what is lost is counted.
pub(crate) fn troubles() {
    let collector = Collector::start();
    let mut cluster =
        Cluster::new("collector_troubles", 1).setting("HENCE_OTLP_ENDPOINT", &format!("http://{AT}")).run();
    let value = Some(r#"{"value":1}"#);
    let load = |count: u64, what: &str| {
        let begun = Instant::now();
        let slowest = (1..=count).map(|number| ask(&cluster, "PUT", "/kvs/x", number, "01", value).1).max();
        let (slowest, took) = (slowest.unwrap_or_default(), begun.elapsed());
        println!("note: {what}: {count} requests in {took:?}, the slowest in {slowest:?}");
        assert!(slowest < Duration::from_millis(500), "{what}: {slowest:?}");
    };
    load(50, "a collector that takes");
    collector.set(Mood::Fails);
    load(50, "a collector that fails");
    cluster.poll(SETTLE, "failures to be counted", || match spans_of(&cluster, "failed") {
        0 => Err("none".into()),
        _ => Ok(()),
    });
    assert_eq!(spans_of(&cluster, "dropped"), 0);
    // The queue has a bound: what finds no room is dropped at once.
    collector.set(Mood::Hangs);
    cluster.poll(Duration::from_secs(60), "spans to be dropped", || {
        load(500, "a collector that hangs");
        let found = (collector.hung.load(Ordering::Relaxed), spans_of(&cluster, "dropped"));
        if found.0 > 0 && found.1 > 0 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    collector.set(Mood::Takes);
    let before = spans_of(&cluster, "exported");
    cluster.poll(SETTLE, "spans to be taken again", || {
        let more = spans_of(&cluster, "exported") - before;
        if more > 0 { Ok(()) } else { Err("none".into()) }
    });
    let warned = cluster.log(0).lines().filter(|line| line.contains("spans cannot be sent")).count();
    assert!((1..=3).contains(&warned), "{warned} lines");
    // What was traced last is sent before the process ends.
    ask(&cluster, "PUT", "/kvs/x", 77_777, "01", value);
    assert_eq!(cluster.terminate(0).code(), Some(0));
    assert_eq!(collector.children(&format!("{:016x}", 77_777)).len(), 1);
}
