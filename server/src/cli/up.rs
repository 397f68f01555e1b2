//! `hence up`: a cluster in this process, with a small terminal to hurt and heal it.

use super::args::UpArgs;
use super::{CommandFailure, serve};
use crate::cluster::{Cluster, ClusterError, Member};
use crate::server::StartError;
use crate::settings::{Console, TrustSettings};
use crate::throwaway::Throwaway;
use crate::{descriptors, output, signals};
use hence_core::Address;
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal};
use std::sync::mpsc;
use std::thread;

const HELP: &str = "  view        what each replica thinks of the cluster
  cut b       cut all links between b and the others; clients still reach it
  heal b      undo that
  kill b      end b as kill -9 would; its memory is lost
  restart b   start b again, empty, at the same address
  quit        end everything (so does Ctrl-C)";

/// Runs the cluster until `quit`, a signal, or the end of input that was not empty.
///
/// # Errors
/// Where it cannot start.
pub(super) fn run(args: UpArgs) -> Result<(), CommandFailure> {
    let replicas = usize::try_from(args.replicas).expect("at most 26 were admitted");
    let addresses = addresses(args.port, replicas)?;
    let connections_max = descriptors::prepare(args.connections_max(), replicas);
    let memory = serve::memory(args.limits.memory_max).bytes.map(|bytes| bytes / args.replicas);
    let signals = signals::listen().map_err(CommandFailure::running)?;
    let authority = if args.tls { Some(authority()?) } else { None };
    let trust = authority.as_ref().map(certified).transpose()?;
    let (sender, happenings) = mpsc::channel();
    let ordered = sender.clone();
    let console = Console::new(move |order| {
        // No thread listens once the cluster has ended.
        let _ = ordered.send(Happening::Line(order.to_string()));
    });
    let cluster = Cluster::start(&addresses, |address, view| {
        let mut settings = args.settings(address, view);
        settings.console = Some(console.clone());
        settings.trust = trust.clone().unwrap_or_default();
        settings.limits.connections_max = connections_max;
        settings.memory_max = memory;
        settings
    });
    let mut cluster = cluster.map_err(failure)?;
    signals.forward(sender.clone(), || Happening::Signal);
    read_lines(sender);
    show(&greeting(cluster.members(), authority.as_ref()));
    converse(&mut cluster, &happenings, &console);
    Ok(())
}

/// An authority for this run.
fn authority() -> Result<Throwaway, CommandFailure> {
    let mut name = [0; 8];
    let drawn = getrandom::fill(&mut name).map_err(io::Error::other);
    let folder = std::env::temp_dir().join(format!("hence-up-{:016x}", u64::from_be_bytes(name)));
    let made = drawn.and_then(|()| Throwaway::new(folder));
    made.map_err(|error| CommandFailure::running(format!("cannot make an authority: {error}")))
}

/// One certificate for all replicas of this process.
fn certified(authority: &Throwaway) -> Result<TrustSettings, CommandFailure> {
    let issued = authority.issue("replica", &["127.0.0.1", "localhost"]);
    let issued = issued.map_err(|error| CommandFailure::running(format!("cannot make a certificate: {error}")))?;
    Ok(TrustSettings {
        certificate: Some(issued.certificate),
        key: Some(issued.key),
        peer_ca: Some(authority.authority()),
        ..TrustSettings::default()
    })
}

fn addresses(port: u64, replicas: usize) -> Result<Vec<Address>, CommandFailure> {
    let text = |at| format!("127.0.0.1:{}", port + at);
    let addresses = (0..).take(replicas).map(text).map(|text| Address::parse(&text));
    addresses.collect::<Result<_, _>>().map_err(CommandFailure::usage)
}

fn failure(error: ClusterError) -> CommandFailure {
    match error {
        ClusterError::Start(StartError::Listen { at, error }) => {
            let text =
                format!("cannot listen at {at}: {error}; choose other ports with --port, as in: hence up --port 9000");
            CommandFailure::running(text)
        }
        ClusterError::Start(error) => serve::failure(error),
        other @ (ClusterError::Count(_)
        | ClusterError::Unknown(_)
        | ClusterError::Running(_)
        | ClusterError::Stopped(_)) => CommandFailure::usage(other),
    }
}

/// What the terminal waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Happening {
    Line(String),
    EndOfInput,
    Signal,
}

/// Reads standard input on a thread of its own. An input without a single line, as a background process has,
/// says nothing: the cluster runs on until a signal.
fn read_lines(to: mpsc::Sender<Happening>) {
    thread::spawn(move || {
        let mut any = io::stdin().is_terminal();
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            any = true;
            if to.send(Happening::Line(line)).is_err() {
                return;
            }
        }
        if any {
            // No thread listens once the cluster has ended.
            let _ = to.send(Happening::EndOfInput);
        }
    });
}

fn converse(cluster: &mut Cluster, happenings: &mpsc::Receiver<Happening>, console: &Console) {
    let terminal = io::stdin().is_terminal();
    loop {
        console.show(replicas(cluster.members()));
        if terminal {
            show("> ");
        }
        match happenings.recv() {
            Ok(Happening::Line(line)) => match Order::parse(&line) {
                Ok(Some(Order::Quit)) => return,
                Ok(Some(order)) => show(&obey(cluster, order)),
                Ok(None) => {}
                Err(complaint) => show(&format!("{complaint}\n")),
            },
            Ok(Happening::EndOfInput | Happening::Signal) | Err(mpsc::RecvError) => return,
        }
    }
}

