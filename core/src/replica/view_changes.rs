//! What follows when the view changes, and when this replica becomes another incarnation (ID-2, VIEW-1, VIEW-2, VIEW-4, VIEW-7).
//!
//! Only operators move a generation; suspicion is local and removes no member. A replica whose address has a newer
//! incarnation takes a new incarnation and keeps its state.

use super::Replica;
use super::peer::{Peer, PeerId};
use super::renewals::Renewal;
use crate::edge::{DropReason, Event};
use crate::identity::Address;
use crate::message::Body;
use crate::request::{Refusal, Reply};
use crate::rules::{Rule, Rules};
use crate::time::Time;
use crate::view::{MemberRecord, View};
use alloc::vec::Vec;
use rand_chacha::rand_core::Rng as _;

/// Removed addresses at which no incarnation was ever heard of are looked for so much less often than a silent member.
const STRANGERS_SLOWER: u64 = 2;

impl<R: Rules> Replica<R> {
    /// Enters this incarnation into the view.
    pub(super) fn introduce(&mut self) {
        self.membership.introduce(!self.startup.is_joining());
        self.refresh_view();
    }

    /// The view changed: what is derived from it follows, and the others hear of it.
    fn refresh_view(&mut self) {
        self.membership.derive(&self.rules);
        if self.rules.follows(Rule::RoundRestarts) {
            self.rounds.abort();
        }
        self.forget_outcomes();
        let now = self.now.monotonic;
        self.seat_peers(now);
        let own_changed = self.membership.derive_own();
        let mut members = Vec::new();
        for id in self.peer_ids() {
            let Some(record) = self.membership.view().record(&self.peers[id].address) else {
                self.peer(id).is_member = false;
                continue;
            };
            let (is_member, known) = (self.membership.view().is_member(&record.address), record.newest.is_some());
            if is_member {
                members.push(id);
            }
            let peer = self.peer(id);
            peer.unknown = !is_member && !known;
            if own_changed || peer.is_member != is_member {
                if peer.is_member {
                    peer.removed_since = now;
                }
                peer.is_member = is_member;
                peer.dormant = false;
                peer.next_hello = now;
            }
            if peer.link.is_established() {
                let records = self.membership.records();
                self.send(id, Body::View(records));
            }
        }
        // What only a member that is none any more had not acknowledged can leave the log.
        self.effects.defer_if(self.peers.set_members(members) && self.data.log().len() > 0);
        self.concerns.note();
        self.effects.emit(Event::ViewChanged);
    }

    /// Gives every other address a place in the table of peers: that of one that the view has forgotten, if there is
    /// any.
    fn seat_peers(&mut self, now: Time) {
        let records = self.membership.records();
        let mut unseated: Vec<&MemberRecord> = records
            .iter()
            .filter(|record| record.address != *self.membership.address() && self.find_peer(&record.address).is_none())
            .collect();
        let seated = records.len()
            - unseated.len()
            - usize::from(self.membership.view().record(self.membership.address()).is_some());
        if seated < self.peers.len() {
            let forgotten = |id: &PeerId| self.membership.view().record(&self.peers[*id].address).is_none();
            for id in self.peer_ids().filter(forgotten).collect::<Vec<_>>() {
                self.close_link(id);
                match unseated.pop() {
                    Some(record) => *self.peer(id) = Peer::of(record, now),
                    None => self.peer(id).dormant = true,
                }
            }
        }
        unseated.into_iter().for_each(|record| self.peers.push(Peer::of(record, now)));
    }

    pub(super) fn on_view(&mut self, id: PeerId, records: &[MemberRecord]) {
        if !is_bounded(records) {
            return self.drop_from(id, DropReason::Invalid);
        }
        self.merge_view(records.iter());
    }

