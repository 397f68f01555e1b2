//! From a peer's address to a connection that takes frames: look-up, dial, upgrade.
//!
//! A name may stand for several addresses of which some lead nowhere. They are tried one after the other, each a little
//! after the one before, whether that one has failed or not. The first that leads to the peer wins (after RFC 8305,
//! Happy Eyeballs). Winning takes the whole upgrade, since what accepts a connection may be anything.

use super::causes::{Failure, LinkCause};
use super::greeting::Greeting;
use super::standing::Reaches;
use super::{Inner, LINK_PATH, PROTOCOL};
use crate::Incoming;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use hence_core::{Address, Refused};
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, UPGRADE};
use http_body_util::Empty;
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

/// A connection that takes frames.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    /// The format that it carries.
    pub(super) format: u8,
    /// The process at its other end, as that says; none of a build that does not know how to.
    pub(super) greeting: Option<Greeting>,
    /// What came on it already: answers, where they were asked for.
    pub(super) early: Bytes,
    /// The same connection once more, where answers were asked for on it.
    pub(super) answers: Option<TcpStream>,
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
    let upgraded = timeout(settings.handshake_timeout, upgrade(inner, stream, address, (purpose, 0))).await;
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
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Failure::NoHttp)?;
    // It drives the exchange and ends with the upgrade; if we are dropped first, it ends with us.
    let _driver = AbortOnDrop(spawn_local(connection.with_upgrades()).abort_handle());
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(LINK_PATH);
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(address.as_str()) {
        headers.insert(HOST, host);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    let answers_here = purpose == Purpose::Link && inner.needs_answers_here();
    Greeting { answers_here, ..inner.request_to(address) }.write(headers);
    if padding > 0 {
        let padding = HeaderValue::from_bytes(&vec![b'-'; padding]).expect("hyphens make a header");
        headers.insert(HeaderName::from_static("hence-padding"), padding);
    }
    let response = sender.send_request(request).await.map_err(Failure::NoHttp)?;
    let greeting = Greeting::read(response.headers());
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(inner, &response, greeting));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(Failure::NoHttp)?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("it was made of a TcpStream above");
    let stream = parts.io.into_inner();
    let format = inner.settings.formats.lowest; // a build that does not introduce itself is an old one
    if answers_here {
        let (stream, again) = twice(stream).map_err(Failure::NoConnection)?;
        Ok(Dialled { stream, format, greeting, early: parts.read_buf, answers: Some(again) })
    } else if parts.read_buf.is_empty() {
        Ok(Dialled { stream, format, greeting, early: Bytes::new(), answers: None })
    } else {
        Err(Failure::Spoke)
    }
}

/// The same connection for a reader and a writer.
fn twice(stream: TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    let stream = stream.into_std()?;
    let again = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, TcpStream::from_std(again)?))
}

/// Why the upgrade was refused.
fn refused<B>(inner: &Inner, response: &http::Response<B>, greeting: Option<Greeting>) -> Failure {
    let asks_for_ours = response.headers().get(UPGRADE).is_some_and(|protocol| protocol == PROTOCOL);
    match greeting {
        Some(greeting) if inner.settings.formats.common(greeting.formats).is_none() => inner.strange(&greeting),
        Some(greeting) if greeting.cluster != inner.settings.cluster => Failure::Foreign(greeting),
        Some(_) | None if response.status() == http::StatusCode::UPGRADE_REQUIRED && asks_for_ours => {
            Failure::NoUpgrade(response.status())
        }
        Some(_) if response.status() == http::StatusCode::UPGRADE_REQUIRED => Failure::NoUpgrade(response.status()),
        Some(_) | None => Failure::Status(response.status()),
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
        tracing::debug!(peer = %address, "cannot connect to peer: {failure}");
        let Some(peer) = self.peers.borrow().get(address).map(Rc::clone) else { return };
        let cause = failure.cause();
        if peer.fails(cause, self.settings.outage_timeout) {
            let (replica, cause) = (&self.settings.address, cause.name());
            tracing::warn!(%replica, peer = %address, cause, "cannot connect to a member: {failure}");
        }
    }
}
