//! The numbers of one link (LINK-1, LINK-3, LINK-4).
//!
//! Invariants kept here:
//! - A link that is established has a number on each side. 0 stands for none yet.
//! - Each message has a sequence number of its own.

/// No honest end has counted so far.
const NUMBER_LIMIT: u64 = 1 << 62;

/// From the second crossing in a row on the pause doubles with each, up to this one.
const CROSSED_MAX: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Link {
    /// The number that this end gave it.
    number: u64,
    /// The number that the other end gave it.
    echo: u64,
    established: bool,
    /// The number of the next message to it.
    sequence: u64,
    /// No message of this link has arrived yet.
    silent: bool,
    /// The other end said a hello since this one opened it last.
    met: bool,
    /// So many openings in a row met hellos of the other end.
    crossed: u8,
}

impl Link {
    #[inline]
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub(super) const fn echo(&self) -> u64 {
        self.echo
    }

    #[inline]
    pub(super) const fn is_established(&self) -> bool {
        self.established
    }

    /// Gives it this number.
    pub(super) fn name(&mut self, number: u64) {
        assert!(self.number == 0 && number != 0, "link {} becomes {number}", self.number);
        self.number = number;
    }

    /// A copy of this memory gave out numbers beyond: what bears a lower one would be taken for what came late.
    pub(super) const fn forget_number(&mut self) {
        self.number = 0;
    }

    /// Does the other end name a number beyond the newest that it was given, which an honest end may have counted to?
    pub(super) fn is_beyond(&self, echo: u64) -> bool {
        (self.number + 1..NUMBER_LIMIT).contains(&echo)
    }

    /// The other end began a new link.
    pub(super) fn meet(&mut self, echo: u64) {
        assert!(!self.established && echo != 0, "link {echo} takes the place of one that stands");
        self.echo = echo;
        self.silent = true;
    }

    /// A hello of the other end arrived that does not make it stand.
    pub(super) const fn cross(&mut self) {
        self.met = true;
    }

    /// This end opens it now. How many times the usual pause is it to wait before it opens it again?
    ///
    /// A transport connects anew for each opening and drops what waited. Where the other end was heard meanwhile, it is
    /// there. What this end said to it may have been dropped like that, because connecting takes long here.
    pub(super) fn open(&mut self) -> u64 {
        let met = core::mem::replace(&mut self.met, false);
        self.crossed = if met { (self.crossed + 1).min(CROSSED_MAX) } else { 0 };
        1 << self.crossed.saturating_sub(1)
    }

    /// Does a message with these numbers belong to it?
    #[inline]
    pub(super) const fn fits(&self, number: u64, echo: u64) -> bool {
        number == self.echo && echo == self.number && number != 0 && echo != 0
    }

    pub(super) fn establish(&mut self) {
        assert!(self.number != 0 && self.echo != 0, "{self:?} is established");
        self.established = true;
        (self.met, self.crossed) = (false, 0);
    }

    #[inline]
    pub(super) const fn next_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence += 1;
        sequence
    }

    /// Is the message that has just arrived its first?
    #[inline]
    pub(super) const fn take_first(&mut self) -> bool {
        core::mem::replace(&mut self.silent, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stands_when_each_end_has_named_it() {
        let mut link = Link::default();
        link.name(5);
        assert!(!link.fits(7, 5), "the other end has not said its number");
        link.meet(7);
        assert!(link.fits(7, 5) && !link.fits(7, 4) && !link.fits(6, 5));
        link.establish();
        assert!(link.take_first() && !link.take_first());
        assert_eq!([link.next_sequence(), link.next_sequence()], [0, 1]);
    }

    #[test]
    fn openings_that_cross_give_each_other_time() {
        let mut link = Link::default();
        assert_eq!(link.open(), 1, "nobody was heard");
        let pauses = [(); 4].map(|()| {
            link.cross();
            link.open()
        });
        assert_eq!(pauses, [1, 2, 4, 4]);
        assert_eq!(link.open(), 1, "the other end fell silent");
        link.cross();
        (link.number, link.echo) = (5, 7);
        link.establish();
        assert_eq!(link.open(), 1, "it stood meanwhile");
    }

    #[test]
    fn numbers_that_no_end_counts_to_are_not_followed() {
        let mut link = Link::default();
        link.name(5);
        assert_eq!(
            [4, 5, 6, NUMBER_LIMIT - 1, NUMBER_LIMIT].map(|echo| link.is_beyond(echo)),
            [false, false, true, true, false]
        );
        link.forget_number();
        link.name(9);
        assert_eq!(link.number(), 9);
    }

    #[test]
    #[should_panic(expected = "is established")]
    fn half_a_link_does_not_stand() {
        let mut link = Link::default();
        link.meet(7);
        link.establish();
    }
}
