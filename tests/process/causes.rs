//! Why a link is missing: told once, at warn, with a word that a metric has, too.

use crate::lone::Lone;
use crate::name_server::{Answer, NameServer};
use crate::network;
use hence_tests::client;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

const OWN: &str = "127.0.0.2:8090";
const SETTLE: Duration = Duration::from_secs(12);

/// Answers every connection to this IP address as this says, each in a thread of its own.
fn listen(ip: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind((ip, 8_090)).expect("nobody else is in this namespace");
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
}

/// Reads a request's head.
fn head(stream: &mut TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
            Ok(_) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answers(answer: &'static str) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream| {
        head(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// Passes requests on to a replica elsewhere, as a proxy does that knows nothing of upgrades.
fn proxies_to(target: &'static str) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream| {
        let head = head(&mut stream);
        let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("upgrade:")).collect();
        let Ok(mut onward) = TcpStream::connect(target) else { return };
        let _ = onward.write_all(kept.join("\r\n").replace("connection: Upgrade", "connection: close").as_bytes());
        let mut answer = Vec::new();
        let _ = onward.read_to_end(&mut answer);
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(Shutdown::Both);
    }
}

const LATER: &str = "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\
    hence-replica: version=9; cluster=00000001; process=7; address=127.0.0.22:8090\r\n\r\n{}";
const OLDER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: hence-replica\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/// Members of one view that are missing for every reason there is, with the cause that has to be told of each.
const MISSING: [(&str, &str); 13] = [
    ("127.0.0.20:8090", "foreign"),
    ("127.0.0.22:8090", "version"),
    ("127.0.0.23:8090", "version"),
    ("127.0.0.24:8090", "not_hence"),
    ("127.0.0.25:8090", "not_hence"),
    ("127.0.0.26:8090", "not_hence"),
    ("127.0.0.27:8090", "no_upgrade"),
    ("127.0.0.28:8090", "refused"),
    ("127.0.0.29:8090", "mute"),
    ("127.0.0.30:8090", "no_answer"),
    ("nowhere.test:8090", "unresolved"),
    ("[fd00:1::1]:8090", "unreachable"),
    ("silent.test:8090", "lookup_pending"),
];

fn set_up() -> Vec<Lone> {
    let _server = NameServer::start(&[("silent.test", Answer::silence())]);
    let start = |name: &str, at: &str, cluster: &str| {
        Lone::start(name, at, &[("SOCKET_ADDRESS", at), ("VIEW", at), ("CLUSTER", cluster)])
    };
    listen("127.0.0.22", answers(LATER));
    listen("127.0.0.23", |mut stream| {
        head(&mut stream);
        let _ = stream.write_all(OLDER.as_bytes());
        // It reads the first frame, does not like its version, and closes.
        let _ = stream.read(&mut [0; 64]);
    });
    listen("127.0.0.24", answers(NOT_FOUND));
    listen("127.0.0.25", answers("SSH-2.0-OpenSSH_9.2\r\n"));
    listen("127.0.0.26", answers(BAD_GATEWAY));
    listen("127.0.0.27", proxies_to("127.0.0.31:8090"));
    listen("127.0.0.29", |stream| {
        std::thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    network::lose("127.0.0.30", "");
    vec![start("cause_foreign", "127.0.0.20:8090", "another"), start("cause_proxied", "127.0.0.31:8090", "causes")]
}

/// Each cause is named once, at warn, with the member; the metric counts it as long as it holds.
pub(crate) fn told_once() {
    let others = set_up();
    let members: Vec<&str> = [OWN].into_iter().chain(MISSING.iter().map(|(member, _)| *member)).collect();
    let environment = [("SOCKET_ADDRESS", OWN), ("VIEW", &members.join(",")), ("CLUSTER", "causes")];
    let replica = Lone::start("causes", OWN, &environment);
    for (member, cause) in MISSING {
        let cause = format!("cause=\"{cause}\"");
        replica.await_line(&["WARN", &format!("peer={member}"), &cause, "cannot connect to a member"], SETTLE);
    }
    std::thread::sleep(Duration::from_secs(8));
    for (member, cause) in MISSING {
        let told = replica.lines(&["WARN", &format!("peer={member}"), "cannot connect"]);
        // A name server that says nothing is one thing, what the system makes of that in the end is another.
        assert!(told.len() == 1 || cause == "lookup_pending" && told.len() == 2, "{member}: {told:#?}");
    }
    for (cause, count) in [("version", 2), ("not_hence", 3), ("no_upgrade", 1), ("refused", 1), ("foreign", 1)] {
        let name = format!("hence_peer_outages{{cause=\"{cause}\"}}");
        assert_eq!(replica.metric(&name), Some(count), "{cause}");
    }
    // The foreign one says the same from its side, at error: members of another cluster have appeared there.
    others[0].await_line(&["ERROR", "another cluster appears", OWN], SETTLE);
    assert_eq!(others[0].lines(&["another cluster appears"]).len(), 1);
    // It was served all the time, and is not ready: two members are there that speak another version.
    assert_eq!(client::put(OWN, "k", "1", None).status, 201);
    let ready = replica.ready().expect("an answer");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("127.0.0.22:8090, 127.0.0.23:8090, which speak another version"), "{}", ready.text());
}

/// A link that comes back ends the outage, and what happens later is told again.
pub(crate) fn told_again() {
    let view = "127.0.0.2:8090,127.0.0.3:8090";
    let start = |name: &str, at: &str| Lone::start(name, at, &[("SOCKET_ADDRESS", at), ("VIEW", view)]);
    let first = start("again_first", OWN);
    for round in 1..=2 {
        first.poll(SETTLE, "the outage to be told", || {
            let told = first.lines(&["WARN", "peer=127.0.0.3:8090", "cause=\"refused\""]).len();
            if told == round { Ok(()) } else { Err(format!("{told} times")) }
        });
        assert_eq!(first.metric("hence_peer_outages{cause=\"refused\"}"), Some(1));
        let second = start("again_second", "127.0.0.3:8090");
        first.await_links(1, SETTLE);
        first.poll(SETTLE, "no outage", || match first.metric("hence_peer_outages{cause=\"refused\"}") {
            Some(0) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        drop(second);
    }
}

/// Small packets pass and large ones are lost: links stand for a moment, again and again.
pub(crate) fn large_packets() {
    let view = "127.0.0.2:8090,127.0.0.3:8090";
    let start =
        |name: &str, at: &str| Lone::start(name, at, &[("SOCKET_ADDRESS", at), ("VIEW", view), ("CLUSTER", "mtu")]);
    let (first, second) = (start("mtu_first", OWN), start("mtu_second", "127.0.0.3:8090"));
    first.await_links(1, SETTLE);
    second.await_links(1, SETTLE);
    // From the second to the first nothing is lost, so only the first has something to tell.
    network::lose("127.0.0.3", "ip saddr 127.0.0.2 meta length > 1400");
    let value = format!("\"{}\"", "x".repeat(20_000));
    assert_eq!(client::put(OWN, "large", &value, None).status, 201);
    let limit = Duration::from_secs(60);
    let time = first.await_line(&["WARN", "peer=127.0.0.3:8090", "cause=\"large_packets_lost\"", "MTU"], limit);
    println!("note: large packets are lost: told after {time:?}");
    assert_eq!(first.metric("hence_peer_outages{cause=\"large_packets_lost\"}"), Some(1));
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(first.lines(&["large_packets_lost"]).len(), 1);
    assert!(second.lines(&["large_packets_lost"]).is_empty(), "{}", second.log());
    network::heal("127.0.0.3");
    second.poll(limit, "the value to arrive", || {
        let answer = client::get(second.at(), "large", None);
        if answer.status == 200 { Ok(()) } else { Err(answer.text().to_owned()) }
    });
}
