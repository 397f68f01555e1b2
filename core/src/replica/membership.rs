//! The view, joining, and which incarnation this is (ID-2, ID-3, VIEW-1, VIEW-2, JOIN-1, JOIN-2).
//!
//! Only operators move a generation; suspicion is local and removes no member. A replica whose address has a newer
//! incarnation takes a new incarnation and keeps its state. Joining never waits for a member that is not up.

use super::Replica;
use super::peer::{Peer, PeerId};
use crate::config::Config;
use crate::edge::{DropReason, Event};
use crate::identity::{Address, Incarnation};
use crate::message::Body;
use crate::request::{Refusal, Reply};
use crate::rules::Rules;
use crate::time::{Micros, Time};
use crate::vector::VersionVector;
use crate::view::{MemberRecord, Presence, View};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use rand_chacha::rand_core::Rng as _;

/// More new incarnations than this within [`CONTEST_SPAN`] mean that two live processes share an address.
const RENEWALS_MAX: usize = 3;
const CONTEST_SPAN: Micros = Micros::from_seconds(60);
const BACKOFF_MAX: Micros = Micros::from_seconds(60);

/// Removed addresses at which no incarnation was ever heard of are looked for so much less often than a silent member.
const STRANGERS_SLOWER: u64 = 2;

/// A replica that has not loaded its state yet.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    /// Starts alone then, if no member that is up answered.
    alone_at: Time,
    /// The same while a peer accepted a connection and has not answered yet.
    alone_at_contact: Time,
    /// The member to catch up with, and what it covered when it was chosen.
    goal: Option<(PeerId, Arc<VersionVector>)>,
}

impl Joining {
    pub(super) fn new(now: Time, config: &Config) -> Self {
        Self {
            alone_at: now + config.join_alone_after,
            alone_at_contact: now + config.join_alone_after_contact,
            goal: None,
        }
    }

    /// The own process did not run for so long.
    pub(super) fn exclude_stall(&mut self, stalled: Micros) {
        self.alone_at = self.alone_at + stalled;
        self.alone_at_contact = self.alone_at_contact + stalled;
    }
}

/// The new incarnations of the last minute, and when the next may begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewals {
    recent: VecDeque<Time>,
    backoff: Micros,
    /// A new incarnation is due then.
    due: Option<Time>,
}

impl<R: Rules> Replica<R> {
    /// Enters this incarnation into the view.
    pub(super) fn introduce(&mut self) {
        let newest = Presence { incarnation: self.incarnation, up: self.joining.is_none() };
        self.view.meet(&self.address, newest);
        self.refresh_view();
    }

