//! Members whose names lead elsewhere after a while, and members that a name server names.

use crate::lone::Lone;
use crate::name_server::{Answer, NameServer, OverTcp};
use crate::network::{self, Cut};
use hence_tests::client;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const NAMES: [&str; 3] = ["alice.test", "bob.test", "carol.test"];
const SETTLE: Duration = Duration::from_secs(20);

fn ip(at: usize) -> String {
    format!("127.0.0.{}", at + 2)
}

fn start(test: &str, at: usize, ip: &str, view: &str) -> Lone {
    let own = format!("{}:8090", NAMES[at]);
    let bind = format!("{ip}:8090");
    let environment = [("SOCKET_ADDRESS", own.as_str()), ("VIEW", view), ("HENCE_BIND", &bind), ("CLUSTER", "moves")];
    Lone::start(&format!("{test}_{at}"), &bind, &environment)
}

/// Writes at one replica until it is stopped. Every write must be taken.
fn write(at: &str, key: &str, stop: &AtomicBool, written: &AtomicU64) -> String {
    let mut token: Option<String> = None;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = client::put(at, &format!("{key}{}", number % 50), &number.to_string(), token.as_deref());
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        token = Some(answer.token());
        number += 1;
        written.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
    token.expect("it wrote")
}

/// A member moves to another address, twice. The first time its connections end, the second time packets are lost. No
/// other process is restarted, and no write fails.
pub(crate) fn under_load() {
    let answer = |ip: &str| Answer::new(&[ip], Duration::ZERO);
    let server = NameServer::start(&[0, 1, 2].map(|at: usize| (NAMES[at], answer(&ip(at)))));
    let view = NAMES.map(|name| format!("{name}:8090")).join(",");
    let start = |at, ip: &str| start("names_that_move", at, ip, &view);
    let (alice, carol) = (start(0, &ip(0)), start(2, &ip(2)));
    let mut bob = Some(start(1, &ip(1)));
    alice.await_links(2, SETTLE);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut from = ip(1);
    for (how, to) in [("ends", "127.0.0.77"), ("is lost", "127.0.0.88")] {
        stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let writers = [(&alice, "a"), (&carol, "c")]
                .map(|(replica, key)| scope.spawn(|| write(replica.at(), key, &stop, &written)));
            std::thread::sleep(Duration::from_millis(500));
            if how == "is lost" {
                network::cut(&from, Cut::Silent);
            }
            drop(bob.take());
            server.set(NAMES[1], answer(to));
            let moved = start(1, to);
            let time = moved.await_ready(200, SETTLE);
            for other in [&alice, &carol] {
                other.await_links(2, SETTLE);
            }
            stop.store(true, Ordering::Relaxed);
            for (writer, key) in writers.into_iter().zip(["a", "c"]) {
                let token = writer.join().expect("every write was taken");
                moved.poll(SETTLE, "all that was written meanwhile", || {
                    let answer = client::get(moved.at(), &format!("{key}0"), Some(&token));
                    if answer.status == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
                });
            }
            println!("note: what came from {from} {how}: ready at {to} after {time:?}");
            bob = Some(moved);
        });
        from = to.to_owned();
    }
    assert!(bob.is_some() && written.load(Ordering::Relaxed) > 500, "{written:?} writes");
}

/// Members come from SRV records, which are asked for again. Records that go remove no member, and records that stay
/// bring back none that an operator removed.
pub(crate) fn from_a_service() {
    let mut names: Vec<(&str, Answer)> = Vec::new();
    let ips: Vec<String> = (0..3).map(ip).collect();
    names.extend((0..3).map(|at| (NAMES[at], Answer::new(&[&ips[at]], Duration::ZERO))));
    let server = NameServer::start(&names);
    let view = "dns:Peers.test.:8090";
    let start = |at: usize| start("names_from_a_service", at, &ip(at), view);
    // Before the service has any record, no replica serves: it would take itself for the whole cluster.
    let mut early = start(2);
    early.await_line(&["WARN", "the name server knows of no member", "peers.test:8090"], SETTLE);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(early.ready().is_none(), "{}", early.log());
    let signalled = std::process::Command::new("kill").arg(early.id().to_string()).status();
    assert!(signalled.is_ok_and(|status| status.success()));
    assert!(early.ended(Duration::from_secs(2)).success(), "{}", early.log());

    server.set("peers.test", Answer::service(&[NAMES[0], NAMES[1]]));
    let (alice, bob) = (start(0), start(1));
    let members = |count: usize| NAMES[..count].iter().map(|name| format!("{name}:8090")).collect::<Vec<_>>();
    let list = |count: usize| members(count).iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let await_view = |replica: &Lone, count: usize, limit: Duration| {
        let wanted = list(count);
        replica.await_view(&wanted.split(',').collect::<Vec<_>>(), limit)
    };
    for replica in [&alice, &bob] {
        replica.await_links(1, SETTLE);
        replica.await_ready(200, SETTLE);
        await_view(replica, 2, SETTLE);
    }
    let token = client::put(alice.at(), "k", "1", None).token();

    // Carol is named before she runs, and found by those that run.
    server.set("peers.test", Answer::service(&NAMES));
    alice.await_line(&["INFO", "names a further member", "carol.test:8090"], SETTLE);
    bob.await_line(&["INFO", "names a further member", "carol.test:8090"], SETTLE);
    let carol = start(2);
    carol.await_links(2, SETTLE);
    carol.await_ready(200, SETTLE);
    assert_eq!(client::get(carol.at(), "k", Some(&token)).status, 200);

    // The records of one member go, and then the name server itself fails.
    server.set("peers.test", Answer::service(&[NAMES[0]]));
    std::thread::sleep(Duration::from_secs(6));
    server.set("peers.test", Answer::silence());
    bob.await_line(&["WARN", "the name server does not answer"], SETTLE);
    for replica in [&alice, &bob, &carol] {
        await_view(replica, 3, Duration::from_secs(1));
    }
    // An operator removes a member that is still named.
    server.set("peers.test", Answer::service(&NAMES));
    let body = "{\"socket-address\":\"carol.test:8090\"}";
    assert_eq!(client::request(alice.at(), "DELETE", "/view", &[], Some(body)).status, 200);
    bob.await_line(&["INFO", "the name server answers again"], SETTLE);
    std::thread::sleep(Duration::from_secs(6));
    for replica in [&alice, &bob] {
        await_view(replica, 2, Duration::from_secs(1));
    }
    // Neither does a member that starts anew and is named all of them.
    drop(bob);
    let bob = start(1);
    bob.await_ready(200, SETTLE);
    await_view(&bob, 2, Duration::from_secs(5));
}

