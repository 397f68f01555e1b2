//! From a peer's address to a connection that takes frames: look-up, dial, upgrade.
//!
//! A name may stand for several addresses of which some lead nowhere. They are tried one after the other, each a little
//! after the one before, whether that one has failed or not. The first that leads to the peer wins (after RFC 8305,
//! Happy Eyeballs). Winning takes the whole upgrade, since what accepts a connection may be anything.

use super::causes::{Failure, LinkCause};
use super::greeting::Greeting;
use super::proof::{Lacks, Opening};
use super::standing::Reaches;
use super::{Inner, LINK_PATH, PROTOCOL};
use crate::Incoming;
use crate::trust::MaybeTls;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use hence_core::{Address, Refused};
use http::HeaderMap;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::io;
use std::rc::Rc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

/// Between two addresses of one name.
const STAGGER: Duration = Duration::from_millis(250);
/// A dial whose first packet is not answered within this is begun anew beside it.
const DIAL_AGAIN: Duration = Duration::from_millis(100);
/// So long a name's earlier addresses are not used because its name server is slow.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// More than one packet of the sizes that networks have.
const PADDING_BYTES: usize = 4_096;
const LARGE_TIMEOUT: Duration = Duration::from_secs(5);

/// More of an answer that asks for a proof is not read.
const REFUSAL_BYTES_MAX: usize = 4_096;

/// A connection to a peer.
pub(super) type Link = MaybeTls<TcpStream>;

/// A connection that takes frames.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: Link,
    /// The format that it carries.
    pub(super) format: u8,
    /// The process at its other end, as that says; none of a build that does not know how to.
    pub(super) greeting: Option<Greeting>,
    /// What came on it already: answers, where they were asked for.
    pub(super) early: Bytes,
    /// Answers were asked for on it.
    pub(super) answers: bool,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To send what is queued, and to get answers on it where they come by no other way.
    Link,
    /// To see which process is there.
    Check,
}

/// Connects to the peer at this address.
pub(super) async fn connect(inner: &Rc<Inner>, address: &Address, purpose: Purpose) -> Result<Dialled, Failure> {
    inner.count(|counters| counters.dials += 1);
    let begun = Instant::now();
    let dialled = match look_up(inner, address).await {
        Ok(targets) => race(inner, address, targets, purpose).await,
        Err(error) => Err(Failure::Unresolved(error)),
    };
    let reaches = match &dialled {
        Ok(Dialled { greeting: Some(greeting), .. }) => Some(Reaches::Process(greeting.process)),
        Err(Failure::Aside(process)) => Some(Reaches::Aside(*process)),
        // A build that says nothing of itself, or one that says that it is another.
        Ok(_) | Err(Failure::OtherAddress(_) | Failure::LookupPending) => None,
        Err(_) => Some(Reaches::Nothing),
    };
    if let Some(reaches) = reaches {
        inner.reached.found(address, begun, reaches);
    }
    dialled.inspect_err(|_| inner.count(|counters| counters.dials_failed += 1))
}

async fn look_up(inner: &Rc<Inner>, address: &Address) -> io::Result<Vec<SocketAddr>> {
    let answer = inner.resolver.look_up(address.as_str(), LOOKUP_TIMEOUT);
    tokio::pin!(answer);
    match timeout(inner.settings.outage_timeout, &mut answer).await {
        Ok(found) => found,
        Err(_) => {
            inner.tell(address, &Failure::LookupPending);
            answer.await
        }
    }
}

