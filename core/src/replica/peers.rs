//! The table of other addresses, and the numbers that links to them are given (LINK-1, LINK-3).
//!
//! Invariants kept here:
//! - A place in the table is never removed, so an index stays good. Each address has one place.
//! - No number is given to two links.
//!
//! Replicas are generic and compiled in the packages that drive them. What is small and hot in a part is `#[inline]`, so
//! that they need not call it.

use super::peer::{Peer, PeerId};
use crate::identity::Address;
use crate::time::Time;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

#[derive(Debug, Clone)]
pub(super) struct Peers {
    table: Vec<Peer>,
    /// Those that are members.
    members: Vec<PeerId>,
    next_number: u64,
    /// Before this no removed address at which no replica was ever heard of is dialled.
    strangers_from: Time,
}

impl Peers {
    /// Links are numbered from this on.
    pub(super) const fn new(next_number: u64) -> Self {
        Self { table: Vec::new(), members: Vec::new(), next_number, strangers_from: Time(0) }
    }

    pub(super) const fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn ids(&self) -> impl Iterator<Item = PeerId> + use<> {
        (0..self.table.len()).map(PeerId)
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.table.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.table.iter_mut()
    }

    /// Those to which a link stands.
    pub(super) fn linked(&self) -> impl Iterator<Item = PeerId> {
        self.ids().filter(|&id| self[id].link.is_established())
    }

    #[inline]
    pub(super) fn members(&self) -> &[PeerId] {
        &self.members
    }

    /// Are these the members from now on? Returns whether there are fewer than before.
    pub(super) fn set_members(&mut self, members: Vec<PeerId>) -> bool {
        assert!(members.iter().all(|id| id.0 < self.table.len()), "a member without a place");
        core::mem::replace(&mut self.members, members).len() > self.members.len()
    }

    pub(super) fn find(&self, address: &Address) -> Option<PeerId> {
        let same = self.table.iter().position(|peer| peer.address.is(address));
        same.or_else(|| self.table.iter().position(|peer| peer.address == *address)).map(PeerId)
    }

    /// Gives an address a place of its own.
    pub(super) fn push(&mut self, peer: Peer) {
        assert!(self.find(&peer.address).is_none(), "{} has a place", peer.address);
        self.table.push(peer);
    }

    /// The number of the link to this peer, which is given one if it has none.
    pub(super) fn number(&mut self, id: PeerId) -> u64 {
        let link = &mut self.table[id.0].link;
        if link.number() == 0 {
            link.name(self.next_number);
            self.next_number += 1;
        }
        link.number()
    }

    /// The number that the next link is given.
    #[cfg(test)]
    pub(super) const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Counts on from this number at least.
    pub(super) fn count_from(&mut self, number: u64) {
        self.next_number = self.next_number.max(number);
    }

    /// Before this no removed address at which no replica was ever heard of is dialled.
    pub(super) const fn strangers_from(&self) -> Time {
        self.strangers_from
    }

    pub(super) const fn rest_strangers_until(&mut self, at: Time) {
        self.strangers_from = at;
    }

    /// # Panics
    /// If an invariant of this module does not hold.
    pub(super) fn check_invariants(&self) {
        for id in self.ids() {
            let peer = &self[id];
            assert_eq!(self.find(&peer.address), Some(id), "{} has two places", peer.address);
            assert!(peer.link.number() < self.next_number, "link {} is given out again", peer.link.number());
            assert_eq!(self.members.contains(&id), peer.is_member, "is {} a member?", peer.address);
        }
    }
}

impl Index<PeerId> for Peers {
    type Output = Peer;

    #[inline]
    fn index(&self, id: PeerId) -> &Peer {
        &self.table[id.0]
    }
}

impl IndexMut<PeerId> for Peers {
    #[inline]
    fn index_mut(&mut self, id: PeerId) -> &mut Peer {
        &mut self.table[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(n: u8) -> Peers {
        let mut peers = Peers::new(7);
        for n in 1..=n {
            let address = Address::parse(&alloc::format!("127.0.0.{n}:8090")).expect("an address");
            peers.push(Peer::new(address, Time(0)));
        }
        peers
    }

    #[test]
    fn each_link_has_a_number_of_its_own() {
        let mut peers = peers(2);
        assert_eq!([0, 1, 0].map(|at| peers.number(PeerId(at))), [7, 8, 7]);
        peers[PeerId(0)].link.forget_number();
        peers.count_from(100);
        peers.count_from(50);
        assert_eq!(peers.number(PeerId(0)), 100);
        peers.check_invariants();
    }

    #[test]
    fn fewer_members_are_noticed() {
        let mut peers = peers(2);
        assert!(!peers.set_members(alloc::vec![PeerId(0), PeerId(1)]));
        assert!(peers.set_members(alloc::vec![PeerId(1)]) && !peers.set_members(alloc::vec![PeerId(0)]));
        assert_eq!(peers.members(), [PeerId(0)]);
    }

    #[test]
    #[should_panic(expected = "has a place")]
    fn an_address_has_one_place() {
        let mut peers = peers(1);
        let address = peers[PeerId(0)].address.clone();
        peers.push(Peer::new(address, Time(0)));
    }
}
