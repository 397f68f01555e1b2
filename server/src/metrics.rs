//! What is counted, and how `/metrics` shows it (Prometheus text format 0.0.4).
//!
//! Counters are plain cells, because one thread owns a replica and all its connections. Counting a request costs a few
//! additions, no lock and no lookup. What the replica knows itself is asked for at scrape time.

use crate::exposition::{Exposition, Kind};
use hence_core::{DropReason, Event, LinkState, Micros, Readiness, ReplicaStatus, Unsettled};
use http::StatusCode;
use std::cell::Cell;

/// What a request asked for, as metrics tell requests apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// `GET /kvs/<key>`.
    Get,
    /// `PUT /kvs/<key>`.
    Put,
    /// `DELETE /kvs/<key>`.
    Delete,
    /// `HEAD /kvs/<key>`.
    Head,
    /// `POST /kvs`.
    Batch,
    /// `GET /kvs` and `HEAD /kvs`.
    List,
    /// `GET /kvs` and `GET /kvs/<key>` for as long as the client watches.
    Watch,
    /// `/view`, whatever the method.
    View,
    /// `/health`, `/ready`, `/metrics` and `/replica/state`.
    Diagnostics,
    /// `/replica/...`: peers that connect.
    Peer,
    /// Unknown paths and methods, and OPTIONS.
    Other,
}

impl Counted {
    const ALL: [(Self, &str, &str); 11] = [
        (Self::Get, "/kvs/{key}", "GET"),
        (Self::Put, "/kvs/{key}", "PUT"),
        (Self::Delete, "/kvs/{key}", "DELETE"),
        (Self::Head, "/kvs/{key}", "HEAD"),
        (Self::Batch, "/kvs", "POST"),
        (Self::List, "/kvs", "GET"),
        (Self::Watch, "watch", "GET"),
        (Self::View, "/view", "any"),
        (Self::Diagnostics, "diagnostics", "any"),
        (Self::Peer, "/replica", "any"),
        (Self::Other, "other", "any"),
    ];

    /// Can a request of this kind write?
    pub(crate) const fn may_write(self) -> bool {
        matches!(self, Self::Put | Self::Delete | Self::Batch)
    }

    /// The route and the method, as metrics name them.
    pub(crate) const fn labels(self) -> (&'static str, &'static str) {
        let (_, route, method) = Self::ALL[self as usize];
        (route, method)
    }
}

