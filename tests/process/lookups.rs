//! Members that are known by name: name servers that are slow, silent, or give several addresses of which one works.

use crate::lone::Lone;
use crate::name_server::{Answer, NameServer};
use crate::network;
use hence_tests::client;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(20);
const NAMES: [&str; 3] = ["alice.test", "bob.test", "carol.test"];

fn ip(at: usize) -> String {
    format!("127.0.0.{}", at + 2)
}

fn start(test: &str, at: usize, members: &[&str]) -> Lone {
    start_at(test, at, &ip(at), members)
}

fn start_at(test: &str, at: usize, ip: &str, members: &[&str]) -> Lone {
    let view: Vec<String> = members.iter().map(|name| format!("{name}:8090")).collect();
    let own = format!("{}:8090", NAMES[at]);
    let bind = format!("{ip}:8090");
    let environment =
        [("SOCKET_ADDRESS", own.as_str()), ("VIEW", &view.join(",")), ("HENCE_BIND", &bind), ("CLUSTER", "names")];
    Lone::start(&format!("{test}_{at}"), &bind, &environment)
}

/// Look-ups take longer than a connection attempt may: members link all the same, and find each other again.
pub(crate) fn slow() {
    let answers =
        |millis: u64| [0, 1, 2].map(|at: usize| (NAMES[at], Answer::new(&[&ip(at)], Duration::from_millis(millis))));
    let server = NameServer::start(&answers(800));
    for (delay, limit) in [(800, 6), (2_600, 12)] {
        answers(delay).into_iter().for_each(|(name, answer)| server.set(name, answer));
        let [alice, bob, carol] = [0, 1, 2].map(|at| start(&format!("slow_names_{delay}"), at, &NAMES));
        let times = [&alice, &bob, &carol].map(|replica| replica.await_links(2, Duration::from_secs(limit)));
        println!("note: look-ups of {delay} ms: linked after {times:?}");
        let token = client::put(alice.at(), "k", "1", None).token();
        drop(bob);
        let bob = start(&format!("slow_names_{delay}_again"), 1, &NAMES);
        let time = bob.poll(SETTLE, "a restarted member to serve", || {
            let answer = client::try_get(bob.at(), "k", Some(&token)).map_err(|error| format!("{error:?}"))?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
        });
        println!("note: look-ups of {delay} ms: a restarted member served everything after {time:?}");
    }
}

/// A name server that says nothing is named, costs a bounded number of threads, and holds up no member that it knows.
pub(crate) fn silent() {
    let silent: Vec<String> = (0..30).map(|number| format!("silent{number}.test")).collect();
    let mut names: Vec<(&str, Answer)> = silent.iter().map(|name| (name.as_str(), Answer::silence())).collect();
    names.extend((0..2).map(|at| (NAMES[at], Answer::new(&[&ip(at)], Duration::ZERO))));
    let server = NameServer::start(&names);
    let members: Vec<&str> = NAMES[..2].iter().copied().chain(silent.iter().map(String::as_str)).collect();
    let replicas = [0, 1].map(|at| start("silent_names", at, &members));
    for replica in &replicas {
        replica.await_links(1, SETTLE);
    }
    let mut most = 0;
    for _ in 0..50 {
        most = most.max(replicas[0].threads());
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("note: 30 silent names for 10 s: at most {most} threads");
    assert!(most <= 24, "{most} threads");
    for name in &silent {
        let said = replicas[0].lines(&["WARN", &format!("{name}:8090"), "cause=\"lookup_pending\""]);
        assert!(said.len() <= 1, "{said:#?}");
    }
    let said = replicas[0].lines(&["WARN", "cause=\"lookup_pending\"", "name server has not answered"]);
    assert!(said.len() >= 10, "{said:#?}");
    // One of them is a member after all.
    server.set("silent7.test", Answer::new(&["127.0.0.4"], Duration::ZERO));
    let own = [
        ("SOCKET_ADDRESS", "silent7.test:8090"),
        ("VIEW", "alice.test:8090"),
        ("HENCE_BIND", "127.0.0.4:8090"),
        ("CLUSTER", "names"),
    ];
    let third = Lone::start("silent_names_third", "127.0.0.4:8090", &own);
    third.await_links(2, Duration::from_secs(60));
}

/// Of several addresses of a name the one that works is found, however the others fail.
pub(crate) fn several_addresses() {
    // The system sorts addresses: first comes what has most bits in common with the own one, 127.0.0.1.
    let dead = ["127.0.0.6", "127.0.0.7"];
    let far = "127.0.0.201";
    let bob: Vec<&str> = dead.iter().copied().chain([far]).collect();
    let at_once = Duration::ZERO;
    let server =
        NameServer::start(&[("alice.test", Answer::new(&[&ip(0)], at_once)), ("bob.test", Answer::new(&bob, at_once))]);
    let members = &NAMES[..2];
    let both_link = |how: &str| {
        let replicas =
            [(0, &*ip(0)), (1, far)].map(|(at, ip)| start_at(&format!("several_addresses_{how}"), at, ip, members));
        let times = [0, 1].map(|at: usize| replicas[at].await_links(1, Duration::from_secs(8)));
        println!("note: the others {how}: linked after {times:?}");
    };
    both_link("refuse");
    for address in dead {
        network::lose(address, "");
    }
    both_link("are silent");
    for address in dead {
        network::heal(address);
    }
    let listeners = dead.map(|address| TcpListener::bind((address, 8_090)).expect("nobody else is in this namespace"));
    let accepted: Vec<TcpListener> = listeners.iter().map(|one| one.try_clone().expect("an open socket")).collect();
    both_link("accept and say nothing");
    for listener in accepted {
        std::thread::spawn(move || {
            for mut stream in listener.incoming().filter_map(Result::ok) {
                let _ = stream.read(&mut [0; 1_024]);
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        });
    }
    both_link("are web servers");
    // A name that leads to the asker first, as that of a service does.
    server.set("bob.test", Answer::new(&[&ip(0), far], at_once));
    server.set("alice.test", Answer::new(&[far, &ip(0)], at_once));
    both_link("are the asker itself");
}
