//! What peers and clients have to show: TLS, and a secret that all members share.
//!
//! Both are optional and independent. TLS protects what travels, and a certificate says which address a peer has. The
//! secret keeps out every process that does not know it: both sides prove that they do before a link opens. What follows on the
//! link is protected by TLS only.
//!
//! A [`Trust`] is cheap to clone. All clones share what was loaded last, so that files are read again on another thread.
//! Connections that stand are not touched by that.

mod secret;
mod stream;
mod tls;
mod visitor;

pub use secret::{SEAL_BYTES, Secret, SecretError, Secrets};
pub use stream::MaybeTls;
pub use tls::{Pem, Tls, TlsError};
pub use visitor::Visitor;

pub(crate) use secret::{Nonce, Proof, Proven, Said};

use rustls::pki_types::CertificateDer;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The first byte of a TLS connection: a record that holds a handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// How far a cluster is that begins to use TLS or a secret while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Changeover {
    /// Everything is asked for: a peer that speaks without it is refused.
    #[default]
    Done,
    /// Both ways are taken, and the former one is used.
    Accept,
    /// Both ways are taken, and the new one is used.
    Use,
}

/// What peers and clients have to show. The default asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Connections are encrypted, and peers have certificates.
    pub tls: Option<Tls>,
    /// Peers know one of these.
    pub secrets: Option<Secrets>,
    /// Is that asked for already?
    pub changeover: Changeover,
}

impl Trust {
    /// TLS that this side dials with.
    pub(crate) fn dials_with(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|_| self.changeover != Changeover::Accept)
    }

    /// Must a peer show what it has to show?
    pub(crate) fn is_strict(&self) -> bool {
        self.changeover == Changeover::Done
    }

    /// Is a peer asked for anything?
    pub(crate) const fn is_any(&self) -> bool {
        self.tls.is_some() || self.secrets.is_some()
    }

    /// The TLS that this connection is to begin with, if any. During a changeover its first byte says so.
    ///
    /// # Errors
    /// Where the connection ends before that.
    pub async fn expected_of(&self, stream: &TcpStream) -> io::Result<Option<&Tls>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        if self.is_strict() {
            return Ok(Some(tls));
        }
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((first[0] == HANDSHAKE_RECORD).then_some(tls))
    }
}

impl Tls {
    /// Takes a client's or a peer's handshake. Says which certificate it showed; one that is shown is valid.
    ///
    /// # Errors
    /// Where the other side does not speak TLS, or shows a certificate of another authority.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(MaybeTls<S>, Option<CertificateDer<'static>>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = self.acceptor().accept(stream).await?;
        stream.get_mut().1.set_buffer_limit(Some(self.buffer_bytes_max()));
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.map(|certificate| certificate.clone().into_owned());
        Ok((MaybeTls::Tls(Box::new(stream.into())), shown))
    }
}
