//! What comes out of a replica: messages go to the network, answers to clients, events to the oracles.

use super::formats::Said;
use super::watches;
use super::{Scheduled, World};
use crate::mutants::harness::HarnessMutant;
use crate::observe::Note;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::membership::Standing;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::plan::Act;
use crate::plan::network::{Fate, QUEUED_MAX};
use crate::random::{Domain, chance, mix};
use crate::subject::{Input, Out, Probe, Role, Subject, Traits, Wrote};
use hence_core::{Address, Dot, DropReason, Event, Formats, Incarnation, VersionVector};

/// How long after the heal a frame from before may still be on its way, in microseconds.
pub(super) const STUCK_MAX: u64 = 100_000;

/// No frame takes longer after the heal, where the network is good then, in microseconds.
pub(super) const HEALED_DELAY: u64 = 2_000;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Frame<M> {
    pub(super) head: Head,
    pub(super) message: M,
}

impl<M> Frame<M> {
    pub(super) const fn new(head: Head, message: M) -> Self {
        Self { head, message }
    }
}

/// What is known of a message on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    from: u16,
    to: u16,
    pub(super) cause: u64,
    /// Its number in traces.
    id: u64,
    /// It need not keep its place behind earlier ones.
    free: bool,
    /// Idle chatter that says what the last one on its link said.
    ping: bool,
    sent_at: u64,
    /// What its sender speaks.
    pub(super) formats: Formats,
}

impl Head {
    /// Its sender and its receiver.
    pub(super) fn ends(&self) -> (usize, usize) {
        (self.from.into(), self.to.into())
    }
}

impl<S: Subject> World<S> {
    pub(super) fn put_out(&mut self, replica: usize, cause: u64) {
        self.tally.on_step();
        while let Some(out) = self.poll_output(replica) {
            if let Out::Send { to, message } = out {
                self.transmit(replica, to, message, cause);
                continue;
            }
            self.reaction.on_output(false);
            match out {
                Out::Send { .. } => {}
                Out::Reply { id, reply } if watches::is_watch(id) => self.on_watch_refused(replica, id, &reply),
                Out::Reply { id, reply } => self.on_reply(replica, id, reply),
                Out::Tell { id, part } => self.on_tell(replica, id, part),
                Out::Event(Event::Applied(dot)) => self.on_applied(replica, dot),
                Out::Event(event) => self.on_event(replica, event),
            }
        }
        self.note_reasons(replica);
    }

    #[inline]
    fn poll_output(&mut self, replica: usize) -> Option<Out<S::Message>> {
        self.nodes[replica].subject.as_mut()?.poll_output(&self.addresses)
    }

    fn on_applied(&mut self, replica: usize, dot: Dot) {
        self.hash = mix(self.hash, dot.incarnation.0 ^ dot.counter);
        // The answer to its writer comes in the same step.
        let subject = self.nodes[replica].subject.as_ref();
        let written = subject.and_then(|subject| subject.written(dot));
        if let Some(observer) = &mut self.observer {
            observer.note(self.now, Some(replica), Note::Applied { dot, own: written.is_some() });
        }
        let Some((id, written)) = written else {
            self.judge_lane(replica, dot);
            return self.judge.on_apply(replica, dot);
        };
        let is_batch = matches!(written, Wrote::Batch(_));
        let attempt = self.attempts.get_mut(id.0 as usize);
        let operation = attempt.as_ref().and_then(|attempt| attempt.operation);
        let asked = attempt.and_then(|attempt| attempt.asked.as_mut());
        if let (Some(asked), Some(probe)) = (asked, subject.and_then(S::probe)) {
            match written {
                Wrote::One(written) => self.judge.on_write(replica, asked, written, probe),
                Wrote::Batch(answer) => self.judge.on_batch(replica, asked, answer, probe),
            }
            if let Some(history) = &mut self.client_history {
                history.wrote(id.0 as usize, asked, dot, &self.judge.truth, replica);
            }
        }
        if operation.is_some_and(|(index, _)| self.plan.operations[index].act == Act::Erase) {
            self.judge_use(replica, Formats::TEST);
        } else if is_batch && self.plan.has_formats() {
            self.judge_use(replica, Formats::BATCH);
        }
    }

