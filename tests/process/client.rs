//! The commands that ask replicas, and the crate behind them, against real processes.

use crate::cluster::{Cluster, HENCE};
use hence_client::{Client, Concern};
use hence_tests::replicas::Replicas;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// Runs the binary with this standard input, and waits for its end.
pub(crate) fn ended(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary was built");
    let (stdout, stderr) = (taken(child.stdout.take()), taken(child.stderr.take()));
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().expect("it is piped").write_all(input);
    let start = Instant::now();
    while child.try_wait().expect("it is our child").is_none() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let status = child.wait().expect("it is our child");
    let read = |taken: JoinHandle<Vec<u8>>| taken.join().expect("it reads to the end");
    Output { status, stdout: read(stdout), stderr: read(stderr) }
}

/// Reads what a command prints while it runs: a full pipe would hold it up.
fn taken(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that is not there prints nothing.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target directory is ours");
    folder
}

/// A folder for session files, and the endpoints that its commands ask.
pub(crate) struct Terminal {
    pub(crate) folder: PathBuf,
    pub(crate) endpoints: String,
}

impl Terminal {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(HENCE);
        command.args(arguments).env_clear().env("HENCE_ENDPOINTS", &self.endpoints).current_dir(&self.folder);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The exit code, standard output and standard error.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let output = ended(&mut self.command(arguments), input.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} goes on and on"));
        (code, text(&output.stdout), text(&output.stderr))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, "")
    }

    /// What a command prints that must end with 0.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        out
    }

    /// A command that must end with this code and say this.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, says: &str) {
        let (ended, out, err) = self.run(arguments);
        assert_eq!(ended, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(says), "{arguments:?}: no {says:?} in {err}");
        assert_eq!(out, "", "{arguments:?}");
    }
}

