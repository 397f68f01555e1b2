//! `explore`: its verbs over HTTP, forks, and cases that come of them.

use super::{folder, sim, text};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pictures/a-delete-that-is-left-out.json");

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
    token: String,
    /// Its line for programs, if it was asked for one.
    told: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Self {
        Self::of(&[CASE])
    }

    fn of(what: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence-sim"));
        let command = command.arg("explore").args(what).args(["--port", "0"]).current_dir(folder());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let is_asked = what.contains(&"--json");
        let line = lines.map_while(Result::ok).find(|line| is_asked || line.starts_with("http://"));
        let line = line.expect("its address");
        let told: Value = if is_asked { serde_json::from_str(&line).expect("JSON") } else { Value::Null };
        let url = told["url"].as_str().unwrap_or(&line);
        let (address, token) = url["http://".len()..].trim_end_matches('/').split_once('/').expect("a token");
        Self { address: address.to_owned(), token: token.to_owned(), told, process }
    }

    fn raw(&self, method: &str, path: &str, host: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, body) =
            (format!("/{}/{path}", self.token), if body.is_null() { String::new() } else { body.to_string() });
        let (status, answer) = self.raw(method, &path, &self.address, &body);
        (status, serde_json::from_str(&answer).unwrap_or(Value::Null))
    }

    /// A verb that must do what it is asked.
    fn act(&self, verb: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", &format!("api/{verb}"), &body);
        assert_eq!(status, 200, "{verb} {body}: {answer}");
        answer
    }

    fn story(&self) -> Vec<Value> {
        let (status, lines) = self.raw("GET", &format!("/{}/api/story", self.token), &self.address, "");
        assert_eq!(status, 200);
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Only a program that knows the address may call, and what cannot be done says why and changes nothing.
#[test]
fn explore_is_for_those_who_know_its_address() {
    let server = Server::start();
    let path = format!("/{}/api/state", server.token);
    assert_eq!(server.raw("GET", &path, &server.address, "").0, 200);
    assert_eq!(server.raw("GET", "/api/state", &server.address, "").0, 403);
    assert_eq!(server.raw("GET", &path.replace(&server.token[..4], "0000"), &server.address, "").0, 403);
    assert_eq!(server.raw("GET", &path, "evil.example", "").0, 403);
    let before = server.call("GET", "api/state", &Value::Null);
    for (verb, body, says) in [
        ("go", json!({ "event": 999_999 }), "has no event"),
        ("go", json!({ "branch": 7 }), "no branch 7"),
        ("run", json!({ "to": "lunch" }), "to: event"),
        ("fork", json!({ "do": "drop" }), "is no message"),
        ("fork", json!({ "do": "crash", "replica": "Z", "span": 1 }), "no replica Z"),
        ("fork", json!({ "do": "heal", "fault": 9 }), "not in force"),
        ("fork", json!({ "do": "sing" }), "unknown variant"),
        ("save", json!({ "file": "../x.json" }), "a name without a folder"),
    ] {
        let (status, answer) = server.call("POST", &format!("api/{verb}"), &body);
        assert_eq!(status, 400, "{verb} {body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(says)), "{verb} {body}: {answer}");
    }
    assert_eq!(server.call("GET", "api/state", &Value::Null), before);
    assert_eq!(server.call("POST", "api/dance", &Value::Null).0, 404);
    let (status, page) = server.raw("GET", &format!("/{}/", server.token), &server.address, "");
    assert!(status == 200 && page.contains("connect-src 'self'") && page.contains("\"live\":0"), "{status}");
}

/// A program reads where it is from one line, and nothing else stands beside it.
#[test]
fn explore_tells_its_address_to_programs() {
    let server = Server::of(&[CASE, "--json"]);
    let told = &server.told;
    let url = format!("http://{}/{}/", server.address, server.token);
    assert_eq!((&told["kind"], &told["url"], &told["token"]), (&json!("address"), &json!(url), &json!(server.token)));
    assert_eq!(format!("{}:{}", told["host"].as_str().expect("a text"), told["port"]), server.address);
    let fields: Vec<&String> = told.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["commit", "host", "kind", "port", "token", "url", "version"]);
    assert_eq!(server.call("GET", "api/state", &Value::Null).0, 200);
}

/// Back and forth, and to the next event of a kind.
#[test]
fn explore_steps_and_runs() {
    let server = Server::start();
    let event = |state: &Value| state["event"].as_u64().expect("a number");
    assert_eq!(event(&server.act("step", json!({ "by": 5 }))), 5);
    assert_eq!(event(&server.act("step", json!({ "by": -2 }))), 3);
    assert_eq!(event(&server.act("step", json!({ "by": -99 }))), 0);
    let write = server.act("run", json!({ "to": "write" }));
    assert_eq!((&write["kind"], &write["text"]), (&json!("applied"), &json!("accepts b1.1")));
    assert!(write["states"]["B"]["vector"].as_str().is_some(), "{write}");
    let end = server.act("run", json!({ "to": "violation" }));
    assert_eq!((&end["kind"], event(&end) + 1), (&json!("violation"), end["events"].as_u64().expect("a number")));
    assert_eq!(server.act("go", json!({ "event": event(&write) })), write);
}

/// Two cases side by side: the failing one, and the same without one message. They part where that message is lost.
#[test]
fn two_runs_are_aligned_at_their_first_difference() {
    let mut case: Value = serde_json::from_str(&std::fs::read_to_string(CASE).expect("the case")).expect("JSON");
    let server = Server::start();
    let story = server.story();
    let lost = story.iter().find(|event| event["kind"] == "received" && event["message"]["name"] == "view");
    let message = &lost.expect("a view arrives")["message"];
    let sent = story.iter().find(|event| event["kind"] == "sent" && event["message"]["id"] == message["id"]);
    let sent = sent.expect("it was sent");
    case["choices"][sent["message"]["choice"].as_str().expect("a name")]["lost"] = true.into();
    let other = folder().join("one-less.json");
    std::fs::write(&other, case.to_string()).expect("a file");
    let server = Server::of(&["--diff", CASE, &other.display().to_string()]);
    let (status, diff) = server.call("GET", "api/diff", &Value::Null);
    assert_eq!(status, 200, "{diff}");
    // Everything before it is the same; what is said of the message itself is the first that differs.
    assert_eq!(diff["same"], sent["id"], "{diff}");
    let first = &diff["rows"][0];
    assert!(first[0]["text"] == sent["text"] || first[1]["text"] != first[0]["text"], "{first}");
    let (status, page) = server.raw("GET", &format!("/{}/", server.token), &server.address, "");
    assert!(status == 200 && page.contains("here they part") && page.contains("before are the same"), "{page}");
    assert_eq!(server.call("POST", "api/step", &Value::Null).0, 405);
    // A run beside itself does not part.
    let server = Server::of(&["--diff", CASE, CASE]);
    let (_, diff) = server.call("GET", "api/diff", &Value::Null);
    assert_eq!((diff["rows"].as_array().map(Vec::len), &diff["same"]), (Some(0), &diff["events"][0]));
    assert_eq!(sim(&["explore", "--diff", CASE]).status.code(), Some(2));
}

/// A fork that drops one message is the same run as a case in which that message is lost. A fork that still fails is a
/// case that replays and shrinks.
#[test]
fn a_fork_is_a_case() {
    let server = Server::start();
    let (first, is_hello) =
        (server.story(), |line: &&Value| line["kind"] == "sent" && line["message"]["name"] == "hello");
    let sent = first.iter().find(is_hello).expect("a hello");
    let dropped = server.act("fork", json!({ "do": "drop", "event": sent["id"] }));
    assert_eq!((&dropped["branch"], &dropped["event"]), (&json!(1), &sent["id"]));
    let mut case: Value = serde_json::from_str(&std::fs::read_to_string(CASE).expect("the case")).expect("JSON");
    case["choices"][sent["message"]["choice"].as_str().expect("a name")]["lost"] = true.into();
    std::fs::write(folder().join("by-hand.json"), case.to_string()).expect("a file");
    let by_hand = sim(&["show", "by-hand.json", "--json"]);
    let by_hand: Vec<Value> = text(&by_hand).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let forked = server.story();
    assert_ne!(forked, first);
    assert_eq!(forked, by_hand);
    // Up to the fork nothing is different.
    let until = sent["id"].as_u64().expect("a number") as usize;
    assert_eq!(forked[1..=until], first[1..=until]);
    server.act("go", json!({ "branch": 0, "event": 40 }));
    let asked = server.act("fork", json!({ "do": "request", "client": 2, "replica": "B", "key": 0, "act": "get" }));
    assert_eq!((&asked["branch"], &asked["violation"]), (&json!(2), &json!("sessions/past_missing")));
    _ = std::fs::remove_file(folder().join("fork.json"));
    assert_eq!(server.act("save", json!({ "file": "fork.json" }))["fingerprint"], "sessions/past_missing");
    let replay = sim(&["replay", "fork.json"]);
    assert!(text(&replay).starts_with("same failure"), "{}", text(&replay));
    let shrink = sim(&["shrink", "fork.json", "-o", "fork.small.json"]);
    assert!(text(&shrink).contains("taking any one away makes it pass"), "{}", text(&shrink));
    // What is there already stays.
    assert_eq!(server.call("POST", "api/save", &json!({ "file": "fork.json" })).0, 409);
    let (_, branches) = server.call("GET", "api/branches", &Value::Null);
    assert_eq!(branches.as_array().map(Vec::len), Some(3), "{branches}");
}
