//! `hence export` while clients write: each export is one moment, closed under causality.

use crate::client::{json, terminal};
use crate::cluster::Cluster;
use hence_client::{Client, Operation, Session};
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

/// Keys between those that are written. A walk takes many parts to pass them.
const KEYS: usize = 8_000;
/// Pairs of keys, which all writers share.
const PAIRS: u64 = 5;
const EXPORTS: usize = 12;

/// Writes for as long as it is to, and counts its rounds.
fn writer(address: &str, number: u64, stop: &Arc<AtomicBool>, rounds: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (client, stop, rounds) = (Client::new([address]).expect("an endpoint"), stop.clone(), rounds.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let session = client.session();
            for round in 1.. {
                if stop.load(Relaxed) {
                    return;
                }
                write(&session, number, round).await;
                rounds.fetch_add(1, Relaxed);
            }
        });
    })
}

/// A pair of one value, or of none; then a cause, and its effect at the other end of the keys.
async fn write(session: &Session, number: u64, round: u64) {
    let pair = (round * 7 + number) % PAIRS;
    let keys = [format!("a/pair/{pair}"), format!("z/pair/{pair}")];
    let operation = |key: &String| match (round + number) % 4 {
        0 => Operation::delete(key),
        _ => Operation::put(key, format!("{number}:{round}")),
    };
    session.batch(keys.each_ref().map(operation)).await.expect("an answer");
    for (cause, effect) in [("a/up", "z/up"), ("z/down", "a/down")] {
        session.put(&format!("{cause}/{number}"), round).await.expect("an answer");
        session.put(&format!("{effect}/{number}"), round).await.expect("an answer");
    }
}

/// The moment shows both keys of each pair alike, and no effect without its cause.
fn check(moment: &BTreeMap<String, Value>) {
    for pair in 0..PAIRS {
        let of = |side: &str| moment.get(&format!("{side}/pair/{pair}"));
        assert_eq!(of("a"), of("z"), "a batch is shown in half");
    }
    for number in 0..3 {
        let of =
            |key: &str| moment.get(&format!("{key}/{number}")).map_or(0, |value| value.as_u64().expect("a number"));
        for (cause, effect) in [("a/up", "z/up"), ("z/down", "a/down")] {
            let (cause, effect) = (of(cause), of(effect));
            assert!(effect <= cause && cause <= effect + 1, "{cause} came before {effect}");
        }
    }
}

/// An export under load is one moment of one replica.
pub(crate) fn under_load() {
    let cluster = Cluster::running("client_exports_under_load", 3);
    let at = terminal(&cluster, "client_exports_under_load_files");
    let mut lines = String::new();
    (0..KEYS).for_each(|key| writeln!(lines, "{{\"key\":\"m/{key}\",\"value\":{key}}}").expect("it fits"));
    assert_eq!(at.run_with(&["import"], &lines).0, 0);
    let (stop, rounds) = (Arc::default(), Arc::default());
    let writers: Vec<_> =
        (0..3).map(|number| writer(&cluster.address(number as usize), number, &stop, &rounds)).collect();
    let mut moved = 0;
    for number in 0..EXPORTS {
        let before = rounds.load(Relaxed);
        let (code, out, err) = at.run(&["export", "--endpoints", &cluster.address(number % 3)]);
        assert_eq!(code, 0, "{err}");
        moved += usize::from(rounds.load(Relaxed) > before + 3);
        let pairs: Vec<(String, Value)> = out
            .lines()
            .map(|line| {
                let mut line = json(line);
                (line["key"].as_str().expect("a key").to_owned(), line["value"].take())
            })
            .collect();
        assert!(pairs.is_sorted_by(|one, next| one.0 < next.0), "keys are in order, each once");
        let moment: BTreeMap<String, Value> = pairs.into_iter().collect();
        assert_eq!(moment.keys().filter(|key| key.starts_with("m/")).count(), KEYS);
        check(&moment);
    }
    stop.store(true, Relaxed);
    writers.into_iter().for_each(|writer| writer.join().expect("its writes are answered"));
    assert!(moved * 2 > EXPORTS, "the store changed during {moved} exports only");
}
