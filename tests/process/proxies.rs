//! The configurations of `docs/behind-a-proxy.md`, taken from that page, before three replicas.

use crate::cluster::Cluster;
use hence_core::{ClusterTag, Incarnation, Token, VersionVector};
use hence_tests::client::{self, Response, request};
use hence_tests::replicas::Replicas;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../docs/behind-a-proxy.md");
const PROXY: &str = "127.0.0.1:8000";
const LIMIT: Duration = Duration::from_secs(20);
const UNREACHED: Duration = Duration::from_secs(10);

/// The block of this language on the page, with addresses of this namespace.
fn configuration(language: &str) -> String {
    let start = format!("\n```{language}\n");
    let block = PAGE.split_once(&start).and_then(|(_, rest)| rest.split_once("```")).expect("the page has it").0;
    block
        .replace("10.10.0.", "127.0.0.")
        .replace("listen 80;", &format!("listen {PROXY};"))
        .replace("bind :80", &format!("bind {PROXY}"))
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    folder
}

/// A proxy that ends with the test.
struct Proxy(Child);

impl Proxy {
    /// Starts it and waits until it passes requests on.
    fn start(folder: &Path, program: &str, arguments: &[&str]) -> Self {
        let log = std::fs::File::create(folder.join("log")).expect("the directory was made");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("an open file")).stderr(log);
        let mut proxy = Self(command.spawn().expect("it is installed"));
        let start = Instant::now();
        while !client::try_get(PROXY, "nothing", None).is_ok_and(|answer| answer.status == 404) {
            let ended = proxy.0.try_wait().expect("it is our child");
            assert!(
                ended.is_none() && start.elapsed() < LIMIT,
                "{program} does not serve; its log is in {}",
                folder.display()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // What it started itself ends with this namespace, or with it.
        crate::cluster::signal(self.0.id(), "TERM");
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nginx(name: &str, servers: &str) -> Proxy {
    let folder = folder(name);
    let path = folder.display();
    // Without a user of its own, which a test need not have.
    let main = format!(
        "daemon off; user root; worker_processes 1; pid {path}/pid; error_log {path}/error.log;\nevents {{}}\n"
    );
    let places =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let http = format!("http {{\naccess_log off;\n{}\n{servers}\n}}\n", places.join("\n"));
    let file = folder.join("nginx.conf");
    std::fs::write(&file, main + &http).expect("the directory was made");
    Proxy::start(&folder, "nginx", &["-c", file.to_str().expect("a path of ours"), "-e", &format!("{path}/early.log")])
}

fn varnish(name: &str, program: &[&str]) -> Proxy {
    let folder = folder(name);
    let place = folder.join("work");
    let mut arguments =
        vec!["-F", "-j", "none", "-s", "malloc,64m", "-a", PROXY, "-n", place.to_str().expect("a path of ours")];
    arguments.extend(program);
    Proxy::start(&folder, "varnishd", &arguments)
}

pub(crate) fn behind_nginx() {
    let mut cluster = Cluster::running("behind_nginx", 3);
    let _proxy = nginx("nginx", &configuration("nginx"));
    passes_all_on(&cluster);
    withstands_a_kill(&mut cluster);
}

pub(crate) fn behind_haproxy() {
    let mut cluster = Cluster::running("behind_haproxy", 3);
    let folder = folder("haproxy");
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, configuration("haproxy")).expect("the directory was made");
    let _proxy = Proxy::start(&folder, "haproxy", &["-db", "-f", file.to_str().expect("a path of ours")]);
    passes_all_on(&cluster);
    withstands_a_kill(&mut cluster);
}

pub(crate) fn behind_varnish() {
    let mut cluster = Cluster::running("behind_varnish", 3);
    let file = folder("varnish_program").join("program.vcl");
    std::fs::write(&file, configuration("vcl")).expect("the directory was made");
    let room = PAGE.split_once("`varnishd ").and_then(|(_, rest)| rest.split_once(" ...`")).expect("the page has it").0;
    let program: Vec<&str> =
        ["-f", file.to_str().expect("a path of ours")].into_iter().chain(room.split(' ')).collect();
    let _proxy = varnish("varnish", &program);
    passes_all_on(&cluster);
    withstands_a_kill(&mut cluster);
}

/// Caches as they come: they keep nothing, so that own writes are read.
pub(crate) fn behind_varnish_as_it_comes() {
    let cluster = Cluster::running("behind_varnish_as_it_comes", 3);
    let _proxy = varnish("varnish_as_it_comes", &["-b", &cluster.address(0)]);
    own_writes_are_read();
}

pub(crate) fn behind_nginx_with_a_cache() {
    let cluster = Cluster::running("behind_nginx_with_a_cache", 3);
    let place = folder("nginx_cache_place");
    let zone = format!("proxy_cache_path {} keys_zone=all:1m;", place.display());
    let server = format!(
        "server {{ listen {PROXY}; location / {{ proxy_pass http://{}; proxy_cache all; proxy_cache_valid any 1h; }} }}",
        cluster.address(0)
    );
    let _proxy = nginx("nginx_with_a_cache", &format!("{zone}\n{server}"));
    own_writes_are_read();
}

/// One request through the proxy.
fn ask(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Response {
    request(PROXY, method, path, headers, body)
}

fn own_writes_are_read() {
    let mut token = String::new();
    for round in 0..50 {
        let body = format!("{{\"value\":{round},\"causal-metadata\":\"{token}\"}}");
        token = ask("PUT", "/kvs/own", &[], Some(&body)).token();
        for headers in [
            &[("Causal-Metadata", &*token), ("Prefer", "wait=5")][..],
            &[("Prefer", "wait=5"), ("Causal-Metadata", &token), ("Cache-Control", "max-stale")],
        ] {
            let answer = ask("GET", "/kvs/own", headers, None);
            assert_eq!((answer.status, answer.json()["value"].as_u64()), (200, Some(round)), "{answer:?}");
        }
    }
}

fn passes_all_on(cluster: &Cluster) {
    own_writes_are_read();
    keys(cluster);
    // A token in the body of a GET or DELETE arrives.
    for method in ["GET", "DELETE"] {
        let answer = ask(method, "/kvs/none", &[], Some("{\"causal-metadata\":\"damaged\"}"));
        assert_eq!((answer.status, answer.json()["error"].is_string()), (400, true), "{method}: {answer:?}");
    }
    tags();
    let large = format!("{{\"value\":\"{}\"}}", "x".repeat((8 << 20) - 100));
    let written = ask("PUT", "/kvs/large", &[], Some(&large));
    assert_eq!(written.status, 201);
    let token = written.token();
    let read = ask("GET", "/kvs/large", &[("Causal-Metadata", &token), ("Prefer", "wait=20")], None);
    assert_eq!((read.status, read.body.len() > 8_000_000), (200, true));
    let token = long_token();
    let answer = ask("GET", "/kvs/none", &[("Causal-Metadata", &token)], None);
    assert!(matches!(answer.status, 424 | 503), "{} bytes of token: {answer:?}", token.len());
    assert_eq!(answer.header("vary"), Some("causal-metadata, prefer"), "{answer:?}");
    assert_eq!(ask("OPTIONS", "/kvs/own", &[], None).status, 204);
    for path in ["/view", "/replica/state", "/replica/link", "/metrics", "/"] {
        assert_eq!(ask("GET", path, &[], None).status, 404, "{path}");
    }
}

/// Each names the same key through the proxy as at a replica.
fn keys(cluster: &Cluster) {
    for (at, key) in [
        "a%2Fb",
        "a%2fb%2Fc",
        "a%20b",
        "a+b",
        "a%2Bb",
        "a%25b",
        "%C3%A4",
        "a%3Fb%23c",
        "a%2F%2Fb",
        "a%2F..%2Fb",
        "~a'b(c)",
    ]
    .into_iter()
    .enumerate()
    {
        let (path, value) = (format!("/kvs/{key}"), format!("{{\"value\":{at}}}"));
        let token = ask("PUT", &path, &[], Some(&value)).token();
        let headers = [("Causal-Metadata", token.as_str()), ("Prefer", "wait=5")];
        for address in [PROXY, &cluster.address(1)] {
            let answer = request(address, "GET", &path, &headers, None);
            assert_eq!((answer.status, answer.json()["value"].as_u64()), (200, Some(at as u64)), "{key}: {answer:?}");
        }
    }
}

/// Entity tags come and go as they are.
fn tags() {
    let written = ask("PUT", "/kvs/tag", &[], Some("{\"value\":1}"));
    let (tag, token) = (written.header("etag").expect("a tag").to_owned(), written.token());
    let get = |condition: &str| {
        ask(
            "GET",
            "/kvs/tag",
            &[
                ("Causal-Metadata", &token),
                ("Prefer", "wait=5"),
                ("If-None-Match", condition),
                ("Accept-Encoding", "gzip"),
            ],
            None,
        )
    };
    assert_eq!(get("\"other\"").header("etag"), Some(&*tag));
    assert_eq!((get(&tag).status, get(&format!("W/{tag}")).status), (304, 304));
    let put = |condition: &str| {
        ask(
            "PUT",
            "/kvs/tag",
            &[("Causal-Metadata", &token), ("Prefer", "wait=5"), ("If-Match", condition)],
            Some("{\"value\":2}"),
        )
        .status
    };
    assert_eq!((put(&format!("W/{tag}")), put(&tag)), (412, 200));
    let head = ask("HEAD", "/kvs/tag", &[("Causal-Metadata", &token), ("Prefer", "wait=5")], None);
    assert!(head.status == 200 && head.header("etag").is_some(), "{head:?}");
}

/// As long as a token may be, of lives that never were.
fn long_token() -> String {
    let token = |incarnations: u64| {
        let entries = (1..=incarnations).map(|at| (Incarnation(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)), u64::MAX >> 8));
        Token(VersionVector::from_entries(entries)).encode(ClusterTag::of("hence"))
    };
    let longest = (1..2_000).map(token).take_while(|token| token.len() <= 8_192).last();
    longest.filter(|token| token.len() > 8_000).expect("a life takes a few bytes")
}

/// A replica is killed: after a moment all requests are served by the others.
fn withstands_a_kill(cluster: &mut Cluster) {
    cluster.kill(1);
    let start = Instant::now();
    let mut served = 0;
    while served < 60 {
        let answer = client::try_request(PROXY, "PUT", "/kvs/killed", &[], Some("{\"value\":1}"), LIMIT);
        served = if answer.is_ok_and(|answer| matches!(answer.status, 200 | 201)) { served + 1 } else { 0 };
        assert!(start.elapsed() < UNREACHED, "requests fail for {:?} after a kill", start.elapsed());
    }
    println!("note: all requests are served {:?} after a kill", start.elapsed());
    waits();
}

/// What the token names may still come back with the killed replica, so this is waited for to the end.
fn waits() {
    let token = Token(VersionVector::from_entries([(Incarnation(7 << 40), 1)])).encode(ClusterTag::of("hence"));
    let asked = Instant::now();
    let answer = ask("GET", "/kvs/none", &[("Causal-Metadata", &token), ("Prefer", "wait=6")], None);
    let waited = asked.elapsed();
    assert_eq!((answer.status, answer.header("preference-applied")), (503, Some("wait")), "{answer:?}");
    assert!((Duration::from_millis(5_900)..Duration::from_secs(8)).contains(&waited), "waited {waited:?}");
}
