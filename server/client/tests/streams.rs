//! A watch as a stream goes on at another replica: nothing is missing, deletes neither, and every cut is whole.

use futures_util::StreamExt as _;
use hence_client::{Change, Client, Concern, Operation, Session};
use hence_core::{Address, LinkState};
use hence_server::{Cluster, Settings};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const REPLICAS: usize = 3;
const LIMIT: Duration = Duration::from_secs(20);
const PAIRS: u64 = 5;

/// Linked replicas that serve.
fn cluster() -> (Cluster, Vec<String>) {
    let listeners: Vec<TcpListener> =
        (0..REPLICAS).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let endpoints: Vec<String> =
        listeners.iter().map(|listener| listener.local_addr().expect("it listens").to_string()).collect();
    drop(listeners);
    let addresses: Vec<Address> =
        endpoints.iter().map(|endpoint| Address::parse(endpoint).expect("an address")).collect();
    let settings = |address, view| Settings { view, ..Settings::at(address) };
    let cluster = Cluster::start(&addresses, settings).expect("free ports");
    await_up(&cluster);
    (cluster, endpoints)
}

fn await_up(cluster: &Cluster) {
    let start = Instant::now();
    let is_up = || {
        cluster.members().iter().all(|member| {
            member.status().is_some_and(|status| {
                let linked = status.peers.iter().filter(|peer| peer.link == LinkState::Established).count();
                status.ready && linked == REPLICAS - 1
            })
        })
    };
    while !is_up() {
        assert!(start.elapsed() < LIMIT, "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Both keys of a pair at one moment, and what a majority then has.
async fn write(writer: &Session, expected: &mut BTreeMap<String, u64>, n: u64) {
    let keys = ["x", "y"].map(|name| format!("pair/{name}{}", n % PAIRS));
    let is_delete = n % 3 == 2;
    let operations = keys.clone().map(|key| if is_delete { Operation::delete(&key) } else { Operation::put(&key, n) });
    writer.batch(operations).concern(Concern::Majority).done().await.expect("two replicas run");
    for key in keys {
        if is_delete {
            expected.remove(&key);
        } else {
            expected.insert(key, n);
        }
    }
}

#[test]
fn a_stream_goes_on_elsewhere_with_nothing_missing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut cluster, endpoints) = cluster();
    let client = Client::builder(endpoints).deadline(LIMIT).retry_unknown_outcomes(true).build().expect("endpoints");
    let writer = client.session();
    runtime.block_on(async {
        let mut stream = pin!(client.session().watch().prefix("pair/").begin().into_stream());
        let (mut held, mut expected, mut n) = (BTreeMap::new(), BTreeMap::new(), 0);
        // It begins at the first, and each of them dies with the stream.
        for victim in ['a', 'b', 'c', 'a'] {
            for part in 0..2 {
                for _ in 0..20 {
                    write(&writer, &mut expected, n).await;
                    n += 1;
                }
                while held != expected {
                    let cut = timeout(LIMIT, stream.next()).await;
                    let cut = cut.unwrap_or_else(|_| panic!("it tells no more: {held:?} instead of {expected:?}"));
                    let cut = cut.expect("it has no end").expect("replicas run");
                    assert_eq!(cut.reset, None, "nothing is lost, and the replicas remember");
                    for change in cut.changes {
                        match change {
                            Change::Put(item) => {
                                let value = item.value.expect("values are asked for");
                                held.insert(item.key, value.get().parse().expect("a number"));
                            }
                            Change::Delete(key) => _ = held.remove(&key),
                        }
                    }
                    for pair in 0..PAIRS {
                        let [x, y] = ["x", "y"].map(|name| held.get(&format!("pair/{name}{pair}")));
                        assert_eq!(x, y, "half of a batch is told");
                    }
                }
                if part == 0 {
                    cluster.kill(victim).expect("it runs");
                }
            }
            cluster.restart(victim).expect("it is dead");
            await_up(&cluster);
        }
    });
}
