//! What oracles need from the whole world: states of several replicas, and how lenient the plan makes them.

use super::World;
use super::parts::{Attempt, Stage};
use crate::oracle::adversity::Kind;
use crate::oracle::judge::Asked;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::plan::{Fault, Plan};
use crate::subject::{Law, Probe, Subject};
use hence_core::Micros;

impl<S: Subject> World<S> {
    /// Merging real states must not depend on which replica merges which.
    pub(super) fn check_merges(&mut self) {
        if self.judge.off {
            return;
        }
        let alive: Vec<usize> = (0..self.nodes.len()).filter(|&replica| self.is_alive(replica)).collect();
        let replicas: Vec<&S> = alive.iter().filter_map(|&replica| self.subject(replica)).collect();
        if let Some((law, three)) = S::broken_law(&replicas) {
            let sign = match law {
                Law::Commutative => Sign::NotCommutative,
                Law::Associative => Sign::NotAssociative,
                Law::Idempotent => Sign::NotIdempotent,
            };
            let three = three.map(|place| alive[place]);
            self.judge.fail(Invariant::Merge, sign, Some(three[0]), || {
                format!("merging the states of {}", three.map(|at| Plan::name(at).to_string()).join(", "))
            });
        }
    }

    /// No request waits longer than asked for.
    pub(super) fn check_waited(&mut self, replica: usize, number: usize) {
        let attempt = &self.attempts[number];
        let Some((index, _)) = attempt.operation else { return };
        let wait = self.plan.operations[index].waits().min(self.plan.settings.wait_max);
        // By the clock of the process that was asked.
        let (clock, arrived_at) = (&self.nodes[replica].clock, attempt.arrived_at);
        let latest = clock.when(clock.now(arrived_at).monotonic + Micros(wait)) + 1_000;
        if self.now > latest {
            let took = self.now - arrived_at;
            self.judge.fail(Invariant::Liveness, Sign::AnsweredLate, Some(replica), || {
                format!("a request that wanted to wait {wait} us was answered after {took} us")
            });
        }
    }

    /// How many requests wait at a replica, and the bytes of their values, as their clients see it.
    pub(super) fn waiting_at(&self, replica: usize) -> (usize, usize) {
        let waits = |attempt: &&Attempt| attempt.stage == Stage::Arrived && attempt.replica == replica;
        let bytes = |asked: &Asked| if asked.wrote.is_none() { asked.value_bytes() } else { 0 };
        let waiting = self.attempts.iter().filter(waits).filter_map(|attempt| attempt.asked.as_ref());
        waiting.fold((0, 0), |(count, sum), asked| (count + 1, sum + bytes(asked)))
    }

    /// No more requests wait than there is room for.
    pub(super) fn check_waiting(&mut self, replica: usize) {
        let (count, bytes) = self.waiting_at(replica);
        let settings = &self.plan.settings;
        if count > settings.blocked_max || bytes > settings.blocked_bytes_max {
            self.judge.fail(Invariant::Bounds, Sign::Waiting, Some(replica), || {
                format!("{count} requests with {bytes} bytes wait")
            });
        }
    }

    /// A request that was ready to wait was sent away in its step: there is no room for it.
    pub(super) fn check_sent_away(&mut self, replica: usize, number: usize) {
        let attempt = &self.attempts[number];
        let Some((index, _)) = attempt.operation else { return };
        let settings = &self.plan.settings;
        let left = self.recovery.is_healed() && !self.plan.is_core(replica); // what waits there has no client any more
        let waits = self.plan.operations[index].wait.min(settings.wait_max) > 0;
        if left || !waits || attempt.arrived_at < self.now {
            return;
        }
        let (count, bytes) = self.waiting_at(replica);
        let own = attempt.asked.as_ref().map_or(0, Asked::value_bytes);
        let probe = self.subject(replica).and_then(S::probe);
        let short = probe.is_some_and(|probe| self.judge.is_full(replica, probe, own as u64));
        // Clients do not see what is kept of a write that was made and is to spread.
        let bytes = probe.map(Probe::load).filter(|load| load.spreading > 0).map_or(bytes, |load| load.waiting_bytes);
        let room = count < settings.blocked_max && bytes + own <= settings.blocked_bytes_max && !short;
        self.count(Kind::NoRoomToWait);
        if room {
            self.judge.fail(Invariant::Liveness, Sign::SentAway, Some(replica), || {
                format!("sent a request away that wanted to wait, beside {count} with {bytes} bytes")
            });
        }
    }

    /// Was this process never kept from running? Its own stalls excuse what is late.
    pub(super) fn runs_well(&self, replica: usize) -> bool {
        let kept = |fault: &Fault| fault.at <= self.now && fault.kind.keeps_from_running() == Some(replica);
        !self.plan.faults.iter().any(kept)
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