/// An answer that is too long for a datagram is asked for again over TCP. Where that fails, what was known stays.
pub(crate) fn over_tcp() {
    let mut names: Vec<(&str, Answer)> = Vec::new();
    let ips: Vec<String> = (0..3).map(ip).collect();
    names.extend((0..3).map(|at| (NAMES[at], Answer::new(&[&ips[at]], Duration::ZERO))));
    let server = NameServer::start(&names);
    // Every host stands there twelve times.
    let long = |count: usize| Answer::service(&NAMES[..count].repeat(12));
    server.set("peers.test", long(2));
    let start = |at: usize| start("names_over_tcp", at, &ip(at), "dns:peers.test:8090");
    let replicas = [start(0), start(1)];
    for replica in &replicas {
        replica.await_view(&["alice.test:8090", "bob.test:8090"], SETTLE);
        replica.await_links(1, SETTLE);
        replica.await_ready(200, SETTLE);
    }
    assert!(server.asked_over_tcp() >= 2, "{}", server.asked_over_tcp());
    for how in [OverTcp::Ends, OverTcp::EndsWithin, OverTcp::Silence] {
        let asked = server.asked_over_tcp();
        server.set_over_tcp(how);
        server.set("peers.test", long(3));
        replicas[0].poll(Duration::from_secs(40), "it asks over TCP, too", || {
            let more = server.asked_over_tcp() - asked;
            if more >= 2 { Ok(()) } else { Err(format!("{more}")) }
        });
        for replica in &replicas {
            assert_eq!(replica.view(), ["alice.test:8090", "bob.test:8090"], "{how:?}");
            assert_eq!(client::get(replica.at(), "k", None).status, 404, "{how:?}");
        }
    }
    replicas[0].await_line(&["WARN", "the name server does not answer for peers.test:8090"], SETTLE);
    server.set_over_tcp(OverTcp::Answers);
    for replica in &replicas {
        replica.await_line(&["INFO", "names a further member", "carol.test:8090"], Duration::from_secs(40));
        replica.await_view(&["alice.test:8090", "bob.test:8090"], SETTLE);
    }
    let carol = start(2);
    carol.await_links(2, SETTLE);
    carol.await_ready(200, SETTLE);
}

/// A replica whose own name is not among the records is a member all the same. It says so once.
pub(crate) fn not_among_them() {
    let ips: Vec<String> = (0..3).map(ip).collect();
    let names: Vec<_> = (0..3).map(|at| (NAMES[at], Answer::new(&[&ips[at]], Duration::ZERO))).collect();
    let server = NameServer::start(&names);
    server.set("peers.test", Answer::service(&NAMES[..2]));
    let start = |at: usize| start("names_without_own", at, &ip(at), "dns:peers.test:8090");
    let [alice, bob, carol] = [0, 1, 2].map(start);
    for replica in [&alice, &bob, &carol] {
        replica.await_links(2, SETTLE);
        replica.await_ready(200, SETTLE);
        replica.await_view(&["alice.test:8090", "bob.test:8090", "carol.test:8090"], SETTLE);
    }
    let words = ["WARN", "SOCKET_ADDRESS is not among the names of this service", "carol.test:8090"];
    carol.await_line(&words, Duration::from_secs(50));
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(carol.lines(&words).len(), 1, "it is said once: {}", carol.log());
    for replica in [&alice, &bob] {
        assert_eq!(replica.lines(&words[..2]), [""; 0], "{}", replica.log());
    }
}
