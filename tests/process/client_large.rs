//! The commands with what is large: values beyond a batch, many tokens, and heads beyond a replica's limit.

use crate::client::{Terminal, json, terminal};
use crate::client_bulk::noted;
use crate::cluster::Cluster;
use hence_client::Client;
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Bytes that the values of a batch may have together.
const BATCH: usize = 64 << 10;

/// Lengths of values with their quotes: what a batch just takes and just does not, and many of 2 KB.
fn lengths() -> Vec<usize> {
    let mut all = vec![3, BATCH - 1, 100, BATCH, 3, BATCH + 1, BATCH / 2, BATCH / 2, BATCH / 2, 66_000, 66_000];
    all.extend((0..200).map(|_| 2_048));
    all.extend([200_000, 5, 100_000, BATCH - 50, 30, 30]);
    all.extend((0..200).map(|at| if at % 17 == 0 { 70_000 } else { 2_048 }));
    all
}

fn line(key: &str, length: usize) -> String {
    format!("{{\"key\":\"{key}\",\"value\":\"{}\"}}\n", "v".repeat(length - 2))
}

/// Keys and values of an export.
fn values(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let line = json(line);
        (line["key"].as_str().expect("a key").to_owned(), line["value"].to_string())
    };
    text.lines().map(pair).collect()
}

/// What was exported is imported, whatever its values' lengths, also by an import that is killed again and again.
pub(crate) fn values_of_any_length() {
    let cluster = Cluster::running("client_large_values", 3);
    let mut at = terminal(&cluster, "client_large_values_files");
    at.endpoints = cluster.address(0);
    let long = "v".repeat(66_000);
    assert_eq!(at.run_with(&["put", "h", "--text"], &long).1, "created\n");
    at.prints(&["export", "-o", "one"]);
    assert_eq!(at.prints(&["import", "one"]), "keys written: 1\n");

    let mut text: String =
        lengths().into_iter().enumerate().map(|(at, length)| line(&format!("k{at}"), length)).collect();
    // The later line wins, also where one of them goes alone.
    text += &(line("twice", 70_000) + &line("twice", 10) + &line("again", 10) + &line("again", 90_000));
    let (code, out, err) = at.run_with(&["import"], &text);
    assert_eq!((code, out), (0, format!("keys written: {}\n", text.lines().count())), "{err}");
    at.prints(&["del", "h"]);
    at.prints(&["export", "-o", "all"]);
    let all = fs::read_to_string(at.folder.join("all")).expect("it was written");
    assert_eq!(values(&all), values(&text));
    killed(&mut at, &all);
    at.endpoints = cluster.address(0);

    let bench = ["bench", "--duration", "200ms", "--connections", "2"];
    for (keys, bytes) in [("100", "2000"), ("3", "65535"), ("1", "8388596"), ("1", "0")] {
        at.prints(&[&bench[..], &["--keys", keys, "--value-bytes", bytes]].concat());
    }
    at.fails(&["bench", "--value-bytes", "99999999999"], 2, "8388596");
}

/// Imports into another replica, and kills that three times.
fn killed(at: &mut Terminal, all: &str) {
    let mut other = Cluster::new("client_large_values_other", 1).port(8_091);
    other.start(0);
    other.await_settled(&[0], Duration::from_secs(10));
    at.endpoints = other.address(0);
    let count = all.lines().count();
    for round in 1..=3 {
        let mut child = at.command(&["import", "--resume", "note"]).stdin(Stdio::piped()).spawn().expect("the binary");
        let mut input = child.stdin.take().expect("it is piped");
        let part: String = all.lines().take(count * round / 4).map(|line| format!("{line}\n")).collect();
        input.write_all(part.as_bytes()).expect("it reads");
        let start = Instant::now();
        // A batch that is not full waits for more.
        while noted(at).len() < part.lines().count() - 40 {
            assert!(start.elapsed() < Duration::from_secs(20), "it writes nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    let before = noted(at).len();
    assert!(before < count, "it was cut off");
    let told = json(&at.prints(&["import", "all", "--resume", "note", "--json"]));
    assert_eq!((&told["written"], &told["skipped"]), (&Value::from(count - before), &Value::from(before)));
    assert_eq!(noted(at).len(), count, "each line is noted");
    assert_eq!(values(&at.prints(&["export"])), values(all));
}

/// More tokens than a head takes are joined before a watch, too.
pub(crate) fn tokens() {
    let cluster = Cluster::running("client_many_tokens", 3);
    let at = terminal(&cluster, "client_many_tokens_files");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = Client::new([cluster.address(0)]).expect("an endpoint");
    let tokens: Vec<String> = runtime.block_on(async {
        let mut tokens = Vec::new();
        for number in 0..700 {
            let session = client.session();
            session.put("k", number).await.expect("an answer");
            tokens.push(session.token());
        }
        tokens
    });
    let text = tokens.join("\n");
    assert!(text.len() > 16 << 10, "{} bytes", text.len());
    for name in ["g", "w"] {
        fs::write(at.folder.join(name), &text).expect("a file of ours");
    }
    assert_eq!(at.prints(&["get", "k", "--session", "g"]), "699\n");
    assert_eq!(at.prints(&["watch", "--once", "--session", "w"]), "put\tk\t699\nsynced\n");
    let kept = fs::read_to_string(at.folder.join("w")).expect("it is kept");
    assert_eq!(kept.lines().count(), 1, "{} bytes", kept.len());

    // Tokens of a dead cluster among them: a watch tells that writes are lost, as it does for a few.
    let lost = "AVLZhzkBAAABJryZpKkBmswzVw";
    for (name, text) in [("few", lost.to_owned()), ("many", format!("{lost}\n{text}"))] {
        fs::write(at.folder.join(name), text).expect("a file of ours");
        let shown = at.prints(&["watch", "--once", "--session", name]);
        assert!(shown.ends_with("reset\twrites are lost\nput\tk\t699\nsynced\n"), "{name}: {shown}");
    }
}

/// A head that is too large fails at once, and the words say why.
pub(crate) fn heads() {
    let cluster = Cluster::running("client_large_heads", 3);
    let at = terminal(&cluster, "client_large_heads_files");
    fs::write(at.folder.join("large"), "A".repeat(20 << 10)).expect("a file of ours");
    // The longer one no replica is asked.
    for (length, code) in [(20 << 10, 1), (60 << 10, 1), (100 << 10, 2)] {
        let prefix = "p".repeat(length);
        for command in [
            &["ls", "--prefix", &prefix][..],
            &["watch", "--once", "--prefix", &prefix],
            &["export", "--prefix", &prefix],
            &["get", &prefix],
        ] {
            is_refused(&at, command, code);
        }
    }
    for command in [&["get", "k"][..], &["put", "k", "1"], &["watch", "--once"]] {
        is_refused(&at, &[command, &["--session", "large"]].concat(), 1);
    }
}

fn is_refused(at: &Terminal, command: &[&str], code: i32) {
    let start = Instant::now();
    at.fails(&[command, &["--timeout", "15s"]].concat(), code, "the line and headers of the request are too large");
    assert!(start.elapsed() < Duration::from_secs(5), "{} took {:?}", command[0], start.elapsed());
}
