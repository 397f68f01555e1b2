//! Answers clients: the gate, reads, writes, conditions and waiting (protocol, section Requests).
//!
//! Every request gets exactly one reply, unless it is cancelled. No client waits for a peer unless it asked to.

use super::Replica;
use crate::data::Key;
use crate::edge::Event;
use crate::hlc::Hlc;
use crate::op::{Effect, Op};
use crate::request::{Action, Condition, DataRequest, Refusal, Reply, Request, RequestId, Written};
use crate::rules::Rules;
use crate::siblings::Siblings;
use crate::time::{Micros, Time, Wall};
use crate::vector::{Dot, VersionVector};
use alloc::sync::Arc;

impl<R: Rules> Replica<R> {
    pub(super) fn on_request(&mut self, id: RequestId, request: Request) {
        let reply = match request {
            Request::Data(request) => return self.on_data(id, request),
            Request::View => Reply::View(self.listed()),
            Request::ViewAdd(address) => self.add_member(&address),
            Request::ViewRemove(address) => self.remove_member(&address),
        };
        self.reply(id, reply);
    }

    /// Serves data requests: it has loaded its state and an operator wants it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.joining.is_none() && self.wanted
    }

    fn on_data(&mut self, id: RequestId, request: DataRequest) {
        match self.gate(&request) {
            None => {
                let reply = self.serve(request);
                self.reply(id, reply);
            }
            Some(Refusal::NotCovered)
                if request.wait > Micros::ZERO && self.waiting.len() < self.config.waiting_max =>
            {
                let deadline = self.now.monotonic + request.wait.min(self.config.wait_max);
                self.park_request(id, request, deadline);
                self.maybe_pull();
            }
            Some(refusal) => self.reply(id, Reply::Refused(refusal)),
        }
    }

    fn gate(&self, request: &DataRequest) -> Option<Refusal> {
        if request.past.counter(self.me) > self.vector.counter(self.me) {
            Some(Refusal::Impossible)
        } else if !self.is_ready() {
            Some(Refusal::NotReady)
        } else if !self.rules.may_serve(&self.vector, &request.past) {
            Some(Refusal::NotCovered)
        } else {
            None
        }
    }

    fn park_request(&mut self, id: RequestId, request: DataRequest, deadline: Time) {
        let missing = self.vector.missing(&request.past).next();
        match missing {
            Some(dot) => self.waiting.insert(id, request, dot, deadline),
            None => self.reply(id, Reply::Refused(Refusal::NotCovered)),
        }
    }

    /// Coverage moved: serves the waiting requests whose turn has come, moves others to what they still miss.
    pub(super) fn wake_waiting(&mut self) {
        for id in self.waiting.covered(&self.vector) {
            let Some((request, deadline)) = self.waiting.remove(id) else { continue };
            match self.gate(&request) {
                None => {
                    let reply = self.serve(request);
                    self.reply(id, reply);
                }
                Some(Refusal::NotCovered) => self.park_request(id, request, deadline),
                Some(refusal) => self.reply(id, Reply::Refused(refusal)),
            }
        }
    }

    pub(super) fn refuse_expired(&mut self) {
        for id in self.waiting.expired(self.now.monotonic) {
            self.waiting.remove(id);
            let refusal = if self.is_ready() { Refusal::NotCovered } else { Refusal::NotReady };
            self.reply(id, Reply::Refused(refusal));
        }
    }

    fn serve(&mut self, request: DataRequest) -> Reply {
        let shown = self.store.siblings(&request.key);
        let deletes = self.log.deletes_of(&request.key);
        if let Some(unmet) = unmet(&request.condition, shown) {
            let token = self.rules.answer(&request.past, shown, &deletes);
            let siblings = shown.clone();
            return match (&request.action, unmet) {
                (Action::Get, Unmet::NoneMatch) => Reply::NotModified { siblings, token },
                (Action::Get | Action::Put(_) | Action::Delete, _) => Reply::PreconditionFailed { siblings, token },
            };
        }
        match request.action {
            Action::Get | Action::Delete if shown.is_empty() => {
                Reply::Absent { token: self.rules.answer(&request.past, shown, &deletes) }
            }
            Action::Get => {
                let token = self.rules.answer(&request.past, shown, &deletes);
                Reply::Found { siblings: shown.clone(), token }
            }
            Action::Put(value) => {
                drop(deletes);
                let bytes = (request.key.as_str().len() + value.as_bytes().len() + 64) as u64;
                if self.store.bytes().saturating_add(bytes) > self.config.store_bytes_max {
                    return Reply::Refused(Refusal::WriteLimit);
                }
                self.write(request.key, Effect::Put(value), &request.past)
            }
            Action::Delete => {
                drop(deletes);
                self.write(request.key, Effect::Delete, &request.past)
            }
        }
    }

    /// Makes an operation, applies it, logs it and pushes it, in one step.
    fn write(&mut self, key: Key, effect: Effect, past: &VersionVector) -> Reply {
        let superseded = self.rules.supersedes(self.store.siblings(&key));
        let mut token = self.rules.dependencies(past, &superseded, &self.log.deletes_of(&key));
        let own = self.vector.counter(self.me);
        let deps = VersionVector::from_entries(self.implied.missing(&token).filter(|&(i, _)| i != self.me));
        self.implied.join(&deps);
        let dot = Dot { incarnation: self.me, counter: own + 1 };
        let hlc = self.stamp();
        let op = Arc::new(Op { dot, hlc, key, effect, superseded, deps });
        self.apply(&op);
        self.log.append_own(op.clone(), self.now.monotonic);
        self.push_own();
        self.trim_log();
        token.join_dot(dot);
        Reply::Written(Written { dot, superseded: op.superseded.clone(), token })
    }

    fn stamp(&mut self) -> Hlc {
        let wall = self.trusted_wall();
        self.rules.stamp(self.clock, wall)
    }

    /// The wall clock, unless it is far ahead of what every peer last told: then it is not used.
    fn trusted_wall(&mut self) -> Option<Wall> {
        let now = self.now;
        let ahead_of = |&(wall, at): &(Wall, Time)| {
            let theirs = wall.0.saturating_add(now.monotonic.since(at).0);
            now.wall.0.saturating_sub(theirs) > self.config.wall_ahead_max.0
        };
        let mut told = self.peers.iter().filter(|peer| peer.link.established).filter_map(|peer| peer.walls.as_ref());
        let trusted = match told.next() {
            None => true,
            Some(first) => !(ahead_of(first) && told.all(ahead_of)),
        };
        if trusted != self.wall_trusted {
            self.wall_trusted = trusted;
            self.emit(Event::ClockTrusted(trusted));
        }
        trusted.then_some(now.wall)
    }
}

enum Unmet {
    Match,
    NoneMatch,
}

/// The precondition that these versions do not meet, in the order of RFC 9110, section 13.2.2.
fn unmet(condition: &Condition, shown: &Siblings) -> Option<Unmet> {
    if condition.if_match.as_ref().is_some_and(|wanted| !wanted.matches(shown)) {
        return Some(Unmet::Match);
    }
    let refused = condition.if_none_match.as_ref().is_some_and(|unwanted| unwanted.matches(shown));
    refused.then_some(Unmet::NoneMatch)
}
