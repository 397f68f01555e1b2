//! Two processes with one memory: a running image that was copied. Once one of them writes, names of writes are no
//! longer unique, which is a limit that the protocol states. Until then [`Judge`](crate::oracle::judge::Judge) goes on
//! about the other replicas. Then a run is judged by what rests on no name. Nothing panics, the run ends, and every
//! request is answered. Memory and work stay within their limits, and damaged frames are refused. Either a replica
//! reports what happened or nothing shows of it.

use super::World;
use super::settle::LOOK_EVERY;
use crate::oracle::adversity::Kind;
use crate::oracle::judge::copies::Copied;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::random::{Domain, mix};
use crate::subject::Subject;

impl<S: Subject> World<S> {
    /// A copy of a running process begins to run beside it, at the same address.
    pub(super) fn copy_image(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        if node.pauses > 0 || node.twin.is_some() {
            return;
        }
        let Some(image) = node.subject.as_ref().and_then(S::image) else { return };
        node.twin = Some(image);
        self.judge.on_copy(replica);
        self.count(Kind::Twin);
    }

    /// One of the two dies.
    pub(super) fn end_twin(&mut self, replica: usize) {
        self.maybe_swap(replica, mix(Domain::Fault as u64, self.now));
        if self.nodes[replica].twin.take().is_some() {
            self.judge.on_twin_gone(replica);
            self.lose_attempts_at(replica); // some of them were asked of the one that died
        }
        self.reschedule(replica);
    }

    /// A replica reported the copy. One run may hear that a thousand times, so it counts once.
    pub(super) fn note_copy(&mut self) {
        if self.judge.counts.count(Kind::TwinNoticed) == 0 {
            self.count(Kind::TwinNoticed);
        }
    }

    /// What is sent to the address reaches one of the two.
    #[inline]
    pub(super) fn maybe_swap(&mut self, replica: usize, cause: u64) {
        if self.nodes[replica].twin.is_some() && self.source.words(mix(cause, 9)).word(0) & 1 == 1 {
            self.swap(replica);
        }
    }

    pub(super) fn swap(&mut self, replica: usize) {
        let node = &mut self.nodes[replica];
        std::mem::swap(&mut node.subject, &mut node.twin);
        self.judge.on_swap(replica);
        self.recovery.see_views(false);
    }

    /// After the heal and all the time that there is: was it told, or does nothing show of it?
    pub(super) fn judge_twins(&mut self) {
        let deadline = self.now + self.settle_max();
        while self.now < deadline && self.judge.violation.is_none() {
            self.operate();
            self.run_until(self.now + LOOK_EVERY);
        }
        if self.open > 0 {
            let open = self.open;
            self.judge.fail(Invariant::Liveness, Sign::Unanswered, None, || format!("{open} requests are open"));
        }
        if self.judge.violation.is_some() || self.judge.counts.count(Kind::TwinNoticed) > 0 {
            return;
        }
        // Links that speak a format without batches compare no digests.
        if !self.plan.has_formats() && !self.hold_the_same() {
            self.judge.copied = Copied::No; // it is told of as a failure of this replica
            let detail = "a memory image was copied, replicas hold something else for good, and nobody said so";
            self.judge.fail(Invariant::Dots, Sign::CopyUnnoticed, None, || detail.into());
        }
    }

    /// A replica without memory for what others have says so itself, and is left out.
    fn hold_the_same(&self) -> bool {
        let probes = self.core().filter_map(|replica| self.subject(replica)?.probe());
        let mut held = probes.filter(|probe| !probe.load().memory.held_back).map(|probe| probe.all());
        let first = held.next();
        held.all(|other| first.as_ref() == Some(&other))
    }
}
