//! The commands for many keys, against real processes: `hence ls`, `export` and `import`.
//!
//! `HENCE_IMPORT_KEYS` says how many keys `client_bulk_rates` moves. The suite moves fewer than the documents tell of.

use crate::client::{Terminal, folder, json, terminal};
use crate::cluster::Cluster;
use hence_tests::client::{Connection, request_bytes};
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Keys that are moved without the variable.
const KEYS: usize = 20_000;
/// Operations of the largest batch.
const BATCH: usize = 64;

/// Lines of an export, with values of this length.
fn lines(keys: usize, length: usize) -> String {
    let value = "v".repeat(length);
    (0..keys).map(|key| format!("{{\"key\":\"key/{key:07}\",\"value\":\"{value}{key}\"}}\n")).collect()
}

fn write(at: &Terminal, name: &str, text: &str) {
    fs::write(at.folder.join(name), text).expect("a file of ours");
}

fn read(at: &Terminal, name: &str) -> String {
    fs::read_to_string(at.folder.join(name)).expect("a file of ours")
}

/// Lines without their tags, in their order.
fn without_tags(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let line = json(line);
        assert!(line["etag"].is_string(), "{line}");
        (line["key"].as_str().expect("a key").to_owned(), line["value"].to_string())
    };
    text.lines().map(pair).collect()
}

/// Ranges, prefixes, counts, and more keys than one page has.
pub(crate) fn lists() {
    let cluster = Cluster::running("client_lists", 3);
    let mut at = terminal(&cluster, "client_lists_files");
    at.endpoints = cluster.address(0);
    assert_eq!(at.prints(&["ls"]), "");
    for (key, value) in [("b/1", "1.50"), ("a", "[1]"), ("b/2", "2"), ("b", "0"), ("c\n", "3"), ("ä", "4")] {
        at.prints(&["put", key, value]);
    }
    assert_eq!(at.prints(&["ls"]), "a\nb\nb/1\nb/2\n\"c\\n\"\nä\n");
    assert_eq!(at.prints(&["ls", "--values", "--prefix", "b/"]), "b/1\t1.50\nb/2\t2\n", "to the byte");
    assert_eq!(at.prints(&["ls", "--delimiter", "/"]), "a\nb\nb/\n\"c\\n\"\nä\n");
    assert_eq!(at.prints(&["ls", "--delimiter", "/", "--reverse", "--limit", "3"]), "ä\n\"c\\n\"\nb/\n");
    assert_eq!(at.prints(&["ls", "--start", "b", "--end", "b/2"]), "b\nb/1\n");
    assert_eq!(at.prints(&["ls", "--reverse", "--limit", "2"]), "ä\n\"c\\n\"\n");
    assert_eq!(at.prints(&["ls", "--limit", "0"]), "");
    assert_eq!(at.prints(&["ls", "--count", "--prefix", "b"]), "3\n");
    let page = json(&at.prints(&["ls", "--json", "--values", "--delimiter", "/", "--session", "s"]));
    assert_eq!(page["items"].as_array().map(Vec::len), Some(5), "{page}");
    assert_eq!(page["items"][2]["prefix"], "b/", "{page}");
    assert!(page["items"][1]["etag"].is_string() && page["items"][1]["value"] == 0, "{page}");
    assert_eq!(page["causal-metadata"], read(&at, "s").trim(), "the session is kept");
    assert_eq!(json(&at.prints(&["ls", "--json", "--count"]))["count"], 6);
    at.fails(&["ls", "--count", "--values"], 2, "cannot be used with");

    write(&at, "many", &lines(2_345, 1));
    assert_eq!(at.prints(&["import", "many"]), "keys written: 2345\n");
    assert_eq!(at.prints(&["ls", "--prefix", "key/"]).lines().count(), 2_345);
    assert_eq!(at.prints(&["ls", "--count"]), "2351\n");
    let backwards = at.prints(&["ls", "--reverse", "--prefix", "key/", "--limit", "1500"]);
    let backwards: Vec<&str> = backwards.lines().collect();
    assert_eq!((backwards.len(), backwards[0], backwards[1_499]), (1_500, "key/0002344", "key/0000845"));
    let (reader, writer) = std::io::pipe().expect("two descriptors");
    drop(reader);
    let left = crate::client::ended(at.command(&["ls", "--values"]).stdout(writer), b"");
    assert_eq!((left.status.code(), left.stderr.as_slice()), (Some(0), &b""[..]), "a reader that leaves");
    let full = Stdio::from(File::options().write(true).open("/dev/full").expect("it is there"));
    let full = crate::client::ended(at.command(&["ls"]).stdout(full), b"");
    assert_eq!(full.status.code(), Some(1), "{full:?}");
}

