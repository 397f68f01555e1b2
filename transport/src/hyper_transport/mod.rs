//! The transport of production: frames over HTTP connections that were upgraded, on tokio and hyper.
//!
//! Each ordered pair of replicas has a connection of its own, which carries frames one way. The sender dials
//! the peer's HTTP port, asks `GET /replica/link` with `Upgrade: hence-replica`, gets 101 and writes
//! frames until one side closes. The receiver's HTTP service hands such requests to
//! [`HyperTransport::accept`]. One port serves clients and peers, and a firewall that passes one passes both.
//!
//! Sending encodes at once into the peer's queue. The peer's task writes whatever the queue holds as soon as
//! the socket takes it: one message goes out alone and at once, many together. Only after many went out together, more
//! are gathered for a millisecond or two.
//!
//! Everything lives in one thread, in a tokio runtime of the kind `current_thread`, inside a `LocalSet` or a
//! `LocalRuntime`: tasks are spawned with `spawn_local`. Only the look-up of host names uses threads, a few of its own.
//!
//! Invariants kept here: no borrow of a cell is held across an await. What waits, either way, is bounded by
//! [`HyperSettings`]. A frame surfaces whole or not at all, and one that is refused ends its connection. When a
//! transport is dropped, all its tasks end and its sockets close.

mod admission;
mod again;
mod bearer;
mod causes;
mod complaints;
mod dial;
mod greeting;
mod incoming;
mod listener;
mod outgoing;
mod pace;
mod peer;
mod proof;
mod reach;
mod refusal;
mod resolver;
mod returns;
mod settings;
mod standing;
#[cfg(test)]
mod tests;

pub use causes::LinkCause;
pub use settings::HyperSettings;
pub use standing::Standing;

use crate::codec::{CodecError, FrameReader, OpMemo, Taken};
use crate::trust::Trust;
use crate::{Incoming, Transport, TransportCounters};
use admission::{Links, Unfinished};
use async_trait::async_trait;
use bearer::Bearer;
use complaints::Complaints;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};
use greeting::Greeting;
use hence_core::{Address, Message};
use peer::Peer;
use reach::Reached;
use resolver::Resolver;
use returns::Ways;
use standing::Whereabouts;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The protocol that connections between replicas are upgraded to.
pub const PROTOCOL: &str = "hence-replica";

/// Where peers ask for the upgrade.
pub const LINK_PATH: &str = "/replica/link";

/// Notices of accepted connections that may wait to be received.
const NOTICES_MAX: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub struct HyperTransport {
    inner: Rc<Inner>,
    listener: Option<AbortHandle>,
}

/// What the tasks of a transport share.
#[derive(Debug)]
struct Inner {
    settings: HyperSettings,
    trust: Trust,
    own_ip: Option<IpAddr>,
    /// Tells this process from another with the same address.
    process: u64,
    /// The address that it has while it stands aside.
    aside: RefCell<Option<Address>>,
    whereabouts: RefCell<Whereabouts>,
    /// How it stood to its address when that was last looked at.
    reported_standing: Cell<Standing>,
    /// A task asks peers where its address leads.
    asks: Cell<bool>,
    reached: Reached,
    ways: Ways,
    resolver: Resolver,
    complaints: Complaints,
    unfinished: Rc<Unfinished>,
    /// Looked up for every message: there are few, and two that are equal are mostly the same piece of memory.
    peers: RefCell<BTreeMap<Address, Rc<Peer>>>,
    links: RefCell<Links>,
    arrivals: RefCell<Arrivals>,
    /// The driver took the arrivals, so there is room again.
    taken: Notify,
    memo: RefCell<OpMemo>,
    counters: RefCell<TransportCounters>,
}

#[derive(Debug, Default)]
struct Arrivals {
    queue: Vec<Incoming>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Arrivals {
    /// Something came to the queue that took so many bytes.
    fn arrived(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl HyperTransport {
    /// A transport that listens nowhere itself: an HTTP service of the caller has to pass requests to
    /// [`Self::accept`]. Connections to peers are made when there is something to send.
    #[must_use]
    pub fn new(settings: HyperSettings) -> Self {
        Self::with_trust(settings, Trust::default())
    }

    /// The same with peers that have to show something.
    #[must_use]
    pub fn with_trust(settings: HyperSettings, trust: Trust) -> Self {
        let own_ip = settings.address.as_str().parse::<SocketAddr>().ok().map(|socket| socket.ip());
        // Keys are drawn from the operating system's randomness for each state.
        let process = RandomState::new().hash_one(std::process::id());
        let inner = Inner {
            unfinished: Unfinished::new(settings.unfinished_bytes_max),
            settings,
            trust,
            own_ip,
            process,
            aside: RefCell::default(),
            whereabouts: RefCell::new(Whereabouts::new(process)),
            reported_standing: Cell::new(Standing::Home),
            asks: Cell::default(),
            reached: Reached::default(),
            ways: Ways::default(),
            resolver: Resolver::default(),
            complaints: Complaints::default(),
            peers: RefCell::default(),
            links: RefCell::default(),
            arrivals: RefCell::default(),
            taken: Notify::new(),
            memo: RefCell::default(),
            counters: RefCell::default(),
        };
        Self { inner: Rc::new(inner), listener: None }
    }

    /// The totals since it was made.
    #[must_use]
    pub fn counters(&self) -> TransportCounters {
        let unfinished_bytes = self.inner.unfinished.reserved() as u64;
        TransportCounters { unfinished_bytes, ..*self.inner.counters.borrow() }
    }

    /// The peers that cannot be connected to, and why.
    #[must_use]
    pub fn outages(&self) -> Vec<(Address, LinkCause)> {
        let peers = self.inner.peers.borrow();
        peers.iter().filter_map(|(address, peer)| Some((address.clone(), peer.outage()?))).collect()
    }

    /// How this process stands to its address, as far as its peers can tell.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.inner.standing()
    }

    /// What peers have to show.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.inner.trust
    }

    /// The settings that it runs with.
    #[must_use]
    pub fn settings(&self) -> &HyperSettings {
        &self.inner.settings
    }
}

impl Drop for HyperTransport {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        self.inner.peers.take().into_values().for_each(|peer| peer.close());
        self.inner.links.borrow().close_all();
    }
}

