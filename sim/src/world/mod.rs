//! One run: replicas, clients, network and time, driven by a plan, judged at every step.
//!
//! Invariant kept here: everything that happens is a function of the plan. Events are ordered by time and a
//! keyed hash; nothing asks a clock, a thread or an unordered map; the running hash covers every event.
//!
//! A world is made of parts that own their state. `judge` knows the truth, and `tally` counts. `reaction` is what the step
//! under way came to. `recovery` is how far the heal is, and `aims` are the faults that wait for a frame. The other modules
//! say what follows.

mod aims;
mod batches;
mod checks;
mod clients;
mod concerns;
mod cuts;
mod faults;
mod formats;
mod heal;
mod lanes;
mod lists;
mod outputs;
mod parts;
mod patience;
mod reaction;
mod recovery;
mod settle;
mod shown;
mod start;
mod steps;
mod streams;
mod tally;
mod twins;
mod watches;
mod words;

use crate::engine::choice_log::ChoiceLog;
use crate::engine::link::Link;
use crate::engine::queue::{Next, Queue};
use crate::engine::stream::Wire;
use crate::mutants::harness::HarnessMutant;
use crate::observe::{Note, Observer};
use crate::oracle::adversity::Kind;
use crate::oracle::client_history::ClientHistory;
use crate::oracle::history::History;
use crate::oracle::judge::Judge;
use crate::oracle::judge::bounds::Limits;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Invariant, Verdict};
use crate::plan::{Act, Operation, Plan, ReplicaPlan};
use crate::random::{Domain, Source, mix};
use crate::subject::{Lane, Subject};
use hence_core::{Address, Config, Dots, Key, Reply};
use std::collections::BTreeMap;

use aims::Aims;
use outputs::Frame;
use parts::{Attempt, Client, Node, Stage};
use reaction::Reaction;
use recovery::Recovery;
pub use settle::Unsettled;
use tally::Tally;

/// Every so many inputs the laws of merging are checked on the states that there are.
const MERGE_EVERY: u64 = 512;

/// A run that takes more inputs than this is endless. Each hundredth operation allows as many again, and so does each crowd
/// of links. Ten replicas that wait for a retransmission exchange that many while nothing is wrong.
const EVENTS_MAX: u64 = 50_000;

/// Something that is going to happen.
#[derive(Debug)]
enum Scheduled<M> {
    Start {
        replica: usize,
    },
    Deliver(Frame<M>),
    Stream(streams::Flow),
    Connected {
        replica: usize,
        to: usize,
        cause: u64,
    },
    /// Only for a process that is paused; a timer waits in the queue as an alarm.
    Timer {
        replica: usize,
    },
    Operation {
        index: usize,
        attempt: u8,
    },
    Arrive {
        attempt: usize,
    },
    Answer {
        attempt: usize,
    },
    ClientTimeout {
        attempt: usize,
    },
    Watch(watches::Turn),
    FaultStart {
        index: usize,
    },
    FaultEnd {
        index: usize,
    },
}

