//! Many clients with tokens that move between replicas, over the published ports; what they saw is judged.
//!
//! Each request goes to a replica drawn at random. Now and then a client joins into its own past what another one left
//! on a board. Every answer is recorded as an operation of a history, in the project's own format, and the whole goes
//! to the history checker. A failing history is written beside the logs, for `hence-sim check`.

use crate::cluster::Cluster;
use hence_checker::history::{Action, History, Operation, Outcome};
use hence_checker::{Level, Options, Verdict, judge};
use hence_tests::choices::Choices;
use hence_tests::client::{self, NoResponse, Response};
use hence_tests::replicas::Replicas;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CLIENTS: usize = 12;
const KEYS: u64 = 20;
const BOARD_MAX: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(1);

/// How many answers of each kind there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// 200, 201 and 404.
    pub(crate) served: u64,
    /// 503.
    pub(crate) refused: u64,
    /// 424: a write that the client knew is lost.
    pub(crate) lost: u64,
    /// No answer.
    pub(crate) silent: u64,
}

struct Shared {
    start: Instant,
    addresses: RwLock<Vec<String>>,
    ended: AtomicBool,
    next_id: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    counts: Mutex<Counts>,
    tokens: Vec<Mutex<Option<String>>>,
    board: Mutex<Vec<String>>,
}

/// Clients at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients begin to work on these replicas.
    pub(crate) fn start(cluster: &Cluster, ats: &[usize]) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            addresses: RwLock::new(ats.iter().map(|&at| cluster.address(at)).collect()),
            ended: AtomicBool::new(false),
            next_id: AtomicU64::new(0),
            operations: Mutex::default(),
            counts: Mutex::default(),
            tokens: (0..CLIENTS).map(|_| Mutex::default()).collect(),
            board: Mutex::default(),
        });
        let spawn = |name| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work(name))
        };
        Self { clients: (0..CLIENTS).map(spawn).collect(), shared }
    }

    /// From now on these replicas are asked.
    pub(crate) fn move_to(&self, cluster: &Cluster, ats: &[usize]) {
        let addresses = ats.iter().map(|&at| cluster.address(at)).collect();
        *self.shared.addresses.write().expect("no holder panics") = addresses;
    }

    /// What has been answered so far.
    pub(crate) fn counts(&self) -> Counts {
        *self.shared.counts.lock().expect("no holder panics")
    }

    /// Every client's token now.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.shared.tokens.iter().filter_map(|token| token.lock().expect("no holder panics").clone()).collect()
    }

    /// Ends the work, waits until these replicas are equal, reads every key everywhere with the past of all clients,
    /// and judges all of it. What was lost must be as often as `lost` allows.
    pub(crate) fn judge(mut self, cluster: &Cluster, ats: &[usize], lost: std::ops::RangeInclusive<u64>) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().expect("a client only records"));
        let settled = cluster.await_settled(ats, Duration::from_secs(10));
        let counts = self.counts();
        self.read_all(cluster, ats);
        let operations = std::mem::take(&mut *self.shared.operations.lock().expect("no holder panics"));
        judge_operations(&operations, cluster);
        note!("{counts:?}; equal {settled:?} after the end; {} operations judged", operations.len());
        assert!(counts.served > 500, "too little happened: {counts:?}");
        assert!(lost.contains(&counts.lost), "{} answers said that a write was lost", counts.lost);
    }

    /// Final reads: each key at each replica, with all that any client knows. Every read must be served.
    fn read_all(&self, cluster: &Cluster, ats: &[usize]) {
        let mut all: Option<String> = None;
        let address = cluster.address(ats[0]);
        for token in self.tokens() {
            let (answer, _) = self.shared.ask("last", &address, Action::Get, 0, all.as_deref(), Some(&token));
            let answer = answer.expect("a settled replica answers");
            // A client that has not asked since a write was lost learns it here.
            assert!(matches!(answer.status, 200 | 404 | 424), "a client's past is not served: {answer:?}");
            all = Some(answer.token());
        }
        for &at in ats {
            for key in 0..KEYS {
                let (answer, _) = self.shared.ask("last", &cluster.address(at), Action::Get, key, all.as_deref(), None);
                let status = answer.expect("a settled replica answers").status;
                assert!(status == 200 || status == 404, "k{key} at {at} with everybody's past: {status}");
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| _ = client.join());
    }
}

