//! One replica with its clock, its transport and the clients that wait: everything that one thread owns.
//!
//! Requests call the replica directly, on the thread that runs it. No lock, no channel and no task switch lie between a
//! parsed request and its answer, unless the client asked to wait. No borrow of the replica lives across an await,
//! since every method that borrows it is synchronous.

use crate::access::Pass;
use crate::clock::Clock;
use crate::events;
use crate::lag::Visibility;
use crate::metrics::Metrics;
use crate::traces::Tracer;
use crate::watches::{Slot, Watches};
use hence_core::{
    Address, Event, Input, Message, Now, Readiness, Refusal, Replica, ReplicaStatus, Reply, Request, RequestId, Sound,
    Time, WatchPart, WatchRequest,
};
use hence_transport::{Outbox, Transport, drain};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::{Notify, oneshot};

/// A replica and what drives it. Lives on one thread, behind an [`Rc`].
pub(crate) struct Node<T> {
    /// Its address, for the log.
    address: Address,
    replica: RefCell<Replica<Sound>>,
    transport: T,
    clock: Clock,
    next_id: Cell<u64>,
    blocked: RefCell<HashMap<RequestId, oneshot::Sender<Box<Reply>>>>,
    watches: Watches,
    /// When the driver wakes by itself; requests that move the replica's timeout before it call `wake`.
    wakes_at: Cell<Time>,
    wake: Notify,
    metrics: Metrics,
    visibility: Visibility,
    traces: Tracer,
    /// Operations applied when the driver last asked.
    applied: Cell<u64>,
}

/// What [`Node::ask`] gives: the reply, or the wait for it.
pub(crate) enum Asked<T: Transport> {
    /// Answered at once.
    Answered(Box<Reply>),
    /// The replica parked the request.
    Blocked(BlockedReply<T>),
}

impl<T: Transport> Node<T> {
    /// Puts the parts together. The replica must be new or drained.
    pub(crate) fn new(replica: Replica<Sound>, transport: T, clock: Clock, traces: Tracer) -> Rc<Self> {
        Rc::new(Self {
            address: replica.address().clone(),
            replica: RefCell::new(replica),
            transport,
            clock,
            next_id: Cell::new(1),
            blocked: RefCell::default(),
            watches: Watches::default(),
            wakes_at: Cell::new(Time::default()),
            wake: Notify::new(),
            metrics: Metrics::new(),
            visibility: Visibility::default(),
            traces,
            applied: Cell::default(),
        })
    }

    /// Asks the replica, at a time that was just read.
    pub(crate) fn ask(self: &Rc<Self>, now: Now, request: Request) -> Asked<T> {
        let id = self.next_request();
        let before = self.traces.is_sending().then(|| self.replica.borrow().own_writes());
        let reply = self.step_at(now, Input::Request { id, request }, Some(id));
        if let Some(before) = before {
            self.traces.on_asked(before, self.replica.borrow().own_writes());
        }
        if let Some(reply) = reply {
            return Asked::Answered(reply);
        }
        let (sender, receiver) = oneshot::channel();
        self.blocked.borrow_mut().insert(id, sender);
        Asked::Blocked(BlockedReply { node: self.clone(), id, receiver })
    }

    /// A name for one more request.
    pub(crate) fn next_request(&self) -> RequestId {
        let id = RequestId(self.next_id.get());
        self.next_id.set(id.0 + 1);
        id
    }

    /// The clients that watch.
    pub(crate) const fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Hands one input in and everything that comes out on. Returns the reply to `awaited`, if it came.
    pub(crate) fn step(&self, input: Input, awaited: Option<RequestId>) -> Option<Box<Reply>> {
        self.step_at(self.clock.now(), input, awaited)
    }

    /// The same at a time that was just read.
    pub(crate) fn step_at(&self, now: Now, input: Input, awaited: Option<RequestId>) -> Option<Box<Reply>> {
        let mut replica = self.replica.borrow_mut();
        replica.handle(now, input);
        let mut outlet = Outlet { node: self, awaited, reply: None };
        drain(&mut replica, &mut outlet);
        let reply = outlet.reply;
        self.visibility.look(&replica, now.monotonic);
        self.traces.look(&replica, now);
        let wakes_at = self.wakes_at.get();
        if wakes_at > Time::default() && replica.poll_timeout().is_some_and(|next| next < wakes_at) {
            self.wakes_at.set(Time::default());
            self.wake.notify_one();
        }
        reply
    }

    /// Hands on what waits in the replica, without an input.
    pub(crate) fn flush(&self) {
        drain(&mut self.replica.borrow_mut(), &mut Outlet { node: self, awaited: None, reply: None });
    }

    /// Refuses every request that waits, because the replica is going away.
    pub(crate) fn refuse_blocked(&self) {
        for (id, sender) in self.blocked.take() {
            self.step(Input::Cancel { id }, None);
            // A client that went away a moment ago does not need its answer.
            let _ = sender.send(Box::new(Reply::Refused(Refusal::NotReady)));
        }
    }

    /// When the replica wants [`Input::Timeout`].
    pub(crate) fn timeout(&self) -> Option<Time> {
        self.replica.borrow().poll_timeout()
    }

    /// Does a client wait, or was something written since this was last asked? Then an answer or an acknowledgement is
    /// due, and not just a sign of life.
    pub(crate) fn was_busy(&self) -> bool {
        let applied = self.metrics.applied();
        self.applied.replace(applied) != applied || !self.blocked.borrow().is_empty()
    }

