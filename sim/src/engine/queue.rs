//! What is to happen. It is a sorted list of `(time, tie, slot)` over a slab, so that events never move once they are
//! in. Each owner has one alarm, which is moved instead of being left behind.
//!
//! Equal times are ordered by a keyed hash, so that every order of them is explored by some seed. A key is one number
//! of 128 bits, so a comparison is one, too. The list ends with what is next. To add an event moves the keys of those
//! that come before it, which are a few dozen. A heap took two and a half times as many instructions for both.

use std::cmp::Reverse;

/// Bits of a key that hold the time, the tie and the slot.
const TIME_BITS: u32 = 48;
const TIE_BITS: u32 = 52;
const SLOT_BITS: u32 = 28;

/// The latest time that anything happens at: nine years. What is scheduled later happens then.
pub const TIME_MAX: u64 = (1 << TIME_BITS) - 1;

/// So many keys before the end are looked through first.
const NEAR: usize = 32;

/// No alarm is set.
const NEVER: u128 = u128::MAX;

/// Events by time.
#[derive(Debug)]
pub struct Queue<E> {
    /// Latest first.
    keys: Vec<u128>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    alarms: Vec<u128>,
    /// The owner of the earliest alarm.
    first: usize,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<E> {
    /// An event.
    Event(E),
    /// The alarm of this owner, which is not set any more.
    Alarm(usize),
}

const fn key(time: u64, tie: u64, slot: u32) -> u128 {
    let time = if time < TIME_MAX { time } else { TIME_MAX };
    (time as u128) << (TIE_BITS + SLOT_BITS) | (tie as u128 >> (64 - TIE_BITS)) << SLOT_BITS | slot as u128
}

const fn time_of(key: u128) -> u64 {
    (key >> (TIE_BITS + SLOT_BITS)) as u64
}

/// The time and a part of the tie.
const fn upper(key: u128) -> u64 {
    (key >> 64) as u64
}

impl<E> Queue<E> {
    /// These events, each with its time and its tie, wait from the start; there are so many owners of alarms.
    #[must_use]
    pub fn new(events: impl IntoIterator<Item = (u64, u64, E)>, owners: usize) -> Self {
        let events = events.into_iter();
        let room = 128 + events.size_hint().0;
        let (mut keys, mut slots) = (Vec::with_capacity(room), Vec::with_capacity(room));
        for (slot, (time, tie, event)) in events.enumerate() {
            keys.push(key(time, tie, slot as u32));
            slots.push(Some(event));
        }
        keys.sort_unstable_by_key(|&key| Reverse(key));
        Self { keys, slots, free: Vec::new(), alarms: vec![NEVER; owners], first: 0 }
    }

    /// Adds an event at a time; the upper 52 bits of `tie` order it among those of the same time.
    ///
    /// Inlined, so that an event is made where it waits.
    ///
    /// # Panics
    /// If 2^28 events wait.
    #[inline]
    pub fn push(&mut self, time: u64, tie: u64, event: E) {
        *self.slot_at(time, tie) = Some(event);
    }

    /// A free slot whose turn comes then.
    fn slot_at(&mut self, time: u64, tie: u64) -> &mut Option<E> {
        let slot = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < 1 << SLOT_BITS, "more events wait than can be told apart");
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let key = key(time, tie, slot);
        // What is new nearly always belongs among the few that come next, and not among what a plan says of later.
        let near = self.keys.len().saturating_sub(NEAR);
        let from = if self.keys.get(near).is_some_and(|&other| other > key) { near } else { 0 };
        // The upper halves nearly always differ, and are compared without an unpredictable branch.
        let mut at = from + self.keys[from..].partition_point(|&other| upper(other) > upper(key));
        while self.keys.get(at).is_some_and(|&other| other > key) {
            at += 1;
        }
        self.keys.insert(at, key);
        &mut self.slots[slot as usize]
    }

    /// Sets the alarm of this owner, instead of the one that was set.
    pub fn set_alarm(&mut self, owner: usize, time: u64, tie: u64) {
        self.move_alarm(owner, key(time, tie, owner as u32));
    }

