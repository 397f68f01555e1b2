//! What the simulator decides by chance. The choices themselves are those of [`hence_checker::random`].

pub use hence_checker::mix::mix;
pub use hence_checker::random::*;

/// What a decision is about: the first part of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Which fault classes a plan has, its topology and settings.
    Shape = 1,
    /// One client operation of a plan.
    Operation = 2,
    /// One fault of a plan.
    Fault = 3,
    /// The randomness that a replica is born with.
    StartSeed = 4,
    /// What the network does with a message.
    Network = 5,
    /// In what order things happen that happen at the same time.
    Tie = 6,
    /// Which timer fired.
    Timer = 7,
    /// What a client's request or its answer meets on the way.
    Client = 8,
}

impl From<Domain> for u64 {
    #[inline]
    fn from(domain: Domain) -> Self {
        domain as Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These values are what a seed means. They never change; if they do, every committed seed is worthless.
    #[test]
    fn golden_values() {
        let source = Source::new(7);
        let words = source.words(mix(Domain::Network as u64, 42));
        let words: Vec<u32> = (0..4).map(|place| words.word(place)).collect();
        let mut draw = source.draw(Domain::Operation, 3);
        let drawn = (draw.word(), draw.below(1_000), draw.between(5, 9), draw.sized(1, 1 << 20), draw.coin());
        let shaped = [exponential(0x4000_0000, 1_000), exponential(1, 1_000), heavy(0x8000_0000, 100), heavy(77, 100)];
        let golden = "[4029765108, 887882803, 1799588673, 2880099252] (2407264551, 236, 9, 234042, false) \
            [1386, 22180, 100, 52162] 6557459248624239697";
        assert_eq!(format!("{words:?} {drawn:?} {shaped:?} {}", mix(1, 2)), golden);
    }
}
