//! `contract`: does an implementation, ours or another, keep the contract? Requests over HTTP and nothing else.
//!
//! The tables are those of hence's own tests. There, hence's answers are compared to the byte. Here any JSON that says
//! the same will do, and metadata is opaque. What is beyond the contract is left out unless asked for. The view is put
//! back as it was, and the keys that were written are deleted.

mod causal;
mod compare;
mod table;

use crate::console::lines::Lines;
use crate::console::signals::Stop;
use crate::console::{Done, End, output};
use crate::credentials::Credentials;
use crate::http::{self, Connection, NoAnswer, Target};
use compare::Names;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most of a body that is printed.
const SHOWN_BYTES_MAX: usize = 300;

/// The exit codes.
const ENDS: &str = codes!(
    0: "every case is as the contract says",
    1: "one is not, or the view could not be put back",
    4: "no case was tried, or the command was stopped before the last one without a complaint",
    "SIGINT, SIGTERM or SIGHUP stops after the current case and puts the view back; a second one ends it at once."
);

/// Is a cluster of three what the contract says?
#[derive(clap::Args)]
#[command(after_help = ENDS)]
pub struct Contract {
    /// Three replicas of one cluster, as http://HOST:PORT, separated by commas. Use one that can be spared: replicas
    /// leave its view and come back
    #[arg(value_delimiter = ',', required = true)]
    targets: Vec<String>,
    /// The replicas' addresses as the view lists them, in the same order, where they differ from the URLs
    #[arg(long, value_delimiter = ',')]
    addresses: Option<Vec<String>>,
    /// Check the extensions of hence, too
    #[arg(long)]
    extensions: bool,
    /// Only cases whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// JSON lines instead of text, and nothing else on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    credentials: Credentials,
}

/// What is wrong, in words for the author of an implementation.
#[derive(Debug)]
struct Complaint {
    /// The request as a command line.
    sent: String,
    expected: String,
    came: String,
    because: String,
}

/// An answer, owned.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The JSON text of a member of the body.
    fn member(&self, name: &str) -> Option<String> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_slice(&self.body).ok()?;
        members.get(name).map(|raw| raw.get().to_owned())
    }
}

/// A request and what came of it.
#[derive(Debug)]
struct Came {
    curl: String,
    answer: Result<Answer, NoAnswer>,
}

impl Came {
    fn text(&self) -> String {
        match &self.answer {
            Err(error) => error.to_string(),
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                let shown: String = body.chars().take(SHOWN_BYTES_MAX).collect();
                let more = if shown.len() < body.len() { " ..." } else { "" };
                format!("{} {shown}{more}", answer.status)
            }
        }
    }

    fn complaint(&self, expected: &str, because: &str) -> Complaint {
        let (sent, came) = (self.curl.clone(), self.text());
        Complaint { sent, expected: expected.into(), came, because: because.into() }
    }
}

/// The cluster under test.
struct Rig {
    targets: Vec<Target>,
    connections: Vec<Connection>,
    /// As the view lists them, if that is known.
    addresses: Option<Vec<String>>,
    extensions: bool,
    requests: usize,
    marks: usize,
    /// How long the cluster may take to agree; shorter once it did not.
    patience: Duration,
}

