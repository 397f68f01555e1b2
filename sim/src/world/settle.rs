//! After the heal: everything must become equal, quiet and served, in bounded time.

use super::{Stage, World};
use crate::adversity::Kind;
use crate::bits;
use crate::judge::Asked;
use crate::random::{Domain, mix};
use crate::subject::Subject;
use crate::verdict::{Invariant, Verdict};
use hence_core::{Action, Condition, DataRequest, Micros, Request, VersionVector};

/// How often it is looked whether the run has settled, in microseconds.
const LOOK_EVERY: u64 = 50_000;

/// Why a run has not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// In one word.
    pub sign: &'static str,
    /// Where.
    pub replica: Option<usize>,
    /// The particulars.
    pub detail: String,
}

impl<S: Subject> World<S> {
    /// Runs the whole plan: chaos, heal, quiet, closing reads.
    pub fn run(&mut self) -> Verdict {
        self.run_until(self.plan.heal_at);
        if self.judge.violation.is_none() {
            self.heal();
            self.settle();
        }
        if self.judge.violation.is_none() {
            self.close();
        }
        if self.judge.violation.is_none() && self.plan.watch_idle {
            self.watch_idle();
        }
        self.finish();
        self.verdict()
    }

    fn settle(&mut self) {
        if self.nodes.iter().all(|node| node.subject.as_ref().is_some_and(|subject| subject.probe().is_none())) {
            // Nobody can look inside, so it gets all the time that there is.
            return self.run_until(self.now + self.plan.settings.settle_max());
        }
        let deadline = self.now + self.plan.settings.settle_max();
        while self.judge.violation.is_none() {
            self.run_until(self.now + LOOK_EVERY);
            let Some(why) = self.unsettled() else { return };
            if why.sign == "unwanted" {
                self.want_again();
            }
            if self.now >= deadline {
                let invariant = if why.sign == "unanswered" { Invariant::Liveness } else { Invariant::Convergence };
                self.judge.fail(invariant, why.sign, why.replica, || why.detail);
            }
        }
    }

    /// An operator's removal holds for ever, so the operator adds back what it removed.
    fn want_again(&mut self) {
        for replica in 0..self.nodes.len() {
            let Some(probe) = self.subject(replica).and_then(S::probe) else { continue };
            let unwanted = self.addresses.iter().find(|address| !probe.view().is_wanted(address)).cloned();
            let Some(address) = unwanted.filter(|_| self.open == 0) else { continue };
            let cause = mix(mix(Domain::Client as u64, self.now), replica as u64);
            self.name(cause, || "operator".into());
            self.send_request(None, None, replica, Request::ViewAdd(address), None, cause);
        }
    }

    /// What is not as it must be when everything is over; cheap checks first.
    #[must_use]
    pub fn unsettled(&self) -> Option<Unsettled> {
        let because = |sign, replica, detail: String| Some(Unsettled { sign, replica, detail });
        if self.open > 0 {
            return because("unanswered", None, format!("{} requests are open", self.open));
        }
        let mut first = None;
        for (replica, node) in self.nodes.iter().enumerate() {
            let Some(subject) = &node.subject else {
                return because("down", Some(replica), "it does not run".into());
            };
            let Some(probe) = subject.probe() else { continue };
            let (_, vector, digest, view) =
                *first.get_or_insert((replica, probe.vector(), probe.digest(), probe.view()));
            if let Some(address) = self.addresses.iter().find(|address| !probe.view().is_wanted(address)) {
                return because("unwanted", Some(replica), format!("{address} is not wanted"));
            }
            if probe.vector().len() > self.addresses.len() {
                return because("lives", Some(replica), format!("still names lives that are over: {vector:?}"));
            }
            if !probe.is_ready() {
                return because("not_up", Some(replica), "it is not up".into());
            }
            if probe.vector() != vector {
                return because("vectors", Some(replica), format!("covers {:?}, another {vector:?}", probe.vector()));
            }
            if probe.digest() != digest {
                return because("stores", Some(replica), "stores differ and vectors do not".into());
            }
            if probe.view() != view {
                return because("views", Some(replica), format!("{:?} and {view:?}", probe.view()));
            }
        }
        self.unsettled_inside()
    }