pub(crate) fn terminal(cluster: &Cluster, name: &str) -> Terminal {
    let endpoints: Vec<String> = (0..3).map(|at| cluster.address(at)).collect();
    Terminal { folder: folder(name), endpoints: endpoints.join(",") }
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every command, and every exit code that a healthy cluster can cause.
pub(crate) fn commands() {
    let cluster = Cluster::running("client_commands", 3);
    let at = terminal(&cluster, "client_commands_files");
    assert_eq!(at.prints(&["put", "k", "[1.50, \"a\"]"]), "created\n");
    assert_eq!(at.prints(&["get", "k"]), "[1.50, \"a\"]\n", "to the byte");
    assert_eq!(at.run_with(&["put", "k"], " {\"from\": \"input\"}\n").1, "replaced\n");
    assert_eq!(at.prints(&["get", "k"]), "{\"from\": \"input\"}\n");
    assert_eq!(at.prints(&["put", "a/b ?#.", "--text", "\"quoted\" - and more"]), "created\n");
    assert_eq!(at.prints(&["get", "a/b ?#."]), "\"\\\"quoted\\\" - and more\"\n");
    assert_eq!(at.prints(&["put", "n", "-1"]), "created\n");
    at.fails(&["get", "absent"], 3, "Key does not exist");
    assert_eq!(at.prints(&["del", "n"]), "deleted\n");
    assert_eq!(at.prints(&["del", "n"]), "absent\n");

    let read = json(&at.prints(&["get", "k", "--json"]));
    let tag = read["etag"].as_str().expect("a tag");
    assert_eq!((&read["result"], &read["value"]["from"]), (&Value::from("found"), &Value::from("input")));
    assert_eq!(at.prints(&["put", "k", "2", "--if-match", tag]), "replaced\n");
    at.fails(&["put", "k", "3", "--if-match", tag], 4, "precondition");
    at.fails(&["put", "k", "3", "--if-absent"], 4, "precondition");
    at.fails(&["del", "k", "--if-match", tag], 4, "precondition");
    assert_eq!(at.prints(&["put", "k", "4", "--write-concern", "all"]), "replaced, replicas: 3\n");
    at.fails(&["put", "k", "4", "--write-concern", "4"], 1, "HTTP 400");
    let (code, out, err) = at.run(&["put", "k", "5", "--write-concern", "all", "--wait", "0", "--json"]);
    let holders = json(&out)["replicas"].as_u64().expect("a number");
    assert!(
        (code == 6 && holders < 3 && err.contains("the write is done")) || (code == 0 && holders == 3),
        "{out}{err}"
    );

    let operations = r#"[{"op":"get","key":"k"},{"op":"put","key":"b","value":1.0},{"op":"delete","key":"n"}]"#;
    let (code, out, err) = at.run_with(&["batch"], operations);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "found 5\ncreated\nabsent\n", ""));
    let (code, out, _) = at.run_with(&["batch", "--write-concern", "all"], operations);
    assert_eq!((code, out.as_str()), (0, "found 5\nreplaced\nabsent\nreplicas: 3\n"));
    assert_eq!(at.run_with(&["batch", "--write-concern", "4"], operations).0, 1);
    fs::write(at.folder.join("reads"), r#"[{"op":"get","key":"b"}]"#).expect("a file of ours");
    assert!(at.prints(&["batch", "reads", "--json"]).contains("\"value\":1.0"), "to the byte");
    assert_eq!(at.prints(&["batch", "reads", "--write-concern", "4"]), "found 1.0\n", "it only reads");
    fs::write(at.folder.join("tests"), r#"[{"op":"get","key":"b"},{"op":"get","key":"b","if-none-match":"*"}]"#)
        .expect("a file of ours");
    at.fails(&["batch", "tests"], 4, "operation 1");

    let members: Vec<String> = (0..3).map(|one| cluster.address(one)).collect();
    assert_eq!(at.prints(&["view"]), members.join("\n") + "\n");
    at.fails(&["view", "remove", "127.0.0.9:8090"], 3, "View has no such replica");
    assert_eq!(at.prints(&["view", "add", &members[0]]), "already present\n");
    let status = at.prints(&["status"]);
    assert_eq!(
        status.lines().filter(|line| line.contains("ready  incarnation") && line.contains("links 2/2")).count(),
        3
    );
    let all = json(&at.prints(&["status", "--json"]));
    assert!(all[2]["status"] == "ready" && all[2]["state"]["keys"].is_u64(), "{all}");
}

/// What is no value, no key, no endpoint and no session, and outputs that are not taken.
pub(crate) fn garbage() {
    let cluster = Cluster::running("client_garbage", 3);
    let at = terminal(&cluster, "client_garbage_files");
    let before = cluster.state(0);
    at.fails(&["put", "k", "{"], 2, "the value is no JSON");
    at.fails(&["put", "k", "1 2"], 2, "--text");
    at.fails(&["put", "k", "null"], 1, "does not specify a value");
    at.fails(&["get", &"k".repeat(51)], 1, "Key is too long");
    for command in ["get", "del", "watch"] {
        at.fails(&[command, ""], 2, "a value is required");
    }
    at.fails(&["put", "k", "1", "--if-match", ""], 2, "\"\" is no entity tag");
    at.fails(
        &["view", "add", "10.0.0.9:80", "--endpoints", "127.0.0.1:1", "--timeout", "200ms"],
        1,
        "no replica served",
    );
    at.fails(&["put", "k", "1", "--write-concern", "most"], 2, "majority");
    at.fails(&["put", "k", "1", "--if-match", "x"], 2, "entity tag");
    at.fails(&["put", "k", "1", "--wait", "31"], 2, "31");
    at.fails(&["get", "k", "--timeout", "5"], 2, "unit");
    at.fails(&["get", "k", "--endpoints", "ftp://a"], 2, "ftp://a");
    at.fails(&["get", "k", "--endpoints", ","], 2, "endpoint");
    at.fails(&["get", "k", "--endpoints", "https://127.0.0.2:8090"], 2, "authority");
    at.fails(&["get", "k", "--ca", "nothing"], 2, "nothing");
    at.fails(&["get", "k", "--token-file", "nothing"], 2, "nothing");
    at.fails(&["batch", "nothing"], 2, "nothing");
    for text in
        ["", "{}", "[1]", r#"[{"op":"cut","key":"k"}]"#, r#"[{"op":"get"}]"#, r#"[{"op":"get","key":"k","ttl":1}]"#]
    {
        let (code, out, err) = at.run_with(&["batch"], text);
        assert_eq!((code, out.as_str()), (2, ""), "{text}: {err}");
        assert!(err.contains("no JSON list of operations"), "{text}: {err}");
    }
    assert_eq!(at.run_with(&["batch"], "[]").0, 1, "a replica refuses it");
    let mut put = at.command(&["put", "k"]);
    assert_eq!(ended(&mut put, b"\"\xff\"").status.code(), Some(2), "a value that is no text");

    for (file, text) in [("words", "two words"), ("bytes", "\u{e4}"), ("large", &"x".repeat(2 << 20))] {
        fs::write(at.folder.join(file), text).expect("a file of ours");
        at.fails(&["put", "k", "1", "--session", file], 2, "is no session");
    }
    // The token of another cluster of this name: one character of it is changed first.
    fs::write(at.folder.join("damaged"), "AVLZhzkBAAABJryZpKkBmswzVx\n").expect("a file of ours");
    at.fails(&["put", "k", "1", "--session", "damaged"], 1, "HTTP 400");
    fs::write(at.folder.join("lost"), "AVLZhzkBAAABJryZpKkBmswzVw\n").expect("a file of ours");
    at.fails(&["put", "k", "1", "--session", "lost"], 7, "--accept-loss goes on");
    at.fails(&["put", "k", "1", "--session", "no/such/folder"], 1, "cannot be locked");
    assert_eq!(cluster.state(0), before, "nothing was done");
    assert_eq!(at.prints(&["put", "k", "1", "--session", "lost", "--accept-loss"]), "created\n");
    assert_eq!(at.prints(&["get", "k", "--session", "lost"]), "1\n");

    let full = || Stdio::from(File::options().write(true).open("/dev/full").expect("it is there"));
    let (reader, writer) = std::io::pipe().expect("two descriptors");
    drop(reader);
    let put = ended(at.command(&["put", "closed", "1"]).stdout(writer), b"");
    assert_eq!((put.status.code(), put.stderr.as_slice()), (Some(0), &b""[..]));
    let get = ended(at.command(&["get", "closed", "--session", "s"]).stdout(full()), b"");
    assert_eq!(get.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&get.stderr).contains("cannot write to standard output"), "{get:?}");
    assert!(fs::read_to_string(at.folder.join("s")).is_ok_and(|text| text.len() > 10), "the session is kept");
    let put = ended(at.command(&["put", "closed", "1"]).stdout(full()).stderr(full()), b"");
    assert_eq!(put.status.code(), Some(1));
}

/// Answers every connection with these bytes; with none, it ends it when the request is there.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(bytes);
        }
    });
    address
}

