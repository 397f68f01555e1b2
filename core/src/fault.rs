//! Whose fault it is that something was not taken in, not served or not connected.

/// Whose fault it is, so that a reader of the log knows where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Of none. Messages crossed, or something has yet to come: the protocol sets it right by itself.
    Race,
    /// Of the network: packets are lost, late or have no way.
    Network,
    /// Of the peer's process: it is down, it hangs, or it says what no honest replica says.
    Peer,
    /// Of the client: the request can be served at no replica as it is.
    Client,
    /// Of the load: a limit of memory or of places is reached.
    Overload,
    /// Of the operator: settings, certificates, proxies or builds do not fit together.
    Operator,
}

impl Fault {
    /// Every fault, for tables.
    pub const ALL: [Self; 6] = [Self::Race, Self::Network, Self::Peer, Self::Client, Self::Overload, Self::Operator];

    /// A short name for the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::Network => "network",
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Overload => "overload",
            Self::Operator => "operator",
        }
    }
}
