//! Answers that get lost on their way: no write is done twice, and no value that was replaced comes back.

use hence_client::{Client, Concern, Error, Operation, Session};
use hence_core::{Address, LinkState};
use hence_server::{Cluster, Settings};
use hence_tests::proxy::{Fate, Proxy};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Whether the replica has the write is open after each of these.
const UNKNOWN: [Fate; 6] =
    [Fate::LostBefore, Fate::LostAfter, Fate::SilentAfter, Fate::Torn, Fate::BadGateway, Fate::ForeignRefusal];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Replicas that are linked, and a proxy before each.
fn cluster(count: usize) -> (Cluster, Vec<Proxy>) {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let sockets: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("it listens")).collect();
    drop(listeners);
    let addresses: Vec<Address> =
        sockets.iter().map(|socket| Address::parse(&socket.to_string()).expect("an address")).collect();
    let settings = |address, view| Settings { view, ..Settings::at(address) };
    let cluster = Cluster::start(&addresses, settings).expect("free ports");
    let start = Instant::now();
    let is_up = |cluster: &Cluster| {
        cluster.members().iter().filter_map(|member| member.status()).all(|status| {
            let linked = status.peers.iter().filter(|peer| peer.link == LinkState::Established).count();
            status.ready && linked == count - 1
        })
    };
    while !is_up(&cluster) {
        assert!(start.elapsed() < Duration::from_secs(20), "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(10));
    }
    (cluster, sockets.into_iter().map(Proxy::before).collect())
}

fn client(proxies: &[Proxy], retries: bool) -> Client {
    let builder = Client::builder(proxies.iter().map(|proxy| proxy.address.to_string()));
    let builder = builder.attempt_timeout(Duration::from_secs(2)).deadline(Duration::from_secs(30));
    builder.retry_unknown_outcomes(retries).build().expect("endpoints")
}

/// Writes that the cluster has applied.
fn applied(cluster: &Cluster) -> u64 {
    let statuses = cluster.members().iter().filter_map(|member| member.status());
    statuses.map(|status| status.vector.entries().map(|(_, counter)| counter).sum()).max().unwrap_or(0)
}

fn is_unknown<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::OutcomeUnknown { .. }))
}

/// How a write is sent when its answer gets lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Put,
    /// Only over the version that was there.
    PutOver,
    Delete,
    Batch,
    /// Only over the version that was there.
    BatchOver,
}

