//! What is to happen: a heap of `(time, tie, slot)` over a slab, so that events never move once they are in.
//!
//! Equal times are ordered by a keyed hash, so that every order of them is explored by some seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::with_capacity(256), slots: Vec::with_capacity(256), free: Vec::new() }
    }
}

impl<E> Queue<E> {
    /// Adds an event at a time; `tie` orders it among those of the same time.
    pub fn push(&mut self, time: u64, tie: u64, event: E) {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(event);
            slot
        } else {
            self.slots.push(Some(event));
            (self.slots.len() - 1) as u32
        };
        self.heap.push(Reverse((time, tie, slot)));
    }

    /// Takes the earliest event, if it is not after `until`.
    pub fn pop(&mut self, until: u64) -> Option<(u64, E)> {
        let &Reverse((time, _, slot)) = self.heap.peek()?;
        if time > until {
            return None;
        }
        self.heap.pop();
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("a slot in the heap holds an event");
        Some((time, event))
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_ties_by_hash() {
        let mut queue = Queue::default();
        for (time, tie, name) in [(5, 1, 'a'), (3, 9, 'b'), (3, 2, 'c'), (9, 0, 'd')] {
            queue.push(time, tie, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(5)).collect();
        assert_eq!(order, [(3, 'c'), (3, 'b'), (5, 'a')]);
        queue.push(1, 1, 'e');
        assert_eq!((queue.pop(9), queue.pop(9), queue.pop(9)), (Some((1, 'e')), Some((9, 'd')), None));
        assert!(queue.is_empty() && queue.slots.len() == 4);
    }
}
