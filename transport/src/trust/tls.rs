//! TLS 1.3, or 1.2, by rustls with ring. One certificate serves clients and peers.
//!
//! A client need not show a certificate. A peer shows one that an authority of the cluster signed and that names its
//! address, or the one name that all replicas have. No session is resumed: each handshake checks everything.

use core::fmt;
use core::time::Duration;
use hence_core::Address;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const ALPN: &[u8] = b"http/1.1";

/// Texts in the form of PEM, as files hold them.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// The replica's certificate, then those of authorities in between.
    pub certificate: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
    /// The authorities whose certificates peers may have.
    pub authorities: &'a [u8],
}

/// Why texts are of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsError {
    /// It holds no certificate that can be read.
    Certificate,
    /// It holds no private key that can be read.
    Key,
    /// The key is not the certificate's.
    OtherKey,
    /// It holds no authority's certificate that can be read.
    Authorities,
    /// It is neither an IP address nor a host name.
    Name,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a file with a certificate in PEM form",
            Self::Key => "a file with a private key in PEM form",
            Self::OtherKey => "a file with the private key of the certificate",
            Self::Authorities => "a file with certificates of authorities in PEM form",
            Self::Name => "a host name or an IP address",
        })
    }
}

impl core::error::Error for TlsError {}

/// What new connections begin with.
#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    own: Vec<CertificateDer<'static>>,
    /// Until then peers accept it, in seconds since 1970.
    ends: Option<u64>,
}

/// See the module. Clones share what is in use.
#[derive(Debug, Clone)]
pub struct Tls {
    current: Arc<RwLock<Current>>,
    /// What every peer's certificate names; without one it names the peer's address.
    peer_name: Option<ServerName<'static>>,
    /// Bytes that a connection holds because its other side does not take them.
    buffer_bytes_max: usize,
}

/// What rustls holds by itself.
const BUFFER_BYTES_MAX: usize = 64 << 10;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Current {
    fn read(pem: Pem<'_>) -> Result<Self, TlsError> {
        let certificates = |text| CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        let own = certificates(pem.certificate).ok().filter(|own| !own.is_empty()).ok_or(TlsError::Certificate)?;
        let key = || PrivateKeyDer::from_pem_slice(pem.key).map_err(|_| TlsError::Key);
        let mut roots = RootCertStore::empty();
        for root in certificates(pem.authorities).map_err(|_| TlsError::Authorities)? {
            roots.add(root).map_err(|_| TlsError::Authorities)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Authorities);
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).allow_unauthenticated();
        let verifier = verifier.build().map_err(|_| TlsError::Authorities)?;
        let wrong_key = |error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                TlsError::OtherKey
            } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
                TlsError::Certificate
            } else {
                TlsError::Key
            }
        };
        let versions = &[&TLS13, &TLS12];
        let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let server = server.map_err(|_| TlsError::Key)?.with_client_cert_verifier(verifier);
        let mut server = server.with_single_cert(own.clone(), key()?).map_err(wrong_key)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let client = client.map_err(|_| TlsError::Key)?.with_root_certificates(roots.clone());
        let mut client = client.with_client_auth_cert(own.clone(), key()?).map_err(wrong_key)?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        let ends = ends(&own, &roots);
        Ok(Self { server: Arc::new(server), client: Arc::new(client), roots, own, ends })
    }
}

/// The last second at which no certificate of this chain has expired. The verifier names one that has expired at some time,
/// and is asked about the end of that one then.
fn ends(own: &[CertificateDer<'static>], roots: &RootCertStore) -> Option<u64> {
    let (first, between) = own.split_first()?;
    let (parsed, algorithms) =
        (ParsedCertificate::try_from(first).ok()?, provider().signature_verification_algorithms.all);
    let (mut at, mut ends) = (UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)), None);
    for _ in 0..=own.len() {
        match verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, at, algorithms) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => at = not_after,
            Ok(()) | Err(_) => break,
        }
        ends = Some(at.as_secs());
    }
    ends
}

impl Tls {
    /// Reads these texts.
    ///
    /// # Errors
    /// [`TlsError`] says which of them is of no use.
    pub fn new(pem: Pem<'_>, peer_name: Option<&str>) -> Result<Self, TlsError> {
        let peer_name = peer_name.map(|name| ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name));
        let peer_name = peer_name.transpose()?;
        Ok(Self { current: Arc::new(RwLock::new(Current::read(pem)?)), peer_name, buffer_bytes_max: BUFFER_BYTES_MAX })
    }

    /// A connection holds no more than this because its other side does not take it, beside the record that is made. One is
    /// as large as 16 KiB.
    pub fn hold_at_most(&mut self, bytes: usize) {
        self.buffer_bytes_max = bytes.min(BUFFER_BYTES_MAX);
    }

    pub(crate) const fn buffer_bytes_max(&self) -> usize {
        self.buffer_bytes_max
    }

    /// New connections begin with these texts. Those that stand go on.
    ///
    /// # Errors
    /// [`TlsError`]; then nothing changes.
    pub fn replace(&self, pem: Pem<'_>) -> Result<(), TlsError> {
        let new = Current::read(pem)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.with(|current| current.server.clone()).into()
    }

    /// What dials the peer at this address; `None` where no certificate can name it.
    pub(crate) fn connector(&self, address: &Address) -> Option<(TlsConnector, ServerName<'static>)> {
        Some((self.with(|current| current.client.clone()).into(), self.name_of(address)?))
    }

    /// What the certificate of the peer at this address must name.
    fn name_of(&self, address: &Address) -> Option<ServerName<'static>> {
        let (host, _) = address.as_str().rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        self.peer_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }

    /// Does this certificate name the peer at this address?
    pub(crate) fn names(&self, certificate: &CertificateDer<'_>, address: &Address) -> bool {
        let parsed = ParsedCertificate::try_from(certificate);
        parsed.ok().zip(self.name_of(address)).is_some_and(|(parsed, name)| verify_server_name(&parsed, &name).is_ok())
    }

    /// When the own certificate ends, or one between it and its authority, in seconds since 1970.
    #[must_use]
    pub fn ends(&self) -> Option<u64> {
        self.with(|current| current.ends)
    }

    /// Why peers will not take the own certificate of the replica at this address, if they will not.
    #[must_use]
    pub fn flaw(&self, own: &Address) -> Option<String> {
        let Some(name) = self.name_of(own) else { return Some("no certificate can name this address".into()) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.with(|current| {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(current.roots.clone(), provider()).build().ok()?;
            let (first, between) = current.own.split_first()?;
            let checked = verifier.verify_server_cert(first, between, &name, &[], UnixTime::since_unix_epoch(now));
            checked.err().map(|error| error.to_string())
        })
    }
}
