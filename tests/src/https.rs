//! Whether the client of tests speaks TLS: a switch for the whole process, since each test has one of its own.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::path::Path;
use std::sync::{Arc, RwLock};

static SPOKEN: RwLock<Option<Arc<ClientConfig>>> = RwLock::new(None);

/// From now on new connections are within TLS, and trust the authorities of this file.
pub fn speak(authorities: &Path) {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authorities).expect("a file of ours") {
        roots.add(root.expect("a certificate")).expect("an authority");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("the provider has the versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    *SPOKEN.write().expect("no test panics meanwhile") = Some(Arc::new(config));
}

/// From now on new connections are plain.
pub fn stop() {
    *SPOKEN.write().expect("no test panics meanwhile") = None;
}

/// The beginning of TLS with this address, if it is spoken.
pub(crate) fn begin(address: &str) -> Option<Box<ClientConnection>> {
    let config = SPOKEN.read().expect("no test panics meanwhile").clone()?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).expect("tests name addresses");
    Some(Box::new(ClientConnection::new(config, name).expect("a good name")))
}
