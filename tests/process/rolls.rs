//! Rolling restarts that must stop at the first replica. They go to a build that speaks another version, and to another
//! name of the cluster. One goes on in a network where every packet is 8 s late. An operator that waits for `/ready`
//! loses nothing.
//!
//! Members listen behind relays of the test's own. What comes from 127.0.0.1 is the test's own and passes as it is.

use crate::lone::Lone;
use hence_tests::client;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MEMBERS: [&str; 3] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
const KEYS: usize = 60;
const SETTLE: Duration = Duration::from_secs(20);
const LATE: Duration = Duration::from_secs(8);

/// What the relays do with what members say to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Clear,
    /// This member and the others name another version of the protocol to each other than they speak.
    Version(usize),
    Late,
}

struct Roll {
    name: &'static str,
    /// The stated time in seconds after which a replica that is really alone is ready.
    stated: u64,
    way: Arc<Mutex<Way>>,
    replicas: Vec<Option<Lone>>,
}

fn address(at: usize) -> String {
    format!("{}:8090", MEMBERS[at])
}

fn relay(inbound: &TcpStream, at: usize, way: Way) {
    let source = inbound.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    let source = MEMBERS.iter().position(|ip| *ip == source);
    let Ok(outbound) = TcpStream::connect(format!("{}:9090", MEMBERS[at])) else { return };
    let concerns = match way {
        Way::Clear | Way::Late => true,
        Way::Version(other) => other == at || source == Some(other),
    };
    let way = if source.is_some() && concerns { way } else { Way::Clear };
    copy(inbound, &outbound, way);
    copy(&outbound, inbound, way);
}

