//! One run: replicas, clients, network and time, driven by a plan, judged at every step.
//!
//! Invariant kept here: everything that happens is a function of the plan. Events are ordered by time and a
//! keyed hash; nothing asks a clock, a thread or an unordered map; the running hash covers every event.

mod clients;
mod faults;
mod outputs;
mod settle;

use crate::adversity::Kind;
use crate::clock::Clock;
use crate::history::History;
use crate::judge::{Asked, Judge};
use crate::network::Link;
use crate::observe::{Note, Observer};
use crate::plan::{Act, Plan};
use crate::queue::Queue;
use crate::random::{Domain, Source, mix};
use crate::recording::Recording;
use crate::subject::{Exit, Out, Stimulus, Subject};
use crate::tampering::Tampering;
use crate::verdict::{Invariant, Verdict};
use hence_core::{Address, Config, Dot, Identity, Key, Reply, Request, Seed, VersionVector};

pub(crate) use clients::summary;
pub use settle::Unsettled;

/// A run that takes more inputs than this, and as many again per hundredth operation, is endless.
const EVENTS_MAX: u64 = 50_000;

/// Something that is going to happen.
#[derive(Debug)]
enum Happening<M> {
    Start { replica: usize },
    Deliver(Frame<M>),
    Connected { replica: usize, to: usize, cause: u64 },
    Timer { replica: usize, life: u32, at: u64 },
    Operation { index: usize, attempt: u8 },
    Arrive { attempt: usize },
    Answer { attempt: usize, reply: Option<Box<Reply>> },
    Impatient { attempt: usize },
    Strike { index: usize },
    Relieve { index: usize },
}

/// A message on its way.
#[derive(Debug)]
struct Frame<M> {
    from: usize,
    to: usize,
    message: M,
    cause: u64,
    /// Its number in traces.
    id: u64,
    /// It need not keep its place behind earlier ones.
    free: bool,
}

/// One address and the process that may live there.
#[derive(Debug)]
struct Node<S: Subject> {
    subject: Option<S>,
    life: u32,
    clock: Clock,
    wall_ahead: i64,
    /// When the next timer event is in the queue for.
    timer_at: u64,
    /// The last timers' moment and how many fired in it: names them.
    timer_slot: (u64, u64),
    /// How late everything reaches it.
    slow_by: u64,
    pauses: u16,
    crashes: u16,
    backlog: Vec<Happening<S::Message>>,
}

/// One client.
#[derive(Debug, Clone, Default)]
struct Client {
    token: VersionVector,
    past: Vec<u64>,
    saved: Option<(VersionVector, Vec<u64>)>,
    /// Per key, the versions it saw last.
    seen: Vec<Vec<Dot>>,
    /// How often its causal past changed.
    turns: u64,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sent,
    Arrived,
    Replied,
    Done,
    Abandoned,
}

/// One request of a client or an operator.
#[derive(Debug)]
struct Attempt {
    /// Its operation in the plan and which try of it this is; none for an operator's or a closing one.
    operation: Option<(usize, u8)>,
    client: Option<usize>,
    replica: usize,
    stage: Stage,
    request: Option<Request>,
    asked: Option<Asked>,
    arrived_at: u64,
    /// The client's turn when it was sent.
    turn: u64,
    cause: u64,
}

/// One run under way.
#[derive(Debug)]
pub struct World<S: Subject> {
    plan: Plan,
    config: Config,
    setup: S::Setup,
    source: Source,
    now: u64,
    queue: Queue<Happening<S::Message>>,
    nodes: Vec<Node<S>>,
    links: Vec<Link<Frame<S::Message>>>,
    clients: Vec<Client>,
    attempts: Vec<Attempt>,
    /// Attempts that are not done, and operations that have not begun.
    open: usize,
    /// The oracles and what they know.
    pub judge: Judge,
    history: History,
    addresses: Vec<Address>,
    keys: Vec<Key>,
    outs: Vec<Out<S::Message>>,
    /// How many messages of each kind this step sent to each replica.
    sent: Vec<[u16; 8]>,
    busy_messages: u64,
    idle_messages: u64,
    healed: bool,
    hash: u64,
    events: u64,
    idle_events: u64,
    frames: u64,
    tampering: Option<Tampering>,
    recording: Option<Recording>,
    observer: Option<Box<dyn Observer>>,
    kept: Option<Vec<Kept>>,
}

