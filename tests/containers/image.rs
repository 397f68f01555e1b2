//! The image itself: what is in it, as which user it runs, how it ends, and that it speaks the contract.

use crate::cluster::Cluster;
use crate::engine::{self, docker};
use crate::faults::{filter, unfilter};
use hence_tests::client;
use hence_tests::replicas::Replicas;
use hence_tests::tables::{self, CUT, Stage, TABLES};
use std::time::{Duration, Instant};

/// The image holds the binary and nothing else, so this bounds both.
const BYTES_MAX: u64 = 12_000_000;
const IDLE_BYTES_MAX: u64 = 10_000_000;

/// One static file, under 12 MB, run by a numeric user, with a health check; idle replicas take under 10 MB.
pub(crate) fn facts() {
    let image = engine::image().expect("looked at before any test runs");
    let inspect = |field: &str| docker(&["image", "inspect", "--format", &format!("{{{{json {field}}}}}"), &image]);
    let bytes: u64 = inspect(".Size").parse().expect("a number");
    // What is built in a hurry is not what users get.
    let is_hasty = std::env::var("HENCE_IMAGE_SOON").is_ok_and(|asked| asked == "yes");
    assert!(bytes < if is_hasty { 2 * BYTES_MAX } else { BYTES_MAX }, "{bytes} bytes");
    assert_eq!(inspect(".Config.User"), "\"65532:65532\"");
    assert_eq!(inspect(".Config.Entrypoint"), "[\"/hence\"]");
    assert_eq!(inspect(".Config.Cmd"), "[\"serve\"]");
    assert!(inspect(".Config.Healthcheck.Test").contains("/hence"), "no health check with the binary");
    is_static(&image);

    let cluster = Cluster::running("facts");
    for at in 0..3 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.process(at))).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok())
        };
        // Where the engine's processes are not ours to see, there is nothing to measure.
        let Some(kibibytes) = field("VmRSS:") else {
            note!("the processes of the engine cannot be seen from here: no memory measured");
            break;
        };
        assert_eq!(field("Uid:"), Some(65_532), "replica {at}");
        assert!(kibibytes * 1024 < IDLE_BYTES_MAX, "an idle replica takes {kibibytes} KiB");
        note!("idle replica {at}: {kibibytes} KiB; the image has {bytes} bytes");
    }
    cluster.poll(Duration::from_secs(30), "health checks", || {
        let state = cluster.inspect(2, ".State.Health.Status");
        if state == "healthy" { Ok(()) } else { Err(state) }
    });
    // A wrong setting is said and ends at once with a code of its own.
    let label = format!("--label={}", engine::label());
    let wrong = engine::run("docker", &["run", "--rm", &label, "-e", "SOCKET_ADDRESS=nonsense", &image]);
    let complaint = wrong.expect_err("nonsense is no address");
    for word in ["exit status: 2", "SOCKET_ADDRESS is \"nonsense\""] {
        assert!(complaint.contains(word), "no {word} in {complaint}");
    }
}

