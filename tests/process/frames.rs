//! Damaged, foreign and replayed frames between replicas: refused or ignored, and the state stays what it was.
//!
//! A relay between two real replicas records what one sends to the other. The recording is then sent again, whole,
//! in pieces, damaged in every byte, to its receiver, to another replica, and to later lives of both.

use crate::cluster::Cluster;
use hence_core::{Address, Body, ClusterTag, Incarnation, Message, Status, Time, VersionVector, Wall};
use hence_tests::client::Connection;
use hence_tests::replicas::Replicas;
use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(10);
/// Time for a replica to act on what it got, if it were to.
const ACT: Duration = Duration::from_millis(60);
const HEAD_BYTES: usize = hence_transport::codec::HEAD_BYTES;

/// What replica 0 sent to replica 1: per connection the request that opens the link, and the frames after it.
struct Recording {
    opening: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

impl Recording {
    /// The same frames, none of which goes on from another, so that each means something alone.
    fn apart(&self) -> Vec<Vec<u8>> {
        let cluster = ClusterTag::of("hence");
        let mut reader = FrameReader::new(cluster);
        self.frames.iter().for_each(|frame| reader.feed(frame));
        let frames = std::iter::from_fn(|| reader.next_frame().expect("a genuine frame"));
        frames.map(|frame| frame_of(cluster, frame.from.as_str(), &frame.messages)).collect()
    }
}

/// The bytes of one connection as they come.
type Record = Arc<Mutex<Vec<u8>>>;

/// Replica 1 listens at another port than it tells, and this relays what comes to the one it tells.
struct Relay {
    recorded: Arc<Mutex<Vec<Record>>>,
}

impl Relay {
    fn start(at: &str, to: &str) -> Self {
        let relay = Self { recorded: Arc::default() };
        let listener = TcpListener::bind(at).expect("nobody else is in this namespace");
        let (recorded, to) = (relay.recorded.clone(), to.to_owned());
        std::thread::spawn(move || {
            for inbound in listener.incoming().filter_map(Result::ok) {
                // No process listens yet while the replica starts: then the caller's connection ends, too.
                let Ok(outbound) = TcpStream::connect(&to) else { continue };
                // The test's own requests come from 127.0.0.1 and are not what replicas say.
                let from_replica = inbound.peer_addr().is_ok_and(|peer| peer.ip().to_string() != "127.0.0.1");
                let record = Record::default();
                if from_replica {
                    recorded.lock().expect("no holder panics").push(record.clone());
                }
                copy(&inbound, &outbound, Some(record));
                copy(&outbound, &inbound, None);
            }
        });
        relay
    }

    /// Everything recorded, one entry per connection of a replica.
    fn recordings(&self) -> Vec<Recording> {
        let connections = self.recorded.lock().expect("no holder panics");
        connections.iter().filter_map(|record| split(&record.lock().expect("no holder panics"))).collect()
    }
}

fn copy(from: &TcpStream, to: &TcpStream, record: Option<Record>) {
    let mut from = from.try_clone().expect("an open socket");
    let mut to = to.try_clone().expect("an open socket");
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if let Some(record) = &record {
                record.lock().expect("no holder panics").extend_from_slice(&bytes[..count]);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// Takes a recorded connection apart: the HTTP request, then whole frames.
fn split(bytes: &[u8]) -> Option<Recording> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let mut frames = Vec::new();
    let mut rest = &bytes[end..];
    while rest.len() >= HEAD_BYTES {
        let length = u32::from_be_bytes(rest[8..12].try_into().expect("four bytes")) as usize;
        let Some((frame, after)) = rest.split_at_checked(HEAD_BYTES + length) else { break };
        frames.push(frame.to_vec());
        rest = after;
    }
    Some(Recording { opening: bytes[..end].to_vec(), frames })
}

/// Three replicas, the second behind a relay, with a history worth replaying: `x` written, replaced and deleted.
fn recorded(name: &str) -> (Cluster, Relay) {
    let cluster = Cluster::new(name, 3).setting_of(1, "HENCE_BIND", "127.0.0.3:9090");
    let relay = Relay::start(&cluster.address(1), "127.0.0.3:9090");
    let cluster = cluster.run();
    let mut token = cluster.put(0, "x", "\"first\"", None, 201).token();
    token = cluster.put(0, "x", "\"second\"", Some(&token), 200).token();
    token = cluster.put(0, "y", "\"kept\"", Some(&token), 201).token();
    cluster.await_settled(&[0, 1, 2], SETTLE);
    let deleted = hence_tests::client::delete(&cluster.address(0), "x", Some(&token));
    assert_eq!(deleted.status, 200);
    cluster.await_settled(&[0, 1, 2], SETTLE);
    (cluster, relay)
}

/// A connection that carried hello, pushes and statuses: the writer's, not that of the third replica.
fn richest(relay: &Relay) -> Recording {
    let found = relay.recordings().into_iter().find(|recording| {
        let kinds = kinds(&recording.frames);
        ["hello", "push", "status"].iter().all(|kind| kinds.contains(kind))
    });
    found.expect("replica 0 has opened a link to replica 1 and pushed what it wrote")
}

fn kinds(frames: &[Vec<u8>]) -> Vec<&'static str> {
    let mut reader = FrameReader::new(ClusterTag::of("hence"));
    frames.iter().for_each(|frame| reader.feed(frame));
    let frames = std::iter::from_fn(|| reader.next_frame().expect("a genuine frame"));
    frames.flat_map(|frame| frame.messages).map(|message| message.body.name()).collect()
}

/// Opens a link to a replica as the recorded sender did and sends these bytes. Says whether the replica ended the
/// connection within `timeout`.
fn send(cluster: &Cluster, at: usize, opening: &[u8], bytes: &[u8], timeout: Duration) -> bool {
    let mut connection = Connection::open(&cluster.address(at)).expect("the replica accepts connections");
    connection.send(opening);
    let response = connection.receive(false).expect("an answer to the upgrade");
    assert_eq!(response.status, 101, "{response:?}");
    connection.send(bytes);
    let stream = connection.stream();
    stream.set_read_timeout(Some(timeout)).expect("not zero");
    let mut scratch = [0; 4096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            }
        }
    }
}