/// Endpoints that nothing serves, and answers that are lost.
pub(crate) fn unreachable() {
    let mut cluster = Cluster::running("client_unreachable", 3);
    let mut at = terminal(&cluster, "client_unreachable_files");
    cluster.kill(0);
    assert_eq!(at.prints(&["put", "k", "1", "--session", "s"]), "created\n", "the next one takes it");
    assert_eq!(at.prints(&["get", "k", "--session", "s"]), "1\n");
    let (code, out, _) = at.run(&["status"]);
    assert_eq!((code, out.lines().filter(|line| line.contains("unreachable")).count()), (1, 1), "{out}");

    for bytes in [&b""[..], b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno", b"SSH-2.0-OpenSSH_9\r\n"] {
        at.endpoints = format!("{},{}", answering(bytes), cluster.address(1));
        assert_eq!(at.prints(&["get", "k", "--session", "s"]), "1\n", "reads go on");
        for write in [&["put", "k", "2"][..], &["del", "k"], &["view", "add", "127.0.0.3:8090"]] {
            at.fails(write, 5, "it is not known whether the write was done");
        }
        assert_eq!(at.run_with(&["batch"], r#"[{"op":"delete","key":"k"}]"#).0, 5);
    }
    assert_eq!(at.prints(&["put", "k", "3", "--retry-unknown"]), "replaced\n");
    at.endpoints = "127.0.0.1:1".into();
    for arguments in [&["get", "k"][..], &["put", "k", "1"], &["view"]] {
        at.fails(
            &[arguments, &["--timeout", "300ms"]].concat(),
            1,
            "no replica served the request in time; 127.0.0.1:1",
        );
    }
}

/// A session lives in a file: what it saw it never misses, and commands at a time lose nothing of each other's.
pub(crate) fn sessions() {
    let cluster = Cluster::running("client_sessions", 3);
    let at = terminal(&cluster, "client_sessions_files");
    let endpoint = |one: usize| cluster.address(one);
    at.prints(&["put", "k", "1", "--session", "me", "--endpoints", &endpoint(0)]);
    assert_eq!(at.prints(&["get", "k", "--session", "me", "--endpoints", &endpoint(1)]), "1\n");
    let kept = fs::read_to_string(at.folder.join("me")).expect("it is kept");
    assert_eq!(kept.lines().count(), 1, "{kept}");

    let started: Vec<Child> = (0..12)
        .map(|number| {
            let (key, to) = (format!("p{number}"), endpoint(number % 3));
            let mut command = at.command(&["put", &key, "1", "--json", "--session", "me", "--endpoints", &to]);
            command.stdin(Stdio::null()).spawn().expect("the binary was built")
        })
        .collect();
    let written: Vec<String> = started
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{output:?}");
            let answer = json(&String::from_utf8_lossy(&output.stdout));
            answer["causal-metadata"].as_str().expect("a token").to_owned()
        })
        .collect();
    let kept = fs::read_to_string(at.folder.join("me")).expect("it is kept").trim().replace('\n', ", ");
    // What a replica makes of several tokens. An absent key adds nothing to them.
    let joined = |tokens: &str| {
        let headers = [("causal-metadata", tokens), ("prefer", "wait=5")];
        let answer = hence_tests::client::request(&endpoint(2), "GET", "/kvs/absent", &headers, None);
        assert_eq!(answer.status, 404, "{answer:?}");
        answer.token()
    };
    let all = joined(&kept);
    for token in &written {
        assert_eq!(joined(&format!("{kept}, {token}")), all, "the file covers every write");
    }
    let left: Vec<_> =
        fs::read_dir(&at.folder).expect("a folder of ours").flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name == "me" || name == "me.lock"), "{left:?}");
}

