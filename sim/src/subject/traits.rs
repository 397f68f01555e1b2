//! What the simulator needs to know of a message.

use hence_core::{Dot, Hlc, Incarnation};

/// What a message is to the oracles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// It introduces its sender, at the start of a link.
    Hello,
    /// It tells how its sender stands.
    Status,
    /// It announces an operation whose value comes later.
    Announce,
    /// Something else.
    #[default]
    Other,
}

/// What the simulator needs to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// A short name.
    pub name: &'static str,
    /// What it is to the oracles.
    pub role: Role,
    /// A number below 8 for the kind.
    pub kind: u8,
    /// A hash of what tells it from others of its kind.
    pub digest: u64,
    /// It opens a connection.
    pub opening: bool,
    /// It is idle chatter: sent for ever when nothing happens.
    pub idle: bool,
    /// The operation that it carries, if one, and its stamp.
    pub op: Option<(Dot, Hlc)>,
    /// It is a part of what is supplied for a pull.
    pub supply: Option<Part>,
    /// It is a piece of this write's value: where it begins and how long it is.
    pub piece: Option<(Dot, u64, u64)>,
}

/// A part of what is supplied for a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The supplier's life.
    pub supplier: Incarnation,
    /// The receiver's name for the pull.
    pub pull: u64,
    /// It ends a whole state: what came before it is the supplier's state of this moment.
    pub state: bool,
}
