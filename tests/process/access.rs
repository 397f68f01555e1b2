//! Clients that must bear a token: what each scope opens, and a file that changes.

use crate::cluster::Cluster;
use hence_tests::client::{self, Connection, NoResponse, Response, request_bytes};
use hence_tests::replicas::Replicas;
use hence_tests::watcher::Watcher;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(8);

/// Tokens, the scopes that each has, and its SHA-256.
const TOKENS: [(&str, &str, &str); 5] = [
    ("read", "read", "3316348dbadfb7b11c7c2ea235949419e23f9fa898ad2c198f999617912a9925"),
    ("write", "write", "10fd874b68dad080ed706762c8e163dabb20514bddae38fb159c56f714a3b143"),
    ("view", "view", "2bcb43cbc8f6b7ef66331532881143fcbae60a879db3a8fb853f645bb24c2b3c"),
    ("metrics", "metrics", "177a7ea3611fe6b138557deaf44941614b66c0ece1766308044c8b65c8ba2123"),
    ("both", "read,write", "ff7772053abf7d817d6eec229a09e14f0d1552f1cb0aeedb2ac73784ac2d2e39"),
];

/// A line for each of these tokens.
pub(crate) fn lines(tokens: &[&str]) -> String {
    let lines = TOKENS.iter().filter(|(name, ..)| tokens.contains(name));
    lines.map(|(_, scopes, hash)| format!("{scopes} {hash}\n")).collect()
}

pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let path = folder.join(format!("{name}.tokens"));
    std::fs::write(&path, text).expect("the folder was made");
    path
}

/// Waits until a replica is ready, which needs no token.
pub(crate) fn await_ready(cluster: &Cluster, at: usize) {
    cluster.poll(Duration::from_secs(10), "/ready", || {
        let ready = client::try_request(&cluster.address(at), "GET", "/ready", &[], None, Duration::from_secs(1));
        ready.ok().filter(|ready| ready.status == 200).map(drop).ok_or("not yet".into())
    });
}

