//! `deploy/compose-tls.yaml` against the product: replicas run with exactly what it gives them, and with the files that
//! `deploy/certificates` makes.

use crate::lone::Lone;
use crate::network;
use hence_tests::client::{self, Response};
use hence_tests::{deploy, https};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(20);

/// Runs the script in a folder of the test's own; says where the files are.
fn files() -> PathBuf {
    deploy::certificates(&PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join("compose"), |text| text)
}

/// The name of a service, its address, and its variables.
type Service = (String, String, Vec<(String, String)>);

/// The services, with files in that folder.
fn services(trust: &Path) -> Vec<Service> {
    let text = std::fs::read_to_string(deploy::folder().join("compose-tls.yaml")).expect("a file of ours");
    let file: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let value = |value: &Value| value.as_str().expect("a text").to_owned();
    let service = |(name, service): (&String, &Value)| {
        let ip = value(&service["networks"]["replicas"]["ipv4_address"]);
        assert_eq!(service["volumes"], serde_json::json!([format!("./secrets/{ip}:/trust:ro")]), "{name}");
        let variables = service["environment"].as_object().expect("variables").iter();
        let folder = format!("{}/", trust.join(&ip).display());
        let mounted = |text: &Value| value(text).replace("/trust/", &folder);
        (name.clone(), ip, variables.map(|(name, text)| (name.clone(), mounted(text))).collect())
    };
    file["services"].as_object().expect("services").iter().map(service).collect()
}

/// No other user of the machine gets to the files, and a replica gets what its variables name and nothing else.
fn expect_closed(trust: &Path, services: &[Service]) {
    let mode = |path: &Path| std::fs::metadata(path).expect("the script made it").permissions().mode() & 0o777;
    assert_eq!(mode(trust), 0o700);
    for name in ["ca.key", "token"] {
        assert_eq!(mode(&trust.join(name)), 0o600, "{name}");
    }
    for (name, ip, variables) in services {
        let folder = trust.join(ip);
        let there =
            std::fs::read_dir(&folder).expect("the script made it").map(|entry| entry.expect("an entry").path());
        let named = variables.iter().map(|(_, text)| PathBuf::from(text)).filter(|path| path.starts_with(&folder));
        assert_eq!(there.collect::<BTreeSet<_>>(), named.collect::<BTreeSet<_>>(), "{name}");
    }
}

/// Three replicas find each other, and serve only clients that have the token.
pub(crate) fn with_secrets() {
    let trust = files();
    let services = services(&trust);
    assert_eq!(services.len(), 3);
    expect_closed(&trust, &services);
    network::add_addresses(&services.iter().map(|(_, ip, _)| ip.as_str()).collect::<Vec<_>>());
    https::speak(&trust.join("ca.pem"));
    let replicas: Vec<Lone> = services
        .iter()
        .map(|(name, ip, variables)| {
            let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (&**name, &**text)).collect();
            Lone::start(&format!("compose_{name}"), &format!("{ip}:8090"), &variables)
        })
        .collect();
    let token = std::fs::read_to_string(trust.join("token")).expect("the script made it");
    let bearer = format!("Bearer {}", token.trim());
    let ask = |at: usize, method: &str, path: &str, body: Option<&str>| -> Response {
        client::request(replicas[at].at(), method, path, &[("Authorization", &bearer)], body)
    };
    let count = |at: usize, name: &str| -> Option<u64> {
        let metrics = ask(at, "GET", "/metrics", None);
        metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    for (at, replica) in replicas.iter().enumerate() {
        replica.await_ready(200, SETTLE);
        replica.poll(SETTLE, "two links", || match count(at, "hence_links{state=\"established\"}") {
            Some(2) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        assert_eq!(count(at, "hence_peer_untrusted_total"), Some(0));
        assert!(count(at, "hence_tls_certificate_expiry_seconds").is_some_and(|ends| ends > 1_700_000_000));
    }
    let answer = ask(0, "PUT", "/kvs/x", Some(r#"{"value":1}"#));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = format!("{{\"causal-metadata\":\"{}\"}}", answer.token());
    let headers = [("Authorization", &*bearer), ("Prefer", "wait=10")];
    assert_eq!(client::request(replicas[2].at(), "GET", "/kvs/x", &headers, Some(&body)).status, 200);
    assert_eq!(client::get(replicas[1].at(), "x", None).status, 401);
}
