//! Two live processes with one address, as where a service is scaled that must not be; and a process at whose address
//! nothing is reached. Both are told, and what they accepted is not lost.
//!
//! The address is a relay of the test's own, behind which the processes listen.

use crate::lone::Lone;
use crate::network;
use hence_tests::client;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SHARED: &str = "127.0.0.3:8090";
const FIRST: &str = "127.0.0.3:9091";
const SECOND: &str = "127.0.0.3:9092";
const OTHERS: [&str; 2] = ["127.0.0.2:8090", "127.0.0.4:8090"];
const SETTLE: Duration = Duration::from_secs(20);
/// A process that stood aside where either was reached waits half a minute before it comes back.
const BACK: Duration = Duration::from_secs(60);

/// Passes each connection to the next of its targets.
#[derive(Clone)]
struct Relay {
    targets: Arc<Mutex<Vec<&'static str>>>,
}

impl Relay {
    fn start(targets: &[&'static str]) -> Self {
        let relay = Self { targets: Arc::new(Mutex::new(targets.to_vec())) };
        let listener = TcpListener::bind(SHARED).expect("nobody else is in this namespace");
        let (own, turn) = (relay.clone(), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for inbound in listener.incoming().filter_map(Result::ok) {
                let targets = own.targets.lock().expect("no holder panics").clone();
                let target = targets[turn.fetch_add(1, Relaxed) % targets.len()];
                if let Ok(outbound) = TcpStream::connect(target) {
                    copy(&inbound, &outbound);
                    copy(&outbound, &inbound);
                }
            }
        });
        relay
    }

    fn lead_to(&self, targets: &[&'static str]) {
        *self.targets.lock().expect("no holder panics") = targets.to_vec();
    }
}

fn copy(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("an open socket"), to.try_clone().expect("an open socket"));
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}

fn start(name: &str, at: &str, address: &str) -> Lone {
    let view = [OTHERS[0], SHARED, OTHERS[1]].join(",");
    let environment = [("SOCKET_ADDRESS", address), ("VIEW", &view), ("HENCE_BIND", at), ("CLUSTER", "duplicates")];
    Lone::start(name, at, &environment)
}

fn start_others(name: &str) -> Vec<Lone> {
    OTHERS.iter().map(|at| start(&format!("{name}_{at}"), at, at)).collect()
}

