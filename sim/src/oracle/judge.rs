//! The oracles: the protocol's invariants, judged online from ground truth.
//!
//! They look into a replica only to compare what is there with what must be there; what must be there comes
//! from [`Truth`] alone. Each costs at most a few words per replica and event; the whole store is compared
//! every [`FULL_EVERY`]th step and at the end.
//!
//! This file dispatches. Each invariant has a file of its own below it, with what it remembers. INV-4 takes
//! three, `answers`, `batches` and `lists`. INV-20 is `watch`. INV-6 takes two,
//! `refusals` and `lost`. INV-10 takes four: `bounds`, `memory`, `pieces` and `transfer`. INV-16 takes `fresh`, `apart` and `patience`.
//! What needs a whole world is judged there.

mod answers;
pub(crate) mod apart;
mod batches;
pub(crate) mod bounds;
mod causes;
pub(crate) mod concern;
pub(crate) mod copies;
mod dots;
mod fresh;
mod lists;
mod lost;
pub(crate) mod membership;
pub mod memory;
mod patience;
mod pieces;
mod refusals;
mod sessions;
mod stamps;
mod store;
mod transfer;
pub(crate) mod watch;

use crate::oracle::adversity::{Counts, Kind};
use crate::oracle::sign::Sign;
use crate::oracle::truth::Truth;
use crate::oracle::verdict::{Invariant, Violation};
use crate::oracle::words;
use crate::subject::{Load, Probe};
use hence_checker::bits;
use hence_core::{
    Action, BatchAnswer, Condition, Dot, Incarnation, Key, ListRequest, Refusal, Reply, Siblings, VersionVector,
    WriteConcern, Written,
};

/// Every so many steps of a run everything is compared, not only what changed.
pub const FULL_EVERY: u64 = 32;

/// A data request as the oracles remember it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which key.
    pub key: u8,
    /// What to do with it.
    pub action: Action,
    /// When to go ahead.
    pub condition: Condition,
    /// Where it is to be before it is answered.
    pub concern: Option<WriteConcern>,
    /// What goes with it in one batch; alone it is no batch.
    pub with: Vec<Part>,
    /// A range of keys instead of one key.
    pub list: Option<Box<ListRequest>>,
    /// The token that was sent.
    pub token: VersionVector,
    /// The client's true causal past.
    pub past: Vec<u64>,
    /// What a replica wrote for it, once it did.
    pub wrote: Option<Dot>,
}

/// Another operation of a batch.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which key.
    pub key: u8,
    /// What to do with it.
    pub action: Action,
    /// When to go ahead.
    pub condition: Condition,
}

impl Asked {
    /// Every operation that it asks for: one, or those of a batch.
    pub fn parts(&self) -> impl Iterator<Item = (u8, &Action, &Condition)> {
        let more = self.with.iter().map(|Part { key, action, condition }| (*key, action, condition));
        std::iter::once((self.key, &self.action, &self.condition)).chain(more)
    }

    /// Bytes of the values that it puts, or of the texts that bound its range.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        if let Some(list) = &self.list {
            return list.bytes();
        }
        self.parts().map(|(_, action, _)| action.value_bytes()).sum()
    }
}

/// All oracles of one run.
#[derive(Debug)]
pub struct Judge {
    /// What the simulator knows.
    pub truth: Truth,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// What really happened.
    pub counts: Counts,
    /// The invariant that is not looked at: a mutant of the oracles.
    pub disabled: Option<Invariant>,
    /// Simulated time.
    pub now: u64,
    /// Compare everything after every step.
    pub thorough: bool,
    /// Whether a memory image was copied, and what can be judged since.
    pub copied: copies::Copied,
    twins: copies::Twins,
    /// Judge nothing and keep no truth: only to measure what judging costs.
    pub off: bool,
    /// All is said: from now on every token must be served, or be told what is lost.
    pub over: bool,
    keys: Vec<Key>,
    steps: u64,
    early: causes::Early,
    losses: lost::Losses,
    transfers: transfer::Transfers,
    limits: bounds::Limits,
    operators: membership::Operators,
    ways: fresh::Ways,
    apart: apart::Apart,
    put_off: patience::PutOff,
    prefixes: pieces::Prefixes,
    spreads: concern::Spreads,
    /// What each replica held after its last input.
    loads: Vec<Load>,
    /// Writes that each incarnation had made by then.
    own_before: Vec<u64>,
    /// The most that the answer to a batch showed which was to spread, in bytes.
    shown_most: usize,
}

impl Judge {
    /// Oracles for a run with these keys and at most so many writes.
    #[must_use]
    pub fn new(replicas: usize, keys: Vec<Key>, writes_max: usize) -> Self {
        let truth = Truth::new(replicas, keys.len(), writes_max);
        let none = truth.closures.empty();
        Self {
            early: causes::Early::new(replicas, &none),
            losses: lost::Losses::new(replicas, none),
            transfers: transfer::Transfers::default(),
            limits: bounds::Limits { store: u64::MAX, memory: u64::MAX },
            operators: membership::Operators::new(replicas),
            ways: fresh::Ways::new(replicas),
            apart: apart::Apart::new(replicas),
            put_off: patience::PutOff::new(replicas),
            prefixes: pieces::Prefixes::new(replicas),
            spreads: concern::Spreads::default(),
            loads: vec![Load::default(); replicas],
            own_before: vec![0; replicas],
            shown_most: 0,
            truth,
            violation: None,
            counts: Counts::default(),
            disabled: None,
            now: 0,
            thorough: false,
            copied: copies::Copied::No,
            twins: (0..replicas).map(|_| None).collect(),
            off: false,
            over: false,
            keys,
            steps: 0,
        }
    }

