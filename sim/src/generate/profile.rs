//! Profiles: what kind of plans to draw. Each area of the protocol has one, which sets the stage for what goes wrong
//! there. It sets limits that are met soon, few keys or many, and scenes (see `scenes`) that come up seldom by chance.

use super::scenes::Scene;
use super::shape::Shape;
use crate::plan::network::{Delay, NetworkPlan};
use crate::plan::settings::Settings;
use crate::random::{Domain, Draw, Source};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

macro_rules! profiles {
    ($($(#[$doc:meta])* $kind:ident $name:literal;)*) => {
        /// What kind of plans to draw.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Profile {
            $($(#[$doc])* $kind,)*
        }

        impl Profile {
            /// Every profile.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The profile with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|profile| profile.name() == name)
            }
        }
    };
}

profiles! {
    /// Half of the seeds are general, the others are spread over the areas.
    #[default]
    Mixed "mixed";
    /// A bit of everything.
    General "general";
    /// Lives end and are folded away while tokens name them.
    Retirement "retirement";
    /// Writes die with their only holder, or seem to.
    LostWrites "lost-writes";
    /// Logs that reach nowhere, states in many small frames.
    Transfer "transfer";
    /// Operators remove and add, wrongly and on both sides.
    Membership "membership";
    /// Few keys, written and deleted everywhere.
    Deletes "deletes";
    /// Wall clocks far apart that jump.
    Clocks "clocks";
    /// Short cuts, kept frames, late and doubled ones.
    Links "links";
    /// Replicas start together, late, and again.
    Joining "joining";
    /// As the general one, with builds that speak different formats.
    Upgrades "upgrades";
    /// Always five replicas, about 2,000 events, and so busy that few of them are pings: for measuring speed.
    Speed "speed";
}

/// Areas of the protocol.
const AREAS: [Profile; 8] = [
    Profile::Retirement,
    Profile::LostWrites,
    Profile::Transfer,
    Profile::Membership,
    Profile::Deletes,
    Profile::Clocks,
    Profile::Links,
    Profile::Joining,
];

impl Profile {
    /// The profile that plans of this seed are drawn for.
    #[must_use]
    pub fn of_seed(self, source: &Source) -> Self {
        let mut draw = source.draw(Domain::Shape, 1);
        match self {
            Self::Mixed if draw.coin() => draw.pick(&AREAS),
            Self::Mixed | Self::Upgrades => Self::General,
            Self::General
            | Self::Retirement
            | Self::LostWrites
            | Self::Transfer
            | Self::Membership
            | Self::Deletes
            | Self::Clocks
            | Self::Links
            | Self::Joining
            | Self::Speed => self,
        }
    }

    /// Bends what was drawn towards this area.
    pub(crate) fn bend(self, draw: &mut Draw, shape: &mut Shape, settings: &mut Settings, network: &mut NetworkPlan) {
        match self {
            Self::Mixed | Self::General | Self::Upgrades => return,
            Self::Speed => {
                (shape.replicas, shape.operations) = (5, draw.between(220, 300));
                shape.heal_at = draw.between(300 * MS, 1_000 * MS);
                return;
            }
            Self::Retirement => {
                settings.retire_interval = draw.sized(10 * MS, 100 * MS);
                settings.heartbeat_interval = draw.sized(250 * MS, 400 * MS);
                settings.late_max = draw.sized(200 * MS, 800 * MS);
                shape.sticky = true;
            }
            Self::LostWrites => {
                settings.late_max = draw.sized(200 * MS, 800 * MS);
                settings.heartbeat_interval = draw.sized(250 * MS, 500 * MS);
                (shape.sticky, shape.waits) = (true, draw.coin());
            }
            Self::Transfer => {
                settings.log_bytes_max = if draw.coin() { 0 } else { draw.sized(1, 1_000) as usize };
                (settings.frame_ops_max, settings.frames_ahead_max) =
                    (draw.between(1, 3) as usize, draw.between(1, 4) as u32);
                settings.repair_delay = draw.sized(1, 200 * MS);
                shape.keys = draw.between(3, 10);
                (shape.sticky, shape.deletes) = (true, draw.coin());
            }
            Self::Membership => shape.sticky = draw.coin(),
            Self::Deletes => {
                (shape.deletes, shape.hot, shape.keys) = (true, true, draw.between(1, 2));
                if draw.coin() {
                    settings.log_bytes_max = draw.sized(1, 2_000) as usize;
                }
                return;
            }
            Self::Clocks => (shape.skew, shape.keys) = (true, draw.between(1, 2)),
            Self::Links => settings.late_max = draw.sized(10 * MS, 200 * MS),
            Self::Joining => {
                shape.stagger = if draw.coin() { 0 } else { draw.sized(MS, 800 * MS) };
                settings.join_alone_after = draw.sized(100 * MS, 300 * MS);
            }
        }
        shape.replicas = draw.between(if self == Self::Membership { 2 } else { 3 }, 4);
        shape.operations = draw.sized(4, 60);
        shape.clients = shape.clients.max(2);
        shape.heal_at = draw.between(SECOND, 4 * SECOND);
        shape.faults = if draw.coin() { 0 } else { 200_000 };
        if draw.coin() {
            // Scenes are about moments, which a slow and lossy network blurs.
            *network = NetworkPlan { loss: 0, ..*network };
            let least = draw.sized(50, 2_000);
            network.delay = Delay::Uniform { least, most: least + draw.sized(100, 20 * MS) };
        }
    }

    /// The scenes of this area.
    pub(crate) const fn scenes(self) -> &'static [Scene] {
        match self {
            Self::Mixed | Self::General | Self::Upgrades | Self::Speed | Self::Deletes | Self::Clocks => &[],
            Self::Retirement => &[Scene::RetiredBesideNewcomer, Scene::TokenOfRetired],
            Self::LostWrites => &[
                Scene::FrameOfTheDead,
                Scene::ParkedOfTheDead,
                Scene::HolderReturns,
                Scene::SilentHolder,
                Scene::DiesWithWrite,
            ],
            Self::Transfer => &[Scene::CatchUp, Scene::CatchUp, Scene::CatchUp, Scene::Crowd],
            Self::Membership => &[Scene::RemovedWithWrite, Scene::MutualRemoval, Scene::HolderReturns],
            Self::Links => &[Scene::ShortCut, Scene::Flicker],
            Self::Joining => &[Scene::AllAgain, Scene::SourceDies, Scene::AloneAgain],
        }
    }
}
