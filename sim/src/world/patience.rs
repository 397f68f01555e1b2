//! What the oracles of cuts need from the whole world: which replicas are cut off, and which have a reason to hurry.

use super::World;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::apart::{Lane, Patience};
use crate::oracle::judge::memory::own_writes;
use crate::plan::{Fault, FaultKind};
use crate::subject::{Load, Probe, Subject, number_of};
use hence_checker::bits;
use hence_core::{Address, Dot, Incarnation};

/// No cut that is shorter takes anything from what a client may expect, in microseconds.
const CUT_LEAST: u64 = 1_000_000;

/// After so much steady contact a clock that stood still is known again, in microseconds.
const LEARNT_AFTER: u64 = 2_200_000;

/// A clock that stood still through a shorter silence is not told from a network that became slower, in microseconds
/// of the receiver's clock.
const STOOD_LEAST: u64 = 1_500_000;

impl<S: Subject> World<S> {
    /// A push reached a replica. What is made only just now is news where contact has been steady, whatever the clocks
    /// did before. `refused` as late?
    pub(super) fn judge_news(&mut self, from: usize, to: usize, dot: Dot, refused: bool) {
        let settings = &self.plan.settings;
        let apart = self.lateness_allowed(from, to) - settings.late_max;
        let told = settings.heartbeat_interval <= 400_000 && settings.late_max >= 500_000 + apart;
        if !told || self.judge.off || self.judge.steady(from, to) < LEARNT_AFTER {
            return;
        }
        let since = self.now - LEARNT_AFTER;
        let mut stood = false;
        for fault in self.plan.faults.iter().filter(|fault| fault.at <= self.now) {
            let (about, over) = (fault.kind.keeps_from_running(), fault.until.min(self.now));
            if about == Some(from) && matches!(fault.kind, FaultKind::Suspend { .. }) {
                // What was on its way, or held up, may have arrived while the clock stood still. A silence in which the
                // receiver's own clock stood still as well is shorter on that clock.
                if !self.judge.was_silent((from, to), over, STOOD_LEAST + self.stood_still(to)) {
                    return;
                }
                stood = true;
            }
            if (about == Some(from) || about == Some(to)) && fault.until >= since {
                return;
            }
        }
        if refused {
            self.judge.on_refused_news(from, to, dot, settings.late_max / 2);
        } else if stood && self.judge.includes(to, dot) {
            self.count(Kind::LearntAnew);
        }
    }

    /// Tells the oracles which replicas are cut off from all others.
    pub(super) fn judge_apart(&mut self) {
        let count = self.nodes.len();
        for replica in 0..count {
            let mut others = (0..count).filter(|&other| other != replica);
            let cut = |other: usize| {
                self.links[replica * count + other].is_cut() && self.links[other * count + replica].is_cut()
            };
            let apart = count > 1 && others.all(cut);
            self.judge.on_apart(replica, apart);
        }
    }

    /// For how long the clock of a replica has stood still by now: so much younger is what it makes, by its own clock.
    pub(super) fn stood_still(&self, replica: usize) -> u64 {
        let suspended = |fault: &&Fault| fault.kind == FaultKind::Suspend { replica: replica as u8 };
        let stood = |fault: &Fault| fault.until.min(self.now).saturating_sub(fault.at);
        self.plan.faults.iter().filter(suspended).map(stood).sum()
    }

    /// A silence of this length is noticed, and where there is none a heartbeat arrives meanwhile; in microseconds.
    fn noticed_after(&self) -> u64 {
        (self.plan.settings.heartbeat_interval + self.plan.settings.late_max) * 21 / 20 + 5_000
    }

    fn patience(&self) -> Patience {
        let settings = &self.plan.settings;
        let drift = self.plan.replicas.iter().map(|replica| u64::from(replica.drift.unsigned_abs())).max().unwrap_or(0);
        Patience {
            least: self.noticed_after().max(CUT_LEAST),
            repair: (settings.repair_delay * 97 / 100).saturating_sub(1_000),
            apart: 2 * drift * self.now / 1_000_000,
        }
    }

