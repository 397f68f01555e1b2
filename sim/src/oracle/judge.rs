//! The oracles: the protocol's invariants, judged online from ground truth.
//!
//! They look into a replica only to compare what is there with what must be there; what must be there comes
//! from [`Truth`] alone. Each costs at most a few words per replica and event; the whole store is compared
//! every [`FULL_EVERY`]th step and at the end.

pub(crate) mod apart;
mod bounds;
mod fresh;
mod lost;
pub(crate) mod membership;
mod memory;
mod pieces;
mod store;
mod transfer;

use crate::oracle::adversity::{Counts, Kind};
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Number, Numbers, Truth, Write};
use crate::oracle::verdict::{Invariant, Violation};
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::{
    Action, Condition, Dot, Dots, Hlc, Incarnation, Key, Match, Refusal, Reply, Siblings, VersionVector, Written,
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
    /// The token that was sent.
    pub token: VersionVector,
    /// The client's true causal past.
    pub past: Vec<u64>,
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
    pub blind: Option<Invariant>,
    /// Simulated time.
    pub now: u64,
    /// Compare everything after every step.
    pub thorough: bool,
    /// A memory image was copied: names of writes are not unique any more, so nothing is judged that rests on them.
    pub contested: bool,
    /// Judge nothing and keep no truth: only to measure what judging costs.
    pub off: bool,
    /// All is said: from now on every token must be served, or be told what is lost.
    pub over: bool,
    snapshots: Vec<transfer::Snapshot>,
    keys: Vec<Key>,
    steps: u64,
    /// What lost-write rounds of each process found.
    lost: Vec<Vec<lost::Finding>>,
    /// Everything that any round ever found.
    ever_lost: Vec<lost::Finding>,
    operators: membership::Operators,
    ways: fresh::Ways,
    apart: apart::Apart,
    prefixes: pieces::Prefixes,
    /// A process ended, or began anew under its address.
    restarted: bool,
    /// Bytes of data that a replica may hold when it takes a write.
    pub store_bytes_max: u64,
    /// Bytes that all of a replica's data may hold.
    pub memory_bytes_max: u64,
    /// Logs have room for everything that a run can write.
    pub roomy_logs: bool,
    /// Pushed operations that arrived here and are not applied yet, one set per replica.
    early: Vec<Vec<u64>>,
    /// What processes had that died after an operator had removed them.
    leavers: Vec<u64>,
}

impl Judge {
    /// Oracles for a run with these keys and at most so many writes.
    #[must_use]
    pub fn new(replicas: usize, keys: Vec<Key>, writes_max: usize) -> Self {
        let truth = Truth::new(replicas, keys.len(), writes_max);
        let leavers = truth.closures.empty();
        let early = (0..replicas).map(|_| truth.closures.empty()).collect();
        Self {
            truth,
            violation: None,
            counts: Counts::default(),
            blind: None,
            now: 0,
            thorough: false,
            contested: false,
            off: false,
            over: false,
            lost: vec![Vec::new(); replicas],
            ever_lost: Vec::new(),
            operators: membership::Operators::new(replicas),
            ways: fresh::Ways::new(replicas),
            apart: apart::Apart::new(replicas),
            prefixes: pieces::Prefixes::new(replicas),
            restarted: false,
            store_bytes_max: u64::MAX,
            memory_bytes_max: u64::MAX,
            roomy_logs: false,
            snapshots: Vec::new(),
            keys,
            steps: 0,
            early,
            leavers,
        }
    }

    /// A promise was broken. The first one counts.
    #[cold]
    pub fn fail(&mut self, invariant: Invariant, sign: Sign, replica: Option<usize>, detail: impl FnOnce() -> String) {
        if self.off || (self.contested && !bounds::HOLD_OF_COPIES.contains(&sign)) {
            return;
        }
        // Without this one a run with a blind oracle would never end.
        let ends = sign == Sign::Endless;
        if self.violation.is_none() && (ends || self.blind != Some(invariant)) {
            let detail = detail();
            self.violation = Some(Violation { invariant, sign, at: self.now, replica, detail });
        }
    }

    /// A process started at this replica, with empty memory.
    pub fn on_start(&mut self, replica: usize, incarnation: Option<Incarnation>) {
        self.truth.forget(replica);
        self.early[replica].fill(0);
        self.lost[replica].clear();
        self.prefixes.forget(replica);
        self.forget_view(replica);
        if let Some(incarnation) = incarnation {
            self.on_life(replica, incarnation);
        }
    }

