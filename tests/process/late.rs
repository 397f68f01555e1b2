//! A rolling restart on late networks. What each new process sends and gets passes 8 s after its start, as where
//! addresses are handed out slowly. An operator that asks each replica whether it is ready before going on loses
//! nothing.
//!
//! Every member listens behind a relay at its own address, since this is about packets that come late and not about
//! packets that are lost. What comes from 127.0.0.1 is the test's own and passes at once.

use crate::cluster::Cluster;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LATE: Duration = Duration::from_secs(8);
const KEYS: usize = 100;
const SETTLE: Duration = Duration::from_secs(10);

/// What happens to what is sent to or by a process before its network is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Early {
    /// Connections stand, and bytes pass when the network is there.
    Held,
    /// Connections stand, and their bytes are lost.
    Lost,
    /// Connections are ended at once.
    Refused,
}

/// When the network of each member is there.
type Gates = Arc<Mutex<Vec<Instant>>>;

/// Relays for the members of a cluster on one port.
struct Relays {
    gates: Gates,
}

impl Relays {
    fn start(members: usize, port: u16, early: Early) -> Self {
        let gates: Gates = Arc::new(Mutex::new(vec![Instant::now(); members]));
        for at in 0..members {
            let ip = format!("127.0.0.{}", at + 2);
            let listener = TcpListener::bind(format!("{ip}:{port}")).expect("nobody else is in this namespace");
            let gates = gates.clone();
            std::thread::spawn(move || {
                for inbound in listener.incoming().filter_map(Result::ok) {
                    relay(inbound, &format!("{ip}:{}", port + 1_000), at, early, &gates);
                }
            });
        }
        Self { gates }
    }

    /// This member's network is there so long from now.
    fn close(&self, at: usize, late: Duration) {
        self.gates.lock().expect("no holder panics")[at] = Instant::now() + late;
    }
}

fn relay(inbound: TcpStream, to: &str, at: usize, early: Early, gates: &Gates) {
    let source = inbound.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    let source: usize = source.rsplit('.').next().and_then(|last| last.parse().ok()).unwrap_or(1);
    let opens = {
        let gates = gates.lock().expect("no holder panics");
        // From 127.0.0.1 come the test's own requests.
        if source < 2 { Instant::now() } else { gates[at].max(gates.get(source - 2).copied().unwrap_or(gates[at])) }
    };
    if opens > Instant::now() && early == Early::Refused {
        return;
    }
    let Ok(outbound) = TcpStream::connect(to) else { return };
    copy(&inbound, &outbound, opens, early);
    copy(&outbound, &inbound, opens, early);
}

