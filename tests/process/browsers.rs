//! What browsers ask for: CORS, sessions in a cookie, and tokens in the query; and nothing of it where no setting says so.

use crate::cluster::Cluster;
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use std::time::Duration;

const PAGE: &str = "http://shop.test:3000";
const OTHER: &str = "http://other.test";

fn ask(cluster: &Cluster, at: usize, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let body = (method == "PUT").then_some("{\"value\":1}");
    client::request(&cluster.address(at), method, path, headers, body)
}

/// The headers that only a browser has use for.
fn of_browsers(answer: &Response) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("access-control") || *name == "set-cookie").collect()
}

/// Without settings, what a browser sends changes no byte of an answer.
pub(crate) fn unset() {
    let cluster = Cluster::running("browsers_unset", 1);
    ask(&cluster, 0, "PUT", "/kvs/k", &[]);
    let sent = [("origin", PAGE), ("cookie", "hence=x; s=y"), ("access-control-request-method", "PUT")];
    for (method, path) in [
        ("GET", "/kvs/k"),
        ("GET", "/kvs/absent"),
        ("HEAD", "/kvs/k"),
        ("OPTIONS", "/kvs/k"),
        ("POST", "/view"),
        ("GET", "/view"),
        ("GET", "/x"),
    ] {
        let without_date = |headers: &[(&str, &str)]| {
            let mut answer = client::request(&cluster.address(0), method, path, headers, None);
            answer.headers.retain(|(name, _)| name != "date");
            answer
        };
        let plain = without_date(&[]);
        assert_eq!(without_date(&sent), plain, "{method} {path}");
        assert_eq!(plain.header("vary"), Some("causal-metadata, prefer"), "{method} {path}");
    }
}

/// A page of a listed origin reads every answer, and asks before it writes.
pub(crate) fn origins() {
    let cluster = Cluster::new("browsers_origins", 1);
    let cluster = cluster.setting("HENCE_CORS_ORIGINS", &format!("https://a.test, {PAGE}")).run();
    for (method, path, status) in [
        ("PUT", "/kvs/k", 201),
        ("GET", "/kvs/k", 200),
        ("GET", "/kvs/absent", 404),
        ("POST", "/view", 405),
        ("GET", "/nothing", 404),
        ("GET", "/kvs/k?siblings=x", 400),
        ("GET", "/ready", 200),
    ] {
        let answer = ask(&cluster, 0, method, path, &[("origin", PAGE)]);
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{method} {path}: {answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert!(["causal-metadata", "etag", "link"].iter().all(|name| exposed.contains(name)), "{exposed}");
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        for headers in [&[("origin", OTHER)][..], &[]] {
            let answer = ask(&cluster, 0, method, path, headers);
            assert_eq!(of_browsers(&answer), Vec::<&str>::new(), "{method} {path} of {headers:?}");
            assert_eq!(answer.header("vary"), Some("causal-metadata, prefer, origin"), "caches tell them apart");
        }
    }
    let asks =
        [("origin", PAGE), ("access-control-request-method", "PUT"), ("access-control-request-headers", "prefer")];
    let answer = ask(&cluster, 0, "OPTIONS", "/kvs/k", &asks);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-methods"), answer.header("allow"));
    let allowed = answer.header("access-control-allow-headers").unwrap_or_default();
    assert!(["causal-metadata", "content-type", "prefer", "if-match"].iter().all(|name| allowed.contains(name)));
    assert!(answer.header("access-control-max-age").is_some());

    let any = Cluster::new("browsers_any", 1).port(8091).setting("HENCE_CORS_ORIGINS", "*").run();
    let answer = ask(&any, 0, "GET", "/kvs/absent", &[("origin", OTHER)]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("vary"), Some("causal-metadata, prefer"));
}

/// What a browser would send back.
fn cookie(answer: &Response) -> Option<String> {
    answer.header("set-cookie").map(|line| line.split(';').next().expect("a first part").to_owned())
}

/// Requests one after another carry the past in a cookie, and a header or a body adds to it.
pub(crate) fn cookies() {
    let mut cluster = Cluster::new("browsers_cookies", 1).setting("HENCE_COOKIE", "s").run();
    let written = ask(&cluster, 0, "PUT", "/kvs/k", &[]);
    let line = written.header("set-cookie").expect("a cookie");
    assert_eq!(line, format!("s={}; Path=/; HttpOnly; SameSite=Lax", written.token()));
    let held = cookie(&written).expect("a cookie");
    let read = ask(&cluster, 0, "GET", "/kvs/k", &[("cookie", &format!("other=1; {held}"))]);
    assert_eq!((read.status, read.token(), cookie(&read)), (200, written.token(), None), "nothing new");
    // The token of the cookie is part of the past: the new one names more.
    let more = ask(&cluster, 0, "PUT", "/kvs/k", &[("cookie", &held)]);
    assert_eq!(cookie(&more), Some(format!("s={}", more.token())));

    for (headers, ends) in [
        (vec![("cookie", "s=nonsense")], true),
        (vec![("cookie", held.as_str()), ("causal-metadata", "nonsense")], false),
        (vec![("cookie", held.as_str()), ("if-match", "nonsense")], false),
    ] {
        let refused = ask(&cluster, 0, "GET", "/kvs/k", &headers);
        assert_eq!(refused.status, 400, "{headers:?}");
        let line = refused.header("set-cookie");
        assert_eq!(
            line.is_some_and(|line| line.starts_with("s=; ") && line.contains("Max-Age=0")),
            ends,
            "{headers:?}: {line:?}"
        );
    }
    // What the token names dies with its only holder.
    let held = cookie(&more).expect("a cookie");
    cluster.kill(0);
    cluster.start(0);
    let lost = || {
        let headers = [("cookie", held.as_str())];
        client::try_request(&cluster.address(0), "GET", "/kvs/k", &headers, None, Duration::from_secs(2))
    };
    cluster.poll(Duration::from_secs(10), "424", || match lost() {
        Ok(answer) if answer.status == 424 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let answer = lost().expect("an answer");
    let left = cookie(&answer).expect("it is replaced");
    assert_eq!(left, format!("s={}", answer.token()));
    let read = ask(&cluster, 0, "GET", "/kvs/k", &[("cookie", &left)]);
    assert_eq!(read.status, 404, "it goes on");
}

/// A GET without a header of its own takes the token from the query.
pub(crate) fn queries() {
    let cluster = Cluster::running("browsers_queries", 2);
    let one = ask(&cluster, 0, "PUT", "/kvs/a", &[]).token();
    let two = ask(&cluster, 0, "PUT", "/kvs/b", &[]).token();
    let path = |tokens: &str| format!("/kvs/absent?siblings=false&causal-metadata={tokens}");
    let joined = ask(&cluster, 0, "GET", &path(&format!("{one}%2C{two}")), &[]);
    assert_eq!(joined.status, 404);
    let both = [("causal-metadata", one.as_str()), ("causal-metadata", two.as_str())];
    assert_eq!(joined.token(), ask(&cluster, 0, "GET", "/kvs/absent", &both).token());
    assert_eq!(ask(&cluster, 0, "GET", &path(""), &[]).status, 404);
    for wrong in ["x", "%00", "%"] {
        let answer = ask(&cluster, 0, "GET", &path(wrong), &[]);
        assert_eq!((answer.status, answer.text().contains("causal-metadata")), (400, true), "{wrong}: {answer:?}");
    }
}
