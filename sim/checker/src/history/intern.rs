//! Numbers for texts and for numbers: two open-addressed tables, made for millions of entries.
//!
//! Numbers are given in order of first appearance. So nothing depends on how the tables are laid out, and neither table
//! can be iterated in hash order. All texts of one table lie in one arena.

const EMPTY: u32 = u32::MAX;

/// The multiplier of splitmix64's successor; any odd number with well-spread bits would do.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const fn fold(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word) as u128 * (SPREAD | 1) as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

fn hash_text(text: &[u8]) -> u64 {
    let mut hash = fold(0x2545_f491_4f6c_dd1d, text.len() as u64);
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("a chunk has eight bytes"));
        hash = fold(hash, word);
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    fold(fold(hash, u64::from_le_bytes(last)), SPREAD)
}

/// Texts, each with a number from 0.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
    /// Where each text ends in the arena.
    ends: Vec<usize>,
    /// A number and the upper half of its hash, or [`EMPTY`].
    slots: Vec<(u32, u32)>,
}

impl Names {
    /// No texts yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new(), ends: Vec::new(), slots: Vec::new() }
    }

    /// How many texts.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Nothing was named yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of a number.
    ///
    /// # Panics
    ///
    /// When the number was not given out.
    #[must_use]
    pub fn text(&self, number: u32) -> &str {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start..self.ends[at]]
    }

    /// The number of this text, if it has one.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = hash_text(text.as_bytes());
        let (number, _) = self.slots[self.slot(text, hash)];
        (number != EMPTY).then_some(number)
    }

    /// The number of this text; a new one if it has none.
    pub fn number(&mut self, text: &str) -> u32 {
        if (self.ends.len() + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let hash = hash_text(text.as_bytes());
        let slot = self.slot(text, hash);
        if self.slots[slot].0 == EMPTY {
            self.slots[slot] = (self.add(text), (hash >> 32) as u32);
        }
        self.slots[slot].0
    }

    /// A number for a text that surely has none yet, and that will not be looked for by its text.
    pub(crate) fn add(&mut self, text: &str) -> u32 {
        let number = u32::try_from(self.ends.len()).expect("fewer than four billion names");
        self.text.push_str(text);
        self.ends.push(self.text.len());
        number
    }

    fn slot(&self, text: &str, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (number, upper) = self.slots[slot];
            if number == EMPTY || upper == (hash >> 32) as u32 && self.text(number) == text {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.ends.len() * 2).next_power_of_two().max(16);
        self.slots = vec![(EMPTY, 0); size];
        for at in 0..self.ends.len() {
            let hash = hash_text(self.text(at as u32).as_bytes());
            let mut slot = hash as usize & (size - 1);
            while self.slots[slot].0 != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = (at as u32, (hash >> 32) as u32);
        }
    }
}

/// A number for a number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    slots: Vec<(u64, u32)>,
    count: usize,
}

impl Numbers {
    /// What stands for this key.
    pub(crate) fn find(&self, key: u64) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (_, value) = self.slots[self.slot(key)];
        (value != EMPTY).then_some(value)
    }

    /// Puts a value for a key that has none; otherwise says what it has.
    pub(crate) fn put(&mut self, key: u64, value: u32) -> Result<(), u32> {
        if (self.count + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let slot = self.slot(key);
        if self.slots[slot].1 != EMPTY {
            return Err(self.slots[slot].1);
        }
        self.slots[slot] = (key, value);
        self.count += 1;
        Ok(())
    }

    fn slot(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = fold(SPREAD, key) as usize & mask;
        while self.slots[slot].1 != EMPTY && self.slots[slot].0 != key {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![(0, EMPTY); size]);
        for (key, value) in old {
            if value != EMPTY {
                let slot = self.slot(key);
                self.slots[slot] = (key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_numbers() {
        let mut names = Names::default();
        assert_eq!(names.find("a"), None);
        let texts: Vec<String> = (0..5_000).map(|n| format!("{}{n}", "x".repeat(n % 23))).collect();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(names.number(text), at as u32);
        }
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(
                (names.number(text), names.find(text), names.text(at as u32)),
                (at as u32, Some(at as u32), &**text)
            );
        }
        assert_eq!((names.len(), names.find("missing")), (5_000, None));
    }

    #[test]
    fn added_names_leave_room_for_others() {
        let mut names = Names::default();
        for number in 0..1_000 {
            assert_eq!(names.add(&number.to_string()), number);
        }
        assert_eq!((names.number("a"), names.number("b"), names.number("a")), (1_000, 1_001, 1_000));
        assert_eq!((names.text(999), names.text(1_000)), ("999", "a"));
    }

    #[test]
    fn numbers_keep_the_first() {
        let mut numbers = Numbers::default();
        for key in 0..5_000_u64 {
            assert_eq!(numbers.put(key << 20, key as u32), Ok(()));
        }
        assert_eq!(numbers.put(7 << 20, 9), Err(7));
        assert_eq!((numbers.find(4_999 << 20), numbers.find(1)), (Some(4_999), None));
    }
}