    /// Data may hold so much at each replica.
    pub fn limit(&mut self, limits: bounds::Limits) {
        self.limits = limits;
    }

    /// A promise was broken. The first one counts.
    #[cold]
    pub fn fail(&mut self, invariant: Invariant, sign: Sign, replica: Option<usize>, detail: impl FnOnce() -> String) {
        if self.off || !self.copied.leaves(invariant, &sign, replica) {
            return;
        }
        // Without this one a run with a disabled oracle would never end.
        let ends = sign == Sign::Endless;
        if self.violation.is_none() && (ends || self.disabled != Some(invariant)) {
            let detail = detail();
            self.violation = Some(Violation { invariant, sign, at: self.now, replica, detail });
        }
    }

    /// A process started at this replica, with empty memory.
    pub fn on_start(&mut self, replica: usize, incarnation: Option<Incarnation>) {
        self.truth.forget(replica);
        self.early.forget(replica);
        self.losses.forget(replica);
        self.prefixes.forget(replica);
        self.forget_view(replica);
        if let Some(incarnation) = incarnation {
            self.on_life(replica, incarnation);
        }
    }

    /// A process died: how much of what it had was nowhere else?
    pub fn on_crash(&mut self, replica: usize, removed: bool, alive: impl Fn(usize) -> bool) {
        if removed {
            self.losses.on_leaver(&self.truth.holdings[replica].included);
        }
        let mut others = self.truth.closures.empty();
        for (other, holding) in self.truth.holdings.iter().enumerate() {
            if other != replica && alive(other) {
                bits::join(&mut others, &holding.included);
            }
        }
        self.counts.add(Kind::Crash);
        self.transfers.on_restart();
        if !bits::within(&self.truth.holdings[replica].included, &others) {
            self.counts.add(Kind::CrashUnspread);
        }
        self.truth.forget(replica);
    }

    /// Is this write included in that replica?
    #[must_use]
    pub fn includes(&self, replica: usize, dot: Dot) -> bool {
        let included = &self.truth.holdings[replica].included;
        self.truth.number(dot).is_some_and(|number| bits::has(included, number as usize))
    }

    /// A replica accepted a client's write. `asked.past` becomes the client's past after it.
    pub fn on_write(&mut self, replica: usize, asked: &mut Asked, written: &Written, probe: &dyn Probe) {
        if self.off {
            return;
        }
        let shown = self.truth.shown(replica, asked.key);
        self.check_served(replica, asked);
        self.check_condition(replica, asked, &shown, answers::Went::Ahead);
        self.check_written(replica, asked, &shown, written);
        self.check_room(replica, asked, probe);
        self.accept(replica, asked, written.dot, probe);
    }

    /// A replica answered a data request with anything but a write. `asked.past` becomes the client's past.
    pub fn on_answer(&mut self, replica: usize, asked: &mut Asked, reply: &Reply, probe: &dyn Probe) {
        if self.off {
            return;
        }
        let ready = probe.is_ready();
        match reply {
            Reply::Listed(page) => match asked.list.take() {
                Some(list) => {
                    self.on_list(replica, asked, &list, page);
                    asked.list = Some(list);
                    return;
                }
                None => self.wrong_kind(replica, reply),
            },
            Reply::Refused(Refusal::WriteLimit) => return self.check_write_limit(replica, asked, probe),
            Reply::Refused(refusal) => return self.check_refusal(replica, asked, *refusal, ready),
            Reply::Lost { token } => return self.check_lost(replica, asked, token, probe),
            Reply::Found { siblings, .. } => {
                self.check_shown(replica, asked, siblings, answers::Went::Ahead);
                if !matches!(asked.action, Action::Get) || siblings.is_empty() {
                    self.wrong_kind(replica, reply);
                }
            }
            Reply::NotModified { siblings, .. } => {
                self.check_shown(replica, asked, siblings, answers::Went::NotModified)
            }
            Reply::PreconditionFailed { siblings, .. } => {
                self.counts.add(Kind::Precondition);
                self.check_shown(replica, asked, siblings, answers::Went::Failed);
            }
            Reply::Absent { .. } => {
                self.check_shown(replica, asked, &Siblings::new(), answers::Went::Ahead);
                if matches!(asked.action, Action::Put(_)) {
                    self.wrong_kind(replica, reply);
                }
                if !self.truth.holdings[replica].deletes[usize::from(asked.key)].is_empty() {
                    self.counts.add(Kind::DeleteHid);
                }
            }
            Reply::Spread { answer, .. } => return self.on_answer(replica, asked, answer, probe),
            Reply::Batch(answer) if answer.dot.is_none() => self.check_batch(replica, asked, answer),
            Reply::BatchFailed { index, .. } => self.check_batch_failed(replica, asked, *index),
            Reply::Written(Written { dot, .. }) | Reply::Batch(BatchAnswer { dot: Some(dot), .. }) => {
                self.fail(Invariant::Dots, Sign::Unapplied, Some(replica), || {
                    format!("{dot} is acknowledged and not applied")
                });
            }
            Reply::Batch(_)
            | Reply::View(_)
            | Reply::ViewAdded { .. }
            | Reply::ViewRemoved
            | Reply::ViewUnknown
            | Reply::ViewLast => self.wrong_kind(replica, reply),
        }
        self.bind(replica, asked);
    }

    fn wrong_kind(&mut self, replica: usize, reply: &Reply) {
        self.fail(Invariant::Answers, Sign::WrongKind, Some(replica), || format!("answered {}", words::answer(reply)));
    }
}
