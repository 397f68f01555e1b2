//! Clients that end their sending side, or go away altogether, while their request waits.

use crate::cluster::Cluster;
use crate::network::{self, Cut};
use hence_core::{ClusterTag, Incarnation, Token, VersionVector};
use hence_tests::client::{self, Connection, NoResponse, request_bytes};
use hence_tests::replicas::Replicas;
use std::time::{Duration, Instant};

/// A client that ended its sending side is believed for two seconds, and the sweep looks ten times a second.
const NOTICED: Duration = Duration::from_millis(3_500);

/// Half-closed, and still there: the answer comes.
pub(crate) fn half_closed() {
    let cluster = Cluster::running("half_closed", 2);
    let ip = cluster.ip(1);
    network::cut(&ip, Cut::Refused);
    let token = client::put(&cluster.address(0), "k", "\"new\"", None).token();
    let ask = |path: &str, wait: u32| {
        let mut connection = Connection::open(&cluster.address(1)).expect("clients reach it");
        let headers = [("Causal-Metadata", token.as_str()), ("Prefer", &*format!("wait={wait}"))];
        connection.send(&request_bytes("GET", path, &headers, None));
        connection
    };
    let mut refused = ask("/kvs/k", 1);
    assert_eq!(refused.finish().receive(false).expect("an answer").status, 503);

    // Asked after two seconds whether it is still there, it passes over that and gets its answer.
    let mut patient = ask("/kvs/k", 3);
    let statuses = [patient.finish().receive(true), patient.receive(false)].map(|answer| answer.map(|it| it.status));
    assert_eq!(statuses, [Ok(100), Ok(503)]);
    assert!(matches!(patient.receive(false), Err(NoResponse::Closed(_))), "it was the last answer");

    let mut served = ask("/kvs/k", 20);
    let mut behind = ask("/kvs/k", 20);
    behind.send(&request_bytes("GET", "/health", &[], None)).send(&request_bytes("GET", "/kvs/none", &[], None));
    served.finish();
    behind.finish();
    std::thread::sleep(Duration::from_millis(300));
    network::heal(&ip);
    let answer = served.receive(false).expect("an answer");
    assert_eq!((answer.status, answer.json()["value"].as_str()), (200, Some("new")), "{answer:?}");
    for status in [200, 200, 404] {
        assert_eq!(behind.receive(false).expect("an answer").status, status);
    }
}

/// Gone: the place of its request is free again long before the wait would end, whatever came behind that.
pub(crate) fn gone() {
    let mut cluster = Cluster::new("leavers", 2);
    cluster.start(0);
    cluster.poll(Duration::from_secs(10), "data is served", || {
        let served = client::try_get(&cluster.address(0), "k", None).is_ok_and(|answer| answer.status == 404);
        served.then_some(()).ok_or_else(|| "not yet".into())
    });
    // Its address may come back with it, so this is waited for.
    let unknown = VersionVector::from_entries([(Incarnation(9 << 40), 1)]);
    let token = Token(unknown).encode(ClusterTag::of("hence"));
    let waits = request_bytes("GET", "/kvs/k", &[("Causal-Metadata", &token), ("Prefer", "wait=30")], None);
    let get = request_bytes("GET", "/kvs/k", &[], None);
    let behind: [(&str, Vec<u8>); 4] = [
        ("nothing", Vec::new()),
        ("a request", get.clone()),
        ("requests for more than a buffer", get.repeat(20_000)),
        ("half a request", get[..20].to_vec()),
    ];
    for (name, behind) in behind {
        for resets in [false, true] {
            let open: Vec<Connection> = (0..20).map(|_| open(&cluster.address(0), &waits, &behind)).collect();
            await_waiting(&cluster, 20, Duration::from_secs(5));
            let start = Instant::now();
            for mut connection in open {
                if resets {
                    let socket = socket2::SockRef::from(&*connection.stream());
                    socket.set_linger(Some(Duration::ZERO)).expect("an open socket");
                }
            }
            let limit = if resets { Duration::from_secs(1) } else { NOTICED };
            await_waiting(&cluster, 0, limit);
            println!("note: behind the waiting request {name}, reset {resets}: free after {:?}", start.elapsed());
        }
    }
    // Requests of every other kind wait, and are left, in the same way.
    let headers = [("Causal-Metadata", &*token), ("Prefer", "wait=30")];
    let batch = Some("{\"operations\":[{\"op\":\"get\",\"key\":\"k\"}]}");
    for (method, path, body) in [
        ("PUT", "/kvs/k", Some("{\"value\":1}")),
        ("DELETE", "/kvs/k", None),
        ("HEAD", "/kvs/k", None),
        ("GET", "/kvs?prefix=k", None),
        ("POST", "/kvs", batch),
    ] {
        let waits = request_bytes(method, path, &headers, body);
        let open: Vec<Connection> = (0..20).map(|_| open(&cluster.address(0), &waits, &get)).collect();
        await_waiting(&cluster, 20, Duration::from_secs(5));
        drop(open);
        await_waiting(&cluster, 0, NOTICED);
    }
    let connections = cluster.metric(0, "hence_connections");
    assert!(connections <= 2, "{connections} connections are left");
}

fn open(address: &str, waits: &[u8], behind: &[u8]) -> Connection {
    let mut connection = Connection::open(address).expect("the replica accepts connections");
    connection.send(waits);
    // What the replica does not take while the first request waits fills the sockets' buffers only.
    connection.stream().set_nonblocking(true).expect("an open socket");
    connection.send(behind);
    connection
}

fn await_waiting(cluster: &Cluster, count: u64, limit: Duration) {
    cluster.poll(limit, &format!("{count} requests wait"), || match cluster.metric(0, "hence_waiting_requests") {
        found if found == count => Ok(()),
        found => Err(format!("{found} wait")),
    });
}
