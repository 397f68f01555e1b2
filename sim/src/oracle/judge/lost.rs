//! A write is reported lost only when no replica at a member address holds it (INV-6).

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::plan::Plan;
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::{Address, Dot, VersionVector};

/// What rounds found lost, and what may have come back since.
#[derive(Debug)]
pub(super) struct Losses {
    /// What lost-write rounds of each process found.
    found: Vec<Vec<Finding>>,
    /// Everything that any round ever found.
    ever: Vec<Finding>,
    /// What processes had that died after an operator had removed them.
    leavers: Vec<u64>,
}

impl Losses {
    pub(super) fn new(replicas: usize, none: Vec<u64>) -> Self {
        Self { found: vec![Vec::new(); replicas], ever: Vec::new(), leavers: none }
    }

    /// Another process has found nothing.
    pub(super) fn forget(&mut self, replica: usize) {
        self.found[replica].clear();
    }

    /// A process died that had this, after an operator had removed it.
    pub(super) fn on_leaver(&mut self, included: &[u64]) {
        bits::join(&mut self.leavers, included);
    }
}

/// A round found a write lost, among these addresses.
#[derive(Debug, Clone)]
struct Finding {
    dot: Dot,
    members: Vec<Address>,
}

impl Judge {
    /// A lost-write round ended. No replica at a member's address holds what is above its outcome. The exception is
    /// what came back just now from a replica that an operator had removed.
    pub fn on_round(
        &mut self,
        replica: usize,
        (events, held): (&VersionVector, &VersionVector),
        members: &[bool],
        probe: &dyn Probe,
    ) {
        if self.off {
            return;
        }
        let above = events.entries().flat_map(|(incarnation, counter)| {
            (held.counter(incarnation) + 1..=counter).map(move |counter| Dot { incarnation, counter })
        });
        let lost: Vec<Dot> = above.filter(|&dot| self.truth.number(dot).is_some()).collect();
        if !lost.is_empty() {
            self.contest_names(); // one of two processes was asked, and the other may have it
        }
        for &dot in &lost {
            let number = self.truth.number(dot).unwrap_or_default();
            let holds = |holder: &usize| bits::has(&self.truth.holdings[*holder].included, number as usize);
            let removed = bits::has(&self.losses.leavers, number as usize)
                || (0..self.truth.holdings.len()).filter(|&holder| !members[holder]).any(|holder| holds(&holder));
            let holder = (0..self.truth.holdings.len()).filter(|&holder| members[holder] && !removed).find(holds);
            if let Some(holder) = holder {
                self.fail(Invariant::Refusals, Sign::NotLost, Some(replica), || {
                    format!("found that {dot} is lost, which replica {holder} holds")
                });
            }
        }
        let members: Vec<Address> = probe.view().members().cloned().collect();
        let findings = lost.into_iter().map(|dot| Finding { dot, members: members.clone() });
        self.losses.ever.extend(findings.clone());
        self.losses.found[replica].extend(findings);
    }

    /// What was reported lost returns only by an operator's act. A round of one cluster says nothing of another that it
    /// has not met. To introduce them to each other, or to start a newcomer that does, is an operator's act.
    pub(super) fn check_came_back(&mut self, replica: usize, dot: Dot) {
        let was_asked = |finding: &Finding| {
            finding.dot == dot && finding.members.iter().any(|address| address.as_str() == Plan::address(replica))
        };
        if self.operators.rested() && self.losses.ever.iter().any(was_asked) {
            self.fail(Invariant::Refusals, Sign::LostCameBack, Some(replica), || {
                format!("applied {dot}, which a round had found lost")
            });
        }
    }

    fn was_found_lost(&self, replica: usize, dot: Dot) -> bool {
        self.losses.found[replica].iter().any(|finding| finding.dot == dot)
    }

    /// A client is told of losses only after a round that found them; from then on its past is what is left.
    pub(super) fn check_lost(&mut self, replica: usize, asked: &mut Asked, left: &VersionVector, probe: &dyn Probe) {
        self.counts.add(Kind::Lost);
        let cut = self.truth.cut(&asked.token, left);
        let dots: Vec<Dot> = cut.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
        if dots.is_empty() || dots.iter().any(|&dot| !self.was_found_lost(replica, dot)) {
            self.fail(Invariant::Refusals, Sign::NotFoundLost, Some(replica), || {
                format!("said that {} is lost, which no round of it found", words::writes(&dots))
            });
        }
        let holds = |finding: &&Finding| probe.view().members().all(|address| finding.members.contains(address));
        let outdated =
            |dot: &&Dot| !self.losses.found[replica].iter().filter(holds).any(|finding| finding.dot == **dot);
        if let Some(dot) = dots.iter().find(outdated).copied() {
            self.fail(Invariant::Refusals, Sign::Outdated, Some(replica), || {
                format!("said that {dot} is lost, which was found before another address was wanted")
            });
        }
        let dropped =
            self.truth.dropped(&asked.token, left).into_iter().find(|&dot| !self.was_found_lost(replica, dot));
        if let Some(dot) = dropped {
            self.fail(Invariant::Refusals, Sign::CutTooMuch, Some(replica), || {
                format!("dropped {dot} from the client's past, which no round of it found lost")
            });
        }
        let left = self.truth.closure_of(left);
        asked.past.iter_mut().zip(&left).for_each(|(past, left)| *past &= left);
    }
}
