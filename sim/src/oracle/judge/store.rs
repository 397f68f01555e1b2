//! The store of a replica beside the replay of exactly what is truly included in it (INV-5).

use super::{FULL_EVERY, Judge};
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::Dot;

impl Judge {
    /// One step of a replica is over.
    pub fn after_step(&mut self, replica: usize, probe: &dyn Probe) {
        if self.off {
            return;
        }
        self.steps += 1;
        let full = self.thorough || self.steps.is_multiple_of(FULL_EVERY);
        if full || !self.truth.holdings[replica].changed.is_empty() {
            self.check_changed(replica, full, probe);
        }
        let (held, truly) = (probe.keys(), self.truth.present(replica));
        if held != truly {
            self.fail(Invariant::Store, Sign::Keys, Some(replica), || format!("holds {held} keys instead of {truly}"));
        }
    }

    fn check_changed(&mut self, replica: usize, full: bool, probe: &dyn Probe) {
        let mut changed = std::mem::take(&mut self.truth.holdings[replica].changed);
        if full {
            self.check_all(replica, probe);
        } else {
            changed.iter().for_each(|&key| self.check_key(replica, key, probe));
            self.check_vector(replica, probe);
        }
        changed.clear();
        self.truth.holdings[replica].changed = changed;
    }

    /// Compares all of a replica with the replay of exactly what is truly included in it.
    pub fn check_all(&mut self, replica: usize, probe: &dyn Probe) {
        if self.off {
            return;
        }
        for key in 0..self.keys.len() {
            self.check_key(replica, key as u8, probe);
        }
        self.check_vector(replica, probe);
        probe.check_invariants();
    }

    fn check_vector(&mut self, replica: usize, probe: &dyn Probe) {
        if !self.truth.is_exactly(replica, |life| probe.counter(life)) {
            let (vector, included) = (probe.vector(), &self.truth.holdings[replica].included);
            let truly: Vec<Dot> = bits::numbers(included).map(|n| self.truth.writes[n].dot).collect();
            let detail =
                format!("says that it covers {}; truly included is {}", words::past(vector), words::writes(&truly));
            self.fail(Invariant::Store, Sign::Vector, Some(replica), || detail);
        }
    }

    fn check_key(&mut self, replica: usize, key: u8, probe: &dyn Probe) {
        let siblings = &*probe.shown(&self.keys[usize::from(key)]);
        self.learn_stamps(siblings);
        let shown = self.truth.shown(replica, key);
        if !self.same(key, &shown, siblings) {
            let truly: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            let held: Vec<Dot> = siblings.iter().map(|sibling| sibling.dot).collect();
            let sign = if held.iter().any(|dot| !truly.contains(dot)) { Sign::Resurrected } else { Sign::Lost };
            let name = self.keys[usize::from(key)].clone();
            self.fail(Invariant::Store, sign, Some(replica), || {
                format!("{} holds {} instead of {}", name.as_str(), words::writes(&held), words::writes(&truly))
            });
        }
    }
}
