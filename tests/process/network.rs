//! Network namespaces and the packet filters that cut links inside them.
//!
//! A replica's outgoing connections come from its own address, and the test's own client from 127.0.0.1. So a filter on
//! addresses cuts replicas from each other and never the test from a replica.

use std::path::Path;
use std::process::{Command, Stdio};

/// How a worker is kept apart from the rest of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Isolation {
    /// Not at all.
    None,
    /// A network and a process namespace, made as root.
    Root,
    /// The same inside a user namespace.
    User,
}

const ALL: [Isolation; 3] = [Isolation::Root, Isolation::User, Isolation::None];

impl Isolation {
    /// The strongest kind that works here.
    pub(crate) fn probe() -> Self {
        let script = "ip link set lo up && nft add table inet probe";
        let works = |kind: &Self| {
            let mut command = kind.shell(script);
            *kind == Self::None || command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        ALL.into_iter().find(works).unwrap_or(Self::None)
    }

    /// Can namespaces be connected by a bridge in there, and connections ended from outside?
    pub(crate) fn has_machines(self) -> bool {
        let script = "ip link add probe type bridge && ip link add one type veth peer name other && \
                      ip link set one master probe && unshare --net ip link set lo up && ss -K dst 10.10.0.1 && command -v curl";
        self.shell(script).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Its name, for handing it to a worker.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Root => "root",
            Self::User => "user",
        }
    }

    /// The kind of that name.
    pub(crate) fn from_name(name: &str) -> Self {
        ALL.into_iter().find(|kind| kind.name() == name).expect("the driver names a kind that exists")
    }

    /// A command that runs this program in isolation, with as many open files as are allowed.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = self.shell("ulimit -n \"$(ulimit -Hn)\"; exec \"$0\"");
        command.arg(program);
        command
    }

    fn shell(self, script: &str) -> Command {
        let namespaces: &[&str] = match self {
            Self::None => &[],
            Self::Root => &["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
            Self::User => &["unshare", "-rn", "--pid", "--fork", "--kill-child", "--mount-proc"],
        };
        let mut words = namespaces.iter().chain(&["sh", "-c"]);
        let mut command = Command::new(words.next().expect("at least the shell"));
        command.args(words).arg(script);
        command
    }

    /// Makes the namespace usable; called by the worker inside it.
    pub(crate) fn enter(self) {
        if self != Self::None {
            run("ip", &["link", "set", "lo", "up"]);
        }
    }
}

/// Gives the namespace's loopback interface these addresses, too.
pub(crate) fn add_addresses(addresses: &[&str]) {
    for address in addresses {
        let length = if address.contains(':') { 128 } else { 32 };
        // Not tentative: it can be listened at, at once.
        run("ip", &["address", "add", &format!("{address}/{length}"), "dev", "lo", "nodad"]);
    }
}

/// Puts this in the place of `/etc/hosts`, for this worker and what it starts: it has a mount namespace of its own.
pub(crate) fn set_hosts(text: &str) {
    replace_file("/etc/hosts", &format!("127.0.0.1 localhost\n{text}"));
}

/// Lets this worker and what it starts ask this name server.
pub(crate) fn set_name_server(ip: &str) {
    replace_file("/etc/resolv.conf", &format!("nameserver {ip}\nsearch .\n"));
}

fn replace_file(path: &str, text: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("process");
    std::fs::create_dir_all(&folder).expect("the target directory is ours");
    // Each worker is the first process of its namespace, so the process id names all of them.
    let namespace = std::fs::read_link("/proc/self/ns/mnt").expect("a link to the mount namespace");
    let own = folder.join(format!("{}.{}", path.replace('/', "_"), namespace.display()));
    std::fs::write(&own, text).expect("the directory was made");
    run("mount", &["--bind", own.to_str().expect("a path of ours"), path]);
}

/// What a cut link does with packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// Answers each with a reset: connections break and new ones are refused at once.
    Refused,
    /// Loses them: the kernels on both sides hold what was sent and send it again after the heal.
    Silent,
}