/// Writes to standard output. A terminal that is stopped, or a pipe that nothing reads from, must not keep the cluster
/// from ending.
fn show(text: &str) {
    output::say(text);
}

/// What can be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Cut(char),
    Heal(char),
    Kill(char),
    Restart(char),
    View,
    Help,
    Quit,
}

impl Order {
    /// Reads a line; `None` for an empty one.
    fn parse(line: &str) -> Result<Option<Self>, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let order = match *words.as_slice() {
            [] => return Ok(None),
            ["view"] => Self::View,
            ["help" | "?"] => Self::Help,
            ["quit" | "exit"] => Self::Quit,
            [verb @ ("cut" | "heal" | "kill" | "restart"), name] => {
                let mut letters = name.chars();
                let (Some(name), None) = (letters.next(), letters.next()) else {
                    return Err(format!("{verb} whom? {name} is not the name of a replica"));
                };
                match verb {
                    "cut" => Self::Cut(name),
                    "heal" => Self::Heal(name),
                    "kill" => Self::Kill(name),
                    _ => Self::Restart(name),
                }
            }
            [verb @ ("cut" | "heal" | "kill" | "restart"), ..] => {
                return Err(format!("{verb} whom? Name one replica, as in: {verb} b"));
            }
            _ => return Err(format!("\"{}\" is not a command. Commands:\n{HELP}", line.trim())),
        };
        Ok(Some(order))
    }
}

/// Does it, and says what was done.
fn obey(cluster: &mut Cluster, order: Order) -> String {
    let done = match order {
        Order::Cut(name) => cluster.cut(name).map(|()| format!("{name} is cut off from the others\n")),
        Order::Heal(name) => cluster.heal(name).map(|()| format!("{name} is connected again\n")),
        Order::Kill(name) => cluster.kill(name).map(|()| format!("{name} is dead\n")),
        Order::Restart(name) => cluster.restart(name).map(|()| format!("{name} started\n")),
        Order::View => Ok(view(cluster.members())),
        Order::Help | Order::Quit => Ok(format!("{HELP}\n")),
    };
    done.unwrap_or_else(|error| format!("{error}\n"))
}

/// What pages show beside their buttons.
fn replicas(members: &[Member]) -> String {
    let one = |member: &Member| {
        let (address, running) = (member.address().as_str(), member.is_running());
        json!({ "name": member.name(), "address": address, "running": running, "cut": member.is_cut() })
    };
    json!({ "replicas": members.iter().map(one).collect::<Vec<_>>() }).to_string()
}

fn view(members: &[Member]) -> String {
    let mut text = String::new();
    for member in members {
        let state = match member.status() {
            None => "dead".to_owned(),
            Some(status) => {
                let state = if status.ready { "up" } else { "not ready" };
                let name = |address: &Address| {
                    let known = members.iter().find(|other| other.address() == address);
                    known.map_or_else(|| address.to_string(), |other| other.name().to_string())
                };
                let sees: Vec<String> = status.listed.iter().map(name).collect();
                let cut = if member.is_cut() { ", cut off" } else { "" };
                format!("{state}{cut}, {} keys, sees {}", status.keys, sees.join(" "))
            }
        };
        writeln!(text, "  {}  {}  {state}", member.name(), member.address()).expect("memory always takes text");
    }
    text
}

fn greeting(members: &[Member], authority: Option<&Throwaway>) -> String {
    let (scheme, curl) = match authority {
        Some(authority) => ("https", format!("curl --cacert {}", authority.authority().display())),
        None => ("http", "curl".into()),
    };
    let mut text = format!("A cluster of {} in this process:\n\n", members.len());
    for member in members {
        writeln!(text, "  {}  {scheme}://{}", member.name(), member.address()).expect("memory always takes text");
    }
    let first = members[0].address();
    let second = members.get(1).map_or(first, Member::address);
    let _ = write!(
        text,
        "
Try, in another terminal:

  {curl} -X PUT {scheme}://{first}/kvs/greeting -d '{{\"value\":\"hello\",\"causal-metadata\":null}}'
  {curl} {scheme}://{second}/kvs/greeting
  {curl} -i {scheme}://{second}/kvs/greeting -H 'Causal-Metadata: PASTE-WHAT-THE-WRITE-RETURNED'
  {curl} {scheme}://{second}/view

Here:

{HELP}

"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        for (line, order) in [
            ("", None),
            ("  ", None),
            ("cut b", Some(Order::Cut('b'))),
            ("  heal   b ", Some(Order::Heal('b'))),
            ("kill c", Some(Order::Kill('c'))),
            ("restart c", Some(Order::Restart('c'))),
            ("view", Some(Order::View)),
            ("help", Some(Order::Help)),
            ("quit", Some(Order::Quit)),
        ] {
            assert_eq!(Order::parse(line), Ok(order), "{line}");
        }
        for line in ["cut", "cut b c", "cut bb", "kill", "dance", "view b", "äöü"] {
            assert!(Order::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn ports_that_do_not_exist_are_told() {
        assert_eq!(addresses(8_082, 3).unwrap()[2].as_str(), "127.0.0.1:8084");
        assert_eq!(addresses(65_530, 26).unwrap_err().code, 2);
    }

    #[test]
    fn a_port_in_use_names_the_way_out() {
        let error = io::Error::from(io::ErrorKind::AddrInUse);
        let at = "127.0.0.1:8082".parse().unwrap();
        let failure = failure(ClusterError::Start(StartError::Listen { at, error }));
        assert!(failure.text.contains("127.0.0.1:8082") && failure.text.contains("--port"), "{}", failure.text);
    }
}