/// The first of these that leads to the peer.
async fn race(
    inner: &Rc<Inner>,
    address: &Address,
    targets: Vec<SocketAddr>,
    purpose: Purpose,
) -> Result<Dialled, Failure> {
    if let [only] = *targets {
        return attempt(inner, address, only, purpose).await;
    }
    let mut candidates = targets.into_iter();
    // Ends what is still under way when it is dropped.
    let mut attempts: JoinSet<Result<Dialled, Failure>> = JoinSet::new();
    let mut worst: Option<Failure> = None;
    loop {
        if let Some(target) = candidates.next() {
            let (inner, address) = (Rc::clone(inner), address.clone());
            attempts.spawn_local(async move { attempt(&inner, &address, target, purpose).await });
        }
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep(STAGGER), if candidates.len() > 0 => continue,
        };
        match ended {
            Some(Ok(Ok(dialled))) => return Ok(dialled),
            Some(Ok(Err(failure))) if worst.as_ref().is_none_or(|worst| failure.rank() >= worst.rank()) => {
                worst = Some(failure);
            }
            // It was aborted, which only the end of all of them does.
            Some(Ok(Err(_)) | Err(_)) => {}
            None if candidates.len() > 0 => {}
            None => {
                let none = || Failure::Unresolved(io::ErrorKind::AddrNotAvailable.into());
                return Err(worst.unwrap_or_else(none));
            }
        }
    }
}

async fn attempt(
    inner: &Rc<Inner>,
    address: &Address,
    target: SocketAddr,
    purpose: Purpose,
) -> Result<Dialled, Failure> {
    let settings = &inner.settings;
    let dialled = timeout(settings.dial_timeout, dial(inner.own_ip, target)).await;
    let stream = dialled.map_err(|_| Failure::ConnectTimeout)?.map_err(Failure::NoConnection)?;
    inner.notice(Incoming::Connected { to: address.clone() });
    let upgraded = timeout(inner.opening_timeout(), upgrade(inner, stream, address, (purpose, 0))).await;
    let mut dialled = upgraded.map_err(|_| Failure::HandshakeTimeout)??;
    if let Some(greeting) = &dialled.greeting {
        inner.on_answer(greeting);
        if greeting.home.as_ref() == Some(address) {
            return Err(Failure::Aside(greeting.process));
        }
        dialled.format = settings.formats.common(greeting.formats).ok_or_else(|| inner.strange(greeting))?;
        if greeting.cluster != settings.cluster {
            return Err(Failure::Foreign(greeting.clone()));
        }
        // An unknown replica may be asked under whatever name leads to it: so it learns of this one. Under the
        // name that it says it has it is a peer of its own. It may be this very process.
        let is_known = greeting.address == settings.address || inner.knows(&greeting.address);
        if greeting.address != *address && greeting.home.is_none() && is_known {
            return Err(Failure::OtherAddress(greeting.address.clone()));
        }
    }
    Ok(dialled)
}

/// Do small packets reach this peer, and large ones not? None where neither do, or where it cannot be told.
pub(super) async fn loses_large_packets(inner: &Rc<Inner>, address: &Address) -> Option<bool> {
    let targets = inner.resolver.look_up(address.as_str(), LOOKUP_TIMEOUT).await.ok()?;
    let target = *targets.first()?;
    // A large packet that is lost is sent again several times meanwhile, and a slow link carries it.
    match small_or_large(inner, address, target, PADDING_BYTES, LARGE_TIMEOUT).await? {
        true => Some(false),
        false => small_or_large(inner, address, target, 0, inner.settings.handshake_timeout).await?.then_some(true),
    }
}

/// Is an upgrade answered whose request is padded with so many bytes? None where that says nothing about its size.
async fn small_or_large(
    inner: &Rc<Inner>,
    address: &Address,
    target: SocketAddr,
    padding: usize,
    limit: Duration,
) -> Option<bool> {
    let stream = timeout(inner.settings.dial_timeout, dial(inner.own_ip, target)).await.ok()?.ok()?;
    match timeout(limit, upgrade(inner, stream, address, (Purpose::Check, padding))).await {
        Ok(answered) => answered.ok().map(|_| true),
        Err(_) => Some(false),
    }
}

