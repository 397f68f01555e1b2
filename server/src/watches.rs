//! The watches of clients: for each the part that its client takes next, and who waits for it.

use crate::access::Pass;
use hence_core::{RequestId, WatchPart};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// All watches of a node, by the request that began them.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    slots: RefCell<HashMap<RequestId, Rc<Slot>>>,
    /// The replica goes away: no watch lasts any more.
    are_over: Rc<Cell<bool>>,
}

/// Where the replica leaves a part until its client takes it. There is one at most.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    part: RefCell<Option<Box<WatchPart>>>,
    waker: RefCell<Option<Waker>>,
    /// The same for all watches.
    are_over: Rc<Cell<bool>>,
    /// What its client showed, where clients have to show something.
    pass: Option<Pass>,
    /// That is not good any more.
    is_withdrawn: Cell<bool>,
}

impl Slot {
    /// The part, once it is there. Nothing comes out when the replica goes away, or once the client may not watch.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Box<WatchPart>>> {
        if self.is_withdrawn.get() {
            return Poll::Ready(None);
        }
        if let Some(part) = self.part.borrow_mut().take() {
            return Poll::Ready(Some(part));
        }
        if self.are_over.get() {
            return Poll::Ready(None);
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Does the replica go away, or may the client not watch any more?
    pub(crate) fn is_over(&self) -> bool {
        self.are_over.get() || self.is_withdrawn.get()
    }

    /// Ends the watch if its client may not watch any more.
    fn look(&self) {
        if self.pass.as_ref().is_some_and(|pass| pass.check().is_err()) {
            self.is_withdrawn.set(true);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Watches {
    /// One more, for a client that showed this.
    pub(crate) fn begin(&self, id: RequestId, pass: Option<Pass>) -> Rc<Slot> {
        let slot = Rc::new(Slot { are_over: self.are_over.clone(), pass, ..Slot::default() });
        // The tokens may have been read again since the request was let in.
        slot.look();
        self.slots.borrow_mut().insert(id, slot.clone());
        slot
    }

    /// One less.
    pub(crate) fn forget(&self, id: RequestId) {
        self.slots.borrow_mut().remove(&id);
    }

    /// The replica tells a watch this.
    pub(crate) fn tell(&self, id: RequestId, part: Box<WatchPart>) {
        // A client that went away a moment ago does not need it.
        let Some(slot) = self.slots.borrow().get(&id).cloned() else { return };
        let before = slot.part.borrow_mut().replace(part);
        assert!(before.is_none(), "{id:?} is told while its client has not taken what it was told before");
        slot.wake();
    }

    /// The tokens of clients were read again: the watches of those who may not watch end.
    pub(crate) fn look(&self) {
        self.slots.borrow().values().for_each(|slot| slot.look());
    }

    /// The replica is going away: every watch ends after what it was told so far.
    pub(crate) fn end(&self) {
        self.are_over.set(true);
        for slot in self.slots.borrow().values() {
            slot.wake();
        }
    }
}
