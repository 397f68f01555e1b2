//! The laws over real sockets, and what only this transport promises. Loopback only.

mod formats;
mod moments;
mod secrets;
mod tls;

use super::*;
use crate::codec::FrameWriter;
use crate::faulty::{Chance, Direction, Faults, Faulty, Target, TokioSleeper, Weather};
use crate::laws::{self, Character, Laboratory};
use core::future::Future;
use core::time::Duration;
use hence_core::{
    Body, ClusterTag, Deps, Dot, Dots, Effect, Formats, Hello, Hlc, Incarnation, Key, Micros, Op, Time, Value,
    VersionVector, Wall,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

const UPGRADE_REQUEST: &str =
    "GET /replica/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: hence-replica\r\n\r\n";

fn cluster() -> ClusterTag {
    ClusterTag::of("hence")
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let test = async { timeout(Duration::from_secs(120), test).await.expect("in time") };
    LocalSet::new().block_on(&runtime, test)
}

/// A loopback address that no other test of any process uses.
fn fresh_address() -> Address {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let text = if cfg!(target_os = "linux") {
        // All of 127/8 is there. The port is below those that dials come from.
        format!("127.{}.{}.{}:{}", 64 + (pid >> 8) % 64, pid % 256, n % 250 + 2, 9_090 + n / 250)
    } else {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        free.expect("a free port").to_string()
    };
    Address::parse(&text).expect("an address")
}

async fn start(settings: HyperSettings) -> HyperTransport {
    let listener = TcpListener::bind(settings.address.as_str()).await.expect("a free address");
    HyperTransport::with_listener(listener, settings)
}

async fn start_at(address: &Address) -> HyperTransport {
    start(HyperSettings::new(address.clone(), cluster())).await
}

struct HyperLaboratory<W> {
    wrap: W,
    character: Character,
}

impl<W> HyperLaboratory<W> {
    fn new(wrap: W) -> Self {
        // 1 MiB in each queue, and what the kernel buffers on loopback: some MiB, by its settings.
        let character = Character { underway_bytes_max: 64 << 20, ..Character::default() };
        Self { wrap, character }
    }
}

#[async_trait(?Send)]
impl<T: Transport + 'static, W: Fn(HyperTransport) -> T> Laboratory for HyperLaboratory<W> {
    type Transport = T;

    fn address(&mut self) -> Address {
        fresh_address()
    }

    async fn start(&mut self, address: &Address) -> T {
        let settings = HyperSettings::new(address.clone(), cluster());
        let settings = HyperSettings { queue_bytes_max: 1 << 20, receive_bytes_max: 1 << 20, ..settings };
        (self.wrap)(start(settings).await)
    }

    async fn stop(&mut self, transport: T) {
        drop(transport);
        // Its tasks end when they are next run.
        sleep(Duration::from_millis(1)).await;
    }

    async fn sleep(&self, length: Micros) {
        sleep(Duration::from_micros(length.0)).await;
    }

    /// Once as it is, and once where frames are expected.
    async fn throw(&mut self, at: &Address, bytes: &[u8]) -> bool {
        for head in ["", UPGRADE_REQUEST] {
            let mut stream = TcpStream::connect(at.as_str()).await.expect("it listens");
            stream.write_all(head.as_bytes()).await.expect("written");
            if !head.is_empty() {
                let mut answer = [0; 1_024];
                let count = stream.read(&mut answer).await.expect("an answer");
                assert!(answer[..count].starts_with(b"HTTP/1.1 101"));
            }
            // It may be closed before everything is written.
            let _ = timeout(Duration::from_millis(100), stream.write_all(bytes)).await;
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    fn character(&self) -> Character {
        self.character
    }
}

#[test]
fn hyper_keeps_the_laws() {
    assert_eq!(run(async { laws::check_all(&mut HyperLaboratory::new(|inner| inner)).await }), Ok(()));
}

#[test]
fn faulty_hyper_keeps_the_laws() {
    let wrap = |inner| {
        let faults = Faults::new(3);
        let weather = Weather {
            delay: Micros(200),
            jitter: Micros(1_000),
            drop: Chance::per_mille(50),
            duplicate: Chance::per_mille(50),
            reorder: Chance::per_mille(50),
            reorder_by: Micros(2_000),
        };
        faults.set_weather(Target::Everybody, Direction::Both, weather);
        Faulty::new(inner, TokioSleeper::default(), faults)
    };
    let mut laboratory = HyperLaboratory::new(wrap);
    laboratory.character.lossless = false;
    assert_eq!(run(async { laws::check_all(&mut laboratory).await }), Ok(()));
}

fn taken(id: u64) -> Message {
    Message { from: Incarnation(1), number: 1, echo: 1, sequence: id, body: Body::Taken { id, frame: 0 } }
}

fn opening() -> Message {
    let (sent, wall, formats) = (Time(0), Wall(0), Formats::RELEASED);
    let hello = Hello { sent, wall, vector: VersionVector::new().into(), view: [].into(), formats };
    Message { from: Incarnation(1), number: 2, echo: 0, sequence: 0, body: Body::Hello(Box::new(hello)) }
}

fn push(counter: u64, value_bytes: usize) -> Message {
    let op = Op {
        dot: Dot { incarnation: Incarnation(1), counter },
        hlc: Hlc(counter),
        effect: Effect::Put { key: Key::new("key").expect("a key"), value: Value::new(&vec![7; value_bytes]) },
        superseded: Dots::new(),
        deps: Deps::default(),
    };
    Message {
        from: Incarnation(1),
        number: 1,
        echo: 1,
        sequence: counter,
        body: Body::Push { op: Arc::new(op), made: Time(0) },
    }
}

/// So many messages. It gives up after ten seconds without one.
async fn messages(transport: &HyperTransport, count: usize) -> Vec<Message> {
    arrivals(transport, count, Duration::from_secs(10)).await
}

/// What comes although fewer messages are expected. It waits 300 ms for each.
async fn strays(transport: &HyperTransport, count: usize) -> Vec<Message> {
    arrivals(transport, count, Duration::from_millis(300)).await
}

async fn arrivals(transport: &HyperTransport, count: usize, pause: Duration) -> Vec<Message> {
    let (mut all, mut incoming) = (Vec::new(), Vec::new());
    while all.len() < count {
        if timeout(pause, transport.receive(&mut incoming)).await.is_err() {
            break;
        }
        all.extend(incoming.drain(..).filter_map(|incoming| match incoming {
            Incoming::Message { message, .. } => Some(message),
            Incoming::Connected { .. }
            | Incoming::Progress { .. }
            | Incoming::Sign { .. }
            | Incoming::Refused { .. }
            | Incoming::Aside { .. } => None,
        }));
    }
    all
}

/// An upgraded connection of a stranger.
async fn stranger(at: &Address) -> TcpStream {
    let mut stream = TcpStream::connect(at.as_str()).await.expect("it listens");
    stream.write_all(UPGRADE_REQUEST.as_bytes()).await.expect("written");
    let mut answer = [0; 1_024];
    let count = stream.read(&mut answer).await.expect("an answer");
    assert!(answer[..count].starts_with(b"HTTP/1.1 101"), "{:?}", core::str::from_utf8(&answer[..count]));
    stream
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let closed = |read| matches!(read, Ok(0) | Err(_));
    timeout(Duration::from_secs(5), stream.read(&mut [0])).await.is_ok_and(closed)
}

#[test]
fn what_is_sent_at_once_goes_in_few_frames_and_alone_it_goes_at_once() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_at(&a).await, start_at(&b).await);
        let all: Vec<Message> = (0..5_000).map(taken).collect();
        all.iter().for_each(|message| left.send(&b, message.clone()));
        assert_eq!(messages(&right, 5_000).await, all);
        assert_eq!((left.counters().frames_out, left.counters().messages_out), (1, 5_000));
        assert_eq!(right.counters().messages_in, 5_000);
        assert_eq!(right.counters().bytes_in, left.counters().bytes_out);
        // Alone: the fastest of a few round trips shows that no timer has a part in it.
        let mut fastest = Duration::MAX;
        for id in 0..20 {
            let start = std::time::Instant::now();
            left.send(&b, taken(id));
            assert_eq!(messages(&right, 1).await, vec![taken(id)]);
            fastest = fastest.min(start.elapsed());
        }
        assert!(fastest < Duration::from_millis(3), "{fastest:?}");
    });
}

