//! A transport without a network: mailboxes in one thread's memory, for tests, examples and embedded clusters.
//!
//! It needs no runtime: a task that waits is woken through its waker. It loses only what finds a full mailbox or no
//! member at an address.
//!
//! Invariants kept here: a mailbox never holds more messages than its hub's limit, and at most one notice of a
//! connection per address. A mailbox goes with its transport.

use crate::{Incoming, Transport};
use async_trait::async_trait;
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use hence_core::{Address, Message};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Connects the [`MemoryTransport`]s of one thread. Cloning it gives another handle to the same hub.
///
/// ```
/// use hence_core::{Address, Body, Incarnation, Message};
/// use hence_transport::{Transport, memory::Hub};
/// let [a, b] = ["10.0.0.1:1", "10.0.0.2:1"].map(|text| Address::parse(text).unwrap());
/// let hub = Hub::new(100);
/// let (left, right) = (hub.join(&a), hub.join(&b));
/// left.send(&b, Message { from: Incarnation(1), number: 1, echo: 1, sequence: 0, body: Body::Taken { id: 1, frame: 0 } });
/// assert_eq!((left.queued(), right.queued()), (0, 1));
/// ```
#[derive(Debug, Clone)]
pub struct Hub(Rc<RefCell<Mailboxes>>);

#[derive(Debug)]
struct Mailboxes {
    by_address: BTreeMap<Address, Mailbox>,
    messages_max: usize,
    births: u64,
    lost: u64,
}

#[derive(Debug)]
struct Mailbox {
    /// Which transport it belongs to, of those that have had this address.
    birth: u64,
    queue: VecDeque<Incoming>,
    messages: usize,
    waker: Option<Waker>,
}

impl Hub {
    /// A hub whose mailboxes hold up to so many messages each; further ones are lost. They are shared, not
    /// copied, so their memory is that of the operations that they name.
    #[must_use]
    pub fn new(messages_max: usize) -> Self {
        let by_address = BTreeMap::new();
        Self(Rc::new(RefCell::new(Mailboxes { by_address, messages_max, births: 0, lost: 0 })))
    }

    /// A transport at this address. One that had it before gets nothing more.
    #[must_use]
    pub fn join(&self, address: &Address) -> MemoryTransport {
        let mut mailboxes = self.0.borrow_mut();
        mailboxes.births += 1;
        let birth = mailboxes.births;
        let mailbox = Mailbox { birth, queue: VecDeque::new(), messages: 0, waker: None };
        mailboxes.by_address.insert(address.clone(), mailbox);
        MemoryTransport { hub: self.clone(), address: address.clone(), birth }
    }

    /// How many messages were lost because no member was there, there was no room, or a new link opened.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.borrow().lost
    }
}

impl Mailboxes {
    fn deliver(&mut self, from: &Address, to: &Address, message: Message) {
        let messages_max = self.messages_max;
        let Some(mailbox) = self.by_address.get_mut(to) else {
            self.lost += 1;
            return;
        };
        let opening = message.is_opening();
        if opening {
            self.lost += mailbox.forget(from);
        }
        if mailbox.messages < messages_max {
            mailbox.messages += 1;
            mailbox.put(Incoming::Message { from: from.clone(), message });
        } else {
            self.lost += 1;
        }
        if opening && let Some(own) = self.by_address.get_mut(from) {
            let connected = Incoming::Connected { to: to.clone() };
            if !own.queue.contains(&connected) {
                own.put(connected);
            }
        }
    }
}

impl Mailbox {
    fn put(&mut self, incoming: Incoming) {
        self.queue.push_back(incoming);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Drops what this sender still has here and says how many messages that were.
    fn forget(&mut self, sender: &Address) -> u64 {
        let before = self.queue.len();
        self.queue.retain(|incoming| !matches!(incoming, Incoming::Message { from, .. } if from == sender));
        let gone = before - self.queue.len();
        self.messages -= gone;
        gone as u64
    }
}

/// See the module.
#[derive(Debug)]
pub struct MemoryTransport {
    hub: Hub,
    address: Address,
    birth: u64,
}

impl MemoryTransport {
    /// How many arrivals wait to be received.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.mailbox(|mailbox| mailbox.queue.len()).unwrap_or(0)
    }

    fn mailbox<T>(&self, act: impl FnOnce(&mut Mailbox) -> T) -> Option<T> {
        let mut mailboxes = self.hub.0.borrow_mut();
        let mailbox = mailboxes.by_address.get_mut(&self.address)?;
        (mailbox.birth == self.birth).then(|| act(mailbox))
    }
}

#[async_trait(?Send)]
impl Transport for MemoryTransport {
    fn send(&self, to: &Address, message: Message) {
        self.hub.0.borrow_mut().deliver(&self.address, to, message);
    }

    async fn receive(&self, into: &mut Vec<Incoming>) {
        let before = into.len();
        poll_fn(|context| {
            let arrived = self.mailbox(|mailbox| {
                mailbox.messages = 0;
                into.extend(mailbox.queue.drain(..));
                mailbox.waker = Some(context.waker().clone());
                into.len() > before
            });
            // A member that lost its address to another waits for ever.
            if arrived == Some(true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let is_own = |mailbox: &Mailbox| mailbox.birth == self.birth;
        let mut mailboxes = self.hub.0.borrow_mut();
        if mailboxes.by_address.get(&self.address).is_some_and(is_own) {
            mailboxes.by_address.remove(&self.address);
        }
    }
}
