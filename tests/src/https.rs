//! Whether the client of tests speaks TLS: a switch for the whole process, or for the calling thread where tests share
//! a process.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, RwLock};

static SPOKEN: RwLock<Option<Arc<ClientConfig>>> = RwLock::new(None);

thread_local! {
    static SPOKEN_HERE: RefCell<Option<Arc<ClientConfig>>> = const { RefCell::new(None) };
}

/// From now on new connections are within TLS, and trust the authorities of this file.
pub fn speak(authorities: &Path) {
    *SPOKEN.write().expect("no test panics meanwhile") = Some(trusting(authorities));
}

/// Until this is dropped, the connections that this thread opens are within TLS. Threads run one test after another, so
/// what a test switched must end with it.
#[must_use = "the switch ends when this is dropped"]
pub struct Here(());

/// The same for connections that this thread opens, until the answer is dropped.
pub fn speak_here(authorities: &Path) -> Here {
    SPOKEN_HERE.set(Some(trusting(authorities)));
    Here(())
}

impl Drop for Here {
    fn drop(&mut self) {
        SPOKEN_HERE.set(None);
    }
}

fn trusting(authorities: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(authorities).expect("a file of ours") {
        roots.add(root.expect("a certificate")).expect("an authority");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("the provider has the versions");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// From now on new connections are plain.
pub fn stop() {
    *SPOKEN.write().expect("no test panics meanwhile") = None;
}

/// The beginning of TLS with this address, if it is spoken.
pub(crate) fn begin(address: &str) -> Option<Box<ClientConnection>> {
    let here = SPOKEN_HERE.with_borrow(Clone::clone);
    let config = here.or_else(|| SPOKEN.read().expect("no test panics meanwhile").clone())?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
    let name = ServerName::try_from(host).expect("tests name addresses");
    Some(Box::new(ClientConnection::new(config, name).expect("a good name")))
}

#[cfg(test)]
mod tests {
    use super::{begin, speak_here};

    #[test]
    fn a_thread_speaks_plainly_after_a_test_that_failed_within_tls() {
        let empty = std::env::temp_dir().join(format!("hence-no-authorities-{}", std::process::id()));
        std::fs::write(&empty, "").expect("a folder for anybody");
        let failed = std::panic::catch_unwind(|| {
            let _spoken = speak_here(&empty);
            assert!(begin("127.0.0.1:1").is_none(), "within TLS");
        });
        std::fs::remove_file(&empty).expect("it was written");
        assert!(failed.is_err() && begin("127.0.0.1:1").is_none());
    }
}
