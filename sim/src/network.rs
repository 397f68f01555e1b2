//! The network: what it is like by plan, what each message meets, and which links are cut.
//!
//! Frames keep their order per link, as they do in one connection, unless the plan lets some overtake. A cut
//! either loses frames or keeps them and releases them, in order, when it ends, as TCP does.

use crate::plan::{PlanError, limits};
use crate::random::{Draw, MILLION, WORDS, chance, exponential, heavy, scale};
use serde::{Deserialize, Serialize};

/// What the network is like when no fault strikes. Probabilities are parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// How long messages between replicas take.
    pub delay: Delay,
    /// How long a client's request and its answer take at most, in microseconds.
    pub client_delay_max: u64,
    /// How many messages are lost.
    pub loss: u32,
    /// How many messages arrive twice.
    pub duplicate: u32,
    /// How many messages may overtake others and take up to eight times as long.
    pub overtake: u32,
    /// Accepted connections are reported to the side that opened them.
    pub connects: bool,
}

/// How long a message takes, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    /// Always as long.
    Constant {
        /// So long.
        micros: u64,
    },
    /// Anything between, evenly.
    Uniform {
        /// The shortest.
        least: u64,
        /// The longest.
        most: u64,
    },
    /// A shortest time and an exponential rest.
    Exponential {
        /// The shortest.
        least: u64,
        /// The mean of what comes on top.
        mean: u64,
    },
    /// A shortest time that doubles again and again with probability one half.
    Heavy {
        /// The shortest.
        least: u64,
    },
}

impl Delay {
    fn of(self, word: u32) -> u64 {
        match self {
            Self::Constant { micros } => micros,
            Self::Uniform { least, most } => least + scale(word, most.saturating_sub(least) + 1),
            Self::Exponential { least, mean } => least + exponential(word, mean),
            Self::Heavy { least } => heavy(word, least),
        }
    }
}

impl NetworkPlan {
    /// A network without faults in which a message takes this long.
    #[must_use]
    pub const fn calm(micros: u64) -> Self {
        let delay = Delay::Constant { micros };
        Self { delay, client_delay_max: 0, loss: 0, duplicate: 0, overtake: 0, connects: true }
    }

    /// Draws one; each kind of trouble is there or not with probability one half.
    pub fn draw(draw: &mut Draw) -> Self {
        let least = draw.sized(20, 5_000);
        let delay = match draw.below(4) {
            0 => Delay::Constant { micros: least },
            1 => Delay::Uniform { least, most: least + draw.sized(100, 60_000) },
            2 => Delay::Exponential { least, mean: draw.sized(100, 60_000) },
            _ => Delay::Heavy { least },
        };
        let mut rate = |most: u64| if draw.coin() { draw.sized(1_000, most) as u32 } else { 0 };
        let (loss, duplicate, overtake) = (rate(200_000), rate(500_000), rate(500_000));
        Self { delay, client_delay_max: draw.sized(1, 5_000), loss, duplicate, overtake, connects: draw.coin() }
    }

    /// Is every number within bounds?
    ///
    /// # Errors
    /// Names the place.
    pub fn check(&self) -> Result<(), PlanError> {
        let (a, b) = match self.delay {
            Delay::Constant { micros } => (micros, micros),
            Delay::Uniform { least, most } => (least, most),
            Delay::Exponential { least, mean } => (least, mean),
            Delay::Heavy { least } => (least, least),
        };
        let long = limits::TIME_MAX / 1_000;
        for (place, value, max) in [
            ("delay", a, long),
            ("delay", b, long),
            ("client_delay_max", self.client_delay_max, long),
            ("loss", self.loss.into(), MILLION.into()),
            ("duplicate", self.duplicate.into(), MILLION.into()),
            ("overtake", self.overtake.into(), MILLION.into()),
        ] {
            if value > max {
                let problem = format!("{value} is beyond {max}");
                return Err(PlanError { place: format!("network.{place}"), problem });
            }
        }
        Ok(())
    }

    /// What one message meets: decided by its eight words alone.
    #[must_use]
    pub fn fate(&self, words: &[u32; WORDS], receiver: usize) -> Fate {
        let words = &words[receiver % 8 * 8..][..8];
        let overtakes = chance(words[0], self.overtake);
        let slower = if overtakes { 1 + scale(words[1], 8) } else { 1 };
        let delay = self.delay.of(words[2]).saturating_mul(slower);
        let copy = chance(words[3], self.duplicate).then(|| self.delay.of(words[4]) * (1 + scale(words[5], 16)));
        Fate { delay, lost: chance(words[6], self.loss), overtakes, copy }
    }
}

/// What the network does with one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fate {
    /// It takes this long.
    pub delay: u64,
    /// It never arrives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
    /// It need not keep its place behind earlier ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overtakes: bool,
    /// A copy arrives after this long, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u64>,
}

/// The present state of one link, in one direction.
#[derive(Debug)]
pub struct Link<E> {
    /// Cuts in force that lose frames.
    pub losing: u16,
    /// Cuts in force that keep them.
    pub holding: u16,
    /// What each burst in force loses, in parts per million.
    pub bursts: Vec<u32>,
    /// When the last cut ended, if one did.
    pub mended_at: Option<u64>,
    /// When the last frame that keeps its place arrives.
    pub last_arrival: u64,
    /// The greatest number of a frame that arrived.
    pub newest: u64,
    /// Frames that a cut keeps, in order.
    pub held: Vec<E>,
}

impl<E> Default for Link<E> {
    fn default() -> Self {
        Self {
            losing: 0,
            holding: 0,
            bursts: Vec::new(),
            mended_at: None,
            last_arrival: 0,
            newest: 0,
            held: Vec::new(),
        }
    }
}

impl<E> Link<E> {
    /// Is any cut in force?
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.losing > 0 || self.holding > 0
    }
}
