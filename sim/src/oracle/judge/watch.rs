//! A watch holds at each mark exactly what its replica shows of its range. It misses nothing, never goes back, and is bound
//! to what it rests on and no more (INV-20, WATCH-1 to WATCH-4).

use super::{Asked, Judge};
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::truth::{Number, Numbers};
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::Probe;
use hence_checker::bits;
use hence_core::{
    Action, Condition, Dot, Dots, ListShape, Listed, VersionVector, WatchChange, WatchMark, WatchPart, WatchReset,
};

/// What the oracle knows of one watch, as its replica has told it.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its keys, by number.
    pub range: Vec<u8>,
    /// Values are not told.
    pub keys_only: bool,
    /// The past that it sent, and later that of its marks.
    pub token: VersionVector,
    /// The client's true causal past.
    pub past: Vec<u64>,
    /// Per key, the versions that it was told last.
    pub told: Vec<Dots>,
    /// What was included at the last mark of what wrote its keys.
    pub seen: Vec<u64>,
    /// It had a mark that knows something since it began.
    pub is_synced: bool,
    /// It was told something since its last mark.
    pub is_open: bool,
}

impl Judge {
    /// A replica tells a watch. `watched` becomes what it was told.
    pub fn on_part(&mut self, replica: usize, watched: &mut Watched, part: &WatchPart, probe: &dyn Probe) {
        if self.off {
            return;
        }
        if let Some(reset) = part.reset {
            self.on_reset(replica, watched, reset, part.mark.as_ref(), probe);
        }
        if part.changes.is_empty() && part.mark.as_ref().is_none_or(|mark| mark.known.is_none()) {
            return;
        }
        if !bits::within(&watched.past, &self.truth.holdings[replica].included) {
            self.fail(Invariant::Watch, Sign::PastMissing, Some(replica), || {
                "tells a watch what is there without what its client knows".into()
            });
        }
        for change in &part.changes {
            self.on_told(replica, watched, change);
        }
        self.counts.add_if(Kind::WatchInParts, watched.is_open && !part.changes.is_empty());
        watched.is_open |= !part.changes.is_empty();
        if let Some(WatchMark { past, known: Some(known), synced }) = &part.mark {
            self.on_mark(replica, watched, past, known, *synced);
        }
    }

    fn on_reset(
        &mut self,
        replica: usize,
        watched: &mut Watched,
        reset: WatchReset,
        mark: Option<&WatchMark>,
        probe: &dyn Probe,
    ) {
        watched.told.iter_mut().for_each(Dots::clear);
        (watched.is_synced, watched.is_open) = (false, false);
        match (reset, mark) {
            (WatchReset::Forgotten, _) => self.counts.add(Kind::WatchForgotten),
            (WatchReset::Lost, Some(mark)) => {
                self.counts.add(Kind::WatchLost);
                let mut asked = Asked {
                    key: 0,
                    action: Action::Get,
                    condition: Condition::default(),
                    concern: None,
                    with: Vec::new(),
                    list: None,
                    token: watched.token.clone(),
                    past: std::mem::take(&mut watched.past),
                    wrote: None,
                };
                self.check_lost(replica, &mut asked, &mark.past, probe);
                (watched.past, watched.token) = (asked.past, mark.past.clone());
                watched.seen.fill(0);
            }
            (WatchReset::Lost, None) => self.fail(Invariant::Watch, Sign::WatchTurn, Some(replica), || {
                "says that writes are lost, and not what is left".into()
            }),
        }
    }

    /// The present state of a key is what is there.
    fn on_told(&mut self, replica: usize, watched: &mut Watched, change: &WatchChange) {
        let key = self.keys.iter().position(|key| key == change.key()).map(|key| key as u8);
        let Some(key) = key.filter(|key| watched.range.contains(key)) else {
            return self.fail(Invariant::Watch, Sign::WatchWrong, Some(replica), || {
                format!("tells a watch {}, which is no key of it", words::change(change))
            });
        };
        let shape = if watched.keys_only { ListShape::Keys } else { ListShape::Values };
        let live = &self.truth.holdings[replica].live[usize::from(key)];
        let right = match change {
            WatchChange::Put(item @ Listed { .. }) => !live.is_empty() && self.is_item(replica, shape, item, key),
            WatchChange::Delete(_) => live.is_empty(),
        };
        if !right {
            let truly = self.truth.shown(replica, key);
            let truly: Vec<Dot> = truly.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            self.fail(Invariant::Watch, Sign::WatchWrong, Some(replica), || {
                format!("tells a watch {}; truly there is {}", words::change(change), words::writes(&truly))
            });
        }
        watched.told[usize::from(key)] = match change {
            WatchChange::Put(item) => item.dots.clone(),
            WatchChange::Delete(_) => Dots::new(),
        };
        self.counts.add_if(Kind::WatchDeleted, matches!(change, WatchChange::Delete(_)));
    }

