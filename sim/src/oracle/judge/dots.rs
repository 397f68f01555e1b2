//! Every write has a name of its own, the next one of its incarnation (INV-1).

use super::{Asked, Judge};
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Number, Numbers, Write};
use crate::oracle::verdict::Invariant;
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::{Action, Dot, Incarnation};

impl Judge {
    /// A new life began; the memory is kept.
    pub fn on_life(&mut self, replica: usize, incarnation: Incarnation) {
        self.ways.forget(replica, self.now);
        if !self.truth.begin_life(replica, incarnation) {
            self.fail(Invariant::Dots, Sign::LifeTwice, Some(replica), || {
                format!("incarnation {incarnation} began again")
            });
        }
    }

    pub(super) fn accept(&mut self, replica: usize, asked: &mut Asked, dot: Dot, probe: &dyn Probe) {
        let value = match &asked.action {
            Action::Put(value) => Some(value.clone()),
            Action::Get | Action::Delete => None,
        };
        let write =
            Write { dot, stamp: None, key: asked.key, value, replaced: Numbers::new(), replaced_by: Numbers::new() };
        self.contest_names_of(replica);
        let Some(number) = self.truth.accept(replica, write, &asked.past) else {
            return self.fail(Invariant::Dots, Sign::NotNext, Some(replica), || {
                format!("issued {dot}, which is not the next of a life of this replica")
            });
        };
        self.note_made(number);
        bits::join(&mut asked.past, self.truth.closures.row(number as usize));
        self.truth.include(replica, number);
        let siblings = probe.shown(&self.keys[usize::from(asked.key)]);
        if let Some(sibling) = siblings.iter().find(|sibling| sibling.dot == dot) {
            self.on_stamp(dot, sibling.hlc);
        }
    }

    /// A replica wrote down that a life is over.
    pub fn on_retired(&mut self, replica: usize, dot: Dot, incarnation: Incarnation, through: u64) {
        if self.off {
            return;
        }
        if self.truth.number(dot).is_some() {
            return;
        }
        self.contest_names_of(replica);
        if self.truth.accept_retirement(replica, dot, incarnation, through) {
            self.note_made(self.truth.writes.len() as Number - 1);
        } else {
            self.fail(Invariant::Dots, Sign::NotNext, Some(replica), || {
                format!("retired {incarnation} by {dot}, which is not the next of a life of this replica")
            });
        }
    }
}
