//! Faults: they strike, and they end.

use super::{Scheduled, World};
use crate::mutants::harness::HarnessMutant;
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::plan::{Effect, Fault, FaultKind, Hit, Links, OnLinks, OnProcess, OnView, limits};
use crate::random::{Domain, mix};
use crate::subject::{Input, Subject};
use hence_core::{Request, Time};

/// How long a process that was told to end has to hand over what others lack, in microseconds.
const LEAVE_MAX: u64 = 2_000_000;

/// When a fault strikes and when it ends, each under its key. What is over before it strikes does nothing.
pub(super) fn course<M>(index: usize, fault: &Fault, heal_at: u64) -> Vec<(u64, u64, Scheduled<M>)> {
    let (at, until, key) = (fault.at, fault.until, mix(Domain::Fault as u64, fault.id.into()));
    if at >= until.min(heal_at) {
        return Vec::new();
    }
    vec![(at, key, Scheduled::FaultStart { index }), (until, mix(key, 1), Scheduled::FaultEnd { index })]
}

impl<S: Subject> World<S> {
    /// Adds a fault to the plan and schedules it.
    pub fn add_fault(&mut self, fault: Fault) {
        for (at, key, scheduled) in course(self.plan.faults.len(), &fault, self.plan.heal_at) {
            self.push(at, key, scheduled);
        }
        self.plan.faults.push(fault);
    }

    /// Ends the fault with this id now.
    pub fn end_fault(&mut self, id: u32) {
        if let Some(index) = self.plan.faults.iter().position(|fault| fault.id == id && fault.until > self.now) {
            self.plan.faults[index].until = self.now;
            self.end_fault_at(index);
        }
    }

    pub(super) fn start_fault(&mut self, index: usize) {
        let fault = self.plan.faults[index].clone();
        if fault.until <= self.now {
            return; // ended before it struck
        }
        self.note(None, || Note::Strikes { fault: fault.clone() });
        self.hash = mix(self.hash, self.now ^ u64::from(fault.id) << 40);
        match fault.kind.effect() {
            Effect::Process(replica, what) => self.begin_at(&fault, replica, what),
            Effect::Links(links, OnLinks::Cut { hold }) => {
                let kind = if matches!(links, Links::BetweenGroupsBut(..)) { Kind::Bridge } else { Kind::Cut };
                self.count(kind);
                if self.harness_mutant != Some(HarnessMutant::CutsDoNothing) {
                    self.cut_links(links, hold);
                }
            }
            Effect::Links(links, OnLinks::Lose { parts }) => {
                self.links_of(links).into_iter().for_each(|at| self.links[at].bursts.push(parts));
            }
            Effect::Frame { skip, .. } => self.aims.add(index, skip),
            Effect::View { via, order } => self.begin_order(&fault, via, order),
        }
    }

    fn begin_at(&mut self, fault: &Fault, replica: u8, what: OnProcess) {
        let at = usize::from(replica);
        match what {
            OnProcess::Crash => self.crash(at),
            OnProcess::Leave => self.leave(fault, replica),
            OnProcess::Pause => {
                self.count(Kind::Pause);
                self.nodes[at].pauses += 1;
            }
            OnProcess::Suspend => self.suspend(at),
            OnProcess::Copy => self.copy_image(at),
            OnProcess::Slow { by } => self.nodes[at].slow_by += by,
            OnProcess::Jump { by } => {
                self.count(Kind::Jump);
                self.jump(at, by);
            }
        }
    }

    fn begin_order(&mut self, fault: &Fault, via: u8, order: OnView) {
        match order {
            OnView::RemoveForAWhile(replica) | OnView::Remove(replica) => {
                self.say(fault, Order::Remove, replica, via);
            }
            OnView::Add(replica) => self.say(fault, Order::Add, replica, via),
            OnView::Replace { old, new } => {
                self.say(fault, Order::Remove, old, via);
                self.say(fault, Order::Add, new, via);
                self.judge.on_operator(new.into(), false); // to start a newcomer that knows others introduces them
                self.start(new.into());
                self.count(Kind::Replaced);
            }
        }
    }

    /// A fault's time is over. After the heal nothing ends any more: what is left stays.
    pub(super) fn end_fault_at(&mut self, index: usize) {
        let fault = self.plan.faults[index].clone();
        if fault.until == self.now && !self.recovery.is_healed() {
            self.end(&fault, false);
        }
    }

