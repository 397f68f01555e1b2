//! `deploy/kubernetes` against the product: replicas run with exactly what the StatefulSet gives them, and are rolled as
//! it rolls them, each to another address.

use crate::lone::Lone;
use crate::name_server::{Answer, NameServer};
use serde::Deserialize as _;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const NAMESPACE: &str = "shop";
const PODS: usize = 3;
const SETTLE: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("a file of ours")
}

/// The only manifest of this kind and name.
fn manifest(kind: &str, name: &str) -> Value {
    let text = read("deploy/kubernetes/hence.yaml");
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let all: Vec<Value> = documents.map(|one| Value::deserialize(one).expect("YAML")).collect();
    let fits = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    assert_eq!(all.iter().filter(fits).count(), 1, "{kind} {name}");
    all.iter().find(fits).cloned().expect("it was counted")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The line of the Dockerfile that begins with this word.
fn of_image(word: &str) -> String {
    let dockerfile = read("Dockerfile");
    let line = dockerfile.lines().rev().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.expect("the Dockerfile says it").to_owned()
}

/// What the manifests say agrees with each other, with the image, and with the settings that there are.
fn agrees(set: &Value) {
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"].to_string(), of_image("EXPOSE"));
    let user = pod["securityContext"]["runAsUser"].to_string();
    assert_eq!(format!("{user}:{user}"), of_image("USER"));
    assert_eq!(container["image"], format!("hence:{}", env!("CARGO_PKG_VERSION")));
    assert!(read("deploy/compose.yaml").contains("image: hence\n"), "the image has the same name everywhere");
    assert_eq!(
        format!("CMD {}", container["args"]).replace(' ', ""),
        format!("CMD {}", of_image("CMD")).replace(' ', "")
    );

    let labels = &set["spec"]["template"]["metadata"]["labels"];
    for name in ["hence", "hence-clients"] {
        let service = manifest("Service", name);
        assert_eq!((&service["spec"]["selector"], &service["spec"]["ports"][0]["targetPort"]), (labels, &port["name"]));
        assert_eq!(service["spec"]["ports"][0]["port"], port["containerPort"]);
    }
    let headless = manifest("Service", text(&set["spec"]["serviceName"]));
    assert_eq!(
        (&headless["spec"]["clusterIP"], &headless["spec"]["publishNotReadyAddresses"]),
        (&"None".into(), &true.into())
    );
    for (kind, selector) in
        [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector"), ("StatefulSet", "selector")]
    {
        assert_eq!(manifest(kind, "hence")["spec"][selector]["matchLabels"], *labels, "{kind}");
    }

    let settings = read("docs/settings.md");
    for variable in list(&container["env"]) {
        let name = text(&variable["name"]);
        assert!(["POD_NAME", "NAMESPACE"].contains(&name) || settings.contains(&format!("| `{name}` |")), "{name}");
    }
    let secrets = read("deploy/kubernetes/secrets");
    let made: BTreeSet<&str> =
        secrets.split("--from-file=hence-trust/").skip(1).filter_map(|rest| rest.split([' ', '"']).next()).collect();
    let mount = text(&container["volumeMounts"][0]["mountPath"]);
    let used: BTreeSet<&str> = list(&container["env"])
        .iter()
        .filter_map(|one| one["value"].as_str()?.strip_prefix(mount)?.strip_prefix('/'))
        .collect();
    assert_eq!(made, used, "the secret holds what the replicas read");
    assert!(secrets.contains(&format!("generic {} ", text(&pod["volumes"][0]["secret"]["secretName"]))));
}

/// The variables of this pod, with files in that folder.
fn environment(set: &Value, pod: usize, trust: &Path) -> Vec<(String, String)> {
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let name = format!("{}-{pod}", text(&set["metadata"]["name"]));
    let memory = text(&container["resources"]["limits"]["memory"]).strip_suffix("Mi").expect("so many MiB");
    let memory = memory.parse::<u64>().expect("a number") << 20;
    let mount = text(&container["volumeMounts"][0]["mountPath"]);
    let value = |variable: &Value| match variable["value"].as_str() {
        Some(value) => {
            let value = value.replace("$(POD_NAME)", &name).replace("$(NAMESPACE)", NAMESPACE);
            assert!(!value.contains("$("), "{value}");
            value.replace(mount, &trust.display().to_string())
        }
        None => match &variable["valueFrom"] {
            from if from["fieldRef"]["fieldPath"] == "metadata.name" => name.clone(),
            from if from["fieldRef"]["fieldPath"] == "metadata.namespace" => NAMESPACE.to_owned(),
            from if from["resourceFieldRef"]["resource"] == "limits.memory" => memory.to_string(),
            from => panic!("{from} is not known here"),
        },
    };
    list(&container["env"]).iter().map(|one| (text(&one["name"]).to_owned(), value(one))).collect()
}

/// Runs the script that makes certificates and secrets.
fn secrets(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let script = root().join("deploy/kubernetes/secrets").canonicalize().expect("it is there");
    let made = Command::new("bash").arg(script).arg(NAMESPACE).current_dir(&folder).output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "{made:?}");
    folder.join("hence-trust")
}

fn host(pod: usize) -> String {
    format!("hence-{pod}.hence.{NAMESPACE}.svc.cluster.local")
}

/// The status and the body of a request to this pod, within TLS, as a client with the token asks.
fn ask(trust: &Path, pod: usize, path: &str, more: &[&str]) -> (String, String) {
    let token = std::fs::read_to_string(trust.join("token")).expect("the script made it");
    let (ca, bearer) = (trust.join("ca.crt"), format!("Authorization: Bearer {}", token.trim()));
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "5", "--write-out", "\n%{http_code}", "--header", &bearer]);
    command.arg("--cacert").arg(ca).arg(format!("https://{}:8090{path}", host(pod))).args(more);
    let output = command.output().expect("curl is here");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap_or(("", ""));
    (status.to_owned(), body.to_owned())
}