/// Dials once more every little while, for as long as the caller waits. A kernel sends the first packet of a connection
/// again after a second only. The first that is answered counts.
async fn dial(own_ip: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    // Ends what is still under way when it is dropped.
    let mut attempts: JoinSet<io::Result<TcpStream>> = JoinSet::new();
    loop {
        attempts.spawn_local(dial_once(own_ip, target));
        tokio::select! {
            Some(ended) = attempts.join_next() => return ended.map_err(io::Error::other)?,
            () = sleep(DIAL_AGAIN) => {}
        }
    }
}

/// Dials from the own address, so that firewalls recognise it; from any, where that cannot be.
async fn dial_once(own_ip: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let usable = |ip: &IpAddr| ip.is_ipv4() == target.is_ipv4() && !ip.is_unspecified();
    let stream = match own_ip.filter(usable) {
        Some(ip) => match dial_from(Some(ip), target).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput) => {
                dial_from(None, target).await
            }
            dialled => dialled,
        },
        None => dial_from(None, target).await,
    }?;
    // A port at which no process listens may be the very one that this side got, and TCP joins it to itself.
    if stream.local_addr()? == target {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn dial_from(ip: Option<IpAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = ip {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.connect(target).await
}

/// Makes an HTTP connection one for frames.
async fn upgrade(
    inner: &Rc<Inner>,
    stream: TcpStream,
    address: &Address,
    (purpose, padding): (Purpose, usize),
) -> Result<Dialled, Failure> {
    let stream = secure(inner, stream, address).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(no_http)?;
    // It drives the exchange and ends with the upgrade; if we are dropped first, it ends with us.
    let _driver = AbortOnDrop(spawn_local(connection.with_upgrades()).abort_handle());
    let answers = purpose == Purpose::Link && inner.needs_answers_here();
    let mut headers = asks_for_link(inner, address, answers, padding);
    let mut opening = Opening::begin(inner, &mut headers);
    let mut response = sender.send_request(request(&headers)).await.map_err(no_http)?;
    if response.status() == http::StatusCode::UNAUTHORIZED
        && let Some(opening) = &mut opening
        && opening.prove(inner, response.headers(), &mut headers)
    {
        // Its end makes room for the next request on the connection.
        let _ = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await;
        sender.ready().await.map_err(no_http)?;
        response = sender.send_request(request(&headers)).await.map_err(no_http)?;
    }
    let is_proven = opening.as_ref().is_none_or(|opening| opening.is_answered(inner, response.headers()));
    if !is_proven && inner.trust.is_strict() {
        return Err(unproven(response.status(), response.headers()));
    }
    let greeting = Greeting::read(response.headers());
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(inner, &response, greeting));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(no_http)?;
    let parts = upgraded.downcast::<TokioIo<Link>>().expect("it was made of one above");
    let stream = parts.io.into_inner();
    let format = inner.settings.formats.lowest; // a build that does not introduce itself is an old one
    if answers || parts.read_buf.is_empty() {
        Ok(Dialled { stream, format, greeting, early: parts.read_buf, answers })
    } else {
        Err(Failure::Spoke)
    }
}

/// The connection as this side is to use it: encrypted, and with the replica that has this address at its end, where there is TLS.
async fn secure(inner: &Inner, stream: TcpStream, address: &Address) -> Result<Link, Failure> {
    let Some(tls) = inner.trust.dials_with() else { return Ok(MaybeTls::Plain(stream)) };
    let Some((connector, name)) = tls.connector(address) else {
        return Err(Failure::Tls("no certificate can name this address".into()));
    };
    let mut stream = connector.connect(name, stream).await.map_err(|error| Failure::Tls(error.to_string()))?;
    stream.get_mut().1.set_buffer_limit(Some(tls.buffer_bytes_max()));
    Ok(MaybeTls::Tls(Box::new(stream.into())))
}

/// What failed was HTTP, or TLS below it: a certificate that is refused shows only once something is read.
fn no_http(error: hyper::Error) -> Failure {
    let below = std::error::Error::source(&error).and_then(|error| error.downcast_ref::<io::Error>());
    let tls = below.and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => Failure::Tls(tls.to_string()),
        None => Failure::NoHttp(error),
    }
}

