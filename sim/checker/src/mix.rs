//! Mixes numbers into keys: the same on every machine, and quick.

/// What one word is from the next in a sequence: 2^64 divided by the golden ratio, made odd.
pub const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a number into a key. The finalizer of SplitMix64 keeps neighbours apart.
#[must_use]
#[inline]
pub const fn mix(key: u64, more: u64) -> u64 {
    finalize(key.rotate_left(17) ^ more.wrapping_mul(STRIDE))
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[must_use]
#[inline]
pub const fn finalize(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