/// A session of the crate goes on when its replica is killed, and never goes back.
pub(crate) fn survives() {
    let mut cluster = Cluster::running("client_survives", 3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = Client::new((0..3).map(|at| cluster.address(at))).expect("endpoints");
    runtime.block_on(async {
        let session = client.session();
        session.put("k", 0).concern(Concern::All).await.expect("a write");
        for round in 1..=6_u32 {
            // A session stays where it was served: that one dies.
            let victim = (round as usize - 1) % 3;
            cluster.kill(victim);
            let found = session.get("k").await.expect("another replica answers").expect("a value");
            assert_eq!(found.read::<u32>().expect("a number"), round - 1);
            let written = session.put("k", round).concern(Concern::Majority).await.expect("another replica writes");
            assert!(written.spread.is_some_and(|spread| spread.reached), "{written:?}");
            cluster.start(victim);
            cluster.await_settled(&[0, 1, 2], Duration::from_secs(20));
        }
        assert_eq!(session.token().split(", ").count(), 1);
    });
}

/// The commands of the README, word for word, beside `hence up`.
pub(crate) fn readme() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README");
    let section = text.split("## From the command line\n").nth(1).expect("a section");
    let block = section.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let mut up = Command::new(HENCE);
    up.arg("up").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut up = up.spawn().expect("the binary was built");
    let mut said = BufReader::new(up.stdout.take().expect("it is piped")).lines();
    assert!(said.any(|line| line.expect("text").contains("quit")), "it says how to end it");
    let at = Terminal { folder: folder("client_readme"), endpoints: String::new() };
    let linked = || at.command(&["status"]).env_remove("HENCE_ENDPOINTS").output().expect("the binary was built");
    let start = Instant::now();
    while String::from_utf8_lossy(&linked().stdout).matches("links 2/2").count() < 3 {
        assert!(start.elapsed() < LIMIT, "{:?}", linked());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut count = 0;
    for part in block.split("$ ").skip(1) {
        let (line, expected) = part.split_once('\n').expect("a line");
        let mut shell = Command::new("sh");
        let path = PathBuf::from(HENCE).parent().expect("a folder").display().to_string();
        shell.args(["-c", &format!("{line} 2>&1")]).env_clear().env("PATH", format!("{path}:/usr/bin:/bin"));
        let output = shell.current_dir(&at.folder).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
        count += 1;
    }
    assert!(count > 5, "only {count} commands");
    writeln!(up.stdin.take().expect("it is piped"), "quit").expect("it reads its terminal");
    assert!(up.wait().expect("it is our child").success());
}

/// Within TLS, and with a bearer token.
pub(crate) fn trusted() {
    let mut up = Command::new(HENCE);
    up.args(["up", "2", "--tls", "--port", "9100"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut up = up.spawn().expect("the binary was built");
    let mut said = BufReader::new(up.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let line = said.find(|line| line.contains("--cacert ")).expect("it says how to ask");
    let ca = line.split("--cacert ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a path").to_owned();
    let at = Terminal {
        folder: folder("client_trusted"),
        endpoints: "https://127.0.0.1:9100,https://127.0.0.1:9101".into(),
    };
    assert_eq!(at.prints(&["put", "k", "1", "--ca", &ca, "--write-concern", "2"]), "created, replicas: 2\n");
    assert_eq!(at.prints(&["get", "k", "--ca", &ca]), "1\n");
    assert_eq!(at.run(&["get", "k"]).0, 2, "https needs an authority");
    let plain = ["get", "k", "--endpoints", "127.0.0.1:9100", "--timeout", "500ms"];
    assert_eq!(at.run(&plain).0, 1, "the replica speaks TLS only");
    writeln!(up.stdin.take().expect("it is piped"), "quit").expect("it reads its terminal");
    assert!(up.wait().expect("it is our child").success());

    // The SHA-256 of "write".
    let hash = "10fd874b68dad080ed706762c8e163dabb20514bddae38fb159c56f714a3b143";
    let access = at.folder.join("access");
    fs::write(&access, format!("write {hash}\n")).expect("a file of ours");
    fs::write(at.folder.join("token"), "write\n").expect("a file of ours");
    let mut cluster = Cluster::new("client_bearer", 1).setting("HENCE_ACCESS_FILE", &access.display().to_string());
    cluster.start(0);
    let endpoint = cluster.address(0);
    assert_eq!(at.prints(&["put", "k", "1", "--token-file", "token", "--endpoints", &endpoint]), "created\n");
    at.fails(&["put", "k", "1", "--endpoints", &endpoint], 1, "HTTP 401");
    at.fails(&["get", "k", "--token-file", "token", "--endpoints", &endpoint], 1, "HTTP 403");
}
