//! Processes that speak different formats: what a link carries, what is lost for want of a word, and what may not be used.

use super::World;
use crate::oracle::adversity::Kind;
use crate::oracle::sign::Sign;
use crate::oracle::verdict::Invariant;
use crate::plan::Plan;
use crate::subject::Subject;
use hence_core::Formats;

/// What becomes of a message, as far as its format goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The receiver reads it.
    Understood,
    /// The link's format has no word for it, so it was never sent.
    Unsaid,
    /// It is in a format that the receiver does not speak.
    Refused,
}

/// What is known of formats on a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// What was agreed: only for a mutant.
    agreed: Option<u8>,
    /// The process at its end took in a hello of the one at its beginning.
    pub(super) met: bool,
}

impl<S: Subject> World<S> {
    /// The format that messages to this replica are written in by a process that speaks `ours`.
    pub(super) fn spoken(&mut self, link: usize, ours: Formats) -> Option<u8> {
        let theirs = self.nodes[link % self.nodes.len()].formats;
        let spoken = S::spoken(&self.setup, ours, theirs);
        if S::formats_end_with_the_link(&self.setup) {
            return spoken;
        }
        // Only for a mutant: what was agreed once.
        let agreed = &mut self.heard[link].agreed;
        *agreed = agreed.or(spoken);
        *agreed
    }

    /// A message in one of the sender's formats reaches the other end of its link.
    pub(super) fn said(&mut self, link: usize, ours: Formats, message: &S::Message) -> Said {
        if !self.plan.has_formats() {
            return Said::Understood;
        }
        let theirs = self.nodes[link % self.nodes.len()].formats;
        match self.spoken(link, ours) {
            Some(spoken) if !theirs.speaks(spoken) => {
                self.count(Kind::FormatRefused);
                Said::Refused
            }
            Some(spoken) if S::format_of(message) > spoken => {
                self.count(Kind::Unsaid);
                Said::Unsaid
            }
            Some(_) => Said::Understood,
            None => Said::Refused,
        }
    }

    /// A process starts that speaks these formats. What was agreed with the one before is not known to it.
    pub(super) fn begins_speaking(&mut self, replica: usize, formats: Formats) {
        let count = self.nodes.len();
        self.nodes[replica].started_at = self.now;
        let before = std::mem::replace(&mut self.nodes[replica].formats, formats);
        if self.nodes[replica].life > 0 && before != formats {
            self.count(Kind::FormatChanged);
        }
        for other in 0..count {
            self.heard[replica * count + other] = Heard::default();
            self.heard[other * count + replica].met = false;
        }
    }

    /// A replica did what only those understand that speak this format. A hello of a member that lacks it had said so.
    /// Judged when it is done: an answer that waits may come when more is known.
    pub(super) fn judge_use(&mut self, replica: usize, format: u8) {
        self.judge.counts.add_if(Kind::Erased, format == Formats::TEST);
        let Some(probe) = self.nodes[replica].subject.as_ref().and_then(S::probe) else { return };
        let count = self.nodes.len();
        let lacks = |&other: &usize| {
            let member = probe.view().is_member(&self.addresses[other]);
            other != replica && member && self.is_alive(other) && self.nodes[other].formats.highest < format
        };
        let lacking = (0..count).filter(lacks).find(|&other| self.heard[other * count + replica].met);
        if let Some(other) = lacking {
            self.judge.fail(Invariant::Formats, Sign::UsedTooEarly, Some(replica), || {
                format!("did what {} has no word for, which it had said", Plan::name(other))
            });
        }
    }

    /// Where every process speaks it and all know each other, every replica knows that.
    pub(super) fn knows_too_little(&self, replica: usize) -> bool {
        let all = self.core().all(|other| self.nodes[other].formats.speaks(Formats::TEST));
        let probe = self.subject(replica).and_then(S::probe);
        self.plan.has_formats() && all && probe.is_some_and(|probe| !probe.all_speak(Formats::TEST))
    }
}
