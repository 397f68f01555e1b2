//! One kind of timeout: what is due is done, and the next moment is the least of all that is pending.

use super::Replica;
use crate::rules::{Rule, Rules};
use crate::time::{Micros, Time};

impl<R: Rules> Replica<R> {
    pub(super) fn on_timeout(&mut self) {
        self.work_off_backlog();
        let telling =
            self.peers.iter().any(|peer| peer.link.is_established() && peer.next_status <= self.now.monotonic);
        for id in self.peer_ids() {
            self.tend_link(id, telling);
        }
        self.rounds.end_late(self.now.monotonic);
        self.maybe_retire();
        if self.renewal_timeout() <= self.now.monotonic {
            self.consider_renewal();
        }
        self.fail_late_pull();
        self.try_become_up();
        self.consider_readiness();
        self.maybe_pull();
        self.maybe_query();
        self.refuse_expired();
        self.end_late_concerns();
    }

    /// What earlier calls left, because one call does bounded work.
    fn work_off_backlog(&mut self) {
        if self.effects.take_deferred() {
            self.effects.did(self.data.merge_step(&self.rules, self.effects.room()));
            self.effects.defer_if(self.data.store().is_merging());
            self.serve_watches(self.effects.room() / 4 * 3);
            self.serve_lists();
            self.progress();
            self.reply_lost();
            self.push_own();
            self.supply_all();
            self.trim_log();
            self.free_discarded();
        }
    }

    fn tend_link(&mut self, id: super::peer::PeerId, telling: bool) {
        let now = self.now.monotonic;
        if !self.peers[id].link.is_established() && self.peers[id].dormant {
            return;
        }
        if !self.peers[id].is_stranger() {
            self.check_silence(id);
        }
        let peer = &self.peers[id];
        if peer.link.is_established() {
            self.ask_again_for_pieces(id);
            let peer = &self.peers[id];
            if peer.next_status <= now || telling && now.since(peer.status_at) >= self.status_gap() {
                self.end_abandoned_supply(id);
                self.send_status(id);
                self.push(id);
            }
        } else if peer.next_hello <= now {
            self.look_for(id);
        }
    }

    /// When one status is due, statuses that are nearly due go out, too. So the statuses of an idle replica leave in
    /// one wake-up. Under load all members, not only the writers, soon know what is here, and their logs stay short
    /// enough for a cache. The more members, the longer, so that a replica says no more than twice what it has to.
    fn status_gap(&self) -> Micros {
        let all = self.config.ack_delay.times(self.peers.len() as u64);
        all.min(Micros(self.config.heartbeat_interval.0 / 2))
    }

    pub(super) fn next_timeout(&self) -> Time {
        if self.effects.is_deferred() {
            return self.now.monotonic;
        }
        let waits = self.blocked.next_deadline().into_iter().chain(self.concerns.next_deadline()).min();
        let waits = waits.filter(|_| self.rules.follows(Rule::WaitsEnd)).unwrap_or(Time::NEVER);
        let rest = self
            .pull_timeout()
            .min(self.rounds.timeout())
            .min(self.rounds.begin_timeout(self.now.monotonic, || self.can_ask_members()))
            .min(self.join_timeout())
            .min(self.renewal_timeout())
            .min(self.retire_timeout())
            .min(self.watches.ask_timeout(self.now.monotonic))
            .min(waits);
        self.peers.iter().map(|peer| self.link_timeout(peer)).fold(rest, Time::min)
    }
}
