//! Runs of one plan with something changed, and what they cost.

use crate::campaign::run::{Setting, Watch, run_watched};
use crate::engine::choice_log::ChoiceLog;
use crate::plan::network::Fate;
use crate::plan::{Fault, Operation, Plan, limits};
use crate::random::{Domain, Source, mix};
use std::collections::BTreeMap;

/// So many redrawn futures at a cut at most.
const FUTURES_MAX: u64 = 40;

/// So many at least, whatever the budget.
const FUTURES_MIN: u64 = 4;

/// One message of so many is lost in a redrawn future, beside those that the plan's network loses.
const LOST_ONE_IN: u64 = 50;

/// Repeats one failing run with changes.
pub(super) struct Runs<'a> {
    pub(super) plan: &'a Plan,
    setting: Setting,
    fingerprint: String,
    /// What became of each message.
    made: BTreeMap<String, Fate>,
    /// When each was sent, with the name of its choice.
    sent: Vec<(u64, String)>,
    /// What the run itself cost.
    cost: u64,
    budget: u64,
    pub(super) done: u64,
    pub(super) events: u64,
}

impl<'a> Runs<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        setting: Setting,
        fingerprint: String,
        (made, sent): (BTreeMap<String, Fate>, Vec<(u64, String)>),
        (cost, budget): (u64, u64),
    ) -> Self {
        let (done, events) = (1, cost);
        Self {
            plan,
            setting,
            fingerprint,
            made,
            sent,
            cost: cost.max(1),
            budget: cost.saturating_add(budget),
            done,
            events,
        }
    }

    /// What became of a message.
    pub(super) fn fate(&self, choice: &str) -> Option<Fate> {
        self.made.get(choice).copied()
    }

    /// How many futures each of so many questions may have, of what is left.
    pub(super) fn futures(&self, questions: usize) -> u64 {
        let left = self.budget.saturating_sub(self.events) / self.cost;
        (left / questions.max(1) as u64).clamp(FUTURES_MIN, FUTURES_MAX)
    }

    /// Is nothing left of the budget?
    pub(super) const fn is_over(&self) -> bool {
        self.events >= self.budget
    }

    /// Does exactly this run fail, but for this plan and these fates?
    pub(super) fn fails_with(&mut self, plan: &Plan, changed: &[(&str, Fate)]) -> bool {
        let mut given = self.made.clone();
        given.extend(changed.iter().map(|&(name, fate)| (name.to_owned(), fate)));
        self.fails(plan, ChoiceLog::following(given))
    }

    /// Does it fail if all is as it was up to this time and then drawn anew? `number` tells one future from another.
    pub(super) fn fails_after(&mut self, plan: &Plan, changed: &[(&str, Fate)], (time, number): (u64, u64)) -> bool {
        let before = self.sent.iter().take_while(|(at, _)| *at <= time);
        let known = before.filter_map(|(_, name)| Some((name.clone(), *self.made.get(name)?)));
        let mut given: BTreeMap<String, Fate> = known.collect();
        given.extend(changed.iter().map(|&(name, fate)| (name.to_owned(), fate)));
        let plan = moved(plan, time, number);
        self.fails(&plan, ChoiceLog::drawing(given, number, drawn))
    }

    fn fails(&mut self, plan: &Plan, choice_log: ChoiceLog) -> bool {
        let watch = Watch { choice_log: Some(choice_log), observer: None };
        let (verdict, _) = run_watched(plan, self.setting, watch);
        self.done += 1;
        self.events += verdict.events;
        verdict.violation.is_some_and(|found| found.fingerprint() == self.fingerprint)
    }
}

/// The plan with everything after a time at another time: half as far behind it, up to one and a half times.
fn moved(plan: &Plan, time: u64, number: u64) -> Plan {
    let source = Source::new(mix(plan.seed, number));
    let last = plan.heal_at.saturating_sub(1);
    let later = |domain: Domain, id: u32, at: u64| {
        if at <= time {
            return at;
        }
        let by = 512 + source.draw(domain, id.into()).below(1_025);
        let moved = time + 1 + ((u128::from(at - time) * u128::from(by)) >> 10) as u64;
        moved.min(if at <= last { last } else { limits::TIME_MAX }).max(time.min(at))
    };
    let mut plan = plan.clone();
    for operation in &mut plan.operations {
        let Operation { id, at, .. } = *operation;
        operation.at = later(Domain::Operation, id, at);
    }
    for fault in &mut plan.faults {
        let Fault { id, at, until, .. } = *fault;
        fault.at = later(Domain::Fault, id, at);
        fault.until = later(Domain::Fault, id, until).max(fault.at);
    }
    plan
}

/// A message takes between a quarter and sixteen times as long as the plan's network says, and some are lost.
fn drawn(number: u64, name: &str, drawn: Fate) -> Fate {
    let key = name.bytes().fold(number, |hash, byte| mix(hash, byte.into()));
    let mut draw = Source::new(number).draw(Domain::Network, key);
    let lost = draw.below(LOST_ONE_IN) == 0;
    let delay = draw.sized((drawn.delay / 4).max(1), drawn.delay.saturating_mul(16).min(limits::TIME_MAX));
    Fate { delay, lost: drawn.lost || lost, ..drawn }
}

/// The lower and the upper end of the 95 % interval of a share, after Wilson (1927).
#[must_use]
pub(crate) fn wilson(failed: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (failed, of, z) = (failed as f64, of as f64, 1.96_f64);
    let share = failed / of;
    let middle = share + z * z / (2.0 * of);
    let width = z * (share * (1.0 - share) / of + z * z / (4.0 * of * of)).sqrt();
    let part = |x: f64| (x / (1.0 + z * z / of)).clamp(0.0, 1.0);
    (part(middle - width), part(middle + width))
}

/// The same in parts of a thousand.
#[must_use]
pub(super) fn interval(failed: u64, of: u64) -> (u32, u32) {
    let (low, high) = wilson(failed, of);
    let part = |share: f64| (share * 1_000.0).round() as u32;
    (part(low), part(high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{self, Profile};

    #[test]
    fn intervals_are_wilsons() {
        // Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        assert_eq!(interval(81, 263), (255, 366));
        assert_eq!(interval(15, 148), (62, 160));
        assert_eq!(interval(0, 20), (0, 161));
        assert_eq!(interval(1, 29), (6, 172));
        assert_eq!(interval(0, 0), (0, 1_000));
    }

    #[test]
    fn what_was_stays_and_what_comes_moves() {
        for seed in 0..200 {
            let plan = generate::plan(seed, Profile::Mixed);
            let time = plan.heal_at / 2;
            let moved = moved(&plan, time, seed + 1);
            assert_eq!(moved.check(), Ok(()), "seed {seed}");
            for (before, after) in plan.operations.iter().zip(&moved.operations) {
                assert!(if before.at <= time { before == after } else { after.at > time }, "seed {seed}");
            }
            assert!(
                plan.faults.iter().zip(&moved.faults).all(|(before, after)| before.at > time || before.at == after.at)
            );
        }
    }
}
