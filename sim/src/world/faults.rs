//! Faults: they strike, they end, and at the end everything is healed.

use super::{Frame, Happening, World};
use crate::adversity::Kind;
use crate::network::Link;
use crate::observe::Note;
use crate::plan::{Fault, FaultKind};
use crate::random::{Domain, mix};
use crate::subject::Subject;
use crate::tampering::Tampering;
use hence_core::Request;

/// A link that is cut again within this time flaps, in microseconds.
const FLAP_MAX: u64 = 200_000;

impl<S: Subject> World<S> {
    /// Adds a fault to the plan and schedules it.
    pub fn add_fault(&mut self, fault: Fault) {
        self.plan.faults.push(fault);
        self.schedule_fault(self.plan.faults.len() - 1);
    }

    /// Ends the fault with this id now.
    pub fn end_fault(&mut self, id: u32) {
        if let Some(index) = self.plan.faults.iter().position(|fault| fault.id == id && fault.until > self.now) {
            self.plan.faults[index].until = self.now;
            self.relieve(index);
        }
    }

    pub(super) fn schedule_fault(&mut self, index: usize) {
        let heal_at = self.plan.heal_at;
        let fault = &mut self.plan.faults[index];
        fault.until = fault.until.min(heal_at);
        if fault.at >= fault.until {
            return; // over before it strikes
        }
        let (at, until, key) = (fault.at, fault.until, mix(Domain::Fault as u64, fault.id.into()));
        self.push(at, key, Happening::Strike { index });
        self.push(until, mix(key, 1), Happening::Relieve { index });
    }

    pub(super) fn strike(&mut self, index: usize) {
        let fault = self.plan.faults[index].clone();
        if fault.until <= self.now {
            return; // ended before it struck
        }
        self.note(None, || Note::Strikes { fault: fault.clone() });
        self.hash = mix(self.hash, self.now ^ u64::from(fault.id) << 40);
        match fault.kind {
            FaultKind::Crash { replica } => self.crash(replica.into()),
            FaultKind::Pause { replica } => {
                self.count(Kind::Pause);
                self.nodes[usize::from(replica)].pauses += 1;
            }
            FaultKind::Isolate { .. } | FaultKind::Pair { .. } | FaultKind::OneWay { .. } | FaultKind::Split { .. } => {
                self.count(Kind::Cut);
                if self.tampering != Some(Tampering::CutsDoNothing) {
                    self.cut_links(fault.kind);
                }
            }
            FaultKind::Jump { replica, by } => {
                self.count(Kind::Jump);
                self.jump(replica.into(), by);
            }
            FaultKind::Burst { from, to, loss } => self.link(from, to).bursts.push(loss),
            FaultKind::Slow { replica, by } => self.nodes[usize::from(replica)].slow_by += by,
            FaultKind::Unwant { replica, via } => {
                let (address, via) = (self.addresses[usize::from(replica)].clone(), usize::from(via));
                if self.is_alive(via) && self.nodes[via].pauses == 0 {
                    self.count(Kind::Unwanted);
                    let cause = mix(Domain::Fault as u64, fault.id.into());
                    self.name(cause, || format!("fault{}", fault.id));
                    self.send_request(None, None, via, Request::ViewRemove(address), None, cause);
                }
            }
        }
    }

    pub(super) fn relieve(&mut self, index: usize) {
        let fault = self.plan.faults[index].clone();
        if fault.until != self.now {
            return; // ended before
        }
        self.note(None, || Note::Ends { fault: fault.clone() });
        match fault.kind {
            FaultKind::Crash { replica } => self.restart(replica.into()),
            FaultKind::Pause { replica } => self.resume(replica.into()),
            FaultKind::Isolate { .. } | FaultKind::Pair { .. } | FaultKind::OneWay { .. } | FaultKind::Split { .. } => {
                if self.tampering != Some(Tampering::CutsDoNothing) {
                    self.mend_links(fault.kind);
                }
            }
            FaultKind::Jump { replica, by } => self.jump(replica.into(), by.saturating_neg()),
            FaultKind::Burst { from, to, loss } => {
                let bursts = &mut self.link(from, to).bursts;
                if let Some(at) = bursts.iter().position(|&burst| burst == loss) {
                    bursts.swap_remove(at);
                }
            }
            FaultKind::Slow { replica, by } => self.nodes[usize::from(replica)].slow_by -= by,
            FaultKind::Unwant { replica, via } => {
                let (address, via) = (self.addresses[usize::from(replica)].clone(), usize::from(via));
                if self.is_alive(via) && self.nodes[via].pauses == 0 {
                    let cause = mix(mix(Domain::Fault as u64, fault.id.into()), 1);
                    self.name(cause, || format!("fault{} ends", fault.id));
                    self.send_request(None, None, via, Request::ViewAdd(address), None, cause);
                }
            }
        }
    }

