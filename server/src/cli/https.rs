//! One request over TLS for `hence health`, on a blocking socket.

use super::CommandFailure;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// How to begin TLS with the replica that is asked.
#[derive(Debug, Clone)]
pub(super) struct Https(Arc<ClientConfig>);

/// Takes every certificate. Which process is asked is known from the kernel's own tables.
#[derive(Debug)]
struct Beside(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Beside {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Https {
    /// With the process that runs beside this command.
    pub(super) fn beside() -> Self {
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.expect("the provider has the versions").dangerous();
        let verifier = Beside(provider().signature_verification_algorithms);
        Self(Arc::new(config.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()))
    }

    /// With a replica whose certificate an authority of this file signed.
    ///
    /// # Errors
    /// Where the file holds none.
    pub(super) fn trusting(file: &Path) -> Result<Self, CommandFailure> {
        let wrong = || {
            let text = format!("{} is no file of certificates of authorities in PEM form", file.display());
            CommandFailure::usage(text)
        };
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(file).map_err(|_| wrong())? {
            roots.add(root.map_err(|_| wrong())?).map_err(|_| wrong())?;
        }
        if roots.is_empty() {
            return Err(wrong());
        }
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.expect("the provider has the versions").with_root_certificates(roots);
        Ok(Self(Arc::new(config.with_no_client_auth())))
    }

    /// The same connection within TLS.
    pub(super) fn begin(
        &self,
        stream: TcpStream,
        target: &str,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| io::Error::other("no certificate can name this host"))?;
        let connection = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}
