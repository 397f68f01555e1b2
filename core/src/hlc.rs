//! A hybrid logical clock: one number that grows along causality and stays near the wall clock (REQ-6).
//!
//! Kulkarni et al., "Logical physical clocks" (OPODIS 2014). We keep one 62-bit number instead of a
//! pair: wall milliseconds above 16 bits that count, so counting up simply runs into the next
//! millisecond.

use crate::time::Wall;
use core::fmt;

/// A stamp of a write. Greater than the stamp of everything the write depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first number that no honest replica issues; a frame that holds it is damaged.
    pub const LIMIT: Self = Self(1 << 62);

    const COUNT_BITS: u32 = 16;

    /// The least stamp of this wall time.
    #[must_use]
    pub const fn at_wall(wall: Wall) -> Self {
        let millis = wall.0 / 1_000;
        if millis >= Self::LIMIT.0 >> (Self::COUNT_BITS + 1) {
            return Self(0); // a wall clock beyond the year 3000 is not believed at all
        }
        Self(millis << Self::COUNT_BITS)
    }

    /// The stamp of a new write whose causes are stamped up to `self`. It is above `self`. It is at `wall` where that
    /// is later; otherwise it is counted up.
    ///
    /// No honest clock comes near [`Self::LIMIT`]. Where a peer lied just below it, stamps stay there and no longer
    /// grow. So the winner among concurrent writes is arbitrary. Writes go on, and what replaces what still holds,
    /// because that rests on dots alone.
    #[must_use]
    pub fn next(self, wall: Option<Wall>) -> Self {
        let counted = Self((self.0 + 1).min(Self::LIMIT.0 - 1));
        wall.map_or(counted, |wall| counted.max(Self::at_wall(wall)))
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> Self::COUNT_BITS, self.0 & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_whatever_the_wall_does() {
        let mut clock = Hlc::default();
        for wall in [5_000_000, 0, u64::MAX, 7_000, 5_000_000, 1_800_000_000_000_000] {
            let next = clock.next(Some(Wall(wall)));
            assert!(next > clock && next < Hlc::LIMIT, "{wall}");
            clock = next;
        }
        assert_eq!(clock, Hlc::at_wall(Wall(1_800_000_000_000_000)));
        assert_eq!(clock.next(None), Hlc(clock.0 + 1));
    }

    #[test]
    fn a_lie_just_below_the_limit_stops_no_replica_from_writing() {
        let lie = Hlc(Hlc::LIMIT.0 - 2);
        let next = lie.next(Some(Wall(1_700_000_000_000_000)));
        assert_eq!(next, Hlc(Hlc::LIMIT.0 - 1));
        assert_eq!(next.next(None), next, "peers would take the limit for damage, and every write after it");
    }
}
