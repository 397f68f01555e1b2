//! `hence health` without arguments asks the replica that runs beside it, however that was started.

use crate::cluster::{HENCE, signal};
use hence_tests::client;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);

/// A process that ends with the test.
struct Replica(Child);

impl Replica {
    /// Started with these words, and what it is started by where that is not this process; waits until it serves there.
    fn start(by: &[&str], words: &[&str], environment: &[(&str, &str)], serves_at: &str) -> Self {
        let mut all = by.iter().chain([&HENCE]).chain(words);
        let mut command = Command::new(all.next().expect("at least the binary"));
        command.args(all).env_clear().envs(environment.iter().copied());
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let replica = Self(quiet.spawn().expect("the binary was built"));
        let start = Instant::now();
        while client::try_get(serves_at, "nothing", None).is_err() {
            assert!(start.elapsed() < LIMIT, "{words:?} does not serve at {serves_at}");
            std::thread::sleep(Duration::from_millis(10));
        }
        replica
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn health(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(HENCE);
    command.arg("health").args(arguments).env_clear().envs(environment.iter().copied());
    command.stdin(Stdio::null()).output().expect("the binary was built")
}

/// Its exit code is this, and it says all of this.
fn expect(output: &Output, code: i32, says: &[&str]) {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    says.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
}

/// Words, environment, where it serves, and what the command says that it asked.
type Way = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str, &'static str);

/// One replica after the other, each started in another way; and then several.
pub(crate) fn finds_its_process() {
    expect(&health(&[], &[]), 2, &["no replica runs beside this command", "hence health 127.0.0.1:8090"]);
    let ways: [Way; 9] = [
        (&["serve"], &[("SOCKET_ADDRESS", "127.0.0.2:8090")], "127.0.0.2:8090", "127.0.0.2:8090 is healthy"),
        (&["serve", "--socket-address", "127.0.0.3:8091"], &[], "127.0.0.3:8091", "127.0.0.3:8091 is healthy"),
        (
            &["serve", "--socket-address=127.0.0.3:8091", "--bind", "127.0.0.4:9000"],
            &[],
            "127.0.0.4:9000",
            "127.0.0.4:9000 is",
        ),
        (
            &["serve", "--bind=0.0.0.0:9001"],
            &[("SOCKET_ADDRESS", "10.9.8.7:8090")],
            "127.0.0.1:9001",
            "127.0.0.1:9001 is",
        ),
        (
            &["serve"],
            &[("SOCKET_ADDRESS", "10.9.8.7:1"), ("HENCE_BIND", "[::]:9002")],
            "127.0.0.1:9002",
            "[::1]:9002 is",
        ),
        (&["serve", "--socket-address", "alice.test:8090"], &[], "127.0.0.1:8090", ":8090 is healthy"),
        (&["serve", "--socket-address", "[::1]:8090"], &[], "[::1]:8090", "[::1]:8090 is healthy"),
        (
            &["serve", "--socket-address", "127.0.0.2:8090", "--log", "off"],
            &[("SOCKET_ADDRESS", "127.0.0.9:1")],
            "127.0.0.2:8090",
            "127.0.0.2:8090 is healthy",
        ),
        (&["up", "2", "--port", "9100"], &[], "127.0.0.1:9101", "127.0.0.1:9100 is healthy\n127.0.0.1:9101 is healthy"),
    ];
    for (words, environment, serves_at, says) in ways {
        let replica = Replica::start(&[], words, environment, serves_at);
        expect(&health(&[], &[]), 0, &[says]);
        // As in the container of the image, and with what names another one.
        expect(&health(&[], environment), 0, &[says]);
        expect(&health(&[], &[("SOCKET_ADDRESS", "127.0.0.9:1")]), 0, &[says]);
        signal(replica.0.id(), "STOP");
        expect(&health(&[], environment), 1, &["does not answer"]);
        signal(replica.0.id(), "CONT");
    }
    several();
}

fn several() {
    let one = Replica::start(&[], &["serve", "--socket-address", "127.0.0.2:8090"], &[], "127.0.0.2:8090");
    // In another container, as far as this one can see its processes.
    let hidden = ["unshare", "--mount"];
    let _other = Replica::start(&hidden, &["serve", "--socket-address", "127.0.0.3:8090"], &[], "127.0.0.3:8090");
    expect(&health(&[], &[]), 0, &["127.0.0.2:8090 is healthy"]);
    let two = Replica::start(&[], &["serve", "--socket-address", "127.0.0.4:8090"], &[], "127.0.0.4:8090");
    let listed =
        [format!("process {} at 127.0.0.2:8090", one.0.id()), format!("process {} at 127.0.0.4:8090", two.0.id())];
    expect(&health(&[], &[]), 2, &["several replicas run here", &listed[0], &listed[1], "hence health"]);
    expect(&health(&[], &[("SOCKET_ADDRESS", "127.0.0.4:8090")]), 0, &["127.0.0.4:8090 is healthy"]);
    expect(
        &health(&["http://127.0.0.3:8090/"], &[("SOCKET_ADDRESS", "127.0.0.9:1")]),
        0,
        &["127.0.0.3:8090 is healthy"],
    );
    expect(&health(&["127.0.0.9:1"], &[("SOCKET_ADDRESS", "127.0.0.4:8090")]), 1, &["127.0.0.9:1 does not answer"]);
    // One that is about to end listens no more.
    drop(one);
    expect(&health(&[], &[]), 0, &["127.0.0.4:8090 is healthy"]);
}