    /// Unsets the alarm of this owner.
    pub fn clear_alarm(&mut self, owner: usize) {
        self.move_alarm(owner, NEVER);
    }

    fn move_alarm(&mut self, owner: usize, key: u128) {
        let first = self.alarms[self.first];
        self.alarms[owner] = key;
        if key < first {
            self.first = owner;
        } else if owner == self.first {
            self.first = (0..self.alarms.len()).min_by_key(|&owner| self.alarms[owner]).unwrap_or(0);
        }
    }

    /// Takes what is earliest, if it is not after `until`.
    ///
    /// Always inlined, so that an event is not moved twice on its way out: 4 % of the time of a run.
    #[inline(always)]
    pub fn pop(&mut self, until: u64) -> Option<(u64, Next<E>)> {
        let alarm = self.alarms.get(self.first).copied().unwrap_or(NEVER);
        let event = self.keys.last().copied().unwrap_or(NEVER);
        let next = alarm.min(event);
        if next == NEVER || time_of(next) > until {
            return None;
        }
        if next == alarm {
            let owner = self.first;
            self.clear_alarm(owner);
            return Some((time_of(next), Next::Alarm(owner)));
        }
        self.keys.pop();
        let slot = next as u32 & ((1 << SLOT_BITS) - 1);
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("a slot that has a key holds an event");
        Some((time_of(next), Next::Event(event)))
    }

    /// How many events wait; alarms do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Does no event wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Domain, Source};

    const fn event(time: u64, name: char) -> Option<(u64, Next<char>)> {
        Some((time, Next::Event(name)))
    }

    #[test]
    fn earliest_first_ties_by_hash() {
        let tie = |n: u64| n << 40;
        let mut queue = Queue::new([(9, 0, 'd'), (3, tie(2), 'c'), (9, tie(1), 'f')], 2);
        for (time, n, name) in [(5, 1, 'a'), (3, 9, 'b')] {
            queue.push(time, tie(n), name);
        }
        queue.set_alarm(1, 4, 0);
        queue.set_alarm(0, 3, tie(5));
        queue.set_alarm(1, 7, 0);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(5)).collect();
        let alarm = (3, Next::Alarm(0));
        assert_eq!(order, [(3, Next::Event('c')), alarm, (3, Next::Event('b')), (5, Next::Event('a'))]);
        queue.push(1, 1, 'e');
        assert_eq!(
            (queue.pop(9), queue.pop(9), queue.pop(9)),
            (event(1, 'e'), Some((7, Next::Alarm(1))), event(9, 'd'))
        );
        assert_eq!((queue.len(), queue.pop(u64::MAX)), (1, event(9, 'f')));
        assert!(queue.pop(u64::MAX).is_none() && queue.is_empty() && queue.slots.len() == 5);
    }

    /// Against a sorted list, with pushes and pops as they come.
    #[test]
    fn agrees_with_a_sorted_list() {
        let mut draw = Source::new(3).draw(Domain::Shape, 0);
        let (mut queue, mut list) = (Queue::new([], 3), Vec::<(u64, u64, Next<u64>)>::new());
        for n in 0..5_000_u64 {
            let (time, tie) = (draw.below(50), draw.long());
            match draw.below(8) {
                0 => {
                    let owner = draw.below(3) as usize;
                    list.retain(|&(.., what)| what != Next::Alarm(owner));
                    if draw.coin() {
                        queue.set_alarm(owner, time, tie);
                        list.push((time, tie, Next::Alarm(owner)));
                    } else {
                        queue.clear_alarm(owner);
                    }
                }
                1..=4 => {
                    queue.push(time, tie, n);
                    list.push((time, tie, Next::Event(n)));
                }
                _ => {
                    list.sort_by_key(|&(time, tie, _)| std::cmp::Reverse((time, tie)));
                    let until = if draw.coin() { 20 } else { 50 };
                    let expected = list.pop_if(|next| next.0 <= until).map(|(time, _, what)| (time, what));
                    assert_eq!(queue.pop(until), expected);
                }
            }
        }
    }
}
