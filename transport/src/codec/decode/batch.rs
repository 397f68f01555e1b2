//! Batches: several changes in one operation.

use super::{BodyReader, Damage, ENTRY_BYTES_MIN, ROOM_MAX, Result, shape};
use hence_core::{BATCH_MAX, Dot, Dots, Effect, Formats, KeyChange};

impl BodyReader<'_> {
    /// What a count of changes begins.
    pub(super) fn batch_or_erasure(&mut self, own: Dot) -> Result<Effect> {
        let count = self.byte()?;
        match usize::from(count) {
            0 if self.format >= Formats::TEST => Ok(Effect::Erase { key: self.key()? }),
            2..=BATCH_MAX => self.batch(count, own),
            _ => Err(Damage::Choice(count)),
        }
    }

    fn batch(&mut self, count: u8, own: Dot) -> Result<Effect> {
        let mut changes: Vec<KeyChange> = Vec::with_capacity(count.into());
        for _ in 0..count {
            let change = self.change(own)?;
            if changes.last().is_some_and(|last| last.key >= change.key) {
                return Err(Damage::Order);
            }
            changes.push(change);
        }
        Ok(Effect::Batch(changes.into()))
    }

    fn change(&mut self, own: Dot) -> Result<KeyChange> {
        let shape = self.byte()?;
        let puts = match shape & (shape::EFFECT_MASK | shape::COUNT_MAX) {
            shape::PUT => true,
            shape::DELETE => false,
            _ => return Err(Damage::Choice(shape)),
        };
        let count = self.shape_count(shape >> shape::SUPERSEDED_SHIFT)?;
        let key = self.key()?;
        let value = if puts { Some(self.value()?) } else { None };
        self.check_count(count, ENTRY_BYTES_MIN)?;
        Ok(KeyChange { key, value, superseded: self.superseded(count, own)? })
    }

    /// So many dots that the operation with this dot supersedes.
    pub(super) fn superseded(&mut self, count: usize, own: Dot) -> Result<Dots> {
        let mut superseded = Dots::with_capacity(count.min(ROOM_MAX));
        for _ in 0..count {
            let (incarnation, counter) = self.related(own)?;
            superseded.push(Dot { incarnation, counter });
        }
        Ok(superseded)
    }
}
