//! Faults in a container's own network: packet filters, loss, bandwidth, delay.
//!
//! A container's network namespace is entered from the host, which needs root. Rules name the other replicas'
//! addresses, never the gateway through which the tests' clients come.

use crate::cluster::Cluster;
use crate::engine::run;
use std::process::{Command, Stdio};

/// What a test cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// The engine alone.
    Engine,
    /// `nft` in a container's namespace.
    PacketFilter,
    /// `tc` with tbf.
    Bandwidth,
    /// `tc` with netem.
    Delay,
    /// `docker-compose` or `docker compose`.
    Compose,
    /// The image of a build that speaks another format, too.
    Formats,
}

impl Needs {
    /// Why this cannot be had here, if so.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let (script, reason) = match self {
            Self::Engine => return None,
            Self::PacketFilter => ("nft add table inet probe", "nft cannot be used in a network namespace here"),
            Self::Bandwidth => {
                ("tc qdisc add dev lo root tbf rate 1mbit burst 16kb latency 1s", "tc does not take tbf here")
            }
            Self::Delay => ("tc qdisc add dev lo root netem delay 1ms", "tc does not take netem here"),
            Self::Formats => {
                let missing = crate::engine::image_of_formats().is_none();
                return missing.then_some("no image of a build that speaks another format; `.ci/image` builds one");
            }
            Self::Compose => return crate::compose::program().is_none().then_some("no Compose here"),
        };
        run("unshare", &["--net", "sh", "-c", script]).is_err().then_some(reason)
    }
}

/// Runs a command in a container's network; what it printed.
fn inside(cluster: &Cluster, at: usize, command: &[&str]) -> String {
    let process = cluster.process(at);
    let mut arguments = vec!["--target", &process, "--net"];
    arguments.extend(command);
    let output = run("nsenter", &arguments).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn number_after(text: &str, word: &str) -> u64 {
    let number = text.split_once(word).map(|(_, rest)| rest.split(|next: char| !next.is_ascii_digit()).next());
    number.flatten().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {word}in {text}"))
}

/// Filters what a replica receives from these others by an nftables statement that counts, such as `counter drop`.
pub(crate) fn filter(cluster: &Cluster, at: usize, from: &[usize], statement: &str) {
    use std::io::Write as _;
    let from: Vec<String> = from.iter().map(|&from| cluster.ip(from)).collect();
    // A reset passes, so that a rejection by the other side is heard.
    let rules = format!(
        "add table inet hence_test\n\
         add chain inet hence_test input {{ type filter hook input priority 0; }}\n\
         add rule inet hence_test input ip saddr {{ {} }} tcp flags & rst == 0 {statement}\n",
        from.join(", "),
    );
    let mut command = Command::new("timeout");
    command.args(["60", "nsenter", "--target", &cluster.process(at), "--net", "nft", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("nsenter was probed");
    child.stdin.take().expect("it is piped").write_all(rules.as_bytes()).expect("nft reads its rules");
    assert!(child.wait().expect("nft ends").success(), "nft refused:\n{rules}");
}

/// Undoes [`filter`]; how many packets met its counter.
pub(crate) fn unfilter(cluster: &Cluster, at: usize) -> u64 {
    let rules = inside(cluster, at, &["nft", "list", "table", "inet", "hence_test"]);
    inside(cluster, at, &["nft", "delete", "table", "inet", "hence_test"]);
    number_after(&rules, "counter packets ")
}

/// Shapes all that a replica sends: `tc qdisc add dev eth0 root ...`.
pub(crate) fn shape(cluster: &Cluster, at: usize, how: &str) {
    let mut command = vec!["tc", "qdisc", "add", "dev", "eth0", "root"];
    command.extend(how.split(' '));
    inside(cluster, at, &command);
}

/// Undoes [`shape`]; how often a packet was held back for want of bandwidth.
pub(crate) fn unshape(cluster: &Cluster, at: usize) -> u64 {
    let statistics = inside(cluster, at, &["tc", "-s", "qdisc", "show", "dev", "eth0", "root"]);
    inside(cluster, at, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
    number_after(&statistics, "overlimits ")
}
