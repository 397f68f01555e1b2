//! What oracles of write concern need from the whole world: when a request came, and what else waits.

use super::World;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::Asked;
use crate::oracle::judge::concern::Spread;
use crate::oracle::judge::memory::answer_bytes;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::oracle::words;
use crate::subject::{Load, Subject};
use hence_core::{Micros, Refusal, Reply, Request, WriteConcern};

/// May this be answered later than in the step in which it arrives?
pub(super) fn may_wait(request: &Request) -> bool {
    let spreads = |concern: Option<WriteConcern>| concern.is_some_and(|concern| concern.wait > Micros::ZERO);
    match request {
        Request::Data(request) => request.wait > Micros::ZERO || spreads(request.concern),
        Request::Batch(batch) => batch.wait > Micros::ZERO || spreads(batch.concern),
        Request::List(_) => true, // until a state is merged in, though it says nothing of waiting
        Request::Watch(_) | Request::View | Request::ViewAdd(_) | Request::ViewRemove(_) => false,
    }
}

impl<S: Subject> World<S> {
    /// A write was answered that was to be elsewhere, too, or was refused because of that.
    pub(super) fn judge_concern(&mut self, replica: usize, number: usize, reply: &Reply) {
        if let Reply::Spread { .. } = reply {
            self.judge_spread(replica, number, reply);
        } else if let Reply::Refused(Refusal::TooFewMembers | Refusal::NoRoomToWait) = reply {
            self.check_concern_refused(replica, number, reply);
        }
    }

    fn judge_spread(&mut self, replica: usize, number: usize, reply: &Reply) {
        let attempt = &self.attempts[number];
        let (Some(asked), Reply::Spread { holders, reached, .. }) = (&attempt.asked, reply) else { return };
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let wait = asked.concern.map_or(Micros::ZERO, |concern| concern.wait).min(self.config.wait_max);
        // By the clock of the process that was asked. Of one that stood still it is not known what it said before.
        let clock = &self.nodes[replica].clock;
        let over = clock.when(clock.now(attempt.arrived_at).monotonic + wait);
        let time_over = self.now + 1_000 >= over || !self.runs_well(replica);
        let spread = Spread { holders, reached: *reached, time_over };
        self.judge.on_spread(replica, asked, spread, probe);
    }

    /// A write was refused for the concern that it has: there are fewer members, or too many requests wait.
    fn check_concern_refused(&mut self, replica: usize, number: usize, reply: &Reply) {
        let Some(asked) = &self.attempts[number].asked else { return };
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        if matches!(reply, Reply::Refused(Refusal::TooFewMembers)) {
            return self.judge.on_too_few_members(replica, asked, probe);
        }
        if asked.list.is_some() {
            return self.check_list_refused(replica, number);
        }
        let (load, settings) = (probe.load(), &self.plan.settings);
        let bytes = answer_bytes(probe) + self.judge.shown_bytes(replica, asked);
        let short = self.judge.is_full_beside(replica, asked, probe, bytes as u64);
        let fits = |load: &Load| {
            load.waiting < settings.blocked_max && load.waiting_bytes + bytes <= settings.blocked_bytes_max
        };
        let waits = asked.concern.is_some_and(|concern| concern.wait > Micros::ZERO);
        // One input may answer others, before this one or after.
        let room = fits(&load) && fits(self.judge.load_before(replica)) && !short;
        self.judge.counts.add(Kind::ConcernNoRoom);
        if room || !waits {
            self.judge.fail(Invariant::Concern, Sign::SentAway, Some(replica), || {
                format!("sent a write away that was to spread, beside {}", words::load(&load))
            });
        }
    }

    /// A list that would have to wait was sent away: there is no room for it.
    fn check_list_refused(&mut self, replica: usize, number: usize) {
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let own = self.attempts[number].asked.as_ref().map_or(0, Asked::value_bytes);
        let (load, settings) = (probe.load(), &self.plan.settings);
        let short = self.judge.is_full(replica, probe, own as u64);
        let fits =
            |load: &Load| load.waiting < settings.blocked_max && load.waiting_bytes + own <= settings.blocked_bytes_max;
        if fits(&load) && fits(self.judge.load_before(replica)) && !short {
            self.judge.fail(Invariant::Liveness, Sign::SentAway, Some(replica), || {
                format!("sent a list away that had to wait, beside {}", words::load(&load))
            });
        }
    }
}
