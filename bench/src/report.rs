//! What a run found, as data: what goes into the JSON file, and the medians and ratios that tables show.

use crate::load::{Load, Operation, Seen};
use crate::machine::Machine;
use crate::target::Kind;
use serde::{Deserialize, Serialize};

/// One load on one target, once.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    /// On how many cores servers and generator ran together.
    pub(crate) cores: usize,
    pub(crate) round: usize,
    pub(crate) target: Kind,
    pub(crate) load: Load,
    pub(crate) seen: Seen,
    /// CPU microseconds per request of each process; the first is the one that was driven.
    pub(crate) cpu: Vec<f64>,
    /// CPU microseconds per request of the generator.
    pub(crate) generator_cpu: f64,
    /// Bytes between the processes per request, unless a connection broke meanwhile.
    pub(crate) wire_bytes: Option<f64>,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.seen.rate()
    }

    pub(crate) fn cpu_all(&self) -> f64 {
        self.cpu.iter().sum()
    }

    /// Of one process that is not driven, on average.
    pub(crate) fn cpu_follower(&self) -> f64 {
        self.cpu[1..].iter().sum::<f64>() / (self.cpu.len() - 1) as f64
    }
}

/// A target without requests.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rest {
    pub(crate) cores: usize,
    pub(crate) target: Kind,
    pub(crate) bytes_per_second: Option<f64>,
    /// Of one core, all processes together.
    pub(crate) cpu_percent: f64,
}

/// A target that was filled with keys.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Filled {
    pub(crate) cores: usize,
    pub(crate) target: Kind,
    pub(crate) keys: usize,
    /// Growth of resident memory per key in one process, on average.
    pub(crate) resident_per_key: f64,
    /// From the start of an empty member until it served everything.
    pub(crate) catch_up_seconds: Option<f64>,
    /// The same when there was nothing to fetch.
    pub(crate) empty_seconds: Option<f64>,
}

impl Filled {
    /// Keys per second, the time that joining takes anyway left out.
    pub(crate) fn catch_up_rate(&self) -> Option<f64> {
        Some(self.keys as f64 / (self.catch_up_seconds? - self.empty_seconds?))
    }
}

/// Live bytes by a counting allocator, as the binary `memory` tells them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) keys: usize,
    /// Beside the value, in one replica of three; the key of 7 bytes is in it.
    pub(crate) bytes_per_key: f64,
    /// Live bytes after all keys were deleted and the log was trimmed, in percent of the greatest.
    pub(crate) left_percent: f64,
}

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
    pub(crate) samples: Vec<Sample>,
    pub(crate) rests: Vec<Rest>,
    pub(crate) fills: Vec<Filled>,
    pub(crate) memory: Option<Memory>,
}

/// Median of what there is.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

impl Report {
    /// All rounds of one load on one target. Targets whose API has no tokens are there without.
    pub(crate) fn rounds(&self, cores: usize, target: Kind, load: Load) -> impl Iterator<Item = &Sample> {
        let load = Load { token: load.token && target.takes_tokens(), ..load };
        let wanted = move |sample: &&Sample| (sample.cores, sample.target, sample.load) == (cores, target, load);
        self.samples.iter().filter(wanted)
    }

    /// Median over the rounds.
    pub(crate) fn median(
        &self,
        cores: usize,
        target: Kind,
        load: Load,
        value: impl Fn(&Sample) -> Option<f64>,
    ) -> Option<f64> {
        median(self.rounds(cores, target, load).filter_map(value).collect())
    }

    /// Median over the rounds of this target's value to the other's of the same round.
    pub(crate) fn ratio(
        &self,
        cores: usize,
        load: Load,
        (target, other): (Kind, Kind),
        value: impl Fn(&Sample) -> f64,
    ) -> Option<f64> {
        let against = |round| self.rounds(cores, other, load).find(|sample| sample.round == round);
        let rounds = self.rounds(cores, target, load);
        median(rounds.filter_map(|sample| Some(value(sample) / value(against(sample.round)?))).collect())
    }
}

/// The load that goals are stated for.
pub(crate) const fn goal_load(operation: Operation) -> Load {
    Load { operation, connections: 32, token: true }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(target: Kind, round: usize, operation: Operation, rate: f64) -> Sample {
        let seen = Seen { requests: rate, seconds: 1.0, answered: rate, p50: 100.0, p99: 200.0, p999: 300.0 };
        let load = Load { token: target.takes_tokens(), ..goal_load(operation) };
        Sample { cores: 1, round, target, load, seen, cpu: vec![4.0, 0.4, 0.6], generator_cpu: 1.0, wire_bytes: None }
    }

    pub(crate) fn report(samples: Vec<Sample>) -> Report {
        let machine = Machine::default();
        Report { machine, keys: 1, value_bytes: 1, samples, rests: Vec::new(), fills: Vec::new(), memory: None }
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    /// The machine slows down by half in the second round; ratios do not notice, medians of rates would.
    #[test]
    fn ratios_are_paired() {
        let rates = [(0, 100.0, 80.0), (1, 50.0, 40.0), (2, 200.0, 160.0)];
        let mut samples = Vec::new();
        for (round, bare, hence) in rates {
            samples.push(sample(Kind::Bare, round, Operation::Put, bare));
            samples.push(sample(Kind::Hence, round, Operation::Put, hence));
        }
        samples.push(sample(Kind::Hence, 3, Operation::Put, 1.0)); // no partner
        let report = report(samples);
        let ratio = report.ratio(1, goal_load(Operation::Put), (Kind::Hence, Kind::Bare), Sample::rate);
        assert_eq!(ratio, Some(0.8));
        assert_eq!(report.ratio(1, goal_load(Operation::Get), (Kind::Hence, Kind::Bare), Sample::rate), None);
    }

    #[test]
    fn followers_share() {
        assert!((sample(Kind::Hence, 0, Operation::Put, 1.0).cpu_follower() - 0.5).abs() < 1e-9);
    }
}
