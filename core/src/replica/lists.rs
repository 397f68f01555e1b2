//! Lists that wait: until every key is in order, an installed state is merged in, or a call has room for a page (LIST-3).
//!
//! Invariants kept here: they are answered in the order in which they came. What they hold is counted.

use crate::request::{ListRequest, RequestId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// A page is not begun with less room than this, in units of work.
pub(super) const PAGE_ROOM: usize = 60;

#[derive(Debug, Clone, Default)]
pub(super) struct Lists {
    blocked: VecDeque<(RequestId, Box<ListRequest>)>,
    bytes: usize,
}

impl Lists {
    /// It waits behind all others.
    pub(super) fn insert(&mut self, id: RequestId, list: Box<ListRequest>) {
        self.bytes += list.bytes();
        self.blocked.push_back((id, list));
    }

    /// The one that has waited longest.
    pub(super) fn take_first(&mut self) -> Option<(RequestId, Box<ListRequest>)> {
        let first = self.blocked.pop_front()?;
        self.bytes -= first.1.bytes();
        Some(first)
    }

    /// It was not its turn yet.
    pub(super) fn put_back(&mut self, id: RequestId, list: Box<ListRequest>) {
        self.bytes += list.bytes();
        self.blocked.push_front((id, list));
    }

    /// Its client is gone.
    pub(super) fn remove(&mut self, id: RequestId) {
        if let Some(at) = self.blocked.iter().position(|(blocked, _)| *blocked == id) {
            let removed = self.blocked.remove(at);
            self.bytes -= removed.map_or(0, |(_, list)| list.bytes());
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.blocked.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::VersionVector;

    fn list(prefix: &str) -> Box<ListRequest> {
        Box::new(ListRequest { prefix: prefix.into(), ..ListRequest::all(VersionVector::new()) })
    }

    #[test]
    fn they_wait_in_turn_and_free_their_bytes() {
        let mut lists = Lists::default();
        for (id, prefix) in [(1, "a"), (2, "bb"), (3, "ccc")] {
            lists.insert(RequestId(id), list(prefix));
        }
        lists.remove(RequestId(2));
        lists.remove(RequestId(7));
        assert_eq!((lists.len(), lists.bytes()), (2, 4));
        let (id, first) = lists.take_first().expect("two wait");
        assert_eq!((id, lists.bytes()), (RequestId(1), 3));
        lists.put_back(id, first);
        assert_eq!(lists.take_first().map(|(id, _)| id), Some(RequestId(1)));
        assert_eq!(lists.take_first().map(|(id, _)| id), Some(RequestId(3)));
        assert!(lists.is_empty() && lists.bytes() == 0);
    }
}
