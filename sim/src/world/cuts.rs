//! Cuts: links that lose or keep frames, and what is released when a cut ends.

use super::{Frame, Happening, World};
use crate::engine::link::Link;
use crate::oracle::adversity::Kind;
use crate::plan::FaultKind;
use crate::random::mix;
use crate::subject::Subject;

/// A link that is cut again within this time flaps, in microseconds.
const FLAP_MAX: u64 = 200_000;

impl<S: Subject> World<S> {
    /// The directed links that a cut is about, and whether it keeps frames.
    fn links_of(&self, kind: FaultKind) -> (Vec<usize>, bool) {
        let count = self.nodes.len();
        let (cuts, hold): (Box<dyn Fn(usize, usize) -> bool>, bool) = match kind {
            FaultKind::Isolate { replica, hold } => {
                let replica = usize::from(replica);
                (Box::new(move |from, to| from == replica || to == replica), hold)
            }
            FaultKind::Pair { a, b, hold } => {
                let pair = (usize::from(a), usize::from(b));
                (Box::new(move |from, to| (from, to) == pair || (to, from) == pair), hold)
            }
            FaultKind::OneWay { from: a, to: b, hold } => {
                let pair = (usize::from(a), usize::from(b));
                (Box::new(move |from, to| (from, to) == pair), hold)
            }
            FaultKind::Split { mask, hold } => (Box::new(move |from, to| mask >> from & 1 != mask >> to & 1), hold),
            FaultKind::Bridge { replica, mask, hold } => {
                let bridge = usize::from(replica);
                let apart = move |from, to| mask >> from & 1 != mask >> to & 1 && from != bridge && to != bridge;
                (Box::new(apart), hold)
            }
            FaultKind::Crash { .. }
            | FaultKind::Leave { .. }
            | FaultKind::Pause { .. }
            | FaultKind::Suspend { .. }
            | FaultKind::Twin { .. }
            | FaultKind::InFlight { .. }
            | FaultKind::Jump { .. }
            | FaultKind::Unwant { .. }
            | FaultKind::Remove { .. }
            | FaultKind::Want { .. }
            | FaultKind::Replace { .. }
            | FaultKind::Burst { .. }
            | FaultKind::Slow { .. } => (Box::new(|_, _| false), false),
        };
        let links = (0..count * count).filter(|link| link / count != link % count && cuts(link / count, link % count));
        (links.collect(), hold)
    }

    pub(super) fn link(&mut self, from: u8, to: u8) -> &mut Link<Frame<S::Message>> {
        let count = self.nodes.len();
        &mut self.links[usize::from(from) * count + usize::from(to)]
    }

    pub(super) fn cut_links(&mut self, kind: FaultKind) {
        let (links, hold) = self.links_of(kind);
        for at in links {
            let link = &mut self.links[at];
            if hold {
                link.holding += 1
            } else {
                link.losing += 1
            }
            if link.mended_at.is_some_and(|mended| self.now - mended < FLAP_MAX) {
                self.judge.counts.add(Kind::Flap);
            }
            self.judge.on_link_cut(at, true);
            self.cut_stream(at);
        }
        self.judge_apart();
    }

    /// Ends a cut; with `core_only` for links between replicas that are healed, and for others not.
    pub(super) fn mend_links(&mut self, kind: FaultKind, core_only: bool) {
        let (links, hold) = self.links_of(kind);
        let count = self.nodes.len();
        for at in links {
            if core_only && !(self.plan.is_core(at / count) && self.plan.is_core(at % count)) {
                continue;
            }
            let link = &mut self.links[at];
            if hold {
                link.holding -= 1
            } else {
                link.losing -= 1
            }
            if link.is_cut() {
                continue;
            }
            link.mended_at = Some(self.now);
            self.judge.on_link_cut(at, false);
            self.mend_stream(at, hold);
            for frame in std::mem::take(&mut self.links[at].held) {
                // What a kernel retransmits comes in order, soon after the cut ends.
                let link = &mut self.links[at];
                link.last_arrival = (link.last_arrival + 1).max(self.now + 100);
                let (arrival, cause) = (link.last_arrival, frame.head.cause);
                self.count(Kind::FrameReleased);
                self.push(arrival, mix(cause, 7), Happening::Deliver(frame));
            }
        }
        self.judge_apart();
    }
}
