//! The command line: wrong settings name themselves, help helps, signals end a replica in good order.

use crate::cluster::{Cluster, HENCE, signal};
use crate::lone::Lone;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(1);

fn hence(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(HENCE);
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
    let start = Instant::now();
    while child.try_wait().expect("it is our child").is_none() && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Where it has ended, this does nothing.
    let _ = child.kill();
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.code().is_some(), "{arguments:?} {environment:?} goes on and on");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Setting, wrong value, and what the complaint must name: the setting, the value and what is allowed.
const WRONG: &[(&str, &str, &[&str])] = &[
    ("SOCKET_ADDRESS", "nonsense", &["SOCKET_ADDRESS", "nonsense", "IP:PORT"]),
    ("SOCKET_ADDRESS", "127.0.0.2:0", &["SOCKET_ADDRESS", "127.0.0.2:0", "65535"]),
    ("SOCKET_ADDRESS", "127.0.0.2:70000", &["SOCKET_ADDRESS", "127.0.0.2:70000", "65535"]),
    ("VIEW", "127.0.0.2:8090,nonsense", &["VIEW", "nonsense", "IP:PORT"]),
    ("HENCE_BIND", "everywhere", &["HENCE_BIND", "everywhere"]),
    ("HENCE_HEAD_BYTES_MAX", "7KiB", &["HENCE_HEAD_BYTES_MAX", "7KiB", "8KiB", "1MiB"]),
    ("HENCE_BODY_BYTES_MAX", "1TB", &["HENCE_BODY_BYTES_MAX", "1TB", "1KiB"]),
    ("HENCE_NESTING_MAX", "0", &["HENCE_NESTING_MAX", "0", "1"]),
    ("HENCE_CONNECTIONS_MAX", "many", &["HENCE_CONNECTIONS_MAX", "many", "1000000"]),
    ("HENCE_HEAD_TIME_MAX", "10", &["HENCE_HEAD_TIME_MAX", "\"10\"", "100ms"]),
    ("HENCE_HEARTBEAT_INTERVAL", "1ms", &["HENCE_HEARTBEAT_INTERVAL", "1ms", "10ms", "10s"]),
    ("HENCE_REPAIR_DELAY", "-1s", &["HENCE_REPAIR_DELAY", "-1s", "0"]),
    ("HENCE_LATE_MAX", "0", &["HENCE_LATE_MAX", "1ms"]),
    ("HENCE_SUSPECT_AFTER_MIN", "9s", &["HENCE_SUSPECT_AFTER_MIN", "9s", "4s"]),
    (
        "HENCE_HEARTBEAT_INTERVAL",
        "10s",
        &["HENCE_HEARTBEAT_INTERVAL", "10s", "shorter", "HENCE_SUSPECT_AFTER_MIN", "3s"],
    ),
    ("HENCE_HEARTBEAT_INTERVAL", "3s", &["HENCE_HEARTBEAT_INTERVAL", "shorter", "HENCE_SUSPECT_AFTER_MIN"]),
    ("HENCE_SUSPECT_AFTER_MIN", "150ms", &["HENCE_HEARTBEAT_INTERVAL", "200ms", "shorter", "150ms"]),
    ("HENCE_LATE_MAX", "500", &["HENCE_LATE_MAX", "\"500\"", "unit", "ms, s, m"]),
    ("HENCE_LATE_MAX", "5parsecs", &["HENCE_LATE_MAX", "\"parsecs\" is not a known unit"]),
    ("HENCE_BODY_BYTES_MAX", "1MB", &["HENCE_BODY_BYTES_MAX", "\"MB\" is not a known unit", "KiB, MiB, GiB"]),
    ("HENCE_BIND", "0.0.0.0:0", &["HENCE_BIND", "0.0.0.0:0"]),
    ("HENCE_CORS_ORIGINS", "http://a.test/x", &["HENCE_CORS_ORIGINS", "http://a.test/x", "https://shop.example:8443"]),
    ("HENCE_COOKIE", "a;b", &["HENCE_COOKIE", "a;b", "letters"]),
    ("HENCE_LOG", "loud", &["HENCE_LOG", "loud", "error, warn, info, debug"]),
    ("HENCE_LOG_FORMAT", "xml", &["log-format", "xml", "json"]),
];

