//! The nearest passing sibling: the smallest change of the failing run that makes it pass.

use super::factors::{Factor, Thing};
use super::runs::Runs;
use crate::observe::Story;
use crate::plan::network::Fate;

/// So many messages are tried at most.
const TRIES_MAX: usize = 16;

/// A message that is to come too late comes so long after the violation, in microseconds.
const BEHIND: u64 = 1_000;

/// A run that passes, by one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The moment that is different: a place in the story.
    pub moment: usize,
    /// What is changed.
    pub thing: Thing,
    /// A message comes so much later, in microseconds; otherwise the thing is not there at all.
    pub later: Option<u64>,
}

/// A message that comes later changes least. Then come a lost message, a fault that does not strike, and an operation that
/// is not sent. Of several it is the latest.
pub(super) fn nearest(story: &Story, factors: &[Factor], runs: &mut Runs<'_>) -> Option<Sibling> {
    let until = story.moments.last()?.at;
    let is_message = |factor: &&Factor| matches!(factor.thing, Thing::Message(_));
    for factor in factors.iter().rev().filter(is_message).filter(|factor| factor.passes).take(TRIES_MAX) {
        let Thing::Message(name) = &factor.thing else { continue };
        let carriage = &story.carriages[story.moments[factor.moment].carriage?];
        let (Some(fate), Some(sent)) = (runs.fate(name), carriage.sent) else { continue };
        let delay = until - story.moments[sent].at + BEHIND;
        let later = delay.checked_sub(fate.delay).filter(|_| !runs.is_over());
        if later.is_some() && !runs.fails_with(runs.plan, &[(name, Fate { delay, ..fate })]) {
            return Some(Sibling { moment: factor.moment, thing: factor.thing.clone(), later });
        }
    }
    let order = |factor: &&Factor| match factor.thing {
        Thing::Message(_) => 0,
        Thing::Fault(_) => 1,
        Thing::Operation(_) => 2,
    };
    let passing = factors.iter().rev().filter(|factor| factor.passes);
    let factor = passing.min_by_key(order)?;
    Some(Sibling { moment: factor.moment, thing: factor.thing.clone(), later: None })
}
