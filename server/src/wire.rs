//! What the HTTP service needs of a transport whose peers connect over HTTP, and the transports that have it.

use crate::exposition::{Exposition, Kind};
use crate::http::Answer;
use crate::settings::Settings;
use hence_core::ClusterTag;
use hence_transport::faulty::{Faults, Faulty, TokioSleeper};
use hence_transport::{HyperSettings, HyperTransport, Transport, TransportCounters};
use hyper::body::Incoming;

/// A transport to which the HTTP service passes what comes below `/replica/`.
pub(crate) trait Wire: Transport {
    /// Takes a peer's connection over, or says why not.
    fn accept(&self, request: http::Request<Incoming>) -> Answer;

    /// What it counted.
    fn counters(&self) -> TransportCounters;
}

impl Wire for HyperTransport {
    fn accept(&self, request: http::Request<Incoming>) -> Answer {
        self.accept(request).map(Into::into)
    }

    fn counters(&self) -> TransportCounters {
        self.counters()
    }
}

impl Wire for Faulty<HyperTransport, TokioSleeper> {
    fn accept(&self, request: http::Request<Incoming>) -> Answer {
        Wire::accept(self.inner(), request)
    }

    fn counters(&self) -> TransportCounters {
        self.inner().counters()
    }
}

/// The transport of production. To be called on the replica's thread.
pub(crate) fn hyper(settings: &Settings) -> HyperTransport {
    HyperTransport::new(HyperSettings::new(settings.address.clone(), ClusterTag::of(&settings.cluster)))
}

/// Makes the same transport with these faults.
pub(crate) fn faulty(faults: Faults) -> impl FnOnce(&Settings) -> Faulty<HyperTransport, TokioSleeper> + Send {
    |settings| Faulty::new(hyper(settings), TokioSleeper::default(), faults)
}

/// Writes what a transport counted.
pub(crate) fn expose(counters: &TransportCounters, into: &mut Exposition) {
    let totals = [
        ("hence_peer_messages", "Messages", counters.messages_out, counters.messages_in),
        ("hence_peer_frames", "Frames", counters.frames_out, counters.frames_in),
        ("hence_peer_bytes", "Bytes", counters.bytes_out, counters.bytes_in),
    ];
    for (name, what, sent, received) in totals {
        let name = format!("{name}_total");
        into.family(&name, Kind::Counter, &format!("{what} exchanged with peers, by direction."));
        into.sample(&name, &[("direction", "out")], sent);
        into.sample(&name, &[("direction", "in")], received);
    }
    const LOST: &str = "hence_peer_messages_lost_total";
    into.family(LOST, Kind::Counter, "Messages that were lost on the way out, by reason.");
    for (reason, lost) in counters.lost() {
        into.sample(LOST, &[("reason", reason)], lost);
    }
    const REFUSED: &str = "hence_peer_frames_refused_total";
    into.family(REFUSED, Kind::Counter, "Frames that were damaged, foreign or of another version, by reason.");
    for (reason, refused) in counters.refused() {
        into.sample(REFUSED, &[("reason", reason)], refused);
    }
    into.counter("hence_peer_dials_total", "Connections to peers that were tried.", counters.dials);
    into.counter("hence_peer_dials_failed_total", "Those that came to nothing.", counters.dials_failed);
    const OPEN: &str = "hence_peer_connections";
    into.family(OPEN, Kind::Gauge, "Connections with peers that are open, by who opened them.");
    into.sample(OPEN, &[("direction", "out")], counters.connections_out);
    into.sample(OPEN, &[("direction", "in")], counters.connections_in);
}
