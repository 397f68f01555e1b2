//! Mutants of the simulator and of its oracles: a simulator that tests nothing must not look green.

use crate::mutants::Mutant;
use crate::oracle::verdict::Invariant;

/// What is wrong with the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HarnessMutant {
    /// A cut cuts nothing.
    CutsDoNothing,
    /// No frame arrives twice.
    NoDuplicates,
    /// No frame is lost.
    NoLoss,
    /// No frame overtakes another.
    NoOvertaking,
    /// A crash is only a pause: memory is kept.
    CrashKeepsMemory,
    /// A restarted process is born with the randomness of its first life.
    SameStartSeed,
    /// Whatever happens to a frame on its way, its checksum fits.
    DamageUnseen,
    /// What a connection holds when a cut begins is lost, and the connection is not.
    StreamsForget,
    /// A connection that stalled goes on in the moment in which its cut ends.
    StallsEndAtOnce,
    /// The network is good after every heal.
    HealsWell,
    /// Links carry any number of bytes at once.
    WideLinks,
    /// The reader of a connection misses a message now and then.
    CodecSkips,
    /// Replicas are started without limits on bytes.
    LimitsLost,
    /// Replicas are started with half of the limits on bytes.
    LimitsHalved,
    /// One invariant is not looked at.
    DisabledOracle(Invariant),
}

/// An oracle and a bug of the core that it convicts in schedules where no other oracle does. With the oracle blind, the
/// pair survives them.
pub const PAIRS: &[(Invariant, Mutant)] = &[
    (Invariant::Causes, Mutant::DependWithoutDeletes),
    (Invariant::Sessions, Mutant::AnswerWithoutDeletes),
    (Invariant::Store, Mutant::InstallPiecemeal),
    (Invariant::Refusals, Mutant::AskOnlyOne),
    (Invariant::Stamps, Mutant::StampByWall),
    (Invariant::Liveness, Mutant::WaitForEver),
    (Invariant::Answers, Mutant::MatchWinnerOnly),
    (Invariant::Merge, Mutant::LastHeardPrevails),
    (Invariant::Bounds, Mutant::TrimEarly),
    (Invariant::Tokens, Mutant::KeepRetiredEntries),
    (Invariant::Membership, Mutant::RemovedGoesSilent),
    (Invariant::Freshness, Mutant::AcceptLate),
    (Invariant::Formats, Mutant::UseUnspoken),
    (Invariant::Concern, Mutant::CountReceived),
];

impl HarnessMutant {
    /// Every mutant of the simulator.
    pub const ALL: &[Self] = &[
        Self::CutsDoNothing,
        Self::NoDuplicates,
        Self::NoLoss,
        Self::NoOvertaking,
        Self::CrashKeepsMemory,
        Self::SameStartSeed,
        Self::DamageUnseen,
        Self::StreamsForget,
        Self::StallsEndAtOnce,
        Self::HealsWell,
        Self::WideLinks,
        Self::CodecSkips,
        Self::LimitsLost,
        Self::LimitsHalved,
    ];

    /// Its name in the kill matrix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CutsDoNothing => "cuts-do-nothing",
            Self::NoDuplicates => "no-duplicates",
            Self::NoLoss => "no-loss",
            Self::NoOvertaking => "no-overtaking",
            Self::CrashKeepsMemory => "crash-keeps-memory",
            Self::SameStartSeed => "same-birth",
            Self::DamageUnseen => "damage-unseen",
            Self::StreamsForget => "streams-forget",
            Self::StallsEndAtOnce => "stalls-end-at-once",
            Self::HealsWell => "heals-well",
            Self::WideLinks => "wide-links",
            Self::CodecSkips => "codec-skips",
            Self::LimitsLost => "limits-lost",
            Self::LimitsHalved => "limits-halved",
            Self::DisabledOracle(_) => "blind",
        }
    }

    /// The invariant that is not looked at.
    #[must_use]
    pub const fn disabled_oracle(self) -> Option<Invariant> {
        match self {
            Self::DisabledOracle(invariant) => Some(invariant),
            Self::CutsDoNothing
            | Self::NoDuplicates
            | Self::NoLoss
            | Self::NoOvertaking
            | Self::CrashKeepsMemory
            | Self::SameStartSeed
            | Self::DamageUnseen
            | Self::StreamsForget
            | Self::StallsEndAtOnce
            | Self::HealsWell
            | Self::WideLinks
            | Self::CodecSkips
            | Self::LimitsLost
            | Self::LimitsHalved => None,
        }
    }
}
