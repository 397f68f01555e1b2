//! After the heal: everything must become equal, quiet and served, in bounded time.

use super::tally::Messages;
use super::{Stage, World};
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::Asked;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::{Invariant, Verdict};
use crate::oracle::words;
use crate::plan::Plan;
use crate::random::{Domain, mix};
use crate::subject::{Probe, Subject};
use hence_checker::bits;
use hence_core::{Action, Condition, DataRequest, Formats, LinkState, Micros, Request, VersionVector};

/// How often it is looked whether the run has settled, in microseconds.
pub(super) const LOOK_EVERY: u64 = 50_000;

/// Messages that a link costs which is opened anew: hellos, views, statuses, what is asked of others, and a pull.
const OPENING_COSTS: u64 = 16;

/// Messages of a pull that ends because what it brings does not fit.
const TRY_COSTS: u64 = 16;

/// How often the closing reads are repeated because a view changed meanwhile.
const CLOSINGS_MAX: u64 = 8;

/// Most runs have at most so many replicas, one that replaces another included.
pub(super) const CROWD: usize = 6;

/// Why a run has not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// In one word.
    pub sign: Sign,
    /// Where.
    pub replica: Option<usize>,
    /// The particulars.
    pub detail: String,
}

impl<S: Subject> World<S> {
    /// Runs the whole plan: chaos, heal, quiet, closing reads.
    pub fn run(&mut self) -> Verdict {
        self.judge.counts.add_if(Kind::Crowd, self.nodes.len() > CROWD);
        self.run_until(self.plan.heal_at);
        if self.judge.violation.is_none() {
            self.heal();
            self.settle();
        }
        if self.judge.violation.is_none() && self.plan.core != 0 {
            // A replica that is cut off outside the core may still look linked until that is noticed. One that was may
            // bring news of orders that no replica in the core had heard of.
            self.run_until(self.now + self.plan.settings.suspect_after_max + 1_500_000);
            self.outlast_half_links();
            self.settle();
        }
        if self.judge.copied.is_so() {
            self.judge_twins();
            self.finish();
            return self.verdict();
        }
        if self.recovery.is_overfull() {
            // An operator has to give it more memory. Until then replicas differ, and say so.
            self.judge_overfull();
            self.finish();
            return self.verdict();
        }
        if self.judge.violation.is_none() {
            self.close();
        }
        if self.judge.violation.is_none() && self.plan.watch_idle {
            self.watch_idle();
        }
        self.finish();
        self.verdict()
    }

    fn settle(&mut self) {
        if self.core().all(|replica| self.subject(replica).is_some_and(|subject| subject.probe().is_none())) {
            // The judge cannot look inside, so it gets all the time that there is.
            return self.run_until(self.now + self.settle_max());
        }
        self.check_merges();
        self.hand_over();
        // What was stuck in a connection goes on when its retransmission timer fires.
        let deadline = self.now.max(self.recovery.stuck_until()) + self.settle_max();
        while self.judge.violation.is_none() && !self.judge.copied.is_so() {
            self.operate();
            self.run_until(self.now + LOOK_EVERY);
            if self.now < self.recovery.stuck_until() {
                continue;
            }
            let Some(why) = self.unsettled() else { return };
            if self.now >= deadline && self.judge.is_too_much() {
                return self.recovery.give_up_as_overfull();
            }
            if self.now >= deadline {
                let invariant = if why.sign == Sign::Unanswered {
                    Invariant::Liveness
                } else if why.sign == Sign::WatchStuck {
                    Invariant::Watch
                } else {
                    Invariant::Convergence
                };
                return self.judge.fail(invariant, why.sign, why.replica, || why.detail);
            }
        }
    }

    /// Over a link that is cut in one direction only, a member goes on hearing a replica that cannot hear it. Until
    /// that one doubts it, it counts as linked, and a token that it claims to cover is not asked about. Then the
    /// member's own doubt begins. So this is a second patience after the first, and no more.
    fn outlast_half_links(&mut self) {
        let deadline = self.now + self.plan.settings.suspect_after_max;
        while self.judge.violation.is_none() && self.now < deadline && self.is_half_linked() {
            self.run_until(self.now + LOOK_EVERY);
        }
    }