/// What an export writes, and where.
pub(crate) fn exports() {
    let cluster = Cluster::running("client_exports", 3);
    let mut at = terminal(&cluster, "client_exports_files");
    let text = lines(3_000, 10);
    write(&at, "all", &text);
    at.prints(&["import", "all"]);
    let out = at.prints(&["export"]);
    let expected: Vec<(String, String)> = text
        .lines()
        .map(|line| {
            let line = json(line);
            (line["key"].as_str().expect("a key").to_owned(), line["value"].to_string())
        })
        .collect();
    assert_eq!(without_tags(&out), expected);
    let (code, none, told) = at.run(&["export", "-o", "file", "--json", "--prefix", "key/00029"]);
    assert_eq!((code, none.as_str()), (0, ""), "{told}");
    assert_eq!(json(&told)["keys"], 100, "{told}");
    assert_eq!(read(&at, "file").lines().count(), 100);
    assert_eq!(at.prints(&["export", "--start", "z"]), "");
    at.fails(&["export", "-o", "no/such/folder"], 1, "cannot be written");

    // A value with a line break is one line nevertheless.
    let broken = r#"{"value":[1,
2]}"#;
    let mut connection = Connection::open(&cluster.address(0)).expect("it listens");
    connection.send(&request_bytes("PUT", "/kvs/broken", &[], Some(broken)));
    assert_eq!(connection.receive(false).expect("an answer").status, 201);
    at.endpoints = cluster.address(0);
    assert_eq!(json(&at.prints(&["export", "--prefix", "broken"]))["value"], json("[1,2]"));
    at.fails(
        &["export", "--endpoints", "127.0.0.1:1", "--timeout", "300ms"],
        1,
        "no replica served the request in time",
    );
}

/// What an export wrote is there again elsewhere; what is no line changes nothing after it.
pub(crate) fn imports() {
    let cluster = Cluster::running("client_imports", 3);
    let at = terminal(&cluster, "client_imports_files");
    let text = lines(5_000, 10);
    assert_eq!(at.run_with(&["import"], &text), (0, "keys written: 5000\n".into(), String::new()));
    let there = at.prints(&["export"]);
    let mut other = Cluster::new("client_imports_other", 1).port(8_091);
    other.start(0);
    let told = at.run_with(&["import", "--json", "--endpoints", &other.address(0)], &there);
    assert_eq!((told.0, &json(&told.1)["written"]), (0, &Value::from(5_000)), "{told:?}");
    let copied = at.prints(&["export", "--endpoints", &other.address(0)]);
    assert_eq!(without_tags(&copied), without_tags(&there));

    // The later line of a key wins, whatever is on its way at a time.
    let twice: String = (0..2_000).map(|n| format!("{{\"key\":\"same{}\",\"value\":{n}}}\n", n % 7)).collect();
    assert_eq!(at.run_with(&["import", "--session", "s"], &twice).1, "keys written: 2000\n");
    for key in 0..7 {
        let last = (0..2_000).rev().find(|n| n % 7 == key).expect("there are many");
        assert_eq!(at.prints(&["get", &format!("same{key}"), "--session", "s"]), format!("{last}\n"));
    }
    for (wrong, says) in [
        ("{\"key\":\"k\"}", "line 3: missing field `value`"),
        ("{\"key\":\"k\",\"value\":1,\"ttl\":1}", "line 3: unknown field"),
        ("{", "line 3:"),
    ] {
        let (code, out, err) = at.run_with(&["import"], &format!("{}{wrong}\n", lines(2, 1)));
        assert!(code == 2 && out.is_empty() && err.contains(says), "{code} {out} {err}");
    }
    let (code, _, err) = at.run_with(&["import"], "{\"key\":\"k\",\"value\":null}\n");
    assert!(code == 1 && err.contains("lines 1 to 1: operation 0"), "{code} {err}");
    at.fails(&["import", "nothing"], 2, "nothing");
    write(&at, "no-note", "words\n");
    at.fails(&["import", "--resume", "no-note"], 2, "no note of an import");
    let (code, _, err) = at.run_with(&["import", "--endpoints", "127.0.0.1:1", "--timeout", "300ms"], &lines(1, 1));
    assert!(code == 1 && err.contains("no replica served the request in time"), "{code} {err}");
}

