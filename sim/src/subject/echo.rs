//! A subject that does next to nothing, to measure the simulator alone. Each replica says something to every other when
//! it starts, and whatever it hears it says back. So the number of messages under way stays the same for ever.

use crate::plan::network::{Delay, NetworkPlan};
use crate::plan::settings::Settings;
use crate::plan::{FORMAT, Plan, ReplicaPlan, limits};
use crate::subject::{Input, Out, Probe, Subject, Traits, number_of};
use hence_core::{Address, Config, Identity, Now, Seed, Time};

/// A plan for these replicas in which nothing happens but their messages, each of which takes 100 to 900 microseconds.
#[must_use]
pub fn plan(seed: u64, replicas: usize) -> Plan {
    Plan {
        format: FORMAT,
        seed,
        replicas: vec![ReplicaPlan::PLAIN; replicas],
        clients: 1,
        keys: 1,
        settings: Settings::default(),
        network: NetworkPlan { delay: Delay::Uniform { least: 100, most: 900 }, ..NetworkPlan::calm(0) },
        heal_at: limits::TIME_MAX,
        core: 0,
        watch_idle: false,
        from_zero: false,
        operations: Vec::new(),
        faults: Vec::new(),
        watches: Vec::new(),
    }
}

/// One replica.
#[derive(Debug)]
pub struct Echo {
    /// The peers that it has to speak to first.
    others: Vec<Address>,
    /// What it heard, and the sender.
    heard: Option<(usize, u64)>,
}

impl Subject for Echo {
    type Message = u64;
    type Setup = ();

    fn start((): &(), _config: Config, identity: Identity, _seed: Seed, _now: Now) -> Self {
        let Identity { address, view } = identity;
        Self { others: view.into_iter().rev().filter(|other| *other != address).collect(), heard: None }
    }

    #[inline]
    fn handle(&mut self, _now: Now, input: Input<u64>, _addresses: &[Address]) {
        match input {
            Input::Message { from, message } => self.heard = Some((from, message)),
            Input::Timeout
            | Input::Connected { .. }
            | Input::Request { .. }
            | Input::Told { .. }
            | Input::Cancel { .. }
            | Input::Leave => {}
        }
    }

    #[inline]
    fn poll_output(&mut self, addresses: &[Address]) -> Option<Out<u64>> {
        if let Some((to, message)) = self.heard.take() {
            return Some(Out::Send { to, message: message + 1 });
        }
        let to = number_of(&self.others.pop()?, addresses)?;
        Some(Out::Send { to, message: 0 })
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn traits(&message: &u64) -> Traits {
        Traits { name: "echo", digest: message, ..Traits::default() }
    }

    fn bytes(_: &u64) -> u64 {
        16
    }

    fn probe(&self) -> Option<&dyn Probe> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[test]
    fn says_back_what_it_hears() {
        let mut world = World::<Echo>::new(&plan(7, 3), ());
        world.run_until(100_000);
        // Six messages are always under way, each for 500 microseconds on average.
        let events = world.verdict().events;
        assert!((1_000..1_400).contains(&events), "{events}");
    }
}
