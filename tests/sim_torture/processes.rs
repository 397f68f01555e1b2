//! The processes: `hence-sim`, and `hence` as three processes or as `hence up`.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SIM: &str = env!("CARGO_BIN_EXE_hence-sim");

pub(crate) fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sim-torture");
    std::fs::create_dir_all(&folder).expect("a folder for histories");
    folder
}

pub(crate) fn sim(arguments: &[&str]) -> Output {
    start_sim(arguments).wait_with_output().expect("it ends")
}

pub(crate) fn start_sim(arguments: &[&str]) -> Child {
    let mut command = Command::new(SIM);
    command.args(arguments).current_dir(folder()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The binary beside `hence-sim`, built where it is missing.
fn hence() -> PathBuf {
    let path = Path::new(SIM).with_file_name("hence");
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "hence-server", "--bin", "hence"]);
        if SIM.contains("/release/") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo starts");
        assert!(built.success() && path.exists(), "{} could not be built", path.display());
    }
    path
}

/// Three replicas; dropping it ends them.
pub(crate) struct Cluster {
    folder: PathBuf,
    addresses: Vec<String>,
    up: Option<Child>,
}

impl Cluster {
    fn new(name: &str, addresses: Vec<String>) -> Self {
        let folder = folder().join(name);
        _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for a cluster");
        Self { folder, addresses, up: None }
    }

    /// Processes of `hence serve`, started by a script that the fault commands use, too.
    pub(crate) fn start(name: &str) -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port(1)).collect();
        let cluster = Self::new(name, ports.iter().map(|port| format!("127.0.0.1:{port}")).collect());
        let (dir, view, hence) = (cluster.folder.display(), cluster.addresses.join(","), hence());
        let script = format!(
            "cd {dir}\nSOCKET_ADDRESS=$2 VIEW={view} {} serve >> $1.log 2>&1 &\necho $! > $1.pid\n",
            hence.display()
        );
        cluster.write("start", &script);
        for (at, address) in cluster.addresses.iter().enumerate() {
            let started =
                Command::new("sh").args([&format!("{dir}/start"), &at.to_string(), address]).status().expect("sh");
            assert!(started.success());
        }
        cluster.await_ready();
        cluster
    }

    /// `hence up`, with a pipe for its terminal.
    pub(crate) fn up(name: &str) -> Self {
        let port = free_port(3);
        let mut cluster = Self::new(name, (port..port + 3).map(|port| format!("127.0.0.1:{port}")).collect());
        let terminal = cluster.folder.join("terminal");
        let made = Command::new("mkfifo").arg(&terminal).status().expect("mkfifo");
        assert!(made.success());
        // Open for both: it has an end only when the cluster ends.
        let pipe = std::fs::File::options().read(true).write(true).open(&terminal).expect("a pipe");
        let mut command = Command::new(hence());
        command.args(["up", "--port", &port.to_string()]).env_clear();
        command.stdin(pipe).stdout(Stdio::null()).stderr(Stdio::null());
        cluster.up = Some(command.spawn().expect("the binary starts"));
        cluster.await_ready();
        cluster
    }

    pub(crate) fn targets(&self) -> String {
        self.addresses.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>().join(",")
    }

    /// Writes a file in which DIR stands for the cluster's folder; returns its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, content.replace("DIR", &self.folder.display().to_string())).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    }

    fn await_ready(&self) {
        let begun = Instant::now();
        let is_ready = |address: &String| {
            let Ok(mut stream) = TcpStream::connect(address) else { return false };
            let mut answer = String::new();
            let asked = write!(stream, "GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
        };
        while !self.addresses.iter().all(is_ready) {
            assert!(begun.elapsed() < Duration::from_secs(15), "the cluster in {} is not up", self.folder.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(up) = &mut self.up {
            _ = up.kill();
            _ = up.wait();
        }
        for at in 0..3 {
            if let Ok(id) = std::fs::read_to_string(self.folder.join(format!("{at}.pid"))) {
                _ = Command::new("kill").args(["-9", id.trim()]).stderr(Stdio::null()).status();
            }
        }
    }
}

/// The first of so many ports in a row that no process has now.
fn free_port(count: u16) -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").and_then(|door| door.local_addr()).expect("a port").port();
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first.saturating_add(count)).all(is_free) {
            return first;
        }
    }
}