    /// Ends a fault; with `core_only` for the replicas that are healed, and for others not.
    pub(super) fn end(&mut self, fault: &Fault, core_only: bool) {
        self.note(None, || Note::Ends { fault: fault.clone() });
        match fault.kind.effect() {
            Effect::Process(replica, what) => {
                let spared = core_only && !self.plan.is_core(replica.into());
                if !(spared && what.outlives_the_heal()) {
                    self.end_at(fault, replica.into(), what);
                }
            }
            Effect::Links(links, OnLinks::Cut { hold }) => {
                if self.harness_mutant != Some(HarnessMutant::CutsDoNothing) {
                    self.mend_links(links, hold, core_only);
                }
            }
            Effect::Links(links, OnLinks::Lose { parts }) => {
                for at in self.links_to_end(links, core_only) {
                    let bursts = &mut self.links[at].bursts;
                    if let Some(at) = bursts.iter().position(|&burst| burst == parts) {
                        bursts.swap_remove(at);
                    }
                }
            }
            Effect::Frame { .. } => {
                let places = self.plan.faults.iter().enumerate().filter(|(_, other)| other.id == fault.id);
                places.for_each(|(index, _)| self.aims.drop_fault(index));
            }
            Effect::View { via, order: OnView::RemoveForAWhile(replica) } => {
                self.say(fault, Order::AddAgain, replica, via);
            }
            Effect::View { order: OnView::Replace { old, .. }, .. } if !core_only => self.crash(old.into()),
            Effect::View { order: OnView::Remove(_) | OnView::Add(_) | OnView::Replace { .. }, .. } => {}
        }
    }

    fn end_at(&mut self, fault: &Fault, replica: usize, what: OnProcess) {
        match what {
            OnProcess::Crash => self.restart(replica),
            OnProcess::Leave => self.end_leave(fault, replica),
            OnProcess::Pause => self.resume(replica),
            OnProcess::Suspend => self.wake_up(replica),
            OnProcess::Copy => self.end_twin(replica),
            OnProcess::Slow { by } => self.nodes[replica].slow_by -= by,
            OnProcess::Jump { by } => self.jump(replica, by.saturating_neg()),
        }
    }

    /// An operator gives an order at a replica that can take it.
    fn say(&mut self, fault: &Fault, order: Order, replica: u8, via: u8) {
        let (address, via) = (self.addresses[usize::from(replica)].clone(), usize::from(via));
        if !self.is_alive(via) || self.nodes[via].pauses > 0 {
            return;
        }
        let cause = mix(Domain::Fault as u64, fault.id.into());
        let (cause, request, kind) = match order {
            Order::Remove => (cause, Request::ViewRemove(address), Kind::Unwanted),
            Order::Add => (mix(cause, 2), Request::ViewAdd(address), Kind::Introduced),
            Order::AddAgain => (mix(cause, 1), Request::ViewAdd(address), Kind::Introduced),
        };
        self.count(kind);
        self.name(cause, || format!("fault{} {}", fault.id, order.name()));
        self.send_request(None, None, via, request, None, cause);
    }

    /// A frame of this kind leaves: is it the one that a fault waits for?
    pub(super) fn take_aim(&mut self, from: usize, to: usize, message: u8) {
        if self.recovery.is_healed() {
            return;
        }
        let faults = &self.plan.faults;
        let wants = |index: usize| matches!(faults[index].kind.effect(), Effect::Frame { message: wanted, .. } if wanted == message);
        for index in self.aims.hits(wants) {
            let fault = self.plan.faults[index].clone();
            let Effect::Frame { hit, .. } = fault.kind.effect() else { continue };
            let (from, to) = (from as u8, to as u8);
            let kind = match hit {
                Hit::Sender => FaultKind::Crash { replica: from },
                Hit::Receiver => FaultKind::Crash { replica: to },
                Hit::Pause => FaultKind::Pause { replica: to },
                Hit::Cut => FaultKind::Pair { a: from, b: to, hold: false },
                Hit::Hold => FaultKind::OneWay { from, to, hold: true },
            };
            self.count(Kind::HitInFlight);
            self.follow_up(&fault, self.now, kind);
        }
    }

