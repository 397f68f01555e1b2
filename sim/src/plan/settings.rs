//! The replicas' settings as a plan holds them: every knob of `hence_core::Config`, times in microseconds.

use super::{PlanError, limits};
use crate::random::Draw;
use hence_core::{Config, Micros};
use serde::{Deserialize, Serialize};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $to:expr, $from:expr;)*) => {
        /// See `hence_core::Config`, field by field.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $($(#[$doc])* pub $name: $kind,)*
        }

        impl Settings {
            /// The settings as a replica takes them.
            #[must_use]
            pub fn to_config(&self) -> Config {
                Config { formats: hence_core::Formats::RELEASED, $($name: $to(self.$name),)* }
            }
        }

        /// What a case file of an earlier version does not say is as in production.
        impl Default for Settings {
            fn default() -> Self {
                Self::from(&Config::default())
            }
        }

        impl From<&Config> for Settings {
            fn from(config: &Config) -> Self {
                Self { $($name: $from(config.$name),)* }
            }
        }
    };
}

const fn micros(length: Micros) -> u64 {
    length.0
}

const fn same<T: Copy>(value: T) -> T {
    value
}

settings! {
    /// Microseconds.
    heartbeat_interval: u64 = Micros, micros;
    /// Microseconds.
    ack_delay: u64 = Micros, micros;
    /// Microseconds.
    hello_interval: u64 = Micros, micros;
    /// Microseconds.
    probe_interval_max: u64 = Micros, micros;
    /// Microseconds.
    late_max: u64 = Micros, micros;
    /// Microseconds.
    repair_delay: u64 = Micros, micros;
    /// Microseconds.
    pull_timeout: u64 = Micros, micros;
    /// Microseconds.
    suspect_after_min: u64 = Micros, micros;
    /// Microseconds.
    suspect_after_max: u64 = Micros, micros;
    /// Microseconds.
    join_alone_after: u64 = Micros, micros;
    /// Microseconds.
    join_alone_after_contact: u64 = Micros, micros;
    /// Microseconds.
    ready_alone_after: u64 = Micros, micros;
    /// Microseconds.
    wall_ahead_max: u64 = Micros, micros;
    /// Microseconds.
    #[serde(rename = "retire_patience")]
    retire_timeout: u64 = Micros, micros;
    /// Entries.
    vector_max: usize = same, same;
    /// Microseconds.
    #[serde(rename = "removed_patience")]
    removed_timeout: u64 = Micros, micros;
    /// Microseconds.
    retire_interval: u64 = Micros, micros;
    /// Microseconds.
    round_timeout: u64 = Micros, micros;
    /// Rounds.
    rounds_max: usize = same, same;
    /// Microseconds.
    vouch_max: u64 = Micros, micros;
    /// Bytes.
    log_bytes_max: usize = same, same;
    /// Operations.
    #[serde(rename = "parked_max")]
    causal_buffer_max: usize = same, same;
    /// Bytes.
    #[serde(rename = "parked_bytes_max")]
    causal_buffer_bytes_max: usize = same, same;
    /// Bytes.
    #[serde(rename = "waiting_bytes_max")]
    blocked_bytes_max: usize = same, same;
    /// Requests.
    #[serde(rename = "waiting_max")]
    blocked_max: usize = same, same;
    /// Microseconds.
    wait_max: u64 = Micros, micros;
    /// Watches.
    watches_max: usize = same, same;
    /// Keys.
    watch_changes_max: usize = same, same;
    /// Changes.
    watch_part_max: usize = same, same;
    /// Deletes.
    watch_deletes_max: usize = same, same;
    /// Operations.
    credit_ops_max: u64 = same, same;
    /// Bytes.
    credit_bytes_max: usize = same, same;
    /// Operations.
    frame_ops_max: usize = same, same;
    /// Bytes.
    frame_bytes_max: usize = same, same;
    /// Frames.
    frames_ahead_max: u32 = same, same;
    /// Bytes.
    whole_bytes_max: usize = same, same;
    /// Bytes.
    piece_bytes: usize = same, same;
    /// Bytes.
    pieces_bytes_max: usize = same, same;
    /// Bytes.
    store_bytes_max: u64 = same, same;
    /// Bytes.
    memory_bytes_max: u64 = same, same;
}

const MS: u64 = 1_000;

impl Settings {
    /// Draws settings: half of the plans keep production's limits, half draw each, extremes included.
    pub fn draw(draw: &mut Draw) -> Self {
        let mut settings = Self::from(&Config::default());
        settings.draw_times(draw);
        if draw.coin() {
            settings.draw_limits(draw);
        }
        settings
    }

    fn draw_times(&mut self, draw: &mut Draw) {
        self.heartbeat_interval = draw.sized(250 * MS, 1_000 * MS);
        self.ack_delay = draw.sized(1, 40 * MS);
        self.hello_interval = draw.sized(100 * MS, 400 * MS);
        self.probe_interval_max = draw.sized(self.hello_interval, 1_500 * MS);
        self.late_max = draw.sized(10 * MS, 800 * MS);
        let extreme = draw.chance(150_000);
        self.repair_delay = if extreme { 0 } else { draw.sized(30 * MS, 1_500 * MS) };
        self.pull_timeout = draw.sized(150 * MS, 1_000 * MS);
        self.suspect_after_min = self.heartbeat_interval * draw.between(3, 8);
        self.suspect_after_max = self.suspect_after_min + draw.below(self.suspect_after_min);
        self.join_alone_after = draw.sized(100 * MS, 800 * MS);
        self.join_alone_after_contact = self.join_alone_after + draw.below(1_500 * MS);
        self.wall_ahead_max = draw.sized(500 * MS, 60_000 * MS);
        self.retire_timeout = draw.sized(500 * MS, 20_000 * MS);
        self.retire_interval = draw.sized(20 * MS, 1_000 * MS);
        self.round_timeout = draw.sized(200 * MS, 1_000 * MS);
        self.vouch_max = self.heartbeat_interval * draw.between(2, 5);
    }

