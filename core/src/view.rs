//! The agreed addresses: which replicas belong to the cluster, and which incarnation is the newest at each address.
//!
//! There is a record per address. It holds a generation, the newest incarnation heard of, and whether that one is up.
//! The generation is 0 for an unknown address, odd for a member and even for a removed one. A removal's generation is
//! above all others. Records merge by maximum, so views converge whatever arrives in what order. Only an operator moves
//! a generation; a failure detector never does (VIEW-1 to VIEW-3, VIEW-5).
//!
//! Invariant kept here: a view has at most [`View::RECORDS_MAX`] records, and at most [`View::REMOVED_MAX`] of them are
//! of removed addresses. Which of those go is a function of the records alone, so every replica forgets the same ones.

use crate::identity::{Address, Incarnation};
use alloc::vec::Vec;
use smallvec::SmallVec;

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberRecord {
    /// The address.
    pub address: Address,
    /// 0 unknown, odd a member, even from 2 on removed by an operator.
    pub generation: u64,
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

impl MemberRecord {
    /// No honest record has a generation from here on: four thousand million acts of operators.
    pub const GENERATION_LIMIT: u64 = 1 << 32;

    const fn is_odd(&self) -> bool {
        self.generation % 2 == 1
    }

    /// In this order removed addresses are forgotten: a removal's counter is above all that were known when it was
    /// ordered.
    const fn age(&self) -> (u64, &Address) {
        (self.generation, &self.address)
    }

    fn merge(&mut self, other: &Self, newer: impl Fn(u64, u64) -> u64) -> bool {
        let before = (self.generation, self.newest);
        (self.generation, self.newest) = self.merged(other, newer);
        before != (self.generation, self.newest)
    }

    fn merged(&self, other: &Self, newer: impl Fn(u64, u64) -> u64) -> (u64, Option<Presence>) {
        // `Option` orders none below some, and `Presence` by incarnation, then joining below up.
        (newer(self.generation, other.generation), self.newest.max(other.newest))
    }
}

/// Every address ever heard of, with its record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// By address.
    records: Vec<MemberRecord>,
    /// No record is odd. Then all are taken as members: two sides that removed each other are both back instead of
    /// both gone. It is derived, never merged, so merging stays a plain maximum.
    no_members: bool,
}

impl View {
    /// Addresses that operators may want at a time; a further one is refused. Two sides of a cut may want so many each.
    pub const MEMBERS_MAX: usize = 256;

    /// Removed addresses that are remembered; beyond it the one that was removed first is forgotten. A replica that was
    /// away all the while, and still wants that one, brings it back.
    pub const REMOVED_MAX: usize = 256;

    /// Records of any kind; beyond it no further address is taken in, whatever names it.
    pub const RECORDS_MAX: usize = 1_024;

