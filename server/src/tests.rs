//! A real replica on a real socket, asked by a plain blocking client: what only shows when the parts run together.

use crate::{Cluster, Limits, Server, Settings};
use hence_core::{Address, ClusterTag, Incarnation, Token, VersionVector};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(20);

fn start(limits: Limits) -> Server {
    let mut settings = Settings::at(Address::parse("127.0.0.1:9").unwrap());
    // A member that is not there: alone, a replica would know at once that an unknown write is lost.
    settings.view.push(Address::parse("127.0.0.1:8").unwrap());
    settings.bind = Some("127.0.0.1:0".parse().unwrap());
    settings.limits = limits;
    let server = Server::start(settings).unwrap();
    until("it is up", || server.status().is_some_and(|status| status.ready));
    server
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends this and reads until the other side closes.
fn exchange(to: SocketAddr, request: &str) -> String {
    let mut stream = connect(to);
    stream.write_all(request.as_bytes()).unwrap();
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}");
    exchange(to, &format!("{head}content-length: {length}\r\n\r\n{body}"))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// A token that no replica ever gave out.
fn unknown() -> String {
    let vector = VersionVector::from_entries([(Incarnation::new(1, 77), 1)]);
    format!("causal-metadata: {}\r\n", Token(vector).encode(ClusterTag::of("hence")))
}

#[test]
fn a_value_comes_back_as_it_was_sent() {
    let server = start(Limits::default());
    let at = server.local_address();
    let large = format!("\"{}\"", "x".repeat(3_000_000));
    for value in ["1.50", "{ \"a\" : [ ] }", "\"\"", &large] {
        let body = format!("{{\"value\": {value} }}");
        assert!(matches!(status(&ask(at, "PUT", "/kvs/k", "", &body)), "200" | "201"));
        let answer = ask(at, "GET", "/kvs/k", "", "");
        assert!(answer.contains(&format!("\"value\":{value},\"causal-metadata\":\"")), "{}", &answer[..200]);
    }
    let metrics = ask(at, "GET", "/metrics", "", "");
    assert!(metrics.contains("hence_requests_total{route=\"/kvs/{key}\",method=\"GET\",status=\"200\"} 4"));
}

#[test]
fn a_client_that_waits_is_forgotten_when_it_goes() {
    let server = start(Limits::default());
    let at = server.local_address();
    let blocked = || server.status().unwrap().blocked;
    let request = format!("GET /kvs/k HTTP/1.1\r\nhost: a\r\nprefer: wait=25\r\n{}\r\n", unknown());
    let mut stream = connect(at);
    stream.write_all(request.as_bytes()).unwrap();
    until("it waits", || blocked() == 1);
    drop(stream);
    until("it is forgotten", || blocked() == 0);
    let started = Instant::now();
    let answer = ask(at, "GET", "/kvs/k", &format!("prefer: wait=1\r\n{}", unknown()), "");
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("preference-applied: wait") && answer.contains("retry-after: 1"), "{answer}");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn slow_clients_are_told_or_cut_off() {
    let short = Duration::from_millis(300);
    let server =
        start(Limits { head_time_max: short, body_time_max: short, idle_time_max: short, ..Limits::default() });
    let at = server.local_address();
    let answer = exchange(at, "PUT /kvs/k HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{");
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.ends_with("{\"error\":\"Body did not arrive in time\"}"), "{answer}");
    assert_eq!(exchange(at, "PUT /kvs/k HTT"), "");
    assert_eq!(exchange(at, ""), "");
    // An answer was given, and the connection closes once it has idled.
    assert_eq!(status(&exchange(at, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n")), "200");
}

#[test]
fn large_bodies_are_refused_and_the_refusal_arrives() {
    let server = start(Limits { body_bytes_max: 10_000, ..Limits::default() });
    let at = server.local_address();
    let body = "x".repeat(3_000_000);
    let refused = "{\"error\":\"Body is too large; at most 10000 bytes are allowed\"}";
    for _ in 0..10 {
        let answer = ask(at, "PUT", "/kvs/k", "", &body);
        assert!(status(&answer) == "413" && answer.ends_with(refused), "{answer}");
        let chunked =
            format!("PUT /kvs/k HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}", body.len());
        let answer = exchange(at, &chunked);
        assert!(status(&answer) == "413" && answer.ends_with(refused), "{answer}");
    }
}

#[test]
fn idle_connections_make_room_and_busy_ones_do_not() {
    let server = start(Limits { connections_max: 4, ..Limits::default() });
    let at = server.local_address();
    let idle: Vec<TcpStream> = (0..20).map(|_| connect(at)).collect();
    assert_eq!(status(&ask(at, "GET", "/health", "", "")), "200");
    drop(idle);
    let request = format!("GET /kvs/k HTTP/1.1\r\nhost: a\r\nprefer: wait=25\r\n{}\r\n", unknown());
    let busy: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = connect(at);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    until("all wait", || server.status().unwrap().blocked == 4);
    let answer = ask(at, "GET", "/view", "", "");
    assert!(status(&answer) == "503" && answer.contains("Too many connections"), "{answer}");
    // Health checks and peers are heard nevertheless; this one should ask for an upgrade.
    assert_eq!(status(&ask(at, "GET", "/health", "", "")), "200");
    assert_eq!(status(&ask(at, "GET", "/replica/link", "", "")), "426");
    drop(busy);
}

#[test]
fn a_shutdown_answers_who_waits_within_its_time() {
    let server = start(Limits::default());
    let at = server.local_address();
    let _idle = connect(at);
    let mut blocked = connect(at);
    let request = format!("GET /kvs/k HTTP/1.1\r\nhost: a\r\nprefer: wait=25\r\n{}\r\n", unknown());
    blocked.write_all(request.as_bytes()).unwrap();
    until("it waits", || server.status().unwrap().blocked == 1);
    let started = Instant::now();
    server.shutdown();
    assert!(started.elapsed() < Duration::from_secs(4));
    let answer = read(&mut blocked);
    assert!(answer.ends_with("{\"error\":\"Replica is not ready\"}"), "{answer}");
    assert!(TcpStream::connect(at).is_err());
}

/// Free ports as they are right now; a test takes them a moment later.
fn free_addresses(count: usize) -> Vec<Address> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |listener: &TcpListener| Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    listeners.iter().map(address).collect()
}

#[test]
fn an_embedded_cluster_is_cut_healed_killed_and_restarted() {
    let addresses = free_addresses(3);
    let settings = |address, view| Settings { view, ..Settings::at(address) };
    let mut cluster = Cluster::start(&addresses, settings).unwrap();
    let at = |name: usize| addresses[name].as_str().parse::<SocketAddr>().unwrap();
    let keys = |cluster: &Cluster, name: usize| cluster.members()[name].status().map(|status| status.keys);
    until("all are up", || cluster.members().iter().all(|one| one.status().is_some_and(|status| status.ready)));
    assert_eq!(status(&ask(at(0), "PUT", "/kvs/x", "", "{\"value\":1}")), "201");
    until("the write is everywhere", || (0..3).all(|name| keys(&cluster, name) == Some(1)));

    cluster.cut('b').unwrap();
    assert_eq!(status(&ask(at(0), "PUT", "/kvs/y", "", "{\"value\":1}")), "201");
    until("the write is where it can be", || keys(&cluster, 2) == Some(2));
    assert_eq!(status(&ask(at(1), "GET", "/kvs/y", "", "")), "404");
    cluster.heal('b').unwrap();
    until("the gap is repaired", || keys(&cluster, 1) == Some(2));

    cluster.kill('c').unwrap();
    assert!(cluster.members()[2].status().is_none() && cluster.kill('c').is_err());
    cluster.restart('c').unwrap();
    assert!(cluster.restart('c').is_err() && cluster.cut('d').is_err());
    until("it has all data again", || keys(&cluster, 2) == Some(2));
}
