//! Values that arrive in pieces and are not whole yet (PIECE-3).
//!
//! What is here is nothing but bytes of values. They say nothing of an operation and make nothing visible. A replica
//! that needs the value of an operation that it may apply looks for it here. So they outlive links, interruptions and
//! pulls, and may be dropped at any time; then the rest of them has come in vain.
//!
//! Invariants kept here: a value is whole when all its bytes are here and have the announced checksum. Bytes take
//! memory when they arrive and not when they are announced.

use crate::causal_context::CausalContext;
use crate::data::Value;
use crate::message::Outline;
use crate::vector::Dot;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a value that is not whole costs beside its bytes.
const OVERHEAD: usize = 128;

#[derive(Debug, Clone, Default)]
pub(crate) struct Pieces {
    values: BTreeMap<Dot, Partial>,
    bytes: usize,
    /// Rises with every piece, to tell which value grew last.
    turn: u64,
}

#[derive(Debug, Clone)]
struct Partial {
    outline: Outline,
    /// The bytes from the first on without a hole.
    head: Vec<u8>,
    /// What came beyond a hole.
    ahead: BTreeMap<u64, Value>,
    whole: Option<Value>,
    grown: u64,
}

impl Partial {
    fn new(outline: Outline) -> Self {
        Self { outline, head: Vec::new(), ahead: BTreeMap::new(), whole: None, grown: 0 }
    }

    fn held(&self) -> u64 {
        if self.whole.is_some() { self.outline.bytes } else { self.head.len() as u64 }
    }

    fn bytes(&self) -> usize {
        let whole = self.whole.as_ref().map_or(0, |value| value.as_bytes().len());
        let ahead: usize = self.ahead.values().map(|piece| piece.as_bytes().len()).sum();
        OVERHEAD + self.head.len() + ahead + whole
    }

    /// Takes in a piece that lies within the value; says whether the value is whole now, and damaged.
    fn add(&mut self, offset: u64, piece: &Value) -> Added {
        if self.whole.is_some() || offset + piece.as_bytes().len() as u64 <= self.held() {
            return Added::Nothing;
        }
        self.ahead.insert(offset, piece.clone());
        let before = self.head.len();
        while let Some((&offset, _)) = self.ahead.first_key_value().filter(|&(&offset, _)| offset <= self.held()) {
            let Some(piece) = self.ahead.remove(&offset) else { break };
            let known = (self.head.len() as u64 - offset) as usize;
            self.head.extend_from_slice(piece.as_bytes().get(known..).unwrap_or_default());
        }
        if self.held() < self.outline.bytes {
            return if self.head.len() > before { Added::More } else { Added::Ahead };
        }
        let head = core::mem::take(&mut self.head);
        if crc32fast::hash(&head) != self.outline.check {
            return Added::Damaged;
        }
        self.whole = Some(Value::new(&head));
        Added::Whole
    }
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// It was here already.
    Nothing,
    /// There is a hole before it.
    Ahead,
    /// The value has grown.
    More,
    /// The value is whole.
    Whole,
    /// All is here and is not what was told; it is dropped.
    Damaged,
}

impl Pieces {
    /// How many bytes of this value are here, from the first on.
    pub(crate) fn held(&self, dot: Dot, outline: Outline) -> u64 {
        self.values.get(&dot).filter(|partial| partial.outline == outline).map_or(0, Partial::held)
    }

    /// The value, if it is whole.
    pub(crate) fn whole(&self, dot: Dot, outline: Outline) -> Option<&Value> {
        self.values.get(&dot).filter(|partial| partial.outline == outline)?.whole.as_ref()
    }

    /// Takes in a piece of a value. The piece lies within it.
    pub(crate) fn add(&mut self, dot: Dot, outline: Outline, offset: u64, piece: &Value) -> Added {
        assert!(offset + piece.as_bytes().len() as u64 <= outline.bytes, "a piece lies within its value");
        self.turn += 1;
        if self.values.get(&dot).is_some_and(|known| known.outline != outline) {
            self.remove(dot); // one name for two values: only where a memory was copied
        }
        let partial = self.values.entry(dot).or_insert_with(|| {
            self.bytes += OVERHEAD;
            Partial::new(outline)
        });
        let before = partial.bytes();
        partial.grown = self.turn;
        let added = partial.add(offset, piece);
        assert!(partial.held() <= outline.bytes, "more of {dot} than there is");
        self.bytes = self.bytes + partial.bytes() - before;
        if added == Added::Damaged {
            self.remove(dot);
        }
        added
    }

