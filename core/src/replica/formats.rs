//! What a replica may send to which peer while a cluster is upgraded (FORMAT-1 to FORMAT-3).
//!
//! A hello says which formats its sender speaks. What a format adds is used as soon as the present incarnation at every
//! member address has said that it speaks that format. A replica may be replaced by an older build meanwhile. It gets
//! what it cannot be told as part of a state, which every format can say.

use super::Replica;
use super::peer::PeerId;
use crate::formats::Formats;
use crate::rules::{Rule, Rules};

impl<R: Rules> Replica<R> {
    /// A hello said which formats the peer speaks.
    pub(super) fn on_formats(&mut self, id: PeerId, formats: Formats) {
        let anew = self.rules.follows(Rule::FormatsEndWithTheLink);
        let peer = self.peer(id);
        if anew || peer.formats.is_none() {
            peer.formats = Some(formats);
        }
    }

    /// Can a message that needs this format be sent to this peer?
    pub(super) fn can_say(&self, id: PeerId, format: u8) -> bool {
        if format <= Formats::RELEASED.lowest {
            return true;
        }
        let spoken = |theirs| self.rules.format(self.config.formats, theirs);
        self.peers[id].formats.and_then(spoken).is_some_and(|spoken| spoken >= format)
    }

    /// Can every operation of the log be sent to this peer?
    pub(super) fn can_say_log(&self, id: PeerId) -> bool {
        self.can_say(id, self.data.log().format())
    }

    /// May this replica do what can only be said in this format?
    pub(super) fn may_use(&self, format: u8) -> bool {
        format <= Formats::RELEASED.lowest
            || self.config.formats.highest >= format && self.rules.may_use(self.all_speak(format))
    }

    /// Does the newest incarnation at every member address speak this format?
    #[must_use]
    pub fn all_speak(&self, format: u8) -> bool {
        let speaks = |&id: &PeerId| {
            let peer = &self.peers[id];
            let newest = self.membership.view().newest(&peer.address).map(|newest| newest.incarnation);
            newest.is_some() && newest == peer.incarnation && self.can_say(id, format)
        };
        self.config.formats.highest >= format && self.peers.members().iter().all(speaks)
    }
}