    /// What follows from a fault, until that one ends.
    fn follow_up(&mut self, fault: &Fault, at: u64, kind: FaultKind) {
        self.add_fault(Fault { id: limits::FAULT_ID_MAX + 1 + fault.id, at, until: fault.until, kind });
    }

    fn leave(&mut self, fault: &Fault, replica: u8) {
        let node = usize::from(replica);
        if self.is_alive(node) && self.nodes[node].pauses == 0 {
            self.count(Kind::Left);
            let cause = mix(Domain::Fault as u64, fault.id.into());
            self.name(cause, || format!("fault{}", fault.id));
            self.step(node, Input::Leave, cause);
        }
        let at = (self.now + LEAVE_MAX).min(fault.until - 1).max(self.now);
        self.follow_up(fault, at, FaultKind::Crash { replica });
    }

    /// Its death is a fault of its own and ends by itself, unless the heal came first.
    fn end_leave(&mut self, fault: &Fault, replica: usize) {
        let death = self.plan.faults.iter().find(|other| other.id == limits::FAULT_ID_MAX + 1 + fault.id);
        if death.is_some_and(|death| death.at >= self.now) {
            self.crash(replica);
            self.restart(replica);
        }
    }

    pub(super) fn crash(&mut self, replica: usize) {
        if self.harness_mutant == Some(HarnessMutant::CrashKeepsMemory) {
            self.nodes[replica].pauses += 1;
            return;
        }
        self.nodes[replica].crashes += 1;
        if !self.is_alive(replica) {
            return;
        }
        self.note(Some(replica), || Note::Died);
        let address = &self.addresses[replica];
        let removes =
            |n: usize| self.subject(n).and_then(S::probe).is_some_and(|probe| !probe.view().is_member(address));
        let removed = (0..self.nodes.len()).any(removes);
        let nodes = &self.nodes;
        self.judge.on_crash(replica, removed, |other| nodes[other].subject.is_some());
        let node = &mut self.nodes[replica];
        (node.subject, node.twin) = (None, None);
        self.judge.on_twin_gone(replica);
        node.life += 1;
        node.alarm = Time::NEVER;
        self.queue.clear_alarm(replica);
        self.end_streams_of(replica);
        let node = &mut self.nodes[replica];
        let backlog = std::mem::take(&mut node.backlog);
        self.lose_attempts_at(replica);
        for scheduled in backlog {
            if let Scheduled::Arrive { attempt } = scheduled {
                self.lose_attempt(attempt);
            } else if let Scheduled::Watch(turn) = scheduled {
                self.lose_turn(turn);
            }
        }
    }

    fn restart(&mut self, replica: usize) {
        if self.harness_mutant == Some(HarnessMutant::CrashKeepsMemory) {
            return self.resume(replica);
        }
        let node = &mut self.nodes[replica];
        node.crashes = node.crashes.saturating_sub(1);
        if node.crashes == 0 {
            self.start(replica);
        }
    }

    pub(super) fn resume(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        node.pauses = node.pauses.saturating_sub(1);
        if node.pauses == 0 {
            node.quiet_since = self.now;
            let backlog = std::mem::take(&mut node.backlog);
            backlog.into_iter().for_each(|scheduled| self.run_scheduled(scheduled));
        }
    }

    /// A machine stops with its monotonic clock.
    fn suspend(&mut self, replica: usize) {
        self.count(Kind::Suspended);
        let node = &mut self.nodes[replica];
        node.pauses += 1;
        node.clock.stop(self.now);
    }

    /// It goes on as if no time had passed. What it has to do comes later by as much.
    fn wake_up(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        node.clock.go_on(self.now);
        node.alarm = Time::NEVER;
        self.reschedule(replica);
        self.resume(replica);
    }

    fn jump(&mut self, replica: usize, by: i64) {
        let node = &mut self.nodes[replica];
        node.wall_ahead = node.wall_ahead.saturating_add(by);
        node.clock.wall_ahead = node.clock.wall_ahead.saturating_add(by);
    }
}

/// What an operator says.
#[derive(Clone, Copy)]
enum Order {
    Add,
    AddAgain,
    Remove,
}

impl Order {
    const fn name(self) -> &'static str {
        match self {
            Self::Add => "adds",
            Self::AddAgain => "adds again",
            Self::Remove => "removes",
        }
    }
}
