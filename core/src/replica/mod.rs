//! The replica: one input at a time goes in, outputs come out, nothing else happens. The work of one is bounded
//! (LIMIT-2).
//!
//! A replica is dispatch over parts that own their state. A part keeps its fields to itself and states its invariants.
//! None reaches into another, and what one needs of another is handed in. The other modules say what follows from what:
//! they are methods of [`Replica`], and hold no state.
//!
//! | room | parts, with what each holds | what follows from what |
//! |---|---|---|
//! | data | `data` what is applied; `status` what is told of it | `merge` joins two states |
//! | clients | `blocked` requests that wait, `awaited` for which dot | `requests` answers them, `batch` for several keys |
//! | lists | `lists` those that wait | `list` answers for a range of keys |
//! | watches | `watches` those that are open, `ranges` and `changed` what changed for them, `deleted` which keys were deleted from | `watch` tells it, `walk` looks for it |
//! | write concern | `concerns` writes that wait to be elsewhere, too | `concern` answers them |
//! | peers | `peers` the table of other addresses, `peer` one of them, with its `link`, its `credit` for pushes, `suspect` how it sounds | `links` opens and closes links, `suspicion` doubts |
//! | push | `effects` what a call does to the outside, and how much it may do | `exchange` pushes and acknowledges |
//! | pull | `pulls` the fetch under way, `supplier` what became of pulls from a peer | `repair` pulls and installs, `sources` says where from, `supply` answers |
//! | large values | `fetches` what is being put together, `asked` which pieces a peer owes | `pieces` asks for pieces, `large` lets a pull wait for them |
//! | membership | `membership` the view and who this is, `renewals` how often that changed | `view_changes` follows the view, `strangers` sees another cluster, `aside` gives way to another process, `formats` knows what each peer speaks |
//! | start | `startup` how far this is on its way to serve | `joining` loads the state, `readiness` says when clients may be sent here |
//! | ended incarnations | `rounds` what is asked about lost writes | `lost_writes` finds out what is lost, `retirement` replaces incarnations that are over |
//! | limits | `budget` the limits of memory | `memory` says what gives way, `timers` when to wake up |

mod aside;
mod asked;
mod awaited;
mod batch;
mod blocked;
mod budget;
mod changed;
mod concern;
mod concerns;
mod credit;
mod data;
mod deleted;
mod effects;
mod exchange;
mod fetches;
mod formats;
mod joining;
mod large;
mod link;
mod links;
mod list;
mod lists;
mod lost_writes;
mod membership;
mod memory;
mod merge;
mod peer;
mod peers;
mod pieces;
mod pulls;
mod ranges;
mod readiness;
mod renewals;
mod repair;
mod requests;
mod retirement;
mod rounds;
mod sources;
mod startup;
mod status;
mod strangers;
mod supplier;
mod supply;
mod suspect;
mod suspicion;
#[cfg(test)]
mod tests;
mod timers;
mod view_changes;
mod walk;
mod watch;
mod watches;

pub use budget::MemoryUse;
pub use effects::WORK_MAX;
pub use merge::State;
pub use readiness::{Readiness, Unsettled};
pub use status::{Lag, LinkState, PeerStatus, ReplicaStatus};

use crate::causal_buffer::CausalBuffer;
use crate::causal_context::Retirement;
use crate::config::Config;
use crate::edge::{DropReason, Event, Input, Output};
use crate::freshness::Spans;
use crate::gaps::Gaps;
use crate::identity::{Address, Identity, Incarnation, Seed};
use crate::message::{Body, Message};
use crate::op::{BATCH_MAX, Effect, Op};
use crate::rules::{Rule, Rules, Sound};
use crate::table::HashKey;
use crate::time::{Micros, Now, Time};
use crate::vector::VersionVector;
use alloc::sync::Arc;
use blocked::BlockedRequests;
use budget::Budget;
use concerns::Concerns;
use data::Data;
use deleted::Deleted;
use effects::Effects;
use fetches::Fetches;
use lists::Lists;
use membership::Membership;
use peer::{Peer, PeerId};
use peers::Peers;
use pulls::Pulls;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rounds::Rounds;
use startup::Startup;
use watches::Watches;

