//! What the failure rests on: each fault, each operation and each message of its causal past, taken away alone.

use super::curve::Curve;
use super::runs::{Runs, interval};
use crate::observe::{Lane, Story};
use crate::plan::Plan;

/// So many of each kind are taken away at most, the latest first.
const EACH_MAX: usize = 24;

/// How many moments of the causal past are looked at, the latest first.
const PAST_MAX: usize = 20_000;

/// What can be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A message is lost; over a connection it comes late. By the name of its choice.
    Message(String),
    /// A client does not send an operation, by its number in the plan.
    Operation(u32),
    /// A fault does not strike, by its number in the plan.
    Fault(u32),
}

impl Thing {
    /// Its kind, in one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Operation(_) => "operation",
            Self::Fault(_) => "fault",
        }
    }
}

/// What something counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Without it the run passes, and so does every other future.
    Necessary,
    /// Without it the run passes, or fails more rarely.
    Contributing,
    /// Without it all is as before.
    Irrelevant,
}

impl Weight {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Necessary => "necessary",
            Self::Contributing => "contributing",
            Self::Irrelevant => "irrelevant",
        }
    }
}

/// Something that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// The moment in which it happens: a place in the story.
    pub moment: usize,
    /// What.
    pub thing: Thing,
    /// What it counts for.
    pub weight: Weight,
    /// The run passes without it, all else as it was.
    pub passes: bool,
    /// In so many futures without it the failure came.
    pub failed: u64,
    /// Of so many.
    pub of: u64,
}

/// What can be taken away of the past of the violation, in order, and how many more there are.
pub(super) fn candidates(story: &Story, plan: &Plan) -> (Vec<(usize, Thing)>, usize) {
    let past = past(story);
    let (mut messages, mut operations, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for &place in &past {
        let moment = &story.moments[place];
        let carriage = moment.carriage.map(|at| &story.carriages[at]);
        match (moment.kind, carriage) {
            ("received", Some(carriage)) if !carriage.choice.is_empty() && moment.at < plan.heal_at => {
                let thing = Thing::Message(carriage.choice.clone());
                if messages.iter().all(|(_, other)| *other != thing) {
                    messages.push((place, thing));
                }
            }
            ("asked", _) => {
                let thing = number_of(&moment.text, "asks op").map(Thing::Operation);
                let is_new = |thing: &Thing| operations.iter().all(|(_, other)| other != thing);
                operations.extend(thing.filter(is_new).map(|thing| (place, thing)));
            }
            _ => {}
        }
    }
    let is_planned = |id: u32| plan.faults.iter().any(|fault| fault.id == id);
    for band in story.bands.iter().rev().filter(|band| is_planned(band.fault)) {
        faults.push((band.from, Thing::Fault(band.fault)));
    }
    let found = messages.len() + operations.len() + faults.len();
    let mut taken: Vec<(usize, Thing)> =
        [faults, operations, messages].into_iter().flat_map(|kind| kind.into_iter().take(EACH_MAX)).collect();
    taken.sort_by_key(|(place, _)| *place);
    let left_out = found - taken.len();
    (taken, left_out)
}

/// The number behind these words, at the beginning of a text.
fn number_of(text: &str, words: &str) -> Option<u32> {
    let rest = text.strip_prefix(words)?;
    rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// Every moment that precedes the violation in a lane or by a message, the latest first.
fn past(story: &Story) -> Vec<usize> {
    let predecessors = story.predecessors();
    let Some(last) = story.moments.len().checked_sub(1) else { return Vec::new() };
    let mut precedes = vec![false; story.moments.len()];
    precedes[last] = true;
    if story.moments[last].lane == Lane::Outside {
        // It is seen from outside, so it rests on what every lane did last.
        for lane in story.lanes() {
            let place = story.moments.iter().rposition(|moment| moment.lane == lane);
            place.into_iter().for_each(|place| precedes[place] = true);
        }
    }
    for place in (0..=last).rev() {
        if precedes[place] {
            let before = predecessors[place].into_iter().chain(story.sent_in(place));
            before.for_each(|earlier| precedes[earlier] = true);
        }
    }
    (0..=last).rev().filter(|&place| precedes[place]).take(PAST_MAX).collect()
}

/// The plan without this.
fn without(plan: &Plan, thing: &Thing) -> Plan {
    let mut less = plan.clone();
    match thing {
        Thing::Message(_) => {}
        Thing::Operation(id) => less.operations.retain(|operation| operation.id != *id),
        Thing::Fault(id) => less.faults.retain(|fault| fault.id != *id),
    }
    less
}

/// Takes each away: in this run, and in futures that are drawn anew from then on.
pub(super) fn weigh(story: &Story, candidates: Vec<(usize, Thing)>, curve: &Curve, runs: &mut Runs<'_>) -> Vec<Factor> {
    let mut factors = Vec::new();
    let count = candidates.len();
    for (n, (moment, thing)) in candidates.into_iter().enumerate() {
        if runs.is_over() {
            break;
        }
        let less = without(runs.plan, &thing);
        let lost = match &thing {
            Thing::Message(name) => {
                runs.fate(name).map(|fate| (name.as_str(), crate::plan::network::Fate { lost: true, ..fate }))
            }
            Thing::Operation(_) | Thing::Fault(_) => None,
        };
        let changed: Vec<_> = lost.into_iter().collect();
        let passes = !runs.fails_with(&less, &changed);
        let time = story.moments[moment].at.saturating_sub(1);
        // What changes nothing is asked less often.
        let of = runs.futures((count - n) * 2) / if passes { 1 } else { 2 };
        let failed = (1..=of).filter(|&number| runs.fails_after(&less, &changed, (time, number))).count() as u64;
        let usual = curve.before(time).map_or((0, 1_000), super::Cut::interval);
        let weight = match passes {
            true if failed == 0 => Weight::Necessary,
            true => Weight::Contributing,
            false if interval(failed, of).1 < usual.0 => Weight::Contributing,
            false => Weight::Irrelevant,
        };
        factors.push(Factor { moment, thing, weight, passes, failed, of });
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_words() {
        assert_eq!(number_of("asks op119 put k0=\"119.0\" at B", "asks op"), Some(119));
        assert_eq!(number_of("asks closing0 get k0 at A", "asks op"), None);
    }
}