/// Help for newcomers, and exit code 2 with the setting's name for whatever is wrong.
pub(crate) fn settings() {
    let commands = ["serve", "up", "health", "get", "put", "del", "batch", "view", "status"];
    let helps = commands.map(|command| [command, "--help"]);
    for arguments in [&["--help"][..]].into_iter().chain(helps.iter().map(|help| &help[..])) {
        let output = hence(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let help = text(&output.stdout);
        assert!(help.contains("Usage: hence") && help.len() > 200, "{arguments:?}: {help}");
        let codes = help.split("Exit codes:\n").nth(1).unwrap_or_else(|| panic!("{arguments:?}: {help}"));
        for code in ["  0  ", "  1  ", "  2  "] {
            assert!(codes.lines().any(|line| line.starts_with(code)), "{arguments:?}, {code}: {codes}");
        }
    }
    let help = text(&hence(&["serve", "--help"], &[]).stdout);
    for name in ["SOCKET_ADDRESS", "VIEW", "CLUSTER", "HENCE_LOG", "HENCE_REPAIR_DELAY", "HENCE_BODY_BYTES_MAX"] {
        assert!(help.contains(name), "help does not mention {name}");
    }
    for &(name, value, named) in WRONG {
        let mut environment = vec![("SOCKET_ADDRESS", "127.0.0.2:8090"), ("VIEW", "127.0.0.2:8090")];
        environment.retain(|(other, _)| *other != name);
        environment.push((name, value));
        let output = hence(&["serve"], &environment);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {complaint}");
        for word in named {
            assert!(complaint.contains(word), "{name}={value}: no {word} in {complaint}");
        }
    }
    for arguments in [&[] as &[&str], &["serve"], &["dance"], &["serve", "--color", "red"], &["up", "0"], &["up", "27"]]
    {
        let output = hence(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
    let missing = text(&hence(&["serve"], &[]).stderr);
    assert!(missing.contains("socket-address"), "{missing}");
    let version = text(&hence(&["--version"], &[]).stdout);
    let build = format!("hence {} (commit {})\n", env!("CARGO_PKG_VERSION"), env!("HENCE_BUILT_FROM"));
    assert_eq!(version, build);
    occupied();
}

/// An address that is taken is named, and the exit code is not that of a wrong setting.
fn occupied() {
    let _taken = std::net::TcpListener::bind("127.0.0.2:8091").expect("nobody else is in this namespace");
    let output = hence(&["serve"], &[("SOCKET_ADDRESS", "127.0.0.2:8091")]);
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("127.0.0.2:8091"), "{complaint}");
}

/// A variable that looks like a setting and is none is named at the start, with the setting that it resembles.
pub(crate) fn variables() {
    let own = "127.0.0.2:8090";
    let variables = [
        ("SOCKET_ADDRESS", own),
        ("HENCE_REPAIR_DELY", "1s"),
        ("HENCE_BODY_MAX_BYTES", "1MiB"),
        ("HENCE_COLOUR", "red"),
        ("HENCE_LOG", "info"),
        ("HENCE_UP_PORT", "9000"),
        ("HENCE_SERVICE_HOST", "10.0.0.1"),
        ("HENCE_PORT_8090_TCP_ADDR", "10.0.0.1"),
    ];
    let replica = Lone::start("variables", own, &variables);
    replica.await_line(&["replica started"], TIMEOUT * 5);
    replica.await_line(&["WARN", "HENCE_REPAIR_DELY", "HENCE_REPAIR_DELAY"], TIMEOUT);
    replica.await_line(&["WARN", "HENCE_BODY_MAX_BYTES"], TIMEOUT);
    replica.await_line(&["WARN", "HENCE_COLOUR"], TIMEOUT);
    assert_eq!(replica.lines(&["there is no such setting"]).len(), 3, "{}", replica.log());
}

/// What makes other daemons read their settings again does not end a replica, and all its data with it.
pub(crate) fn harmless_signals() {
    let own = "127.0.0.2:8090";
    let mut replica = Lone::start("harmless_signals", own, &[("SOCKET_ADDRESS", own)]);
    replica.await_ready(200, TIMEOUT * 5);
    assert_eq!(client::put(own, "k", "1", None).status, 201);
    for name in ["HUP", "USR1", "USR2", "HUP"] {
        signal(replica.id(), name);
        replica.await_line(&["INFO", &format!("SIG{name}")], TIMEOUT * 5);
    }
    assert!(replica.is_running());
    assert_eq!(client::get(own, "k", None).status, 200);
    signal(replica.id(), "TERM");
    assert_eq!(replica.ended(TIMEOUT * 5).code(), Some(0));
}

/// Without descriptors nothing can be accepted: that is said once a second, and not at each attempt.
pub(crate) fn no_descriptors() {
    let own = "127.0.0.2:8090";
    let replica = Lone::start("no_descriptors", own, &[("SOCKET_ADDRESS", own)]);
    replica.await_ready(200, TIMEOUT * 5);
    let limit = Command::new("prlimit").args(["--pid", &replica.id().to_string(), "--nofile=40:40"]).status();
    assert!(limit.is_ok_and(|status| status.success()), "prlimit is of util-linux, as unshare is");
    let busy = std::time::Instant::now();
    let request = client::request_bytes("PUT", "/kvs/k", &[("Content-Length", "10")], None);
    let mut held = Vec::new();
    while busy.elapsed() < Duration::from_millis(3_500) {
        // In the midst of a request, so that none idles and makes room.
        if let Ok(mut connection) = client::Connection::open(own) {
            connection.send(&request);
            held.push(connection);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(held);
    let said = replica.lines(&["WARN", "cannot accept"]);
    println!("note: {} complaints in {:?}", said.len(), busy.elapsed());
    assert!((2..=6).contains(&said.len()), "{said:#?}");
    replica.poll(TIMEOUT * 5, "connections to be accepted again", || {
        client::try_get(own, "k", None).map(|_| ()).map_err(|error| format!("{error:?}"))
    });
    let failed = replica.metric("hence_connections_total{event=\"accept_failed\"}").expect("it is counted");
    assert!(failed > said.len() as u64, "{failed} failures, {} complaints", said.len());
}

/// SIGTERM and SIGINT end a replica with 0, after the request in flight; a waiting one ends in time, too.
pub(crate) fn terminate() {
    for name in ["TERM", "INT"] {
        let mut cluster = Cluster::running(&format!("terminate_{name}"), 1);
        let id = cluster.id(0);
        let start = Instant::now();
        signal(id, name);
        let status = cluster.ended(0, Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "SIG{name}");
        println!("note: SIG{name} alone: ended after {:?}", start.elapsed());
    }
    let mut cluster = Cluster::running("terminate_cluster", 3);
    cluster.put(2, "k", "1", None, 201);
    let start = Instant::now();
    assert_eq!(cluster.terminate(2).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(4), "SIGTERM took {:?}", start.elapsed());
    println!("note: SIGTERM among three: ended after {:?}", start.elapsed());
    let address = cluster.address(0);
    let unknown = hence_core::VersionVector::from_entries([(hence_core::Incarnation(9 << 40), 1)]);
    let token = hence_core::Token(unknown).encode(hence_core::ClusterTag::of("hence"));
    let waiting = std::thread::spawn(move || {
        let headers = [("Prefer", "wait=30"), ("Causal-Metadata", token.as_str())];
        client::try_request(&address, "GET", "/kvs/k", &headers, None, Duration::from_secs(20))
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cluster.terminate(0).code(), Some(0), "with a waiting request");
    let answer = waiting.join().expect("the thread only asks");
    println!("note: a request that waited through SIGTERM got {:?}", answer.map(|answer| answer.status));
}

/// One of three that clients write at used to wait two seconds for its peers to cover what they went on writing.
pub(crate) fn terminate_under_load() {
    let mut cluster = Cluster::running("terminate_under_load", 3);
    let ended = AtomicBool::new(false);
    let addresses = cluster.addresses(&[0, 1, 2]);
    let (code, time) = std::thread::scope(|scope| {
        for name in 0..12 {
            let (address, ended) = (&addresses[name % 3], &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let _ = client::try_request(address, "PUT", "/kvs/k", &[], Some(r#"{"value":1}"#), TIMEOUT);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        let code = cluster.terminate(2).code();
        ended.store(true, Ordering::Relaxed);
        (code, start.elapsed())
    });
    println!("note: SIGTERM under load: ended after {time:?}");
    assert_eq!(code, Some(0));
    assert!(time < Duration::from_millis(1_500), "SIGTERM under load took {time:?}");
}

/// `hence health` says by its exit code whether a replica runs.
pub(crate) fn health() {
    let mut cluster = Cluster::running("health", 1);
    let address = cluster.address(0);
    let output = hence(&["health", &address], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = hence(&["health"], &[("SOCKET_ADDRESS", &address)]);
    assert_eq!(output.status.code(), Some(0), "as in a container: {}", text(&output.stderr));
    cluster.signal(0, "STOP");
    let output = hence(&["health", &address], &[]);
    assert_eq!(output.status.code(), Some(1), "a stopped process: {}", text(&output.stderr));
    cluster.signal(0, "CONT");
    cluster.kill(0);
    let output = hence(&["health", &address], &[]);
    assert_eq!(output.status.code(), Some(1), "nobody there: {}", text(&output.stderr));
    assert_ne!(hence(&["health", "nonsense"], &[]).status.code(), Some(0));
}
