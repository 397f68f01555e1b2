//! A secret that all members share: sealed tokens, strangers, and settings that are wrong.

use crate::access;
use crate::cluster::{Cluster, HENCE};
use crate::tls::{NEW, OLD, certified, folder, name_of};
use hence_server::Throwaway;
use hence_tests::client::{self, Response};
use hence_tests::https;
use hence_tests::replicas::Replicas;
use hence_tests::watcher::Watcher;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SETTLE: Duration = Duration::from_secs(15);

/// What is said of a token without a seal of this cluster.
const UNSEALED: &str =
    "{\"error\":\"causal-metadata was not made by this cluster, or before its secret changed; begin anew with null\"}";

/// Tokens bear a seal; what bears none or another one gets 400 and changes nothing.
pub(crate) fn tokens() {
    let cluster = Cluster::new("sealed_tokens", 3).setting("HENCE_SECRET", OLD).run();
    let token = cluster.put(0, "x", "1", None, 201).token();
    let (text, seal) = token.split_once('.').expect("a seal");
    assert_eq!(seal.len(), 32);
    cluster.await_value(1, "x", Some(&token), "1", SETTLE);
    cluster.await_settled(&[0, 1, 2], SETTLE);
    let before = cluster.state(0);
    let changed = if seal.starts_with('0') { seal.replacen('0', "1", 1) } else { format!("0{}", &seal[1..]) };
    for wrong in [text.to_owned(), format!("{text}."), format!("{text}.{changed}"), format!("{text}.{}", &seal[..16])] {
        for answer in [
            client::get(&cluster.address(0), "x", Some(&wrong)),
            client::put(&cluster.address(0), "x", "2", Some(&wrong)),
            client::delete(&cluster.address(0), "x", Some(&wrong)),
            client::request(&cluster.address(0), "GET", "/kvs/x", &[("Causal-Metadata", &wrong)], None),
        ] {
            assert_eq!((answer.status, answer.text()), (400, UNSEALED), "{wrong}");
        }
    }
    let both = format!("{token}, {text}");
    assert_eq!(client::request(&cluster.address(0), "GET", "/kvs/x", &[("Causal-Metadata", &both)], None).status, 400);
    let twice = format!("{token}, {token}");
    assert_eq!(client::request(&cluster.address(0), "GET", "/kvs/x", &[("Causal-Metadata", &twice)], None).status, 200);
    assert_eq!(cluster.state(0), before);
    let state = client::request(&cluster.address(0), "GET", "/replica/state", &[], None);
    let metrics = client::request(&cluster.address(0), "GET", "/metrics", &[], None);
    for text in [state.text(), metrics.text(), &cluster.log(0)] {
        assert!(!text.contains(OLD), "the secret is in a text: {text}");
    }
}

