//! The heal: a core of replicas is well from now on. What the others suffer stays, and an operator removes their
//! addresses.

use super::outputs::{HEALED_DELAY, STUCK_MAX};
use super::{Stage, World};
use crate::mutants::harness::HarnessMutant;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::plan::Plan;
use crate::random::{Domain, mix};
use crate::subject::Subject;
use crate::world::Unsettled;
use hence_checker::bits;
use hence_core::Request;

impl<S: Subject> World<S> {
    /// The replicas that are healed.
    pub(super) fn core(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&replica| self.plan.is_core(replica))
    }

    /// Is the core healed, and is its network good from then on?
    pub(super) fn is_healed_well(&self) -> bool {
        self.recovery.is_healed()
            && (!self.plan.network.heals_slowly || self.harness_mutant == Some(HarnessMutant::HealsWell))
    }

    /// What each link carries at this moment, in bytes a second; 0 is any number.
    pub(super) fn bandwidth(&self) -> u64 {
        let is_wide = self.is_healed_well() || self.harness_mutant == Some(HarnessMutant::WideLinks);
        if is_wide { 0 } else { self.plan.network.bandwidth }
    }

    /// How long a frame may take after the heal. A link must open before a hello is said again.
    pub(super) fn healed_delay_max(&self) -> u64 {
        let slow = self.plan.settings.hello_interval / 4;
        if self.is_healed_well() { HEALED_DELAY } else { slow.clamp(HEALED_DELAY, STUCK_MAX) }
    }

    /// How long a healed cluster may take until everything is equal and quiet, in microseconds. On links that carry
    /// little all that was ever written may have to pass a few times.
    pub(super) fn settle_max(&self) -> u64 {
        let (settings, network) = (&self.plan.settings, &self.plan.network);
        let bytes: u64 = self.plan.operations.iter().map(|operation| operation.bytes() + 256).sum();
        let slowness = match network.bandwidth {
            0 => 0,
            bandwidth => 4 * bytes * 1_000_000 / bandwidth,
        };
        settings.settle_max() + if network.heals_slowly { slowness + 40 * self.healed_delay_max() } else { 0 }
    }

    /// The core is healed: every fault over, every process running, the network calm.
    pub(super) fn heal(&mut self) {
        self.recovery.heal();
        self.aims.clear();
        if let Some(choice_log) = &mut self.choice_log {
            choice_log.heal();
        }
        for index in 0..self.plan.faults.len() {
            let fault = self.plan.faults[index].clone();
            if fault.at < self.now && fault.until > self.now {
                self.plan.faults[index].until = self.now;
                self.end(&fault, true);
            }
        }
        // What was stuck in a connection does not hold up what comes after the heal.
        for link in &mut self.links {
            (link.last_arrival, link.free_at) = (0, 0);
        }
        self.heal_streams();
        for replica in 0..self.nodes.len() {
            if !self.plan.is_core(replica) {
                self.count(Kind::LeftOutside);
                self.give_up_at(replica);
            } else if !self.is_alive(replica) {
                self.nodes[replica].crashes = 0;
                self.start(replica);
            }
        }
    }

    /// Outside the core no client waits for an answer any more.
    fn give_up_at(&mut self, replica: usize) {
        for attempt in 0..self.attempts.len() {
            let waits = matches!(self.attempts[attempt].stage, Stage::Sent | Stage::Arrived);
            if waits && self.attempts[attempt].replica == replica {
                self.lose_attempt(attempt);
            }
        }
        self.lose_watches_at(replica);
    }

    /// Can it neither run nor answer, for ever?
    pub(super) fn is_lost(&self, replica: usize) -> bool {
        self.recovery.is_healed()
            && !self.plan.is_core(replica)
            && (!self.is_alive(replica) || self.nodes[replica].pauses > 0)
    }

    /// An operator's order holds for ever, so an operator sets right what the view of a core member says. Every address
    /// of the core becomes a member, and no other.
    pub(super) fn operate(&mut self) {
        if self.recovery.are_views_right()
            || self.recovery.order().is_some_and(|attempt| self.attempts[attempt].stage != Stage::Done)
        {
            return;
        }
        let wrong = |replica: usize| {
            let view = self.subject(replica)?.probe()?.view();
            let wrong = |&n: &usize| view.is_member(&self.addresses[n]) != self.plan.is_core(n);
            // The member that it wants first: the last one wanted cannot be removed.
            let outside = (0..self.nodes.len()).filter(|&n| !self.plan.is_core(n));
            self.core().chain(outside).find(wrong).map(|address| (replica, address))
        };
        let Some((replica, address)) = self.core().find_map(wrong) else {
            self.recovery.see_views(true);
            return;
        };
        let named = self.addresses[address].clone();
        let joins = self.plan.is_core(address);
        let request = if joins { Request::ViewAdd(named) } else { Request::ViewRemove(named) };
        let cause = mix(mix(Domain::Client as u64, self.now), replica as u64);
        let now = self.now;
        self.name(cause, || format!("operator {}{}@{now}", Plan::name(replica), Plan::name(address)));
        let attempt = self.send_request(None, None, replica, request, None, cause);
        self.recovery.on_order(attempt);
    }

    /// A replica said that it does not serve. It may while it joins, and it may when an operator removed it. Nothing
    /// else takes it out of service, and a replica that hears no peer must start alone.
    pub(super) fn judge_unready(&mut self, replica: usize) {
        let node = &self.nodes[replica];
        let Some(probe) = node.subject.as_ref().and_then(S::probe) else { return };
        if !probe.view().is_member(&self.addresses[replica]) {
            if self.judge.counts.count(Kind::Unwanted) == 0 && self.recovery.order().is_none() {
                self.judge.fail(Invariant::Refusals, Sign::RemovedByNobody, Some(replica), || {
                    "says that it was removed, and no operator removed anybody".into()
                });
            }
            return;
        }
        let settings = &self.plan.settings;
        let patience = settings.join_alone_after.max(settings.join_alone_after_contact);
        // What it had begun with a peer that fell silent ends with suspicion, and what it was late for itself is
        // forgiven. A replica that received no message and was never paused must start sooner.
        let plain = !node.spoken_to && self.runs_well(replica);
        let begun = if plain { 100_000 } else { settings.suspect_after_max + 2_000_000 };
        let most = (patience + begun) * 5 / 4 + 4 * node.slow_by;
        let alone_for = self.now - node.quiet_since;
        if alone_for > most {
            self.judge.fail(Invariant::Liveness, Sign::NotServingAlone, Some(replica), || {
                format!("nobody has spoken to it for {alone_for} us, and it still does not serve")
            });
        } else if node.was_up {
            self.judge.fail(Invariant::Refusals, Sign::DownAgain, Some(replica), || {
                "it was up, it is wanted, and it does not serve any more".into()
            });
        }
    }

    /// A removed replica that is alive and in reach keeps no write to itself.
    pub(super) fn kept_back(&self) -> Option<Unsettled> {
        let holdings = &self.judge.truth.holdings;
        let count = self.nodes.len();
        for replica in (0..count).filter(|&replica| !self.plan.is_core(replica)) {
            let node = &self.nodes[replica];
            let Some(probe) = node.subject.as_ref().and_then(S::probe).filter(|_| node.pauses == 0) else { continue };
            let reached = |&member: &usize| {
                let links = [&self.links[replica * count + member], &self.links[member * count + replica]];
                let known = self.subject(member).and_then(S::probe).is_some_and(|member| {
                    member.view().record(&self.addresses[replica]).is_some_and(|row| row.generation > 0)
                });
                known
                    && probe.view().record(&self.addresses[member]).is_some()
                    && links.iter().all(|link| !link.is_cut() && link.bursts.is_empty())
            };
            let Some(member) = self.core().find(reached) else { continue };
            let lacking = bits::lacking(&holdings[member].included, &holdings[replica].included);
            if let Some(&number) = lacking.first() {
                let dot = self.judge.truth.writes[number].dot;
                let detail = format!("keeps {dot} to itself, though it is removed and in reach");
                return Some(Unsettled { sign: Sign::KeptBack, replica: Some(replica), detail });
            }
        }
        None
    }
}
