//! What comes out of a replica: messages go to the network, answers to clients, events to the oracles.

use super::{Frame, Happening, World};
use crate::adversity::Kind;
use crate::judge::membership::Standing;
use crate::network::{Fate, QUEUED_MAX};
use crate::observe::Note;
use crate::random::{Domain, chance, mix};
use crate::subject::{Out, Probe, Stimulus, Subject, Traits};
use crate::tampering::Tampering;
use crate::verdict::Invariant;
use hence_core::{Address, Dot, DropReason, Event, Reply, RequestId};

/// How long after the heal a frame from before may still be on its way, in microseconds.
const STUCK_MAX: u64 = 100_000;

impl<S: Subject> World<S> {
    pub(super) fn put_out(&mut self, replica: usize, cause: u64) {
        let mut outs = std::mem::take(&mut self.outs);
        if !outs.is_empty() {
            self.spoke |= outs.iter().any(|out| !matches!(out, Out::Send { .. }));
            self.sent.iter_mut().for_each(|sent| *sent = [0; 8]);
        }
        let mut rest = outs.drain(..);
        while let Some(out) = rest.next() {
            match out {
                Out::Send { to, message } => self.transmit(replica, to, message, cause),
                Out::Reply { id, reply } => self.on_reply(replica, id, reply),
                Out::Event(Event::Applied(dot)) => {
                    let written = rest.as_slice().iter().find_map(|out| written(out, dot));
                    self.on_applied(replica, dot, written);
                }
                Out::Event(event) => self.on_event(replica, event),
            }
        }
        drop(rest);
        self.outs = outs;
    }

    fn on_applied(&mut self, replica: usize, dot: Dot, written: Option<(RequestId, &Reply)>) {
        self.hash = mix(self.hash, dot.incarnation.0 ^ dot.counter);
        self.note(Some(replica), || Note::Applied { dot, own: written.is_some() });
        let Some((id, Reply::Written(written))) = written else { return self.judge.on_apply(replica, dot) };
        let attempt = self.attempts.get_mut(id.0 as usize);
        let asked = attempt.and_then(|attempt| attempt.asked.as_mut());
        let probe = self.nodes[replica].subject.as_ref().and_then(S::probe);
        if let (Some(asked), Some(probe)) = (asked, probe) {
            self.judge.on_write(replica, asked, written, probe);
        }
    }

