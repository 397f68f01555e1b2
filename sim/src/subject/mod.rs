//! What is simulated: any state machine that takes messages and client requests.
//!
//! The product's replica is one subject ([`hence_core::Replica`] under any [`Rules`]); `baseline` is another.
//! Requests and replies are those of hence-core, whose tokens are version vectors; a subject with another kind
//! of causal metadata maps it onto one. A subject without a [`Probe`] is judged by what clients see alone.

pub mod baseline;
pub mod buggify;
pub mod echo;

mod held;
mod traits;
mod wire;

use crate::random::Words;
pub use held::{Inside, Load};
use hence_core::{
    Address, BatchAnswer, Body, Config, Content, Dot, Event, Formats, Identity, Incarnation, Key, LinkState, Message,
    Now, Output, Replica, Reply, Request, RequestId, Rule, Rules, Seed, Siblings, Time, VersionVector, View, WatchPart,
    Written,
};
use std::borrow::Cow;
pub use traits::{Part, Role, Traits};
pub use wire::Lane;

/// What can happen to a subject.
#[derive(Debug, Clone)]
pub enum Input<M> {
    /// Time has passed.
    Timeout,
    /// A message arrived.
    Message {
        /// From which replica of the plan.
        from: usize,
        /// The message.
        message: M,
    },
    /// An address accepted a connection.
    Connected {
        /// That of which replica.
        to: usize,
    },
    /// A client asks.
    Request {
        /// Its name, never used twice.
        id: RequestId,
        /// What it asks.
        request: Request,
    },
    /// The client of a watch took what it was told.
    Told {
        /// The watch.
        id: RequestId,
    },
    /// A client went away.
    Cancel {
        /// The request.
        id: RequestId,
    },
    /// The process is told to end.
    Leave,
}

/// What a replica did for the client that made a write.
#[derive(Debug, Clone, Copy)]
pub enum Wrote<'a> {
    /// It wrote one key.
    One(&'a Written),
    /// It wrote a batch.
    Batch(&'a BatchAnswer),
}

/// What a subject wants done.
#[derive(Debug)]
pub enum Out<M> {
    /// Send this to the replica with that number.
    Send {
        /// To which replica of the plan.
        to: usize,
        /// What.
        message: M,
    },
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Tell the client of a watch.
    Tell {
        /// Which.
        id: RequestId,
        /// What.
        part: Box<WatchPart>,
    },
    /// Something worth telling.
    Event(Event),
}

/// A law that the merging of states keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// The order of two states does not matter.
    Commutative,
    /// The grouping of three states does not matter.
    Associative,
    /// A state joined with itself stays as it is.
    Idempotent,
}

/// Which of the plan's replicas lives at this address, if one does.
#[must_use]
#[inline]
pub fn number_of(wanted: &Address, addresses: &[Address]) -> Option<usize> {
    // Addresses are shared text, so it is nearly always the same piece of memory.
    let same = addresses.iter().position(|address| address.is(wanted));
    same.or_else(|| addresses.iter().position(|address| address == wanted))
}

/// One replica under simulation. To the simulator replicas are numbers; `addresses` says what those are to a subject.
pub trait Subject: Sized {
    /// What replicas say to each other.
    type Message: Clone + std::fmt::Debug;
    /// What every replica is started with besides its settings: rules, for instance.
    type Setup: Clone;

    /// A process starts.
    fn start(setup: &Self::Setup, config: Config, identity: Identity, seed: Seed, now: Now) -> Self;
    /// Takes one input.
    fn handle(&mut self, now: Now, input: Input<Self::Message>, addresses: &[Address]);
    /// The next thing that it wants done, until there is none: asked for after each input.
    fn poll_output(&mut self, addresses: &[Address]) -> Option<Out<Self::Message>>;
    /// What a replica did for the client that made this write: its answer, among what it wants done or puts off.
    fn written(&self, _dot: Dot) -> Option<(RequestId, Wrote<'_>)> {
        None
    }
    /// When to hand in a timeout.
    fn poll_timeout(&self) -> Option<Time>;
    /// What kind of message is this?
    fn traits(message: &Self::Message) -> Traits;
    /// Which law of merging do the states of these replicas break, taken by three in a circle, and which three do?
    fn broken_law(_replicas: &[&Self]) -> Option<(Law, [usize; 3])> {
        None
    }
    /// A look inside, for the oracles that need one.
    fn probe(&self) -> Option<&dyn Probe>;