    /// The view changed: what is derived from it follows, and the others hear of it.
    fn refresh_view(&mut self) {
        if !self.rules.all_when_no_members() {
            self.view.stay_without_members();
        }
        self.records = self.view.to_records().into();
        if self.rules.round_restarts() {
            self.rounds.abort();
        }
        self.forget_outcomes();
        self.view_hash = self.view.hash();
        let now = self.now.monotonic;
        self.seat_peers(now);
        let is_member = self.view.is_member(&self.address);
        let own_changed = is_member != self.is_member;
        self.is_member = is_member;
        let members_before = self.members.len();
        self.members.clear();
        for id in self.peer_ids() {
            let Some(record) = self.view.record(&self.peers[id.0].address) else {
                self.peer(id).is_member = false;
                continue;
            };
            let (is_member, known) = (self.view.is_member(&record.address), record.newest.is_some());
            if is_member {
                self.members.push(id);
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
            if peer.link.established {
                let records = self.records.clone();
                self.send(id, Body::View(records));
            }
        }
        // What only a member that is none any more had not acknowledged can leave the log.
        self.effects.defer_if(self.members.len() < members_before && self.data.log().len() > 0);
        self.effects.emit(Event::ViewChanged);
    }

    /// Gives every other address a place in the table of peers: that of one that the view has forgotten, if there is
    /// any.
    fn seat_peers(&mut self, now: Time) {
        let records = self.records.clone();
        let mut unseated: Vec<&MemberRecord> = records
            .iter()
            .filter(|record| record.address != self.address && self.find_peer(&record.address).is_none())
            .collect();
        let seated = records.len() - unseated.len() - usize::from(self.view.record(&self.address).is_some());
        if seated < self.peers.len() {
            let forgotten = |id: &PeerId| self.view.record(&self.peers[id.0].address).is_none();
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
        if self.view.merge_by(records, |mine, theirs| self.rules.merge_counter(mine, theirs)) {
            self.after_view_change();
        }
    }

    fn after_view_change(&mut self) {
        self.refresh_view();
        if self.view.record(&self.address).is_some_and(|own| own.newest.is_none()) {
            self.introduce(); // this one had been forgotten as long removed, and is a member again
        }
        self.consider_renewal();
        self.maybe_pull();
        self.try_become_up();
        self.consider_readiness();
    }

    pub(super) fn add_member(&mut self, address: &Address) -> Reply {
        if !self.view.has_room_for(address) {
            return Reply::Refused(Refusal::WriteLimit);
        }
        let listed = self.listed().contains(address);
        if self.view.add(address) {
            self.after_view_change();
        }
        Reply::ViewAdded { listed }
    }

    pub(super) fn remove_member(&mut self, address: &Address) -> Reply {
        if !self.view.is_member(address) {
            return Reply::ViewUnknown;
        }
        if self.view.members().count() == 1 {
            return Reply::ViewLast;
        }
        if self.view.remove(address) {
            self.after_view_change();
        }
        Reply::ViewRemoved
    }

    /// The members that are not known to be down, in order of address.
    pub(super) fn listed(&self) -> Vec<Address> {
        let suspected = |address: &Address| self.find_peer(address).is_some_and(|id| self.peers[id.0].suspected);
        self.view.members().filter(|address| !suspected(address)).cloned().collect()
    }

    /// Is the incarnation that this peer's link leads to up?
    pub(super) fn is_up(&self, id: PeerId) -> bool {
        let peer = &self.peers[id.0];
        let newest = self.view.newest(&peer.address);
        peer.is_member && newest.is_some_and(|newest| newest.up && Some(newest.incarnation) == peer.incarnation)
    }

    pub(super) fn on_linked(&mut self) {
        self.maybe_pull();
        self.try_become_up();
        self.consider_readiness();
    }

    pub(super) fn on_unlinked(&mut self, id: PeerId) {
        if let Some(joining) = &mut self.joining
            && self.rules.goal_ends_with_its_source()
        {
            joining.goal.take_if(|(source, _)| *source == id);
        }
        self.maybe_pull();
    }

    /// The peer that a joining replica fetches from: the member it chose, or another that is up.
    pub(super) fn join_source(&self) -> Option<PeerId> {
        let goal = self.joining.as_ref()?.goal.as_ref().map(|(id, _)| *id);
        goal.filter(|&id| self.is_up(id)).or_else(|| self.turn(|id| self.is_up(id)))
    }

    /// Chooses a peer to catch up with, and is up when that is done, or when there is none.
    pub(super) fn try_become_up(&mut self) {
        if self.joining.is_none() || !self.is_member {
            return;
        }
        let source = self.join_source();
        let goal = source.map(|id| self.peers[id.0].acknowledged.clone());
        let alone = self.may_start_alone();
        let fixed = !self.rules.goal_ends_with_its_source();
        let Some(joining) = &mut self.joining else { return };
        match source.zip(goal) {
            _ if fixed && joining.goal.is_some() => {}
            Some((id, goal)) if joining.goal.as_ref().is_none_or(|(chosen, _)| *chosen != id) => {
                joining.goal = Some((id, goal));
            }
            Some(_) => {}
            None => joining.goal = None,
        }
        match &joining.goal {
            Some((_, goal)) if self.data.context().dominates(goal) => self.become_up(false),
            Some(_) => {}
            None if alone => self.become_up(true),
            None => {}
        }
    }

    /// A member has given all that it has, so there is nothing more to catch up with there, whatever it had said
    /// before. Where a memory was copied, the other copy may have promised what this one never had.
    pub(super) fn caught_up_with(&mut self, id: PeerId) {
        self.peer(id).goal = Some(Arc::default());
        if let Some(Joining { goal: Some((source, goal)), .. }) = &mut self.joining
            && *source == id
            && self.rules.goal_ends_with_its_source()
        {
            *goal = Arc::default();
        }
    }

    /// No member that is up is in reach: time is over, or every member has answered that it joins as well.
    fn may_start_alone(&self) -> bool {
        let Some(joining) = &self.joining else { return false };
        let contact = self.members.iter().any(|id| self.peers[id.0].connected);
        let time_over = self.now.monotonic >= if contact { joining.alone_at_contact } else { joining.alone_at };
        self.starts_alone(time_over)
    }

    fn starts_alone(&self, time_over: bool) -> bool {
        let answered = |id: &PeerId| self.peers[id.0].link.established;
        self.rules.starts_alone(self.members.iter().all(answered), time_over, self.members.iter().any(answered))
    }

    fn become_up(&mut self, alone: bool) {
        self.joining = None;
        self.begin_to_serve();
        self.needs_initial_sync = alone && !self.members.is_empty();
        self.effects.emit(Event::Up { alone });
        self.introduce();
        self.maybe_pull();
        self.consider_readiness();
    }

    /// When joining needs attention next.
    pub(super) fn join_timeout(&self) -> Time {
        match &self.joining {
            Some(joining) if self.is_member && joining.goal.is_none() && self.starts_alone(true) => {
                let now = self.now.monotonic;
                if now < joining.alone_at { joining.alone_at } else { joining.alone_at_contact.max(now) }
            }
            Some(_) | None => Time::NEVER,
        }
    }

    /// Takes a new incarnation if another one is the newest at the own address.
    pub(super) fn consider_renewal(&mut self) {
        let now = self.now.monotonic;
        let newest = self.view.newest(&self.address).map_or(self.incarnation, |newest| newest.incarnation);
        if newest <= self.incarnation || !self.rules.takes_new_incarnation() {
            self.renewals.due = None;
            return;
        }
        let recent = &mut self.renewals.recent;
        while recent.front().is_some_and(|&at| now.since(at) > CONTEST_SPAN) {
            recent.pop_front();
        }
        if recent.len() < RENEWALS_MAX {
            self.renewals.backoff = Micros::ZERO;
            return self.renew();
        }
        match self.renewals.due {
            Some(due) if now >= due => self.renew(),
            Some(_) => {}
            None => {
                let doubled = self.renewals.backoff.times(2).max(Micros::from_seconds(1));
                self.renewals.backoff = doubled.min(BACKOFF_MAX);
                self.renewals.due = Some(now + self.renewals.backoff);
                self.effects.emit(Event::AddressContested { backoff: self.renewals.backoff });
            }
        }
    }

    pub(super) fn renew(&mut self) {
        let now = self.now.monotonic;
        self.renewals.recent.push_back(now);
        self.renewals.due = None;
        let epochs = self.view.records().filter_map(|record| record.newest).map(|newest| newest.incarnation.epoch());
        let epoch = epochs.max().unwrap_or(0).saturating_add(1);
        self.incarnation = Incarnation::new(epoch, self.random.next_u64());
        self.impersonated = 0;
        if !self.rules.stays_up_renewed() {
            self.joining = Some(Joining::new(now, &self.config));
        }
        self.rounds.abort();
        self.data.begin_incarnation();
        for id in self.peer_ids() {
            self.close_link(id);
            let peer = self.peer(id);
            peer.dormant = false;
            peer.next_hello = now;
        }
        self.effects.emit(Event::Renewed(self.incarnation));
        self.introduce();
    }

    /// Says hello to a peer that is not linked, if it is still looked for and it is its turn.
    pub(super) fn look_for(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        if self.is_given_up(id) {
            self.peer(id).dormant = true;
        } else if !self.peers[id.0].is_stranger() {
            self.open_link(id);
        } else if now < self.strangers_from {
            self.peer(id).next_hello = self.strangers_from;
        } else {
            let strangers = self.peer_ids().filter(|id| self.peers[id.0].is_stranger()).count() as u64;
            let pause = self.config.probe_interval_max.times(STRANGERS_SLOWER);
            self.open_link(id);
            self.strangers_from = now + pause;
            self.peer(id).next_hello = now + pause.times(strangers);
        }
    }

    /// A removed address is dialled as long as there may be something to fetch from the replica there, or to tell it.
    /// It is not dialled for ever. What comes back speaks first, since it knows members there.
    fn is_given_up(&self, id: PeerId) -> bool {
        let peer = &self.peers[id.0];
        let since = if peer.suspected { peer.searched_since.max(peer.removed_since) } else { peer.removed_since };
        !peer.is_member && self.now.monotonic.since(since) >= self.config.removed_timeout
    }

    pub(super) fn renewal_timeout(&self) -> Time {
        self.renewals.due.unwrap_or(Time::NEVER)
    }

    /// One of the two was removed, both know it, and neither has anything the other still needs: the link becomes
    /// dormant.
    pub(super) fn consider_dormancy(&mut self, id: PeerId) {
        let peer = &self.peers[id.0];
        let same_view = peer.view_hash == Some(self.view_hash);
        let theirs_here = peer.is_member || self.data.context().dominates(&peer.acknowledged);
        let mine_there = self.is_member
            || !self.rules.removed_stays_as_source()
            || self.data.context().dominates_in(&peer.acknowledged, self.data.context().vector());
        if (peer.is_member && self.is_member) || !peer.link.established || !(same_view && theirs_here && mine_there) {
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
