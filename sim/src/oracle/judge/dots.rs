//! Every write has a name of its own, the next one of its incarnation (INV-1).

use super::{Asked, Judge};
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Change, Number, Write};
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
        let change = |(key, action, _): (u8, &Action, _)| match action {
            Action::Put(value) => Some(Change::of(key, Some(value.clone()))),
            // A delete of an absent key changes nothing; alone it makes no write.
            Action::Delete if asked.with.is_empty() || !self.truth.shown(replica, key).is_empty() => {
                Some(Change::of(key, None))
            }
            Action::Get | Action::Delete => None,
        };
        let write = Write { dot, stamp: None, changes: asked.parts().filter_map(change).collect() };
        self.contest_names_of(replica);
        let Some(number) = self.truth.accept(replica, write, &asked.past) else {
            return self.fail(Invariant::Dots, Sign::NotNext, Some(replica), || {
                format!("issued {dot}, which is not the next of a life of this replica")
            });
        };
        self.note_made(number);
        asked.wrote = Some(dot);
        if asked.concern.is_some() {
            self.shown_most = self.shown_most.max(self.shown_bytes(replica, asked));
            self.spreads.watch(number);
        }
        bits::join(&mut asked.past, self.truth.closures.row(number as usize));
        self.truth.include(replica, number);
        let stamp = asked.parts().find_map(|(key, ..)| {
            let siblings = probe.shown(&self.keys[usize::from(key)]);
            siblings.iter().find(|sibling| sibling.dot == dot).map(|sibling| sibling.hlc)
        });
        if let Some(stamp) = stamp {
            self.on_stamp(dot, stamp);
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
