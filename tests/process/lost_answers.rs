//! The commands behind a proxy that loses answers: no write is done twice, and no value that was replaced comes back.

use crate::client::{Terminal, terminal};
use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::proxy::{Fate, Proxy};
use hence_tests::replicas::Replicas;
use serde_json::Value;

/// Writes that the first replica has applied.
fn applied(cluster: &Cluster) -> u64 {
    let state = cluster.state(0);
    let counters = state["vector"].as_object().expect("a vector").values().filter_map(Value::as_u64);
    counters.sum()
}

/// What a command does while the answer to its first request is lost and another client replaces the value.
struct Lost<'a> {
    cluster: &'a Cluster,
    proxy: &'a Proxy,
    at: &'a Terminal,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    code: i32,
    /// Beside the one of the other client.
    writes: u64,
    value: Option<String>,
}

impl Lost<'_> {
    /// The key `k` is 0 before, and the other client writes 2.
    fn run(&self, fate: Fate, arguments: &[&str], input: &str) -> Came {
        let direct = self.cluster.address(0);
        assert!(client::put(&direct, "k", "0", None).status < 300);
        let before = applied(self.cluster);
        let replaced = direct.clone();
        self.proxy.meanwhile(move || assert!(client::put(&replaced, "k", "2", None).status < 300));
        self.proxy.next(&[fate]);
        let command: Vec<&str> = [arguments, &["--timeout", "2s"]].concat();
        let (code, _, _) = self.at.run_with(&command, input);
        let writes = applied(self.cluster) - before;
        let found = client::request(&direct, "GET", "/kvs/k", &[], None);
        let value = (found.status == 200).then(|| found.json()["value"].to_string());
        Came { code, writes: writes - 1, value }
    }
}

const BATCH: &str = r#"[{"op":"put","key":"k","value":1},{"op":"put","key":"other","value":1}]"#;
const BATCH_IF_ABSENT: &str =
    r#"[{"op":"put","key":"k","value":1},{"op":"put","key":"new","value":1,"if-none-match":"*"}]"#;
const LINE: &str = "{\"key\":\"k\",\"value\":1}\n";

/// Every way to lose an answer, and every command that writes.
pub(crate) fn commands() {
    let cluster = Cluster::running("lost_answers", 3);
    let mut at = terminal(&cluster, "lost_answers_files");
    let proxy = Proxy::before(cluster.address(0).parse().expect("an address"));
    // Another endpoint is there: a command that tried again would find it.
    at.endpoints = format!("{},{}", proxy.address, cluster.address(0));
    let lost = Lost { cluster: &cluster, proxy: &proxy, at: &at };
    let replaced = || Some("2".to_owned());
    for fate in [Fate::LostAfter, Fate::SilentAfter, Fate::Torn, Fate::BadGateway, Fate::ForeignRefusal] {
        let before = proxy.requests();
        for (arguments, input) in
            [(&["put", "k", "1"][..], ""), (&["del", "k"], ""), (&["batch"], BATCH), (&["import"], LINE)]
        {
            let came = lost.run(fate, arguments, input);
            assert_eq!(came, Came { code: 5, writes: 1, value: replaced() }, "{fate:?}, {arguments:?}");
        }
        assert_eq!(proxy.requests() - before, 4, "{fate:?}: nothing is sent again");
    }
    // What the rule is good for: a client that asks for retries brings the replaced value back, or deletes it.
    let again = "--retry-unknown";
    for (arguments, input, value) in [
        (&["put", "k", "1", again][..], "", Some("1")),
        (&["del", "k", again], "", None),
        (&["batch", again], BATCH, Some("1")),
        (&["import", again], LINE, Some("1")),
    ] {
        let came = lost.run(Fate::LostAfter, arguments, input);
        assert_eq!(came, Came { code: 0, writes: 2, value: value.map(Into::into) }, "{arguments:?}");
    }
    conditions(&lost);

    // What no replica did is sent to the next one, and done once.
    let before = (applied(&cluster), proxy.requests());
    proxy.next(&[Fate::Refused]);
    assert_eq!(at.prints(&["put", "unsent", "1"]), "created\n");
    assert_eq!((applied(&cluster) - before.0, proxy.requests() - before.1), (1, 1));
    proxy.next(&[Fate::LostBefore]);
    at.fails(&["put", "unsent", "2"], 5, "it is not known whether the write was done");
    assert_eq!(at.prints(&["get", "unsent"]), "1\n");
}

/// A condition keeps a write that is sent again from being done again, and its outcome is unknown.
fn conditions(lost: &Lost<'_>) {
    let direct = lost.cluster.address(0);
    assert!(client::put(&direct, "k", "0", None).status < 300);
    let came = lost.run(Fate::LostAfter, &["batch", "--retry-unknown"], BATCH_IF_ABSENT);
    assert_eq!(came, Came { code: 5, writes: 1, value: Some("2".into()) });
    for retry in [&[][..], &["--retry-unknown"]] {
        client::request(&direct, "DELETE", "/kvs/once", &[], None);
        let before = applied(lost.cluster);
        lost.proxy.meanwhile(|| {});
        lost.proxy.next(&[Fate::LostAfter]);
        let put = [&["put", "once", "1", "--if-absent"][..], retry].concat();
        assert_eq!(lost.at.run(&put).0, 5, "{put:?}");
        assert_eq!(applied(lost.cluster) - before, 1, "{put:?}");
        let replaces = direct.clone();
        lost.proxy.meanwhile(move || assert!(client::put(&replaces, "once", "3", None).status < 300));
        for (command, fate) in [("put", Fate::LostAfter), ("del", Fate::Torn)] {
            assert_eq!(client::put(&direct, "once", "1", None).status, 200);
            let tag = tag_of(&direct);
            lost.proxy.next(&[fate]);
            let value = if command == "put" { &["2"][..] } else { &[] };
            let arguments = [&[command, "once"][..], value, &["--if-match", &tag], retry].concat();
            let code = lost.at.run(&arguments).0;
            assert_eq!(code, 5, "{arguments:?}");
            assert_eq!(client::request(&direct, "GET", "/kvs/once", &[], None).json()["value"], 3, "{arguments:?}");
        }
    }
}

fn tag_of(address: &str) -> String {
    client::request(address, "GET", "/kvs/once", &[], None).header("etag").expect("a tag").to_owned()
}
