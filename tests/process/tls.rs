//! TLS between processes and for clients: strangers that are kept out, and certificates that change.

use crate::cluster::{Cluster, HENCE};
use hence_server::Throwaway;
use hence_tests::client::{self, Connection, NoResponse, request_bytes};
use hence_tests::https;
use hence_tests::replicas::Replicas;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) const SETTLE: Duration = Duration::from_secs(15);
pub(crate) const ALL: [usize; 3] = [0, 1, 2];
pub(crate) const OLD: &str = "old-secret-of-this-cluster";
pub(crate) const NEW: &str = "new-secret-of-this-cluster";

pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join(format!("{name}.trust"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.parent().expect("it has one")).expect("the target directory is ours");
    folder
}

pub(crate) fn name_of(at: usize) -> String {
    format!("127.0.0.{}", at + 2)
}

pub(crate) fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// The settings of a replica that has a certificate for this name.
pub(crate) fn certified(authority: &Throwaway, at: usize, name: &str) -> [(&'static str, String); 3] {
    let issued = authority.issue(&at.to_string(), &[name]).expect("the folder is ours");
    [
        ("HENCE_TLS_CERT", text(&issued.certificate)),
        ("HENCE_TLS_KEY", text(&issued.key)),
        ("HENCE_PEER_CA", text(&authority.authority())),
    ]
}

/// A cluster within TLS, not running yet. The client of this process speaks it, too.
pub(crate) fn secured(name: &str, members: usize) -> (Throwaway, Cluster) {
    let authority = Throwaway::new(folder(name)).expect("the target directory is ours");
    let mut cluster = Cluster::new(name, members);
    for at in 0..members {
        for (setting, value) in certified(&authority, at, &name_of(at)) {
            cluster = cluster.setting_of(at, setting, &value);
        }
    }
    https::speak(&authority.authority());
    (authority, cluster)
}

fn health(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(HENCE);
    command.arg("health").args(arguments).env_clear().envs(environment.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("the binary was built");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Three replicas serve, link and restart within TLS; plain requests and peers get nothing.
pub(crate) fn cluster() {
    let (authority, cluster) = secured("tls", 3);
    let mut cluster = cluster.run();
    let token = cluster.put(0, "x", "1", None, 201).token();
    cluster.await_value(1, "x", Some(&token), "1", SETTLE);
    cluster.kill(2);
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    assert_eq!(cluster.get(2, "x", Some(&token)).json()["value"], 1);
    let at = cluster.address(0);
    let plain = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&at).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        stream.write_all(bytes).expect("written");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let answer = plain(&request_bytes("GET", "/kvs/x", &[], None));
    assert!(!answer.starts_with(b"HTTP") && answer.len() < 100, "plain HTTP is not answered: {answer:?}");
    let (ca, https) = (text(&authority.authority()), format!("https://{at}"));
    let cert = text(&authority.authority().with_file_name("0.pem"));
    for (arguments, environment, code) in [
        (&[&*https, "--ca", &ca][..], &[][..], 0),
        (&[&*https], &[("HENCE_PEER_CA", &*ca)], 0),
        (&[], &[("SOCKET_ADDRESS", &*at), ("HENCE_TLS_CERT", &*cert), ("HENCE_PEER_CA", &*ca)], 0),
        (&[&*https], &[], 2),
        (&[&*https, "--ca", "/nowhere"], &[], 2),
        (&[&*at], &[], 1),
        (&["https://127.0.0.1:1", "--ca", &ca], &[], 1),
    ] {
        let (found, said) = health(arguments, environment);
        assert_eq!(found, Some(code), "{arguments:?} {environment:?}: {said}");
    }
    // Alone beside the command it is found, whatever it speaks.
    (1..3).for_each(|at| cluster.kill(at));
    let (code, said) = health(&[], &[]);
    assert!(code == Some(0) && said.contains("is healthy"), "{said}");
    assert!(cluster.metric(0, "hence_connections_total{event=\"handshake_failed\"}") > 0);
    let log = cluster.log(0);
    assert!(log.contains("everything is open") && !log.contains("PRIVATE"), "{log}");
}

/// A thousand connections that begin a handshake and do not go on keep out neither clients nor peers.
pub(crate) fn half_handshakes() {
    let (_authority, cluster) = secured("half_handshakes", 3);
    let mut cluster = cluster.run();
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let open = |_| {
        let mut stream = TcpStream::connect(cluster.address(0)).expect("it listens");
        stream.write_all(&hello).expect("written");
        stream
    };
    let strangers: Vec<TcpStream> = (0..1_000).map(open).collect();
    let begun = Instant::now();
    let token = cluster.put(0, "x", "1", None, 201).token();
    cluster.await_value(1, "x", Some(&token), "1", SETTLE);
    cluster.kill(2);
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    assert!(cluster.metric(0, "hence_connections") < 400, "most of them were ended");
    let ended = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("not zero");
        let read = stream.read(&mut [0; 64]);
        !matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(strangers.iter().all(ended), "{:?}", begun.elapsed());
    assert!(cluster.metric(0, "hence_connections_total{event=\"evicted\"}") >= 700);
}

/// Processes with a certificate of another authority, for another address, or none.
pub(crate) fn strangers() {
    let (authority, cluster) = secured("tls_strangers", 2);
    let mut cluster = cluster.run();
    let foreign = Throwaway::new(folder("tls_foreign")).expect("the target directory is ours");
    let view = cluster.addresses(&[0, 1]);
    let all = [&view[..], &[cluster.address(2)]].concat().join(",");
    let token = cluster.put(0, "x", "1", None, 201).token();
    let expect_kept_out = |cluster: &mut Cluster, what: &str, causes: &[&str]| {
        cluster.start_with_view(2, &all);
        cluster.poll(SETTLE, what, || {
            let log = cluster.log(2);
            let told = causes.iter().any(|cause| log.contains(&format!("cause=\"{cause}\"")));
            told.then_some(()).ok_or(log)
        });
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(cluster.view(0), view, "{what}");
        assert_eq!(cluster.metric(0, "hence_links{state=\"established\"}"), 1, "{what}");
        assert_eq!(cluster.get(0, "x", Some(&token)).status, 200, "{what}");
        cluster.kill(2);
        std::fs::remove_file(std::path::Path::new(&cluster.logs()).join("2.log")).expect("it is ours");
    };
    let set = |cluster: &mut Cluster, settings: [(&'static str, String); 3]| {
        settings.iter().for_each(|(name, value)| cluster.set_of(2, name, value));
    };
    expect_kept_out(&mut cluster, "without TLS", &["not_hence", "untrusted"]);
    let trusting = text(&authority.authority());
    let mut other = certified(&foreign, 2, &name_of(2));
    set(&mut cluster, other.clone());
    expect_kept_out(&mut cluster, "of another authority, which it trusts", &["tls"]);
    other[2].1 = trusting;
    set(&mut cluster, other);
    expect_kept_out(&mut cluster, "of another authority", &["tls"]);
    set(&mut cluster, certified(&authority, 2, "127.0.0.9"));
    expect_kept_out(&mut cluster, "for another address", &["untrusted"]);
    assert!(cluster.metric(0, "hence_peer_untrusted_total") > 0);
    // With the right one it is let in: the test could have failed.
    set(&mut cluster, certified(&authority, 2, &name_of(2)));
    cluster.start_with_view(2, &all);
    cluster.await_settled(&ALL, SETTLE);
}

/// Writes and reads on one connection until told to end. Every request must be answered.
pub(crate) fn load(cluster: &Cluster, at: usize, ended: &AtomicBool, served: &AtomicU64) {
    let mut connection = Connection::open(&cluster.address(at)).expect("it listens");
    let mut token: Option<String> = None;
    for turn in 0_u64.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("/kvs/k{at}-{}", turn % 10);
        let past = token.as_deref().map_or_else(|| "null".into(), |token| format!("\"{token}\""));
        let body = format!("{{\"value\":{turn},\"causal-metadata\":{past}}}");
        let method = if turn % 2 == 0 { "PUT" } else { "GET" };
        let key = if turn % 2 == 0 { key } else { format!("/kvs/k{at}-{}", (turn - 1) % 10) };
        connection.send(&request_bytes(method, &key, &[], Some(&body)));
        let answer = connection.receive(false).unwrap_or_else(|error| panic!("{turn} at {at}: {error:?}"));
        assert!(answer.status < 300, "{turn} at {at}: {} {}", answer.status, answer.text());
        token = Some(answer.token());
        served.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A certificate and a secret are exchanged under load: no request fails and no link ends.
pub(crate) fn rotation() {
    let (authority, cluster) = secured("rotation", 3);
    let secret = authority.authority().with_file_name("secret");
    std::fs::write(&secret, OLD).expect("the folder is ours");
    let mut cluster = cluster.setting("HENCE_SECRET_FILE", &text(&secret)).run();
    let ids = ALL.map(|at| cluster.id(at));
    let links = |cluster: &Cluster| {
        let of = |at| {
            let counted = ["hence_peer_dials_total", "hence_links{state=\"established\"}", "hence_suspicions_total"];
            counted.map(|name| cluster.metric(at, name))
        };
        ALL.map(of)
    };
    let before = links(&cluster);
    let shown = |cluster: &Cluster, at| {
        let mut connection = Connection::open(&cluster.address(at)).expect("it listens");
        connection.send(&request_bytes("GET", "/health", &[], None));
        assert_eq!(connection.receive(false).map(|answer| answer.status), Ok(200));
        connection.certificate().expect("it speaks TLS")
    };
    let first = ALL.map(|at| shown(&cluster, at));
    let (ended, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for at in [0, 0, 1, 1, 2, 2] {
            let (cluster, ended, served) = (&cluster, &ended, &served);
            scope.spawn(move || load(cluster, at, ended, served));
        }
        let read_again = |what: &str, times: usize| {
            let of = |at: usize| cluster.log(at).matches(&format!("the file of {what} was read again")).count();
            cluster.poll(SETTLE, what, || ALL.iter().all(|&at| of(at) >= times).then_some(()).ok_or(String::new()));
        };
        for (times, step) in (1..).zip([format!("{OLD}\n{NEW}\n"), format!("{NEW}\n{OLD}\n"), format!("{NEW}\n")]) {
            std::fs::write(&secret, step).expect("it is ours");
            read_again("the secret", times);
        }
        for at in ALL {
            authority.issue(&at.to_string(), &[&name_of(at)]).expect("the folder is ours");
        }
        read_again("the certificate", 1);
        ids.iter().for_each(|&id| crate::cluster::signal(id, "HUP"));
        read_again("the certificate", 2);
        std::thread::sleep(Duration::from_millis(500));
        ended.store(true, Ordering::Relaxed);
    });
    for (at, first) in ALL.iter().zip(&first) {
        assert_ne!(&shown(&cluster, *at), first, "new connections see the new certificate");
    }
    assert_eq!(links(&cluster), before, "no link was made anew");
    let served = served.load(Ordering::Relaxed);
    println!("note: {served} requests, all served");
    assert!(served > 500, "{served}");
    let logs = ALL.map(|at| cluster.log(at)).concat();
    assert!(!logs.contains("WARN") && !logs.contains(OLD) && !logs.contains(NEW), "{logs}");
    // A replica that restarts now proves itself with the new secret and the new certificate.
    cluster.kill(2);
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
}

/// A running cluster begins to use TLS and a secret, and keeps its data.
pub(crate) fn changeover() {
    let (authority, _) = secured("changeover_files", 0);
    let mut cluster = Cluster::running("changeover", 0);
    https::stop();
    for at in ALL {
        cluster.start_with_view(at, &cluster.addresses(&ALL).join(","));
    }
    cluster.await_settled(&ALL, SETTLE);
    let token = cluster.put(0, "x", "1", None, 201).token();
    cluster.await_settled(&ALL, SETTLE);
    let roll = |cluster: &mut Cluster, step: &str| {
        for at in ALL {
            cluster.await_settled_links(&ALL, SETTLE);
            assert_eq!(cluster.terminate(at).code(), Some(0));
            for (name, value) in certified(&authority, at, &name_of(at)) {
                cluster.set_of(at, name, &value);
            }
            cluster.set_of(at, "HENCE_SECRET", OLD);
            cluster.set_of(at, "HENCE_CHANGEOVER", step);
            cluster.start_with_view(at, &cluster.addresses(&ALL).join(","));
            cluster.poll(SETTLE, "it listens", || {
                let ready = client::try_request(&cluster.address(at), "GET", "/ready", &[], None, SETTLE);
                ready.ok().filter(|answer| answer.status == 200).map(drop).ok_or("not ready".into())
            });
            cluster.await_settled(&ALL, SETTLE);
        }
    };
    let warns = |cluster: &Cluster, of: &str| {
        let line = format!("with HENCE_CHANGEOVER={of} a stranger");
        cluster.log(0).lines().filter(|said| said.contains("WARN") && said.contains(&line)).count()
    };
    roll(&mut cluster, "accept");
    assert_eq!(warns(&cluster, "accept"), 1, "it is said once that strangers are let in");
    assert!(!cluster.put(1, "x", "2", Some(&token), 200).token().contains('.'), "tokens are as before");
    roll(&mut cluster, "use");
    let sealed = cluster.put(1, "x", "3", Some(&token), 200).token();
    assert!(sealed.contains('.') && cluster.get(2, "x", Some(&token)).status == 200, "both kinds are taken");
    https::speak(&authority.authority());
    roll(&mut cluster, "done");
    assert_eq!(["accept", "use", "done"].map(|of| warns(&cluster, of)), [1, 1, 0]);
    assert_eq!(cluster.get(0, "x", Some(&sealed)).json()["value"], 3);
    assert_eq!(cluster.get(0, "x", Some(&token)).status, 400);
    https::stop();
    let plain = client::try_get(&cluster.address(0), "x", None);
    assert!(matches!(plain, Err(NoResponse::Closed(_))), "{plain:?}");
}

/// `hence up --tls` says where its authority is, and serves clients that trust it.
pub(crate) fn up() {
    let mut command = Command::new(HENCE);
    command.args(["up", "3", "--tls", "--port", "9100"]).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("the binary was built");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("--cacert ")).expect("it says how to ask");
    let ca = PathBuf::from(line.split("--cacert ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a path"));
    https::speak(&ca);
    let begun = Instant::now();
    let token = loop {
        let answer = client::put("127.0.0.1:9100", "x", "1", None);
        if answer.status == 201 {
            break answer.token();
        }
        assert!(begun.elapsed() < SETTLE, "{answer:?}");
    };
    let body = format!("{{\"causal-metadata\":\"{token}\"}}");
    let answer = client::request("127.0.0.1:9101", "GET", "/kvs/x", &[("Prefer", "wait=10")], Some(&body));
    assert_eq!(answer.json()["value"], 1, "the replicas are linked");
    let mut input = child.stdin.take().expect("it is piped");
    writeln!(input, "quit").expect("it reads");
    assert_eq!(child.wait().expect("it is our child").code(), Some(0));
    assert!(!ca.exists(), "what was made for the run is gone");
}
