//! `GET /metrics`: what everything has counted, on one page.

use super::{Answer, Service, answer, ready};
use crate::exposition::{Exposition, Kind};
use crate::metrics::expose_status;
use crate::wire::{self, Wire};
use crate::{lag, logging, memory};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

impl<T: Wire + 'static> Service<T> {
    /// The page.
    pub(super) fn metrics(&self) -> Answer {
        let mut page = Exposition::default();
        let standing = self.node.transport().standing();
        let status = self.node.status();
        let ready = ready::why_not(&status.readiness, standing).is_none();
        expose_status(&status, ready, self.mint.bytes_of_text(&status.vector), &mut page);
        memory::expose(self.memory_max, &status.memory, self.connections.memory(), &mut page);
        lag::expose(&status, &mut page);
        self.node.visibility().expose(&mut page);
        self.node.metrics().expose(&mut page);
        wire::expose(&self.node.transport().counters(), &mut page);
        logging::expose(&mut page);
        wire::expose_outages(&self.node.transport().outages(), &mut page);
        wire::expose_standing(standing, &mut page);
        wire::expose_certificate(&self.trust, &mut page);
        self.node.traces().expose(&mut page);
        page.gauge("hence_watches", "Clients that watch.", self.node.watches_open());
        page.gauge("hence_connections", "Client connections that are open.", self.connections.len() as u64);
        page.family("hence_uptime_seconds", Kind::Gauge, "Time since this replica started.");
        let uptime = u64::try_from(self.node.clock().elapsed().as_micros()).unwrap_or(u64::MAX);
        page.seconds("hence_uptime_seconds", "", &[], uptime);
        let mut answer = answer::plain(StatusCode::OK, page.finish().into_bytes());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Exposition::CONTENT_TYPE));
        answer
    }
}
