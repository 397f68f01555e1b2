//! A write concern counts present lives that held the write (INV-19).

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::Number;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::{Incarnation, LinkState};

/// Writes whose clients ask where they are, each with the lives that held it so far.
#[derive(Debug, Default)]
pub(super) struct Spreads(Vec<(Number, Vec<Incarnation>)>);

impl Spreads {
    /// A write was accepted whose client asks where it is.
    pub(super) fn watch(&mut self, number: Number) {
        self.0.push((number, Vec::new()));
    }

    /// A life holds what is in this set.
    fn note(&mut self, life: Incarnation, included: &[u64]) {
        for (number, lives) in &mut self.0 {
            if bits::has(included, *number as usize) && !lives.contains(&life) {
                lives.push(life);
            }
        }
    }

    /// The lives that held it. It is not watched any longer.
    fn take(&mut self, number: Number) -> Vec<Incarnation> {
        let place = self.0.iter().position(|(watched, _)| *watched == number);
        place.map_or_else(Vec::new, |place| self.0.swap_remove(place).1)
    }
}

/// What an answer says of the spread of a write.
#[derive(Debug, Clone, Copy)]
pub struct Spread<'a> {
    /// The lives that count as holding it.
    pub holders: &'a [Incarnation],
    /// It says that they are enough.
    pub reached: bool,
    /// As much time was over as the client gave, or nearly.
    pub time_over: bool,
}

impl Judge {
    /// A step of a replica is over, or its answers are about to be judged.
    pub fn note_spread(&mut self, replica: usize, life: Incarnation) {
        if !self.spreads.0.is_empty() {
            self.spreads.note(life, &self.truth.holdings[replica].included);
        }
    }

    /// A replica says where a write is that a client asked about.
    pub fn on_spread(&mut self, replica: usize, asked: &Asked, spread: Spread<'_>, probe: &dyn Probe) {
        let (Some(concern), Some(dot)) = (asked.concern, asked.wrote) else { return };
        if self.off {
            return;
        }
        self.note_spread(replica, probe.incarnation());
        let held = self.truth.number(dot).map(|number| self.spreads.take(number)).unwrap_or_default();
        for &life in spread.holders {
            if !held.contains(&life) {
                self.fail(Invariant::Concern, Sign::NeverHeld, Some(replica), || {
                    format!("counts {life} for {dot}, which only {} ever held", words::lives(&held))
                });
            }
            let present = life == dot.incarnation || is_present(probe, life);
            if !present || spread.holders.iter().filter(|&&other| other == life).count() > 1 {
                self.fail(Invariant::Concern, Sign::NotPresent, Some(replica), || {
                    format!(
                        "counts {life} for {dot}, among {}, which is no present life of a member",
                        words::lives(spread.holders)
                    )
                });
            }
        }
        let members = probe.view().members().count();
        let least = concern.holders.among(members);
        let enough = probe.is_member() && spread.holders.len() >= least;
        if spread.reached != enough {
            self.fail(Invariant::Concern, Sign::ConcernWrong, Some(replica), || {
                let (count, reached) = (spread.holders.len(), spread.reached);
                format!(
                    "says that {dot} is {} at {count} of {members} members, where {least} are asked for",
                    if reached { "there" } else { "not there yet" }
                )
            });
        }
        let is_over = !probe.is_member() || least > members || dot.incarnation != probe.incarnation();
        self.count_spread(spread, least);
        self.counts.add_if(Kind::ConcernOfBatch, !asked.with.is_empty());
        if !enough && !spread.time_over && !is_over {
            self.fail(Invariant::Concern, Sign::ConcernEarly, Some(replica), || {
                format!("answered for {dot} at {} of {least} replicas before its time", spread.holders.len())
            });
        }
    }

    fn count_spread(&mut self, spread: Spread<'_>, least: usize) {
        self.counts.add_if(Kind::ConcernReached, spread.reached && least > 1);
        self.counts.add_if(Kind::ConcernMissed, !spread.reached);
        self.counts.add_if(Kind::ConcernOver, !spread.reached && !spread.time_over);
    }

    /// A write was refused because more replicas were asked for than are members.
    pub fn on_too_few_members(&mut self, replica: usize, asked: &Asked, probe: &dyn Probe) {
        self.counts.add(Kind::ConcernBeyond);
        let members = probe.view().members().count();
        if asked.concern.is_none_or(|concern| concern.holders.among(members) <= members) {
            self.fail(Invariant::Concern, Sign::ConcernWrong, Some(replica), || {
                format!("refused a concern that {members} members can meet")
            });
        }
    }
}

/// Is it a linked life, the newest that is known at the address of a member, and up?
fn is_present(probe: &dyn Probe, life: Incarnation) -> bool {
    let view = probe.view();
    let record = view.records().find(|record| record.newest.is_some_and(|newest| newest.incarnation == life));
    record.is_some_and(|record| {
        let linked = life == probe.incarnation() || probe.link(&record.address) == Some(LinkState::Established);
        linked && view.is_member(&record.address) && record.newest.is_some_and(|newest| newest.up)
    })
}