#[test]
fn what_follows_a_crowd_is_gathered() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_at(&a).await, start_at(&b).await);
        // A machine that stands still for a millisecond tells nothing, so one round of many is enough.
        for _ in 0..100 {
            let crowd: Vec<Message> = (0..8).map(taken).collect();
            crowd.iter().for_each(|message| left.send(&b, message.clone()));
            assert_eq!(messages(&right, 8).await, crowd);
            let before = left.counters().frames_out;
            for message in &crowd[..4] {
                left.send(&b, message.clone());
                tokio::task::yield_now().await;
            }
            assert_eq!(messages(&right, 4).await, crowd[..4]);
            if left.counters().frames_out == before + 1 {
                return;
            }
        }
        panic!("never gathered");
    });
}

#[test]
fn a_process_that_accepts_is_reported_and_no_other_is() {
    run(async {
        let [a, b, dead] = [fresh_address(), fresh_address(), fresh_address()];
        let left = start_at(&a).await;
        // It accepts, but never says a word.
        let mute = TcpListener::bind(b.as_str()).await.expect("a free address");
        left.send(&dead, opening());
        left.send(&b, opening());
        let mut incoming = Vec::new();
        timeout(Duration::from_secs(1), left.receive(&mut incoming)).await.expect("a notice");
        assert_eq!(incoming, vec![Incoming::Connected { to: b.clone() }]);
        // It sees this transport's address.
        let (_stream, from) = mute.accept().await.expect("our connection");
        assert_eq!(from.ip().to_string(), a.as_str().split(':').next().expect("an IP address"));
        sleep(Duration::from_millis(1_100)).await;
        let counters = left.counters();
        assert_eq!((counters.dials, counters.dials_failed, counters.lost_no_connection), (2, 2, 2));
    });
}

