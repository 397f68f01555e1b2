//! A build without the feature `otlp` sends no spans.

use super::{Sent, Span, collector::Collector};
use crate::settings::SettingError;
use hence_core::Address;

/// There is none.
#[derive(Debug)]
pub(crate) enum Exporter {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Sending {}

impl Exporter {
    /// Refuses.
    ///
    /// # Errors
    /// [`SettingError`], always.
    pub(super) fn start(text: &str, _: &Address) -> Result<(Self, Sending), SettingError> {
        Collector::parse(text)?;
        let allowed = "left out: this build has no feature otlp".into();
        Err(SettingError { name: "HENCE_OTLP_ENDPOINT".into(), value: text.into(), allowed })
    }

    pub(super) fn offer(&self, _: Span) {
        match *self {}
    }

    pub(super) fn sent(&self) -> Sent {
        match *self {}
    }
}
