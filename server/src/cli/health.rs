//! `hence health`: does a replica answer? One request over a socket, within TLS where the replica speaks that; no HTTP
//! client is needed for it.

use super::CommandFailure;
use super::health_args::HealthArgs;
use super::https::Https;
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
        let https = if is_https(address) { Some(https(args)?) } else { None };
        return ask_at(&target(address), https.as_ref(), deadline);
    }
    match (own::find().as_slice(), args.named.as_deref()) {
        ([own], _) => ask_own(own, args.tls_cert.is_some(), deadline),
        // Which of them, or one that runs elsewhere, is for the environment to say.
        (_, Some(named)) => {
            let https = if args.tls_cert.is_some() || is_https(named) { Some(https(args)?) } else { None };
            ask_at(&target(named), https.as_ref(), deadline)
        }
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

fn is_https(address: &str) -> bool {
    address.trim().starts_with("https://")
}

fn https(args: &HealthArgs) -> Result<Https, CommandFailure> {
    let none = || CommandFailure::usage("https needs --ca FILE, or HENCE_PEER_CA: the authorities to trust");
    args.ca.as_deref().ok_or_else(none).and_then(Https::trusting)
}

/// A process is healthy when all that it listens at answers. Whether it speaks `tls` the environment says, or its answer.
fn ask_own(own: &Own, tls: bool, deadline: Instant) -> Result<(), CommandFailure> {
    if own.listens.is_empty() {
        return Err(CommandFailure::running(format!("process {} does not listen", own.process)));
    }
    let https = Https::beside();
    own.listens.iter().try_for_each(|&at| {
        let target = reachable(at).to_string();
        let ways = if tls { [Some(&https), None] } else { [None, Some(&https)] };
        ask_at(&target, ways[0], deadline).or_else(|first| ask_at(&target, ways[1], deadline).map_err(|_| first))
    })
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

fn ask_at(target: &str, https: Option<&Https>, deadline: Instant) -> Result<(), CommandFailure> {
    match ask(target, https, deadline) {
        Ok(status) if status == "200" => {
            output::say(format!("{target} is healthy\n"));
            Ok(())
        }
        Ok(status) => Err(CommandFailure::running(format!("{target} answered {status}"))),
        Err(error) => Err(CommandFailure::running(format!("{target} does not answer: {error}"))),
    }
}

/// `HOST:PORT` of an address or a URL; where none is given the port of its protocol.
fn target(text: &str) -> String {
    let text = text.trim();
    let (rest, port) = match text.strip_prefix("https://") {
        Some(rest) => (rest, 443),
        None => (text.strip_prefix("http://").unwrap_or(text), 80),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { authority.to_owned() } else { format!("{authority}:{port}") }
}

fn ask(target: &str, https: Option<&Https>, deadline: Instant) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in target.to_socket_addrs()? {
        let answer = TcpStream::connect_timeout(&address, left(deadline)?).and_then(|stream| {
            let socket = stream.try_clone()?;
            socket.set_write_timeout(Some(left(deadline)?))?;
            socket.set_read_timeout(Some(left(deadline)?))?;
            match https {
                Some(https) => exchange(https.begin(stream, target)?, &socket, target, deadline),
                None => exchange(stream, &socket, target, deadline),
            }
        });
        match answer {
            Ok(status) => return Ok(status),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status of `GET /health`; the stream is that of this socket.
fn exchange(mut stream: impl Read + Write, socket: &TcpStream, target: &str, deadline: Instant) -> io::Result<String> {
    write!(stream, "GET /health HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    let mut piece = [0; 256];
    // "HTTP/1.1 200" is all that counts.
    while head.len() < 12 {
        socket.set_read_timeout(Some(left(deadline)?))?;
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
            ("https://alice/health", "alice:443"),
            ("https://[::1]:8090", "[::1]:8090"),
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
        super::ask(target, None, Instant::now() + TIMEOUT)
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
