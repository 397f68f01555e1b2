//! A transport with a port of its own, where nothing but [`super::LINK_PATH`] is served. It is for tests, tools and
//! programs that embed a replica without its HTTP API.

use super::{HyperSettings, HyperTransport};
use crate::trust::{MaybeTls, Trust, Visitor};
use core::convert::Infallible;
use core::net::SocketAddr;
use hence_core::{Address, ClusterTag};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

/// Connections beyond those from peers that may be in their first moments.
const STRANGERS_MAX: usize = 64;

impl HyperTransport {
    /// A transport that listens at this socket, with default settings. Port 0 takes a free one; the address
    /// in the settings tells which.
    ///
    /// # Errors
    /// When the socket cannot be bound.
    pub async fn bind(socket: SocketAddr, cluster: ClusterTag) -> io::Result<Self> {
        let listener = TcpListener::bind(socket).await?;
        let local = listener.local_addr()?;
        let address = Address::parse(&local.to_string()).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self::with_listener(listener, HyperSettings::new(address, cluster)))
    }

    /// A transport with this listener and these settings.
    #[must_use]
    pub fn with_listener(listener: TcpListener, settings: HyperSettings) -> Self {
        Self::trusting_with_listener(listener, settings, Trust::default())
    }

    /// The same with peers that have to show something.
    #[must_use]
    pub fn trusting_with_listener(listener: TcpListener, settings: HyperSettings, trust: Trust) -> Self {
        let mut transport = Self::with_trust(settings, trust);
        // The task has a handle of its own to the same state. It never outlives the transport.
        let served = Rc::new(Self { inner: Rc::clone(&transport.inner), listener: None });
        transport.listener = Some(spawn_local(listen(listener, served)).abort_handle());
        transport
    }
}

async fn listen(listener: TcpListener, transport: Rc<HyperTransport>) {
    let connections_max = transport.settings().connections_in_max + STRANGERS_MAX;
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= connections_max {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn_local(serve(stream, Rc::clone(&transport)));
                }
                // Too many open files, most likely; it passes.
                Err(_) => tokio::time::sleep(transport.settings().redial_pause).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, transport: Rc<HyperTransport>) {
    let _ = stream.set_nodelay(true);
    let handshake_timeout = transport.settings().handshake_timeout;
    let visitor = Visitor::from_source(stream.peer_addr().ok().map(|address| address.ip()));
    let secured = timeout(handshake_timeout, secure(stream, transport.trust(), &visitor)).await;
    let Ok(Ok(stream)) = secured else { return };
    let service = service_fn(move |request| {
        let response = transport.accept_from(request, &visitor);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(handshake_timeout);
    // Whatever goes wrong before the upgrade concerns only that connection.
    let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// The connection once it is encrypted, where it is to be.
async fn secure(stream: TcpStream, trust: &Trust, visitor: &Visitor) -> io::Result<MaybeTls<TcpStream>> {
    let Some(tls) = trust.expected_of(&stream).await? else { return Ok(MaybeTls::Plain(stream)) };
    let (stream, certificate) = tls.accept(stream).await?;
    visitor.on_secured(certificate);
    Ok(stream)
}
