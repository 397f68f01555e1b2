//! Steps: a timer fires, an input goes in, and then everything is looked at.

use super::{MERGE_EVERY, Scheduled, World, tie};
use crate::plan::Plan;
use crate::random::{Domain, mix};
use crate::subject::{Input, Subject};
use hence_core::Time;

impl<S: Subject> World<S> {
    pub(super) fn timer(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        if node.pauses > 0 {
            return node.backlog.push(Scheduled::Timer { replica });
        }
        let mut due = std::mem::replace(&mut node.alarm, Time::NEVER);
        if node.twin.is_some() {
            self.swap(replica); // the two take turns
            due = self.nodes[replica].subject.as_ref().and_then(S::poll_timeout).unwrap_or(Time::NEVER);
        }
        let node = &mut self.nodes[replica];
        if node.subject.is_none() {
            return;
        }
        if due > node.clock.now(self.now).monotonic {
            return self.reschedule(replica); // it ran meanwhile, when its pause ended
        }
        let life = node.life;
        let slot = self.now / 50_000;
        node.timer_slot = if node.timer_slot.0 == slot { (slot, node.timer_slot.1 + 1) } else { (slot, 0) };
        let ordinal = node.timer_slot.1;
        let cause = mix(mix(Domain::Timer as u64, replica as u64 | u64::from(life) << 32), slot << 16 | ordinal);
        self.name(cause, || format!("timer {}.{life}@{}ms#{ordinal}", Plan::name(replica), slot * 50));
        self.reaction.listen();
        self.step(replica, Input::Timeout, cause);
        self.tally.on_idle_event(!self.reaction.spoke());
    }

    pub(super) fn connected(&mut self, replica: usize, to: usize, cause: u64) {
        if self.nodes[replica].pauses > 0 {
            return self.nodes[replica].backlog.push(Scheduled::Connected { replica, to, cause });
        }
        self.step(replica, Input::Connected { to }, cause);
    }

    /// Hands one input to a replica that is alive and looks at everything that comes out.
    ///
    /// Always inlined, so that a message is not moved twice on its way in.
    #[inline(always)]
    pub(super) fn step(&mut self, replica: usize, input: Input<S::Message>, cause: u64) {
        self.maybe_swap(replica, cause);
        let node = &mut self.nodes[replica];
        let Some(subject) = &mut node.subject else { return };
        let now = node.clock.now(self.now);
        self.tally.on_event();
        self.hash = mix(self.hash, self.now ^ (replica as u64) << 56);
        self.hash = mix(self.hash, cause);
        subject.handle(now, input, &self.addresses);
        self.after_input(replica, cause);
    }

    pub(super) fn after_input(&mut self, replica: usize, cause: u64) {
        self.put_out(replica, cause);
        self.show_replica(replica);
        self.reschedule(replica);
        if self.judge.off {
            return;
        }
        if let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) {
            self.judge.after_step(replica, probe);
            self.judge.note_spread(replica, probe.incarnation());
            self.judge.check_work(replica, probe);
            if self.tally.events().is_multiple_of(64) {
                self.judge.check_load(replica, probe, &self.config);
                self.check_waiting(replica);
            }
            if self.tally.events().is_multiple_of(MERGE_EVERY) {
                self.check_merges();
            }
        }
    }

    /// Sets the alarm of a replica for what it asks for now.
    pub(super) fn reschedule(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        let alarm = |image: &Option<S>| image.as_ref().and_then(S::poll_timeout).unwrap_or(Time::NEVER);
        let wanted = alarm(&node.subject).min(alarm(&node.twin));
        if wanted == node.alarm {
            return;
        }
        let reading = node.clock.now(self.now).monotonic;
        if node.alarm.max(wanted) <= reading {
            return; // both are due: what a slow process has to do is not put off by what comes in meanwhile
        }
        node.alarm = wanted;
        if wanted == Time::NEVER {
            return self.queue.clear_alarm(replica);
        }
        let at = node.clock.when(wanted).max(self.now).saturating_add(node.slow_by);
        self.queue.set_alarm(replica, at, tie(self.plan.seed, replica as u64));
    }
}