    /// A view in which these addresses are members and nothing else is known.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = Address>) -> Self {
        let records: Vec<MemberRecord> =
            addresses.into_iter().map(|address| MemberRecord { address, generation: 1, newest: None }).collect();
        let mut view = Self::default();
        view.merge(&records);
        view
    }

    /// The record of this address.
    #[must_use]
    pub fn record(&self, address: &Address) -> Option<&MemberRecord> {
        self.place(address).ok().map(|at| &self.records[at])
    }

    /// Where the record of this address is, or belongs.
    fn place(&self, address: &Address) -> Result<usize, usize> {
        match self.records.iter().position(|record| record.address.is(address)) {
            Some(at) => Ok(at),
            None => self.records.binary_search_by(|record| record.address.cmp(address)),
        }
    }

    /// All records, by address.
    pub fn records(&self) -> impl Iterator<Item = &MemberRecord> {
        self.records.iter()
    }

    /// The members.
    pub fn members(&self) -> impl Iterator<Item = &Address> {
        self.records.iter().filter(|record| record.is_odd() || self.no_members).map(|record| &record.address)
    }

    /// The newest incarnations at the members' addresses.
    pub fn newest_of_members(&self) -> impl Iterator<Item = Presence> {
        self.records.iter().filter(|record| record.is_odd() || self.no_members).filter_map(|record| record.newest)
    }

    /// Is this address a member?
    #[must_use]
    pub fn is_member(&self, address: &Address) -> bool {
        self.record(address).is_some_and(|record| record.is_odd() || self.no_members)
    }

    /// The newest incarnation heard of at this address.
    #[must_use]
    pub fn newest(&self, address: &Address) -> Option<Presence> {
        self.record(address).and_then(|record| record.newest)
    }

    /// Takes in what another view says: of two counters the greater. Says whether anything changed here.
    pub fn merge<'a>(&mut self, records: impl IntoIterator<Item = &'a MemberRecord>) -> bool {
        self.merge_by(records, u64::max)
    }

    /// The same, with this for the counter of mine and theirs.
    pub(crate) fn merge_by<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a MemberRecord>,
        newer: impl Fn(u64, u64) -> u64,
    ) -> bool {
        let records: SmallVec<[&MemberRecord; 8]> = records.into_iter().collect();
        // Only where records may have to go; a view with hardly any removed addresses never does.
        let removed = self.records.iter().filter(|record| !record.is_odd()).count();
        let before = (removed + records.len() > Self::REMOVED_MAX).then(|| self.records.clone());
        let (mut changed, mut next) = (false, 0);
        for record in records {
            // Records travel by address, so each is nearly always the one after the last.
            let follows = self.records.get(next).is_some_and(|own| own.address == record.address);
            let place = if follows { Ok(next) } else { self.place(&record.address) };
            changed |= match place {
                Ok(at) => self.records[at].merge(record, &newer),
                Err(_) if self.records.len() >= Self::RECORDS_MAX => false,
                Err(at) => {
                    self.records.insert(at, record.clone());
                    true
                }
            };
            next = place.unwrap_or_else(|at| at) + 1;
        }
        if let Some(before) = before {
            self.forget_removed();
            changed = before != self.records;
        }
        self.look_for_members();
        changed
    }

    /// Forgets the removed addresses that are too many, those first whose removal is the oldest.
    fn forget_removed(&mut self) {
        let mut removed: Vec<_> =
            self.records.iter().filter(|record| !record.is_odd()).map(MemberRecord::age).collect();
        if let Some(surplus) = removed.len().checked_sub(Self::REMOVED_MAX).filter(|&surplus| surplus > 0) {
            let (_, first_kept, _) = removed.select_nth_unstable(surplus);
            let (counter, address) = (first_kept.0, first_kept.1.clone());
            self.records.retain(|record| record.is_odd() || record.age() >= (counter, &address));
        }
    }

    /// Does it know the same addresses, and stay as it is when it is merged with that one?
    pub(crate) fn absorbs(&self, other: &Self, newer: impl Fn(u64, u64) -> u64) -> bool {
        let same = |(mine, theirs): (&MemberRecord, &MemberRecord)| {
            mine.address == theirs.address && mine.merged(theirs, &newer) == (mine.generation, mine.newest)
        };
        self.records.len() == other.records.len()
            && self.no_members != self.records.iter().any(MemberRecord::is_odd)
            && self.records.iter().zip(&other.records).all(same)
    }

    /// A replica speaks from this address: it is a member, unless an operator had removed it.
    pub fn meet(&mut self, address: &Address, newest: Presence) -> bool {
        self.merge([&MemberRecord { address: address.clone(), generation: 1, newest: Some(newest) }])
    }

    /// May an operator want this address? Not if that were too many.
    #[must_use]
    pub fn has_room_for(&self, address: &Address) -> bool {
        let known = self.record(address).is_some();
        self.is_member(address)
            || self.members().count() < Self::MEMBERS_MAX && (known || self.records.len() < Self::RECORDS_MAX)
    }

    /// An operator wants this address, for which there is room. Says whether any record changed.
    pub fn add(&mut self, address: &Address) -> bool {
        let settled = self.settle();
        let at = self.place(address).unwrap_or_else(|at| {
            self.records.insert(at, MemberRecord { address: address.clone(), generation: 0, newest: None });
            at
        });
        let record = &mut self.records[at];
        let new = !record.is_odd();
        record.generation += u64::from(new);
        new || settled
    }

    /// An operator does not want this address any more. Says whether it was a member.
    pub fn remove(&mut self, address: &Address) -> bool {
        self.settle();
        let greatest = self.records.iter().map(|record| record.generation).max().unwrap_or(0);
        let removed = match self.place(address) {
            Ok(at) if self.records[at].is_odd() => {
                self.records[at].generation = (greatest | 1) + 1;
                true
            }
            Ok(_) | Err(_) => false,
        };
        self.forget_removed();
        self.look_for_members();
        removed
    }

    /// An operator's act counts from what is in force: if every address is a member because none was left, that
    /// is written down first. Says whether it was.
    fn settle(&mut self) -> bool {
        if self.no_members {
            self.records.iter_mut().for_each(|record| record.generation += 1);
        }
        core::mem::take(&mut self.no_members)
    }

    /// Only for the mutant that leaves it at that.
    pub(crate) const fn stay_without_members(&mut self) {
        self.no_members = false;
    }

    fn look_for_members(&mut self) {
        self.no_members = !self.records.iter().any(MemberRecord::is_odd);
    }

    /// A hash over all records: equal views have equal hashes.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
            }
        };
        for record in &self.records {
            add(record.address.as_str().as_bytes());
            add(&record.generation.to_be_bytes());
            add(&record.newest.map_or(0, |newest| newest.incarnation.0).to_be_bytes());
            add(&[u8::from(record.newest.is_some()), u8::from(record.newest.is_some_and(|newest| newest.up))]);
        }
        hash
    }

    /// The records as a message carries them.
    #[must_use]
    pub fn to_records(&self) -> Vec<MemberRecord> {
        self.records.clone()
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
        proptest::collection::vec((0..4_u64, 1..4_u64, newest), 1..5).prop_map(|records| {
            let mut view = View::default();
            for (at, counter, newest) in records {
                let newest = newest.map(|(n, up)| Presence { incarnation: Incarnation(n), up });
                view.merge([&MemberRecord { address: address(at), generation: counter, newest }]);
            }
            view
        })
    }

    fn merged(a: &View, b: &View) -> View {
        let mut both = a.clone();
        both.merge(b.records());
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
        left.merge(right.records());
        right.merge(left.records());
        assert_eq!(left, right);
        assert_eq!(left.members().count(), 2);
        // An operator's act on top of that is told to the others, even where it seems to change nothing.
        assert!(left.add(&address(2)) && left != right);
        right.merge(left.records());
        assert_eq!(left, right);
    }

    fn record(n: u64, counter: u64) -> MemberRecord {
        let address = Address::parse(&alloc::format!("10.1.{}.{}:80", n / 250, n % 250)).expect("an address");
        MemberRecord { address, generation: counter, newest: None }
    }

    #[test]
    fn a_view_is_bounded_whoever_fills_it() {
        let mut view = View::of([address(1)]);
        for n in 0..5_000 {
            let made_up = record(n, 1).address;
            assert!(view.add(&made_up) && view.is_member(&made_up) && view.remove(&made_up), "{n}");
        }
        assert_eq!(view.records().count(), 1 + View::REMOVED_MAX);
        assert!(view.record(&record(4_999, 1).address).is_some() && view.record(&record(0, 1).address).is_none());
        (0..View::MEMBERS_MAX as u64 - 1).for_each(|n| _ = view.add(&record(n, 1).address));
        assert!(!view.has_room_for(&record(20_000, 1).address) && view.has_room_for(&record(3, 1).address));
        assert!(view.remove(&record(3, 1).address) && view.has_room_for(&record(20_000, 1).address));
        let many: Vec<MemberRecord> = (10_000..15_000).map(|n| record(n, 1)).collect();
        assert!(view.merge(&many) && view.records().count() == View::RECORDS_MAX);
        assert!(!view.merge(&many) && !view.has_room_for(&record(20_000, 1).address));
    }

    #[test]
    fn replicas_forget_the_same_removed_addresses() {
        let removed = |from: u64, to: u64| (from..to).map(|n| record(n, 2 + n % 700 * 2)).collect::<Vec<_>>();
        let mut left = View::of([address(1), address(2)]);
        let mut right = left.clone();
        left.merge(&removed(0, 300));
        right.merge(&removed(150, 600));
        left.merge(right.records());
        right.merge(left.records());
        assert!(left == right && !left.merge(&removed(0, 600)));
        assert_eq!(left.records().count(), 2 + View::REMOVED_MAX);
        assert!(left.record(&record(599, 0).address).is_some() && left.record(&record(299, 0).address).is_none());
    }

    /// A removal that is forgotten in the same step would come back from the next replica that still wants the address.
    #[test]
    fn the_latest_removal_is_the_last_to_be_forgotten() {
        let mut view = View::of([address(1), address(2)]);
        let removed: Vec<MemberRecord> = (0..View::REMOVED_MAX as u64).map(|n| record(n, 40 + n % 2 * 2)).collect();
        view.merge(&removed);
        let mut other = view.clone();
        assert!(view.remove(&address(2)));
        view.merge(other.records());
        other.merge(view.records());
        assert!(view == other && !view.is_member(&address(2)));
    }

    #[test]
    fn a_removal_holds_until_an_operator_adds() {
        let mut view = View::of([address(1), address(2)]);
        assert!(view.remove(&address(2)) && !view.remove(&address(2)));
        let newest = Presence { incarnation: Incarnation(5), up: true };
        assert!(view.meet(&address(2), newest) && !view.is_member(&address(2)));
        assert!(view.add(&address(2)) && !view.add(&address(2)));
        assert!(view.is_member(&address(2)) && view.newest(&address(2)) == Some(newest));
    }
}
