//! One client's watch: the part that it is told next, and the wait for it.

use crate::node::Node;
use hence_core::{Input, Refusal, Reply, Request, RequestId, WatchPart, WatchRequest};
use hence_transport::Transport;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// All watches of a node, by the request that began them.
#[derive(Debug, Default)]
pub(crate) struct Watches(RefCell<HashMap<RequestId, Rc<Slot>>>);

/// Where the replica leaves a part until its client takes it. There is one at most.
#[derive(Debug, Default)]
struct Slot {
    part: RefCell<Option<Box<WatchPart>>>,
    waker: RefCell<Option<Waker>>,
    is_over: Cell<bool>,
}

impl Slot {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Watches {
    /// The replica tells a watch this.
    pub(crate) fn tell(&self, id: RequestId, part: Box<WatchPart>) {
        // A client that went away a moment ago does not need it.
        let Some(slot) = self.0.borrow().get(&id).cloned() else { return };
        let before = slot.part.borrow_mut().replace(part);
        assert!(before.is_none(), "{id:?} is told while its client has not taken what it was told before");
        slot.wake();
    }

    /// The replica is going away: every watch ends after what it was told so far.
    pub(crate) fn end(&self) {
        for slot in self.0.borrow().values() {
            slot.is_over.set(true);
            slot.wake();
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
    /// Begins a watch.
    ///
    /// # Errors
    /// Where there is no room for one more.
    pub(crate) fn begin(node: &Rc<Node<T>>, request: WatchRequest) -> Result<Self, Refusal> {
        let (id, slot) = (node.next_request(), Rc::new(Slot::default()));
        node.watches().0.borrow_mut().insert(id, slot.clone());
        let watching = Self { node: node.clone(), id, slot, takes: false };
        match node.step(Input::Request { id, request: Request::Watch(Box::new(request)) }, Some(id)).as_deref() {
            None => Ok(watching),
            Some(Reply::Refused(refusal)) => Err(*refusal),
            Some(other) => unreachable!("a watch is told or refused, and not answered: {other:?}"),
        }
    }

    /// The next part. To ask for it says that the one before was taken. Nothing comes out when the replica goes away.
    pub(crate) fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Option<Box<WatchPart>>> {
        if std::mem::take(&mut self.takes) {
            self.node.step(Input::Told { id: self.id }, None);
        }
        if let Some(part) = self.slot.part.borrow_mut().take() {
            self.takes = true;
            return Poll::Ready(Some(part));
        }
        if self.slot.is_over.get() {
            return Poll::Ready(None);
        }
        *self.slot.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// The same, to be awaited.
    pub(crate) async fn part(&mut self) -> Option<Box<WatchPart>> {
        std::future::poll_fn(|context| self.poll_part(context)).await
    }
}

impl<T: Transport> Drop for Watching<T> {
    fn drop(&mut self) {
        self.node.watches().0.borrow_mut().remove(&self.id);
        self.node.step(Input::Cancel { id: self.id }, None);
    }
}