impl Shared {
    fn work(&self, name: usize) {
        let mut choices = Choices(0x9e37_79b9 * (name as u64 + 1));
        let client = format!("c{name}");
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5 + choices.below(25)));
            let address = {
                let addresses = self.addresses.read().expect("no holder panics");
                addresses[choices.below(addresses.len() as u64) as usize].clone()
            };
            let action = match choices.below(10) {
                0..=4 => Action::Get,
                5..=8 => Action::Put,
                _ => Action::Delete,
            };
            let own = self.tokens[name].lock().expect("no holder panics").clone();
            let told = if choices.below(8) == 0 { self.told(&mut choices) } else { None };
            let key = choices.below(KEYS);
            let (answer, served) = self.ask(&client, &address, action, key, own.as_deref(), told.as_deref());
            let Some(token) = answer.filter(|_| served).map(|answer| answer.token()) else { continue };
            if choices.below(8) == 0 {
                self.tell(token.clone());
            }
            *self.tokens[name].lock().expect("no holder panics") = Some(token);
        }
    }

    fn told(&self, choices: &mut Choices) -> Option<String> {
        let board = self.board.lock().expect("no holder panics");
        (!board.is_empty()).then(|| board[choices.below(board.len() as u64) as usize].clone())
    }

    fn tell(&self, token: String) {
        let mut board = self.board.lock().expect("no holder panics");
        if board.len() == BOARD_MAX {
            board.remove(0);
        }
        board.push(token);
    }

    /// One request, recorded. The own token goes in the body, as the contract has it, the other one in the header.
    /// Says whether the answer carries the client on.
    fn ask(
        &self,
        client: &str,
        address: &str,
        action: Action,
        key: u64,
        own: Option<&str>,
        told: Option<&str>,
    ) -> (Option<Response>, bool) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut operation = Operation::new(id, client, action, &format!("k{key}"));
        operation.replica = address.to_owned();
        operation.token_in = own.or(told).map(str::to_owned);
        operation.merged_from = own.and(told).map(str::to_owned).into_iter().collect();
        // The id is the value, so no value is written twice.
        let value = (action == Action::Put).then(|| id.to_string());
        let past = own.map_or_else(|| "null".to_owned(), |token| format!("\"{token}\""));
        let body = match &value {
            Some(value) => format!("{{\"value\":{value},\"causal-metadata\":{past}}}"),
            None => format!("{{\"causal-metadata\":{past}}}"),
        };
        let headers: Vec<(&str, &str)> = told.map(|token| ("Causal-Metadata", token)).into_iter().collect();
        let (method, path) = (action.name().to_ascii_uppercase(), format!("/kvs/k{key}"));
        operation.value = value;
        operation.call_ns = Some(self.start.elapsed().as_nanos() as u64);
        let answer = client::try_request(address, &method, &path, &headers, Some(&body), TIMEOUT);
        operation.return_ns = Some(self.start.elapsed().as_nanos() as u64);
        let served = self.note(&mut operation, &answer);
        self.operations.lock().expect("no holder panics").push(operation);
        (answer.ok(), served)
    }

    /// Fills in what came back, and counts it. Says whether it carries the client on.
    fn note(&self, operation: &mut Operation, answer: &Result<Response, NoResponse>) -> bool {
        let mut counts = self.counts.lock().expect("no holder panics");
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                counts.silent += 1;
                // Where no process accepts, nothing was sent.
                let refused = matches!(error, NoResponse::Refused(_));
                operation.outcome = if refused { Outcome::Fail } else { Outcome::Unknown };
                return false;
            }
        };
        operation.status = answer.status;
        operation.token_out = answer.header("causal-metadata").map(str::to_owned);
        let versions = |header: &str| {
            let list = answer.header(header)?.trim_matches('"');
            Some(list.split('+').filter(|version| !version.is_empty()).map(str::to_owned).collect())
        };
        match answer.status {
            200 | 201 | 404 => counts.served += 1,
            503 => counts.refused += 1,
            424 => counts.lost += 1,
            status => panic!("{status} to a client that asks well: {answer:?}"),
        }
        if matches!(answer.status, 200 | 201) {
            match operation.action {
                Action::Get => {
                    operation.value = Some(answer.json()["value"].to_string());
                    operation.shown = versions("etag");
                }
                Action::Put => {
                    operation.shown = versions("etag");
                    operation.superseded = versions("causal-superseded");
                }
                Action::Delete => operation.superseded = versions("causal-superseded"),
            }
        }
        answer.status != 503
    }
}

fn judge_operations(operations: &[Operation], cluster: &Cluster) {
    let history = History::of(operations).unwrap_or_else(|(at, problem)| panic!("{problem}: {:?}", operations[at]));
    let begun = Instant::now();
    let report = judge(&history, Options::default());
    let clean = report.as_ref().is_ok_and(|report| !report.is_broken());
    if !clean {
        let path = cluster.folder().join("history.jsonl");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("the folder is ours"));
        for operation in operations {
            hence_checker::format::json::write(operation, &mut file).expect("the disk has room");
        }
        file.flush().expect("the disk has room");
        println!("history: {}", path.display());
    }
    let report = report.unwrap_or_else(|error| panic!("the history cannot be judged: {error}"));
    if let Some(found) = report.counterexample(&history, Options::default()) {
        panic!("what the clients saw is not causally consistent:\n{}\n{}", found.prose(), found.diagram());
    }
    assert!(clean, "replicas that are equal answered differently: {:?}", report.convergence);
    let verdicts: BTreeMap<&str, String> =
        Level::ALL.into_iter().map(|level| (level.name(), report.verdict(level).to_string())).collect();
    assert_eq!(report.verdict(Level::Causal), Verdict::Fine, "{verdicts:?} {:?}", report.warnings);
    note!("{verdicts:?}, final reads {:?}, judged in {:?}", report.convergence, begun.elapsed());
}