#[test]
fn a_message_that_opens_a_link_drops_the_queue_and_takes_a_new_connection() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_at(&a).await, start_at(&b).await);
        left.send(&b, taken(0));
        assert_eq!(messages(&right, 1).await, vec![taken(0)]);
        (1..50).for_each(|id| left.send(&b, taken(id)));
        left.send(&b, opening());
        left.send(&b, taken(50));
        assert_eq!(strays(&right, 3).await, vec![opening(), taken(50)]);
        let counters = left.counters();
        assert_eq!((counters.dials, counters.lost_superseded, counters.connections_out), (2, 49, 1));
        assert_eq!(right.counters().connections_in, 1);
    });
}

#[test]
fn losses_are_counted_by_reason() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let settings = HyperSettings::new(a, cluster());
        let left = start(HyperSettings { queue_bytes_max: 10_000, frame_bytes_max: 20_000, ..settings }).await;
        left.send(&b, push(1, 30_000));
        assert_eq!(left.counters().lost_oversize, 1);
        (0..20).for_each(|counter| left.send(&b, push(counter + 1, 1_000)));
        // The tenth begins below the limit and passes it.
        assert_eq!(left.counters().lost_queue_full, 10);
        sleep(Duration::from_millis(20)).await;
        // No process was there, and for a moment none is looked for.
        assert_eq!(left.counters().lost_no_connection, 10);
        left.send(&b, taken(1));
        assert_eq!((left.counters().lost_no_connection, left.counters().dials), (11, 1));
        let right = start_at(&b).await;
        sleep(Duration::from_millis(100)).await;
        left.send(&b, taken(2));
        assert_eq!(messages(&right, 1).await, vec![taken(2)]);
        assert_eq!(left.counters().lost().iter().map(|(_, count)| count).sum::<u64>(), 22);
    });
}

#[test]
fn whoever_speaks_is_answered_though_dialling_it_failed_a_moment_ago() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let settings = HyperSettings::new(a.clone(), cluster());
        let left = start(HyperSettings { redial_pause: Duration::from_secs(60), ..settings }).await;
        left.send(&b, opening());
        while left.counters().dials_failed == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        left.send(&b, taken(1));
        let right = start_at(&b).await;
        right.send(&a, taken(2));
        assert_eq!(messages(&left, 1).await, vec![taken(2)]);
        left.send(&b, taken(3));
        assert_eq!(messages(&right, 1).await, vec![taken(3)]);
    });
}

#[test]
fn a_peer_that_reads_no_more_is_given_up() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let settings = HyperSettings::new(a, cluster());
        let left = start(HyperSettings { write_timeout: Duration::from_millis(200), ..settings }).await;
        let deaf = TcpListener::bind(b.as_str()).await.expect("a free address");
        left.send(&b, taken(1));
        let (mut stream, _) = deaf.accept().await.expect("our connection");
        let mut request = [0; 1_024];
        let count = stream.read(&mut request).await.expect("a request");
        assert!(request[..count].starts_with(b"GET /replica/link HTTP/1.1\r\n"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: hence-replica\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.expect("written");
        for counter in 1..50 {
            left.send(&b, push(counter, 1 << 20));
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(left.counters().connections_out, 1);
        sleep(Duration::from_millis(400)).await;
        assert_eq!(left.counters().connections_out, 0);
        assert!(left.counters().lost_no_connection > 0);
    });
}

#[test]
fn a_closed_connection_is_noticed_without_writing() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let (left, right) = (start_at(&a).await, start_at(&b).await);
        left.send(&b, taken(1));
        assert_eq!(messages(&right, 1).await.len(), 1);
        drop(right);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(left.counters().connections_out, 0);
        // The address is free again, and all its connections are gone.
        let right = start_at(&b).await;
        sleep(Duration::from_millis(100)).await;
        left.send(&b, taken(2));
        assert_eq!(messages(&right, 1).await, vec![taken(2)]);
    });
}