/// Bytes that are no frames of this cluster: the connection ends, the state stays.
pub(crate) fn bad_frames() {
    let (cluster, relay) = recorded("bad_frames");
    let recording = richest(&relay);
    let (frames, opening) = (recording.apart(), recording.opening);
    let small = frames.iter().min_by_key(|frame| frame.len()).expect("there are frames");
    let largest = frames.iter().max_by_key(|frame| frame.len()).expect("there are frames");
    let mut table: Vec<(String, Vec<u8>)> = Vec::new();
    for at in 0..largest.len() {
        let mut changed = largest.clone();
        changed[at] ^= 1 << (at % 8);
        table.push((format!("one bit of byte {at} changed"), changed));
    }
    for (name, bytes) in [
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("without its first byte", small[1..].to_vec()),
        ("another version", resealed(small, |frame| frame[2] += 1)),
        ("another cluster", foreign(&cluster.address(0))),
        ("a length of 4 GiB", resealed(small, |frame| set_length(frame, u32::MAX))),
        ("a length of 32 MiB", resealed(small, |frame| set_length(frame, 32 << 20))),
        ("no body", resealed(&small[..HEAD_BYTES], |frame| set_length(frame, 0))),
        ("a frame that goes on from none", resealed(small, |frame| frame[HEAD_BYTES] = 0)),
        ("a good frame, then garbage", [small.as_slice(), &[0x55; 32]].concat()),
    ] {
        table.push((name.into(), bytes));
    }
    for at in HEAD_BYTES..small.len() {
        // The checksum is right, so that the decoder's own strictness is what refuses or ignores it.
        table.push((format!("byte {at} changed and sealed"), resealed(small, |frame| frame[at] = !frame[at])));
    }
    let before = cluster.state(1);
    for (name, bytes) in &table {
        let ended = send(&cluster, 1, &opening, bytes, if name.contains("sealed") { ACT } else { SETTLE });
        assert!(ended || name.contains("sealed"), "{name}: the connection goes on");
        assert_eq!(cluster.state(1), before, "{name}: the state has changed");
    }
    for reason in ["magic", "version", "foreign", "oversize", "checksum", "body"] {
        let refused = cluster.metric(1, &format!("hence_peer_frames_refused_total{{reason=\"{reason}\"}}"));
        assert!(refused > 0, "no frame was refused for its {reason}");
    }
    truncated(&cluster, &opening, largest);
    strangers(&cluster, &opening);
    cluster.await_settled(&[0, 1, 2], SETTLE);
    println!("note: {} damaged or foreign frames", table.len());
}

/// A frame that never ends is not acted upon; the connection may wait for the rest.
fn truncated(cluster: &Cluster, opening: &[u8], frame: &[u8]) {
    let before = cluster.state(1);
    for at in [1, 2, 3, 8, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, frame.len() - 1] {
        send(cluster, 1, opening, &frame[..at], ACT);
        assert_eq!(cluster.state(1), before, "cut at {at}");
    }
}

fn set_length(frame: &mut [u8], length: u32) {
    frame[8..12].copy_from_slice(&length.to_be_bytes());
}

