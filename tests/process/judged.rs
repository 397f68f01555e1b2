//! The judges of this repository against replicas with TLS and a shared secret, over https. What rolls such replicas calls
//! them, too.

use crate::cluster::Cluster;
use crate::tls::{OLD, secured};
use clap::Parser;
use hence_blackbox::console::End;
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
    let asked = Judges::try_parse_from([&["judges"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
    let done = match asked {
        Judges::Contract(asked) => contract::run(&asked),
        Judges::Torture(asked) => torture::run(&asked, check),
    };
    done.unwrap_or_else(|problem| panic!("{arguments:?}: {problem:?}"))
}

fn check(recorded: &Recorded) -> Result<End, hence_blackbox::console::Problem> {
    let file = std::fs::File::open(&recorded.history).expect("it was just written");
    let history = json::read(std::io::BufReader::new(file)).expect("a history of ours");
    let report = judge(&history, Options::default()).expect("it can be judged");
    assert_eq!(report.verdict(Level::Causal), Verdict::Fine, "{:?}", report.warnings);
    println!("note: {} operations were judged", history.len());
    Ok(End::Clean)
}

/// The replicas of a cluster within TLS, as the judges name them.
pub(crate) fn targets(cluster: &Cluster) -> String {
    [0, 1, 2].map(|at| format!("https://{}", cluster.address(at))).join(",")
}

/// Clients of every kind for so many seconds, and what they saw is judged. The history has this name; it is the answer.
pub(crate) fn torture(name: &str, targets: &str, authority: &Path, seconds: u64) -> String {
    let history = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("process/{name}.jsonl"));
    let _ = std::fs::remove_file(&history);
    let (ca, time) = (authority.display().to_string(), format!("{seconds}s"));
    let output = history.display().to_string();
    let end = run(&["torture", "--targets", targets, "--ca", &ca, "--time", &time, "--rate", "600", "-o", &output]);
    assert_eq!(end, End::Clean);
    std::fs::read_to_string(&history).expect("it was just written")
}

/// Every case of the contract, its extensions included, and twelve seconds of clients.
pub(crate) fn over_https() {
    let (authority, cluster) = secured("judged", 3);
    let cluster = cluster.setting("HENCE_SECRET", OLD).run();
    let targets = targets(&cluster);
    let ca = authority.authority().display().to_string();
    let end = run(&["contract", &targets, "--ca", &ca, "--extensions"]);
    assert_eq!(end, End::Clean);
    torture("judged", &targets, &authority.authority(), 12);
}