/// Cuts all links between this IP address and other replicas, in both directions, open connections included.
pub(crate) fn cut(ip: &str, how: Cut) {
    let verdict = match how {
        Cut::Refused => "meta l4proto tcp reject with tcp reset",
        Cut::Silent => "drop",
    };
    // Input, not output: a packet refused on its way out would be an error to its sender, not a loss.
    let rules = format!(
        "add table inet cut\n\
         add chain inet cut {chain} {{ type filter hook input priority 0; }}\n\
         add rule inet cut {chain} ip saddr {ip} ip daddr != {{ 127.0.0.1, {ip} }} {verdict}\n\
         add rule inet cut {chain} ip daddr {ip} ip saddr != {{ 127.0.0.1, {ip} }} {verdict}\n",
        chain = chain(ip),
    );
    nft(&rules);
}

/// Loses every packet to this IP address that this rule matches, whatever sends it; an empty one matches all.
pub(crate) fn lose(ip: &str, rule: &str) {
    let chain = chain(ip);
    nft(&format!(
        "add table inet cut\n\
         add chain inet cut {chain} {{ type filter hook input priority 0; }}\n\
         add rule inet cut {chain} ip daddr {ip} {rule} drop\n"
    ));
}

/// Undoes [`cut`] and [`lose`].
pub(crate) fn heal(ip: &str) {
    nft(&format!("delete chain inet cut {}\n", chain(ip)));
}

/// Ends all connections between this IP address and other replicas with a reset. New ones can be made at once.
pub(crate) fn end_connections(ip: &str) {
    for which in [format!("src {ip} and not dst 127.0.0.1"), format!("dst {ip} and not src 127.0.0.1")] {
        let mut words = vec!["-K"];
        words.extend(which.split(' '));
        let output = Command::new("ss").args(&words).output();
        assert!(output.as_ref().is_ok_and(|output| output.status.success()), "ss {words:?}: {output:?}");
    }
}

/// Limits what reaches each of these addresses from other replicas to so many Mbit/s, as a network card does: packets
/// of 1,500 bytes, queued. The test's own client is not slowed down.
pub(crate) fn slow(ips: &[String], megabits: u32) {
    slow_to(ips, &format!("{megabits}mbit"));
}

/// The same for a rate in words of `tc`.
pub(crate) fn slow_to(ips: &[String], rate: &str) {
    let mut words = vec!["ip link set lo mtu 1500".to_owned()];
    // What was set up before goes, if anything was.
    _ = Command::new("tc").args(["qdisc", "del", "dev", "lo", "root"]).stderr(Stdio::null()).status();
    words.push("tc qdisc add dev lo root handle 1: htb".into());
    words.push("tc class replace dev lo parent 1: classid 1:99 htb rate 10gbit quantum 60000".into());
    let filter = "tc filter add dev lo parent 1: protocol ip prio";
    words.push(format!("{filter} 1 u32 match ip src 127.0.0.1/32 flowid 1:99"));
    for (class, ip) in (1..).zip(ips) {
        words.push(format!("tc class replace dev lo parent 1: classid 1:{class} htb rate {rate} quantum 3000"));
        words.push(format!("{filter} 2 u32 match ip dst {ip}/32 flowid 1:{class}"));
    }
    for line in words {
        let mut words = line.split(' ');
        run(words.next().unwrap_or_default(), &words.collect::<Vec<_>>());
    }
}

/// From now on so much reaches the address in this place of those given to [`slow`], counted from 1.
pub(crate) fn quicken(class: usize, megabits: u32) {
    let change = format!("class change dev lo parent 1: classid 1:{class} htb rate {megabits}mbit quantum 3000");
    run("tc", &change.split(' ').collect::<Vec<_>>());
}

/// Bytes that were sent to the addresses given to [`slow`], headers included, in their order.
pub(crate) fn sent(count: usize) -> Vec<u64> {
    let output = Command::new("tc").args(["-s", "class", "show", "dev", "lo"]).output().expect("tc was probed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let of = |class: usize| {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("class htb 1:{class} ")));
        let line = lines.find(|line| line.trim_start().starts_with("Sent ")).expect("the class is there");
        line.split_whitespace().nth(1).and_then(|bytes| bytes.parse().ok()).expect("a count")
    };
    (1..=count).map(of).collect()
}

fn chain(ip: &str) -> String {
    format!("of_{}", ip.replace('.', "_"))
}

/// One transaction: all rules at once or none.
fn nft(rules: &str) {
    use std::io::Write as _;
    let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft was probed");
    child.stdin.take().expect("it is piped").write_all(rules.as_bytes()).expect("nft reads its rules");
    assert!(child.wait().expect("nft ends").success(), "nft refused:\n{rules}");
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{program} {arguments:?}: {status:?}");
}
