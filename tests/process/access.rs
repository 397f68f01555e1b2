//! Clients that must bear a token: what each scope opens, and a file that changes.

use crate::cluster::Cluster;
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use std::path::PathBuf;
use std::time::Duration;

/// Each scope and the SHA-256 of a token that is called like it.
const HASHES: [(&str, &str); 4] = [
    ("read", "3316348dbadfb7b11c7c2ea235949419e23f9fa898ad2c198f999617912a9925"),
    ("write", "10fd874b68dad080ed706762c8e163dabb20514bddae38fb159c56f714a3b143"),
    ("view", "2bcb43cbc8f6b7ef66331532881143fcbae60a879db3a8fb853f645bb24c2b3c"),
    ("metrics", "177a7ea3611fe6b138557deaf44941614b66c0ece1766308044c8b65c8ba2123"),
];

fn lines(scopes: &[&str]) -> String {
    let lines = HASHES.iter().filter(|(scope, _)| scopes.contains(scope));
    lines.map(|(scope, hash)| format!("{scope} {hash}\n")).collect()
}

fn file(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let path = folder.join(format!("{name}.tokens"));
    std::fs::write(&path, text).expect("the folder was made");
    path
}

fn ask(at: &str, method: &str, path: &str, token: Option<&str>) -> Response {
    let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
    let headers = [("Authorization", &*bearer)];
    let headers = if token.is_some() { &headers[..] } else { &[] };
    let body = match (method, path) {
        ("PUT", "/view") => Some(r#"{"socket-address":"127.0.0.2:8090"}"#),
        ("PUT", _) => Some(r#"{"value":1}"#),
        _ => None,
    };
    client::request(at, method, path, headers, body)
}

/// What each of these requests needs, and its status where that is given.
const REQUESTS: [(&str, &str, &str, u16); 10] = [
    ("PUT", "/kvs/x", "write", 200),
    ("GET", "/kvs/x", "read", 200),
    ("HEAD", "/kvs/x", "read", 200),
    ("GET", "/view", "view", 200),
    ("PUT", "/view", "view", 200),
    ("GET", "/metrics", "metrics", 200),
    ("GET", "/replica/state", "metrics", 200),
    ("GET", "/health", "", 200),
    ("GET", "/ready", "", 200),
    ("OPTIONS", "/kvs/x", "", 204),
];

/// Every request with every token, with a token that is not known, and with none.
pub(crate) fn scopes() {
    let path = file("scopes", &format!("# who may ask what\n\n{}", lines(&HASHES.map(|(scope, _)| scope))));
    let mut cluster = Cluster::new("scopes", 1).setting("HENCE_ACCESS_FILE", &path.display().to_string());
    cluster.start(0);
    let at = cluster.address(0);
    cluster.poll(Duration::from_secs(5), "/ready", || {
        let ready = client::try_request(&at, "GET", "/ready", &[], None, Duration::from_secs(1));
        ready.ok().filter(|ready| ready.status == 200).map(drop).ok_or("not yet".into())
    });
    ask(&at, "PUT", "/kvs/x", Some("write"));
    for (method, path, needs, status) in REQUESTS {
        let denied = |token: Option<&str>, status: u16, text: &str, challenge: &str| {
            let answer = ask(&at, method, path, token);
            assert_eq!(answer.status, status, "{method} {path} {token:?}");
            assert_eq!(answer.header("www-authenticate"), Some(challenge), "{method} {path} {token:?}");
            assert!(method == "HEAD" || answer.text() == format!("{{\"error\":\"{text}\"}}"), "{}", answer.text());
        };
        for (scope, _) in HASHES {
            if needs.is_empty() || needs == scope {
                let answer = ask(&at, method, path, Some(scope));
                assert_eq!(answer.status, status, "{method} {path} with {scope}: {answer:?}");
            } else {
                let text = format!("The bearer token lacks the scope {needs}");
                let challenge = format!("Bearer realm=\"hence\", error=\"insufficient_scope\", scope=\"{needs}\"");
                denied(Some(scope), 403, &text, &challenge);
            }
        }
        if needs.is_empty() {
            assert_eq!(ask(&at, method, path, None).status, status);
        } else {
            denied(None, 401, "A bearer token is required", "Bearer realm=\"hence\"");
            let challenge = "Bearer realm=\"hence\", error=\"invalid_token\"";
            denied(Some("wrong-secret"), 401, "The bearer token is not known", challenge);
        }
    }
    let said = cluster.log(0);
    assert!(!said.contains("wrong-secret") && HASHES.iter().all(|(_, hash)| !said.contains(hash)), "{said}");
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
