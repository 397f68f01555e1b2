//! Machines of their own for replicas: network namespaces on a bridge, and the ways in which one of them is cut off.
//!
//! Every machine has a network card, addresses, routes and a packet filter of its own, as a container has. The test's
//! own client is at the bridge. It never asks a machine that is cut off, so a cut may take the client's way, too.

use std::process::{Child, Command, Stdio};

/// How a machine is cut off from all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// No kernel on either side has a route any more: sending fails.
    Unreachable,
    /// The packet filter of the sender's kernel on either side refuses: sending fails.
    Denied,
    /// Packets go out and arrive nowhere.
    Lost,
    /// The cable is pulled: the card has no carrier.
    Unplugged,
    /// The card is switched off, and on again.
    Down,
    /// The card is gone with its addresses and routes, and another one with the same addresses comes.
    Gone,
}

/// Machines 0, 1, 2, ... at the addresses .2, .3, .4, ... of a network of their own.
pub(crate) struct Machines {
    number: u8,
    holders: Vec<Child>,
}

impl Machines {
    /// So many machines in the network of this number.
    pub(crate) fn new(number: u8, count: usize) -> Self {
        let mut machines = Self { number, holders: Vec::new() };
        run(&format!(
            "ip link add br{number} type bridge && ip address add {}1/24 dev br{number} && ip link set br{number} up",
            machines.network()
        ));
        for at in 0..count {
            let mut command = Command::new("unshare");
            command.args(["--net", "sh", "-c", "echo here; exec sleep 100000"]);
            let mut holder = command.stdout(Stdio::piped()).spawn().expect("unshare was probed");
            let mut word = [0; 5];
            let mut output = holder.stdout.take().expect("it is piped");
            std::io::Read::read_exact(&mut output, &mut word).expect("the namespace is made");
            machines.holders.push(holder);
            machines.inside(at, "ip link set lo up");
            machines.plug_in(at);
        }
        machines
    }

    fn network(&self) -> String {
        format!("10.10.{}.", self.number)
    }

    /// The IP address of a machine.
    pub(crate) fn ip(&self, at: usize) -> String {
        format!("{}{}", self.network(), at + 2)
    }

    /// A command that runs this program on a machine.
    pub(crate) fn command(&self, at: usize, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holders[at].id().to_string(), "--net", program]);
        command
    }

    fn inside(&self, at: usize, script: &str) -> String {
        let mut command = self.command(at, "sh");
        checked(command.args(["-c", script]), script)
    }

    fn cable(&self, at: usize) -> String {
        format!("v{}n{at}", self.number)
    }

    /// A new card with the address of the machine, hardware address included, as engines give it to containers.
    fn plug_in(&self, at: usize) {
        let (number, cable, holder) = (self.number, self.cable(at), self.holders[at].id());
        let hardware = format!("02:42:0a:0a:{number:02x}:{:02x}", at + 2);
        run(&format!(
            "ip link add {cable} type veth peer name eth0 address {hardware} netns {holder} && \
             ip link set {cable} master br{number} up"
        ));
        self.inside(at, &format!("ip address add {}/24 dev eth0 && ip link set eth0 up", self.ip(at)));
    }

    fn others(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.holders.len()).filter(move |&other| other != at)
    }

    /// Says to the kernels on both sides what to do with what is for the other side.
    fn on_both_sides(&self, at: usize, script: impl Fn(&str) -> String) {
        let own: Vec<String> = self.others(at).map(|other| script(&self.ip(other))).collect();
        self.inside(at, &own.join(" && "));
        self.others(at).for_each(|other| _ = self.inside(other, &script(&self.ip(at))));
    }

    /// Cuts a machine off from all others.
    pub(crate) fn cut(&self, at: usize, way: Way) {
        let cable = self.cable(at);
        match way {
            Way::Unreachable => self.on_both_sides(at, |ip| format!("ip route add unreachable {ip}")),
            Way::Denied => self.on_both_sides(at, |ip| {
                format!(
                    "nft 'add table inet cut; add chain inet cut out {{ type filter hook output priority 0; }}; \
                     add rule inet cut out ip daddr {ip} drop'"
                )
            }),
            Way::Lost => run(&format!("ip link set {cable} nomaster")),
            Way::Unplugged => run(&format!("ip link set {cable} down")),
            Way::Down => _ = self.inside(at, "ip link set eth0 down"),
            Way::Gone => run(&format!("ip link delete {cable}")),
        }
    }

    /// Undoes [`Machines::cut`].
    pub(crate) fn heal(&self, at: usize, way: Way) {
        let cable = self.cable(at);
        match way {
            Way::Unreachable => self.on_both_sides(at, |ip| format!("ip route delete unreachable {ip}")),
            Way::Denied => {
                self.inside(at, "nft delete table inet cut");
                self.others(at).for_each(|other| _ = self.inside(other, "nft delete table inet cut"));
            }
            Way::Lost => run(&format!("ip link set {cable} master br{}", self.number)),
            Way::Unplugged => run(&format!("ip link set {cable} up")),
            Way::Down => _ = self.inside(at, "ip link set eth0 up"),
            Way::Gone => self.plug_in(at),
        }
        self.await_carrier(at);
    }

    /// The kernel looks after what cards report once a second, where many of them do: until then they carry nothing.
    fn await_carrier(&self, at: usize) {
        let cable = self.cable(at);
        self.inside(at, "until ip link show eth0 | grep -q 'state UP'; do sleep 0.01; done");
        run(&format!("until bridge link show dev {cable} | grep -q 'state forwarding'; do sleep 0.01; done"));
    }

    /// Waits until connections can be made between a machine and the others, both ways. After a card has changed,
    /// kernels ask once a second which machine has which address.
    pub(crate) fn await_reachable(&self, at: usize) {
        let ask = |ip: String| {
            let curl = "curl --silent --output /dev/null --connect-timeout 0.1 --max-time 0.5";
            format!("until {curl} http://{ip}:8090/health; do sleep 0.02; done")
        };
        for other in self.others(at) {
            self.inside(at, &ask(self.ip(other)));
            self.inside(other, &ask(self.ip(at)));
        }
    }

    /// Ends every connection between a machine and the others, at both ends. No packet can report that while the
    /// machine is cut off. How many ends there were.
    pub(crate) fn end_connections(&self, at: usize) -> usize {
        let mut ended = 0;
        for other in self.others(at) {
            let script = |ip: String| format!("ss --no-header --numeric --tcp --kill dst {ip}");
            ended += self.inside(at, &script(self.ip(other))).lines().count();
            ended += self.inside(other, &script(self.ip(at))).lines().count();
        }
        ended
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
        // The cards go with the namespaces, in the kernel's own time.
        run(&format!("ip link delete br{}", self.number));
    }
}

fn run(script: &str) {
    checked(Command::new("sh").args(["-c", script]), script);
}

/// Runs a command that must succeed; what it printed.
fn checked(command: &mut Command, script: &str) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it was probed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
