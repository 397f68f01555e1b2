//! Values that travel in pieces: what announces them, and the pieces.

use super::{BodyReader, Damage, Result};
use hence_core::{Body, Effect, Outline, Outlined, SnapshotEntry, Version};

impl BodyReader<'_> {
    pub(super) fn want(&mut self) -> Result<Body> {
        Ok(Body::Want { dot: self.dot()?, offset: self.varint()?, bytes: self.small()? })
    }

    pub(super) fn piece(&mut self) -> Result<Body> {
        Ok(Body::Piece { dot: self.dot()?, offset: self.varint()?, bytes: self.value()? })
    }

    pub(super) fn announce(&mut self) -> Result<Body> {
        let made = self.time()?;
        Ok(Body::Announce { op: self.outlined()?, made })
    }

    pub(super) fn outlined(&mut self) -> Result<Outlined> {
        let op = self.supplied()?;
        match &op.effect {
            Effect::Put { value, .. } if value.as_bytes().is_empty() => Ok(Outlined { op, outline: self.outline()? }),
            Effect::Put { .. }
            | Effect::Delete { .. }
            | Effect::Erase { .. }
            | Effect::Retire { .. }
            | Effect::Batch(_) => Err(Damage::Announced),
        }
    }

    pub(super) fn snapshot_entry_outlined(&mut self) -> Result<SnapshotEntry> {
        let snapshot_entry = self.snapshot_entry()?;
        match snapshot_entry.version.as_ref().and_then(Version::whole) {
            Some(sibling) if sibling.value.as_bytes().is_empty() => Ok(snapshot_entry),
            Some(_) | None => Err(Damage::Announced),
        }
    }

    pub(super) fn outline(&mut self) -> Result<Outline> {
        Ok(Outline { bytes: self.varint()?, check: u32::from_be_bytes(self.array()?) })
    }
}
