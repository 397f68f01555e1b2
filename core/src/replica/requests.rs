//! Answers clients: the gate, reads, writes, conditions and waiting (REQ-1 to REQ-6).
//!
//! Every request gets exactly one reply, unless it is cancelled. No client waits for a peer unless it asked to.

use super::Replica;
use super::blocked::ForKeys;
use super::budget::Change;
use crate::edge::Event;
use crate::formats::Formats;
use crate::hlc::Hlc;
use crate::op::{Dots, Effect, Op};
use crate::request::{Action, Condition, DataRequest, Refusal, Reply, Request, RequestId, Written};
use crate::rules::{Rule, Rules};
use crate::siblings::Siblings;
use crate::table::Place;
use crate::time::{Micros, Time, Wall};
use crate::vector::VersionVector;
use alloc::sync::Arc;

/// Units of work that a request costs at least for each key if it writes. A key is looked at and written, and the log is cut by as
/// much as it grew. Pushes, and further cuts, take what room is left.
const REQUEST_COSTS: usize = 3;

impl<R: Rules> Replica<R> {
    pub(super) fn on_request(&mut self, id: RequestId, request: Request) {
        let reply = match request {
            Request::Data(request) => return self.on_data(id, ForKeys::One(request)),
            Request::Batch(batch) => match self.is_too_large(&batch) {
                None => return self.on_data(id, ForKeys::Batch(batch)),
                Some(refusal) => Reply::Refused(refusal),
            },
            Request::List(list) => return self.on_data(id, ForKeys::List(list)),
            Request::Watch(watch) => return self.on_watch(id, watch),
            Request::View => Reply::View(self.listed()),
            Request::ViewAdd(address) => self.add_member(&address),
            Request::ViewRemove(address) => self.remove_member(&address),
        };
        self.effects.reply(id, reply);
    }

