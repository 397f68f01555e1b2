//! What is applied is the next of its origin, and its true causal past is applied (INV-2).

use super::Judge;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::Number;
use crate::oracle::verdict::Invariant;
use hence_checker::bits;
use hence_core::Dot;

/// Pushed operations that arrived and are not applied yet, one set per replica.
#[derive(Debug)]
pub(super) struct Early(Vec<Vec<u64>>);

impl Early {
    pub(super) fn new(replicas: usize, none: &[u64]) -> Self {
        Self(vec![none.to_vec(); replicas])
    }

    /// Another process has seen none of them.
    pub(super) fn forget(&mut self, replica: usize) {
        self.0[replica].fill(0);
    }

    /// One arrived. Returns whether it had arrived before.
    fn note(&mut self, replica: usize, number: usize) -> bool {
        let known = bits::has(&self.0[replica], number);
        bits::put(&mut self.0[replica], number);
        known
    }
}

impl Judge {
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

    /// A pushed operation reached a replica.
    pub fn on_pushed(&mut self, replica: usize, dot: Dot) {
        let Some(number) = self.truth.number(dot) else { return };
        if bits::has(&self.truth.holdings[replica].included, number as usize) {
            return;
        }
        let known = self.early.note(replica, number as usize);
        self.counts.add(if known { Kind::DuplicateEarly } else { Kind::CauseLate });
    }
}