    fn unsettled_inside(&self) -> Option<Unsettled> {
        for replica in 0..self.nodes.len() {
            let Some(probe) = self.subject(replica).and_then(S::probe) else { continue };
            let load = probe.load();
            if load.parked > 0 || load.waiting > 0 || load.pulling {
                return Some(Unsettled { sign: "busy", replica: Some(replica), detail: format!("{load:?}") });
            }
            if !probe.is_settled() {
                return Some(Unsettled { sign: "links", replica: Some(replica), detail: "not linked to all".into() });
            }
        }
        None
    }

    /// Every client reads once more, with its token, somewhere: what is included must be served. Where nobody can
    /// look inside, every key is read at every replica, too.
    fn close(&mut self) {
        let (count, keys) = (self.nodes.len(), self.keys.len());
        if keys == 0 {
            return;
        }
        // A token whose writes died with their holder is found out by a round, and then every token ends.
        for client in 0..self.clients.len() {
            self.closing_read(Some(client), client % count, client % keys, 0);
        }
        self.run_until(self.now + 2_500_000 + 4 * self.plan.settings.round_timeout);
        self.judge.over = true;
        for client in 0..self.clients.len() {
            self.closing_read(Some(client), client % count, client % keys, 1);
        }
        for replica in 0..count {
            if self.subject(replica).is_some_and(|subject| subject.probe().is_none()) {
                (0..keys).for_each(|key| self.closing_read(None, replica, key, 0));
            }
        }
        self.run_until(self.now + 2 * self.plan.network.client_delay_max + 10);
        if self.open > 0 && self.judge.violation.is_none() {
            let open = self.attempts.iter().filter(|attempt| !matches!(attempt.stage, Stage::Done | Stage::Abandoned));
            let count = open.count();
            self.judge.fail(Invariant::Liveness, "unanswered", None, || format!("{count} closing reads are open"));
        }
    }

    fn closing_read(&mut self, client: Option<usize>, replica: usize, key: usize, time: u64) {
        let known = client.map(|client| (self.clients[client].token.clone(), self.clients[client].past.clone()));
        let (token, past) = known.unwrap_or_else(|| (VersionVector::new(), self.judge.truth.closures.empty()));
        let (action, condition) = (Action::Get, Condition::default());
        let asked =
            Asked { key: key as u8, action: Action::Get, condition: condition.clone(), token: token.clone(), past };
        let request = DataRequest { key: self.keys[key].clone(), action, past: token, wait: Micros::ZERO, condition };
        let place = (replica as u64) << 32 | (key as u64) << 16 | client.map_or(0, |client| client as u64 + 1);
        let cause = mix(mix(Domain::Client as u64, 1 + time), place);
        self.name(cause, || format!("closing{time}-{place:x}"));
        self.send_request(None, client, replica, Request::Data(request), Some(asked), cause);
    }

    /// Nothing happens any more: only idle chatter, at its rate.
    fn watch_idle(&mut self) {
        let interval = self.plan.settings.heartbeat_interval;
        // What the last acknowledgements caused may still be on its way.
        self.run_until(self.now + 2 * interval + 2 * self.plan.settings.ack_delay + 100_000);
        let (busy, idle) = (self.busy_messages, self.idle_messages);
        let beats = 10;
        self.run_until(self.now + beats * interval);
        let pairs = (self.nodes.len() * self.nodes.len().saturating_sub(1)) as u64;
        let (busy, idle) = (self.busy_messages - busy, self.idle_messages - idle);
        if busy > 0 || idle > pairs * (beats + 2) * 2 {
            self.judge.fail(Invariant::Liveness, "not_idle", None, || {
                format!("{busy} busy and {idle} idle messages in {beats} heartbeats among {pairs} pairs")
            });
        }
    }

    fn finish(&mut self) {
        let mut alive = self.judge.truth.closures.empty();
        for replica in 0..self.nodes.len() {
            let Some(subject) = &self.nodes[replica].subject else { continue };
            bits::join(&mut alive, &self.judge.truth.holdings[replica].included);
            if let Some(probe) = subject.probe().filter(|_| self.judge.violation.is_none()) {
                self.judge.check_all(replica, probe);
                self.judge.check_load(replica, probe, &self.config);
            }
        }
        for number in 0..self.judge.truth.writes.len() {
            if !bits::has(&alive, number) {
                self.judge.counts.add(Kind::LostWrite);
            }
        }
    }
}
