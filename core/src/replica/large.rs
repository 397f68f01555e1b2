//! A pull stands at a frame that only announces a value, until that value is here (PIECE-1).

use super::Replica;
use super::peer::PeerId;
use super::pieces::is_sound;
use super::pulls::{Awaited, Large};
use crate::data::Value;
use crate::edge::DropReason;
use crate::message::{Content, Version};
use crate::rules::Rules;
use crate::vector::Dot;

impl<R: Rules> Replica<R> {
    /// A frame of a pull that announces a value. Says whether it was what an honest supplier sends.
    pub(super) fn on_large(&mut self, id: PeerId, frame: u32, content: Content) -> bool {
        let (content, outline) = match content {
            Content::Op(op) if op.with(&Value::new(&[])).is_some() => {
                let outline = op.outline;
                (Awaited::Op(op), outline)
            }
            Content::Version(entry, outline) => match entry.version.as_ref().and_then(Version::whole) {
                Some(sibling) if sibling.value.as_bytes().is_empty() => {
                    let dot = sibling.dot;
                    (Awaited::Version(*entry, dot), outline)
                }
                Some(_) | None => return false,
            },
            Content::Op(_) | Content::Ops(_) | Content::Versions(_) | Content::Retired(_) | Content::State(_) => {
                return false;
            }
        };
        let dot = content.dot();
        if !is_sound(outline) {
            return false;
        }
        self.pulls.wait_for(Large { content, outline, frame });
        if self.data.context().covers(dot) {
            self.go_on_with_large();
        } else {
            self.fetch(dot, outline, id);
        }
        true
    }

    /// What the pull stands at is taken in, if its value is here or not needed any more.
    pub(super) fn go_on_with_large(&mut self) {
        let Some((dot, outline)) = self.pulls.awaited() else { return };
        let is_covered = self.data.context().covers(dot);
        let value = self.fetches.whole(dot, outline);
        if !is_covered && value.is_none() {
            return;
        }
        let Some((id, name, Large { content, frame, .. })) = self.pulls.go_on(self.now.monotonic) else { return };
        self.fetches.end(dot);
        if !self.membership.is_member() {
            self.drop_from(id, DropReason::NotMember);
            return self.end_pull(false);
        }
        let content = match content {
            Awaited::Op(op) => {
                let whole = value.filter(|_| !is_covered).and_then(|value| op.with(&value));
                Content::Ops(whole.into_iter().collect())
            }
            Awaited::Version(mut entry, dot) => {
                match (&mut entry.version, value) {
                    (Some(Version::Whole(sibling)), Some(value)) => sibling.value = value,
                    // It is here, or was seen replaced.
                    (version, _) => *version = Some(Version::Known(dot)),
                }
                Content::Versions([entry].into())
            }
        };
        self.fetches.forget_pieces(dot);
        if !self.makes_room_for(&content) {
            self.drop_from(id, DropReason::NoMemory);
            self.end_pull(false);
            return self.hold_back_pulls();
        }
        self.take_in_frame(id, (name, frame, false), content);
    }

    /// The pull ended: its value is asked for no longer, unless it was announced, too.
    pub(super) fn stop_fetching(&mut self, dot: Dot) {
        if !self.fetches.is_announced(dot) {
            self.fetches.end(dot);
        }
    }
}
