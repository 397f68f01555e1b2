//! What must be reached: each goal with the figure of this run beside it. On one core, with 32 connections and tokens.

use crate::load::Operation;
use crate::report::{Report, Sample, goal_load};
use crate::target::Kind::{Bare, Hence, Redis};

/// A goal and what was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Goal {
    pub(crate) figure: &'static str,
    pub(crate) gate: f64,
    pub(crate) stretch: Option<f64>,
    /// The figure must not exceed the gate; otherwise it must not fall below it.
    at_most: bool,
    /// `None` when something it needs was not measured.
    pub(crate) found: Option<f64>,
}

impl Goal {
    const fn at_least(figure: &'static str, gate: f64, stretch: f64, found: Option<f64>) -> Self {
        Self { figure, gate, stretch: Some(stretch), at_most: false, found }
    }

    const fn at_most(figure: &'static str, gate: f64, stretch: Option<f64>, found: Option<f64>) -> Self {
        Self { figure, gate, stretch, at_most: true, found }
    }

    fn reaches(&self, mark: f64) -> bool {
        self.found.is_some_and(|found| if self.at_most { found <= mark } else { found >= mark })
    }

    /// Whether it was met, in words.
    pub(crate) fn verdict(&self) -> &'static str {
        match (self.found, self.stretch) {
            (None, _) => "not measured",
            (Some(_), Some(stretch)) if self.reaches(stretch) => "stretch met",
            (Some(_), _) if self.reaches(self.gate) => "met",
            (Some(_), _) => "MISSED",
        }
    }
}

/// All goals.
pub(crate) fn goals(report: &Report) -> Vec<Goal> {
    let (get, put) = (goal_load(Operation::Get), goal_load(Operation::Put));
    let ratio = |load, other, value: fn(&Sample) -> f64| report.ratio(1, load, (Hence, other), value);
    let median = |value: fn(&Sample) -> Option<f64>| report.median(1, Hence, put, value);
    let rest = report.rests.iter().find(|rest| (rest.cores, rest.target) == (1, Hence));
    let fill = report.fills.iter().find(|fill| (fill.cores, fill.target) == (1, Hence));
    let memory = report.memory.as_ref();
    vec![
        Goal::at_least("GET/s with token, to bare hyper's", 0.90, 0.95, ratio(get, Bare, Sample::rate)),
        Goal::at_least("PUT/s with token at 3 replicas, to bare hyper's", 0.78, 0.85, ratio(put, Bare, Sample::rate)),
        Goal::at_most(
            "CPU of all 3 replicas per PUT, to bare hyper's",
            1.5,
            Some(1.3),
            ratio(put, Bare, Sample::cpu_all),
        ),
        Goal::at_most("CPU of all processes per GET, to Redis's", 1.1, Some(1.0), ratio(get, Redis, Sample::cpu_all)),
        Goal::at_most("CPU of all processes per PUT, to Redis's", 0.95, Some(0.85), ratio(put, Redis, Sample::cpu_all)),
        Goal::at_most(
            "CPU of a follower per replicated write, us",
            0.45,
            Some(0.35),
            median(|sample| Some(sample.cpu_follower())),
        ),
        Goal::at_most("p99 of PUT, to bare hyper's", 2.0, Some(1.6), ratio(put, Bare, |sample| sample.seen.p99)),
        Goal::at_most(
            "memory per key beside the value, bytes",
            90.0,
            Some(60.0),
            memory.map(|memory| memory.bytes_per_key),
        ),
        Goal::at_most("memory after deleting all, of the peak, %", 1.0, None, memory.map(|memory| memory.left_percent)),
        Goal::at_most("bytes on the wire per PUT, both links", 236.0, Some(226.0), median(|sample| sample.wire_bytes)),
        Goal::at_least(
            "catch-up of an empty replica, keys/s",
            800_000.0,
            1_500_000.0,
            fill.and_then(crate::report::Filled::catch_up_rate),
        ),
        Goal::at_most("idle traffic, bytes/s", 2_000.0, None, rest.and_then(|rest| rest.bytes_per_second)),
        Goal::at_most("idle CPU, % of a core", 0.2, None, rest.map(|rest| rest.cpu_percent)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{report, sample};

    #[test]
    fn verdicts_follow_the_figures() {
        for (hence, verdict) in [(86.0, "stretch met"), (80.0, "met"), (70.0, "MISSED")] {
            let samples = vec![sample(Bare, 0, Operation::Put, 100.0), sample(Hence, 0, Operation::Put, hence)];
            let goals = goals(&report(samples));
            let of = |start: &str| goals.iter().find(|goal| goal.figure.starts_with(start)).unwrap().verdict();
            assert_eq!(of("PUT/s with token"), verdict);
            assert_eq!(of("CPU of all 3 replicas"), "stretch met");
            assert_eq!(of("CPU of a follower"), "MISSED");
            assert_eq!(of("CPU of all processes per GET"), "not measured");
            assert_eq!(of("idle"), "not measured");
        }
    }
}
