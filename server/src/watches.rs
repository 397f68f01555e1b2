//! The watches of clients: for each the part that its client takes next, and who waits for it.

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
    is_over: Rc<Cell<bool>>,
}

impl Slot {
    /// The part, once it is there. Nothing comes out when the replica goes away.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Box<WatchPart>>> {
        if let Some(part) = self.part.borrow_mut().take() {
            return Poll::Ready(Some(part));
        }
        if self.is_over.get() {
            return Poll::Ready(None);
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    /// Does the replica go away?
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Watches {
    /// One more.
    pub(crate) fn begin(&self, id: RequestId) -> Rc<Slot> {
        let slot = Rc::new(Slot { is_over: self.are_over.clone(), ..Slot::default() });
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

    /// The replica is going away: every watch ends after what it was told so far.
    pub(crate) fn end(&self) {
        self.are_over.set(true);
        for slot in self.slots.borrow().values() {
            slot.wake();
        }
    }
}