/// Writes until so many were accepted; returns their keys.
fn write_at(replica: &Lone, prefix: &str, count: usize) -> Vec<String> {
    let mut accepted = Vec::new();
    replica.poll(SETTLE, "writes to be accepted", || {
        let key = format!("{prefix}{}", accepted.len());
        let path = format!("/kvs/{key}");
        let body = Some(r#"{"value":1,"causal-metadata":null}"#);
        match client::try_request(replica.at(), "PUT", &path, &[], body, Duration::from_secs(2)) {
            Ok(answer) if answer.status == 201 => accepted.push(key),
            // It may stand aside before it takes the first.
            Ok(answer) if answer.status == 503 && (!accepted.is_empty() || standing(replica) == "displaced") => {
                return Ok(());
            }
            Ok(answer) => return Err(answer.text().to_owned()),
            Err(error) => return Err(format!("{error:?}")),
        }
        if accepted.len() >= count { Ok(()) } else { Err(format!("{} so far", accepted.len())) }
    });
    accepted
}

fn await_keys(replica: &Lone, keys: &[String]) {
    replica.poll(SETTLE, "all keys", || {
        let shown = |key: &&String| client::get(replica.at(), key, None).status == 200;
        let missing = keys.iter().filter(|key| !shown(key)).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", keys.len())) }
    });
}

fn await_standing(replica: &Lone, standing: &str, limit: Duration) -> Duration {
    let name = format!("hence_address_standing{{standing=\"{standing}\"}}");
    replica.poll(limit, &name, || match replica.metric(&name) {
        Some(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// All connections lead to one of two processes. The other accepts writes before it learns of that.
pub(crate) fn one_is_reached() {
    let relay = Relay::start(&[FIRST]);
    let others = start_others("one");
    let first = start("one_first", FIRST, SHARED);
    first.await_ready(200, SETTLE);
    let second = start("one_second", SECOND, SHARED);
    let mut accepted = write_at(&second, "second", 200);
    let time = await_standing(&second, "displaced", SETTLE);
    println!("note: {} writes were accepted; displaced {time:?} after them", accepted.len());
    // Both are told, at error, in the metrics and at /ready.
    let words = ["ERROR", "another live process has the address", "hands over"];
    second.await_line(&words, SETTLE);
    assert_eq!(second.lines(&words).len(), 1, "{}", second.log());
    let ready = second.ready().expect("an answer");
    assert!(ready.status == 503 && ready.text().contains("another live process"), "{}", ready.text());
    assert_eq!(second.metric("hence_ready"), Some(0));
    await_standing(&first, "contested", SETTLE);
    first.await_line(&["ERROR", "another live process has the address", "peers reach this one"], SETTLE);
    let ready = first.ready().expect("an answer");
    assert!(ready.status == 200 && ready.text().contains("another live process"), "{}", ready.text());
    // It was never ready, and nothing that it accepted is lost while it lives.
    assert!(second.lines(&["ready:"]).is_empty(), "{}", second.log());
    accepted.extend(write_at(&first, "first", 20));
    for replica in others.iter().chain([&first]) {
        await_keys(replica, &accepted);
        replica.await_view(&[OTHERS[0], SHARED, OTHERS[1]], SETTLE);
    }
    assert_eq!(client::get(second.at(), &accepted[0], None).status, 503, "it serves no data");
    // The first one ends, and the second is the one behind the address.
    drop(first);
    relay.lead_to(&[SECOND]);
    let time = await_standing(&second, "home", BACK);
    println!("note: back at home after {time:?}");
    second.await_ready(200, SETTLE);
    await_keys(&second, &accepted);
    let later = write_at(&second, "later", 20);
    others.iter().for_each(|replica| await_keys(replica, &later));
    for other in &others {
        other.await_line(&["linked with a peer", SHARED], SETTLE);
        assert!(other.lines(&["WARN", ".invalid"]).is_empty(), "{}", other.log());
    }
}

/// Connections lead to one process and the other in turn. One of them gives way, and stays so.
pub(crate) fn either_is_reached() {
    let relay = Relay::start(&[FIRST, SECOND]);
    let others = start_others("either");
    let both = [start("either_first", FIRST, SHARED), start("either_second", SECOND, SHARED)];
    let mut accepted = write_at(&both[0], "first", 30);
    accepted.extend(write_at(&both[1], "second", 30));
    let standings = || both.iter().map(standing).collect::<Vec<_>>();
    both[0].poll(BACK, "one to stand aside", || {
        let found = standings();
        let one = ["contested", "displaced"].iter().all(|standing| found.iter().any(|found| found == standing));
        if one { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let found = standings();
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(standings(), found);
    let at_home = both.iter().find(|replica| standing(replica) == "contested").expect("it was found above");
    at_home.await_ready(200, BACK);
    for replica in others.iter().chain([at_home]) {
        await_keys(replica, &accepted);
    }
    for replica in &both {
        assert!(!replica.lines(&["ERROR", "another live process has the address"]).is_empty(), "{}", replica.log());
    }
    drop(relay);
}

fn standing(replica: &Lone) -> String {
    let is =
        |standing: &&&str| replica.metric(&format!("hence_address_standing{{standing=\"{standing}\"}}")) == Some(1);
    ["home", "contested", "displaced", "unreachable"]
        .iter()
        .find(is)
        .map_or_else(String::new, |found| found.to_string())
}

/// Nothing listens at the address of a process that reaches the others. Its links carry data both ways all the same.
pub(crate) fn nobody_is_reached() {
    let others = start_others("nobody");
    let alone = start("nobody_alone", FIRST, SHARED);
    is_told(&others, &alone);
    let relay = Relay::start(&[FIRST]);
    await_standing(&alone, "home", SETTLE);
    alone.await_ready(200, SETTLE);
    drop(relay);
}

/// A packet filter loses what others send to open a connection. What the process opens itself carries data both ways.
pub(crate) fn nothing_passes() {
    let (ip, _) = SHARED.split_once(':').expect("an address");
    network::lose(ip, "ip saddr != 127.0.0.1 tcp flags & (syn | ack) == syn");
    let others = start_others("filtered");
    let alone = start("filtered_alone", SHARED, SHARED);
    is_told(&others, &alone);
    network::heal(ip);
    await_standing(&alone, "home", BACK);
    alone.await_ready(200, SETTLE);
}

/// A process that the others cannot reach is told so, is not ready, and loses nothing.
fn is_told(others: &[Lone], alone: &Lone) {
    let accepted = write_at(alone, "alone", 100);
    await_standing(alone, "unreachable", BACK);
    alone.await_line(&["ERROR", "none of them can connect to its address"], SETTLE);
    assert_eq!(alone.lines(&["ERROR"]).len(), 1, "{}", alone.log());
    let ready = alone.ready().expect("an answer");
    assert!(ready.status == 503 && ready.text().contains("can connect to its SOCKET_ADDRESS"), "{}", ready.text());
    assert_eq!(alone.metric("hence_ready"), Some(0));
    others.iter().for_each(|replica| await_keys(replica, &accepted));
    let others_wrote = write_at(&others[0], "other", 20);
    await_keys(alone, &others_wrote);
}

/// Two clusters of the default name, of which one gets an address of the other.
pub(crate) fn clusters_merge() {
    let theirs = ["127.0.0.5:8090", "127.0.0.6:8090"];
    // It gets the data of the second cluster before the first cluster finds it.
    merge("default", &[], &[OURS[2], theirs[0], theirs[1]], &theirs);
}

/// Two clusters that were given one name. The process at the address of the one knows a single member of the other.
pub(crate) fn named_clusters_merge() {
    let theirs = ["127.0.0.5:8090", "127.0.0.6:8090", "127.0.0.7:8090"];
    merge("named", &[("CLUSTER", "orders")], &[OURS[2], theirs[2]], &theirs);
}

const OURS: [&str; 3] = ["127.0.0.2:8090", "127.0.0.3:8090", "127.0.0.4:8090"];

fn merge(name: &str, named: &[(&str, &str)], reuser: &[&str], theirs: &[&str]) {
    let start = |at: &str, view: &[&str], life: &str| {
        let view = view.join(",");
        let environment = [&[("SOCKET_ADDRESS", at), ("VIEW", &view)], named].concat();
        Lone::start(&format!("merge_{name}_{at}{life}"), at, &environment)
    };
    let mut first: Vec<Lone> = OURS.iter().map(|at| start(at, &OURS, "")).collect();
    let second: Vec<Lone> = theirs.iter().map(|at| start(at, theirs, "")).collect();
    first.iter().chain(&second).for_each(|replica| _ = replica.await_ready(200, SETTLE));
    write_at(&first[0], "ours", 5);
    write_at(&second[0], "theirs", 5);
    std::thread::sleep(Duration::from_secs(2));
    assert!(first.iter().chain(&second).all(|replica| replica.lines(&["ERROR"]).is_empty()));
    drop(first.pop());
    let reused = start(OURS[2], reuser, "_again");
    let all: Vec<&Lone> = first.iter().chain(&second).chain([&reused]).collect();
    let words = ["ERROR", "members of another cluster appear"];
    reused.poll(SETTLE, "the merge to be told", || {
        let told = all.iter().flat_map(|replica| replica.lines(&words)).collect::<Vec<_>>();
        match &told[..] {
            [] => Err("nobody says so".into()),
            lines if lines.iter().all(|line| line.contains("ours=") && line.contains("theirs=")) => Ok(()),
            lines => Err(format!("{lines:?}")),
        }
    });
    let counted: u64 = all.iter().filter_map(|replica| replica.metric("hence_cluster_merges_total")).sum();
    assert!(counted >= 1);
}