fn await_probe(set: &Value, replica: &Lone, trust: &Path, pod: usize, probe: &str) {
    let asked = &set["spec"]["template"]["spec"]["containers"][0][probe]["httpGet"];
    assert_eq!((&asked["port"], &asked["scheme"]), (&"hence".into(), &"HTTPS".into()), "{probe}");
    replica.poll(SETTLE, probe, || match ask(trust, pod, text(&asked["path"]), &[]) {
        (status, _) if status == "200" => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
}

/// Three pods start at a time, and are then replaced from the last to the first.
pub(crate) fn stateful_set() {
    let set = manifest("StatefulSet", "hence");
    agrees(&set);
    let trust = secrets("kubernetes");
    let ips = |generation: usize| [0, 1, 2].map(|pod: usize| format!("127.0.{generation}.{}", pod + 2));
    let names: Vec<String> = (0..PODS).map(host).collect();
    let server = NameServer::start(&[]);
    let start = |pod: usize, ip: &str| {
        server.set(&names[pod], Answer::new(&[ip], Duration::ZERO));
        let bind = format!("{ip}:8090");
        let mut environment = environment(&set, pod, &trust);
        // Pods have a network each.
        environment.push(("HENCE_BIND".into(), bind.clone()));
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Lone::start(&format!("kubernetes_{pod}"), &bind, &environment)
    };
    let first = ips(1);
    let mut pods: Vec<Lone> = (0..PODS).map(|pod| start(pod, &first[pod])).collect();
    // The service has records once the pods have addresses.
    let service = names.iter().map(String::as_str).collect::<Vec<_>>();
    server.set(&format!("hence.{NAMESPACE}.svc.cluster.local"), Answer::service(&service));
    for (pod, replica) in pods.iter().enumerate() {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            await_probe(&set, replica, &trust, pod, probe);
        }
    }
    let (status, body) = ask(&trust, 0, "/kvs/x", &["-X", "PUT", "-d", r#"{"value":1}"#]);
    assert_eq!(status, "201", "{body}");
    let spec = &set["spec"]["template"]["spec"];
    let pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a pause");
    let grace = spec["terminationGracePeriodSeconds"].as_u64().expect("a time") - pause;
    let second = ips(2);
    for pod in (0..PODS).rev() {
        let mut old = pods.remove(pod);
        let begun = Instant::now();
        crate::cluster::signal(old.id(), "TERM");
        assert!(old.ended(Duration::from_secs(grace)).success(), "{}", old.log());
        let ended = begun.elapsed();
        let new = start(pod, &second[pod]);
        await_probe(&set, &new, &trust, pod, "readinessProbe");
        pods.insert(pod, new);
        println!("note: pod {pod} ended within {ended:?} and came back at another address");
        let (status, body) = ask(&trust, pod, "/kvs/x", &[]);
        assert!(status == "200" && body.contains("\"value\":1"), "{status} {body}");
    }
    for pod in 0..PODS {
        let (_, view) = ask(&trust, pod, "/view", &[]);
        assert!(names.iter().all(|name| view.contains(name)), "{view}");
        let (_, metrics) = ask(&trust, pod, "/metrics", &[]);
        for line in [
            "hence_memory_limit_bytes{of=\"process\"} 536870912",
            "hence_links{state=\"established\"} 2",
            "hence_peer_untrusted_total 0",
        ] {
            assert!(metrics.lines().any(|shown| shown == line), "{line} is not in {metrics}");
        }
    }
}
