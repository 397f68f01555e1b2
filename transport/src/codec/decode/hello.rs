//! Hellos: what opens a link, and which formats its sender speaks.

use super::super::Damage;
use super::{BodyReader, Result};
use hence_core::{Body, Formats, Hello, Time, Wall};
use std::sync::Arc;

impl BodyReader<'_> {
    pub(super) fn hello(&mut self) -> Result<Body> {
        Ok(Body::Hello(Box::new(Hello {
            sent: Time(self.varint()?),
            wall: Wall(self.varint()?),
            vector: Arc::new(self.vector()?),
            view: self.records()?,
            formats: self.formats()?,
        })))
    }

    /// The formats that the sender speaks. Format 4 has no place for them.
    fn formats(&mut self) -> Result<Formats> {
        if self.format < Formats::TEST {
            return Ok(self.theirs);
        }
        let formats = Formats { lowest: self.byte()?, highest: self.byte()? };
        if formats.lowest > 0 && formats.speaks(self.format) { Ok(formats) } else { Err(Damage::Formats) }
    }
}
