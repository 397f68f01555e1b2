//! A name server of the test's own: it answers late, with several addresses, that a name does not exist, or not at all.
//! What is too long for a datagram it says over TCP alone.

use crate::network;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const AT: &str = "127.0.0.53";
/// The bytes of a message before its first question.
const HEAD: usize = 12;
/// The bytes of the longest datagram that is sent (RFC 1035, section 4.2.1).
const DATAGRAM_MAX: usize = 512;
/// The flag of an answer that is not whole.
const TRUNCATED: u8 = 2;
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

/// What becomes of a question over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverTcp {
    /// It is answered.
    Answers,
    /// The connection ends.
    Ends,
    /// It ends in the middle of the answer.
    EndsWithin,
    /// Nothing is ever said.
    Silence,
}

/// A running name server, which this worker and what it starts asks.
pub(crate) struct NameServer {
    names: Names,
    over_tcp: Arc<Mutex<OverTcp>>,
    /// Questions that came over TCP.
    asked_over_tcp: Arc<AtomicU64>,
}

impl NameServer {
    /// Starts it. Names that it is not told of do not exist.
    pub(crate) fn start(names: &[(&str, Answer)]) -> Self {
        network::set_name_server(AT);
        network::set_hosts("");
        let over_tcp = Arc::new(Mutex::new(OverTcp::Answers));
        let server = Self { names: Arc::default(), over_tcp, asked_over_tcp: Arc::default() };
        names.iter().for_each(|(name, answer)| server.set(name, answer.clone()));
        let socket = UdpSocket::bind((AT, 53)).expect("nobody else is in this namespace");
        let names = server.names.clone();
        server.listen();
        std::thread::spawn(move || {
            let mut question = [0; DATAGRAM_MAX];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let Some((answer, mut message)) = answer_to(&question[..length], &names) else { continue };
                if message.len() > DATAGRAM_MAX {
                    message = truncated(&message);
                }
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

    /// Answers over TCP, too.
    fn listen(&self) {
        let listener = TcpListener::bind((AT, 53)).expect("nobody else is in this namespace");
        let (names, over_tcp, asked) = (self.names.clone(), self.over_tcp.clone(), self.asked_over_tcp.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                asked.fetch_add(1, Ordering::Relaxed);
                let (names, how) = (names.clone(), *over_tcp.lock().expect("no holder panics"));
                // The asking process may be gone.
                std::thread::spawn(move || _ = answer_stream(stream, &names, how));
            }
        });
    }

    /// From now on that becomes of questions over TCP.
    pub(crate) fn set_over_tcp(&self, how: OverTcp) {
        *self.over_tcp.lock().expect("no holder panics") = how;
    }

    /// Questions that came over TCP so far.
    pub(crate) fn asked_over_tcp(&self) -> u64 {
        self.asked_over_tcp.load(Ordering::Relaxed)
    }

    /// From now on this is said of the name.
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.names.lock().expect("no holder panics").insert(name.to_owned(), answer);
    }
}

/// The same without its records, and marked as not whole.
fn truncated(message: &[u8]) -> Vec<u8> {
    let question = message[HEAD..].iter().position(|&byte| byte == 0).expect("a name ends") + HEAD + 5;
    let mut short = message[..question].to_vec();
    short[2] |= TRUNCATED;
    short[6..8].fill(0);
    short
}

/// Messages follow their length, in two bytes (RFC 1035, section 4.2.2).
fn answer_stream(mut stream: TcpStream, names: &Names, how: OverTcp) -> io::Result<()> {
    if how == OverTcp::Ends {
        return Ok(());
    }
    let mut length = [0; 2];
    loop {
        stream.read_exact(&mut length)?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question)?;
        let Some((_, message)) = answer_to(&question, names) else { return Ok(()) };
        let mut said = u16::try_from(message.len()).expect("it is short").to_be_bytes().to_vec();
        said.extend(message);
        match how {
            OverTcp::Answers => stream.write_all(&said)?,
            OverTcp::EndsWithin => return stream.write_all(&said[..said.len() / 2]),
            OverTcp::Ends | OverTcp::Silence => {}
        }
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