/// Statuses that are counted one by one; the last place takes all others.
const STATUSES: [(u16, &str); 23] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (101, "101"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (424, "424"),
    (426, "426"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (505, "505"),
    (0, "other"),
];

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS: [(u64, &str); 14] = [
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (100_000, "0.1"),
    (1_000_000, "1"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

#[derive(Debug, Default)]
struct RouteMetrics {
    statuses: [Cell<u64>; STATUSES.len()],
    /// Per bucket, not cumulative; the last is beyond all bounds.
    latencies: [Cell<u64>; BUCKETS.len() + 1],
    latency_micros: Cell<u64>,
}

/// Everything one node counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    routes: [RouteMetrics; Counted::ALL.len()],
    dropped: [Cell<u64>; DropReason::ALL.len()],
    applied: Cell<u64>,
    installed: Cell<u64>,
    linked: Cell<u64>,
    suspicions: Cell<u64>,
    recoveries: Cell<u64>,
    pulls_started: Cell<u64>,
    fetches: Cell<u64>,
    resumed: Cell<u64>,
    pulls_complete: Cell<u64>,
    pulls_failed: Cell<u64>,
    stalls: Cell<u64>,
    stalled_micros: Cell<u64>,
    diverged: Cell<u64>,
    impersonated: Cell<u64>,
    merged: Cell<u64>,
    fell_behind: Cell<u64>,
    renewed: Cell<u64>,
    retired: Cell<u64>,
    rounds: Cell<u64>,
    wall_clock_untrusted: Cell<bool>,
    pub(crate) connections_accepted: Cell<u64>,
    pub(crate) connections_evicted: Cell<u64>,
    pub(crate) connections_left: Cell<u64>,
    pub(crate) connections_refused: Cell<u64>,
    pub(crate) connections_timed_out: Cell<u64>,
    /// Connections on which TLS did not come about.
    pub(crate) handshakes_failed: Cell<u64>,
    /// Times that the operating system had no connection to give, out of descriptors most likely.
    pub(crate) accepts_failed: Cell<u64>,
}

/// Adds one.
pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl Metrics {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self {
            routes: Default::default(),
            dropped: Default::default(),
            applied: Cell::default(),
            installed: Cell::default(),
            linked: Cell::default(),
            suspicions: Cell::default(),
            recoveries: Cell::default(),
            pulls_started: Cell::default(),
            fetches: Cell::default(),
            resumed: Cell::default(),
            pulls_complete: Cell::default(),
            pulls_failed: Cell::default(),
            stalls: Cell::default(),
            stalled_micros: Cell::default(),
            diverged: Cell::default(),
            impersonated: Cell::default(),
            merged: Cell::default(),
            fell_behind: Cell::default(),
            renewed: Cell::default(),
            retired: Cell::default(),
            rounds: Cell::default(),
            wall_clock_untrusted: Cell::default(),
            handshakes_failed: Cell::default(),
            connections_accepted: Cell::default(),
            connections_evicted: Cell::default(),
            connections_left: Cell::default(),
            connections_refused: Cell::default(),
            connections_timed_out: Cell::default(),
            accepts_failed: Cell::default(),
        }
    }

    /// A request was answered.
    pub(crate) fn count_request(&self, what: Counted, status: StatusCode, took: Micros) {
        let route = &self.routes[what as usize];
        let known = STATUSES.iter().position(|&(code, _)| code == status.as_u16());
        count(&route.statuses[known.unwrap_or(STATUSES.len() - 1)]);
        let micros = took.0;
        let bucket = BUCKETS.iter().position(|&(bound, _)| micros <= bound);
        count(&route.latencies[bucket.unwrap_or(BUCKETS.len())]);
        route.latency_micros.set(route.latency_micros.get().saturating_add(micros));
    }

    /// Operations applied so far.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.get()
    }

    /// The replica told something.
    pub(crate) fn count_event(&self, event: &Event) {
        match event {
            Event::Applied(_) => count(&self.applied),
            Event::Installed { .. } => count(&self.installed),
            Event::Linked { .. } => count(&self.linked),
            Event::Suspected(_) => count(&self.suspicions),
            Event::Recovered(_) => count(&self.recoveries),
            Event::Renewed(_) => count(&self.renewed),
            Event::PullStarted { .. } => count(&self.pulls_started),
            Event::PullEnded { complete: true, .. } => count(&self.pulls_complete),
            Event::PullEnded { complete: false, .. } => count(&self.pulls_failed),
            Event::Stalled(length) => {
                count(&self.stalls);
                self.stalled_micros.set(self.stalled_micros.get().saturating_add(length.0));
            }
            Event::ClockTrusted(trusted) => self.wall_clock_untrusted.set(!trusted),
            Event::Diverged(_) => count(&self.diverged),
            Event::Impersonated { .. } => count(&self.impersonated),
            Event::Dropped { reason, .. } => {
                if let Some(at) = DropReason::ALL.iter().position(|known| known == reason) {
                    count(&self.dropped[at]);
                }
            }
            Event::Retired { .. } => count(&self.retired),
            Event::RoundEnded { .. } => count(&self.rounds),
            Event::ClustersMerge { .. } => count(&self.merged),
            Event::FellBehind(_) => count(&self.fell_behind),
            Event::Fetching { held, .. } => {
                count(&self.fetches);
                if *held > 0 {
                    count(&self.resumed);
                }
            }
            Event::Up { .. }
            | Event::Ready { .. }
            | Event::AddressContested { .. }
            | Event::ViewChanged
            | Event::NoCommonFormat { .. }
            | Event::WritesRefused(_)
            | Event::HeldBack(_) => {}
        }
    }

    /// Writes what was counted.
    pub(crate) fn expose(&self, into: &mut Exposition) {
        self.expose_requests(into);
        self.expose_events(into);
        let connections = [
            ("accepted", &self.connections_accepted),
            ("evicted", &self.connections_evicted),
            ("left", &self.connections_left),
            ("refused", &self.connections_refused),
            ("timed_out", &self.connections_timed_out),
            ("handshake_failed", &self.handshakes_failed),
            ("accept_failed", &self.accepts_failed),
        ];
        into.family("hence_connections_total", Kind::Counter, "Client connections by what became of them.");
        for (what, cell) in connections {
            into.sample("hence_connections_total", &[("event", what)], cell.get());
        }
    }

    fn expose_requests(&self, into: &mut Exposition) {
        let routes = || Counted::ALL.iter().map(|&(what, route, method)| (&self.routes[what as usize], route, method));
        into.family("hence_requests_total", Kind::Counter, "Requests answered, by route, method and status.");
        for (counts, route, method) in routes() {
            for ((_, status), cell) in STATUSES.iter().zip(&counts.statuses).filter(|(_, cell)| cell.get() > 0) {
                let labels = [("route", route), ("method", method), ("status", *status)];
                into.sample("hence_requests_total", &labels, cell.get());
            }
        }
        const LATENCY: &str = "hence_request_seconds";
        into.family(LATENCY, Kind::Histogram, "Time from a request's head to its answer, waits included.");
        for (counts, route, method) in routes() {
            let total: u64 = counts.latencies.iter().map(Cell::get).sum();
            if total == 0 {
                continue;
            }
            let mut below = 0;
            for ((_, bound), cell) in BUCKETS.iter().zip(&counts.latencies) {
                below += cell.get();
                into.suffixed(LATENCY, "_bucket", &[("route", route), ("method", method), ("le", bound)], below);
            }
            into.suffixed(LATENCY, "_bucket", &[("route", route), ("method", method), ("le", "+Inf")], total);
            let labels = [("route", route), ("method", method)];
            into.seconds(LATENCY, "_sum", &labels, counts.latency_micros.get());
            into.suffixed(LATENCY, "_count", &labels, total);
        }
    }

    fn expose_events(&self, into: &mut Exposition) {
        into.counter("hence_ops_applied_total", "Operations applied, own ones included.", self.applied.get());
        into.counter("hence_states_installed_total", "Whole states taken over from a peer.", self.installed.get());
        into.counter("hence_links_total", "Links established.", self.linked.get());
        into.counter("hence_suspicions_total", "Times a member was suspected.", self.suspicions.get());
        into.counter("hence_recoveries_total", "Times a suspected member answered.", self.recoveries.get());
        into.counter("hence_retirements_total", "Incarnations that are over and were folded away.", self.retired.get());
        into.counter("hence_rounds_total", "Times every member was asked about missing writes.", self.rounds.get());
        into.counter("hence_renewals_total", "Times this process took a new incarnation.", self.renewed.get());
        into.counter("hence_rebirths_total", "The former name of hence_renewals_total.", self.renewed.get());
        into.counter(
            "hence_divergences_total",
            "Peers with other data under the same names. Must be 0.",
            self.diverged.get(),
        );
        into.counter(
            "hence_impersonations_total",
            "Messages that know a write of this incarnation which was never made here: its memory was copied. Must be 0.",
            self.impersonated.get(),
        );
        into.counter(
            "hence_cluster_merges_total",
            "Times members of another cluster of the same name appeared, at an address that is used again.",
            self.merged.get(),
        );
        into.counter(
            "hence_watches_behind_total",
            "Watches that fell behind by more than is kept and looked again.",
            self.fell_behind.get(),
        );
        into.counter("hence_stalls_total", "Times this process was not run.", self.stalls.get());
        into.family("hence_stalled_seconds_total", Kind::Counter, "Time in which this process was not run.");
        into.seconds("hence_stalled_seconds_total", "", &[], self.stalled_micros.get());
        into.counter("hence_transfers_started_total", "Fetches begun.", self.pulls_started.get());
        into.counter("hence_values_in_pieces_total", "Large values that came in pieces.", self.fetches.get());
        into.counter(
            "hence_values_resumed_total",
            "Those of them that went on where a transfer had broken off.",
            self.resumed.get(),
        );
        into.family("hence_transfers_ended_total", Kind::Counter, "Fetches ended, by outcome.");
        into.sample("hence_transfers_ended_total", &[("outcome", "complete")], self.pulls_complete.get());
        into.sample("hence_transfers_ended_total", &[("outcome", "broken")], self.pulls_failed.get());
        const DROPPED: &str = "hence_messages_dropped_total";
        into.family(
            DROPPED,
            Kind::Counter,
            "Messages that the replica did not take in, by reason; late pushes are \"late\".",
        );
        for (reason, cell) in DropReason::ALL.iter().zip(&self.dropped) {
            into.sample(DROPPED, &[("reason", reason.name())], cell.get());
        }
        let untrusted = u64::from(self.wall_clock_untrusted.get());
        into.gauge(
            "hence_wall_clock_untrusted",
            "1 while the own wall clock is ahead of all peers' and not used.",
            untrusted,
        );
    }
}

