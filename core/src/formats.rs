//! Which formats of the protocol a process speaks, and what can be said in which (FORMAT-1, FORMAT-2).
//!
//! A format is the layout of messages on the wire. Replicas of different builds speak different ones while a cluster is
//! upgraded. This module only counts formats; the codec of `hence-transport` has their layouts.

use core::fmt;

/// The formats that a process speaks: all from the lowest to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Formats {
    /// The oldest.
    pub lowest: u8,
    /// The newest.
    pub highest: u8,
}

impl Formats {
    /// Every format that was released. The lowest is the first that stays speakable.
    pub const RELEASED: Self = Self { lowest: 4, highest: 5 };

    /// The format that has a word for a batch. Its digests count the keys of versions, too.
    pub const BATCH: u8 = 5;

    /// The format after the newest released one, which only tests speak. It stands in for the next one. So a roll to
    /// another format can be tried before there is one.
    pub const TEST: u8 = Self::RELEASED.highest + 1;

    /// All released formats and the one for tests.
    pub const WITH_TEST: Self = Self { lowest: Self::RELEASED.lowest, highest: Self::TEST };

    /// This format and no other.
    #[must_use]
    pub const fn only(format: u8) -> Self {
        Self { lowest: format, highest: format }
    }

    /// Is this format one of them?
    #[must_use]
    pub const fn speaks(self, format: u8) -> bool {
        self.lowest <= format && format <= self.highest
    }

    /// The highest format that both sides speak; none if they have none in common.
    #[must_use]
    pub const fn common(self, other: Self) -> Option<u8> {
        let highest = if self.highest < other.highest { self.highest } else { other.highest };
        if self.speaks(highest) && other.speaks(highest) { Some(highest) } else { None }
    }

    /// Reads what [`fmt::Display`] writes: `4`, or `4-5`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (lowest, highest) = text.split_once('-').unwrap_or((text, text));
        let formats = Self { lowest: lowest.parse().ok()?, highest: highest.parse().ok()? };
        (formats.lowest > 0 && formats.lowest <= formats.highest).then_some(formats)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lowest == self.highest {
            write!(f, "{}", self.lowest)
        } else {
            write!(f, "{}-{}", self.lowest, self.highest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn the_highest_common_one_is_spoken() {
        let of = |lowest, highest| Formats { lowest, highest };
        for (ours, theirs, common) in [
            (of(4, 4), of(4, 4), Some(4)),
            (of(4, 5), of(4, 4), Some(4)),
            (of(4, 6), of(5, 9), Some(6)),
            (of(4, 9), of(5, 6), Some(6)),
            (of(4, 4), of(5, 5), None),
            (of(6, 7), of(3, 5), None),
        ] {
            assert_eq!((ours.common(theirs), theirs.common(ours)), (common, common), "{ours} {theirs}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for formats in [Formats::RELEASED, Formats::WITH_TEST, Formats::only(255)] {
            assert_eq!(Formats::parse(&formats.to_string()), Some(formats));
        }
        for wrong in ["", "-", "0", "5-4", "4-", "-4", "256", "4-5-6", "x"] {
            assert_eq!(Formats::parse(wrong), None, "{wrong}");
        }
    }
}
