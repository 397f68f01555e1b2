//! A batch is answered at one moment, and what it writes is one operation: all of it or nothing (INV-4, INV-5).
//!
//! That no replica shows half of it follows from [`crate::oracle::truth::Truth`]: a replica includes a write or not, with
//! all that it changes.

use super::answers::Went;
use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Number, Numbers};
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::Probe;
use hence_core::{Action, BatchAnswer, Dot, Dots, Outcome};

impl Judge {
    /// A replica accepted a client's batch that writes. `asked.past` becomes the client's past after it.
    pub fn on_batch(&mut self, replica: usize, asked: &mut Asked, answer: &BatchAnswer, probe: &dyn Probe) {
        if self.off {
            return;
        }
        let Some(dot) = answer.dot else { return };
        self.check_batch(replica, asked, answer);
        let changes = |(key, action, _): &(u8, &Action, _)| match action {
            Action::Put(_) => true,
            Action::Delete => !self.truth.shown(replica, *key).is_empty(),
            Action::Get => false,
        };
        let changed = asked.parts().filter(changes).count();
        if changed == 0 {
            self.fail(Invariant::Answers, Sign::WroteNothing, Some(replica), || format!("{dot} changes no key"));
        }
        self.counts.add(Kind::Batch);
        self.counts.add_if(Kind::BatchOfSeveral, changed > 1);
        self.counts.add_if(Kind::BatchDeletes, asked.parts().any(|(_, action, _)| *action == Action::Delete));
        self.check_room(replica, asked, probe);
        self.bind(replica, asked);
        self.accept(replica, asked, dot, probe);
    }

    /// An answer about all these keys binds its reader to what is there of each.
    pub(super) fn bind(&self, replica: usize, asked: &mut Asked) {
        let keys: Numbers = asked.parts().map(|(key, ..)| Number::from(key)).collect();
        for key in keys {
            self.truth.bind(replica, key as u8, &mut asked.past);
        }
    }

    /// Does each operation of a batch say truly what was there before it?
    pub(super) fn check_batch(&mut self, replica: usize, asked: &Asked, answer: &BatchAnswer) {
        self.check_served(replica, asked);
        self.check_first_unmet(replica, asked, None);
        let writes = asked.parts().any(|(_, action, _)| *action != Action::Get);
        self.counts.add_if(Kind::BatchReads, !writes);
        let fits = asked.parts().count() == answer.outcomes.len();
        let wrong = asked.parts().zip(&answer.outcomes).enumerate().find(|(_, ((key, action, _), outcome))| {
            let shown = self.truth.shown(replica, *key);
            match (action, outcome) {
                (Action::Get, Outcome::Read(siblings)) => !self.same(*key, &shown, siblings),
                (Action::Put(_), Outcome::Put(dots)) | (Action::Delete, Outcome::Deleted(dots)) => {
                    *dots != self.dots_of(&shown)
                }
                (Action::Get | Action::Put(_) | Action::Delete, _) => true,
            }
        });
        let wrong = wrong.map(|(index, ((key, ..), outcome))| (index, key, outcome));
        if let Some((index, key, outcome)) = wrong {
            let truly = self.dots_of(&self.truth.shown(replica, key));
            self.fail(Invariant::Answers, Sign::BatchWrong, Some(replica), || {
                format!(
                    "operation {index} of a batch says of k{key} {}, and truly there is {}",
                    words::outcome(outcome),
                    words::writes(&truly)
                )
            });
        } else if !fits {
            self.fail(Invariant::Answers, Sign::BatchWrong, Some(replica), || {
                let (asked, answered) = (asked.parts().count(), answer.outcomes.len());
                format!("a batch of {asked} gets {answered} outcomes and wrote {}", words::or_none(answer.dot))
            });
        }
    }

    /// A batch was refused by the precondition of one operation.
    pub(super) fn check_batch_failed(&mut self, replica: usize, asked: &Asked, index: usize) {
        self.counts.add(Kind::BatchFailed);
        self.check_served(replica, asked);
        self.check_first_unmet(replica, asked, Some(index));
    }

    fn check_first_unmet(&mut self, replica: usize, asked: &Asked, said: Option<usize>) {
        let unmet = |(key, _, condition): (u8, &Action, &_)| {
            let shown = self.truth.shown(replica, key);
            self.goes(&Action::Delete, condition, &shown) == Went::Failed
        };
        let truly = asked.parts().position(unmet);
        if truly != said {
            self.fail(Invariant::Answers, Sign::Condition, Some(replica), || {
                format!(
                    "the first failed precondition of a batch is said to be {}, and truly it is {}",
                    words::or_none(said),
                    words::or_none(truly)
                )
            });
        }
    }

    fn dots_of(&self, shown: &[Number]) -> Dots {
        let mut dots: Dots = shown.iter().map(|&number| -> Dot { self.truth.writes[number as usize].dot }).collect();
        dots.sort_unstable();
        dots
    }
}
