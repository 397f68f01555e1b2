//! What the step under way is about, and what the replica made of it.
//!
//! Invariant kept here: nothing of one step is left for the next.

use hence_core::{Dot, DropReason, Event};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reaction {
    /// The operation that the message of the step pushes.
    pushed: Option<Dot>,
    /// Whose answer to a pull the message of the step is.
    supplier: Option<usize>,
    /// It refused its message.
    dropped: bool,
    /// It refused it as late.
    refused_as_late: bool,
    /// It put out something else than pings.
    spoke: bool,
}

impl Reaction {
    /// A message arrives, which pushes that, or is what that replica supplies for a pull.
    pub(super) fn begin(&mut self, pushed: Option<Dot>, supplier: Option<usize>) {
        *self = Self { pushed, supplier, spoke: self.spoke, ..Self::default() };
    }

    /// The step is over; what came of it is still asked.
    pub(super) const fn end(&mut self) {
        (self.pushed, self.supplier) = (None, None);
    }

    pub(super) const fn pushed(&self) -> Option<Dot> {
        self.pushed
    }

    pub(super) const fn supplier(&self) -> Option<usize> {
        self.supplier
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        if let Event::Dropped { reason, .. } = event {
            self.dropped = true;
            self.refused_as_late |= *reason == DropReason::Late;
        }
    }

    pub(super) const fn dropped(&self) -> bool {
        self.dropped
    }

    pub(super) const fn refused_as_late(&self) -> bool {
        self.refused_as_late
    }

    /// A timer goes off: does anything but pings come of it?
    pub(super) const fn listen(&mut self) {
        self.spoke = false;
    }

    pub(super) const fn on_output(&mut self, is_ping: bool) {
        self.spoke |= !is_ping;
    }

    pub(super) const fn spoke(&self) -> bool {
        self.spoke
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::{Address, Incarnation};

    fn dropped(reason: DropReason) -> Event {
        Event::Dropped { from: Address::parse("127.0.0.1:8090").expect("an address"), reason }
    }

    #[test]
    fn nothing_of_one_step_is_left_for_the_next() {
        let mut reaction = Reaction::default();
        let dot = Dot { incarnation: Incarnation(1), counter: 1 };
        reaction.begin(Some(dot), Some(1));
        reaction.on_event(&dropped(DropReason::Late));
        reaction.end();
        assert!(reaction.dropped() && reaction.refused_as_late());
        assert!(reaction.pushed().is_none() && reaction.supplier().is_none());
        reaction.begin(Some(dot), Some(1));
        assert!(!reaction.dropped() && !reaction.refused_as_late());
        reaction.on_event(&dropped(DropReason::OtherLink));
        assert!(reaction.dropped() && !reaction.refused_as_late());
    }

    #[test]
    fn pings_alone_say_nothing() {
        let mut reaction = Reaction::default();
        reaction.listen();
        reaction.on_output(true);
        assert!(!reaction.spoke());
        reaction.on_output(false);
        reaction.on_output(true);
        assert!(reaction.spoke());
    }
}