/// Every other request that takes a token: batches, lists, watches and long polls, with the token wherever it may stand.
fn requests(token: &str, id: &str) -> Vec<Response> {
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>| {
        // It is refused at once, and no stream begins.
        let answer = client::try_request("127.0.0.2:8090", method, path, headers, body, Duration::from_secs(3));
        answer.unwrap_or_else(|error| panic!("{method} {path} {headers:?} {body:?}: {error:?}"))
    };
    let events = ("Accept", "text/event-stream");
    let header = ("Causal-Metadata", token);
    let past = format!("{{\"causal-metadata\":\"{token}\"}}");
    let operations = "\"operations\":[{\"op\":\"put\",\"key\":\"x\",\"value\":2},{\"op\":\"delete\",\"key\":\"y\"}]";
    let batch = format!("{{{operations}}}");
    let batch_with = format!("{{{operations},\"causal-metadata\":\"{token}\"}}");
    let mut answers = vec![
        ask("POST", "/kvs", &[], Some(&batch_with)),
        ask("POST", "/kvs", &[header], Some(&batch)),
        ask("GET", "/kvs", &[header], None),
        ask("GET", "/kvs?count-only=true", &[header], None),
        ask("GET", "/kvs", &[], Some(&past)),
        ask("HEAD", "/kvs", &[header], None),
        ask("HEAD", "/kvs/x", &[header], None),
        ask("GET", "/kvs/x?poll=9", &[header, ("If-None-Match", "\"absent\"")], None),
        ask("GET", "/kvs/none?poll=9", &[header, ("If-None-Match", "\"absent\"")], None),
        ask("GET", "/kvs/none?poll=9", &[("If-None-Match", "\"absent\"")], Some(&past)),
    ];
    for path in ["/kvs", "/kvs/x", "/kvs?prefix=x"] {
        let joined = if path.contains('?') { '&' } else { '?' };
        answers.push(ask("GET", path, &[events, header], None));
        answers.push(ask("GET", &format!("{path}{joined}causal-metadata={token}"), &[events], None));
        answers.push(ask("GET", &format!("{path}{joined}causal-metadata={token}"), &[], None));
        answers.push(ask("GET", path, &[events, ("Last-Event-ID", id)], None));
        answers.push(ask("GET", &format!("{path}{joined}since={id}"), &[events], None));
    }
    answers
}

fn are_unsealed(answers: &[Response], what: &str) {
    for answer in answers {
        // An answer to HEAD has no body.
        let is_told = answer.body.is_empty() || answer.text() == UNSEALED;
        assert!(answer.status == 400 && is_told, "{what}: {answer:?}");
    }
    assert!(answers.iter().filter(|answer| answer.body.is_empty()).count() <= 2, "{answers:?}");
}

/// A changed or missing seal within a batch, a list, a watch, its id or a long poll: 400, and nothing changes.
pub(crate) fn everywhere() {
    let cluster = Cluster::new("sealed_everywhere", 1).setting("HENCE_SECRET", OLD).run();
    let at = cluster.address(0);
    cluster.put(0, "y", "1", None, 201);
    let token = cluster.put(0, "x", "1", None, 201).token();
    let mut watcher = Watcher::open(&at, "/kvs", &[]);
    watcher.sync(SETTLE);
    let id = watcher.id.clone().expect("an id");
    let parts: Vec<&str> = id.split('~').collect();
    let [hash, past, known] = parts[..] else { panic!("{id}") };
    let before = cluster.state(0);
    let (text, seal) = token.split_once('.').expect("a seal");
    let changed =
        |seal: &str| if seal.ends_with('0') { format!("{}1", &seal[..31]) } else { format!("{}0", &seal[..31]) };
    let unsealed = |part: &str| part.split_once('.').expect("a seal").0.to_owned();
    let forged = |part: &str| format!("{}.{}", unsealed(part), changed(part.split_once('.').expect("a seal").1));
    for (what, token, id) in [
        ("no seal, in the past of the id", text.to_owned(), format!("{hash}~{}~{known}", unsealed(past))),
        ("no seal, in the known of the id", format!("{text}."), format!("{hash}~{past}~{}", unsealed(known))),
        ("a changed seal", format!("{text}.{}", changed(seal)), format!("{hash}~{}~{known}", forged(past))),
        ("half a seal", format!("{text}.{}", &seal[..16]), format!("{hash}~{past}~{}", forged(known))),
        ("of another watch", format!("{text}.{}", changed(seal)), format!("00000000~{past}~{}", forged(known))),
    ] {
        are_unsealed(&requests(&token, &id), what);
    }
    assert_eq!(cluster.state(0), before);
    assert_eq!(cluster.metric(0, "hence_watches"), 1, "none of them began a watch");
    // What is sealed well is taken: the test could have failed.
    watcher.resume(&at, "/kvs");
    watcher.sync(SETTLE);
    assert_eq!(client::request(&at, "GET", "/kvs", &[("Causal-Metadata", &token)], None).status, 200);
}

