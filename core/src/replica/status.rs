//! What a replica tells about itself: for metrics, diagnostics, oracles.

use super::peer::Peer;
use super::{MemoryUse, Readiness, Replica};
use crate::causal_context::CausalContext;
use crate::data::Key;
use crate::formats::Formats;
use crate::identity::{Address, Incarnation};
use crate::request::{Reply, RequestId};
use crate::rules::Rules;
use crate::siblings::Siblings;
use crate::store::Store;
use crate::time::Micros;
use crate::vector::{Dot, VersionVector};
use crate::view::{MemberRecord, View};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// A replica's state in numbers; see [`Replica::status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its address.
    pub address: Address,
    /// The present incarnation.
    pub incarnation: Incarnation,
    /// Serves data requests: up and a member.
    pub ready: bool,
    /// Whether clients may be sent to it, and if not, why.
    pub readiness: Readiness,
    /// Has loaded its state.
    pub up: bool,
    /// Is a member, as far as operators are concerned.
    pub is_member: bool,
    /// What is covered; retired incarnations are left out.
    pub vector: VersionVector,
    /// Retired incarnations remembered.
    pub retired: usize,
    /// The digest of the store; see [`Store::digest`].
    pub digest: Option<u64>,
    /// Keys present.
    pub keys: usize,
    /// Bytes of all live versions; see [`Store::bytes`].
    pub store_bytes: u64,
    /// Operations in the log.
    pub log_ops: usize,
    /// Their bytes.
    pub log_bytes: usize,
    /// What data holds in memory, and may.
    pub memory: MemoryUse,
    /// Operations parked.
    pub causal_buffer: usize,
    /// Requests waiting.
    pub blocked: usize,
    /// A fetch is under way.
    pub pulling: bool,
    /// The members that `GET /view` lists.
    pub listed: Vec<Address>,
    /// The formats that it speaks.
    pub formats: Formats,
    /// Every member speaks the newest of them.
    pub upgraded: bool,
    /// Every record of the view, by address.
    pub view: Vec<MemberRecord>,
    /// Every other address heard of.
    pub peers: Vec<PeerStatus>,
}

/// What a replica tells about another address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The address.
    pub address: Address,
    /// The state of the link.
    pub link: LinkState,
    /// Silent for too long.
    pub suspected: bool,
    /// What it last said it covers.
    pub vector: VersionVector,
    /// The formats that its incarnation speaks, once it said hello.
    pub formats: Option<Formats>,
    /// How far it is behind; none where it is no member.
    pub lag: Option<Lag>,
    /// The time since it was last heard.
    pub silent: Micros,
}

/// How far a member is behind this replica, by what it last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Operations that are here, and that it has not said that it has.
    pub ops: u64,
    /// The age of the oldest of them that was made here.
    pub age: Micros,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Hellos go out.
    Opening,
    /// Both ends know both numbers.
    Established,
    /// One end was removed and all is said.
    Dormant,
}