fn copy(from: &TcpStream, to: &TcpStream, way: Way) {
    let (mut from, mut to) = (from.try_clone().expect("an open socket"), to.try_clone().expect("an open socket"));
    let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let due = Instant::now() + if way == Way::Late { LATE } else { Duration::ZERO };
            let said = bytes[..count].to_vec();
            if sender.send((due, if matches!(way, Way::Version(_)) { another_version(said) } else { said })).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in receiver {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// The same with another version in the header by which replicas introduce themselves, as lowest and as highest.
fn another_version(mut said: Vec<u8>) -> Vec<u8> {
    for key in [b"version=", b"highest="] {
        if let Some(at) = said.windows(key.len()).position(|window| window == key) {
            said[at + key.len()] = b'9';
        }
    }
    said
}

impl Roll {
    /// Three members behind relays, with all keys at each.
    fn start(name: &'static str, stated: u64) -> Self {
        let way = Arc::new(Mutex::new(Way::Clear));
        for (at, ip) in MEMBERS.iter().enumerate() {
            let listener = TcpListener::bind(format!("{ip}:8090")).expect("nobody else is in this namespace");
            let way = way.clone();
            std::thread::spawn(move || {
                for inbound in listener.incoming().filter_map(Result::ok) {
                    let way = *way.lock().expect("no holder panics");
                    std::thread::spawn(move || relay(&inbound, at, way));
                }
            });
        }
        let mut roll = Self { name, stated, way, replicas: MEMBERS.iter().map(|_| None).collect() };
        (0..3).for_each(|at| roll.restart(at, name));
        (0..3).for_each(|at| _ = roll.replica(at).await_ready(200, SETTLE));
        for key in 0..KEYS {
            let answer = client::put(roll.replica(key % 3).at(), &format!("k{key}"), "1", None);
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        (0..3).for_each(|at| roll.await_keys(at));
        roll
    }

    fn replica(&self, at: usize) -> &Lone {
        self.replicas[at].as_ref().expect("it runs")
    }

    /// Ends this member's process and starts another one, of a cluster of this name.
    fn restart(&mut self, at: usize, cluster: &str) {
        drop(self.replicas[at].take());
        let (own, view) = (address(at), [0, 1, 2].map(address).join(","));
        let bind = format!("{}:9090", MEMBERS[at]);
        let stated = format!("{}s", self.stated);
        let environment = [
            ("SOCKET_ADDRESS", &own[..]),
            ("VIEW", &view),
            ("HENCE_BIND", &bind),
            ("CLUSTER", cluster),
            ("HENCE_READY_ALONE_AFTER", &stated),
        ];
        self.replicas[at] = Some(Lone::start(&format!("roll_{}_{at}", self.name), &bind, &environment));
    }

    fn set(&self, way: Way) {
        *self.way.lock().expect("no holder panics") = way;
    }

    fn await_keys(&self, at: usize) {
        self.replica(at).poll(SETTLE, "all keys", || match self.keys(at) {
            KEYS => Ok(()),
            keys => Err(format!("{keys} of {KEYS}")),
        });
    }

    fn keys(&self, at: usize) -> usize {
        (0..KEYS).filter(|key| client::get(self.replica(at).at(), &format!("k{key}"), None).status == 200).count()
    }

    /// The operator waits for `/ready` of this member, and does not see it, though the stated time is over.
    fn is_never_ready(&self, at: usize) -> String {
        let (start, watched) = (Instant::now(), Duration::from_secs(self.stated + 10));
        let mut last = String::new();
        while start.elapsed() < watched {
            if let Some(answer) = self.replica(at).ready() {
                last = answer.text().to_owned();
                assert_eq!(answer.status, 503, "ready after {:?}\n{}", start.elapsed(), self.replica(at).log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        last
    }

    /// The roll was stopped, and is taken back. All is there as before.
    fn take_back(&mut self, at: usize) {
        self.set(Way::Clear);
        let name = self.name;
        self.restart(at, name);
        self.replica(at).await_ready(200, SETTLE);
        (0..3).for_each(|at| self.await_keys(at));
    }
}

/// The first replica of another version is never ready, and says why.
pub(crate) fn to_another_version() {
    let mut roll = Roll::start("version", 3);
    roll.set(Way::Version(0));
    let name = roll.name;
    roll.restart(0, name);
    let last = roll.is_never_ready(0);
    assert!(last.contains("another version of the protocol"), "{last}");
    for peer in [1, 2].map(address) {
        roll.replica(0).await_line(&["WARN", &format!("peer={peer}"), "cause=\"version\""], SETTLE);
    }
    roll.replica(1).await_line(&["WARN", "another version of the protocol is refused", &address(0)], SETTLE);
    assert_eq!((roll.keys(1), roll.keys(2)), (KEYS, KEYS));
    roll.take_back(0);
}

/// The first replica with another name of the cluster is never ready, and says why.
pub(crate) fn to_another_cluster() {
    let mut roll = Roll::start("name", 3);
    roll.restart(0, "another");
    let last = roll.is_never_ready(0);
    assert!(last.contains("another cluster"), "{last}");
    for peer in [1, 2].map(address) {
        roll.replica(0).await_line(&["WARN", &format!("peer={peer}"), "cause=\"foreign\""], SETTLE);
    }
    roll.replica(1).await_line(&["ERROR", "another cluster appears", &address(0)], SETTLE);
    assert_eq!((roll.keys(1), roll.keys(2)), (KEYS, KEYS));
    roll.take_back(0);
}

/// Where every packet is 8 s late no link comes to stand, so no replica is ready and the roll stops. When the network
/// is well again, it goes on, and ends with all keys.
pub(crate) fn in_a_late_network() {
    // Longer than it takes until the first packet has come.
    let mut roll = Roll::start("late", 15);
    let name = roll.name;
    roll.set(Way::Late);
    roll.restart(0, name);
    let last = roll.is_never_ready(0);
    println!("note: in a late network: {last}");
    roll.set(Way::Clear);
    for at in 0..3 {
        if at > 0 {
            roll.restart(at, name);
        }
        roll.replica(at).await_ready(200, Duration::from_secs(60));
        assert_eq!(roll.keys(at), KEYS, "{at} is ready without all keys");
    }
    (0..3).for_each(|at| roll.await_keys(at));
}
