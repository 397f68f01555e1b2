//! A client that watches, as a plan holds it.

use super::PlanError;
use super::limits::{self, at_most, below};
use serde::{Deserialize, Serialize};

/// A watch from its first opening to the end of the run. It goes on elsewhere when its replica dies or refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchUse {
    /// Its name in traces and choices; unique among watches.
    pub id: u32,
    /// When the client opens it.
    pub at: u64,
    /// Whose token it carries.
    pub client: u8,
    /// At which replica first.
    pub replica: u8,
    /// One key; none is all keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u8>,
    /// Without values.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keys_only: bool,
    /// How long the client takes for each part, in microseconds.
    pub pace: u64,
    /// When it breaks off, and where it goes on from its last mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<BreakUse>,
}

/// A watch breaks off and goes on elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakUse {
    /// When.
    pub at: u64,
    /// At which replica it goes on.
    pub replica: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(set: &bool) -> bool {
    !*set
}

impl WatchUse {
    /// Does all that it refers to exist?
    pub(super) fn check(&self, plan: &super::Plan, place: impl Fn() -> String) -> Result<(), PlanError> {
        let replicas = plan.replicas.len() as u64;
        at_most(&place, self.at, limits::TIME_MAX)?;
        at_most(&place, self.pace, limits::TIME_MAX)?;
        below(&place, self.client.into(), plan.clients.into())?;
        below(&place, self.replica.into(), replicas)?;
        if let Some(key) = self.key {
            below(&place, key.into(), plan.keys.into())?;
        }
        at_most(&place, self.breaks.len() as u64, limits::BREAKS_MAX)?;
        for one in &self.breaks {
            at_most(&place, one.at, limits::TIME_MAX)?;
            below(&place, one.replica.into(), replicas)?;
        }
        Ok(())
    }
}