    fn crash(&mut self, replica: usize) {
        if self.tampering == Some(Tampering::CrashKeepsMemory) {
            self.nodes[replica].pauses += 1;
            return;
        }
        self.nodes[replica].crashes += 1;
        if !self.is_alive(replica) {
            return;
        }
        let nodes = &self.nodes;
        self.judge.on_crash(replica, |other| nodes[other].subject.is_some());
        let node = &mut self.nodes[replica];
        node.subject = None;
        node.life += 1;
        node.timer_at = u64::MAX;
        let backlog = std::mem::take(&mut node.backlog);
        self.lose_attempts_at(replica);
        for happening in backlog {
            if let Happening::Arrive { attempt } = happening {
                self.lose_attempt(attempt);
            }
        }
    }

    fn restart(&mut self, replica: usize) {
        if self.tampering == Some(Tampering::CrashKeepsMemory) {
            return self.resume(replica);
        }
        let node = &mut self.nodes[replica];
        node.crashes = node.crashes.saturating_sub(1);
        if node.crashes == 0 {
            self.start(replica);
        }
    }

    fn resume(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        node.pauses = node.pauses.saturating_sub(1);
        if node.pauses == 0 {
            let backlog = std::mem::take(&mut node.backlog);
            backlog.into_iter().for_each(|happening| self.happen(happening));
        }
    }

    fn jump(&mut self, replica: usize, by: i64) {
        let node = &mut self.nodes[replica];
        node.wall_ahead = node.wall_ahead.saturating_add(by);
        node.clock.wall_ahead = node.clock.wall_ahead.saturating_add(by);
    }

    /// The directed links that a cut is about, and whether it keeps frames.
    fn links_of(&self, kind: FaultKind) -> (Vec<usize>, bool) {
        let count = self.nodes.len();
        let (cuts, hold): (Box<dyn Fn(usize, usize) -> bool>, bool) = match kind {
            FaultKind::Isolate { replica, hold } => {
                let replica = usize::from(replica);
                (Box::new(move |from, to| from == replica || to == replica), hold)
            }
            FaultKind::Pair { a, b, hold } => {
                let pair = (usize::from(a), usize::from(b));
                (Box::new(move |from, to| (from, to) == pair || (to, from) == pair), hold)
            }
            FaultKind::OneWay { from: a, to: b, hold } => {
                let pair = (usize::from(a), usize::from(b));
                (Box::new(move |from, to| (from, to) == pair), hold)
            }
            FaultKind::Split { mask, hold } => (Box::new(move |from, to| mask >> from & 1 != mask >> to & 1), hold),
            FaultKind::Crash { .. }
            | FaultKind::Pause { .. }
            | FaultKind::Jump { .. }
            | FaultKind::Unwant { .. }
            | FaultKind::Burst { .. }
            | FaultKind::Slow { .. } => (Box::new(|_, _| false), false),
        };
        let links = (0..count * count).filter(|link| link / count != link % count && cuts(link / count, link % count));
        (links.collect(), hold)
    }

    fn link(&mut self, from: u8, to: u8) -> &mut Link<Frame<S::Message>> {
        let count = self.nodes.len();
        &mut self.links[usize::from(from) * count + usize::from(to)]
    }

    fn cut_links(&mut self, kind: FaultKind) {
        let (links, hold) = self.links_of(kind);
        for link in links {
            let link = &mut self.links[link];
            if hold {
                link.holding += 1
            } else {
                link.losing += 1
            }
            if link.mended_at.is_some_and(|mended| self.now - mended < FLAP_MAX) {
                self.judge.counts.add(Kind::Flap);
            }
        }
    }

    fn mend_links(&mut self, kind: FaultKind) {
        let (links, hold) = self.links_of(kind);
        for at in links {
            let link = &mut self.links[at];
            if hold {
                link.holding -= 1
            } else {
                link.losing -= 1
            }
            if link.is_cut() {
                continue;
            }
            link.mended_at = Some(self.now);
            for frame in std::mem::take(&mut self.links[at].held) {
                // What a kernel retransmits comes in order, soon after the cut ends.
                let link = &mut self.links[at];
                link.last_arrival = (link.last_arrival + 1).max(self.now + 100);
                let (arrival, cause) = (link.last_arrival, frame.cause);
                self.count(Kind::FrameReleased);
                self.push(arrival, mix(cause, 7), Happening::Deliver(frame));
            }
        }
    }

    /// Everything is healed: every fault over, every process running, the network calm.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        for index in 0..self.plan.faults.len() {
            if self.plan.faults[index].at < self.now && self.plan.faults[index].until > self.now {
                self.plan.faults[index].until = self.now;
                self.relieve(index);
            }
        }
        // What was stuck in a connection does not hold up what comes after the heal.
        self.links.iter_mut().for_each(|link| link.last_arrival = 0);
        for replica in 0..self.nodes.len() {
            if !self.is_alive(replica) {
                self.nodes[replica].crashes = 0;
                self.start(replica);
            }
        }
    }
}
