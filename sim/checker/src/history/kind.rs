//! How much a history tells: the kinds for which it is said how long a verdict takes.

use crate::history::{Action, History};

/// How much a history tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers name versions.
    Versions,
    /// Reads of all siblings, and no names of versions.
    Siblings,
    /// One value a read, and deletes.
    Values,
    /// One value a read, and no deletes.
    Plain,
}

impl Kind {
    /// What a history of this kind does.
    #[must_use]
    pub const fn tells(self) -> &'static str {
        match self {
            Self::Versions => "names versions",
            Self::Siblings => "names no versions and has reads of all siblings",
            Self::Values => "names no versions, its reads show one value, and values are deleted",
            Self::Plain => "names no versions, its reads show one value, and nothing is deleted",
        }
    }
}

impl History {
    /// How much it tells.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let has = |found: fn(&Self, usize) -> bool| (0..self.len()).any(|at| found(self, at));
        match () {
            () if has(|history, at| history.shown(at).is_some() || history.superseded(at).is_some()) => Kind::Versions,
            () if has(|history, at| history.siblings(at).is_some()) => Kind::Siblings,
            () if has(|history, at| history.action[at] == Action::Delete) => Kind::Values,
            () => Kind::Plain,
        }
    }
}
