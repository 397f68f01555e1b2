//! Strangers at `/replica/link`: what they leave unfinished is bounded, and they crowd out no member.

use crate::cluster::Cluster;
use hence_core::ClusterTag;
use hence_tests::client;
use hence_tests::replicas::Replicas;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const UPGRADE: &[u8] =
    b"GET /replica/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: hence-replica\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// The head of a frame of this cluster with a body of so many bytes.
fn frame_head(body: u32) -> Vec<u8> {
    let length = body.to_be_bytes();
    let check = length.iter().fold(0xa5, |check, byte| check ^ byte);
    let mut head = vec![0xcb, b'h', hence_transport::codec::VERSION, check];
    head.extend(ClusterTag::of("hence").0.to_be_bytes());
    head.extend(length);
    head.extend([0; 4]);
    head
}

fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

fn upgraded(address: &str) -> Option<TcpStream> {
    upgraded_by(address, UPGRADE)
}

fn upgraded_by(address: &str, request: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_write_timeout(Some(SECOND)).ok()?;
    stream.set_read_timeout(Some(SECOND)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = [0; 1_024];
    let count = stream.read(&mut answer).ok()?;
    answer[..count].starts_with(b"HTTP/1.1 101").then_some(stream)
}

/// Thirty frames of 16 MiB of which the last byte never comes.
pub(crate) fn unfinished_frames() {
    let mut cluster = Cluster::running("unfinished_frames", 2);
    let (address, id) = (cluster.address(0), cluster.id(0));
    let before = resident_bytes(id);
    let body = 16_u32 << 20;
    let bytes = [frame_head(body), vec![7; body as usize - 1]].concat();
    let held: Vec<TcpStream> = std::thread::scope(|scope| {
        let send = || {
            let mut stream = upgraded(&address)?;
            // It may be closed before everything is taken.
            let _ = stream.write_all(&bytes);
            Some(stream)
        };
        let senders: Vec<_> = (0..30).map(|_| scope.spawn(send)).collect();
        senders.into_iter().filter_map(|sender| sender.join().expect("it only sends")).collect()
    });
    let grown = resident_bytes(id).saturating_sub(before);
    let counted = cluster.metric(0, "hence_peer_unfinished_bytes");
    let refused = cluster.metric(0, "hence_peer_unfinished_refused_total");
    println!("note: {} unfinished frames: {grown} bytes, {counted} of them counted, {refused} refused", held.len());
    assert!(grown < 64 << 20, "{grown} bytes");
    assert!(counted >= u64::from(body) && counted <= 16 << 20 | 1 << 10, "{counted} bytes are counted");
    assert!(refused >= 20, "{refused} refused");
    // Meanwhile the members go on, with large values as well.
    let value = format!("\"{}\"", "x".repeat(4 << 20));
    let token = cluster.put(1, "large", &value, None, 201).token();
    cluster.await_value(0, "large", Some(&token), &value, SECOND * 5);
    // A stranger that says nothing more is sent away, long before a member would be.
    cluster.poll(SECOND * 15, "the room to be given back", || match cluster.metric(0, "hence_peer_unfinished_bytes") {
        0 => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    });
    drop(held);
}

/// Two hundred frames of which a byte comes every second: the room that they hold is bounded in size and in time.
pub(crate) fn trickled_frames() {
    let mut cluster = Cluster::running("trickled_frames", 2);
    let (address, id) = (cluster.address(0), cluster.id(0));
    let before = resident_bytes(id);
    let begun = [frame_head(16 << 20), vec![7; 200_000]].concat();
    let mut held: Vec<TcpStream> = (0..200).filter_map(|_| upgraded(&address)).collect();
    // It may be closed before everything is taken.
    held.retain_mut(|stream| stream.write_all(&begun).is_ok());
    let grown = resident_bytes(id).saturating_sub(before);
    let counted = cluster.metric(0, "hence_peer_unfinished_bytes");
    println!("note: {} frames were begun: {grown} bytes, {counted} of them counted", held.len());
    assert!(grown < 64 << 20, "{grown} bytes");
    assert!((200_000..=(16 << 20) + (1 << 10)).contains(&counted), "{counted} bytes are counted");
    let value = format!("\"{}\"", "x".repeat(4 << 20));
    let token = cluster.put(1, "large", &value, None, 201).token();
    cluster.await_value(0, "large", Some(&token), &value, SECOND * 5);
    cluster.poll(SECOND * 60, "strangers that trickle to be sent away", || {
        held.retain_mut(|stream| stream.write_all(&[7]).is_ok());
        std::thread::sleep(SECOND);
        match cluster.metric(0, "hence_peer_unfinished_bytes") {
            0 => Ok(()),
            bytes => Err(format!("{} of them hold {bytes} bytes", held.len())),
        }
    });
}

/// Thousands of upgrades a second, kept open or closed at once: links stand, and writes pass.
pub(crate) fn floods() {
    for keeps in [false, true] {
        flood(&format!("flood_{keeps}"), keeps, UPGRADE);
    }
}

/// The same by processes that say that they have a member's address: they crowd out that member no more than others do.
pub(crate) fn impostors() {
    let greeting = format!(
        "hence-replica: version={}; cluster={:08x}; process=0000000000000007; address=127.0.0.3:8090\r\n\r\n",
        hence_core::Formats::RELEASED.lowest,
        ClusterTag::of("hence").0
    );
    let request = [&UPGRADE[..UPGRADE.len() - 2], greeting.as_bytes()].concat();
    flood("flood_of_impostors", true, &request);
    let mut cluster = Cluster::running("impostors", 3);
    let (stop, address) = (AtomicBool::new(false), cluster.address(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| hold_many(&address, &request, &stop));
        }
        std::thread::sleep(SECOND);
        cluster.kill(1);
        cluster.start(1);
        let time = cluster.await_settled(&[0, 1, 2], SECOND * 10);
        println!("note: the true one began anew among impostors and was back after {time:?}");
        stop.store(true, Ordering::Relaxed);
    });
}