    /// Is a member linked to a replica outside with which it cannot exchange messages in both directions any more?
    fn is_half_linked(&self) -> bool {
        let count = self.nodes.len();
        let outside = || (0..count).filter(|&other| !self.plan.is_core(other));
        self.core().any(|member| {
            let Some(probe) = self.subject(member).and_then(S::probe) else { return false };
            outside().any(|other| {
                let links = [&self.links[member * count + other], &self.links[other * count + member]];
                links.iter().any(|link| link.is_cut())
                    && probe.link(&self.addresses[other]) == Some(LinkState::Established)
            })
        })
    }

    /// Those that are removed keep nothing to themselves: members fetch it, without any operator's help.
    fn hand_over(&mut self) {
        let deadline = self.now + self.settle_max();
        while self.judge.violation.is_none() && !self.judge.copied.is_so() {
            let Some((holder, member)) = self.kept_to_itself() else { return };
            if self.now >= deadline && self.judge.is_too_much() {
                return; // no replica has the memory to take it
            }
            if self.now >= deadline {
                return self.judge.fail(Invariant::Membership, Sign::KeptToItself, Some(holder), || {
                    format!("was removed and still holds what replica {member} lacks")
                });
            }
            self.run_until(self.now + LOOK_EVERY);
        }
    }

    /// One that is removed and holds what a member lacks, and that member.
    fn kept_to_itself(&self) -> Option<(usize, usize)> {
        let view = |replica: usize| self.subject(replica).and_then(S::probe).map(Probe::view);
        let is_member = |replica: usize| view(replica).is_some_and(|view| view.is_member(&self.addresses[replica]));
        // Clusters that have not met yet owe each other nothing.
        let knows = |replica: usize, other: usize| {
            let row = view(replica).and_then(|view| view.record(&self.addresses[other]));
            row.is_some_and(|row| row.generation > 0)
        };
        let (members, removed): (Vec<usize>, _) = self.core().partition(|&replica| is_member(replica));
        let met = |holder: usize, member: usize| knows(holder, member) && knows(member, holder);
        self.judge.kept_to_itself(&removed, &members, met)
    }

    /// What a run waits for that comes to no end, as far as it can be seen.
    pub(super) fn waits_for(&self) -> String {
        let unsettled = self.unsettled().map(|why| format!(": {}", why.detail));
        let kept = || self.kept_to_itself().map(|(holder, member)| format!(": {holder} holds what {member} lacks"));
        unsettled.or_else(kept).unwrap_or_default()
    }

    /// More was written apart than fits into one replica: all requests are answered, and a replica that lacks
    /// something says so.
    fn judge_overfull(&mut self) {
        self.count(Kind::TooMuch);
        if self.open > 0 {
            let open = self.open;
            self.judge.fail(Invariant::Liveness, Sign::Unanswered, None, || format!("{open} requests are open"));
        }
        let included = |replica: usize| &self.judge.truth.holdings[replica].included;
        let mut all = self.judge.truth.closures.empty();
        self.core().for_each(|replica| bits::join(&mut all, included(replica)));
        let silent = self.core().find(|&replica| {
            let says_so = self.subject(replica).and_then(S::probe).is_some_and(|it| it.load().memory.held_back);
            !says_so && !bits::within(&all, included(replica))
        });
        if let Some(replica) = silent {
            self.judge.fail(Invariant::Bounds, Sign::LacksSilently, Some(replica), || {
                "lacks what others hold for good, and does not say that it is held back".into()
            });
        }
    }

