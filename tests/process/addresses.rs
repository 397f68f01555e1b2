//! Addresses as operators write them. What can never be right is refused, what may be wrong is reported, and two
//! spellings of one address are one member.

use crate::lone::Lone;
use crate::network;
use hence_tests::client;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(10);

/// Addresses that no replica can be reached at.
const UNUSABLE: [&str; 9] = [
    "0.0.0.0:8090",
    "[::]:8090",
    "[0:0::0:0]:8090",
    "[::ffff:0.0.0.0]:8090",
    "0.0.0.7:8090",
    "224.0.0.1:8090",
    "[ff02::1]:8090",
    "255.255.255.255:8090",
    "[fe80::1]:8090",
];

/// A process that is told such an address does not start, and says what to do instead.
pub(crate) fn refused_at_start() {
    for address in UNUSABLE {
        for (socket_address, view) in [(address, address), ("127.0.0.2:8090", address)] {
            let environment = [("SOCKET_ADDRESS", socket_address), ("VIEW", view)];
            let mut replica = Lone::start("refused_address", "127.0.0.2:8090", &environment);
            let status = replica.ended(Duration::from_secs(5));
            let log = replica.log();
            assert_eq!(status.code(), Some(2), "{environment:?}: {log}");
            let setting = if socket_address == address { "SOCKET_ADDRESS" } else { "VIEW" };
            assert!(log.contains(setting) && log.contains("it must be an address"), "{environment:?}: {log}");
            let unspecified = address.starts_with("0.") || address.starts_with("[::]") || address.contains("0:0");
            assert!(!unspecified || log.contains("HENCE_BIND"), "{environment:?}: {log}");
        }
    }
    // A legal address that is not of this machine: the complaint names the setting that helps.
    let mut replica = Lone::start("foreign_address", "", &[("SOCKET_ADDRESS", "10.255.1.2:8090")]);
    assert_eq!(replica.ended(Duration::from_secs(5)).code(), Some(1));
    assert!(replica.log().contains("HENCE_BIND=0.0.0.0:8090"), "{}", replica.log());
}

/// `PUT /view` refuses them with 400 and changes nothing; so does `DELETE /view` where no row is there.
pub(crate) fn refused_in_the_view() {
    let own = "127.0.0.2:8090";
    let replica = Lone::start("refused_view", own, &[("SOCKET_ADDRESS", own), ("VIEW", own)]);
    replica.await_ready(200, SETTLE);
    for address in UNUSABLE.into_iter().chain(["127.0.0.3:0", "127.0.0.3:65536", "127.0.0.3", ""]) {
        for method in ["PUT", "DELETE"] {
            let body = format!("{{\"socket-address\":\"{address}\"}}");
            let answer = client::request(own, method, "/view", &[], Some(&body));
            assert_eq!(answer.status, 400, "{method} {address}: {}", answer.text());
            assert!(answer.json()["error"].as_str().is_some_and(|text| text.len() > 10), "{}", answer.text());
        }
    }
    assert_eq!(replica.view(), [own]);
    assert!(replica.lines(&["leads each replica to its own machine"]).is_empty(), "{}", replica.log());
    // What may be wrong is taken, and told.
    let answer = client::request(own, "PUT", "/view", &[], Some("{\"socket-address\":\"10.255.1.2:8090\"}"));
    assert_eq!(answer.status, 201);
    replica.await_line(&["WARN", "127.0.0.2:8090 leads each replica", "HENCE_BIND"], SETTLE);
}