#[test]
fn refused_frames_are_counted_by_reason_and_end_their_connection() {
    run(async {
        let a = fresh_address();
        let transport = start_at(&a).await;
        let framed = |cluster| {
            let mut writer = FrameWriter::new(cluster, fresh_address());
            writer.push(&taken(9), &mut OpMemo::new()).expect("fits");
            let mut bytes = Vec::new();
            writer.take(&mut bytes);
            bytes
        };
        let changed = |at: usize, byte: u8| {
            let mut bytes = framed(cluster());
            bytes[at] = byte;
            bytes
        };
        let mut huge = changed(3, 0xa5);
        huge[8..12].fill(0xff);
        let table = [
            ("magic", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("version", changed(2, 9)),
            ("foreign", framed(ClusterTag(1))),
            ("oversize", huge),
            ("checksum", changed(30, 0x7f)),
        ];
        for (at, (reason, bytes)) in table.into_iter().enumerate() {
            let mut stream = stranger(&a).await;
            // A right one before it surfaces, one after it does not.
            stream.write_all(&framed(cluster())).await.expect("written");
            assert_eq!(messages(&transport, 1).await, vec![taken(9)]);
            stream.write_all(&[bytes, framed(cluster())].concat()).await.expect("written");
            assert!(is_closed(&mut stream).await);
            assert_eq!(strays(&transport, 1).await, vec![]);
            let refused: Vec<_> = transport.counters().refused().filter(|(_, count)| *count > 0).collect();
            assert_eq!(refused.len(), at + 1);
            assert_eq!(refused.last(), Some(&(reason, 1)));
        }
        assert_eq!(transport.counters().connections_in, 0);
    });
}

#[test]
fn idle_connections_are_closed_and_their_number_is_bounded() {
    run(async {
        let [a, b] = [fresh_address(), fresh_address()];
        let settings = HyperSettings::new(a.clone(), cluster());
        let idle_timeout = Duration::from_millis(300);
        let transport = start(HyperSettings { idle_timeout, connections_in_max: 3, ..settings }).await;
        let peer = start_at(&b).await;
        peer.send(&a, taken(1));
        assert_eq!(messages(&transport, 1).await.len(), 1);
        let mut strangers = Vec::new();
        for n in 0..20 {
            strangers.push(stranger(&a).await);
            // The one that speaks stays, however many come that do not.
            peer.send(&a, taken(n));
            assert_eq!(messages(&transport, 1).await, vec![taken(n)]);
            assert!(transport.counters().connections_in <= 3);
        }
        assert!(is_closed(&mut strangers[0]).await);
        assert_eq!((peer.counters().dials, peer.counters().connections_out), (1, 1));
        sleep(Duration::from_millis(400)).await;
        assert_eq!(transport.counters().connections_in, 0);
    });
}

#[test]
fn other_requests_below_replica_get_an_answer_in_json() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: hence-replica\r\n";
    let table = [
        ("GET /replica/other HTTP/1.1", upgrade, "404 Not Found", r#"{"error":"Unknown path"}"#),
        ("GET /replica/link/ HTTP/1.1", upgrade, "404 Not Found", r#"{"error":"Unknown path"}"#),
        ("POST /replica/link HTTP/1.1", upgrade, "405 Method Not Allowed", r#"{"error":"Method not allowed"}"#),
        ("GET /replica/link HTTP/1.1", "", "426 Upgrade Required", r#"{"error":"Upgrade to hence-replica required"}"#),
        (
            "GET /replica/link HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "426 Upgrade Required",
            r#"{"error":"Upgrade to hence-replica required"}"#,
        ),
        (
            "GET /replica/link HTTP/1.0",
            upgrade,
            "426 Upgrade Required",
            r#"{"error":"Upgrade to hence-replica required"}"#,
        ),
    ];
    run(async {
        let a = fresh_address();
        let transport = start_at(&a).await;
        for (line, headers, status, body) in table {
            let mut stream = TcpStream::connect(a.as_str()).await.expect("it listens");
            stream.write_all(format!("{line}\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.expect("written");
            stream.shutdown().await.expect("half closed");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.lines().next().is_some_and(|first| first.ends_with(status)), "{line}: {answer}");
            assert!(answer.ends_with(body) && answer.contains("content-type: application/json"), "{line}: {answer}");
            assert_eq!(answer.contains("allow: GET"), status.starts_with("405"), "{line}: {answer}");
        }
        assert_eq!(transport.counters().connections_in, 0);
    });
}

#[test]
fn a_host_name_is_looked_up() {
    run(async {
        let own = HyperSettings::new(Address::parse("localhost:9090").expect("an address"), cluster());
        let left = HyperTransport::new(own);
        let right = HyperTransport::bind(SocketAddr::from(([127, 0, 0, 1], 0)), cluster()).await.expect("bound");
        let port = right.settings().address.as_str().rsplit(':').next().expect("a port").to_owned();
        left.send(&Address::parse(&format!("localhost:{port}")).expect("an address"), taken(1));
        assert_eq!(messages(&right, 1).await, vec![taken(1)]);
    });
}
