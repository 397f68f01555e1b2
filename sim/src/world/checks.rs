//! What oracles need from the whole world: states of several replicas, and how lenient the plan makes them.

use super::World;
use crate::plan::FaultKind;
use crate::subject::Subject;
use crate::verdict::Invariant;
use hence_core::Micros;

impl<S: Subject> World<S> {
    /// Merging real states must not depend on who merges whom.
    pub(super) fn check_merges(&mut self) {
        if self.judge.off {
            return;
        }
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|&replica| self.is_alive(replica)).collect();
        let replicas: Vec<&S> = alive.iter().filter_map(|&replica| self.subject(replica)).collect();
        if let Some((law, three)) = S::broken_law(&replicas) {
            let three = three.map(|place| alive[place]);
            self.judge
                .fail(Invariant::Merge, law, Some(three[0]), || format!("merging the states of replicas {three:?}"));
        }
    }

    /// Nobody waits longer than asked for.
    pub(super) fn check_waited(&mut self, replica: usize, number: usize) {
        let attempt = &self.attempts[number];
        let Some((index, _)) = attempt.operation else { return };
        let wait = self.plan.operations[index].wait.min(self.plan.settings.wait_max);
        // By the clock of the process that was asked.
        let (clock, arrived_at) = (&self.nodes[replica].clock, attempt.arrived_at);
        let latest = clock.when(clock.now(arrived_at).monotonic + Micros(wait)) + 1_000;
        if self.now > latest {
            let took = self.now - arrived_at;
            self.judge.fail(Invariant::Liveness, "answered_late", Some(replica), || {
                format!("a request that wanted to wait {wait} us was answered after {took} us")
            });
        }
    }

    /// Was this process never kept from running? Its own stalls excuse what is late.
    pub(super) fn runs_well(&self, replica: usize) -> bool {
        let about = |kind: FaultKind| {
            let (FaultKind::Pause { replica } | FaultKind::Slow { replica, .. }) = kind else { return None };
            Some(usize::from(replica))
        };
        !self.plan.faults.iter().any(|fault| fault.at <= self.now && about(fault.kind) == Some(replica))
    }

    /// How long nothing may arrive from a peer that runs, in microseconds, when clocks run apart.
    pub(super) fn silence_allowed(&self, from: usize, to: usize) -> u64 {
        self.plan.settings.heartbeat_interval + self.lateness_allowed(from, to)
    }

    /// How much later than the fastest status a push may arrive, in microseconds, when clocks run apart.
    pub(super) fn lateness_allowed(&self, from: usize, to: usize) -> u64 {
        let drift = |replica: usize| u64::from(self.plan.replicas[replica].drift.unsigned_abs());
        let apart = (drift(from) + drift(to)) * (self.now + self.plan.settings.late_max) / 1_000_000;
        self.plan.settings.late_max + apart + 1_000
    }
}
