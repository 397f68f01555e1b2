//! The knobs of a [`super::HyperTransport`].

use crate::codec::FRAME_BYTES_MAX;
use core::time::Duration;
use hence_core::{Address, ClusterTag, Formats};

/// Settings of one transport. [`HyperSettings::new`] gives what production runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperSettings {
    /// Own address. Every frame bears it, and where it is an IP address, connections to peers come from it.
    pub address: Address,
    /// The cluster whose frames are spoken and taken.
    pub cluster: ClusterTag,
    /// The formats of frames that are spoken. Default: all released ones. The replica must be told the same.
    pub formats: Formats,
    /// Bytes that may wait for one peer; messages beyond are lost. A message that begins below the limit is
    /// taken whole, so a single one may pass it. Default 8 MiB. Less loses earlier when a peer is slow. It must hold
    /// more than [`hence_core::Config::frames_ahead_max`] of the largest frames, or a whole state never arrives.
    pub queue_bytes_max: usize,
    /// Bytes of frames that may wait to be received; beyond, nothing more is read from peers, whose own
    /// queues grow then. Default 4 MiB, passed by at most one frame per connection.
    pub receive_bytes_max: usize,
    /// The longest body of a frame, either way. Default [`FRAME_BYTES_MAX`]; the same in all of a cluster.
    pub frame_bytes_max: usize,
    /// Bytes that large frames which are not whole yet may hold, all connections together. Those that have brought no
    /// frame yet may hold a quarter of that. Beyond, a peer waits and a stranger is sent away. Default 64 MiB.
    pub unfinished_bytes_max: usize,
    /// A connection that does not stand after this is given up. Names are looked up before. Default 0.5 s.
    pub dial_timeout: Duration,
    /// A connection that stands but does not speak our protocol after this is given up. Default 1 s.
    pub handshake_timeout: Duration,
    /// A connection whose peer takes no byte for so long is closed. Default 5 s.
    pub write_timeout: Duration,
    /// After a connection failed or broke, messages for that peer are lost for so long, but for one that
    /// opens a link. Default 100 ms. Less finds a peer sooner and costs attempts while it is away.
    pub redial_pause: Duration,
    /// A connection from a peer that brings no whole frame for so long is closed. Default 75 s.
    pub idle_timeout: Duration,
    /// A connection that has brought no frame yet is closed when no byte came for so long. It is closed in any case
    /// three times as long after it was opened. Default 10 s.
    pub first_frame_timeout: Duration,
    /// Why a peer cannot be connected to is told when that has lasted for so long. Default 3 s.
    pub outage_timeout: Duration,
    /// Connections from peers. One more closes one that has brought no frame yet, or the one that has been without a
    /// frame for longest. So strangers crowd out no peer. Default 256.
    pub connections_in_max: usize,
    /// Peers that are remembered at a time; messages to further ones are lost. Default 1,024.
    pub peers_max: usize,
}

impl HyperSettings {
    /// The default settings for a replica at this address of this cluster.
    #[must_use]
    pub const fn new(address: Address, cluster: ClusterTag) -> Self {
        Self {
            address,
            cluster,
            formats: Formats::RELEASED,
            queue_bytes_max: 8 << 20,
            receive_bytes_max: 4 << 20,
            frame_bytes_max: FRAME_BYTES_MAX,
            unfinished_bytes_max: 64 << 20,
            dial_timeout: Duration::from_millis(500),
            handshake_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(5),
            redial_pause: Duration::from_millis(100),
            idle_timeout: Duration::from_secs(75),
            first_frame_timeout: Duration::from_secs(10),
            outage_timeout: Duration::from_secs(3),
            connections_in_max: 256,
            peers_max: 1_024,
        }
    }
}
