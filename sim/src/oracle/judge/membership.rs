//! Which replicas belong to the cluster: only operators say so (INV-12).

use super::Judge;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use hence_checker::bits;

/// What operators did, and what replicas made of it.
#[derive(Debug, Default)]
pub(super) struct Operators {
    /// Per address: a client asked a replica to remove it, or to add it.
    removed: Vec<bool>,
    added: Vec<bool>,
    /// Per address: every member was removed somewhere, so that every one is a member there, without an order.
    left: Vec<bool>,
    /// Per replica, the addresses that were no members there when last looked at, as bits.
    removed_at: Vec<u64>,
}

/// How an address stands in a view.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// It is a member.
    pub is_member: bool,
    /// The last order that is known about it was to remove it.
    pub ordered_out: bool,
}

impl Operators {
    pub(super) fn new(replicas: usize) -> Self {
        let none = vec![false; replicas];
        Self { removed: none.clone(), added: none.clone(), left: none, removed_at: vec![0; replicas] }
    }

    /// No operator has removed or added anything yet.
    pub(super) fn rested(&self) -> bool {
        !self.removed.iter().chain(&self.added).any(|&acted| acted)
    }
}

impl Judge {
    /// An operator is about to ask for the removal of an address, or for its return.
    pub fn on_operator(&mut self, address: usize, removes: bool) {
        let acts = if removes { &mut self.operators.removed } else { &mut self.operators.added };
        acts[address] = true;
    }

    /// A process that has just started knows its own list only.
    pub(super) fn forget_view(&mut self, replica: usize) {
        self.operators.removed_at[replica] = 0;
    }

    /// The view of a replica changed: is each address a member in it, and was it removed by the last order that is known
    /// there? None for one that it has not met.
    pub fn on_view(&mut self, replica: usize, view: &[Option<Standing>]) {
        let before = std::mem::take(&mut self.operators.removed_at[replica]);
        for (address, standing) in view.iter().enumerate() {
            let is_member = standing.map(|standing| standing.is_member);
            // Where no member is left every one is. The next order of an operator says so to all.
            self.operators.left[address] |= standing.is_some_and(|standing| standing.is_member && standing.ordered_out);
            let was_member = before >> address & 1 == 0;
            self.operators.removed_at[replica] |= u64::from(is_member == Some(false)) << address;
            if is_member == Some(false) && !self.operators.removed[address] {
                self.fail(Invariant::Membership, Sign::RemovedByNobody, Some(replica), || {
                    format!("does not want replica {address}, which no operator removed")
                });
            } else if is_member == Some(true)
                && !was_member
                && !self.operators.added[address]
                && !self.operators.left[address]
            {
                self.fail(Invariant::Membership, Sign::RemovalWithdrawn, Some(replica), || {
                    format!("wants replica {address} again, which no operator added")
                });
            }
        }
        if !view.iter().flatten().any(|standing| standing.is_member) {
            self.fail(Invariant::Membership, Sign::NobodyWanted, Some(replica), || {
                "wants nobody, itself included".into()
            });
        }
    }

    /// Does a replica that was removed hold what a member lacks? Says which, and which member lacks it.
    #[must_use]
    pub fn kept_to_itself(
        &self,
        removed: &[usize],
        members: &[usize],
        met: impl Fn(usize, usize) -> bool,
    ) -> Option<(usize, usize)> {
        let included = |replica: usize| &self.truth.holdings[replica].included;
        let lacks = |holder: usize, member: usize| !bits::within(included(holder), included(member));
        let pairs = removed.iter().flat_map(|&holder| members.iter().map(move |&member| (holder, member)));
        pairs.into_iter().find(|&(holder, member)| lacks(holder, member) && met(holder, member))
    }
}
