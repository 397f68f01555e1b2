//! Cuts: links that lose or keep frames, and what is released when a cut ends.

use super::{Scheduled, World};
use crate::oracle::adversity::Kind;
use crate::plan::Links;
use crate::random::mix;
use crate::subject::Subject;

/// A link that is cut again within this time flaps, in microseconds.
const FLAP_MAX: u64 = 200_000;

impl<S: Subject> World<S> {
    /// The places of these links.
    pub(super) fn links_of(&self, links: Links) -> Vec<usize> {
        let count = self.nodes.len();
        (0..count * count).filter(|link| links.have(link / count, link % count)).collect()
    }

    /// Those of these links on which a fault ends; with `core_only` between replicas that are healed, and no others.
    pub(super) fn links_to_end(&self, links: Links, core_only: bool) -> Vec<usize> {
        let count = self.nodes.len();
        let ends = |at: &usize| !core_only || self.plan.is_core(at / count) && self.plan.is_core(at % count);
        self.links_of(links).into_iter().filter(ends).collect()
    }

    pub(super) fn cut_links(&mut self, links: Links, hold: bool) {
        for at in self.links_of(links) {
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
    pub(super) fn mend_links(&mut self, links: Links, hold: bool, core_only: bool) {
        for at in self.links_to_end(links, core_only) {
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
                self.push(arrival, mix(cause, 7), Scheduled::Deliver(frame));
            }
        }
        self.judge_apart();
    }
}