/// An answer that a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// To which operation of the plan.
    pub operation: u32,
    /// When, in microseconds of simulated time.
    pub at: u64,
    /// What; none when the connection was lost.
    pub reply: Option<Reply>,
}

impl<S: Subject> World<S> {
    /// A world in which nothing has happened yet.
    ///
    /// # Panics
    /// If the plan does not pass [`Plan::check`].
    #[must_use]
    pub fn new(plan: &Plan, setup: S::Setup) -> Self {
        Self::with_room(plan, setup, Self::writes_max(plan))
    }

    /// A world with room for this many writes, for operations that are added later.
    ///
    /// # Panics
    /// If the plan does not pass [`Plan::check`].
    #[must_use]
    pub fn with_room(plan: &Plan, setup: S::Setup, writes_max: usize) -> Self {
        plan.check().expect("a plan is checked where it is read or drawn");
        let replicas = plan.replicas.len();
        let keys: Vec<Key> = (0..plan.keys).map(|n| Key::new(&format!("k{n}")).expect("a short key")).collect();
        let address = |n: usize| Address::parse(&Plan::address(n)).expect("a valid address");
        let judge = Judge::new(replicas, keys.clone(), writes_max);
        let history = History::new(keys.len(), writes_max);
        let client =
            || Client { past: judge.truth.closures.empty(), seen: vec![Vec::new(); keys.len()], ..Client::default() };
        let clients = (0..plan.clients).map(|_| client()).collect();
        let nodes = plan.replicas.iter().map(|replica| Node {
            subject: None,
            life: 0,
            clock: Clock::new(0, 0, 0, 0),
            wall_ahead: replica.wall_ahead,
            timer_at: u64::MAX,
            timer_slot: (0, 0),
            slow_by: 0,
            pauses: 0,
            crashes: 0,
            backlog: Vec::new(),
        });
        let mut world = Self {
            config: plan.settings.to_config(),
            setup,
            source: Source::new(plan.seed),
            now: 0,
            queue: Queue::default(),
            nodes: nodes.collect(),
            links: (0..replicas * replicas).map(|_| Link::default()).collect(),
            clients,
            attempts: Vec::new(),
            open: 0,
            addresses: (0..replicas).map(address).collect(),
            keys,
            judge,
            history,
            outs: Vec::new(),
            sent: vec![[0; 8]; replicas],
            busy_messages: 0,
            idle_messages: 0,
            healed: false,
            hash: plan.seed,
            events: 0,
            idle_events: 0,
            frames: 0,
            tampering: None,
            recording: None,
            observer: None,
            kept: None,
            plan: plan.clone(),
        };
        world.schedule();
        world
    }

    fn writes_max(plan: &Plan) -> usize {
        let tries = |act: Act, retries: u8| match act {
            Act::Put(_) | Act::Delete => usize::from(retries) + 1,
            Act::Get | Act::View => 0,
        };
        let clients: usize = plan.operations.iter().map(|operation| tries(operation.act, operation.retries)).sum();
        // Lives that are over are retired by operations as well, now and then by several members at once.
        clients + 4 * plan.faults.len() + 32
    }

    /// Tampers with the simulator: its mutants.
    pub fn tamper(&mut self, tampering: Option<Tampering>) {
        self.tampering = tampering;
        self.judge.blind = tampering.and_then(Tampering::blind);
    }

    /// Records every choice by name, or takes recorded ones instead of drawing.
    pub fn record(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    /// What was recorded.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take()
    }

