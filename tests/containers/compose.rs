//! `deploy/compose.yaml`: loaded by whichever Compose is here, and started under names and ports of its own.

use crate::engine::{self, IMAGE, run};
use hence_tests::client;
use std::time::{Duration, Instant};

/// `docker compose` where the engine's client has it, else `docker-compose`.
pub(crate) fn program() -> Option<&'static [&'static str]> {
    let all: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    all.into_iter().find(|words| {
        let mut arguments = words[1..].to_vec();
        arguments.push("version");
        run(words[0], &arguments).is_ok()
    })
}

/// Runs Compose on a file, under a name of these tests.
fn compose(file: &str, arguments: &[&str]) -> Result<String, String> {
    let words = program().expect("looked at before any test runs");
    let name = format!("hence-{}", std::process::id());
    let mut all = words[1..].to_vec();
    all.extend(["--project-name", &name, "--file", file]);
    all.extend(arguments);
    run(words[0], &all).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `up` made of this file; dropping it takes it down.
struct Project(String);

impl Drop for Project {
    fn drop(&mut self) {
        let _ = compose(&self.0, &["down", "--timeout", "3"]).map_err(|error| println!("{error}"));
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The file as it is loads; with a subnet and ports of its own, three replicas come up healthy and serve.
pub(crate) fn up() {
    let original = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose.yaml");
    compose(original, &["config"]).unwrap_or_else(|error| panic!("{error}"));
    let text = std::fs::read_to_string(original).expect("it was just loaded");

    let image = std::env::var(IMAGE).expect("looked at before any test runs");
    let label = engine::label().replace('=', ": ");
    let changes = [
        ("    build: ..\n".to_owned(), String::new()),
        ("image: hence".to_owned(), format!("image: {image}")),
        ("    environment:".to_owned(), format!("    labels: {{ {label} }}\n    environment:")),
        ("    ipam:".to_owned(), format!("    labels: {{ {label} }}\n    ipam:")),
        ("10.10.0.".to_owned(), "10.214.0.".to_owned()),
        ("\"808".to_owned(), "\"127.0.0.1:2999".to_owned()),
    ];
    let changed = changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in deploy/compose.yaml");
        text.replace(old, new)
    });
    let file = format!("{}/compose-{}.yaml", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&file, changed).expect("the target directory is ours");
    let project = Project(file);
    let start = Instant::now();
    compose(&project.0, &["up", "--detach"]).unwrap_or_else(|error| panic!("{error}"));
    let served = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        let view = client::try_request(&address, "GET", "/view", &[], None, Duration::from_secs(1)).ok()?;
        view.json()["view"].as_array().filter(|view| view.len() == 3).map(|_| ())
    };
    while !(29_992..=29_994).all(|port| served(port).is_some()) {
        assert!(start.elapsed() < Duration::from_secs(30), "no cluster came up");
        std::thread::sleep(Duration::from_millis(50));
    }
    note!("three replicas list each other {:?} after `up`", start.elapsed());
    let ids = compose(&project.0, &["ps", "--quiet"]).unwrap_or_else(|error| panic!("{error}"));
    for id in ids.split_whitespace() {
        let health = || engine::docker(&["inspect", "--format", "{{.State.Health.Status}}", id]);
        while health() != "healthy" {
            assert!(start.elapsed() < Duration::from_secs(45), "{id} is {}", health());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(ids.split_whitespace().count(), 3, "{ids}");
}