/// Changes a frame and makes its length check and checksum right again.
fn resealed(frame: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    frame[3] = frame[8..12].iter().fold(0xa5, |check, byte| check ^ byte);
    let sealed = [&frame[..12], &frame[HEAD_BYTES..]].concat();
    frame[12..HEAD_BYTES].copy_from_slice(&crc32fast::hash(&sealed).to_be_bytes());
    frame
}

fn frame_of(cluster: ClusterTag, address: &str, messages: &[Message]) -> Vec<u8> {
    let mut writer = FrameWriter::new(cluster, Address::parse(address).expect("an address"));
    messages.iter().for_each(|message| writer.push(message, &mut OpMemo::new()).expect("a small message"));
    let mut bytes = Vec::new();
    writer.take(&mut bytes);
    bytes
}

fn a_status(vector: VersionVector) -> Message {
    let status = Status {
        sent: Time(1),
        wall: Wall(1),
        vector: Arc::new(vector),
        received: 0,
        leaving: false,
        ready: true,
        view_hash: 1,
        digest: Some(1),
    };
    Message { from: Incarnation(1 << 40 | 7), number: 1, echo: 1, sequence: 0, body: Body::Status(Box::new(status)) }
}

fn foreign(address: &str) -> Vec<u8> {
    frame_of(ClusterTag::of("another"), address, &[a_status(VersionVector::new())])
}

/// Well-formed messages of no link, from strangers, from a member's address and from the replica's own.
fn strangers(cluster: &Cluster, opening: &[u8]) {
    let before = cluster.state(1);
    let lies = VersionVector::from_entries([(Incarnation(9 << 40), 1_000)]);
    let bodies = [
        a_status(VersionVector::new()).body,
        a_status(lies.clone()).body,
        Body::Pull { id: 1, vector: Arc::new(lies) },
        Body::Taken { id: 1, frame: 1 },
        Body::View(Arc::from([hence_core::MemberRecord {
            address: Address::parse("127.0.0.99:8090").expect("an address"),
            generation: 7,
            newest: None,
        }])),
    ];
    for address in ["127.0.0.77:8090".to_owned(), cluster.address(0), cluster.address(1)] {
        for body in &bodies {
            for echo in [1, u64::MAX] {
                let message = Message { body: body.clone(), echo, ..a_status(VersionVector::new()) };
                let frame = frame_of(ClusterTag::of("hence"), &address, std::slice::from_ref(&message));
                send(cluster, 1, opening, &frame, ACT);
                assert_eq!(cluster.state(1), before, "{message:?} from {address}");
            }
        }
    }
}

/// Genuine frames again: to the one they were for, to another, after a delete, after restarts on either side.
pub(crate) fn replayed_frames() {
    let (mut cluster, relay) = recorded("replayed_frames");
    richest(&relay);
    let recordings = relay.recordings();
    let replay = |cluster: &Cluster, at: usize, what: &str| {
        let before = cluster.state(at);
        for recording in &recordings {
            let whole = recording.frames.concat();
            let mut backwards = recording.apart();
            let last_half = backwards[backwards.len() / 2..].concat();
            backwards.reverse();
            for bytes in [whole.clone(), last_half, backwards.concat(), [whole.as_slice(), &whole].concat()] {
                send(cluster, at, &recording.opening, &bytes, ACT);
                assert_eq!(cluster.state(at), before, "{what}");
            }
        }
        assert_eq!(cluster.get(at, "x", None).status, 404, "{what}: a deleted value is back");
        cluster.await_settled(&[0, 1, 2], SETTLE);
        assert_eq!(cluster.state(at), before, "{what}, a while later");
    };
    replay(&cluster, 1, "to the one they were for");
    replay(&cluster, 2, "to another replica");
    replay(&cluster, 0, "to their own sender");
    cluster.kill(1);
    cluster.start(1);
    cluster.await_settled(&[0, 1, 2], SETTLE);
    replay(&cluster, 1, "to a later life of the receiver");
    let earlier = cluster.state(0)["vector"].clone();
    cluster.kill(0);
    cluster.start(0);
    cluster.await_settled(&[0, 1, 2], SETTLE);
    // Its retirement is a change of its own.
    cluster.poll(SETTLE, "the earlier life to be retired", || {
        let states = [0, 1, 2].map(|at| cluster.state(at));
        let retired = states.iter().all(|state| *state == states[0] && state["vector"] != earlier);
        if retired { Ok(()) } else { Err(format!("{states:?}")) }
    });
    replay(&cluster, 1, "of an earlier life of the sender");
    replay(&cluster, 2, "of an earlier life of the sender, to another");
    println!("note: {} recorded connections replayed", recordings.len());
}