    /// A new life began; the memory is kept.
    pub fn on_life(&mut self, replica: usize, incarnation: Incarnation) {
        self.ways.forget(replica, self.now);
        if !self.truth.begin_life(replica, incarnation) {
            self.fail(Invariant::Dots, Sign::LifeTwice, Some(replica), || {
                format!("incarnation {incarnation} began again")
            });
        }
    }

    /// A process died: how much of what it had was nowhere else?
    pub fn on_crash(&mut self, replica: usize, removed: bool, alive: impl Fn(usize) -> bool) {
        if removed {
            bits::join(&mut self.leavers, &self.truth.holdings[replica].included);
        }
        let mut others = self.truth.closures.empty();
        for (other, holding) in self.truth.holdings.iter().enumerate() {
            if other != replica && alive(other) {
                bits::join(&mut others, &holding.included);
            }
        }
        self.counts.add(Kind::Crash);
        self.restarted = true;
        if !bits::within(&self.truth.holdings[replica].included, &others) {
            self.counts.add(Kind::CrashUnspread);
        }
        self.truth.forget(replica);
    }

    /// A replica applied an operation that another had accepted.
    pub fn on_apply(&mut self, replica: usize, dot: Dot) {
        if self.off {
            return;
        }
        let Some(number) = self.truth.number(dot) else {
            return self
                .fail(Invariant::Dots, Sign::Invented, Some(replica), || format!("applied {dot}, which nobody wrote"));
        };
        if bits::has(&self.truth.holdings[replica].included, number as usize) {
            self.fail(Invariant::Causes, Sign::AppliedTwice, Some(replica), || format!("applied {dot} again"));
        } else if !self.truth.is_next(replica, number) {
            self.fail(Invariant::Causes, Sign::OutOfTurn, Some(replica), || format!("applied {dot} out of its turn"));
        } else if !self.truth.causes_included(replica, number) {
            let missing = self.missing_causes(replica, number);
            self.fail(Invariant::Causes, Sign::CauseMissing, Some(replica), || {
                format!("applied {dot} without {missing}")
            });
        }
        self.check_came_back(replica, dot);
        self.truth.include(replica, number);
    }

