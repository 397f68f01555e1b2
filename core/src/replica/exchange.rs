//! The push lane, statuses and acknowledgements (PUSH-1 to PUSH-5, PULL-1, LOG-1, BATCH-5).
//!
//! Push is fresh or not at all: what arrives late is not applied, and repair brings it. An operation is applied
//! when it is the next of its origin and its causes are applied; until then it is buffered. Statuses count applied
//! operations only, so nothing that is merely heard raises coverage anywhere.

use super::Replica;
use super::credit::Outbound;
use super::peer::PeerId;
use crate::edge::{DropReason, Event};
use crate::formats::Formats;
use crate::freshness::SILENCE;
use crate::identity::Incarnation;
use crate::message::{Body, Status};
use crate::op::{BATCH_MAX, Op};
use crate::rules::{Rule, Rules};
use crate::time::{Micros, Time, Wall};
use crate::vector::{Dot, VersionVector};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Effects pushed to one peer at a time, so that the others get their turn in the same call. A batch fits.
const PUSH_MAX: usize = 64;
const _: () = assert!(BATCH_MAX <= PUSH_MAX);
impl<R: Rules> Replica<R> {
    /// After so long a pause a peer's clock is learnt anew. Heartbeats that are far apart are no such pause. A pause
    /// that the stream counts as silence is one.
    fn silence_of_clocks(&self) -> Option<Micros> {
        let pause = Micros(self.config.heartbeat_interval.0 * 3 / 2).min(self.stream_limits().silence);
        self.rules.follows(Rule::LearnsClocksAnew).then(|| SILENCE.max(pause))
    }

    /// Everything that a hello and a status tell about the other end.
    pub(super) fn on_remote_vector(&mut self, id: PeerId, sent: Time, wall: Wall, vector: Arc<VersionVector>) {
        let now = self.now.monotonic;
        self.gaps.on_remote_vector(&vector, self.data.context(), now);
        if !self.rules.follows(Rule::RemoteVectorCoversNothing) {
            self.data.cover_unapplied(&vector);
            self.blocked.note_all();
            self.watches.note_all_coverage();
        }
        let silence = self.silence_of_clocks();
        let peer = &mut self.peers[id];
        peer.offsets.observe(now, sent, silence);
        let older = sent == peer.status_sent
            && peer.wall_sample.is_some()
            && self.data.context().dominates_in(&peer.acknowledged, &vector);
        if sent >= peer.status_sent && !older {
            // Reordered news take nothing back, nor do those of one moment.
            peer.status_sent = sent;
            peer.wall_sample = Some((wall, now));
            peer.acknowledged = vector;
            self.concerns.note();
        }
    }

    /// How many operations of this incarnation an operation names, itself included.
    pub(super) fn own_counter_in(&self, op: &Op) -> u64 {
        if op.dot.incarnation == self.membership.incarnation() {
            op.dot.counter
        } else {
            op.deps.counter(self.membership.incarnation())
        }
    }

    /// Did this incarnation write so much? No peer covers more of it, unless its memory was copied. Says so if not,
    /// once for each write.
    pub(super) fn is_ours(&mut self, counter: u64) -> bool {
        let ours = counter <= self.data.context().counter(self.membership.incarnation());
        if !ours && self.membership.is_unreported(counter) {
            self.effects.emit(Event::Impersonated { counter });
        }
        ours
    }

    pub(super) fn on_status(&mut self, id: PeerId, status: Status) {
        if !self.is_ours(status.vector.counter(self.membership.incarnation())) {
            return self.drop_from(id, DropReason::Invalid);
        }
        let differs = self.digest_for(id).zip(status.digest).is_some_and(|(ours, theirs)| theirs != ours);
        let differing = differs.then(|| status.vector.clone());
        // A peer that covers the name of a retirement covers what it stands for, and leaves that out. The exception is
        // a peer where the name stands for another write. Only between members is nothing expanded.
        let members =
            self.membership.is_member() && self.peers[id].is_member && status.view_hash == self.membership.hash();
        let compacts_otherwise = members && !self.data.context().is_compact(&status.vector);
        self.on_remote_vector(id, status.sent, status.wall, status.vector);
        self.return_credit(id, status.received);
        if !self.rules.follows(Rule::KeepsCausalBuffer) {
            self.causal_buffer.clear();
        }
        let (now, answer_after) = (self.now.monotonic, Micros(self.config.heartbeat_interval.0 / 4 * 3));
        let peer = self.peer(id);
        peer.view_hash = Some(status.view_hash);
        peer.is_asked = false;
        peer.leaving |= status.leaving;
        peer.on_ready(status.ready);
        if now.since(peer.status_at) >= answer_after {
            peer.next_status = now; // its turn is near: one wake-up of this process for both
        }
        if status.view_hash != self.membership.hash() {
            let records = self.membership.records();
            self.send(id, Body::View(records));
        }
        let diverged = compacts_otherwise || differing.is_some_and(|vector| *vector == *self.data.context().vector());
        if diverged && !core::mem::replace(&mut self.peer(id).diverged, true) {
            let address = self.peers[id].address.clone();
            self.effects.emit(Event::Diverged(address));
        }
        self.trim_log();
        self.push(id);
        self.maybe_pull();
        self.maybe_retire();
        self.maybe_query();
        self.consider_dormancy(id);
        self.consider_readiness();
    }