    /// A copy of its running memory, if it can be copied.
    fn image(&self) -> Option<Self> {
        None
    }

    /// About how many bytes the message takes on the wire.
    fn bytes(message: &Self::Message) -> u64;

    /// The format that a process with these formats speaks to one with those.
    fn spoken(_setup: &Self::Setup, ours: Formats, theirs: Formats) -> Option<u8> {
        ours.common(theirs)
    }

    /// Is the format agreed anew with each process? Only a mutant does otherwise.
    fn formats_end_with_the_link(_setup: &Self::Setup) -> bool {
        true
    }

    /// The oldest format that has a word for this message.
    fn format_of(_message: &Self::Message) -> u8 {
        Formats::RELEASED.lowest
    }

    /// Encodes a message behind those that were sent over the same connection. None where the subject has no codec.
    fn seal(_lane: &mut Lane, _message: &Self::Message) -> Option<Result<(), String>> {
        None
    }

    /// Reads the next message of a connection, which must be this one.
    fn open(_lane: &mut Lane, _message: &Self::Message) -> Result<(), String> {
        Ok(())
    }

    /// Changes bits of the encoded message as these words say and reads it: the reader must refuse it. None where the
    /// subject has no codec. `sealed` gives it a checksum that fits: a mutant of the simulator.
    fn damage(_from: &Address, _message: &Self::Message, _words: Words, _sealed: bool) -> Option<Result<(), String>> {
        None
    }
}

/// A look inside a subject.
pub trait Probe {
    /// The present life.
    fn incarnation(&self) -> Incarnation;
    /// What it says it covers.
    fn vector(&self) -> &VersionVector;
    /// The highest counter that it covers of this life.
    fn counter(&self, life: Incarnation) -> u64;
    /// The versions of this key, winner first.
    fn shown(&self, key: &Key) -> Cow<'_, Siblings>;
    /// How many keys are present.
    fn keys(&self) -> usize;
    /// Every present key with its versions, by key.
    fn all(&self) -> Vec<(Key, Siblings)>;
    /// The digest of its store, unless a state is being folded in.
    fn digest(&self) -> Option<u64>;
    /// Its view.
    fn view(&self) -> &View;
    /// Serves data requests.
    fn is_ready(&self) -> bool;
    /// Is its own address a member?
    fn is_member(&self) -> bool;
    /// Operations parked, requests waiting, operations and bytes in the log.
    fn load(&self) -> Load;
    /// What it holds for later and what it lacks, for people who look at it.
    fn inside(&self) -> Inside<'_>;
    /// What the last input cost, in units of which one input may cost at most [`hence_core::WORK_MAX`].
    fn work(&self) -> u32;
    /// Is every other wanted member linked and listed?
    fn is_settled(&self) -> bool;
    /// The link to an address that it has heard of.
    fn link(&self, to: &Address) -> Option<LinkState>;
    /// Has every member said that it speaks this format?
    fn all_speak(&self, format: u8) -> bool;
    /// The subject's own list of invariants; panics where one does not hold.
    fn check_invariants(&self);
}

impl<R: Rules> Probe for Replica<R> {
    fn incarnation(&self) -> Incarnation {
        Self::incarnation(self)
    }

    fn vector(&self) -> &VersionVector {
        Self::vector(self)
    }

    fn counter(&self, life: Incarnation) -> u64 {
        self.causal_context().counter(life)
    }

