//! Which addresses belong together, and which incarnation this is (ID-2, ID-3, VIEW-1, VIEW-2).
//!
//! Invariants kept here:
//! - The records and the hash that messages carry are those of the view, once what follows from a change is derived.
//! - The own incarnation only grows, and its epoch is above every epoch in the view when it begins.
//! - An order of an operator moves a generation. Nothing else does.

use super::renewals::Renewals;
use crate::identity::{Address, Identity, Incarnation};
use crate::rules::{Rule, Rules};
use crate::view::{MemberRecord, Presence, View};
use alloc::sync::Arc;
use alloc::vec::Vec;

#[derive(Debug, Clone)]
pub(super) struct Membership {
    address: Address,
    /// The address that it was given, while it stands aside.
    home: Option<Address>,
    incarnation: Incarnation,
    view: View,
    /// The view as messages carry it.
    records: Arc<[MemberRecord]>,
    hash: u64,
    is_member: bool,
    /// The highest write of this incarnation that others know, that it never made, and that was reported.
    impersonated: u64,
    pub(super) renewals: Renewals,
}

impl Membership {
    pub(super) fn new(identity: Identity, incarnation: Incarnation) -> Self {
        let own = core::iter::once(identity.address.clone());
        Self {
            view: View::of(own.chain(identity.view)),
            address: identity.address,
            home: None,
            incarnation,
            records: Vec::new().into(),
            hash: 0,
            is_member: false,
            impersonated: 0,
            renewals: Renewals::default(),
        }
    }

    #[inline]
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Does it stand aside, because its own address leads to another process?
    pub(super) const fn is_displaced(&self) -> bool {
        self.home.is_some()
    }

    #[inline]
    pub(super) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    #[inline]
    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// The records of the view, shared with the messages that carry them.
    pub(super) fn records(&self) -> Arc<[MemberRecord]> {
        self.records.clone()
    }

    #[inline]
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// Is the own address a member?
    #[inline]
    pub(super) const fn is_member(&self) -> bool {
        self.is_member
    }

    /// The incarnation that the view holds for the newest at the own address.
    pub(super) fn newest_here(&self) -> Option<Incarnation> {
        self.view.newest(&self.address).map(|newest| newest.incarnation)
    }

    /// Had the view forgotten this replica as one that was removed long ago?
    pub(super) fn is_forgotten(&self) -> bool {
        self.view.record(&self.address).is_some_and(|own| own.newest.is_none())
    }

    /// Enters this incarnation into the view.
    pub(super) fn introduce(&mut self, up: bool) {
        self.view.meet(&self.address, Presence { incarnation: self.incarnation, up });
    }