/// A loopback address among others starts, with a warning that names the setting for where to listen.
pub(crate) fn loopback_is_told() {
    let other = "10.255.1.2:8090";
    let own = "127.0.0.2:8090";
    let view = format!("{own},{other}");
    let replica = Lone::start("loopback", own, &[("SOCKET_ADDRESS", own), ("VIEW", &view)]);
    replica.await_line(&["WARN", "127.0.0.2:8090 leads each replica to its own machine", other, "HENCE_BIND"], SETTLE);
    replica.await_line(&["WARN", "default name", "CLUSTER"], SETTLE);
    drop(replica);
    let own = "127.0.0.2:8090";
    let view = "127.0.0.2:8090,127.0.0.3:8090";
    let replica = Lone::start("only_loopback", own, &[("SOCKET_ADDRESS", own), ("VIEW", view)]);
    replica.await_line(&["replica started"], SETTLE);
    std::thread::sleep(Duration::from_millis(200));
    assert!(replica.lines(&["leads each replica"]).is_empty(), "{}", replica.log());
    assert!(replica.lines(&["default name"]).is_empty(), "{}", replica.log());
}

/// Three replicas that spell each other's IPv6 addresses in every way are three members.
pub(crate) fn spellings_are_one_member() {
    network::add_addresses(&["fd00::2", "fd00::3", "fd00::4"]);
    let canonical = ["[fd00::2]:8090", "[fd00::3]:8090", "[fd00::4]:8090"];
    let spellings = [
        ("[fd00::2]:8090", "[FD00::2]:8090,[fd00:0:0::3]:8090,[fd00::0004]:8090"),
        ("[fd00:0:0:0:0:0:0:3]:8090", "[fd00::2]:8090,[fd00::0:3]:8090,[fd00::4]:8090"),
        ("[FD00::0004]:8090", "[fd00:0000::0002]:8090,[FD00:0:0:0:0:0:0:3]:8090"),
    ];
    let start = |at: usize| {
        let (own, view) = spellings[at];
        let environment = [("SOCKET_ADDRESS", own), ("VIEW", view), ("CLUSTER", "spellings")];
        Lone::start(&format!("spelling{at}"), canonical[at], &environment)
    };
    let replicas = [0, 1, 2].map(start);
    for replica in &replicas {
        replica.await_view(&canonical, SETTLE);
        replica.await_links(2, SETTLE);
    }
    let body = "{\"socket-address\":\"[fd00:0:0:0:0::0002]:8090\"}";
    let answer = client::request(canonical[1], "PUT", "/view", &[], Some(body));
    assert_eq!((answer.status, answer.text()), (200, "{\"result\":\"already present\"}"));
    let body = "{\"socket-address\":\"[FD00::4]:8090\"}";
    let answer = client::request(canonical[0], "DELETE", "/view", &[], Some(body));
    assert_eq!((answer.status, answer.text()), (200, "{\"result\":\"deleted\"}"));
    replicas[1].await_view(&canonical[..2], SETTLE);

    // An IPv4 address that is mapped into IPv6 is that IPv4 address.
    let environment = [("SOCKET_ADDRESS", "[::ffff:127.0.0.9]:8090"), ("VIEW", "127.0.0.9:8090,[::ffff:7f00:9]:8090")];
    let replica = Lone::start("mapped", "127.0.0.9:8090", &environment);
    replica.await_ready(200, SETTLE);
    assert_eq!(replica.view(), ["127.0.0.9:8090"]);
}

/// A name with a final dot, as DNS tools print it, is the same name.
pub(crate) fn final_dots() {
    network::set_hosts("127.0.0.2 alice alice.example\n127.0.0.3 bob bob.example\n");
    let names = ["alice.example:8090", "bob.example:8090"];
    let start = |at: usize, own: &str, view: &str| {
        let bind = format!("127.0.0.{}:8090", at + 2);
        let environment = [("SOCKET_ADDRESS", own), ("VIEW", view), ("CLUSTER", "dots"), ("HENCE_BIND", &bind)];
        Lone::start(&format!("dot{at}"), &bind, &environment)
    };
    let alice = start(0, "alice.example.:8090", "alice.example:8090,bob.example.:8090");
    let bob = start(1, "bob.example:8090", "Alice.Example.:8090,bob.example.:8090");
    for replica in [&alice, &bob] {
        replica.await_view(&names, SETTLE);
        replica.await_links(1, SETTLE);
        replica.await_ready(200, SETTLE);
    }
    let answer = client::request(alice.at(), "PUT", "/view", &[], Some("{\"socket-address\":\"bob.example.:8090\"}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}