    /// Serves data requests: it has loaded its state and an operator wants it. Whether clients should be sent to it is told
    /// by [`Self::readiness`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.startup.is_joining() && self.membership.is_member()
    }

    fn on_data(&mut self, id: RequestId, mut request: ForKeys) {
        if let Some(past) = self.data.compacted(&self.rules, request.past()) {
            *request.past_mut() = past;
        }
        match self.gate(&request) {
            None => {
                let wait = request.concern().map_or(Micros::ZERO, |concern| concern.wait.min(self.config.wait_max));
                self.answer(id, request, self.now.monotonic + wait);
            }
            Some(Refusal::NotCovered) => self.on_not_covered(id, request),
            Some(refusal) => self.effects.reply(id, Reply::Refused(refusal)),
        }
    }

    fn answer(&mut self, id: RequestId, request: ForKeys, deadline: Time) {
        let concern = request.concern().map(|concern| (concern.holders, deadline));
        let reply = match request {
            ForKeys::One(request) => self.serve(*request),
            ForKeys::Batch(batch) => self.serve_batch(&batch),
            ForKeys::List(list) => return self.answer_list(id, list),
        };
        self.reply_when_spread(id, reply, concern);
    }

    fn on_not_covered(&mut self, id: RequestId, request: ForKeys) {
        self.query_lost(request.past());
        self.maybe_query();
        if let Some(token) = self.lost(request.past()) {
            self.effects.reply(id, Reply::Lost { token });
        } else if request.wait() > Micros::ZERO && self.may_wait(&request) {
            let deadline = self.now.monotonic + request.wait().min(self.config.wait_max);
            self.block_request(id, request, deadline);
            self.maybe_pull();
        } else {
            self.effects.reply(id, Reply::Refused(Refusal::NotCovered));
        }
    }

    fn may_wait(&self, request: &ForKeys) -> bool {
        self.has_place_to_wait(request.value_bytes())
    }

    /// May one more request with so many bytes wait, for whatever it is?
    pub(super) fn has_place_to_wait(&self, bytes: usize) -> bool {
        self.has_place_to_wait_beside(bytes, 0)
    }

    /// The same, where the store is to grow by so many bytes before.
    pub(super) fn has_place_to_wait_beside(&self, bytes: usize, growth: u64) -> bool {
        self.blocked() < self.config.blocked_max
            && self.blocked_bytes() + bytes <= self.config.blocked_bytes_max
            && self.budget.has_room(&self.memory(), growth + bytes as u64)
    }

    pub(super) fn gate(&self, request: &ForKeys) -> Option<Refusal> {
        if request.past().counter(self.membership.incarnation())
            > self.data.context().counter(self.membership.incarnation())
        {
            Some(Refusal::Impossible)
        } else if !self.is_ready() {
            Some(Refusal::NotReady)
        } else if self.has_too_few_members(request.concern()) {
            Some(Refusal::TooFewMembers)
        } else if !self.may_use(request.format()) {
            Some(Refusal::Upgrading)
        } else if !self.rules.may_serve(self.data.context(), request.past()) {
            Some(Refusal::NotCovered)
        } else {
            None
        }
    }

    fn block_request(&mut self, id: RequestId, request: ForKeys, deadline: Time) {
        let missing = self.data.context().missing(request.past()).next();
        match missing {
            Some(dot) => self.blocked.insert(id, request, dot, deadline),
            None => self.effects.reply(id, Reply::Refused(Refusal::NotCovered)),
        }
    }

    /// Coverage moved: serves the blocked requests whose turn has come, moves others to what they still miss.
    pub(super) fn wake_blocked(&mut self) {
        while self.blocked.is_noted() {
            let room = self.effects.room();
            if room < REQUEST_COSTS {
                self.effects.defer();
                return;
            }
            let (id, looked) = self.blocked.next_reached(self.data.context(), (room - REQUEST_COSTS).max(1));
            self.effects.did(looked);
            if id.is_some_and(|id| self.blocked.units_of(id, REQUEST_COSTS) > self.effects.room()) {
                self.effects.defer();
                return;
            }
            let Some((id, (request, deadline))) = id.and_then(|id| Some((id, self.blocked.remove(id)?))) else {
                continue;
            };
            match self.gate(&request) {
                None => self.answer(id, request, deadline),
                Some(Refusal::NotCovered) => {
                    self.effects.did(1);
                    self.block_request(id, request, deadline);
                }
                Some(refusal) => {
                    self.effects.did(1);
                    self.effects.reply(id, Reply::Refused(refusal));
                }
            }
        }
    }

    pub(super) fn refuse_expired(&mut self) {
        if !self.rules.follows(Rule::WaitsEnd) {
            return;
        }
        if self.blocked.is_noted() {
            // The past of some of them may be here by now: the next call looks at that first.
            return self.effects.defer();
        }
        let room = self.effects.room();
        let expired = self.blocked.expired(self.now.monotonic, room);
        self.effects.defer_if(expired.len() >= room && !self.blocked.is_empty());
        self.effects.did(expired.len());
        for id in expired {
            self.blocked.remove(id);
            let refusal = if self.is_ready() { Refusal::NotCovered } else { Refusal::NotReady };
            self.effects.reply(id, Reply::Refused(refusal));
        }
    }

    fn serve(&mut self, request: DataRequest) -> Reply {
        self.effects.did(1);
        let place = self.data.touch(&self.rules, &request.key);
        let shown = self.data.store().siblings(place);
        let deletes = self.data.log().deletes_of(&request.key);
        if let Some(unmet) = unmet(&self.rules, &request.condition, shown) {
            let token = self.data.answer(&self.rules, &request.past, shown, &deletes);
            let siblings = shown.clone();
            return match (&request.action, unmet) {
                (Action::Get, Unmet::NoneMatch) => Reply::NotModified { siblings, token },
                (Action::Get | Action::Put(_) | Action::Delete, _) => Reply::PreconditionFailed { siblings, token },
            };
        }
        match request.action {
            Action::Get | Action::Delete if shown.is_empty() => {
                Reply::Absent { token: self.data.answer(&self.rules, &request.past, shown, &deletes) }
            }
            Action::Get => {
                let token = self.data.answer(&self.rules, &request.past, shown, &deletes);
                Reply::Found { siblings: shown.clone(), token }
            }
            Action::Put(value) => {
                drop(deletes);
                let change = Change::of(&request.key, value.as_bytes().len(), shown);
                if !self.admits(change) {
                    return Reply::Refused(Refusal::WriteLimit);
                }
                if self.lacks_room_to_spread(request.concern, change, || 0) {
                    return Reply::Refused(Refusal::NoRoomToWait);
                }
                self.write(Effect::Put { key: request.key, value }, place, &request.past)
            }
            Action::Delete if self.lacks_room_to_spread(request.concern, Change::default(), || 0) => {
                Reply::Refused(Refusal::NoRoomToWait)
            }
            Action::Delete => {
                drop(deletes);
                let key = request.key;
                let effect =
                    if request.format >= Formats::TEST { Effect::Erase { key } } else { Effect::Delete { key } };
                self.write(effect, place, &request.past)
            }
        }
    }

    fn write(&mut self, effect: Effect, place: Place, past: &VersionVector) -> Reply {
        let (Effect::Put { key, .. } | Effect::Delete { key } | Effect::Erase { key }) = &effect else {
            unreachable!("clients write keys");
        };
        let superseded = self.rules.supersedes(self.data.store().siblings(place));
        let deletes = self.data.log().deletes_of(key);
        let beyond = self.rules.carried_beyond(&deletes);
        let mut token = past.clone();
        self.rules.depend(&mut token, &superseded, &deletes);
        drop(deletes);
        let mut token = self.data.compacted(&self.rules, &token).unwrap_or(token);
        let shrinks = !matches!(effect, Effect::Put { .. });
        let op = self.make(effect, &[place], superseded, &token);
        if shrinks {
            self.note_room(self.now.monotonic);
        }
        token.join_dot(op.dot);
        token.join(&beyond);
        Reply::Written(Written { dot: op.dot, superseded: op.superseded.clone(), token })
    }

    /// Makes an operation of this incarnation, applies it, logs it and pushes it, in one step. `places` says where its
    /// keys are.
    pub(super) fn make(
        &mut self,
        effect: Effect,
        places: &[Place],
        superseded: Dots,
        needs: &VersionVector,
    ) -> Arc<Op> {
        let deps = self.data.dependencies(self.membership.incarnation(), needs);
        let dot = self.data.next_dot(self.membership.incarnation());
        let hlc = self.stamp();
        let op = Arc::new(Op { dot, hlc, effect, superseded, deps: deps.into() });
        self.data.apply_own(&self.rules, &op, places, (self.now.monotonic, self.now.wall));
        self.after_apply(&op);
        self.push_own();
        self.trim_log();
        op
    }

    fn stamp(&mut self) -> Hlc {
        let wall = self.trusted_wall();
        self.rules.stamp(self.data.clock(), wall)
    }

    /// The wall clock, unless it is far ahead of what every peer last told: then it is not used.
    fn trusted_wall(&mut self) -> Option<Wall> {
        let now = self.now;
        let ahead_of = |&(wall, at): &(Wall, Time)| {
            let theirs = wall.0.saturating_add(now.monotonic.since(at).0);
            now.wall.0.saturating_sub(theirs) > self.config.wall_ahead_max.0
        };
        let mut samples =
            self.peers.iter().filter(|peer| peer.link.is_established()).filter_map(|peer| peer.wall_sample.as_ref());
        let trusted = match samples.next() {
            None => true,
            Some(first) => !(ahead_of(first) && samples.all(ahead_of)),
        };
        if trusted != self.wall_trusted {
            self.wall_trusted = trusted;
            self.effects.emit(Event::ClockTrusted(trusted));
        }
        trusted.then_some(now.wall)
    }
}

pub(super) enum Unmet {
    Match,
    NoneMatch,
}

/// The precondition that these versions do not meet, in the order of RFC 9110, section 13.2.2.
pub(super) fn unmet<R: Rules>(rules: &R, condition: &Condition, shown: &Siblings) -> Option<Unmet> {
    if condition.if_match.as_ref().is_some_and(|versions| !rules.matches(versions, shown)) {
        return Some(Unmet::Match);
    }
    let refused = condition.if_none_match.as_ref().is_some_and(|versions| rules.matches(versions, shown));
    refused.then_some(Unmet::NoneMatch)
}