    pub(super) fn send_status(&mut self, id: PeerId) {
        let (now, are_members) = (self.now, self.membership.is_member() && self.peers[id].is_member);
        // A removed peer learns of no retirement, and must see all the same that what it has is here.
        let vector = if are_members {
            self.shared_vector()
        } else {
            Arc::new(self.data.context().expanded(&self.peers[id].acknowledged))
        };
        let next = now.monotonic + self.config.heartbeat_interval;
        let peer = self.peer(id);
        peer.next_status = next;
        peer.status_at = now.monotonic;
        let received = peer.inbound.acknowledge();
        let status = Status {
            sent: now.monotonic,
            wall: now.wall,
            vector,
            received,
            leaving: self.leaving,
            ready: self.is_firm(),
            view_hash: self.membership.hash(),
            digest: self.digest_for(id),
        };
        self.send(id, Body::Status(Box::new(status)));
    }

    /// The digest to compare with this peer. Builds of the first format count no keys in theirs.
    fn digest_for(&self, id: PeerId) -> Option<u64> {
        self.data.store().digest().filter(|_| self.can_say(id, Formats::BATCH))
    }

    /// The process is about to end: a peer that lacks something is told to fetch it at once.
    pub(super) fn on_leave(&mut self) {
        self.leaving = true;
        for id in self.peer_ids().filter(|id| self.peers[*id].link.is_established()).collect::<Vec<_>>() {
            self.send_status(id);
        }
    }

    /// Where pushing begins on a new link: after what the peer covers, and with what is still fresh.
    pub(super) fn begin_pushing(&mut self, id: PeerId, acknowledged: u64) {
        let now = self.now.monotonic;
        let own = self.data.context().counter(self.membership.incarnation());
        let mut from = own;
        while from > acknowledged && own - from < self.config.credit_ops_max {
            match self.data.log().own(from) {
                Some(own) if now.since(own.made) <= self.config.late_max => from -= 1,
                Some(_) | None => break,
            }
        }
        let bytes = self.data.log().own(from).map_or(0, |own| own.bytes_through);
        self.peer(id).outbound = Outbound::begin(from, bytes, now);
    }

    /// A new own operation goes to every member that has a link.
    pub(super) fn push_own(&mut self) {
        for id in self.peer_ids() {
            self.push(id);
        }
    }

    /// Pushes what is next for this peer, as far as credit reaches.
    pub(super) fn push(&mut self, id: PeerId) {
        let now = self.now.monotonic;
        let peer = &self.peers[id];
        if !peer.link.is_established() || !peer.is_member {
            return;
        }
        let own = self.data.context().counter(self.membership.incarnation());
        let credit = (self.config.credit_ops_max.max(1), self.config.credit_bytes_max as u64);
        // What makes room in the log must not wait behind what is sent.
        let kept = if self.data.log().format() < Formats::BATCH { 1 } else { BATCH_MAX };
        let mut left = PUSH_MAX.min(self.effects.room().saturating_sub(kept));
        while left > 0 {
            let Some(next) = self.peers[id].outbound.next(credit, now) else { return };
            if next > own {
                return;
            }
            match self.data.log().own(next).cloned() {
                Some(entry) if self.can_say(id, entry.op.format()) => {
                    let effects = entry.op.effects();
                    if effects > left {
                        break;
                    }
                    left -= effects;
                    self.peer(id).outbound.advance(next, Some(entry.bytes_through));
                    self.effects.did(effects);
                    let op = self.travelling(entry.op, Rule::PushesWholeBatches);
                    let body = self.pushed(op, entry.made);
                    self.send(id, body);
                }
                // It left the log before it could be pushed, or the peer has no word for it: repair brings it.
                Some(_) | None => {
                    left -= 1;
                    self.peer(id).outbound.advance(next, None);
                }
            }
        }
        self.effects.defer();
    }

    fn return_credit(&mut self, id: PeerId, received: u64) {
        let now = self.now.monotonic;
        let bytes = self.data.log().own(received).map(|own| own.bytes_through);
        self.peer(id).outbound.on_received(received, bytes, now);
    }

