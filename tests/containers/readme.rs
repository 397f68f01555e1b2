//! README's section on Docker, line by line, under names, addresses and ports of its own.

use crate::engine::{IMAGE, label, run, try_docker};
use serde_json::{Value, json};

const SUBNET: &str = "10.216.0.";

/// Removes what is left where a line failed.
struct Left {
    names: [String; 3],
    network: String,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| _ = try_docker(&["rm", "--force", name]));
        let _ = try_docker(&["network", "rm", &self.network]);
    }
}

/// Everything from the network's beginning to its end; only the image is not built anew.
pub(crate) fn docker() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    let section = text.split("## Docker\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let blocks: Vec<&str> =
        section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).take(2).collect();
    let own = |name: &str| format!("hence-{}-{name}", std::process::id());
    let left = Left { names: ["alice", "bob", "carol"].map(own), network: own("readme") };
    // A reader needs some seconds between the two.
    let mut script = blocks.join("sleep 3\n");
    for (name, own) in ["alice", "bob", "carol"].iter().zip(&left.names) {
        script = script.replace(name, own);
    }
    let image = std::env::var(IMAGE).expect("looked at before any test runs");
    let label = format!(" --label={} ", label());
    for (readme, ours) in [
        (" hence\n", format!(" {image}\n").as_str()),
        ("asg3net", &left.network),
        ("10.10.0.", SUBNET),
        ("-p 808", "-p 127.0.0.1:2798"),
        ("127.0.0.1:8082", "127.0.0.1:27982"),
        ("127.0.0.1:8083", "127.0.0.1:27983"),
        ("127.0.0.1:8084", "127.0.0.1:27984"),
        ("docker run ", &format!("docker run{label}")),
        ("docker network create ", &format!("docker network create{label}")),
        ("curl ", "curl -sS "),
    ] {
        assert!(script.contains(readme), "{readme} in {script}");
        script = script.replace(readme, ours);
    }
    let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with("docker build ")).collect();
    assert_eq!(script.lines().count() - lines.len(), 1, "one line builds the image");
    let output = run("sh", &["-e", "-c", &lines.join("\n")]).unwrap_or_else(|error| panic!("{error}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    // The answers of curl end without a line break, and what `docker` prints follows.
    let mut answers = Vec::new();
    for part in printed.split('{').skip(1) {
        let answer = part.split_inclusive('}').next().expect("it was split");
        answers.push(
            serde_json::from_str::<Value>(&format!("{{{answer}")).unwrap_or_else(|error| panic!("{error}: {printed}")),
        );
    }
    let told: Vec<&Value> = answers.iter().map(|answer| answer.get("result").unwrap_or(&answer["view"])).collect();
    let two = json!([format!("{SUBNET}2:8090"), format!("{SUBNET}3:8090")]);
    assert_eq!(told, [&json!("created"), &json!("found"), &two, &json!("found")], "{printed}");
    assert!([1, 3].iter().all(|&at| answers[at]["value"] == "hello"), "{printed}");
}
