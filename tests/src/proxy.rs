//! A proxy in front of a replica that loses answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the proxy does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The replica gets it, and the client gets the answer.
    Passed,
    /// The replica never gets it, and the connection ends.
    LostBefore,
    /// The replica answers it, and the connection ends before the client has the answer.
    LostAfter,
    /// The same, and the connection stays open and silent.
    SilentAfter,
    /// The replica answers it, and the client gets half of the answer.
    Torn,
    /// The replica answers it, and the client gets a page of the proxy's own.
    BadGateway,
    /// The replica answers it, and the client gets a 503 that is not the replica's.
    ForeignRefusal,
    /// The replica never gets it, and the client gets a 503 in the replica's form.
    Refused,
}

/// The next requests end so; then all pass.
type Script = Arc<Mutex<Plan>>;

#[derive(Default)]
struct Plan {
    fates: Vec<Fate>,
    /// What happens between the replica's answer and its loss.
    meanwhile: Option<Box<dyn Fn() + Send>>,
    requests: usize,
}

/// A proxy that runs until the process ends.
pub struct Proxy {
    /// Where clients ask.
    pub address: SocketAddr,
    script: Script,
}

impl Proxy {
    /// In front of this replica.
    pub fn before(replica: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let script = Script::default();
        let given = script.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let script = given.clone();
                thread::spawn(move || serve(&client, replica, &script));
            }
        });
        Self { address, script }
    }

    /// The next requests end so, in this order.
    pub fn next(&self, fates: &[Fate]) {
        self.script.lock().expect("no panic").fates = fates.iter().rev().copied().collect();
    }

    /// Happens after the replica answered and before the answer is lost.
    pub fn meanwhile(&self, act: impl Fn() + Send + 'static) {
        self.script.lock().expect("no panic").meanwhile = Some(Box::new(act));
    }

    /// Requests that came so far.
    pub fn requests(&self) -> usize {
        self.script.lock().expect("no panic").requests
    }
}

/// The bytes of a head and its body, if there is one more.
fn message(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        let start = bytes.len();
        if from.read_until(b'\n', &mut bytes).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&bytes[start..]).to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    from.read_exact(&mut bytes[start..]).ok()?;
    Some(bytes)
}

fn serve(client: &TcpStream, replica: SocketAddr, script: &Script) {
    let mut requests = BufReader::new(client);
    let mut client = client;
    while let Some(request) = message(&mut requests) {
        let fate = {
            let mut plan = script.lock().expect("no panic");
            plan.requests += 1;
            plan.fates.pop().unwrap_or(Fate::Passed)
        };
        let own = |status: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nserver: proxy\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        match fate {
            Fate::LostBefore => return,
            Fate::Refused => {
                let refusal = own("503 Service Unavailable", "{\"error\":\"Replica is not ready\"}");
                client.write_all(&refusal).expect("the client reads");
                continue;
            }
            Fate::Passed
            | Fate::LostAfter
            | Fate::SilentAfter
            | Fate::Torn
            | Fate::BadGateway
            | Fate::ForeignRefusal => {}
        }
        let Ok(stream) = TcpStream::connect(replica) else { return };
        let mut upstream = BufReader::new(stream);
        upstream.get_mut().write_all(&request).expect("the replica reads");
        let Some(answer) = message(&mut upstream) else { return };
        if fate != Fate::Passed
            && let Some(act) = &script.lock().expect("no panic").meanwhile
        {
            act();
        }
        let sent = match fate {
            Fate::LostAfter | Fate::LostBefore | Fate::Refused => return,
            Fate::SilentAfter => {
                thread::sleep(Duration::from_secs(20));
                return;
            }
            Fate::Torn => {
                let _ = client.write_all(&answer[..answer.len() - 4]);
                return;
            }
            Fate::Passed => client.write_all(&answer),
            Fate::BadGateway => client.write_all(&own("502 Bad Gateway", "<html>bad gateway</html>")),
            Fate::ForeignRefusal => client.write_all(&own("503 Service Unavailable", "upstream connect error")),
        };
        if sent.is_err() {
            return;
        }
    }
}
