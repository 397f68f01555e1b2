//! Lives that are over and writes that are lost, judged from ground truth.

use super::{Asked, Judge};
use crate::adversity::Kind;
use crate::bits;
use crate::verdict::Invariant;
use hence_core::{Dot, Incarnation, VersionVector};

impl Judge {
    /// A lost-write round ended: nobody at a wanted address holds what is above its outcome, unless it came back just
    /// now from a replica that an operator had removed.
    pub fn on_round(&mut self, replica: usize, events: &VersionVector, held: &VersionVector, wanted: &[bool]) {
        let above = events.entries().flat_map(|(incarnation, counter)| {
            (held.counter(incarnation) + 1..=counter).map(move |counter| Dot { incarnation, counter })
        });
        let lost: Vec<Dot> = above.filter(|&dot| self.truth.number(dot).is_some()).collect();
        for &dot in &lost {
            let number = self.truth.number(dot).unwrap_or_default();
            let holds = |holder: &usize| bits::has(&self.truth.holdings[*holder].included, number as usize);
            let removed = (0..self.truth.holdings.len()).filter(|&holder| !wanted[holder]).any(|holder| holds(&holder));
            let holder = (0..self.truth.holdings.len()).filter(|&holder| wanted[holder] && !removed).find(holds);
            if let Some(holder) = holder {
                self.fail(Invariant::Refusals, "not_lost", Some(replica), || {
                    format!("found that {dot} is lost, which replica {holder} holds")
                });
            }
        }
        self.lost[replica].extend(lost);
    }

    /// A client is told of losses only after a round that found them; from then on its past is what is left.
    pub(super) fn check_lost(&mut self, replica: usize, asked: &mut Asked, left: &VersionVector) {
        self.counts.add(Kind::Lost);
        let cut = self.truth.cut(&asked.token, left);
        let dots: Vec<Dot> = cut.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        if dots.is_empty() || dots.iter().any(|dot| !self.lost[replica].contains(dot)) {
            self.fail(Invariant::Refusals, "not_found_lost", Some(replica), || {
                format!("said that {dots:?} are lost, which no round of it found")
            });
        }
        let dropped = self.truth.dropped(&asked.token, left).into_iter().find(|dot| !self.lost[replica].contains(dot));
        if let Some(dot) = dropped {
            self.fail(Invariant::Refusals, "cut_too_much", Some(replica), || {
                format!("dropped {dot} from the client's past, which no round of it found lost")
            });
        }
        let left = self.truth.closure_of(left);
        asked.past.iter_mut().zip(&left).for_each(|(past, left)| *past &= left);
    }

    /// A replica wrote down that a life is over.
    pub fn on_retired(&mut self, replica: usize, dot: Dot, incarnation: Incarnation, through: u64) {
        if self.truth.number(dot).is_some() {
            return;
        }
        if !self.truth.accept_retirement(replica, dot, incarnation, through) {
            self.fail(Invariant::Dots, "not_next", Some(replica), || {
                format!("retired {incarnation} by {dot}, which is not the next of a life of this replica")
            });
        }
    }
}