    fn on_event(&mut self, replica: usize, event: Event) {
        self.reaction.on_event(&event);
        self.note(Some(replica), || Note::Event(event.clone()));
        let kind = match event {
            Event::Installed { from, pull, vector } => return self.on_installed(replica, (from, pull), vector.len()),
            Event::Retired { dot, incarnation, through } => {
                self.judge.on_retired(replica, dot, incarnation, through);
                Kind::Retired
            }
            Event::RoundEnded { events, held } => {
                self.judge_round(replica, &events, &held);
                Kind::Round
            }
            Event::Renewed(incarnation) => {
                self.judge.contest_names_of(replica);
                self.judge.on_life(replica, incarnation);
                Kind::Renewed
            }
            Event::Impersonated { counter } if !self.judge.copied.is_so() => {
                return self.fail_refused_itself(replica, counter);
            }
            Event::Diverged(_) | Event::Impersonated { .. } if self.judge.copied.is_so() => return self.note_copy(),
            Event::Impersonated { .. } => return,
            Event::Diverged(peer) => return self.fail_noticed(replica, peer),
            Event::Dropped { reason: DropReason::Invalid, from } => {
                return self.fail_refused_honest(replica, &from);
            }
            Event::ViewChanged => return self.on_view_changed(replica),
            Event::Dropped { reason: DropReason::Late, .. } => Kind::PushLate,
            Event::Dropped { reason: DropReason::OtherLink, .. } => Kind::OtherLink,
            Event::Dropped { reason: DropReason::CausalBufferFull, .. } => Kind::ParkedFull,
            Event::Up { alone } => {
                (self.nodes[replica].was_up, self.nodes[replica].needs_initial_sync) = (true, alone);
                if !alone {
                    return;
                }
                Kind::Alone
            }
            Event::Suspected(_) => Kind::Suspected,
            Event::PullStarted { from, .. } => {
                self.judge_pull(replica, &from);
                Kind::Pull
            }
            Event::Fetching { dot, held, .. } => {
                self.judge.on_fetching(replica, dot, held);
                if held == 0 { Kind::InPieces } else { Kind::Resumed }
            }
            Event::PullEnded { complete, .. } => return self.on_pull_ended(replica, complete),
            Event::ClockTrusted(false) => Kind::ClockDistrusted,
            Event::HeldBack(true) => Kind::HeldBack,
            Event::FellBehind(_) => Kind::WatchFellBehind,
            Event::Applied(_)
            | Event::Linked { .. }
            | Event::Recovered(_)
            | Event::Ready { .. }
            | Event::NoCommonFormat { .. }
            | Event::AddressContested { .. }
            | Event::ClustersMerge { .. }
            | Event::Stalled(_)
            | Event::ClockTrusted(true)
            | Event::WritesRefused(_)
            | Event::HeldBack(false)
            | Event::Dropped { .. } => return,
        };
        self.count(kind);
    }

    fn on_installed(&mut self, replica: usize, (from, pull): (Incarnation, u64), entries: usize) {
        self.hash = mix(self.hash, pull ^ (entries as u64) << 32);
        self.count_watched_install(replica);
        self.judge_install(replica, from, pull);
    }

    fn on_pull_ended(&mut self, replica: usize, complete: bool) {
        let node = &mut self.nodes[replica];
        (node.fetching, node.needs_initial_sync) = (false, node.needs_initial_sync && !complete);
        if !complete {
            self.count(Kind::PullFailed);
        }
    }

    fn fail_refused_itself(&mut self, replica: usize, counter: u64) {
        self.judge.fail(Invariant::Dots, Sign::RefusedItself, Some(replica), || {
            format!("says that others know its write {counter}, which it never made")
        });
    }

    fn fail_noticed(&mut self, replica: usize, peer: impl std::fmt::Display) {
        self.judge.fail(Invariant::Convergence, Sign::Noticed, Some(replica), || {
            format!("it and {peer} hold something else under the same names")
        });
    }

    fn fail_refused_honest(&mut self, replica: usize, from: &Address) {
        self.judge.fail(Invariant::Liveness, Sign::RefusedHonest, Some(replica), || {
            format!("took a message of {from} for one that no honest replica sends")
        });
    }

