//! The write concern of a planned operation.

use super::Operation;
use hence_core::{Holders, Micros, WriteConcern};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How far a write is to have spread before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcernUse {
    /// How many replicas are to hold it.
    pub holders: HoldersUse,
    /// How long it may spread, where the operation does not wait for its dependencies. Else that is the time for both.
    pub wait: u64,
}

/// How many replicas are to hold a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldersUse {
    /// At least so many.
    AtLeast(u8),
    /// More than half of the members.
    Majority,
    /// All members.
    All,
}

impl FromStr for ConcernUse {
    type Err = String;

    /// Reads `majority`, `all` or a number. The write may spread for as long as where a client says no more.
    fn from_str(text: &str) -> Result<Self, String> {
        let holders = match text {
            "majority" => HoldersUse::Majority,
            "all" => HoldersUse::All,
            number => HoldersUse::AtLeast(number.parse().map_err(|error| format!("{text}: {error}"))?),
        };
        Ok(Self { holders, wait: 5_000_000 })
    }
}

impl Operation {
    /// What the replica is asked.
    #[must_use]
    pub fn write_concern(&self) -> Option<WriteConcern> {
        self.concern.map(|concern| {
            let holders = match concern.holders {
                HoldersUse::AtLeast(holders) => Holders::AtLeast(holders.into()),
                HoldersUse::Majority => Holders::Majority,
                HoldersUse::All => Holders::All,
            };
            WriteConcern { holders, wait: Micros(if self.wait > 0 { self.wait } else { concern.wait }) }
        })
    }

    /// How long the replica may take: for what is missing, and until the write has spread.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.wait.max(self.write_concern().map_or(0, |concern| concern.wait.0))
    }
}
