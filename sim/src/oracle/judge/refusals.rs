//! A refusal has its reason (INV-6). What is reported lost is judged in `lost`.

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use hence_core::Refusal;

impl Judge {
    pub(super) fn check_refusal(&mut self, replica: usize, asked: &Asked, refusal: Refusal, ready: bool) {
        let token = &asked.token;
        match refusal {
            Refusal::NotCovered => {
                self.counts.add(Kind::NotCovered);
                if self.over {
                    self.fail(Invariant::Liveness, Sign::TokenEndless, Some(replica), || {
                        format!("still refuses {token:?} when everything is over")
                    });
                }
                if self.truth.covers(replica, token) {
                    self.fail(Invariant::Refusals, Sign::Covered, Some(replica), || {
                        format!("refused {token:?}, which is applied")
                    });
                }
            }
            Refusal::NotReady if ready => {
                self.fail(Invariant::Refusals, Sign::Ready, Some(replica), || "said not ready, and is".into());
            }
            Refusal::Impossible => {
                self.fail(Invariant::Refusals, Sign::Impossible, Some(replica), || {
                    format!("took {token:?} for impossible")
                });
            }
            Refusal::NotReady | Refusal::WriteLimit | Refusal::Upgrading => {}
        }
    }
}