/// Asks the cluster each case, says what came, and puts the view back.
///
/// # Errors
///
/// Arguments that make no sense, or replicas that do not answer.
pub fn run(asked: &Contract) -> Done {
    let shown = asked.credentials.load()?;
    let targets = asked.targets.iter().map(|url| Target::shown(url, &shown)).collect::<Result<Vec<_>, _>>()?;
    if targets.len() != 3 {
        return Err(format!("{} targets; the contract is about a cluster of three", targets.len()).into());
    }
    let stop = Stop::watch()?;
    let mut rig = Rig::new(targets, asked.extensions);
    let view = rig.first_view()?;
    let named = asked.addresses.clone().unwrap_or_else(|| rig.targets.iter().map(|it| it.address.clone()).collect());
    let is_listed = named.len() == 3 && named.iter().all(|address| view.contains(address));
    if asked.addresses.is_some() && !is_listed {
        return Err(format!("the view lists {}", view.iter().cloned().collect::<Vec<_>>().join(", ")).into());
    }
    let lines = Lines::asked(asked.json);
    lines.introduce();
    rig.addresses = is_listed.then_some(named);
    let mut tally = Tally { lines, ..Tally::default() };
    let is_wanted = |name: &str| asked.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    // A table whose output is closed is left, too, with the view as it was.
    let is_over = || stop.is_asked() || output::is_lost();
    for case in table::cases().iter().filter(|case| is_wanted(&case.name)) {
        if is_over() {
            break;
        }
        if let Some(why) = case.skipped(&rig) {
            tally.skip(&case.name, why);
            continue;
        }
        let keys: Vec<String> = case.keys().into_iter().collect();
        rig.clean(&keys);
        tally.count(&case.name, &case.why, case.run(&mut rig));
        rig.clean(&keys);
        rig.restore(&view);
    }
    rig.clean(&causal::keys());
    for check in causal::CHECKS.iter().filter(|check| is_wanted(check.0)) {
        if is_over() {
            break;
        }
        tally.count(check.0, check.1, causal::run(&mut rig, check));
    }
    rig.clean(&causal::keys());
    let is_restored = rig.restore(&view);
    if !is_restored {
        say!("THE VIEW IS NOT AS IT WAS: it was {}", view.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    tally.print(is_over(), is_restored);
    Ok(match () {
        () if tally.failed > 0 || !is_restored => End::Violation,
        () if tally.passed == 0 || is_over() => End::Nothing,
        () => End::Clean,
    })
}

#[derive(Default)]
struct Tally {
    lines: Lines,
    passed: usize,
    failed: usize,
    requests: usize,
    skipped: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn skip(&mut self, name: &str, why: &'static str) {
        say!("left out  {name}");
        self.lines.add(|| json!({ "kind": "case", "case": name, "outcome": "left out", "because": why }));
        *self.skipped.entry(why).or_default() += 1;
    }

    fn count(&mut self, name: &str, why: &str, result: Result<usize, Complaint>) {
        match result {
            Ok(requests) => {
                say!("ok        {name}");
                self.lines.add(|| json!({ "kind": "case", "case": name, "outcome": "ok", "requests": requests }));
                self.passed += 1;
                self.requests += requests;
            }
            Err(complaint) => {
                say!("FAILED    {name}");
                say!("  sent      {}", complaint.sent);
                say!("  expected  {}", complaint.expected);
                say!("  came      {}", complaint.came);
                say!("  because   {}", complaint.because);
                say!("  why       {why}");
                let Complaint { sent, expected, came, because } = complaint;
                self.lines.add(|| {
                    json!({ "kind": "case", "case": name, "outcome": "failed", "sent": sent, "expected": expected,
                        "came": came, "because": because, "why": why })
                });
                self.failed += 1;
            }
        }
    }

    fn print(&self, is_stopped: bool, is_restored: bool) {
        let (passed, all) = (self.passed, self.passed + self.failed);
        say!("{passed} of {all} cases are as the contract says; {} requests in those", self.requests);
        if all == 0 {
            say!("no case was tried, so nothing is known");
        }
        for (why, count) in &self.skipped {
            say!("{count} cases left out: {why}");
        }
        if is_stopped {
            say!("stopped early");
        }
        self.lines.add(|| {
            json!({ "kind": "summary", "ok": passed, "failed": self.failed, "left_out": self.skipped,
                "requests": self.requests, "stopped": is_stopped, "view_restored": is_restored })
        });
    }
}

impl Rig {
    fn new(targets: Vec<Target>, extensions: bool) -> Self {
        let connect = |target: &Target| Connection::new(target.clone(), Duration::from_secs(15));
        let connections = targets.iter().map(connect).collect();
        let patience = Duration::from_secs(10);
        Self { targets, connections, addresses: None, extensions, requests: 0, marks: 0, patience }
    }

    /// What the names in tables stand for.
    fn names(&self) -> Names {
        let quoted = |text: &str| format!("\"{text}\"");
        let addresses = self.addresses.iter().flatten().enumerate();
        let addresses = addresses.map(|(at, address)| (format!("a{at}"), quoted(address)));
        addresses.chain([("nobody".to_owned(), quoted("127.0.0.9:8090"))]).collect()
    }

    fn ask(&mut self, at: usize, method: &str, path: &str, headers: &[(&str, String)], body: Option<&str>) -> Came {
        self.requests += 1;
        let target = &self.targets[at];
        let borrowed: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut request = Vec::new();
        http::request(&mut request, target, method, path, &borrowed, body.map(str::as_bytes));
        let curl = curl(target, method, path, headers, body);
        let answer = self.connections[at].exchange(&request, method == "HEAD").map(|answer| Answer {
            status: answer.status,
            headers: answer.texts(),
            body: answer.body.to_vec(),
        });
        Came { curl, answer }
    }

    fn view(&mut self, at: usize) -> Option<BTreeSet<String>> {
        let answer = self.ask(at, "GET", "/view", &[], None).answer.ok()?;
        serde_json::from_str(&answer.member("view")?).ok()
    }

    /// The view before anything is changed, and that every replica answers.
    fn first_view(&mut self) -> Result<BTreeSet<String>, String> {
        let mut views = Vec::new();
        for at in 0..3 {
            let came = self.ask(at, "GET", "/view", &[], None);
            let text = came.answer.as_ref().ok().and_then(|answer| answer.member("view"));
            let view = text.and_then(|text| serde_json::from_str::<BTreeSet<String>>(&text).ok());
            views.push(view.ok_or_else(|| format!("GET /view at {}: {}", self.targets[at].address, came.text()))?);
        }
        Ok(views.swap_remove(0))
    }

    /// Waits until every replica lists exactly these. One that was removed need not be told, in the contract.
    fn await_views(&mut self, ats: &[usize]) -> Result<(), Complaint> {
        let Some(addresses) = self.addresses.clone() else { return Ok(()) };
        let wanted: BTreeSet<String> = ats.iter().map(|&at| addresses[at].clone()).collect();
        let askers = if self.extensions { vec![0, 1, 2] } else { ats.to_vec() };
        for at in askers {
            if table::wait_until(self.patience, || self.view(at).as_ref() == Some(&wanted)).is_none() {
                self.patience = Duration::from_secs(3);
                let came = self.ask(at, "GET", "/view", &[], None);
                let expected = wanted.into_iter().collect::<Vec<_>>().join(", ");
                return Err(came.complaint(&expected, "the view has not come to this in ten seconds"));
            }
        }
        Ok(())
    }

    /// Waits until every replica lists all, and a write at each is seen at each.
    fn settle(&mut self) -> Result<(), Complaint> {
        self.await_views(&[0, 1, 2])?;
        for from in 0..3 {
            self.marks += 1;
            let value = format!("\"mark {}\"", self.marks);
            let body = format!("{{\"value\":{value},\"causal-metadata\":null}}");
            let mut came = self.ask(from, "PUT", "/kvs/contract-mark", &[], Some(&body));
            // It may have to load its data first.
            table::wait_until(self.patience, || {
                let is_done = came.answer.as_ref().is_ok_and(|answer| answer.status != 503);
                if !is_done {
                    came = self.ask(from, "PUT", "/kvs/contract-mark", &[], Some(&body));
                }
                is_done
            });
            let token = came.answer.as_ref().ok().and_then(|answer| answer.member("causal-metadata"));
            let token = token.ok_or_else(|| came.complaint("200 or 201", "a write was not taken"))?;
            self.settled("contract-mark", &token, &value)?;
        }
        Ok(())
    }

    /// Waits until every replica shows this value.
    fn settled(&mut self, key: &str, token: &str, value: &str) -> Result<(), Complaint> {
        let body = format!("{{\"causal-metadata\":{token}}}");
        for at in 0..3 {
            let mut last = None;
            let patience = self.patience;
            let is_there = table::wait_until(patience, || {
                let came = self.ask(at, "GET", &format!("/kvs/{key}"), &[], Some(&body));
                let shown = came.answer.as_ref().ok().and_then(|answer| answer.member("value"));
                last = Some(came);
                shown.as_deref() == Some(value)
            });
            if let (None, Some(came)) = (is_there, last) {
                self.patience = Duration::from_secs(3);
                let because = format!("it was written elsewhere and is not seen here after {} s", patience.as_secs());
                return Err(came.complaint(&format!("200 with {value}"), &because));
            }
        }
        Ok(())
    }

    /// Deletes keys, wherever they are still shown.
    fn clean(&mut self, keys: &[String]) {
        for key in keys.iter().map(String::as_str).chain(["contract-mark"]) {
            for at in 0..3 {
                let found = self.ask(at, "GET", &format!("/kvs/{key}"), &[], None).answer;
                let Some(found) = found.ok().filter(|found| found.status == 200) else { continue };
                let token = found.member("causal-metadata").unwrap_or_else(|| "null".into());
                let body = format!("{{\"causal-metadata\":{token}}}");
                let deleted = self.ask(at, "DELETE", &format!("/kvs/{key}"), &[], Some(&body)).answer;
                if deleted.is_ok_and(|answer| answer.status == 200) {
                    let body = Some("{\"causal-metadata\":null}");
                    let path = format!("/kvs/{key}");
                    let gone = |rig: &mut Self, at: usize| {
                        rig.ask(at, "GET", &path, &[], body).answer.is_ok_and(|answer| answer.status == 404)
                    };
                    table::wait_until(self.patience / 5, || (0..3).all(|at| gone(self, at)));
                }
            }
        }
    }

    /// Puts the view back; says whether it is as it was.
    fn restore(&mut self, view: &BTreeSet<String>) -> bool {
        let is_whole = |rig: &mut Self| (0..3).all(|at| rig.view(at).as_ref() == Some(view));
        if is_whole(self) {
            return true;
        }
        for at in 0..3 {
            let found = self.view(at).unwrap_or_default();
            let change = |rig: &mut Self, method: &str, address: &String| {
                let body = serde_json::json!({ "socket-address": address }).to_string();
                rig.ask(at, method, "/view", &[], Some(&body));
            };
            view.difference(&found).for_each(|address| change(self, "PUT", address));
            found.difference(view).for_each(|address| change(self, "DELETE", address));
        }
        table::wait_until(self.patience, || is_whole(self)).is_some()
    }
}

/// The request as a command line that a reader can try.
fn curl(target: &Target, method: &str, path: &str, headers: &[(&str, String)], body: Option<&str>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let what = if method == "HEAD" { "-I".into() } else { format!("-X {method}") };
    let mut line = format!("curl -i {what} {}", quoted(&format!("http://{}{}{path}", target.address, target.prefix)));
    headers.iter().for_each(|(name, value)| line.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}")))));
    match body {
        Some(body) if body.len() > SHOWN_BYTES_MAX => {
            line.push_str(&format!(" -d '{}...' ({} bytes)", &body.chars().take(40).collect::<String>(), body.len()));
        }
        Some(body) => line.push_str(&format!(" -d {}", quoted(body))),
        None => {}
    }
    line
}