    pub(super) fn merge_view<'a>(&mut self, records: impl Iterator<Item = &'a MemberRecord>) {
        if self.membership.merge(&self.rules, records) {
            self.after_view_change();
        }
    }

    /// A directory names these (VIEW-7).
    pub(super) fn on_named(&mut self, addresses: Vec<Address>) {
        self.merge_view(View::of(addresses).records());
    }

    fn after_view_change(&mut self) {
        self.refresh_view();
        if self.membership.is_forgotten() {
            self.introduce(); // this one had been forgotten as long removed, and is a member again
        }
        self.consider_renewal();
        self.maybe_pull();
        self.try_become_up();
        self.consider_readiness();
    }

    pub(super) fn add_member(&mut self, address: &Address) -> Reply {
        if !self.membership.view().has_room_for(address) {
            return Reply::Refused(Refusal::WriteLimit);
        }
        let listed = self.listed().contains(address);
        if self.membership.add(address) {
            self.after_view_change();
        }
        Reply::ViewAdded { listed }
    }

    pub(super) fn remove_member(&mut self, address: &Address) -> Reply {
        if !self.membership.view().is_member(address) {
            return Reply::ViewUnknown;
        }
        if self.membership.view().members().count() == 1 {
            return Reply::ViewLast;
        }
        if self.membership.remove(address) {
            self.after_view_change();
        }
        Reply::ViewRemoved
    }

    /// The members that are not known to be down, in order of address.
    pub(super) fn listed(&self) -> Vec<Address> {
        let suspected =
            |address: &Address| self.find_peer(address).is_some_and(|id| self.peers[id].suspect.is_suspected());
        self.membership.view().members().filter(|address| !suspected(address)).cloned().collect()
    }

    /// Takes a new incarnation if another one is the newest at the own address.
    pub(super) fn consider_renewal(&mut self) {
        let _now = self.now.monotonic;
        let is_newest = self.membership.newest_here().is_none_or(|newest| newest <= self.membership.incarnation());
        if is_newest || !self.rules.follows(Rule::TakesNewIncarnation) {
            return self.membership.renewals.cancel();
        }
        match self.membership.renewals.next(self.now.monotonic) {
            Renewal::Now => self.renew(),
            Renewal::After(backoff) => self.effects.emit(Event::AddressContested { backoff }),
            Renewal::Waits => {}
        }
    }

    pub(super) fn renew(&mut self) {
        let now = self.now.monotonic;
        self.membership.renewals.on_renewal(now);
        self.membership.renew(self.random.next_u64());
        if !self.rules.follows(Rule::StaysUpRenewed) {
            self.startup.join_again(now, &self.config);
        }
        self.rounds.abort();
        self.data.begin_incarnation();
        for id in self.peer_ids() {
            self.close_link(id);
            let peer = self.peer(id);
            peer.dormant = false;
            peer.next_hello = now;
        }
        self.effects.emit(Event::Renewed(self.membership.incarnation()));
        self.introduce();
    }

    /// Says hello to a peer that is not linked, if it is still looked for and it is its turn.
    pub(super) fn look_for(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        if self.is_given_up(id) {
            self.peer(id).dormant = true;
        } else if !self.peers[id].is_stranger() {
            self.open_link(id);
        } else if now < self.peers.strangers_from() {
            self.peer(id).next_hello = self.peers.strangers_from();
        } else {
            let strangers = self.peer_ids().filter(|id| self.peers[*id].is_stranger()).count() as u64;
            let pause = self.config.probe_interval_max.times(STRANGERS_SLOWER);
            self.open_link(id);
            self.peers.rest_strangers_until(now + pause);
            self.peer(id).next_hello = now + pause.times(strangers);
        }
    }

    /// A removed address is dialled as long as there may be something to fetch from the replica there, or to tell it.
    /// It is not dialled for ever. What comes back speaks first, since it knows members there.
    fn is_given_up(&self, id: PeerId) -> bool {
        let peer = &self.peers[id];
        let since = peer.suspect.since().map_or(peer.removed_since, |since| since.max(peer.removed_since));
        !peer.is_member && self.now.monotonic.since(since) >= self.config.removed_timeout
    }

    pub(super) fn renewal_timeout(&self) -> Time {
        self.membership.renewals.timeout()
    }

    /// One of the two was removed, both know it, and neither has anything the other still needs: the link becomes
    /// dormant.
    pub(super) fn consider_dormancy(&mut self, id: PeerId) {
        let peer = &self.peers[id];
        let same_view = peer.view_hash == Some(self.membership.hash());
        let theirs_here = peer.is_member || self.data.context().dominates(&peer.acknowledged);
        let mine_there = self.membership.is_member()
            || !self.rules.follows(Rule::RemovedStaysAsSource)
            || self.data.context().dominates_in(&peer.acknowledged, self.data.context().vector());
        if (peer.is_member && self.membership.is_member())
            || !peer.link.is_established()
            || !(same_view && theirs_here && mine_there)
        {
            return;
        }
        self.send_status(id);
        self.close_link(id);
        self.peer(id).dormant = true;
    }
}

/// Are there as few records as any replica keeps, and leaves each room for the orders that operators may still give? No
/// honest replica sends others.
pub(super) fn is_bounded(view: &[MemberRecord]) -> bool {
    view.len() <= View::RECORDS_MAX && view.iter().all(|record| record.generation < MemberRecord::GENERATION_LIMIT)
}
