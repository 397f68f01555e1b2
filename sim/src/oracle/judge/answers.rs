//! An answer is the one that is promised for what is truly included (INV-4).

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::Number;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use hence_core::{Action, Condition, Dot, Dots, Match, Siblings, Written};

impl Judge {
    /// Does an accepted write say truly what it replaced? `shown` is what it met.
    pub(super) fn check_written(&mut self, replica: usize, asked: &Asked, shown: &[Number], written: &Written) {
        if matches!(asked.action, Action::Delete) && shown.is_empty() || matches!(asked.action, Action::Get) {
            let dot = written.dot;
            self.fail(Invariant::Answers, Sign::WroteNothing, Some(replica), || {
                format!("{dot} was written for a key without versions")
            });
        }
        let mut replaced: Dots = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        replaced.sort_unstable();
        if replaced != written.superseded {
            self.fail(Invariant::Answers, Sign::Replaced, Some(replica), || {
                format!(
                    "{} says that it replaced {}; it truly met {}",
                    written.dot,
                    words::writes(&written.superseded),
                    words::writes(&replaced)
                )
            });
        }
    }

    pub(super) fn check_shown(&mut self, replica: usize, asked: &Asked, siblings: &Siblings, went: Went) {
        self.check_served(replica, asked);
        self.learn_stamps(siblings);
        let shown = self.truth.shown(replica, asked.key);
        self.check_condition(replica, asked, &shown, went);
        if shown.len() > 1 {
            self.counts.add(Kind::Concurrent);
            if shown.iter().any(|&other| other > shown[0]) {
                self.counts.add(Kind::SkewWon);
            }
        }
        if !self.same(asked.key, &shown, siblings) {
            let truly: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            let sign = if siblings.len() < truly.len() { Sign::VersionHidden } else { Sign::VersionWrong };
            let answered: Vec<Dot> = siblings.iter().map(|sibling| sibling.dot).collect();
            self.fail(Invariant::Answers, sign, Some(replica), || {
                format!("k{} shows {} instead of {}", asked.key, words::writes(&answered), words::writes(&truly))
            });
        }
    }

    pub(super) fn same(&self, key: u8, shown: &[Number], siblings: &Siblings) -> bool {
        shown.len() == siblings.len()
            && shown.iter().zip(siblings).all(|(&number, sibling)| {
                let write = &self.truth.writes[number as usize];
                let stamped = write.stamp.is_none_or(|stamp| stamp == sibling.hlc);
                write.dot == sibling.dot && stamped && write.value_of(key) == Some(&sibling.value)
            })
    }

    /// How a request truly goes on, where these versions are shown.
    pub(super) fn goes(&self, action: &Action, condition: &Condition, shown: &[Number]) -> Went {
        let matches = |named: &Match| match named {
            Match::Any => !shown.is_empty(),
            Match::OneOf(sets) => sets.iter().any(|set| {
                let named = |number: &Number| set.contains(&self.truth.writes[*number as usize].dot);
                !shown.is_empty() && set.len() == shown.len() && shown.iter().all(named)
            }),
        };
        if condition.if_match.as_ref().is_some_and(|named| !matches(named)) {
            Went::Failed
        } else if condition.if_none_match.as_ref().is_some_and(matches) {
            if matches!(action, Action::Get) { Went::NotModified } else { Went::Failed }
        } else {
            Went::Ahead
        }
    }

    pub(super) fn check_condition(&mut self, replica: usize, asked: &Asked, shown: &[Number], went: Went) {
        let expected = self.goes(&asked.action, &asked.condition, shown);
        if went != expected {
            self.fail(Invariant::Answers, Sign::Condition, Some(replica), || {
                format!(
                    "a request that goes ahead {} has {} and should have {}",
                    words::condition(&asked.condition),
                    went.in_words(),
                    expected.in_words()
                )
            });
        }
    }
}

/// How a request went on after its precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    Ahead,
    NotModified,
    Failed,
}

impl Went {
    /// How it went on, as the end of a sentence.
    const fn in_words(self) -> &'static str {
        match self {
            Self::Ahead => "gone ahead",
            Self::NotModified => "been answered that nothing changed",
            Self::Failed => "been refused",
        }
    }
}
