//! What a client asks to be told of a key or a prefix, and what it is told (WATCH-1 to WATCH-4).

use super::list::Listed;
use crate::data::Key;
use crate::vector::VersionVector;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The most changes of one part.
pub const WATCH_PART_MAX: usize = 256;

/// A request to be told what is there of a key or a prefix, and what changes from then on.
///
/// It has no end but [`crate::Input::Cancel`]. It is answered by parts ([`crate::Output::Tell`]), one at a time: the
/// next one comes after [`crate::Input::Told`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRequest {
    /// What is watched.
    pub range: WatchRange,
    /// Values are not told.
    pub keys_only: bool,
    /// The client's causal past: the join of all tokens it sent and of the past of its mark. It gates and says nothing of
    /// what was told.
    pub past: VersionVector,
    /// What the client's last mark knew. It says what need not be told again and never gates. None: the present state
    /// is told.
    pub since: Option<VersionVector>,
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchRange {
    /// One key.
    Key(Key),
    /// All keys that begin with this; the empty text is all keys.
    Prefix(String),
}

impl WatchRange {
    /// Is this key in the range?
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        match self {
            Self::Key(own) => own == key,
            Self::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
        }
    }

    /// Bytes of its text.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Key(key) => key.as_str().len(),
            Self::Prefix(prefix) => prefix.len(),
        }
    }
}

/// What a watch tells at a time.
///
/// All parts up to one with a mark are one cut. With the mark, what was told of each key last is what the replica shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPart {
    /// Everything that was told before is void, and the present state follows.
    pub reset: Option<WatchReset>,
    /// The present state of keys. Of two of one key the later holds.
    pub changes: Vec<WatchChange>,
    /// It ends a cut, or begins the first state.
    pub mark: Option<WatchMark>,
}

/// Why a watch begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchReset {
    /// What was deleted since is not remembered any more.
    Forgotten,
    /// Writes of the client's past died with their only holders.
    Lost,
}

/// The present state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchChange {
    /// It is there.
    Put(Listed),
    /// It is absent.
    Delete(Key),
}

impl WatchChange {
    /// Which key.
    #[must_use]
    pub const fn key(&self) -> &Key {
        match self {
            Self::Put(listed) => &listed.key,
            Self::Delete(key) => key,
        }
    }
}

/// From where a watch can go on, at any replica. Both vectors are needed and are never joined (WATCH-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchMark {
    /// The client's causal past from now on.
    pub past: VersionVector,
    /// What was told of, for [`WatchRequest::since`]. None: nothing that counts; the first state is yet to come.
    pub known: Option<Arc<VersionVector>>,
    /// The first mark that knows something: the client holds what is there.
    pub synced: bool,
}
