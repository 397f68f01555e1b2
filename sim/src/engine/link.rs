//! One link: which cuts and bursts are in force, and what they keep.
//!
//! Frames keep their order per link, as they do in one connection, unless the plan lets some overtake. A cut
//! either loses frames or keeps them and releases them, in order, when it ends, as TCP does.

/// The present state of one link, in one direction.
#[derive(Debug)]
pub struct Link<E> {
    /// Cuts in force that lose frames.
    pub losing: u16,
    /// Cuts in force that keep them.
    pub holding: u16,
    /// What each burst in force loses, in parts per million.
    pub bursts: Vec<u32>,
    /// When the last cut ended, if one did.
    pub mended_at: Option<u64>,
    /// When the last frame that keeps its place arrives.
    pub last_arrival: u64,
    /// When everything that was sent before has left, where bandwidth is limited.
    pub free_at: u64,
    /// What the last idle chatter said.
    pub said: u64,
    /// The greatest number of a frame that arrived.
    pub newest: u64,
    /// How many messages of each kind the step of that number sent.
    sent: (u64, [u16; 8]),
    /// Frames that a cut keeps, in order.
    pub held: Vec<E>,
}

impl<E> Default for Link<E> {
    fn default() -> Self {
        Self {
            losing: 0,
            holding: 0,
            bursts: Vec::new(),
            mended_at: None,
            last_arrival: 0,
            free_at: 0,
            said: 0,
            newest: 0,
            sent: (0, [0; 8]),
            held: Vec::new(),
        }
    }
}

impl<E> Link<E> {
    /// Is any cut in force?
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.losing > 0 || self.holding > 0
    }

    /// How many messages of this kind that step, which has a number of its own, sent on this link before.
    #[inline]
    pub fn sent_before(&mut self, step: u64, kind: u8) -> u16 {
        if self.sent.0 != step {
            self.sent = (step, [0; 8]);
        }
        let sent = &mut self.sent.1[usize::from(kind % 8)];
        *sent += 1;
        *sent - 1
    }
}
