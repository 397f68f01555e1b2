//! Clients with tokens that move between replicas while links are cut, processes stopped and restarted.
//!
//! Each key has one writer, which counts up, so a reader knows the least value that its token entitles it to. So
//! read-your-writes, monotonic reads and writes-follow-reads are one comparison. Afterwards every token is served
//! everywhere, and all replicas are equal.

use crate::cluster::Cluster;
use crate::network::{Cut, cut, heal};
use hence_tests::choices::Choices;
use hence_tests::client::{self, Response};
use hence_tests::replicas::Replicas;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 6;
const LENGTH: Duration = Duration::from_secs(20);

/// What a client knows of a key: a value, and the token that came with it.
type Known = (u64, String);

/// What clients tell each other, and what happened to them.
#[derive(Default)]
pub(crate) struct Board {
    known: Mutex<BTreeMap<String, Known>>,
    served: AtomicU64,
    refused: AtomicU64,
    unreachable: AtomicU64,
}

/// `HENCE_SEED` chooses other faults; what the clients do meanwhile is up to the scheduler.
fn seed() -> u64 {
    std::env::var("HENCE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Twenty seconds of cuts, pauses and orderly restarts under six clients.
pub(crate) fn sessions() {
    let mut cluster = Cluster::running("sessions", 3);
    let board = Board::default();
    let ended = AtomicBool::new(false);
    let addresses = cluster.addresses(&[0, 1, 2]);
    std::thread::scope(|scope| {
        for name in 0..CLIENTS {
            let (board, ended, addresses) = (&board, &ended, &addresses);
            scope.spawn(move || work(name, addresses, board, ended));
        }
        strike(&mut cluster);
        ended.store(true, Ordering::Relaxed);
    });
    let time = cluster.await_settled(&[0, 1, 2], Duration::from_secs(10));
    board.check_at(&cluster, 3);
    let [served, refused, unreachable] = board.counts();
    println!(
        "note: {served} served, {refused} refused, {unreachable} unreachable; equal {time:?} after the last fault"
    );
    assert!(served > 1_000 && refused > 20, "too little happened: {served} served, {refused} refused");
}

impl Board {
    /// What clients were told is there, at each of so many replicas.
    pub(crate) fn check_at(&self, cluster: &Cluster, replicas: usize) {
        let known = self.known.lock().expect("no client has failed");
        for (key, (value, token)) in known.iter() {
            for at in 0..replicas {
                let response = cluster.get_expecting(at, key, Some(token), 200);
                assert!(number(&response) >= *value, "{key} at {at}: {} after {value}", response.text());
            }
        }
    }

    /// Requests that were served, refused and not answered.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.served, &self.refused, &self.unreachable].map(|count| count.load(Ordering::Relaxed))
    }
}

fn number(response: &Response) -> u64 {
    response.json()["value"].as_u64().unwrap_or_else(|| panic!("no number in {response:?}"))
}

/// Faults one after another, some of them together; all are over at the end.
fn strike(cluster: &mut Cluster) {
    println!("note: faults of HENCE_SEED={}", seed());
    let mut choices = Choices(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        let (victim, other) = (choices.below(3) as usize, choices.below(3) as usize);
        let length = Duration::from_millis(200 + choices.below(4_000));
        match choices.below(6) {
            0 | 1 => {
                cut(&cluster.ip(victim), Cut::Silent);
                std::thread::sleep(length);
                heal(&cluster.ip(victim));
            }
            2 => {
                cut(&cluster.ip(victim), Cut::Refused);
                std::thread::sleep(length);
                heal(&cluster.ip(victim));
            }
            3 => {
                cluster.signal(victim, "STOP");
                std::thread::sleep(length / 2);
                cluster.signal(victim, "CONT");
            }
            4 => {
                cut(&cluster.ip(victim), Cut::Silent);
                cluster.signal(other, "STOP");
                std::thread::sleep(length / 2);
                cluster.signal(other, "CONT");
                heal(&cluster.ip(victim));
            }
            _ => {
                // What it acknowledged is with the others before it ends, so nothing may be lost. That needs links;
                // what an earlier cut kept back they fetch at once from one that leaves.
                cluster.await_settled_links(&[0, 1, 2], Duration::from_secs(10));
                assert_eq!(cluster.terminate(victim).code(), Some(0));
                std::thread::sleep(length / 4);
                cluster.start(victim);
            }
        }
        std::thread::sleep(Duration::from_millis(choices.below(1_500)));
    }
}

/// One client: writes its own key, reads any other's with what it was told, at any replica.
pub(crate) fn work(name: u64, addresses: &[String], board: &Board, ended: &AtomicBool) {
    let mut choices = Choices(name + 1);
    let (mut own, mut last) = (format!("c{name}"), 0);
    let mut token: Option<String> = None;
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(choices.below(20)));
        let address = &addresses[choices.below(3) as usize];
        if choices.below(3) == 0 {
            last += 1;
            let body = body(Some(last), token.as_deref());
            let path = format!("/kvs/{own}");
            match ask(address, "PUT", &path, &body, board) {
                Answer::Served(response) => {
                    assert!(response.status == 200 || response.status == 201, "{response:?}");
                    token = Some(response.token());
                    tell(board, &own, last, response.token());
                }
                Answer::Refused => {}
                // It may happen yet, after later writes of ours. So this was the last one of this key.
                Answer::None => (own, last) = (format!("c{name}-{}", choices.below(1 << 40)), 0),
            }
            continue;
        }
        let Some((key, (least, told))) = pick(board, &mut choices) else { continue };
        // What one was told becomes one's own past, together with what one knew.
        let path = format!("/kvs/{key}");
        let headers = [("Causal-Metadata", told.as_str())];
        let body = body(None, token.as_deref());
        let Answer::Served(response) = ask_with(address, "GET", &path, &headers, &body, board) else { continue };
        assert_eq!(response.status, 200, "{key} at {address}, told of {least}: {response:?}");
        let value = number(&response);
        assert!(value >= least, "{key} at {address}: told of {least}, shown {value}");
        token = Some(response.token());
        tell(board, &key, value, response.token());
    }
}