/// Through a rotation tokens go on while their secret is in the file, and get 400 everywhere once it is gone.
pub(crate) fn gone() {
    let folder = folder("gone");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let file = folder.join("secret");
    std::fs::write(&file, OLD).expect("the folder is ours");
    let cluster = Cluster::new("gone", 1).setting("HENCE_SECRET_FILE", &file.display().to_string()).run();
    let at = cluster.address(0);
    cluster.put(0, "y", "1", None, 201);
    let old = cluster.put(0, "x", "1", None, 201).token();
    let mut watcher = Watcher::open(&at, "/kvs", &[]);
    watcher.sync(SETTLE);
    let id = watcher.id.clone().expect("an id");
    let write = |step: &str, times: usize| {
        std::fs::write(&file, step).expect("it is ours");
        cluster.poll(SETTLE, "the file to be read", || {
            let read = cluster.log(0).matches("the file of the secret was read again").count();
            (read >= times).then_some(()).ok_or(cluster.log(0))
        });
    };
    write(&format!("{OLD}\n{NEW}\n"), 1);
    assert_eq!(cluster.get(0, "x", Some(&old)).status, 200);
    write(&format!("{NEW}\n{OLD}\n"), 2);
    let new = cluster.get(0, "x", Some(&old));
    assert_eq!(new.status, 200);
    assert_ne!(new.token(), old, "the first secret seals");
    watcher.resume(&at, "/kvs");
    watcher.sync(SETTLE);
    write(&format!("{NEW}\n"), 3);
    let before = cluster.state(0);
    for answer in [
        client::get(&at, "x", Some(&old)),
        client::put(&at, "x", "2", Some(&old)),
        client::delete(&at, "x", Some(&old)),
    ] {
        assert_eq!((answer.status, answer.text()), (400, UNSEALED));
    }
    are_unsealed(&requests(&old, &id), "of a secret that is gone");
    assert_eq!(cluster.state(0), before);
    assert_eq!(cluster.get(0, "x", Some(&new.token())).status, 200, "the new seal goes on");
}

/// A process without the secret, or with another one, neither joins nor learns anything.
pub(crate) fn strangers() {
    let mut cluster = Cluster::new("secret_strangers", 2)
        .setting_of(0, "HENCE_SECRET", OLD)
        .setting_of(1, "HENCE_SECRET", &format!("{NEW},{OLD}"))
        .run();
    let view = cluster.addresses(&[0, 1]);
    let all = [&view[..], &[cluster.address(2)]].concat().join(",");
    cluster.put(0, "x", "1", None, 201);
    for secret in [None, Some("a-secret-of-another-cluster")] {
        if let Some(secret) = secret {
            cluster.set_of(2, "HENCE_SECRET", secret);
        }
        cluster.start_with_view(2, &all);
        cluster.poll(SETTLE, "both sides to say so", || {
            let stranger = cluster.log(2).contains("cause=\"untrusted\"");
            let member = cluster.log(0).contains("does not show that it belongs to this cluster");
            (stranger && member).then_some(()).ok_or(cluster.log(2))
        });
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(cluster.view(0), view);
        assert_ne!(cluster.get(2, "x", None).status, 200, "it has nothing");
        assert_eq!(cluster.metric(2, "hence_peer_frames_total{direction=\"in\"}"), 0);
        assert!(cluster.metric(0, "hence_peer_untrusted_total") > 0);
        assert!(cluster.metric(2, "hence_peer_outages{cause=\"untrusted\"}") > 0);
        cluster.kill(2);
    }
    let logs = [0, 1, 2].map(|at| cluster.log(at)).concat();
    for secret in [OLD, NEW, "a-secret-of-another-cluster"] {
        assert!(!logs.contains(secret), "{logs}");
    }
    // One of the two that one member knows is enough.
    cluster.set_of(2, "HENCE_SECRET", OLD);
    cluster.start_with_view(2, &all);
    cluster.await_settled(&[0, 1, 2], SETTLE);
}