    fn on_event(&mut self, replica: usize, event: Event) {
        self.dropped |= matches!(event, Event::Dropped { .. });
        self.note(Some(replica), || Note::Event(event.clone()));
        let kind = match event {
            Event::Installed { from, pull, vector } => {
                self.hash = mix(self.hash, pull ^ (vector.len() as u64) << 32);
                return self.judge.on_install(replica, from, pull);
            }
            Event::Retired { dot, incarnation, through } => {
                self.judge.on_retired(replica, dot, incarnation, through);
                Kind::Retired
            }
            Event::RoundEnded { events, held } => {
                if let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) {
                    let wanted = wanted_in(probe, &self.addresses);
                    self.judge.on_round(replica, (&events, &held), &wanted, probe);
                }
                Kind::Round
            }
            Event::Reborn(incarnation) => {
                self.judge.on_life(replica, incarnation);
                Kind::Reborn
            }
            Event::Impersonated { counter } if !self.judge.contested => {
                return self.judge.fail(Invariant::Dots, "refused_itself", Some(replica), || {
                    format!("says that others know its write {counter}, which it never made")
                });
            }
            Event::Diverged(_) | Event::Impersonated { .. } if self.judge.contested => return self.note_copy(),
            Event::Impersonated { .. } => return,
            Event::Diverged(peer) => {
                return self.judge.fail(Invariant::Convergence, "noticed", Some(replica), || {
                    format!("it and {peer} say they cover the same and hold something else")
                });
            }
            Event::Dropped { reason: DropReason::Invalid, from } => {
                return self.judge.fail(Invariant::Liveness, "refused_honest", Some(replica), || {
                    format!("took a message of {from} for one that no honest replica sends")
                });
            }
            Event::ViewChanged => return self.on_view_changed(replica),
            Event::Dropped { reason: DropReason::Late, .. } => Kind::PushLate,
            Event::Dropped { reason: DropReason::OtherLink, .. } => Kind::OtherLink,
            Event::Dropped { reason: DropReason::ParkedFull, .. } => Kind::ParkedFull,
            Event::Up { alone } => {
                self.nodes[replica].was_up = true;
                if !alone {
                    return;
                }
                Kind::Alone
            }
            Event::Suspected(_) => Kind::Suspected,
            Event::PullStarted { .. } => Kind::Pull,
            Event::PullEnded { complete: false, .. } => Kind::PullFailed,
            Event::ClockTrusted(false) => Kind::ClockDistrusted,
            Event::Applied(_)
            | Event::Linked { .. }
            | Event::Recovered(_)
            | Event::AddressContested { .. }
            | Event::PullEnded { complete: true, .. }
            | Event::Stalled(_)
            | Event::ClockTrusted(true)
            | Event::Dropped { .. } => return,
        };
        self.count(kind);
    }

    fn on_view_changed(&mut self, replica: usize) {
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let view = probe.view();
        let standing = |address| {
            let row = view.row(address).filter(|row| row.counter > 0)?;
            Some(Standing { wanted: view.is_wanted(address), ordered_out: row.counter.is_multiple_of(2) })
        };
        let standings: Vec<Option<Standing>> = self.addresses.iter().map(standing).collect();
        self.judge.on_view(replica, &standings);
    }

    fn transmit(&mut self, from: usize, to: usize, message: S::Message, step: u64) {
        let traits = S::traits(&message);
        self.hash = mix(self.hash, traits.digest ^ (to as u64) << 56 ^ u64::from(traits.kind) << 48);
        let said = &mut self.links[from * self.nodes.len() + to].said;
        let ping = traits.idle && std::mem::replace(said, traits.digest) == traits.digest;
        self.spoke |= !ping;
        if self.plan.is_core(from) && self.plan.is_core(to) {
            self.openings += u64::from(traits.opening);
            *(if traits.idle { &mut self.idle_messages } else { &mut self.busy_messages }) += 1;
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
        let sent = &mut self.sent[to][usize::from(traits.kind % 8)];
        let ordinal = *sent;
        *sent += 1;
        let what = (to as u64) << 48 | (from as u64) << 32 | u64::from(traits.kind) << 16 | u64::from(ordinal);
        let cause = mix(step ^ Domain::Network as u64, what);
        let fate = self.fate(cause, (from, to), &traits, ordinal, step);
        self.frames += 1;
        let id = self.frames;
        if self.observer.is_some() {
            let content = format!("{message:?}");
            self.note(Some(from), || Note::Sent { id, to, name: traits.name, content, fate, idle: traits.idle });
        }
        let (from, to) = (from as u16, to as u16);
        self.send_frame(
            Frame { from, to, message, cause, id, free: fate.overtakes, ping, sent_at: self.now },
            fate,
            &traits,
        );
    }

    fn fate(&mut self, cause: u64, ends: (usize, usize), traits: &Traits, ordinal: u16, step: u64) -> Fate {
        let mut fate = self.plan.network.fate(self.source.words(cause), ends);
        fate.lost |= self.is_lost_in_burst(cause, ends);
        match self.tampering {
            Some(Tampering::NoDuplicates) => fate.copy = None,
            Some(Tampering::NoLoss) => fate.lost = false,
            Some(Tampering::NoOvertaking) => fate.overtakes = false,
            Some(
                Tampering::CutsDoNothing
                | Tampering::SameBirth
                | Tampering::CrashKeepsMemory
                | Tampering::DamageUnseen
                | Tampering::Blind(_),
            )
            | None => {}
        }
        if self.healed {
            fate = Fate::plain(fate.delay.min(2_000));
        }
        match &mut self.recording {
            Some(recording) => recording.choose(cause, ends, traits.name, ordinal, step, fate),
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

    fn send_frame(&mut self, frame: Frame<S::Message>, fate: Fate, traits: &Traits) {
        let (from, to) = (usize::from(frame.from), usize::from(frame.to));
        let link = from * self.nodes.len() + to;
        if self.links[link].is_cut() {
            return self.stop(link, frame);
        }
        if fate.lost {
            return self.count(Kind::FrameLost);
        }
        if let Some(word) = fate.damaged {
            return self.damage(&frame, word);
        }
        let Some(queued) = self.queue_up(link, &frame) else { return self.count(Kind::QueueFull) };
        if traits.opening {
            self.links[link].last_arrival = 0; // a new connection does not wait behind the old one
        }
        // The heal frees what is stuck: nothing sent before it arrives long after it.
        let latest = if self.healed { u64::MAX } else { self.plan.heal_at + STUCK_MAX };
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
        if traits.opening && self.plan.network.connects && self.is_alive(to) {
            let cause = mix(frame.cause, 1);
            self.name(cause, || "connected".into());
            self.push(arrival + fate.delay, cause, Happening::Connected { replica: from, to, cause });
        }
        if let Some(copy) = fate.copy {
            self.count(Kind::FrameTwice);
            let twin = Frame { message: frame.message.clone(), cause: mix(frame.cause, 2), free: false, ..frame };
            self.name(twin.cause, || "copy".into());
            self.push((self.now + copy).min(latest), twin.cause, Happening::Deliver(twin));
        }
        self.push(arrival, frame.cause, Happening::Deliver(frame));
    }

    /// Bits of a frame change on its way: the codec must refuse it, and must have been able to read it before.
    fn damage(&mut self, frame: &Frame<S::Message>, word: u32) {
        self.count(Kind::FrameDamaged);
        let words = self.source.words(mix(frame.cause, u64::from(word)));
        let sealed = self.tampering == Some(Tampering::DamageUnseen);
        if let Some(Err(problem)) = S::damage(&self.addresses[usize::from(frame.from)], &frame.message, words, sealed) {
            self.judge.fail(Invariant::Frames, "damage_taken", Some(frame.to.into()), || problem);
        }
    }

    /// How long a frame waits until those before it have left its link; none where the queue is full.
    fn queue_up(&mut self, link: usize, frame: &Frame<S::Message>) -> Option<u64> {
        let bandwidth = self.plan.network.bandwidth;
        if bandwidth == 0 || self.healed {
            return Some(0);
        }
        let free_at = self.links[link].free_at.max(self.now);
        if free_at - self.now > QUEUED_MAX {
            return None;
        }
        self.links[link].free_at = free_at + S::bytes(&frame.message) * 1_000_000 / bandwidth;
        if free_at > self.now {
            self.count(Kind::Queued);
        }
        Some(self.links[link].free_at - self.now)
    }

    /// A frame meets a cut of its link, and is lost or kept.
    fn stop(&mut self, link: usize, frame: Frame<S::Message>) {
        if self.links[link].losing > 0 {
            return self.count(Kind::FrameCut);
        }
        self.links[link].held.push(frame);
        self.count(Kind::FrameHeld);
    }

    pub(super) fn deliver(&mut self, frame: Frame<S::Message>) {
        let (from, to) = (usize::from(frame.from), usize::from(frame.to));
        let link = from * self.nodes.len() + to;
        if self.links[link].is_cut() {
            return self.stop(link, frame);
        }
        if !self.is_alive(to) {
            return;
        }
        let newest = &mut self.links[link].newest;
        if frame.free && frame.id < *newest {
            self.judge.counts.add(Kind::FrameOvertook);
        }
        *newest = frame.id.max(*newest);
        if self.nodes[to].pauses > 0 {
            return self.nodes[to].backlog.push(Happening::Deliver(frame));
        }
        let Frame { cause, id, sent_at, .. } = frame;
        let traits = S::traits(&frame.message);
        self.idle_events += u64::from(frame.ping);
        self.note(Some(to), || Note::Received { id, from, name: traits.name, idle: traits.idle });
        (self.nodes[to].quiet_since, self.nodes[to].spoken_to) = (self.now, true);
        self.dropped = false;
        let news = traits.op.filter(|&(dot, _)| !self.judge.includes(to, dot));
        let address = self.addresses[from].clone();
        self.step(to, Stimulus::Message { from: address, message: frame.message }, cause);
        if traits.name == "status" && !self.dropped {
            self.judge.on_status(from, to, self.now - sent_at);
        }
        if let Some((dot, _)) = traits.op {
            self.judge.on_pushed(to, dot);
        }
        if let Some((dot, _)) = news.filter(|&(dot, _)| self.judge.includes(to, dot) && self.runs_well(to)) {
            self.judge.on_news(from, to, dot, self.lateness_allowed(from, to));
        }
    }
}

fn wanted_in(probe: &dyn Probe, addresses: &[Address]) -> Vec<bool> {
    addresses.iter().map(|address| probe.view().is_wanted(address)).collect()
}

fn written<M>(out: &Out<M>, wanted: Dot) -> Option<(RequestId, &Reply)> {
    match out {
        Out::Reply { id, reply } => match &**reply {
            Reply::Written(written) if written.dot == wanted => Some((*id, reply)),
            Reply::Written(_)
            | Reply::Found { .. }
            | Reply::NotModified { .. }
            | Reply::Absent { .. }
            | Reply::PreconditionFailed { .. }
            | Reply::Lost { .. }
            | Reply::Refused(_)
            | Reply::View(_)
            | Reply::ViewAdded { .. }
            | Reply::ViewRemoved
            | Reply::ViewUnknown
            | Reply::ViewLast => None,
        },
        Out::Send { .. } | Out::Event(_) => None,
    }
}
