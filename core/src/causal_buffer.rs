//! Pushed operations that wait for causally earlier ones (PUSH-4, LINK-2).
//!
//! May be dropped at any time: repair brings what was here. Invariant kept here: a duplicate of a parked
//! operation is one operation, and what is applied by another way does not stay.

use crate::causal_context::CausalContext;
use crate::identity::Incarnation;
use crate::op::Op;
use crate::vector::Dot;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

#[derive(Debug, Clone, Default)]
pub(crate) struct CausalBuffer {
    origins: BTreeMap<Incarnation, BTreeMap<u64, Arc<Op>>>,
    len: usize,
    bytes: usize,
}

impl CausalBuffer {
    /// Keeps this operation, unless there are too many already, or too large ones. Says whether it is here now.
    pub(crate) fn insert(&mut self, op: Arc<Op>, len_max: usize, bytes_max: usize) -> bool {
        let dot = op.dot;
        if self.origins.get(&dot.incarnation).is_some_and(|ops| ops.contains_key(&dot.counter)) {
            return true;
        }
        if self.len >= len_max || self.bytes + op.bytes() > bytes_max {
            return false;
        }
        self.bytes += op.bytes();
        self.origins.entry(dot.incarnation).or_default().insert(dot.counter, op);
        self.len += 1;
        assert!(self.len <= len_max && self.bytes <= bytes_max, "{} operations of {} bytes", self.len, self.bytes);
        true
    }

    /// Has the turn of an operation come?
    pub(crate) fn is_ready(&self, may_apply: impl Fn(&Op) -> bool) -> bool {
        self.origins.values().any(|ops| ops.values().next().is_some_and(|op| may_apply(op)))
    }

    /// Takes out an operation whose turn has come.
    pub(crate) fn take_ready(&mut self, may_apply: impl Fn(&Op) -> bool) -> Option<Arc<Op>> {
        let ready = |ops: &BTreeMap<u64, Arc<Op>>| ops.values().next().is_some_and(|op| may_apply(op));
        let origin = *self.origins.iter().find(|(_, ops)| ready(ops))?.0;
        let ops = self.origins.get_mut(&origin)?;
        let (_, op) = ops.pop_first()?;
        if ops.is_empty() {
            self.origins.remove(&origin);
        }
        self.len -= 1;
        self.bytes -= op.bytes();
        self.assert_emptiness();
        Some(op)
    }

    /// Drops what is covered by now.
    pub(crate) fn drop_covered(&mut self, context: &CausalContext) {
        if self.len == 0 {
            return;
        }
        self.origins.retain(|&origin, ops| {
            let counter = context.counter(origin);
            while ops.first_key_value().is_some_and(|(&first, _)| first <= counter) {
                self.bytes -= ops.pop_first().map_or(0, |(_, op)| op.bytes());
            }
            !ops.is_empty()
        });
        self.len = self.origins.values().map(BTreeMap::len).sum();
        self.assert_emptiness();
    }

    /// The link to this origin ended: what it pushed goes with it.
    pub(crate) fn drop_origin(&mut self, origin: Incarnation) {
        if let Some(ops) = self.origins.remove(&origin) {
            self.len -= ops.len();
            self.bytes -= ops.values().map(|op| op.bytes()).sum::<usize>();
            self.assert_emptiness();
        }
    }

    /// Counters and operations agree on whether there is anything.
    fn assert_emptiness(&self) {
        let empty = self.origins.is_empty();
        assert!(
            empty == (self.len == 0) && empty == (self.bytes == 0),
            "{} operations of {} bytes",
            self.len,
            self.bytes
        );
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What is here.
    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.origins.values().flat_map(BTreeMap::values).map(|op| op.dot)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants(&self, context: &CausalContext) {
        let dots: Vec<_> = self.dots().collect();
        assert_eq!(dots.len(), self.len, "count of buffered operations");
        let bytes: usize = self.origins.values().flat_map(BTreeMap::values).map(|op| op.bytes()).sum();
        assert_eq!(bytes, self.bytes, "bytes of buffered operations");
        assert!(!dots.iter().any(|&dot| context.covers(dot)), "an applied operation is still buffered");
    }
}
