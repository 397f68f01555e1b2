//! An answer includes all of the true causal past of the client (INV-3).

use super::{Asked, Judge};
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use hence_checker::bits;

impl Judge {
    pub(super) fn check_served(&mut self, replica: usize, asked: &Asked) {
        let included = &self.truth.holdings[replica].included;
        if !bits::within(&asked.past, included) {
            let names = bits::lacking(included, &asked.past).into_iter().map(|n| self.truth.writes[n].dot.to_string());
            let missing = names.collect::<Vec<_>>().join(", ");
            self.fail(Invariant::Sessions, Sign::PastMissing, Some(replica), || {
                format!("served a client without its past: {missing}")
            });
        }
    }
}
