//! `deploy/compose.yaml` and `compose-tls.yaml`: loaded by whichever Compose is here, and started under names and ports of
//! their own.

use crate::engine::{self, IMAGE, run};
use hence_tests::{client, deploy, https};
use std::path::{Path, PathBuf};
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
    let stem = Path::new(file).file_stem().expect("a file has a name").to_string_lossy();
    let name = format!("hence-{}-{stem}", std::process::id());
    let mut all = words[1..].to_vec();
    all.extend(["--project-name", &name, "--file", file]);
    all.extend(arguments);
    run(words[0], &all).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `up` made of this file; dropping it takes it down.
struct Project(PathBuf);

impl Project {
    fn compose(&self, arguments: &[&str]) -> String {
        compose(&self.0.display().to_string(), arguments).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ =
            compose(&self.0.display().to_string(), &["down", "--timeout", "3"]).map_err(|error| println!("{error}"));
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

/// A file of `deploy/` loads as it is. Then it comes up in a folder of its own, with the image under test. Its subnet
/// takes the place of 10.10.0, and its ports begin so. `prepare` makes what it mounts.
fn up(name: &str, subnet: &str, ports: &str, prepare: impl Fn(&Path)) -> Project {
    let original = deploy::folder().join(name);
    compose(&original.display().to_string(), &["config"]).unwrap_or_else(|error| panic!("{error}"));
    let text = std::fs::read_to_string(original).expect("it was just loaded");

    let image = std::env::var(IMAGE).expect("looked at before any test runs");
    let label = engine::label().replace('=', ": ");
    let changes = [
        ("    build: ..\n".to_owned(), String::new()),
        ("image: hence".to_owned(), format!("image: {image}")),
        ("    environment:".to_owned(), format!("    labels: {{ {label} }}\n    environment:")),
        ("    ipam:".to_owned(), format!("    labels: {{ {label} }}\n    ipam:")),
        ("10.10.0.".to_owned(), subnet.to_owned()),
        ("\"808".to_owned(), format!("\"127.0.0.1:{ports}")),
    ];
    let changed = changes.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in deploy/{name}");
        text.replace(old, new)
    });
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    prepare(&folder);
    std::fs::write(folder.join(name), changed).expect("the folder is ours");
    let project = Project(folder.join(name));
    project.compose(&["up", "--detach"]);
    project
}

/// All three list each other for clients with these headers, and the engine finds them healthy.
fn expect_cluster(project: &Project, ports: &str, headers: &[(&str, &str)]) {
    let start = Instant::now();
    let served = |port: &u16| {
        let address = format!("127.0.0.1:{ports}{port}");
        let view = client::try_request(&address, "GET", "/view", headers, None, Duration::from_secs(1)).ok()?;
        view.json()["view"].as_array().filter(|view| view.len() == 3).map(|_| ())
    };
    while !(2..=4).all(|port| served(&port).is_some()) {
        assert!(start.elapsed() < Duration::from_secs(30), "no cluster came up");
        std::thread::sleep(Duration::from_millis(50));
    }
    note!("three replicas list each other {:?} after `up`", start.elapsed());
    let ids = project.compose(&["ps", "--quiet"]);
    for id in ids.split_whitespace() {
        let health = || engine::docker(&["inspect", "--format", "{{.State.Health.Status}}", id]);
        while health() != "healthy" {
            assert!(start.elapsed() < Duration::from_secs(45), "{id} is {}", health());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(ids.split_whitespace().count(), 3, "{ids}");
}

/// With a subnet and ports of its own, three replicas come up healthy and serve.
pub(crate) fn plain() {
    let project = up("compose.yaml", "10.214.0.", "2999", |_| {});
    expect_cluster(&project, "2999", &[]);
}

/// With the files that `deploy/certificates` makes, three replicas speak TLS, know the secret, and serve who has the
/// token.
pub(crate) fn with_secrets() {
    let subnet = "10.215.0.";
    let made = |folder: &Path| folder.join("made").join("secrets");
    let project = up("compose-tls.yaml", subnet, "2899", |folder| {
        let trust = deploy::certificates(&folder.join("made"), |text| text.replace("10.10.0.", subnet));
        std::os::unix::fs::symlink(trust, folder.join("secrets")).expect("the folder is ours");
    });
    let trust = made(project.0.parent().expect("it is in a folder"));
    let _spoken = https::speak_here(&trust.join("ca.pem"));
    let token = std::fs::read_to_string(trust.join("token")).expect("the script made it");
    let bearer = format!("Bearer {}", token.trim());
    expect_cluster(&project, "2899", &[("Authorization", &bearer)]);
    let put =
        client::request("127.0.0.1:28992", "PUT", "/kvs/x", &[("Authorization", &bearer)], Some(r#"{"value":1}"#));
    assert_eq!(put.status, 201, "{}", put.text());
    let body = format!("{{\"causal-metadata\":\"{}\"}}", put.token());
    let headers = [("Authorization", &*bearer), ("Prefer", "wait=10")];
    assert_eq!(client::request("127.0.0.1:28994", "GET", "/kvs/x", &headers, Some(&body)).status, 200);
    assert_eq!(client::get("127.0.0.1:28993", "x", None).status, 401);
}
