//! What a replica holds beside its data, and what one input makes it do, stay within limits.

use super::Judge;
use crate::subject::Probe;
use crate::verdict::Invariant;
use hence_core::Config;

impl Judge {
    /// Compares what a replica holds besides its store with its limits.
    pub fn check_load(&mut self, replica: usize, probe: &dyn Probe, config: &Config) {
        let load = probe.load();
        let beyond = load.parked > config.parked_max || load.waiting > config.waiting_max;
        if beyond || load.log_bytes > config.log_bytes_max {
            self.fail(Invariant::Bounds, "load", Some(replica), || format!("{load:?}"));
        }
    }

    /// One input does bounded work.
    pub fn check_work(&mut self, replica: usize, probe: &dyn Probe) {
        let work = probe.work();
        if work > hence_core::WORK_MAX {
            self.fail(Invariant::Bounds, "work", Some(replica), || {
                format!("{work} units of work in one step; {} are allowed", hence_core::WORK_MAX)
            });
        }
    }
}