fn copy(from: &TcpStream, to: &TcpStream, opens: Instant, early: Early) {
    let (mut from, mut to) = (from.try_clone().expect("an open socket"), to.try_clone().expect("an open socket"));
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let closed = opens.saturating_duration_since(Instant::now());
            if !closed.is_zero() && early == Early::Lost {
                continue;
            }
            std::thread::sleep(closed);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn behind_relays(name: &str, port: u16, early: Early) -> (Cluster, Relays) {
    let mut cluster = Cluster::new(name, 3).port(port);
    for at in 0..3 {
        let bind = format!("{}:{}", cluster.ip(at), port + 1_000);
        cluster = cluster.setting_of(at, "HENCE_BIND", &bind);
    }
    (cluster, Relays::start(3, port, early))
}

/// How many of the keys a replica shows.
fn keys(cluster: &Cluster, at: usize) -> usize {
    let found = |key: &usize| cluster.get(at, &format!("k{key}"), None).status == 200;
    (0..KEYS).filter(found).count()
}

fn is_ready(cluster: &Cluster, at: usize) -> Result<(), String> {
    let ready = client::try_request(&cluster.address(at), "GET", "/ready", &[], None, Duration::from_secs(2));
    let ready = ready.map_err(|error| format!("{error:?}"))?;
    if ready.status == 200 { Ok(()) } else { Err(ready.text().to_owned()) }
}

fn write_keys(cluster: &Cluster) {
    for key in 0..KEYS {
        cluster.put(key % 3, &format!("k{key}"), "1", None, 201);
    }
    cluster.await_settled(&[0, 1, 2], SETTLE);
}

/// Each replica in turn is stopped, started, and asked whether it is ready, with networks that come late in three ways.
pub(crate) fn rolling_restart() {
    std::thread::scope(|scope| {
        for (number, early) in [Early::Held, Early::Lost, Early::Refused].into_iter().enumerate() {
            scope.spawn(move || roll(8_100 + number as u16, early));
        }
    });
}

fn roll(port: u16, early: Early) {
    let (cluster, relays) = behind_relays(&format!("late_{early:?}"), port, early);
    let mut cluster = cluster.run();
    write_keys(&cluster);
    for at in 0..3 {
        assert_eq!(cluster.terminate(at).code(), Some(0));
        relays.close(at, LATE);
        let started = Instant::now();
        cluster.start(at);
        let mut served = None;
        cluster.poll(Duration::from_secs(40), &format!("{early:?}: {at} to be ready"), || {
            let ask = |path: &str| {
                let timeout = Duration::from_secs(2);
                client::try_request(&cluster.address(at), "GET", path, &[], None, timeout).map_err(|e| format!("{e:?}"))
            };
            if served.is_none() && ask("/kvs/nothing")?.status == 404 {
                served = Some(started.elapsed());
            }
            is_ready(&cluster, at)
        });
        let (time, found) = (started.elapsed(), keys(&cluster, at));
        assert_eq!(found, KEYS, "{early:?}: {at} is ready after {time:?} without all keys");
        assert!(time >= LATE, "{early:?}: {at} was ready after {time:?}, before it had a network");
        let served = served.expect("what is ready serves");
        assert!(served < Duration::from_secs(5), "{early:?}: {at} served only after {served:?}");
        println!("note: {early:?}: {at} served after {served:?} and was ready after {time:?}");
    }
    cluster.await_settled(&[0, 1, 2], SETTLE);
    (0..3).for_each(|at| assert_eq!(keys(&cluster, at), KEYS, "{early:?}: at {at} in the end"));
}

/// Two of three begin anew at once, with late networks: neither takes the other's empty store for the cluster's.
pub(crate) fn two_at_once() {
    let (cluster, relays) = behind_relays("late_two", 8_090, Early::Held);
    let mut cluster = cluster.run();
    write_keys(&cluster);
    for at in 0..2 {
        cluster.kill(at);
        relays.close(at, if at == 0 { LATE } else { LATE / 2 });
        cluster.start(at);
    }
    for at in 0..2 {
        cluster.poll(Duration::from_secs(40), &format!("{at} to be ready"), || is_ready(&cluster, at));
        assert_eq!(keys(&cluster, at), KEYS, "{at} is ready without all keys");
    }
}

/// A member that is gone delays readiness for the stated time, which is said at warn, and names the member.
pub(crate) fn stated_time() {
    let mut cluster = Cluster::new("late_stated_time", 3).setting("HENCE_READY_ALONE_AFTER", "4s");
    let start = Instant::now();
    cluster.start(0);
    cluster.start(1);
    cluster.await_views(&[0, 1], &[0, 1], SETTLE);
    let answer = client::request(&cluster.address(0), "GET", "/ready", &[], None);
    assert_eq!(answer.status, 503, "{}", answer.text());
    let gone = cluster.address(2);
    assert!(answer.text().starts_with(r#"{"error":"Replica is not ready: "#), "{}", answer.text());
    assert!(answer.text().contains(&gone) && answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(cluster.metric(0, "hence_ready"), 0);
    assert_eq!(cluster.metric(0, "hence_serving"), 1);
    assert_eq!(cluster.metric(0, "hence_unsettled_members{reason=\"absent\"}"), 1);
    for at in 0..2 {
        cluster.poll(SETTLE, "the time to be over", || is_ready(&cluster, at));
        assert!(start.elapsed() >= Duration::from_secs(4), "ready after {:?}", start.elapsed());
    }
    // The first says for how long it waited, and for whom. The other may follow it, which is no warning: it has all
    // that a ready member has. A line is written a moment after the answer that tells the same.
    cluster.poll(SETTLE, "both to say so", || {
        let logs = [0, 1].map(|at| cluster.log(at));
        let ready = logs.iter().filter(|log| log.contains("ready: ") || log.contains("ready after ")).count();
        let told = |line: &str| ["WARN", "HENCE_READY_ALONE_AFTER", &gone].iter().all(|word| line.contains(word));
        (ready == 2 && logs.concat().lines().any(told)).then_some(()).ok_or(logs.concat())
    });
    // A restart now finds a member that is ready: it waits for no other.
    cluster.kill(0);
    cluster.start(0);
    let again = Instant::now();
    cluster.poll(SETTLE, "0 to be ready", || is_ready(&cluster, 0));
    assert!(again.elapsed() < Duration::from_secs(2), "ready after {:?}", again.elapsed());
    // One that knows only itself is ready at once.
    cluster.kill(0);
    let own = cluster.address(0);
    cluster.start_with_view(0, &own);
    let again = Instant::now();
    cluster.poll(SETTLE, "0 to be ready", || is_ready(&cluster, 0));
    assert!(again.elapsed() < Duration::from_secs(1), "ready after {:?}", again.elapsed());
}
