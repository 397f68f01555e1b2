//! Whether one peer is suspected (FAIL-1, FAIL-2).
//!
//! Invariants kept here:
//! - A peer is suspected after a silence for which no other member vouched, and until a link to it stands again.
//! - While others are asked whether they hear it, it is not suspected.

use crate::config::Config;
use crate::failure_detector::FailureDetector;
use crate::time::{Micros, Time};

/// How long others have to vouch for a silent member.
const VOUCH_WAIT: Micros = Micros::from_millis(500);

#[derive(Debug, Clone)]
pub(super) struct Suspect {
    detector: FailureDetector,
    /// It is suspected since then.
    since: Option<Time>,
    /// Others were asked whether they hear it, at that time.
    probed_at: Option<Time>,
    /// Another member heard it, at that time.
    vouched_at: Option<Time>,
}

/// What a silence calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    Nothing,
    AskOthers,
    Suspect,
}

impl Suspect {
    pub(super) fn new(now: Time) -> Self {
        Self { detector: FailureDetector::new(now), since: None, probed_at: None, vouched_at: None }
    }

    #[inline]
    pub(super) const fn is_suspected(&self) -> bool {
        self.since.is_some()
    }

    /// Since when it is suspected.
    pub(super) const fn since(&self) -> Option<Time> {
        self.since
    }

    /// The time since it was last heard.
    pub(super) fn silent_for(&self, now: Time) -> Micros {
        now.since(self.detector.last_arrival())
    }

    /// Was it heard within so long?
    pub(super) fn has_arrivals(&self, now: Time, within: Micros) -> bool {
        self.silent_for(now) <= within
    }

    #[inline]
    pub(super) fn on_arrival(&mut self, now: Time) {
        self.detector.on_arrival(now);
    }

    /// The own process did not run for so long.
    pub(super) fn exclude_stall(&mut self, stalled: Micros, now: Time) {
        self.detector.exclude_stall(stalled, now);
    }

    /// What its silence calls for. `suspects` says whether a silence beyond the threshold, or none, is doubted.
    pub(super) fn check(&self, now: Time, config: &Config, suspects: impl FnOnce(bool) -> bool) -> Silence {
        match self.probed_at {
            _ if self.is_suspected() => Silence::Nothing,
            None if suspects(self.detector.suspect_at(config) <= now) => Silence::AskOthers,
            Some(at) if now >= at + VOUCH_WAIT && self.vouched_at.is_some_and(|vouched| vouched >= at) => {
                Silence::AskOthers
            }
            Some(at) if now >= at + VOUCH_WAIT => Silence::Suspect,
            None | Some(_) => Silence::Nothing,
        }
    }

    /// Others are asked whether they hear it.
    pub(super) fn probe(&mut self, now: Time) {
        assert!(!self.is_suspected(), "others are asked about a peer that is suspected");
        self.probed_at = Some(now);
    }

    /// Another member hears it.
    pub(super) const fn vouch(&mut self, now: Time) {
        self.vouched_at = Some(now);
    }

    pub(super) fn suspect(&mut self, now: Time) {
        assert!(!self.is_suspected(), "suspected since {:?}, and now", self.since);
        self.since = Some(now);
        self.probed_at = None;
    }

    /// A link to it stands. Returns whether it was suspected.
    pub(super) fn on_linked(&mut self, now: Time) -> bool {
        self.detector.on_arrival(now);
        self.probed_at = None;
        self.since.take().is_some()
    }

    /// When it needs attention next.
    #[inline]
    pub(super) fn timeout(&self, config: &Config) -> Time {
        match self.probed_at {
            _ if self.is_suspected() => Time::NEVER,
            Some(at) => at + VOUCH_WAIT,
            None => self.detector.suspect_at(config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_doubted_unless_another_member_hears_the_peer() {
        let (config, beyond) = (Config::default(), |beyond| beyond);
        let mut suspect = Suspect::new(Time(0));
        assert_eq!(suspect.check(Time(1), &config, beyond), Silence::Nothing);
        let now = suspect.timeout(&config);
        assert_eq!(suspect.check(now, &config, beyond), Silence::AskOthers);
        suspect.probe(now);
        assert_eq!(suspect.check(now, &config, beyond), Silence::Nothing, "others have a moment to answer");
        let later = suspect.timeout(&config);
        assert_eq!(suspect.check(later, &config, beyond), Silence::Suspect);
        suspect.vouch(now);
        assert_eq!(suspect.check(later, &config, beyond), Silence::AskOthers, "another member hears it");
        suspect.suspect(later);
        assert_eq!((suspect.since(), suspect.timeout(&config)), (Some(later), Time::NEVER));
        assert!(suspect.on_linked(later) && !suspect.is_suspected() && !suspect.on_linked(later));
        assert!(
            suspect.has_arrivals(later + Micros(5), Micros(5)) && !suspect.has_arrivals(later + Micros(6), Micros(5))
        );
    }
}
