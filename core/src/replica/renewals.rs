//! How often a replica takes a new incarnation (ID-2).
//!
//! Two live processes at one address would each take a newer incarnation than the other, without end. So after a few
//! within a minute the next one waits, each time for longer.

use crate::time::{Micros, Time};
use alloc::collections::VecDeque;

/// More new incarnations than this within [`CONTEST_SPAN`] mean that two live processes share an address.
const RENEWALS_MAX: usize = 3;
const CONTEST_SPAN: Micros = Micros::from_seconds(60);
const BACKOFF_MAX: Micros = Micros::from_seconds(60);

/// The new incarnations of the last minute, and when the next may begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Renewals {
    recent: VecDeque<Time>,
    backoff: Micros,
    /// A new incarnation is due then.
    due: Option<Time>,
}

/// What to do where another incarnation is the newest at the own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    Now,
    /// The address is contested; a new incarnation begins after so long.
    After(Micros),
    /// That was said before.
    Waits,
}

impl Renewals {
    pub(super) fn next(&mut self, now: Time) -> Renewal {
        while self.recent.front().is_some_and(|&at| now.since(at) > CONTEST_SPAN) {
            self.recent.pop_front();
        }
        if self.recent.len() < RENEWALS_MAX {
            self.backoff = Micros::ZERO;
            return Renewal::Now;
        }
        match self.due {
            Some(due) if now >= due => Renewal::Now,
            Some(_) => Renewal::Waits,
            None => {
                self.backoff = self.backoff.times(2).max(Micros::from_seconds(1)).min(BACKOFF_MAX);
                self.due = Some(now + self.backoff);
                Renewal::After(self.backoff)
            }
        }
    }

    /// No newer incarnation is known at the own address.
    pub(super) const fn cancel(&mut self) {
        self.due = None;
    }

    /// A new incarnation begins.
    pub(super) fn on_renewal(&mut self, now: Time) {
        self.recent.push_back(now);
        self.due = None;
    }

    #[inline]
    pub(super) fn timeout(&self) -> Time {
        self.due.unwrap_or(Time::NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contested_address_backs_off_and_recovers() {
        let (mut renewals, mut now) = (Renewals::default(), Time(1));
        for _ in 0..RENEWALS_MAX {
            assert_eq!(renewals.next(now), Renewal::Now);
            renewals.on_renewal(now);
        }
        for seconds in [1, 2, 4] {
            let pause = Micros::from_seconds(seconds);
            assert_eq!(renewals.next(now), Renewal::After(pause));
            assert_eq!((renewals.next(now), renewals.timeout()), (Renewal::Waits, now + pause));
            now = now + pause;
            assert_eq!(renewals.next(now), Renewal::Now);
            renewals.on_renewal(now);
        }
        assert_eq!(renewals.next(now), Renewal::After(Micros::from_seconds(8)));
        renewals.cancel();
        assert_eq!(renewals.timeout(), Time::NEVER);
        now = now + CONTEST_SPAN + CONTEST_SPAN;
        assert_eq!(renewals.next(now), Renewal::Now, "it was calm for a minute");
    }
}
