//! What targets ask for: TLS, and a bearer token.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Flags of every command that asks targets.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Credentials {
    /// The file of the authorities that may have signed the certificates of https targets, in PEM form
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The bearer token that every request carries
    #[arg(long, env = "HENCE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// The same, ready for use.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    tls: Option<Arc<ClientConfig>>,
    /// A whole line of a head.
    line: Option<Arc<str>>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl Credentials {
    /// Reads the file.
    pub(crate) fn load(&self) -> Result<Shown, String> {
        let tls = self.ca.as_deref().map(trusting).transpose()?;
        if self.token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err("--token: a token has no spaces and no other letters than those of ASCII".into());
        }
        let line = self.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n").into());
        Ok(Shown { tls, line })
    }
}

fn trusting(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let wrong = || format!("--ca: {} is no file of certificates of authorities in PEM form", file.display());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file).map_err(|_| wrong())? {
        roots.add(root.map_err(|_| wrong())?).map_err(|_| wrong())?;
    }
    if roots.is_empty() {
        return Err(wrong());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Shown {
    /// Can https be spoken?
    pub(crate) const fn has_authorities(&self) -> bool {
        self.tls.is_some()
    }

    /// The line that every head has.
    pub(crate) fn line(&self) -> &str {
        self.line.as_deref().unwrap_or_default()
    }

    /// The connection as it is used, with this host at its other end.
    pub(crate) fn begin(&self, stream: TcpStream, host: &str, https: bool) -> io::Result<Stream> {
        let Some(config) = self.tls.as_ref().filter(|_| https) else { return Ok(Stream::Plain(stream)) };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| io::Error::other("no certificate can name this host"))?;
        let mut stream =
            StreamOwned::new(ClientConnection::new(config.clone(), name).map_err(io::Error::other)?, stream);
        // A request never left where the handshake fails.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// A read ends after so long without anything.
    pub(crate) fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        stream.set_read_timeout(Some(time))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Connection, NoAnswer, Target, request};
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};
    use std::net::TcpListener;

    /// A certificate for this host that is its own authority, and its key.
    fn certificate() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    /// Answers one request within TLS with what its head says of access.
    fn server((certificate, key): &(String, String)) -> String {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is ours")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("it is ours");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).expect("they belong together"));
        let door = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = door.local_addr().expect("it listens").to_string();
        std::thread::spawn(move || {
            let (stream, _) = door.accept().expect("a client");
            let mut stream = StreamOwned::new(ServerConnection::new(config).expect("a good configuration"), stream);
            let mut bytes = [0; 1_024];
            let count = stream.read(&mut bytes).unwrap_or_default();
            let head = String::from_utf8_lossy(&bytes[..count]).into_owned();
            let line = head.lines().find(|line| line.starts_with("authorization")).unwrap_or("nothing").to_owned();
            _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
            _ = stream.flush();
        });
        address
    }

    fn shown(authority: &str, token: Option<&str>) -> Shown {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), authority).expect("it is ours");
        let credentials = Credentials { ca: Some(file.path().to_owned()), token: token.map(str::to_owned) };
        credentials.load().expect("all in order")
    }

    fn ask(address: &str, shown: &Shown) -> Result<String, NoAnswer> {
        let target = Target::shown(&format!("https://{address}"), shown).expect("an address");
        let mut bytes = Vec::new();
        request(&mut bytes, &target, "GET", "/kvs/x", &[], None);
        let mut connection = Connection::new(target, Duration::from_secs(5));
        connection.exchange(&bytes, false).map(|answer| String::from_utf8_lossy(answer.body).into_owned())
    }

    #[test]
    fn https_targets_are_checked_and_shown_the_token() {
        let (own, other) = (certificate(), certificate());
        let told = ask(&server(&own), &shown(&own.0, Some("a-token")));
        assert_eq!(told, Ok("authorization: Bearer a-token".into()));
        assert_eq!(ask(&server(&own), &shown(&own.0, None)), Ok("nothing".into()));
        assert!(matches!(ask(&server(&other), &shown(&own.0, None)), Err(NoAnswer::NotSent(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let load = |ca: Option<&str>, token: Option<&str>| {
            Credentials { ca: ca.map(PathBuf::from), token: token.map(str::to_owned) }.load().map(drop)
        };
        assert_eq!(load(None, Some("a-token")), Ok(()));
        assert!(load(Some("/nowhere"), None).is_err_and(|text| text.starts_with("--ca: ")));
        assert!(load(None, Some("two words")).is_err_and(|text| !text.contains("two words")));
        let target = Target::shown("https://127.0.0.1:1", &Shown::default()).map(drop);
        assert!(target.is_err_and(|text| text.contains("--ca")));
    }
}