    /// Takes in the records of another view. Returns whether that changed anything.
    pub(super) fn merge<'a, R: Rules>(&mut self, rules: &R, records: impl Iterator<Item = &'a MemberRecord>) -> bool {
        self.view.merge_by(records, |mine, theirs| rules.merge_counter(mine, theirs))
    }

    pub(super) fn add(&mut self, address: &Address) -> bool {
        self.view.add(address)
    }

    pub(super) fn remove(&mut self, address: &Address) -> bool {
        self.view.remove(address)
    }

    /// The view changed: what messages say of it follows.
    pub(super) fn derive<R: Rules>(&mut self, rules: &R) {
        if !rules.follows(Rule::AllWhenNoMembers) {
            self.view.stay_without_members();
        }
        self.records = self.view.to_records().into();
        self.hash = self.view.hash();
    }

    /// Returns whether the own address became a member or ceased to be one with the last change of the view.
    pub(super) fn derive_own(&mut self) -> bool {
        let is_member = self.view.is_member(&self.address);
        core::mem::replace(&mut self.is_member, is_member) != is_member
    }

    /// Takes a new incarnation.
    pub(super) fn renew(&mut self, random: u64) {
        let epochs = self.view.records().filter_map(|record| record.newest).map(|newest| newest.incarnation.epoch());
        let epoch = epochs.max().unwrap_or(0).saturating_add(1);
        self.incarnation = Incarnation::new(epoch, random);
        self.impersonated = 0;
    }

    /// From now on it is a removed one at this address, if no other replica has ever had that. Returns whether it is.
    pub(super) fn stand_aside(&mut self, address: Address) -> bool {
        if self.is_displaced() || self.view.record(&address).is_some_and(|record| record.newest.is_some()) {
            return false;
        }
        // As by an operator, so that this record is the last of the removed ones to be forgotten.
        if !self.view.add(&address) || !self.view.remove(&address) {
            return false;
        }
        self.home = Some(core::mem::replace(&mut self.address, address));
        true
    }

    /// The address that it was given is its own again. Returns the one that it gives up.
    pub(super) fn come_home(&mut self) -> Option<Address> {
        let home = self.home.take()?;
        Some(core::mem::replace(&mut self.address, home))
    }

    /// A write of this incarnation exists that it never made. Returns whether that is news, once for each write.
    pub(super) const fn is_unreported(&mut self, counter: u64) -> bool {
        let is_unreported = counter > self.impersonated;
        if is_unreported {
            self.impersonated = counter;
        }
        is_unreported
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        assert_eq!(*self.records, *self.view.to_records(), "messages carry a view that is over");
        assert_eq!(self.hash, self.view.hash(), "messages carry the hash of a view that is over");
        assert_eq!(self.is_member, self.view.is_member(&self.address), "is {} a member?", self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Sound;

    fn address(n: u8) -> Address {
        Address::parse(&alloc::format!("127.0.0.{n}:8090")).expect("an address")
    }

    fn membership() -> Membership {
        let identity = Identity { address: address(1), view: [1, 2].map(address).to_vec() };
        let mut membership = Membership::new(identity, Incarnation::new(1, 7));
        membership.introduce(false);
        membership.derive(&Sound);
        assert!(membership.derive_own(), "it becomes a member");
        membership.check_invariants();
        membership
    }

    #[test]
    fn what_messages_say_follows_the_view() {
        let mut membership = membership();
        let (records, hash) = (membership.records(), membership.hash());
        assert!(membership.remove(&address(1)));
        membership.derive(&Sound);
        assert!(membership.derive_own() && !membership.is_member());
        assert!(*records != *membership.records() && hash != membership.hash());
        assert!(!membership.derive_own(), "nothing changed since");
        membership.check_invariants();
    }

    #[test]
    fn a_new_incarnation_is_above_every_epoch_in_the_view() {
        let mut membership = membership();
        let mut other = membership.clone();
        (0..3).for_each(|random| {
            other.renew(random);
            other.introduce(true);
        });
        assert!(membership.merge(&Sound, other.view().records()));
        assert_eq!(membership.newest_here(), Some(other.incarnation()));
        let before = membership.incarnation();
        membership.renew(9);
        assert!(membership.incarnation() > other.incarnation() && other.incarnation() > before);
    }

    #[test]
    fn one_that_stands_aside_comes_home_to_its_own_address() {
        let mut membership = membership();
        assert!(!membership.stand_aside(address(1)), "an incarnation is known there");
        assert!(membership.stand_aside(address(9)) && membership.is_displaced());
        assert!(!membership.stand_aside(address(8)), "it does already");
        membership.derive(&Sound);
        assert!(membership.derive_own() && !membership.is_member());
        assert!(*membership.address() == address(9));
        assert_eq!(membership.come_home(), Some(address(9)));
        assert!(*membership.address() == address(1) && membership.come_home().is_none());
    }

    #[test]
    fn each_write_of_a_copy_is_unreported_once() {
        let mut membership = membership();
        assert!(
            membership.is_unreported(3)
                && !membership.is_unreported(3)
                && !membership.is_unreported(2)
                && membership.is_unreported(4)
        );
        membership.renew(9);
        assert!(membership.is_unreported(1), "of another incarnation");
    }
}
