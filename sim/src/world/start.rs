//! A process starts: with empty memory, clocks of its own, and the addresses that it is told of.

use super::World;
use crate::engine::clock::Clock;
use crate::mutants::harness::HarnessMutant;
use crate::observe::Note;
use crate::plan::Plan;
use crate::random::{Domain, mix};
use crate::subject::Subject;
use hence_core::{Config, Identity, Seed};

impl<S: Subject> World<S> {
    /// What a process is started with: what the plan says, unless the simulator is a mutant.
    fn config_of_process(&self) -> Config {
        let mut config = self.config.clone();
        match self.harness_mutant {
            Some(HarnessMutant::LimitsLost) => {
                (config.causal_buffer_bytes_max, config.blocked_bytes_max) = (usize::MAX, usize::MAX);
                (config.store_bytes_max, config.memory_bytes_max) = (u64::MAX, u64::MAX);
            }
            Some(HarnessMutant::LimitsHalved) => {
                config.blocked_bytes_max /= 2;
                config.store_bytes_max /= 2;
                config.memory_bytes_max /= if config.memory_bytes_max == u64::MAX { 1 } else { 2 };
            }
            Some(_) | None => {}
        }
        config
    }

    pub(super) fn start(&mut self, replica: usize) {
        if self.nodes[replica].subject.is_some() || self.nodes[replica].crashes > 0 {
            return;
        }
        let life = self.nodes[replica].life;
        let start = replica as u64 | u64::from(life) << 32;
        let mut draw = self.source.draw(Domain::StartSeed, start);
        let seed = match self.harness_mutant {
            Some(HarnessMutant::SameStartSeed) => Seed(self.source.draw(Domain::StartSeed, replica as u64).bytes()),
            Some(_) | None => Seed(draw.bytes()),
        };
        let anywhere = draw.below(1 << 40);
        let origin = if self.plan.from_zero { 0 } else { anywhere };
        let formats = self.plan.replicas[replica].speaks(life);
        self.begins_speaking(replica, formats);
        let config = Config { formats, ..self.config_of_process() };
        let node = &mut self.nodes[replica];
        let stops = node.clock.stops(); // a process that starts on a machine which is suspended
        node.clock = Clock::new(self.now, origin, self.plan.replicas[replica].drift, node.wall_ahead);
        (0..stops).for_each(|_| node.clock.stop(self.now));
        let now = node.clock.now(self.now);
        (node.quiet_since, node.spoken_to, node.was_up) = (self.now, false, false);
        (node.needs_initial_sync, node.fetches_from, node.patient) = (false, None, 0);
        (node.keeps_waiting, node.knows_removed) = (false, false);
        (node.fetching, node.announced) = (false, Vec::new());
        let view = self.plan.known_to(replica).map(|n| self.addresses[n].clone()).collect();
        let identity = Identity { address: self.addresses[replica].clone(), view };
        let subject = S::start(&self.setup, config, identity, seed, now);
        let incarnation = subject.probe().map(|probe| probe.incarnation());
        node.subject = Some(subject);
        self.recovery.see_views(false);
        self.judge.on_start(replica, incarnation);
        if self.plan.replicas[replica].start_at >= self.plan.heal_at {
            // An operator that starts a newcomer tells it of others, and so introduces these to each other.
            self.judge.on_operator(replica, false);
        }
        self.note(Some(replica), || Note::Started { life, incarnation });
        let cause = mix(Domain::StartSeed as u64, start);
        self.name(cause, || format!("start {}.{life}", Plan::name(replica)));
        self.after_input(replica, cause);
    }
}
