//! Choices: one pure decision per key, never one shared stream.
//!
//! A [`Source`] turns `(seed, key)` into 64 random words. The key is the stable name of a cause in the plan
//! (an operation, a fault, a timer's moment) mixed with what is decided; so taking one operation out of a plan
//! leaves every other decision as it was, which is what makes shrinking work. The mapping from words to delays,
//! sizes and coins is ours, in integers only, and pinned by the tests below: a library update cannot change
//! what a seed means.

use rand_chacha::ChaCha8Core;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::rand_core::block::Generator;

/// How many words one key yields.
pub const WORDS: usize = 64;

/// One million: probabilities are whole parts of it.
pub const MILLION: u32 = 1_000_000;

/// Mixes a number into a key. The finalizer of SplitMix64 (Steele et al., 2014) keeps neighbours apart.
#[must_use]
pub const fn mix(key: u64, more: u64) -> u64 {
    let mut x = key.rotate_left(17) ^ more.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

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
    Birth = 4,
    /// What the network does with a message.
    Network = 5,
    /// In what order things happen that happen at the same time.
    Tie = 6,
    /// Which timer fired.
    Timer = 7,
    /// What a client's request or its answer meets on the way.
    Client = 8,
}

/// All the randomness of one run.
#[derive(Debug, Clone)]
pub struct Source {
    seed: u64,
    key: u64,
    words: [u32; WORDS],
}

impl Source {
    /// The source of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut source = Self { seed, key: 0, words: [0; WORDS] };
        source.words = source.generate(0);
        source
    }

    /// The words of this key. The last one asked for is kept, since a broadcast asks for it many times.
    pub fn words(&mut self, key: u64) -> &[u32; WORDS] {
        if self.key != key {
            self.words = self.generate(key);
            self.key = key;
        }
        &self.words
    }

    /// A sequence of decisions under one key.
    #[must_use]
    pub fn draw(&self, domain: Domain, id: u64) -> Draw {
        let key = mix(domain as u64, id);
        Draw { source: self.clone(), key, page: 0, at: WORDS }
    }

    fn generate(&self, key: u64) -> [u32; WORDS] {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&key.to_le_bytes());
        seed[16..].copy_from_slice(b"hence-sim words1");
        let mut words = [0; WORDS];
        ChaCha8Core::from_seed(seed).generate(&mut words);
        words
    }
}

/// A sequence of decisions under one key.
#[derive(Debug, Clone)]
pub struct Draw {
    source: Source,
    key: u64,
    page: u64,
    at: usize,
}

impl Draw {
    /// The next word.
    pub fn word(&mut self) -> u32 {
        if self.at == WORDS {
            self.source.words(mix(self.key, self.page));
            self.page += 1;
            self.at = 0;
        }
        self.at += 1;
        self.source.words[self.at - 1]
    }

    /// Two words.
    pub fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.long()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Yes, with this many parts in a million.
    pub fn chance(&mut self, parts: u32) -> bool {
        chance(self.word(), parts)
    }

    /// Yes or no, evenly.
    pub fn coin(&mut self) -> bool {
        self.word() & 1 == 1
    }

    /// A number from `low` to `high` whose size is drawn evenly: as often 1 to 2 as 1,000 to 2,000.
    pub fn sized(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1), high.max(low).max(1));
        let bits = self.between(u64::from(low.ilog2()), u64::from(high.ilog2()));
        let least = 1_u64 << bits;
        self.between(least.max(low), (least | (least - 1)).min(high))
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&self.word().to_le_bytes()));
        bytes
    }
}

/// Does this word say yes, with so many parts in a million?
#[must_use]
pub fn chance(word: u32, parts: u32) -> bool {
    (u64::from(word) * u64::from(MILLION)) >> 32 < u64::from(parts)
}

/// A number below `bound`, evenly, from one word.
#[must_use]
pub fn scale(word: u32, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 32) as u64
}

/// An exponentially distributed length with this mean, from one word: the negated logarithm to base 2 in
/// 16.16 fixed point, its mantissa taken as linear (at most 9 % off), times the mean and ln 2.
#[must_use]
pub fn exponential(word: u32, mean: u64) -> u64 {
    let word = word | 1;
    let zeros = word.leading_zeros();
    let mantissa = u64::from((word << zeros) << 1) >> 16;
    let log = ((u64::from(zeros) + 1) << 16) - mantissa;
    ((u128::from(log) * u128::from(mean) * 45_426) >> 32) as u64
}

/// A length with a heavy tail from one word: `least`, doubled once more with probability one half each, up
/// to 2^9 times.
#[must_use]
pub fn heavy(word: u32, least: u64) -> u64 {
    let doubled = (word >> 12).leading_zeros().saturating_sub(12).min(9);
    (least << doubled) + scale(word << 20, least << doubled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These values are what a seed means. They never change; if they do, every committed seed is worthless.
    #[test]
    fn golden_values() {
        let mut source = Source::new(7);
        let words = source.words(mix(Domain::Network as u64, 42))[..4].to_vec();
        let mut draw = source.draw(Domain::Operation, 3);
        let drawn = (draw.word(), draw.below(1_000), draw.between(5, 9), draw.sized(1, 1 << 20), draw.coin());
        let shaped = [exponential(0x4000_0000, 1_000), exponential(1, 1_000), heavy(0x8000_0000, 100), heavy(77, 100)];
        let golden = "[2672205528, 692666236, 3647670897, 517084976] (1380557060, 474, 6, 1048576, true) \
            [1386, 22180, 100, 52162] 6557459248624239697";
        assert_eq!(format!("{words:?} {drawn:?} {shaped:?} {}", mix(1, 2)), golden);
    }

    #[test]
    fn means_are_what_they_say() {
        let mut draw = Source::new(1).draw(Domain::Shape, 0);
        let rounds = 20_000;
        let total: u64 = (0..rounds).map(|_| exponential(draw.word(), 10_000)).sum();
        assert!((9_300..10_900).contains(&(total / rounds)), "{}", total / rounds);
        let heads = (0..rounds).filter(|_| draw.chance(250_000)).count();
        assert!((4_700..5_300).contains(&heads), "{heads}");
        for _ in 0..1_000 {
            assert!((3..=17).contains(&draw.sized(3, 17)));
            assert!((3..=17).contains(&draw.between(3, 17)));
        }
    }
}
