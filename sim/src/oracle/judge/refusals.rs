//! A refusal has its reason (INV-6). What is reported lost is judged in `lost`.

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use hence_core::Refusal;

impl Judge {
    pub(super) fn check_refusal(&mut self, replica: usize, asked: &Asked, refusal: Refusal, ready: bool) {
        let token = &asked.token;
        match refusal {
            Refusal::NotCovered => {
                self.counts.add(Kind::NotCovered);
                if self.over {
                    self.fail(Invariant::Liveness, Sign::TokenEndless, Some(replica), || {
                        format!("still refuses a token of {} when everything is over", words::past(token))
                    });
                }
                if self.truth.covers(replica, token) {
                    self.fail(Invariant::Refusals, Sign::Covered, Some(replica), || {
                        format!("refused a token of {}, which is applied", words::past(token))
                    });
                }
            }
            Refusal::NotReady if ready => {
                self.fail(Invariant::Refusals, Sign::Ready, Some(replica), || "said not ready, and is".into());
            }
            Refusal::Impossible => {
                self.fail(Invariant::Refusals, Sign::Impossible, Some(replica), || {
                    format!("took a token of {} for impossible", words::past(token))
                });
            }
            Refusal::BatchTooLarge { bytes_max } => {
                self.counts.add(Kind::BatchTooLarge);
                if asked.with.is_empty() || asked.value_bytes() <= bytes_max {
                    self.fail(Invariant::Refusals, Sign::Fits, Some(replica), || {
                        format!("took {} bytes of values for more than {bytes_max}", asked.value_bytes())
                    });
                }
            }
            Refusal::NoRoomToWatch => {
                self.fail(Invariant::Refusals, Sign::Impossible, Some(replica), || {
                    "refused a watch that was none".into()
                });
            }
            Refusal::NoMemoryToList if !self.limits_memory() || asked.list.is_none() => {
                self.fail(Invariant::Refusals, Sign::Impossible, Some(replica), || {
                    "had no memory to list, and memory knows no limit".into()
                });
            }
            // Those for want of members or of room are judged where both are known.
            Refusal::NotReady
            | Refusal::WriteLimit
            | Refusal::Upgrading
            | Refusal::TooFewMembers
            | Refusal::NoRoomToWait
            | Refusal::NoMemoryToList => {}
        }
    }
}