    /// Shows everything that happens to this observer.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Keeps every answer from now on.
    pub fn keep_answers(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// The answers that were kept, in order.
    #[must_use]
    pub fn answers(&self) -> &[Kept] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Starts a process where none runs.
    pub fn start_now(&mut self, replica: usize) {
        self.start(replica);
    }

    /// Simulated time, in microseconds.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The process at an address, if one is alive.
    #[must_use]
    pub fn subject(&self, replica: usize) -> Option<&S> {
        self.nodes[replica].subject.as_ref()
    }

    /// How many addresses there are.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.nodes.len()
    }

    /// The address of a replica.
    #[must_use]
    pub fn address(&self, replica: usize) -> &Address {
        &self.addresses[replica]
    }

    fn schedule(&mut self) {
        for replica in 0..self.nodes.len() {
            let at = self.plan.replicas[replica].start_at;
            self.push(at, mix(Domain::Birth as u64, replica as u64), Happening::Start { replica });
        }
        for index in 0..self.plan.operations.len() {
            self.schedule_operation(index);
        }
        for index in 0..self.plan.faults.len() {
            self.schedule_fault(index);
        }
    }

    fn push(&mut self, at: u64, key: u64, happening: Happening<S::Message>) {
        let tie = mix(self.plan.seed ^ Domain::Tie as u64, key);
        self.queue.push(at, tie, happening);
    }

    /// Lets everything happen that happens until this time, or until a promise is broken.
    pub fn run_until(&mut self, until: u64) {
        while self.judge.violation.is_none() {
            let Some((at, happening)) = self.queue.pop(until) else { break };
            self.now = at;
            self.judge.now = at;
            self.happen(happening);
            let most = EVENTS_MAX * (1 + self.plan.operations.len() as u64 / 100);
            if self.events > most {
                self.judge.fail(Invariant::Liveness, "endless", None, || format!("{most} inputs and no end"));
            }
        }
        if self.judge.violation.is_none() {
            self.now = self.now.max(until);
            self.judge.now = self.now;
        }
    }

    fn happen(&mut self, happening: Happening<S::Message>) {
        match happening {
            Happening::Start { replica } => self.start(replica),
            Happening::Deliver(frame) => self.deliver(frame),
            Happening::Connected { replica, to, cause } => self.connected(replica, to, cause),
            Happening::Timer { replica, life, at } => self.timer(replica, life, at),
            Happening::Operation { index, attempt } => self.begin_operation(index, attempt),
            Happening::Arrive { attempt } => self.arrive(attempt),
            Happening::Answer { attempt, reply } => self.answer(attempt, reply.map(|reply| *reply)),
            Happening::Impatient { attempt } => self.give_up(attempt),
            Happening::Strike { index } => self.strike(index),
            Happening::Relieve { index } => self.relieve(index),
        }
    }

    fn start(&mut self, replica: usize) {
        if self.nodes[replica].subject.is_some() || self.nodes[replica].crashes > 0 {
            return;
        }
        let life = self.nodes[replica].life;
        let birth = replica as u64 | u64::from(life) << 32;
        let mut draw = self.source.draw(Domain::Birth, birth);
        let seed = match self.tampering {
            Some(Tampering::SameBirth) => Seed(self.source.draw(Domain::Birth, replica as u64).bytes()),
            Some(_) | None => Seed(draw.bytes()),
        };
        let origin = draw.below(1 << 40);
        let node = &mut self.nodes[replica];
        node.clock = Clock::new(self.now, origin, self.plan.replicas[replica].drift, node.wall_ahead);
        let now = node.clock.now(self.now);
        let identity = Identity { address: self.addresses[replica].clone(), view: self.addresses.clone() };
        let mut subject = S::start(&self.setup, self.config.clone(), identity, seed, now);
        subject.drain(&mut Exit { outs: &mut self.outs, addresses: &self.addresses });
        let incarnation = subject.probe().map(|probe| probe.incarnation());
        node.subject = Some(subject);
        node.timer_at = u64::MAX;
        self.judge.on_start(replica, incarnation);
        self.note(Some(replica), || Note::Started { life });
        let cause = mix(Domain::Birth as u64, birth);
        self.name(cause, || format!("start {}.{life}", Plan::name(replica)));
        self.after_input(replica, cause);
    }

