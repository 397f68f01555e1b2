//! The network: what it is like by plan, and what each message meets.

use super::stream::StreamPlan;
use super::{PlanError, limits};
use crate::random::{Draw, MILLION, Words, chance, exponential, heavy, scale};
use serde::{Deserialize, Serialize};

/// The narrowest link, in bytes a second: what is said in idle times must pass.
pub const BANDWIDTH_MIN: u64 = 8_000;

/// The longest queue of a link, in bytes.
pub const QUEUE_BYTES_MAX: u64 = 1 << 30;

/// What waits longer than this to leave is lost: a sender's queue is bounded, in microseconds.
pub const QUEUED_MAX: u64 = 250_000;

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
    /// How long messages to a replica of a smaller number take, if not as long as in the other direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Delay>,
    /// Bytes that one link carries in a second; 0 for any number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bandwidth: u64,
    /// Bytes that may wait for a link that carries only so many; beyond it frames are lost. 0 for a quarter of a second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queue_bytes: u64,
    /// How many frames are damaged on their way. The codec must refuse each.
    #[serde(default, skip_serializing_if = "is_none")]
    pub damage: u32,
    /// After the heal messages still take what they took before, up to a quarter of what a hello waits for. Links still
    /// carry only so much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heals_slowly: bool,
    /// Replicas speak over connections, which keep their messages in order and lose none but their last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<StreamPlan>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_none(number: &u32) -> bool {
    *number == 0
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
    fn draw(draw: &mut Draw) -> Self {
        let least = draw.sized(20, 5_000);
        match draw.below(4) {
            0 => Self::Constant { micros: least },
            1 => Self::Uniform { least, most: least + draw.sized(100, 60_000) },
            2 => Self::Exponential { least, mean: draw.sized(100, 60_000) },
            _ => Self::Heavy { least },
        }
    }

    /// The numbers that it is made of.
    const fn numbers(self) -> (u64, u64) {
        match self {
            Self::Constant { micros } => (micros, micros),
            Self::Uniform { least, most } => (least, most),
            Self::Exponential { least, mean } => (least, mean),
            Self::Heavy { least } => (least, least),
        }
    }

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
        let (loss, duplicate, overtake, damage) = (0, 0, 0, 0);
        let (connects, back, bandwidth, heals_slowly, streams) = (true, None, 0, false, None);
        Self {
            delay,
            client_delay_max: 0,
            loss,
            duplicate,
            overtake,
            connects,
            back,
            bandwidth,
            damage,
            heals_slowly,
            queue_bytes: 0,
            streams,
        }
    }

    /// Draws one; each kind of trouble is there or not with probability one half.
    pub fn draw(draw: &mut Draw) -> Self {
        let delay = Delay::draw(draw);
        let mut rate = |most: u64| if draw.coin() { draw.sized(1_000, most) as u32 } else { 0 };
        let (loss, duplicate, overtake) = (rate(200_000), rate(500_000), rate(500_000));
        let damage = rate(50_000);
        let (client_delay_max, connects) = (draw.sized(1, 5_000), draw.coin());
        let back = draw.coin().then(|| Delay::draw(draw));
        let bandwidth = if draw.coin() { draw.sized(BANDWIDTH_MIN, 4_000_000) } else { 0 };
        let (heals_slowly, streams) = (false, None);
        Self {
            delay,
            client_delay_max,
            loss,
            duplicate,
            overtake,
            connects,
            back,
            bandwidth,
            damage,
            heals_slowly,
            queue_bytes: 0,
            streams,
        }
    }

    /// Is every number within bounds?
    ///
    /// # Errors
    /// Names the place.
    pub fn check(&self) -> Result<(), PlanError> {
        let (a, b) = self.delay.numbers();
        let (c, d) = self.back.unwrap_or(self.delay).numbers();
        let long = limits::TIME_MAX / 1_000;
        for (place, value, max) in [
            ("delay", a, long),
            ("delay", b, long),
            ("back", c, long),
            ("back", d, long),
            ("damage", self.damage.into(), MILLION.into()),
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
        if self.bandwidth > 0 && self.bandwidth < BANDWIDTH_MIN {
            let problem = format!("{} is below {BANDWIDTH_MIN}, and not 0 for unlimited", self.bandwidth);
            return Err(PlanError { place: "network.bandwidth".into(), problem });
        }
        if self.queue_bytes > QUEUE_BYTES_MAX {
            let problem = format!("{} is beyond {QUEUE_BYTES_MAX}", self.queue_bytes);
            return Err(PlanError { place: "network.queue_bytes".into(), problem });
        }
        self.streams.map_or(Ok(()), |streams| streams.check())
    }

    /// What one message meets: decided by its words alone. Each question has its place among them, whatever the
    /// answers to the others.
    #[must_use]
    #[inline]
    pub fn fate(&self, words: Words, (sender, receiver): (usize, usize)) -> Fate {
        let happens = |place, parts| parts > 0 && chance(words.word(place), parts);
        let way = self.back.filter(|_| receiver < sender).unwrap_or(self.delay);
        let overtakes = happens(0, self.overtake);
        let slower = if overtakes { 1 + scale(words.word(1), 8) } else { 1 };
        let delay = way.of(words.word(2)).saturating_mul(slower);
        let copy = happens(3, self.duplicate).then(|| way.of(words.word(4)) * (1 + scale(words.word(5), 16)));
        let damaged = happens(7, self.damage).then(|| words.word(7));
        Fate { delay, lost: happens(6, self.loss), overtakes, copy, damaged }
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
    /// Bits of it change on the way; the number says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<u32>,
}

impl Fate {
    /// It arrives after so long, whole, once and in its place.
    #[must_use]
    pub const fn plain(delay: u64) -> Self {
        Self { delay, lost: false, overtakes: false, copy: None, damaged: None }
    }
}
