//! A name server of the test's own: it answers late, with several addresses, that a name does not exist, or not at all.

use crate::network;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const AT: &str = "127.0.0.53";
/// The bytes of a message before its first question.
const HEAD: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;

/// What is said of one name.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    addresses: Vec<Ipv4Addr>,
    /// The hosts that its SRV records name.
    hosts: Vec<String>,
    after: Option<Duration>,
}

impl Answer {
    /// These addresses, so long after the question.
    pub(crate) fn new(addresses: &[&str], after: Duration) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().expect("tests name addresses")).collect();
        Self { addresses, hosts: Vec::new(), after: Some(after) }
    }

    /// SRV records of these hosts, at once.
    pub(crate) fn service(hosts: &[&str]) -> Self {
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Self { addresses: Vec::new(), hosts, after: Some(Duration::ZERO) }
    }

    /// Nothing is ever said.
    pub(crate) fn silence() -> Self {
        Self { addresses: Vec::new(), hosts: Vec::new(), after: None }
    }
}

type Names = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A running name server, which this worker and what it starts asks.
pub(crate) struct NameServer {
    names: Names,
}

impl NameServer {
    /// Starts it. Names that it is not told of do not exist.
    pub(crate) fn start(names: &[(&str, Answer)]) -> Self {
        network::set_name_server(AT);
        network::set_hosts("");
        let server = Self { names: Arc::default() };
        names.iter().for_each(|(name, answer)| server.set(name, answer.clone()));
        let socket = UdpSocket::bind((AT, 53)).expect("nobody else is in this namespace");
        let names = server.names.clone();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let Some((answer, message)) = answer_to(&question[..length], &names) else { continue };
                let Some(after) = answer.after else { continue };
                let socket = socket.try_clone().expect("an open socket");
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    // The asking process may be gone.
                    let _ = socket.send_to(&message, from);
                });
            }
        });
        server
    }

    /// From now on this is said of the name.
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.names.lock().expect("no holder panics").insert(name.to_owned(), answer);
    }
}

/// What is said to this message, and the message that says it (RFC 1035, section 4).
fn answer_to(question: &[u8], names: &Names) -> Option<(Answer, Vec<u8>)> {
    let mut at = HEAD;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*question.get(at)?, *question.get(at + 1)?]);
    let asked = question.get(HEAD..at + 4)?;
    let known = names.lock().expect("no holder panics").get(&labels.join(".")).cloned();
    let exists = known.is_some();
    let answer = known.unwrap_or(Answer::service(&[]));
    let records: Vec<Vec<u8>> = match kind {
        TYPE_A => answer.addresses.iter().map(|address| address.octets().to_vec()).collect(),
        TYPE_SRV => answer.hosts.iter().map(|host| service_record(host)).collect(),
        _ => Vec::new(),
    };
    let mut message = question[..2].to_vec();
    // A response to a recursive query: no error, or that there is no such name.
    message.extend([0x81, if exists { 0x80 } else { 0x83 }, 0, 1]);
    message.extend(u16::try_from(records.len()).expect("a few").to_be_bytes());
    message.extend([0, 0, 0, 0]);
    message.extend(asked);
    for record in records {
        // The name of the question, the type that was asked for, class IN, to be kept for no time.
        message.extend([0xc0, HEAD as u8, 0, u8::try_from(kind).expect("a small number"), 0, 1, 0, 0, 0, 0]);
        message.extend(u16::try_from(record.len()).expect("it is short").to_be_bytes());
        message.extend(record);
    }
    Some((answer, message))
}

/// Priority, weight, a port that is none of a replica, and the host (RFC 2782).
fn service_record(host: &str) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 0, 0, 9];
    for label in host.split('.') {
        record.push(u8::try_from(label.len()).expect("a label is short"));
        record.extend(label.bytes());
    }
    record.push(0);
    record
}
