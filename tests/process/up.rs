//! `hence up`: the tour that README describes, through its own terminal and real HTTP.

use crate::cluster::HENCE;
use hence_tests::client::{self, Response};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const A: &str = "127.0.0.1:8082";
const B: &str = "127.0.0.1:8083";
const C: &str = "127.0.0.1:8084";

/// A running `hence up` with its terminal.
pub(crate) struct Up {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Up {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(HENCE);
        command.arg("up").args(arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the binary was built");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = child.stdin.take();
        Self { child, input, lines }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed yet");
        writeln!(input, "{line}").expect("it reads its terminal");
    }

    /// Waits for a line that contains this.
    pub(crate) fn hear(&self, part: &str) -> String {
        let start = Instant::now();
        let mut heard = Vec::new();
        while let Some(left) = Duration::from_secs(10).checked_sub(start.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => heard.push(line),
                Err(_) => break,
            }
        }
        panic!("no line with {part:?} among {heard:#?}");
    }

    pub(crate) fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(6), "`hence up` does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn poll(what: &str, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < Duration::from_secs(12), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn view(address: &str) -> Vec<String> {
    let response = client::try_request(address, "GET", "/view", &[], None, Duration::from_secs(2));
    let view = response.ok().and_then(|response| response.json()["view"].as_array().cloned()).unwrap_or_default();
    view.iter().filter_map(|address| address.as_str().map(str::to_owned)).collect()
}

fn status(response: &Response) -> u16 {
    response.status
}

/// Write at one replica, read elsewhere, cut, refuse, heal, wait, kill, restart, quit.
pub(crate) fn tour() {
    let mut up = Up::start(&[]);
    up.hear(&format!("http://{A}"));
    up.hear("curl -X PUT");
    poll("three in every view", || [A, B, C].iter().all(|at| view(at) == [A, B, C]));
    poll("everybody to be ready", || {
        [A, B, C].iter().all(|at| client::request(at, "GET", "/ready", &[], None).status == 200)
    });

    let first = client::put(A, "greeting", "\"hello\"", None);
    assert_eq!(status(&first), 201);
    let there =
        client::request(B, "GET", "/kvs/greeting", &[("Causal-Metadata", &first.token()), ("Prefer", "wait=5")], None);
    assert_eq!((there.status, &there.json()["value"]), (200, &"hello".into()));

    up.say("cut b");
    up.hear("cut off");
    let second = client::put(A, "greeting", "\"goodbye\"", Some(&first.token()));
    assert_eq!(status(&second), 200);
    assert_eq!(client::get(B, "greeting", Some(&second.token())).status, 503);
    assert_eq!(client::get(B, "greeting", Some(&first.token())).json()["value"], "hello");
    up.say("view");
    assert!(up.hear("  b  ").contains("cut off"));
    up.say("heal b");
    up.hear("connected again");
    let headers = [("Causal-Metadata", second.token()), ("Prefer", "wait=5".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let waited = client::request(B, "GET", "/kvs/greeting", &headers, None);
    assert_eq!((waited.status, &waited.json()["value"]), (200, &"goodbye".into()), "{waited:?}");

    up.say("kill c");
    up.hear("c is dead");
    poll("c to leave the views", || [A, B].iter().all(|at| view(at) == [A, B]));
    up.say("restart c");
    up.hear("c started");
    poll("c to be back in the views", || [A, B, C].iter().all(|at| view(at) == [A, B, C]));
    poll("c to have the data", || client::get(C, "greeting", Some(&second.token())).status == 200);

    for (line, answer) in
        [("dance", "not a command"), ("cut", "whom"), ("cut z", "z"), ("kill b", "b is dead"), ("kill b", "b")]
    {
        up.say(line);
        up.hear(answer);
    }
    up.say("quit");
    assert_eq!(up.end(), Some(0));

    let mut up = Up::start(&["1", "--port", "9000"]);
    up.hear("http://127.0.0.1:9000");
    poll("one alone to serve", || client::put("127.0.0.1:9000", "k", "1", None).status < 300);
    up.input = None;
    crate::cluster::signal(up.child.id(), "INT");
    assert_eq!(up.end(), Some(0), "Ctrl-C");
}