/// Another client replaces the value while the answer to a write of it is lost. Says whether the writer was told that the
/// outcome is unknown, and which value is there in the end: 2 is the other client's.
async fn value_after(proxies: &[Proxy], retries: bool, sent: Sent, fate: Fate) -> (bool, Option<u64>) {
    let (writer, other) = (client(proxies, retries).session(), client(&proxies[1..2], false));
    let key = format!("{sent:?}-{fate:?}-{retries}");
    let before = writer.put(&key, 0).concern(Concern::All).await.expect("a write").tag.expect("a tag");
    let (endpoint, (done, replaced), name) = (other.endpoints(), channel(), key.clone());
    proxies[0].meanwhile(move || {
        let (endpoint, done, name) = (endpoint.clone(), done.clone(), name.clone());
        let replaces = move || {
            runtime().block_on(async {
                let session = Client::new(endpoint).expect("an endpoint").session();
                let is_old = async || {
                    let found = session.get(&name).await.expect("an answer");
                    found.is_some_and(|found| found.read::<u64>().expect("a number") == 0)
                };
                while is_old().await {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                session.put(&name, 2).concern(Concern::All).await.expect("a write");
            });
            done.send(()).expect("the test waits");
        };
        std::thread::spawn(replaces).join().expect("no panic");
    });
    proxies[0].next(&[fate]);
    let is_unknown = match sent {
        Sent::Put => is_unknown(&writer.put(&key, 1).await),
        Sent::PutOver => is_unknown(&writer.put(&key, 1).if_match(&before).await),
        Sent::Delete => is_unknown(&writer.delete(&key).await),
        Sent::Batch => is_unknown(&writer.batch([Operation::put(&key, 1)]).await),
        Sent::BatchOver => is_unknown(&writer.batch([Operation::put(&key, 1).if_match(&before)]).await),
    };
    replaced.recv_timeout(Duration::from_secs(20)).expect("it is replaced");
    // What a replica wrote is at the other one in a moment.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let value = other.session().get(&key).await.expect("an answer");
    (is_unknown, value.map(|value| value.read().expect("a number")))
}

#[test]
fn a_value_that_was_replaced_does_not_come_back() {
    let (_cluster, proxies) = cluster(2);
    runtime().block_on(async {
        for sent in [Sent::Put, Sent::PutOver, Sent::Delete, Sent::Batch, Sent::BatchOver] {
            for fate in [Fate::LostAfter, Fate::Torn, Fate::ForeignRefusal] {
                assert_eq!(value_after(&proxies, false, sent, fate).await, (true, Some(2)), "{sent:?}, {fate:?}");
            }
        }
        assert_eq!(value_after(&proxies, false, Sent::Put, Fate::SilentAfter).await, (true, Some(2)));
        // What the rule is good for: a client that asks for retries brings the replaced value back, or deletes it.
        for (sent, value) in [(Sent::Put, Some(1)), (Sent::Batch, Some(1)), (Sent::Delete, None)] {
            assert_eq!(value_after(&proxies, true, sent, Fate::LostAfter).await, (false, value), "{sent:?}");
        }
        // A condition prevents that, and the writer is told that the outcome is unknown.
        for sent in [Sent::PutOver, Sent::BatchOver] {
            assert_eq!(value_after(&proxies, true, sent, Fate::LostAfter).await, (true, Some(2)), "{sent:?}");
        }
    });
}

#[test]
fn each_kind_of_loss_is_an_unknown_outcome_of_a_write_and_none_of_a_read() {
    let (cluster, proxies) = cluster(2);
    runtime().block_on(async {
        let session = client(&proxies[..1], false).session();
        session.put("k", 0).await.expect("a write");
        for (number, fate) in UNKNOWN.into_iter().enumerate() {
            let (before, requests) = (applied(&cluster), proxies[0].requests());
            let took = Instant::now();
            proxies[0].next(&[fate]);
            let outcome = session.put("k", number).await;
            assert!(is_unknown(&outcome), "{fate:?}: {outcome:?}");
            assert_eq!(proxies[0].requests(), requests + 1, "{fate:?}: it is not sent again");
            assert_eq!(applied(&cluster) - before, u64::from(fate != Fate::LostBefore), "{fate:?}");
            for (what, outcome) in [
                (
                    "delete",
                    is_unknown(&{
                        proxies[0].next(&[fate]);
                        session.delete("absent").await
                    }),
                ),
                (
                    "batch",
                    is_unknown(&{
                        proxies[0].next(&[fate]);
                        session.batch([Operation::delete("absent")]).await
                    }),
                ),
            ] {
                assert!(outcome, "{what}, {fate:?}");
            }
            proxies[0].next(&[fate]);
            let read = session.get("k").await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
            assert!(read.is_some(), "{fate:?}");
            proxies[0].next(&[fate, fate]);
            let read = session.batch([Operation::get("k")]).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
            assert!(read.outcomes[0].value.is_some(), "{fate:?}");
            assert!(took.elapsed() < Duration::from_secs(25), "{fate:?}");
        }
    });
}

#[test]
fn a_write_is_sent_again_where_no_replica_did_it() {
    let (cluster, proxies) = cluster(2);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it listens");
    runtime().block_on(async {
        let before = applied(&cluster);
        let endpoints = [closed.to_string(), proxies[0].address.to_string(), proxies[1].address.to_string()];
        let session = Client::new(endpoints).expect("endpoints").session();
        proxies[0].next(&[Fate::Refused]);
        assert!(session.put("k", 1).await.expect("the third endpoint takes it").created);
        assert_eq!((proxies[0].requests(), proxies[1].requests(), applied(&cluster) - before), (1, 1, 1));

        let hopeless = Client::builder([closed.to_string()]).deadline(Duration::from_millis(300)).build();
        let outcome = hopeless.expect("an endpoint").session().put("k", 1).await;
        let Err(Error::Unavailable { attempts }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        assert!(attempts[0].why.contains("refused"), "{attempts:?}");
    });
}

#[test]
fn a_condition_that_an_earlier_attempt_spoiled_is_unknown() {
    let (_cluster, proxies) = cluster(1);
    runtime().block_on(async {
        let session = client(&proxies, true).session();
        proxies[0].next(&[Fate::LostAfter]);
        let outcome = session.put("once", 1).if_absent().await;
        assert!(is_unknown(&outcome), "{outcome:?}");
        let outcome = session.put("once", 1).if_absent().await;
        assert!(matches!(outcome, Err(Error::PreconditionFailed { index: None })), "{outcome:?}");
    });
}

/// What one run of random losses came to.
struct Run {
    sent: u64,
    applied: u64,
}

/// A writer whose answers are lost at random, and a reader that never goes back in time.
async fn random_losses(cluster: &Cluster, proxies: &[Proxy], retries: bool, seed: u64) -> Run {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (writer, reader) = (client(proxies, retries).session(), client(proxies, false).session());
    let before = applied(cluster);
    let mut sent = 0;
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    for number in 1..=60_u64 {
        let at = random.next_u32() as usize % proxies.len();
        let drawn = [Fate::Passed, Fate::LostBefore, Fate::LostAfter, Fate::Torn, Fate::Refused, Fate::BadGateway];
        proxies[at].next(&[drawn[random.next_u32() as usize % drawn.len()]]);
        let key = format!("k{seed}-{}", random.next_u32() % 3);
        sent += 1;
        match writer.put(&key, number).await {
            Ok(_) => _ = latest.insert(key.clone(), number),
            Err(Error::OutcomeUnknown { .. }) => {}
            Err(error) => panic!("{number}: {error}"),
        }
        // The writer sees its own last write, or a later one of unknown outcome.
        let found = writer.get(&key).await.expect("an answer");
        let found = found.map_or(0, |entry| entry.read::<u64>().expect("a number"));
        assert!(found >= latest.get(&key).copied().unwrap_or(0), "{key} is {found} after {latest:?}");
        // The stamps of two writes differ, so the later one wins.
        tokio::time::sleep(Duration::from_millis(2)).await;
        reader.merge(&writer);
        let read = reader.get(&key).await.expect("an answer");
        assert!(read.map_or(0, |entry| entry.read::<u64>().expect("a number")) >= found, "{key} went back");
    }
    Run { sent, applied: applied(cluster) - before }
}

#[test]
fn no_write_is_done_twice() {
    let (cluster, proxies) = cluster(3);
    runtime().block_on(async {
        for seed in 0..4 {
            let run = random_losses(&cluster, &proxies, false, seed).await;
            assert!(run.applied <= run.sent, "seed {seed}: {} of {} writes", run.applied, run.sent);
            assert!(run.applied > run.sent / 2, "seed {seed}: hardly any write is done");
        }
        // What counts the writes would notice: with retries, some are done twice.
        let doubled = random_losses(&cluster, &proxies, true, 4).await;
        assert!(doubled.applied > doubled.sent, "{} of {} writes", doubled.applied, doubled.sent);
    });
}

#[test]
fn requests_of_one_session_at_a_time_forget_nothing() {
    let (cluster, proxies) = cluster(2);
    runtime().block_on(async {
        let client = client(&proxies, false);
        let session = std::sync::Arc::new(client.session());
        let keys: Vec<String> = (0..200).map(|number| format!("p{number}")).collect();
        let writes = keys.iter().map(|key| {
            let (session, key) = (session.clone(), key.clone());
            tokio::spawn(async move { session.put(&key, 1).await.map(|_| ()) })
        });
        let writes: Vec<_> = writes.collect();
        for write in writes {
            write.await.expect("no panic").expect("a write");
        }
        // A replica that is cut off has none of what comes now, and the session says so.
        let many = session.token().split(", ").count();
        assert!(many > 20, "only {many} tokens are held at a time");
        let other = client.resume(&session.token()).expect("tokens");
        other.get("p0").await.expect("an answer").expect("a value");
        assert_eq!(other.token().split(", ").count(), 1, "an answer joins them");
        for key in &keys {
            assert!(other.get(key).await.expect("an answer").is_some(), "{key}");
        }
        assert_eq!(applied(&cluster), 200);
    });
}

/// A replica that is cut off serves a session only what this has seen, and a fork of it that saw less.
#[test]
fn forks_and_merges() {
    let (mut cluster, proxies) = cluster(2);
    runtime().block_on(async {
        let there = |deadline| {
            let builder = Client::builder([proxies[1].address.to_string()]);
            builder.deadline(Duration::from_millis(deadline)).build().expect("an endpoint")
        };
        let (patient, hasty) = (there(20_000), there(1_000));
        let session = client(&proxies[..1], false).session();
        session.put("x", 1).concern(Concern::All).await.expect("a write");
        cluster.cut('b').expect("it is a member");
        let fork = session.fork();
        fork.put("x", 2).await.expect("a write");
        let read = async |client: &Client, session: &Session| {
            let entry = client.resume(&session.token()).expect("tokens").get("x").await;
            entry.map(|entry| entry.expect("a value").value.get().to_owned())
        };
        assert_eq!(read(&patient, &session).await.expect("it saw only what is there"), "1");
        assert!(matches!(read(&hasty, &fork).await, Err(Error::Unavailable { .. })), "it saw what is not there");
        session.merge(&fork);
        assert!(matches!(read(&hasty, &session).await, Err(Error::Unavailable { .. })), "it has seen it, too");
        cluster.heal('b').expect("it is a member");
        assert_eq!(read(&patient, &session).await.expect("it comes"), "2");
    });
}