    fn draw_limits(&mut self, draw: &mut Draw) {
        let extreme = |draw: &mut Draw, least: u64, most: u64, default: u64| match draw.below(4) {
            0 => least,
            1 | 2 => draw.sized(least.max(1), most),
            _ => default,
        };
        self.log_bytes_max = extreme(draw, 0, 8_000, 64 << 20) as usize;
        self.causal_buffer_max = extreme(draw, 1, 16, 16_384) as usize;
        self.blocked_max = extreme(draw, 0, 4, 4_096) as usize;
        self.wait_max = extreme(draw, 0, 2_000 * MS, 30_000 * MS);
        self.credit_ops_max = extreme(draw, 1, 8, 4_096);
        self.credit_bytes_max = extreme(draw, 1, 2_000, 4 << 20) as usize;
        self.frame_ops_max = extreme(draw, 1, 8, 256) as usize;
        self.frame_bytes_max = extreme(draw, 1, 2_000, 64 << 10) as usize;
        self.frames_ahead_max = extreme(draw, 1, 4, 8) as u32;
        self.vector_max = extreme(draw, 1, 6, 170) as usize;
    }

    /// Draws how many outcomes of rounds are remembered, under a key of its own: in half of the plans hardly any.
    pub(crate) fn draw_rounds(&mut self, draw: &mut Draw) {
        if draw.coin() {
            self.rounds_max = draw.pick(&[1, 1, 2, 3]);
        }
    }

    /// Draws the limits that are given in bytes, under a key of their own: each in some of the plans, nothing at all included.
    pub(crate) fn draw_bytes(&mut self, draw: &mut Draw) {
        let mut limit = |parts: u32, least: u64, most: u64| {
            let (drawn, nothing, bytes) = (draw.chance(parts), draw.chance(60_000), draw.sized(least, most));
            drawn.then_some(if nothing { 0 } else { bytes })
        };
        if let Some(bytes) = limit(150_000, 80, 2_000) {
            self.store_bytes_max = bytes;
        }
        if let Some(bytes) = limit(300_000, 64, 1_000) {
            self.causal_buffer_bytes_max = bytes as usize;
        }
        if let Some(bytes) = limit(300_000, 1, 400) {
            self.blocked_bytes_max = bytes as usize;
        }
    }

    /// Draws which values travel in pieces, under a key of its own: in half of the plans many do.
    pub(crate) fn draw_pieces(&mut self, draw: &mut Draw) {
        if draw.coin() {
            self.whole_bytes_max = draw.below(64) as usize;
            self.piece_bytes = draw.between(4, 64) as usize;
            if draw.coin() {
                self.pieces_bytes_max = draw.sized(1, 2_000) as usize;
            }
        }
    }

    /// Draws the limits of watches, under a key of their own: in most plans they are reached soon.
    pub(crate) fn draw_watches(&mut self, draw: &mut Draw) {
        self.watch_part_max = if draw.chance(700_000) { draw.between(1, 3) as usize } else { 256 };
        self.watch_changes_max = if draw.coin() { draw.between(0, 4) as usize } else { 65_536 };
        self.watch_deletes_max = if draw.coin() { draw.between(0, 6) as usize } else { 65_536 };
        if draw.chance(50_000) {
            self.watches_max = draw.between(0, 2) as usize;
        }
    }

    /// Are all times within bounds, and none so short that a run would never end?
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), PlanError> {
        let times = [
            ("heartbeat_interval", self.heartbeat_interval, MS),
            ("ack_delay", self.ack_delay, 0),
            ("hello_interval", self.hello_interval, MS),
            ("probe_interval_max", self.probe_interval_max, MS),
            ("late_max", self.late_max, 0),
            ("repair_delay", self.repair_delay, 0),
            ("pull_timeout", self.pull_timeout, MS),
            ("suspect_after_min", self.suspect_after_min, MS),
            ("suspect_after_max", self.suspect_after_max, MS),
            ("join_alone_after", self.join_alone_after, 0),
            ("join_alone_after_contact", self.join_alone_after_contact, 0),
            ("wall_ahead_max", self.wall_ahead_max, 0),
            ("wait_max", self.wait_max, 0),
        ];
        for (name, value, least) in times {
            if value < least || value > limits::TIME_MAX {
                let problem = format!("{value} is not between {least} and {} microseconds", limits::TIME_MAX);
                return Err(PlanError { place: format!("settings.{name}"), problem });
            }
        }
        Ok(())
    }

    /// How long a healed cluster may take until everything is equal and quiet, in microseconds. It notices the silence,
    /// its replicas find each other, load and repair. It may take each of these a few times over, since pulls may fail.
    #[must_use]
    pub fn settle_max(&self) -> u64 {
        let notice = self.suspect_after_max + 2 * self.probe_interval_max + 4 * self.hello_interval;
        let join = self.join_alone_after.max(self.join_alone_after_contact);
        let repair = self.repair_delay + 4 * self.pull_timeout + 4 * self.heartbeat_interval;
        4 * (notice + join + repair) + 4_000 * MS
    }
}