    /// What is not as it must be when everything is over; cheap checks first.
    #[must_use]
    pub fn unsettled(&self) -> Option<Unsettled> {
        let because = |sign, replica, detail: String| Some(Unsettled { sign, replica, detail });
        if self.open > 0 {
            return because(Sign::Unanswered, None, format!("{} requests are open", self.open));
        }
        let mut first = None;
        for replica in self.core() {
            let Some(subject) = &self.nodes[replica].subject else {
                return because(Sign::Down, Some(replica), "it does not run".into());
            };
            let Some(probe) = subject.probe() else { continue };
            let (_, vector, digest, view) =
                *first.get_or_insert((replica, probe.vector(), probe.digest(), probe.view()));
            let wrong = |&n: &usize| probe.view().is_member(&self.addresses[n]) != self.plan.is_core(n);
            if let Some(n) = (0..self.nodes.len()).find(wrong) {
                let sign = if self.plan.is_core(n) { Sign::Unwanted } else { Sign::WantedAgain };
                return because(sign, Some(replica), format!("{} after the operator's orders", self.addresses[n]));
            }
            if probe.vector().len() > self.core().count() {
                return because(
                    Sign::Lives,
                    Some(replica),
                    format!("still names lives that are over: {}", words::past(vector)),
                );
            }
            if !probe.is_ready() {
                return because(Sign::NotUp, Some(replica), "it is not up".into());
            }
            if probe.vector() != vector {
                return because(
                    Sign::Vectors,
                    Some(replica),
                    format!("covers {}, another {}", words::past(probe.vector()), words::past(vector)),
                );
            }
            if probe.digest() != digest {
                return because(Sign::Stores, Some(replica), "stores differ and vectors do not".into());
            }
            if probe.view() != view {
                return because(
                    Sign::Views,
                    Some(replica),
                    format!("has the view {}, another {}", words::view(probe.view()), words::view(view)),
                );
            }
        }
        self.unsettled_inside()
    }

    fn unsettled_inside(&self) -> Option<Unsettled> {
        for replica in self.core() {
            let Some(probe) = self.subject(replica).and_then(S::probe) else { continue };
            let load = probe.load();
            if load.parked > 0 || load.waiting > 0 || load.pulling {
                return Some(Unsettled {
                    sign: Sign::Busy,
                    replica: Some(replica),
                    detail: format!("still has {}", words::load(&load)),
                });
            }
            if self.knows_too_little(replica) {
                let detail = "not known to be upgraded".into();
                return Some(Unsettled { sign: Sign::Formats, replica: Some(replica), detail });
            }
            if !probe.is_settled() {
                return Some(Unsettled {
                    sign: Sign::Links,
                    replica: Some(replica),
                    detail: "not linked to all".into(),
                });
            }
        }
        self.unsettled_watch().or_else(|| self.kept_back())
    }

    /// Every client reads once more, with its token, somewhere: what is included must be served. Where the judge cannot
    /// look inside, every key is read at every replica, too.
    fn close(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        for closing in 0..CLOSINGS_MAX {
            let views = self.tally.view_changes();
            self.close_once(3 * closing);
            if self.views_changed_since(views) {
                // A replica outside the core brought news of an old order, late: an operator sets right what came of
                // it.
                self.judge.over = false;
                self.settle();
            } else {
                break;
            }
        }
        self.check_tokens();
        if self.open > 0 && self.judge.violation.is_none() {
            let open = self.attempts.iter().filter(|attempt| !matches!(attempt.stage, Stage::Done | Stage::Abandoned));
            let count = open.count();
            self.judge.fail(Invariant::Liveness, Sign::Unanswered, None, || format!("{count} closing reads are open"));
        }
    }

    /// Did a view change since there were so many changes?
    fn views_changed_since(&self, changes: u64) -> bool {
        self.tally.view_changes() > changes && self.judge.violation.is_none()
    }

    /// `first` names the reads; each takes three such numbers.
    fn close_once(&mut self, first: u64) {
        let core: Vec<usize> = self.core().collect();
        let keys = self.keys.len();
        let views = self.tally.view_changes();
        let place = |client: usize| core[client % core.len()];
        let answered = 2 * self.plan.network.client_delay_max + 10;
        // A round that was held long ago may name what has died since as held: a client that is told so asks once more.
        for time in [0, 2] {
            for client in 0..self.clients.len() {
                self.closing_read(Some(client), place(client), client % keys, first + time);
            }
            let (refused, lost) = (self.tally.refused(), self.judge.counts.count(Kind::Lost));
            self.run_until(self.now + answered);
            if self.tally.refused() > refused || self.judge.counts.count(Kind::Lost) > lost {
                // A token whose writes died with their holder is found out by a round, and then every token ends.
                self.run_until(self.now + 2_500_000 + 4 * self.plan.settings.round_timeout);
            }
            if self.judge.counts.count(Kind::Lost) == lost {
                break;
            }
        }
        if self.views_changed_since(views) {
            return;
        }
        self.judge.over = true;
        for client in 0..self.clients.len() {
            self.closing_read(Some(client), place(client), client % keys, first + 1);
        }
        for &replica in &core {
            if self.subject(replica).is_some_and(|subject| subject.probe().is_none()) {
                (0..keys).for_each(|key| self.closing_read(None, replica, key, first));
            }
        }
        self.run_until(self.now + answered);
    }

