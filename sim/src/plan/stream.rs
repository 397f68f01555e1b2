//! What connections are like by plan: their limits, and what a cut does to them.

use super::PlanError;
use crate::random::Draw;
use serde::{Deserialize, Serialize};

/// What connections are like by plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamPlan {
    /// Bytes that may wait at a sender for one peer; messages beyond are lost.
    pub queue_bytes_max: u64,
    /// Bytes that a kernel takes from a process before they are acknowledged. They outlive the process's wish to close.
    pub kernel_bytes_max: u64,
    /// Bytes that arrive before the first acknowledgement must return.
    pub window_bytes: u64,
    /// What a cut does to connections that says it keeps frames.
    pub held: CutWay,
    /// What a cut does to connections that says it loses frames.
    pub lost: CutWay,
    /// What a process that died had handed to its kernel still arrives.
    pub flushes: bool,
    /// Messages go through the codec, each encoded behind those before it on its connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub codec: bool,
}

/// What a cut looks like to the processes at its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutWay {
    /// Packets vanish. Connections stall and outlive it, attempts run out of time.
    Silent,
    /// Connections are reset and die with what they hold, attempts are refused at once.
    Reset,
    /// The interface is gone and comes back. Connections stall and outlive it, attempts fail at once.
    Gone,
    /// The interface is gone and another one comes. Connections stall and die when it does, attempts fail at once.
    Replaced,
}

impl CutWay {
    /// An attempt to connect fails at once.
    #[must_use]
    pub const fn refuses(self) -> bool {
        match self {
            Self::Reset | Self::Gone | Self::Replaced => true,
            Self::Silent => false,
        }
    }
}

impl StreamPlan {
    /// Nothing is at a limit, and cuts swallow packets or reset connections.
    pub const ROOMY: Self = Self {
        queue_bytes_max: 8 << 20,
        kernel_bytes_max: 256 << 10,
        window_bytes: 64 << 10,
        held: CutWay::Silent,
        lost: CutWay::Reset,
        flushes: true,
        codec: false,
    };

    /// Draws one: limits as in production or small.
    pub fn draw(draw: &mut Draw) -> Self {
        let mut bytes =
            |least: u64, most: u64, default: u64| if draw.coin() { draw.sized(least, most) } else { default };
        let queue_bytes_max = bytes(1 << 10, 64 << 10, Self::ROOMY.queue_bytes_max);
        let kernel_bytes_max = bytes(256, 64 << 10, Self::ROOMY.kernel_bytes_max);
        let window_bytes = bytes(256, 64 << 10, Self::ROOMY.window_bytes);
        let held = draw.pick(&[CutWay::Silent, CutWay::Gone]);
        let lost = draw.pick(&[CutWay::Reset, CutWay::Replaced]);
        Self { queue_bytes_max, kernel_bytes_max, window_bytes, held, lost, flushes: draw.coin(), codec: false }
    }

    /// Is every number within bounds?
    ///
    /// # Errors
    /// Names the place.
    pub fn check(&self) -> Result<(), PlanError> {
        let most = 1 << 40;
        for (place, value) in [
            ("queue_bytes_max", self.queue_bytes_max),
            ("kernel_bytes_max", self.kernel_bytes_max),
            ("window_bytes", self.window_bytes),
        ] {
            if value == 0 || value > most {
                let problem = format!("{value} is not between 1 and {most}");
                return Err(PlanError { place: format!("network.streams.{place}"), problem });
            }
        }
        Ok(())
    }
}
