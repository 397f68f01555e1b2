//! The files that the commands write: what they are stays as it is, and nothing is left behind.

use crate::client::{Terminal, json, terminal};
use crate::cluster::{Cluster, HENCE, signal};
use hence_tests::replicas::Replicas;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);

fn mode(at: &Terminal, name: &str) -> u32 {
    fs::metadata(at.folder.join(name)).expect("it is there").permissions().mode() & 0o7777
}

/// A file of ours with this mode.
fn file(at: &Terminal, name: &str, text: &str, mode: u32) {
    fs::write(at.folder.join(name), text).expect("a file of ours");
    fs::set_permissions(at.folder.join(name), Permissions::from_mode(mode)).expect("a file of ours");
}

fn link(at: &Terminal, to: &str, name: &str) {
    symlink(to, at.folder.join(name)).expect("a folder of ours");
}

fn is_link(at: &Terminal, name: &str) -> bool {
    fs::symlink_metadata(at.folder.join(name)).is_ok_and(|found| found.is_symlink())
}

fn text(at: &Terminal, name: &str) -> String {
    fs::read_to_string(at.folder.join(name)).expect("it is there")
}

fn names(at: &Terminal) -> Vec<String> {
    let entries = fs::read_dir(&at.folder).expect("a folder of ours").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn fifo(at: &Terminal, name: &str) {
    let made = Command::new("mkfifo").arg(at.folder.join(name)).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
}

/// An export writes into what its name leads to.
pub(crate) fn exports() {
    let cluster = Cluster::running("client_export_files", 3);
    let mut at = terminal(&cluster, "client_export_files_files");
    at.endpoints = cluster.address(0);
    at.prints(&["put", "k", "1"]);
    let whole = at.prints(&["export"]);
    file(&at, "real", "old", 0o640);
    link(&at, "real", "link");
    at.prints(&["export", "-o", "link"]);
    assert_eq!((text(&at, "real"), mode(&at, "real"), is_link(&at, "link")), (whole.clone(), 0o640, true));
    link(&at, "made", "dangling");
    at.prints(&["export", "-o", "dangling"]);
    assert_eq!((text(&at, "made"), is_link(&at, "dangling")), (whole.clone(), true));
    link(&at, "loop", "loop");
    at.fails(&["export", "-o", "loop"], 1, "cannot be written");

    fifo(&at, "fifo");
    let path = at.folder.join("fifo");
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        said.send(read.map(|_| text)).expect("the test waits");
    });
    at.prints(&["export", "-o", "fifo"]);
    assert_eq!(heard.recv_timeout(LIMIT).expect("it ends").expect("it is read"), whole);
    assert!(fs::metadata(at.folder.join("fifo")).expect("it is there").file_type().is_fifo());

    // Only links to devices: what replaces them spoils nothing but the test.
    link(&at, "/dev/null", "null");
    at.prints(&["export", "-o", "null"]);
    link(&at, "/dev/full", "full");
    at.fails(&["export", "-o", "full"], 1, "cannot be written");
    assert!(is_link(&at, "null") && is_link(&at, "full"));
    fs::create_dir(at.folder.join("folder")).expect("a folder of ours");
    at.fails(&["export", "-o", "folder"], 1, "cannot be written");

    // A file that may not grow so far.
    assert_eq!(at.run_with(&["put", "k", "--text"], &"v".repeat(4_096)).0, 0);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" export -o link", HENCE]).current_dir(&at.folder);
    limited.env_clear().env("HENCE_ENDPOINTS", &at.endpoints).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = crate::client::ended(&mut limited, b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be written"), "{output:?}");
    assert_eq!((output.status.code(), text(&at, "real")), (Some(1), whole));
    let left = ["dangling", "fifo", "folder", "full", "link", "loop", "made", "null", "real"];
    assert_eq!(names(&at), left);
}

/// An export that is ended leaves the file as it was, and no other.
pub(crate) fn interrupted_exports() {
    let cluster = Cluster::running("client_interrupted_exports", 3);
    let mut at = terminal(&cluster, "client_interrupted_exports_files");
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    at.endpoints = silent.local_addr().expect("it listens").to_string();
    file(&at, "out", "old", 0o644);
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let mut command = at.command(&["export", "-o", "out", "--timeout", "30s", "--session", "s"]);
        let mut child = command.stdin(Stdio::null()).spawn().expect("the binary was built");
        let start = Instant::now();
        while !at.folder.join("out.new").exists() {
            assert!(start.elapsed() < LIMIT, "it does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(100));
        signal(child.id(), name);
        let status = child.wait().expect("it is our child");
        assert_eq!(status.code(), Some(code), "{status:?}");
        assert_eq!((text(&at, "out").as_str(), names(&at).contains(&"out.new".into())), ("old", false));
    }
}

/// A session stays where its name leads, with its mode.
pub(crate) fn sessions() {
    let cluster = Cluster::running("client_session_files", 3);
    let mut at = terminal(&cluster, "client_session_files_files");
    at.endpoints = cluster.address(0);
    file(&at, "real", "", 0o600);
    link(&at, "real", "link");
    for round in 1..=2 {
        at.prints(&["put", &format!("k{round}"), "1", "--session", "link"]);
        assert_eq!((text(&at, "real").lines().count(), mode(&at, "real"), is_link(&at, "link")), (1, 0o600, true));
    }
    link(&at, "/dev/null", "null");
    assert_eq!(at.prints(&["get", "k1", "--session", "null"]), "1\n");
    assert!(is_link(&at, "null"));
    link(&at, "/dev/zero", "zero");
    at.fails(&["get", "k1", "--session", "zero"], 2, "is no session");
    fs::create_dir(at.folder.join("folder")).expect("a folder of ours");
    at.fails(&["get", "k1", "--session", "folder"], 1, "cannot be read");
    file(&at, "words", "two words", 0o644);
    at.fails(&["get", "k1", "--session", "words"], 2, "is no session");
    let left: Vec<String> = names(&at).into_iter().filter(|name| name != "real.lock").collect();
    assert_eq!(left, ["folder", "link", "null", "real", "words", "zero"]);
}

/// A note is a regular file, and a token is short.
pub(crate) fn endless() {
    let cluster = Cluster::running("client_endless_files", 3);
    let at = terminal(&cluster, "client_endless_files_files");
    file(&at, "all", "{\"key\":\"k\",\"value\":1}\n", 0o644);
    link(&at, "/dev/full", "full");
    link(&at, "/dev/zero", "zero");
    fs::create_dir(at.folder.join("folder")).expect("a folder of ours");
    fifo(&at, "fifo");
    // A process that reads without end is ended by its limit, and not the machine.
    let fails = |arguments: &[&str], says: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\"", HENCE]).args(arguments).current_dir(&at.folder);
        command.env_clear().env("HENCE_ENDPOINTS", &at.endpoints).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = crate::client::ended(&mut command, b"");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains(says), "{arguments:?}: {output:?}");
    };
    for note in ["full", "zero", "folder", "fifo"] {
        fails(&["import", "--resume", note, "all"], "no note of an import");
    }
    fails(&["get", "k", "--token-file", "zero"], "has more than");
    let told = json(&at.prints(&["import", "all", "--resume", "note", "--json"]));
    assert_eq!(told["written"], 1);
}
