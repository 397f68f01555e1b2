//! Files that are exchanged for ones of no use, under load: what was read before stays in use, and the log says why.

use crate::cluster::Cluster;
use crate::tls::{ALL, NEW, OLD, SETTLE, load, name_of, secured, text};
use hence_tests::replicas::Replicas;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("it is ours")
}

fn half(text: &[u8]) -> Vec<u8> {
    text[..text.len() / 2].to_vec()
}

/// So often the log of a replica said that a file is of no use.
fn refusals(cluster: &Cluster, at: usize, what: &str) -> usize {
    let begins = format!("the file of {what} changed and is not used: it must be a");
    cluster.log(at).lines().filter(|line| line.contains("WARN") && line.contains(&begins)).count()
}

/// Five exchanges of a secret, a certificate and an authority for what is none. No request fails and no link ends. At the
/// start such a file is a wrong setting.
pub(crate) fn broken() {
    let (authority, cluster) = secured("rotation_broken", 3);
    let folder = authority.authority().parent().expect("it has one").to_owned();
    let secrets = ALL.map(|at| folder.join(format!("secret-{at}")));
    secrets.iter().for_each(|secret| fs::write(secret, OLD).expect("the folder is ours"));
    let own_authority = folder.join("ca-2.pem");
    fs::write(&own_authority, read(&authority.authority())).expect("the folder is ours");
    let with_secret = |cluster: Cluster, at: usize| cluster.setting_of(at, "HENCE_SECRET_FILE", &text(&secrets[at]));
    let mut cluster = ALL.into_iter().fold(cluster, with_secret);
    cluster.set_of(2, "HENCE_PEER_CA", &text(&own_authority));
    let mut cluster = cluster.run();
    let (certificate, key) = (folder.join("1.pem"), folder.join("1.key"));
    let good = [read(&secrets[0]), read(&certificate), read(&own_authority)];
    let other = authority.issue("other", &[&name_of(1)]).expect("the folder is ours");
    let junk = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec();
    let three = format!("{OLD}\n{NEW}\n{OLD}x").into_bytes();
    let bad: [[Vec<u8>; 3]; 5] = [
        [b"".into(), b"".into(), b"".into()],
        [b"\n \n".into(), b"no certificate".into(), b"no authority".into()],
        [b"too-short".into(), half(&good[1]), half(&good[2])],
        [three, read(&other.certificate), read(&key)],
        [b"\xff\xfes\0e\0c\0r\0e\0t\0-\0i\0n\0-\0t\0w\0o\0-\0b\0y\0t\0e\0s\0".into(), read(&key), junk],
    ];
    let files =
        [(0, "the secret", &secrets[0]), (1, "the certificate", &certificate), (2, "the certificate", &own_authority)];
    let links = |cluster: &Cluster| {
        let of = |at| ["hence_peer_dials_total", "hence_suspicions_total"].map(|name| cluster.metric(at, name));
        ALL.map(of)
    };
    let before = links(&cluster);
    let (ended, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for at in ALL {
            let (cluster, ended, served) = (&cluster, &ended, &served);
            scope.spawn(move || load(cluster, at, ended, served));
        }
        for (round, texts) in (1..).zip(&bad) {
            for ((_, _, path), text) in files.iter().zip(texts) {
                fs::write(path, text).expect("it is ours");
            }
            for (at, what, _) in files {
                cluster.poll(SETTLE, "a warning", || {
                    let found = refusals(&cluster, at, what);
                    if found >= round { Ok(()) } else { Err(format!("{found} of {round} at {at}")) }
                });
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
    for (at, what, _) in files {
        assert_eq!(refusals(&cluster, at, what), bad.len(), "each is told once: {}", cluster.log(at));
    }
    assert_eq!(links(&cluster), before, "no link was made anew");
    println!("note: {} requests, all served", served.load(Ordering::Relaxed));
    // A new peer meets what was read before, and what is new here is refused.
    cluster.kill(2);
    cluster.start(2);
    assert_eq!(cluster.ended(2, Duration::from_secs(5)).code(), Some(2), "{}", cluster.log(2));
    assert!(cluster.log(2).contains("HENCE_PEER_CA is "), "{}", cluster.log(2));
    let restored = [format!("\r\n{OLD}\r\n").into_bytes(), good[1].clone(), good[2].clone()];
    for ((_, _, path), text) in files.iter().zip(restored) {
        fs::write(path, text).expect("it is ours");
    }
    cluster.start(2);
    cluster.await_settled(&ALL, SETTLE);
    let logs = ALL.map(|at| cluster.log(at)).concat();
    assert!(!logs.contains(OLD) && !logs.contains("PRIVATE") && !logs.contains("too-short"), "{logs}");
}
