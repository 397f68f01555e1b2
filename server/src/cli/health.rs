//! `hence health`: does a replica answer? One request over a plain socket; no HTTP client is needed for that.

use super::CommandFailure;
use super::args::HealthArgs;
use super::own::{self, Own};
use crate::output;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A replica that takes longer is not healthy.
const TIMEOUT: Duration = Duration::from_secs(2);

const NAME_ONE: &str = "name the one to ask, as in: hence health 127.0.0.1:8090";

/// Asks, and says so on standard output.
///
/// # Errors
/// Where a replica does not answer in time, or not with 200; and where it is not clear which is meant.
pub(super) fn run(args: &HealthArgs) -> Result<(), CommandFailure> {
    let deadline = Instant::now() + TIMEOUT;
    if let Some(address) = &args.address {
        return ask_at(&target(address), deadline);
    }
    let named = args.named.as_deref().map(target);
    match (own::find().as_slice(), named) {
        ([own], _) => ask_own(own, deadline),
        // Which of them, or one that runs elsewhere, is for the environment to say.
        (_, Some(named)) => ask_at(&named, deadline),
        ([], None) => Err(CommandFailure::usage(format!("no replica runs beside this command; {NAME_ONE}"))),
        (several, None) => {
            let listed: Vec<String> = several.iter().map(show).collect();
            Err(CommandFailure::usage(format!("several replicas run here ({}); {NAME_ONE}", listed.join("; "))))
        }
    }
}

fn show(own: &Own) -> String {
    let at: Vec<String> = own.listens.iter().map(SocketAddr::to_string).collect();
    format!("process {} at {}", own.process, if at.is_empty() { "no address".into() } else { at.join(", ") })
}

/// A process is healthy when all that it listens at answers.
fn ask_own(own: &Own, deadline: Instant) -> Result<(), CommandFailure> {
    if own.listens.is_empty() {
        return Err(CommandFailure::running(format!("process {} does not listen", own.process)));
    }
    own.listens.iter().try_for_each(|&at| ask_at(&reachable(at).to_string(), deadline))
}

/// Where to reach what listens there.
fn reachable(at: SocketAddr) -> SocketAddr {
    match at {
        // Takes IPv4 in, too; that a kernel may have without IPv6 on its loopback.
        SocketAddr::V6(any) if any.ip().is_unspecified() && !has_ipv6_loopback() => {
            (Ipv4Addr::LOCALHOST, at.port()).into()
        }
        SocketAddr::V6(any) if any.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, at.port()).into(),
        SocketAddr::V4(any) if any.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, at.port()).into(),
        exact @ (SocketAddr::V4(_) | SocketAddr::V6(_)) => exact,
    }
}

fn has_ipv6_loopback() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn ask_at(target: &str, deadline: Instant) -> Result<(), CommandFailure> {
    match ask(target, deadline) {
        Ok(status) if status == "200" => {
            output::say(format!("{target} is healthy\n"));
            Ok(())
        }
        Ok(status) => Err(CommandFailure::running(format!("{target} answered {status}"))),
        Err(error) => Err(CommandFailure::running(format!("{target} does not answer: {error}"))),
    }
}

/// `HOST:PORT` of an address or a URL; port 80 where none is given.
fn target(text: &str) -> String {
    let text = text.trim();
    let rest = text.strip_prefix("http://").unwrap_or(text);
    let authority = rest.split('/').next().unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority.to_owned() } else { format!("{authority}:80") }
}

fn ask(target: &str, deadline: Instant) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in target.to_socket_addrs()? {
        let answer =
            TcpStream::connect_timeout(&address, left(deadline)?).and_then(|stream| exchange(stream, target, deadline));
        match answer {
            Ok(status) => return Ok(status),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status of `GET /health`.
fn exchange(mut stream: TcpStream, target: &str, deadline: Instant) -> io::Result<String> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    write!(stream, "GET /health HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    let mut piece = [0; 256];
    // "HTTP/1.1 200" is all that counts.
    while head.len() < 12 {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => head.extend_from_slice(&piece[..bytes]),
        }
    }
    let text = String::from_utf8_lossy(&head[..12]);
    let status =
        text.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once(' ')).map(|(_, status)| status.to_owned());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is not HTTP"))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn targets() {
        for (text, expected) in [
            ("127.0.0.1:8090", "127.0.0.1:8090"),
            ("http://alice:8090/health", "alice:8090"),
            ("http://alice/", "alice:80"),
            ("[::1]:8090", "[::1]:8090"),
            (" alice ", "alice:80"),
        ] {
            assert_eq!(target(text), expected);
        }
    }

    fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer);
            thread::sleep(TIMEOUT * 2);
        });
        address
    }

    fn ask(target: &str) -> io::Result<String> {
        super::ask(target, Instant::now() + TIMEOUT)
    }

    #[test]
    fn answers() {
        assert_eq!(ask(&answering(b"HTTP/1.1 200 OK\r\n\r\n")).unwrap(), "200");
        assert_eq!(ask(&answering(b"HTTP/1.1 503 No\r\n\r\n")).unwrap(), "503");
        assert_eq!(ask(&answering(b"SSH-2.0-OpenSSH_9")).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let started = Instant::now();
        assert!(ask(&answering(b"HTTP/1.1")).is_err());
        assert!(started.elapsed() < TIMEOUT * 2);
        assert!(ask("127.0.0.1:1").is_err());
    }
}