/// Lines that a note holds.
pub(crate) fn noted(at: &Terminal) -> BTreeSet<u64> {
    let text = fs::read_to_string(at.folder.join("note")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().skip(1).map(json);
    let numbers = |line: Value| {
        let part = |name: &str| line[name].as_u64().expect("a number");
        part("first")..part("first") + part("count")
    };
    lines.flat_map(numbers).collect()
}

/// An import that is killed in the middle goes on where it was: what was answered is not written again.
pub(crate) fn cut_off() {
    const LINES: usize = 20_000;
    let mut cluster = Cluster::running("client_imports_cut_off", 3);
    let mut at = terminal(&cluster, "client_imports_cut_off_files");
    at.endpoints = cluster.address(0);
    let text = lines(LINES, 20);
    write(&at, "all", &text);
    let mut before = 0;
    for round in 1..=3 {
        let mut command = at.command(&["import", "--resume", "note"]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary was built");
        let mut input = child.stdin.take().expect("it is piped");
        // It gets a part of the rest, and is killed when some of that is written.
        let part: String = text.lines().take(LINES * round / 4).map(|line| format!("{line}\n")).collect();
        input.write_all(part.as_bytes()).expect("it reads");
        let start = Instant::now();
        while noted(&at).len() < before + 500 {
            assert!(start.elapsed() < Duration::from_secs(20), "it writes nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
        before = noted(&at).len();
        assert!(before < LINES, "it was cut off");
    }
    // A key that was written and is replaced since must not come back.
    let first = *noted(&at).first().expect("some are written");
    let key = format!("key/{:07}", first - 1);
    at.prints(&["put", &key, "\"replaced\""]);
    let applied = |cluster: &Cluster| {
        let state = cluster.state(0);
        let counters = state["vector"].as_object().expect("a vector").values().filter_map(Value::as_u64);
        counters.sum::<u64>()
    };
    let ops = applied(&cluster);
    let noted_before = noted(&at).len();
    let told = json(&at.prints(&["import", "all", "--resume", "note", "--json"]));
    assert_eq!((&told["written"], &told["skipped"]), (&Value::from(LINES - noted_before), &Value::from(noted_before)));
    let needed = (LINES - noted_before).div_ceil(BATCH) + noted(&at).len() / BATCH;
    assert!(applied(&cluster) - ops <= needed as u64, "batches that were noted are written again");
    assert_eq!(at.prints(&["get", &key]), "\"replaced\"\n");
    assert_eq!(at.prints(&["ls", "--count"]), format!("{LINES}\n"));
    assert_eq!(at.prints(&["import", "all", "--resume", "note"]), format!("keys written: 0, and before: {LINES}\n"));
    let (code, _, err) = at.run_with(&["import", "--resume", "note"], &lines(1, 3));
    assert!(code == 2 && err.contains("the note of another import"), "{code} {err}");

    // A replica that dies in the middle: what it may have done is told, and the rest goes elsewhere.
    at.endpoints = format!("{},{}", cluster.address(1), cluster.address(2));
    let mut command = at.command(&["import", "--resume", "other-note"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary was built");
    let mut input = child.stdin.take().expect("it is piped");
    let start = Instant::now();
    let feeder = std::thread::spawn(move || text.lines().try_for_each(|line| writeln!(input, "{line}")).is_ok());
    while fs::read_to_string(at.folder.join("other-note")).map_or(0, |note| note.lines().count()) < 5 {
        assert!(start.elapsed() < Duration::from_secs(20), "it writes nothing");
    }
    cluster.kill(1);
    let ended = child.wait_with_output().expect("it ends");
    let _ = feeder.join();
    assert!(matches!(ended.status.code(), Some(0 | 1 | 5 | 7)), "{ended:?}");
    cluster.start(1);
    cluster.await_settled(&[0, 1, 2], Duration::from_secs(20));
    at.prints(&["import", "all", "--resume", "other-note"]);
    assert_eq!(at.prints(&["ls", "--count"]), format!("{LINES}\n"));
}

/// How fast it is, beside a loop that sends one batch after another.
pub(crate) fn rates() {
    let keys = std::env::var("HENCE_IMPORT_KEYS").ok().map_or(KEYS, |text| text.parse().expect("a number"));
    let start = |name: &str, port: u16| {
        let mut cluster = Cluster::new(name, 1).port(port);
        cluster.start(0);
        let all = [0];
        cluster.await_settled(&all, Duration::from_secs(10));
        cluster
    };
    let (loops, imports) = (start("client_bulk_loop", 8_090), start("client_bulk_import", 8_091));
    let at = Terminal { folder: folder("client_bulk_files"), endpoints: imports.address(0) };
    let text = lines(keys, 32);
    write(&at, "all", &text);
    let rate = |since: Instant| keys as f64 / since.elapsed().as_secs_f64();

    let all: Vec<&str> = text.lines().collect();
    let bodies: Vec<String> = all
        .chunks(BATCH)
        .map(|lines| {
            let put = |line: &&str| line.replacen('{', "{\"op\":\"put\",", 1);
            format!("{{\"operations\":[{}]}}", lines.iter().map(put).collect::<Vec<_>>().join(","))
        })
        .collect();
    let mut connection = Connection::open(&loops.address(0)).expect("it listens");
    let since = Instant::now();
    for body in &bodies {
        connection.send(&request_bytes("POST", "/kvs", &[], Some(body)));
        assert_eq!(connection.receive(false).expect("an answer").status, 200);
    }
    let plain = rate(since);
    let since = Instant::now();
    let mut command = at.command(&["import", "all"]);
    let output = command.output().expect("the binary was built");
    assert!(output.status.success(), "{output:?}");
    let imported = rate(since);
    // The first list puts the keys in order; that is no part of either rate.
    let output = at.command(&["ls", "--limit", "1", "--timeout", "60s"]).output().expect("the binary was built");
    assert!(output.status.success(), "{output:?}");
    let listed = Instant::now();
    assert_eq!(pages(&imports.address(0)), keys);
    let listed = rate(listed);
    let since = Instant::now();
    let output = at.command(&["export", "-o", "again"]).output().expect("the binary was built");
    assert!(output.status.success(), "{output:?}");
    let exported = rate(since);
    assert_eq!(without_tags(&read(&at, "again")).len(), keys);
    println!(
        "note: {keys} keys a second: import {imported:.0}, a loop of batches {plain:.0}, ratio {:.2}; export {exported:.0}, a loop of pages {listed:.0}, ratio {:.2}",
        imported / plain,
        exported / listed
    );
}

/// Reads every key by the largest pages, one after another, and counts them.
fn pages(address: &str) -> usize {
    let mut connection = Connection::open(address).expect("it listens");
    let (mut count, mut next) = (0, Some("/kvs?limit=1000".to_owned()));
    while let Some(path) = next {
        connection.send(&request_bytes("GET", &path, &[], None));
        let answer = connection.receive(false).expect("an answer");
        let body = String::from_utf8(answer.body).expect("a text");
        count += body.matches("\"key\":").count();
        next = body.split_once("\"next\":\"").map(|(_, rest)| rest[..rest.find('"').expect("it ends")].to_owned());
    }
    count
}

/// The load generator: shares, rates, and what fails.
pub(crate) fn bench() {
    let mut cluster = Cluster::running("client_bench", 3);
    let at = terminal(&cluster, "client_bench_files");
    let all = ["bench", "--json", "--duration", "1s", "--keys", "100", "--connections", "4"];
    let told = json(&at.prints(&[&all[..], &["--reads", "75"]].concat()));
    let of = |told: &Value, what: &str, name: &str| told[what][name].as_f64().unwrap_or_else(|| panic!("{told}"));
    let (reads, writes) = (of(&told, "reads", "count"), of(&told, "writes", "count"));
    assert!(writes > 10.0 && (reads / writes - 3.0).abs() < 0.3, "{told}");
    let times = ["p50-ms", "p90-ms", "p99-ms", "p99.9-ms", "max-ms"].map(|name| of(&told, "reads", name));
    assert!(times.is_sorted() && times[0] > 0.0, "{told}");
    assert!((of(&told, "reads", "per-second") * told["seconds"].as_f64().expect("a number") - reads).abs() < 1.0);
    assert_eq!(at.prints(&["ls", "--count", "--prefix", "bench/"]), "100\n", "no key of other names");

    let told = json(&at.prints(&[&all[..], &["--rate", "200", "--reads", "0"]].concat()));
    let writes = of(&told, "writes", "count");
    assert!((150.0..=210.0).contains(&writes) && of(&told, "reads", "count") == 0.0, "{told}");
    // A replica that stands still for a while makes every request late that was due then.
    let mut command = at.command(&[&all[..], &["--rate", "200", "--endpoints", &cluster.address(0)]].concat());
    let child = command.spawn().expect("the binary was built");
    std::thread::sleep(Duration::from_millis(500));
    cluster.signal(0, "STOP");
    std::thread::sleep(Duration::from_millis(400));
    cluster.signal(0, "CONT");
    let output = child.wait_with_output().expect("it ends");
    let told = json(&String::from_utf8_lossy(&output.stdout));
    assert!(of(&told, "writes", "p90-ms") > 100.0, "{told}");

    let lines = at.prints(&["bench", "--duration", "200ms", "--keys", "10"]);
    let starts: Vec<&str> = lines.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(starts, ["reads", "writes"], "{lines}");
    at.fails(&["bench", "--endpoints", "127.0.0.1:1", "--timeout", "200ms"], 1, "no replica served");
    at.fails(&["bench", "--reads", "101"], 2, "101");
}
