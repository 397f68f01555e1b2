//! How far members are behind, and how soon they say that they have what is written here.
//!
//! The first is asked of the replica when metrics are scraped. For the second, one write at a time is followed. So it
//! costs the same under any load.

use crate::exposition::{Exposition, Kind};
use hence_core::{Micros, Replica, ReplicaStatus, Rules, Time};
use std::cell::{Cell, RefCell};

/// Writes are followed so long after each other, or later.
const FOLLOW_EVERY: Micros = Micros(100_000);
/// A write is followed no longer: then it is a matter of the lag.
const FOLLOW_MAX: Micros = Micros::from_seconds(30);
/// Members that are told apart.
const MEMBERS_MAX: usize = 64;

/// Upper bounds, in microseconds.
const BUCKETS: [(u64, &str); 13] = [
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (30_000_000, "30"),
];

/// A write that is followed.
#[derive(Debug, Clone, Copy)]
struct Followed {
    /// Its number among those of this incarnation.
    number: u64,
    since: Time,
    /// A bit for each member that has said that it has it.
    arrived: u64,
}

#[derive(Debug, Default)]
struct Following {
    write: Option<Followed>,
    /// Own writes when that was last looked at.
    own: u64,
    next: Time,
}

/// Follows writes to the other members.
#[derive(Debug, Default)]
pub(crate) struct Visibility {
    following: RefCell<Following>,
    /// Per bucket, not cumulative; the last is beyond all bounds.
    counts: [Cell<u64>; BUCKETS.len() + 1],
    micros: Cell<u64>,
}

impl Visibility {
    /// The replica took an input at this time.
    pub(crate) fn look<R: Rules>(&self, replica: &Replica<R>, now: Time) {
        let mut following = self.following.borrow_mut();
        let Following { write, own, next } = &mut *following;
        let Some(followed) = write else {
            if now >= *next {
                let before = std::mem::replace(own, replica.own_writes());
                if *own > before {
                    *next = now + FOLLOW_EVERY;
                    *write = Some(Followed { number: *own, since: now, arrived: 0 });
                }
            }
            return;
        };
        let mut all = true;
        for (at, (_, count)) in replica.own_writes_acknowledged().take(MEMBERS_MAX).enumerate() {
            if followed.arrived & 1 << at != 0 {
                continue;
            }
            if count >= followed.number {
                followed.arrived |= 1 << at;
                self.count(now.since(followed.since));
            } else {
                all = false;
            }
        }
        // A new incarnation counts its writes anew.
        if all || now.since(followed.since) > FOLLOW_MAX || replica.own_writes() < followed.number {
            *write = None;
        }
    }

    fn count(&self, took: Micros) {
        let bucket = BUCKETS.iter().position(|&(bound, _)| took.0 <= bound).unwrap_or(BUCKETS.len());
        self.counts[bucket].set(self.counts[bucket].get() + 1);
        self.micros.set(self.micros.get().saturating_add(took.0));
    }

    /// Writes how soon members had what was followed.
    pub(crate) fn expose(&self, into: &mut Exposition) {
        const VISIBILITY: &str = "hence_visibility_seconds";
        into.family(
            VISIBILITY,
            Kind::Histogram,
            "Time from a write here until another member said that it has it; one write in 100 ms is followed.",
        );
        let mut below = 0;
        for ((_, bound), cell) in BUCKETS.iter().zip(&self.counts) {
            below += cell.get();
            into.suffixed(VISIBILITY, "_bucket", &[("le", bound)], below);
        }
        let total = below + self.counts[BUCKETS.len()].get();
        into.suffixed(VISIBILITY, "_bucket", &[("le", "+Inf")], total);
        into.seconds(VISIBILITY, "_sum", &[], self.micros.get());
        into.suffixed(VISIBILITY, "_count", &[], total);
    }
}

/// Writes how far each member is behind.
pub(crate) fn expose(status: &ReplicaStatus, into: &mut Exposition) {
    const OPS: &str = "hence_peer_lag_ops";
    const SECONDS: &str = "hence_peer_lag_seconds";
    let members = || status.peers.iter().filter_map(|peer| Some((peer.address.as_str(), peer.lag?)));
    into.family(OPS, Kind::Gauge, "Operations that are here and that the member has not said that it has.");
    for (member, lag) in members() {
        into.sample(OPS, &[("peer", member)], lag.ops);
    }
    into.family(SECONDS, Kind::Gauge, "Age of the oldest write made here that the member has not said that it has.");
    for (member, lag) in members() {
        into.seconds(SECONDS, "", &[("peer", member)], lag.age.0);
    }
}