    pub(super) fn on_push(&mut self, id: PeerId, op: Arc<Op>, made: Time) {
        if self.is_fresh(id, &op, made, self.rules.follows(Rule::InterruptionsTaint)) {
            self.take_push(id, op);
        }
    }

    /// Is this operation, which its origin pushes, one that may be applied without a delay? Says so if not.
    pub(super) fn is_fresh(&mut self, id: PeerId, op: &Op, made: Time, taints: bool) -> bool {
        if !self.membership.is_member() {
            self.drop_from(id, DropReason::NotMember);
            return false;
        }
        if self.peers[id].incarnation != Some(op.dot.incarnation) {
            self.drop_from(id, DropReason::Invalid);
            return false;
        }
        let now = self.now.monotonic;
        self.note_push(id, op, now);
        let silence = self.silence_of_clocks();
        let peer = &mut self.peers[id];
        // First: it may be the one from which a clock that stood still is learnt anew.
        peer.offsets.observe(now, made, silence);
        let limit = self.config.late_max;
        let lateness = peer.stream.lateness(now, made, &peer.offsets, &self.stalls, limit);
        let stale = peer.stream.is_stale(made, &peer.offsets);
        if self.data.context().covers(op.dot) {
            return false;
        }
        if !self.rules.is_fresh(lateness, limit) || stale && taints {
            self.gaps.on_remote_counter(op.dot.incarnation, op.dot.counter, now);
            self.drop_from(id, DropReason::Late);
            return false;
        }
        true
    }

    /// A pushed operation is applied, or parked until its turn comes.
    pub(super) fn take_push(&mut self, id: PeerId, op: Arc<Op>) {
        let now = self.now.monotonic;
        if !self.fits(&op) {
            self.gaps.on_remote_counter(op.dot.incarnation, op.dot.counter, now);
            if self.fits_at_last(&op, 0) {
                return self.drop_from(id, DropReason::CausalBufferFull);
            }
            self.hold_back();
            return self.drop_from(id, DropReason::NoMemory);
        }
        if self.rules.may_apply(self.data.context(), &op) {
            self.peer(id).inbound.advance(now);
            self.apply_foreign(&op);
            return self.progress();
        }
        if !self.is_ours(op.deps.counter(self.membership.incarnation())) {
            return self.drop_from(id, DropReason::Invalid);
        }
        self.gaps.on_remote_counter(op.dot.incarnation, op.dot.counter, now);
        self.gaps.on_remote_vector(&op.deps, self.data.context(), now);
        let bounded = self.rules.follows(Rule::BoundsCausalBuffer);
        let limits = if bounded {
            (self.config.causal_buffer_max, self.config.causal_buffer_bytes_max)
        } else {
            (usize::MAX, usize::MAX)
        };
        if !self.has_memory_for_ops(op.bytes() as u64) || !self.causal_buffer.insert(op, limits.0, limits.1) {
            self.drop_from(id, DropReason::CausalBufferFull);
        }
    }

    /// Credit returns for everything that arrived, whatever becomes of it.
    fn note_push(&mut self, id: PeerId, op: &Op, now: Time) {
        let ack_at = now + self.config.ack_delay;
        let (ops, bytes) = (self.config.credit_ops_max / 4, self.config.credit_bytes_max / 4);
        let peer = self.peer(id);
        let full = peer.inbound.on_push(op.dot.counter, op.bytes(), (ops, bytes));
        peer.next_status = peer.next_status.min(if full { now } else { ack_at });
    }

    /// Cuts from the log what every member has, and what is too much.
    pub(super) fn trim_log(&mut self) {
        let mut had = None;
        for _ in 0..self.effects.room() {
            let Some(front) = self.data.log().front() else { return };
            let (Dot { incarnation, counter }, effects) = (front.dot, front.effects());
            if effects > self.effects.room() {
                break;
            }
            // Writes of one incarnation come in a row, so members are asked about the row and not about each.
            let through = match had {
                Some((known, through)) if known == incarnation => through,
                Some(_) | None => self.had_by_all(incarnation),
            };
            had = Some((incarnation, through));
            if !self.rules.may_trim(counter <= through) && !self.is_log_too_long() {
                return;
            }
            self.data.cut_log(&self.rules);
            self.effects.did(effects);
        }
        self.effects.defer();
    }

    /// The counter up to which every member has the writes of this incarnation.
    fn had_by_all(&self, incarnation: Incarnation) -> u64 {
        let has = |id: &PeerId| {
            let peer = &self.peers[*id];
            match peer.incarnation {
                None => 0,
                Some(own) if own == incarnation => u64::MAX, // its writer has it, said or not
                Some(_) => self.data.context().counter_in(&peer.acknowledged, incarnation),
            }
        };
        self.peers.members().iter().map(has).min().unwrap_or(u64::MAX)
    }
}
