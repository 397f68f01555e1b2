//! What a planned operation lists.

use super::limits::{at_most, below};
use super::{Act, Operation, PlanError};
use hence_core::LIST_MAX;
use serde::{Deserialize, Serialize};

/// A page of the keys of a range, instead of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListUse {
    /// From this key on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u8>,
    /// Up to this key, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u8>,
    /// At most so many.
    pub limit: u16,
    /// From the last to the first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reverse: bool,
    /// Keys with this digit are shown as what they begin with up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<u8>,
    /// What of each key.
    pub shape: ShapeUse,
}

/// What a list shows of each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeUse {
    /// Its value.
    Values,
    /// Its name.
    Keys,
    /// Nothing: they are counted.
    Count,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(set: &bool) -> bool {
    !*set
}

impl ListUse {
    /// Does all that it refers to exist? Only a plain read is a list.
    pub(super) fn check(self, operation: &Operation, keys: u64, place: impl Fn() -> String) -> Result<(), PlanError> {
        below(&place, self.start.map_or(0, u64::from), keys)?;
        below(&place, self.end.map_or(0, u64::from), keys)?;
        below(&place, self.delimiter.map_or(0, u64::from), 10)?;
        at_most(&place, self.limit.into(), LIST_MAX as u64)?;
        if self.limit == 0 || operation.act != Act::Get || operation.is_batch() {
            return Err(PlanError { place: place(), problem: "a list reads a key at least, and is no batch".into() });
        }
        Ok(())
    }
}
