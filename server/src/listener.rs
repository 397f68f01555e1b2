//! Accepts connections and serves each in a task of its own, on the replica's thread.

use crate::connections::{Registered, TICK, Watched};
use crate::http::Service;
use crate::metrics::count;
use crate::wire::Wire;
use hence_core::Address;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::{debug, warn};

/// Connections that the kernel completes before they are accepted here.
const BACKLOG: u32 = 4_096;

/// Between two complaints that no connection can be accepted.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(1);

/// Where a replica with this address listens: there, or at all interfaces if its host is a name.
pub(crate) fn candidates(address: &Address, bind: Option<SocketAddr>) -> Vec<SocketAddr> {
    if let Some(bind) = bind {
        return vec![bind];
    }
    if let Ok(exact) = address.as_str().parse() {
        return vec![exact];
    }
    let port = address.as_str().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port = port.expect("an address ends in a port");
    // The IPv6 wildcard takes IPv4 in, too; the other is for kernels without IPv6.
    let wildcards = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
    wildcards.map(|ip| SocketAddr::new(ip, port)).into()
}

/// Listens at the first of these that works.
///
/// # Errors
/// The last one's, where none works.
pub(crate) fn listen(candidates: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &candidate in candidates {
        match listen_at(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted replica must not wait for its predecessor's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever. Dropping the future stops that; accepted connections live on.
pub(crate) async fn accept<T: Wire + 'static>(listener: TcpListener, service: Rc<Service<T>>) {
    let builder = builder(&service);
    let mut said = Seldom::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(stream, &service, &builder),
            Err(error) => {
                // Out of descriptors, most likely: make room instead of turning in circles.
                count(&service.node.metrics().accepts_failed);
                if let Some(unsaid) = said.now(Instant::now()) {
                    warn!(%error, unsaid, "cannot accept connections");
                }
                service.connections.evict(service.node.metrics());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Lets the same complaint through once in [`COMPLAINT_PAUSE`].
#[derive(Debug, Default)]
struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// May it be said now? Then it says how often it was not since it last was.
    fn now(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < COMPLAINT_PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn builder<T>(service: &Service<T>) -> Rc<http1::Builder> {
    let mut builder = http1::Builder::new();
    let head_bytes_max = service.limits.head_bytes_max;
    builder
        .max_header_size(head_bytes_max)
        // Bodies are read in pieces of up to so many bytes.
        .max_buf_size(head_bytes_max.max(service.limits.read_bytes_max))
        // The sweep of connections does that, and tells idle ones from slow ones.
        .header_read_timeout(None)
        // A client that sends nothing more still reads; the sweep finds those that left.
        .half_close(true);
    Rc::new(builder)
}

fn admit<T: Wire + 'static>(stream: TcpStream, service: &Rc<Service<T>>, builder: &Rc<http1::Builder>) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection ended before it began");
        return;
    }
    let Some(registered) = service.connections.admit(stream, service.node.metrics()) else { return };
    let id = registered.id();
    let task = tokio::task::spawn_local(serve(registered, service.clone(), builder.clone()));
    service.connections.bind(id, task.abort_handle());
}

async fn serve<T: Wire + 'static>(registered: Registered, service: Rc<Service<T>>, builder: Rc<http1::Builder>) {
    let connection = registered.connection().clone();
    let stream = match connection.open(&service.trust).await {
        Ok(stream) => Watched::of(&connection, stream),
        Err(error) => {
            count(&service.node.metrics().handshakes_failed);
            debug!(%error, "a connection did not become an encrypted one");
            return;
        }
    };
    let handler = service_fn(move |request| service.serve(request, &connection));
    if let Err(error) = builder.serve_connection(stream, handler).with_upgrades().await {
        debug!(%error, "a client's connection failed");
    }
    drop(registered);
}

/// Looks at all connections once per tick, for ever, but not while there are none. That would wake an idle replica
/// twenty times a second, for more CPU than all its peers cost it. (On its way tokio cascades such a timer once.)
pub(crate) async fn sweep<T: Wire>(service: Rc<Service<T>>) {
    loop {
        service.connections.any().await;
        tokio::time::sleep(TICK).await;
        service.connections.sweep(service.node.metrics());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_comes_once_a_second() {
        let start = Instant::now();
        let mut said = Seldom::default();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let answers = [0, 1, 999, 1_000, 1_001, 5_000].map(|millis| said.now(at(millis)));
        assert_eq!(answers, [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn where_to_listen() {
        let at = |text: &str| candidates(&Address::parse(text).unwrap(), None);
        assert_eq!(at("127.0.0.2:8090"), ["127.0.0.2:8090".parse().unwrap()]);
        assert_eq!(at("[::1]:8090"), ["[::1]:8090".parse().unwrap()]);
        assert_eq!(at("alice:8090"), ["[::]:8090".parse().unwrap(), "0.0.0.0:8090".parse().unwrap()]);
        let bind = "0.0.0.0:9".parse().unwrap();
        assert_eq!(candidates(&Address::parse("alice:8090").unwrap(), Some(bind)), [bind]);
    }
}