fn ask(at: &str, method: &str, path: &str, token: Option<&str>) -> Response {
    let (path, events) = path.strip_suffix(" EVENTS").map_or((path, false), |path| (path, true));
    let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
    let mut headers = Vec::from_iter(token.map(|_| ("Authorization", &*bearer)));
    headers.extend(events.then_some(("Accept", "text/event-stream")));
    headers.extend(path.contains("poll=").then_some(("If-None-Match", "\"other\"")));
    let body = match (method, path) {
        ("PUT", "/view") => Some(r#"{"socket-address":"127.0.0.2:8090"}"#),
        ("DELETE", "/view") => Some(r#"{"socket-address":"127.0.0.9:8090"}"#),
        ("POST", "/kvs?get") => Some(r#"{"operations":[{"op":"get","key":"x"}]}"#),
        ("POST", _) => Some(r#"{"operations":[{"op":"put","key":"x","value":1}]}"#),
        ("PUT", _) => Some(r#"{"value":1}"#),
        _ => None,
    };
    let mut connection = Connection::open(at).expect("it listens");
    connection.send(&request_bytes(method, path, &headers, body));
    let mut answer = connection.receive_head().expect("an answer");
    // A watch has no end.
    let is_whole = answer.header("content-type") != Some("text/event-stream") && method != "HEAD";
    if let Some(length) = answer.header("content-length").filter(|_| is_whole) {
        answer.body = connection.receive_exactly(length.parse().expect("a number")).expect("a body");
    }
    answer
}

/// A request, the scopes that it takes all of, and its status where they are there.
type Row = (&'static str, &'static str, &'static [&'static str], u16);

/// Every method of every path that a client may ask. `EVENTS` behind a path asks for a watch.
const REQUESTS: [Row; 49] = [
    ("PUT", "/kvs/x", &["write"], 200),
    ("GET", "/kvs/x", &["read"], 200),
    ("HEAD", "/kvs/x", &["read"], 200),
    ("DELETE", "/kvs/absent", &["write"], 404),
    ("OPTIONS", "/kvs/x", &[], 204),
    ("PATCH", "/kvs/x", &[], 405),
    ("GET", "/kvs/x?siblings=true", &["read"], 200),
    ("GET", "/kvs/x?poll=0", &["read"], 200),
    ("GET", "/kvs/absent?poll=1", &["read"], 404),
    ("HEAD", "/kvs/x?poll=0", &["read"], 200),
    ("GET", "/kvs/x EVENTS", &["read"], 200),
    ("HEAD", "/kvs/x EVENTS", &["read"], 200),
    ("PUT", "/kvs/x EVENTS", &["write"], 200),
    ("GET", "/kvs", &["read"], 200),
    ("GET", "/kvs?count-only=true", &["read"], 200),
    ("GET", "/kvs EVENTS", &["read"], 200),
    ("GET", "/kvs?prefix=x&keys-only=true EVENTS", &["read"], 200),
    ("HEAD", "/kvs", &["read"], 200),
    ("POST", "/kvs", &["read", "write"], 200),
    ("POST", "/kvs?get", &["read", "write"], 200),
    ("POST", "/kvs EVENTS", &["read", "write"], 200),
    ("OPTIONS", "/kvs", &[], 204),
    ("DELETE", "/kvs", &[], 405),
    ("GET", "/view", &["view"], 200),
    ("HEAD", "/view", &["view"], 200),
    ("PUT", "/view", &["view"], 200),
    ("DELETE", "/view", &["view"], 404),
    ("OPTIONS", "/view", &[], 204),
    ("GET", "/metrics", &["metrics"], 200),
    ("HEAD", "/metrics", &["metrics"], 200),
    ("OPTIONS", "/metrics", &[], 204),
    ("GET", "/replica/state", &["metrics"], 200),
    ("HEAD", "/replica/state", &["metrics"], 200),
    ("OPTIONS", "/replica/state", &[], 204),
    ("GET", "/health", &[], 200),
    ("HEAD", "/health", &[], 200),
    ("OPTIONS", "/health", &[], 204),
    ("GET", "/ready", &[], 200),
    ("HEAD", "/ready", &[], 200),
    ("OPTIONS", "/ready", &[], 204),
    ("GET", "/openapi.json", &[], 200),
    ("HEAD", "/openapi.json", &[], 200),
    ("OPTIONS", "/openapi.json", &[], 204),
    ("GET", "/ui", &[], 200),
    ("HEAD", "/ui", &[], 200),
    ("OPTIONS", "/ui", &[], 204),
    ("OPTIONS", "*", &[], 204),
    ("GET", "/up", &[], 404),
    ("GET", "/nowhere", &[], 404),
];

/// The table has every path of the API's own description, with every method that the path says to have.
fn has_all(at: &str) {
    let listed = |method: &str, path: &str| {
        let is_of = |row: &Row| row.0 == method && row.1.split(['?', ' ']).next() == Some(path);
        assert!(REQUESTS.iter().any(is_of), "{method} {path} is not in the table");
    };
    let described = ask(at, "GET", "/openapi.json", None).json();
    let paths = described["paths"].as_object().expect("paths").keys();
    for path in paths.map(|path| path.replace("{key}", "x")) {
        let allow = ask(at, "OPTIONS", &path, None).header("allow").expect("methods").to_owned();
        for method in allow.split(", ") {
            listed(method, if (method, &*path) == ("DELETE", "/kvs/x") { "/kvs/absent" } else { &path });
        }
    }
}

/// Every request with every token, with a token that is not known, and with none.
pub(crate) fn scopes() {
    let names = TOKENS.map(|(name, ..)| name);
    let path = file("scopes", &format!("# who may ask what\n\n{}", lines(&names)));
    let mut cluster = Cluster::new("scopes", 1).setting("HENCE_ACCESS_FILE", &path.display().to_string());
    cluster.start(0);
    let at = cluster.address(0);
    await_ready(&cluster, 0);
    has_all(&at);
    ask(&at, "PUT", "/kvs/x", Some("write"));
    for (method, path, needs, status) in REQUESTS {
        let denied = |token: Option<&str>, status: u16, text: &str, challenge: &str| {
            let answer = ask(&at, method, path, token);
            assert_eq!(answer.status, status, "{method} {path} {token:?}");
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{method} {path} {token:?}");
            assert!(method == "HEAD" || answer.text() == format!("{{\"error\":\"{text}\"}}"), "{}", answer.text());
        };
        for (token, scopes, _) in TOKENS {
            if let Some(lacks) = needs.iter().find(|need| !scopes.split(',').any(|scope| scope == **need)) {
                let text = format!("The bearer token lacks the scope {lacks}");
                let challenge = format!("Bearer realm=\"hence\", error=\"insufficient_scope\", scope=\"{lacks}\"");
                denied(Some(token), 403, &text, &challenge);
            } else {
                let answer = ask(&at, method, path, Some(token));
                assert_eq!(answer.status, status, "{method} {path} with {token}: {answer:?}");
            }
        }
        if needs.is_empty() {
            assert_eq!(ask(&at, method, path, None).status, status, "{method} {path}");
            assert_eq!(ask(&at, method, path, Some("wrong-secret")).status, status, "{method} {path}");
        } else {
            denied(None, 401, "A bearer token is required", "Bearer realm=\"hence\"");
            let challenge = "Bearer realm=\"hence\", error=\"invalid_token\"";
            denied(Some("wrong-secret"), 401, "The bearer token is not known", challenge);
        }
    }
    let said = cluster.log(0);
    assert!(!said.contains("wrong-secret") && TOKENS.iter().all(|(_, _, hash)| !said.contains(hash)), "{said}");
}

/// A token is added and another one taken away while the replica runs. A file with an error changes nothing.
pub(crate) fn read_again() {
    let path = file("again", &lines(&["read"]));
    let mut cluster = Cluster::new("again", 1).setting("HENCE_ACCESS_FILE", &path.display().to_string());
    cluster.start(0);
    let at = cluster.address(0);
    let status = |method, token| {
        let answer = client::try_request(&at, "GET", "/health", &[], None, Duration::from_secs(1));
        answer.map(|_| ask(&at, method, "/kvs/x", Some(token)).status).unwrap_or_default()
    };
    let become_ = |what: &str, wanted: [u16; 2]| {
        cluster.poll(Duration::from_secs(5), what, || {
            let found = [status("GET", "read"), status("PUT", "write")];
            let same = found.iter().zip(wanted).all(|(found, wanted)| *found == wanted || wanted == 0 && *found < 300);
            same.then_some(()).ok_or(format!("{found:?}"))
        });
    };
    become_("the first file", [404, 401]);
    std::fs::write(&path, lines(&["write", "view"])).expect("it is ours");
    become_("the second file", [401, 0]);
    std::fs::write(&path, "everything is open\n").expect("it is ours");
    cluster.poll(Duration::from_secs(5), "a warning", || {
        let put = status("PUT", "write");
        let warned = cluster.log(0).lines().any(|line| line.contains("WARN") && line.contains("Line 1 is not"));
        (warned && put < 300).then_some(()).ok_or(format!("{put}"))
    });
    assert_eq!(status("GET", "read"), 401);
    cluster.kill(0);
    cluster.start(0);
    assert_eq!(cluster.ended(0, Duration::from_secs(5)).code(), Some(2), "at the start it is a wrong setting");
}

/// A watch and a long poll end with the token or the scope that opened them; those of other tokens go on.
pub(crate) fn withdrawn() {
    let of = |name: &str| TOKENS.iter().find(|token| token.0 == name).expect("a token of ours").2;
    let grant = |grants: &[(&str, &str)]| -> String {
        grants.iter().map(|(name, scopes)| format!("{scopes} {}\n", of(name))).collect()
    };
    let path = file("withdrawn", &grant(&[("read", "read"), ("view", "read,view"), ("both", "read,write")]));
    let mut cluster = Cluster::new("withdrawn", 1).setting("HENCE_ACCESS_FILE", &path.display().to_string());
    cluster.start(0);
    await_ready(&cluster, 0);
    let at = cluster.address(0);
    ask(&at, "PUT", "/kvs/x", Some("both"));
    let bearer = |name: &str| format!("Bearer {name}");
    let watch = |name: &str, path: &str| Watcher::try_open(&at, path, &[("Authorization", &bearer(name))]);
    let mut watchers = ["read", "view", "both"].map(|name| watch(name, "/kvs").expect("it may"));
    watchers.iter_mut().for_each(|watcher| watcher.sync(LIMIT));
    let polls = ["read", "view", "both"].map(|name| {
        let mut connection = Connection::open(&at).expect("it listens");
        let headers = [("Authorization", &*bearer(name)), ("If-None-Match", "\"absent\"")];
        connection.send(&request_bytes("GET", "/kvs/absent?poll=30", &headers, None));
        connection
    });
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    std::fs::write(&path, grant(&[("view", "view"), ("both", "read,write")])).expect("it is ours");
    let [mut read, mut view, mut both] = watchers;
    for watcher in [&mut read, &mut view] {
        assert_eq!(watcher.next(LIMIT), Err(NoResponse::Closed(Vec::new())));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for (name, status) in [("read", 401), ("view", 403)] {
        for path in ["/kvs", "/kvs/x"] {
            assert_eq!(watch(name, path).err().map(|answer| answer.status), Some(status), "{name} {path}");
        }
    }
    let [mut read, mut view, mut kept] = polls;
    for (poll, status) in [(&mut read, 401), (&mut view, 403)] {
        let answer = poll.receive(false).expect("an answer");
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.header("www-authenticate").is_some() && answer.header("etag").is_none(), "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // The token that is left goes on, and the file may change again.
    std::fs::write(&path, grant(&[("read", "read"), ("both", "write,read")])).expect("it is ours");
    cluster.poll(LIMIT, "the third file", || watch("read", "/kvs").map(drop).map_err(|answer| format!("{answer:?}")));
    let headers = [("Authorization", &*bearer("both"))];
    let put = client::request(&at, "PUT", "/kvs/absent", &headers, Some(r#"{"value":2}"#));
    assert_eq!(put.status, 201);
    both.follow(LIMIT, |held| held.contains_key("absent"));
    assert_eq!(kept.receive(false).map(|answer| answer.status), Ok(200));
}