    /// The driver sleeps until then; a caller that needs it earlier wakes it.
    pub(crate) fn sleeps_until(&self, time: Time) {
        self.wakes_at.set(time);
    }

    /// The driver is awake and will ask for the timeout itself before it sleeps again.
    pub(crate) fn is_awake(&self) {
        self.wakes_at.set(Time::default());
    }

    /// Waits until a request moved the timeout before what [`Self::sleeps_until`] was told.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The replica's own address.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// What carries messages.
    pub(crate) const fn transport(&self) -> &T {
        &self.transport
    }

    /// The clock that the replica lives by.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What was counted.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How soon members have what is written here.
    pub(crate) const fn visibility(&self) -> &Visibility {
        &self.visibility
    }

    /// Makes spans of requests.
    pub(crate) const fn traces(&self) -> &Tracer {
        &self.traces
    }

    /// Clients that watch.
    pub(crate) fn watches_open(&self) -> u64 {
        self.replica.borrow().watches() as u64
    }

    /// Writes that were done here.
    pub(crate) fn own_writes(&self) -> u64 {
        self.replica.borrow().own_writes()
    }

    /// May clients be sent to the replica, as things are now?
    pub(crate) fn readiness(&self) -> Readiness {
        // The time for absent members may be over although nothing has happened since.
        self.step(Input::Timeout, None);
        self.replica.borrow().readiness()
    }

    /// The entries of the longest token that this replica handed out.
    pub(crate) fn token_entries_given(&self) -> usize {
        self.replica.borrow().longest_vector()
    }

    /// The replica's state in numbers.
    pub(crate) fn status(&self) -> ReplicaStatus {
        self.replica.borrow().status()
    }
}

/// Where the replica's outputs go in production.
struct Outlet<'a, T> {
    node: &'a Node<T>,
    awaited: Option<RequestId>,
    reply: Option<Box<Reply>>,
}

impl<T: Transport> Outbox for Outlet<'_, T> {
    fn send(&mut self, to: &Address, message: Message) {
        self.node.transport.send(to, message);
    }

    fn reply(&mut self, id: RequestId, reply: Box<Reply>) {
        if self.awaited == Some(id) {
            self.reply = Some(reply);
        } else if let Some(sender) = self.node.blocked.borrow_mut().remove(&id) {
            // A client that went away a moment ago does not need its answer.
            let _ = sender.send(reply);
        }
    }

    fn tell(&mut self, id: RequestId, part: Box<WatchPart>) {
        self.node.watches.tell(id, part);
    }

    fn event(&mut self, event: Event) {
        events::tell(&self.node.address, &event);
        self.node.metrics.count_event(&event);
    }
}

/// A request that waits at the replica. Dropping it tells the replica that the client went away.
pub(crate) struct BlockedReply<T: Transport> {
    node: Rc<Node<T>>,
    id: RequestId,
    receiver: oneshot::Receiver<Box<Reply>>,
}

impl<T: Transport> Future for BlockedReply<T> {
    type Output = Box<Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Box<Reply>> {
        // The sender goes without a word only together with the node.
        let refused = |_| Box::new(Reply::Refused(Refusal::NotReady));
        Pin::new(&mut self.receiver).poll(context).map(|reply| reply.unwrap_or_else(refused))
    }
}

impl<T: Transport> Drop for BlockedReply<T> {
    fn drop(&mut self) {
        let waits = self.node.blocked.borrow_mut().remove(&self.id).is_some();
        if waits {
            self.node.step(Input::Cancel { id: self.id }, None);
        }
    }
}

/// A watch at the replica. Dropping it tells the replica that the client went away.
pub(crate) struct Watching<T: Transport> {
    node: Rc<Node<T>>,
    id: RequestId,
    slot: Rc<Slot>,
    /// The client is at a part that the replica does not know to be taken.
    takes: bool,
}

impl<T: Transport> Watching<T> {
    /// Begins a watch of a client that showed this.
    ///
    /// # Errors
    /// Where there is no room for one more.
    pub(crate) fn begin(node: &Rc<Node<T>>, request: WatchRequest, pass: Option<Pass>) -> Result<Self, Refusal> {
        let id = node.next_request();
        let slot = node.watches.begin(id, pass);
        let watching = Self { node: node.clone(), id, slot, takes: false };
        match node.step(Input::Request { id, request: Request::Watch(Box::new(request)) }, Some(id)).as_deref() {
            None => Ok(watching),
            Some(Reply::Refused(refusal)) => Err(*refusal),
            Some(other) => unreachable!("a watch is told or refused, and not answered: {other:?}"),
        }
    }

    /// The next part. To ask for it says that the one before was taken. Nothing comes out when the replica goes away, or
    /// once the client may not watch.
    pub(crate) fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Box<WatchPart>>> {
        if std::mem::take(&mut self.takes) && !self.slot.is_over() {
            self.node.step(Input::Told { id: self.id }, None);
        }
        let part = self.slot.poll(context);
        self.takes = matches!(part, Poll::Ready(Some(_)));
        part
    }

    /// The same, to be awaited.
    pub(crate) async fn part(&mut self) -> Option<Box<WatchPart>> {
        std::future::poll_fn(|context| self.poll_part(context)).await
    }
}

impl<T: Transport> Drop for Watching<T> {
    fn drop(&mut self) {
        self.node.watches.forget(self.id);
        self.node.step(Input::Cancel { id: self.id }, None);
    }
}
