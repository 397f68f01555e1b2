//! Clients that are slow, silent or too many: each is ended in time, and an honest client is served meanwhile.

use crate::cluster::Cluster;
use hence_tests::client::{self, Connection, NoResponse, request_bytes};
use hence_tests::replicas::Replicas;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// No other client's slowness may cost an honest client more than this.
const HONEST: Duration = Duration::from_millis(500);

/// Heads, bodies and readers that never end, with limits made short so that the test is.
pub(crate) fn slow() {
    let cluster = Cluster::new("slow_clients", 1)
        .setting("HENCE_HEAD_TIME_MAX", "1s")
        .setting("HENCE_BODY_TIME_MAX", "2s")
        .setting("HENCE_IDLE_TIME_MAX", "3s")
        .setting("HENCE_ANSWER_TIME_MAX", "1s")
        .run();
    let large = format!("\"{}\"", "x".repeat(64 << 10));
    cluster.put(0, "large", &large, None, 201);
    let before = cluster.state(0);
    let address = cluster.address(0);
    std::thread::scope(|scope| {
        let slow: [fn(&str); 6] =
            [drip_head, stop_in_head, drip_body, stop_in_body, idle_after_an_answer, read_nothing];
        let address = &address;
        let slow = slow.map(|run| scope.spawn(move || run(address)));
        let mut longest = Duration::ZERO;
        while slow.iter().any(|thread| !thread.is_finished()) {
            let asked = Instant::now();
            cluster.get_expecting(0, "nothing", None, 404);
            longest = longest.max(asked.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(longest < HONEST, "an honest client waited {longest:?}");
        slow.into_iter().for_each(|thread| thread.join().expect("each slow client is ended in time"));
    });
    assert_eq!(cluster.state(0), before);
}

fn open(address: &str) -> Connection {
    Connection::open(address).expect("the replica accepts connections")
}

/// Sends a byte every 50 ms until the connection ends or `limit` has passed; says how long it took.
fn drip(connection: &mut Connection, bytes: &[u8], limit: Duration) -> Duration {
    let start = Instant::now();
    let stream: &mut TcpStream = connection.stream();
    stream.set_nonblocking(true).expect("an open socket");
    for byte in bytes.iter().cycle() {
        let ended = match stream.peek(&mut [0]) {
            Ok(_) => true, // an answer or the end
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        if ended || stream.write_all(&[*byte]).is_err() || start.elapsed() > limit {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stream.set_nonblocking(false).expect("an open socket");
    start.elapsed()
}

fn drip_head(address: &str) {
    let mut connection = open(address);
    connection.send(b"GET /kvs/a HTTP/1.1\r\nHost: h\r\nX: ");
    let time = drip(&mut connection, b"x", Duration::from_secs(5));
    assert!((900..2_000).contains(&time.as_millis()), "a head that drips was let go on for {time:?}");
}

fn stop_in_head(address: &str) {
    let mut connection = open(address);
    let start = Instant::now();
    let end = connection.timeout(Duration::from_secs(5)).send(b"PUT /kvs/a HTT").receive(false);
    assert!(matches!(end, Err(NoResponse::Closed(_))), "{end:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "half a head held a connection for {:?}", start.elapsed());
}

fn drip_body(address: &str) {
    let mut connection = open(address);
    connection.send(b"PUT /kvs/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{\"value\":\"");
    let time = drip(&mut connection, b"x", Duration::from_secs(6));
    assert!((1_900..3_500).contains(&time.as_millis()), "a body that drips was let go on for {time:?}");
    assert_eq!(connection.receive(false).map(|response| response.status), Ok(408));
}

fn stop_in_body(address: &str) {
    let mut connection = open(address);
    connection.send(b"PUT /kvs/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"val");
    let start = Instant::now();
    let response = connection.timeout(Duration::from_secs(6)).receive(false).expect("an answer");
    assert_eq!((response.status, response.json()["error"].is_string()), (408, true), "{response:?}");
    assert!(start.elapsed() < Duration::from_millis(3_500), "{:?}", start.elapsed());
    let end = connection.receive(false);
    assert!(matches!(end, Err(NoResponse::Closed(_))), "{end:?}");
}

fn idle_after_an_answer(address: &str) {
    let mut connection = open(address);
    connection.send(&request_bytes("GET", "/kvs/a", &[], None));
    assert_eq!(connection.receive(false).map(|response| response.status), Ok(404));
    let start = Instant::now();
    let end = connection.timeout(Duration::from_secs(8)).receive(false);
    assert!(matches!(end, Err(NoResponse::Closed(_))), "{end:?}");
    assert!((2_800..5_000).contains(&start.elapsed().as_millis()), "idle for {:?}", start.elapsed());
}

/// Asks for far more than the sockets' buffers hold and takes none of it.
fn read_nothing(address: &str) {
    const REQUESTS: usize = 400;
    let mut connection = open(address);
    let request = request_bytes("GET", "/kvs/large", &[], None);
    connection.send(&request.repeat(REQUESTS));
    // The limit is a second, and one more for each 64 KiB of the answer that is under way.
    std::thread::sleep(Duration::from_secs(5));
    let mut answers = 0;
    while let Ok(response) = connection.receive(false) {
        assert_eq!(response.status, 200);
        answers += 1;
    }
    assert!(answers < REQUESTS, "a client that reads nothing was waited for");
}

/// As many idle connections as a process may have: old ones give way, new clients are served.
pub(crate) fn idle() {
    let mut cluster = Cluster::running("idle_connections", 1);
    let address = cluster.address(0);
    let target = 10_000.min(open_files_max().saturating_sub(500));
    if target < 10_000 {
        println!("note: only {target} idle connections; more open files are not allowed here");
    }
    let id = cluster.id(0);
    let before = resident_kib(id);
    for half_a_head in [false, true] {
        let mut crowd = Vec::with_capacity(target);
        let mut longest = Duration::ZERO;
        for count in 0..target {
            let mut stream = TcpStream::connect(&address).expect("an honest attempt");
            if half_a_head {
                let _ = stream.write_all(b"GET /kvs/a HTTP/1.1\r\n");
            }
            crowd.push(stream);
            if count % 200 == 0 {
                longest = longest.max(honest(&cluster, half_a_head));
            }
        }
        for _ in 0..20 {
            longest = longest.max(honest(&cluster, half_a_head));
        }
        let what = if half_a_head { "with half a head" } else { "idle" };
        println!(
            "note: {target} connections {what}: an honest client waited {longest:?} at most, resident {:?} KiB, {before:?} before",
            resident_kib(id)
        );
    }
    assert!(cluster.is_running(0));
    let grown = resident_kib(id).zip(before).map(|(now, before)| now.saturating_sub(before));
    assert!(grown.is_none_or(|grown| grown < 200 << 10), "grown by {grown:?} KiB");
}

/// A whole honest exchange. In a crowd that keeps sending heads an honest client may be turned away while none idles;
/// it tries again.
fn honest(cluster: &Cluster, may_be_refused: bool) -> Duration {
    let start = Instant::now();
    let limit = if may_be_refused { Duration::from_secs(3) } else { HONEST };
    loop {
        let asked = client::try_request(&cluster.address(0), "GET", "/kvs/a", &[], None, limit);
        let refused = asked.as_ref().map_or(true, |response| response.status == 503);
        if refused && may_be_refused && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let response = asked.unwrap_or_else(|error| panic!("an honest client got {error:?}"));
        assert_eq!(response.status, 404, "{}", response.text());
        assert!(start.elapsed() <= limit, "an honest client waited {:?}", start.elapsed());
        return start.elapsed();
    }
}

pub(crate) fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1_024)
}

/// Memory of a process, where `/proc` tells.
pub(crate) fn resident_kib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status.lines().find(|line| line.starts_with("VmRSS:"))?.split_whitespace().nth(1)?.parse().ok()
}
