//! Stamps grow along true causality (INV-8).

use super::Judge;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use hence_checker::bits;
use hence_core::{Dot, Hlc, Siblings};

impl Judge {
    /// A stamp was seen for the first time, or again.
    pub fn on_stamp(&mut self, dot: Dot, stamp: Hlc) {
        let Some(number) = self.truth.number(dot) else { return };
        match self.truth.writes[number as usize].stamp {
            Some(known) if known == stamp => return,
            Some(known) => {
                return self.fail(Invariant::Stamps, Sign::Changed, None, || {
                    format!("{dot} is stamped {} and {}", words::stamp(known), words::stamp(stamp))
                });
            }
            None => self.truth.writes[number as usize].stamp = Some(stamp),
        }
        let closure = self.truth.closures.row(number as usize);
        let late = bits::numbers(closure)
            .filter(|&cause| cause != number as usize)
            .map(|cause| &self.truth.writes[cause])
            .find(|cause| cause.stamp.is_some_and(|known| known >= stamp))
            .map(|cause| (cause.dot, cause.stamp));
        if let Some((cause, known)) = late {
            self.fail(Invariant::Stamps, Sign::BehindCause, None, || {
                format!(
                    "{dot} is stamped {}, its cause {cause} {}",
                    words::stamp(stamp),
                    words::stamp(known.unwrap_or_default())
                )
            });
        }
    }

    /// A write that was replaced in the step that accepted it, before any peer was linked, is stamped unseen.
    pub(super) fn learn_stamps(&mut self, siblings: &Siblings) {
        for sibling in siblings.iter().filter(|_| siblings.len() > 1) {
            self.on_stamp(sibling.dot, sibling.hlc);
        }
    }
}
