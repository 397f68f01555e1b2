//! The other end of a connection that was accepted, as far as it is known.

use super::Nonce;
use core::cell::{Cell, RefCell};
use core::net::IpAddr;
use rustls::pki_types::CertificateDer;

/// One accepted connection, from its first request to its last.
#[derive(Debug, Default)]
pub struct Visitor {
    source: Option<IpAddr>,
    /// It is encrypted.
    secured: Cell<bool>,
    /// The certificate that it showed.
    certificate: RefCell<Option<CertificateDer<'static>>>,
    /// The number that its next request has to prove itself with.
    challenge: Cell<Option<Nonce>>,
}

impl Visitor {
    /// One that comes from there.
    #[must_use]
    pub fn from_source(source: Option<IpAddr>) -> Self {
        Self { source, ..Self::default() }
    }

    /// Its connection is encrypted, and it showed this certificate, which is valid.
    pub fn on_secured(&self, certificate: Option<CertificateDer<'static>>) {
        self.secured.set(true);
        self.certificate.replace(certificate);
    }

    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Is its connection encrypted?
    #[must_use]
    pub const fn is_secured(&self) -> bool {
        self.secured.get()
    }

    /// Did it show a certificate of which this holds?
    pub(crate) fn showed(&self, holds: impl FnOnce(&CertificateDer<'static>) -> bool) -> bool {
        self.certificate.borrow().as_ref().is_some_and(holds)
    }

    /// A fresh number for its next request.
    pub(crate) fn challenge(&self, nonce: Nonce) {
        self.challenge.set(Some(nonce));
    }

    /// The number that was given last. Each is used once.
    pub(crate) fn take_challenge(&self) -> Option<Nonce> {
        self.challenge.take()
    }
}