/// A wake-up that comes later than asked for by more than this means that the process was not run.
const STALL_MIN: Micros = Micros::from_millis(100);

/// When a message left, on its sender's monotonic clock, where it says so.
fn departure(body: &Body) -> Option<Time> {
    match body {
        Body::Status(status) => Some(status.sent),
        Body::Push { made, .. } | Body::Announce { made, .. } => Some(*made),
        Body::Hello(hello) => Some(hello.sent),
        Body::View(_)
        | Body::Pull { .. }
        | Body::Supply(_)
        | Body::LostQuery(_)
        | Body::LostReply { .. }
        | Body::Probe { .. }
        | Body::Vouch { .. }
        | Body::Want { .. }
        | Body::Piece { .. }
        | Body::Taken { .. } => None,
    }
}

/// One replica. See the crate's documentation for how to drive it.
///
/// A clone is a copy of its memory. To run both is the one thing that its names for writes do not survive; they
/// notice and report it ([`Event::Impersonated`], [`Event::Diverged`]).
#[derive(Debug, Clone)]
pub struct Replica<R: Rules = Sound> {
    rules: R,
    config: Config,
    random: ChaCha8Rng,
    now: Now,

    membership: Membership,
    startup: Startup,
    data: Data,
    /// When it was told that members of another cluster appeared.
    merge_reported: Option<Time>,
    wall_trusted: bool,

    peers: Peers,
    causal_buffer: CausalBuffer,
    fetches: Fetches,
    gaps: Gaps,
    /// When this process was not run though it should have been.
    stalls: Spans,
    pulls: Pulls,
    blocked: BlockedRequests,
    concerns: Concerns,
    lists: Lists,
    watches: Watches,
    deleted: Deleted,
    budget: Budget,
    rounds: Rounds,
    retire_at: Time,

    /// The process is about to end.
    leaving: bool,
    effects: Effects,
}

