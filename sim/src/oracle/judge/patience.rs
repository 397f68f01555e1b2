//! How often interruptions may have put off the repair of what a replica lacks (PULL-2). A replica repairs at once what
//! they have put off often enough. The oracle counts itself, from what arrived and what is missing. It counts at least
//! as often as a replica does.

use super::Judge;
use hence_checker::bits;

/// Repair of the same gap is put off so often.
const TIMES: u8 = 4;

/// What is counted of all links.
#[derive(Debug)]
pub(super) struct PutOff {
    replicas: usize,
    silence: u64,
    delay: u64,
    /// Per link: how often, and when that was last counted.
    links: Vec<(u8, u64)>,
}

impl PutOff {
    pub(super) fn new(replicas: usize) -> Self {
        Self { replicas, silence: u64::MAX, delay: u64::MAX, links: vec![(0, 0); replicas * replicas] }
    }
}

impl Judge {
    /// A replica may take a link for interrupted where it was silent for longer than `silence`. What happens within
    /// `delay` counts once. Both in microseconds.
    pub fn allow_patience(&mut self, silence: u64, delay: u64) {
        (self.put_off.silence, self.put_off.delay) = (silence, delay);
    }

    /// Something came over a link after so long a silence, or from a life that had not been met.
    pub(super) fn note_silence(&mut self, from: usize, to: usize, silence: u64) {
        if silence <= self.put_off.silence {
            return;
        }
        let oldest = self.lacking_since(to);
        let (now, delay) = (self.now, self.put_off.delay);
        let (times, last) = &mut self.put_off.links[from * self.put_off.replicas + to];
        if oldest.is_none_or(|made| made > *last) {
            *times = 0;
        }
        if oldest.is_some() && (*times == 0 || now - *last >= delay) {
            (*times, *last) = (times.saturating_add(1), now);
        }
    }

    /// When the first write was made that is missing here. What another replica holds is missing. What no replica
    /// holds any longer may be missed for a while.
    fn lacking_since(&self, replica: usize) -> Option<u64> {
        let here = &self.truth.holdings[replica].included;
        let lost = self.now.saturating_sub(self.put_off.delay.saturating_mul(3));
        let held = |number: usize| self.truth.holdings.iter().any(|holding| bits::has(&holding.included, number));
        let missing = |number: &usize| !bits::has(here, *number);
        let mut missing = (0..self.ways.count()).filter(missing);
        missing.find(|&number| self.ways.made(number) >= lost || held(number)).map(|number| self.ways.made(number))
    }

    /// May interruptions of this link have put off what is missing as often as they may?
    #[must_use]
    pub fn is_put_off_enough(&self, from: usize, to: usize) -> bool {
        self.put_off.links[from * self.put_off.replicas + to].0 > TIMES
    }
}
