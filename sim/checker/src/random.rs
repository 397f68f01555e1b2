//! Choices: one pure decision per key, never one shared stream.
//!
//! A [`Source`] turns `(seed, key)` into as many random words as a decision needs. The key is the stable name of a
//! cause in the plan (an operation, a fault, a timer's moment), mixed with what is decided. So taking one operation out
//! of a plan leaves every other decision as it was. That is what makes shrinking work. The words are those of
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) started at the key;
//! `docs/decisions/0030-choices-by-splitmix.md` says why. All of the mapping from a key to a delay, a size or a coin is
//! ours, in integers only, and pinned by tests. No library update can change what a seed means.

use crate::mix::{STRIDE, finalize, mix};

/// One million: probabilities are whole parts of it.
pub const MILLION: u32 = 1_000_000;

/// All the randomness of one run.
#[derive(Debug, Clone, Copy)]
pub struct Source(u64);

impl Source {
    /// The source of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(finalize(seed ^ u64::from_le_bytes(*b"hence-2\0")))
    }

    /// The words of this key.
    #[must_use]
    #[inline]
    pub const fn words(self, key: u64) -> Words {
        Words(mix(self.0, key))
    }

    /// A sequence of decisions about one thing: what they are about, and which of these it is.
    #[must_use]
    #[inline]
    pub fn draw(self, domain: impl Into<u64>, id: u64) -> Draw {
        Draw { words: self.words(mix(domain.into(), id)), at: 0 }
    }
}

/// The words of one key, each by its place, so that a decision that is not needed costs nothing and moves no other.
#[derive(Debug, Clone, Copy)]
pub struct Words(u64);

impl Words {
    /// The word at this place.
    #[must_use]
    #[inline]
    pub const fn word(self, place: u64) -> u32 {
        (finalize(self.0.wrapping_add((place + 1).wrapping_mul(STRIDE))) >> 32) as u32
    }
}

/// A sequence of decisions under one key.
#[derive(Debug, Clone)]
pub struct Draw {
    words: Words,
    at: u64,
}

impl Draw {
    /// The next word.
    #[inline]
    pub const fn word(&mut self) -> u32 {
        self.at += 1;
        self.words.word(self.at - 1)
    }

    /// Two words.
    #[inline]
    pub fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    /// A number below `bound`; 0 for a bound of 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.long()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    #[inline]
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Yes, with this many parts in a million.
    #[inline]
    pub fn chance(&mut self, parts: u32) -> bool {
        chance(self.word(), parts)
    }

    /// Yes or no, evenly.
    #[inline]
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
    #[inline]
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
#[inline]
pub fn chance(word: u32, parts: u32) -> bool {
    (u64::from(word) * u64::from(MILLION)) >> 32 < u64::from(parts)
}

/// A number below `bound`, evenly, from one word.
#[must_use]
#[inline]
pub fn scale(word: u32, bound: u64) -> u64 {
    ((u128::from(word) * u128::from(bound)) >> 32) as u64
}

/// An exponentially distributed length with this mean, from one word. It is the negated logarithm to base 2 in 16.16
/// fixed point, times the mean and ln 2. The mantissa is taken as linear, which is at most 9 % off.
#[must_use]
#[inline]
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
#[inline]
pub fn heavy(word: u32, least: u64) -> u64 {
    let doubled = (word >> 12).leading_zeros().saturating_sub(12).min(9);
    (least << doubled) + scale(word << 20, least << doubled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_what_they_say() {
        let mut draw = Source::new(1).draw(1_u64, 0);
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
