//! Lives that are over leave vectors and tokens (protocol, section Membership, Retirement).
//!
//! A life is gone when it is not the newest at any wanted address. When every member has reported the same coverage of
//! it, the least of the members that are not suspected writes an ordinary operation that depends on exactly that
//! coverage; from then on its dot stands for the entry. The condition only keeps tokens usable at a replica that is cut
//! off just then; safety rests on the dependency alone.

use super::Replica;
use super::peer::Source;
use super::repair::keep_greater;
use crate::covered::Retirement;
use crate::identity::Incarnation;
use crate::op::{Dots, Effect};
use crate::rules::Rules;
use crate::time::Time;
use crate::vector::VersionVector;
use alloc::vec::Vec;

/// Retire operations written in one call.
const RETIRE_MAX: usize = 16;

impl<R: Rules> Replica<R> {
    /// A retire operation was applied.
    pub(super) fn retire(&mut self, incarnation: Incarnation, row: Retirement) {
        self.covered.learn(incarnation, row);
        self.note_rows();
        self.waiting.note(incarnation);
        self.log.retire(incarnation, row);
        self.forget_implied(incarnation, row);
        for peer in &mut self.peers {
            if let Some(serving) = &mut peer.serving
                && let Source::State(pass) = &mut serving.source
            {
                keep_greater(&mut pass.retired, incarnation, row);
            }
        }
    }

    /// Rows of retired lives were learned.
    pub(super) fn note_rows(&mut self) {
        self.loose_rows = self.covered.rows().any(|(_, row)| !self.covered.covers(row.dot));
    }

    /// What own operations imply of a retired life is said anew where needed: the earlier ones may imply less than the
    /// dot that stands for it from now on.
    pub(super) fn forget_implied(&mut self, incarnation: Incarnation, row: Retirement) {
        if self.implied.counter(incarnation) <= row.through {
            self.implied.remove(incarnation);
        }
    }

    /// Writes what is due, if it is this member's turn.
    pub(super) fn maybe_retire(&mut self) {
        let now = self.now.monotonic;
        if now < self.retire_at || !self.is_ready() {
            return;
        }
        self.retire_at = now + self.config.retire_interval;
        let before_me = |peer: &super::peer::Peer| !peer.suspected && peer.address < self.address;
        if self.members.iter().any(|id| before_me(&self.peers[id.0])) {
            return;
        }
        let gone = |&(incarnation, through): &(Incarnation, u64)| {
            let present = self.view.lives_wanted().any(|life| life.incarnation == incarnation);
            !present && incarnation != self.me && self.everybody_covers(incarnation, through)
        };
        let gone: Vec<_> = self.covered.vector().entries().filter(gone).take(RETIRE_MAX.min(self.room() / 2)).collect();
        for (incarnation, through) in gone {
            let needs = VersionVector::from_entries([(incarnation, through)]);
            let needs = if self.rules.retirement_depends() { needs } else { VersionVector::new() };
            self.make(Effect::Retire { incarnation, through }, None, Dots::new(), &needs);
        }
    }

    /// Members' statuses give the occasion to look for lives that are over; who is alone needs a wake-up.
    pub(super) fn retire_timeout(&self) -> Time {
        let due = self.members.is_empty() && self.is_ready() && self.covered.vector().len() > 1;
        if due { self.retire_at } else { Time::NEVER }
    }

    /// Has every member reported exactly this coverage? One that has been suspected for long does not count.
    fn everybody_covers(&self, incarnation: Incarnation, through: u64) -> bool {
        let now = self.now.monotonic;
        self.members.iter().map(|id| &self.peers[id.0]).all(|peer| {
            let left_out = peer.suspected && now.since(peer.searched_since) > self.config.retire_patience;
            let covers = || self.covered.counter_in(&peer.acknowledged, incarnation) == through;
            left_out || peer.incarnation.is_some() && covers()
        })
    }
}