/// Writes what the replica knows of itself; `ready` if clients may be sent to it. A token of all that it holds has so
/// many bytes.
pub(crate) fn expose_status(status: &ReplicaStatus, ready: bool, token_bytes: usize, into: &mut Exposition) {
    let size = |number: usize| number as u64;
    into.gauge("hence_ready", "1 while clients may be sent here: GET /ready answers 200.", u64::from(ready));
    into.gauge("hence_serving", "1 while data requests are served.", u64::from(status.ready));
    const UNSETTLED: &str = "hence_unsettled_members";
    into.family(UNSETTLED, Kind::Gauge, "Members for which a replica that started alone is not ready, by why.");
    let unsettled = match &status.readiness {
        Readiness::Provisional(unsettled) => unsettled.clone(),
        Readiness::Ready | Readiness::Joining | Readiness::Removed | Readiness::HeldBack | Readiness::Displaced => {
            Unsettled::default()
        }
    };
    let reasons = [
        ("absent", unsettled.absent),
        ("loading", unsettled.loading),
        ("unlinked", unsettled.unlinked),
        ("version", unsettled.versions),
        ("foreign", unsettled.foreign),
    ];
    for (reason, members) in reasons {
        into.sample(UNSETTLED, &[("reason", reason)], size(members.len()));
    }
    into.family("hence_formats", Kind::Gauge, "The lowest and the highest format of the protocol that is spoken here.");
    into.sample("hence_formats", &[("bound", "lowest")], status.formats.lowest.into());
    into.sample("hence_formats", &[("bound", "highest")], status.formats.highest.into());
    into.gauge(
        "hence_upgraded",
        "1 while every member speaks the highest format that is spoken here.",
        u64::from(status.upgraded),
    );
    into.gauge("hence_vector_entries", "Incarnations in the version vector.", size(status.vector.len()));
    into.gauge("hence_token_bytes", "Bytes of a token that covers everything here.", size(token_bytes));
    into.gauge("hence_store_keys", "Keys present.", size(status.keys));
    into.gauge("hence_store_bytes", "Bytes of keys and values held.", status.store_bytes);
    into.gauge("hence_log_ops", "Operations in the log.", size(status.log_ops));
    into.gauge("hence_log_bytes", "Bytes of operations in the log.", size(status.log_bytes));
    into.gauge(
        "hence_causal_buffer_ops",
        "Operations that wait for causally earlier ones.",
        size(status.causal_buffer),
    );
    into.gauge("hence_parked_ops", "The former name of hence_causal_buffer_ops.", size(status.causal_buffer));
    into.gauge(
        "hence_blocked_requests",
        "Requests that wait for their dependencies or their write concern.",
        size(status.blocked),
    );
    into.gauge("hence_waiting_requests", "The former name of hence_blocked_requests.", size(status.blocked));
    into.gauge("hence_transfer_running", "1 while a fetch is under way.", u64::from(status.pulling));
    into.gauge("hence_view_members", "Members that GET /view lists.", size(status.listed.len()));
    let suspected = status.peers.iter().filter(|peer| peer.suspected).count();
    into.gauge("hence_suspected_members", "Peers that are suspected to be down.", size(suspected));
    into.family("hence_links", Kind::Gauge, "Peers by the state of the link to them.");
    for (state, name) in
        [(LinkState::Opening, "opening"), (LinkState::Established, "established"), (LinkState::Dormant, "dormant")]
    {
        let links = status.peers.iter().filter(|peer| peer.link == state).count();
        into.sample("hence_links", &[("state", name)], size(links));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_core::Address;

    #[test]
    fn places_are_in_order() {
        for (at, (what, _, _)) in Counted::ALL.iter().enumerate() {
            assert_eq!(*what as usize, at);
        }
        assert!(BUCKETS.is_sorted_by(|a, b| a.0 < b.0));
        for (bound, text) in BUCKETS {
            assert_eq!(text.parse::<f64>().unwrap(), bound as f64 / 1e6);
        }
    }

    #[test]
    fn counts_show() {
        let metrics = Metrics::new();
        metrics.count_request(Counted::Get, StatusCode::OK, Micros(10));
        metrics.count_request(Counted::Get, StatusCode::OK, Micros(11));
        metrics.count_request(Counted::Get, StatusCode::IM_A_TEAPOT, Micros::from_seconds(60));
        metrics.count_event(&Event::Stalled(Micros(1_500_000)));
        let from = Address::parse("a:1").unwrap();
        metrics.count_event(&Event::Dropped { from, reason: DropReason::Late });
        let mut exposition = Exposition::default();
        metrics.expose(&mut exposition);
        let text = exposition.finish();
        for line in [
            "hence_requests_total{route=\"/kvs/{key}\",method=\"GET\",status=\"200\"} 2",
            "hence_requests_total{route=\"/kvs/{key}\",method=\"GET\",status=\"other\"} 1",
            "hence_request_seconds_bucket{route=\"/kvs/{key}\",method=\"GET\",le=\"0.00001\"} 1",
            "hence_request_seconds_bucket{route=\"/kvs/{key}\",method=\"GET\",le=\"30\"} 2",
            "hence_request_seconds_bucket{route=\"/kvs/{key}\",method=\"GET\",le=\"+Inf\"} 3",
            "hence_request_seconds_sum{route=\"/kvs/{key}\",method=\"GET\"} 60.000021",
            "hence_request_seconds_count{route=\"/kvs/{key}\",method=\"GET\"} 3",
            "hence_stalled_seconds_total 1.500000",
            "hence_messages_dropped_total{reason=\"late\"} 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