    fn judge_round(&mut self, replica: usize, events: &VersionVector, held: &VersionVector) {
        if let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) {
            let members = members_in(probe, &self.addresses);
            self.judge.on_round(replica, (events, held), &members, probe);
        }
    }

    fn on_view_changed(&mut self, replica: usize) {
        self.recovery.see_views(false);
        self.nodes[replica].view_changed = true;
        if self.plan.is_core(replica) {
            self.judge.over = false;
            self.tally.on_view_change();
        }
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let view = probe.view();
        let standing = |address| {
            let record = view.record(address).filter(|record| record.generation > 0)?;
            Some(Standing { is_member: view.is_member(address), ordered_out: record.generation.is_multiple_of(2) })
        };
        let standings: Vec<Option<Standing>> = self.addresses.iter().map(standing).collect();
        self.judge.on_view(replica, &standings);
    }

    fn transmit(&mut self, from: usize, to: usize, message: S::Message, step: u64) {
        let traits = S::traits(&message);
        self.hash = mix(self.hash, traits.digest ^ (to as u64) << 56 ^ u64::from(traits.kind) << 48);
        let link = &mut self.links[from * self.nodes.len() + to];
        let ping = traits.idle && std::mem::replace(&mut link.said, traits.digest) == traits.digest;
        let ordinal = link.sent_before(self.tally.steps(), traits.kind);
        self.reaction.on_output(ping);
        if self.plan.is_core(from) && self.plan.is_core(to) {
            self.tally.on_message(traits.idle, traits.opening);
        }
        if !self.aims.is_empty() {
            self.take_aim(from, to, traits.kind);
        }
        if let Some(part) = traits.supply {
            self.judge.on_supply(from, to, part);
        }
        if let Some((dot, stamp)) = traits.op {
            self.judge.on_stamp(dot, stamp);
        }
        let what = (to as u64) << 48 | (from as u64) << 32 | u64::from(traits.kind) << 16 | u64::from(ordinal);
        let cause = mix(step ^ Domain::Network as u64, what);
        let fate = self.fate(cause, (from, to), &traits, ordinal, step);
        let id = self.tally.next_frame();
        if self.observer.is_some() {
            let content = format!("{message:?}");
            let (name, idle) = (traits.name, traits.idle);
            let dot = traits.op.map(|(dot, _)| dot).or(traits.piece.map(|(dot, ..)| dot));
            let choice = self.choice_log.as_ref().map_or("", |log| log.name_of(cause)).to_owned();
            self.note(Some(from), || Note::Sent { id, to, name, dot, content, fate, choice, idle });
        }
        let formats = self.nodes[from].formats;
        if self.said(from * self.nodes.len() + to, formats, &message) == Said::Unsaid {
            return;
        }
        let (from, to) = (from as u16, to as u16);
        let head = Head { formats, from, to, cause, id, free: fate.overtakes, ping, sent_at: self.now };
        self.send_frame(head, message, fate, traits.opening);
    }

    fn fate(&mut self, cause: u64, ends: (usize, usize), traits: &Traits, ordinal: u16, step: u64) -> Fate {
        let mut fate = self.plan.network.fate(self.source.words(cause), ends);
        fate.lost |= self.is_lost_in_burst(cause, ends);
        match self.harness_mutant {
            Some(HarnessMutant::NoDuplicates) => fate.copy = None,
            Some(HarnessMutant::NoLoss) => fate.lost = false,
            Some(HarnessMutant::NoOvertaking) => fate.overtakes = false,
            Some(
                HarnessMutant::CutsDoNothing
                | HarnessMutant::SameStartSeed
                | HarnessMutant::CrashKeepsMemory
                | HarnessMutant::DamageUnseen
                | HarnessMutant::StreamsForget
                | HarnessMutant::StallsEndAtOnce
                | HarnessMutant::HealsWell
                | HarnessMutant::WideLinks
                | HarnessMutant::LimitsLost
                | HarnessMutant::LimitsHalved
                | HarnessMutant::CodecSkips
                | HarnessMutant::DisabledOracle(_),
            )
            | None => {}
        }
        if self.recovery.is_healed() {
            fate = Fate::plain(fate.delay.min(self.healed_delay_max()));
            self.judge.counts.add_if(Kind::SlowHeal, fate.delay > HEALED_DELAY);
        }
        match &mut self.choice_log {
            Some(choice_log) => choice_log.choose(cause, ends, traits.name, ordinal, step, fate),
            None => fate,
        }
    }

    fn is_lost_in_burst(&mut self, cause: u64, (from, to): (usize, usize)) -> bool {
        let link = from * self.nodes.len() + to;
        let Some(&loss) = self.links[link].bursts.iter().max() else { return false };
        let lost = chance(self.source.words(mix(cause, 3)).word(0), loss);
        if lost {
            self.count(Kind::FrameBurst);
        }
        lost
    }

    fn send_frame(&mut self, head: Head, message: S::Message, fate: Fate, opening: bool) {
        if !self.streams.is_empty() {
            return self.write(head, message, fate, opening);
        }
        let (from, to) = head.ends();
        let link = from * self.nodes.len() + to;
        if self.links[link].is_cut() {
            return self.stop(link, Frame { head, message });
        }
        if fate.lost {
            return self.count(Kind::FrameLost);
        }
        if let Some(word) = fate.damaged {
            self.note(Some(from), || Note::Gone { id: head.id, why: "the network damages it, and it cannot be read" });
            _ = self.damage(head, &message, word);
            return;
        }
        let Some(queued) = self.queue_up(link, &message) else {
            self.note(Some(from), || Note::Gone { id: head.id, why: "the queue of its link is full" });
            return self.count(Kind::QueueFull);
        };
        if opening {
            self.links[link].last_arrival = 0; // a new connection does not wait behind the old one
        }
        // The heal frees what is stuck: nothing sent before it arrives long after it.
        let latest = if self.recovery.is_healed() { u64::MAX } else { self.plan.heal_at + STUCK_MAX };
        let slow_by = self.nodes[to].slow_by;
        if slow_by > 0 {
            self.count(Kind::Slow);
        }
        let mut arrival = (self.now + queued + fate.delay + slow_by).min(latest);
        let last = self.links[link].last_arrival;
        if !fate.overtakes {
            arrival = arrival.max(last + 1);
            self.links[link].last_arrival = arrival;
        }
        if opening && self.plan.network.connects && self.is_alive(to) {
            let cause = mix(head.cause, 1);
            self.derive(cause, head.cause, "connection");
            self.push(arrival + fate.delay, cause, Scheduled::Connected { replica: from, to, cause });
        }
        if let Some(copy) = fate.copy {
            self.count(Kind::FrameTwice);
            let twin = Head { cause: mix(head.cause, 2), free: false, ..head };
            self.derive(twin.cause, head.cause, "copy");
            let frame = Frame { head: twin, message: message.clone() };
            self.push((self.now + copy).min(latest), twin.cause, Scheduled::Deliver(frame));
        }
        self.push(arrival, head.cause, Scheduled::Deliver(Frame { head, message }));
    }

    /// Bits of a frame change on its way: the codec must refuse it, and must have been able to read it before. Says
    /// whether it did.
    pub(super) fn damage(&mut self, head: Head, message: &S::Message, word: u32) -> bool {
        self.count(Kind::FrameDamaged);
        let words = self.source.words(mix(head.cause, u64::from(word)));
        let sealed = self.harness_mutant == Some(HarnessMutant::DamageUnseen);
        if let Some(Err(problem)) = S::damage(&self.addresses[usize::from(head.from)], message, words, sealed) {
            self.judge.fail(Invariant::Frames, Sign::DamageTaken, Some(head.to.into()), || problem);
            return false;
        }
        true
    }

    /// How long a frame waits until those before it have left its link; none where the queue is full.
    fn queue_up(&mut self, link: usize, message: &S::Message) -> Option<u64> {
        let bandwidth = self.bandwidth();
        if bandwidth == 0 {
            return Some(0);
        }
        let free_at = self.links[link].free_at.max(self.now);
        let waits = free_at - self.now;
        let full = match self.plan.network.queue_bytes {
            0 => waits > QUEUED_MAX,
            most => waits * bandwidth / 1_000_000 > most,
        };
        if full {
            return None;
        }
        self.links[link].free_at = free_at + S::bytes(message) * 1_000_000 / bandwidth;
        if free_at > self.now {
            self.count(Kind::Queued);
        }
        Some(self.links[link].free_at - self.now)
    }

    /// A frame meets a cut of its link, and is lost or kept.
    fn stop(&mut self, link: usize, frame: Frame<S::Message>) {
        let id = frame.head.id;
        if self.links[link].losing > 0 {
            self.note(Some(frame.head.from.into()), || Note::Gone { id, why: "a cut loses it" });
            return self.count(Kind::FrameCut);
        }
        self.note(Some(frame.head.from.into()), || Note::Held { id });
        self.links[link].held.push(frame);
        self.count(Kind::FrameHeld);
    }

    pub(super) fn deliver(&mut self, frame: Frame<S::Message>) {
        let (from, to) = frame.head.ends();
        let place = from * self.nodes.len() + to;
        if self.links[place].is_cut() && self.streams.is_empty() {
            return self.stop(place, frame);
        }
        if self.said(place, frame.head.formats, &frame.message) != Said::Understood {
            return;
        }
        self.hand_in(frame);
    }

    /// A frame reached its receiver.
    #[inline]
    pub(super) fn hand_in(&mut self, frame: Frame<S::Message>) {
        let (from, to) = frame.head.ends();
        let place = from * self.nodes.len() + to;
        let (link, node) = (&mut self.links[place], &mut self.nodes[to]);
        if node.subject.is_none() {
            let why = "no process is there to take it";
            return self.note(Some(from), || Note::Gone { id: frame.head.id, why });
        }
        if frame.head.free && frame.head.id < link.newest {
            self.judge.counts.add(Kind::FrameOvertook);
        }
        link.newest = frame.head.id.max(link.newest);
        if node.pauses > 0 {
            return node.backlog.push(Scheduled::Deliver(frame));
        }
        (node.quiet_since, node.spoken_to) = (self.now, true);
        self.judge.on_arrival(from, to, self.silence_allowed(from, to));
        let Frame { head: Head { cause, id, sent_at, ping, .. }, message } = frame;
        let traits = S::traits(&message);
        self.tally.on_idle_event(ping);
        self.note(Some(to), || Note::Received { id, from, name: traits.name, idle: traits.idle });
        let news = traits.op.filter(|&(dot, _)| !self.judge.includes(to, dot));
        self.reaction.begin(traits.op.map(|(dot, _)| dot), traits.supply.map(|_| from));
        self.step(to, Input::Message { from, message }, cause);
        self.reaction.end();
        if traits.role == Role::Hello && !self.reaction.dropped() {
            // What the process before it said does not count. Taken in late, it hides what this one said.
            self.heard[place].met = sent_at >= self.nodes[from].started_at;
        }
        if traits.role == Role::Status && !self.reaction.dropped() {
            self.judge.on_status(from, to, self.now - sent_at);
        }
        match (traits.piece, traits.op) {
            (Some((dot, offset, bytes)), _) => self.judge.on_piece(to, dot, offset, bytes, self.reaction.dropped()),
            (_, Some((dot, _))) if traits.role == Role::Announce && !self.reaction.dropped() => {
                self.nodes[to].announced.push((dot, self.judge.fastest_way(dot, to)))
            }
            _ => {}
        }
        if let Some((dot, _)) = traits.op.filter(|_| traits.role != Role::Announce) {
            self.judge.on_pushed(to, dot);
            self.judge_news(from, to, dot, self.reaction.refused_as_late());
        }
        if let Some((dot, _)) = news.filter(|&(dot, _)| self.judge.includes(to, dot) && self.runs_well(to)) {
            let allowed = self.lateness_allowed(from, to) + self.stood_still(from);
            self.judge.on_news(from, to, dot, allowed);
        }
    }
}

fn members_in(probe: &dyn Probe, addresses: &[Address]) -> Vec<bool> {
    addresses.iter().map(|address| probe.view().is_member(address)).collect()
}
