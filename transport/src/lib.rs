//! The seam between a replica and the world.
//!
//! Outputs leave a replica through [`drain`] into an [`Outbox`]. In production an outbox sends through a [`Transport`].
//! The simulator has its own network, and where it looks into a replica between two outputs it polls them itself.
//!
//! A transport may lose, delay, duplicate and reorder messages. It must not corrupt, invent or block:
//! [`Transport::send`] is synchronous and lossy, a full queue is a loss, and loss is legal. Waiting is real
//! only in [`Transport::receive`]. Every transport passes [`laws`], a public suite of tests.
//!
//! A driver joins the three: what a transport brings goes into a replica, and what comes out goes to the outbox. When
//! nothing arrives it sleeps until [`Replica::poll_timeout`]. Here two replicas meet over the [`memory`] transport.
//! Nothing sleeps: the clock is moved.
//!
//! ```
//! use hence_core::{
//!     Address, Config, Event, Identity, Input, Message, Now, Replica, Reply, RequestId, Seed, Sound, Time, Wall,
//! };
//! use hence_transport::memory::{Hub, MemoryTransport};
//! use hence_transport::{Outbox, Transport, drain};
//! use std::pin::pin;
//! use std::task::{Context, Waker};
//!
//! struct Outlet {
//!     transport: MemoryTransport,
//!     is_up: bool,
//! }
//!
//! impl Outbox for Outlet {
//!     fn send(&mut self, to: &Address, message: Message) {
//!         self.transport.send(to, message);
//!     }
//!     fn reply(&mut self, id: RequestId, reply: Box<Reply>) {
//!         println!("{id:?} gets {reply:?}");
//!     }
//!     fn event(&mut self, event: Event) {
//!         self.is_up |= matches!(event, Event::Up { .. });
//!     }
//! }
//!
//! let hub = Hub::new(100);
//! let addresses = ["127.0.0.2:8090", "127.0.0.3:8090"].map(|text| Address::parse(text).unwrap());
//! let mut now = Now { monotonic: Time(0), wall: Wall(1_800_000_000_000_000) };
//! let mut nodes = [0, 1].map(|n| {
//!     let identity = Identity { address: addresses[n].clone(), view: addresses.to_vec() };
//!     let replica = Replica::new(Sound, Config::default(), identity, Seed([n as u8; 32]), now);
//!     (replica, Outlet { transport: hub.join(&addresses[n]), is_up: false })
//! });
//! while !nodes.iter().all(|(_, outlet)| outlet.is_up) {
//!     // A runtime waits in `receive` until something arrives, or for the timeout.
//!     let mut is_quiet = true;
//!     for (replica, outlet) in &mut nodes {
//!         let mut arrived = Vec::new();
//!         {
//!             let received = pin!(outlet.transport.receive(&mut arrived));
//!             is_quiet &= received.poll(&mut Context::from_waker(Waker::noop())).is_pending();
//!         }
//!         for incoming in arrived {
//!             replica.handle(now, incoming.into());
//!             drain(replica, outlet);
//!         }
//!     }
//!     if is_quiet {
//!         let due = nodes.iter().filter_map(|(replica, _)| replica.poll_timeout()).min().unwrap();
//!         now.monotonic = now.monotonic.max(due);
//!         for (replica, outlet) in &mut nodes {
//!             replica.handle(now, Input::Timeout);
//!             drain(replica, outlet);
//!         }
//!     }
//! }
//! ```
//!
//! Without the feature `hyper` this crate reaches no runtime, no sockets and no threads. It then holds the seam, the
//! [`codec`], the [`memory`] transport, the [`faulty`] one and the laws. `docs/transport.md` tells how to write a
//! transport of another kind, and `examples/unix_sockets.rs` is one.

pub mod codec;
mod counters;
pub mod faulty;
#[cfg(feature = "hyper")]
mod hyper_transport;
pub mod laws;
pub mod memory;
mod shared;
#[cfg(feature = "hyper")]
pub mod trust;

pub use counters::TransportCounters;
#[cfg(feature = "hyper")]
pub use hyper_transport::{HyperSettings, HyperTransport, LINK_PATH, LinkCause, PROTOCOL, Standing};

use async_trait::async_trait;
use hence_core::{Address, Event, Input, Message, Output, Refused, Replica, Reply, RequestId, Rules, WatchPart};

/// Where a replica's outputs go.
pub trait Outbox {
    /// Send this, or lose it. Never blocks.
    fn send(&mut self, to: &Address, message: Message);
    /// Answer a request.
    fn reply(&mut self, id: RequestId, reply: Box<Reply>);
    /// Tell the client of a watch this. The next part comes after [`Input::Told`].
    fn tell(&mut self, id: RequestId, part: Box<WatchPart>) {
        let _ = (id, part);
    }
    /// Something worth telling happened. Nothing depends on a listener.
    fn event(&mut self, event: Event) {
        let _ = event;
    }
}

/// Hands every output that waits in the replica to the outbox.
pub fn drain<R: Rules>(replica: &mut Replica<R>, outbox: &mut impl Outbox) {
    while let Some(output) = replica.poll_output() {
        match output {
            Output::Send { to, message } => outbox.send(&to, message),
            Output::Reply { id, reply } => outbox.reply(id, reply),
            Output::Tell { id, part } => outbox.tell(id, part),
            Output::Event(event) => outbox.event(event),
        }
    }
}

/// What a transport brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message from a peer.
    Message {
        /// The address that the sender says it has.
        from: Address,
        /// The message.
        message: Message,
    },
    /// Bytes of a message arrived that is not whole yet. Told now and then while they do.
    Progress {
        /// The address that the sender said it has in the message before.
        from: Address,
    },
    /// An address accepted a connection that this side opened.
    Connected {
        /// Which.
        to: Address,
    },
    /// A process that says it is the replica at this address was heard, outside of any link.
    Sign {
        /// Which address.
        from: Address,
    },
    /// An address answered and will have nothing to do with this side.
    Refused {
        /// Which.
        by: Address,
        /// Why.
        why: Refused,
    },
    /// Another live process has the own address. From now on this side has that one, or its own again.
    Aside {
        /// Which.
        address: Option<Address>,
    },
}

impl From<Incoming> for Input {
    fn from(incoming: Incoming) -> Self {
        match incoming {
            Incoming::Message { from, message } => Self::Message { from, message },
            Incoming::Progress { from } => Self::Progress { from },
            Incoming::Sign { from } => Self::Sign { from },
            Incoming::Refused { by, why } => Self::Refused { by, why },
            Incoming::Connected { to } => Self::Connected { to },
            Incoming::Aside { address } => Self::Aside { address },
        }
    }
}

/// Carries messages between replicas.
///
/// Both methods take `&self`, so that a request's handler can send while the driver waits in `receive`.
/// One task at a time waits in `receive`.
#[async_trait(?Send)]
pub trait Transport {
    /// Sends this to that address, or loses it. Never blocks, never fails.
    ///
    /// A message that [`Message::is_opening`] begins a new link: what is still queued for that address is
    /// dropped and a new connection is made for it.
    fn send(&self, to: &Address, message: Message);

    /// Waits until something arrived and appends all that has, in order of arrival per connection.
    ///
    /// Cancelling the wait loses nothing.
    async fn receive(&self, into: &mut Vec<Incoming>);
}