    fn timer(&mut self, replica: usize, life: u32, at: u64) {
        let node = &mut self.nodes[replica];
        if node.life != life || node.timer_at != at {
            return;
        }
        if node.pauses > 0 {
            return node.backlog.push(Happening::Timer { replica, life, at });
        }
        node.timer_at = u64::MAX;
        let Some(subject) = &node.subject else { return };
        let due = subject.poll_timeout().is_some_and(|time| node.clock.when(time) <= self.now);
        if !due {
            return self.reschedule(replica);
        }
        let slot = self.now / 50_000;
        node.timer_slot = if node.timer_slot.0 == slot { (slot, node.timer_slot.1 + 1) } else { (slot, 0) };
        let ordinal = node.timer_slot.1;
        let cause = mix(mix(Domain::Timer as u64, replica as u64 | u64::from(life) << 32), slot << 16 | ordinal);
        self.name(cause, || format!("timer {}.{life}@{}ms#{ordinal}", Plan::name(replica), slot * 50));
        self.idle_events += 1;
        self.step(replica, Stimulus::Timeout, cause);
    }

    fn connected(&mut self, replica: usize, to: usize, cause: u64) {
        if self.nodes[replica].pauses > 0 {
            return self.nodes[replica].backlog.push(Happening::Connected { replica, to, cause });
        }
        let to = self.addresses[to].clone();
        self.step(replica, Stimulus::Connected { to }, cause);
    }

    /// Hands one input to a replica that is alive and looks at everything that comes out.
    fn step(&mut self, replica: usize, stimulus: Stimulus<S::Message>, cause: u64) {
        let node = &mut self.nodes[replica];
        let Some(subject) = &mut node.subject else { return };
        let now = node.clock.now(self.now);
        self.events += 1;
        self.hash = mix(self.hash, self.now ^ (replica as u64) << 56);
        self.hash = mix(self.hash, cause);
        subject.handle(now, stimulus);
        subject.drain(&mut Exit { outs: &mut self.outs, addresses: &self.addresses });
        self.after_input(replica, cause);
    }

    fn after_input(&mut self, replica: usize, cause: u64) {
        self.put_out(replica, cause);
        self.reschedule(replica);
        if let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) {
            self.judge.after_step(replica, probe);
            if self.events.is_multiple_of(64) {
                self.judge.check_load(replica, probe, &self.config);
            }
        }
    }

    fn reschedule(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        let Some(time) = node.subject.as_ref().and_then(S::poll_timeout) else { return };
        let at = node.clock.when(time).max(self.now) + node.slow_by;
        if at < node.timer_at {
            node.timer_at = at;
            let life = node.life;
            self.push(at, replica as u64, Happening::Timer { replica, life, at });
        }
    }

    fn note(&mut self, replica: Option<usize>, note: impl FnOnce() -> Note) {
        if let Some(observer) = &mut self.observer {
            observer.note(self.now, replica, note());
        }
    }

    fn name(&mut self, cause: u64, name: impl FnOnce() -> String) {
        if let Some(recording) = &mut self.recording {
            recording.name(cause, name());
        }
    }

    fn is_alive(&self, replica: usize) -> bool {
        self.nodes[replica].subject.is_some()
    }

    fn cut_at(&self, replica: usize) -> bool {
        let count = self.nodes.len();
        (0..count).any(|n| self.links[replica * count + n].is_cut() || self.links[n * count + replica].is_cut())
    }

    /// The verdict on what happened so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            violation: self.judge.violation.clone(),
            hash: self.hash,
            events: self.events,
            idle_events: self.idle_events,
            ended_at: self.now,
            counts: self.judge.counts.clone(),
        }
    }

    fn count(&mut self, kind: Kind) {
        self.judge.counts.add(kind);
    }
}