    /// At rest no replica carries more than one entry for each member.
    fn check_tokens(&mut self) {
        let longest = self.clients.iter().max_by_key(|client| client.token.len());
        let Some(token) = longest.map(|client| client.token.clone()) else { return };
        let members = self.core().count();
        if token.len() > members && self.nodes.iter().any(|node| node.subject.as_ref().and_then(S::probe).is_some()) {
            self.judge.fail(Invariant::Tokens, Sign::TooLong, None, || {
                format!("a token names {} at rest, of {members} members", words::past(&token))
            });
        }
    }

    fn closing_read(&mut self, client: Option<usize>, replica: usize, key: usize, time: u64) {
        let known = client.map(|client| (self.clients[client].token.clone(), self.clients[client].past.clone()));
        let (token, past) = known.unwrap_or_else(|| (VersionVector::new(), self.judge.truth.closures.empty()));
        let (action, condition) = (Action::Get, Condition::default());
        let asked = Asked {
            key: key as u8,
            action: Action::Get,
            condition: condition.clone(),
            concern: None,
            with: Vec::new(),
            list: None,
            token: token.clone(),
            past,
            wrote: None,
        };
        let (key_name, wait, format) = (self.keys[key].clone(), Micros::ZERO, Formats::RELEASED.lowest);
        let request = DataRequest { key: key_name, action, past: token, wait, condition, format, concern: None };
        let place = (replica as u64) << 32 | (key as u64) << 16 | client.map_or(0, |client| client as u64 + 1);
        let cause = mix(mix(Domain::Client as u64, 1 + time), place);
        self.name(cause, || format!("closing{time}-{place:x}"));
        let number = self.send_request(None, client, replica, Request::Data(Box::new(request)), Some(asked), cause);
        if let Some(client) = client {
            let what = || format!("closing{time} get k{key} at {}", Plan::name(replica));
            self.note(None, || Note::Asked { client, replica, request: number, what: what() });
        }
    }

    /// Nothing happens any more: only idle chatter, at its rate.
    fn watch_idle(&mut self) {
        let settings = &self.plan.settings;
        let interval = settings.heartbeat_interval;
        // What the last acknowledgements caused may still be on its way. They may let an incarnation that is over be
        // retired, which a peer may have to repair.
        let repaired = settings.retire_interval + settings.repair_delay + 4 * settings.pull_timeout;
        self.run_until(self.now + 4 * interval + 2 * settings.ack_delay + repaired + 100_000);
        let before = self.tally.messages();
        let beats = 10;
        self.run_until(self.now + beats * interval);
        let pairs = (self.core().count() * self.core().count().saturating_sub(1)) as u64;
        let Messages { busy, idle, openings } = self.tally.messages().since(before);
        // Where the detector doubts at random, every link that it opened anew accounts for a few messages.
        let excused = if self.doubtful { OPENING_COSTS * openings } else { 0 };
        // One without memory for what another retired meanwhile says so, and tries again after pauses of 1 s or more.
        let says_so = |&replica: &usize| {
            self.subject(replica).and_then(S::probe).is_some_and(|probe| probe.load().memory.held_back)
        };
        let tries = self.core().filter(says_so).count() as u64 * (2 + beats * interval / 1_000_000);
        let excused = excused + TRY_COSTS * tries;
        if busy > excused || idle > pairs * (beats + 2) * 2 + excused {
            self.judge.fail(Invariant::Liveness, Sign::NotIdle, None, || {
                format!("{busy} busy and {idle} idle messages in {beats} heartbeats among {pairs} pairs")
            });
        }
    }

    fn finish(&mut self) {
        let mut alive = self.judge.truth.closures.empty();
        for replica in 0..self.nodes.len() {
            let Some(subject) = &self.nodes[replica].subject else { continue };
            bits::join(&mut alive, &self.judge.truth.holdings[replica].included);
            if let Some(probe) = subject.probe().filter(|_| self.judge.violation.is_none()) {
                self.judge.check_all(replica, probe);
                self.judge.check_load(replica, probe, &self.config);
            }
        }
        for number in 0..self.judge.truth.writes.len() {
            if !bits::has(&alive, number) {
                self.judge.counts.add(Kind::LostWrite);
            }
        }
    }
}
