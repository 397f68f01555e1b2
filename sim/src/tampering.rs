//! Mutants of the simulator and of its oracles: a simulator that tests nothing must not look green.

use crate::verdict::Invariant;

/// What is wrong with the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
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
    SameBirth,
    /// One invariant is not looked at.
    Blind(Invariant),
}

impl Tampering {
    /// The invariant that is not looked at.
    #[must_use]
    pub const fn blind(self) -> Option<Invariant> {
        match self {
            Self::Blind(invariant) => Some(invariant),
            Self::CutsDoNothing
            | Self::NoDuplicates
            | Self::NoLoss
            | Self::NoOvertaking
            | Self::CrashKeepsMemory
            | Self::SameBirth => None,
        }
    }
}