/// Asks for one link after the other until it is stopped, and keeps the latest.
fn hold_many(address: &str, request: &[u8], stop: &AtomicBool) {
    let mut kept = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        kept.extend(upgraded_by(address, request));
        while kept.len() > 150 {
            kept.pop_front();
        }
    }
}

fn flood(name: &str, keeps: bool, request: &[u8]) {
    let cluster = Cluster::running(name, 3);
    let suspicions = |cluster: &Cluster| -> Vec<u64> {
        (0..3)
            .map(|at| cluster.metric(at, "hence_suspicions_total") + cluster.metric(at, "hence_links_total"))
            .collect()
    };
    let before = suspicions(&cluster);
    let (stop, asked, taken) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let address = cluster.address(0);
    let slowest = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut kept = std::collections::VecDeque::new();
                while !stop.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    if let Some(stream) = upgraded_by(&address, request) {
                        taken.fetch_add(1, Ordering::Relaxed);
                        kept.push_back(stream);
                    }
                    while kept.len() > if keeps { 200 } else { 0 } {
                        kept.pop_front();
                    }
                }
            });
        }
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        let mut number = 0;
        while start.elapsed() < SECOND * 6 {
            let at = 1 + number % 2;
            let token = client::put(&cluster.address(at), &format!("k{number}"), "1", None).token();
            slowest = slowest.max(cluster.await_value(0, &format!("k{number}"), Some(&token), "1", SECOND));
            number += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        slowest
    });
    let (asked, taken) = (asked.into_inner(), taken.into_inner());
    let refused = cluster.metric(0, "hence_peer_upgrades_refused_total");
    println!("note: {asked} upgrades asked for in 6 s, {taken} taken, {refused} refused; slowest write {slowest:?}");
    assert_eq!(suspicions(&cluster), before, "a member was crowded out");
    assert!(cluster.metric(0, "hence_peer_connections{direction=\"in\"}") <= 256);
    // A member that begins anew in the midst of what is left finds its way.
    cluster.await_settled(&[0, 1, 2], SECOND * 5);
}

/// A member that begins anew while strangers ask for links finds its place among them.
pub(crate) fn newcomer_in_a_flood() {
    let mut cluster = Cluster::running("flood_newcomer", 3);
    let stop = AtomicBool::new(false);
    let address = cluster.address(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| hold_many(&address, UPGRADE, &stop));
        }
        std::thread::sleep(SECOND);
        for at in [1, 2] {
            cluster.kill(at);
            cluster.start(at);
            let time = cluster.await_settled(&[0, 1, 2], SECOND * 10);
            println!("note: {at} began anew in a flood and was back after {time:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
}
