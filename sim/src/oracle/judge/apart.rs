//! What was made while a link was cut is not news when the cut is over. Repair of it is patient (contract, the rows on
//! a cut; INV-16). Judged from the cuts themselves, whatever they looked like to the processes.

use super::Judge;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::plan::Plan;
use hence_checker::bits;
use hence_core::Dot;

/// News of a moment may share the time of what was noticed so long before, in microseconds.
const COALESCE: u64 = 100_000;

/// When links and replicas were cut off.
#[derive(Debug)]
pub(super) struct Apart {
    replicas: usize,
    /// Per link, and then per replica for all of its links together.
    spans: Vec<Spans>,
    /// Some cut is over.
    any: bool,
}

#[derive(Debug, Clone, Default)]
struct Spans {
    since: Option<u64>,
    over: Vec<(u64, u64)>,
}

/// How patient replicas are, clocks that run apart and times that are rounded allowed for; in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A cut that is shorter need not be noticed.
    pub least: u64,
    /// Nothing is repaired sooner after it was noticed.
    pub repair: u64,
    /// So far clocks may have run apart.
    pub apart: u64,
}

/// How an operation came to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Its origin pushed it. When the push or its announcement arrived, the receiver had known no faster way than this, in
    /// microseconds.
    Push(u64),
    /// The replica fetched it, for no other reason than that it was missing.
    Repair,
    /// The replica fetched it, and had a reason not to be patient.
    Hurry,
}

impl Apart {
    pub(super) fn new(replicas: usize) -> Self {
        Self { replicas, spans: vec![Spans::default(); replicas * (replicas + 1)], any: false }
    }

    /// The cut of at least this length in which that moment was.
    fn span(&self, of: usize, made: u64, least: u64) -> Option<(u64, u64)> {
        let fits = |&&(from, to): &&(u64, u64)| from < made && made < to && to - from >= least;
        self.spans[of].over.iter().rev().find(fits).copied()
    }
}

impl Judge {
    /// A link is cut from now on, or is not.
    pub fn on_link_cut(&mut self, link: usize, cut: bool) {
        self.note_span(link, cut);
    }

    /// All links of a replica are cut from now on, or one of them is not.
    pub fn on_apart(&mut self, replica: usize, apart: bool) {
        self.note_span(self.apart.replicas * self.apart.replicas + replica, apart);
    }

    fn note_span(&mut self, of: usize, cut: bool) {
        let spans = &mut self.apart.spans[of];
        match spans.since {
            None if cut => spans.since = Some(self.now),
            Some(since) if !cut => {
                spans.since = None;
                spans.over.push((since, self.now));
                self.apart.any = true;
            }
            Some(_) | None => {}
        }
    }

    /// A replica applied what another made, which came to it in this way. Did it come too soon after a cut?
    /// `well` says of a replica that it was run all the time since then.
    pub fn on_lane(
        &mut self,
        replica: usize,
        dot: Dot,
        lane: Lane,
        patience: Patience,
        well: impl Fn(usize, u64) -> bool,
    ) {
        if !self.apart.any {
            return;
        }
        let Some(number) = self.truth.number(dot) else { return };
        let Some(origin) = self.truth.replica_of(dot).filter(|&origin| origin != replica) else { return };
        let made = self.ways.made(number as usize);
        let (place, sign) = match lane {
            Lane::Push(_) => (origin * self.apart.replicas + replica, Sign::InterruptedPush),
            Lane::Repair => (self.apart.replicas * self.apart.replicas + replica, Sign::EarlyRepair),
            Lane::Hurry => return,
        };
        let Some((from, to)) = self.apart.span(place, made, patience.least) else { return };
        let known = self.ways.began_before(replica, from)
            && self.ways.began_before(origin, from)
            && self.ways.met_before(origin * self.apart.replicas + replica, from);
        if !known || !well(replica, from) || !well(origin, from) {
            return;
        }
        // All that was sent then met the cut, but for what is on its way for long enough.
        let pushed = if let Lane::Push(fastest) = lane { Some(fastest) } else { None };
        if pushed.is_some_and(|fastest| made.saturating_add(fastest).saturating_add(patience.apart) >= to) {
            return;
        }
        self.counts.add(Kind::MadeApart);
        if pushed.is_some() || self.now < to + patience.repair {
            let now = self.now;
            self.fail(Invariant::Freshness, sign, Some(replica), || {
                format!(
                    "applied {dot} {} us after a cut of {} us, and it was made {} us before the end of that",
                    now - to,
                    to - from,
                    to - made
                )
            });
        }
    }

    /// The shortest time that a status took so far from where this was made.
    #[must_use]
    pub fn fastest_way(&self, dot: Dot, to: usize) -> u64 {
        let origin = self.truth.replica_of(dot);
        origin.map_or(u64::MAX, |origin| self.ways.fastest(origin * self.apart.replicas + to))
    }

    /// Has this replica taken in a status of the life that is at the other address now?
    #[must_use]
    pub fn has_met(&self, replica: usize, other: usize) -> bool {
        self.ways.met_before(other * self.apart.replicas + replica, u64::MAX)
    }

    /// A replica began to fetch from another what it lacks, for no other reason than that. Something that it gets there
    /// must have been missing for long enough.
    pub fn on_repair(&mut self, replica: usize, from: usize, patience: Patience) {
        let [here, there] = [replica, from].map(|replica| &self.truth.holdings[replica].included);
        let lacking = bits::lacking(here, there);
        let long = |&&number: &&usize| self.ways.made(number) + patience.repair <= self.now + COALESCE;
        if lacking.iter().any(|number| long(&number)) {
            return self.counts.add(Kind::PatientPull);
        }
        let newest = lacking.iter().map(|&number| self.now - self.ways.made(number)).max();
        self.fail(Invariant::Freshness, Sign::EarlyPull, Some(replica), || match newest {
            Some(age) => format!("fetches from {} what was made {age} us ago at most", Plan::name(from)),
            None => format!("fetches from {}, which has nothing for it", Plan::name(from)),
        });
    }
}
