//! The agreed addresses: which replicas belong to the cluster, and which incarnation is the newest at each address.
//!
//! There is a row per address. It holds a counter, the newest incarnation heard of, and whether that one is up. The
//! counter is 0 for an unknown address, odd for a member and even for a removed one. A removal's counter is above all
//! others. Rows merge by maximum, so views converge whatever arrives in what order. Only an operator moves a counter; a
//! failure detector never does (VIEW-1 to VIEW-3, VIEW-5).
//!
//! Invariant kept here: a view has at most [`View::ROWS_MAX`] rows, and at most [`View::REMOVED_MAX`] of them are of
//! removed addresses. Which of those go is a function of the rows alone, so every replica forgets the same ones.

use crate::identity::{Address, Incarnation};
use alloc::vec::Vec;
use smallvec::SmallVec;

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The address.
    pub address: Address,
    /// 0 unknown, odd wanted, even from 2 on removed by an operator.
    pub counter: u64,
    /// The newest incarnation there, once one was heard of.
    pub newest: Option<Presence>,
}

/// The newest incarnation at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Presence {
    /// Which.
    pub incarnation: Incarnation,
    /// Has it loaded its state? Never goes back within one incarnation.
    pub up: bool,
}

impl Row {
    /// No honest row has a counter from here on: four thousand million acts of operators.
    pub const COUNTER_LIMIT: u64 = 1 << 32;

    const fn is_odd(&self) -> bool {
        self.counter % 2 == 1
    }

    /// In this order removed addresses are forgotten: a removal's counter is above all that were known when it was
    /// ordered.
    const fn age(&self) -> (u64, &Address) {
        (self.counter, &self.address)
    }

    fn merge(&mut self, other: &Self, counter: impl Fn(u64, u64) -> u64) -> bool {
        let before = (self.counter, self.newest);
        (self.counter, self.newest) = self.merged(other, counter);
        before != (self.counter, self.newest)
    }

    fn merged(&self, other: &Self, counter: impl Fn(u64, u64) -> u64) -> (u64, Option<Presence>) {
        // `Option` orders none below some, and `Presence` by incarnation, then joining below up.
        (counter(self.counter, other.counter), self.newest.max(other.newest))
    }
}

/// Every address ever heard of, with its row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// By address.
    rows: Vec<Row>,
    /// No row is odd. Then all are taken as wanted: two sides that removed each other are both back instead of
    /// both gone. It is derived, never merged, so merging stays a plain maximum.
    nobody: bool,
}

impl View {
    /// Addresses that operators may want at a time; a further one is refused. Two sides of a cut may want so many each.
    pub const WANTED_MAX: usize = 256;

    /// Removed addresses that are remembered; beyond it the one that was removed first is forgotten. A replica that was
    /// away all the while, and still wants that one, brings it back.
    pub const REMOVED_MAX: usize = 256;

    /// Rows of any kind; beyond it no further address is taken in, whatever names it.
    pub const ROWS_MAX: usize = 1_024;

