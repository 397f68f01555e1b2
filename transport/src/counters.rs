//! What a transport counts, for metrics.

use crate::codec::CodecError;

/// Totals since a transport was made. A snapshot: plain numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TransportCounters {
    /// Messages handed to a socket. They may still be lost on the way.
    pub messages_out: u64,
    /// Frames that held them.
    pub frames_out: u64,
    /// Bytes of these frames that a socket has taken.
    pub bytes_out: u64,
    /// Messages taken in.
    pub messages_in: u64,
    /// Frames that held them.
    pub frames_in: u64,
    /// Bytes read from peers, damaged ones included.
    pub bytes_in: u64,
    /// Messages lost because the peer's queue was full.
    pub lost_queue_full: u64,
    /// Messages lost because they do not fit a frame.
    pub lost_oversize: u64,
    /// Messages lost because the format that the peer understands has no word for them.
    pub lost_format: u64,
    /// Messages lost because the peer could not be reached or its connection broke.
    pub lost_no_connection: u64,
    /// Messages dropped because a new link to their peer was opened.
    pub lost_superseded: u64,
    /// Streams that ended with a refused frame, by [`CodecError::NAMES`].
    pub refused: [u64; CodecError::REASONS],
    /// Upgrades that were refused because their source asked too often or every place was taken.
    pub upgrades_refused: u64,
    /// Links that were refused, here or by the peer, because no format is spoken by both.
    pub formats_refused: u64,
    /// Links that were refused because their side showed no certificate or no proof of the secret.
    pub links_untrusted: u64,
    /// Connections that ended because there was no room for their first frame.
    pub unfinished_refused: u64,
    /// Bytes that large frames hold which are not whole yet.
    pub unfinished_bytes: u64,
    /// Connections that were tried.
    pub dials: u64,
    /// Those of them that came to nothing.
    pub dials_failed: u64,
    /// Connections to peers that are open now.
    pub connections_out: u64,
    /// Connections from peers that are open now.
    pub connections_in: u64,
}

impl TransportCounters {
    /// The lost messages by reason, for a metric with a label.
    #[must_use]
    pub const fn lost(&self) -> [(&'static str, u64); 5] {
        [
            ("queue_full", self.lost_queue_full),
            ("oversize", self.lost_oversize),
            ("format", self.lost_format),
            ("no_connection", self.lost_no_connection),
            ("superseded", self.lost_superseded),
        ]
    }

    /// The refused frames by reason, for a metric with a label.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CodecError::NAMES.into_iter().zip(self.refused)
    }
}
