//! What the oracles of cuts need from the whole world: who is cut off, and who has a reason to hurry.

use super::World;
use crate::bits;
use crate::judge::apart::{Lane, Patience};
use crate::plan::FaultKind;
use crate::subject::{Subject, number_of};
use hence_core::{Address, Dot, Incarnation};

/// No cut that is shorter takes anything from what a client may expect, in microseconds.
const CUT_LEAST: u64 = 1_000_000;

impl<S: Subject> World<S> {
    /// Tells the oracles who is cut off from everybody.
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

    fn patience(&self) -> Patience {
        let settings = &self.plan.settings;
        let noticed = (settings.heartbeat_interval + settings.late_max) * 21 / 20 + 5_000;
        Patience { least: noticed.max(CUT_LEAST), repair: (settings.repair_delay * 97 / 100).saturating_sub(1_000) }
    }

    /// An operation was applied that another replica made.
    pub(super) fn judge_lane(&mut self, replica: usize, dot: Dot) {
        if !self.judge.patient {
            return;
        }
        let lane = match self.pushed {
            Some(pushed) if pushed == dot => Lane::Push,
            Some(_) | None if self.nodes[replica].hurries => Lane::Hurry,
            Some(_) | None => Lane::Repair,
        };
        let patience = self.patience();
        let faults = &self.plan.faults;
        let about = |kind: FaultKind| {
            let (FaultKind::Pause { replica } | FaultKind::Slow { replica, .. }) = kind else { return None };
            Some(usize::from(replica))
        };
        let now = self.now;
        let well = |replica: usize, since: u64| {
            !faults.iter().any(|fault| about(fault.kind) == Some(replica) && fault.at <= now && fault.until >= since)
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
        let hurries = self.hurries(replica);
        self.nodes[replica].hurries = hurries;
        let Some(from) = number_of(from, &self.addresses).filter(|_| !hurries && self.judge.patient) else { return };
        // Who began anew may not have what it had said.
        if self.nodes[from].life == 0 && self.is_alive(from) && !self.judge.off {
            let patience = self.patience();
            self.judge.on_repair(replica, from, patience);
        }
    }

    /// Has this replica a reason to fetch what it lacks at once? It joins, it started alone, a request waits there, or
    /// who has it is about to go.
    fn hurries(&self, replica: usize) -> bool {
        let node = &self.nodes[replica];
        let Some(probe) = node.subject.as_ref().and_then(S::probe) else { return true };
        let unwanted = |address: &Address| probe.view().row(address).is_some() && !probe.view().is_wanted(address);
        let left = |kind: FaultKind| matches!(kind, FaultKind::Leave { .. });
        node.hungry
            || !node.was_up
            || node.waited_for > self.now
            || self.addresses.iter().any(unwanted)
            || self.plan.faults.iter().any(|fault| left(fault.kind) && fault.at <= self.now)
    }
}
