//! Choices of clients and faults, drawn from a seed.

/// A fixed sequence of choices: xorshift, since nothing here needs more.
pub struct Choices(pub u64);

impl Choices {
    /// A number less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
