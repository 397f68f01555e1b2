//! Standard output and standard error that nothing reads, that are closed, or that are full. The log loses lines, the
//! replica loses nothing, and no command panics.

use crate::cluster::{HENCE, signal};
use hence_core::{ClusterTag, Incarnation, Token, VersionVector};
use hence_tests::client::{self, Connection, request_bytes};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const ADDRESS: &str = "127.0.0.2:8090";
const LIMIT: Duration = Duration::from_secs(10);

/// What an output leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    /// A pipe whose reader does nothing.
    Unread,
    /// A pipe without a reader.
    Closed,
    /// A disk without room.
    Full,
    /// A file that may not grow beyond 512 bytes.
    Limited,
}

const SINKS: [Sink; 4] = [Sink::Unread, Sink::Closed, Sink::Full, Sink::Limited];

impl Sink {
    /// The output, and what keeps the pipe open.
    fn open(self, name: &str) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::Unread | Self::Closed => {
                let (reader, writer) = std::io::pipe().expect("two descriptors");
                (writer.into(), (self == Self::Unread).then_some(reader))
            }
            Self::Full => (File::options().write(true).open("/dev/full").expect("it is there").into(), None),
            Self::Limited => (File::create(temporary(name)).expect("the target directory is ours").into(), None),
        }
    }
}