/// The health check asks the replica in the container, whatever the words, variables and rights that it was started
/// with.
pub(crate) fn healthy() {
    let image = engine::image().expect("looked at before any test runs");
    let label = format!("--label={}", engine::label());
    let ways: [(&[&str], &[&str]); 7] = [
        (&["--read-only", "--cap-drop=ALL"], &["serve", "--socket-address", "127.0.0.1:8095"]),
        (&["--user=1000:1000"], &["serve", "--socket-address=alice:8090", "--bind=0.0.0.0:9000"]),
        (&["--init"], &["serve", "--socket-address", "localhost:9001"]),
        (&["-e", "SOCKET_ADDRESS=10.255.0.1:8090", "-e", "HENCE_BIND=127.0.0.1:9002"], &[]),
        (&["-e", "SOCKET_ADDRESS=10.255.0.1:8090", "--hostname=bob"], &["serve", "--socket-address", "bob:9003"]),
        (&["--read-only", "--security-opt=no-new-privileges"], &["up", "2"]),
        (&["--pid=host", "-e", "SOCKET_ADDRESS=127.0.0.1:9004"], &["serve", "--cluster", "pid"]),
    ];
    let start = |&(options, words): &(&[&str], &[&str])| {
        docker(&[&["run", "--detach", &label], options, &[&image], words].concat())
    };
    let containers: Vec<String> = ways.iter().map(start).collect();
    for (id, (options, words)) in containers.iter().zip(ways) {
        let start = Instant::now();
        let health = || docker(&["inspect", "--format", "{{.State.Health.Status}} {{json .State.Health.Log}}", id]);
        while !health().starts_with("healthy") {
            assert!(start.elapsed() < Duration::from_secs(30), "{options:?} {words:?}: {}", health());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let ids: Vec<&str> = containers.iter().map(String::as_str).collect();
    docker(&[&["rm", "--force"], &ids[..]].concat());
}

/// No interpreter in the binary's program headers: it needs no library of the system.
fn is_static(image: &str) {
    let container = docker(&["create", "--label", &engine::label(), image]);
    let archive = engine::run("docker", &["export", &container]);
    docker(&["rm", "--force", &container]);
    let archive = archive.expect("a container that was made can be exported").stdout;
    // A tar archive: the binary begins at a block of 512 bytes.
    let binary = archive.chunks(512).position(|block| block.starts_with(b"\x7fELF")).expect("there is a binary");
    let binary = &archive[binary * 512..];
    let number = |at: usize, bytes: usize| {
        binary[at..at + bytes].iter().rev().fold(0_usize, |number, &byte| number << 8 | usize::from(byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    const INTERPRETER: usize = 3;
    let kinds: Vec<usize> = (0..count).map(|at| number(table + at * size, 4)).collect();
    assert!(!kinds.is_empty() && !kinds.contains(&INTERPRETER), "not static: program headers {kinds:?}");
}

/// As process 1 it hears SIGTERM and SIGINT, hands over what it has, and ends with 0.
pub(crate) fn first_process() {
    let mut cluster = Cluster::running("first");
    let token = cluster.put(2, "k", "\"v\"", None, 201).token();
    let (time, code) = cluster.stop(2);
    assert!(time < Duration::from_secs(3), "docker stop took {time:?}");
    assert_eq!(code, "0");
    (0..2).for_each(|at| _ = cluster.await_value(at, "k", Some(&token), "\"v\"", Duration::from_secs(1)));
    let start = Instant::now();
    docker(&["kill", "--signal=INT", cluster.id(1)]);
    assert_eq!(docker(&["wait", cluster.id(1)]), "0");
    note!("docker stop took {time:?}, SIGINT {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(3));
    // Alone among members that do not answer: no member can take anything over, and it does not wait for them.
    let (time, code) = cluster.stop(0);
    assert!(time < Duration::from_secs(3), "the last one: docker stop took {time:?}");
    assert_eq!(code, "0");
}

/// Members named by the names of their containers, which only the engine's own name server knows.
pub(crate) fn host_names() {
    let mut cluster = Cluster::new("names", 3);
    let names: Vec<String> = (0..3).map(|at| format!("replica{at}:8090")).collect();
    for (at, name) in names.iter().enumerate() {
        cluster.start_as(at, &cluster.ip(at), name, &names.join(","));
    }
    let limit = Duration::from_secs(10);
    // A replica that joins lists the others before it serves.
    let lists_all = |at: usize| {
        let view = cluster.try_view(at)?;
        let ready = client::try_request(&cluster.address(at), "GET", "/ready", &[], None, limit);
        let ready = ready.map_err(|error| format!("{error:?}"))?.status;
        if view == names && ready == 200 { Ok(()) } else { Err(format!("{at} lists {view:?}, ready {ready}")) }
    };
    (0..3).for_each(|at| _ = cluster.poll(limit, "views of names", || lists_all(at)));
    let token = cluster.put(1, "k", "1", None, 201).token();
    [0, 2].into_iter().for_each(|at| _ = cluster.await_value(at, "k", Some(&token), "1", Duration::from_secs(1)));
    // Under the same name at another address: names are looked up again.
    cluster.kill(&[1]);
    cluster.start_as(1, &cluster.ip(5), &names[1], &names.join(","));
    let time = cluster.await_value(1, "k", Some(&token), "1", Duration::from_secs(5));
    note!("restarted under its name at another address: serves everything after {time:?}");
    let token = cluster.put(1, "k", "2", Some(&token), 200).token();
    [0, 2].into_iter().for_each(|at| _ = cluster.await_value(at, "k", Some(&token), "2", Duration::from_secs(5)));
    cluster.poll(Duration::from_secs(30), "a health check by name", || {
        let state = cluster.inspect(0, ".State.Health.Status");
        if state == "healthy" { Ok(()) } else { Err(state) }
    });
}

impl Stage for Cluster {
    fn cut(&self, at: usize) {
        let others: Vec<usize> = (0..3).filter(|&other| other != at).collect();
        filter(self, at, &others, "counter reject with tcp reset");
        others.iter().for_each(|&other| filter(self, other, &[at], "counter reject with tcp reset"));
    }

    fn heal(&self, _at: usize) {
        (0..3).for_each(|at| _ = unfilter(self, at));
    }
}

/// The contract's tables, over the published ports.
pub(crate) fn contract() {
    let cluster = Cluster::running("contract");
    // The tables name members as the tests of processes do.
    let local = |text: &str| text.replace("127.0.0.", cluster.subnet());
    let count: usize = TABLES.iter().map(|(name, text)| tables::run(&cluster, name, &local(text))).sum();
    let cut = tables::run(&cluster, "cut", &local(CUT));
    assert!(count > 100, "only {count} requests");
    note!("{count} requests of the contract, and {cut} while a replica was cut off");
    let long = "v".repeat(1 << 20);
    let answer = client::put(&cluster.address(0), "large", &format!("\"{long}\""), None);
    assert_eq!(answer.status, 201, "a megabyte passes the published port: {}", answer.text());
}