    fn shown(&self, key: &Key) -> Cow<'_, Siblings> {
        self.shown_of(key)
    }

    fn keys(&self) -> usize {
        if self.store().digest().is_some() { self.store().len() } else { Self::shown(self).count() }
    }

    fn all(&self) -> Vec<(Key, Siblings)> {
        let mut all: Vec<_> = Self::shown(self).map(|(key, siblings)| (key.clone(), siblings.into_owned())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    fn digest(&self) -> Option<u64> {
        self.store().digest()
    }

    fn view(&self) -> &View {
        Self::view(self)
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }

    fn is_member(&self) -> bool {
        self.view().is_member(self.address())
    }

    fn load(&self) -> Load {
        let (parked, waiting) = (self.causal_buffer(), self.blocked());
        let (parked_bytes, waiting_bytes) = (self.causal_buffer_bytes(), self.blocked_bytes());
        let (log_bytes, memory, pulling, spreading) =
            (self.log_bytes(), self.memory(), self.is_pulling(), self.concerns());
        let watches = self.watches();
        Load { parked, waiting, spreading, watches, parked_bytes, waiting_bytes, log_bytes, memory, pulling }
    }

    fn inside(&self) -> Inside<'_> {
        let (trimmed, trimmed_deletes) = self.trimmed();
        Inside { buffered: self.buffered().collect(), gaps: self.gaps(), trimmed, trimmed_deletes }
    }

    fn work(&self) -> u32 {
        Self::work(self)
    }

    fn is_settled(&self) -> bool {
        let members = self.view().members().filter(|&address| address != self.address());
        members.into_iter().all(|address| self.link(address) == Some((LinkState::Established, false)))
    }

    fn link(&self, to: &Address) -> Option<LinkState> {
        Self::link(self, to).map(|(link, _)| link)
    }

    fn all_speak(&self, format: u8) -> bool {
        Self::all_speak(self, format)
    }

    fn check_invariants(&self) {
        Self::check_invariants(self);
    }
}

impl<R: Rules + Clone> Subject for Replica<R> {
    type Message = Message;
    type Setup = R;

    fn start(setup: &R, config: Config, identity: Identity, seed: Seed, now: Now) -> Self {
        Self::new(setup.clone(), config, identity, seed, now)
    }

    #[inline]
    fn handle(&mut self, now: Now, input: Input<Message>, addresses: &[Address]) {
        let input = match input {
            Input::Timeout => hence_core::Input::Timeout,
            Input::Message { from, message } => hence_core::Input::Message { from: addresses[from].clone(), message },
            Input::Connected { to } => hence_core::Input::Connected { to: addresses[to].clone() },
            Input::Request { id, request } => hence_core::Input::Request { id, request },
            Input::Told { id } => hence_core::Input::Told { id },
            Input::Cancel { id } => hence_core::Input::Cancel { id },
            Input::Leave => hence_core::Input::Leave,
        };
        Self::handle(self, now, input);
    }

    #[inline]
    fn poll_output(&mut self, addresses: &[Address]) -> Option<Out<Message>> {
        loop {
            return Some(match Self::poll_output(self)? {
                Output::Send { to, message } => {
                    let Some(to) = number_of(&to, addresses) else { continue }; // lost: no replica lives there
                    Out::Send { to, message }
                }
                Output::Reply { id, reply } => Out::Reply { id, reply },
                Output::Tell { id, part } => Out::Tell { id, part },
                Output::Event(event) => Out::Event(event),
            });
        }
    }

    fn written(&self, dot: Dot) -> Option<(RequestId, Wrote<'_>)> {
        let answered = self
            .outputs()
            .filter_map(|output| if let Output::Reply { id, reply } = output { Some((*id, &**reply)) } else { None });
        let (id, reply) = answered.chain(self.spreading()).find(|(_, reply)| reply.dot() == Some(dot))?;
        let batch = reply.batch().map(Wrote::Batch);
        Some((id, batch.or_else(|| reply.written().map(Wrote::One))?))
    }

    fn poll_timeout(&self) -> Option<Time> {
        Self::poll_timeout(self)
    }

