//! What the HTTP service needs of a transport whose peers connect over HTTP, and the transports that have it.

use crate::exposition::{Exposition, Kind};
use crate::memory::Shares;
use crate::settings::Settings;
use bytes::Bytes;
use hence_core::{Address, ClusterTag};
use hence_transport::faulty::{Faults, Faulty, TokioSleeper};
use hence_transport::trust::{Tls, Trust, Visitor};
use hence_transport::{HyperSettings, HyperTransport, LinkCause, Standing, Transport, TransportCounters};
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;

/// A transport to which the HTTP service passes what comes below `/replica/`.
pub(crate) trait Wire: Transport {
    /// Takes over a connection of this visitor, or says why not.
    fn accept(&self, request: http::Request<Incoming>, visitor: &Visitor) -> Response<Full<Bytes>>;

    /// The peers that cannot be connected to, and why.
    fn outages(&self) -> Vec<(Address, LinkCause)>;

    /// How this process stands to its address, as far as its peers can tell.
    fn standing(&self) -> Standing;

    /// What it counted.
    fn counters(&self) -> TransportCounters;
}

impl Wire for HyperTransport {
    fn accept(&self, request: http::Request<Incoming>, visitor: &Visitor) -> Response<Full<Bytes>> {
        self.accept_from(request, visitor)
    }

    fn outages(&self) -> Vec<(Address, LinkCause)> {
        self.outages()
    }

    fn standing(&self) -> Standing {
        self.standing()
    }

    fn counters(&self) -> TransportCounters {
        self.counters()
    }
}

impl Wire for Faulty<HyperTransport, TokioSleeper> {
    fn accept(&self, request: http::Request<Incoming>, visitor: &Visitor) -> Response<Full<Bytes>> {
        Wire::accept(self.inner(), request, visitor)
    }

    fn outages(&self) -> Vec<(Address, LinkCause)> {
        self.inner().outages()
    }

    fn standing(&self) -> Standing {
        self.inner().standing()
    }

    fn counters(&self) -> TransportCounters {
        self.inner().counters()
    }
}

/// The transport of production. To be called on the replica's thread.
pub(crate) fn hyper(settings: &Settings, trust: Trust) -> HyperTransport {
    let mut own = HyperSettings::new(settings.address.clone(), ClusterTag::of(&settings.cluster));
    own.formats = settings.config.formats;
    if let Some(shares) = Shares::of_settings(settings) {
        shares.apply_to_transport(&mut own);
    }
    HyperTransport::with_trust(own, trust)
}

/// Makes the same transport with these faults.
pub(crate) fn faulty(faults: Faults) -> impl FnOnce(&Settings, Trust) -> Faulty<HyperTransport, TokioSleeper> + Send {
    |settings, trust| Faulty::new(hyper(settings, trust), TokioSleeper::default(), faults)
}

/// Writes why peers cannot be connected to.
pub(crate) fn expose_outages(outages: &[(Address, LinkCause)], into: &mut Exposition) {
    const OUTAGES: &str = "hence_peer_outages";
    into.family(OUTAGES, Kind::Gauge, "Peers that cannot be connected to, by cause.");
    for cause in LinkCause::ALL {
        let peers = outages.iter().filter(|(_, own)| *own == cause).count();
        into.sample(OUTAGES, &[("cause", cause.name())], peers as u64);
    }
}

/// Writes how this process stands to its address.
pub(crate) fn expose_standing(standing: Standing, into: &mut Exposition) {
    const STANDING: &str = "hence_address_standing";
    into.family(STANDING, Kind::Gauge, "1 for how this process stands to its address: home is as it should be.");
    for one in Standing::ALL {
        into.sample(STANDING, &[("standing", one.name())], u64::from(one == standing));
    }
}

/// Writes when the certificate in use ends.
pub(crate) fn expose_certificate(trust: &Trust, into: &mut Exposition) {
    const EXPIRY: &str = "hence_tls_certificate_expiry_seconds";
    into.family(
        EXPIRY,
        Kind::Gauge,
        "When the certificate in use ends, or one between it and its authority, since 1970.",
    );
    if let Some(ends) = trust.tls.as_ref().and_then(Tls::ends) {
        into.sample(EXPIRY, &[], ends);
    }
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
    into.counter(
        "hence_peer_untrusted_total",
        "Links that were refused because a certificate or a proof of the secret was missing or wrong.",
        counters.links_untrusted,
    );
    into.counter("hence_peer_dials_total", "Connections to peers that were tried.", counters.dials);
    into.counter("hence_peer_dials_failed_total", "Those that came to nothing.", counters.dials_failed);
    into.counter(
        "hence_peer_upgrades_refused_total",
        "Links that were refused because their source asked too often or every place was taken.",
        counters.upgrades_refused,
    );
    into.counter(
        "hence_peer_formats_refused_total",
        "Links that were refused, here or by the peer, because no format of the protocol is spoken by both.",
        counters.formats_refused,
    );
    into.gauge(
        "hence_peer_unfinished_bytes",
        "Bytes that large frames hold which are not whole yet.",
        counters.unfinished_bytes,
    );
    into.counter(
        "hence_peer_unfinished_refused_total",
        "Connections that ended because there was no room for their first frame.",
        counters.unfinished_refused,
    );
    const OPEN: &str = "hence_peer_connections";
    into.family(OPEN, Kind::Gauge, "Connections with peers that are open, by who opened them.");
    into.sample(OPEN, &[("direction", "out")], counters.connections_out);
    into.sample(OPEN, &[("direction", "in")], counters.connections_in);
}