    fn missing_causes(&self, replica: usize, number: Number) -> String {
        let included = &self.truth.holdings[replica].included;
        let missing = bits::lacking(included, self.truth.closures.row(number as usize));
        let names = missing.into_iter().filter(|&n| n != number as usize).map(|n| self.truth.writes[n].dot.to_string());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Is this write included in that replica?
    #[must_use]
    pub fn includes(&self, replica: usize, dot: Dot) -> bool {
        let included = &self.truth.holdings[replica].included;
        self.truth.number(dot).is_some_and(|number| bits::has(included, number as usize))
    }

    /// A pushed operation reached a replica.
    pub fn on_pushed(&mut self, replica: usize, dot: Dot) {
        let Some(number) = self.truth.number(dot) else { return };
        if bits::has(&self.truth.holdings[replica].included, number as usize) {
            return;
        }
        let early = bits::has(&self.early[replica], number as usize);
        self.counts.add(if early { Kind::DuplicateEarly } else { Kind::CauseLate });
        bits::put(&mut self.early[replica], number as usize);
    }

    /// A replica accepted a client's write. `asked.past` becomes the client's past after it.
    pub fn on_write(&mut self, replica: usize, asked: &mut Asked, written: &Written, probe: &dyn Probe) {
        if self.off {
            return;
        }
        let shown = self.truth.shown(replica, asked.key);
        self.check_served(replica, asked);
        self.check_condition(replica, asked, &shown, Went::Ahead);
        if matches!(asked.action, Action::Delete) && shown.is_empty() || matches!(asked.action, Action::Get) {
            let dot = written.dot;
            self.fail(Invariant::Answers, Sign::WroteNothing, Some(replica), || {
                format!("{dot} was written for a key without versions")
            });
        }
        let mut replaced: Dots = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        replaced.sort_unstable();
        if replaced != written.superseded {
            self.fail(Invariant::Answers, Sign::Replaced, Some(replica), || {
                format!("{} says that it replaced {:?}; it truly met {replaced:?}", written.dot, written.superseded)
            });
        }
        self.check_room(replica, asked, probe);
        self.accept(replica, asked, written.dot, probe);
    }

    fn accept(&mut self, replica: usize, asked: &mut Asked, dot: Dot, probe: &dyn Probe) {
        let value = match &asked.action {
            Action::Put(value) => Some(value.clone()),
            Action::Get | Action::Delete => None,
        };
        let write =
            Write { dot, stamp: None, key: asked.key, value, replaced: Numbers::new(), replaced_by: Numbers::new() };
        let Some(number) = self.truth.accept(replica, write, &asked.past) else {
            return self.fail(Invariant::Dots, Sign::NotNext, Some(replica), || {
                format!("issued {dot}, which is not the next of a life of this replica")
            });
        };
        self.note_made(number);
        bits::join(&mut asked.past, self.truth.closures.row(number as usize));
        self.truth.include(replica, number);
        let siblings = probe.shown(&self.keys[usize::from(asked.key)]);
        if let Some(sibling) = siblings.iter().find(|sibling| sibling.dot == dot) {
            self.on_stamp(dot, sibling.hlc);
        }
    }

    /// A stamp was seen for the first time, or again.
    pub fn on_stamp(&mut self, dot: Dot, stamp: Hlc) {
        let Some(number) = self.truth.number(dot) else { return };
        match self.truth.writes[number as usize].stamp {
            Some(known) if known == stamp => return,
            Some(known) => {
                return self.fail(Invariant::Stamps, Sign::Changed, None, || {
                    format!("{dot} is stamped {known:?} and {stamp:?}")
                });
            }
            None => self.truth.writes[number as usize].stamp = Some(stamp),
        }
        let closure = self.truth.closures.row(number as usize);
        let late = bits::numbers(closure)
            .filter(|&cause| cause != number as usize)
            .map(|cause| &self.truth.writes[cause])
            .find(|cause| cause.stamp.is_some_and(|known| known >= stamp))
            .map(|cause| (cause.dot, cause.stamp));
        if let Some((cause, known)) = late {
            self.fail(Invariant::Stamps, Sign::BehindCause, None, || {
                format!("{dot} is stamped {stamp:?}, its cause {cause} {:?}", known.unwrap_or_default())
            });
        }
    }

    /// A replica answered a data request with anything but a write. `asked.past` becomes the client's past.
    pub fn on_answer(&mut self, replica: usize, asked: &mut Asked, reply: &Reply, probe: &dyn Probe) {
        if self.off {
            return;
        }
        let ready = probe.is_ready();
        match reply {
            Reply::Refused(Refusal::WriteLimit) => return self.check_write_limit(replica, asked, probe),
            Reply::Refused(refusal) => return self.check_refusal(replica, asked, *refusal, ready),
            Reply::Lost { token } => return self.check_lost(replica, asked, token, probe),
            Reply::Found { siblings, .. } => {
                self.check_shown(replica, asked, siblings, Went::Ahead);
                if !matches!(asked.action, Action::Get) || siblings.is_empty() {
                    self.fail(Invariant::Answers, Sign::WrongKind, Some(replica), || format!("{reply:?}"));
                }
            }
            Reply::NotModified { siblings, .. } => self.check_shown(replica, asked, siblings, Went::NotModified),
            Reply::PreconditionFailed { siblings, .. } => {
                self.counts.add(Kind::Precondition);
                self.check_shown(replica, asked, siblings, Went::Failed);
            }
            Reply::Absent { .. } => {
                self.check_shown(replica, asked, &Siblings::new(), Went::Ahead);
                if matches!(asked.action, Action::Put(_)) {
                    self.fail(Invariant::Answers, Sign::WrongKind, Some(replica), || format!("{reply:?}"));
                }
                if !self.truth.holdings[replica].deletes[usize::from(asked.key)].is_empty() {
                    self.counts.add(Kind::DeleteHid);
                }
            }
            Reply::Written(written) => {
                let dot = written.dot;
                self.fail(Invariant::Dots, Sign::Unapplied, Some(replica), || {
                    format!("{dot} is acknowledged and not applied")
                });
            }
            Reply::View(_) | Reply::ViewAdded { .. } | Reply::ViewRemoved | Reply::ViewUnknown | Reply::ViewLast => {
                self.fail(Invariant::Answers, Sign::WrongKind, Some(replica), || format!("{reply:?}"));
            }
        }
        self.truth.bind(replica, asked.key, &mut asked.past);
    }

    fn check_refusal(&mut self, replica: usize, asked: &Asked, refusal: Refusal, ready: bool) {
        let token = &asked.token;
        match refusal {
            Refusal::NotCovered => {
                self.counts.add(Kind::NotCovered);
                if self.over {
                    self.fail(Invariant::Liveness, Sign::TokenEndless, Some(replica), || {
                        format!("still refuses {token:?} when everything is over")
                    });
                }
                if self.truth.covers(replica, token) {
                    self.fail(Invariant::Refusals, Sign::Covered, Some(replica), || {
                        format!("refused {token:?}, which is applied")
                    });
                }
            }
            Refusal::NotReady if ready => {
                self.fail(Invariant::Refusals, Sign::Ready, Some(replica), || "said not ready, and is".into());
            }
            Refusal::Impossible => {
                self.fail(Invariant::Refusals, Sign::Impossible, Some(replica), || {
                    format!("took {token:?} for impossible")
                });
            }
            Refusal::NotReady | Refusal::WriteLimit | Refusal::Upgrading => {}
        }
    }

    fn check_served(&mut self, replica: usize, asked: &Asked) {
        let included = &self.truth.holdings[replica].included;
        if !bits::within(&asked.past, included) {
            let names = bits::lacking(included, &asked.past).into_iter().map(|n| self.truth.writes[n].dot.to_string());
            let missing = names.collect::<Vec<_>>().join(", ");
            self.fail(Invariant::Sessions, Sign::PastMissing, Some(replica), || {
                format!("served a client without its past: {missing}")
            });
        }
    }

    fn check_shown(&mut self, replica: usize, asked: &Asked, siblings: &Siblings, went: Went) {
        self.check_served(replica, asked);
        self.learn_stamps(siblings);
        let shown = self.truth.shown(replica, asked.key);
        self.check_condition(replica, asked, &shown, went);
        if shown.len() > 1 {
            self.counts.add(Kind::Concurrent);
            if shown.iter().any(|&other| other > shown[0]) {
                self.counts.add(Kind::SkewWon);
            }
        }
        if !self.same(&shown, siblings) {
            let truly: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            let sign = if siblings.len() < truly.len() { Sign::VersionHidden } else { Sign::VersionWrong };
            let answered: Vec<Dot> = siblings.iter().map(|sibling| sibling.dot).collect();
            self.fail(Invariant::Answers, sign, Some(replica), || {
                format!("key {} shows {answered:?} instead of {truly:?}", asked.key)
            });
        }
    }

    /// A write that was replaced in the step that accepted it, before any peer was linked, is stamped unseen.
    fn learn_stamps(&mut self, siblings: &Siblings) {
        for sibling in siblings.iter().filter(|_| siblings.len() > 1) {
            self.on_stamp(sibling.dot, sibling.hlc);
        }
    }

    fn same(&self, shown: &[Number], siblings: &Siblings) -> bool {
        shown.len() == siblings.len()
            && shown.iter().zip(siblings).all(|(&number, sibling)| {
                let write = &self.truth.writes[number as usize];
                let stamped = write.stamp.is_none_or(|stamp| stamp == sibling.hlc);
                write.dot == sibling.dot && stamped && write.value.as_ref() == Some(&sibling.value)
            })
    }

    fn check_condition(&mut self, replica: usize, asked: &Asked, shown: &[Number], went: Went) {
        let matches = |wanted: &Match| match wanted {
            Match::Any => !shown.is_empty(),
            Match::OneOf(sets) => sets.iter().any(|set| {
                let named = |number: &Number| set.contains(&self.truth.writes[*number as usize].dot);
                !shown.is_empty() && set.len() == shown.len() && shown.iter().all(named)
            }),
        };
        let expected = if asked.condition.if_match.as_ref().is_some_and(|wanted| !matches(wanted)) {
            Went::Failed
        } else if asked.condition.if_none_match.as_ref().is_some_and(matches) {
            if matches!(asked.action, Action::Get) { Went::NotModified } else { Went::Failed }
        } else {
            Went::Ahead
        };
        if went != expected {
            self.fail(Invariant::Answers, Sign::Condition, Some(replica), || {
                format!("condition {:?} went {went:?} instead of {expected:?}", asked.condition)
            });
        }
    }
}

/// How a request went on after its precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Ahead,
    NotModified,
    Failed,
}
