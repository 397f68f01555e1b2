//! How sure the failure was at each moment: the share of futures in which it comes, if all is as it was up to then.

use super::runs::{Runs, interval};
use crate::observe::Story;

/// So many moments are looked at, evenly over the run.
const CUTS: usize = 22;

/// So many more, to find each of both points.
const HALVINGS: usize = 4;

/// Everything up to a moment stays, and what follows is drawn anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The moment: a place in the story. All that happens at its time is a part of what stays.
    pub moment: usize,
    /// Its time, in microseconds.
    pub at: u64,
    /// In so many futures the failure came.
    pub failed: u64,
    /// Of so many.
    pub of: u64,
}

impl Cut {
    /// The 95 % interval of the share, in parts of a thousand.
    #[must_use]
    pub fn interval(&self) -> (u32, u32) {
        interval(self.failed, self.of)
    }
}

/// The cuts in order.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    /// Those that were looked at.
    pub cuts: Vec<Cut>,
    /// The first at which the failure is surely likelier than at the beginning: a place in `cuts`.
    pub first_risk: Option<usize>,
    /// The first from which on every future fails: a place in `cuts`.
    pub no_return: Option<usize>,
}

impl Curve {
    /// The last cut that is not after this time.
    #[must_use]
    pub fn before(&self, time: u64) -> Option<&Cut> {
        self.cuts.iter().rev().find(|cut| cut.at <= time).or_else(|| self.cuts.first())
    }

    fn mark(&mut self) {
        self.cuts.sort_unstable_by_key(|cut| cut.at);
        let begins = self.cuts.first().map_or(0, |cut| cut.interval().1);
        self.first_risk = self.cuts.iter().position(|cut| cut.interval().0 > begins);
        let sure = self.cuts.iter().rev().take_while(|cut| cut.failed == cut.of).count();
        self.no_return = (sure > 0).then(|| self.cuts.len() - sure);
    }
}

/// Looks at about 30 moments. `others` says how many questions follow.
pub(super) fn curve(story: &Story, runs: &mut Runs<'_>, others: usize) -> Curve {
    let mut instants: Vec<(u64, usize)> = Vec::new();
    let until = story.moments.last().map_or(0, |moment| moment.at);
    for (place, moment) in story.moments.iter().enumerate().filter(|(_, moment)| moment.at < until && !moment.idle) {
        match instants.last_mut() {
            Some((at, last)) if *at == moment.at => *last = place,
            Some(_) | None => instants.push((moment.at, place)),
        }
    }
    let futures = runs.futures(CUTS + 2 * HALVINGS + 2 * others);
    let mut curve = Curve::default();
    let mut look = |curve: &mut Curve, at: usize| {
        let (time, moment) = instants[at];
        if runs.is_over() || curve.cuts.iter().any(|cut| cut.at == time) {
            return;
        }
        let failed = (1..=futures).filter(|&number| runs.fails_after(runs.plan, &[], (time, number))).count() as u64;
        curve.cuts.push(Cut { moment, at: time, failed, of: futures });
        curve.mark();
    };
    let cuts = CUTS.min(instants.len());
    for n in 0..cuts {
        look(&mut curve, n * (instants.len() - 1) / (cuts - 1).max(1));
    }
    let between = |curve: &Curve, cut: usize| {
        let place = |cut: usize| instants.iter().position(|&(at, _)| at == curve.cuts[cut].at);
        let (low, high) = (place(cut.checked_sub(1)?)?, place(cut)?);
        (high - low > 1).then_some(low.midpoint(high))
    };
    for which in [|curve: &Curve| curve.first_risk, |curve: &Curve| curve.no_return] {
        for _ in 0..HALVINGS {
            let Some(at) = which(&curve).and_then(|cut| between(&curve, cut)) else { break };
            look(&mut curve, at);
        }
    }
    curve
}
