//! The judges of this repository against replicas with TLS and a shared secret, over https. What rolls such replicas calls
//! them, too.

use crate::access;
use crate::cluster::Cluster;
use crate::tls::{OLD, secured};
use clap::Parser;
use hence_blackbox::console::{Done, End};
use hence_blackbox::contract::{self, Contract};
use hence_blackbox::torture::{self, Recorded, Torture};
use hence_checker::format::json;
use hence_checker::{Level, Options, Verdict, judge};
use hence_tests::replicas::Replicas;
use std::path::{Path, PathBuf};

#[derive(Parser)]
enum Judges {
    Contract(Box<Contract>),
    Torture(Box<Torture>),
}

fn run(arguments: &[&str]) -> End {
    try_run(arguments).unwrap_or_else(|problem| panic!("{arguments:?}: {problem:?}"))
}

fn try_run(arguments: &[&str]) -> Done {
    let asked = Judges::try_parse_from([&["judges"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
    match asked {
        Judges::Contract(asked) => contract::run(&asked),
        Judges::Torture(asked) => torture::run(&asked, check),
    }
}

fn check(recorded: &Recorded) -> Done {
    let file = std::fs::File::open(&recorded.history).expect("it was just written");
    let history = json::read(std::io::BufReader::new(file)).expect("a history of ours");
    let report = judge(&history, Options::default()).expect("it can be judged");
    assert_eq!(report.verdict(Level::Causal), Verdict::Fine, "{:?}", report.warnings);
    println!("note: {} operations were judged", history.len());
    Ok(End::Clean)
}

/// Where a history goes; nothing is there yet.
pub(crate) fn history(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("process/{name}.jsonl"));
    let _ = std::fs::remove_file(&path);
    path.display().to_string()
}

/// The replicas of a cluster within TLS, as the judges name them.
pub(crate) fn targets(cluster: &Cluster) -> String {
    [0, 1, 2].map(|at| format!("https://{}", cluster.address(at))).join(",")
}

/// Clients of every kind for so many seconds, and what they saw is judged. The history goes there; it is the answer.
pub(crate) fn torture(history: &str, targets: &str, authority: &Path, seconds: u64) -> String {
    let (ca, time) = (authority.display().to_string(), format!("{seconds}s"));
    let end = run(&["torture", "--targets", targets, "--ca", &ca, "--time", &time, "--rate", "600", "-o", history]);
    assert_eq!(end, End::Clean);
    std::fs::read_to_string(history).expect("it was just written")
}

/// Every case of the contract, its extensions included, and twelve seconds of clients.
pub(crate) fn over_https() {
    let (authority, cluster) = secured("judged", 3);
    let cluster = cluster.setting("HENCE_SECRET", OLD).run();
    let targets = targets(&cluster);
    let ca = authority.authority().display().to_string();
    let end = run(&["contract", &targets, "--ca", &ca, "--extensions"]);
    assert_eq!(end, End::Clean);
    torture(&history("judged"), &targets, &authority.authority(), 12);
}

/// The same against replicas with an access file, with a token of every scope. Without it both say at once what is missing.
pub(crate) fn with_a_token() {
    // The SHA-256 of "both".
    let hash = "ff7772053abf7d817d6eec229a09e14f0d1552f1cb0aeedb2ac73784ac2d2e39";
    let file = access::file("judged", &format!("read,write,view,metrics {hash}\n"));
    let mut cluster = Cluster::new("judged_token", 3).setting("HENCE_ACCESS_FILE", &file.display().to_string());
    (0..3).for_each(|at| cluster.start(at));
    (0..3).for_each(|at| access::await_ready(&cluster, at));
    let targets = [0, 1, 2].map(|at| format!("http://{}", cluster.address(at))).join(",");
    let history = history("judged_token");
    let contract = ["contract", &targets, "--extensions"];
    let torture = ["torture", "--targets", &targets, "--time", "5s", "--rate", "600", "-o", &history];
    for arguments in [&contract[..], &torture[..]] {
        let problem = try_run(arguments).expect_err("it has no token").text;
        assert!(problem.contains("401") && problem.contains("A bearer token is required"), "{problem}");
        let problem = try_run(&[arguments, &["--token", "strange"]].concat()).expect_err("it has another one").text;
        assert!(problem.contains("401") && !problem.contains("strange"), "{problem}");
        assert!(!std::path::Path::new(&history).exists(), "nothing was recorded");
    }
    assert_eq!(run(&[&contract[..], &["--token", "both"]].concat()), End::Clean);
    assert_eq!(run(&[&torture[..], &["--token", "both"]].concat()), End::Clean);
}
