//! Ctrl-C and SIGTERM: commands that go on until they are ended tell and keep what they have.

use crate::client::{Terminal, json, terminal};
use crate::cluster::{Cluster, signal};
use hence_tests::replicas::Replicas;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(15);

fn begun(at: &Terminal, arguments: &[&str]) -> (Child, ChildStdout) {
    let mut child = at.command(arguments).stdin(Stdio::null()).spawn().expect("the binary was built");
    let out = child.stdout.take().expect("it is piped");
    (child, out)
}

fn ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return status;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it is our child");
    child.wait().expect("it is our child")
}

/// A load that is ended prints what was measured until then.
pub(crate) fn benches() {
    let cluster = Cluster::running("client_ended_benches", 3);
    let at = terminal(&cluster, "client_ended_benches_files");
    for (name, rate) in [("INT", "1000"), ("TERM", "1"), ("INT", "1000000")] {
        let arguments = ["bench", "--json", "--duration", "1h", "--keys", "10", "--connections", "4", "--rate", rate];
        let (mut child, mut out) = begun(&at, &arguments);
        std::thread::sleep(Duration::from_secs(2));
        signal(child.id(), name);
        assert_eq!(ended(&mut child).code(), Some(0), "{name}");
        let mut text = String::new();
        out.read_to_string(&mut text).expect("a text");
        let told = json(&text);
        let count = ["reads", "writes"].map(|what| told[what]["count"].as_u64().expect("a number"));
        assert!(count.iter().sum::<u64>() > 0, "{told}");
        assert!(told["seconds"].as_f64().is_some_and(|seconds| (0.5..10.0).contains(&seconds)), "{told}");
    }
}

/// A watch that is ended keeps its session, by either signal; one that cannot print ends nevertheless.
pub(crate) fn watches() {
    let cluster = Cluster::running("client_ended_watches", 3);
    let mut at = terminal(&cluster, "client_ended_watches_files");
    at.endpoints = cluster.address(0);
    at.prints(&["put", "k", "1"]);
    for name in ["INT", "TERM"] {
        let (mut child, out) = begun(&at, &["watch", "--session", name]);
        let synced = BufReader::new(out).lines().map_while(Result::ok).any(|line| line == "synced");
        assert!(synced);
        signal(child.id(), name);
        assert_eq!(ended(&mut child).code(), Some(0), "{name}");
        let kept = fs::read_to_string(at.folder.join(name)).expect("the session was kept");
        assert!(!kept.trim().is_empty(), "{name}");
    }
    at.run_with(&["put", "large", "--text"], &"v".repeat(1 << 20));
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let (mut child, out) = begun(&at, &["watch"]);
        std::thread::sleep(Duration::from_secs(1));
        signal(child.id(), name);
        assert_eq!(ended(&mut child).code(), Some(code), "{name}");
        drop(out);
    }
}
