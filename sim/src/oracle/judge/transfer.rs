//! Whole states on their way: what a supplier truly had when it sent the last part is what its receiver includes.

use super::Judge;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::Number;
use crate::oracle::verdict::Invariant;
use crate::subject::Part;
use hence_checker::bits;
use hence_core::Incarnation;

/// Whole states on their way, and whether any is needed.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    snapshots: Vec<Snapshot>,
    /// A process ended, or began anew under its address.
    restarted: bool,
    /// Logs have room for everything that a run can write.
    roomy_logs: bool,
}

impl Transfers {
    /// A process ended, or began anew under its address.
    pub(super) fn on_restart(&mut self) {
        self.restarted = true;
    }
}

/// What a supplier truly had when it began to supply a whole state.
#[derive(Debug)]
struct Snapshot {
    supplier: Incarnation,
    receiver: usize,
    pull: u64,
    included: Vec<u64>,
}

impl Judge {
    /// Logs have room for everything that a run can write, so that no whole state is needed.
    pub fn expect_no_transfers(&mut self, roomy_logs: bool) {
        self.transfers.roomy_logs = roomy_logs;
    }

    /// A supplier sent a part of what a pull asked for. A whole state is that of the moment when its last part is sent.
    pub fn on_supply(&mut self, replica: usize, receiver: usize, part: Part) {
        let Part { supplier, pull, state } = part;
        let same = |old: &Snapshot| old.supplier == supplier && old.receiver == receiver && old.pull == pull;
        if state {
            self.contest_names_of(replica);
            self.transfers.snapshots.retain(|old| !same(old));
            let included = self.truth.holdings[replica].included.clone();
            self.transfers.snapshots.push(Snapshot { supplier, receiver, pull, included });
        }
    }

    /// A replica installed a whole state in one step.
    pub fn on_install(&mut self, receiver: usize, from: Incarnation, pull: u64) {
        if self.off {
            return;
        }
        self.counts.add(Kind::Installed);
        if self.transfers.roomy_logs && !self.transfers.restarted && self.operators.rested() {
            self.fail(Invariant::Bounds, Sign::NeedlessTransfer, Some(receiver), || {
                "fetched a whole state, though everybody's log reaches back to the beginning".into()
            });
        }
        let same = |old: &Snapshot| old.supplier == from && old.receiver == receiver && old.pull == pull;
        let Some(included) = self.transfers.snapshots.iter().find(|old| same(old)).map(|old| old.included.clone())
        else {
            return self.fail(Invariant::Causes, Sign::UnknownState, Some(receiver), || {
                format!("installed pull {pull} from {from}, which never supplied it")
            });
        };
        for number in bits::lacking(&self.truth.holdings[receiver].included, &included) {
            self.check_came_back(receiver, self.truth.writes[number].dot);
            self.truth.include(receiver, number as Number);
        }
    }
}
