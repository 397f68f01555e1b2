//! What a run counts as it goes on: inputs, frames, messages, refusals.
//!
//! Invariant kept here: counters only grow, and nothing that happens depends on them but what is numbered by them.

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// How often outputs were taken.
    steps: u64,
    events: u64,
    idle_events: u64,
    frames: u64,
    openings: u64,
    busy_messages: u64,
    idle_messages: u64,
    refused: u64,
    view_changes: u64,
}

/// Messages within the core.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages {
    pub(super) busy: u64,
    pub(super) idle: u64,
    /// Those of them that open a link.
    pub(super) openings: u64,
}

impl Messages {
    /// Those since then.
    pub(super) fn since(self, before: Self) -> Self {
        assert!(self.busy >= before.busy && self.idle >= before.idle, "{self:?} after {before:?}");
        Self { busy: self.busy - before.busy, idle: self.idle - before.idle, openings: self.openings - before.openings }
    }
}

impl Tally {
    /// Outputs are taken.
    pub(super) const fn on_step(&mut self) {
        self.steps += 1;
    }

    pub(super) const fn steps(&self) -> u64 {
        self.steps
    }

    /// A replica is handed an input, or a client something.
    pub(super) const fn on_event(&mut self) {
        self.events += 1;
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    /// An input was one that an idle cluster has as well, or not.
    pub(super) fn on_idle_event(&mut self, is_idle: bool) {
        self.idle_events += u64::from(is_idle);
    }

    pub(super) const fn idle_events(&self) -> u64 {
        self.idle_events
    }

    /// The number of the next frame.
    pub(super) const fn next_frame(&mut self) -> u64 {
        self.frames += 1;
        self.frames
    }

    /// A message within the core leaves.
    pub(super) fn on_message(&mut self, idle: bool, opening: bool) {
        *(if idle { &mut self.idle_messages } else { &mut self.busy_messages }) += 1;
        self.openings += u64::from(opening);
    }

    pub(super) const fn messages(&self) -> Messages {
        Messages { busy: self.busy_messages, idle: self.idle_messages, openings: self.openings }
    }

    /// A client was told to come back later, or lost its connection.
    pub(super) const fn on_refused(&mut self) {
        self.refused += 1;
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// A view in the core changed.
    pub(super) const fn on_view_change(&mut self) {
        self.view_changes += 1;
    }

    pub(super) const fn view_changes(&self) -> u64 {
        self.view_changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_kind_and_since_a_moment() {
        let mut tally = Tally::default();
        tally.on_message(true, false);
        let before = tally.messages();
        tally.on_message(false, true);
        tally.on_message(true, false);
        let Messages { busy, idle, openings } = tally.messages().since(before);
        assert_eq!((busy, idle, openings), (1, 1, 1));
    }

    #[test]
    fn frames_are_numbered_from_one() {
        let mut tally = Tally::default();
        assert_eq!([tally.next_frame(), tally.next_frame()], [1, 2]);
    }
}