/// One run under way.
#[derive(Debug)]
pub struct World<S: Subject> {
    plan: Plan,
    config: Config,
    setup: S::Setup,
    source: Source,
    now: u64,
    queue: Queue<Scheduled<S::Message>>,
    nodes: Vec<Node<S>>,
    links: Vec<Link<Frame<S::Message>>>,
    /// One for each link, in a run with streams.
    streams: Vec<Wire<Frame<S::Message>>>,
    /// What its codec knows of each connection, by link and number.
    lanes: BTreeMap<(usize, u32), Lane>,
    /// What each link knows of formats.
    heard: Vec<formats::Heard>,
    clients: Vec<Client>,
    attempts: Vec<Attempt>,
    /// Clients that watch.
    watchers: Vec<watches::Watcher>,
    /// Attempts that are not done, and operations that have not begun.
    open: usize,
    /// The oracles and what they know.
    pub judge: Judge,
    history: History,
    addresses: Vec<Address>,
    keys: Vec<Key>,
    /// Where values are made, one after another.
    text: Vec<u8>,
    /// The detector doubts at random, so links are opened anew for no other reason.
    doubtful: bool,
    tally: Tally,
    reaction: Reaction,
    recovery: Recovery,
    /// Faults that wait for a frame to be sent.
    aims: Aims,
    hash: u64,
    harness_mutant: Option<HarnessMutant>,
    choice_log: Option<ChoiceLog>,
    observer: Option<Box<dyn Observer>>,
    kept: Option<Vec<Kept>>,
    client_history: Option<ClientHistory>,
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
        let plan = plan.clone();
        let replicas = plan.replicas.len();
        let keys: Vec<Key> = (0..plan.keys).map(|n| Key::new(&format!("k{n}")).expect("a short key")).collect();
        let address = |n: usize| Address::parse(&Plan::address(n)).expect("a valid address");
        let judge = Self::judge_of(&plan, &keys, writes_max);
        let history = History::new(keys.len(), writes_max);
        let client =
            || Client { past: judge.truth.closures.empty(), seen: vec![Dots::new(); keys.len()], ..Client::default() };
        let clients = (0..plan.clients).map(|_| client()).collect();
        let wires = if plan.network.streams.is_some() { replicas * replicas } else { 0 };
        let nodes = plan.replicas.iter().map(|replica| Node::vacant(replica.wall_ahead));
        Self {
            config: plan.settings.to_config(),
            setup,
            source: Source::new(plan.seed),
            now: 0,
            queue: Queue::new(Self::agenda(&plan), replicas),
            nodes: nodes.collect(),
            links: (0..replicas * replicas).map(|_| Link::default()).collect(),
            streams: (0..wires).map(|_| Wire::default()).collect(),
            lanes: BTreeMap::new(),
            heard: vec![formats::Heard::default(); replicas * replicas],
            clients,
            watchers: plan.watches.iter().map(watches::Watcher::new).collect(),
            attempts: Vec::with_capacity(plan.operations.len() * 2 + 64),
            addresses: (0..replicas).map(address).collect(),
            keys,
            judge,
            history,
            text: Vec::new(),
            doubtful: false,
            tally: Tally::default(),
            reaction: Reaction::default(),
            recovery: Recovery::default(),
            aims: Aims::default(),
            hash: plan.seed,
            harness_mutant: None,
            choice_log: None,
            observer: None,
            kept: None,
            client_history: None,
            open: plan.operations.len(),
            plan,
        }
    }

    /// The oracles, with the limits of this plan.
    fn judge_of(plan: &Plan, keys: &[Key], writes_max: usize) -> Judge {
        let mut judge = Judge::new(plan.replicas.len(), keys.to_vec(), writes_max);
        let all_together = plan.replicas.iter().all(|replica| replica.knows == 0);
        let (store, memory) = (plan.settings.store_bytes_max, plan.settings.memory_bytes_max);
        judge.limit(Limits { store, memory });
        // By the receiver's clock a silence may be longer, and a delay shorter.
        let silence = plan.settings.heartbeat_interval + plan.settings.late_max;
        judge.allow_patience(silence * 95 / 100, plan.settings.repair_delay * 97 / 100);
        let roomy = plan.settings.memory_bytes_max == u64::MAX;
        // A value costs some bytes more than were asked for, and each try has its own.
        let written = |operation: &Operation| (operation.bytes() + 256) * (u64::from(operation.retries) + 1);
        // Where memory is short, pieces make room for other things, too.
        let pieces = if roomy { plan.settings.pieces_bytes_max as u64 } else { 0 };
        judge.limit_pieces(plan.operations.iter().map(written).sum(), pieces);
        // What cannot be said in a link's format comes as a state.
        let logs = plan.settings.log_bytes_max >= Config::default().log_bytes_max;
        judge.expect_no_transfers(all_together && roomy && !plan.has_formats() && logs);
        judge.counts.add_if(Kind::Formats, plan.has_formats());
        judge
    }

    fn writes_max(plan: &Plan) -> usize {
        let writes = |act: Act| matches!(act, Act::Put(_) | Act::Delete | Act::Erase);
        let tries = |operation: &Operation| {
            let any = writes(operation.act) || operation.with.iter().any(|part| writes(part.act));
            usize::from(any) * (usize::from(operation.retries) + 1)
        };
        let clients: usize = plan.operations.iter().map(tries).sum();
        // Lives that are over are retired by operations as well, now and then by several members at once. Where vectors
        // grow too long, every member does so after each write of such a life that it learns of.
        let too_long = plan.replicas.len() + plan.faults.len() > 2 * plan.settings.vector_max;
        let at_each_write = if too_long { clients * plan.replicas.len() } else { 0 };
        clients + at_each_write + 6 * plan.faults.len() + 48
    }

    /// Plants a mutant in the simulator itself.
    pub fn plant(&mut self, harness_mutant: Option<HarnessMutant>) {
        self.harness_mutant = harness_mutant;
        self.judge.disabled = harness_mutant.and_then(HarnessMutant::disabled_oracle);
    }

    /// Says that the subject's detector doubts at random.
    pub fn expect_doubts(&mut self, doubtful: bool) {
        self.doubtful = doubtful;
    }

    /// Records every choice by name, or takes recorded ones instead of drawing.
    pub fn record(&mut self, choice_log: ChoiceLog) {
        self.choice_log = Some(choice_log);
    }

    /// What was recorded.
    pub fn take_choice_log(&mut self) -> Option<ChoiceLog> {
        self.choice_log.take()
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

    /// Everything that the plan says will happen, with its time and its tie.
    fn agenda(plan: &Plan) -> Vec<(u64, u64, Scheduled<S::Message>)> {
        let start = |(replica, start): (usize, &ReplicaPlan)| {
            (start.start_at, mix(Domain::StartSeed as u64, replica as u64), Scheduled::Start { replica })
        };
        let starts = plan.replicas.iter().enumerate().map(start);
        let operations =
            plan.operations.iter().enumerate().map(|(index, operation)| clients::beginning(index, operation));
        let faults =
            plan.faults.iter().enumerate().flat_map(|(index, fault)| faults::course(index, fault, plan.heal_at));
        let watches = plan.watches.iter().enumerate().flat_map(|(n, watch)| watches::course(n, watch));
        let all = starts.chain(operations).chain(faults).chain(watches);
        all.map(|(at, key, scheduled)| (at, tie(plan.seed, key), scheduled)).collect()
    }

    #[inline]
    fn push(&mut self, at: u64, key: u64, scheduled: Scheduled<S::Message>) {
        self.queue.push(at, tie(self.plan.seed, key), scheduled);
    }

    /// Lets everything happen that happens until this time, or until a promise is broken.
    pub fn run_until(&mut self, until: u64) {
        let most = self.events_max();
        while self.judge.violation.is_none() {
            let Some((at, next)) = self.queue.pop(until) else { break };
            self.now = at;
            self.judge.now = at;
            match next {
                Next::Event(scheduled) => self.run_scheduled(scheduled),
                Next::Alarm(replica) => self.timer(replica),
            }
            if self.tally.events() > most {
                let why = self.waits_for();
                self.judge.fail(Invariant::Liveness, Sign::Endless, None, || format!("{most} inputs and no end{why}"));
            }
        }
        if self.judge.violation.is_none() {
            self.now = self.now.max(until);
            self.judge.now = self.now;
        }
    }

    fn events_max(&self) -> u64 {
        let links = |replicas: usize| (replicas * replicas.saturating_sub(1)) as u64;
        let crowds = links(self.plan.replicas.len()).div_ceil(links(settle::CROWD)).max(1);
        EVENTS_MAX * crowds * (1 + self.plan.operations.len() as u64 / 100)
    }

    fn run_scheduled(&mut self, scheduled: Scheduled<S::Message>) {
        match scheduled {
            Scheduled::Start { replica } => self.start(replica),
            Scheduled::Deliver(frame) => self.deliver(frame),
            Scheduled::Stream(flow) => self.on_flow(flow),
            Scheduled::Connected { replica, to, cause } => self.connected(replica, to, cause),
            Scheduled::Timer { replica } => self.timer(replica),
            Scheduled::Operation { index, attempt } => self.begin_operation(index, attempt),
            Scheduled::Arrive { attempt } => self.arrive(attempt),
            Scheduled::Answer { attempt } => self.answer(attempt),
            Scheduled::ClientTimeout { attempt } => self.give_up(attempt),
            Scheduled::Watch(turn) => self.take_turn(turn),
            Scheduled::FaultStart { index } => self.start_fault(index),
            Scheduled::FaultEnd { index } => self.end_fault_at(index),
        }
    }

    fn note(&mut self, replica: Option<usize>, note: impl FnOnce() -> Note) {
        if let Some(observer) = &mut self.observer {
            observer.note(self.now, replica, note());
        }
    }

    fn name(&mut self, cause: u64, name: impl FnOnce() -> String) {
        if let Some(choice_log) = &mut self.choice_log {
            choice_log.name(cause, name());
        }
    }

    fn derive(&mut self, cause: u64, from: u64, what: &str) {
        if let Some(choice_log) = &mut self.choice_log {
            choice_log.derive(cause, from, what);
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
            events: self.tally.events(),
            idle_events: self.tally.idle_events(),
            ended_at: self.now,
            counts: self.judge.counts.clone(),
            judged: None,
        }
    }

    fn count(&mut self, kind: Kind) {
        self.judge.counts.add(kind);
    }
}

/// What orders a cause's event among others of the same time.
fn tie(seed: u64, cause: u64) -> u64 {
    mix(seed ^ Domain::Tie as u64, cause)
}