    /// A view in which these addresses are wanted and nothing else is known.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = Address>) -> Self {
        let rows: Vec<Row> = addresses.into_iter().map(|address| Row { address, counter: 1, newest: None }).collect();
        let mut view = Self::default();
        view.merge(&rows);
        view
    }

    /// The row of this address.
    #[must_use]
    pub fn row(&self, address: &Address) -> Option<&Row> {
        self.place(address).ok().map(|at| &self.rows[at])
    }

    /// Where the row of this address is, or belongs.
    fn place(&self, address: &Address) -> Result<usize, usize> {
        match self.rows.iter().position(|row| row.address.is(address)) {
            Some(at) => Ok(at),
            None => self.rows.binary_search_by(|row| row.address.cmp(address)),
        }
    }

    /// All rows, by address.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// The wanted addresses.
    pub fn wanted(&self) -> impl Iterator<Item = &Address> {
        self.rows.iter().filter(|row| row.is_odd() || self.nobody).map(|row| &row.address)
    }

    /// The newest incarnations at the wanted addresses.
    pub fn newest_of_members(&self) -> impl Iterator<Item = Presence> {
        self.rows.iter().filter(|row| row.is_odd() || self.nobody).filter_map(|row| row.newest)
    }

    /// Is this address wanted?
    #[must_use]
    pub fn is_wanted(&self, address: &Address) -> bool {
        self.row(address).is_some_and(|row| row.is_odd() || self.nobody)
    }

    /// The newest incarnation heard of at this address.
    #[must_use]
    pub fn newest(&self, address: &Address) -> Option<Presence> {
        self.row(address).and_then(|row| row.newest)
    }

    /// Takes in what another view says: of two counters the greater. Says whether anything changed here.
    pub fn merge<'a>(&mut self, rows: impl IntoIterator<Item = &'a Row>) -> bool {
        self.merge_by(rows, u64::max)
    }

    /// The same, with this for the counter of mine and theirs.
    pub(crate) fn merge_by<'a>(
        &mut self,
        rows: impl IntoIterator<Item = &'a Row>,
        counter: impl Fn(u64, u64) -> u64,
    ) -> bool {
        let rows: SmallVec<[&Row; 8]> = rows.into_iter().collect();
        // Only where rows may have to go; a view with hardly any removed addresses never does.
        let removed = self.rows.iter().filter(|row| !row.is_odd()).count();
        let before = (removed + rows.len() > Self::REMOVED_MAX).then(|| self.rows.clone());
        let (mut changed, mut next) = (false, 0);
        for row in rows {
            // Rows travel by address, so each is nearly always the one after the last.
            let follows = self.rows.get(next).is_some_and(|own| own.address == row.address);
            let place = if follows { Ok(next) } else { self.place(&row.address) };
            changed |= match place {
                Ok(at) => self.rows[at].merge(row, &counter),
                Err(_) if self.rows.len() >= Self::ROWS_MAX => false,
                Err(at) => {
                    self.rows.insert(at, row.clone());
                    true
                }
            };
            next = place.unwrap_or_else(|at| at) + 1;
        }
        if let Some(before) = before {
            self.forget_removed();
            changed = before != self.rows;
        }
        self.count_wanted();
        changed
    }

    /// Forgets the removed addresses that are too many, those first whose removal is the oldest.
    fn forget_removed(&mut self) {
        let mut removed: Vec<_> = self.rows.iter().filter(|row| !row.is_odd()).map(Row::age).collect();
        if let Some(surplus) = removed.len().checked_sub(Self::REMOVED_MAX).filter(|&surplus| surplus > 0) {
            let (_, first_kept, _) = removed.select_nth_unstable(surplus);
            let (counter, address) = (first_kept.0, first_kept.1.clone());
            self.rows.retain(|row| row.is_odd() || row.age() >= (counter, &address));
        }
    }

    /// Does it know the same addresses, and stay as it is when it is merged with that one?
    pub(crate) fn absorbs(&self, other: &Self, counter: impl Fn(u64, u64) -> u64) -> bool {
        let same = |(mine, theirs): (&Row, &Row)| {
            mine.address == theirs.address && mine.merged(theirs, &counter) == (mine.counter, mine.newest)
        };
        self.rows.len() == other.rows.len()
            && self.nobody != self.rows.iter().any(Row::is_odd)
            && self.rows.iter().zip(&other.rows).all(same)
    }

    /// A replica speaks from this address: it is wanted, unless an operator had removed it.
    pub fn meet(&mut self, address: &Address, newest: Presence) -> bool {
        self.merge([&Row { address: address.clone(), counter: 1, newest: Some(newest) }])
    }

    /// May an operator want this address? Not if that were too many.
    #[must_use]
    pub fn has_room_for(&self, address: &Address) -> bool {
        let known = self.row(address).is_some();
        self.is_wanted(address)
            || self.wanted().count() < Self::WANTED_MAX && (known || self.rows.len() < Self::ROWS_MAX)
    }

    /// An operator wants this address, for which there is room. Says whether any row changed.
    pub fn add(&mut self, address: &Address) -> bool {
        let settled = self.settle();
        let at = self.place(address).unwrap_or_else(|at| {
            self.rows.insert(at, Row { address: address.clone(), counter: 0, newest: None });
            at
        });
        let row = &mut self.rows[at];
        let new = !row.is_odd();
        row.counter += u64::from(new);
        new || settled
    }

    /// An operator does not want this address any more. Says whether it was wanted.
    pub fn remove(&mut self, address: &Address) -> bool {
        self.settle();
        let greatest = self.rows.iter().map(|row| row.counter).max().unwrap_or(0);
        let removed = match self.place(address) {
            Ok(at) if self.rows[at].is_odd() => {
                self.rows[at].counter = (greatest | 1) + 1;
                true
            }
            Ok(_) | Err(_) => false,
        };
        self.forget_removed();
        self.count_wanted();
        removed
    }

    /// An operator's act counts from what is in force: if every address is wanted because none was left, that
    /// is written down first. Says whether it was.
    fn settle(&mut self) -> bool {
        if self.nobody {
            self.rows.iter_mut().for_each(|row| row.counter += 1);
        }
        core::mem::take(&mut self.nobody)
    }

    /// Only for the mutant that leaves it at that.
    pub(crate) const fn leave_nobody(&mut self) {
        self.nobody = false;
    }

    fn count_wanted(&mut self) {
        self.nobody = !self.rows.iter().any(Row::is_odd);
    }

    /// A hash over all rows: equal views have equal hashes.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
            }
        };
        for row in &self.rows {
            add(row.address.as_str().as_bytes());
            add(&row.counter.to_be_bytes());
            add(&row.newest.map_or(0, |newest| newest.incarnation.0).to_be_bytes());
            add(&[u8::from(row.newest.is_some()), u8::from(row.newest.is_some_and(|newest| newest.up))]);
        }
        hash
    }

    /// The rows as a message carries them.
    #[must_use]
    pub fn to_rows(&self) -> Vec<Row> {
        self.rows.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u64) -> Address {
        Address::parse(&alloc::format!("10.0.0.{n}:80")).expect("an address")
    }

    fn views() -> impl Strategy<Value = View> {
        let newest = proptest::option::of((0..3_u64, any::<bool>()));
        proptest::collection::vec((0..4_u64, 1..4_u64, newest), 1..5).prop_map(|rows| {
            let mut view = View::default();
            for (at, counter, newest) in rows {
                let newest = newest.map(|(n, up)| Presence { incarnation: Incarnation(n), up });
                view.merge([&Row { address: address(at), counter, newest }]);
            }
            view
        })
    }

    fn merged(a: &View, b: &View) -> View {
        let mut both = a.clone();
        both.merge(b.rows());
        both
    }

    proptest! {
        #[test]
        fn merge_is_a_join(a in views(), b in views(), c in views()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(&merged(&a, &a), &a);
            prop_assert_eq!(a == b, a.hash() == b.hash());
            prop_assert!(a.absorbs(&a, u64::max));
            prop_assert!(!a.absorbs(&b, u64::max) || merged(&a, &b) == a);
        }
    }

    #[test]
    fn two_sides_that_removed_each_other_are_both_back() {
        let mut left = View::of([address(1), address(2)]);
        let mut right = left.clone();
        assert!(left.remove(&address(2)) && right.remove(&address(1)));
        left.merge(right.rows());
        right.merge(left.rows());
        assert_eq!(left, right);
        assert_eq!(left.wanted().count(), 2);
        // An operator's act on top of that is told to the others, even where it seems to change nothing.
        assert!(left.add(&address(2)) && left != right);
        right.merge(left.rows());
        assert_eq!(left, right);
    }

    fn row(n: u64, counter: u64) -> Row {
        let address = Address::parse(&alloc::format!("10.1.{}.{}:80", n / 250, n % 250)).expect("an address");
        Row { address, counter, newest: None }
    }

    #[test]
    fn a_view_is_bounded_whoever_fills_it() {
        let mut view = View::of([address(1)]);
        for n in 0..5_000 {
            let made_up = row(n, 1).address;
            assert!(view.add(&made_up) && view.is_wanted(&made_up) && view.remove(&made_up), "{n}");
        }
        assert_eq!(view.rows().count(), 1 + View::REMOVED_MAX);
        assert!(view.row(&row(4_999, 1).address).is_some() && view.row(&row(0, 1).address).is_none());
        (0..View::WANTED_MAX as u64 - 1).for_each(|n| _ = view.add(&row(n, 1).address));
        assert!(!view.has_room_for(&row(20_000, 1).address) && view.has_room_for(&row(3, 1).address));
        assert!(view.remove(&row(3, 1).address) && view.has_room_for(&row(20_000, 1).address));
        let many: Vec<Row> = (10_000..15_000).map(|n| row(n, 1)).collect();
        assert!(view.merge(&many) && view.rows().count() == View::ROWS_MAX);
        assert!(!view.merge(&many) && !view.has_room_for(&row(20_000, 1).address));
    }

    #[test]
    fn replicas_forget_the_same_removed_addresses() {
        let removed = |from: u64, to: u64| (from..to).map(|n| row(n, 2 + n % 700 * 2)).collect::<Vec<_>>();
        let mut left = View::of([address(1), address(2)]);
        let mut right = left.clone();
        left.merge(&removed(0, 300));
        right.merge(&removed(150, 600));
        left.merge(right.rows());
        right.merge(left.rows());
        assert!(left == right && !left.merge(&removed(0, 600)));
        assert_eq!(left.rows().count(), 2 + View::REMOVED_MAX);
        assert!(left.row(&row(599, 0).address).is_some() && left.row(&row(299, 0).address).is_none());
    }

    /// A removal that is forgotten in the same step would come back from the next replica that still wants the address.
    #[test]
    fn the_latest_removal_is_the_last_to_be_forgotten() {
        let mut view = View::of([address(1), address(2)]);
        let removed: Vec<Row> = (0..View::REMOVED_MAX as u64).map(|n| row(n, 40 + n % 2 * 2)).collect();
        view.merge(&removed);
        let mut other = view.clone();
        assert!(view.remove(&address(2)));
        view.merge(other.rows());
        other.merge(view.rows());
        assert!(view == other && !view.is_wanted(&address(2)));
    }

    #[test]
    fn a_removal_holds_until_an_operator_adds() {
        let mut view = View::of([address(1), address(2)]);
        assert!(view.remove(&address(2)) && !view.remove(&address(2)));
        let newest = Presence { incarnation: Incarnation(5), up: true };
        assert!(view.meet(&address(2), newest) && !view.is_wanted(&address(2)));
        assert!(view.add(&address(2)) && !view.add(&address(2)));
        assert!(view.is_wanted(&address(2)) && view.newest(&address(2)) == Some(newest));
    }
}
