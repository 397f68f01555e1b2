//! What each part of a replica gets of its memory.
//!
//! Everything that a client or a peer can make a replica hold has a share, and all shares together are the number. What is
//! not shared out is for the process itself: code, stacks, and what allocators cannot give back because something small
//! lies between.

use crate::settings::Settings;
use hence_transport::HyperSettings;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A process without any data, as the system counts it.
const PROCESS: u64 = 6 * MIB;

/// A connection beside what it reads into: its tasks, and an answer whose pieces are not counted one by one. That has a
/// head with a token of 8 KiB at most, and a body with the same token and a small value.
const CONNECTION: u64 = 24 * KIB;

/// TLS of a connection: its keys, and a record that is not whole. Measured: 8.6 KiB without traffic, 12 KiB after bodies.
/// What its other side does not take comes on top, up to what it reads at a time.
const TLS: u64 = 28 * KIB;

/// Connections from peers may hold so much each before it is counted together.
const LINK: u64 = 64 * KIB;

/// The parts. Each is in bytes if nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Store, log, what is buffered or waits, and transfers.
    pub(crate) data: u64,
    /// The body of one request.
    body: u64,
    /// Those of all, and what only answers hold.
    bodies: u64,
    /// Connections of clients, in number.
    connections: u64,
    /// What each of them reads at a time.
    read: u64,
    /// What waits for one peer.
    queue: u64,
    /// Frames that are received and not taken in.
    receive: u64,
    /// Frames that are not whole.
    unfinished: u64,
    /// Connections from peers, in number.
    links: u64,
}

impl Shares {
    /// What each part may hold of a replica with these settings, where memory is limited.
    pub(crate) fn of_settings(settings: &Settings) -> Option<Self> {
        let others = settings.view.iter().filter(|member| **member != settings.address).count();
        let is_encrypted = settings.trust.certificate.is_some();
        settings.memory_max.map(|max| Self::of(max, others, is_encrypted))
    }

    /// The parts of so many bytes, for a replica that has so many peers, and perhaps TLS.
    pub(crate) fn of(max: u64, peers: usize, is_encrypted: bool) -> Self {
        let peers = (peers as u64).max(4);
        let mut shares = Self {
            data: 0,
            body: (max / 32).clamp(256 * KIB, 8 * MIB),
            bodies: (max / 8).clamp(512 * KIB, 256 * MIB),
            connections: (max / (512 * KIB)).clamp(64, 4_096),
            read: (max >> 16).clamp(16 * KIB, 64 * KIB),
            queue: (max / 8 / peers).clamp(128 * KIB, 8 * MIB),
            receive: (max / 32).clamp(256 * KIB, 4 * MIB),
            unfinished: (max / 32).clamp(512 * KIB, 64 * MIB),
            links: (max / (2 * MIB)).clamp(16, 256),
        };
        shares.data = max.saturating_sub(shares.beside_data(max, peers, is_encrypted)).max(max / 8);
        shares
    }

    fn beside_data(&self, max: u64, peers: u64, is_encrypted: bool) -> u64 {
        let process = PROCESS + max / 8;
        // One value more than fits is on its way: the copy of a body that is read, and a message that a queue takes whole.
        let copies = 2 * self.body;
        // A link is two connections, one of either side.
        let tls = if is_encrypted { TLS + self.read } else { 0 };
        let clients = self.bodies + self.connections * (self.read + CONNECTION + tls);
        let links = self.links * (LINK + tls) + peers * tls;
        let transport = self.queue * peers + self.receive + self.unfinished + links;
        process + copies + clients + transport
    }

    /// Lowers the settings to what the memory allows. What an operator set lower stays.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let lower = |setting: &mut usize, share: u64| *setting = size(share).min(*setting);
        let limits = &mut settings.limits;
        lower(&mut limits.body_bytes_max, self.body);
        lower(&mut limits.bodies_bytes_max, self.bodies);
        lower(&mut limits.connections_max, self.connections);
        lower(&mut limits.read_bytes_max, self.read);
        let config = &mut settings.config;
        config.memory_bytes_max = self.data.min(config.memory_bytes_max);
        lower(&mut config.log_bytes_max, self.data);
        lower(&mut config.causal_buffer_bytes_max, self.data / 8);
        lower(&mut config.blocked_bytes_max, self.data / 8);
        lower(&mut config.credit_bytes_max, self.queue / 2);
        // A frame for which the queue has no room is lost, and the fetch with it; one may be as large as a value.
        let frames = u32::try_from(self.queue / MIB).unwrap_or(u32::MAX).max(1);
        config.frames_ahead_max = frames.min(config.frames_ahead_max);
    }

    /// The same for the transport.
    pub(crate) fn apply_to_transport(&self, settings: &mut HyperSettings) {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let lower = |setting: &mut usize, share: u64| *setting = size(share).min(*setting);
        lower(&mut settings.queue_bytes_max, self.queue);
        lower(&mut settings.receive_bytes_max, self.receive);
        lower(&mut settings.unfinished_bytes_max, self.unfinished);
        lower(&mut settings.connections_in_max, self.links);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::Address;

    #[test]
    fn all_parts_together_are_the_number() {
        for mib in [16, 24, 32, 48, 64, 100, 128, 256, 512, 1_024, 4_096, 65_536] {
            let max = mib * MIB;
            for (peers, tls) in [0, 2, 4, 20, 250].into_iter().flat_map(|peers| [(peers, false), (peers, true)]) {
                let shares = Shares::of(max, peers, tls);
                let beside = shares.beside_data(max, (peers as u64).max(4), tls);
                assert!(shares.data >= max / 8);
                let fits = shares.data + beside <= max;
                assert!(mib < 32 || tls && mib < 48 || peers > 100 || fits, "{mib} MiB, {peers} peers: {shares:?}");
                assert!(shares.bodies >= shares.body, "{shares:?}");
            }
            let three = Shares::of(max, 2, false);
            assert_eq!(three, Shares::of(max, 4, false), "a cluster of three is not to differ from one of five");
        }
        let share = |mib: u64, tls: bool| Shares::of(mib * MIB, 2, tls).data * 100 / (mib * MIB);
        for (mib, plain, encrypted) in [(64, 25, 15), (1_024, 45, 30), (8_192, 70, 65)] {
            let found = (share(mib, false), share(mib, true));
            assert!(found.0 >= plain && found.1 >= encrypted, "{mib} MiB: {found:?} percent");
        }
    }

    #[test]
    fn settings_are_lowered_and_never_raised() {
        let mut settings = Settings::at(Address::parse("a:1").unwrap());
        let before = settings.clone();
        Shares::of(1 << 46, 2, false).apply(&mut settings);
        settings.config.memory_bytes_max = u64::MAX;
        assert_eq!(settings, before);
        settings.limits.body_bytes_max = 1_024;
        settings.config.log_bytes_max = 0;
        Shares::of(64 * MIB, 2, false).apply(&mut settings);
        assert_eq!((settings.limits.body_bytes_max, settings.config.log_bytes_max), (1_024, 0));
        assert!(settings.config.memory_bytes_max < 64 * MIB && settings.limits.bodies_bytes_max == 8 << 20);
        assert_eq!(settings.check(), Ok(()));
    }
}