    /// With a mark a watch holds all that is there, and knows what its replica had.
    fn on_mark(
        &mut self,
        replica: usize,
        watched: &mut Watched,
        past: &VersionVector,
        known: &VersionVector,
        synced: bool,
    ) {
        self.counts.add(Kind::WatchMarked);
        if let Some(key) = self.differs(replica, watched) {
            let (told, truly) = (watched.told[usize::from(key)].clone(), self.truth.shown(replica, key));
            let truly: Vec<Dot> = truly.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            self.fail(Invariant::Watch, Sign::WatchWrong, Some(replica), || {
                format!(
                    "a watch has a mark and holds {} of k{key}; truly there is {}",
                    words::writes(&told),
                    words::writes(&truly)
                )
            });
        }
        if self.truth.closure_of(known) != self.truth.holdings[replica].included {
            self.fail(Invariant::Watch, Sign::WatchKnows, Some(replica), || {
                format!("a mark knows {}, which is not what is there", words::past(known))
            });
        }
        if synced == watched.is_synced {
            self.fail(Invariant::Watch, Sign::WatchTurn, Some(replica), || {
                format!("the first mark says that it is the first, and no other does: {synced}")
            });
        }
        let lacking = bits::lacking(&self.truth.holdings[replica].included, &watched.seen);
        if let Some(&number) = lacking.first() {
            let dot = self.truth.writes[number].dot;
            self.fail(Invariant::Watch, Sign::WatchBack, Some(replica), || {
                format!("a watch had seen what {dot} did, which is not there")
            });
        }
        self.check_watch_bound(replica, watched, past);
        let rests_on = self.rests_on(replica, watched);
        for &number in &rests_on {
            bits::join(&mut watched.past, self.truth.closures.row(number as usize));
        }
        watched.seen = self.writes_of(replica, watched);
        watched.token = past.clone();
        (watched.is_synced, watched.is_open) = (true, false);
    }

    /// A key of which a watch holds something else than what is there.
    pub fn differs(&self, replica: usize, watched: &Watched) -> Option<u8> {
        watched.range.iter().copied().find(|&key| {
            let shown = self.truth.shown(replica, key);
            let mut dots: Vec<Dot> = shown.iter().map(|&number| self.truth.writes[number as usize].dot).collect();
            dots.sort_unstable();
            watched.told[usize::from(key)].as_slice() != dots
        })
    }

    /// The versions that it shows, and the deletes of its keys.
    fn rests_on(&self, replica: usize, watched: &Watched) -> Numbers {
        let holding = &self.truth.holdings[replica];
        let of = |&key: &u8| holding.live[usize::from(key)].iter().chain(&holding.deletes[usize::from(key)]).copied();
        watched.range.iter().flat_map(of).collect()
    }

    /// What is included of all that wrote its keys.
    fn writes_of(&self, replica: usize, watched: &Watched) -> Vec<u64> {
        let mut writes = self.truth.closures.empty();
        for (number, write) in self.truth.writes.iter().enumerate() {
            let is_included = bits::has(&self.truth.holdings[replica].included, number);
            if is_included && write.changes.iter().any(|change| watched.range.contains(&change.key)) {
                bits::put(&mut writes, number);
            }
        }
        writes
    }

    /// The past covers all that a watch rests on. Each of its entries is of what wrote its keys, of a delete, or of the
    /// client's own past.
    fn check_watch_bound(&mut self, replica: usize, watched: &Watched, past: &VersionVector) {
        let covered = self.truth.closure_of(past);
        let rests_on = self.rests_on(replica, watched);
        if let Some(&number) = rests_on.iter().find(|&&number| !bits::has(&covered, number as usize)) {
            let dot = self.truth.writes[number as usize].dot;
            self.fail(Invariant::Watch, Sign::WatchUnbound, Some(replica), || {
                format!("a mark rests on {dot}, and its past covers only {}", words::past(past))
            });
        }
        if !bits::within(&watched.past, &covered) {
            self.fail(Invariant::Watch, Sign::WatchUnbound, Some(replica), || {
                format!("a mark's past covers only {}, and its client knew more", words::past(past))
            });
        }
        let (writes, deletes) = (self.writes_of(replica, watched), &self.truth.holdings[replica].deletes);
        let is_delete = |number: Number| deletes.iter().any(|deletes| deletes.contains(&number));
        let is_allowed = |&(incarnation, counter): &(_, u64)| {
            // What stands for a life that is over is as good as what it stands for.
            let number = self.truth.number(Dot { incarnation, counter });
            watched.token.counter(incarnation) >= counter
                || number.is_none_or(|number| {
                    bits::has(&writes, number as usize)
                        || is_delete(number)
                        || self.truth.writes[number as usize].changes.is_empty()
                })
        };
        if let Some((incarnation, counter)) = past.entries().find(|entry| !is_allowed(entry)) {
            self.fail(Invariant::Watch, Sign::WatchBound, Some(replica), || {
                format!("a mark binds its reader to {}, which it does not rest on", Dot { incarnation, counter })
            });
        }
    }
}