impl<R: Rules> Replica<R> {
    /// A replica that has just started: memory empty, joining, about to say hello to the others in its view.
    #[must_use]
    pub fn new(rules: R, config: Config, identity: Identity, seed: Seed, now: Now) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed.0);
        let incarnation = rules.incarnation(Incarnation::new(1, random.next_u64()), &identity.address);
        // A message names the incarnation that sends it and, by its echo, the link. From a random number on, the echo
        // tells incarnations at the receiving address apart as well. The same goes for the answers to pulls.
        let fresh = u64::from(random.next_u32()) + 1;
        let hash_key = hash_key(seed);
        let effects = Effects::new(rules.follows(Rule::BoundsWork));
        let mut replica = Self {
            rules,
            random,
            now,
            startup: Startup::new(now.monotonic, &config),
            membership: Membership::new(identity, incarnation),
            data: Data::new(hash_key),
            merge_reported: None,
            wall_trusted: true,
            peers: Peers::new(fresh),
            causal_buffer: CausalBuffer::default(),
            fetches: Fetches::new(config.pieces_bytes_max),
            gaps: Gaps::default(),
            stalls: Spans::default(),
            pulls: Pulls::new(hash_key, fresh),
            blocked: BlockedRequests::default(),
            concerns: Concerns::default(),
            lists: Lists::default(),
            watches: Watches::new(config.watch_changes_max, memory::remembered_max(&config)),
            deleted: Deleted::new(config.watch_deletes_max, memory::remembered_max(&config)),
            budget: Budget::new(&config),
            rounds: Rounds::new(config.rounds_max),
            retire_at: now.monotonic,
            leaving: false,
            effects,
            config,
        };
        replica.introduce();
        replica.effects.forget_outputs();
        replica
    }

    /// Takes one input. Total: any input in any state. Drain [`Self::poll_output`] before the next one.
    ///
    /// # Panics
    /// If `now.monotonic` went back, or outputs of the call before were left: mistakes of the driver.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.effects.begin();
        self.observe(now);
        match input {
            Input::Timeout => self.on_timeout(),
            Input::Message { from, message } => self.on_message(&from, message),
            Input::Progress { from } => self.on_progress(&from),
            Input::Connected { to } => self.on_connected(&to),
            Input::Sign { from } => self.on_sign(&from),
            Input::Refused { by, why } => self.on_refused(&by, why),
            Input::Aside { address: Some(address) } => self.stand_aside(address),
            Input::Aside { address: None } => self.come_home(),
            Input::Named { addresses } => self.on_named(addresses),
            Input::Request { id, request } => self.on_request(id, request),
            Input::Told { id } => self.on_part_taken(id),
            Input::Cancel { id } => self.cancel(id),
            Input::Leave => self.on_leave(),
        }
        self.settle_concerns();
        self.serve_watches(0);
        self.tend_memory();
    }

    /// The next thing to do; `None` when there is nothing more until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.effects.pop()
    }

    /// What [`Self::poll_output`] will yield, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.effects.outputs()
    }

    /// When to hand in [`Input::Timeout`] if nothing else comes first. Late or needless ones do no harm.
    ///
    /// It is worked out when it is asked for, so inputs that come in a row should be handed in before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(self.next_timeout()).filter(|&timeout| timeout != Time::NEVER)
    }

    fn observe(&mut self, now: Now) {
        assert!(now.monotonic >= self.now.monotonic, "time went back from {:?} to {now:?}", self.now);
        // What lies before the last input was counted then: a backlog after one stall is not a stall each.
        let mut from = self.now.monotonic;
        if now.monotonic.since(from) > STALL_MIN {
            from = from.max(self.next_timeout());
        }
        self.now = now;
        let late = now.monotonic.since(from);
        if late <= STALL_MIN {
            return;
        }
        // This process was not run when it should have been: others' silence in that time means nothing.
        self.stalls.add(from, now.monotonic);
        for peer in self.peers.iter_mut() {
            peer.suspect.exclude_stall(late, now.monotonic);
            peer.stream.exclude_stall(late, now.monotonic);
        }
        self.startup.exclude_stall(late);
        self.pulls.exclude_stall(late);
        self.effects.emit(Event::Stalled(late));
    }

    fn on_message(&mut self, from: &Address, message: Message) {
        let Message { from: incarnation, number, echo, sequence, body } = message;
        if let Body::Hello(hello) = body {
            if *from == *self.membership.address() {
                return self.drop_message(from, DropReason::OwnAddress);
            }
            return self.on_hello(from, incarnation, (number, echo, sequence), &hello);
        }
        let Some(id) = self.admit(from, incarnation, number, echo) else {
            if matches!(body, Body::View(_)) {
                self.reopen_for_update(from);
            }
            return;
        };
        self.on_arrival(id, sequence, departure(&body));
        match body {
            Body::Hello(_) => unreachable!("taken above"),
            Body::Status(status) => self.on_status(id, *status),
            Body::Push { op, made } => self.on_push(id, op, made),
            Body::Announce { op, made } => self.on_announce(id, op, made),
            Body::Want { dot, offset, bytes } => self.on_want(id, dot, offset, bytes),
            Body::Piece { dot, offset, bytes } => self.on_piece(id, dot, offset, &bytes),
            Body::View(records) => self.on_view(id, &records),
            Body::Pull { id: pull, vector } => self.on_pull(id, pull, vector),
            Body::Supply(supply) => self.on_supply(id, *supply),
            Body::LostQuery(ask) => self.on_query(id, &ask),
            Body::LostReply { round, held } => self.on_answer(id, round, &held),
            Body::Probe { address } => self.on_probe(id, &address),
            Body::Vouch { address } => self.on_vouch(&address),
            Body::Taken { id: pull, frame } => self.on_taken(id, pull, frame),
        }
    }

    fn apply_foreign(&mut self, op: &Arc<Op>) {
        self.data.apply_foreign(&self.rules, op, self.now.wall);
        self.after_apply(op);
    }

    /// Coverage moved by this operation: the others hear of it.
    fn after_apply(&mut self, op: &Op) {
        self.effects.did(op.effects());
        self.note_for_watches(op);
        match &op.effect {
            Effect::Put { key, .. } | Effect::Delete { key } | Effect::Erase { key } => self.mark_changed(key),
            Effect::Batch(changes) => {
                let marked = if self.rules.follows(Rule::SuppliesChangesOfBatches) { BATCH_MAX } else { 1 };
                changes.iter().take(marked).for_each(|change| self.mark_changed(&change.key));
            }
            Effect::Retire { .. } => {}
        }
        if let Effect::Retire { incarnation, through } = op.effect {
            let dot = op.dot;
            self.blocked.note(incarnation);
            self.watches.note_coverage(incarnation);
            self.mark_retired(incarnation, Retirement { through, dot });
            self.effects.emit(Event::Retired { dot, incarnation, through });
        }
        if self.data.has_loose_records() {
            self.blocked.note_all();
            self.watches.note_all_coverage();
        } else {
            self.blocked.note(op.dot.incarnation);
        }
        self.effects.emit(Event::Applied(op.dot));
    }

    /// Coverage moved: what waited for that goes on. Bounded; the rest is left to the next call.
    fn progress(&mut self) {
        // What came by another way stands before what waited behind it.
        self.causal_buffer.drop_covered(self.data.context());
        while self.effects.room() > 0 {
            let (rules, context, room) = (&self.rules, self.data.context(), self.effects.room());
            let fits = |op: &Op| op.effects() == 1 || 2 * op.effects() <= room; // the log is cut by as much
            let Some(op) = self.causal_buffer.take_ready(|op| rules.may_apply(context, op) && fits(op)) else {
                if room < 2 * BATCH_MAX && self.causal_buffer.is_ready(|op| rules.may_apply(context, op)) {
                    break; // a batch waits for the next call and is never split
                }
                return self.settle();
            };
            self.apply_foreign(&op);
            if self.data.log().bytes() > self.config.log_bytes_max {
                self.trim_log(); // now: the requests that wait may take what else this call may do
            }
        }
        self.effects.defer();
        self.settle();
    }

    fn settle(&mut self) {
        self.causal_buffer.drop_covered(self.data.context());
        self.settle_pieces();
        self.gaps.cover(self.data.context());
        self.wake_blocked();
        if self.peers.members().is_empty() || self.is_log_too_long() {
            self.trim_log();
        }
        self.try_become_up();
        self.consider_readiness();
    }

    fn shared_vector(&mut self) -> Arc<VersionVector> {
        if !self.rules.follows(Rule::AcknowledgesAppliedOnly) {
            let mut vector = self.data.context().vector().clone();
            self.causal_buffer.dots().for_each(|dot| _ = vector.join_dot(dot));
            return Arc::new(vector);
        }
        self.data.shared_vector()
    }

    fn peer(&mut self, id: PeerId) -> &mut Peer {
        &mut self.peers[id]
    }

    fn find_peer(&self, address: &Address) -> Option<PeerId> {
        self.peers.find(address)
    }

    fn peer_ids(&self) -> impl Iterator<Item = PeerId> + use<R> {
        self.peers.ids()
    }

    fn send(&mut self, id: PeerId, body: Body) {
        let from = self.membership.incarnation();
        let peer = self.peer(id);
        let sequence = peer.link.next_sequence();
        let message = Message { from, number: peer.link.number(), echo: peer.link.echo(), sequence, body };
        let peer = &self.peers[id];
        self.effects.send(peer.address.clone(), message);
    }

    fn drop_message(&mut self, from: &Address, reason: DropReason) {
        self.effects.emit(Event::Dropped { from: from.clone(), reason });
    }

    fn drop_from(&mut self, id: PeerId, reason: DropReason) {
        let from = self.peers[id].address.clone();
        self.effects.emit(Event::Dropped { from, reason });
    }
}

/// Tables have randomness of their own, so that how often they draw changes nothing else.
fn hash_key(seed: Seed) -> HashKey {
    let mut random = ChaCha8Rng::from_seed(seed.0);
    random.set_stream(1);
    HashKey(random.next_u64(), random.next_u64())
}