fn body(value: Option<u64>, token: Option<&str>) -> String {
    let token = token.map_or_else(|| "null".to_owned(), |token| format!("\"{token}\""));
    match value {
        Some(value) => format!("{{\"value\":{value},\"causal-metadata\":{token}}}"),
        None => format!("{{\"causal-metadata\":{token}}}"),
    }
}

/// How a question ended.
enum Answer {
    Served(Response),
    /// 503: not ready for this past; nothing happened.
    Refused,
    /// No answer came in time; what was asked may have happened, or may happen later.
    None,
}

fn ask(address: &str, method: &str, path: &str, body: &str, board: &Board) -> Answer {
    ask_with(address, method, path, &[], body, board)
}

fn ask_with(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str, board: &Board) -> Answer {
    match client::try_request(address, method, path, headers, Some(body), Duration::from_secs(1)) {
        Ok(response) if response.status == 503 => {
            board.refused.fetch_add(1, Ordering::Relaxed);
            Answer::Refused
        }
        Ok(response) => {
            board.served.fetch_add(1, Ordering::Relaxed);
            Answer::Served(response)
        }
        Err(_) => {
            board.unreachable.fetch_add(1, Ordering::Relaxed);
            Answer::None
        }
    }
}

fn tell(board: &Board, key: &str, value: u64, token: String) {
    let mut known = board.known.lock().expect("no client has failed");
    let entry = known.entry(key.to_owned()).or_insert_with(|| (value, token.clone()));
    if entry.0 <= value {
        *entry = (value, token);
    }
}

fn pick(board: &Board, choices: &mut Choices) -> Option<(String, Known)> {
    let known = board.known.lock().expect("no client has failed");
    let at = choices.below(known.len().max(1) as u64) as usize;
    known.iter().nth(at).map(|(key, known)| (key.clone(), known.clone()))
}