    /// Drops what came beyond holes: it is asked for again with what is missing before it.
    pub(crate) fn drop_ahead(&mut self, dot: Dot) {
        if let Some(partial) = self.values.get_mut(&dot) {
            self.bytes -= partial.bytes();
            partial.ahead.clear();
            self.bytes += partial.bytes();
        }
    }

    pub(crate) fn remove(&mut self, dot: Dot) {
        if let Some(partial) = self.values.remove(&dot) {
            self.bytes -= partial.bytes();
        }
        assert_eq!(self.values.is_empty(), self.bytes == 0, "pieces without values");
    }

    /// What goes when there is too much. Of the values that rank lowest it is the one that grew longest ago, if it is
    /// not the only one.
    pub(crate) fn least(&self, rank: impl Fn(Dot) -> u8) -> Option<Dot> {
        let order = |(dot, partial): &(&Dot, &Partial)| (rank(**dot), partial.grown);
        self.values.iter().min_by_key(order).map(|(&dot, _)| dot).filter(|_| self.values.len() > 1)
    }

    /// Drops the values of operations that are covered by now.
    pub(crate) fn drop_covered(&mut self, context: &CausalContext) {
        if self.values.is_empty() {
            return;
        }
        self.values.retain(|&dot, _| !context.covers(dot));
        self.bytes = self.values.values().map(Partial::bytes).sum();
    }

    /// Drops all but this value.
    pub(crate) fn keep_only(&mut self, kept: Option<Dot>) {
        self.values.retain(|&dot, _| Some(dot) == kept);
        self.bytes = self.values.values().map(Partial::bytes).sum();
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.bytes, self.values.values().map(Partial::bytes).sum::<usize>(), "bytes of pieces");
        for partial in self.values.values() {
            assert!(partial.held() <= partial.outline.bytes, "more of a value than there is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Incarnation;
    use alloc::vec;

    const DOT: Dot = Dot { incarnation: Incarnation(1), counter: 4 };
    const TEXT: &[u8] = b"a value of some length";

    fn outline() -> Outline {
        Outline::of(&Value::new(TEXT))
    }

    fn piece(from: usize, to: usize) -> Value {
        Value::new(&TEXT[from..to])
    }

    #[test]
    fn pieces_in_any_order_and_more_than_once_make_the_value() {
        let orders = [vec![(0, 9), (9, 15), (15, 22)], vec![(15, 22), (9, 15), (0, 9)], vec![(4, 22), (0, 9)]];
        for order in orders {
            let mut pieces = Pieces::default();
            for (from, to) in order.iter().take(order.len() - 1).chain(&order[..1]) {
                assert_ne!(pieces.add(DOT, outline(), *from as u64, &piece(*from, *to)), Added::Whole);
                assert_eq!(pieces.whole(DOT, outline()), None);
                pieces.check_invariants();
            }
            let (from, to) = order[order.len() - 1];
            assert_eq!(pieces.add(DOT, outline(), from as u64, &piece(from, to)), Added::Whole);
            assert_eq!(pieces.whole(DOT, outline()), Some(&Value::new(TEXT)));
            pieces.check_invariants();
        }
    }

    #[test]
    fn what_is_held_is_kept_and_what_is_damaged_is_not() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(DOT, outline(), 0, &piece(0, 9)), Added::More);
        assert_eq!(pieces.add(DOT, outline(), 12, &piece(12, 15)), Added::Ahead);
        assert_eq!(pieces.held(DOT, outline()), 9);
        let other = Outline { check: 1, ..outline() };
        assert_eq!(pieces.held(DOT, other), 0, "not a piece of that value");
        assert_eq!(pieces.add(DOT, outline(), 9, &Value::new(&[b'x'; 13])), Added::Damaged);
        assert_eq!((pieces.held(DOT, outline()), pieces.bytes()), (0, 0));
    }

    #[test]
    fn the_one_that_grew_longest_ago_goes_first() {
        let mut pieces = Pieces::default();
        let dot = |counter| Dot { counter, ..DOT };
        for counter in [1, 2, 3, 1] {
            pieces.add(dot(counter), outline(), 0, &piece(0, 9));
        }
        pieces.add(dot(1), outline(), 9, &piece(9, 11));
        assert_eq!(pieces.least(|_| 0), Some(dot(2)));
        assert_eq!(pieces.least(|one| u8::from(one == dot(2))), Some(dot(3)));
        pieces.remove(dot(2));
        pieces.remove(dot(3));
        assert_eq!(pieces.least(|_| 0), None, "the only one stays");
        pieces.check_invariants();
    }
}