#[async_trait(?Send)]
impl Transport for HyperTransport {
    fn send(&self, to: &Address, message: Message) {
        outgoing::send(&self.inner, to, &message);
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        poll_fn(|context| {
            let mut arrivals = self.inner.arrivals.borrow_mut();
            if arrivals.queue.is_empty() {
                arrivals.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            if into.is_empty() {
                core::mem::swap(into, &mut arrivals.queue);
            } else {
                into.append(&mut arrivals.queue);
            }
            arrivals.bytes = 0;
            Poll::Ready(())
        })
        .await;
        self.inner.taken.notify_waiters();
    }
}

impl Inner {
    /// The address that frames bear.
    fn address(&self) -> Address {
        self.aside.borrow().as_ref().unwrap_or(&self.settings.address).clone()
    }

    /// How this process introduces itself.
    fn greeting(&self) -> Greeting {
        let home = self.aside.borrow().is_some().then(|| self.settings.address.clone());
        Greeting { home, ..Greeting::of(self.settings.cluster, self.process, self.address(), self.settings.formats) }
    }

    /// The same where it asks this address for a link.
    fn request_to(&self, address: &Address) -> Greeting {
        let rival = self.whereabouts.borrow().rival(Instant::now());
        Greeting { rival, claim: self.reached.claim(address), ..self.greeting() }
    }

    /// Can no peer connect to this process?
    fn needs_answers_here(&self) -> bool {
        matches!(self.standing(), Standing::Displaced | Standing::Unreachable)
    }

    /// Does this side speak to this address?
    fn knows(&self, address: &Address) -> bool {
        self.peers.borrow().contains_key(address)
    }

    fn count(&self, change: impl FnOnce(&mut TransportCounters)) {
        change(&mut self.counters.borrow_mut());
    }

    /// Moves the next frame's messages to the queue, without a list of them on the way. Such a list, which is large to
    /// an allocator, cost a follower 15 % more instructions.
    fn take_frame(&self, reader: &mut FrameReader, bearer: &Bearer) -> Result<Option<Taken>, CodecError> {
        let mut arrivals = self.arrivals.borrow_mut();
        let before = arrivals.queue.len();
        let queue = &mut arrivals.queue;
        let taken = reader.take_frame(|from, message| {
            queue.push(Incoming::Message { from: from.clone(), message });
        });
        let taken = match taken {
            Ok(Some(taken)) if !bearer.may_bear(&taken.from) => Err(CodecError::Address(taken.from)),
            taken => taken,
        };
        match &taken {
            Ok(Some(taken)) => arrivals.arrived(taken.bytes),
            Ok(None) => {}
            Err(_) => arrivals.queue.truncate(before),
        }
        taken
    }

    /// From now on this process has that address, or its own again.
    fn stands_aside(&self, address: Option<Address>) {
        // What is queued bears the address of before.
        self.peers.take().into_values().for_each(|peer| peer.close());
        self.aside.replace(address.clone());
        let mut arrivals = self.arrivals.borrow_mut();
        arrivals.queue.push(Incoming::Aside { address });
        arrivals.arrived(0);
    }

    /// Something that may be left out where nothing takes arrivals.
    fn notice(&self, notice: Incoming) {
        let mut arrivals = self.arrivals.borrow_mut();
        if arrivals.queue.len() < NOTICES_MAX {
            arrivals.queue.push(notice);
            arrivals.arrived(0);
        }
    }

    /// Waits until what arrived has been taken, if it is much.
    async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.arrivals.borrow().bytes < self.settings.receive_bytes_max {
                return;
            }
            taken.await;
        }
    }
}

/// Counts an open connection for as long as it lives.
#[derive(Debug)]
struct Counted {
    inner: Rc<Inner>,
    field: fn(&mut TransportCounters) -> &mut u64,
}

impl Counted {
    fn new(inner: &Rc<Inner>, field: fn(&mut TransportCounters) -> &mut u64) -> Self {
        inner.count(|counters| *field(counters) += 1);
        Self { inner: Rc::clone(inner), field }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let field = self.field;
        self.inner.count(|counters| *field(counters) -= 1);
    }
}