fn temporary(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("process");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    folder.join(name)
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(sink: Sink, arguments: &[&str], environment: &[(&str, &str)], stdin: Stdio) -> (Self, Vec<PipeReader>) {
        let (stdout, kept_out) = sink.open("limited.out");
        let (stderr, kept_err) = sink.open("limited.err");
        // Blocks of 512 or 1,024 bytes, as the shell has it.
        let limit = if sink == Sink::Limited { "ulimit -f 1; " } else { "" };
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limit}exec \"$0\" \"$@\"")).arg(HENCE).args(arguments);
        command.env_clear().envs(environment.iter().copied());
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("a shell");
        (Self(child), kept_out.into_iter().chain(kept_err).collect())
    }

    fn ended(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("it is our child") {
                return status;
            }
            assert!(start.elapsed() < limit, "it has not ended after {limit:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn terminate(&mut self) -> ExitStatus {
        signal(self.0.id(), "TERM");
        self.ended(LIMIT)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn await_served(address: &str) {
    let start = Instant::now();
    while !client::try_get(address, "nothing", None).is_ok_and(|answer| answer.status == 404) {
        assert!(start.elapsed() < LIMIT, "{address} does not serve");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lost(reason: &str) -> u64 {
    let page = client::request(ADDRESS, "GET", "/metrics", &[], None);
    let name = format!("hence_log_lines_lost_total{{reason=\"{reason}\"}} ");
    let value = page.text().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}

/// Writes so often; at `trace` each is a line. Says how long the longest took.
fn write(times: usize) -> Duration {
    let mut connection = Connection::open(ADDRESS).expect("the replica accepts connections");
    let request = request_bytes("PUT", "/kvs/k", &[], Some("{\"value\":1}"));
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let start = Instant::now();
        let answer = connection.send(&request).receive(false).expect("a write at the only replica");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        longest = longest.max(start.elapsed());
    }
    longest
}

/// `hence serve`, with every kind of log that is not taken.
pub(crate) fn serve() {
    for format in ["text", "json"] {
        for sink in SINKS {
            let environment = [
                ("SOCKET_ADDRESS", ADDRESS),
                ("HENCE_LOG", "hence_server=trace,info"),
                ("HENCE_LOG_FORMAT", format),
                ("RUST_BACKTRACE", "1"),
            ];
            let (mut replica, pipes) = Process::start(sink, &["serve"], &environment, Stdio::null());
            await_served(ADDRESS);
            let longest = write(3_000);
            let reason = if sink == Sink::Unread { "slow" } else { "failed" };
            // A million bytes wait for their reader before any is dropped.
            while sink == Sink::Unread && lost(reason) == 0 {
                write(1_000);
            }
            let lines = lost(reason);
            assert!(lines > 0, "{sink:?}, {format}: no line is lost");
            println!("note: {sink:?}, {format}: {lines} lines lost, the longest write took {longest:?}");
            for pipe in pipes {
                if sink == Sink::Unread {
                    told_when_read_again(pipe, format);
                }
            }
            assert_eq!(replica.terminate().code(), Some(0), "{sink:?}, {format}");
        }
    }
}

/// Reads what is there and goes on reading: a line says how many are missing. Standard output has none.
fn told_when_read_again(pipe: PipeReader, format: &str) {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    let mut any = false;
    loop {
        write(1);
        for line in lines.try_iter() {
            any = true;
            if format == "json" {
                assert!(serde_json::from_str::<Value>(&line).is_ok_and(|line| line.is_object()), "{line}");
            }
            if line.contains("were dropped, because it was not read fast enough") {
                assert!(line.contains("lines"), "{line}");
                return;
            }
        }
        if !any && start.elapsed() > Duration::from_secs(1) {
            return; // standard output
        }
        assert!(start.elapsed() < LIMIT, "no line says how many are missing");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `hence up`, whose terminal writes to standard output.
pub(crate) fn up() {
    for sink in SINKS {
        let (mut cluster, _pipes) = Process::start(sink, &["up", "1", "--port", "8095"], &[], Stdio::piped());
        await_served("127.0.0.1:8095");
        let mut orders = cluster.0.stdin.take().expect("it is piped");
        orders.write_all("help\n".repeat(5_000).as_bytes()).expect("they are read");
        assert_eq!(client::request("127.0.0.1:8095", "GET", "/health", &[], None).status, 200, "{sink:?}");
        if sink == Sink::Closed {
            assert_eq!(cluster.terminate().code(), Some(0), "{sink:?}");
        } else {
            orders.write_all(b"quit\n").expect("they are read");
            assert_eq!(cluster.ended(LIMIT).code(), Some(0), "{sink:?}");
        }
    }
}

/// Commands that say something and end.
pub(crate) fn commands() {
    let (mut replica, _pipes) = Process::start(Sink::Closed, &["serve"], &[("SOCKET_ADDRESS", ADDRESS)], Stdio::null());
    await_served(ADDRESS);
    let _taken = std::net::TcpListener::bind("127.0.0.2:8091").expect("the namespace is ours");
    // Arguments, variable, and the exit code where what is said is lost with its reader, or for want of room.
    let cases: [(&[&str], &str, i32, i32); 9] = [
        (&["--help"], "", 0, 1),
        (&["--version"], "", 0, 1),
        (&["serve", "--help"], "", 0, 1),
        (&["up", "--help"], "", 0, 1),
        (&[], "", 2, 2),
        (&["dance"], "", 2, 2),
        (&["serve"], "127.0.0.2:8091", 1, 1),
        (&["health", ADDRESS], "", 0, 0),
        (&["health", "127.0.0.2:8092"], "", 1, 1),
    ];
    for (arguments, address, closed, full) in cases {
        for (sink, code) in [(Sink::Closed, closed), (Sink::Full, full)] {
            let environment = [("SOCKET_ADDRESS", address)];
            let environment = if address.is_empty() { &[][..] } else { &environment };
            let (mut command, _pipes) = Process::start(sink, arguments, environment, Stdio::null());
            assert_eq!(command.ended(LIMIT).code(), Some(code), "{arguments:?}, {sink:?}");
        }
    }
    refused_with_a_full_pipe();
    assert_eq!(replica.terminate().code(), Some(0));
}

/// A complaint that is not read keeps no process from ending.
fn refused_with_a_full_pipe() {
    let (reader, mut writer) = std::io::pipe().expect("two descriptors");
    let mut filler = writer.try_clone().expect("a descriptor");
    let filling = std::thread::spawn(move || filler.write_all(&[b'x'; 1 << 20]));
    std::thread::sleep(Duration::from_millis(200));
    let mut command = Command::new(HENCE);
    command.args(["serve", "--socket-address", "127.0.0.2:8091"]).env_clear().stdin(Stdio::null());
    let stderr = writer.try_clone().expect("a descriptor");
    let mut process = Process(command.stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary was built"));
    assert_eq!(process.ended(LIMIT).code(), Some(1));
    drop(reader);
    assert!(filling.join().expect("it only writes").is_err() && writer.write_all(b"x").is_err());
}

/// Lines that clients cause at the default level: a few, and how many more there were.
pub(crate) fn caused_by_clients() {
    let path = temporary("caused.log");
    let log = File::create(&path).expect("the target directory is ours");
    let mut command = Command::new(HENCE);
    command.arg("serve").env_clear().env("SOCKET_ADDRESS", ADDRESS).stdin(Stdio::null()).stdout(Stdio::null());
    let mut replica = Process(command.stderr(log).spawn().expect("the binary was built"));
    await_served(ADDRESS);
    let start = Instant::now();
    let mut connection = Connection::open(ADDRESS).expect("the replica accepts connections");
    for round in 0..600_u64 {
        let forged = (1..=100).map(|at| (Incarnation(((round * 100 + at) << 20) + 1), 1));
        let token = Token(VersionVector::from_entries(forged)).encode(ClusterTag::of("hence"));
        let headers = [("Causal-Metadata", token.as_str())];
        let answer = connection.send(&request_bytes("GET", "/kvs/k", &headers, None)).receive(false);
        assert!(matches!(answer.expect("an answer").status, 400 | 424 | 503));
    }
    for round in 0..600 {
        for method in ["PUT", "DELETE"] {
            let body = format!("{{\"socket-address\":\"127.0.0.9:{}\"}}", 1 + round);
            let answer = connection.send(&request_bytes(method, "/view", &[], Some(&body))).receive(false);
            assert!(answer.expect("an answer").status < 500);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let lost = lost("limited");
    assert_eq!(replica.terminate().code(), Some(0));
    let text = std::fs::read_to_string(&path).expect("it was written");
    let left_out = text.lines().filter(|line| line.contains("lines of this log were left out"));
    let sum = |line: &str| line.split_once("lines=")?.1.split(' ').next()?.parse::<u64>().ok();
    let told: u64 = left_out.map(|line| sum(line).unwrap_or_else(|| panic!("{line}"))).sum();
    println!("note: {} bytes in {seconds:.1} s, {lost} lines left out", text.len());
    assert!(lost > 0 && told == lost, "{told} of {lost} are told of\n{text}");
    assert!(text.lines().all(|line| line.len() <= 4_096));
    assert!(text.len() < 100_000, "{} bytes", text.len());
}