/// What is wrong is named, what is secret is not shown, and nothing starts.
pub(crate) fn settings() {
    let folder = folder("settings");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let (short, nothing) = (file("short", "too-short"), file("nothing", "no certificate"));
    for (settings, named) in [
        (&[("HENCE_SECRET", "too-short")][..], "HENCE_SECRET"),
        (&[("HENCE_SECRET", "")], "HENCE_SECRET"),
        (&[("HENCE_SECRET_FILE", &*short)], "HENCE_SECRET_FILE"),
        (&[("HENCE_SECRET_FILE", "/nowhere")], "HENCE_SECRET_FILE"),
        (&[("HENCE_SECRET_FILE", &short), ("HENCE_SECRET", OLD)], "HENCE_SECRET_FILE"),
        (&[("HENCE_TLS_CERT", &nothing)], "HENCE_TLS_KEY"),
        (&[("HENCE_PEER_CA", &nothing)], "HENCE_TLS_CERT"),
        (&[("HENCE_PEER_NAME", "replicas")], "HENCE_PEER_NAME"),
        (&[("HENCE_TLS_CERT", &nothing), ("HENCE_TLS_KEY", &nothing), ("HENCE_PEER_CA", &nothing)], "HENCE_TLS_CERT"),
        (&[("HENCE_CHANGEOVER", "later")], "--changeover"),
    ] {
        let mut command = Command::new(HENCE);
        command.arg("serve").env_clear().env("SOCKET_ADDRESS", "127.0.0.1:8090").envs(settings.iter().copied());
        let output = command.stdin(Stdio::null()).output().expect("the binary was built");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(2), "{settings:?}: {said}");
        assert!(said.contains(named) && !said.contains("too-short") && !said.contains(OLD), "{settings:?}: {said}");
    }
}

/// A process that was given a secret leaves no image of its memory behind when it crashes.
pub(crate) fn no_core_dump() {
    let folder = folder("core_dumps");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    let file = folder.join("secret");
    std::fs::write(&file, OLD).expect("the folder is ours");
    let access = access::file("core_dumps", &access::lines(&["read"])).display().to_string();
    let crash = |settings: &[(&str, &str)]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; exec \"$0\" serve", HENCE]).current_dir(&folder);
        command.env_clear().env("SOCKET_ADDRESS", "127.0.0.2:8090").envs(settings.iter().copied());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("there is a shell");
        let begun = Instant::now();
        while client::try_request("127.0.0.2:8090", "GET", "/health", &[], None, SETTLE).is_err() {
            assert!(begun.elapsed() < SETTLE, "it does not answer with {settings:?}");
        }
        crate::cluster::signal(child.id(), "ABRT");
        let status = child.wait().expect("it is our child");
        let is_core = |name: &str| name.starts_with("core");
        let files = std::fs::read_dir(&folder).expect("it is ours").filter_map(Result::ok);
        let cores: Vec<_> = files.filter(|file| is_core(&file.file_name().to_string_lossy())).collect();
        cores.iter().for_each(|core| std::fs::remove_file(core.path()).expect("it is ours"));
        (status.core_dumped(), cores.len())
    };
    let plain = crash(&[]);
    println!("note: without secrets it leaves {plain:?}");
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    assert!(plain.0 || pattern.trim() != "core", "the test would see nothing: {plain:?}");
    let path = file.display().to_string();
    for settings in [[("HENCE_SECRET_FILE", &*path)], [("HENCE_SECRET", OLD)], [("HENCE_ACCESS_FILE", &*access)]] {
        assert_eq!(crash(&settings), (false, 0), "{settings:?}");
    }
    let authority = Throwaway::new(folder.join("tls")).expect("the folder is ours");
    let settings = certified(&authority, 0, &name_of(0));
    https::speak(&authority.authority());
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(crash(&settings), (false, 0), "{settings:?}");
    https::stop();
}
