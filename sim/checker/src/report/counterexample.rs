//! A counterexample: the fewest operations that still violate.

use crate::graph::Problem;
use crate::history::History;
use crate::terms::{Break, Forced, Level, Node, Watch};
use std::cell::OnceCell;

/// Why shrinking did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// All of these steps were taken.
    Steps(u64),
    /// The time was over.
    Time,
}

/// A violation, as small as it gets.
#[derive(Debug)]
pub struct Counterexample {
    /// The operations that are left, as a history of their own.
    pub(crate) history: History,
    pub(crate) problem: Problem,
    pub(crate) level: Level,
    pub(crate) wrong: Break,
    pub(crate) forced: Vec<Forced>,
    /// Taking any one away leaves nothing broken, or loses the proof.
    pub(crate) minimal: bool,
    /// How many operations the whole history has.
    pub(crate) of: usize,
    /// Why shrinking did not come to its end.
    pub(crate) given_up: Option<GivenUp>,
    pub(crate) watch: Option<Watch>,
    pub(crate) places: OnceCell<Vec<Place>>,
    pub(crate) levels: OnceCell<Vec<Level>>,
}

impl Counterexample {
    /// The operations that are left, as a history of their own.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The weakest level that they break.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// What these operations do wrong, in a few words: the same as the whole history.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.wrong.name()
    }

    /// What was not tried any more because the work that shrinking gets was done, or the time over; nothing where it came
    /// to its end.
    #[must_use]
    pub fn given_up(&self) -> Option<String> {
        let (left, of) = (self.history.len(), self.of);
        let (when, option) = match self.given_up? {
            GivenUp::Steps(steps) => (format!("after {} million steps", steps.div_ceil(1_000_000)), "--shrink"),
            GivenUp::Time => ("when the time was over".into(), "--budget"),
        };
        Some(format!(
            "shrinking was given up {when}, at {left} of {of} operations: fewer of them may be broken, too; {option} gives \
             it more"
        ))
    }

    /// Whether each operation was shown to be necessary.
    #[must_use]
    pub const fn is_minimal(&self) -> bool {
        self.minimal
    }

    /// Where the operations stand in the picture.
    pub(crate) fn places(&self) -> &[Place] {
        self.places.get_or_init(|| places(&self.problem))
    }
}

/// Where an operation stands in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: usize,
    pub(crate) step: usize,
}

impl Place {
    /// A letter for the lane and a number in it, such as b2.
    pub(crate) fn name(self) -> String {
        let letter = char::from(b'a' + (self.lane % 26) as u8);
        let round = if self.lane < 26 { String::new() } else { (self.lane / 26).to_string() };
        format!("{letter}{round}{}", self.step + 1)
    }
}

/// Lanes are sessions: an event stands below one whose token it sent, if nothing stands there yet. All parts of a
/// batch stand in one place.
pub(crate) fn places(problem: &Problem) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut lengths: Vec<usize> = Vec::new();
    for node in 0..problem.operations as Node {
        if !problem.is_head(node) {
            places.push(places[problem.head(node) as usize]);
            continue;
        }
        let ends = |&&before: &&Node| {
            let place: Option<&Place> = places.get(before as usize);
            place.is_some_and(|place| place.step + 1 == lengths[place.lane])
        };
        let lane = match problem.lineage.before(node).iter().find(ends) {
            Some(&before) => places[before as usize].lane,
            None => {
                lengths.push(0);
                lengths.len() - 1
            }
        };
        places.push(Place { lane, step: lengths[lane] });
        lengths[lane] += 1;
    }
    places
}
