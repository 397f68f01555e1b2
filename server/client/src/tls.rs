//! How a client begins TLS.

use crate::error::Error;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Trusts replicas whose certificate an authority of this file signed.
///
/// # Errors
/// [`Error::Usage`] where the file holds none.
pub(crate) fn trusting(file: &Path) -> Result<TlsConnector, Error> {
    let wrong = || Error::Usage(format!("{} is no file of certificates of authorities in PEM form", file.display()));
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file).map_err(|_| wrong())? {
        roots.add(root.map_err(|_| wrong())?).map_err(|_| wrong())?;
    }
    if roots.is_empty() {
        return Err(wrong());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("the provider has the versions");
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