impl<R: Rules> Replica<R> {
    /// Its address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        self.membership.address()
    }

    /// The present incarnation. Changes when another turns out to be the newest at the address.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.membership.incarnation()
    }

    /// What is covered: applied or installed.
    #[must_use]
    pub const fn vector(&self) -> &VersionVector {
        self.data.context().vector()
    }

    /// The most entries that this vector ever had, and so any token that was handed out.
    #[must_use]
    pub const fn longest_vector(&self) -> usize {
        self.data.longest_vector()
    }

    /// What is covered, with the incarnations that are over.
    #[must_use]
    pub const fn causal_context(&self) -> &CausalContext {
        self.data.context()
    }

    /// Every present key with its versions, by key.
    pub fn shown(&self) -> impl Iterator<Item = (&Key, Cow<'_, Siblings>)> {
        self.data.store().shown(&self.rules)
    }

    /// The versions of this key, winner first.
    #[must_use]
    pub fn shown_of(&self, key: &Key) -> Cow<'_, Siblings> {
        self.data.store().shown_of(&self.rules, key)
    }

    /// What the last input cost, in the units of [`crate::WORK_MAX`].
    #[must_use]
    pub const fn work(&self) -> u32 {
        self.effects.work()
    }

    /// The live versions of every key.
    #[must_use]
    pub const fn store(&self) -> &Store {
        self.data.store()
    }

    /// The agreed addresses.
    #[must_use]
    pub const fn view(&self) -> &View {
        self.membership.view()
    }

    /// How many operations are buffered.
    #[must_use]
    pub const fn causal_buffer(&self) -> usize {
        self.causal_buffer.len()
    }

    /// Which operations are buffered.
    pub fn buffered(&self) -> impl Iterator<Item = Dot> + '_ {
        self.causal_buffer.dots()
    }

    /// What others cover and this replica does not, by the last of each incarnation, until a repair fetches it.
    #[must_use]
    pub fn gaps(&self) -> VersionVector {
        self.gaps.vector()
    }

    /// Covers what has left the log, and every delete of that. See [`Rules::may_trim`].
    #[must_use]
    pub const fn trimmed(&self) -> (&VersionVector, &VersionVector) {
        self.data.log().floors()
    }

    /// How many requests wait: for their dependencies, or for their write concern.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.blocked.len() + self.concerns.len() + self.lists.len()
    }

    /// How many of them wrote, and wait until that is elsewhere, too.
    #[must_use]
    pub fn concerns(&self) -> usize {
        self.concerns.len()
    }

    /// The answers that wait until what was written is elsewhere, too, each with the request that wrote it.
    pub fn spreading(&self) -> impl Iterator<Item = (RequestId, &Reply)> {
        self.concerns.iter().map(|(id, spreading)| (id, &spreading.answer))
    }

    /// How many watches there are.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// How many keys changed that some watch was not told yet.
    #[must_use]
    pub const fn watch_changes(&self) -> usize {
        self.watches.ranges().changes()
    }

    /// How many of them wait for their past.
    #[must_use]
    pub fn pending_watches(&self) -> usize {
        self.watches.pending()
    }

    /// Bytes of the operations parked.
    #[must_use]
    pub const fn causal_buffer_bytes(&self) -> usize {
        self.causal_buffer.bytes()
    }

    /// Bytes of the values in requests that wait, and of answers that do.
    #[must_use]
    pub const fn blocked_bytes(&self) -> usize {
        self.blocked.bytes() + self.concerns.bytes() + self.lists.bytes()
    }

    /// Bytes of the operations in the log.
    #[must_use]
    pub const fn log_bytes(&self) -> usize {
        self.data.log().bytes()
    }

    /// Is a fetch under way?
    #[must_use]
    pub const fn is_pulling(&self) -> bool {
        self.pulls.is_under_way()
    }

    /// The link to another address that was heard of, and whether it has been silent for too long.
    #[must_use]
    pub fn link(&self, address: &Address) -> Option<(LinkState, bool)> {
        let peer = &self.peers[self.find_peer(address)?];
        Some((peer.link_state(), peer.suspect.is_suspected()))
    }

    /// Everything worth showing, copied. Costs O(members), not O(keys).
    #[must_use]
    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus {
            address: self.membership.address().clone(),
            incarnation: self.membership.incarnation(),
            ready: self.is_ready(),
            readiness: self.readiness(),
            up: !self.startup.is_joining(),
            is_member: self.membership.is_member(),
            vector: self.data.context().vector().clone(),
            retired: self.data.context().records().len(),
            digest: self.data.store().digest(),
            keys: self.data.store().len(),
            store_bytes: self.data.store().bytes(),
            log_ops: self.data.log().len(),
            log_bytes: self.data.log().bytes(),
            memory: self.memory(),
            causal_buffer: self.causal_buffer.len(),
            blocked: self.blocked(),
            pulling: self.pulls.is_under_way(),
            listed: self.listed(),
            formats: self.config.formats,
            upgraded: self.all_speak(self.config.formats.highest),
            view: self.membership.view().to_records(),
            peers: self.peers.iter().map(|peer| self.peer_status(peer)).collect(),
        }
    }

    fn peer_status(&self, peer: &Peer) -> PeerStatus {
        PeerStatus {
            address: peer.address.clone(),
            link: peer.link_state(),
            suspected: peer.suspect.is_suspected(),
            vector: (*peer.acknowledged).clone(),
            formats: peer.formats,
            lag: peer.is_member.then(|| self.lag(&peer.acknowledged)),
            silent: peer.suspect.silent_for(self.now.monotonic),
        }
    }

    fn lag(&self, acknowledged: &VersionVector) -> Lag {
        let context = self.data.context();
        let lacks = |(incarnation, counter): (Incarnation, u64)| {
            counter.saturating_sub(context.counter_in(acknowledged, incarnation))
        };
        let own = context.counter_in(acknowledged, self.membership.incarnation());
        let oldest = self.data.log().own_after(own);
        Lag {
            ops: context.vector().entries().map(lacks).sum(),
            age: oldest.map_or(Micros::ZERO, |own| self.now.monotonic.since(own.made)),
        }
    }

    /// What this replica wrote in its present incarnation, in number.
    #[must_use]
    pub fn own_writes(&self) -> u64 {
        self.data.context().vector().counter(self.membership.incarnation())
    }

    /// How many of these each other member has said that it has.
    pub fn own_writes_acknowledged(&self) -> impl Iterator<Item = (&Address, u64)> {
        let (context, incarnation) = (self.data.context(), self.membership.incarnation());
        let of = move |peer: &'_ Peer| context.counter_in(&peer.acknowledged, incarnation);
        self.peers.iter().filter(|peer| peer.is_member).map(move |peer| (&peer.address, of(peer)))
    }

    /// Checks every invariant that costs O(n). The simulator calls it every few steps.
    ///
    /// # Panics
    /// If one does not hold: a mistake of ours.
    pub fn check_invariants(&self) {
        self.data.check_invariants(&self.rules);
        self.causal_buffer.check_invariants(self.data.context());
        self.peers.check_invariants();
        self.check_pieces();
        if !self.effects.is_deferred() {
            self.blocked.check_invariants(self.data.context());
        }
        self.rounds.check_invariants();
        self.membership.check_invariants();
        assert!(self.causal_buffer.len() <= self.config.causal_buffer_max, "parked beyond its limit");
        self.concerns.check_invariants();
        self.watches.check_invariants();
        self.deleted.check_invariants(self.data.context());
        assert!(self.watches.len() <= self.config.watches_max, "watches beyond their limit");
        assert!(self.blocked() <= self.config.blocked_max, "waiting beyond its limit");
        let waits = !self.blocked.is_empty() || !self.lists.is_empty();
        assert!(!waits || !self.startup.is_joining(), "requests wait while joining");
    }
}

impl Peer {
    const fn link_state(&self) -> LinkState {
        match (self.link.is_established(), self.dormant) {
            (true, _) => LinkState::Established,
            (false, true) => LinkState::Dormant,
            (false, false) => LinkState::Opening,
        }
    }
}