fn request(headers: &HeaderMap) -> http::Request<Empty<Bytes>> {
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(LINK_PATH);
    headers.clone_into(request.headers_mut());
    request
}

/// The headers of a request for a link.
fn asks_for_link(inner: &Inner, address: &Address, answers_here: bool, padding: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(address.as_str()) {
        headers.insert(HOST, host);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Greeting { answers_here, ..inner.request_to(address) }.write(&mut headers);
    if padding > 0 {
        let padding = HeaderValue::from_bytes(&vec![b'-'; padding]).expect("hyphens make a header");
        headers.insert(HeaderName::from_static("hence-padding"), padding);
    }
    headers
}

/// Why the upgrade was refused.
fn refused<B>(inner: &Inner, response: &http::Response<B>, greeting: Option<Greeting>) -> Failure {
    let asks_for_ours = response.headers().get(UPGRADE).is_some_and(|protocol| protocol == PROTOCOL);
    match greeting {
        Some(greeting) if inner.settings.formats.common(greeting.formats).is_none() => inner.strange(&greeting),
        Some(greeting) if greeting.cluster != inner.settings.cluster => Failure::Foreign(greeting),
        Some(_) | None if Lacks::read(response.headers()).is_some() => unproven(response.status(), response.headers()),
        Some(_) | None if response.status() == http::StatusCode::UPGRADE_REQUIRED && asks_for_ours => {
            Failure::NoUpgrade(response.status())
        }
        Some(_) if response.status() == http::StatusCode::UPGRADE_REQUIRED => Failure::NoUpgrade(response.status()),
        Some(_) | None => Failure::Status(response.status()),
    }
}

/// What an answer that opens no link means, where the side that gave it is not proven.
fn unproven(status: http::StatusCode, headers: &HeaderMap) -> Failure {
    match (Lacks::read(headers), status) {
        (Some(lacks), _) => Failure::Lacks(lacks),
        (None, http::StatusCode::SWITCHING_PROTOCOLS | http::StatusCode::UNAUTHORIZED) => Failure::Unproven,
        (None, http::StatusCode::UPGRADE_REQUIRED) => Failure::NoUpgrade(status),
        (None, _) => Failure::Status(status),
    }
}

/// Ends a task with its owner.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// So long it may take until a link is open: a round trip more for TLS and for a proof each.
    fn opening_timeout(&self) -> Duration {
        let trips = 1 + u32::from(self.trust.dials_with().is_some()) + u32::from(self.trust.secrets.is_some());
        self.settings.handshake_timeout * trips
    }

    /// This peer speaks no format that this side speaks.
    fn strange(&self, peer: &Greeting) -> Failure {
        self.count(|counters| counters.formats_refused += 1);
        Failure::Version { theirs: peer.formats, ours: self.settings.formats }
    }

    /// A peer could not be connected to.
    pub(super) fn fail(&self, address: &Address, failure: &Failure) {
        let cause = failure.cause();
        let foreign = (cause == LinkCause::Foreign).then_some(Refused::Foreign);
        let why = foreign.or_else(|| failure.formats().map(Refused::Version));
        if let Some(why) = why {
            self.notice(Incoming::Refused { by: address.clone(), why });
        }
        self.tell(address, failure);
    }

    /// What a peer is not connected to for, where that has not been told.
    pub(super) fn tell(&self, address: &Address, failure: &Failure) {
        let cause = failure.cause();
        let fault = cause.fault().name();
        tracing::debug!(peer = %address, fault, "cannot connect to peer: {failure}");
        let Some(peer) = self.peers.borrow().get(address).map(Rc::clone) else { return };
        if peer.fails(cause, self.settings.outage_timeout) {
            let (replica, cause) = (&self.settings.address, cause.name());
            tracing::warn!(%replica, peer = %address, cause, fault, "cannot connect to a member: {failure}");
        }
    }
}