    fn traits(message: &Message) -> Traits {
        let mut traits = Traits {
            name: message.body.name(),
            digest: message.number ^ message.echo.rotate_left(32),
            opening: message.is_opening(),
            ..Traits::default()
        };
        (traits.kind, traits.digest) = match &message.body {
            Body::Hello(hello) => {
                traits.role = Role::Hello;
                (0, traits.digest ^ hello.vector.len() as u64)
            }
            Body::Status(status) => {
                (traits.idle, traits.role) = (true, Role::Status);
                (1, status.digest.unwrap_or_default() ^ status.view_hash ^ status.received)
            }
            Body::Push { op, made } => {
                traits.op = Some((op.dot, op.hlc));
                (2, op.dot.incarnation.0 ^ op.dot.counter.rotate_left(48) ^ made.0)
            }
            Body::Announce { op, made } => {
                (traits.op, traits.role) = (Some((op.op.dot, op.op.hlc)), Role::Announce);
                (2, op.op.dot.incarnation.0 ^ op.op.dot.counter.rotate_left(48) ^ made.0 ^ 1)
            }
            Body::Want { dot, offset, bytes } => {
                (6, dot.incarnation.0 ^ dot.counter.rotate_left(48) ^ offset.rotate_left(24) ^ u64::from(*bytes))
            }
            Body::Piece { dot, offset, bytes } => {
                let length = bytes.as_bytes().len() as u64;
                traits.piece = Some((*dot, *offset, length));
                (5, dot.incarnation.0 ^ dot.counter.rotate_left(48) ^ offset.rotate_left(24) ^ length)
            }
            Body::View(rows) => (3, rows.len() as u64),
            Body::Pull { id, vector } => (4, id ^ (vector.len() as u64) << 32),
            Body::Supply(supply) => {
                let state = matches!(supply.content, Content::State(_));
                traits.supply = Some(Part { supplier: message.from, pull: supply.id, state });
                (5, supply.id ^ u64::from(supply.frame) << 32 ^ u64::from(supply.last) << 63)
            }
            Body::Taken { id, frame } => (6, id ^ u64::from(*frame) << 32),
            Body::LostQuery(ask) => (7, ask.round ^ (ask.events.len() as u64) << 32),
            Body::LostReply { round, held } => (7, round ^ (held.len() as u64) << 40),
            Body::Probe { .. } => {
                traits.idle = true;
                (7, 1)
            }
            Body::Vouch { .. } => {
                traits.idle = true;
                (7, 2)
            }
        };
        traits
    }

    fn broken_law(replicas: &[&Self]) -> Option<(Law, [usize; 3])> {
        let rules = replicas.first()?.rules();
        let states: Vec<_> = replicas.iter().map(|replica| replica.state()).collect();
        let after = |at: usize, more: usize| (at + more) % states.len();
        // Each with the next: what one three needs as `ab` is `bc` to the one before.
        let pairs: Vec<_> = (0..states.len()).map(|at| states[at].merge(rules, &states[after(at, 1)])).collect();
        (0..states.len()).find_map(|at| {
            let three = [at, after(at, 1), after(at, 2)];
            let [a, b, c] = three.map(|place| &states[place]);
            let [ab, bc, _] = three.map(|place| &pairs[place]);
            let law = if *ab != b.merge(rules, a) {
                Law::Commutative
            } else if ab.merge(rules, c) != a.merge(rules, bc) {
                Law::Associative
            } else if ab.merge(rules, b) != *ab || a.merge(rules, a) != *a {
                Law::Idempotent
            } else {
                return None;
            };
            Some((law, three))
        })
    }

    fn probe(&self) -> Option<&dyn Probe> {
        Some(self)
    }

    fn image(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn bytes(message: &Message) -> u64 {
        wire::bytes(message)
    }

    fn spoken(rules: &R, ours: Formats, theirs: Formats) -> Option<u8> {
        rules.format(ours, theirs)
    }

    fn formats_end_with_the_link(rules: &R) -> bool {
        rules.follows(Rule::FormatsEndWithTheLink)
    }

    fn format_of(message: &Message) -> u8 {
        message.format()
    }

    fn seal(lane: &mut Lane, message: &Message) -> Option<Result<(), String>> {
        Some(wire::seal(lane, message))
    }

    fn open(lane: &mut Lane, message: &Message) -> Result<(), String> {
        wire::open(lane, message)
    }

    fn damage(from: &Address, message: &Message, words: Words, sealed: bool) -> Option<Result<(), String>> {
        Some(wire::damage(from, message, words, sealed))
    }
}