    /// An operation was applied that another replica made.
    pub(super) fn judge_lane(&mut self, replica: usize, dot: Dot) {
        let node = &self.nodes[replica];
        // An answer may come after its pull was given up and another began.
        let supplier = self.reaction.supplier().or(node.fetches_from);
        let announced = || node.announced.iter().find(|(announced, _)| *announced == dot);
        let lane = match (self.reaction.pushed(), announced()) {
            (Some(pushed), _) if pushed == dot => Lane::Push(self.judge.fastest_way(dot, replica)),
            // The pieces of its value came one by one, and no pull asked for them.
            (_, Some(&(_, fastest))) if !node.fetching => Lane::Push(fastest),
            _ if supplier.is_some_and(|of| node.patient >> of & 1 == 1) => Lane::Repair,
            _ => Lane::Hurry,
        };
        let patience = self.patience();
        let (faults, now, noticed) = (&self.plan.faults, self.now, self.noticed_after());
        let well = |about: usize, since: u64| {
            let struck = |fault: &Fault| {
                // What arrived while the receiver's clock stood still says nothing of the way. It knows the way again
                // by the next heartbeat.
                let stood = about == replica && matches!(fault.kind, FaultKind::Suspend { .. });
                fault.at <= now && fault.until + if stood { noticed } else { 0 } >= since
            };
            !faults.iter().any(|fault| fault.kind.keeps_from_running() == Some(about) && struck(fault))
        };
        self.judge.on_lane(replica, dot, lane, patience, well);
    }

    /// A whole state was installed.
    pub(super) fn judge_install(&mut self, replica: usize, from: Incarnation, pull: u64) {
        let before = self.judge.truth.holdings[replica].included.clone();
        self.judge.on_install(replica, from, pull);
        for number in bits::lacking(&before, &self.judge.truth.holdings[replica].included) {
            let dot = self.judge.truth.writes[number].dot;
            self.judge_lane(replica, dot);
        }
    }

    /// A replica began to fetch from another.
    pub(super) fn judge_pull(&mut self, replica: usize, from: &Address) {
        let from = number_of(from, &self.addresses);
        let put_off = from.is_some_and(|from| self.judge.is_put_off_enough(from, replica));
        let patient = !self.hurries(replica) && !put_off;
        let node = &mut self.nodes[replica];
        (node.fetches_from, node.fetching) = (from, true);
        let Some(from) = from else { return };
        node.patient = node.patient & !(1 << from) | u16::from(patient) << from;
        if !patient {
            return;
        }
        // A replica that began anew may not have what the life before had said, until the new one has spoken.
        let spoke = self.nodes[from].life == 0 || self.judge.has_met(replica, from);
        if spoke && self.is_alive(from) && !self.judge.off {
            let patience = self.patience();
            self.judge.on_repair(replica, from, patience);
        }
    }

    fn knows_removed(&self, probe: &dyn Probe) -> bool {
        let view = probe.view();
        self.addresses.iter().any(|address| view.record(address).is_some() && !view.is_member(address))
    }

    /// The outputs of an input are judged: notes what holds before the next one.
    pub(super) fn note_reasons(&mut self, replica: usize) {
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let (load, own_writes) = (probe.load(), own_writes(probe));
        let removed = self.nodes[replica].view_changed.then(|| self.knows_removed(probe));
        let node = &mut self.nodes[replica];
        node.keeps_waiting = wants_at_once(&load);
        if let Some(removed) = removed {
            (node.knows_removed, node.view_changed) = (removed, false);
        }
        self.judge.note_load(replica, load, own_writes);
    }

    /// Has this replica a reason to fetch what it lacks at once? It joins, it started alone, a request waits there, or
    /// its holder is about to go. It may have had the reason before the present input, or have it after.
    fn hurries(&self, replica: usize) -> bool {
        let node = &self.nodes[replica];
        let Some(probe) = node.subject.as_ref().and_then(S::probe) else { return true };
        let left = |kind: FaultKind| matches!(kind, FaultKind::Leave { .. });
        node.needs_initial_sync
            || !node.was_up
            || node.keeps_waiting
            || wants_at_once(&probe.load())
            || node.knows_removed
            || self.knows_removed(probe)
            || self.plan.faults.iter().any(|fault| left(fault.kind) && fault.at <= self.now)
    }
}

/// Does a request wait for what is missing here? One that waits until its write has spread misses nothing.
const fn wants_at_once(load: &Load) -> bool {
    load.waiting > load.spreading
}
